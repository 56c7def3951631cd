"""What the agent last did, for ``vitalwire agent status``: counters, no readings."""

import json
import logging
import os
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from time import time

from edge_agent.outbox import Outbox

_log = logging.getLogger(__name__)

UNKNOWN_TIME = (
    "not synchronised, so devices' clocks are not compared with it, and none is set: "
    "'timedatectl' must say that it is"
)
_FILE = "status.json"
_TIMES = {"started_at": 1, "visited_at": 1, "oldest_ms": 1_000}  # how many a second
_AGES = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


@dataclass
class DeviceHealth:
    """One device's last visit.

    Attributes:
        driver: Its driver's name.
        state: ``waiting``, ``visiting``, ``resting`` or ``failing``.
        visits: Visits that ended well.
        failures: Visits in a row that did not.
        captured: New readings since the agent started.
        damaged: Pieces of noise on its link.
        problem: Why the last visit failed; empty if it did not.
        visited_at: When the last visit ended, s since 1970 UTC.
    """

    driver: str
    state: str = "waiting"
    visits: int = 0
    failures: int = 0
    captured: int = 0
    damaged: int = 0
    problem: str = ""
    visited_at: float | None = None


@dataclass
class Health:
    """The whole agent's.

    Attributes:
        folder: Where the file stands.
        pid: The agent's process.
        started_at: s since 1970 UTC.
        broker: ``connected``, or why not.
        clock: ``synchronised``, or what follows of it that it is not.
        bluetooth: ``ready``, ``starting``, or why there is none; ``unused`` where no
            device needs it.
        kernels: ``compiled``, ``warming``, or why the plain forms serve.
        receipts: Batches that the gateway has stored.
        devices: By address or port.
    """

    folder: Path
    pid: int = field(default_factory=os.getpid)
    started_at: float = field(default_factory=time)
    broker: str = "connecting"
    clock: str = UNKNOWN_TIME
    bluetooth: str = "unused"
    kernels: str = "warming"
    receipts: int = 0
    devices: dict[str, DeviceHealth] = field(default_factory=dict)

    def tell_bluetooth(self, state: str) -> None:
        """Note down what Bluetooth does; log it where that is new."""
        if state == self.bluetooth:
            return
        self.bluetooth = state
        self.save()
        level = logging.INFO if state == "ready" else logging.WARNING
        _log.log(level, "bluetooth: %s", state)

    def save(self) -> None:
        """Write the file, whole or not at all; it is no reason to stop."""
        facts = asdict(self)
        del facts["folder"]
        path = self.folder / _FILE
        part = path.with_suffix(".part")
        try:
            part.write_text(json.dumps(facts, indent=1))
            part.replace(path)
        except OSError as error:
            _log.warning("status.unwritten: %s", error)


def read(folder: Path) -> dict[str, object] | None:
    """Return what the agent last saved; None if none ever ran here."""
    try:
        found = json.loads((folder / _FILE).read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def of_outbox(outbox: Outbox, status: dict[str, object]) -> dict[str, object]:
    """Return what an outbox holds, and what somebody has to do for it to go out.

    Args:
        outbox: To look at.
        status: As `read` returns it.
    """
    devices = status.get("devices")
    journaled = []
    for peer, driver, count in outbox.journaled_of():
        known = devices.get(peer) if isinstance(devices, dict) else None
        told = f"{count} of {driver} at {peer}"
        if not isinstance(known, dict) or known.get("driver") != driver:
            told += ": configure it so again, and they are captured"
        journaled.append(told)
    counts = outbox.counts()
    return {
        **{name: getattr(counts, name) for name in counts.__slots__},
        "journaled_of": journaled,
        "damaged": outbox.damaged(),
    }


def for_people(status: dict[str, object], now_s: float) -> dict[str, object]:
    """Return a status with its times as people read them, under plain names.

    Args:
        status: As `read` returns it, or the outbox's counts, or both.
        now_s: The clock, s since 1970 UTC.
    """
    shown: dict[str, object] = {}
    for name, value in status.items():
        if isinstance(value, dict):
            shown[name] = for_people(value, now_s)
        elif name in _TIMES:
            plain = name.removesuffix("_at").removesuffix("_ms")
            shown[plain] = _time(value, _TIMES[name], now_s)
        else:
            shown[name] = value
    return shown


def _time(value: object, per_s: int, now_s: float) -> object:
    """Return the time of this place, and how long ago that was."""
    if not isinstance(value, int | float):
        return "-"
    try:
        moment = datetime.fromtimestamp(value / per_s, UTC).astimezone()
    except (OverflowError, ValueError):
        return value  # no agent writes such a one
    ago_s = now_s - value / per_s
    side = "ago" if ago_s >= 0 else "ahead of this clock"
    return f"{moment.isoformat(timespec='seconds')} ({_age(abs(ago_s))} {side})"


def _age(seconds: float) -> str:
    for unit, size in _AGES:
        if seconds >= size:
            return f"{seconds // size:.0f} {unit}"
    return "0 s"


def is_running(pid: object) -> bool:
    """Whether a process of that number is there."""
    if not isinstance(pid, int):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

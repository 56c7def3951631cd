"""What the agent last did, for ``vitalwire agent status``: counters, no readings."""

import json
import logging
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import time

_log = logging.getLogger(__name__)

_FILE = "status.json"


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

"""The whole way of a reading, shown with simulated devices and checked.

Each part is a process of its own, started by the same command that anybody
would type; the agent sees what it would see on a real station.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from time import monotonic, sleep
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import click

from edge_agent import health
from edge_agent.outbox import Outbox

_READY_S = 60.0
_STORED_S = 120.0
_STOP_S = 10.0
_PR_SET_PDEATHSIG = 1  # prctl(2)
_DRIVERS = {
    "glucose-meter": "gatt-glucose",
    "blood-pressure-cuff": "gatt-blood-pressure",
    "ultraeasy": "onetouch-ultraeasy",
}

# A reading as both sides can tell it: serial number, kind, device's time, values.
Fact = tuple[str, str, str | None, tuple[tuple[str, Decimal, str], ...]]


class DemoFailed(Exception):
    """A part did not start, or stopped."""


@dataclass(frozen=True, slots=True)
class Row:
    """One device's readings, held against what is stored.

    Attributes:
        device: Its name.
        held: Readings in its memory.
        stored: Readings at the gateway.
        missing: Held and not stored.
        doubled: Stored more than once.
        changed: Stored and not held.
    """

    device: str
    held: int
    stored: int
    missing: int
    doubled: int
    changed: int

    @property
    def is_exact(self) -> bool:
        """Whether all that is held is stored once, and nothing else."""
        return not (self.missing or self.doubled or self.changed)


def run(folder: Path, *, once: bool, as_json: bool) -> int:
    """Show the demo.

    Args:
        folder: Where all parts keep their state.
        once: Return when everything is checked, instead of on Ctrl-C.
        as_json: Print the table as JSON.

    Returns:
        The exit status: 0 if every reading is stored exactly once.

    Raises:
        DemoFailed: A part did not start, or stopped.
    """
    folder = folder.resolve()
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with ExitStack() as held:
        try:
            return _show(held, folder, once=once, as_json=as_json)
        except KeyboardInterrupt:
            click.echo("stopping …", err=True)
            return 0 if not once else 130


def _show(held: ExitStack, folder: Path, *, once: bool, as_json: bool) -> int:
    _say("starting devices on a virtual radio and a serial port")
    sim = held.enter_context(_part(folder, "sim", _sim(folder)))
    radio = _ready(sim)
    _say("starting broker, gateway and store")
    gateway = held.enter_context(_part(folder, "gateway", _gateway(folder)))
    served = _ready(gateway)
    config = folder / "agent.toml"
    config.write_text(_agent_config(radio["devices"], served))
    _say("starting the agent, which pairs with the devices and reads them")
    began = monotonic()
    command = _agent(folder, config)
    agent = held.enter_context(_part(folder, "agent", command, bus=radio["bus"]))
    parts = (sim, gateway, agent)
    page = served["http"].rstrip("/")
    rows = _wait(page, radio["devices"], folder / "agent", parts)
    seconds = monotonic() - began
    exact = all(row.is_exact for row in rows)
    if as_json:
        facts = {"page": page, "seconds": round(seconds, 2)}
        click.echo(json.dumps({**facts, "devices": [asdict(row) for row in rows]}))
    else:
        click.echo(_table(rows))
        click.echo(f"{seconds:.1f} s from the agent's start until all was read")
        click.secho(_verdict(folder, exact=exact), fg="green" if exact else "red")
    if once:
        return 0 if exact else 1
    click.echo(f"page: {page}/\nCtrl-C stops everything", err=as_json)
    while True:
        _check_running(parts)
        sleep(0.5)


def _verdict(folder: Path, *, exact: bool) -> str:
    if exact:
        return "every reading is stored exactly once"
    return (
        f"NOT exact; the logs are in {folder / 'logs'}. If another version filled "
        f"{folder}, delete it and try again"
    )


def compare(held: list[Fact], stored: list[Fact], names: dict[str, str]) -> list[Row]:
    """Hold what the devices' memories have against what is stored.

    Args:
        held: All readings in the devices.
        stored: All readings at the gateway.
        names: The devices' names by serial number; what is stored of any other
            has a row of its own.
    """
    rows = []
    others = {fact[0] for fact in stored} - names.keys()
    strange = {serial: f"unknown {serial}" for serial in sorted(others)}
    for serial, name in {**names, **strange}.items():
        inside = Counter(fact for fact in held if fact[0] == serial)
        outside = Counter(fact for fact in stored if fact[0] == serial)
        rows.append(
            Row(
                device=name,
                held=inside.total(),
                stored=outside.total(),
                missing=(inside - outside).total(),
                doubled=sum(
                    count - inside[fact]
                    for fact, count in outside.items()
                    if 0 < inside[fact] < count
                ),
                changed=sum(
                    count for fact, count in outside.items() if not inside[fact]
                ),
            )
        )
    return rows


def _say(text: str) -> None:
    click.echo(text, err=True)


@dataclass(frozen=True, slots=True)
class _Part:
    name: str
    process: "subprocess.Popen[bytes]"
    out: Path
    log: Path

    def last_words(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines()[-1:]
        status = self.process.returncode
        said = f": {lines[0][:200]}" if lines else ""
        return f"{self.name} stopped with status {status}{said}; see {self.log}"


@contextmanager
def _part(
    folder: Path, name: str, command: list[str], *, bus: str | None = None
) -> Iterator[_Part]:
    out, log = (folder / "logs" / f"{name}.{end}" for end in ("out", "log"))
    # One zone for all, for the simulated clocks show that of their own process.
    environment = {**os.environ, "TZ": "UTC"}
    if bus is not None:
        environment["DBUS_SYSTEM_BUS_ADDRESS"] = bus
    with out.open("wb") as stdout, log.open("wb") as stderr:
        process = subprocess.Popen(  # noqa: S603 - our own command
            command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr,
            env=environment, start_new_session=True, preexec_fn=_die_with_parent,  # noqa: PLW1509 - no threads
        )  # fmt: skip
    try:
        yield _Part(name, process, out, log)
    finally:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _die_with_parent() -> None:
    """Have the kernel stop this process when the demo is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _ready(part: _Part) -> dict[str, Any]:
    """Wait for the object that a part prints when it is ready."""
    deadline = monotonic() + _READY_S
    while monotonic() < deadline:
        line = part.out.read_text()
        if line.endswith("\n"):
            found: dict[str, Any] = json.loads(line.splitlines()[0])
            return found
        if part.process.poll() is not None:
            raise DemoFailed(part.last_words())
        sleep(0.05)
    raise DemoFailed(f"{part.name} is not ready after {_READY_S:g} s; see {part.log}")


def _command(*words: str) -> list[str]:
    return [sys.executable, "-m", "edge_agent", *words]


def _sim(folder: Path) -> list[str]:
    return _command("sim", "run", "--data", str(folder / "sim"), "--json")


def _gateway(folder: Path) -> list[str]:
    data = str(folder / "gateway")
    ports = ("--http-port", "0", "--mqtt-port", "0")
    return _command("gateway", "serve", "--data", data, *ports, "--json")


def _agent(folder: Path, config: Path) -> list[str]:
    data = str(folder / "agent")
    return _command("agent", "run", "--config", str(config), "--data", data)


def _agent_config(devices: list[dict[str, str]], gateway: dict[str, Any]) -> str:
    lines = [
        'station = "demo-station"',
        'tenant = "demo"',
        'timezone = "UTC"',
        "[broker]",
        f'host = "{gateway["mqtt_host"]}"',
        f"port = {gateway['mqtt_port']}",
    ]
    for device in devices:
        lines += ["[[device]]", f'driver = "{_DRIVERS[device["model"]]}"']
        lines += [
            f"{key} = {json.dumps(device[key])}"
            for key in ("address", "passkey", "port")
            if key in device
        ]
    return "\n".join(lines) + "\n"


def _truth() -> list[Fact]:
    shown = subprocess.run(  # noqa: S603 - our own command
        _command("sim", "show", "--json"), check=True, capture_output=True, text=True
    )
    facts = []
    for line in shown.stdout.splitlines():
        record = json.loads(line)
        values = tuple(
            (name, Decimal(value["value"]), value["unit"])
            for name, value in sorted(record["values"].items())
        )
        fact = record["device"], record["kind"], record["device_time"], values
        facts.append(fact)
    return facts


def _wait(
    page: str, devices: list[dict[str, str]], memory: Path, parts: tuple[_Part, ...]
) -> list[Row]:
    """Wait until the agent has read each device and waits for nothing; compare.

    What an earlier run has stored says nothing of this one.
    """
    *_, agent = parts
    deadline = monotonic() + _STORED_S
    truth = _truth()
    done = 0
    with click.progressbar(length=len(devices), label="read", file=sys.stderr) as bar:
        while done < len(devices) and monotonic() < deadline:
            _check_running(parts)
            sleep(0.2)
            before, done = done, _visited(memory, agent.process.pid)
            bar.update(done - before)
    while _waiting(memory) and monotonic() < deadline:
        _check_running(parts)
        sleep(0.2)
    if done < len(devices) or _waiting(memory):
        raise DemoFailed(
            f"not all was read and stored in {_STORED_S:g} s; see the logs in "
            f"{memory.parent / 'logs'}"
        )
    names = {device["serial"]: device["name"] for device in devices}
    return compare(truth, _stored(page), names)


def _visited(memory: Path, pid: int) -> int:
    """Return how many devices the agent of this run has read to the end."""
    found = health.read(memory) or {}
    devices = found.get("devices") if found.get("pid") == pid else None
    if not isinstance(devices, dict):
        return 0
    return sum(bool(device["visits"]) for device in devices.values())


def _waiting(memory: Path) -> int:
    outbox = Outbox(memory / "outbox.db", read_only=True)
    try:
        return outbox.counts().waiting
    finally:
        outbox.close()


def _check_running(parts: tuple[_Part, ...]) -> None:
    for part in parts:
        if part.process.poll() is not None:
            raise DemoFailed(part.last_words())


def _stored(page: str) -> list[Fact]:
    serials = {
        device["id"]: device["serial"]
        for device in _all(f"{page}/api/v1/devices", "devices")
    }
    facts = []
    for reading in _all(f"{page}/api/v1/readings", "readings"):
        values = tuple(
            sorted(
                (value["quantity"], canonical["value"], canonical["unit"])
                for value in reading["values"]
                if (canonical := value["canonical"]) is not None
            )
        )
        serial = serials.get(reading["device"], "")
        facts.append((serial, reading["kind"], reading["device_time"], values))
    return facts


def _all(url: str, name: str) -> Iterator[Any]:
    after, more = "", True
    while more:
        found = _get(f"{url}?limit=1000{after}")
        yield from found[name]
        after, more = f"&after={found['next']}", found["more"]


def _get(url: str) -> Any:  # noqa: ANN401 - JSON
    try:
        with urlopen(url, timeout=10) as answer:  # noqa: S310 - our own gateway
            return json.load(answer, parse_float=Decimal, parse_int=Decimal)
    except URLError as error:
        raise DemoFailed(f"the gateway does not answer: {error.reason}") from error


def _table(rows: list[Row]) -> str:
    head = ("device", "held", "stored", "missing", "doubled", "changed")
    body = [tuple(str(cell) for cell in asdict(row).values()) for row in rows]
    lines = [
        f"{line[0]:<20}" + "".join(f"{cell:>9}" for cell in line[1:])
        for line in (head, *body)
    ]
    return "\n".join(lines)

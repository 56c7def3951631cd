"""A station beside devices that suffer everything in `scenarios/faults.toml`.

The devices are on real carriers, bumble behind a private D-Bus and pseudo-terminals,
and the agent is the real one. What it wrote to its disk is compared with the truth.
"""

from collections import Counter
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from edge_agent.outbox import Outbox
from firmware_sim import scenario
from firmware_sim.simulated import OnSerialPort, Record, Simulated
from firmware_sim.trial import Limit
from firmware_sim.trial_device import TrialDevice
from protocols.observation import Observation, Quantity, State, Unit, Value
from protocols.units import canonical
from protocols.uplink import batch
from tests.integration.parts import agent_status, command, part, until

pytestmark = pytest.mark.integration

_READ_S = 60.0
_DRIVERS = {
    "glucose-meter": "gatt-glucose",
    "blood-pressure-cuff": "gatt-blood-pressure",
    "ultraeasy": "onetouch-ultraeasy",
}
_LIMITS = {
    Limit.HIGH.value: State.ABOVE_RANGE.name,
    Limit.LOW.value: State.BELOW_RANGE.name,
}

Fact = tuple[str, str | None, frozenset[tuple[str, str]]]


def _held(records: Iterable[Record]) -> Counter[Fact]:
    """Return what a device's memory holds, as the agent could tell it too."""
    return Counter(
        (
            record["kind"],
            record["device_time"],
            frozenset(
                (name, _LIMITS.get(shown["value"]) or _text(name, **shown))
                for name, shown in record["values"].items()
            ),
        )
        for record in records
    )


def _told(seen: Iterable[Observation]) -> Counter[Fact]:
    """Return what the agent wrote down, each as often as it did."""
    return Counter(
        (
            one.kind.value,
            one.user_facing_time.moment.isoformat(),
            frozenset(
                (value.quantity.value, _seen(value))
                for value in one.values
                if value.state in _SHOWN
            ),
        )
        for one in seen
    )


_SHOWN = {State.MEASURED, State.ABOVE_RANGE, State.BELOW_RANGE}


def _seen(value: Value) -> str:
    if value.state != State.MEASURED:
        return value.state.name
    return _text(value.quantity.value, str(value.number), value.unit.value)


def _text(name: str, value: str, unit: str) -> str:
    found = canonical(Value(Quantity(name), Unit(unit), Decimal(value)))
    assert found is not None
    return f"{found[0].normalize():f} {found[1]}"


def _driver(device: Simulated) -> str:
    config = device.config
    known = isinstance(config, TrialDevice)
    return config.driver if known else _DRIVERS[config.model]


def _name(device: Simulated) -> str:
    """Return what tells it from the others: its serial number, or its driver."""
    return device.config.serial or _driver(device)


def _peer(folder: Path, device: Simulated) -> str:
    """Return where the agent meets it."""
    if isinstance(device, OnSerialPort):
        return str(folder / "sim" / device.port)
    return device.address


def _config(folder: Path, devices: list[Simulated]) -> Path:
    """Write the agent's configuration for a scenario."""
    lines = ['station = "st-1"', "[broker]", "port = 9"]
    for device in devices:
        # One that forgot its bond is not visited again: that takes half a minute.
        forgets = device.config.conditions.bond_lost is not None
        every_s = 600 if forgets else 1
        lines += ["[[device]]", f'driver = "{_driver(device)}"', f"every_s = {every_s}"]
        key = "port" if isinstance(device, OnSerialPort) else "address"
        lines.append(f'{key} = "{_peer(folder, device)}"')
        if key == "address":
            lines.append(f'passkey = "{device.bench.passkey:06}"')
    path = folder / "agent.toml"
    path.write_text("\n".join(lines))
    return path


def _readings(folder: Path) -> dict[str, list[Observation]]:
    """Return what the agent wrote to its disk, by serial number or driver."""
    found: dict[str, list[Observation]] = {}
    box = Outbox(folder / "agent" / "outbox.db")
    while (made := box.batches.make("st-1", 0, 256)) is not None:
        for reading in batch.decode(made.message).readings:
            for name in (reading.device.serial, reading.driver):
                found.setdefault(name, []).append(reading.observation)
    box.close()
    return found


def test_a_station_reads_every_device_whole_whatever_goes_wrong(tmp_path: Path) -> None:
    """Each fault alone costs time at most: no reading, and none twice."""
    devices = scenario.load(scenario.SCENARIOS / "faults.toml")
    sim = command("sim", "run", "faults", "--json", "--data", str(tmp_path / "sim"))
    with part(tmp_path, "sim", sim) as running:
        bus = {"DBUS_SYSTEM_BUS_ADDRESS": running.ready()["bus"]}
        config = _config(tmp_path, devices)
        agent = command("agent", "run", "--config", str(config))
        agent += ["--data", str(tmp_path / "agent")]
        with part(tmp_path, "agent", agent, **bus) as station:

            def all_read() -> bool:
                seen = agent_status(tmp_path).get("devices", {})
                return len(seen) == len(devices) and all(
                    seen[_peer(tmp_path, one)]["captured"] >= len(one.truth)
                    and seen[_peer(tmp_path, one)]["visits"]
                    for one in devices
                )

            try:
                until(all_read, station.process, _READ_S)
            finally:
                status: dict[str, Any] = agent_status(tmp_path)
    told = _readings(tmp_path)
    wrong = {}
    for device in devices:
        held, seen = _held(device.truth), _told(told.get(_name(device), []))
        if held != seen:
            wrong[_name(device)] = (held - seen, seen - held)

    assert not wrong, status

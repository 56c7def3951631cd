"""The devices that drivers are proven on, in scenarios."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from drivers import registry
from drivers.sdk import GattDriver
from firmware_sim.faults import Faults
from firmware_sim.kit.visits import Case
from firmware_sim.scenario import load
from firmware_sim.simulated import OnSerialPort, OverBluetooth
from firmware_sim.trial_device import TrialDevice, find_trial
from firmware_sim.virtual_time import VirtualTimeLoop
from protocols.config import ConfigError
from protocols.observation import Kind

_HOME = {Kind.GLUCOSE, Kind.BLOOD_PRESSURE}


def _place(driver: str) -> dict[str, Any]:
    is_ble = isinstance(registry.load(driver), GattDriver)
    return {"address": "C0:00:00:00:00:01"} if is_ble else {"port": "a"}


def _used_at_home() -> list[str]:
    return [name for name in registry.names() if _HOME & find_trial(name).spans.keys()]


@pytest.mark.parametrize("driver", _used_at_home())
def test_a_driver_reads_what_a_simulated_person_measured(driver: str) -> None:
    """Failed measurements, HI and LO, mmol/L and whole minutes too."""
    trial = find_trial(driver)
    case = Case(registry.load(driver), trial)
    device = TrialDevice(driver=driver, seed=3, days=20, **_place(driver))
    made = device.simulate(Path())

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        found = runner.run(case.visit(made.bench))

    assert found.error is None
    assert case.reader.told(found.seen) == case.reader.truth(device.shown(trial))
    assert len(made.truth) == len(device.shown(trial)) > 0


def test_a_device_is_where_its_scenario_says(tmp_path: Path) -> None:
    path = tmp_path / "ward.toml"
    path.write_text(
        '[[device]]\nmodel = "trial"\ndriver = "contour"\nport = "usb"\ncount = 3\n'
        '[[device]]\nmodel = "trial"\ndriver = "gatt-glucose"\ncount = 2\n'
        'address = "C0:00:00:00:00:01"\nseries = "span"\n[device.faults]\nlost = [1]\n'
    )

    serial, ble = load(path)

    assert isinstance(serial, OnSerialPort)
    assert (serial.port, serial.config.name, len(serial.truth)) == ("usb", "contour", 3)
    assert isinstance(ble, OverBluetooth)
    assert (ble.address, ble.bond_lost) == ("C0:00:00:00:00:01", None)
    assert ble.bench._faults == Faults(lost=frozenset({1}))
    assert [one["device"] for one in ble.truth] == ["gatt-glucose"] * 2


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"driver": "kettle", "port": "a"}, "no trial of 'kettle'; there are: and-"),
        ({"driver": "contour"}, "contour needs either an address or a port"),
        (
            {"driver": "contour", "port": "a", "address": "C0:00:00:00:00:01"},
            "contour needs either an address or a port",
        ),
        (
            {"driver": "gatt-thermometer", "address": "C0:00:00:00:00:01"},
            'the simulated patient does not use it; say series = "span"',
        ),
    ],
)
def test_what_there_is_not_is_refused(keys: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        TrialDevice(**keys).simulate(Path())

"""What a device itself has suffered: what it then holds, tells and shows."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from drivers import registry
from drivers.sdk import GattDriver
from firmware_sim.conditions import FACTORY_DATE, LOW_PERCENT, Conditions
from firmware_sim.kit.visits import Case
from firmware_sim.scenario import load
from firmware_sim.simulated import Simulated
from firmware_sim.trial_device import TrialDevice, find_trial
from firmware_sim.virtual_time import VirtualTimeLoop
from protocols.config import ConfigError

_BATTERY_LEVEL = UUID("00002a19-0000-1000-8000-00805f9b34fb")
_MODELS = {
    "glucose-meter": 'series = "smbg_uci"\nseries_device = "uci-28"\naddress = ',
    "blood-pressure-cuff": 'series = "bp_home_jhs"\nseries_device = "jhs1"\naddress = ',
    "ultraeasy": 'series = "smbg_uci"\nseries_device = "uci-02"\nport = ',
}


def _trial(driver: str, series: str = "patient", **conditions: object) -> TrialDevice:
    is_ble = isinstance(registry.load(driver), GattDriver)
    place: dict[str, Any] = (
        {"address": "C0:00:00:00:00:01"} if is_ble else {"port": "a"}
    )
    wanted = Conditions(**conditions)  # type: ignore[arg-type]
    return TrialDevice(driver=driver, series=series, conditions=wanted, **place)


def _loaded(folder: Path, model: str, *lines: str) -> Simulated:
    head = f'[[device]]\nmodel = "{model}"\nname = "x"\nserial = "1"\n'
    own = _MODELS[model] + '"C0:00:00:00:00:01"\n'
    path = folder / "ward.toml"
    path.write_text(head + own + "\n".join(lines))
    (device,) = load(path)
    return device


def _whole(device: TrialDevice) -> bool:
    """Whether the driver reads what the device has shown, in one visit."""
    trial = find_trial(device.driver)
    case = Case(registry.load(device.driver), trial)
    bench = device.simulate(Path()).bench

    async def run() -> bool:
        found = await case.visit(bench)
        truth = case.reader.truth(device.shown(trial))
        return found.error is None and case.reader.told(found.seen) == truth

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(run())


@pytest.mark.parametrize("driver", registry.names())
def test_a_driver_reads_its_device_in_every_condition(driver: str) -> None:
    """What is seen once in a year in the field must not be seen there first."""
    conditions: list[dict[str, object]] = [
        {"rebooted_clock": 3},
        {"sequence_wrap": True},
        {"mixed_slots": True},
        {"low_battery": True},
    ]
    unread = []
    for one in conditions:
        device = _trial(driver, "span", **one)
        with suppress(ConfigError):  # it can't be in that one
            device.simulate(Path())
            if not _whole(device):
                unread.append(one)

    assert unread == []


def test_the_newest_readings_carry_dates_of_a_clock_that_started_again() -> None:
    device = _trial("onetouch-ultraeasy", rebooted_clock=3)
    trial = find_trial(device.driver)
    before, after = _trial("onetouch-ultraeasy").shown(trial), device.shown(trial)

    assert after[:-3] == before[:-3]
    assert [one.values for one in after] == [one.values for one in before]
    moved = {new.time - old.time for new, old in zip(after, before, strict=True)}
    assert len(moved) == 2
    first = after[-3].time - FACTORY_DATE
    assert timedelta(minutes=10) <= first < timedelta(minutes=11)
    bench = device.simulate(Path()).bench
    assert after[-1].time <= bench._clock() < FACTORY_DATE + timedelta(days=30)


def test_a_device_without_readings_has_kept_its_clock() -> None:
    device = TrialDevice(
        driver="onetouch-ultraeasy",
        port="a",
        count=0,
        conditions=Conditions(rebooted_clock=3),
    )
    local = datetime.now(UTC).astimezone().replace(tzinfo=None)

    shown = device.simulate(Path()).bench._clock()

    assert abs(shown - local) < timedelta(seconds=10)


@pytest.mark.parametrize(
    ("driver", "series", "capacity"),
    [
        ("onetouch-ultraeasy", "span", 500),
        ("omron-eeprom", "patient", 120),
        ("glucomen-areo", "span", 1400),
    ],
)
def test_a_full_memory_holds_all_that_it_can(
    driver: str, series: str, capacity: int
) -> None:
    """Also where each user slot has its own share of the memory."""
    device = _trial(driver, series, full_memory=True)

    assert len(device.simulate(Path()).truth) == capacity
    assert _whole(device)


def test_user_slots_take_turns() -> None:
    trial = find_trial("gatt-blood-pressure")
    apart = _trial("gatt-blood-pressure").shown(trial)
    mixed = _trial("gatt-blood-pressure", mixed_slots=True).shown(trial)

    assert {one.slot for one in apart} == {1}
    assert [one.slot for one in mixed[:4]] == [1, 2, 1, 2]


def test_a_low_battery_is_told_by_its_level_and_by_the_newest_records() -> None:
    bench = _trial("gatt-glucose", low_battery=True).simulate(Path()).bench

    assert bench.read(_BATTERY_LEVEL) == bytes([LOW_PERCENT])
    assert [each.status for each in bench.records[-4:]] == [0, 1, 1, 1]


def test_numbers_begin_again_in_the_middle(tmp_path: Path) -> None:
    lines = ("count = 5", "[device.conditions]", "sequence_wrap = true")
    meter = _loaded(tmp_path, "glucose-meter", *lines)

    numbers = [65533, 65534, 65535, 0, 1]
    assert [each.sequence for each in meter.bench.records] == numbers
    assert [each["sequence"] for each in meter.truth] == numbers


def test_the_other_models_have_their_conditions_too(tmp_path: Path) -> None:
    plain = _loaded(tmp_path, "glucose-meter", "count = 4")
    conditions = (
        "[device.conditions]\nrebooted_clock = 2\nlow_battery = true\nbond_lost = 3"
    )
    meter = _loaded(tmp_path, "glucose-meter", "count = 4", conditions)
    mixed = f"{conditions}\nmixed_slots = true"
    cuff = _loaded(tmp_path, "blood-pressure-cuff", "count = 4", mixed)

    for device in (meter, cuff):
        years = [str(each["device_time"])[:4] for each in device.truth]
        assert years[2:] == ["2000", "2000"]
        assert "2000" not in years[:2]
        assert device.bench.read(_BATTERY_LEVEL) == bytes([LOW_PERCENT])
        assert device.bond_lost == 3
    assert [each.status for each in meter.bench.records] == [0, 1, 1, 1]
    assert [each.user for each in cuff.bench.unsent] == [1, 2, 1, 2]
    was, now = (str(one.truth[-1]["device_time"]) for one in (plain, meter))
    set_by = datetime.fromisoformat(now) - datetime.fromisoformat(was)
    lag = plain.bench._clock() + set_by - meter.bench._clock()
    assert abs(lag) < timedelta(seconds=10)


def test_an_ultraeasy_can_be_full(tmp_path: Path) -> None:
    rows = "".join(f"x,{60 * number},100\n" for number in range(501))
    (tmp_path / "own.csv").write_text(f"device,time,value\n{rows}")
    lines = ('series = "own.csv"\nseries_device = "x"\nport = "a"',)
    path = tmp_path / "ward.toml"
    head = '[[device]]\nmodel = "ultraeasy"\nname = "x"\nserial = "1"\n'
    path.write_text(head + lines[0] + "\n[device.conditions]\nfull_memory = true\n")

    (device,) = load(path)

    assert len(device.truth) == 500
    assert device.truth[0]["device_time"] == "1970-01-01T00:01:00"


@pytest.mark.parametrize(
    ("driver", "conditions", "problem"),
    [
        ("yonker", {"rebooted_clock": 1}, "yonker: no rebooted_clock: it sends no"),
        ("gatt-cgm", {"rebooted_clock": 1}, "counts from its session's start"),
        ("gatt-glucose", {"full_memory": True}, "its trial names no capacity"),
        ("glucomen-areo", {"full_memory": True}, "the patient fills 700 of 1400"),
        ("contour", {"sequence_wrap": True}, "can't number readings so"),
        ("contour", {"mixed_slots": True}, "keeps no user slots apart"),
        ("contour", {"low_battery": True}, "tells nothing of its battery"),
        ("contour", {"bond_lost": 1}, "nobody bonds with it"),
    ],
)
def test_what_a_device_cannot_suffer_is_refused(
    driver: str, conditions: dict[str, object], problem: str
) -> None:
    """A scenario that asks for it would show nothing, and nobody would notice."""
    with pytest.raises(ConfigError, match=problem):
        _trial(driver, **conditions).simulate(Path())


def test_a_count_contradicts_a_full_memory() -> None:
    device = TrialDevice(
        driver="contour", port="a", count=3, conditions=Conditions(full_memory=True)
    )

    with pytest.raises(ConfigError, match="count says how many"):
        device.simulate(Path())


@pytest.mark.parametrize(
    ("model", "lines", "problem"),
    [
        ("glucose-meter", "full_memory = true", "how much it holds is not known"),
        ("glucose-meter", "mixed_slots = true", "keeps no user slots"),
        ("blood-pressure-cuff", "sequence_wrap = true", "it numbers no readings"),
        ("blood-pressure-cuff", "full_memory = true", "how much it holds"),
        ("ultraeasy", "full_memory = true", "373 rows do not fill 500"),
        ("ultraeasy", "low_battery = true", "tells nothing of its battery"),
        ("ultraeasy", "bond_lost = 1", "nobody bonds with it"),
    ],
)
def test_the_other_models_refuse_what_they_cannot_suffer(
    tmp_path: Path, model: str, lines: str, problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        _loaded(tmp_path, model, "[device.conditions]", lines)


@pytest.mark.parametrize(
    ("model", "key", "condition", "problem"),
    [
        ("glucose-meter", "first_sequence = 5", "sequence_wrap", "first_sequence"),
        ("blood-pressure-cuff", "user = 1", "mixed_slots", "user names one for all"),
    ],
)
def test_keys_that_contradict_a_condition_are_refused(
    tmp_path: Path, model: str, key: str, condition: str, problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        _loaded(tmp_path, model, key, "[device.conditions]", f"{condition} = true")

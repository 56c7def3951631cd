"""Scenario files: what they make, and what they say of a mistake."""

import csv
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from firmware_sim import scenario
from firmware_sim.bench import Send
from firmware_sim.conditions import Conditions
from firmware_sim.devices.gatt_blood_pressure import BloodPressureCuff
from firmware_sim.devices.gatt_glucose import GlucoseMeter
from firmware_sim.devices.onetouch_ultraeasy import UltraEasy
from firmware_sim.faults import Faults
from firmware_sim.scenario import load
from protocols.config import ConfigError

_DATA = Path(scenario.__file__).parent / "data"

_METER = """\
[[device]]
model = "glucose-meter"
name = "meter"
serial = "1"
address = "C0:00:00:00:00:01"
series = "smbg_uci"
series_device = "uci-28"
"""
_CUFF = """\
[[device]]
model = "blood-pressure-cuff"
name = "cuff"
serial = "2"
address = "C0:00:00:00:00:02"
series = "bp_home_jhs"
series_device = "jhs1"
"""
_SERIAL = """\
[[device]]
model = "ultraeasy"
name = "ultra"
serial = "3"
port = "ultra"
series = "smbg_uci"
series_device = "uci-02"
"""


def _load(folder: Path, text: str) -> list[Any]:
    path = folder / "ward.toml"
    path.write_text(text)
    return load(path)


def _csv(name: str, device: str) -> list[dict[str, str]]:
    with (_DATA / name).open() as file:
        return [row for row in csv.DictReader(file) if row["device"] == device]


def _clock(row: dict[str, str], shift_days: int) -> str:
    moved = timedelta(days=shift_days, seconds=int(row["time"]))
    time = datetime(1970, 1, 1, tzinfo=UTC) + moved
    return time.strftime("%Y-%m-%dT%H:%M:%S")


def test_the_truth_of_the_demo_is_the_series() -> None:
    """Digit by digit: what a station must have in the end."""
    meter, cuff, ultra = load()

    assert meter.truth == [
        {
            "device": "00012345",
            "kind": "glucose",
            "device_time": _clock(row, 12992),
            "sequence": number,
            "values": {"glucose": {"value": row["value"], "unit": "mg/dL"}},
        }
        for number, row in enumerate(_csv("smbg_uci.csv", "uci-28"), start=1)
    ]
    assert cuff.truth == [
        {
            "device": "00000815",
            "kind": "blood-pressure",
            "device_time": _clock(row, 2282),
            "sequence": None,
            "values": {
                "systolic": {"value": row["value"], "unit": "mm[Hg]"},
                "diastolic": {"value": row["value2"], "unit": "mm[Hg]"},
                "pulse-rate": {"value": row["value3"], "unit": "/min"},
            },
        }
        for row in _csv("bp_home_jhs.csv", "jhs1")
    ]
    assert ultra.truth == [
        {
            "device": "SIM000001",
            "kind": "glucose",
            "device_time": _clock(row, 13069),
            "sequence": None,
            "values": {"glucose": {"value": row["value"], "unit": "mg/dL"}},
        }
        for row in _csv("smbg_uci.csv", "uci-02")
    ]
    assert [len(device.truth) for device in (meter, cuff, ultra)] == [400, 222, 373]


def test_the_demo_has_one_of_each() -> None:
    meter, cuff, ultra = load()

    assert isinstance(meter.bench, GlucoseMeter)
    assert isinstance(cuff.bench, BloodPressureCuff)
    assert isinstance(ultra.bench, UltraEasy)
    assert (meter.bench.passkey, meter.bench.name) == (314159, "meter+00012345")
    assert len(meter.bench.records) == 400
    assert len(cuff.bench.unsent) == 222
    assert {record.meal for record in meter.bench.records} == {1, None}


def test_meals_come_from_the_codes_of_the_series(tmp_path: Path) -> None:
    """58 is before breakfast, 59 behind it, 48 says nothing."""
    table = "device,time,value,mealcode\nx,1,100,58\nx,2,100,59\nx,3,100,48\nx,4,100,\n"
    (tmp_path / "own.csv").write_text(table)
    text = _METER.replace("smbg_uci", "own.csv").replace("uci-28", "x")

    for more, meals in (("meals = true\n", [1, 2, None, None]), ("", [None] * 4)):
        (meter,) = _load(tmp_path, text + more)
        assert [record.meal for record in meter.bench.records] == meals


def test_what_the_scenario_says_reaches_the_device(tmp_path: Path) -> None:
    more = """\
count = 3
passkey = "000042"
first_sequence = 65534
time_offset_min = 90
clock_offset_s = -7200
[device.faults]
lost = [1]
repeated = [2]
hang_up_after = [3]
late_s = 0.5
"""
    (meter,) = _load(tmp_path, _METER + more)
    local = datetime.now(UTC).astimezone().replace(tzinfo=None)

    assert [record.sequence for record in meter.bench.records] == [65534, 65535, 0]
    assert meter.bench.records[0].base_time.isoformat() == "1989-11-05T05:30:00"
    assert meter.truth[0]["device_time"] == "1989-11-05T07:00:00"
    assert meter.bench.passkey == 42
    late = local - meter.bench._clock()
    assert timedelta(0) <= late - timedelta(hours=2) < timedelta(seconds=10)
    assert meter.bench._faults == Faults(
        lost=frozenset({1}),
        repeated=frozenset({2}),
        hang_up_after=frozenset({3}),
        late_s=0.5,
    )


def test_a_cuff_tells_its_user_and_has_its_faults(tmp_path: Path) -> None:
    more = "count = 1\nuser = 2\n[device.faults]\nrepeated = [1]\n"
    (cuff,) = _load(tmp_path, _CUFF + more)
    uuid = next(iter(cuff.bench.services.values()))[0].uuid
    sent = Send(
        uuid, bytes.fromhex("1e 85 00 4a 00 ff 07 e3 07 04 0f 17 26 1c 43 00 02 00 00")
    )

    actions = list(cuff.bench.enabled(uuid, on=True))
    assert actions[:2] == [sent, sent]


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        (_METER + "colour = 1\n", 8, "unknown field `colour`"),
        (_METER + _CUFF + "colour = 1\n", 15, "unknown field `colour`"),
        (_METER.replace('"C0:00', '"zz:00'), 5, "matching regex"),
        (_METER + 'passkey = "12345"\n', 8, "matching regex"),
        (_METER + "first_sequence = 65536\n", 8, "<= 65535"),
        (_CUFF + _METER + "[device.faults]\nlost = [0]\n", 16, ">= 1"),
        (_METER + "[device.faults]\nfire = [1]\n", 9, "unknown field `fire`"),
        (_METER + "[device.conditions]\nbond_lost = 0\n", 9, ">= 1"),
        (_METER + _CUFF.replace("blood-pressure-cuff", "kettle"), 9, "'kettle'"),
        (_METER.replace('model = "glucose-meter"\n', ""), 1, "field `model`"),
        (_SERIAL + "count = 501\n", 8, "<= 500"),
        (_SERIAL.replace('port = "ultra"\n', ""), 1, "field `port`"),
        ("[[device]]\nmodel = \n", 2, "Invalid value"),
    ],
)
def test_a_mistake_is_named_with_its_line(
    tmp_path: Path, text: str, line: int, problem: str
) -> None:
    with pytest.raises(ConfigError) as mistake:
        _load(tmp_path, text)

    assert problem in str(mistake.value)
    assert re.search(rf"ward\.toml.*line {line}\b", str(mistake.value))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (_METER + _METER.replace('"1"', '"9"'), "two devices have the address C0:"),
        (_METER + _CUFF.replace('"2"', '"1"'), "two devices have the serial 1"),
        (_SERIAL + _SERIAL.replace('"3"', '"4"'), "two devices have the port ultra"),
        (_METER.replace("smbg_uci", "gone"), "no series gone"),
        (_METER.replace("uci-28", "uci-99"), "no rows of uci-99"),
        (
            _CUFF.replace("bp_home_jhs", "smbg_uci").replace("jhs1", "uci-02"),
            "no value2",
        ),
        (_METER + "[device.faults]\nnoisy = [1]\n", "noisy is one of a serial device"),
        (_SERIAL + "[device.faults]\nrefused = [1]\n", "refused is one of a BLE"),
    ],
)
def test_what_does_not_fit_together_is_refused(
    tmp_path: Path, text: str, problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        _load(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "rows", "problem"),
    [
        (_METER, ["1,2046"], "not exact"),
        (_CUFF, ["1,12.345,80"], "not exact"),
        (_SERIAL, ["1,5.5"], "5.5 is no mg/dL"),
        (_SERIAL, [f"{n},100" for n in range(501)], "501 records do not fit"),
        (_SERIAL, ["1,100", "2,100", "1,100"], "two records of 1970-01-01 00:00:01"),
        (_CUFF, ["1,120,80", "1,120,80"], "two records of 1970-01-01 00:00:01"),
    ],
)
def test_a_series_that_the_device_cannot_hold_is_refused(
    tmp_path: Path, text: str, rows: list[str], problem: str
) -> None:
    """Rounded, cut or confused, the truth would be a lie."""
    table = ["device,time,value,value2", *(f"x,{row}" for row in rows)]
    width = table[0].count(",")
    padded = [row + "," * (width - row.count(",")) for row in table]
    (tmp_path / "own.csv").write_text("\n".join(padded) + "\n")
    text = re.sub(r'series = ".*"', 'series = "own.csv"', text)
    text = re.sub(r'series_device = ".*"', 'series_device = "x"', text)

    with pytest.raises(ConfigError, match=problem):
        _load(tmp_path, text)


def test_a_glucose_meter_keeps_equal_results_apart_by_their_number(
    tmp_path: Path,
) -> None:
    (tmp_path / "own.csv").write_text("device,time,value\nx,1,100\nx,1,100\n")
    text = _METER.replace("smbg_uci", "own.csv").replace("uci-28", "x")

    (meter,) = _load(tmp_path, text)

    assert [record["sequence"] for record in meter.truth] == [1, 2]


def test_a_device_may_be_empty(tmp_path: Path) -> None:
    devices = _load(tmp_path, _METER + "count = 0\n" + _SERIAL + "count = 0\n")

    assert [device.truth for device in devices] == [[], []]


def test_the_station_has_six_devices_with_a_month_each() -> None:
    devices = load(Path("station"))

    assert len(devices) == 6
    assert all(len(device.truth) >= 60 for device in devices)
    assert len({device.config.seed for device in devices}) == 5


def test_each_fault_and_each_condition_occurs_once() -> None:
    """A fault that is not there is shown to nobody, and tried by nobody."""
    configs = [device.config for device in load(Path("faults"))]
    asked = [
        name
        for config in configs
        for told in (config.faults, config.conditions)
        for name in told.__struct_fields__
        if getattr(told, name) != getattr(type(told)(), name)
    ]
    every = [*Faults.__struct_fields__, *Conditions.__struct_fields__]

    # A notification and an indication are lost in two ways.
    assert sorted(asked) == sorted([*every, "lost"])


def test_a_file_of_one_s_own_is_preferred(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("station").write_text(_METER + "count = 1\n")

    assert len(load(Path("station"))) == 1


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.toml: cannot be read"):
        load(tmp_path / "gone.toml")

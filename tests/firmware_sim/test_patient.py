"""The simulated patient: the same for a seed, and what its devices can show."""

from datetime import datetime, timedelta
from decimal import Decimal
from functools import cache
from hashlib import sha256
from itertools import pairwise
from typing import get_args

import numpy as np
import pytest

from firmware_sim.devices.gatt_blood_pressure import BloodPressureRecord
from firmware_sim.devices.gatt_glucose import GlucoseRecord
from firmware_sim.devices.onetouch_ultraeasy import UltraEasyRecord
from firmware_sim.patient import (
    METER_MG,
    METER_MMOL,
    SENSOR_MMOL,
    Display,
    Kind,
    Patient,
    rows,
)
from firmware_sim.physiology import (
    Circulation,
)
from firmware_sim.series import Row

_KINDS: tuple[Kind, ...] = get_args(Kind)
_START = datetime.fromisoformat("2026-01-05T00:00:00")
_SEEDS = range(1, 10)
_ALWAYS_FIBRILLATING = Circulation(fibrillation=1.0)


# Kind, first lines, SHA-256 of the lines of 14 days of seed 1.
_GOLDEN = [
    (
        "glucose",
        [
            "2026-01-05T07:59:39 value=173 mealcode=58",
            "2026-01-05T13:48:07 value=86 mealcode=60",
            "2026-01-05T21:00:34 value=63 mealcode=62",
        ],
        "d80edc392cbef9b1aaf8c6f3276c8bee9d8e940edb36cfd4e0a9b27c5c852a70",
    ),
    (
        "cgm",
        [
            "2026-01-05T00:00:28 value=120",
            "2026-01-05T00:05:28 value=120",
            "2026-01-05T00:10:28 value=121",
        ],
        "0000d77b47c3f5b47009bd3cd964857b74e059fb64479de5a1692d171256eb93",
    ),
    (
        "blood-pressure",
        [
            "2026-01-05T06:11:57 value=149 value2=100 value3=73 mean=115 status=0",
            "2026-01-05T20:49:03 value=146 value2=92 value3=74 mean=109 status=0",
            "2026-01-05T20:51:22 value=147 value2=90 value3=73 mean=109 status=0",
        ],
        "96bc19b72613c986a96d5a44af53648b9c480a259415fd659465843f7028a597",
    ),
    (
        "ambulatory",
        [
            "2026-01-05T00:00:36 value=127 value2=91 value3=63 mean=102 status=0",
            "2026-01-05T01:00:12 value=130 value2=90 value3=53 mean=103 status=0",
            "2026-01-05T02:00:40 value=127 value2=90 value3=71 mean=102 status=0",
        ],
        "e61b80ae7168d598744853fbeb00daebf671aa910692516d63b6f78aedfe195c",
    ),
]


def _finite(series: list[Row]) -> list[Row]:
    return [row for row in series if row["value"].is_finite()]


def _text(series: list[Row]) -> list[str]:
    return [
        " ".join(
            [row.time.isoformat(), *(f"{name}={v}" for name, v in row.values.items())]
        )
        for row in series
    ]


@cache
def _cuff(seed: int) -> list[Row]:
    return rows(seed, "blood-pressure", 40, start=_START)


@pytest.mark.parametrize(("kind", "first", "digest"), _GOLDEN)
def test_a_seed_is_the_same_patient_everywhere(
    kind: Kind, first: list[str], digest: str
) -> None:
    """A failing run is repeated elsewhere by its seed, so no value may move."""
    lines = _text(rows(1, kind, 14))

    assert lines[:3] == first
    assert sha256("\n".join(lines).encode()).hexdigest() == digest


@pytest.mark.parametrize("kind", _KINDS)
def test_another_seed_is_another_patient(kind: Kind) -> None:
    assert rows(1, kind, 2) != rows(2, kind, 2)


@pytest.mark.parametrize("kind", _KINDS)
def test_more_days_begin_with_fewer(kind: Kind) -> None:
    """A device that is read every day has still what it had yesterday."""
    few, many = _text(rows(3, kind, 4)), _text(rows(3, kind, 9))

    assert many[: len(few)] == few
    assert len(many) > len(few)


@pytest.mark.parametrize("kind", _KINDS)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_times_are_whole_seconds_within_the_days_and_always_later(
    kind: Kind, seed: int
) -> None:
    times = [row.time for row in rows(seed, kind, 5, start=_START)]

    assert all(before < after for before, after in pairwise(times))
    assert _START <= times[0] < times[-1] < _START + timedelta(days=5)
    assert all(time.microsecond == 0 and time.tzinfo is None for time in times)


@pytest.mark.parametrize("kind", _KINDS)
def test_no_days_are_no_readings(kind: Kind) -> None:
    assert rows(1, kind, 0) == []


def test_an_unknown_kind_or_unit_is_refused() -> None:
    with pytest.raises(ValueError, match="no readings of kind weight in mg/dL"):
        rows(1, "weight", 1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no readings of kind cgm in g/L"):
        rows(1, "cgm", 1, unit="g/L")


@pytest.mark.parametrize("kind", ["glucose", "cgm"])
@pytest.mark.parametrize(
    ("unit", "decimals", "low", "high"),
    [("mg/dL", 0, (20, 40), (600, 400)), ("mmol/L", 1, ("1.1", "2.2"), ("33.3", 22.2))],
)
def test_glucose_is_a_step_of_the_display_or_hi_or_lo(
    kind: Kind,
    unit: str,
    decimals: int,
    low: tuple[str, str],
    high: tuple[str, str],
) -> None:
    sensor = kind == "cgm"
    values = [row["value"] for row in rows(4, kind, 10, unit=unit)]
    shown = [value for value in values if value.is_finite()]

    assert {-int(value.as_tuple().exponent) for value in shown} == {decimals}
    assert Decimal(low[sensor]) <= min(shown) < max(shown) <= Decimal(str(high[sensor]))
    assert not any(value.is_nan() for value in values)


@pytest.mark.parametrize(
    ("display", "mg_per_dl", "shown"),
    [
        (METER_MG, 19.4, "-Infinity"),
        (METER_MG, 19.5, "20"),
        (METER_MG, 600.4, "600"),
        (METER_MG, 600.5, "Infinity"),
        (METER_MMOL, 99.0, "5.5"),
        (METER_MMOL, 90.0, "5.0"),
        (METER_MMOL, 18.9, "-Infinity"),
        (METER_MMOL, 18.92, "1.1"),
        (METER_MMOL, 601.0, "Infinity"),
        (SENSOR_MMOL, 400.8, "22.2"),
    ],
)
def test_a_display_rounds_to_its_step_and_then_looks_at_its_limits(
    display: Display, mg_per_dl: float, shown: str
) -> None:
    assert str(display.show(mg_per_dl)) == shown


def test_a_meter_that_shows_little_says_hi_and_lo() -> None:
    meter = Display("mg/dL", 0, Decimal(90), Decimal(180))
    values = {row["value"] for row in Patient(5).glucose(10, meter)}

    assert {Decimal("Infinity"), Decimal("-Infinity")} <= values
    assert all(90 <= value <= 180 for value in values if value.is_finite())


def test_the_devices_can_hold_what_the_patient_has() -> None:
    """A number with too many digits would stop a scenario at its start."""
    for row in rows(6, "glucose", 10):
        list(GlucoseRecord(1, row.time, row["value"]).notifications())
        UltraEasyRecord(row.time, row["value"]).encode()
    for row in rows(6, "glucose", 10, unit="mmol/L"):
        list(GlucoseRecord(1, row.time, row["value"], "mmol/L").notifications())
    for row in rows(6, "blood-pressure", 60):
        BloodPressureRecord(
            systolic=row["value"],
            diastolic=row["value2"],
            time=row.time,
            pulse_rate=row["value3"],
            mean=row["mean"],
            status=int(row["status"]),
        ).indication()


def test_a_cuff_shows_what_cuffs_can_or_that_it_failed() -> None:
    series = [row for seed in _SEEDS for row in _cuff(seed)]
    series += [row for seed in _SEEDS for row in rows(seed, "ambulatory", 1)]
    failed = [row for row in series if row["value"].is_nan()]

    for row in _finite(series):
        systolic, diastolic, pulse, mean = (
            row[name] for name in ("value", "value2", "value3", "mean")
        )
        assert 60 <= systolic <= 260
        assert 30 <= diastolic < mean < systolic
        assert 40 <= pulse <= 180
        assert systolic == int(systolic)
    for row in failed:
        assert all(row[name].is_nan() for name in ("value2", "value3", "mean"))
    assert 0.005 < len(failed) / len(series) < 0.05
    assert 0.015 < np.mean([int(row["status"]) & 1 for row in series]) < 0.05


def test_a_failed_measurement_is_mostly_taken_again() -> None:
    series = [row for seed in _SEEDS for row in _cuff(seed)]
    soon = [
        (after.time - before.time).total_seconds() <= 330.0
        for before, after in pairwise(series)
        if before["value"].is_nan()
    ]

    assert np.mean(soon) > 0.7


def test_a_patient_s_waveform_has_the_patient_s_truth() -> None:
    patient = Patient(9)
    true, recording = patient.pressure(480), patient.deflation(480)

    assert (recording.systolic, recording.diastolic) == (true.systolic, true.diastolic)
    assert recording.mean == pytest.approx(true.mean)
    assert 60.0 / np.diff(recording.beats_s).mean() == pytest.approx(
        true.pulse, rel=0.05
    )
    assert not np.array_equal(
        recording.pressure[:100], patient.deflation(481).pressure[:100]
    )

"""The simulated bodies and their devices, against real series and their own truth."""

from datetime import datetime
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from firmware_sim import physiology
from firmware_sim.oscillometry import F8
from firmware_sim.patient import (
    Patient,
    rows,
)
from firmware_sim.physiology import (
    NO_DIABETES,
    NORMOTENSIVE,
    TYPE_1,
    TYPE_2,
    Circulation,
    Draws,
)
from firmware_sim.series import Row, find, measurements

_START = datetime.fromisoformat("2026-01-05T00:00:00")
_SEEDS = range(1, 9)
_ALWAYS_FIBRILLATING = Circulation(fibrillation=1.0)


def _column(series: list[Row], name: str = "value") -> F8:
    return np.array([float(row[name]) for row in series])


def _finite(series: list[Row]) -> list[Row]:
    return [row for row in series if row["value"].is_finite()]


@cache
def _sensor(seed: int, kind: physiology.Glycaemia) -> list[Row]:
    return rows(seed, "cgm", 6, start=_START, glycaemia=kind)


def test_finger_sticks_are_as_near_the_truth_as_iso_15197_wants() -> None:
    """95 % within 15 mg/dL below 100 mg/dL, within 15 % from there on."""
    within = []
    for seed in range(1, 5):
        patient = Patient(seed, start=_START)
        course = patient.plasma(10)
        for row in _finite(patient.glucose(10)):
            true = course[int((row.time - _START).total_seconds()) // 60]
            within.append(abs(float(row["value"]) - true) <= 0.15 * max(true, 100.0))

    assert 0.97 < np.mean(within) < 0.999


def test_the_sensor_follows_the_blood_some_minutes_later() -> None:
    patient = Patient(7, start=_START)
    course = np.array(patient.plasma(6))
    readings = _finite(patient.cgm(6))[10:]
    minutes = np.array([(row.time - _START).total_seconds() // 60 for row in readings])
    values = _column(readings)
    match = {
        lag: np.corrcoef(values, course[minutes.astype(int) - lag])[0, 1]
        for lag in range(0, 31, 3)
    }

    assert 6 <= max(match, key=lambda lag: match[lag]) <= 12


def test_a_sensor_that_is_lain_on_reads_low_and_the_blood_does_not() -> None:
    """A low of the sensor that is none of the patient, by night and back again."""
    deepest = []
    for seed in (5, 6, 7):
        patient = Patient(seed, start=_START, glycaemia=NO_DIABETES)
        course = patient.plasma(10)
        for row in _finite(patient.cgm(10)):
            minute = int((row.time - _START).total_seconds()) // 60
            low = course[minute] - float(row["value"])
            if low > 30.0 and course[minute] < 130.0:
                deepest.append(row.time.hour)

    assert len(deepest) > 10
    assert np.mean([hour >= 23 or hour < 7 for hour in deepest]) > 0.9


# Means over the patients of a data set: Weinstock 2016 (Dexcom, 149 of type 1),
# iglu (Dexcom G4, 5 of type 2) and Colas 2019 (iPro, 163, most without diabetes):
# mean and SD in mg/dL, share below 70, autocorrelation after 5 minutes and after an
# hour, SD of the step of 5 minutes. docs/explanation/simulated-patient.md has more.
_REAL_CGM = {
    TYPE_1: (175.8, 75.9, 0.075, 0.995, 0.815, 7.07),
    TYPE_2: (160.1, 43.6, 0.002, 0.994, 0.711, 4.55),
    NO_DIABETES: (102.9, 17.5, 0.043, 0.992, 0.528, 2.15),
}


@pytest.mark.parametrize("kind", [*_REAL_CGM])
def test_a_sensor_s_series_are_of_the_size_of_real_ones(
    kind: physiology.Glycaemia,
) -> None:
    mean, sd, below, soon, later, step = np.mean(
        [_of_cgm(_sensor(seed, kind)) for seed in _SEEDS], axis=0
    )
    real = _REAL_CGM[kind]

    assert mean == pytest.approx(real[0], rel=0.12)
    assert sd == pytest.approx(real[1], rel=0.20)
    assert below == pytest.approx(real[2], abs=0.05)
    assert soon == pytest.approx(real[3], abs=0.007)
    assert later == pytest.approx(real[4], abs=0.20)
    assert step == pytest.approx(real[5], rel=0.35)


def _of_cgm(series: list[Row]) -> list[float]:
    values = np.clip(_column(series), 39.0, 401.0)
    time_s = np.array([(row.time - _START).total_seconds() for row in series])

    def pairs(steps: int) -> tuple[F8, F8]:
        near = np.abs(time_s[steps:] - time_s[:-steps] - 300.0 * steps) < 60.0
        return values[:-steps][near], values[steps:][near]

    now, soon = pairs(1)
    return [
        values.mean(),
        values.std(),
        np.mean(values < 70.0),
        np.corrcoef(now, soon)[0, 1],
        np.corrcoef(*pairs(12))[0, 1],
        np.std(soon - now),
    ]


def test_a_sensor_loses_readings_as_a_real_one_does() -> None:
    """Weinstock: 3 % of the steps skip readings, 55 % of these only one."""
    steps = np.concatenate(
        [
            np.diff([row.time.timestamp() for row in _sensor(seed, TYPE_1)])
            for seed in _SEEDS
        ]
    )
    gaps = np.rint(steps / 300.0)[steps > 450.0]

    assert 0.01 < gaps.size / steps.size < 0.04
    assert 0.45 < np.mean(gaps == 2) < 0.65
    assert np.abs(steps - 300.0 * np.rint(steps / 300.0)).max() < 30.0


def test_finger_sticks_are_of_the_size_of_real_ones() -> None:
    """UCI "Diabetes", two of whose patients are packaged: 163 mg/dL, SD 80."""
    real = [
        _column([*measurements(find("smbg_uci", Path()), device)])
        for device in ("uci-28", "uci-02")
    ]
    made = [_column(_finite(rows(seed, "glucose", 12))) for seed in _SEEDS]

    assert np.mean([each.mean() for each in made]) == pytest.approx(163.0, rel=0.12)
    assert np.std(np.concatenate(made)) == pytest.approx(80.0, rel=0.15)
    assert np.mean([each.size / 12 for each in made]) == pytest.approx(3.65, abs=0.4)
    for each in real:
        assert min(m.mean() for m in made) * 0.8 < each.mean()
        assert each.mean() < max(m.mean() for m in made) * 1.25


def test_home_pressures_are_of_the_size_of_real_ones() -> None:
    """The packaged series of one person, against the mean of many."""
    real = _of_home([*measurements(find("bp_home_jhs", Path()), "jhs1")])
    made = np.mean(
        [_of_home(_finite(rows(seed, "blood-pressure", 40))) for seed in _SEEDS], axis=0
    )

    names = "mean", "mean", "mean", "sd", "sd", "sd", "within", "between", "first"
    limits = 8.0, 6.0, 6.0, 2.0, 2.0, 2.5, 1.5, 2.0, 2.0
    for name, one, other, limit in zip(names, made, real, limits, strict=True):
        assert one == pytest.approx(other, abs=limit), name
    assert made[-1] > 2.0


def _of_home(series: list[Row]) -> list[float]:
    columns = [_column(series, name) for name in ("value", "value2", "value3")]
    times = np.array([row.time.timestamp() for row in series])
    new = np.nonzero(np.diff(times) > 1800.0)[0] + 1
    visits = np.split(columns[0], new)
    several = [visit for visit in visits if visit.size > 1]
    return [
        *(column.mean() for column in columns),
        *(column.std() for column in columns),
        float(np.sqrt(np.mean([visit.var(ddof=1) for visit in several]))),
        float(np.std([visit.mean() for visit in visits])),
        float(np.mean([visit[0] - visit[1] for visit in several])),
    ]


def test_pressures_fall_by_night() -> None:
    falls = []
    for seed in range(1, 17):
        series = _finite(rows(seed, "ambulatory", 1))
        hours = np.array([row.time.hour for row in series])
        values = _column(series)
        night, day = values[hours < 6], values[(hours >= 9) & (hours < 21)]
        falls.append(1.0 - night.mean() / day.mean())

    assert 0.06 < np.mean(falls) < 0.15
    assert 0.03 < np.std(falls) < 0.10


def test_the_irregular_flag_tells_episodes_of_fibrillation() -> None:
    patient = Patient(8, start=_START, circulation=_ALWAYS_FIBRILLATING)
    flags: dict[bool, list[bool]] = {False: [], True: []}
    pulses: dict[bool, list[float]] = {False: [], True: []}
    for row in _finite(patient.blood_pressure(90)):
        minute = int((row.time - _START).total_seconds()) // 60
        irregular = patient.irregular(minute)
        flags[irregular].append(bool(int(row["status"]) & 4))
        pulses[irregular].append(float(row["value3"]))

    assert 0.05 < len(flags[True]) / len(flags[False]) < 0.35
    assert np.mean(flags[True]) > 0.85
    assert np.mean(flags[False]) < 0.03
    assert np.mean(pulses[True]) > np.mean(pulses[False]) + 12.0
    assert np.std(pulses[True]) > np.std(pulses[False])


def test_most_hearts_never_fibrillate() -> None:
    minutes = range(0, 20 * physiology.DAY_MIN, 180)
    share = np.mean(
        [
            any(Patient(seed).irregular(minute) for minute in minutes)
            for seed in range(40)
        ]
    )

    assert 0.05 < share < 0.35


def test_somebody_else_has_other_pressures() -> None:
    def mean(circulation: Circulation) -> float:
        every = (
            rows(seed, "blood-pressure", 5, circulation=circulation) for seed in _SEEDS
        )
        return float(np.mean([_column(_finite(each)).mean() for each in every]))

    assert mean(NORMOTENSIVE) < mean(Circulation()) - 8.0


def test_draws_keep_to_what_they_promise() -> None:
    draws = Draws(1, "test")
    normal = np.array([draws.normal(5.0, 2.0) for _ in range(20_000)])

    assert normal.mean() == pytest.approx(5.0, abs=0.06)
    assert normal.std() == pytest.approx(2.0, abs=0.04)
    assert np.abs(normal - 5.0).max() <= 12.0
    assert {draws.whole(2, 4) for _ in range(100)} == {2, 3, 4}
    assert np.mean([draws.chance(0.3) for _ in range(5000)]) == pytest.approx(
        0.3, abs=0.03
    )
    assert Draws(1, "a").uniform(0.0, 1.0) != Draws(1, "b").uniform(0.0, 1.0)

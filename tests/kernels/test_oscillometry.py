"""Beats and pressures out of a deflating cuff: simulated with its truth, and real."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent import series_file
from edge_agent.kernels.oscillometry import (
    NEAR_ODD,
    ODD_HEIGHT,
    ODD_PRESSURE,
    ODD_TIME,
    Estimate,
    Oscillometer,
    estimate,
    odd_beats,
)
from edge_agent.kernels.streams import F8
from firmware_sim.oscillometry import Artery, Cuff, Deflation, deflation
from tests.kernels.forms import both

_RECORDED = Path(__file__).parent / "data" / "deflation.csv.gz"
_ARTERIES = [
    Artery(120, 80, 70),
    Artery(95, 55, 55),
    Artery(175, 100, 90),
    Artery(140, 90, 65, irregular=True),
    Artery(110, 70, 75, height=1.0),
]


def heard(made: Deflation, step: float = 0.01) -> Oscillometer:
    cuff = Oscillometer(made.rate_hz, step=step)
    cuff.push(made.pressure)
    return cuff


def bell(pressures: F8, *, highest: float, width: float) -> F8:
    """Return beats whose envelope is a bell that is known by heart."""
    away = (pressures - highest) / width
    times = np.arange(pressures.size) * 0.9
    return np.column_stack([times, pressures, 3.0 / (1 + away * away)])


@pytest.mark.parametrize("artery", _ARTERIES, ids=str)
@pytest.mark.parametrize("cuff", [Cuff(), Cuff(rate_hz=100, decimals=1)], ids=str)
def test_an_artery_of_the_usual_shares_is_found_again(
    artery: Artery, cuff: Cuff
) -> None:
    """Where the shares that it assumes are true, what it says must be true."""
    found = both(lambda: heard(deflation(5, artery, cuff)).estimate())

    assert found.systolic == pytest.approx(artery.systolic, abs=5)
    assert found.diastolic == pytest.approx(artery.diastolic, abs=5)
    assert found.mean == pytest.approx(artery.mean, abs=6)
    assert found.pulse == pytest.approx(artery.pulse, rel=0.1)
    assert found.artefact < 0.15


def test_beats_are_where_they_were_made() -> None:
    made = deflation(3, _ARTERIES[0], Cuff())
    beats = heard(made).beats

    truth = np.array(made.beats_s)
    apart = np.abs(beats[:, :1] - truth).min(axis=1)
    assert len(beats) >= 0.9 * len(truth)
    assert np.quantile(apart, 0.9) < 0.2  # the filters take their time


def test_an_artery_of_other_shares_is_told_wrongly() -> None:
    """Why it never overrides a device: a stiff artery moves what it says by much."""
    stiff = replace(_ARTERIES[0], systolic_ratio=0.65, diastolic_ratio=0.55)

    found = heard(deflation(5, stiff, Cuff())).estimate()

    assert found.systolic is not None
    assert found.systolic > stiff.systolic + 5


@pytest.mark.parametrize("seed", range(8))
def test_a_movement_is_flagged_and_not_taken_for_a_pulse(seed: int) -> None:
    """One jerk of the arm is higher than any beat: it would be the mean pressure."""
    artery = _ARTERIES[0]
    still = heard(deflation(seed, artery, Cuff()))
    made = deflation(seed, artery, Cuff(movements=1))
    moved = heard(made)

    ((begin, end),) = made.movements_s
    beats, flags = moved.beats, odd_beats(moved.beats)
    during = (beats[:, 0] > begin - 0.5) & (beats[:, 0] < end)
    assert flags[during & (beats[:, 2] > 4.0)].all()
    assert moved.estimate().artefact > still.estimate().artefact
    found = moved.estimate()
    for name in ("systolic", "mean", "diastolic"):
        value = getattr(found, name)
        assert value is None or value == pytest.approx(getattr(artery, name), abs=8)


def test_a_real_deflation_says_what_others_read_in_it() -> None:
    """A simulated artery has the envelope that we think arteries have."""
    (series,) = series_file.read(_RECORDED).devices.values()
    cuff = Oscillometer(100, step=0.1)
    cuff.push(series_file.floats(series.values[0]))

    found = cuff.estimate()

    assert found.systolic == pytest.approx(96, abs=4)  # 94.0 to 98.0, see ORIGIN.md
    assert found.mean == pytest.approx(73, abs=3)  # 71.9 to 74.9
    assert found.diastolic == pytest.approx(65.5, abs=4)  # 64.0 to 67.1
    assert found.pulse == pytest.approx(68.9, abs=4)


@given(st.lists(st.integers(0, 8000), max_size=3), st.integers(0, 9))
@settings(max_examples=10, deadline=None)
def test_pieces_and_restarts_hear_the_same(cuts: list[int], seed: int) -> None:
    made = deflation(seed, _ARTERIES[seed % 5], Cuff(movements=seed % 3))
    cuff = Oscillometer(made.rate_hz)
    for piece in np.split(made.pressure, sorted(cuts)):
        cuff.push(piece)
        cuff = Oscillometer(made.rate_hz).restored(cuff.to_bytes())

    assert cuff.beats.tolist() == heard(made).beats.tolist()
    assert cuff.estimate() == heard(made).estimate()


def test_the_envelope_is_cut_at_its_shares() -> None:
    """By hand: the bell is at one half at one width, at 0.7 at sqrt(3/7) of it."""
    found = estimate(bell(np.arange(160.0, 40.0, -2.5), highest=100, width=30))

    assert found.mean == pytest.approx(100, abs=0.3)
    assert found.systolic == pytest.approx(130, abs=1)
    assert found.diastolic == pytest.approx(100 - 30 * math.sqrt(3 / 7), abs=1)
    assert found.pulse == pytest.approx(60 / 0.9)
    assert (found.beats, found.rejected, found.artefact) == (48, 0, 0.0)


def test_where_there_are_no_beats_nothing_is_said() -> None:
    """A figure out of a hole in the recording would be made up."""
    beats = bell(np.arange(160.0, 40.0, -2.5), highest=100, width=30)
    hole = (beats[:, 1] > 105) & (beats[:, 1] < 145)

    found = estimate(beats[~hole])

    assert found.systolic is None
    assert found.diastolic is not None
    short = beats[beats[:, 1] < 108]
    assert estimate(short).systolic is None


def test_too_few_beats_say_nothing() -> None:
    beats = bell(np.arange(120.0, 100.0, -2.5), highest=110, width=30)

    assert estimate(beats[:7]) == Estimate(None, None, None, None, 7, 0, 1.0)
    assert estimate(beats).mean is not None
    assert estimate(np.empty((0, 3))) == Estimate(None, None, None, None, 0, 0, 1.0)


def test_each_oddity_has_its_flag() -> None:
    beats = bell(np.arange(160.0, 100.0, -2.5), highest=130, width=60)
    assert not odd_beats(beats).any()

    high, early, rising, fallen = (beats.copy() for _ in range(4))
    high[10, 2] *= 3
    early[10:, 0] -= 0.5
    rising[10, 1] += 8
    fallen[10:, 1] -= 30

    assert odd_beats(high)[9:12].tolist() == [NEAR_ODD, ODD_HEIGHT, NEAR_ODD]
    assert odd_beats(early).tolist() == [0] * 10 + [ODD_TIME] + [0] * 13
    assert odd_beats(rising)[10] & ODD_PRESSURE
    assert odd_beats(fallen)[10] & ODD_PRESSURE


def test_pumping_is_no_deflation_and_an_empty_cuff_has_no_beats() -> None:
    made = deflation(5, _ARTERIES[0], Cuff())
    top = made.pressure.max()
    time = np.arange(2000) / 200
    tried = 0.8 * top - time + 2 * np.sin(2 * np.pi * time)  # and pumped up again
    pumped = np.concatenate(
        [np.linspace(0, tried[0], 1000), tried, np.linspace(tried[-1], top - 1, 1000)]
    )
    emptied = np.linspace(made.pressure[-1], 0, 300)
    after = 5 + 2 * np.sin(np.arange(4000) / 30)
    whole = replace(
        made, pressure=np.concatenate([pumped, made.pressure, emptied, after])
    )

    found, alone = heard(whole), heard(made)

    assert found.beats[0, 0] > 20
    assert found.beats[:, 1].min() >= 20
    assert len(found.beats) <= len(alone.beats) + 2
    assert found.estimate().systolic == pytest.approx(120, abs=5)


def test_no_recording_is_too_long() -> None:
    """The table of beats is full some day, and must not be written beyond."""
    times = np.arange(200 * 700) / 200
    waves = 200 - times / 10 + np.sin(2 * np.pi * times)

    cuff = Oscillometer(200)
    cuff.push(waves)

    assert len(cuff.beats) == 512


@pytest.mark.parametrize("rate", [39, 2001, math.nan])
def test_a_rate_out_of_reach_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="is not 40 to 2000 Hz"):
        Oscillometer(rate)


def test_what_is_no_recording_is_refused() -> None:
    with pytest.raises(ValueError, match="rounded to 5 mmHg"):
        Oscillometer(200, step=5)
    with pytest.raises(ValueError, match="sample 1 is nan"):
        Oscillometer(200).push(np.array([180.0, math.nan]))
    for wrong in (np.zeros(3), np.zeros((2, 4)), np.full((9, 3), math.nan)):
        with pytest.raises(ValueError, match=r"beats must be \(n, 3\)|no number"):
            estimate(wrong)

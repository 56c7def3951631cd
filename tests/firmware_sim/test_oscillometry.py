"""The simulated cuff's waveforms: their truth can be found in them."""

from hashlib import sha256
from itertools import pairwise

import numpy as np
import pytest

from firmware_sim.oscillometry import F8, Artery, Cuff, Deflation, deflation

# Five samples, and SHA-256 of all.
_FIRST = [150.32, 150.28, 150.27, 110.35, 55.0]
_DIGEST = "c4ca8dc66aa0c7e3ed79da15f93b0a3a6d51746d2fc810c2541411cd20b08492"

_STILL = Cuff(breath=0.0, noise_sd=0.0, decimals=6)


def test_a_seed_is_the_same_recording_everywhere() -> None:
    """Sums and products of doubles only: not one sample may differ by computer."""
    recording = deflation(1, Artery(), Cuff(movements=1))

    assert recording.pressure[[0, 1, 2, 2000, -1]].tolist() == _FIRST
    assert sha256(recording.pressure.astype("<f8").tobytes()).hexdigest() == _DIGEST


def test_another_seed_is_another_recording() -> None:
    one, two = deflation(1, Artery()), deflation(2, Artery())

    assert one.beats_s != two.beats_s
    assert not np.array_equal(one.pressure, two.pressure)


@pytest.mark.parametrize("rate_hz", [50, 100, 200, 1000])
def test_it_is_as_long_as_the_ramp_takes_at_any_rate(rate_hz: int) -> None:
    recording = deflation(3, Artery(), Cuff(rate_hz=rate_hz))

    assert recording.rate_hz == rate_hz
    assert recording.pressure.size == int((150.0 - 55.0) / 4.0 * rate_hz)
    assert recording.pressure[0] == pytest.approx(150.0, abs=1.0)
    assert recording.pressure[-1] == pytest.approx(55.0, abs=3.0)


def test_samples_have_the_decimals_of_the_sensor() -> None:
    pressure = deflation(4, Artery(), Cuff(decimals=1)).pressure

    np.testing.assert_array_equal(pressure, np.round(pressure, 1))


def test_the_envelope_has_its_top_at_the_mean_and_its_shares_at_the_others() -> None:
    artery = Artery(140.0, 80.0, systolic_ratio=0.45, diastolic_ratio=0.8, height=2.5)

    assert artery.mean == pytest.approx(100.0)
    assert artery.envelope(100.0) == pytest.approx(2.5)
    assert artery.envelope(140.0) == pytest.approx(0.45 * 2.5)
    assert artery.envelope(80.0) == pytest.approx(0.8 * 2.5)
    assert artery.envelope(101.0) < 2.5 > artery.envelope(99.0)


def test_the_largest_beat_lies_at_the_mean() -> None:
    """Measured from the samples, between the true feet of the beats."""
    artery = Artery(130.0, 85.0, pulse=80.0)
    cuff, heights = _heights(deflation(5, artery, _STILL))

    # Beats lie 3 mmHg apart, and heights differ by 2 % from beat to beat.
    assert cuff[heights.argmax()] == pytest.approx(artery.mean, abs=5.0)
    assert heights.max() == pytest.approx(artery.height, rel=0.06)
    for pressure, ratio in ((130.0, 0.5), (85.0, 0.7)):
        share = np.interp(pressure, cuff[::-1], heights[::-1]) / artery.height
        assert share == pytest.approx(ratio, abs=0.06)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    ("systolic", "diastolic", "pulse"),
    [(120.0, 80.0, 70.0), (175.0, 95.0, 60.0), (104.0, 62.0, 88.0)],
)
def test_a_naive_detector_finds_the_truth_of_a_clean_recording(
    seed: int, systolic: float, diastolic: float, pulse: float
) -> None:
    """Else nobody could tell an error of a kernel from one of the simulator."""
    recording = deflation(seed, Artery(systolic, diastolic, pulse))
    found = _naive(recording)

    assert found[0] == pytest.approx(systolic, abs=5.0)
    assert found[1] == pytest.approx(diastolic, abs=5.0)
    # The top of the envelope is flat, so it is found worst.
    assert found[2] == pytest.approx(recording.mean, abs=12.0)


def test_breath_and_heart_make_regular_intervals_that_are_not_equal() -> None:
    regular = np.diff(deflation(6, Artery(pulse=75.0)).beats_s)

    assert regular.mean() == pytest.approx(0.8, rel=0.03)
    assert 0.01 < regular.std() / regular.mean() < 0.06


def test_a_fibrillating_heart_has_intervals_that_say_nothing_of_the_next() -> None:
    artery = Artery(170.0, 80.0, pulse=75.0, irregular=True)
    recordings = [deflation(seed, artery) for seed in range(10)]
    intervals = np.concatenate([np.diff(each.beats_s) for each in recordings])
    before, after = intervals[:-1], intervals[1:]

    assert 0.15 < intervals.std() / intervals.mean() < 0.30
    assert abs(np.corrcoef(before, after)[0, 1]) < 0.2


def test_a_beat_after_a_short_interval_is_weak() -> None:
    """What makes the envelope of a fibrillating heart ragged, as in a real arm."""
    artery = Artery(170.0, 80.0, irregular=True)
    recording = deflation(7, artery, _STILL)
    cuff, heights = _heights(recording)
    strength = heights / np.array([artery.envelope(each) for each in cuff])

    assert np.corrcoef(np.diff(recording.beats_s)[:-1], strength[1:])[0, 1] > 0.7


def test_movements_are_where_the_truth_says() -> None:
    artery = Artery()
    still = deflation(8, artery)
    moved = deflation(8, artery, Cuff(movements=3))
    time_s = np.arange(still.pressure.size) / still.rate_hz
    inside = np.zeros(time_s.size, dtype=bool)
    for begin, end in moved.movements_s:
        during = (time_s >= begin) & (time_s <= end)
        assert 2.0 < np.abs(moved.pressure - still.pressure)[during].max() < 21.0
        inside |= during

    assert len(moved.movements_s) == 3
    assert not still.movements_s
    assert moved.beats_s == still.beats_s
    assert all(end <= begin for (_, end), (begin, _) in pairwise(moved.movements_s))
    np.testing.assert_array_equal(moved.pressure[~inside], still.pressure[~inside])


@pytest.mark.parametrize(
    ("artery", "cuff"),
    [
        (Artery(80.0, 120.0), Cuff()),
        (Artery(80.0, 15.0), Cuff()),
        (Artery(mean_share=1.0), Cuff()),
        (Artery(systolic_ratio=0.0), Cuff()),
        (Artery(diastolic_ratio=1.0), Cuff()),
        (Artery(pulse=0.0), Cuff()),
        (Artery(height=0.0), Cuff()),
        (Artery(), Cuff(rate_hz=0)),
        (Artery(), Cuff(speed=0.0)),
        (Artery(float("nan")), Cuff()),
    ],
)
def test_an_arm_that_cannot_be_is_refused(artery: Artery, cuff: Cuff) -> None:
    with pytest.raises(ValueError, match=r"^no (pressures|shares|heart|deflation)"):
        deflation(1, artery, cuff)


def _heights(recording: Deflation) -> tuple[F8, F8]:
    """Return pressure at the foot, and height above the line to the next foot."""
    feet = [int(at * recording.rate_hz) for at in recording.beats_s]
    cuff, heights = [], []
    for foot, following in pairwise(feet):
        beat = recording.pressure[foot : following + 1]
        line = np.linspace(beat[0], beat[-1], beat.size)
        cuff.append(beat[0])
        heights.append((beat - line).max())
    return np.array(cuff), np.array(heights)


def _naive(recording: Deflation) -> tuple[float, float, float]:
    """Find systolic, diastolic and mean with no truth but the two shares.

    The cuff's pressure is a moving mean, a height the largest less the smallest
    of what is left of it within 1.3 s.
    """
    wide = recording.rate_hz | 1
    ramp = np.convolve(recording.pressure, np.full(wide, 1.0 / wide), "valid")
    rest = recording.pressure[wide // 2 : -(wide // 2)] - ramp
    window, step = int(1.3 * recording.rate_hz), recording.rate_hz // 4
    starts = range(0, rest.size - window, step)
    cuff = np.array([ramp[start + window // 2] for start in starts])
    heights = np.array([np.ptp(rest[start : start + window]) for start in starts])
    heights = np.convolve(np.pad(heights, 2, "edge"), np.full(5, 0.2), "valid")
    top = int(heights.argmax())
    before = np.nonzero(heights[:top] < 0.5 * heights[top])[0].max()
    after = np.nonzero(heights[top:] < 0.7 * heights[top])[0].min()
    return cuff[before], cuff[top + after], cuff[top]

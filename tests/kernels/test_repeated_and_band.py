"""What was said before, and what of a waveform tells nothing new."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.kernels.deadband import DeadBand
from edge_agent.kernels.repeated import NO_TIME, REMEMBERED, Repeats
from tests.kernels.forms import both

_SAID = st.lists(
    st.tuples(
        st.sampled_from([NO_TIME, 0, 999, 1000, 1001, 2000, -(1 << 52)])
        | st.integers(0, 5000),
        st.integers(-(1 << 63), (1 << 63) - 1) | st.integers(0, 3),
    ),
    max_size=30,
)


@given(_SAID)
@settings(deadline=None)
def test_a_repetition_is_what_the_naive_form_says(said: list[tuple[int, int]]) -> None:
    times = np.array([time for time, _ in said], np.int64)
    digests = np.array([digest for _, digest in said], np.int64)

    flags = both(lambda: Repeats(within_ms=1000).flag(times, digests))

    expected, before = [], list[tuple[int, int]]()
    for time, digest in said:
        same = [abs(time - t) <= 1000 and digest == d for t, d in before[-REMEMBERED:]]
        expected.append(int(time != NO_TIME and any(same)))
        before += [] if time == NO_TIME else [(time, digest)]
    assert flags.tolist() == expected


@pytest.mark.parametrize(("between", "flag"), [(7, 1), (8, 0)])
def test_eight_are_remembered(between: int, flag: int) -> None:
    """A memory that was copied tells all of it again, in its order."""
    digests = np.array([-1, *range(between), -1])

    flags = Repeats(within_ms=0).flag(np.zeros(digests.size, np.int64), digests)

    assert flags.tolist() == [0] * (between + 1) + [flag]


def test_times_as_far_apart_as_allowed_are_the_same() -> None:
    digests = np.array([1, 1, 1])
    flags = Repeats(within_ms=1000).flag(np.array([0, 1000, 2001]), digests)
    assert flags.tolist() == [0, 1, 0]


def test_a_repetition_is_known_in_the_next_piece() -> None:
    """A device says it again at the next visit, behind a restart."""
    first = Repeats(within_ms=1000)
    first.flag(np.array([5000]), np.array([42]))

    again = Repeats(within_ms=1000).restored(first.to_bytes())

    assert again.flag(np.array([5000, 7000]), np.array([42, 42])).tolist() == [1, 0]


def test_what_cannot_be_compared_is_our_own_mistake() -> None:
    """A difference of such times would wrap around in silence."""
    with pytest.raises(ValueError, match=r"must be \(n,\)"):
        Repeats(within_ms=0).flag(np.zeros((1, 1), np.int64), np.array([1]))
    with pytest.raises(ValueError, match="must be within"):
        Repeats(within_ms=0).flag(np.array([1 << 53]), np.array([1]))
    with pytest.raises(ValueError, match="no time to be the same"):
        Repeats(within_ms=-1)


_NEAR = [n / 4 for n in range(-4, 5)]
_SAMPLES = st.lists(
    st.sampled_from([*_NEAR, *_NEAR, 7.5, math.nan, math.inf, -math.inf, 1e300]),
    max_size=60,
)


@given(_SAMPLES, st.sampled_from([0.25, 1.0]), st.integers(1, 5))
@settings(deadline=None)
def test_a_dead_band_is_what_the_naive_form_says(
    samples: list[float], band: float, most: int
) -> None:
    kept = both(lambda: DeadBand(band, most_left_out=most).keep(np.array(samples)))

    expected, last, left_out = [], math.nan, 0
    for sample in samples:
        new = not (abs(sample - last) <= band and left_out < most)
        expected.append(int(new))
        left_out = 0 if new else left_out + 1
        last = (sample if abs(sample) < 1e300 else math.nan) if new else last
    assert kept.tolist() == expected


@given(_SAMPLES)
def test_without_a_band_nothing_is_left_out(samples: list[float]) -> None:
    """It is off by default: a waveform is kept whole unless somebody asked."""
    assert DeadBand().keep(np.array(samples)).tolist() == [1] * len(samples)


@given(_SAMPLES)
def test_what_is_left_out_is_known_to_within_the_band(samples: list[float]) -> None:
    """That is all that makes leaving it out bearable."""
    kept = DeadBand(1.0).keep(np.array(samples))
    last = math.nan
    for sample, keep in zip(samples, kept, strict=True):
        if keep:
            last = sample
        else:
            assert abs(sample - last) <= 1.0


@pytest.mark.parametrize(("band", "most"), [(-1, 1), (math.nan, 1), (1, 0)])
def test_a_band_that_means_nothing_is_refused(band: float, most: int) -> None:
    with pytest.raises(ValueError, match="no band"):
        DeadBand(band, most_left_out=most)


def test_samples_in_rows_are_our_own_mistake() -> None:
    with pytest.raises(ValueError, match=r"samples must be \(n,\)"):
        DeadBand(1).keep(np.zeros((2, 2)))

"""Filters of second order, against a plain recurrence and against scipy."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edge_agent.kernels.biquad import Biquad, high_pass, low_pass
from edge_agent.kernels.streams import F8
from tests.kernels.forms import both

_SAMPLES = arrays(np.float64, st.integers(0, 60), elements=st.floats(-300, 300))
_BAND = high_pass(0.5, 200), low_pass(10, 200)


def naive(samples: F8, sections: tuple[F8, ...]) -> F8:
    """Say it as the difference equation says it."""
    for b0, b1, b2, a1, a2 in sections:
        x = [0.0, 0.0, *samples.tolist()]
        y = [0.0, 0.0]
        for n in range(2, len(x)):
            y.append(
                b0 * x[n]
                + b1 * x[n - 1]
                + b2 * x[n - 2]
                - a1 * y[n - 1]
                - a2 * y[n - 2]
            )
        samples = np.array(y[2:])
    return samples


@given(_SAMPLES)
@settings(deadline=None)
def test_it_is_its_difference_equation(samples: F8) -> None:
    found = both(lambda: Biquad(*_BAND).filter(samples))

    np.testing.assert_allclose(found, naive(samples, _BAND), rtol=1e-9, atol=1e-9)


def test_it_is_what_scipy_makes_of_the_same_sections() -> None:
    """Somebody else's filter, designed by somebody else's formula."""
    signal = pytest.importorskip("scipy.signal")
    samples = np.random.default_rng(3).normal(100, 20, 2000)
    designed = signal.butter(2, 10, "low", fs=200, output="sos")

    found = Biquad(low_pass(10, 200)).filter(samples)

    np.testing.assert_allclose(found, signal.sosfilt(designed, samples), rtol=1e-9)
    designed = signal.butter(2, 0.5, "high", fs=200, output="sos")
    found = Biquad(high_pass(0.5, 200)).filter(samples)
    np.testing.assert_allclose(found, signal.sosfilt(designed, samples), atol=1e-9)


@given(_SAMPLES, st.lists(st.integers(0, 60), max_size=4))
@settings(deadline=None)
def test_pieces_are_filtered_as_one(samples: F8, cuts: list[int]) -> None:
    whole = Biquad(*_BAND).filter(samples)
    one = Biquad(*_BAND)
    pieces = []
    for piece in np.split(samples, sorted(cuts)):
        pieces += one.filter(piece).tolist()
        one = Biquad(*_BAND).restored(one.to_bytes())

    assert pieces == whole.tolist()


def test_what_is_given_is_not_changed() -> None:
    """The samples of a person's artery are kept as they came."""
    samples = np.full(5, 100.0)
    Biquad(*_BAND).filter(samples)
    assert samples.tolist() == [100.0] * 5


def test_a_high_pass_forgets_what_stands_still() -> None:
    found = Biquad(high_pass(0.5, 200)).filter(np.full(4000, 180.0))
    assert abs(found[-1]) < 1e-6


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1e300])
def test_a_missing_sample_is_refused_by_its_number(bad: float) -> None:
    """It would be missing in everything behind it, for ever."""
    with pytest.raises(ValueError, match=r"sample 2 is .+, and no number"):
        Biquad(*_BAND).filter(np.array([1.0, 2.0, bad, 4.0]))


def test_what_is_no_filter_is_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and half of 200 Hz"):
        low_pass(100, 200)
    with pytest.raises(ValueError, match="between 0 and half"):
        high_pass(0, 200)
    with pytest.raises(ValueError, match="1 to 8 sections"):
        Biquad()
    with pytest.raises(ValueError, match="1 to 8 sections"):
        Biquad(*[low_pass(10, 200)] * 9)
    with pytest.raises(ValueError, match="not finite"):
        Biquad(np.full(5, math.nan))
    with pytest.raises(ValueError, match=r"samples must be \(n,\)"):
        Biquad(*_BAND).filter(np.zeros((2, 2)))

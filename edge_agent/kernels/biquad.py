"""Filters of second order for waveforms, sample by sample.

Source: R. Bristow-Johnson, "Cookbook formulae for audio equalizer biquad filter
coefficients", for low and high pass with a quality of 1/sqrt(2) (Butterworth); the
order of the operations is the transposed direct form II.
"""

from math import cos, pi, sin, sqrt
from typing import Self

import numpy as np

from edge_agent.kernels.streams import (
    F8,
    MOST_VALUE,
    StateError,
    packed,
    unpacked,
)
from protocols.kernel import kernel

_VERSION = 1
_MOST_SECTIONS = 8


def low_pass(cut_hz: float, rate_hz: float) -> F8:
    """Return a section that lets through what is slower than ``cut_hz``.

    Args:
        cut_hz: Where half of the power is left.
        rate_hz: Samples per second.

    Returns:
        b0, b1, b2, a1, a2, shape (5,), with a0 = 1.

    Raises:
        ValueError: ``cut_hz`` is not between 0 and half of ``rate_hz``.
    """
    around, spread = _turn(cut_hz, rate_hz)
    half = (1.0 - around) / 2.0
    return np.array([half, 2 * half, half, -2 * around, 1 - spread]) / (1 + spread)


def high_pass(cut_hz: float, rate_hz: float) -> F8:
    """Return a section that lets through what is faster than ``cut_hz``.

    As `low_pass`.
    """
    around, spread = _turn(cut_hz, rate_hz)
    half = (1.0 + around) / 2.0
    # Without the last bracket b0 + 2 b1 + b2 is not exactly 0 by rounding.
    ends = half / (1 + spread)
    return np.array(
        [ends, -2 * ends, ends, -2 * around / (1 + spread), (1 - spread) / (1 + spread)]
    )


def _turn(cut_hz: float, rate_hz: float) -> tuple[float, float]:
    if not 0 < cut_hz < rate_hz / 2:
        raise ValueError(f"{cut_hz} Hz is not between 0 and half of {rate_hz} Hz")
    turn = 2 * pi * cut_hz / rate_hz
    return cos(turn), sin(turn) / sqrt(2)


class Biquad:
    """Sections one after another."""

    def __init__(self, *sections: F8) -> None:
        """Begin at rest: as if all samples before had been 0.

        Args:
            sections: 1 to 8, as `low_pass` and `high_pass` give them.

        Raises:
            ValueError: There are none, too many, or one is not (5,) and finite.
        """
        shapes = {section.shape for section in sections}
        if not 1 <= len(sections) <= _MOST_SECTIONS or shapes != {(5,)}:
            raise ValueError(f"1 to {_MOST_SECTIONS} sections of (5,), got {shapes}")
        self._sections = np.array(sections, dtype=np.float64)
        if not np.all(np.isfinite(self._sections)):
            raise ValueError("a section is not finite")
        self._state = np.zeros((len(sections), 2))

    def filter(self, samples: F8) -> F8:
        """Take the next samples, and return them filtered.

        Args:
            samples: Shape (n,).

        Raises:
            ValueError: ``samples`` is not (n,), or one is missing: it would be missing
                in everything behind it.
        """
        if samples.ndim != 1:
            raise ValueError(f"samples must be (n,), got {samples.shape}")
        filtered = np.array(samples, dtype=np.float64)
        inside = not filtered.size or (
            filtered.min() > -MOST_VALUE and filtered.max() < MOST_VALUE
        )
        if not inside:
            bad = int(np.argmin(abs(filtered) < MOST_VALUE))
            raise ValueError(f"sample {bad} is {samples[bad]}, and no number")
        _biquad(filtered, self._sections, self._state)
        return filtered

    def to_bytes(self) -> bytes:
        """Return its state, to go on from with `restored`."""
        return packed(_VERSION, np.empty(0, np.int64), self._state.ravel())

    def restored(self, data: bytes) -> Self:
        """Take the state of a filter of as many sections, and return this one.

        Raises:
            StateError: ``data`` is no such state.
        """
        size = self._state.size
        _, real = unpacked("biquad", data, version=_VERSION, whole=0, real=size)
        if not np.all(np.abs(real) < MOST_VALUE):
            raise StateError(f"biquad: no state, {real.tolist()}")
        self._state = real.reshape(-1, 2)
        return self


@kernel("void(f8[::1], f8[:, ::1], f8[:, ::1])")
def _biquad(samples: F8, sections: F8, state: F8) -> None:
    for k in range(sections.shape[0]):
        b0, b1, b2 = sections[k, 0], sections[k, 1], sections[k, 2]
        a1, a2 = sections[k, 3], sections[k, 4]
        first, second = state[k, 0], state[k, 1]
        for i in range(samples.size):
            sample = samples[i]
            made = b0 * sample + first
            first = (b1 * sample + second) - a1 * made  # the shortest chain
            second = b2 * sample - a2 * made
            samples[i] = made
        state[k, 0], state[k, 1] = first, second

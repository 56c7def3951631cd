"""Which samples of a waveform tell something new? Lossy, and off unless asked for.

Only for waveforms: a reading of a person is never thinned out. What it leaves out is
known to within the band: until the next kept sample the signal stayed that near to the
last one.
"""

from typing import Self

import numpy as np

from edge_agent.kernels.streams import (
    F8,
    I8,
    MOST_VALUE,
    U1,
    StateError,
    numbers,
    packed,
    unpacked,
)
from protocols.kernel import kernel

_VERSION = 1
_MOST_SAMPLES = 1 << 53


class DeadBand:
    """Marks the samples to keep: those that left the band around the last kept one."""

    def __init__(self, band: float = 0.0, *, most_left_out: int = 100) -> None:
        """Begin without a sample.

        Args:
            band: How far a sample may be from the last kept one and be left out, in
                the unit of the samples. 0, the default, keeps every sample.
            most_left_out: So many in a row at most, so that silence is no stillness.

        Raises:
            ValueError: The band is negative, or ``most_left_out`` not positive.
        """
        if not (0 <= band < MOST_VALUE and 0 < most_left_out < _MOST_SAMPLES):
            raise ValueError(f"no band: {band}, at most {most_left_out} left out")
        self._band, self._most = float(band), most_left_out
        # Whether a sample was kept, and how many were left out since; its value.
        self._whole = np.zeros(2, np.int64)
        self._real = np.zeros(1)

    def keep(self, samples: F8) -> U1:
        """Take the next samples, and mark those to keep.

        Args:
            samples: Shape (n,); NaN or infinite is always kept, and so is what follows.

        Returns:
            Shape (n,): 1 where to keep, else 0.

        Raises:
            ValueError: ``samples`` is not (n,).
        """
        if samples.ndim != 1:
            raise ValueError(f"samples must be (n,), got {samples.shape}")
        kept = np.ones(samples.size, np.uint8)
        if self._band > 0.0:
            _dead_band(
                numbers(samples), self._band, self._most, self._whole, self._real, kept
            )
        return kept

    def to_bytes(self) -> bytes:
        """Return its state, to go on from with `restored`."""
        return packed(_VERSION, self._whole, self._real)

    def restored(self, data: bytes) -> Self:
        """Take the state of another one, and return this one.

        Raises:
            StateError: ``data`` is no such state.
        """
        whole, real = unpacked("dead band", data, version=_VERSION, whole=2, real=1)
        inside = 0 <= whole[1] < _MOST_SAMPLES and abs(real[0]) < MOST_VALUE
        if whole[0] not in (0, 1) or not inside:
            raise StateError(f"dead band: no state, {whole.tolist()} {real.tolist()}")
        self._whole, self._real = whole, real
        return self


@kernel("void(f8[::1], f8, i8, i8[::1], f8[::1], u1[::1])")
def _dead_band(  # noqa: PLR0917 - arrays and limits, as numba takes them
    samples: F8, band: float, most: int, whole: I8, real: F8, kept: U1
) -> None:
    known, left_out, last = whole[0], whole[1], real[0]
    for i in range(samples.size):
        sample = samples[i]
        if not -MOST_VALUE < sample < MOST_VALUE:
            known = 0
            continue
        if known == 1 and left_out < most and abs(sample - last) <= band:
            kept[i] = 0
            left_out += 1
        else:
            known, left_out, last = 1, 0, sample
    whole[0], whole[1], real[0] = known, left_out, last

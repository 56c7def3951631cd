"""Kernels to test kernels with."""

import numpy as np
from numpy.typing import NDArray

from protocols.kernel import inner, kernel

I8 = NDArray[np.int64]

STEPS: I8 = np.array([3, 5, 7])


@inner
def _step(value: int) -> int:
    return int(STEPS[value % 3])


@inner
def _mixed(value: int, turns: int) -> int:
    for _ in range(turns):
        value = (value * 31 + _step(value)) & 0xFFFF_FFFF
    return value


@kernel("i8(i8)", "f8(f8)")
def double(value: float) -> float:
    """Return twice the value, of its own type."""
    return value + value


@kernel("i8(i8[::1])")
def scrambled(values: I8) -> int:
    """Return the sum of as many other numbers."""
    total = 0
    for i in range(len(values)):
        total += _mixed(int(double(values[i])), 3)
    return total


@kernel("f8(f8, f8)")
def ratio(one: float, other: float) -> float:
    """Return the ratio; of nothing to nothing it is NaN."""
    return one / other if other != 0 else np.inf

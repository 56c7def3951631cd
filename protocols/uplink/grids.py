"""Decimals as integers on one grid, and the rule that gives their powers back.

A number's power of ten follows from the integer by rule: the column's grid, and one
more for each zero at the integer's end, at most the column's cap; zero has the cap.
What is written otherwise is an exception, and so is what is absent.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

I8 = NDArray[np.int64]

ABSENT = -128
LOWEST, HIGHEST = -31, 31  # of grids (which are 0 at most) and of caps
_ZEROS = 18  # at the end of an int64, at most


class Gridded(NamedTuple):
    """A column of integers.

    Attributes:
        numbers: Shape (n,); that of an absent number is the one before, or 0.
        grid: The power of ten that each counts, `LOWEST` to 0.
        cap: The highest power by rule, `LOWEST` to `HIGHEST`.
        exceptions: Shape (n,): 0 by rule, 1 absent, else 2 and more (see
            `exponents`); None where all are by rule.
    """

    numbers: I8
    grid: int
    cap: int
    exceptions: I8 | None


def put(mantissa: I8, exponent: NDArray[np.integer], most: int) -> Gridded | None:
    """Put decimals on a grid.

    Args:
        mantissa: Shape (n,).
        exponent: Shape (n,), `ABSENT` where there is none.
        most: How far from 0 a number on the grid may be.

    Returns:
        None where they do not fit.
    """
    if not exponent.any() and not _is_far(mantissa, most):
        return Gridded(mantissa, 0, 0, None)
    absent, shown = exponent == ABSENT, exponent.astype(np.int64)
    if absent.any():
        before = np.maximum.accumulate(np.where(absent, -1, np.arange(len(absent))))
        mantissa = np.where(before < 0, 0, mantissa[before])
        shown = np.where(before < 0, 0, shown[before])
    if not ((shown >= LOWEST) & (shown <= HIGHEST)).all():
        return None
    if not shown.any() and not _is_far(mantissa, most):
        return Gridded(
            mantissa, 0, 0, absent.astype(np.int64) if absent.any() else None
        )
    grid = min(int(shown.min()), 0)
    shift = shown - grid
    if int(shift.max()) > _ZEROS or _is_far(mantissa, most // 10**shift):
        return None
    numbers = mantissa * 10**shift
    while grid < 0 and not (numbers % 10).any() and numbers.any():
        numbers, grid = numbers // 10, grid + 1
    cap = int(shown.max())
    found = np.where(absent, 1, 0)
    by_rule = powers(numbers, grid, cap)
    off = (shown != by_rule) & ~absent
    if off.any():
        away = (shown - by_rule)[off]
        found[off] = np.where(away > 0, 2 * away, 1 - 2 * away)
    return Gridded(numbers, grid, cap, found if found.any() else None)


def _is_far(mantissa: I8, most: I8 | int) -> bool:
    # abs() would leave the lowest int64 below 0.
    return bool((mantissa > most).any() or (mantissa < -most).any())


def powers(numbers: I8, grid: int, cap: int) -> I8:
    """Return the powers of ten that follow by rule, shape (n,)."""
    found = np.full(len(numbers), min(grid, cap), np.int64)
    rest = numbers
    for power in range(grid, cap):
        ends = rest % 10 == 0
        if not ends.any():
            break
        found[ends] = power + 1
        rest = np.where(ends, rest // 10, 1)
    return found


def take(gridded: Gridded) -> tuple[I8, I8]:
    """Return the decimals' mantissas and exponents, each of shape (n,).

    Raises:
        ValueError: They can't have been put there.
    """
    numbers, grid, cap, exceptions = gridded
    if exceptions is None and LOWEST <= grid == cap:
        return numbers, np.full(len(numbers), grid, np.int64)
    found = powers(numbers, grid, cap)
    absent = np.zeros(len(numbers), bool)
    if exceptions is not None:
        if (exceptions < 0).any():
            raise ValueError("an exception is below 0")
        absent = exceptions == 1
        away = np.where(exceptions % 2 == 0, exceptions // 2, -(exceptions // 2))
        found = np.where(exceptions > 1, found + away, found)
    if ((found < LOWEST) | (found > HIGHEST)).any():
        raise ValueError("a power of ten is out of range")
    shift = found - grid
    if (abs(shift) > _ZEROS).any():
        raise ValueError("a number is far off its grid")
    scale = 10 ** np.maximum(shift, 0)
    if (numbers % scale).any():
        raise ValueError("a number is finer than its power of ten")
    longer = 10 ** np.maximum(-shift, 0)
    if (abs(numbers) > np.iinfo(np.int64).max // longer).any():
        raise ValueError("a number is out of range")
    mantissa = numbers // scale * longer
    found[absent], mantissa[absent] = ABSENT, 0
    return mantissa, found

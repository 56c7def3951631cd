"""Decimals as integers on one grid, and the rule that gives their powers back.

A number's power of ten follows from the integer by rule: the column's grid, and one
more for each zero at the integer's end, at most the column's cap; zero has the cap.
What is written otherwise is an exception, and so is what is absent: 0 by rule, 1
absent, 2 and more by how much the power is off (even above, odd below the rule's).
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from protocols.kernel import inner, kernel
from protocols.uplink.heading import CAP, GRID, LOOSE, SCALES

# Compiled kernels take arrays; plain ones are four times as fast on lists.
I8: TypeAlias = NDArray[np.int64] | list[int]
I1: TypeAlias = NDArray[np.int8] | list[int]
I8s: TypeAlias = NDArray[np.int64] | list[list[int]]
I1s: TypeAlias = NDArray[np.int8] | list[list[int]]

ABSENT = -128
LOWEST, HIGHEST = -31, 31  # of grids (which are 0 at most) and of caps
FARTHEST, LARGEST = 1 << 45, 1 << 39  # from 0 on its grid: a time, a value
_ZEROS = 18  # at the end of an int64, at most
_INT64 = (1 << 63) - 1

# What `take` found, by place; 0 is nothing wrong.
PROBLEMS = (
    "",
    "an exception is below 0",
    "a power of ten is out of range",
    "a number is far off its grid",
    "a number is finer than its power of ten",
    "a number is out of range",
)
_BELOW, _POWER, _OFF, _FINER, _RANGE = range(1, len(PROBLEMS))


@inner
def _ten_to(power: int) -> int:
    found = 1
    for _ in range(power):
        found *= 10
    return found


@inner
def _by_rule(number: int, grid: int, cap: int) -> int:
    """Return the power of ten that follows by rule."""
    power = min(grid, cap)
    while power < cap and number % 10 == 0:
        number //= 10
        power += 1
    return power


@inner
def _put(
    mantissas: I8,
    powers: I1,
    most: int,
    numbers: I8,
    exceptions: I8,
    fields: I8,
    at: int,
) -> bool:
    """Put a column on a grid; return whether it fits there.

    Args:
        mantissas: Shape (n,).
        powers: Shape (n,), `ABSENT` where there is none.
        most: How far from 0 a number on the grid may be.
        numbers: Filled; that of an absent number is the one before, or 0.
        exceptions: Filled where the column is loose.
        fields: Filled at ``at`` with what a heading says of a column's scale.
        at: A column's place in it.
    """
    rows = len(powers)
    number, shown, grid, cap, loose = 0, 0, 0, LOWEST, 0
    for i in range(rows):
        if powers[i] != ABSENT:
            number, shown = mantissas[i], int(powers[i])
        else:
            loose = 1
        if shown < LOWEST or shown > HIGHEST:
            return False
        numbers[i], exceptions[i] = number, shown
        grid, cap = min(grid, shown), max(cap, shown)
    shift, scale, bound = 0, 1, most
    tenths, zeros = grid < 0, True  # whether all can be divided by ten; are zero
    for i in range(rows):
        if exceptions[i] - grid != shift:
            shift = exceptions[i] - grid
            if shift > _ZEROS:
                return False
            scale = _ten_to(shift)
            bound = most // scale
        if numbers[i] > bound or numbers[i] < -bound:
            return False
        numbers[i] *= scale
        tenths = tenths and numbers[i] % 10 == 0
        zeros = zeros and numbers[i] == 0
    low = grid
    while grid < 0 and tenths and not zeros:
        for i in range(rows):
            numbers[i] //= 10
            tenths = tenths and numbers[i] % 10 == 0
        grid += 1
    fields[at + GRID], fields[at + CAP], fields[at + LOOSE] = grid, cap, loose
    if low == grid == cap and loose == 0:
        return True  # all are by rule
    for i in range(rows):
        if powers[i] == ABSENT:
            exceptions[i], loose = 1, 1
            continue
        away = exceptions[i] - _by_rule(numbers[i], grid, cap)
        exceptions[i] = 2 * away if away >= 0 else 1 - 2 * away
        loose = 1 if away != 0 else loose
    fields[at + LOOSE] = loose
    return True


@kernel("i8(i8[:, ::1], i1[:, ::1], i8[:, ::1], i8[::1])")
def gridded(mantissas: I8s, powers: I1s, table: I8s, fields: I8) -> int:
    """Put columns on grids, the times' first.

    Args:
        mantissas: Shape (columns, rows).
        powers: Likewise.
        table: Shape (2 columns, rows); filled with each column's numbers, that of an
            absent one the one before, and then with each column's exceptions.
        fields: Filled with the columns' scales, as a heading has them.

    Returns:
        1; 0 where they do not fit, -1 where an absent number has a mantissa.
    """
    columns, rows = len(powers), len(powers[0])
    for column in range(columns):
        mantissa, power = mantissas[column], powers[column]
        for i in range(rows):
            if power[i] == ABSENT and mantissa[i] != 0:
                return -1
    time = powers[0]
    for i in range(rows):
        if time[i] == ABSENT:
            return 0
    for column in range(columns):
        if not _put(
            mantissas[column],
            powers[column],
            LARGEST if column > 0 else FARTHEST,
            table[column],
            table[columns + column],
            fields,
            SCALES + 4 * column,
        ):
            return 0
    return 1


@inner
def take(
    numbers: I8, grid: int, cap: int, loose: int, exceptions: I8, powers: I1
) -> int:
    """Turn integers on a grid to mantissas, and fill their powers of ten.

    Args:
        numbers: Shape (n,), each at most 2^47 from 0; in place.
        grid: The power of ten that each counts.
        cap: The highest power by rule.
        loose: 1 where there are exceptions.
        exceptions: Of each number; looked at only if loose.
        powers: Filled, shape (n,).

    Returns:
        What is wrong with them, by its place in `PROBLEMS`.
    """
    shift, scale = 0, 1
    for i in range(len(numbers)):
        if loose == 0 and grid == cap:
            powers[i] = grid
            continue
        number, exception = numbers[i], exceptions[i] if loose > 0 else 0
        if exception < 0:
            return _BELOW
        power = _by_rule(number, grid, cap)
        if exception > 1:
            away = exception >> 1
            power += -away if exception & 1 else away
        if power < LOWEST or power > HIGHEST:
            return _POWER
        if power - grid != shift:
            shift = power - grid
            if shift > _ZEROS or shift < -_ZEROS:
                return _OFF
            scale = _ten_to(abs(shift))
        if shift >= 0:
            if number % scale != 0:
                return _FINER
            number //= scale
        else:
            if abs(number) > _INT64 // scale:
                return _RANGE
            number *= scale
        if exception == 1:
            number, power = 0, ABSENT
        numbers[i], powers[i] = number, power
    return 0

"""Columns of exact decimals as integers of one scale, for codecs of integers.

Such codecs do best when 1.3, 1.25 and 1.0 are 130, 125 and 100 hundredths. How each
was written then mostly follows from one rule, that of shortest decimals: zeros at the
end are left away down to a least number of digits, one in 1.0. Where it does not hold,
the powers of ten are a column of their own.

    form  u8   0xhl: lowest power of ten -h, highest -l, the rule holds
               0xfe: a column of powers of ten follows, integers are the mantissas
               0xff: the same, integers are of one scale
    lowest i8  of form 0xff only
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from protocols.uplink.grids import ABSENT
from protocols.uplink.series import Column

I8 = NDArray[np.int64]

PLAIN = b"\0"
"""What tells of a column whose numbers are all written without a power of ten."""

_AS_WRITTEN, _SCALED = 0xFE, 0xFF
_MOST = 14  # digits behind the point that a form can tell
_WIDEST = 18  # powers of ten between which an int64 can be scaled


class Scaled(NamedTuple):
    """A column as integers.

    Attributes:
        head: The form, and what belongs to it.
        integers: Shape (k, n); the powers of ten in a second row where they are told.
    """

    head: bytes
    integers: I8


def scaled(column: Column) -> Scaled:
    """Return a column as integers of one scale where that can be undone."""
    present = column.exponent != ABSENT
    exponents = column.exponent[present].astype(np.int64)
    mantissas = _held(column.mantissa, present)
    lowest, highest = (
        (int(exponents.min()), int(exponents.max())) if exponents.size else (0, 0)
    )
    factors = np.where(present, column.exponent.astype(np.int64) - lowest, 0)
    integers = _multiplied(mantissas, factors, highest - lowest)
    told = column.exponent.astype(np.int64)
    if integers is None:
        return Scaled(bytes([_AS_WRITTEN]), np.stack([mantissas, told]))
    if present.all() and -_MOST <= lowest <= highest <= 0:
        shortest = _shortest(integers, lowest, highest)
        if np.array_equal(shortest.exponent, column.exponent):
            return Scaled(bytes([-lowest << 4 | -highest]), integers[np.newaxis])
    head = bytes([_SCALED, lowest & 0xFF])
    return Scaled(head, np.stack([integers, told]))


def rows(head: bytes) -> int:
    """Return how many rows of integers a column has, by its form."""
    return 2 if head[0] >= _AS_WRITTEN else 1


def head_size(form: int) -> int:
    """Return how many bytes tell of a column whose form is ``form``."""
    return 2 if form == _SCALED else 1


def unscaled(head: bytes, integers: I8) -> Column:
    """Return the column of which `scaled` gave ``head`` and ``integers``."""
    form = head[0]
    if form < _AS_WRITTEN:
        return _shortest(integers[0], -(form >> 4), -(form & 15))
    exponents = integers[1].astype(np.int8)
    present = exponents != ABSENT
    mantissas = np.where(present, integers[0], 0)
    if form == _SCALED:
        lowest = int.from_bytes(head[1:], signed=True)
        factors = np.where(present, exponents.astype(np.int64) - lowest, 0)
        mantissas //= 10**factors
    return Column(mantissas, exponents)


def _held(mantissas: I8, present: NDArray[np.bool_]) -> I8:
    """Return the mantissas, the last before it in the place of an absent one."""
    places = np.where(present, np.arange(len(mantissas)), 0)
    return mantissas[np.maximum.accumulate(places)]


def _multiplied(mantissas: I8, powers: I8, widest: int) -> I8 | None:
    """Return the mantissas times 10 to ``powers``, or None where that is too big."""
    if widest > _WIDEST:
        return None
    factors = 10**powers
    most = np.iinfo(np.int64).max // factors
    if (mantissas > most).any() or (mantissas < -most).any():
        return None
    product: I8 = mantissas * factors
    return product


def _shortest(integers: I8, lowest: int, highest: int) -> Column:
    """Return integers of scale ``lowest`` without zeros at the end, to ``highest``."""
    mantissas, exponents = integers.copy(), np.full(len(integers), lowest, np.int8)
    for _ in range(highest - lowest):
        ends = mantissas % 10 == 0
        mantissas[ends] //= 10
        exponents[ends] += 1
    return Column(mantissas, exponents)

"""What the readings of a group have in one series: its columns, in and out.

Its times have the place 0, its values the places from 1.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.errors import DecodeError, Fault
from protocols.uplink import ranged, series
from protocols.uplink.envelope import is_int
from protocols.uplink.grids import ABSENT
from protocols.uplink.series import Column, Series

I8 = NDArray[np.int64]
Encoded = list[object]

SHARED = 16  # the codec of a column that is in the series
_SPAN = 1 << 38  # how far from its base a shared integer may be
_POWERS = range(-31, 32)  # of ten, of shared decimals


class Shared:
    """The columns of a group that travel together, as one series."""

    def __init__(self, times: Sequence[object]) -> None:
        """Start with the times by the device's clock; else the readings are counted.

        Args:
            times: One a reading; used if all are integers.
        """
        self._times = [t for t in times if is_int(t, -_SPAN, _SPAN)]
        if len(self._times) < len(times):
            self._times = list(range(len(times)))
        self._measured: list[Column] = []
        self._others: list[I8] = []

    def decimals(self, pairs: Sequence[tuple[int | None, int]]) -> Encoded | None:
        """Take in decimals, all before any integers; None where they do not fit.

        Args:
            pairs: Mantissa and power of ten; a mantissa of None is absent.
        """
        if not all(m is None or (abs(m) <= _SPAN and e in _POWERS) for m, e in pairs):
            return None
        self._measured.append(
            Column(
                np.array([m or 0 for m, _ in pairs], np.int64),
                np.array([ABSENT if m is None else e for m, e in pairs], np.int8),
            )
        )
        return [SHARED, [len(self._measured), 0]]

    def integers(self, numbers: Sequence[int], most: int) -> Encoded | None:
        """Take in integers; None where they do not fit, or not in ``most`` bytes."""
        if [*numbers] == self._times:
            return [SHARED, [0, 0]]
        base = numbers[0]
        if any(abs(number - base) > _SPAN for number in numbers):
            return None
        away = np.array([number - base for number in numbers], np.int64)
        if ranged.size(away) > most or (place := self.rows([away])) is None:
            return None
        return [SHARED, [place, base]]

    def rows(self, columns: Sequence[I8]) -> int | None:
        """Take in columns of integers, side by side.

        Args:
            columns: Each of shape (n,), at most 2^38 from 0.

        Returns:
            The place of the first; None where there is no room.
        """
        place = 1 + len(self._measured) + len(self._others)
        if place - 1 + len(columns) > series.MAX_COLUMNS:
            return None
        self._others += columns
        return place

    def encode(self, *, fast: bool = False) -> bytes | None:
        """Return the series, as `series.encode`; None where nothing was taken in."""
        if not self._measured and not self._others:
            return None
        whole = np.zeros(len(self._times), np.int8)
        times = Column(np.array(self._times, np.int64), whole)
        others = [Column(numbers, whole) for numbers in self._others]
        columns = *self._measured, *others
        measured = len(self._measured)
        return series.encode(Series(times, columns), fast=fast, measured=measured)


class Taken:
    """What a group's series holds, for its columns."""

    def __init__(self, message: object, count: int) -> None:
        """Read it.

        Args:
            message: As it stands in the batch.
            count: How many readings the group has.

        Raises:
            DecodeError: It is damaged, or of another length.
        """
        if not isinstance(message, bytes):
            raise batch_error("series", "is no byte string")
        found = series.decode(message, rows=count)
        if len(found.time.mantissa) != count:
            raise batch_error("series", f"has not {count} rows")
        self._columns = (found.time, *found.values)

    def decimals(self, name: str, place: object) -> tuple[list[int | None], list[int]]:
        """Return the mantissas and powers of a column; a mantissa of None is absent.

        Raises:
            DecodeError: There is none at ``place``.
        """
        column = self._column(name, place)
        mantissas: list[int | None] = column.mantissa.tolist()
        powers: list[int] = column.exponent.tolist()
        if ABSENT in powers:
            for at in np.flatnonzero(column.exponent == ABSENT).tolist():
                mantissas[at], powers[at] = None, 0
        return mantissas, powers

    def integers(self, name: str, place: object, base: object) -> list[object]:
        """Return a column of integers, each ``base`` more than it is there.

        Raises:
            DecodeError: There are none at ``place``.
        """
        if type(base) is not int:
            raise batch_error(name, "has a base that is no integer")
        numbers: list[Any] = self.numbers(name, place).tolist()
        return [base + number for number in numbers] if base else numbers

    def numbers(self, name: str, place: object) -> I8:
        """Return a column of integers as they are there, of shape (n,).

        Raises:
            DecodeError: There are none at ``place``.
        """
        column = self._column(name, place)
        # Of so few numbers any() would take ten times as long.
        if column.exponent.tobytes().strip(b"\0"):
            raise batch_error(name, f"is no column of integers at the place {place}")
        return column.mantissa

    def _column(self, name: str, place: object) -> Column:
        if type(place) is not int or not 0 <= place < len(self._columns):
            raise batch_error(name, f"has the place {place!r:.20}, where nothing is")
        return self._columns[place]


def batch_error(name: str, problem: str, fault: Fault = Fault.BAD_FRAME) -> DecodeError:
    """Return what is wrong with a part of a batch.

    Args:
        name: The part.
        problem: What is wrong with it.
        fault: The class of the problem.
    """
    return DecodeError("batch", name, problem, b"", 0, fault)

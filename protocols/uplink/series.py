"""A device's numbers in time as one short message, and back, bit for bit.

    message = body check

    body    ff ..      CBOR, where nothing else is shorter
            fe ..      packed bits, where time matters more than size (`packing`)
            00 to f7   range code: heading, times, then column by column
    check   1 byte (CRC-8/SMBUS) of a message of at most 12 bytes, else 2
            (CRC-16/XMODEM, high byte first), each over the stamp of the models and
            the body: damage and another version of the models are both refused

A number is an exact decimal: mantissa and power of ten, as it was written. A column is
coded as integers on one grid, and a rule gives the power back: that of the number
without zeros at its end, at most the column's cap. ``docs/reference/uplink.md`` says
it for those who write a decoder.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from fastcrc import crc8, crc16
from numpy.typing import NDArray

from protocols.errors import DecodeError, Fault
from protocols.uplink import grids, packing, plain, profiles, rangecoder
from protocols.uplink.coding import Coding
from protocols.uplink.grids import ABSENT, Gridded
from protocols.uplink.heading import (
    CAP,
    CLOCK,
    COLUMNS,
    FIELDS,
    GRID,
    LOOSE,
    MOST_COLUMNS,
    PERIOD,
    PROFILE,
    ROWS,
    SCALES,
    START,
)
from protocols.uplink.profiles import ANY, ANY_CLOCK, PROFILES
from protocols.uplink.rangecoder import (
    FAULT,
    LEARN,
    MEASURE,
    READ,
    WRITE,
)
from protocols.uplink.times import FARTHEST
from protocols.uplink.values import LARGEST

I8 = NDArray[np.int64]

MAX_ROWS = 10_000
MAX_COLUMNS = MOST_COLUMNS
_SHORT = 12  # bytes of a message up to which its check is one byte
_TRIED = 32  # rows on which profiles are compared
_LONGEST_PERIOD, _LONGEST_UNIT = (1 << 31) - 1, (1 << 15) - 1
_FAIR = 8 * 65536  # a cost of one number at which a profile is right enough
_REGULAR = ("cgm", "cgm-smooth", "cgm-mmol")
_WAVES = ("cuff", "arterial")
_SPOT = (
    "cgm",
    "glucose",
    "glucose-mmol",
    "systolic",
    "diastolic",
    "mean-pressure",
    "pulse",
)


class Column(NamedTuple):
    """Numbers of one kind, each mantissa times ten to the exponent.

    Attributes:
        mantissa: Shape (n,), int64.
        exponent: Shape (n,), int8; `ABSENT` where there is no number.
    """

    mantissa: NDArray[np.int64]
    exponent: NDArray[np.int8]


class Series(NamedTuple):
    """What one device said, row by row: a time and at least one value.

    Attributes:
        time: When, in whatever unit; 1 to `MAX_ROWS` rows.
        values: What, 1 to `MAX_COLUMNS` columns of as many rows.
    """

    time: Column
    values: tuple[Column, ...]


def encode(series: Series, *, fast: bool = False, measured: int = MAX_COLUMNS) -> bytes:
    """Return a series as one message, never over 8 bytes longer than plain CBOR.

    Args:
        series: What to encode.
        fast: Whether time matters more than size.
        measured: How many columns, from the first, hold what was measured; for
            these a profile is looked for.

    Raises:
        ValueError: It has no rows, too many, or columns that do not fit each other.
    """
    _check(series)
    gridded = _gridded(series)
    body = None
    if gridded is not None:
        body = packing.pack(gridded) if fast else _encode_ranged(gridded, measured)
    decimals = [series.time, *series.values]
    least = len(series.time.mantissa) * len(decimals)  # bytes of CBOR
    if body is None or (len(body) > least and len(body) > plain.least(decimals)):
        in_cbor = plain.encode(decimals)
        body = in_cbor if body is None else min(body, in_cbor, key=len)
    return body + _check_of(body, short=len(body) < _SHORT)


def decode(message: bytes, *, rows: int = MAX_ROWS) -> Series:
    """Return the series of a message.

    Args:
        message: As `encode` made it.
        rows: How many it may have at most.

    Raises:
        DecodeError: It is damaged, too long, or made with models unknown here.
    """
    short = len(message) <= _SHORT
    body = message[: -1 if short else -2]
    if not message or message[len(body) :] != _check_of(body, short=short):
        raise _error("check", "is not that of these bytes", message)
    try:
        match body[:1]:
            case b"\xff":
                return _of(plain.decode(body, rows, MAX_COLUMNS))
            case b"\xfe":
                return _series(packing.unpack(body, rows, MAX_COLUMNS))
            case _:  # the kernels refuse what is of a later version
                return _series(_decode_ranged(body, rows))
    except ValueError as error:
        raise _error("body", f"is no series: {error}", message) from error


def size(numbers: I8) -> float:
    """Return about how many bytes a column of integers of any kind adds.

    Args:
        numbers: Shape (n,), each at most 2^39 from 0.
    """
    trial = Coding(LEARN)
    trial.values(numbers, np.zeros_like(numbers), [], ANY)
    return trial.cost / (8 * 65536)


def _check(series: Series) -> None:
    rows = len(series.time.mantissa)
    if not 1 <= rows <= MAX_ROWS:
        raise ValueError(f"a series has 1 to {MAX_ROWS} rows, not {rows}")
    if not 1 <= len(series.values) <= MAX_COLUMNS:
        raise ValueError(f"a series has 1 to {MAX_COLUMNS} columns of values")
    for column in (series.time, *series.values):
        if not len(column.mantissa) == len(column.exponent) == rows:
            raise ValueError(f"a column has not {rows} mantissas and exponents")
        absent = column.exponent == ABSENT
        if absent.any() and column.mantissa[absent].any():
            raise ValueError("an absent number has a mantissa")


def _gridded(series: Series) -> list[Gridded] | None:
    """Return the columns as integers, the times' first; None where one can't be."""
    if (series.time.exponent == ABSENT).any():
        return None
    columns = [grids.put(series.time.mantissa, series.time.exponent, FARTHEST // 2)]
    columns += [
        grids.put(column.mantissa, column.exponent, LARGEST // 2)
        for column in series.values
    ]
    found = [column for column in columns if column is not None]
    return found if len(found) == len(columns) else None


def _series(columns: Sequence[Gridded]) -> Series:
    return _of([grids.take(column) for column in columns])


def _of(columns: Sequence[plain.Decimals]) -> Series:
    time, *values_ = (Column(m, e.astype(np.int8)) for m, e in columns)
    return Series(time, tuple(values_))


def _encode_ranged(columns: list[Gridded], measured: int) -> bytes | None:
    time = columns[0].numbers
    rows = len(time)
    clock, period, steps, gaps = _clock(time - time[0])
    is_fast = clock == 0 and period <= 10 ** -columns[0].grid
    tried = _tried(clock, rows, is_fast=is_fast)
    chosen = [ANY] * (len(columns) - 1)
    for at, column in enumerate(columns[1 : measured + 1]):
        chosen[at] = _profile(column, gaps, tried)
    fields = [0] * (SCALES + 4 * len(columns))
    fields[ROWS], fields[COLUMNS] = rows, len(chosen)
    fields[CLOCK], fields[PERIOD], fields[START] = clock, period, int(time[0])
    for at, column, profile in zip(
        range(SCALES, len(fields), 4), columns, [0, *chosen], strict=True
    ):
        fields[at + GRID], fields[at + CAP] = column.grid, column.cap
        fields[at + LOOSE] = int(column.exceptions is not None)
        fields[at + PROFILE] = profile
    coding = Coding(WRITE, 64 + rows * 16 * len(columns))
    coding.heading(fields)
    gaps = blank = np.zeros(rows, np.int64)
    if clock:
        gaps = coding.times(steps, clock, period)[1]
    left: list[I8] = []
    for number, column in enumerate(columns):
        if column.exceptions is not None:
            coding.values(column.exceptions, blank, [], ANY)
        if number:
            rest = coding.values(column.numbers, gaps, left, chosen[number - 1])[1]
            left = [rest, *left]
    return None if coding.coder[FAULT] else coding.finished()


def _decode_ranged(body: bytes, most: int) -> list[Gridded]:
    coding = Coding(READ, body)
    fields = coding.heading([0] * FIELDS)
    coding.check()
    rows, clock, period = fields[ROWS], fields[CLOCK], fields[PERIOD]
    if not 1 <= rows <= most:
        raise ValueError(f"it has {rows} rows")
    if rows > 1 and not 1 <= period <= (
        _LONGEST_UNIT if clock == ANY_CLOCK else _LONGEST_PERIOD
    ):
        raise ValueError(f"its clock has the period {period}")
    blank = np.zeros(rows, np.int64)
    steps, gaps = np.arange(rows) * period, blank
    if clock:
        steps, gaps = coding.times(blank, clock, period)
        coding.check()
        steps *= period if clock == ANY_CLOCK else 1
    found: list[Gridded] = []
    left: list[I8] = []
    for number in range(fields[COLUMNS] + 1):
        grid, cap, loose, profile = fields[SCALES + 4 * number :][:4]
        if profile >= len(PROFILES):
            raise ValueError(f"its profile {profile} is unknown here")
        exceptions = None
        if loose:
            exceptions = coding.values(blank, blank, [], ANY)[0]
        numbers = fields[START] + steps
        if abs(numbers).max() > FARTHEST:
            raise ValueError("a time is out of range")
        if number:
            numbers, rest = coding.values(blank, gaps, left, profile)
            left = [rest, *left]
        coding.check()
        found.append(Gridded(numbers, grid, cap, exceptions))
    if not rangecoder.ended(coding.coder, coding.code, len(body)):
        raise ValueError("it does not end where its numbers do")
    return found


def _clock(steps: I8) -> tuple[int, int, I8, I8]:
    """Return a column's clock, its period, its times by it, and the first gaps.

    Args:
        steps: The times less the first, on their grid.
    """
    none = np.zeros_like(steps)
    if len(steps) == 1:
        return 0, 0, steps, none
    taken = np.diff(steps)
    period = int(taken[len(taken) // 2])
    often = int(np.count_nonzero(taken == period))
    if often * 8 < len(taken) * 7:
        different, counts = np.unique(taken, return_counts=True)
        period = int(different[counts.argmax()])
        near = abs(taken - period) <= period >> 3
    if 1 <= period <= _LONGEST_PERIOD:
        if often == len(taken):
            return 0, period, steps, none
        if often * 8 >= len(taken) * 7:
            return 1, period, steps, none
        if np.count_nonzero(near) * 2 >= len(taken):
            trial, trials = Coding(MEASURE), {}
            for clock in (2, 1):
                before = trial.cost
                gaps = trial.times(steps[:_TRIED], clock, period)[1]
                trials[trial.cost - before] = clock, period, steps, gaps
            return trials[min(trials)]
    unit = int(np.gcd.reduce(taken))
    if not 1 <= unit <= _LONGEST_UNIT:
        unit = 1
    return ANY_CLOCK, unit, steps // unit, none


def _tried(clock: int, rows: int, *, is_fast: bool) -> tuple[str, ...]:
    """Return the profiles that may fit a clock."""
    if clock == ANY_CLOCK or rows == 1:
        return _SPOT
    return _WAVES if is_fast else _REGULAR


def _profile(column: Gridded, gaps: I8, tried: tuple[str, ...]) -> int:
    """Return the profile by which the first rows of a column are shortest."""
    numbers = column.numbers[:_TRIED]
    names = [n for n in tried if n.endswith("mmol") is (column.grid == -1)]
    trial = Coding(MEASURE)
    costs: dict[int, int] = {}
    for profile in map(PROFILES.index, [*(names or tried), PROFILES[ANY]]):
        if profile == ANY and costs and min(costs.values()) < len(numbers) * _FAIR:
            break
        before = trial.cost
        trial.values(numbers, gaps[: len(numbers)], [], profile)
        costs[profile] = trial.cost - before
    return min(costs, key=costs.__getitem__)


def _check_of(body: bytes, *, short: bool) -> bytes:
    covered = profiles.STAMP + body
    if short:
        return bytes([crc8.smbus(covered)])
    return crc16.xmodem(covered).to_bytes(2, "big")


def _error(field: str, problem: str, message: bytes) -> DecodeError:
    return DecodeError("series", field, problem, message[:32], 0, Fault.BAD_FRAME)

"""A device's numbers in time as one short message, and back, bit for bit.

    message = body check

    body    ff ..      CBOR, where nothing else is shorter
            fe ..      packed bits, where time matters more than size (`packing`)
            00 to f7   range code: heading, times, then column by column
    check   1 byte (CRC-8/SMBUS) of a message of at most 12 bytes, else 2
            (CRC-16/XMODEM, high byte first), each over the stamp of the models and
            the body: it tells by which set of models a body is coded, and damage
            and models unknown here are both refused

A number is an exact decimal: mantissa and power of ten, as it was written. A column is
coded as integers on one grid, and a rule gives the power back: that of the number
without zeros at its end, at most the column's cap. ``docs/reference/uplink.md`` says
it for those who write a decoder.
"""

from typing import NamedTuple

import numpy as np
from fastcrc import crc8, crc16
from numpy.typing import NDArray

from protocols.errors import DecodeError, Fault
from protocols.uplink import packing, plain, ranged
from protocols.uplink.grids import gridded
from protocols.uplink.heading import MOST_COLUMNS, must_fit
from protocols.uplink.profiles import SETS, Models
from protocols.uplink.room import Room, room, run_sure

I8 = NDArray[np.int64]

MAX_ROWS = 10_000
MAX_COLUMNS = MOST_COLUMNS
_SHORT = 12  # bytes of a message up to which its check is one byte
_PACKED = gridded, packing.pack, plain.least
_RANGED = gridded, *ranged.KERNELS, plain.least
_INT64, _INT8, _UINT8 = np.dtype(np.int64), np.dtype(np.int8), np.dtype(np.uint8)


class Column(NamedTuple):
    """Numbers of one kind, each mantissa times ten to the exponent.

    Attributes:
        mantissa: Shape (n,), int64.
        exponent: Shape (n,), int8; `grids.ABSENT` where there is no number.
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
    columns = [series.time, *series.values]
    rows, count = len(series.time.mantissa), len(columns)
    table = np.empty((3 * count, rows), _INT64)
    powers = np.empty((count, rows), _INT8)
    for at, (mantissa, exponent) in enumerate(columns):
        table[at], powers[at] = mantissa, exponent
    mantissas, table = table[:count], table[count:]
    body, models = None, SETS[0]
    with room(*(_PACKED if fast else _RANGED)) as place:
        fits = place.run(gridded, mantissas, powers, table, place.fields)
        if fits < 0:
            raise ValueError("an absent number has a mantissa")
        if fits and fast:
            body = _pack(place, table)
        elif fits:
            body, models = _by_shortest_set(place, table, measured)
        least = count * rows  # bytes of CBOR
        if body is not None and len(body) > least:
            least = place.run(plain.least, mantissas)
    if body is None or len(body) > least:
        in_cbor = plain.encode(columns)
        if body is None or len(in_cbor) < len(body):
            body, models = in_cbor, SETS[0]
    return body + _check_of(body, models, short=len(body) < _SHORT)


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
    for models in SETS[:1] if short else SETS:
        if message and message[len(body) :] == _check_of(body, models, short=short):
            break
    else:
        raise _error("check", "is not that of these bytes", message)
    try:
        match body[:1]:
            case b"\xff":
                found = plain.decode(body, rows, MAX_COLUMNS)
                columns = [Column(m, e.astype(np.int8)) for m, e in found]
            case b"\xfe":
                columns = _unpack(body, rows)
            case _:  # the kernels refuse what is of a later version
                with room(*ranged.KERNELS) as place:
                    read = ranged.decode(place, body, rows, models)
                columns = list(map(Column, *read))
    except ValueError as error:
        raise _error("body", f"is no series: {error}", message) from error
    return Series(columns[0], tuple(columns[1:]))


def _check(series: Series) -> None:
    rows = len(series.time.mantissa)
    if not 1 <= rows <= MAX_ROWS:
        raise ValueError(f"a series has 1 to {MAX_ROWS} rows, not {rows}")
    if not 1 <= len(series.values) <= MAX_COLUMNS:
        raise ValueError(f"a series has 1 to {MAX_COLUMNS} columns of values")
    for column in (series.time, *series.values):
        if not len(column.mantissa) == len(column.exponent) == rows:
            raise ValueError(f"a column has not {rows} mantissas and exponents")
        if column.mantissa.dtype != _INT64 or column.exponent.dtype != _INT8:
            raise ValueError("a column has mantissas of int64 and exponents of int8")


def _pack(place: Room, table: I8) -> bytes:
    """Return columns that are on their grids as packed bits."""
    count, rows = table.shape
    code = np.empty(packing.most_bytes(rows, count // 2), _UINT8)
    size = place.run(packing.pack, table, place.fields, code, place.memory)
    return code[:size].tobytes()


def _unpack(body: bytes, most: int) -> list[Column]:
    rows, columns, at = packing.read_size(body)
    must_fit(rows, columns, most)
    table = np.empty((columns + 2, rows), _INT64)  # one of them is room
    powers = np.empty((columns + 1, rows), _INT8)
    code = np.frombuffer(bytearray(body), _UINT8)
    if problem := run_sure(packing.unpack, code, at, table, powers):
        raise ValueError(packing.PROBLEMS[problem])
    # To iterate over an array takes twice as long as to index it.
    return [Column(table[at], powers[at]) for at in range(columns + 1)]


def _by_shortest_set(
    place: Room, table: I8, measured: int
) -> tuple[bytes | None, Models]:
    """Return a body, None where none is short enough, and what it is coded by."""
    times = table[0].copy()
    body, has_others = ranged.encode(place, table, times, measured, SETS[0])
    models = SETS[0]
    if body is None or not has_others:
        return body, models
    for other in SETS[1:]:
        found, _ = ranged.encode(place, table, times, measured, other)
        # A check of one byte says too little to tell sets apart by it as well.
        if found is not None and _SHORT <= len(found) < len(body):
            body, models = found, other
    return body, models


def _check_of(body: bytes, models: Models, *, short: bool) -> bytes:
    covered = models.stamp + body
    if short:
        return bytes([crc8.smbus(covered)])
    return crc16.xmodem(covered).to_bytes(2, "big")


def _error(field: str, problem: str, message: bytes) -> DecodeError:
    return DecodeError("series", field, problem, message[:32], 0, Fault.BAD_FRAME)

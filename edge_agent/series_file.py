"""Reads a file of measured series: CSV, plain or gzipped, decimals kept as written.

    device,time,value[,value2,...]
    a,1417628972,103.0
    a,1417629272,

A number is kept as mantissa and power of ten, so that 103.0 is (1030, -1) and not
(103, 0). An empty cell is a value that is absent; there is always a time. A file is
read once from its start to its end, so it may be a pipe.
"""

import csv
import gzip
import re
import zlib
from array import array
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from protocols.config import ConfigError
from protocols.uplink.grids import ABSENT
from protocols.uplink.series import MAX_COLUMNS, Column, Series

_GZIP = b"\x1f\x8b"
_DAMAGED = (EOFError, zlib.error, gzip.BadGzipFile)
_INT64 = range(-(1 << 63), 1 << 63)
_EXPONENTS = range(ABSENT + 1, 128)
_LONGEST = 400  # characters of a number
_POWERS = np.array([float(f"1e{power}") for power in range(129)])
_REMEMBERED = 1 << 16  # numbers, as most values come again
_NUMBER = re.compile(
    r"([+-]?)(?=\.?[0-9])([0-9]*)(?:\.([0-9]*))?(?:[eE]([+-]?[0-9]{1,9}))?"
)


class SeriesFile(NamedTuple):
    """What a file holds.

    Attributes:
        devices: Each device's rows in the order of the file, by the device's name;
            devices in the order of their first rows.
        lines: By the device's name, the line of each of its rows, shape (n,).
        rows: How many rows that are, of all devices.
        negative_zeros: How many cells hold a zero with a minus, which is read as zero.
    """

    devices: dict[str, Series]
    lines: dict[str, NDArray[np.int64]]
    rows: int
    negative_zeros: int


class _Number(NamedTuple):
    mantissa: int
    exponent: int
    is_negative_zero: bool = False


class _Lines(Protocol):
    """What `csv.reader` returns."""

    @property
    def line_num(self) -> int: ...
    def __iter__(self) -> Iterator[list[str]]: ...
    def __next__(self) -> list[str]: ...


class _Cells:
    """One column while it is read: 9 bytes a cell."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._mantissas = array("q")
        self._exponents = array("b")
        self.negative_zeros = 0

    def add(self, cell: str) -> None:
        mantissa, exponent, is_negative_zero = _number(cell)
        self._mantissas.append(mantissa)
        self._exponents.append(exponent)
        self.negative_zeros += is_negative_zero

    def column(self, order: NDArray[np.intp]) -> Column:
        mantissas = np.frombuffer(self._mantissas, np.int64)
        exponents = np.frombuffer(self._exponents, np.int8)
        return Column(mantissas[order], exponents[order])


def read(path: Path) -> SeriesFile:
    """Read a file.

    Args:
        path: CSV in UTF-8, gzipped or not, with the header above.

    Raises:
        ConfigError: A line can't be read, or there is none; names file and line.
        OSError: The file can't be opened.
    """
    with path.open("rb") as file:
        is_gzip = file.peek(2)[:2] == _GZIP
        raw = gzip.GzipFile(fileobj=file) if is_gzip else file
        lines = csv.reader(_text(raw), strict=True)
        try:
            return _read(lines)
        except UnicodeDecodeError as error:
            at = lines.line_num + 1
            raise ConfigError(f"{path}: line {at}: it is no UTF-8 text") from error
        except (ValueError, csv.Error) as error:
            at = max(lines.line_num, 1)
            raise ConfigError(f"{path}: line {at}: {error}") from error
        except _DAMAGED as error:
            raise ConfigError(f"{path}: it is no whole gzip file ({error})") from error


def slices(series: Series, size: int) -> Iterator[Series]:
    """Yield consecutive pieces of exactly ``size`` rows; what remains is left out."""
    for start in range(0, len(series.time.mantissa) - size + 1, size):
        yield cut(series, start, start + size)


def cut(series: Series, start: int, end: int) -> Series:
    """Return the rows from ``start`` to before ``end``."""
    time, *values = (
        Column(column.mantissa[start:end], column.exponent[start:end])
        for column in (series.time, *series.values)
    )
    return Series(time, tuple(values))


def floats(column: Column) -> NDArray[np.float64]:
    """Return a column's numbers, shape (n,); NaN where there is none."""
    mantissa, exponent = column.mantissa, column.exponent
    powers = _POWERS[np.abs(exponent.astype(np.int64))]
    numbers = np.where(exponent < 0, mantissa / powers, mantissa * powers)
    return np.where(exponent == ABSENT, np.nan, numbers)


def _text(raw: Iterable[bytes]) -> Iterator[str]:
    """Yield lines, each decoded by itself, so that one that is no text is known."""
    encoding = "utf-8-sig"
    for line in raw:
        yield from line.decode(encoding).splitlines(keepends=True)
        encoding = "utf-8"


def _read(lines: _Lines) -> SeriesFile:
    names = _header(next(lines, []))
    time, *values = cells = [_Cells(name) for name in names]
    numbers: dict[str, int] = {}
    owners, at = array("i"), array("q")
    for row in lines:
        if not any(row):
            continue  # blank
        if len(row) != len(cells) + 1:
            raise ValueError(f"{len(row)} cells where the header has {len(cells) + 1}")
        device = row[0].strip()
        if not (device and device.isprintable()):
            raise ValueError(f"{device[:40]!a} is no name of a device")
        if not row[1].strip():
            raise ValueError("the time is empty")
        for column, cell in zip(cells, islice(row, 1, None), strict=True):
            try:
                column.add(cell)
            except ValueError as error:
                raise ValueError(f"{column.name} {error}") from None
        owners.append(numbers.setdefault(device, len(numbers)))
        at.append(lines.line_num)
    if not owners:
        raise ValueError("there is a header, and no row after it")
    order = np.argsort(np.frombuffer(owners, np.int32), kind="stable")
    ends = np.cumsum(np.bincount(owners)).tolist()
    places = list(zip(numbers, [0, *ends], ends, strict=False))
    whole = Series(time.column(order), tuple(each.column(order) for each in values))
    ordered = np.frombuffer(at, np.int64)[order]
    return SeriesFile(
        devices={device: cut(whole, start, end) for device, start, end in places},
        lines={device: ordered[start:end] for device, start, end in places},
        rows=len(owners),
        negative_zeros=sum(column.negative_zeros for column in cells),
    )


def _header(row: list[str]) -> list[str]:
    """Return the names of the columns behind the device's."""
    names = [name.strip() for name in row]
    if [name.lower() for name in names[:2]] != ["device", "time"] or len(names) < 3:
        raise ValueError(
            "the file begins with its header, device,time,value[,value2,...], "
            f"not with {','.join(names)[:60]!a}"
        )
    for number, name in enumerate(names, 1):
        if not (name and name.isprintable()):
            raise ValueError(f"column {number} of the header has no name")
    if len(names) > 2 + MAX_COLUMNS:
        raise ValueError(
            f"{len(names) - 2} columns of values, and a message holds at most "
            f"{MAX_COLUMNS}"
        )
    return names[1:]


@lru_cache(_REMEMBERED)
def _number(cell: str) -> _Number:
    """Return a cell's number.

    Raises:
        ValueError: It holds anything else, or more than 64 bits.
    """
    text = cell.strip()
    if not text:
        return _Number(0, ABSENT)
    found = _NUMBER.fullmatch(text) if len(text) <= _LONGEST else None
    if found is None:
        raise ValueError(
            f"{text[:40]!r} is no decimal number; a value that is absent is left empty"
        )
    sign, whole, fraction, power = found.groups(default="")
    mantissa = int(sign + whole + fraction)
    exponent = int(power or 0) - len(fraction)
    if mantissa not in _INT64 or exponent not in _EXPONENTS:
        raise ValueError(
            f"{text[:40]!r} is out of range: its digits must fit in 64 bits, and its "
            f"power of ten be {_EXPONENTS[0]} to {_EXPONENTS[-1]}"
        )
    return _Number(mantissa, exponent, mantissa == 0 and sign == "-")

"""Reads a file of measured series: CSV, plain or gzipped, decimals kept as written.

    device,time,value[,value2,...]
    a,1417628972,103.0
    a,1417629272,

A number is kept as mantissa and power of ten, so that 103.0 is (1030, -1) and not
(103, 0). An empty cell is a value that is absent; there is always a time.
"""

import csv
import gzip
import re
import zlib
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import BinaryIO, NamedTuple, TextIO, cast

import numpy as np
from numpy.typing import NDArray

from protocols.config import ConfigError
from protocols.uplink.grids import ABSENT
from protocols.uplink.series import Column, Series

_GZIP = b"\x1f\x8b"
_DAMAGED = (EOFError, zlib.error, gzip.BadGzipFile)
_INT64 = range(-(1 << 63), 1 << 63)
_EXPONENTS = range(ABSENT + 1, 128)
_LONGEST = 400  # characters of a number
_REMEMBERED = 1 << 16  # numbers, as most values come again
_NUMBER = re.compile(
    r"([+-]?)(?=\.?[0-9])([0-9]*)(?:\.([0-9]*))?(?:[eE]([+-]?[0-9]{1,9}))?"
)


class SeriesFile(NamedTuple):
    """What a file holds.

    Attributes:
        devices: Each device's rows in the order of the file, by the device's name;
            devices in the order of their first rows.
        rows: How many rows that are, of all devices.
        negative_zeros: How many cells hold a zero with a minus, which is read as zero.
    """

    devices: dict[str, Series]
    rows: int
    negative_zeros: int


class _Number(NamedTuple):
    mantissa: int
    exponent: int
    is_negative_zero: bool = False


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
    with _opened(path) as file:
        lines = csv.reader(file, strict=True)
        try:
            return _read(lines)
        except UnicodeDecodeError as error:
            at = _line_of_no_text(path)
            raise ConfigError(f"{path}: line {at}: it is no UTF-8 text") from error
        except (ValueError, csv.Error) as error:
            raise ConfigError(f"{path}: line {lines.line_num}: {error}") from error
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


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    with _open(path) as raw, TextIOWrapper(raw, "utf-8-sig", newline="") as file:
        yield file


def _open(path: Path) -> BinaryIO:
    with path.open("rb") as raw:
        is_gzip = raw.read(2) == _GZIP
    return cast("BinaryIO", gzip.open(path)) if is_gzip else path.open("rb")


def _line_of_no_text(path: Path) -> int:
    """Return the number of the first line that is none; text is read by the block."""
    with _open(path) as raw:
        for at, line in enumerate(raw, 1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return at
    return 1


def _read(lines: Iterator[list[str]]) -> SeriesFile:
    names = _header(next(lines, []))
    time, *values = cells = [_Cells(name) for name in names]
    numbers: dict[str, int] = {}
    owners = array("i")
    for row in lines:
        if not any(row):
            continue  # blank
        if len(row) != len(cells) + 1:
            raise ValueError(f"{len(row)} cells where the header has {len(cells) + 1}")
        device = row[0].strip()
        if not device:
            raise ValueError("the device is empty")
        if not row[1].strip():
            raise ValueError("the time is empty")
        for column, cell in zip(cells, islice(row, 1, None), strict=True):
            try:
                column.add(cell)
            except ValueError as error:
                raise ValueError(f"{column.name} {error}") from None
        owners.append(numbers.setdefault(device, len(numbers)))
    if not owners:
        raise ValueError("there is a header, and no reading after it")
    devices = _by_device(numbers, np.frombuffer(owners, np.int32), time, values)
    zeros = sum(column.negative_zeros for column in cells)
    return SeriesFile(devices, len(owners), zeros)


def _header(row: list[str]) -> list[str]:
    """Return the names of the columns behind the device's."""
    names = [name.strip() for name in row]
    if [name.lower() for name in names[:2]] != ["device", "time"] or len(names) < 3:
        raise ValueError(
            "the file begins with its header, device,time,value[,value2,...], "
            f"not with {','.join(names)[:60]!r}"
        )
    if "" in names:
        raise ValueError(f"column {names.index('') + 1} of the header has no name")
    return names[1:]


def _by_device(
    numbers: dict[str, int],
    owners: NDArray[np.int32],
    time: _Cells,
    values: Sequence[_Cells],
) -> dict[str, Series]:
    order = np.argsort(owners, kind="stable")
    ends = np.cumsum(np.bincount(owners)).tolist()
    whole = Series(time.column(order), tuple(each.column(order) for each in values))
    return {
        device: cut(whole, start, end)
        for device, start, end in zip(numbers, [0, *ends], ends, strict=False)
    }


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

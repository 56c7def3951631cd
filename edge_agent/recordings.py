"""Reads a file of measured series as numbers: CSV, plain or gzipped.

    device,time,value[,value2,...]
    arm,0.0,181.3

Only the first value is read; an empty one is missing. Decimals as they were written are
what `edge_agent.bench.series_file` reads.
"""

import csv
import gzip
import math
import zlib
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from protocols.config import ConfigError

F8: TypeAlias = NDArray[np.float64]

_GZIP = b"\x1f\x8b"
_HEADER = ["device", "time", "value"]


@dataclass(frozen=True, slots=True)
class Recording:
    """One device's rows, in the order of the file.

    Attributes:
        times: Shape (n,), s, as the file has them.
        values: Shape (n,); NaN is missing.
        lines: Shape (n,), the line of each.
    """

    times: F8
    values: F8
    lines: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Rows:
    times: "array[float]" = field(default_factory=lambda: array("d"))
    values: "array[float]" = field(default_factory=lambda: array("d"))
    lines: "array[int]" = field(default_factory=lambda: array("q"))


class _Reader(Protocol):
    @property
    def line_num(self) -> int: ...
    def __iter__(self) -> Iterator[list[str]]: ...


def read(path: Path) -> dict[str, Recording]:
    """Return the recordings of a file by their device's name, in order.

    Raises:
        ConfigError: A line can't be read, or there is none; names file and line.
        OSError: The file can't be opened.
    """
    with path.open("rb") as raw:
        opened = gzip.open if raw.read(2) == _GZIP else open
    # What is no text must be told with its line, and text is decoded many at a time.
    with opened(
        path, "rt", encoding="utf-8-sig", errors="surrogateescape", newline=""
    ) as file:
        lines = csv.reader(file, strict=True)
        try:
            found = _read(lines)
        except (ValueError, csv.Error, EOFError, zlib.error) as error:
            at = max(lines.line_num, 1)
            raise ConfigError(f"{path}: line {at}: {error}") from error
    return {
        name: Recording(
            np.array(rows.times), np.array(rows.values), np.array(rows.lines)
        )
        for name, rows in found.items()
    }


def _read(lines: _Reader) -> dict[str, _Rows]:
    found: dict[str, _Rows] = {}
    header = [name.strip().lower() for name in next(iter(lines), [])]
    if header[:3] != _HEADER:
        raise ValueError(
            "the file begins with its header, device,time,value[,value2,...], "
            f"not with {','.join(header)[:60]!a}"
        )
    for row in lines:
        if not any(row):
            continue  # blank
        if len(row) != len(header):
            raise ValueError(f"{len(row)} cells where the header has {len(header)}")
        if not row[0].strip() or not row[0].isprintable():
            raise ValueError(f"{row[0][:40]!a} is no name of a device")
        rows = found.setdefault(row[0].strip(), _Rows())
        rows.times.append(_number("time", row[1]))
        rows.values.append(_number("value", row[2]) if row[2].strip() else math.nan)
        rows.lines.append(lines.line_num)
    if not found:
        raise ValueError("there is a header, and no row after it")
    return found


def _number(column: str, cell: str) -> float:
    try:
        number = float(cell)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"the {column} {cell[:40]!a} is no number")
    return number

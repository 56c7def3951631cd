"""Series as bytes for general compressors: differences as variable-length integers.

    columns u7, plain u1 | unless plain, per column its form (scale.py) | differences

Plain are columns of integers, without any power of ten. Each column stands by itself,
first number and then differences, as signed integers folded to unsigned ones (0, -1,
1, -2 are 0, 1, 2, 3), seven bits a byte, low bits first. A general compressor does
better on these than on rows, or on differences of differences
(docs/explanation/compression.md).
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from edge_agent.bench.rivals import scale
from protocols.uplink.series import Column, Series

I8 = NDArray[np.int64]
U8 = NDArray[np.uint64]

_MOST = 10  # bytes of 64 bits


def packed(series: Series) -> bytes:
    """Return a series as bytes that suit a general compressor."""
    head, integers = headed(series)
    folded = np.concatenate([_folded(np.diff(row, prepend=0)) for row in integers])
    return head + _varints(folded)


def unpacked(message: bytes) -> Series:
    """Return the series of which `packed` made ``message``."""
    heads, size = unheaded(message)
    folded = _from_varints(message[size:]).reshape(sum(map(scale.rows, heads)), -1)
    return series_of(heads, [np.cumsum(_unfolded(row)) for row in folded])


def headed(series: Series) -> tuple[bytes, list[I8]]:
    """Return what tells of a series' columns, and their integers."""
    columns = [scale.scaled(column) for column in (series.time, *series.values)]
    heads = b"".join(column.head for column in columns)
    is_plain = not any(heads)
    head = bytes([len(columns) << 1 | is_plain]) + (b"" if is_plain else heads)
    return head, [row for column in columns for row in column.integers]


def unheaded(message: bytes) -> tuple[list[bytes], int]:
    """Return each column's form, and the size of what tells of them."""
    columns = message[0] >> 1
    if message[0] & 1:
        return [scale.PLAIN] * columns, 1
    heads, at = [], 1
    for _ in range(columns):
        size = scale.head_size(message[at])
        heads.append(message[at : at + size])
        at += size
    return heads, at


def series_of(heads: Sequence[bytes], integers: Sequence[I8]) -> Series:
    """Return the series whose columns have these forms and integers."""
    time, *values = _columns(heads, iter(integers))
    return Series(time, tuple(values))


def _columns(heads: Sequence[bytes], integers: Iterator[I8]) -> Iterator[Column]:
    for head in heads:
        rows = [next(integers) for _ in range(scale.rows(head))]
        yield scale.unscaled(head, np.stack(rows))


def _folded(numbers: I8) -> U8:
    return ((numbers << 1) ^ (numbers >> 63)).view(np.uint64)


def _unfolded(folded: U8) -> I8:
    halves = (folded >> np.uint64(1)).view(np.int64)
    return halves ^ -(folded & np.uint64(1)).view(np.int64)


def _varints(numbers: U8) -> bytes:
    sizes = np.ones(len(numbers), np.intp)
    for at in range(1, _MOST):
        sizes += numbers >= np.uint64(1 << 7 * at)
    starts = np.cumsum(sizes) - sizes
    out = np.empty(int(sizes.sum()), np.uint8)
    for at in range(int(sizes.max())):
        here = sizes > at
        bits = (numbers[here] >> np.uint64(7 * at)).astype(np.uint8) & 0x7F
        out[starts[here] + at] = bits | np.where(sizes[here] > at + 1, 0x80, 0)
    return out.tobytes()


def _from_varints(message: bytes) -> U8:
    data = np.frombuffer(message, np.uint8)
    ends = np.flatnonzero(data < 0x80)
    starts = np.concatenate([[0], ends[:-1] + 1])
    places = np.arange(len(data)) - np.repeat(starts, ends - starts + 1)
    parts = (data & 0x7F).astype(np.uint64) << (7 * places).astype(np.uint64)
    return np.bitwise_or.reduceat(parts, starts)

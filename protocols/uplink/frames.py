"""Frames of bytes as columns of integers.

Each reading is a row of numbers: how long each of its frames is (-1 for one that it
has not), then their bytes, each frame filled up to the longest of its place with what
stood there before. Only the numbers that differ from row to row travel as columns; the
others once, as the first row.

    head = [longest, first, bytes, varying]

``longest`` and ``first`` have a length for each place, of the longest frame and of the
first row's; ``bytes`` are the first row's; ``varying`` says which numbers differ.
"""

from collections.abc import Sequence
from itertools import accumulate, repeat
from operator import add, gt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

I8 = NDArray[np.int64]

_MOST, _LONGEST = 8, 4096
_MOST_NUMBERS = 1 << 20  # of all rows


class Split(NamedTuple):
    """Frames as they travel.

    Attributes:
        head: As above.
        columns: The varying numbers, each of shape (n,).
    """

    head: list[object]
    columns: list[I8]


def are(item: object) -> bool:
    """Whether an item is at most eight frames of bytes."""
    return (
        isinstance(item, list)
        and len(item) <= _MOST
        and all(isinstance(frame, bytes) for frame in item)
    )


def split(rows: Sequence[Sequence[bytes]]) -> Split | None:
    """Split frames, not all alike; None where that would be too much.

    Args:
        rows: Of each reading at most eight frames, of at most 4,096 bytes.
    """
    places = max(map(len, rows))
    longest = [
        max(len(frames[at]) if at < len(frames) else 0 for frames in rows)
        for at in range(places)
    ]
    width = places + sum(longest)
    if len(rows) * width > _MOST_NUMBERS:
        return None
    table = np.zeros((len(rows), width), np.int64)
    for row, frames in enumerate(rows):
        table[row] = table[max(row - 1, 0)]
        table[row, :places] = -1
        start = places
        for at, frame in enumerate(frames):
            table[row, at] = len(frame)
            table[row, start : start + len(frame)] = [*frame]
            start += longest[at]
    varying = [int(at) for at in np.flatnonzero((table != table[0]).any(axis=0))]
    first = [int(size) for size in table[0, :places]]
    alike = bytes(table[0, places:].astype(np.uint8))
    return Split([longest, first, alike, varying], [table[:, at] for at in varying])


def check(head: Sequence[Any]) -> int:
    """Return how many columns a head is for.

    Raises:
        ValueError: Its parts do not fit each other.
    """
    longest, first, alike, varying = head
    if not (
        isinstance(longest, list)
        and isinstance(first, list)
        and isinstance(varying, list)
        and isinstance(alike, bytes)
        and 1 <= len(longest) == len(first) <= _MOST
        and all(type(size) is int and 0 <= size <= _LONGEST for size in longest)
        and all(type(size) is int and -1 <= size <= _LONGEST for size in first)
        and len(alike) == sum(longest)
        and varying
        and all(type(at) is int and 0 <= at < size(head) for at in varying)
        and varying == sorted({*varying})
    ):
        raise ValueError("has frames that do not fit each other")
    return len(varying)


def size(head: Sequence[Any]) -> int:
    """Return how many numbers a row has."""
    return len(head[1]) + len(head[2])


def join(head: Sequence[Any], columns: Sequence[I8]) -> list[list[bytes]]:
    """Return the frames of each reading.

    Args:
        head: As `check` likes it.
        columns: As many as it is for, each of shape (n,).

    Raises:
        ValueError: A number is no length or no byte, or a frame stands behind none.
    """
    longest, first, alike, varying = head
    places, width = len(first), len(alike)
    block = np.array(columns)
    least, most = block.min(axis=1).tolist(), block.max(axis=1).tolist()
    shortest, greatest = [*first], [*first]
    for at, low, high in zip(varying, least, most, strict=True):
        if at < places:
            shortest[at], greatest[at] = low, high
        elif low < 0 or high > 0xFF:
            raise ValueError("has a byte out of range")
    if min(shortest) < -1 or any(map(gt, greatest, longest)):
        raise ValueError("has a frame of a size out of range")

    content = np.empty((len(columns[0]), width), np.uint8)
    content[:] = np.frombuffer(alike, np.uint8)
    sized = sum(at < places for at in varying)
    content[:, [at - places for at in varying[sized:]]] = block[sized:].T
    whole, starts = content.tobytes(), [0, *accumulate(longest)]
    begins = range(0, len(whole), width) if width else repeat(0, len(content))
    if not sized and min(first) >= 0:
        spans = list(zip(starts, map(add, starts, first), strict=False))
        return [[whole[at + a : at + b] for a, b in spans] for at in begins]
    sizes = np.tile(np.array(first, np.int64), (len(content), 1))
    sizes[:, varying[:sized]] = block[:sized].T
    there = sizes >= 0
    if (there[:, 1:] > there[:, :-1]).any():
        raise ValueError("has a frame behind one that is not there")
    return [
        [
            whole[at + start : at + start + size]
            for start, size in zip(starts, row, strict=False)
            if size >= 0
        ]
        for at, row in zip(begins, sizes.tolist(), strict=True)
    ]

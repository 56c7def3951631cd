"""Frames of bytes as columns of integers.

Each reading is a row of numbers: how long each of its frames is (-1 for one that it
has not), then their bytes, each frame filled up to the longest of its place with what
stood there before. Only the numbers that differ from row to row travel as columns; the
others once, as the first row.

    head = [longest, first, bytes, varying]

``longest`` and ``first`` have a length for each place, of the longest frame and of the
first row's; ``bytes`` are the first row's; ``varying`` says which numbers differ.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, repeat
from operator import gt
from typing import Any, NamedTuple

import cbor2
import numpy as np
from numpy.typing import NDArray

I8 = NDArray[np.int64]
U1 = NDArray[np.uint8]

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


@dataclass(frozen=True, slots=True)
class Alike(Sequence[list[bytes]]):
    """The frames of readings of which each has as many, and of the same sizes.

    Attributes:
        content: Shape (n, bytes): of each reading, its frames filled up.
        spans: Where each frame is in it, from and to; at least one.
    """

    content: U1
    spans: Sequence[tuple[int, int]]

    def __len__(self) -> int:
        return len(self.content)

    def __getitem__(self, at: Any) -> Any:  # noqa: ANN401 - as a list has it
        if isinstance(at, slice):
            return [self[one] for one in range(*at.indices(len(self)))]
        whole = self.content[at].tobytes()
        return [whole[start:end] for start, end in self.spans]

    def __iter__(self) -> Iterator[list[bytes]]:
        whole, width = self.content.tobytes(), self.content.shape[1]
        for at in range(0, len(whole), width) if width else repeat(0, len(self)):
            yield [whole[at + start : at + end] for start, end in self.spans]

    def encoded(self) -> list[bytes]:
        """Return the CBOR of each reading's frames, an array."""
        parts = [bytes([0x80 | len(self.spans)])]
        for start, end in self.spans:
            size = end - start
            parts += [cbor2.dumps(bytes(size))[: -size or None], bytes(size)]
        row = b"".join(parts)
        found = np.empty((len(self), len(row)), np.uint8)
        found[:] = np.frombuffer(row, np.uint8)
        at = 1
        for (start, end), head in zip(self.spans, parts[1::2], strict=True):
            at += len(head) + end - start
            found[:, at - (end - start) : at] = self.content[:, start:end]
        whole, width = found.tobytes(), len(row)
        return [whole[at : at + width] for at in range(0, len(whole), width)]


def join(head: Sequence[Any], columns: Sequence[I8]) -> Sequence[list[bytes]]:
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
    starts = [0, *accumulate(longest)]
    if not sized and min(first) >= 0:
        spans = [(at, at + size) for at, size in zip(starts, first, strict=False)]
        return Alike(content, spans)
    whole = content.tobytes()
    begins = range(0, len(whole), width) if width else repeat(0, len(content))
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

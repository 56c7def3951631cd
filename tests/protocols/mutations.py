"""Golden vectors with something wrong in them, the same ones for the same seed.

A checksum refuses nearly all of them before a field is read, so a part is made
whole again: which bytes of a kind's vectors delimit them, or hold a length or a
checksum, is found by trying, for most vectors of a kind agree on it.
"""

import inspect
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import ClassVar, Literal, TypeAlias, TypeVar

from protocols import crc

_ROOT = Path(__file__).parents[2]
_FOLDERS = (_ROOT / "tests" / "vectors", _ROOT.parent / "shared" / "vectors")

_T = TypeVar("_T")
_Order: TypeAlias = Literal["little", "big"]

_FIELDS: tuple[tuple[int, _Order], ...] = (
    (2, "little"),
    (2, "big"),
    (4, "little"),
    (4, "big"),
)
_EXTREMES = (0, 1, 2, 0x7F, 0x80, 0xFE, 0xFF)
_WIDE = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFE, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)
_WRITTEN = (b"0", b"9", b"-", b"+", b".", b" ", b"e", b"_", b"\0", b"\xff", b"\xb2")
_LONGEST = 1024  # bytes
_MENDED = 0.4  # the part of them whose length and checksum are made right
_TAILS = (0, 1, 2, 4, 5, 10)  # bytes that may stand behind a checksum
_HEADS = range(6)  # bytes that it may leave out, or before a length


@cache
def vectors() -> dict[str, tuple[bytes, ...]]:
    """Return every golden vector's bytes by its kind, right and wrong ones."""
    found: dict[str, dict[bytes, None]] = {}
    for folder in _FOLDERS:
        for path in sorted(folder.glob("*.json")):
            for vector in json.loads(path.read_text("utf-8"))["vectors"]:
                raw = bytes.fromhex(vector["hex"])
                found.setdefault(vector["kind"], {})[raw] = None
    return {kind: tuple(known) for kind, known in sorted(found.items())}


class Mutator:
    """Makes wrong payloads of right ones.

    Args:
        seeds: What to begin with, one payload or more.
        random: Where all chance comes from.
    """

    def __init__(self, seeds: Sequence[bytes], random: Random) -> None:
        self._seeds, self._chance, self._bytes = seeds, random.random, random.randbytes
        self._edges = _edges(seeds)
        self._length, self._seal = _length(seeds), _seal(seeds)
        self._ways: tuple[Callable[[bytearray], None], ...] = (
            self._cut,
            self._flip,
            self._flip,
            self._insert,
            self._remove,
            self._repeat,
            self._splice,
            self._extreme,
            self._extreme,
            self._wide,
            self._write,
        )

    def __iter__(self) -> Iterator[bytes]:
        """Yield payloads without end."""
        while True:
            yield self.make()

    def make(self) -> bytes:
        """Return the next payload."""
        if self._chance() < 0.03:
            return self._bytes(int(self._chance() * 64))
        data = bytearray(self._pick(self._seeds))
        for _ in range(self._pick((1, 1, 1, 2, 3, 6))):
            self._pick(self._ways)(data)
        del data[_LONGEST:]
        if self._chance() < _MENDED:
            for at, byte in self._edges:
                if -len(data) <= at < len(data):
                    data[at] = byte
            if self._length is not None:
                self._length.mend(data)
            if self._seal is not None:
                self._seal.mend(data)
        return bytes(data)

    def _pick(self, some: Sequence[_T]) -> _T:
        return some[int(self._chance() * len(some))]

    def _place(self, data: bytes | bytearray) -> int:
        return int(self._chance() * (len(data) + 1))

    def _cut(self, data: bytearray) -> None:
        del data[self._place(data) :]

    def _flip(self, data: bytearray) -> None:
        if data:
            bit = int(self._chance() * 8 * len(data))
            data[bit // 8] ^= 1 << bit % 8

    def _insert(self, data: bytearray) -> None:
        at, size = self._place(data), self._pick((1, 1, 2, 3, 4, 8, 20))
        filled = bytes([self._pick(_EXTREMES)]) * size
        data[at:at] = self._bytes(size) if self._chance() < 0.5 else filled

    def _remove(self, data: bytearray) -> None:
        at = self._place(data)
        del data[at : at + self._pick((1, 1, 2, 4, 8))]

    def _repeat(self, data: bytearray) -> None:
        start, at = self._place(data), self._place(data)
        piece = data[start : start + self._pick((1, 2, 4, 8, 20, 60))]
        data[at:at] = piece * self._pick((1, 1, 2, 8))

    def _splice(self, data: bytearray) -> None:
        other = self._pick(self._seeds)
        data[self._place(data) :] = other[self._place(other) :]

    def _extreme(self, data: bytearray) -> None:
        at = self._place(data)
        data[at : at + 1] = bytes([self._pick(_EXTREMES)])

    def _wide(self, data: bytearray) -> None:
        at, (size, order) = self._place(data), self._pick(_FIELDS)
        number = self._pick(_WIDE) % (1 << 8 * size)
        data[at : at + size] = number.to_bytes(size, order)

    def _write(self, data: bytearray) -> None:
        at = self._place(data)
        data[at : at + 1] = self._pick(_WRITTEN)


@dataclass(frozen=True, slots=True)
class _Length:
    """A byte, or two, that tell how long the payload is."""

    at: int
    size: int
    order: _Order
    less: int
    weight: ClassVar = 1

    def fits(self, data: bytes) -> bool:
        field = data[self.at : self.at + self.size]
        return (
            len(field) == self.size
            and int.from_bytes(field, self.order) == len(data) - self.less
        )

    def mend(self, data: bytearray) -> None:
        number = len(data) - self.less
        if len(data) >= self.at + self.size and 0 <= number < 1 << 8 * self.size:
            field = number.to_bytes(self.size, self.order)
            data[self.at : self.at + self.size] = field


@dataclass(frozen=True, slots=True)
class _Seal:
    """A checksum of all that stands before it, but for the first bytes."""

    sum: Callable[[bytes], int]
    skipped: int
    tail: int
    write: Callable[[int], bytes]
    size: int

    @property
    def weight(self) -> int:
        """Half of a checksum fits wherever the whole does."""
        return self.size

    def fits(self, data: bytes) -> bool:
        at = len(data) - self.tail - self.size
        if at <= self.skipped:
            return False
        return data[at : at + self.size] == self.write(
            self.sum(data[self.skipped : at])
        )

    def mend(self, data: bytearray) -> None:
        at = len(data) - self.tail - self.size
        if at > self.skipped:
            right = self.write(self.sum(bytes(data[self.skipped : at])))
            data[at : at + self.size] = right


_F = TypeVar("_F", _Length, _Seal)

_WRITES: tuple[tuple[int, int, Callable[[int], bytes]], ...] = (
    # bytes of the field, bytes of a sum that is written so, how
    (8, 2, lambda n: b"%08X" % n),
    (4, 4, lambda n: n.to_bytes(4, "little")),
    (4, 2, lambda n: b"%04X" % n),
    (2, 2, lambda n: n.to_bytes(2, "little")),
    (2, 2, lambda n: n.to_bytes(2, "big")),
    (2, 1, lambda n: b"%02X" % n),
    (1, 2, lambda n: bytes([n & 0xFF])),
    (1, 1, lambda n: bytes([n])),
    (1, 1, lambda n: bytes([~n & 0xFF])),
    (1, 1, lambda n: bytes([-n & 0xFF])),
)


def _edges(seeds: Sequence[bytes]) -> list[tuple[int, int]]:
    """Return the first and last bytes that most payloads share: where, and what."""
    found = []
    for at in (0, 1, -1, -2, -3, -4, -5):
        there = [seed[at] for seed in seeds if len(seed) > 5]
        byte, count = Counter(there).most_common(1)[0] if there else (0, 0)
        if count > 0.7 * len(seeds):
            found.append((at, byte))
    return found


def _length(seeds: Sequence[bytes]) -> _Length | None:
    """Return the length field that most payloads agree on, if there is one."""
    tried = (
        _Length(at, size, order, less)
        for at in _HEADS
        for size, order in ((1, "little"), *_FIELDS[:2])
        for less in range(-2, 12)
    )
    return _best(tried, seeds, lengths=2)


def _seal(seeds: Sequence[bytes]) -> _Seal | None:
    """Return the checksum that most payloads agree on, if there is one."""
    sums = [
        function
        for name, function in inspect.getmembers(crc, inspect.isfunction)
        if function.__module__ == crc.__name__ and not name.startswith("_")
    ]
    tried = (
        _Seal(function, skipped, tail, write, size)
        for size, width, write in _WRITES
        for function in sums
        if width == _width(function)
        for skipped in _HEADS
        for tail in _TAILS
    )
    return _best(tried, seeds, lengths=1)


@cache
def _width(function: Callable[[bytes], int]) -> int:
    """Return how many bytes a checksum has."""
    most = max(function(Random(n).randbytes(600)) for n in range(8))
    return (most.bit_length() + 7) // 8


def _best(tried: Iterable[_F], seeds: Sequence[bytes], *, lengths: int) -> _F | None:
    """Return the field that fits most payloads, of so many different lengths."""
    best, most = None, 0
    for field in tried:
        fitting = [len(seed) for seed in seeds if field.fits(seed)]
        # Two bytes that fit are no chance; one byte that fits once may be one.
        enough = len(fitting) > len(seeds) // 2 and len(fitting) + field.size > 2
        worth = len(fitting) * field.weight
        if worth > most and enough and len(set(fitting)) >= lengths:
            best, most = field, worth
    return best

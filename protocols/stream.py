"""Frames and lines out of a stream of bytes that may be damaged.

A serial port, or a BLE characteristic that is used as one, delivers bytes with
no regard to where a frame begins or ends. Nothing is dropped in silence: what
is no frame comes out as `Damaged`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from protocols.errors import DecodeError

F = TypeVar("F")

_PIECE = 256  # bytes looked at together, so that much at once costs no more


@dataclass(frozen=True, slots=True)
class Damaged:
    """Bytes that were no frame. Reported, so that nothing is lost in silence."""

    data: bytes
    problem: str


class Frames(Generic[F]):
    """A byte stream in, frames out. No I/O, no clock; raises on no input.

    A stray start byte can look like the start of a long frame and hold back
    what follows it; call `resync` when an expected frame is late.

    Args:
        start: What every frame begins with; empty if they begin in several ways.
        size: Takes the first bytes of a frame, ``start`` at least; returns how
            many bytes the whole frame has, as far as these tell: more than it
            was given, where it must see more to know. 0 says that this is no
            frame. It is called again when more have come.
        decode: Reads one whole frame, or raises `DecodeError`.
    """

    def __init__(
        self,
        start: bytes,
        size: Callable[[bytes], int],
        decode: Callable[[bytes], F],
    ) -> None:
        self._start, self._size, self._decode = start, size, decode
        self._buffer = bytearray()  # at most one frame between calls

    def feed(self, data: bytes) -> list[F | Damaged]:
        """Add received bytes; return everything they complete, in order."""
        events: list[F | Damaged] = []
        for at in range(0, len(data), _PIECE):
            self._buffer += data[at : at + _PIECE]
            events += self._complete()
        return events

    def resync(self) -> list[F | Damaged]:
        """Give up on the frame being waited for and look for one behind it."""
        if not self._buffer:
            return []
        return [self._cut(1, "given up"), *self._complete()]

    def _complete(self) -> list[F | Damaged]:
        events = []
        while (event := self._next()) is not None:
            events.append(event)
        return events

    def _next(self) -> F | Damaged | None:
        if not self._buffer:
            return None
        if noise := self._noise():
            return self._cut(noise, "noise")
        if len(self._buffer) < len(self._start):
            return None
        size = self._size(bytes(self._buffer))
        if size > len(self._buffer):
            return None
        try:
            frame = self._decode(bytes(self._buffer[: max(size, 1)]))
        except DecodeError as error:
            return self._cut(1, error.fault)  # a frame may start inside this one
        del self._buffer[: max(size, 1)]
        return frame

    def _noise(self) -> int:
        """Return how many bytes stand before what may be a frame's start."""
        at = self._buffer.find(self._start)
        if at >= 0:
            return at
        for left in range(min(len(self._start) - 1, len(self._buffer)), 0, -1):
            if self._buffer.endswith(self._start[:left]):
                return len(self._buffer) - left
        return len(self._buffer)

    def _cut(self, size: int, problem: str) -> Damaged:
        lost = bytes(self._buffer[:size])
        del self._buffer[:size]
        return Damaged(lost, problem)


class Lines(Generic[F]):
    """A byte stream in, lines out, as `Frames`.

    Args:
        end: What every line ends with.
        decode: Reads one line, ``end`` included, or raises `DecodeError`; the
            line is then `Damaged`.
        most: The longest line, in bytes; what is longer is `Damaged`.
    """

    def __init__(
        self, end: bytes, decode: Callable[[bytes], F], *, most: int = 256
    ) -> None:
        self._end, self._decode, self._most = end, decode, most
        self._buffer = bytearray()
        self._is_too_long = False  # the line's first bytes were given up

    def feed(self, data: bytes) -> list[F | Damaged]:
        """Add received bytes; return everything they complete, in order."""
        self._buffer += data
        events: list[F | Damaged] = []
        while (at := self._buffer.find(self._end)) >= 0:
            line = bytes(self._buffer[: at + len(self._end)])
            del self._buffer[: len(line)]
            events.append(self._line(line))
        if len(self._buffer) > self._most:
            # The last bytes may be the first of an end.
            size = len(self._buffer) - len(self._end) + 1
            events.append(Damaged(bytes(self._buffer[:size]), "too long"))
            del self._buffer[:size]
            self._is_too_long = True
        return events

    def resync(self) -> list[F | Damaged]:
        """Give up on the line being waited for."""
        lost = bytes(self._buffer)
        self._buffer.clear()
        self._is_too_long = False
        return [Damaged(lost, "given up")] if lost else []

    def _line(self, line: bytes) -> F | Damaged:
        if self._is_too_long or len(line) > self._most:
            self._is_too_long = False
            return Damaged(line, "too long")
        try:
            return self._decode(line)
        except DecodeError as error:
            return Damaged(line, error.fault)

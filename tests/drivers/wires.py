"""A stream to a scripted device: each answer has its own delay."""

import asyncio
from collections.abc import Callable, Iterable
from typing import TypeAlias

from protocols.errors import DecodeError, Fault
from protocols.link import LinkLost
from protocols.stream import Frames

Later: TypeAlias = Iterable[tuple[float, bytes]]
"""What a device sends: after how long, in s, and what."""


class Wire:
    """A `Stream` whose device answers as a script says, in virtual time.

    Args:
        script: Takes what was written; returns what the device sends, and when.

    Attributes:
        written: What was written, in order, each with the time, in s.
        noted: What the agent was told to count, in order.
    """

    def __init__(self, script: Callable[[bytes], Later] = lambda _: ()) -> None:
        self.script = script
        self.written: list[tuple[float, bytes]] = []
        self.noted: list[object] = []
        self._arrived: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def read(self) -> bytes:
        """Return the next piece."""
        if (piece := await self._arrived.get()) is None:
            raise LinkLost("the port is gone")
        return piece

    async def write(self, data: bytes) -> None:
        """Have the device hear it."""
        self.written.append((asyncio.get_running_loop().time(), data))
        self.send(self.script(data))

    def note(self, event: object) -> None:
        """Keep it."""
        self.noted.append(event)

    def send(self, answers: Later) -> None:
        """Have the device send something, asked for or not."""
        loop = asyncio.get_running_loop()
        for delay_s, data in answers:
            loop.call_later(delay_s, self._arrived.put_nowait, data)

    def drop(self, delay_s: float = 0.0) -> None:
        """Have the port gone."""
        loop = asyncio.get_running_loop()
        loop.call_later(delay_s, self._arrived.put_nowait, None)


def frames() -> Frames[bytes]:
    """Return what reads messages of four bytes between a hash and a dot."""
    return Frames(b"#", lambda _: 6, _decode)


def _decode(data: bytes) -> bytes:
    if not data.endswith(b"."):
        raise DecodeError("frame", "end", "is no dot", data, 5, Fault.BAD_FRAME)
    return data[1:5]

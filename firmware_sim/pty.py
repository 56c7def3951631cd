"""Puts a serial bench on a pseudo-terminal, where a serial port would be.

The line is raw and has no real speed; but a host that chose another one than
the device's hears noise, and is not understood. What the host does not read in
time is lost, as on a UART without flow control. A device that speaks first is told
when a host has opened the port for itself alone, as the agent does: a lock tells it.
"""

import asyncio
import os
import termios
import tty
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from firmware_sim.bench import SerialBench, Wait

_PIECE = 4096  # bytes in one read
_LOOK_S = 0.05  # how often to look whether a host has come
# Whoever opens a port throws away what came before it was ready; on a busy machine that
# takes a while, and nobody switches a device on as fast.
_SWITCHED_ON_S = 0.3
_LOCKS = Path("/proc/locks")


@asynccontextmanager
async def plugged(bench: SerialBench, path: Path) -> AsyncIterator["Port"]:
    """Have a bench answer at ``path`` until the block ends.

    Raises:
        FileExistsError: Something that is no symbolic link is at ``path``.
        OSError: There is no pseudo-terminal, or ``path`` cannot be written.
    """
    port = Port(bench, path)
    port.plug()
    try:
        yield port
    finally:
        port.unplug()


class Port:
    """A bench's serial port, whose cable can be pulled and plugged in again.

    Args:
        bench: The device; it keeps its state while it is unplugged.
        path: Where the port is found; a symbolic link is made there.
    """

    def __init__(self, bench: SerialBench, path: Path) -> None:
        self.path = path
        self._bench = bench
        self._speed = getattr(termios, f"B{bench.baud}")
        self._ends: tuple[int, int] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._sending: set[asyncio.Task[None]] = set()

    def plug(self) -> None:
        """Make the port appear; do nothing if it is there.

        Raises:
            FileExistsError: Something that is no symbolic link is at the path.
            OSError: There is no pseudo-terminal, or the path cannot be written.
        """
        if self._ends is not None:
            return
        ours, theirs = os.openpty()
        try:
            tty.setraw(theirs)
            os.set_blocking(ours, False)
            if self.path.is_symlink():  # of a simulator that was killed
                self.path.unlink()
            self.path.symlink_to(os.ttyname(theirs))
        except BaseException:
            os.close(ours)
            os.close(theirs)
            raise
        # Ours holds their end open too: else every read fails between two hosts.
        self._ends = ours, theirs
        asyncio.get_running_loop().add_reader(ours, self._on_data)
        self._watching = asyncio.ensure_future(self._watch(theirs))

    def unplug(self) -> None:
        """Make it disappear: a host that has it open gets an error."""
        if self._ends is None:
            return
        ours, theirs = self._ends
        self._ends = None
        for task in (self._watching, *self._sending):
            if task is not None:
                task.cancel()
        asyncio.get_running_loop().remove_reader(ours)
        if self.path.is_symlink() and self.path.readlink() == Path(os.ttyname(theirs)):
            self.path.unlink()
        os.close(theirs)
        os.close(ours)

    def _on_data(self) -> None:
        if self._ends is None:
            return
        ours, theirs = self._ends
        data = os.read(ours, _PIECE)
        if termios.tcgetattr(theirs)[5] != self._speed:
            self._send([_misheard(data)])
        else:
            self._send(self._bench.feed(data))

    async def _watch(self, theirs: int) -> None:
        """Tell the bench of each host that comes."""
        was_open = False
        while True:
            await asyncio.sleep(_LOOK_S)
            is_open = _is_locked(theirs) and self._is_understood(theirs)
            if is_open and not was_open and (said := [*self._bench.plugged()]):
                self._send([Wait(_SWITCHED_ON_S), *said])
            was_open = is_open

    def _is_understood(self, theirs: int) -> bool:
        return bool(termios.tcgetattr(theirs)[5] == self._speed)

    def _send(self, answers: Iterable[bytes | Wait]) -> None:
        task = asyncio.ensure_future(self._write([*answers]))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _write(self, answers: list[bytes | Wait]) -> None:
        for answer in answers:
            if isinstance(answer, Wait):
                await asyncio.sleep(answer.seconds)
            elif self._ends is not None:
                with suppress(BlockingIOError):  # nobody reads, so it is lost
                    os.write(self._ends[0], answer)


def _is_locked(end: int) -> bool:
    """Whether a host has the port for itself alone."""
    found = os.fstat(end)
    name = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    return any(name in line.split() for line in _LOCKS.read_text().splitlines())


def _misheard(data: bytes) -> bytes:
    """Return what bytes may look like at another speed: the high bit is set."""
    return bytes(0x80 | byte >> 1 for byte in data)

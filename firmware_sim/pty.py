"""Puts a serial bench on a pseudo-terminal, where a serial port would be.

The line is raw and has no real speed; but a host that chose another one than
the device's hears noise, and is not understood. What the host does not read in
time is lost, as on a UART without flow control.
"""

import asyncio
import os
import termios
import tty
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from firmware_sim.bench import SerialBench

_PIECE = 4096  # bytes in one read


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

    def unplug(self) -> None:
        """Make it disappear: a host that has it open gets an error."""
        if self._ends is None:
            return
        ours, theirs = self._ends
        self._ends = None
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
            answers = [_misheard(data)]
        else:
            answers = list(self._bench.feed(data))
        with suppress(BlockingIOError):  # nobody reads, so it is lost
            for answer in answers:
                os.write(ours, answer)


def _misheard(data: bytes) -> bytes:
    """Return what bytes may look like at another speed: the high bit is set."""
    return bytes(0x80 | byte >> 1 for byte in data)

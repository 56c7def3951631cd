"""A serial port as a driver's link."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import serial

from drivers.sdk import SerialDriver
from protocols.link import LinkLost

_PARITIES = {
    "none": serial.PARITY_NONE,
    "odd": serial.PARITY_ODD,
    "even": serial.PARITY_EVEN,
}


class SerialPort:
    """An open port; bytes that arrive are kept until they are read."""

    def __init__(
        self,
        port: serial.Serial,
        note: Callable[[object], None],
        keep: Callable[[bytes], Awaitable[None]],
    ) -> None:
        self._port = port
        self._arrived = bytearray()
        self._lost = False
        self._wake = asyncio.Event()
        self.note, self._keep = note, keep

    def take(self) -> None:
        """Take what has arrived; the event loop calls this when something has."""
        try:
            self._arrived += self._port.read(self._port.in_waiting or 1)
        except (OSError, serial.SerialException):
            self._lost = True
            asyncio.get_running_loop().remove_reader(self._port.fileno())
        self._wake.set()

    async def read(self) -> bytes:
        """Return what has arrived, at least one byte; wait for it."""
        while not self._arrived:
            if self._lost:
                raise LinkLost(f"{self._port.name} is gone")
            self._wake.clear()
            await self._wake.wait()
        arrived = bytes(self._arrived)
        self._arrived.clear()
        return arrived

    async def keep(self, frame: bytes) -> None:
        """Have the agent write a frame down before anything else happens to it."""
        await self._keep(frame)

    async def write(self, data: bytes) -> None:
        """Send ``data``."""
        try:
            self._port.write(data)
        except (OSError, serial.SerialException) as error:
            raise LinkLost(f"{self._port.name} is gone: {error}") from error


@asynccontextmanager
async def open_port(
    name: str,
    driver: SerialDriver,
    note: Callable[[object], None],
    keep: Callable[[bytes], Awaitable[None]],
) -> AsyncIterator[SerialPort]:
    """Open a serial port at 8 data bits and 1 stop bit, for us alone.

    Args:
        name: Its device file.
        driver: What is to read it: its speed and parity.
        note: Called with each piece of damage that the driver meets.
        keep: Called with each frame that is to be written down at once.

    Raises:
        LinkLost: It is not there, or another program has it.
    """
    try:
        port = serial.Serial(
            name,
            driver.baud,
            parity=_PARITIES[driver.parity],
            timeout=0,
            write_timeout=1,
            exclusive=True,
        )
    except (OSError, serial.SerialException) as error:
        raise LinkLost(f"can't open {name}: {error}") from error
    loop = asyncio.get_running_loop()
    link = SerialPort(port, note, keep)
    loop.add_reader(port.fileno(), link.take)
    try:
        port.reset_input_buffer()
        yield link
    finally:
        loop.remove_reader(port.fileno())
        port.close()

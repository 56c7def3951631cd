"""What a driver may ask of a connection, whoever provides it.

The agent provides it over BlueZ and serial ports, the simulators in memory.
A driver does not open, close or retry a link.
"""

from dataclasses import dataclass
from typing import Protocol
from uuid import UUID


class LinkLost(Exception):
    """The connection is gone."""


class Refused(Exception):
    """The device refused a read or a write.

    Attributes:
        code: The ATT error code, 0 to 255; its meaning is the service's own.
    """

    def __init__(self, uuid: UUID, code: int) -> None:
        super().__init__(f"the device refused {uuid} with ATT error {code:#04x}")
        self.code = code


@dataclass(frozen=True, slots=True)
class Packet:
    """One notification or indication, as it came."""

    uuid: UUID
    payload: bytes


class GattLink(Protocol):
    """An open connection to a BLE device whose services are known."""

    def has(self, uuid: UUID) -> bool:
        """Whether the device has the characteristic."""

    async def read(self, uuid: UUID) -> bytes:
        """Return the characteristic's value.

        Raises:
            Refused: The device refused.
            LinkLost: The connection is gone.
        """

    async def write(self, uuid: UUID, payload: bytes) -> None:
        """Write the characteristic, with a response where it gives one.

        Raises:
            Refused: The device refused.
            LinkLost: The connection is gone.
        """

    async def subscribe(self, uuid: UUID) -> None:
        """Enable the characteristic's notifications or indications.

        Raises:
            Refused: The device refused.
            LinkLost: The connection is gone.
        """

    async def receive(self) -> Packet:
        """Return the next packet in order of arrival; wait for it.

        Raises:
            LinkLost: The connection is gone, and every packet that came before
                that was returned.
        """

    def note(self, event: object) -> None:
        """Have the agent count something that no one asked for, as damage."""


class Stream(Protocol):
    """Bytes in both directions, with no regard to where a message ends."""

    async def read(self) -> bytes:
        """Return what has arrived, at least one byte; wait for it.

        Raises:
            LinkLost: The connection is gone.
        """

    async def write(self, data: bytes) -> None:
        """Send ``data``.

        Raises:
            LinkLost: The connection is gone.
        """

    def note(self, event: object) -> None:
        """Have the agent count something that no one asked for, as damage."""


class SerialLink(Stream, Protocol):
    """An open serial port at the driver's speed."""

    async def keep(self, frame: bytes) -> None:
        """Have the agent write a frame down before anything else happens to it."""

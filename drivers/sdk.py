"""All that a driver may import besides its codec.

A driver is one constant, ``DRIVER``: data about a kind of device, and one
function that talks to it. The function gets an open link and yields what it
learns, in the order in which it learns it. It does not open, close, retry,
sleep, log, store or publish: the agent does.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from uuid import UUID

from protocols.errors import DecodeError
from protocols.gatt import device_information, time
from protocols.gatt.time import DateTime
from protocols.link import GattLink, LinkLost, Packet, Refused, SerialLink
from protocols.observation import (
    Kind,
    Observation,
    Quantity,
    State,
    Unit,
    Value,
)

__all__ = [
    "Checkpoint",
    "DateTime",
    "DecodeError",
    "DeviceClock",
    "Event",
    "GattDriver",
    "GattLink",
    "Identity",
    "Kind",
    "LinkLost",
    "NoReply",
    "Observation",
    "Packet",
    "Quantity",
    "Refused",
    "SerialDriver",
    "SerialLink",
    "State",
    "Undecoded",
    "Unit",
    "Value",
    "identify",
    "read_clock",
    "receive",
]

_SILENCE_S = 10.0  # after which a cuff that sends unasked has no more to send


class NoReply(Exception):
    """The device is there and does not answer."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What the device says it is; empty where it says nothing."""

    manufacturer: str = ""
    model: str = ""
    serial: str = ""
    firmware: str = ""


@dataclass(frozen=True, slots=True)
class DeviceClock:
    """What the device's clock shows at this moment, as it stamps its readings."""

    time: DateTime


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Everything up to ``mark`` was yielded; the next visit may start behind it.

    Attributes:
        mark: The driver's own number, 0 to 2^63 - 1.
    """

    mark: int


@dataclass(frozen=True, slots=True)
class Undecoded:
    """Bytes that no reading could be made of, and why. The agent keeps them."""

    source: str
    payload: bytes
    problem: str


Event = Identity | DeviceClock | Observation | Checkpoint | Undecoded


@dataclass(frozen=True, slots=True)
class GattDriver:
    """A kind of BLE device.

    Give ``on`` for a device that sends unasked: it is subscribed to, and heard
    until it hangs up or falls silent. Give ``session`` for one to be asked.

    Attributes:
        id: The driver's name.
        version: Its version.
        service: The service by which the device is known.
        observes: The kinds of observation that it yields.
        on: A function per characteristic, from a payload to observations.
        session: Takes the link, and the last checkpoint's mark or None.
        once_only: The device tells a reading only once, so the agent writes
            each payload down before anything else happens to it.
    """

    id: str
    version: str
    service: UUID
    observes: tuple[Kind, ...]
    on: Mapping[UUID, Callable[[bytes], Iterator[Observation]]] = field(
        default_factory=dict
    )
    session: Callable[[GattLink, int | None], AsyncGenerator[Event, None]] | None = None
    once_only: bool = False

    def visit(
        self, link: GattLink, mark: int | None, *, is_known: bool = False
    ) -> AsyncGenerator[Event, None]:
        """Yield what one visit to the device brings.

        Args:
            link: Open, with its services known.
            mark: That of the last `Checkpoint`, None at the first visit.
            is_known: Its identity is known from an earlier visit, so one that
                sends unasked need not be asked for it.

        Raises:
            LinkLost: The connection is gone.
            NoReply: The device does not answer.
            Refused: The device refused something that the driver needs.
            DecodeError: The device answers what it must not.
        """
        if self.session is None:
            return self._listen(link, is_known=is_known)
        return self.session(link, mark)

    def decode(self, packet: Packet) -> list[Event]:
        """Return the observations of one packet, or the packet as `Undecoded`."""
        try:
            return list(self.on[packet.uuid](packet.payload))
        except (DecodeError, ValueError) as error:
            return [Undecoded(str(packet.uuid), packet.payload, str(error))]

    async def _listen(
        self, link: GattLink, *, is_known: bool
    ) -> AsyncGenerator[Event, None]:
        # At the first visit nothing was ever enabled, so the device waits. Later
        # it may send as soon as it is connected, and hang up before it is asked.
        if not any(map(link.has, self.on)):
            raise NoReply(f"the device has nothing that {self.id} reads")
        if not is_known:
            yield await identify(link)
        for uuid in filter(link.has, self.on):
            await link.subscribe(uuid)
        with suppress(LinkLost):  # what came before that is still to be received
            if (clock := await read_clock(link)) is not None:
                yield clock
        while True:
            try:
                packet = await receive(link, _SILENCE_S)
            except (LinkLost, NoReply):
                return
            for event in self.decode(packet):
                yield event


@dataclass(frozen=True, slots=True)
class SerialDriver:
    """A kind of serial device.

    Attributes:
        id: The driver's name.
        version: Its version.
        observes: The kinds of observation that it yields.
        baud: The speed of its port; 8 data bits, no parity, 1 stop bit.
        session: Takes the link, and the last checkpoint's mark or None.
    """

    id: str
    version: str
    observes: tuple[Kind, ...]
    baud: int
    session: Callable[[SerialLink, int | None], AsyncGenerator[Event, None]]

    def visit(self, link: SerialLink, mark: int | None) -> AsyncGenerator[Event, None]:
        """Yield what one visit to the device brings.

        Args:
            link: Open, at the driver's speed.
            mark: That of the last `Checkpoint`, None at the first visit.

        Raises:
            LinkLost: The port is gone.
            NoReply: The device does not answer.
            DecodeError: The device answers what it must not.
        """
        return self.session(link, mark)


async def receive(link: GattLink, timeout_s: float) -> Packet:
    """Return the link's next packet.

    Args:
        link: An open link with something subscribed to.
        timeout_s: How long to wait for it, in s.

    Raises:
        NoReply: None came.
        LinkLost: The connection is gone.
    """
    try:
        async with asyncio.timeout(timeout_s):
            return await link.receive()
    except TimeoutError:
        raise NoReply(f"nothing came for {timeout_s:g} s") from None


async def identify(link: GattLink) -> Identity:
    """Read who the device is from its Device Information Service.

    A refusal is not taken for an empty answer, for then the same device would
    have another identity at the next visit, and its readings be stored twice.

    Raises:
        LinkLost: The connection is gone.
        Refused: The device has the text and does not give it.
    """
    return Identity(
        manufacturer=await _text(link, device_information.MANUFACTURER_NAME),
        model=await _text(link, device_information.MODEL_NUMBER),
        serial=await _text(link, device_information.SERIAL_NUMBER),
        firmware=await _text(link, device_information.FIRMWARE_REVISION),
    )


async def read_clock(link: GattLink) -> DeviceClock | None:
    """Read the device's clock by Current Time or Date Time; None if it has none.

    Raises:
        LinkLost: The connection is gone.
    """
    for uuid in filter(link.has, (time.CURRENT_TIME, time.DATE_TIME)):
        try:
            payload = await link.read(uuid)
            return DeviceClock(time.decode_date_time(payload)[0])
        except (Refused, DecodeError):
            continue  # a clock that can't be read corrects nothing
    return None


async def _text(link: GattLink, uuid: UUID) -> str:
    if not link.has(uuid):
        return ""
    try:
        return device_information.decode_string(await link.read(uuid))
    except DecodeError:
        return ""  # no text at all; it will be none at the next visit too

"""All that a driver may import besides its codec.

A driver is one constant, ``DRIVER``: data about a kind of device, and one
function that talks to it. The function gets an open link and yields what it
learns, in the order in which it learns it. It does not open, close, retry,
sleep, log, store or publish: the agent does. It writes nothing to a device that
it has not declared, and by default nothing that changes one.
"""

import asyncio
from collections.abc import (
    AsyncGenerator,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID

from drivers.conversation import Ask, Conversation, Decoder, GattStream, NoReply
from drivers.device import (
    Identity,
    Model,
    Terms,
    Which,
    Write,
    clock_to_set,
    identify,
    quirk,
)
from drivers.memory import (
    USER_BITS,
    Checkpoint,
    RecordMark,
    Retold,
    apart,
    ends_with,
    filling_now,
    filling_of,
    fillings_now,
    mark_of,
    marked,
    of_user,
    undated_once,
    with_user,
)
from protocols.errors import DecodeError
from protocols.gatt import time
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
from protocols.stream import Damaged

__all__ = [
    "MOST_PACKETS",
    "USER_BITS",
    "Ask",
    "Checkpoint",
    "Conversation",
    "Damaged",
    "DateTime",
    "DecodeError",
    "DeviceClock",
    "Event",
    "GattDriver",
    "GattLink",
    "GattStream",
    "Identity",
    "Kind",
    "LinkLost",
    "Model",
    "NoReply",
    "Observation",
    "Packet",
    "Quantity",
    "RecordMark",
    "Refused",
    "Retold",
    "SerialDriver",
    "SerialLink",
    "State",
    "Terms",
    "Undecoded",
    "Unit",
    "Value",
    "Which",
    "Write",
    "apart",
    "clock_to_set",
    "ends_with",
    "filling_now",
    "filling_of",
    "fillings_now",
    "identify",
    "mark_of",
    "marked",
    "of_user",
    "quirk",
    "read_clock",
    "receive",
    "undated_once",
    "with_user",
]


MOST_PACKETS = 10_000  # no memory holds more; a device that sends them is broken
_SILENCE_S = 10.0  # after which a cuff that sends unasked has no more to send


@dataclass(frozen=True, slots=True)
class DeviceClock:
    """What the device's clock shows at this moment, as it stamps its readings.

    Yielded before the driver sets it: what the device recorded before that may come at
    another visit, and only this tells when it was.
    """

    time: DateTime


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
    until it hangs up or falls silent. Give ``session`` for one to be asked; if
    that tells a reading only once, give ``on`` as well, for what an earlier
    visit wrote down and did not come to capture.

    Attributes:
        id: The driver's name.
        version: Its version.
        service: The service by which the device is known.
        observes: The kinds of observation that it yields.
        models: The models that it reads, as far as they are known.
        more_services: Others by which some of its models are known.
        writes: All that it may ever write to a device.
        on: A function per characteristic, from a payload, and what is known of
            the device, to observations.
        before: What to do before anything in ``on`` is subscribed to.
        session: Takes the link, and the terms of the visit.
        retold: The models that tell their whole memory at each visit, the oldest
            first, though others tell a reading only once.
        recover: Makes events of packets, in the order in which they came, that an
            earlier visit wrote down and did not come to capture: the very same as that
            visit, by its terms. Give it where a reading comes in several packets, or
            may be told again; else `on` is asked of each by itself.
        shows: The least and the most that all its models can show of a quantity, in
            its canonical unit, as far as it is known.
        once_only: The device tells a reading only once, so the agent writes
            each payload down before anything else happens to it. One without a set
            clock is then a reading of its own, unless it has a `POSITION`.
        undated_once: Without a date, a reading is told at one visit only, in front
            of the checkpoint behind it; so each is a reading of its own, likewise.
        pairs: The device is to be paired with; False for one that can't be.
    """

    id: str
    version: str
    service: UUID
    observes: tuple[Kind, ...]
    models: tuple[Model, ...] = ()
    more_services: tuple[UUID, ...] = ()
    writes: tuple[Write, ...] = ()
    on: Mapping[UUID, Callable[[bytes, Identity], Iterator[Observation]]] = field(
        default_factory=dict
    )
    before: Callable[[GattLink, Terms], AsyncGenerator[Event, None]] | None = None
    session: Callable[[GattLink, Terms], AsyncGenerator[Event, None]] | None = None
    retold: tuple[Which, ...] = ()
    recover: Callable[[Sequence[Packet], Terms], Iterable[Event]] | None = None
    shows: Mapping[Quantity, tuple[float, float]] = field(default_factory=dict)
    once_only: bool = False
    undated_once: bool = False
    pairs: bool = True

    def visit(self, link: GattLink, terms: Terms) -> AsyncGenerator[Event, None]:
        """Yield what one visit to the device brings.

        Args:
            link: Open, with its services known.
            terms: What the driver may count on.

        Raises:
            LinkLost: The connection is gone.
            NoReply: The device does not answer.
            Refused: The device refused something that the driver needs.
            DecodeError: The device answers what it must not.
        """
        return (self.session or self._listen)(link, terms)

    def decode(self, packet: Packet, identity: Identity) -> list[Event]:
        """Return the observations of one packet, or the packet as `Undecoded`."""
        if packet.uuid not in self.on:
            return []  # subscribed to for another purpose
        try:
            return list(self.on[packet.uuid](packet.payload, identity))
        except (DecodeError, ValueError) as error:
            return [Undecoded(str(packet.uuid), packet.payload, str(error))]

    def recovered(self, packets: Sequence[Packet], terms: Terms) -> list[Event]:
        """Return what packets tell together that were written down and not captured.

        A packet that no event names by its bytes tells no reading. The terms are those
        of the visit at which they came, with its last mark.
        """
        if self.recover is not None:
            return list(self.recover(packets, terms))
        identity = terms.identity or Identity()
        place = self._place(identity)
        return [place(event) for one in packets for event in self.decode(one, identity)]

    def _place(self, identity: Identity) -> Callable[[Event], Event]:
        if any(which.fits(identity) for which in self.retold):
            return Retold().place
        return lambda event: event

    async def _listen(
        self, link: GattLink, terms: Terms
    ) -> AsyncGenerator[Event, None]:
        # At the first visit nothing was ever enabled, so the device waits. Later
        # it may send as soon as it is connected, and hang up before it is asked.
        if not any(map(link.has, self.on)):
            raise NoReply(f"the device has nothing that {self.id} reads")
        identity = terms.identity
        if identity is None:
            yield (identity := await identify(link))
        if self.before is not None:
            async for event in self.before(link, terms):
                yield event
        for uuid in filter(link.has, self.on):
            await link.subscribe(uuid)
        with suppress(LinkLost):  # what came before that is still to be received
            if (clock := await read_clock(link)) is not None:
                yield clock
        place = self._place(identity)
        for _ in range(MOST_PACKETS):
            try:
                packet = await receive(link, _SILENCE_S)
            except (LinkLost, NoReply):
                return
            for event in self.decode(packet, identity):
                yield place(event)
        raise NoReply(f"the device sent {MOST_PACKETS} packets and did not stop")


@dataclass(frozen=True, slots=True)
class SerialDriver:
    """A kind of serial device.

    Give ``session`` for a device to be asked. Give ``on`` and ``frames`` for one
    that sends unasked: it is heard until its port is gone.

    Attributes:
        id: The driver's name.
        version: Its version.
        observes: The kinds of observation that it yields.
        baud: The speed of its port; 8 data bits, 1 stop bit.
        parity: That of its port.
        models: The models that it reads, as far as they are known.
        writes: All that it may ever write to a device.
        frames: Makes the decoder that cuts whole frames out of what is heard.
        on: From a frame, and what is known of the device, to what it tells.
        before: What to do before anything is heard.
        session: Takes the link, and the terms of the visit.
        shows: As for `GattDriver`.
        once_only: The device tells a reading only once, so the agent writes
            each frame down before anything else happens to it. One without a set
            clock is then a reading of its own.
        undated_once: As for `GattDriver`.
    """

    id: str
    version: str
    observes: tuple[Kind, ...]
    baud: int
    parity: Literal["none", "odd", "even"] = "none"
    models: tuple[Model, ...] = ()
    writes: tuple[Write, ...] = ()
    frames: Callable[[], Decoder[bytes]] | None = None
    on: Callable[[bytes, Identity], Iterator[Event]] | None = None
    before: Callable[[SerialLink, Terms], AsyncGenerator[Event, None]] | None = None
    session: Callable[[SerialLink, Terms], AsyncGenerator[Event, None]] | None = None
    shows: Mapping[Quantity, tuple[float, float]] = field(default_factory=dict)
    once_only: bool = False
    undated_once: bool = False

    def visit(self, link: SerialLink, terms: Terms) -> AsyncGenerator[Event, None]:
        """Yield what one visit to the device brings.

        Args:
            link: Open, at the driver's speed.
            terms: What the driver may count on.

        Raises:
            LinkLost: The port is gone.
            NoReply: The device does not answer.
            DecodeError: The device answers what it must not.
        """
        return (self.session or self._listen)(link, terms)

    def decode(self, frame: bytes, identity: Identity) -> list[Event]:
        """Return what one heard frame tells, or the frame as `Undecoded`."""
        if self.on is None:
            raise ValueError(f"{self.id} hears nothing unasked")
        try:
            return list(self.on(frame, identity))
        except (DecodeError, ValueError) as error:
            return [Undecoded("serial", frame, str(error))]

    def recovered(self, frames: Sequence[bytes], terms: Terms) -> list[Event]:
        """Return what frames tell that were written down and not captured."""
        identity = terms.identity or Identity()
        return [event for one in frames for event in self.decode(one, identity)]

    async def _listen(
        self, link: SerialLink, terms: Terms
    ) -> AsyncGenerator[Event, None]:
        if self.frames is None:
            raise ValueError(f"{self.id} has neither a session nor frames")
        decoder, identity = self.frames(), terms.identity or Identity()
        if self.before is not None:
            async for event in self.before(link, terms):
                identity = event if isinstance(event, Identity) else identity
                yield event
        while True:
            for frame in decoder.feed(await link.read()):
                if isinstance(frame, Damaged):
                    link.note(frame)
                    continue
                if self.once_only:
                    await link.keep(frame)
                for event in self.decode(frame, identity):
                    identity = event if isinstance(event, Identity) else identity
                    yield event


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

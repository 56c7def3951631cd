"""Omron cuffs whose memory is read by address.

Measures: systolic and diastolic pressure, pulse rate.
Modes:    stored records of each user, from the newest back to the last visit's.
Clock:    local time; set behind the download, where the operator allows it.
History:  rereadable; nothing is erased, nor any count of unread records reset.
Source:   protocols.vendor.omron_eeprom, omron_memory and omron_models.
Tested:   firmware_sim.devices.omron_eeprom; no hardware yet.
"""

import asyncio
import re
import secrets
from collections.abc import AsyncGenerator, Generator, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TypeVar

from drivers.sdk import (
    Ask,
    Checkpoint,
    Conversation,
    Damaged,
    DateTime,
    DecodeError,
    DeviceClock,
    Event,
    GattDriver,
    GattLink,
    Identity,
    Kind,
    LinkLost,
    Model,
    NoReply,
    Observation,
    Packet,
    Terms,
    Undecoded,
    Write,
    apart,
    clock_to_set,
    identify,
    of_user,
    with_user,
)
from protocols.gatt.blood_pressure_reading import whole_pressures
from protocols.observation import is_undated
from protocols.vendor import omron_download, omron_eeprom, omron_memory, omron_models
from protocols.vendor.omron_download import NotServed, Walk
from protocols.vendor.omron_eeprom import NOTIFY, UNLOCK, WRITE, Channels, Frame, Type
from protocols.vendor.omron_models import MODELS, Stack, Unlock

T = TypeVar("T")

_ANSWER_S = 1.0
_ATTEMPTS = 5
_UNLOCK_S = 5.0
_MOST_PACKETS = 30_000  # in one visit; the largest memory fills some 3,000
_CLOCK_TOLERANCE = timedelta(minutes=1)
_NAMES = ("BLESmart_", "BLEsmart_")
_UNTRUSTED = (
    "the cuff's index does not fit its records, so {} readings without a date wait "
    "until it does; all others were read"
)


async def _session(link: GattLink, terms: Terms) -> AsyncGenerator[Event, None]:
    identity = await identify(link)
    yield identity
    model = _model(link, terms, identity)
    cuff = _Cuff(link, model.stack)
    await cuff.open(model.unlock, terms)
    window = await cuff.must(omron_download.read_clock(model))
    shown = _shown(link, model, window)
    if shown is not None:
        yield DeviceClock(shown)
    async for event in _records(link, cuff, model, terms.mark or 0):
        yield event
    if shown is not None and (now := clock_to_set(terms, shown)) is not None:
        await _set_clock(link, cuff, model, window, now)
    with suppress(LinkLost, NoReply):  # all that matters was told
        await cuff.ask(omron_eeprom.END)


async def _records(
    link: GattLink, cuff: "_Cuff", model: omron_models.Model, last: int
) -> AsyncGenerator[Event, None]:
    """Yield each user's records behind the mark ``last``, and the next mark.

    That of a user stays what it was where not all came: they are read again.

    Raises:
        NoReply: Records did not come; those of other users were told all the same.
        LinkLost: The connection is gone.
    """
    index = await cuff.must(omron_download.read_index(model))
    mark, is_served = 0, False
    problem: NoReply | None = None
    undated: list[Event] = []  # nothing but the mark keeps them from coming again
    for user in range(len(model.users)):
        users_last = of_user(last, user)
        walk = Walk(model, user, index, users_last)
        failure = await _walk(link, cuff, walk)
        events = list(_told(model, user, walk.records))
        for event in events:
            if not _is_undated(event):
                yield event
        if isinstance(failure, LinkLost):
            raise failure
        late = [event for event in events if _is_undated(event)]
        if walk.mark:
            undated += late
        elif failure is None and late:
            failure = NoReply(_UNTRUSTED.format(len(late)))
        problem = problem or failure
        is_served = is_served or walk.is_served
        # An equal record behind an erasure is a new one.
        is_empty = failure is None and _says_empty(model, user, index)
        kept = 0 if is_empty else users_last
        mark = with_user(mark, user, walk.mark or kept)
    if not is_served:
        raise problem or NoReply("the cuff gives the records of no user")
    for waited in undated:
        yield waited
    yield Checkpoint(mark)
    if problem is not None:
        raise problem


def _says_empty(model: omron_models.Model, user: int, index: bytes) -> bool:
    """Whether the index says, in so many words, that a user has no records."""
    try:
        return omron_memory.newest_slot(model, user, index) is None
    except DecodeError:
        return False


async def _walk(link: GattLink, cuff: "_Cuff", walk: Walk) -> NoReply | LinkLost | None:
    """Read a user's records, as far as they come; return what kept others back."""
    try:
        await cuff.run(walk.run())
    except NotServed as error:  # as for a user whom nobody registered
        link.note(error)
    except (NoReply, LinkLost) as error:
        return error
    if not walk.missing:
        return None
    return NoReply(
        f"the cuff does not give {walk.missing}; it is asked for again at the next "
        "visit"
    )


async def _set_clock(
    link: GattLink,
    cuff: "_Cuff",
    model: omron_models.Model,
    window: bytes,
    now: datetime,
) -> None:
    """Set the clock, and see whether it took the time."""
    moment = DateTime.of(now)
    changed = omron_memory.encode_clock(model.settings.layout, window, moment)
    await cuff.ask(omron_eeprom.write_clock(model, changed))
    window = await cuff.must(omron_download.read_clock(model))
    found = _shown(link, model, window)
    shows = None if found is None else found.moment
    if shows is None or abs(shows - now) > _CLOCK_TOLERANCE:
        link.note(f"the clock was set to {now}, and shows {found}")


def _model(link: GattLink, terms: Terms, identity: Identity) -> omron_models.Model:
    """Return what the cuff is; a wrong one would make readings of other bytes."""
    name = terms.model or identity.model
    found, told = map(omron_models.model, (name, identity.model))
    if found is None:
        raise NoReply(
            f"'{name}' is no model whose memory is known; name the one that stands on "
            "the cuff's label: model = ..."
        )
    if told is not None and told is not found:
        raise NoReply(f"the cuff is a HEM-{told.name} and not, as named, a {name}")
    is_classic = link.has(WRITE[1])
    if not link.has(WRITE[0]) or is_classic != (found.stack is Stack.CLASSIC):
        raise NoReply(f"the cuff has not the channels of a HEM-{found.name}")
    return found


def _is_undated(event: Event) -> bool:
    return isinstance(event, Observation) and is_undated(event)


def _shown(link: GattLink, model: omron_models.Model, window: bytes) -> DateTime | None:
    try:
        return omron_memory.decode_clock(model.settings.layout, window)
    except DecodeError as error:
        link.note(error)
        return None


def _told(
    model: omron_models.Model, user: int, records: tuple[bytes, ...]
) -> Iterator[Observation | Undecoded]:
    seen: list[Observation] = []
    for raw in records:
        try:
            record = omron_memory.decode_record(model, raw)
        except DecodeError as error:
            yield Undecoded(f"record of user {user + 1}", raw, str(error))
            continue
        seen.append(
            Observation(
                kind=Kind.BLOOD_PRESSURE,
                values=whole_pressures(record.systolic, record.diastolic, record.pulse),
                device_time=record.time,
                slot=user + 1 if len(model.users) > 1 else None,
                status=record.status,
                raw=(raw,),
            )
        )
    yield from apart(seen, undated_again=False)


class _Frames:
    """What makes frames of the packets of a `_Cuff`."""

    def __init__(self, stack: Stack) -> None:
        self._channels = Channels(stack)

    def feed(self, data: bytes) -> list[Frame | Damaged]:
        return self._channels.feed(data[0], data[1:])

    def resync(self) -> list[Frame | Damaged]:
        return self._channels.give_up()


class _Cuff:
    """A cuff's channels as one stream, in which each packet begins with its channel.

    Args:
        link: An open connection.
        stack: The cuff's.
    """

    def __init__(self, link: GattLink, stack: Stack) -> None:
        self.note = link.note
        self._link, self._stack = link, stack
        self._conversation = Conversation(self, _Frames(stack))
        self._count = 0

    async def open(self, unlock: Unlock, terms: Terms) -> None:
        """Unlock the memory, and begin to read."""
        for uuid in NOTIFY if self._stack is Stack.CLASSIC else NOTIFY[:1]:
            await self._link.subscribe(uuid)
        if unlock is not Unlock.NONE:
            await self._link.subscribe(UNLOCK)
        if unlock is Unlock.TOKEN:
            await self._agree(omron_eeprom.open_by_token(secrets.token_bytes(4)))
        if unlock is Unlock.KEY:
            await self._open_by_key(terms)
        answer = await self.ask(omron_eeprom.START)
        if answer.type == Type.ENDED or answer.error:
            raise NoReply(f"the cuff refuses to be read: code {answer.error}")

    async def ask(self, request: Frame) -> Frame:
        """Return the answer to a request, which may be a refusal."""
        return await self._conversation.ask(
            Ask(
                f"{Type(request.type).name.lower()} at {request.address:#06x}",
                request.encode(),
                lambda frame: frame if omron_eeprom.is_answer(request, frame) else None,
            ),
            timeout_s=_ANSWER_S,
            attempts=_ATTEMPTS,
        )

    async def run(self, steps: Generator[Frame, Frame, T]) -> T:
        """Lead a dialogue of `omron_download`."""
        try:
            request = next(steps)
            while True:
                request = steps.send(await self.ask(request))
        except StopIteration as end:
            result: T = end.value
            return result

    async def must(self, steps: Generator[Frame, Frame, bytes]) -> bytes:
        """Lead a dialogue without which there is no visit."""
        try:
            return await self.run(steps)
        except NotServed as error:
            raise NoReply(f"the cuff refuses {error}") from error

    async def read(self) -> bytes:
        """Return the next packet of a channel, behind the channel's number."""
        while True:
            packet = await self._packet()
            if packet.uuid in NOTIFY:
                return bytes([NOTIFY.index(packet.uuid)]) + packet.payload
            self.note(packet)

    async def write(self, data: bytes) -> None:
        """Send a frame over as many channels as it needs."""
        chunks = omron_eeprom.split(data, self._stack)
        for uuid, chunk in zip(WRITE, chunks, strict=False):
            await self._link.write(uuid, chunk)

    async def _open_by_key(self, terms: Terms) -> None:
        """Open the memory by the station's key, which the cuff may not have yet."""
        if terms.key is None:
            raise NoReply("the cuff wants a key, and the station keeps none for it")
        known = [omron_eeprom.open_by_key(terms.key)]
        new = [omron_eeprom.ask_new_key(), omron_eeprom.set_key(terms.key), *known]
        ways = [new, known] if terms.identity is None else [known, new]
        try:
            with suppress(NoReply, DecodeError):
                return await self._agree(*ways[0])
            return await self._agree(*ways[1])
        except (NoReply, DecodeError) as error:
            raise NoReply(
                f"the cuff does not open ({error}); hold its Bluetooth key until -P- "
                "blinks, so that it takes the station's key"
            ) from error

    async def _agree(self, *requests: bytes) -> None:
        for request in requests:
            await self._link.write(UNLOCK, request)
            omron_eeprom.check_unlock(request, await self._unlock_answer(request))

    async def _unlock_answer(self, request: bytes) -> bytes:
        try:
            async with asyncio.timeout(_UNLOCK_S):
                while True:
                    packet = await self._packet()
                    first = packet.payload[:1]
                    if packet.uuid == UNLOCK and first == bytes([request[0] | 0x80]):
                        return packet.payload
                    self.note(packet)
        except TimeoutError:
            raise NoReply(f"no answer to the unlocking in {_UNLOCK_S:g} s") from None

    async def _packet(self) -> Packet:
        self._count += 1
        if self._count > _MOST_PACKETS:
            raise NoReply("the cuff does not stop sending")
        return await self._link.receive()


_KEY_NOTE = "at its first visit hold the Bluetooth key until -P- blinks"
_BOND_NOTE = "keeps no bond: pair it anew, in pairing mode, for each visit"
_CLOCKS = b"|".join(
    sorted(
        {
            re.escape((each.settings.write + each.settings.clock).to_bytes(2, "big"))
            for each in MODELS
        }
    )
)


def _known_models() -> Iterator[Model]:
    for each in MODELS:
        note = _KEY_NOTE if each.unlock is Unlock.KEY else ""
        note = _BOND_NOTE if each.is_bond_lost else note
        for name in (each.name, *each.variants):
            yield Model(f"HEM-{name}", _NAMES, note=note)


DRIVER = GattDriver(
    id="omron-eeprom",
    version="1",
    service=omron_eeprom.CLASSIC_SERVICE,
    more_services=(omron_eeprom.MODERN_SERVICE,),
    observes=(Kind.BLOOD_PRESSURE,),
    models=tuple(_known_models()),
    writes=(
        Write(re.escape(omron_eeprom.START.encode()), "begin to read", WRITE[0]),
        Write(re.escape(omron_eeprom.END.encode()), "end reading", WRITE[0]),
        Write(rb"\x08\x01\x00..[\x01-\x38]\x00.", "ask for a block", WRITE[0]),
        Write(
            rb"[\x12\x18]\x01\xc0(?:" + _CLOCKS + rb")[\x0a\x10].*",
            "set the clock",
            WRITE[0],
            sets_clock=True,
        ),
        Write(rb".{2}|.{8}", "end the setting of the clock", WRITE[1], sets_clock=True),
        Write(rb"\x02\x00{16}", "ask whether it takes a key", UNLOCK),
        Write(rb"\x00.{16}", "have it keep the station's key", UNLOCK),
        Write(rb"\x01.{16}", "open its memory by the key", UNLOCK),
        Write(rb"\x11.{4}\x00{15}", "open its memory by a token", UNLOCK),
    ),
    session=_session,
    undated_once=True,
)

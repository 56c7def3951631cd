"""Omron cuffs that implement Bluetooth's own services.

Measures: systolic, diastolic and mean pressure, pulse rate.
Modes:    stored records, by Record Access Control Point where the cuff has one,
          else by indications, unasked, until it hangs up.
Clock:    local time; set first of all, where the operator allows it, and only if
          it is more than 10 minutes off.
History:  once only; many models forget what they have sent.
Source:   protocols.vendor.omron, omron_dialogue and omron_measurement.
Tested:   firmware_sim.devices.omron_standard; no hardware yet.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from uuid import UUID
from zlib import crc32

from drivers.sdk import (
    Checkpoint,
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
    RecordMark,
    Refused,
    Terms,
    Undecoded,
    Write,
    clock_to_set,
    identify,
    read_clock,
)
from protocols.gatt import blood_pressure, racp, time, user_data
from protocols.gatt import blood_pressure_reading as reading
from protocols.observation import FIRST_YEAR
from protocols.vendor import omron, omron_dialogue
from protocols.vendor.omron_dialogue import NotConsented
from protocols.vendor.omron_measurement import BLOOD_PRESSURE as _OWN
from protocols.vendor.omron_measurement import Flag, Measurement, Parts, Whole

_STANDARD = blood_pressure.BLOOD_PRESSURE_MEASUREMENT
_RACP = racp.RECORD_ACCESS_CONTROL_POINT
_ALL = bytes([racp.Operator.ALL_RECORDS])
_REPORT_ALL = bytes([racp.OpCode.REPORT_STORED_RECORDS]) + _ALL
_USERS = user_data.USER_CONTROL_POINT

_CLOCK_S = 2.0  # within which the cuff tells its clock, once asked to
_CONSENT_S = 5.0
_SILENCE_S = 10.0  # after which it has no more to send
_MOST = 10_000  # packets in one visit
_CLOCK_TOLERANCE = timedelta(minutes=10)  # newer ones refuse to be set by less
_DATA_FIELD_IGNORED = 0x80  # it took the time, and not the rest


async def _session(link: GattLink, terms: Terms) -> AsyncGenerator[Event, None]:
    measurement = _OWN if link.has(_OWN) else _STANDARD
    if not link.has(measurement):
        raise NoReply("the device has no Blood Pressure Measurement")
    identity = terms.identity
    if identity is None:
        yield (identity := await identify(link))
    cuff = _Cuff(link, identity)
    if (shown := await cuff.clock()) is not None:
        yield DeviceClock(shown)
        await cuff.set_clock(terms, shown)
    mark = known = RecordMark.of(terms.mark or 0)
    if link.has(_USERS) and terms.key is not None:
        mark = replace(mark, user=await cuff.consent(terms.key, mark.user))
    if link.has(_RACP):
        mark = replace(mark, filling=mark.filling or 0)
    if mark != known:
        yield Checkpoint(mark.packed)
    await link.subscribe(measurement)
    if link.has(_RACP):
        await link.subscribe(_RACP)
        async for event in cuff.download(mark):
            yield event
        yield Checkpoint(cuff.mark.packed)
    else:
        async for event in cuff.listen():
            yield event


def _stamp(event: Event) -> int:
    """Return what tells a record from another; 0 for one not to be told again.

    Without a number, and without a time that is right, it would be a new reading
    each time.
    """
    if not isinstance(event, Observation):
        return _sum(event.payload) if isinstance(event, Undecoded) else 0
    moment = None if event.device_time is None else event.device_time.moment
    is_dated = moment is not None and moment.year >= FIRST_YEAR
    return _sum(*event.raw) if is_dated or event.sequence is not None else 0


def _sum(*raw: bytes) -> int:
    return crc32(b"".join(raw)) & 0xFFFFFF or 1


def _says_empty(request: bytes, answer: bytes) -> bool:
    """Whether the answer to a request says that there are no records at all."""
    end = racp.decode_answer(answer) if request[1:] == _ALL else None
    return end in (
        racp.Count(0),
        racp.Response(request[0], racp.Value.NO_RECORDS_FOUND),
    )


class _Cuff:
    """A cuff, some of whose characteristics answer, and others tell unasked.

    Args:
        link: An open connection.
        identity: Who the cuff is.

    Attributes:
        mark: How far it was downloaded.
    """

    def __init__(self, link: GattLink, identity: Identity) -> None:
        self.mark = RecordMark()
        self._link = link
        self._early: deque[Packet] = deque()  # came before the answer awaited then
        self._records = _Records(identity)
        self._answer: omron_dialogue.Answer = b"", 0
        self._count = 0
        self._tells_clock = False

    async def clock(self) -> DateTime | None:
        """Return what the clock shows."""
        if self._link.has(time.CURRENT_TIME):
            await self._link.subscribe(time.CURRENT_TIME)
            with suppress(NoReply, DecodeError):
                packet = await self._packet(_CLOCK_S, time.CURRENT_TIME)
                shown = time.decode_current_time(packet.payload).clock
                self._tells_clock = True
                return shown
        clock = await read_clock(self._link)
        return None if clock is None else clock.time

    async def set_clock(self, terms: Terms, shown: DateTime) -> None:
        """Set the clock, if it is to be set, and the cuff told it by itself."""
        if not self._tells_clock:
            return
        now, moment = clock_to_set(terms, shown), shown.moment
        if now and (moment is None or abs(now - moment) > _CLOCK_TOLERANCE):
            try:
                await self._link.write(time.CURRENT_TIME, omron.encode_clock(now))
            except Refused as error:
                if error.code != _DATA_FIELD_IGNORED:
                    self._link.note(error)  # readings are worth more than a clock

    async def consent(self, key: bytes, user: int | None) -> int:
        """Have the cuff send a user's data to us; return which user that is."""
        await self._link.subscribe(_USERS)
        steps = omron_dialogue.consent(int.from_bytes(key[:4], "big") % 10_000, user)
        try:
            request = next(steps)
            while True:
                await self._link.write(_USERS, request.encode())
                request = steps.send(await self._response(request))
        except NotConsented as error:
            raise NoReply(f"the cuff gives no data: {error}") from error
        except StopIteration as end:
            found: int = end.value
            return found

    async def listen(self) -> AsyncGenerator[Event, None]:
        """Yield what the cuff tells until it hangs up, or falls silent."""
        with suppress(LinkLost):  # it hangs up when all is told
            while True:
                try:
                    packet = await self._packet(_SILENCE_S, *DRIVER.on)
                except NoReply:
                    if 0 < self._count <= _MOST:
                        break
                    raise
                for event in self._records.add(packet):
                    yield event
        for event in self._records.give_up():
            yield event

    async def download(self, since: RecordMark) -> AsyncGenerator[Event, None]:
        """Yield the records behind a mark, and move `mark`.

        The record at the mark is told again, for only by it an erased memory, that
        counts from 1 again, is told from one that went on.
        """
        self.mark = since
        stamps: list[int] = []  # in order; many a cuff tells no numbers
        numbered: dict[int, int] = {}

        def note(event: Event) -> Event:
            if not isinstance(event, Checkpoint):
                stamps.append(_stamp(event))
            if isinstance(event, Observation) and event.sequence is not None:
                numbered[event.sequence] = stamps[-1]
            return event

        def is_same() -> bool:
            return since.stamp in stamps

        steps = omron_dialogue.download(since.newest, is_same if since.stamp else None)
        try:
            request = next(steps)
            while True:
                async for event in self._ask(request):
                    yield note(event)
                request = steps.send(self._answer)
        except StopIteration as end:
            newest = end.value
        kept = since.stamp if newest == since.newest else 0
        stamp = numbered.get(newest, stamps[-1] if stamps else kept)
        self.mark = replace(self.mark, newest=newest, stamp=stamp)

    async def _ask(self, request: bytes) -> AsyncGenerator[Event, None]:
        """Yield what a request brings, and keep how it is answered."""
        if request == _REPORT_ALL and self.mark.newest is not None:
            # Places count from the start now, and so they must behind a crash.
            yield self._move(replace(self.mark, newest=None, stamp=0))
        await self._link.write(_RACP, request)
        # Asked for again behind the same number, they are the same.
        came, memory = 0, self.mark.memory()
        while (packet := await self._step()).uuid != _RACP:
            if (filled := self.mark.filled(is_empty=False)) != self.mark:
                yield self._move(filled)
            for event in self._records.add(packet):
                came += 1
                yield memory.place(event)
        for event in self._records.give_up():
            yield event
        if _says_empty(request, packet.payload) and not came:
            self.mark = self.mark.filled(is_empty=True)
        self._answer = packet.payload, came

    def _move(self, mark: RecordMark) -> Checkpoint:
        self.mark = mark
        return Checkpoint(mark.packed)

    async def _response(self, request: user_data.Request) -> user_data.Response:
        while True:
            packet = await self._packet(_CONSENT_S, _USERS)
            answer, _ = user_data.decode_control_point(packet.payload)
            if isinstance(answer, user_data.Response) and answer.request == request.op:
                return answer

    async def _step(self) -> Packet:
        return await self._packet(racp.PROCEDURE_TIMEOUT_S, _RACP, *DRIVER.on)

    async def _packet(self, timeout_s: float, *wanted: UUID) -> Packet:
        """Return the next packet of what is wanted; keep readings for later.

        Its clock may go on ticking: that is nothing, and puts off no end.
        """
        for packet in self._early:
            if packet.uuid in wanted:
                self._early.remove(packet)
                return packet
        try:
            async with asyncio.timeout(timeout_s):
                while (packet := await self._link.receive()).uuid not in wanted:
                    self._counted()
                    if packet.uuid in DRIVER.on:
                        self._early.append(packet)
        except TimeoutError:
            raise NoReply(f"nothing came for {timeout_s:g} s") from None
        self._counted()
        return packet

    def _counted(self) -> None:
        self._count += 1
        if self._count > _MOST:
            raise NoReply("the cuff does not stop sending")


class _Records:
    """Makes readings of packets, two of which may be one record."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._parts = Parts()

    def add(self, packet: Packet) -> list[Event]:
        """Take a packet; return what is complete with it."""
        if packet.uuid != _OWN:
            return DRIVER.decode(packet, self._identity)
        try:
            return list(_told(self._parts.add(packet.payload)))
        except DecodeError as error:
            return [Undecoded(str(_OWN), packet.payload, str(error))]

    def give_up(self) -> list[Event]:
        """Return the packet whose other one did not come."""
        return list(_told(self._parts.give_up()))


def _recover(packets: Sequence[Packet], terms: Terms) -> Iterator[Event]:
    records = _Records(terms.identity or Identity())
    mark = RecordMark.of(terms.mark or 0)
    memory = mark.memory()
    if mark.filling is not None and packets:
        yield Checkpoint(mark.filled(is_empty=False).packed)
    for packet in packets:
        if packet.uuid == _RACP:
            memory = mark.memory()  # the next request
        for event in records.add(packet):
            yield event if mark.filling is None else memory.place(event)
    yield from records.give_up()


def _told(records: list[Whole]) -> Iterator[Event]:
    for seen, values in records:
        try:
            yield _observation(seen, values)
        except ValueError as error:
            yield from (Undecoded(str(_OWN), one, str(error)) for one in values)


def _standard(payload: bytes, _identity: Identity) -> Iterator[Observation]:
    yield reading.observation(blood_pressure.decode(payload), payload)


def _own(payload: bytes, _identity: Identity) -> Iterator[Observation]:
    for seen, values in (parts := Parts()).add(payload) + parts.give_up():
        yield _observation(seen, values)


def _observation(seen: Measurement, values: tuple[bytes, ...]) -> Observation:
    if Flag.CONTINUED in seen.flags:
        raise ValueError("the record goes on in a value that did not come")
    if seen.systolic is None or seen.diastolic is None:
        raise ValueError("the record has not both pressures")
    counts = (
        ("artifacts", seen.artifacts),
        ("irregular-pulses", seen.irregular_pulses),
        ("measurements", seen.measurements),
        ("room-temperature-Cel", seen.room_temperature),
    )
    told = [(name, str(number)) for name, number in counts if number is not None]
    return Observation(
        kind=Kind.BLOOD_PRESSURE,
        values=reading.pressures(
            seen.systolic,
            seen.diastolic,
            seen.mean,
            seen.pulse_rate,
            kpa=Flag.KPA in seen.flags,
        ),
        device_time=seen.time,
        sequence=seen.sequence,
        slot=reading.slot(seen.user),
        status=reading.status(seen.status),
        context=tuple(sorted([*told, *reading.pulse_range(seen.status)])),
        raw=values,
    )


_NAMES = ("BLESmart_", "BLEsmart_")

DRIVER = GattDriver(
    id="omron-standard",
    version="1",
    service=blood_pressure.SERVICE,
    observes=(Kind.BLOOD_PRESSURE,),
    models=(
        Model("Omron X4 Smart", _NAMES),
        Model("HEM-6233T", _NAMES),
        Model("HEM-9200T", _NAMES, note="pairs by the number printed on its back"),
        Model("BP5000 series", _NAMES),
    ),
    writes=(
        Write(rb".{9}\x01", "set the clock", time.CURRENT_TIME, sets_clock=True),
        Write(rb"\x01..", "register this station as a user", _USERS),
        Write(rb"\x02...", "give a user's consent code", _USERS),
        Write(rb"\x10\x00", "ask for the newest record's number", _RACP),
        Write(rb"[\x01\x04](?:\x01|\x03\x01..)", "ask for records", _RACP),
    ),
    on={_STANDARD: _standard, _OWN: _own},
    session=_session,
    recover=_recover,
    once_only=True,
)

"""Meters that implement the Bluetooth Glucose Service.

Measures: glucose, with meal and other context; ketone, of i-SENS meters; control
          solution as such.
Modes:    stored records by RACP, everything behind the last one known; all of
          them, where a maker's numbers can't be relied upon.
Clock:    internal clock and offset in each reading; set behind the download, of
          i-SENS and Contour meters, where the operator allows it.
History:  rereadable; nothing is ever deleted here.
Source:   Bluetooth SIG, Glucose Service 1.0.1, Glucose Profile 1.0.1;
          protocols.vendor.isens, protocols.vendor.ascensia_clock.
Tested:   firmware_sim.devices.gatt_glucose; no hardware yet.
"""

from collections.abc import AsyncGenerator, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import Enum, auto
from zlib import crc32

from drivers.sdk import (
    Checkpoint,
    DecodeError,
    DeviceClock,
    Event,
    GattDriver,
    GattLink,
    Kind,
    LinkLost,
    Model,
    NoReply,
    Observation,
    Packet,
    Refused,
    Terms,
    Undecoded,
    Which,
    Write,
    clock_to_set,
    identify,
    quirk,
    read_clock,
    receive,
)
from protocols.gatt import device_information, glucose, glucose_reading, racp, time
from protocols.gatt.glucose import Context, Flag, Measurement
from protocols.vendor import ascensia_clock, isens

_RECORDS_PER_CHECKPOINT = 64
_MOST_PACKETS = 20_000  # of one procedure: 10,000 records and their contexts
_ATTEMPTS = 3
_NUMBER = racp.OpCode.REPORT_NUMBER_OF_STORED_RECORDS
_REPORT = racp.OpCode.REPORT_STORED_RECORDS
_CLOCK_S = 5.0  # in which an i-SENS meter tells its clock, or never does


class _Clock(Enum):
    """By what a meter tells its clock, and has it set."""

    STANDARD = auto()
    CURRENT_TIME = auto()  # its Date Time may lack the offset that readings have
    ISENS = auto()
    CONTOUR = auto()


@dataclass(frozen=True, slots=True)
class _Quirks:
    """What is peculiar to a maker's meters.

    Attributes:
        clock: By what they tell their clock.
        reads_all: Sequence numbers do not tell what is new.
        is_isens: Contexts mark ketone, a month may be 13, and a result may come
            again, under the same number and with another time.
        is_bounded: A number beyond 20 to 600 mg/dL stands for LO or HI.
    """

    clock: _Clock = _Clock.STANDARD
    reads_all: bool = False
    is_isens: bool = False
    is_bounded: bool = False


_ISENS = _Quirks(_Clock.ISENS, reads_all=True, is_isens=True, is_bounded=True)
_CONTOUR = _Quirks(_Clock.CONTOUR)
_ROCHE = _Quirks(_Clock.CURRENT_TIME)
_TAIDOC = _Quirks(reads_all=True, is_bounded=True)
_QUIRKS: tuple[tuple[Which, _Quirks], ...] = (
    (Which(manufacturer="i-sens*"), _ISENS),
    (Which(model="caresens*"), _ISENS),
    (Which(model="relion premier*"), _ISENS),
    (Which(manufacturer="ascensia*"), _CONTOUR),
    (Which(model="contour*"), _CONTOUR),
    (Which(manufacturer="roche*"), _ROCHE),
    (Which(model="accu-chek*"), _ROCHE),
    (Which(manufacturer="taidoc*"), _TAIDOC),
    (Which(manufacturer="fora*"), _TAIDOC),
    (Which(model="tng*"), _TAIDOC),
)


async def _session(link: GattLink, terms: Terms) -> AsyncGenerator[Event, None]:
    if not link.has(racp.RECORD_ACCESS_CONTROL_POINT):
        raise NoReply("the device has no Record Access Control Point")
    yield (identity := await identify(link))
    quirks = quirk(_QUIRKS, identity, _Quirks())
    if link.has(isens.OWN_CLOCK):
        quirks = _ISENS  # whatever its seller calls it
    clock = await _read_clock(link, quirks.clock)
    if clock is not None:
        yield clock
    pairs = _Pairs(quirks, await _software(link) if quirks.is_isens else None)
    for uuid in (
        racp.RECORD_ACCESS_CONTROL_POINT,
        glucose.GLUCOSE_MEASUREMENT,
        glucose.GLUCOSE_MEASUREMENT_CONTEXT,
    ):
        if link.has(uuid):
            await link.subscribe(uuid)
    reads_all = quirks.reads_all
    events = _all(link, pairs) if reads_all else _news(link, pairs, terms.mark)
    async for event in events:
        yield event
    await _set_clock(link, terms, clock, quirks.clock)


async def _news(
    link: GattLink, pairs: "_Pairs", mark: int | None
) -> AsyncGenerator[Event, None]:
    """Yield what is behind a mark, and marks on the way."""
    stamp, since = (0, None) if mark is None else divmod(mark, 1 << 16)
    download = racp.Download(since, stamp)
    while download.request is not None:
        async for found in _procedure(link, download.request, pairs):
            if not isinstance(found, Observation | Undecoded):
                if download.is_last_attempt:
                    for event in pairs.give_up():
                        yield event
                        _record(download, event)
                download.end(found)
                continue
            yield found
            _record(download, found)
            if isinstance(found, Observation) and found.sequence is not None:
                at_checkpoint = found.sequence % _RECORDS_PER_CHECKPOINT == 0
                if at_checkpoint and download.mark is not None:
                    yield _checkpoint(download)
    if download.mark is not None:
        yield _checkpoint(download)


def _record(download: racp.Download, event: Event) -> None:
    if isinstance(event, Observation) and event.sequence is not None:
        download.record(event.sequence, crc32(str(event.device_time).encode()))


def _checkpoint(download: racp.Download) -> Checkpoint:
    """Return a mark that a reset meter's record of the same number does not fit."""
    return Checkpoint(download.mark_stamp << 16 | (download.mark or 0))


async def _all(link: GattLink, pairs: "_Pairs") -> AsyncGenerator[Event, None]:
    """Yield all records, each once, whatever their numbers are."""
    number, is_told = 0, False  # how many there are, or that the report was whole
    for attempt in range(_ATTEMPTS):
        for op_code in (_NUMBER, _REPORT):
            request = racp.Request(op_code, racp.Operator.ALL_RECORDS)
            async for found in _procedure(link, request, pairs):
                if isinstance(found, Observation | Undecoded):
                    yield found
                elif isinstance(found, racp.Count):
                    number, is_told = found.number, True
                else:
                    _check(found)
                    is_broken = found.value == racp.Value.PROCEDURE_NOT_COMPLETED
                    is_told = is_told or not is_broken
        if attempt == _ATTEMPTS - 1:
            for event in pairs.give_up():
                yield event
        if is_told and len(pairs.complete) >= number:
            return
    counts = f"counts {number} records" if is_told else "breaks its report off"
    came = f"{len(pairs.complete)} came in {_ATTEMPTS} attempts"
    raise racp.Incomplete(f"the device {counts}, {came}")


def _check(answer: racp.Response) -> None:
    """Raise `racp.Incomplete` if the device refuses what it was asked for."""
    if answer.value not in (
        racp.Value.SUCCESS,
        racp.Value.NO_RECORDS_FOUND,
        racp.Value.PROCEDURE_NOT_COMPLETED,
    ):
        raise racp.Incomplete(f"the device refuses its records: {answer}")


async def _procedure(
    link: GattLink, request: racp.Request, pairs: "_Pairs"
) -> AsyncGenerator[Observation | Undecoded | racp.Count | racp.Response, None]:
    """Yield what comes of a request, and in the end its answer."""
    pairs.begin()
    await link.write(racp.RECORD_ACCESS_CONTROL_POINT, request.encode())
    for _ in range(_MOST_PACKETS):
        packet = await receive(link, racp.PROCEDURE_TIMEOUT_S)
        if packet.uuid == racp.RECORD_ACCESS_CONTROL_POINT:
            yield racp.decode_answer(packet.payload)
            return
        for event in pairs.add(packet):
            yield event
    raise NoReply(f"{_MOST_PACKETS} packets came, and no end")


async def _read_clock(link: GattLink, kind: _Clock) -> DeviceClock | None:
    if kind is _Clock.CURRENT_TIME and not link.has(time.CURRENT_TIME):
        return None
    if kind is not _Clock.ISENS:
        return await read_clock(link)
    for uuid in filter(link.has, isens.CLOCKS):
        with suppress(NoReply, Refused, DecodeError):
            await link.subscribe(uuid)
            await link.write(uuid, isens.ask_clock())
            packet = await receive(link, _CLOCK_S)
            if packet.uuid == uuid:
                shown = isens.decode_clock(packet.payload).time
                return DeviceClock(isens.repair_month(shown))
    return None


async def _set_clock(
    link: GattLink, terms: Terms, shown: DeviceClock | None, kind: _Clock
) -> None:
    """Set the clock, where that is allowed; everything else was told."""
    moment = clock_to_set(terms, None if shown is None else shown.time)
    if moment is None:
        return
    zoned = terms.set_clock
    if kind is _Clock.CONTOUR and zoned and link.has(ascensia_clock.CLOCK):
        setting = ascensia_clock.set_clock(zoned())  # UTC, and the offset from it
        await link.write(ascensia_clock.CLOCK, setting.encode())
    if kind is _Clock.ISENS:
        for uuid in filter(link.has, isens.CLOCKS):
            await link.write(uuid, isens.set_clock(moment))
            with suppress(NoReply, LinkLost):  # confirmed late, or never
                await receive(link, _CLOCK_S)


async def _software(link: GattLink) -> tuple[int, int] | None:
    if not link.has(device_information.SOFTWARE_REVISION):
        return None
    with suppress(DecodeError):
        return isens.decode_software(
            await link.read(device_information.SOFTWARE_REVISION)
        )
    return None


class _Pairs:
    """Joins a measurement with its context by number, whichever comes first.

    Attributes:
        complete: The measurements that came, with their contexts; kept of meters
            that are read as a whole.
    """

    def __init__(self, quirks: _Quirks, software: tuple[int, int] | None) -> None:
        self.complete: set[bytes] = set()
        self._quirks, self._software = quirks, software
        self._waiting: dict[int, tuple[Measurement, bytes]] = {}
        self._early: dict[int, tuple[Context, bytes]] = {}
        self._known: set[object] = set()

    def begin(self) -> None:
        """Forget halves: a procedure tells them whole, under numbers that repeat."""
        self._waiting.clear()
        self._early.clear()

    def add(self, packet: Packet) -> list[Observation | Undecoded]:
        """Take a packet; return the observation that it completes, if any."""
        try:
            return list(self._add(packet))
        except DecodeError as error:
            if packet.uuid == glucose.GLUCOSE_MEASUREMENT:
                self.complete.add(packet.payload)
            return [Undecoded(str(packet.uuid), packet.payload, str(error))]

    def _add(self, packet: Packet) -> Iterator[Observation | Undecoded]:
        if packet.uuid == glucose.GLUCOSE_MEASUREMENT_CONTEXT:
            context = glucose.decode_context(packet.payload)
            waiting = self._waiting.pop(context.sequence, None)
            if waiting is None:
                self._early[context.sequence] = context, packet.payload
            else:
                yield from self._tell(*waiting, context, packet.payload)
        elif packet.uuid == glucose.GLUCOSE_MEASUREMENT:
            measurement = glucose.decode_measurement(packet.payload)
            early = self._early.pop(measurement.sequence, None)
            if early is not None:
                yield from self._tell(measurement, packet.payload, *early)
            elif Flag.CONTEXT_FOLLOWS in measurement.flags:
                self._waiting[measurement.sequence] = measurement, packet.payload
            else:
                yield from self._tell(measurement, packet.payload)

    def give_up(self) -> Iterator[Observation | Undecoded]:
        """Yield the measurements whose announced context never came."""
        for measurement, payload in self._waiting.values():
            if not self._quirks.is_isens:
                yield from self._tell(measurement, payload)
            elif payload not in self.complete:
                self.complete.add(payload)
                problem = "its context never came: it may be glucose or ketone"
                yield Undecoded(str(glucose.GLUCOSE_MEASUREMENT), payload, problem)
        self._waiting.clear()

    def _tell(
        self,
        seen: Measurement,
        payload: bytes,
        context: Context | None = None,
        context_payload: bytes = b"",
    ) -> Iterator[Observation]:
        if self._quirks.reads_all:
            if payload in self.complete:
                return  # it came at an earlier attempt
            self.complete.add(payload)
        told = self._observation(seen, context)
        raw = (payload, context_payload) if context else (payload,)
        facts = told.sequence, told.kind, told.values
        if not self._quirks.is_isens or facts not in self._known:
            yield replace(told, raw=raw)
        self._known.add(facts)

    def _observation(self, seen: Measurement, context: Context | None) -> Observation:
        notes, time = glucose_reading.notes(seen, context), seen.base_time
        kind, value = Kind.GLUCOSE, glucose_reading.value(seen, context)
        if self._quirks.is_bounded:
            value = glucose_reading.bounded(value)
        if self._quirks.is_isens and context is not None and isens.is_ketone(context):
            kind, value = Kind.KETONE, isens.ketone_value(seen, self._software)
            del notes["meal"]
        if self._quirks.is_isens and (repaired := isens.repair_month(time)) != time:
            notes["month-sent"], time = str(time.month), repaired
        return Observation(
            kind=Kind.CONTROL_SOLUTION if seen.is_control else kind,
            values=(value,),
            device_time=time,
            offset_min=seen.offset_min,
            sequence=seen.sequence,
            status=glucose_reading.status(seen),
            context=tuple(sorted(notes.items())),
        )


_NOTE = "Pair it once; its passkey stands on its back, or on its display."

DRIVER = GattDriver(
    id="gatt-glucose",
    version="1",
    service=glucose.SERVICE,
    observes=(Kind.GLUCOSE, Kind.KETONE, Kind.CONTROL_SOLUTION),
    models=tuple(
        Model(name, (prefix,), note=_NOTE)
        for name, prefix in (
            ("Accu-Chek Guide, Guide Me, Instant, Aviva Connect", "meter+"),
            ("CareSens N Premier and Dual", "CareSens"),
            ("Contour Next One, Plus One and Plus Elite", "Contour"),
            ("ReliOn Premier BLU", "ReliOn"),
            ("TNG Voice", "TNG"),
            ("Yuwell 580 and 582", "Yuwell"),
        )
    ),
    writes=(
        Write(
            rb"[\x01\x04](\x01|\x05|\x06|\x03\x01..)",
            "ask for records and for their number",
            racp.RECORD_ACCESS_CONTROL_POINT,
        ),
        *(
            Write(rb"\xc0\x03\x01\x00\x00{7}", "ask an i-SENS meter's clock", uuid)
            for uuid in isens.CLOCKS
        ),
        *(
            Write(
                rb"\xc0\x03\x01\x00(?!\x00{7}).{7}",
                "set an i-SENS meter's clock",
                uuid,
                sets_clock=True,
            )
            for uuid in isens.CLOCKS
        ),
        Write(
            rb"\x01.{9}",
            "set a Contour meter's clock",
            ascensia_clock.CLOCK,
            sets_clock=True,
        ),
    ),
    session=_session,
)

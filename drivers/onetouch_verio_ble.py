"""LifeScan OneTouch Verio Flex, Reflect and their kin, by Bluetooth.

Measures: glucose; control solution as such.
Modes:    stored records by their number, everything behind the last one known; all
          of them, newest first, where a number among those is refused.
Clock:    local time; set behind the download, where the operator allows it.
History:  rereadable; nothing is ever erased here.
Source:   protocols.vendor.lifescan_verio_ble, protocols.vendor.lifescan_verio.
Tested:   firmware_sim.devices.onetouch_verio_ble; no hardware yet.
"""

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar
from zlib import crc32

from drivers.sdk import (
    Ask,
    Checkpoint,
    Conversation,
    DateTime,
    DecodeError,
    DeviceClock,
    Event,
    GattDriver,
    GattLink,
    GattStream,
    Kind,
    Model,
    NoReply,
    Observation,
    Terms,
    Undecoded,
    Write,
    clock_to_set,
    identify,
)
from protocols.errors import Fault
from protocols.vendor import lifescan_verio, lifescan_verio_ble
from protocols.vendor.lifescan_verio_ble import NOTIFY, SERVICE, WRITE, Packets

_A = TypeVar("_A")

_PREFIX = 4
_SETTLE_S = 0.05  # no answer says what it answers
_ATTEMPTS = 6
_RECORDS_PER_CHECKPOINT = 32
_MOST = 10_000  # records
_MOST_PACKETS = 4 * _MOST  # each with its acknowledgement, some of them twice
_MOST_REFUSED = 32  # in a row, behind which no older record is looked for
_NUMBER_BITS, _STAMP_BITS = 16, 32  # of a mark
_LONGEST_SETTING = timedelta(minutes=1)


async def _session(link: GattLink, terms: Terms) -> AsyncGenerator[Event, None]:
    if not link.has(NOTIFY):
        raise NoReply("the device has nothing that a Verio notifies by")
    yield await identify(link)
    await link.subscribe(NOTIFY)
    meter = _Meter(link)
    # In this order, in which every known program begins.
    shown = await meter.clock()
    yield DeviceClock(shown)
    count = await meter.ask(
        "number of records",
        lifescan_verio.ask_count(_PREFIX),
        lifescan_verio.read_count,
    )
    if count > _MOST:
        raise NoReply(f"it says that it holds {count} records, which no meter does")
    newest = await meter.ask(
        "newest record's number",
        lifescan_verio.ask_highest_id(_PREFIX),
        lifescan_verio.read_highest_id,
    )
    mark = _Mark.of(terms.mark or 0)
    is_near = 0 < mark.number <= newest <= mark.number + _MOST
    known = await meter.record(mark.number) if is_near else None
    if known is not None and _stamp(known) == mark.stamp:
        events = _forward(meter, mark, newest, count)
    else:
        events = _backward(meter, newest, count, 0 if mark.number else mark.stamp)
    async for event in events:
        yield event
    if (moment := clock_to_set(terms, shown)) is not None:
        await meter.set_clock(moment)


@dataclass(frozen=True, slots=True)
class _Mark:
    """What is known of a meter from one visit to the next.

    Attributes:
        number: That of the newest record that came; 0 where all are to be read.
        stamp: What tells that record from another one of its number; without a
            number, what tells the refusals of the last visit from others.
        none: How many numbers above it had no record when all were read.
    """

    number: int
    stamp: int
    none: int = 0

    @classmethod
    def of(cls, packed: int) -> "_Mark":
        """Read a checkpoint's mark."""
        rest, number = divmod(packed, 1 << _NUMBER_BITS)
        none, stamp = divmod(rest, 1 << _STAMP_BITS)
        return cls(number, stamp, none)

    @property
    def checkpoint(self) -> Checkpoint:
        """What has the next visit begin here."""
        head = self.none << _STAMP_BITS | self.stamp
        return Checkpoint(head << _NUMBER_BITS | self.number)


async def _forward(
    meter: "_Meter", since: _Mark, newest: int, count: int
) -> AsyncGenerator[Event, None]:
    """Yield what is behind a mark, oldest first; all, where a number is refused.

    One that has no record is refused like one that the meter does not give now, and
    only the whole memory and its count tell which it is.
    """
    last: Checkpoint | None = None
    is_refused = False
    for number in range(since.number + 1, newest + 1):
        if (message := await meter.record(number)) is None:
            if is_refused := number > since.number + since.none:
                break
            continue
        for seen in _events(number, message):
            yield seen
        last = _Mark(number, _stamp(message)).checkpoint
        if number % _RECORDS_PER_CHECKPOINT == 0:
            yield last
    if last is not None:
        yield last
    if is_refused:
        async for event in _backward(meter, newest, count, 0):
            yield event


async def _backward(
    meter: "_Meter", newest: int, count: int, before: int
) -> AsyncGenerator[Event, None]:
    """Yield all records, newest first, for nobody knows the oldest one's number.

    What is refused and not counted is no record, and the mark passes over it, lest a
    number that was erased, or never used, has the meter read whole for ever. What is
    counted and does not come is one: no mark passes over it, however often.

    Whether deleted records are counted is not known. Where the count fits only if
    they are, refusals that are the same ones at two visits are of no record.

    Args:
        meter: Asks for them.
        newest: The newest one's number.
        count: How many there are.
        before: The `_Mark.stamp` of a visit at which the count was in doubt.

    Raises:
        NoReply: The meter counts more records than it gives.
    """
    mark: _Mark | None = None
    found = deleted = in_a_row = 0
    refused: list[int] = []
    for number in range(newest, 0, -1):
        if found >= count or in_a_row >= _MOST_REFUSED:
            break
        if (message := await meter.record(number)) is None:
            refused.append(number)
            in_a_row += 1
            continue
        in_a_row = 0
        events = _events(number, message)
        found, deleted = found + bool(events), deleted + (not events)
        for event in events:
            yield event
        mark = mark or _Mark(number, _stamp(message), newest - number)
    doubt = crc32(repr(refused).encode())
    fits = found + deleted >= count
    if fits and (found >= count or not refused or doubt == before):
        if mark is not None:
            yield mark.checkpoint
        return
    if fits:
        yield _Mark(0, doubt).checkpoint
    why = f"; {meter.refusal}" if refused else ""
    raise NoReply(
        f"the meter counts {count} records and gave {found}{why}; what is missing is "
        "asked for again at the next visit"
    )


def _stamp(message: bytes) -> int:
    """Return what tells a record from another one of its number."""
    return crc32(message[1:])


class _Bounded(GattStream):
    """A stream that comes to its end, whatever the meter does."""

    def __init__(self, link: GattLink) -> None:
        super().__init__(link, WRITE, NOTIFY)
        self._left = _MOST_PACKETS

    async def read(self) -> bytes:
        """Return the next packet; raise `NoReply` where there were too many."""
        if not self._left:
            raise NoReply(f"{_MOST_PACKETS} packets came, and no end")
        self._left -= 1
        return await super().read()


class _Meter:
    """Asks a meter, and acknowledges its answers.

    Attributes:
        refusal: Which record it refused first at this visit, and how.
    """

    def __init__(self, link: GattLink) -> None:
        self._talk = Conversation(_Bounded(link), Packets(), settle_s=_SETTLE_S)
        self.refusal = ""
        self._previous = b""

    async def ask(self, name: str, message: bytes, read: Callable[[bytes], _A]) -> _A:
        """Return what the answer to ``message`` says."""
        question = Ask.reading(name, lifescan_verio_ble.encode(message), read)
        said = await self._talk.ask(question, attempts=_ATTEMPTS)
        await self._talk.tell(lifescan_verio_ble.ACKNOWLEDGE)
        return said

    async def clock(self) -> DateTime:
        """Return what the clock shows."""
        message = lifescan_verio.ask_clock(_PREFIX)
        return await self.ask("clock", message, lifescan_verio.read_clock)

    async def record(self, number: int) -> bytes | None:
        """Return the answer that holds a record; None if the meter refuses."""
        name, asked = f"record {number}", lifescan_verio.ask_record_by_id(number)
        message = await self.ask(name, asked, _answer)
        if message == self._previous and not _refusal(message):
            # Two alike, or one answer that came twice: the next one tells.
            message = await self.ask(name, asked, _answer)
        self._previous = message
        if problem := _refusal(message):
            self.refusal = self.refusal or f"{name}: {problem}"
            return None
        return message

    async def set_clock(self, moment: datetime) -> None:
        """Set the clock, and look whether it shows so."""
        message = lifescan_verio.set_clock(moment, _PREFIX)
        await self._talk.tell(lifescan_verio_ble.encode(message))
        found = (await self.clock()).moment
        if found is None or not timedelta() <= found - moment <= _LONGEST_SETTING:
            raise NoReply(f"its clock was set to {moment}, and shows {found}")


def _answer(message: bytes) -> bytes:
    """Return a message that holds a record, one of no known kind too, or refuses it."""
    try:
        lifescan_verio.read_record_by_id(message)
    except DecodeError as error:
        if error.fault not in (Fault.DEVICE_ERROR, Fault.RESERVED_VALUE):
            raise
    return message


def _refusal(message: bytes) -> str:
    """Return how a message refuses a record; nothing if it holds one."""
    try:
        lifescan_verio.read_record_by_id(message)
    except DecodeError as error:
        if error.fault == Fault.DEVICE_ERROR:
            return f"'{error.field}' {error.problem}"
    return ""


def _events(number: int, message: bytes) -> list[Observation | Undecoded]:
    """Return what a record is; nothing for one that was deleted."""
    try:
        record = lifescan_verio.read_record_by_id(message)
    except DecodeError as error:
        return [Undecoded(f"record {number}", message, str(error))]
    if record.mg_per_dl == 0:
        return []
    if any(record.tail[1:]):
        problem = f"its last bytes are {record.tail.hex(' ')}: it may be no glucose"
        return [Undecoded(f"record {number}", message, problem)]
    unknown = record.tail[0]
    return [
        Observation(
            kind=Kind.CONTROL_SOLUTION if record.is_control else Kind.GLUCOSE,
            values=(lifescan_verio.glucose(record.mg_per_dl),),
            device_time=record.time,
            sequence=number,
            context=(("unknown-byte", f"{unknown:#04x}"),) if unknown else (),
            raw=(message,),
        )
    ]


_NOTE = "Pair it once by its own menu; afterwards switch Bluetooth on at the meter."

DRIVER = GattDriver(
    id="onetouch-verio-ble",
    version="1",
    service=SERVICE,
    observes=(Kind.GLUCOSE, Kind.CONTROL_SOLUTION),
    models=(
        Model("OneTouch Verio Flex", ("OneTouch",), note=_NOTE),
        Model("OneTouch Verio Reflect", ("OneTouch",), note=_NOTE),
        Model("OneTouch Select Plus Flex", ("OneTouch",), note=_NOTE),
    ),
    writes=(
        Write(rb"\x81", "acknowledge an answer", WRITE),
        Write(rb"\x01\x02\x09\x00\x04\x20\x02\x03..", "ask for the clock", WRITE),
        Write(rb"\x01\x02\x09\x00\x04\x27\x00\x03..", "ask for the number", WRITE),
        Write(rb"\x01\x02\x0a\x00\x04\x0a\x02\x06\x03..", "ask for the newest", WRITE),
        Write(rb"\x01\x02\x0a\x00\x04\xb3..\x03..", "ask for a record", WRITE),
        Write(
            rb"\x01\x02\x0d\x00\x04\x20\x01....\x03..",
            "set the clock",
            WRITE,
            sets_clock=True,
        ),
    ),
    session=_session,
)

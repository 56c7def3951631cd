"""LifeScan OneTouch Verio Flex, Reflect and their kin, by Bluetooth.

Measures: glucose; control solution as such.
Modes:    stored records by their number, everything behind the last one known.
Clock:    local time; set behind the download, where the operator allows it.
History:  rereadable; nothing is ever erased here.
Source:   protocols.vendor.lifescan_verio_ble, protocols.vendor.lifescan_verio.
Tested:   firmware_sim.devices.onetouch_verio_ble; no hardware yet.
"""

from collections.abc import AsyncGenerator, Callable
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
_MOST_MISSING = 32  # in a row, behind which no older record is looked for
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
    stamp, known = divmod(terms.mark or 0, 1 << 16)
    is_near = 0 < known <= newest <= known + _MOST
    if is_near and _stamp(await meter.record(known)) == stamp:
        async for event in _forward(meter, known + 1, newest):
            yield event
    else:
        async for event in _backward(meter, newest, count):
            yield event
    if (moment := clock_to_set(terms, shown)) is not None:
        await meter.set_clock(moment)


async def _forward(
    meter: "_Meter", first: int, newest: int
) -> AsyncGenerator[Event, None]:
    """Yield what is new, oldest first."""
    last: Checkpoint | None = None
    for number in range(first, newest + 1):
        if (message := await meter.record(number)) is None:
            continue
        for event in _events(number, message):
            yield event
        last = _checkpoint(number, message)
        if number % _RECORDS_PER_CHECKPOINT == 0:
            yield last
    if last is not None:
        yield last


async def _backward(
    meter: "_Meter", newest: int, count: int
) -> AsyncGenerator[Event, None]:
    """Yield all records, newest first, for nobody knows the oldest one's number."""
    last: Checkpoint | None = None
    found = missing = 0
    for number in range(newest, 0, -1):
        if found >= count or missing >= _MOST_MISSING:
            break
        message = await meter.record(number)
        missing = missing + 1 if message is None else 0
        if message is not None:
            events = _events(number, message)
            found += bool(events)
            for event in events:
                yield event
            last = last or _checkpoint(number, message)
    if last is not None:
        yield last


def _stamp(message: bytes | None) -> int | None:
    """Return what tells a record from another one of its number."""
    return None if message is None else crc32(message[1:])


def _checkpoint(number: int, message: bytes) -> Checkpoint:
    return Checkpoint((_stamp(message) or 0) << 16 | number)


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
    """Asks a meter, and acknowledges its answers."""

    def __init__(self, link: GattLink) -> None:
        self._talk = Conversation(_Bounded(link), Packets(), settle_s=_SETTLE_S)
        self._previous: bytes | None = None

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
        """Return the answer that holds a record; None if there is none."""
        name, asked = f"record {number}", lifescan_verio.ask_record_by_id(number)
        message = await self.ask(name, asked, _record)
        if message and message == self._previous:
            # Two alike, or one answer that came twice: the next one tells.
            message = await self.ask(name, asked, _record)
        self._previous = message
        return message or None

    async def set_clock(self, moment: datetime) -> None:
        """Set the clock, and look whether it shows so."""
        message = lifescan_verio.set_clock(moment, _PREFIX)
        await self._talk.tell(lifescan_verio_ble.encode(message))
        found = (await self.clock()).moment
        if found is None or not timedelta() <= found - moment <= _LONGEST_SETTING:
            raise NoReply(f"its clock was set to {moment}, and shows {found}")


def _record(message: bytes) -> bytes:
    """Return a message that holds a record, one of no known kind too.

    Returns:
        Nothing where the meter says that it has no such record.
    """
    try:
        lifescan_verio.read_record_by_id(message)
    except DecodeError as error:
        if error.fault == Fault.DEVICE_ERROR:
            return b""
        if error.fault != Fault.RESERVED_VALUE:
            raise
    return message


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

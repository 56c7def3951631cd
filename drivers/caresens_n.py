"""i-SENS CareSens N, ReliOn Premier and Glucocard Shine on their serial cable.

Measures: glucose, with meal; ketone; control solution as such.
Modes:    stored records, all of them at every visit; never sends unasked.
Clock:    local time; set behind the download, where the operator allows it.
History:  rereadable; nothing is ever erased here.
Source:   protocols.vendor.isens_serial, protocol 3.
Tested:   firmware_sim.devices.caresens_n; no hardware yet.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from decimal import Decimal
from functools import partial
from typing import TypeVar

from drivers.sdk import (
    Ask,
    Conversation,
    Damaged,
    DateTime,
    DeviceClock,
    Event,
    Identity,
    Kind,
    LinkLost,
    Model,
    NoReply,
    Observation,
    Quantity,
    SerialDriver,
    SerialLink,
    State,
    Terms,
    Unit,
    Value,
    Write,
    clock_to_set,
    undated_once,
)
from protocols.vendor import isens_serial
from protocols.vendor.isens_serial import MOST_RECORDS, Flag, Packet, Record

_A = TypeVar("_A")
_Meter = Conversation[Packet]
_Records = list[tuple[Record, bytes]]

_SETTLE_S = 0.05  # no answer says which records it holds
_MOST = 10_000  # records
_READS = 6  # of one block, two of which, one behind the other, must agree
_RANGE = {
    Quantity.GLUCOSE: (Decimal(20), Decimal(600)),  # mg/dL
    Quantity.KETONE: (Decimal(0), Decimal("8.0")),  # mmol/L
}
_MEALS = {Flag.AFTER_MEAL: "postprandial", Flag.FASTING: "fasting"}


async def _session(link: SerialLink, terms: Terms) -> AsyncGenerator[Event, None]:
    await _check_protocol(link)
    meter = Conversation(link, isens_serial.decoder(), settle_s=_SETTLE_S)
    serial = await _serial_number(meter)
    yield Identity("i-SENS", "CareSens", serial)
    shown = await _ask(
        meter, "clock", isens_serial.ask_clock(), isens_serial.read_clock
    )
    yield DeviceClock(shown)
    records = await _records(meter)
    # A record does not say whose it is: the plug may hang in another meter.
    if await _serial_number(meter) != serial:
        raise LinkLost("another meter was plugged in")
    seen = [_observation(record, raw) for record, raw in records]
    for event in undated_once(terms.mark, seen):
        yield event
    if (moment := clock_to_set(terms, shown)) is not None:
        packet = isens_serial.set_clock(moment)
        name, read = "setting of its clock", isens_serial.read_clock_set
        if await _ask(meter, name, packet, read) != DateTime.of(moment):
            raise NoReply(f"its clock does not show {moment}, to which it was set")


class _ProtocolByte:
    """Finds the one byte that says which protocol a meter speaks."""

    def feed(self, data: bytes) -> list[int | Damaged]:
        """Take received bytes; return what may be that byte."""
        known = isens_serial.PROTOCOL_1, isens_serial.PROTOCOL_3
        return [one if one in known else Damaged(bytes([one]), "noise") for one in data]

    def resync(self) -> list[int | Damaged]:
        """Return nothing: no byte waits for another one."""
        return []


async def _check_protocol(link: SerialLink) -> None:
    """Leave a meter that speaks another protocol.

    Raises:
        NoReply: It does. One that says nothing may still speak ours.
        LinkLost: The port is gone.
    """
    talk = Conversation(link, _ProtocolByte(), settle_s=_SETTLE_S)
    question: Ask[int, int] = Ask("protocol", isens_serial.ASK_PROTOCOL, int)
    said = set()
    with suppress(NoReply):
        for _ in range(2):  # one byte may be noise
            said.add(await talk.ask(question, timeout_s=1.0, attempts=2))
    if said == {isens_serial.PROTOCOL_1}:
        raise NoReply("it speaks the older protocol 1, which is not read here")


async def _ask(
    meter: _Meter, name: str, packet: Packet, read: Callable[[Packet], _A]
) -> _A:
    return await meter.ask(Ask.reading(name, packet.encode(), read))


async def _serial_number(meter: _Meter) -> str:
    packet = isens_serial.ask_serial_number()
    return await _ask(meter, "serial number", packet, isens_serial.read_serial_number)


async def _records(meter: _Meter) -> _Records:
    """Return all records, in the meter's order."""
    count = await _ask(
        meter, "number of records", isens_serial.ask_count(), isens_serial.read_count
    )
    if count > _MOST:
        raise NoReply(f"it says that it holds {count} records, which no meter does")
    found: _Records = []
    for first in range(1, count + 1, MOST_RECORDS):
        found += await _block(meter, first, min(MOST_RECORDS, count + 1 - first))
    return found


async def _block(meter: _Meter, first: int, number: int) -> _Records:
    """Return some records, which the meter sent alike two times running.

    No checksum protects them, and nothing says which ones they are.
    """
    packet = isens_serial.ask_records(first, number)
    read = partial(isens_serial.read_records, number=number)
    before: _Records | None = None
    for _ in range(_READS):
        found = await _ask(meter, f"records from {first} on", packet, read)
        if found == before:
            return found
        before = found
    raise NoReply(f"the records from {first} on come otherwise each time")


def _observation(record: Record, raw: bytes) -> Observation:
    value = _value(record)
    kind = Kind.KETONE if value.quantity == Quantity.KETONE else Kind.GLUCOSE
    if Flag.CONTROL_SOLUTION in record.flags:
        kind = Kind.CONTROL_SOLUTION
    meals = [name for flag, name in _MEALS.items() if flag in record.flags]
    return Observation(
        kind=kind,
        values=(value,),
        device_time=record.time,
        context=(("meal", meals[0]),) if len(meals) == 1 else (),
        raw=(raw,),
    )


def _value(record: Record) -> Value:
    ketone = record.ketone_mmol_per_l
    if ketone is None:
        quantity, unit = Quantity.GLUCOSE, Unit.MG_PER_DL
        sent = Decimal(record.value)
    else:
        quantity, unit, sent = Quantity.KETONE, Unit.MMOL_PER_L, ketone
    lowest, highest = _RANGE[quantity]
    high, low = Flag.HIGH in record.flags, Flag.LOW in record.flags
    # No ketone is shown as LO: a mark of it is that of the number as a glucose.
    if low and (high or ketone is not None):
        state = State.NO_VALUE
    elif high or sent > highest:
        state = State.ABOVE_RANGE
    elif low:
        state = State.BELOW_RANGE
    elif sent == 0 and ketone is None:
        state = State.NO_VALUE
    elif sent < lowest:
        state = State.BELOW_RANGE
    else:
        return Value(quantity, unit, sent)
    return Value(quantity, unit, None, state)


_CABLE = "Switch it off and plug it in by its serial cable"

DRIVER = SerialDriver(
    id="caresens-n",
    version="1",
    observes=(Kind.GLUCOSE, Kind.KETONE, Kind.CONTROL_SOLUTION),
    baud=9600,
    models=(
        Model(
            "CareSens N",
            note=f"{_CABLE}; the cable that is a HID device (10C4:8A32) is no serial "
            "port and is not read.",
        ),
        Model("ReliOn Premier", note=f"{_CABLE}."),
        Model("Glucocard Shine", note=f"{_CABLE}."),
    ),
    writes=(
        Write(rb"\x80", "ask which protocol it speaks"),
        Write(rb"\x02iSPc\x07(RSNB|RTIM|NCOT)..\x03", "ask for number, clock, count"),
        Write(rb"\x02iSPc\x0aGLUE.....\x03", "ask for records"),
        Write(rb"\x02iSPc\x0dWTIM........\x03", "set the clock", sets_clock=True),
    ),
    session=_session,
    undated_once=True,
)

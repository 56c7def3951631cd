"""LifeScan OneTouch Ultra2 on its serial cable.

Measures: glucose, with meal and comment; control solution as such.
Modes:    stored records, all of them at every visit; never sends unasked.
Clock:    local time; set behind the download, where the operator allows it.
History:  rereadable; nothing is ever erased here.
Source:   protocols.vendor.lifescan_ultra2.
Tested:   firmware_sim.devices.onetouch_ultra2; no hardware yet.
"""

from collections.abc import AsyncGenerator
from contextlib import suppress
from decimal import Decimal
from typing import TypeVar

from drivers.sdk import (
    Ask,
    Conversation,
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
    Undecoded,
    Unit,
    Value,
    Write,
    clock_to_set,
    undated_once,
)
from protocols.vendor import lifescan_ultra2
from protocols.vendor.lifescan_ultra2 import (
    Clock,
    Decoder,
    DumpHeader,
    Received,
    Record,
    SerialNumber,
    Unreadable,
    Version,
)

_A = TypeVar("_A")
_Meter = Conversation[Received]
_Line = tuple[Record | Unreadable, bytes]

_WAKE_S, _WAKE_ATTEMPTS = 3.0, 6  # it wakes by the first question, and may lose it
_SILENCE_S = 1.0  # behind a dump's last line
_DUMPS = 4


async def _session(link: SerialLink, terms: Terms) -> AsyncGenerator[Event, None]:
    meter = Conversation(link, Decoder())
    serial = await _serial_number(meter)
    version = await meter.ask(_ask("version", lifescan_ultra2.ask_version(), Version))
    yield Identity("LifeScan", "OneTouch Ultra2", serial, version.text)
    shown = await meter.ask(_ask("clock", lifescan_ultra2.ask_clock(), Clock))
    yield DeviceClock(shown.time)
    lines = await _dump(meter, serial)
    # A record does not say whose it is: the plug may hang in another meter.
    if await _serial_number(meter) != serial:
        raise LinkLost("another meter was plugged in")
    records = [_event(line, raw) for line, raw in reversed(lines)]
    for event in undated_once(terms.mark, records):
        yield event
    if (moment := clock_to_set(terms, shown.time)) is not None:
        data = lifescan_ultra2.set_clock(moment)
        found = await meter.ask(_ask("setting of its clock", data, Clock))
        if found.time != DateTime.of(moment):
            raise NoReply(f"it was to show {moment}, and shows {found.time}")


def _ask(name: str, data: bytes, kind: type[_A]) -> Ask[Received, _A]:
    def answer(received: Received) -> _A | None:
        return received.line if isinstance(received.line, kind) else None

    return Ask(name, data, answer)


async def _serial_number(meter: _Meter) -> str:
    question = _ask("serial number", lifescan_ultra2.ask_serial_number(), SerialNumber)
    found = await meter.ask(question, timeout_s=_WAKE_S, attempts=_WAKE_ATTEMPTS)
    return found.text


async def _dump(meter: _Meter, serial: str) -> list[_Line]:
    """Return all records' lines, newest first, and their bytes.

    Raises:
        NoReply: No dump came with as many lines as it announced.
        LinkLost: It is another meter's.
    """
    question = _ask("dump", lifescan_ultra2.ask_dump(), DumpHeader)
    for _ in range(_DUMPS):
        header = await meter.ask(question)
        if header.serial != serial:
            raise LinkLost("another meter was plugged in")
        lines: list[_Line] = []
        with suppress(NoReply):
            while len(lines) <= 2 * header.count:
                received = await meter.hear(_SILENCE_S)
                if isinstance(received.line, Record | Unreadable):
                    lines.append((received.line, received.raw))
        if lines[header.count :] == lines[: header.count]:
            lines = lines[: header.count]  # it heard the question twice
        if len(lines) == header.count:
            return lines
    raise NoReply(f"no dump came whole in {_DUMPS} attempts")


def _event(record: Record | Unreadable, raw: bytes) -> Event:
    if isinstance(record, Unreadable):
        return Undecoded("record", raw, record.problem)
    notes = {}
    if record.meal != "N":
        notes["meal"] = lifescan_ultra2.MEALS[record.meal]
    if record.comment:
        number = record.comment
        notes["comment"] = lifescan_ultra2.COMMENTS.get(number, f"reserved-{number}")
    return Observation(
        kind=Kind.CONTROL_SOLUTION if record.is_control else Kind.GLUCOSE,
        values=(_value(record),),
        device_time=record.time,
        context=tuple(sorted(notes.items())),
        raw=(raw,),
    )


def _value(record: Record) -> Value:
    number, state = None, State.MEASURED
    if record.is_damaged:
        state = State.DEVICE_ERROR
    elif record.mg_per_dl == 0:
        state = State.NO_VALUE
    elif record.mg_per_dl > lifescan_ultra2.HIGHEST:
        state = State.ABOVE_RANGE
    elif record.mg_per_dl < lifescan_ultra2.LOWEST:
        state = State.BELOW_RANGE
    else:
        number = Decimal(record.mg_per_dl)
    return Value(Quantity.GLUCOSE, Unit.MG_PER_DL, number, state)


DRIVER = SerialDriver(
    id="onetouch-ultra2",
    version="1",
    observes=(Kind.GLUCOSE, Kind.CONTROL_SOLUTION),
    baud=9600,
    models=(
        Model(
            "OneTouch Ultra2",
            note="Plug it in switched off, by LifeScan's cable, and leave it off: "
            "switched on by hand it does not answer.",
        ),
    ),
    writes=(
        Write(rb"\x11\rDM[?@FP]\r", "ask for version, serial number, clock, records"),
        Write(rb"\x11\rDMT[\d/ :]{17}\r", "set the clock", sets_clock=True),
    ),
    session=_session,
    undated_once=True,
)

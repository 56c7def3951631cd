"""LifeScan OneTouch Verio IQ on its own USB plug.

Measures: glucose, with meal; control solution as such.
Modes:    stored records, all of them at every visit; never sends unasked.
Clock:    local time; set behind the download, where the operator allows it.
History:  rereadable; nothing is ever erased here.
Source:   protocols.vendor.lifescan_verio.
Tested:   firmware_sim.devices.onetouch_verio_iq; no hardware yet.
"""

from collections.abc import AsyncGenerator, Callable
from typing import TypeVar

from drivers.sdk import (
    Ask,
    Conversation,
    DecodeError,
    DeviceClock,
    Event,
    Identity,
    Kind,
    LinkLost,
    Model,
    NoReply,
    Observation,
    SerialDriver,
    SerialLink,
    Terms,
    Undecoded,
    Write,
    apart,
    clock_to_set,
)
from protocols.errors import Fault
from protocols.vendor import lifescan, lifescan_verio
from protocols.vendor.lifescan import Frame, Link

_A = TypeVar("_A")
_Meter = Conversation[Frame]

_SETTLE_S = 0.05  # no answer says what it answers
_MOST = 10_000  # records


async def _session(link: SerialLink, terms: Terms) -> AsyncGenerator[Event, None]:
    meter = Conversation(link, lifescan.decoder(), settle_s=_SETTLE_S)
    serial = await _serial_number(meter)
    version = await meter.ask(
        _ask("version", lifescan_verio.ask_version(), lifescan_verio.read_version)
    )
    yield Identity("LifeScan", "OneTouch Verio IQ", serial, version)
    shown = await meter.ask(
        _ask("clock", lifescan_verio.ask_clock(), lifescan_verio.read_clock)
    )
    yield DeviceClock(shown)
    messages = await _messages(meter)
    # A record does not say whose it is: the plug may hang in another meter.
    if await _serial_number(meter) != serial:
        raise LinkLost("another meter was plugged in")
    events = [_event(index, message) for index, message in enumerate(messages)]
    refusals = [event for event in events if isinstance(event, str)]
    for event in events:
        if isinstance(event, Undecoded):
            yield event
    seen = [event for event in events if isinstance(event, Observation)]
    for one in apart(reversed(seen)):
        yield one
    if refusals:
        # Before the clock is set: by another one its time would be wrong.
        raise NoReply(f"{refusals[0]}; it is asked for again at the next visit")
    if (moment := clock_to_set(terms, shown)) is not None:
        data = lifescan_verio.set_clock(moment)
        await meter.ask(_ask("setting of its clock", data, _taken))


def _ask(name: str, message: bytes, read: Callable[[bytes], _A]) -> Ask[Frame, _A]:
    data = Frame(Link(0), message).encode()
    return Ask.reading(name, data, lambda frame: read(frame.message))


def _taken(message: bytes) -> bool:
    lifescan_verio.read_clock_set(message)
    return True


async def _serial_number(meter: _Meter) -> str:
    message = lifescan_verio.ask_serial_number()
    return await meter.ask(
        _ask("serial number", message, lifescan_verio.read_serial_number)
    )


async def _messages(meter: _Meter) -> list[bytes]:
    """Return the answers that hold the records, by index."""
    count = await meter.ask(
        _ask("number of records", lifescan_verio.ask_count(), lifescan_verio.read_count)
    )
    if count > _MOST:
        raise NoReply(f"it says that it holds {count} records, which no meter does")
    messages: list[bytes] = []
    for index in range(count):
        data = Frame(Link(0), lifescan_verio.ask_record(index)).encode()
        question = Ask(f"record {index}", data, _record)
        message = await meter.ask(question)
        if messages and message == messages[-1]:
            # Two alike, or one answer that came twice: the next one tells.
            message = await meter.ask(question)
        messages.append(message)
    return messages


def _record(frame: Frame) -> bytes | None:
    """Return the message if it may be a record, or says that there is none."""
    try:
        lifescan_verio.read_record(frame.message)
    except DecodeError as error:
        if error.fault in (Fault.TRUNCATED, Fault.BAD_LENGTH):
            return None
    return frame.message


def _event(index: int, message: bytes) -> Observation | Undecoded | str:
    """Return what a record is, or how the meter refuses it."""
    try:
        record = lifescan_verio.read_record(message)
    except DecodeError as error:
        if error.fault == Fault.DEVICE_ERROR:
            return f"record {index}: '{error.field}' {error.problem}"
        return Undecoded(f"record {index}", message, str(error))
    meal = lifescan_verio.MEALS.get(record.meal or 0, f"reserved-{record.meal}")
    return Observation(
        kind=Kind.CONTROL_SOLUTION if record.is_control else Kind.GLUCOSE,
        values=(lifescan_verio.glucose(record.mg_per_dl),),
        device_time=record.time,
        context=(("meal", meal),) if record.meal else (),
        raw=(message,),
    )


DRIVER = SerialDriver(
    id="onetouch-verio-iq",
    version="1",
    observes=(Kind.GLUCOSE, Kind.CONTROL_SOLUTION),
    baud=38400,
    models=(
        Model(
            "OneTouch Verio IQ",
            usb=((0x10C4, 0x85A7),),
            note="Plug it in by its own USB cable.",
        ),
    ),
    writes=(
        Write(rb"\x02.\x00\x03\x0b\x01\x02\x03..", "ask for the serial number"),
        Write(rb"\x02.\x00\x03\x0d\x01\x03..", "ask for the version"),
        Write(rb"\x02.\x00\x03\x20\x02\x03..", "ask for the clock"),
        Write(rb"\x02.\x00\x03\x27\x00\x03..", "ask for the number of records"),
        Write(rb"\x02.\x00\x03\x21..\x03..", "ask for a record"),
        Write(rb"\x02.\x00\x03\x20\x01....\x03..", "set the clock", sets_clock=True),
    ),
    session=_session,
)

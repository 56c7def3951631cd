"""Ascensia Contour meters on their serial cable.

Measures: glucose, with meal marks; control solution as such.
Modes:    all stored results in one transfer; the meter never sends unasked.
Clock:    local time without seconds; set behind the transfer, where that is allowed.
History:  rereadable; nothing is ever erased here.
Source:   protocols.vendor.ascensia, protocols.vendor.ascensia_records.
Tested:   firmware_sim.devices.contour; no hardware yet.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from datetime import datetime

from drivers.sdk import (
    Ask,
    Conversation,
    Damaged,
    DateTime,
    DecodeError,
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
from protocols.vendor import ascensia, ascensia_records
from protocols.vendor.ascensia import Control, Transfer
from protocols.vendor.ascensia_records import Header, Result

_REPLY_S = 2.0
_ATTEMPTS = 3  # to set the clock
_OUT_OF_COMMANDS = 6  # NAKs until the meter takes commands
_MEALS = {"A": "postprandial", "B": "preprandial", "F": "fasting"}
_LIMITS = {">", "<"}
_SAMPLES = {"B": "undetermined_whole_blood", "P": "undetermined_plasma"}


async def _session(link: SerialLink, terms: Terms) -> AsyncGenerator[Event, None]:
    meter = _Meter(link)
    first = ascensia_records.decode_header(await meter.header())
    yield Identity("Ascensia", first.product, first.serial, first.version)
    if first.time is not None:
        yield DeviceClock(first.time)
    # Decided now: at the end of a long transfer what it showed is no news.
    is_wrong = clock_to_set(terms, first.time) is not None
    message = ascensia_records.decode_message(await meter.records())
    if _name(message.header) != _name(first):
        raise LinkLost("another meter was plugged in")
    records: list[Event] = []
    for sent in message.results:
        try:
            result = ascensia_records.decode_result(
                sent.payload, first.delimiters, is_control=sent.is_control
            )
        except DecodeError as error:
            records.append(Undecoded("result", sent.payload, str(error)))
            continue
        if result.test == ascensia_records.GLUCOSE:  # a diary holds other things too
            records.append(_observation(result, sent.payload))
    for event in undated_once(terms.mark, records):
        yield event
    if is_wrong and terms.set_clock is not None:
        await _set_clock(link, terms.set_clock)


def _name(header: Header) -> tuple[str, str]:
    return header.product, header.serial


def _observation(result: Result, payload: bytes) -> Observation:
    number, state = result.value, State.MEASURED
    if result.above_range or result.below_range:
        state = State.ABOVE_RANGE if result.above_range else State.BELOW_RANGE
    elif number.is_zero():
        state = State.NO_VALUE
    value = Value(
        Quantity.GLUCOSE,
        Unit(result.unit),
        number if state == State.MEASURED else None,
        state,
    )
    sample = _SAMPLES.get(result.reference, f"reference-{result.reference}")
    notes = {"sample": sample}
    for marker in result.markers:
        if marker in _MEALS:
            notes["meal"] = _MEALS[marker]
    if unknown := [one for one in result.markers if one not in {*_MEALS, *_LIMITS}]:
        notes["markers"] = "/".join(unknown)
    return Observation(
        kind=Kind.CONTROL_SOLUTION if result.is_control else Kind.GLUCOSE,
        values=(value,),
        device_time=result.time,
        context=tuple(sorted(notes.items())),
        raw=(payload,),
    )


class _Meter:
    """Hears a transfer as far as it is asked for."""

    def __init__(self, link: SerialLink) -> None:
        self._link = link
        self._decoder, self._transfer = ascensia.decoder(), Transfer()
        self._until = 0.0  # when it has been silent for too long, by the loop's clock

    async def header(self) -> bytes:
        """Return the record that begins the message, as soon as it is there."""
        while (header := self._transfer.header) is None:
            await self._go_on()
        return header

    async def records(self) -> tuple[bytes, ...]:
        """Return all records of the message, once it is there as a whole."""
        while not self._transfer.is_complete:
            await self._go_on()
        return self._transfer.records

    async def _go_on(self) -> None:
        try:
            async with asyncio.timeout_at(self._until):
                events = self._decoder.feed(await self._link.read())
        except TimeoutError:
            events = self._decoder.resync()
            await self._send(self._transfer.nudge())
        for event in events:
            if isinstance(event, Damaged):
                self._link.note(event)
            await self._send(self._transfer.receive(event))
        if self._transfer.problem is not None and not self._transfer.is_complete:
            raise NoReply(self._transfer.problem)

    async def _send(self, data: bytes) -> None:
        if data:
            await self._link.write(data)
            self._until = asyncio.get_running_loop().time() + _REPLY_S


async def _set_clock(link: SerialLink, tell: Callable[[], datetime]) -> None:
    for _ in range(_ATTEMPTS - 1):
        with suppress(NoReply):
            return await _command(link, DateTime.of(tell()))
    return await _command(link, DateTime.of(tell()))


async def _command(link: SerialLink, clock: DateTime) -> None:
    meter = Conversation[ascensia.Event](link, ascensia.decoder(), settle_s=0.05)
    nak, enq = bytes([Control.NAK]), bytes([Control.ENQ])
    name = "setting of its clock"
    await meter.ask(Ask(name, nak, _only(Control.EOT)), attempts=_OUT_OF_COMMANDS)
    await meter.ask(Ask(name, enq, _only(Control.ACK)), attempts=1)
    for command in ascensia.set_clock(clock):
        either = _only(Control.ACK, Control.NAK)
        if await meter.ask(Ask(name, command, either), attempts=1) == Control.NAK:
            break  # an insulin pump owns its clock
    await meter.tell(bytes([Control.EOT]))


def _only(*awaited: Control) -> Callable[[ascensia.Event], Control | None]:
    def answer(event: ascensia.Event) -> Control | None:
        return event if isinstance(event, Control) and event in awaited else None

    return answer


DRIVER = SerialDriver(
    id="contour",
    version="1",
    observes=(Kind.GLUCOSE, Kind.CONTROL_SOLUTION),
    baud=9600,
    models=(
        Model(
            "Contour, Contour TS, Contour Plus, Contour Next EZ",
            usb=((0x1A79, 0x6001),),
            note="Switch the meter off, plug the cable into it; it switches itself on.",
        ),
    ),
    writes=(
        Write(rb"\x04", "have it send what it has stored, or leave its commands"),
        Write(rb"\x06", "acknowledge what it sent"),
        Write(rb"\x15", "have it send again what came damaged"),
        Write(rb"\x05", "have it take commands"),
        Write(rb"[WDT]\||\d{4}(\d\d)?\|\r", "set its clock", sets_clock=True),
    ),
    session=_session,
    undated_once=True,
)

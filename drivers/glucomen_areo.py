"""GlucoMen Areo and GlucoFix Tech GK on their cable.

Measures: glucose and ketone, with marks; it does not tell control solution.
Modes:    stored results, all of them at every visit; never sends unasked.
Clock:    it can't be asked for; set at each visit where the operator allows it.
History:  rereadable; nothing is ever erased here.
Source:   protocols.vendor.glucomen.
Tested:   firmware_sim.devices.glucomen_areo; no hardware yet.
"""

from collections.abc import AsyncGenerator
from typing import TypeAlias

from drivers.sdk import (
    Ask,
    Conversation,
    DateTime,
    DecodeError,
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
    apart,
    clock_to_set,
    undated_once,
)
from protocols.vendor import glucomen
from protocols.vendor.glucomen import Block, Information, Message, Reading, Reply

_Result: TypeAlias = Reading | DecodeError

_GLUCOSE_S = 40.0  # until the largest memory has come, at this speed
_KETONE_S, _KETONE_ATTEMPTS = 15.0, 2
_KINDS = {
    glucomen.GLUCOSE: (Kind.GLUCOSE, Quantity.GLUCOSE),
    glucomen.KETONE: (Kind.KETONE, Quantity.KETONE),
}
_ODD = (glucomen.KETONE, Unit.MG_PER_DL)
_MARKINGS = {
    "01": ("marking", "check_mark"),
    "02": ("meal", "preprandial"),
    "04": ("meal", "postprandial"),
    "08": ("marking", "exercise"),
}


async def _session(link: SerialLink, terms: Terms) -> AsyncGenerator[Event, None]:
    # Its answers do not say what they answer; an empty one fits every question.
    meter = Conversation[Message](link, glucomen.decoder(), settle_s=0.05)
    which = await meter.ask(_INFORMATION)
    yield Identity("Menarini", "", which.serial, which.version)
    glucose = await meter.ask(_GLUCOSE, timeout_s=_GLUCOSE_S)
    ketone: list[_Result] = []
    try:
        ketone = await meter.ask(
            _KETONE, timeout_s=_KETONE_S, attempts=_KETONE_ATTEMPTS
        )
    except NoReply as error:  # a meter without ketone may keep silent
        link.note(error)
    # A result does not say whose it is: the plug may hang in another meter.
    if await meter.ask(_INFORMATION) != which:
        raise LinkLost("another meter was plugged in")
    for event in undated_once(terms.mark, [*map(_event, glucose)]):
        yield event
    for event in apart(map(_event, ketone)):
        yield event
    if (moment := clock_to_set(terms, None)) is not None:
        data = glucomen.set_clock(DateTime.of(moment))
        if await meter.ask(Ask("setting of its clock", data, _reply)) != Reply.DONE:
            raise NoReply("it refuses to have its clock set")


def _information(message: Message) -> Information | None:
    if not isinstance(message, Block):
        return None
    try:
        return glucomen.decode_information(message)
    except DecodeError:
        return None


def _results(name: str, data: bytes, test: str) -> Ask[Message, list[_Result]]:
    def answer(message: Message) -> list[_Result] | None:
        if not isinstance(message, Block) or _information(message) is not None:
            return None
        results = list(glucomen.decode_readings(message))
        tests = {one.test for one in results if isinstance(one, Reading)}
        return results if tests <= {test} else None

    return Ask(name, data, answer)


def _reply(message: Message) -> Reply | None:
    return message if isinstance(message, Reply) else None


def _event(reading: _Result) -> Event:
    if isinstance(reading, DecodeError):
        line, _, _ = reading.data[reading.offset :].partition(b"\r\n")
        return Undecoded("result", line, f"'{reading.field}' {reading.problem}")
    if (reading.test, reading.unit) == _ODD:
        # How a meter in mg/dL would tell a ketone is not known, nor by which factor.
        unit = f"{reading.unit}, which is no unit of {reading.test} known here"
        return Undecoded("result", reading.line, f"'unit' is {unit}")
    kind, quantity = _KINDS[reading.test]
    state = State.MEASURED
    if reading.value is None:
        state = State.ABOVE_RANGE if reading.above_range else State.BELOW_RANGE
    number = reading.value
    if quantity is Quantity.GLUCOSE and number == 0:
        number, state = None, State.NO_VALUE
    marking = _MARKINGS.get(reading.marking, ("marking", reading.marking))
    return Observation(
        kind=kind,
        values=(Value(quantity, Unit(reading.unit), number, state),),
        device_time=reading.time,
        context=() if reading.marking == "00" else (marking,),
        raw=(reading.line,),
    )


_INFORMATION = Ask("information", glucomen.ask_information(), _information)
_GLUCOSE = _results("glucose results", glucomen.ask_glucose(), glucomen.GLUCOSE)
_KETONE = _results("ketone results", glucomen.ask_ketone(), glucomen.KETONE)

DRIVER = SerialDriver(
    id="glucomen-areo",
    version="1",
    observes=(Kind.GLUCOSE, Kind.KETONE),
    baud=9600,
    parity="odd",
    models=(
        Model("GlucoMen Areo, GlucoMen Areo 2K", usb=((0x10C4, 0xEA60),)),
        Model("GlucoFix Tech GK", usb=((0x10C4, 0xEA60),)),
    ),
    writes=(
        Write(rb"\xa2", "ask for the information"),
        Write(rb"\x80", "ask for the glucose results"),
        Write(rb"\xa8", "ask for the ketone results"),
        Write(
            rb"\xc2\xa1\[\r\n\d{10}\r\n..\r\n\]\r\n", "set its clock", sets_clock=True
        ),
    ),
    session=_session,
    undated_once=True,
)

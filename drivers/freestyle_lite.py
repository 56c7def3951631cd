"""Abbott FreeStyle Lite, Freedom Lite and Mini on their serial cable.

Measures: glucose; control solution as such, by a flag known from one source.
Modes:    the whole memory in one answer; never sends unasked.
Clock:    local time, as it was when the answer began; can't be set.
History:  rereadable, without seconds; nothing is ever erased here.
Source:   protocols.vendor.abbott_text.
Tested:   firmware_sim.devices.freestyle_lite; no hardware yet.
"""

from collections.abc import AsyncGenerator
from decimal import Decimal

from drivers.sdk import (
    Ask,
    Conversation,
    DecodeError,
    DeviceClock,
    Event,
    Identity,
    Kind,
    Model,
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
    undated_once,
)
from protocols.vendor import abbott_text
from protocols.vendor.abbott_text import Flag, Log, Result

_ANSWER_S = 25.0  # 1,000 results take 17 s


async def _session(link: SerialLink, terms: Terms) -> AsyncGenerator[Event, None]:
    meter = Conversation(link, abbott_text.log_decoder())
    question: Ask[Log, Log] = Ask(
        "memory", abbott_text.ASK_MEMORY_LITE, lambda log: log
    )
    # One answer with one sum: it can't be half another meter's.
    log = await meter.ask(question, timeout_s=_ANSWER_S)
    yield Identity("Abbott", "FreeStyle Lite", log.serial, log.version)
    yield DeviceClock(log.clock)
    records = [_event(line) for line in reversed(log.results)]
    for event in undated_once(terms.mark, records):
        yield event


def _event(line: bytes) -> Event:
    try:
        result = abbott_text.decode_lite_result(line)
    except DecodeError as error:
        return Undecoded("result", line, str(error))
    is_control = Flag.CONTROL_SOLUTION in result.flags
    return Observation(
        kind=Kind.CONTROL_SOLUTION if is_control else Kind.GLUCOSE,
        values=(_value(result),),
        device_time=result.time,
        status=("time_fault",) if Flag.CLOCK_LOST in result.flags else (),
        raw=(line,),
    )


def _value(result: Result) -> Value:
    number, state = None, State.NO_VALUE
    if result.above_range:
        state = State.ABOVE_RANGE
    elif result.below_range:
        state = State.BELOW_RANGE
    elif result.value:
        number, state = Decimal(result.value), State.MEASURED
    return Value(Quantity.GLUCOSE, Unit.MG_PER_DL, number, state)


_CABLE = ((0x1A61, 0x3410),)

DRIVER = SerialDriver(
    id="freestyle-lite",
    version="1",
    observes=(Kind.GLUCOSE, Kind.CONTROL_SOLUTION),
    baud=19200,
    models=(
        Model("FreeStyle Lite", usb=_CABLE),
        Model("FreeStyle Freedom Lite", usb=_CABLE),
        Model("FreeStyle Mini", usb=_CABLE),
    ),
    writes=(Write(rb"mem", "ask for the whole memory"),),
    session=_session,
    undated_once=True,
)

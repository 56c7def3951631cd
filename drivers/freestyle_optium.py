"""Abbott FreeStyle Optium and Precision Xtra on their strip-port cable.

Measures: glucose, ketone; control solution as such, by a flag known from one source.
Modes:    the whole memory in one answer; never sends unasked.
Clock:    local time; set to the minute if allowed, when all is read.
History:  rereadable, without seconds; nothing is ever erased here.
Source:   protocols.vendor.abbott_text.
Tested:   firmware_sim.devices.freestyle_optium; no hardware yet.
"""

from collections.abc import AsyncGenerator
from datetime import datetime, timedelta
from decimal import Decimal

from drivers.sdk import (
    Ask,
    Conversation,
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
from protocols.vendor import abbott_text
from protocols.vendor.abbott_text import Flag, Information, Log, Result

_ANSWER_S = 25.0  # 1,000 results take 17 s
_WAKE_ATTEMPTS = 8  # the first question is often ignored
_SETTLE_S = 0.05
_MINUTE = timedelta(minutes=1)
_KINDS = {
    "G": (Kind.GLUCOSE, Quantity.GLUCOSE, Unit.MG_PER_DL),
    "K": (Kind.KETONE, Quantity.KETONE, Unit.MMOL_PER_L),
}


async def _session(link: SerialLink, terms: Terms) -> AsyncGenerator[Event, None]:
    awake = await _information(link)
    meter = Conversation(link, abbott_text.log_decoder())
    question: Ask[Log, Log] = Ask("memory", abbott_text.ASK_MEMORY, lambda log: log)
    # One answer with one sum: it can't be half another meter's.
    log = await meter.ask(question, timeout_s=_ANSWER_S)
    if log.serial != awake.serial:
        raise LinkLost("another meter was plugged in")
    yield Identity("Abbott", "FreeStyle Optium", log.serial, log.version)
    yield DeviceClock(log.clock)
    records = [_event(line) for line in reversed(log.results)]
    for event in undated_once(terms.mark, records):
        yield event
    if (now := clock_to_set(terms, log.clock)) is not None:
        await _set_clock(link, now)


async def _information(link: SerialLink) -> Information:
    meter = Conversation(link, abbott_text.information_decoder())
    question: Ask[Information, Information] = Ask(
        "information", abbott_text.ASK_INFORMATION, lambda told: told
    )
    return await meter.ask(question, attempts=_WAKE_ATTEMPTS)


async def _set_clock(link: SerialLink, now: datetime) -> None:
    """Set the clock to the nearest minute, for it takes no seconds."""
    wanted = (now + _MINUTE / 2).replace(second=0, microsecond=0)
    meter = Conversation(link, abbott_text.done_decoder(), settle_s=_SETTLE_S)
    question: Ask[bool, bool] = Ask(
        "setting of its clock",
        abbott_text.set_clock(DateTime.of(wanted)),
        lambda is_done: is_done or None,
    )
    await meter.ask(question)
    shown = (await _information(link)).clock
    moment = shown.moment
    if moment is None or abs(moment - wanted) > _MINUTE:
        raise NoReply(f"its clock was to show {wanted}, and shows {shown}")


def _event(line: bytes) -> Event:
    try:
        result = abbott_text.decode_optium_result(line)
    except DecodeError as error:
        return Undecoded("result", line, str(error))
    kind, quantity, unit = _KINDS[result.type]
    is_control = Flag.CONTROL_SOLUTION in result.flags
    is_ketone = kind == Kind.KETONE and result.value is not None
    return Observation(
        kind=Kind.CONTROL_SOLUTION if is_control else kind,
        values=(_value(result, quantity, unit),),
        device_time=result.time,
        status=("time_fault",) if Flag.CLOCK_LOST in result.flags else (),
        context=(("raw-number", str(result.value)),) if is_ketone else (),
        raw=(line,),
    )


def _value(result: Result, quantity: Quantity, unit: Unit) -> Value:
    number, state = None, State.MEASURED
    if result.value is None:
        state = State.ABOVE_RANGE if result.above_range else State.BELOW_RANGE
    elif quantity == Quantity.KETONE:
        number = abbott_text.ketone_mmol_per_l(result.value)
    elif result.value:
        number = Decimal(result.value)
    else:
        state = State.NO_VALUE
    return Value(quantity, unit, number, state)


_CABLE = ((0x1A61, 0x3420),)
_NOTE = "Plug the cable into the strip port, until the display shows PC."

DRIVER = SerialDriver(
    id="freestyle-optium",
    version="1",
    observes=(Kind.GLUCOSE, Kind.KETONE, Kind.CONTROL_SOLUTION),
    baud=19200,
    models=(
        Model("FreeStyle Optium", usb=_CABLE, note=_NOTE),
        Model("Precision Xtra", usb=_CABLE, note=_NOTE),
    ),
    writes=(
        Write(rb"\$(colq|xmem)\r\n", "ask who it is, and for the whole memory"),
        Write(rb"\$tim(,\d\d){5}\r\n", "set the clock", sets_clock=True),
    ),
    session=_session,
    undated_once=True,
)

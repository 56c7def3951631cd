"""Bioland G-500 and other Bioland-BGM meters of protocol 2, 3.1 and 3.2.

Measures: glucose. The meter does not tell control solution from blood.
Modes:    stored results, all of them at each visit; told oldest first.
Clock:    local time without seconds; it can't be read, and each question sets it,
          so that nothing is asked unless that is allowed.
History:  rereadable; nothing is ever erased here.
Source:   protocols.vendor.bioland.
Tested:   firmware_sim.devices.bioland; no hardware yet.
"""

from collections.abc import AsyncGenerator, Callable
from datetime import datetime
from decimal import Decimal

from drivers.sdk import (
    Ask,
    Conversation,
    DateTime,
    DecodeError,
    Event,
    GattDriver,
    GattLink,
    GattStream,
    Identity,
    Kind,
    LinkLost,
    Model,
    NoReply,
    Observation,
    Quantity,
    State,
    Terms,
    Undecoded,
    Unit,
    Value,
    Write,
    undated_once,
)
from protocols.gatt.uuid import sig
from protocols.vendor import bioland
from protocols.vendor.bioland import Category, Frame, Result

_SERVICE, _WRITE, _NOTIFY = sig(0x1000), sig(0x1001), sig(0x1002)
_SETTLE_S = 0.05
_RESULT_S = 5.0
_MOST_RESULTS = 10_000
_NOT_ALLOWED = (
    "a Bioland can be read only by setting its clock; allow that with "
    "set_clock = true for this device"
)


async def _session(link: GattLink, terms: Terms) -> AsyncGenerator[Event, None]:
    if not link.has(_NOTIFY):
        raise NoReply("the device has nothing that bioland reads")
    if terms.set_clock is None:
        raise NoReply(_NOT_ALLOWED)
    await link.subscribe(_NOTIFY)
    stream = GattStream(link, _WRITE, _NOTIFY)
    meter = Conversation(stream, bioland.decoder(), settle_s=_SETTLE_S)
    now = DateTime.of(terms.set_clock())
    info = bioland.decode_info(
        await meter.ask(Ask("information", bioland.ask_info(now), _info))
    )
    yield Identity(
        manufacturer="Bioland",
        serial=info.serial,
        firmware=f"protocol {info.version}",
    )
    results: list[Frame] = []
    failure: Exception | None = None
    try:
        await _download(meter, terms.set_clock, results)
    except (LinkLost, NoReply) as error:
        failure = error  # what came before is right all the same
    events = [_event(frame, results[0].added) for frame in _oldest_first(results)]
    for event in undated_once(terms.mark, events, is_whole=failure is None):
        yield event
    if failure is not None:
        raise failure


async def _download(
    meter: Conversation[Frame], clock: Callable[[], datetime], found: list[Frame]
) -> None:
    """Add all results to ``found``, in the meter's order.

    No answer says which result it is, and each question moves on to the next, so
    none is asked twice: what got lost would be missing unseen.

    Raises:
        NoReply: An answer did not come, or the meter does not come to an end.
        LinkLost: The connection is gone.
    """
    while len(found) < _MOST_RESULTS:
        question = bioland.ask_result(DateTime.of(clock()))
        name = f"question for result {len(found) + 1}"
        frame = await meter.ask(
            Ask(name, question, _result_or_end), timeout_s=_RESULT_S, attempts=1
        )
        if frame.category != Category.RESULT:
            return
        found.append(frame)
    raise NoReply(f"after {_MOST_RESULTS} results the meter has still more")


def _info(frame: Frame) -> bytes | None:
    return frame.data if frame.category == Category.INFO else None


def _result_or_end(frame: Frame) -> Frame | None:
    return frame if frame.category in (Category.RESULT, Category.END) else None


def _oldest_first(frames: list[Frame]) -> list[Frame]:
    """Turn round what does not begin with the oldest; no document says what does."""
    times = [frame.data[:5] for frame in frames]
    return frames[::-1] if times and times[0] >= times[-1] else frames


def _event(frame: Frame, added: int) -> Event:
    raw = frame.encode()
    if frame.added != added:  # one meter adds the same to all of them
        problem = f"its sum has {frame.added} too much, that of others {added}"
        return Undecoded("result", raw, problem)
    try:
        result = bioland.decode_result(frame.data)
    except DecodeError as error:
        return Undecoded("result", raw, str(error))
    return Observation(
        kind=Kind.GLUCOSE,
        values=(_value(result),),
        device_time=result.time,
        context=() if _is_known(result) else (("raw-number", str(result.raw)),),
        raw=(raw,),
    )


def _is_known(result: Result) -> bool:
    """Whether its number is nothing, HI, LO, or one between these two.

    What is not can't be measured either, for it would be HI, or LO.
    """
    return result.raw == 0 or bioland.LOW <= result.raw <= bioland.HIGH


def _value(result: Result) -> Value:
    number, state = result.mg_per_dl, State.MEASURED
    if number is None:
        state = State.ABOVE_RANGE if result.above_range else State.BELOW_RANGE
    elif number == 0:
        number, state = None, State.NO_VALUE
    elif not _is_known(result):
        state = State.ABOVE_RANGE if number > bioland.HIGH else State.BELOW_RANGE
        number = None
    sent = None if number is None else Decimal(number)
    return Value(Quantity.GLUCOSE, Unit.MG_PER_DL, sent, state)


DRIVER = GattDriver(
    id="bioland",
    version="1",
    service=_SERVICE,
    observes=(Kind.GLUCOSE,),
    models=(
        Model(
            "Bioland G-500",
            ("Bioland-BGM",),
            note="Reading it sets its clock: it needs set_clock = true.",
        ),
    ),
    writes=(
        Write(rb"\x5a\x0a\0.{7}", "ask for the information", _WRITE, sets_clock=True),
        Write(rb"\x5a\x0a\x03.{7}", "ask for a result", _WRITE, sets_clock=True),
    ),
    session=_session,
    undated_once=True,
    pairs=False,
)

"""SD Biosensor SD CodeFree on its serial cable.

Measures: glucose, with meal. The meter does not tell control solution from blood.
Modes:    stored records, all of them each time it is switched on with the cable in.
Clock:    local time without seconds; never told, and never set here.
History:  rereadable; nothing is ever erased here.
Source:   protocols.vendor.sdbiosensor.
Tested:   firmware_sim.devices.sd_codefree; no hardware yet.
"""

from collections.abc import AsyncGenerator
from decimal import Decimal

from drivers.sdk import (
    Ask,
    Conversation,
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
    Terms,
    Undecoded,
    Unit,
    Value,
    Write,
    apart,
)
from protocols.vendor import sdbiosensor
from protocols.vendor.sdbiosensor import Direction, Frame, Meal

_SWITCHED_ON_S = 100.0
_SETTLE_S = 0.05
_MOST_MISSED = 3  # in a row
_AGAIN = "switch the meter off and on again"
_MEALS = {Meal.BEFORE: "preprandial", Meal.AFTER: "postprandial"}


async def _session(link: SerialLink, _: Terms) -> AsyncGenerator[Event, None]:
    meter = Conversation(link, sdbiosensor.decoder(), settle_s=_SETTLE_S)
    while await meter.hear(_SWITCHED_ON_S) != _told(sdbiosensor.HELLO):
        pass
    hello = sdbiosensor.answer_hello().encode()
    # Told once: a frame that the meter does not expect makes it show E-5.
    count = await meter.ask(Ask("count", hello, _count), attempts=1)
    yield Identity("SD Biosensor", "SD CodeFree")
    records = await _records(meter, count)
    seen: list[Observation] = []
    for message in reversed(records):
        try:
            seen.append(_observation(message))
        except DecodeError as error:
            yield Undecoded("record", message, str(error))
    for one in apart(seen):
        yield one
    if len(records) != count:
        raise NoReply(f"{len(records)} of {count} records came; {_AGAIN}")


async def _records(meter: Conversation[Frame], count: int) -> list[bytes]:
    """Return what comes, newest first, until the meter says that it was the last.

    Each fetch moves on to the next record, also if its answer gets lost. What was
    lost comes again when the meter is switched on again.
    """
    question = Ask("next record", sdbiosensor.fetch().encode(), _message)
    records: list[bytes] = []
    missed = 0
    while missed < _MOST_MISSED:
        try:
            message = await meter.ask(question, attempts=1)
        except NoReply:
            missed += 1
            continue
        missed = 0
        if message == sdbiosensor.GOODBYE:
            break
        if message == sdbiosensor.HELLO:
            raise LinkLost("another meter was switched on")
        if len(records) == count:
            raise NoReply(f"more than {count} records came; {_AGAIN}")
        records.append(message)
    return records


def _told(message: bytes) -> Frame:
    return Frame(Direction.METER, message)


def _message(frame: Frame) -> bytes | None:
    return frame.message if frame.direction == Direction.METER else None


def _count(frame: Frame) -> int | None:
    try:
        return sdbiosensor.decode_count(_message(frame) or b"")
    except DecodeError:
        return None


def _observation(message: bytes) -> Observation:
    record = sdbiosensor.decode_record(message)
    value = Value(Quantity.GLUCOSE, Unit.MG_PER_DL, Decimal(record.mg_per_dl))
    meal = _MEALS.get(record.meal)
    return Observation(
        kind=Kind.GLUCOSE,
        values=(value,),
        device_time=record.time,
        context=(("meal", meal),) if meal else (),
        raw=(message,),
    )


DRIVER = SerialDriver(
    id="sd-codefree",
    version="1",
    observes=(Kind.GLUCOSE,),
    baud=38400,
    models=(
        Model(
            "SD CodeFree",
            usb=((0x10C4, 0xEA60),),
            note="Plug the cable in, then switch the meter on. If it shows E-5, "
            f"{_AGAIN}. Results of control solution come as a person's.",
        ),
    ),
    writes=(
        Write(rb"\x53\x10\x04\x10\x40\x50\xaa", "answer that the station is there"),
        Write(rb"\x53\x10\x04\x10\x60\x70\xaa", "ask for the next record, or leave"),
    ),
    session=_session,
)

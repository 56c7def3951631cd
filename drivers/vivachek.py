"""VivaChek Ino Smart, Keto-Mojo GK+ and other meters with VivaChek's own service.

Measures: glucose and ketone; control solution as such.
Modes:    stored records, all of them at each visit; told oldest first.
Clock:    local time without seconds; it can't be read, and is set at each visit
          if that is allowed, when all is read.
History:  rereadable; nothing is ever erased here.
Source:   protocols.vendor.vivachek.
Tested:   firmware_sim.devices.vivachek; no hardware yet.
"""

from collections.abc import AsyncGenerator
from uuid import UUID

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
    clock_to_set,
    undated_once,
)
from protocols.vendor import vivachek
from protocols.vendor.vivachek import Command, Frame, Mark, Record, Side

_SERVICE = UUID("0003cdd0-0000-1000-8000-00805f9b0131")
_NOTIFY = UUID("0003cdd1-0000-1000-8000-00805f9b0131")
_WRITE = UUID("0003cdd2-0000-1000-8000-00805f9b0131")
_SETTLE_S = 0.05
_RECORD_S = 5.0
_DOWNLOADS = 3
_HIGHEST_GLUCOSE = 600  # mg/dL; above it these meters show HI

_Meter = Conversation[Frame]


async def _session(link: GattLink, terms: Terms) -> AsyncGenerator[Event, None]:
    if not link.has(_NOTIFY):
        raise NoReply("the device has nothing that vivachek reads")
    await link.subscribe(_NOTIFY)
    stream = GattStream(link, _WRITE, _NOTIFY)
    meter = Conversation(stream, vivachek.decoder(), settle_s=_SETTLE_S)
    serial = await _ask(meter, "serial number", vivachek.ask(Command.SERIAL))
    version = await _ask(meter, "version", vivachek.ask(Command.VERSION))
    yield Identity(
        manufacturer="VivaChek",
        serial=vivachek.decode_text(serial),
        firmware=vivachek.decode_text(version),
    )
    vivachek.check_ready(await _ask(meter, "readiness", vivachek.ask(Command.READY)))
    events = [_event(frame) for frame in _oldest_first(await _download(meter, link))]
    for event in undated_once(terms.mark, events):
        yield event
    if (now := clock_to_set(terms, None)) is not None:
        request = vivachek.set_clock(DateTime.of(now))
        await _ask(meter, "setting of the clock", request, Mark.DONE)


async def _ask(
    meter: _Meter, name: str, request: Frame, mark: Mark = Mark.ANSWER
) -> bytes:
    """Return the data that ``request`` is answered with."""

    def answer(frame: Frame) -> bytes | None:
        expected = Frame(request.command, mark, frame.data, Side.METER)
        return frame.data if frame == expected else None

    return await meter.ask(Ask(name, request.encode(), answer))


async def _download(meter: _Meter, link: GattLink) -> list[Frame]:
    """Return the frames of all records, in the meter's order.

    Raises:
        NoReply: As often as asked for, others came than were announced.
    """
    before: list[Frame] = []
    for _ in range(_DOWNLOADS):
        count = vivachek.decode_count(
            await _ask(meter, "record count", vivachek.ask(Command.COUNT))
        )
        if not count:
            return []
        found, is_whole = await _records(meter, link, count)
        if len(found) == count or (is_whole and found == before):
            return found
        before = found
    raise NoReply(f"{count} records were announced, and {len(found)} came")


async def _records(
    meter: _Meter, link: GattLink, most: int
) -> tuple[list[Frame], bool]:
    """Ask for all records; return what comes, and whether it came to its end."""
    await meter.settle()
    await meter.tell(vivachek.ask(Command.ALL_RECORDS).encode())
    found: list[Frame] = []
    while len(found) <= most:
        try:
            frame = await meter.hear(_RECORD_S)
        except NoReply:
            break
        match frame:
            case Frame(Command.ALL_RECORDS, Mark.ANSWER, _, Side.METER):
                found.append(frame)
            case Frame(Command.RECORDS_END, Mark.SET, _, Side.METER):
                return found, True
            case _:
                link.note(frame)
    return found, False


def _oldest_first(frames: list[Frame]) -> list[Frame]:
    """Turn round what does not begin with the oldest; no document says what does."""
    times = [frame.data[:5] for frame in frames]
    return frames[::-1] if times and times[0] >= times[-1] else frames


def _event(frame: Frame) -> Event:
    try:
        record = vivachek.decode_record(frame.data)
    except DecodeError as error:
        return Undecoded("record", frame.encode(), str(error))
    kind = Kind.KETONE if record.is_ketone else Kind.GLUCOSE
    return Observation(
        kind=Kind.CONTROL_SOLUTION if record.is_control else kind,
        values=(_value(record),),
        device_time=record.time,
        context=tuple(sorted(_context(record).items())),
        raw=(frame.encode(),),
    )


def _value(record: Record) -> Value:
    quantity = Quantity.KETONE if record.is_ketone else Quantity.GLUCOSE
    unit = Unit.MMOL_PER_L if record.is_ketone else Unit.MG_PER_DL
    if not record.value and not record.is_ketone:
        return Value(quantity, unit, None, State.NO_VALUE)
    if _is_high(record):
        return Value(quantity, unit, None, State.ABOVE_RANGE)
    return Value(quantity, unit, record.number)


def _is_high(record: Record) -> bool:
    """Whether its number is none, but stands for HI; which one does is not known."""
    return not record.is_ketone and record.value > _HIGHEST_GLUCOSE


def _context(record: Record) -> dict[str, str]:
    context = {}
    if _is_high(record):
        context["raw-number"] = str(record.value)
    if record.meal:
        context["meal"] = record.meal_name or f"reserved-{record.meal}"
    if record.kind in (vivachek.Kind.GLUCOSE_GKI, vivachek.Kind.KETONE_GKI):
        context["taken-for"] = "glucose-ketone-index"
    return context


DRIVER = GattDriver(
    id="vivachek",
    version="1",
    service=_SERVICE,
    observes=(Kind.GLUCOSE, Kind.KETONE, Kind.CONTROL_SOLUTION),
    models=(
        Model("VivaChek Ino Smart", note="It advertises the service data 78AC."),
        Model("Keto-Mojo GK+", ("Keto-Mojo",)),
    ),
    writes=(
        Write(
            rb"\x7b\x01\x10\x01\x20[\x66\x77\xaa\xdb]\x55\0\0....\x7d",
            "ask for serial number, version, readiness, count",
            _WRITE,
        ),
        Write(
            rb"\x7b\x01\x10\x01\x20\xdd\x55\0\0....\x7d", "ask for all records", _WRITE
        ),
        Write(
            rb"\x7b\x01\x10\x01\x20\x44\x66\0\x06.{6}....\x7d",
            "set the clock",
            _WRITE,
            sets_clock=True,
        ),
    ),
    session=_session,
    undated_once=True,
    pairs=False,
)

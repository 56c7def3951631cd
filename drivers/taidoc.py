"""TaiDoc, FORA and GlucoRx meters and cuffs with TaiDoc's own service.

Measures: glucose, ketone, what else their strips measure, blood pressure; control
          solution of glucose as such.
Modes:    stored records by index, the newest first; told oldest first.
Clock:    local time without seconds; set if allowed, when all is read.
History:  rereadable; nothing is ever erased here.
Source:   protocols.vendor.taidoc, protocols.vendor.taidoc_records.
Tested:   firmware_sim.devices.taidoc; no hardware yet.
"""

from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from uuid import UUID

from drivers.sdk import (
    Ask,
    Checkpoint,
    Conversation,
    DateTime,
    DecodeError,
    DeviceClock,
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
    Which,
    Write,
    apart,
    clock_to_set,
    ends_with,
    filling_of,
    fillings_now,
    mark_of,
    marked,
    quirk,
)
from protocols.vendor import taidoc, taidoc_records
from protocols.vendor.taidoc import Command, Frame, Sender
from protocols.vendor.taidoc_records import (
    Analyte,
    BloodPressure,
    Meal,
    RecordTime,
    Strip,
)

_SERVICE = UUID("00001523-1212-efde-1523-785feabcd123")
_CHARACTERISTIC = UUID("00001524-1212-efde-1523-785feabcd123")
_SETTLE_S = 0.05
_MOST_RECORDS = 10_000
_BLOCK = 32  # records between two looks at whether they have moved on
_KNOWN = 4  # of the newest records, by which the next visit knows them again
_HIGHEST_GLUCOSE = 600  # mg/dL; above it these meters show HI

_PAIR = "It is paired with once: confirm it on the device if it asks."

_MEALS = {Meal.BEFORE: "preprandial", Meal.AFTER: "postprandial"}
_ANALYTES = {
    Analyte.GLUCOSE: (Kind.GLUCOSE, Quantity.GLUCOSE, Unit.MG_PER_DL),
    Analyte.KETONE: (Kind.KETONE, Quantity.KETONE, Unit.MMOL_PER_L),
    Analyte.HEMATOCRIT: (Kind.BLOOD_ANALYTE, Quantity.HEMATOCRIT, Unit.PERCENT),
    Analyte.HEMOGLOBIN: (Kind.BLOOD_ANALYTE, Quantity.HEMOGLOBIN, Unit.G_PER_DL),
    Analyte.URIC_ACID: (Kind.BLOOD_ANALYTE, Quantity.URIC_ACID, Unit.MG_PER_DL),
    Analyte.CHOLESTEROL: (Kind.BLOOD_ANALYTE, Quantity.CHOLESTEROL, Unit.MG_PER_DL),
    Analyte.LACTATE: (Kind.BLOOD_ANALYTE, Quantity.LACTATE, Unit.MMOL_PER_L),
    Analyte.TRIGLYCERIDES: (Kind.BLOOD_ANALYTE, Quantity.TRIGLYCERIDES, Unit.MG_PER_DL),
}


@dataclass(frozen=True, slots=True)
class _Family:
    """What a model's records are, and whose.

    Attributes:
        has_strips: There are records of test strips among them.
        has_pressures: There are records of a cuff among them.
        users: The users that it keeps apart; 0 is all there is.
    """

    has_strips: bool
    has_pressures: bool
    users: tuple[int, ...] = (0,)

    @property
    def keeps_users(self) -> bool:
        """Its records belong to users, 1 and up."""
        return self.users != (0,)


_UNKNOWN = _Family(has_strips=False, has_pressures=False)
_QUIRKS: tuple[tuple[Which, _Family], ...] = (
    (Which(model="TD-4???"), _Family(has_strips=True, has_pressures=False)),
    (Which(model="TD-31??"), _Family(has_strips=False, has_pressures=True)),
    (
        Which(model="TD-32??"),
        _Family(has_strips=True, has_pressures=True, users=(1, 2, 3, 4)),
    ),
)


@dataclass(frozen=True, slots=True)
class _Record:
    """One record as it came: the answers to both questions."""

    time: Frame
    value: Frame

    @property
    def clock(self) -> RecordTime:
        """Its time, as far as it is the same at every visit."""
        return taidoc_records.decode_record_time(self.time.data)

    @property
    def facts(self) -> bytes:
        """What of it is the same at every visit."""
        return str(self.clock).encode() + self.value.data


async def _session(link: GattLink, terms: Terms) -> AsyncGenerator[Event, None]:
    if not link.has(_CHARACTERISTIC):
        raise NoReply("the device has nothing that taidoc reads")
    await link.subscribe(_CHARACTERISTIC)
    device = _Device(link)
    identity = await device.identify()
    yield identity
    family = quirk(_QUIRKS, identity, _UNKNOWN)
    if family is _UNKNOWN:
        raise NoReply(f"a {identity.model} measures nothing that taidoc reads")
    yield DeviceClock(await device.clock())
    mark = terms.mark or 0
    walked, failure = await _walk(device, family, mark)
    newest, count = walked.get(0, [])[:_KNOWN], device.counted
    if not family.keeps_users:
        walked = {0: _to_tell(walked[0], count, mark, is_whole=failure is None)}
    fillings = fillings_now(mark, walked.values()) if family.keeps_users else 0
    if family.keeps_users and fillings != mark:
        yield Checkpoint(fillings)
    for event in _events(walked, family, fillings):
        yield event
    if failure is not None:
        raise failure
    if not family.keeps_users:
        facts = [record.facts for record in newest]
        yield Checkpoint(mark_of(facts, count) if facts else 0)
    if (now := clock_to_set(terms, await device.clock())) is not None:
        await device.set_clock(DateTime.of(now))


async def _walk(
    device: "_Device", family: _Family, mark: int | None
) -> tuple[dict[int, list[_Record]], Exception | None]:
    """Return each user's records, newest first, and what cut that short."""
    walked: dict[int, list[_Record]] = {user: [] for user in family.users}
    try:
        for user, records in walked.items():
            await device.walk(user, None if family.keeps_users else mark, records)
    except (LinkLost, NoReply) as error:
        if family.keeps_users:
            raise  # nobody knows yet whether it really does
        return walked, error
    facts = [[one.facts for one in records] for records in walked.values()]
    if family.keeps_users and facts[0] and facts.count(facts[0]) == len(facts):
        return {0: walked[1]}, None  # it takes no notice of the user
    return walked, None


class _Device:
    """Asks a device one question at a time. Its answers name only their command.

    Attributes:
        counted: How many records it last said that it has.
    """

    def __init__(self, link: GattLink) -> None:
        self.counted = 0
        stream = GattStream(link, _CHARACTERISTIC, _CHARACTERISTIC)
        self._talk = Conversation(stream, taidoc.decoder(), settle_s=_SETTLE_S)

    async def identify(self) -> Identity:
        """Return its model and serial number."""
        model = await self._ask("model", taidoc.ask(Command.MODEL))
        first = await self._ask("serial number", taidoc.ask(Command.SERIAL_FIRST))
        last = await self._ask("serial number", taidoc.ask(Command.SERIAL_LAST))
        return Identity(
            manufacturer="TaiDoc",
            model=f"TD-{taidoc.decode_model(model.data)}",
            serial=taidoc.decode_serial(first.data, last.data),
        )

    async def clock(self) -> DateTime:
        """Return what its clock shows."""
        answer = await self._ask("clock", taidoc.ask(Command.READ_CLOCK))
        return taidoc.decode_clock(answer.data)

    async def set_clock(self, time: DateTime) -> None:
        """Set its clock, and see that it did."""
        answer = await self._ask("setting of the clock", taidoc.set_clock(time))
        if (shown := taidoc.decode_clock(answer.data)) != time._replace(second=0):
            raise NoReply(f"its clock was set to {time}, and it shows {shown}")

    async def walk(self, user: int, mark: int | None, walked: list[_Record]) -> None:
        """Add a user's records, newest first, as far back as they may be new.

        A time and a value are two answers, and neither says of which record: they
        count only once it is seen that the records have not moved on meanwhile.

        Raises:
            NoReply: It does not answer, or the records have moved on.
            LinkLost: The connection is gone.
        """
        count = await self._count(user)
        seen: list[_Record] = []
        new: int | None = None  # how many there are, once that is known
        while len(seen) < count:
            seen.append(await self._record(len(seen), user))
            if new is None:
                new = _new(seen, count, mark)
            if new == 0 or (new and seen[-1].clock.time != seen[new - 1].clock.time):
                break  # the oldest new one's twins of the same minute are there too
            if len(seen) % _BLOCK == 0:
                await self._confirm(count, user, seen, walked)
        if seen:
            await self._confirm(count, user, seen, walked)

    async def _confirm(
        self, count: int, user: int, seen: list[_Record], walked: list[_Record]
    ) -> None:
        newest = await self._record(0, user)
        if await self._count(user) != count or newest.facts != seen[0].facts:
            raise NoReply("the records changed while they were read")
        walked[:] = seen

    async def _count(self, user: int) -> int:
        answer = await self._ask("record count", taidoc.ask_count(user))
        self.counted = min(taidoc.decode_count(answer.data), _MOST_RECORDS)
        return self.counted

    async def _record(self, index: int, user: int) -> _Record:
        name = f"of record {index}"
        return _Record(
            await self._ask(f"time {name}", taidoc.ask_record_time(index, user)),
            await self._ask(f"value {name}", taidoc.ask_record_value(index, user)),
        )

    async def _ask(self, name: str, request: Frame) -> Frame:
        def answer(frame: Frame) -> Frame | None:
            theirs = frame.sender is Sender.DEVICE
            return frame if theirs and frame.command == request.command else None

        return await self._talk.ask(Ask(name, request.encode(), answer))


def _new(walked: list[_Record], count: int, mark: int | None) -> int | None:
    """Return how many of ``count`` records are new, where a walk comes to the mark."""
    # Counted, for without a date a record is the very same as an equal one before.
    new = len(walked) - marked(mark)
    known = [record.facts for record in walked[-_KNOWN:]]
    counts = range(count - new, count + 1)  # a full memory counts no further
    return new if new >= 0 and ends_with(known, mark, *counts) else None


def _to_tell(
    walked: list[_Record], count: int, mark: int | None, *, is_whole: bool
) -> list[_Record]:
    """Leave out what would be another reading each time that it is told.

    A record without a date can't be known again but by the mark: it is told when it
    is new, and only where the next mark will be behind it.
    """
    ends = range(len(walked) + 1)
    known = (_new(walked[:end], count, mark) for end in ends)
    found = next((new for new in known if new is not None), len(walked))
    told = found if is_whole else 0
    return [
        record
        for at, record in enumerate(walked)
        if at < told or not record.clock.time.unknown_fields
    ]


def _events(
    walked: dict[int, list[_Record]], family: _Family, fillings: int
) -> Iterator[Event]:
    """Yield what users' records, newest first, say: of each user the oldest first."""
    for at, (user, records) in enumerate(walked.items()):
        events = [_event(record, user, family) for record in reversed(records)]
        filling = filling_of(fillings, at)
        yield from apart(events, undated_again=family.keeps_users, filling=filling)


def _event(record: _Record, user: int, family: _Family) -> Event:
    raw = record.time.encode(), record.value.encode()
    time = record.clock
    is_pressure = time.is_blood_pressure or not family.has_strips
    try:
        if family.has_pressures and is_pressure:
            pressure = taidoc_records.decode_blood_pressure(record.value.data)
            seen = _pressure(pressure, time)
        else:
            seen = _strip(taidoc_records.decode_strip(record.value.data))
    except DecodeError as error:
        return Undecoded("record", b"".join(raw), str(error))
    return replace(seen, device_time=time.time, slot=user or None, raw=raw)


def _pressure(seen: BloodPressure, time: RecordTime) -> Observation:
    values = [
        (Quantity.SYSTOLIC, seen.systolic, Unit.MM_HG),
        (Quantity.DIASTOLIC, seen.diastolic, Unit.MM_HG),
        (Quantity.MEAN_PRESSURE, seen.mean, Unit.MM_HG),
        (Quantity.PULSE_RATE, seen.pulse, Unit.PER_MINUTE),
    ]
    status = {"irregular_pulse": time.is_irregular, "average": time.is_average}
    return Observation(
        kind=Kind.BLOOD_PRESSURE,
        values=tuple(
            _value(quantity, unit, Decimal(number))
            for quantity, number, unit in values
            if number is not None
        ),
        status=tuple(name for name, is_so in status.items() if is_so),
    )


def _strip(seen: Strip) -> Observation:
    kind, quantity, unit = _ANALYTES[seen.analyte]
    is_glucose = seen.analyte is Analyte.GLUCOSE
    is_control = seen.meal is Meal.CONTROL
    context = {}
    if seen.meal in _MEALS:
        context["meal"] = _MEALS[seen.meal]
    if unit is Unit.MMOL_PER_L:  # by division
        context["raw-number"] = str(seen.value)
    value = _value(quantity, unit, seen.number)
    if is_glucose and seen.value > _HIGHEST_GLUCOSE:
        value = Value(quantity, unit, None, State.ABOVE_RANGE)
        context["raw-number"] = str(seen.value)
    return Observation(
        kind=Kind.CONTROL_SOLUTION if is_glucose and is_control else kind,
        values=(value,),
        # Some meters mark every other strip so: it would hide a person's ketone.
        status=("maybe_control_solution",) if is_control and not is_glucose else (),
        context=tuple(sorted(context.items())),
    )


def _value(quantity: Quantity, unit: Unit, number: Decimal) -> Value:
    if number == 0:
        return Value(quantity, unit, None, State.NO_VALUE)
    return Value(quantity, unit, number)


DRIVER = GattDriver(
    id="taidoc",
    version="1",
    service=_SERVICE,
    observes=(
        Kind.GLUCOSE,
        Kind.KETONE,
        Kind.BLOOD_ANALYTE,
        Kind.CONTROL_SOLUTION,
        Kind.BLOOD_PRESSURE,
    ),
    models=(
        Model("TaiDoc meters TD-4xxx", ("TAIDOC TD4",)),
        Model("TaiDoc cuffs TD-31xx", ("TAIDOC TD31",)),
        Model("TaiDoc cuffs with a meter TD-32xx", ("TAIDOC TD32",), note=_PAIR),
        Model("FORA GD40", ("FORA GD40",)),
        Model("FORA 6 Connect", ("FORA 6 CONNECT", "FORA MD6"), note=_PAIR),
        Model("FORA TN'G, TN'G Voice", ("TNG",)),
        Model("FORA D40", ("FORA D40",), note=_PAIR),
        Model("FORA P30 Plus, P80, P100", ("FORA P30", "FORA P80", "FORA P100")),
        Model("GlucoRx Nexus, Diamond Mobile", ("DIAMOND",)),
    ),
    writes=(
        Write(rb"\x51\x24\0{4}\xa3\x18", "ask for the model", _CHARACTERISTIC),
        Write(rb"\x51[\x27\x28]\0{4}\xa3.", "ask for the number", _CHARACTERISTIC),
        Write(rb"\x51\x23\0{4}\xa3\x17", "ask for the clock", _CHARACTERISTIC),
        Write(rb"\x51\x2b[\0-\4]\0{3}\xa3.", "ask for the count", _CHARACTERISTIC),
        Write(rb"\x51[\x25\x26]..\0[\0-\4]\xa3.", "ask for a record", _CHARACTERISTIC),
        Write(rb"\x51\x33.{4}\xa3.", "set the clock", _CHARACTERISTIC, sets_clock=True),
    ),
    session=_session,
    undated_once=True,
)

"""The TaiDoc driver against the simulated meters and cuffs."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from drivers.sdk import (
    Checkpoint,
    DateTime,
    DeviceClock,
    Identity,
    Kind,
    LinkLost,
    NoReply,
    Observation,
    Quantity,
    State,
    Terms,
    Undecoded,
    Unit,
    Value,
    filling_of,
)
from drivers.taidoc import DRIVER
from firmware_sim.bench import Action, Characteristic
from firmware_sim.devices import taidoc as bench
from firmware_sim.devices.taidoc import PressureRecord, Record, StripRecord, TaiDoc
from firmware_sim.kit.check import check_rule
from firmware_sim.kit.rules import RULES
from firmware_sim.link import SimGattLink
from protocols.gatt.uuid import sig
from tests.drivers.collecting import Visit, visit

# Rules that the driver's own trial decides.
_OF_THE_DRIVER = ("described", "kinds-declared", "endless-bounded")
TIME = datetime(2026, 3, 1, 7, 30)  # noqa: DTZ001 - a wall clock
CLOCK = DateTime(2026, 3, 1, 12, 0, 0)


def meter(records: Iterable[Record] = (), **more: object) -> TaiDoc:
    """Return a glucose meter without users."""
    facts: dict[str, object] = {
        "model": "4277",
        "serial": "4277B00000000042",
        "users": False,
    }
    return TaiDoc(records, **{**facts, **more})  # type: ignore[arg-type]


async def of(device: TaiDoc, terms: Terms | None = None) -> Visit:
    return await visit(DRIVER, SimGattLink(device), terms=terms)


def asked(link: SimGattLink) -> list[int]:
    """Return the commands that were written."""
    return [payload[1] for _, payload in link.written]


def many(count: int) -> list[Record]:
    return [
        StripRecord(TIME + timedelta(minutes=n), Quantity.GLUCOSE, 80 + n)
        for n in range(count)
    ]


async def test_a_meter_is_read_whole_oldest_first() -> None:
    """Bytes by the document, not by our encoder."""
    records = [
        StripRecord(datetime(2019, 8, 4, 13, 37), Quantity.GLUCOSE, 110, 1),  # noqa: DTZ001
        StripRecord(datetime(2019, 8, 4, 13, 38), Quantity.GLUCOSE, 95, 2),  # noqa: DTZ001
    ]

    found = await of(meter(records))

    assert found.error is None
    assert found.events[:2] == [
        Identity("TaiDoc", "TD-4277", "4277B00000000042"),
        DeviceClock(CLOCK),
    ]
    assert found.events[2] == Observation(
        kind=Kind.GLUCOSE,
        values=(Value(Quantity.GLUCOSE, Unit.MG_PER_DL, Decimal(110)),),
        device_time=DateTime(2019, 8, 4, 13, 37, 0),
        context=(("meal", "preprandial"),),
        raw=(
            bytes.fromhex("51 25 04 27 25 0d a5 78"),
            bytes.fromhex("51 26 6e 00 17 40 a5 e1"),
        ),
    )
    assert found.of(Observation)[1].context == (("meal", "postprandial"),)
    assert isinstance(found.events[-1], Checkpoint)
    assert len(found.events) == 5


@pytest.mark.parametrize(
    ("quantity", "sent", "kind", "unit", "number"),
    [
        (Quantity.GLUCOSE, 110, Kind.GLUCOSE, Unit.MG_PER_DL, "110"),
        (Quantity.KETONE, 17, Kind.KETONE, Unit.MMOL_PER_L, "0.5667"),
        (Quantity.HEMATOCRIT, 42, Kind.BLOOD_ANALYTE, Unit.PERCENT, "42"),
        (Quantity.HEMOGLOBIN, 142, Kind.BLOOD_ANALYTE, Unit.G_PER_DL, "14.2"),
        (Quantity.URIC_ACID, 65, Kind.BLOOD_ANALYTE, Unit.MG_PER_DL, "6.5"),
        (Quantity.CHOLESTEROL, 200, Kind.BLOOD_ANALYTE, Unit.MG_PER_DL, "200"),
        (Quantity.LACTATE, 18, Kind.BLOOD_ANALYTE, Unit.MMOL_PER_L, "1.9982"),
        (Quantity.TRIGLYCERIDES, 150, Kind.BLOOD_ANALYTE, Unit.MG_PER_DL, "150"),
    ],
)
async def test_each_strip_is_told_as_what_it_measures(
    quantity: Quantity, sent: int, kind: Kind, unit: Unit, number: str
) -> None:
    """A ketone as glucose, or a tenth as a whole, is a wrong treatment."""
    found = await of(meter([StripRecord(TIME, quantity, sent)]))

    (seen,) = found.of(Observation)
    assert (seen.kind, seen.values) == (kind, (Value(quantity, unit, Decimal(number)),))
    divided = unit is Unit.MMOL_PER_L
    assert dict(seen.context) == ({"raw-number": str(sent)} if divided else {})


async def test_control_solution_is_nobodys_glucose() -> None:
    found = await of(meter([StripRecord(TIME, Quantity.GLUCOSE, 120, mark=3)]))

    (seen,) = found.of(Observation)
    assert (seen.kind, seen.status) == (Kind.CONTROL_SOLUTION, ())


@pytest.mark.parametrize("quantity", [Quantity.KETONE, Quantity.HEMATOCRIT])
async def test_what_some_meters_mark_as_control_is_kept_and_the_doubt_told(
    quantity: Quantity,
) -> None:
    """Taken at its word, that mark would hide a person's ketoacidosis."""
    found = await of(meter([StripRecord(TIME, quantity, 90, mark=3)]))

    (seen,) = found.of(Observation)
    assert seen.kind != Kind.CONTROL_SOLUTION
    assert seen.status == ("maybe_control_solution",)


@pytest.mark.parametrize(
    ("sent", "state"),
    [(0, State.NO_VALUE), (600, State.MEASURED), (601, State.ABOVE_RANGE)],
)
async def test_a_number_that_the_meter_cannot_show_is_none(
    sent: int, state: State
) -> None:
    """These meters measure to 600 mg/dL, and show HI above it."""
    found = await of(meter([StripRecord(TIME, Quantity.GLUCOSE, sent)]))

    (value,) = found.of(Observation)[0].values
    assert value.state == state
    assert (value.number is None) is (state != State.MEASURED)


@pytest.mark.parametrize(
    ("record", "numbers", "status"),
    [
        (PressureRecord(TIME, 120, 80, 72), [120, 80, 72], ()),
        (PressureRecord(TIME, 120, 80, 72, mean=93), [120, 80, 93, 72], ()),
        (PressureRecord(TIME, 260, 150, 72), [260, 150, 72], ()),
        (
            PressureRecord(TIME, 120, 80, 72, irregular=True, average=True),
            [120, 80, 72],
            ("irregular_pulse", "average"),
        ),
    ],
)
async def test_a_cuff_tells_pressures_and_what_it_noticed(
    record: PressureRecord, numbers: list[int], status: tuple[str, ...]
) -> None:
    """120 with its mean taken for a high byte would be 23928 mmHg."""
    found = await of(meter([record], model="3128"))

    (seen,) = found.of(Observation)
    assert (seen.kind, seen.slot, seen.status) == (Kind.BLOOD_PRESSURE, None, status)
    assert [value.number for value in seen.values] == numbers
    assert seen.device_time == DateTime(2026, 3, 1, 7, 30, 0)


async def test_a_cuff_alone_needs_no_bit_that_says_so() -> None:
    """Some cuffs without a meter leave it clear: 120/80 is not 120 mg/dL."""

    @dataclass(frozen=True)
    class Bare(PressureRecord):
        def encode(self) -> tuple[bytes, bytes]:
            time, value = super().encode()
            return time[:2] + bytes([time[2] & 0x3F, time[3]]), value

    found = await of(meter([Bare(TIME, 120, 80, 72)], model="3140"))

    assert found.of(Observation)[0].kind == Kind.BLOOD_PRESSURE


async def test_a_pulse_that_was_not_counted_is_no_number() -> None:
    found = await of(meter([PressureRecord(TIME, 120, 80, 0)], model="3128"))

    assert found.of(Observation)[0].values[-1] == Value(
        Quantity.PULSE_RATE, Unit.PER_MINUTE, None, State.NO_VALUE
    )


async def test_a_cuff_with_a_meter_keeps_four_people_apart() -> None:
    """A reading in another's slot is another's reading."""
    records = [
        StripRecord(TIME, Quantity.GLUCOSE, 101, user=1),
        PressureRecord(TIME, 122, 82, 72, user=2),
        StripRecord(TIME, Quantity.GLUCOSE, 104, user=4),
    ]

    found = await of(TaiDoc(records))

    assert [
        (seen.slot, seen.kind, seen.values[0].number) for seen in found.of(Observation)
    ] == [
        (1, Kind.GLUCOSE, 101),
        (2, Kind.BLOOD_PRESSURE, 122),
        (4, Kind.GLUCOSE, 104),
    ]
    (mark,) = found.of(Checkpoint)
    assert [filling_of(mark.mark, at) for at in range(4)] == [0, 0, 1, 0]


async def test_one_that_knows_no_users_is_not_read_four_times() -> None:
    """It answers for each user alike; four people would have one's readings."""
    found = await of(TaiDoc(many(2), users=False))

    assert [seen.slot for seen in found.of(Observation)] == [None, None]


async def test_four_empty_memories_are_not_one() -> None:
    found = await of(TaiDoc())

    assert found.error is None
    _, _, mark = found.events
    assert isinstance(mark, Checkpoint)
    assert [filling_of(mark.mark, at) for at in range(4)] == [1, 1, 1, 1]


@pytest.mark.parametrize("model", ["1241", "2555", "8255"])
async def test_what_measures_something_else_is_not_guessed_at(model: str) -> None:
    """A temperature of 36.5 read as a strip would be 365 mg/dL."""
    link = SimGattLink(meter(many(1), model=model))

    found = await visit(DRIVER, link)

    assert isinstance(found.error, NoReply)
    assert f"TD-{model}" in str(found.error)
    assert found.of(Observation) == []
    assert 0x26 not in asked(link)


async def test_another_device_is_told_so() -> None:
    class Other(TaiDoc):
        def __init__(self) -> None:
            super().__init__()
            self.services = {sig(0x1808): (Characteristic(sig(0x2A18), frozenset()),)}

    found = await of(Other())

    assert isinstance(found.error, NoReply)


async def test_a_test_while_it_is_read_mixes_no_two_records() -> None:
    """Every index moves on: a time would come with the value of another record."""

    class Moving(TaiDoc):
        written = 0

        def write(self, uuid: UUID, payload: bytes) -> Iterable[Action]:
            self.written += 1
            if self.written == 12:
                record = StripRecord(TIME + timedelta(hours=1), Quantity.GLUCOSE, 250)
                self.store(record)
            return super().write(uuid, payload)

    device = Moving(many(5), model="4277", users=False)

    moved = await of(device)
    again = await of(device)

    assert isinstance(moved.error, NoReply)
    assert moved.of(Observation) == []
    assert [seen.values[0].number for seen in again.of(Observation)] == [
        80,
        81,
        82,
        83,
        84,
        250,
    ]


async def test_the_next_visit_asks_for_little_more_than_what_is_new() -> None:
    """That a record was sent sets a bit in it, and must not make it a new one."""
    device = meter(many(60))
    first = await of(device)
    device.store(StripRecord(TIME + timedelta(hours=2), Quantity.GLUCOSE, 250))
    link = SimGattLink(device)

    second = await visit(DRIVER, link, terms=Terms(mark=first.of(Checkpoint)[0].mark))

    assert second.error is None
    assert second.of(Observation)[-1].values[0].number == 250
    assert len(first.of(Observation)) == 60
    assert asked(link).count(0x26) == 6


async def test_without_news_the_next_visit_ends_at_once() -> None:
    device = meter(many(60))
    first = await of(device)
    link = SimGattLink(device)
    mark = first.of(Checkpoint)[0].mark

    second = await visit(DRIVER, link, terms=Terms(mark=mark))

    assert asked(link).count(0x26) == 5
    assert second.of(Checkpoint) == [Checkpoint(mark)]


async def test_a_new_test_of_a_known_minute_is_told_apart_from_its_twin() -> None:
    """Two drops from one finger within a minute may well give one number."""
    twin = StripRecord(TIME + timedelta(hours=3), Quantity.GLUCOSE, 140)
    device = meter([*many(9), twin])
    first = await of(device)
    device.store(replace(twin))

    second = await of(device, Terms(mark=first.of(Checkpoint)[0].mark))

    older, newer = second.of(Observation)[-2:]
    assert older.device_time == newer.device_time == DateTime(2026, 3, 1, 10, 30, 0)
    assert first.of(Observation)[-1].context == older.context == ()
    assert newer.context == (("position-at-this-time", "2"),)


async def test_a_reading_without_a_date_is_told_at_one_visit_only() -> None:
    """Nothing in it could tell that it is the one of the last visit."""

    def undated(number: int) -> StripRecord:
        return StripRecord(None, Quantity.GLUCOSE, number)

    device = meter([undated(120 + at) for at in range(6)])
    first = await of(device)
    device.store(undated(250))
    terms = Terms(mark=first.of(Checkpoint)[0].mark)
    second = await of(device, terms)
    third = await of(device, Terms(mark=second.of(Checkpoint)[0].mark))

    told = [
        [seen.values[0].number for seen in found.of(Observation)]
        for found in (first, second, third)
    ]
    assert told == [[120, 121, 122, 123, 124, 125], [250], []]


async def test_a_reading_without_a_date_waits_for_the_end_of_the_visit() -> None:
    """Without the mark behind it, the next visit would tell it as another one."""
    device = meter([*many(59), StripRecord(None, Quantity.GLUCOSE, 333)])

    found = await visit(DRIVER, SimGattLink(device, lost_after=100))

    assert isinstance(found.error, LinkLost)
    assert 333 not in [seen.values[0].number for seen in found.of(Observation)]


async def test_a_lost_link_leaves_what_was_looked_at_once_more() -> None:
    """A meter that falls asleep while it is read must not stay unread for ever."""
    device = meter(many(60))

    found = await visit(DRIVER, SimGattLink(device, lost_after=100))

    assert isinstance(found.error, LinkLost)
    numbers = [seen.values[0].number for seen in found.of(Observation)]
    assert numbers == [108 + n for n in range(32)]
    assert found.of(Checkpoint) == []


async def test_a_lost_link_of_a_cuff_with_a_meter_leaves_nothing() -> None:
    """Until all is read nobody knows whether it keeps its users apart."""
    found = await visit(
        DRIVER, SimGattLink(TaiDoc(many(60), users=False), lost_after=99)
    )

    assert isinstance(found.error, LinkLost)
    assert found.of(Observation) == []


async def test_a_record_that_cannot_be_read_is_kept_for_somebody_who_can() -> None:
    @dataclass(frozen=True)
    class Odd(StripRecord):
        def encode(self) -> tuple[bytes, bytes]:
            return super().encode()[0], bytes.fromhex("6e 00 17 14")

    found = await of(meter([Odd(TIME, Quantity.GLUCOSE, 0), *many(1)]))

    (lost,) = found.of(Undecoded)
    assert lost.payload[10:14] == bytes.fromhex("6e 00 17 14")
    assert "analyte 5" in lost.problem
    assert len(found.of(Observation)) == 1


async def test_a_clock_that_does_not_take_the_time_is_told() -> None:
    """Else its readings would be trusted to a clock that nobody set."""

    class Stubborn(TaiDoc):
        def _set(self, data: bytes) -> bytes:  # noqa: ARG002 - it does not listen
            return bytes.fromhex("61 34 00 0c")

    device = Stubborn(many(1), model="4277", users=False)
    now = datetime(2026, 3, 1, 13, 5, 30)  # noqa: DTZ001 - a wall clock

    found = await of(device, Terms(set_clock=lambda: now))

    assert len(found.of(Observation)) == 1
    assert isinstance(found.error, NoReply)
    assert "2026-03-01T13:05:30" in str(found.error)


@pytest.mark.parametrize(
    "rule",
    [rule for rule in RULES if rule.name not in _OF_THE_DRIVER],
    ids=lambda rule: rule.name,
)
def test_a_meter_without_users_keeps_the_kits_rules(rule: object) -> None:
    """The trial of the driver is a cuff with a meter, which is read otherwise."""
    outcome = check_rule(DRIVER, bench.METER_TRIAL, rule)  # type: ignore[arg-type]

    assert outcome.state in ("done", "exempt")

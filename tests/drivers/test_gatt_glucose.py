"""The Glucose Service driver against the simulated meter."""

import zlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from drivers.gatt_glucose import DRIVER
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
    Refused,
    State,
    Undecoded,
    Unit,
    Value,
)
from firmware_sim.bench import Action, AttError, Send
from firmware_sim.devices.gatt_glucose import GlucoseMeter, GlucoseRecord
from firmware_sim.faults import Faults, faulty
from firmware_sim.link import SimGattLink
from protocols.gatt import glucose, glucose_reading
from protocols.gatt.racp import Incomplete
from protocols.gatt.uuid import sig
from tests.drivers.collecting import Visit, visit

START = datetime(2026, 3, 1, 7, 30)  # noqa: DTZ001 - a wall clock
MEALS = {1: "preprandial", 2: "postprandial", 3: "fasting", 4: "casual", 5: "bedtime"}


def record(sequence: int, **more: object) -> GlucoseRecord:
    """Return a record that differs from every other one."""
    told: dict[str, object] = {
        "base_time": START + timedelta(minutes=7 * sequence),
        "value": Decimal(90 + sequence % 300),
        **more,
    }
    return GlucoseRecord(sequence, **told)  # type: ignore[arg-type]


def told(seen: GlucoseRecord, *, with_context: bool = True) -> Observation:
    """Return what a record must become, by the specification."""
    in_moles = seen.unit == "mmol/L"
    assert seen.value is not None
    assert seen.base_time is not None
    raw = tuple(send.payload for send in seen.notifications())
    notes = {"sample": "undetermined_plasma", "location": "not_available"}
    if seen.meal is not None:
        notes |= {"meal": MEALS[seen.meal]} if with_context else {"context": "missing"}
    return Observation(
        kind=Kind.GLUCOSE,
        values=(
            Value(
                Quantity.GLUCOSE,
                Unit.MOL_PER_L if in_moles else Unit.KG_PER_L,
                seen.value.scaleb(-3 if in_moles else -5),
            ),
        ),
        device_time=DateTime.of(seen.base_time),
        offset_min=seen.offset_min,
        sequence=seen.sequence,
        context=tuple(sorted(notes.items())),
        raw=raw if with_context else raw[:1],
    )


def distinct(found: Visit) -> list[Observation]:
    """Return the observations once each, by their number."""
    once = {str(seen): seen for seen in found.of(Observation)}
    return sorted(once.values(), key=lambda seen: seen.sequence or 0)


TEN = [
    record(
        n,
        meal=n % 5 + 1 if n % 2 else None,
        unit="mmol/L" if n % 3 == 0 else "mg/dL",
        value=Decimal("5.5") if n % 3 == 0 else Decimal(90 + n),
    )
    for n in range(1, 11)
]


# Of the packets that tell TEN: the oldest as a probe, and all of them; what stands
# between and behind them answers requests.
_NOTIFIED = [2, 3, *range(5, 20)]


def mark(sequence: int, time: datetime | None = None) -> int:
    """Return the mark at a record: its number, and above it what tells it apart."""
    shown = (time or record(sequence).base_time).strftime("%Y-%m-%dT%H:%M:%S")
    return zlib.crc32(shown.encode()) * 65536 + sequence


async def test_every_record_comes_exactly_as_the_meter_holds_it() -> None:
    """Values, clocks, numbers and contexts, whole; and who the meter is, first."""
    found = await visit(DRIVER, SimGattLink(GlucoseMeter(TEN)))

    assert found.error is None
    assert found.events[0] == Identity(
        "vitalwire simulation", "Glucose meter", "00012345", "1.0"
    )
    assert found.events[1] == DeviceClock(DateTime(2026, 3, 1, 12, 0, 0))
    assert distinct(found) == [told(seen) for seen in TEN]
    assert found.events[-1] == Checkpoint(mark(10))


@pytest.mark.parametrize("lost", _NOTIFIED)
async def test_a_lost_notification_is_asked_for_again(lost: int) -> None:
    """Whichever of measurements and contexts is lost, nothing is missing."""
    meter = faulty(GlucoseMeter(TEN), Faults(lost=frozenset({lost})))

    found = await visit(DRIVER, SimGattLink(meter))

    assert found.error is None
    assert distinct(found) == [told(seen) for seen in TEN]
    assert found.events[-1] == Checkpoint(mark(10))


@pytest.mark.parametrize("repeated", _NOTIFIED)
async def test_a_repeated_notification_changes_nothing(repeated: int) -> None:
    """Some meters send a record twice; it is the same record."""
    meter = faulty(GlucoseMeter(TEN), Faults(repeated=frozenset({repeated})))

    found = await visit(DRIVER, SimGattLink(meter))

    assert found.error is None
    assert {seen.sequence: seen for seen in distinct(found)} == {
        seen.sequence: told(seen) for seen in TEN
    }


class _ContextFirst(GlucoseMeter):
    """Sends each context before its measurement, as i-SENS meters do."""

    def write(self, uuid: UUID, payload: bytes) -> Iterator[Action]:
        held: Send | None = None
        for action in super().write(uuid, payload):
            if isinstance(action, Send) and action.uuid == sig(0x2A18):
                if held is not None:
                    yield held
                held = action
                continue
            yield action
            if held is not None:
                yield held
                held = None


async def test_a_context_may_come_before_its_measurement() -> None:
    """They belong together by number, not by arrival."""
    every = [replace(seen, meal=3) for seen in TEN]

    found = await visit(DRIVER, SimGattLink(_ContextFirst(every)))

    assert found.error is None
    assert distinct(found) == [told(seen) for seen in every]


class _NoContext(GlucoseMeter):
    """Announces contexts, and never sends one."""

    def write(self, uuid: UUID, payload: bytes) -> Iterator[Action]:
        for action in super().write(uuid, payload):
            if not (isinstance(action, Send) and action.uuid == sig(0x2A34)):
                yield action


async def test_a_context_that_never_comes_costs_no_measurement() -> None:
    """The value is given in the end, and says that something is missing."""
    found = await visit(DRIVER, SimGattLink(_NoContext(TEN)))

    assert found.error is None
    assert distinct(found) == [told(seen, with_context=False) for seen in TEN]
    assert found.events[-1] == Checkpoint(mark(10))


def _value(found: Visit) -> tuple[Kind, Value, tuple[str, ...]]:
    (seen,) = distinct(found)
    return seen.kind, seen.values[0], seen.status


@pytest.mark.parametrize(
    ("more", "number", "state", "status"),
    [
        ({"value": Decimal("Infinity")}, None, State.ABOVE_RANGE, ()),
        ({"value": Decimal("-Infinity")}, None, State.BELOW_RANGE, ()),
        ({"value": Decimal("NaN")}, None, State.NOT_A_NUMBER, ()),
        ({"value": None}, None, State.NO_VALUE, ()),
        ({"value": Decimal(0)}, None, State.NO_VALUE, ()),
        ({"value": Decimal(-5)}, None, State.NO_VALUE, ()),
        (
            {"value": Decimal(600), "status": 1 << 5},
            "0.00600",
            State.ABOVE_RANGE,
            ("result_too_high",),
        ),
        (
            {"value": Decimal(20), "status": 1 << 6},
            "0.00020",
            State.BELOW_RANGE,
            ("result_too_low",),
        ),
        ({"status": 1}, "0.00091", State.MEASURED, ("battery_low",)),
        ({"status": 1 << 11}, "0.00091", State.MEASURED, ("time_fault",)),
        ({"status": 0xF000}, "0.00091", State.MEASURED, ()),
        *[
            ({"status": 1 << bit}, None, State.DEVICE_ERROR, (name,))
            for bit, name in (
                (1, "sensor_malfunction"),
                (2, "sample_size_insufficient"),
                (3, "strip_insertion_error"),
                (4, "strip_type_incorrect"),
                (7, "temperature_too_high"),
                (8, "temperature_too_low"),
                (9, "read_interrupted"),
                (10, "general_device_fault"),
            )
        ],
    ],
)
async def test_what_is_no_measured_value_is_never_one(
    more: dict[str, object], number: str | None, state: State, status: tuple[str, ...]
) -> None:
    """HI, LO and errors by their table; a limit is kept beside its state."""
    found = await visit(DRIVER, SimGattLink(GlucoseMeter([record(1, **more)])))

    value = Value(
        Quantity.GLUCOSE,
        Unit.KG_PER_L,
        None if number is None else Decimal(number),
        state,
    )
    assert _value(found) == (Kind.GLUCOSE, value, status)
    assert str(_value(found)[1].number) == str(number)


@pytest.mark.parametrize("more", [{"sample_type": 10}, {"location": 4}])
async def test_control_solution_is_no_patient(more: dict[str, object]) -> None:
    """A check of the meter must never be stored as anyone's glucose."""
    found = await visit(DRIVER, SimGattLink(GlucoseMeter([record(1, **more)])))

    assert _value(found)[0] == Kind.CONTROL_SOLUTION


async def test_a_mark_takes_up_where_the_last_visit_ended() -> None:
    """A meter with 500 records is not read whole every time."""
    link = SimGattLink(GlucoseMeter(TEN))

    found = await visit(DRIVER, link, mark(8))

    assert distinct(found) == [told(seen) for seen in TEN[7:]]
    assert found.events[-1] == Checkpoint(mark(10))
    written = [payload.hex() for uuid, payload in link.written if uuid == sig(0x2A52)]
    assert "0103010800" in written
    assert not [payload for payload in written if payload.startswith("02")]


async def test_nothing_new_is_no_error() -> None:
    found = await visit(DRIVER, SimGattLink(GlucoseMeter(TEN)), mark(10))

    assert (found.error, found.events[-1]) == (None, Checkpoint(mark(10)))
    empty = await visit(DRIVER, SimGattLink(GlucoseMeter([])))
    assert (empty.error, empty.of(Observation)) == (None, [])


@pytest.mark.parametrize("filters", [frozenset[int](), frozenset({2})])
async def test_a_meter_without_our_filter_is_read_whole(
    filters: frozenset[int],
) -> None:
    found = await visit(
        DRIVER, SimGattLink(GlucoseMeter(TEN, filters=filters)), mark(8)
    )

    assert found.error is None
    assert {seen.sequence for seen in distinct(found)} == set(range(1, 11))
    assert found.events[-1] == Checkpoint(mark(10))


@pytest.mark.parametrize("packets", range(1, 22))
async def test_a_lost_link_keeps_what_came_and_steps_over_nothing(packets: int) -> None:
    """Each record that was yielded stays; no checkpoint is beyond a hole."""
    meter = GlucoseMeter([record(n) for n in range(120, 140)])

    found = await visit(DRIVER, SimGattLink(meter, lost_after=packets))

    assert isinstance(found.error, LinkLost)
    came: set[int] = set()
    for event in found.events:
        if isinstance(event, Observation):
            came.add(event.sequence or 0)
            assert event == told(record(event.sequence or 0))
        if isinstance(event, Checkpoint):
            assert came >= set(range(120, event.mark % 65536 + 1))
    latest = max((each.mark for each in found.of(Checkpoint)), default=None)
    again = await visit(DRIVER, SimGattLink(meter), latest)
    assert came | {seen.sequence for seen in distinct(again)} == set(range(120, 140))
    assert again.events[-1] == Checkpoint(mark(139))


async def test_a_long_download_is_marked_on_its_way() -> None:
    """Half an hour of records must not be lost to one lost link."""
    meter = GlucoseMeter([record(n) for n in range(1, 201)])

    found = await visit(DRIVER, SimGattLink(meter, lost_after=2 + 150))

    assert isinstance(found.error, LinkLost)
    assert found.of(Checkpoint) == [Checkpoint(mark(64)), Checkpoint(mark(128))]


async def test_a_record_that_cannot_be_read_is_kept_as_it_came() -> None:
    """Bytes that are no measurement go on as bytes, with the reason."""

    class _Broken(GlucoseMeter):
        def write(self, uuid: UUID, payload: bytes) -> Iterator[Action]:
            for action in super().write(uuid, payload):
                if isinstance(action, Send) and action.payload[1:3] == b"\x05\x00":
                    yield Send(action.uuid, action.payload[:9])
                else:
                    yield action

    found = await visit(DRIVER, SimGattLink(_Broken(TEN)))

    assert isinstance(found.error, Incomplete)
    undecoded = found.of(Undecoded)
    assert {each.source for each in undecoded} >= {str(sig(0x2A18))}
    assert all(each.payload[1:3] == b"\x05\x00" for each in undecoded)
    assert "'base time" in undecoded[0].problem
    assert {seen.sequence for seen in distinct(found)} == {*range(1, 11)} - {5}


async def test_a_procedure_without_an_end_is_left_after_30_s() -> None:
    """A meter that never answers must not hold the station for ever."""
    meter = faulty(GlucoseMeter(TEN), Faults(silent_after=frozenset({_NOTIFIED[-1]})))

    found = await visit(DRIVER, SimGattLink(meter))

    assert isinstance(found.error, NoReply)
    assert str(found.error) == "nothing came for 30 s"


async def test_a_wrong_count_is_told_and_what_came_is_kept() -> None:
    meter = GlucoseMeter(TEN, miscount=1)

    found = await visit(DRIVER, SimGattLink(meter))

    assert isinstance(found.error, Incomplete)
    assert distinct(found) == [told(seen) for seen in TEN]


async def test_numbers_wrap_without_a_loss() -> None:
    """After 65535 comes 0; the mark follows."""
    records = [record(n % 65536) for n in range(65530, 65542)]
    meter = GlucoseMeter(records)

    found = await visit(DRIVER, SimGattLink(meter), 65533)

    assert found.error is None
    assert {seen.sequence for seen in distinct(found)} >= {65534, 65535, *range(6)}
    assert found.events[-1] == Checkpoint(mark(5))


async def test_a_clock_that_is_unknown_costs_no_reading() -> None:
    found = await visit(DRIVER, SimGattLink(GlucoseMeter([record(1, base_time=None)])))

    (seen,) = distinct(found)
    assert seen.device_time == DateTime(0, 0, 0, 0, 0, 0)


async def test_a_refused_control_point_is_told() -> None:
    """A meter that is not the one it says it is must not look empty."""

    class _Closed(GlucoseMeter):
        def read(self, uuid: UUID) -> bytes:
            raise AttError(5 if uuid else 0)

    found = await visit(DRIVER, SimGattLink(_Closed(TEN)))

    assert isinstance(found.error, Refused)
    assert (found.error.code, found.events) == (5, [])


class _AllNotes(GlucoseMeter):
    """Sends a context with every field, by hand from the specification's table."""

    def write(self, uuid: UUID, payload: bytes) -> Iterator[Action]:
        for action in super().write(uuid, payload):
            if isinstance(action, Send) and action.uuid == sig(0x2A34):
                number = action.payload[1:3]
                notes = "00 01 2d d0 02 51 84 03 50 01 0a b0 41 f0"
                yield Send(action.uuid, b"\xdf" + number + bytes.fromhex(notes))
            else:
                yield action


def test_exercise_of_the_longest_time_is_that_or_longer() -> None:
    """65535 s is an overrun, and no eighteen hours."""
    measurement = glucose.decode_measurement(bytes.fromhex("10 0500 ea0703010c0000"))
    context = glucose.decode_context(bytes.fromhex("08 0500 ffff 50"))

    assert glucose_reading.notes(measurement, context) == {
        "exercise-s": "65535 or more",
        "exercise-percent": "80",
    }


async def test_every_note_of_a_context_is_told_with_its_unit() -> None:
    """df: all but the litre flag, so medication is in kg."""
    found = await visit(DRIVER, SimGattLink(_AllNotes([replace(TEN[0], meal=1)])))

    assert dict(found.of(Observation)[-1].context) == {
        "sample": "undetermined_plasma",
        "location": "not_available",
        "carbohydrate": "breakfast",
        "carbohydrate-kg": "0.045",
        "meal": "postprandial",
        "tester": "self",
        "health": "no_health_issues",
        "exercise-s": "900",
        "exercise-percent": "80",
        "medication": "rapid_acting_insulin",
        "medication-kg": "0.00010",
        "hba1c-percent": "6.5",
    }


async def test_a_ketone_test_is_never_a_glucose() -> None:
    """i-SENS marks one by meal 6; 1.5 mmol/L would read as 15 mg/dL."""
    found = await visit(DRIVER, SimGattLink(GlucoseMeter([replace(TEN[0], meal=6)])))

    (value,) = found.of(Observation)[-1].values
    assert (value.number, value.state) == (None, State.NO_VALUE)

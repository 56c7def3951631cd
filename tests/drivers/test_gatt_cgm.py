"""The CGM Service driver against the simulated sensor."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from drivers.gatt_cgm import DRIVER
from drivers.sdk import (
    Checkpoint,
    DateTime,
    DecodeError,
    DeviceClock,
    Identity,
    Kind,
    LinkLost,
    NoReply,
    Observation,
    Quantity,
    State,
    Undecoded,
    Unit,
    Value,
)
from firmware_sim.bench import Action, Send
from firmware_sim.devices.gatt_cgm import CgmRecord, GlucoseSensor
from firmware_sim.faults import Faults, faulty
from firmware_sim.kit.bad_devices import Endless
from firmware_sim.link import SimGattLink
from protocols.gatt.uuid import sig
from tests.drivers.collecting import visit

START = datetime(2026, 3, 1, 7, 30)  # noqa: DTZ001 - a wall clock
RECORDS = [CgmRecord(minutes, Decimal(100 + minutes)) for minutes in (5, 10, 15, 20)]
INFINITY = Decimal("Infinity")
NOTES = (
    ("location", "subcutaneous_tissue"),
    ("sample", "interstitial_fluid"),
    ("session-offset-min", "20"),
    ("utc-offset-min", "480"),
)
MALFUNCTION, WRONG_TYPE, FAULT = 0x08, 0x04, 0x20
BELOW, ABOVE, HYPO = 0x40, 0x80, 0x04


async def _values(record: CgmRecord) -> tuple[Value, ...]:
    found = await visit(DRIVER, SimGattLink(GlucoseSensor([record], START)))
    assert found.error is None
    (seen,) = {seen.raw: seen for seen in found.of(Observation)}.values()
    return seen.values


async def test_a_record_is_told_whole() -> None:
    """From bytes made by hand to every value; the time is that of the session."""
    record = CgmRecord(20, Decimal(120), Decimal("-0.6"), Decimal(84), 2, HYPO)
    sensor = GlucoseSensor([record], START, has_crc=False)

    found = await visit(DRIVER, SimGattLink(sensor))

    assert found.error is None
    assert found.events[0] == Identity(
        "vitalwire simulation", "Glucose sensor", "00000007", "1.0"
    )
    assert found.of(Observation)[0] == Observation(
        kind=Kind.INTERSTITIAL_GLUCOSE,
        values=(
            Value(Quantity.GLUCOSE, Unit.MG_PER_DL, Decimal(120)),
            Value(Quantity.GLUCOSE_RATE, Unit.MG_PER_DL_PER_MINUTE, Decimal("-0.6")),
        ),
        device_time=DateTime(2026, 3, 1, 7, 50, 0),
        status=("battery_low", "below_hypo"),
        context=tuple(sorted([*NOTES, ("quality-percent", "84")])),
        raw=(bytes.fromhex("0c a3 78 00 14 00 02 04 fa ff 54 00"),),
    )


@pytest.mark.parametrize("has_crc", [False, True])
async def test_all_records_come_and_then_only_what_is_new(has_crc: bool) -> None:
    """Several in one notification, each one reading."""
    sensor = GlucoseSensor(RECORDS, START, has_crc=has_crc)
    first = await visit(DRIVER, SimGattLink(sensor))
    sensor.store(CgmRecord(25, Decimal(99)))
    (checkpoint,) = first.of(Checkpoint)

    second = await visit(DRIVER, SimGattLink(sensor), mark=checkpoint.mark)

    numbers = {seen.values[0].number for seen in first.of(Observation)}
    assert numbers == {105, 110, 115, 120}
    news = {seen.values[0].number for seen in second.of(Observation)}
    assert news == {120, 99}  # the one at the mark shows that it still holds


async def test_another_session_is_read_from_its_start() -> None:
    """A mark of the session before would hide the first days of the next one."""
    old = await visit(DRIVER, SimGattLink(GlucoseSensor(RECORDS, START)))
    (checkpoint,) = old.of(Checkpoint)
    later = START + timedelta(days=15)
    records = [CgmRecord(minutes, Decimal(120)) for minutes in (10, 20, 30)]
    sensor = GlucoseSensor(records, later, clock=lambda: later)

    found = await visit(DRIVER, SimGattLink(sensor), mark=checkpoint.mark)

    assert {str(seen.device_time) for seen in found.of(Observation)} == {
        "2026-03-16T07:40:00",
        "2026-03-16T07:50:00",
        "2026-03-16T08:00:00",
    }


@pytest.mark.parametrize(
    ("record", "state"),
    [
        (CgmRecord(20, INFINITY), State.ABOVE_RANGE),
        (CgmRecord(20, -INFINITY), State.BELOW_RANGE),
        # As a SmartGuide was seen to send it: low, and a malfunction as well.
        (CgmRecord(20, -INFINITY, None, None, MALFUNCTION, BELOW), State.BELOW_RANGE),
        (CgmRecord(20, Decimal(40), warning=BELOW), State.BELOW_RANGE),
        (CgmRecord(20, Decimal(400), warning=ABOVE), State.ABOVE_RANGE),
        (CgmRecord(20, Decimal(40), None, None, FAULT, BELOW), State.BELOW_RANGE),
        (CgmRecord(20, Decimal(90), warning=BELOW | ABOVE), State.NO_VALUE),
        (CgmRecord(20, Decimal(90), status=MALFUNCTION), State.DEVICE_ERROR),
        (CgmRecord(20, Decimal(90), status=WRONG_TYPE), State.DEVICE_ERROR),
        (CgmRecord(20, Decimal(90), status=FAULT), State.DEVICE_ERROR),
        (CgmRecord(20, Decimal("NaN")), State.NOT_A_NUMBER),
        (CgmRecord(20, Decimal(0)), State.NO_VALUE),
        (CgmRecord(20, Decimal(-5)), State.NO_VALUE),
    ],
    ids=str,
)
async def test_what_is_no_value_is_no_number(record: CgmRecord, state: State) -> None:
    """A low that is taken for a fault, or a fault for a value, can kill."""
    (value,) = await _values(record)

    assert (value.number, value.state) == (None, state)


async def test_the_trend_of_a_broken_sensor_is_none() -> None:
    glucose, trend = await _values(
        CgmRecord(20, Decimal(90), Decimal("0.5"), status=MALFUNCTION)
    )

    assert glucose.state == trend.state == State.DEVICE_ERROR


@pytest.mark.parametrize(
    ("minutes", "stopped", "shown"),
    [
        (200, False, DateTime(2026, 3, 1, 10, 50, 0)),
        (200, True, None),
        (15 * 24 * 60, False, None),
    ],
)
async def test_the_clock_is_told_while_the_session_runs(
    minutes: int, stopped: bool, shown: DateTime | None
) -> None:
    """One that stands still would move every reading by days."""
    sensor = GlucoseSensor(
        RECORDS,
        START,
        stopped=stopped,
        clock=lambda: START + timedelta(minutes=minutes),
    )

    found = await visit(DRIVER, SimGattLink(sensor))

    clocks = [clock.time for clock in found.of(DeviceClock)]
    assert clocks == ([] if shown is None else [shown])


async def test_a_session_that_nobody_set_still_tells_its_records_apart() -> None:
    """Without a start there is no time; the offset is all that there is."""
    found = await visit(DRIVER, SimGattLink(GlucoseSensor(RECORDS, None)))

    seen = {(one.sequence, one.device_time) for one in found.of(Observation)}
    assert seen == {(minutes, None) for minutes in (5, 10, 15, 20)}
    assert not found.of(DeviceClock)


async def test_a_damaged_notification_is_kept_and_asked_for_again() -> None:
    """A wrong CRC is no reading; and its records must not be forgotten for it."""

    class Damaging(GlucoseSensor):
        damaged = 0

        def write(self, uuid: UUID, payload: bytes) -> Iterator[Action]:
            for action in super().write(uuid, payload):
                if (
                    isinstance(action, Send)
                    and action.uuid == sig(0x2AA7)
                    and not self.damaged
                ):
                    self.damaged += 1
                    yield Send(action.uuid, action.payload[:-1] + b"\x00")
                else:
                    yield action

    found = await visit(DRIVER, SimGattLink(Damaging(RECORDS, START)))

    assert found.error is None
    assert len(found.of(Undecoded)) == 1
    assert len({seen.device_time for seen in found.of(Observation)}) == 4


async def test_a_sensor_in_control_solution_is_nobodys() -> None:
    for sample in (0x5A, 0x49):
        sensor = GlucoseSensor(RECORDS, START, sample=sample)

        found = await visit(DRIVER, SimGattLink(sensor))

        assert isinstance(found.error, NoReply)
        assert not found.of(Observation)


async def test_an_unknown_zone_is_not_guessed() -> None:
    sensor = GlucoseSensor(RECORDS[:1], START, zone=-128)

    found = await visit(DRIVER, SimGattLink(sensor))

    assert "utc-offset-min" not in dict(found.of(Observation)[0].context)


async def test_a_sensor_without_records_leaves_no_mark() -> None:
    found = await visit(DRIVER, SimGattLink(GlucoseSensor([], START)))

    assert (found.error, found.of(Observation), found.of(Checkpoint)) == (None, [], [])


async def test_a_reserved_sample_is_named_by_its_code() -> None:
    sensor = GlucoseSensor(RECORDS[:1], START, sample=0xEB)

    found = await visit(DRIVER, SimGattLink(sensor))

    assert dict(found.of(Observation)[0].context) == {
        "location": "reserved-14",
        "sample": "reserved-11",
        "session-offset-min": "5",
        "utc-offset-min": "480",
    }


async def test_a_sensor_without_its_control_point_or_clock() -> None:
    sensor = GlucoseSensor(RECORDS, START)
    service = sig(0x181F)
    sensor.services[service] = tuple(
        one for one in sensor.services[service] if one.uuid != sig(0x2AAB)
    )
    found = await visit(DRIVER, SimGattLink(sensor))
    assert found.error is None
    assert not found.of(DeviceClock)

    sensor.services[service] = tuple(
        one for one in sensor.services[service] if one.uuid != sig(0x2A52)
    )
    assert isinstance((await visit(DRIVER, SimGattLink(sensor))).error, NoReply)


async def test_a_lost_link_leaves_no_mark() -> None:
    """A mark behind records that did not come would lose them for good."""
    faults = Faults(hang_up_after=frozenset({2}))

    found = await visit(
        DRIVER, SimGattLink(faulty(GlucoseSensor(RECORDS, START), faults))
    )

    assert isinstance(found.error, LinkLost)
    assert not found.of(Checkpoint)


async def test_a_procedure_that_does_not_end_is_given_up() -> None:
    faults = Faults(silent_after=frozenset({2}))
    sensor = faulty(GlucoseSensor(RECORDS, START), faults)

    found = await visit(DRIVER, SimGattLink(sensor))

    assert isinstance(found.error, NoReply)
    assert not found.of(Checkpoint)


async def test_a_sensor_that_sends_without_end_is_given_up() -> None:
    sensor = Endless(GlucoseSensor(RECORDS, START))

    found = await visit(DRIVER, SimGattLink(sensor))

    assert isinstance(found.error, NoReply)


async def test_a_feature_that_is_wrong_ends_the_visit() -> None:
    """It says how all else is to be read."""

    class Wrong(GlucoseSensor):
        def read(self, uuid: UUID) -> bytes:
            value = super().read(uuid)
            return value[:-1] if uuid == sig(0x2AA8) else value

    found = await visit(DRIVER, SimGattLink(Wrong(RECORDS, START)))

    assert isinstance(found.error, DecodeError)


def test_it_writes_nothing_but_questions() -> None:
    """It never starts, stops, calibrates or deletes anything."""
    control_point = sig(0x2A52)
    for payload in ("02 01", "03 00", "01 02 01 05 00", "04 01 00"):
        raw = bytes.fromhex(payload)
        assert not any(one.fits(control_point, raw) for one in DRIVER.writes)
    assert {one.uuid for one in DRIVER.writes} == {control_point}

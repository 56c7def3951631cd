"""The VivaChek driver against the simulated meter."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from drivers.sdk import (
    DateTime,
    DecodeError,
    Identity,
    Kind,
    NoReply,
    Observation,
    Quantity,
    State,
    Terms,
    Undecoded,
    Unit,
    Value,
)
from drivers.vivachek import DRIVER
from firmware_sim.devices import vivachek as bench
from firmware_sim.devices.vivachek import VivaChek, VivaChekRecord
from firmware_sim.link import SimGattLink
from protocols.vendor.vivachek import Command, Frame, Mark, Side
from tests.drivers.collecting import Visit, visit

TIME = datetime(2026, 3, 10, 8, 45)  # noqa: DTZ001 - a wall clock
RECORDS = [VivaChekRecord(TIME + timedelta(minutes=n), 90 + n) for n in range(3)]


async def of(device: VivaChek, terms: Terms | None = None) -> Visit:
    return await visit(DRIVER, SimGattLink(device), terms=terms)


def numbers(found: Visit) -> list[Decimal | None]:
    return [seen.values[0].number for seen in found.of(Observation)]


async def test_a_captured_pair_of_records_is_read() -> None:
    """Glucose and ketone of one drop: the bytes are those that a GK+ sent."""
    device = VivaChek(
        [
            VivaChekRecord(TIME, 104, bench.GLUCOSE, meal=1),
            VivaChekRecord(TIME, 122, bench.KETONE),
        ]
    )

    found = await of(device)

    assert found.error is None
    identity, glucose, ketone = found.told
    assert identity == Identity("VivaChek", "", "SIM0000000000815", "00000316A0036602")
    assert isinstance(glucose, Observation)
    assert isinstance(ketone, Observation)
    assert glucose.raw[0][9:18] == bytes.fromhex("1a 03 0a 08 2d 01 04 1a 11")
    assert ketone.raw[0][9:18] == bytes.fromhex("1a 03 0a 08 2d 01 16 0b 55")
    assert (glucose.kind, glucose.context) == (
        Kind.GLUCOSE,
        (("meal", "preprandial"),),
    )
    assert ketone.values == (Value(Quantity.KETONE, Unit.MMOL_PER_L, Decimal("1.22")),)
    assert ketone.device_time == DateTime(2026, 3, 10, 8, 45, 0)


@pytest.mark.parametrize(
    ("kind", "told", "context"),
    [
        (bench.GLUCOSE_GKI, Kind.GLUCOSE, (("taken-for", "glucose-ketone-index"),)),
        (bench.KETONE_GKI, Kind.KETONE, (("taken-for", "glucose-ketone-index"),)),
        (bench.GLUCOSE_CONTROL, Kind.CONTROL_SOLUTION, ()),
        (bench.KETONE_CONTROL, Kind.CONTROL_SOLUTION, ()),
    ],
)
async def test_each_kind_of_record_is_told_as_what_it_is(
    kind: int, told: Kind, context: tuple[tuple[str, str], ...]
) -> None:
    """A check of the meter with its bottle must not become anybody's ketone."""
    found = await of(VivaChek([VivaChekRecord(TIME, 120, kind)]))

    (seen,) = found.of(Observation)
    assert (seen.kind, seen.context) == (told, context)


async def test_a_meal_of_unknown_meaning_is_told_by_its_number() -> None:
    found = await of(VivaChek([VivaChekRecord(TIME, 120, meal=5)]))

    assert found.of(Observation)[0].context == (("meal", "reserved-5"),)


async def test_no_glucose_is_no_number_and_no_ketone_is_one() -> None:
    """0.00 mmol/L of ketone is a healthy person's; 0 mg/dL is nobody's."""
    device = VivaChek([VivaChekRecord(TIME, 0), VivaChekRecord(TIME, 0, bench.KETONE)])

    glucose, ketone = (await of(device)).of(Observation)

    assert glucose.values[0].state == State.NO_VALUE
    assert ketone.values[0].number == Decimal("0.00")


@pytest.mark.parametrize(
    ("value", "kind", "state", "context"),
    [
        (600, bench.GLUCOSE, State.MEASURED, ()),
        (601, bench.GLUCOSE, State.ABOVE_RANGE, (("raw-number", "601"),)),
        (999, bench.GLUCOSE_CONTROL, State.ABOVE_RANGE, (("raw-number", "999"),)),
        (800, bench.KETONE, State.MEASURED, ()),
    ],
)
async def test_more_than_the_meter_measures_is_hi_and_no_number(
    value: int, kind: int, state: State, context: tuple[tuple[str, str], ...]
) -> None:
    """By which number it tells HI is not known; a dose must not be made of it."""
    found = await of(VivaChek([VivaChekRecord(TIME, value, kind)]))

    (seen,) = found.of(Observation)
    assert (seen.values[0].state, seen.context) == (state, context)


async def test_two_tests_of_one_minute_are_two() -> None:
    """The meter has no seconds, and two drops may well give one number."""
    found = await of(VivaChek([VivaChekRecord(TIME, 104)] * 2))

    older, newer = found.of(Observation)
    assert (older.context, newer.context) == ((), (("position-at-this-time", "2"),))


async def test_a_meter_that_begins_with_the_oldest_is_read_in_order_too() -> None:
    """Which way round records come is in no document."""

    class OldestFirst(VivaChek):
        def _tell(self, command: int, count: int) -> Iterator[bytes]:
            *records, end = super()._tell(command, count)
            yield from reversed(records)
            yield end

    assert numbers(await of(OldestFirst(RECORDS))) == [90, 91, 92]
    assert numbers(await of(VivaChek(RECORDS))) == [90, 91, 92]


async def test_an_unknown_readiness_is_not_gone_past() -> None:
    """It may say that the meter counts in mmol/L: 5.6 would become 56 mg/dL."""
    found = await of(VivaChek(RECORDS, ready=0x22))

    assert isinstance(found.error, DecodeError)
    assert "[22], not 11" in str(found.error)
    assert found.of(Observation) == []


class Forgetful(VivaChek):
    """Announces a record more than it has."""

    told = 0

    def _answer(self, command: int, mark: int, data: bytes) -> Iterator[bytes]:
        if command == 0xDB:
            return iter([bench._frame(0xDB, 0xAA, bytes([0, len(self._records) + 1]))])
        return super()._answer(command, mark, data)


async def test_what_comes_twice_alike_is_all_there_is() -> None:
    """A wrong count must not leave a whole meter unread."""
    assert numbers(await of(Forgetful(RECORDS))) == [90, 91, 92]


async def test_what_comes_otherwise_each_time_is_not_trusted() -> None:
    """A record that is lost on the way must not be missing unseen."""

    class Leaky(Forgetful):
        def _tell(self, command: int, count: int) -> Iterator[bytes]:
            self.told += 1
            frames = list(super()._tell(command, count))
            del frames[self.told % 3]
            yield from frames

    found = await of(Leaky(RECORDS))

    assert isinstance(found.error, NoReply)
    assert str(found.error) == "4 records were announced, and 2 came"
    assert found.of(Observation) == []


async def test_more_records_than_announced_are_asked_for_again() -> None:
    """One that came twice would be a second test that nobody took."""

    class Stammering(VivaChek):
        told = 0

        def _tell(self, command: int, count: int) -> Iterator[bytes]:
            self.told += 1
            records = super()._tell(command, count)
            for at, frame in enumerate(records):
                yield frame
                if self.told == 1 and at == 0:
                    yield frame

    found = await of(Stammering(RECORDS))

    assert found.error is None
    assert numbers(found) == [90, 91, 92]


async def test_what_comes_between_records_is_told_as_damage() -> None:
    """The agent counts it: nothing that a device says is dropped in silence."""

    class Talkative(VivaChek):
        def _tell(self, command: int, count: int) -> Iterator[bytes]:
            yield bench._frame(0x77, 0xAA, b"late")
            yield from super()._tell(command, count)

    link = SimGattLink(Talkative(RECORDS))

    found = await visit(DRIVER, link)

    assert numbers(found) == [90, 91, 92]
    assert Frame(Command.VERSION, Mark.ANSWER, b"late", Side.METER) in link.noted


async def test_an_end_that_does_not_come_costs_time_only() -> None:
    class Endless(VivaChek):
        def _tell(self, command: int, count: int) -> Iterator[bytes]:
            *records, _ = super()._tell(command, count)
            yield from records

    found = await of(Endless(RECORDS))

    assert found.error is None
    assert numbers(found) == [90, 91, 92]


async def test_a_record_that_cannot_be_read_is_kept_for_somebody_who_can() -> None:
    @dataclass(frozen=True)
    class Odd(VivaChekRecord):
        def encode(self) -> bytes:
            return super().encode()[:8] + b"\x77"

    found = await of(VivaChek([Odd(TIME, 100), RECORDS[2]]))

    (lost,) = found.of(Undecoded)
    assert "'kind' is 0x77" in lost.problem
    assert len(lost.payload) == 23
    assert numbers(found) == [92]


async def test_the_clock_is_set_behind_the_readings_to_the_second() -> None:
    """It can't be read, so it is set whenever that is allowed."""
    now = datetime(2026, 3, 10, 9, 17, 41)  # noqa: DTZ001 - a wall clock
    device = VivaChek(RECORDS)
    link = SimGattLink(device)

    found = await visit(DRIVER, link, terms=Terms(set_clock=lambda: now))

    assert found.error is None
    assert device.set_to == now
    assert [payload[5] for _, payload in link.written][-2:] == [0xDD, 0x44]


async def test_the_decoy_that_looks_like_a_serial_port_is_left_alone() -> None:
    link = SimGattLink(VivaChek(RECORDS))

    await visit(DRIVER, link)

    assert {str(uuid)[4:8] for uuid, _ in link.written} == {"cdd2"}


async def test_another_device_is_told_so() -> None:
    class Other(VivaChek):
        def __init__(self) -> None:
            super().__init__()
            self.services = {}

    found = await of(Other())

    assert isinstance(found.error, NoReply)

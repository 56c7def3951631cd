"""The Microlife driver against the simulated cuff."""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from drivers.microlife import DRIVER
from drivers.sdk import (
    Checkpoint,
    DateTime,
    DecodeError,
    DeviceClock,
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
from firmware_sim.bench import Send
from firmware_sim.devices.microlife import MicrolifeCuff, MicrolifeRecord
from firmware_sim.faults import Faults, faulty
from firmware_sim.link import SimGattLink
from protocols.gatt.uuid import sig
from tests.drivers.collecting import Visit, visit

NOW = datetime(2026, 3, 14, 9, 26, 53)  # noqa: DTZ001 - a wall clock
TIME = datetime(2022, 7, 17, 17, 56)  # noqa: DTZ001 - a wall clock
IDENTITY = Identity("Microlife", "BP3GY1-2N", "ML-00012345", "1.0")
# A captured record: irregular pulse, the cuff fitted.
CAPTURED = MicrolifeRecord(147, 59, 48, TIME, 0xC0)
UNSET = MicrolifeRecord(144, 68, 51, None)
SEEN = Observation(
    kind=Kind.BLOOD_PRESSURE,
    values=(
        Value(Quantity.SYSTOLIC, Unit.MM_HG, Decimal(147)),
        Value(Quantity.DIASTOLIC, Unit.MM_HG, Decimal(59)),
        Value(Quantity.PULSE_RATE, Unit.PER_MINUTE, Decimal(48)),
    ),
    device_time=DateTime(2022, 7, 17, 17, 56, 0),
    slot=1,
    status=("irregular_pulse",),
    raw=(bytes.fromhex("93 3b 30 16 07 11 11 38 c0 00"),),
)


def now() -> datetime:
    return NOW


def cuff(*records: MicrolifeRecord, **options: object) -> MicrolifeCuff:
    return MicrolifeCuff(records, now, **options)  # type: ignore[arg-type]


async def read(
    device: MicrolifeCuff, mark: int | None = None, *, may_set: bool = False
) -> Visit:
    terms = Terms(mark=mark, set_clock=now if may_set else None)
    return await visit(DRIVER, SimGattLink(device), terms=terms)


async def test_a_captured_record_is_read_whole() -> None:
    found = await read(cuff(CAPTURED))

    assert found.error is None
    assert found.events[:-1] == [IDENTITY, DeviceClock(DateTime.of(NOW)), SEEN]
    assert isinstance(found.events[-1], Checkpoint)


@pytest.mark.parametrize("which", [5, 6])
async def test_a_packet_that_came_twice_makes_no_record(which: int) -> None:
    """It shifts all behind it, and by one sum in 256 the answer looks right."""
    for more in range(256):
        records = [
            MicrolifeRecord(120 + n, 70 + n, 60, TIME + timedelta(minutes=n))
            for n in range(8)
        ]
        first = replace(
            records[0], systolic=60 + more % 128, pulse=50 + more // 128 * 128
        )
        shown = [first, *records[1:]]
        repeats = Faults(repeated=frozenset({which}))
        link = SimGattLink(faulty(cuff(*shown), repeats))

        found = await visit(DRIVER, link)

        seen = [one for one in found.events if isinstance(one, Observation)]
        told = [one.values[0].number for one in seen]
        assert told == [Decimal(one.systolic) for one in shown]


async def test_it_writes_nothing_that_changes_the_cuff() -> None:
    """The six bytes of a clock in the request for records are zeros."""
    device = cuff(CAPTURED)
    link = SimGattLink(device)
    await visit(DRIVER, link)

    assert [payload for _, payload in link.written] == [
        bytes.fromhex("4d ff 00 02 0c 5a"),
        *2 * [bytes.fromhex("4d ff 00 09 00 00 00 00 00 00 00 fd 52")],
        bytes.fromhex("4d ff 00 02 04 52"),
    ]
    assert device.set_to is None
    assert device.records == (CAPTURED,)


@pytest.mark.parametrize(
    ("flags", "status", "context"),
    [
        (0x80, (), ()),
        (0x00, ("cuff_too_loose",), ()),
        (0xA0, ("atrial_fibrillation",), ()),
        (0xF8, ("irregular_pulse", "atrial_fibrillation"), (("mam-mode", "3"),)),
    ],
)
async def test_what_the_cuff_noticed_comes_with_the_values(
    flags: int, status: tuple[str, ...], context: tuple[tuple[str, str], ...]
) -> None:
    """A pressure of a cuff that did not fit is no pressure to treat by."""
    found = await read(cuff(MicrolifeRecord(120, 80, 60, TIME, flags)))

    (seen,) = found.of(Observation)
    assert (seen.status, seen.context) == (status, context)


@pytest.mark.parametrize(("user", "slot"), [(1, 1), (2, 2), (3, None), (0, None)])
async def test_a_reading_is_of_the_user_that_the_cuff_names(
    user: int, slot: int | None
) -> None:
    """A guest is nobody."""
    found = await read(cuff(CAPTURED, user=user))

    assert [seen.slot for seen in found.of(Observation)] == [slot]


async def test_records_of_a_clock_never_set_are_told_once() -> None:
    """Nothing but their place tells them from each other, or from news."""
    device = cuff(UNSET, UNSET, UNSET, CAPTURED, is_set=False)
    first = await read(device)
    device.store(UNSET)
    second = await read(device, first.of(Checkpoint)[-1].mark)
    third = await read(device, second.of(Checkpoint)[-1].mark)

    assert len(first.of(Observation)) == 4
    assert [seen.device_time for seen in second.of(Observation)] == [
        DateTime(2017, 0, 0, 0, 0, 0)
    ]
    assert third.of(Observation) == []
    assert first.of(DeviceClock) == []


async def test_equal_readings_of_one_minute_stay_two() -> None:
    found = await read(cuff(CAPTURED, CAPTURED))

    assert [dict(seen.context) for seen in found.of(Observation)] == [
        {},
        {"position-at-this-time": "2"},
    ]


async def test_a_memory_that_begins_anew_is_read_whole() -> None:
    """A mark that is found nowhere must not hide what is there."""
    first = await read(cuff(CAPTURED))
    second = await read(cuff(UNSET), first.of(Checkpoint)[-1].mark)

    assert len(second.of(Observation)) == 1


async def test_a_pressure_of_zero_is_no_value() -> None:
    found = await read(cuff(MicrolifeRecord(0, 0, 0, TIME)))

    (seen,) = found.of(Observation)
    assert {value.state for value in seen.values} == {State.NO_VALUE}


@pytest.mark.parametrize("echoes", [False, True])
async def test_a_clock_is_set_behind_the_records_and_only_with_leave(
    echoes: bool,
) -> None:
    device = cuff(CAPTURED, is_set=False, echoes=echoes)

    await read(device)
    assert device.set_to is None
    found = await read(device, may_set=True)

    assert found.error is None
    assert len(found.of(Observation)) == 1
    assert device.set_to == NOW


async def test_a_cuff_that_tells_no_clock_is_read_all_the_same() -> None:
    for device in (
        cuff(CAPTURED, knows_clock=False),
        cuff(CAPTURED, refuses=frozenset({0x0C})),
    ):
        found = await read(device)

        assert found.error is None
        assert found.of(Observation) == [SEEN]
        assert found.of(DeviceClock) == []


async def test_a_refusal_is_no_empty_memory() -> None:
    found = await read(cuff(CAPTURED, refuses=frozenset({0x00})))

    assert isinstance(found.error, NoReply)
    assert "refuses to tell its records" in str(found.error)


async def test_a_refused_clock_is_told_when_all_is_read() -> None:
    device = cuff(CAPTURED, is_set=False, refuses=frozenset({0x0D}))

    found = await read(device, may_set=True)

    assert found.of(Observation) == [SEEN]
    assert "refuses to have its clock set" in str(found.error)


class _Saying(MicrolifeCuff):
    """A cuff that answers the question for its records with something else."""

    said = b""

    def _history(self) -> bytes:
        return self.said


@pytest.mark.parametrize(
    ("said", "marks"),
    [(b"\x92", []), (b"\x00\x92", []), (bytes(38), [0]), (bytes(58), [0])],
    ids=["code", "echoed", "no place", "two empty ones"],
)
async def test_nothing_there_is_an_empty_memory(said: bytes, marks: list[int]) -> None:
    """By a code, that does not tell whose; by no place, or by two that are empty."""
    device = _Saying([], now)
    device.said = said

    found = await read(device)

    assert found.error is None
    assert found.of(Observation) == []
    assert [one.mark for one in found.of(Checkpoint)] == marks


async def test_fewer_records_than_announced_are_kept_as_bytes_and_told() -> None:
    """Whatever is wrong with them, nobody shall take the rest for all."""
    device = _Saying([], now, is_set=False)
    device.said = bytes([0, 0, 0, 2, 1, 0, 0, 0]) + bytes(30) + CAPTURED.encode()

    found = await read(device, may_set=True)

    assert isinstance(found.error, DecodeError)
    assert found.of(Observation) == []
    assert [one.payload for one in found.of(Undecoded)] == [device.said]
    assert device.set_to is None


async def test_an_empty_place_among_those_counted_is_a_record_that_is_missing() -> None:
    """No mark stands over it; so what has no date waits, lest it come each time."""
    device = _Saying([], now)
    whole = [UNSET.encode(), CAPTURED.encode(), bytes(10)]
    device.said = bytes([0, 0, 0, 3, 1, 0, 0, 0]) + bytes(30) + b"".join(whole)

    found = await read(device)

    assert isinstance(found.error, NoReply)
    assert str(found.error) == (
        "the cuff counts 3 records and gave 2; what is missing is asked for again at "
        "the next visit"
    )
    assert found.of(Observation) == [SEEN]
    assert found.of(Checkpoint) == []


async def test_an_echo_of_the_host_answers_nothing() -> None:
    """A device on the same service that repeats what it hears is no cuff."""

    class Echo(MicrolifeCuff):
        def write(self, uuid: object, payload: bytes) -> object:  # type: ignore[override]
            del uuid
            return [Send(sig(0xFFF1), payload)]

    found = await visit(DRIVER, SimGattLink(Echo([CAPTURED], now)))  # type: ignore[arg-type]

    assert isinstance(found.error, NoReply)


async def test_news_are_found_also_when_the_oldest_were_forgotten() -> None:
    """A full memory pushes out what the last visit ended with, one by one."""
    records = [
        MicrolifeRecord(100 + n, 60, 50, TIME + timedelta(hours=n)) for n in range(99)
    ]
    device = cuff(*records)
    first = await read(device)
    news = MicrolifeRecord(222, 111, 99, TIME + timedelta(days=30))
    device.store(news)

    second = await read(device, first.of(Checkpoint)[-1].mark)

    assert len(first.of(Observation)) == 99
    (seen,) = second.of(Observation)
    assert seen.values[0].number == 222

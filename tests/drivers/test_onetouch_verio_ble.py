"""The Verio BLE driver against the simulated meter."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from drivers.onetouch_verio_ble import DRIVER
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
from firmware_sim.bench import Action, Send
from firmware_sim.devices.gatt_glucose import GlucoseMeter
from firmware_sim.devices.onetouch_verio_ble import CAPACITY, VerioBle, VerioBleRecord
from firmware_sim.faults import Faults, faulty
from firmware_sim.link import SimGattLink
from protocols.crc import ccitt_false
from tests.drivers.collecting import Visit, visit

START = datetime(2026, 3, 1, 7, 30)  # noqa: DTZ001 - a wall clock
NOW = datetime(2026, 3, 1, 12, 0)  # noqa: DTZ001 - a wall clock
WRITE = UUID("af9df7a2-e595-11e3-96b4-0002a5d5c51b")
NOTIFY = UUID("af9df7a3-e595-11e3-96b4-0002a5d5c51b")


def record(number: int, **more: object) -> VerioBleRecord:
    """Return a record that differs from every other one."""
    time = START + timedelta(minutes=7 * number)
    return replace(VerioBleRecord(time, 80 + number % 500), **more)  # type: ignore[arg-type]


def numbers(found: Visit) -> list[int | None]:
    return [one.sequence for one in found.of(Observation)]


def asked(link: SimGattLink) -> list[int]:
    """Return the numbers of the records that were asked for, in order."""
    packets = [payload for uuid, payload in link.written if uuid == WRITE]
    return [one[6] | one[7] << 8 for one in packets if one[5:6] == b"\xb3"]


def test_the_bench_answers_as_documented() -> None:
    """By the document's bytes: 2026-03-01 07:30 is 0x3136A778."""
    meter = VerioBle([record(0)] * 5)
    question = bytes.fromhex("01020a0004b30500034e75")

    first, second = meter.write(WRITE, question)

    assert first == Send(NOTIFY, b"\x81")
    assert isinstance(second, Send)
    assert second.payload[:-2] == bytes.fromhex(
        "01 02 13 00 04 06 78 a7 36 31 50 00 00 00 00 00 00 03"
    )


async def test_every_record_comes_exactly() -> None:
    """Values, clock and number; and who the meter is, first."""
    link = SimGattLink(VerioBle([record(0), record(1, control=1)]))

    found = await visit(DRIVER, link)

    assert found.error is None
    assert found.events[:2] == [
        Identity("LifeScan", "OneTouch Verio Flex", "SIMVF0001", "1.0"),
        DeviceClock(DateTime(2026, 3, 1, 12, 0, 0)),
    ]
    by_number = {one.sequence: one for one in found.of(Observation)}
    assert by_number[1] == Observation(
        kind=Kind.GLUCOSE,
        values=(Value(Quantity.GLUCOSE, Unit.MG_PER_DL, Decimal(80)),),
        device_time=DateTime(2026, 3, 1, 7, 30, 0),
        sequence=1,
        raw=(bytes.fromhex("04 06 78 a7 36 31 50 00 00 00 00 00 00"),),
    )
    assert by_number[2].kind == Kind.CONTROL_SOLUTION
    assert isinstance(found.events[-1], Checkpoint)
    # As every known program begins: clock, count, newest; each acknowledged.
    assert [payload[4:-3].hex() for _, payload in link.written[:6:2]] == [
        "042002",
        "042700",
        "040a0206",
    ]
    assert {payload for _, payload in link.written[1::2]} == {b"\x81"}


@pytest.mark.parametrize(
    ("mg_per_dl", "state"),
    [
        (19, State.BELOW_RANGE),
        (20, State.MEASURED),
        (600, State.MEASURED),
        (601, State.ABOVE_RANGE),
    ],
)
async def test_what_is_no_measured_value_is_never_one(
    mg_per_dl: int, state: State
) -> None:
    found = await visit(DRIVER, SimGattLink(VerioBle([record(0, mg_per_dl=mg_per_dl)])))

    (value,) = found.of(Observation)[0].values
    assert value.state == state
    assert (value.number is not None) is (state == State.MEASURED)


async def test_a_deleted_record_is_none_and_hides_no_older_one() -> None:
    """Its place stays in the memory, and is not counted."""
    meter = VerioBle([record(n) for n in range(1, 9)])
    for number in (8, 5, 4):
        meter.delete(number)

    found = await visit(DRIVER, SimGattLink(meter))

    assert found.error is None
    assert sorted(n or 0 for n in numbers(found)) == [1, 2, 3, 6, 7]


async def test_only_what_is_new_is_read_at_the_next_visit() -> None:
    """A mark takes up behind its record, oldest first, with marks on the way."""
    meter = VerioBle([record(n) for n in range(1, 11)])
    first = await visit(DRIVER, SimGattLink(meter))
    (mark,) = first.of(Checkpoint)
    for number in range(11, 81):
        meter.store(record(number))
    link = SimGattLink(meter)

    found = await visit(DRIVER, link, mark.mark)

    assert found.error is None
    assert numbers(found) == [*range(11, 81)]
    assert [one.mark % 65536 for one in found.of(Checkpoint)] == [32, 64, 80]
    assert asked(link) == [*range(10, 81)]


async def test_a_meter_that_was_reset_is_read_whole() -> None:
    """Another record stands under the number of the mark."""
    first = await visit(DRIVER, SimGattLink(VerioBle([record(n) for n in range(1, 6)])))
    meter = VerioBle([record(100 + n) for n in range(1, 9)])

    found = await visit(DRIVER, SimGattLink(meter), first.of(Checkpoint)[-1].mark)

    assert sorted(n or 0 for n in numbers(found)) == [*range(1, 9)]


async def test_a_mark_that_the_memory_forgot_costs_no_record() -> None:
    meter = VerioBle([record(1)])
    first = await visit(DRIVER, SimGattLink(meter))
    for number in range(2, CAPACITY + 10):
        meter.store(record(number))

    found = await visit(DRIVER, SimGattLink(meter), first.of(Checkpoint)[-1].mark)

    assert sorted(n or 0 for n in numbers(found)) == [*range(10, CAPACITY + 10)]


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"control": 2}, "neither 0 nor 1"),
        ({"tail": bytes.fromhex("00 00 01 00")}, "may be no glucose"),
    ],
)
async def test_a_record_of_no_known_kind_is_kept_and_costs_no_other(
    more: dict[str, object], problem: str
) -> None:
    """What may be no glucose goes on as bytes, and never as a value."""
    found = await visit(DRIVER, SimGattLink(VerioBle([record(0, **more), record(1)])))

    assert found.error is None
    (kept,) = found.of(Undecoded)
    assert kept.source == "record 1"
    assert problem in kept.problem
    assert numbers(found) == [2]


async def test_a_byte_that_nobody_knows_is_told_beside_the_value() -> None:
    meter = VerioBle([record(0, tail=bytes.fromhex("02 00 00 00"))])

    found = await visit(DRIVER, SimGattLink(meter))

    assert found.of(Observation)[0].context == (("unknown-byte", "0x02"),)


async def test_two_that_are_alike_keep_their_numbers() -> None:
    """Two answers alike may be one that came twice, so it is asked once more."""
    found = await visit(DRIVER, SimGattLink(VerioBle([record(0)] * 3)))

    assert sorted(n or 0 for n in numbers(found)) == [1, 2, 3]


@pytest.mark.parametrize("repeated", range(1, 20))
async def test_an_answer_that_comes_twice_is_no_other_record_s(repeated: int) -> None:
    """An answer does not say which record it is: a late one must not shift them."""
    records = [record(n) for n in range(1, 7)]

    meter = faulty(VerioBle(records), Faults(repeated=frozenset({repeated})))
    found = await visit(DRIVER, SimGattLink(meter))

    assert found.error is None
    assert {one.sequence: one.device_time for one in found.of(Observation)} == {
        n: DateTime.of(record(n).time) for n in range(1, 7)
    }


class _Answers(VerioBle):
    """Answers some messages otherwise, each packet made by the bench."""

    instead: dict[bytes, bytes]

    def _reply(self, message: bytes) -> bytes:
        return self.instead.get(message[1:], super()._reply(message))


@pytest.mark.parametrize(
    ("question", "answer", "error", "text"),
    [
        (b"\x20\x02", b"\x07\x03", DecodeError, "not allowed"),
        (b"\x27\x00", b"\x06\xff\xff", NoReply, "holds 65535 records"),
        (b"\x20\x02", b"\x06\x00", NoReply, "no answer to the clock"),
    ],
)
async def test_what_the_meter_must_not_say_is_told(
    question: bytes, answer: bytes, error: type[Exception], text: str
) -> None:
    class _Odd(_Answers):
        instead = {question: answer}  # noqa: RUF012 - a constant

    found = await visit(DRIVER, SimGattLink(_Odd([record(0)])))

    assert isinstance(found.error, error)
    assert text in str(found.error)


async def test_a_meter_that_does_not_take_the_clock_is_told() -> None:
    """Nothing but the clock itself says that it was set."""

    class _Stubborn(VerioBle):
        def _set_clock(self, seconds: int) -> None:
            pass

    late = NOW - timedelta(days=9)
    meter = _Stubborn([record(0)], clock=lambda: late)

    found = await visit(DRIVER, SimGattLink(meter), terms=Terms(set_clock=lambda: NOW))

    assert isinstance(found.error, NoReply)
    assert "2026-03-01 12:00:00" in str(found.error)
    assert numbers(found) == [1]


async def test_another_kind_of_meter_is_told() -> None:
    found = await visit(DRIVER, SimGattLink(GlucoseMeter([])))

    assert isinstance(found.error, NoReply)
    assert found.events == []


async def test_a_frame_in_several_packets_is_damage() -> None:
    """Nobody knows how it is to be acknowledged; it must not be half a value."""

    class _Pieces(VerioBle):
        def write(self, uuid: UUID, payload: bytes) -> Iterable[Action]:
            for action in super().write(uuid, payload):
                raw = action.payload if isinstance(action, Send) else b""
                if len(raw) > 1:
                    yield Send(NOTIFY, b"\x02" + raw[1:9])
                    yield Send(NOTIFY, b"\x41" + raw[9:])
                else:
                    yield action

    link = SimGattLink(_Pieces([record(0)]))

    found = await visit(DRIVER, link)

    assert isinstance(found.error, NoReply)
    assert len(link.noted) >= 2


async def test_the_clock_is_set_behind_the_download_if_allowed() -> None:
    """Seconds of local time since 2000, and looked at once it is set."""
    meter = VerioBle([record(0)], clock=lambda: START - timedelta(hours=1))
    link = SimGattLink(meter)

    found = await visit(DRIVER, link, terms=Terms(set_clock=lambda: START))

    assert found.error is None
    assert meter.set_to == START
    setting = bytes.fromhex("01 02 0d 00 04 20 01 78 a7 36 31 03")
    assert [raw[:-2] for _, raw in link.written].count(setting) == 1


async def test_a_meter_that_never_stops_is_left() -> None:
    """A flood must not hold the station for ever."""

    class _Floods(VerioBle):
        def write(self, uuid: UUID, payload: bytes) -> Iterable[Action]:
            for action in super().write(uuid, payload):
                yield from [action] * 50_000

    found = await visit(DRIVER, SimGattLink(_Floods([record(0)])))

    assert isinstance(found.error, NoReply)


async def test_an_empty_memory_and_nothing_new_are_no_errors() -> None:
    empty = await visit(DRIVER, SimGattLink(VerioBle()))
    assert (empty.error, empty.events[2:]) == (None, [])

    meter = VerioBle([record(1)])
    first = await visit(DRIVER, SimGattLink(meter))
    again = await visit(DRIVER, SimGattLink(meter), first.of(Checkpoint)[-1].mark)
    assert (again.error, again.events[2:]) == (None, [])


async def test_a_number_that_has_no_record_costs_one_look_at_all_of_them() -> None:
    """It is refused as one that the meter does not give now: the count tells which."""
    meter = VerioBle([record(n) for n in range(1, 6)])
    first = await visit(DRIVER, SimGattLink(meter))
    for number in range(6, 9):
        meter.store(record(number))
    del meter._held[7], meter._held[3]

    found = await visit(DRIVER, SimGattLink(meter), first.of(Checkpoint)[-1].mark)
    meter.store(record(9))
    link = SimGattLink(meter)
    again = await visit(DRIVER, link, found.of(Checkpoint)[-1].mark)

    assert (found.error, again.error) == (None, None)
    assert numbers(found) == [6, 8, 6, 5, 4, 2, 1]
    assert (numbers(again), asked(link)) == ([9], [8, 9])


async def test_a_newest_number_without_a_record_is_asked_for_again() -> None:
    """The meter may count a record before it gives it; no mark stands over it."""
    meter = VerioBle([record(n) for n in range(1, 6)])
    late = meter._held.pop(5)
    first = await visit(DRIVER, SimGattLink(meter))
    link = SimGattLink(meter)
    second = await visit(DRIVER, link, first.of(Checkpoint)[-1].mark)
    meter._held[5] = late

    third = await visit(DRIVER, SimGattLink(meter), first.of(Checkpoint)[-1].mark)

    assert [one.error for one in (first, second, third)] == [None] * 3
    assert numbers(first) == [4, 3, 2, 1]
    assert (second.events[2:], asked(link)) == ([], [4, 5])
    assert numbers(third) == [5]


async def test_a_meter_that_refuses_most_of_its_records_is_soon_left() -> None:
    """It is not asked for hundreds of them in vain; and no mark stands over them."""
    meter = VerioBle([record(n) for n in range(1, 101)])
    meter.refused = range(1, 98)
    link = SimGattLink(meter)

    found = await visit(DRIVER, link)

    assert isinstance(found.error, NoReply)
    assert str(found.error) == (
        "the meter counts 100 records and gave 3; record 97: 'status' is 0x07, not "
        "allowed, and not 0x06; what is missing is asked for again at the "
        "next visit"
    )
    assert numbers(found) == [100, 99, 98]
    assert found.of(Checkpoint) == []
    assert len(asked(link)) == 35


async def test_as_many_as_are_counted_are_looked_for_and_no_more() -> None:
    """Many numbers without a record hide none; below the oldest, nothing is asked."""
    meter = VerioBle([record(n) for n in range(1, 101)])
    for number in (*range(1, 20), *range(21, 100, 2)):
        del meter._held[number]
    link = SimGattLink(meter)

    found = await visit(DRIVER, link)

    assert found.error is None
    assert numbers(found) == [*range(100, 19, -2)]
    assert asked(link) == [*range(100, 19, -1)]


async def test_what_came_before_a_refusal_is_not_read_again() -> None:
    meter = VerioBle([record(1)])
    first = await visit(DRIVER, SimGattLink(meter))
    for number in range(2, 11):
        meter.store(record(number))
    meter.refused = {7}

    cut = await visit(DRIVER, SimGattLink(meter), first.of(Checkpoint)[-1].mark)
    meter.refused = ()
    healed = await visit(DRIVER, SimGattLink(meter), cut.of(Checkpoint)[-1].mark)

    assert isinstance(cut.error, NoReply)
    assert numbers(cut) == [*range(2, 7), 10, 9, 8, *range(6, 0, -1)]
    assert numbers(healed) == [7, 8, 9, 10]


@pytest.mark.parametrize("counts", [False, True])
async def test_a_deleted_record_stands_for_none_that_is_refused(
    counts: bool,
) -> None:
    """Two that were deleted must not make up for two that did not come."""
    meter = VerioBle([record(n) for n in range(1, 9)])
    meter.counts_deleted = counts
    meter.delete(8)
    meter.delete(5)
    meter.refused = {1, 2}

    cut = await visit(DRIVER, SimGattLink(meter))
    meter.refused = ()
    marks = [one.mark for one in cut.of(Checkpoint)]
    healed = await visit(DRIVER, SimGattLink(meter), marks[-1] if marks else None)

    assert isinstance(cut.error, NoReply)
    assert healed.error is None
    assert sorted(n or 0 for n in numbers(healed)) == [1, 2, 3, 4, 6, 7]


async def test_a_meter_that_counts_deleted_records_is_well_at_the_second_visit() -> (
    None
):
    """Its count does not fit, and what is missing is below the oldest one it has."""
    meter = VerioBle([record(n) for n in range(1, CAPACITY + 9)])
    meter.counts_deleted = True
    meter.delete(CAPACITY)

    first = await visit(DRIVER, SimGattLink(meter))
    second = await visit(DRIVER, SimGattLink(meter), first.of(Checkpoint)[-1].mark)
    meter.store(record(CAPACITY + 9))
    link = SimGattLink(meter)
    third = await visit(DRIVER, link, second.of(Checkpoint)[-1].mark)

    assert isinstance(first.error, NoReply)
    assert len(first.of(Observation)) == CAPACITY - 1
    assert (second.error, third.error) == (None, None)
    assert (numbers(third), len(asked(link))) == ([CAPACITY + 9], 2)


async def test_an_answer_of_another_shape_is_no_record() -> None:
    class _Talks(VerioBle):
        def _say(self, question: bytes, answer: bytes) -> Iterator[Action]:
            stray = bytes.fromhex("02 08 00 04 06 03")
            crc = ccitt_false(stray).to_bytes(2, "little")
            yield Send(NOTIFY, b"\x01" + stray + crc)
            yield from super()._say(question, answer)

    found = await visit(DRIVER, SimGattLink(_Talks([record(1)])))

    assert found.error is None
    assert numbers(found) == [1]

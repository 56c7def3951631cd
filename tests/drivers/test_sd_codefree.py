"""The SD CodeFree driver against the simulated meter."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from drivers.sd_codefree import DRIVER
from drivers.sdk import (
    DateTime,
    Identity,
    Kind,
    LinkLost,
    NoReply,
    Observation,
    Quantity,
    Terms,
    Undecoded,
    Unit,
    Value,
)
from firmware_sim.bench import Wait
from firmware_sim.devices.sd_codefree import CodeFree, CodeFreeRecord
from firmware_sim.link import (
    Damage,
    SimSerialLink,
    bytewise,
    lossy,
    noisy,
    twice,
    whole,
)
from protocols.stream import Damaged
from tests.drivers.collecting import visit

START = datetime(2026, 3, 1, 7, 30, 15)  # noqa: DTZ001 - a wall clock
RECORDS = [CodeFreeRecord(START + timedelta(hours=n), 80 + n) for n in range(7)]
IDENTITY = Identity("SD Biosensor", "SD CodeFree")
FETCH = bytes.fromhex("53 10 04 10 60 70 aa")
HELLO_BACK = bytes.fromhex("53 10 04 10 40 50 aa")


def told(record: CodeFreeRecord, **context: str) -> Observation:
    """Return what a record must become: whole minutes, mg/dL."""
    number = Decimal(record.mg_per_dl)
    return Observation(
        kind=Kind.GLUCOSE,
        values=(Value(Quantity.GLUCOSE, Unit.MG_PER_DL, number),),
        device_time=DateTime.of(record.time.replace(second=0)),
        context=tuple(sorted(context.items())),
        raw=(record.encode(),),
    )


EVERYTHING = [IDENTITY, *map(told, RECORDS)]


@pytest.mark.parametrize("damage", [whole, bytewise, twice, noisy])
async def test_every_record_comes_once_oldest_first_however_it_arrives(
    damage: Damage,
) -> None:
    """A repeated answer must not be taken for the next record."""
    meter = CodeFree(RECORDS)
    link = SimSerialLink(meter, damage)

    found = await visit(DRIVER, link)

    assert found.error is None
    assert found.events == EVERYTHING
    assert link.written == [HELLO_BACK, *[FETCH] * 8]
    assert not meter.shows_e5


@pytest.mark.parametrize("seed", range(6))
async def test_a_record_that_gets_lost_is_missed_and_no_other_takes_its_place(
    seed: int,
) -> None:
    """The meter tells each record once a time; what is missing must be said."""
    link = SimSerialLink(CodeFree(RECORDS), lossy(seed, 0.2))

    found = await visit(DRIVER, link)

    seen = found.of(Observation)
    assert {*seen} <= {*EVERYTHING}
    assert len(seen) == len({*seen})
    assert (found.error is None) is (len(seen) == len(RECORDS))


@pytest.mark.parametrize("lost", range(3, 10))
async def test_what_is_missing_is_said_and_the_next_visit_finds_it(lost: int) -> None:
    count = 0

    def damage(answer: bytes) -> Iterator[bytes]:
        nonlocal count
        count += 1
        if count != lost:
            yield answer

    meter = CodeFree(RECORDS)
    first = await visit(DRIVER, SimSerialLink(meter, damage))
    second = await visit(DRIVER, SimSerialLink(meter))

    assert isinstance(first.error, NoReply)
    assert "6 of 7 records came; switch the meter off and on" in str(first.error)
    assert len(first.of(Observation)) == 6
    assert second.events == EVERYTHING


async def test_a_goodbye_that_gets_lost_costs_nothing() -> None:
    """All records are here, by their count; the meter has hung up all the same."""
    count = 0

    def damage(answer: bytes) -> Iterator[bytes]:
        nonlocal count
        count += 1
        if count != 10:
            yield answer

    found = await visit(DRIVER, SimSerialLink(CodeFree(RECORDS), damage))

    assert found.error is None
    assert found.events == EVERYTHING


@pytest.mark.parametrize(
    ("meal", "context"),
    [(0x00, {}), (0x10, {"meal": "preprandial"}), (0x20, {"meal": "postprandial"})],
)
async def test_a_meal_comes_with_its_record(meal: int, context: dict[str, str]) -> None:
    record = CodeFreeRecord(START, 105, meal)

    found = await visit(DRIVER, SimSerialLink(CodeFree([record])))

    assert found.of(Observation) == [told(record, **context)]


@pytest.mark.parametrize(
    "odd",
    [
        CodeFreeRecord(START, 105, 0x30),
        CodeFreeRecord(START, 601),
        CodeFreeRecord(START, 0xFFFF),
        CodeFreeRecord(START, 9),
        CodeFreeRecord(START, 0),
    ],
)
async def test_what_may_be_hi_or_lo_or_control_solution_is_no_number(
    odd: CodeFreeRecord,
) -> None:
    """How the meter stores them nobody knows; as a number it would be treated."""
    found = await visit(DRIVER, SimSerialLink(CodeFree([*RECORDS, odd])))

    assert found.error is None
    assert [one.payload for one in found.of(Undecoded)] == [odd.encode()]
    assert found.of(Observation) == EVERYTHING[1:]


async def test_two_equal_records_of_one_minute_stay_two() -> None:
    twins = [CodeFreeRecord(START, 105)] * 2

    found = await visit(DRIVER, SimSerialLink(CodeFree(twins)))

    second = told(twins[1], **{"position-at-this-time": "2"})
    assert found.of(Observation) == [told(twins[0]), second]


class _Played:
    """A meter that says what a test has written down for it."""

    baud = 38400

    def __init__(
        self, unasked: Iterable[bytes | Wait], *answers: Iterable[bytes | Wait]
    ) -> None:
        self._unasked, self._answers = unasked, iter(answers)

    def plugged(self) -> Iterable[bytes | Wait]:
        return self._unasked

    def feed(self, _: bytes) -> Iterable[bytes | Wait]:
        return next(self._answers, ())


def frame(message: bytes) -> bytes:
    check = 0
    for byte in message:
        check ^= byte
    return bytes([0x53, 0x20, len(message) + 2]) + message + bytes([check, 0xAA])


HELLO, GOODBYE = frame(b"\x10\x30"), frame(b"\x10\x70")
COUNT_1 = frame(b"\x30\x00\x01" + b"\xaa" * 19)
RECORD = frame(RECORDS[0].encode())


async def test_the_meter_may_be_switched_on_late() -> None:
    """A person needs time to press its button."""
    meter = _Played([Wait(90), HELLO], [COUNT_1], [RECORD], [GOODBYE])

    found = await visit(DRIVER, SimSerialLink(meter))

    assert found.events == [IDENTITY, told(RECORDS[0])]


async def test_what_comes_before_its_first_frame_is_let_pass() -> None:
    meter = _Played([b"\0", GOODBYE, HELLO], [COUNT_1], [RECORD], [GOODBYE])
    link = SimSerialLink(meter)

    found = await visit(DRIVER, link)

    assert found.events == [IDENTITY, told(RECORDS[0])]
    assert Damaged(b"\0", "noise") in link.noted


async def test_a_meter_that_is_not_switched_on_is_told() -> None:
    found = await visit(DRIVER, SimSerialLink(_Played([])))

    assert isinstance(found.error, NoReply)
    assert found.events == []


@pytest.mark.parametrize("answer", [(), (frame(b"\x31\x00\x01" + b"\xaa" * 19),)])
async def test_a_greeting_is_answered_only_once(answer: tuple[bytes, ...]) -> None:
    """What the meter does not expect makes it show E-5."""
    link = SimSerialLink(_Played([HELLO], answer))

    found = await visit(DRIVER, link)

    assert isinstance(found.error, NoReply)
    assert link.written == [HELLO_BACK]


async def test_a_meter_that_falls_silent_is_not_asked_for_ever() -> None:
    link = SimSerialLink(_Played([HELLO], [COUNT_1]))

    found = await visit(DRIVER, link)

    assert isinstance(found.error, NoReply)
    assert link.written == [HELLO_BACK, FETCH, FETCH, FETCH]


async def test_another_meter_switched_on_meanwhile_is_not_read_as_this_one() -> None:
    """Nobody may get another person's readings."""
    meter = _Played([HELLO], [COUNT_1], [HELLO])

    found = await visit(DRIVER, SimSerialLink(meter))

    assert isinstance(found.error, LinkLost)
    assert found.of(Observation) == []


async def test_more_records_than_it_counted_are_not_trusted() -> None:
    meter = _Played([HELLO], [COUNT_1], [RECORD], [RECORD], [RECORD])

    found = await visit(DRIVER, SimSerialLink(meter))

    assert isinstance(found.error, NoReply)
    assert "more than 1 records came" in str(found.error)


async def test_its_own_words_coming_back_answer_nothing() -> None:
    """Some adapters echo."""
    meter = _Played([HELLO], [HELLO_BACK, COUNT_1], [FETCH, RECORD], [FETCH, GOODBYE])

    found = await visit(DRIVER, SimSerialLink(meter))

    assert found.events == [IDENTITY, told(RECORDS[0])]


async def test_the_clock_is_never_set_for_the_meter_takes_it_instead_of_results() -> (
    None
):
    meter = CodeFree(RECORDS)

    found = await visit(
        DRIVER, SimSerialLink(meter), terms=Terms(set_clock=lambda: START)
    )

    assert found.events == EVERYTHING
    assert meter.set_to is None


async def test_the_simulated_meter_takes_a_clock_instead_of_results() -> None:
    """As the notes have it: right behind the greeting, then a fetch to leave."""
    meter = CodeFree(RECORDS)
    assert list(meter.plugged()) == [b"\0" + HELLO]
    assert len(list(meter.feed(HELLO_BACK))) == 1
    clock = bytes.fromhex("53 10 13") + b"ADATE202406151430" + b"\x55\xaa"

    assert list(meter.feed(clock)) == [frame(b"\x10\x10")]
    assert list(meter.feed(FETCH)) == [GOODBYE]
    assert meter.set_to == datetime(2024, 6, 15, 14, 30)  # noqa: DTZ001


@pytest.mark.parametrize(
    "wrong", [FETCH, HELLO_BACK[:-1] + b"\xab", frame(b"\x10\x40")]
)
async def test_the_simulated_meter_shows_e5_for_what_it_does_not_expect(
    wrong: bytes,
) -> None:
    meter = CodeFree(RECORDS)
    meter.plugged()

    assert list(meter.feed(wrong)) == []
    assert meter.shows_e5
    assert list(meter.feed(HELLO_BACK)) == []

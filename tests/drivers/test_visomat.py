"""What is particular to the Visomat's driver, against its simulated cuff."""

from collections.abc import Iterator
from datetime import datetime
from random import Random

from drivers.sdk import (
    DateTime,
    DeviceClock,
    Identity,
    NoReply,
    Observation,
    State,
    Terms,
    Undecoded,
)
from drivers.visomat import DRIVER
from firmware_sim.devices.visomat import Visomat, VisomatRecord
from firmware_sim.link import SimSerialLink
from tests.drivers.collecting import visit

MORNING = datetime(2026, 3, 14, 7, 30)  # noqa: DTZ001 - a wall clock
RECORD = VisomatRecord(MORNING, 121, 79, 64)
FLAGGED = VisomatRecord(MORNING, 134, 85, 71, flag=1)


async def test_each_reading_belongs_to_its_user() -> None:
    """Given to the other one, it would be treated by it."""
    found = await visit(DRIVER, SimSerialLink(Visomat([RECORD], [FLAGGED])))

    assert found.error is None
    assert found.events[0] == Identity("JPI", "Visomat Double Comfort")
    assert found.of(DeviceClock) == []
    one, two = found.of(Observation)
    assert (one.slot, [value.number for value in one.values]) == (1, [121, 79, 64])
    assert (two.slot, [value.number for value in two.values]) == (2, [134, 85, 71])
    assert (one.context, two.context) == ((), (("flag", "1"),))
    assert one.device_time == DateTime.of(MORNING)
    assert one.raw == (b"26031407300121079064",)


async def test_a_user_without_readings_shifts_nothing() -> None:
    """Behind a zero stands one character of no meaning."""
    found = await visit(DRIVER, SimSerialLink(Visomat([], [RECORD])))

    assert [one.slot for one in found.of(Observation)] == [2]


async def test_two_users_may_measure_in_one_minute() -> None:
    found = await visit(DRIVER, SimSerialLink(Visomat([RECORD], [RECORD])))

    assert [one.context for one in found.of(Observation)] == [(), ()]


async def test_the_model_is_what_the_operator_says() -> None:
    """The cuff does not tell it, and others speak as it does."""
    terms = Terms(model="Prevention DS-2200PV")

    found = await visit(DRIVER, SimSerialLink(Visomat([RECORD])), terms=terms)

    assert found.events[0] == Identity("JPI", "Prevention DS-2200PV")


async def test_a_memory_that_came_damaged_once_is_read_again() -> None:
    """There is no checksum, so saying the same twice stands for it."""
    count = 0

    def damage(answer: bytes) -> Iterator[bytes]:
        nonlocal count
        count += 1
        yield answer.replace(b"121", b"181") if count == 1 else answer

    link = SimSerialLink(Visomat([RECORD]), damage)

    found = await visit(DRIVER, link)

    assert [value.number for value in found.of(Observation)[0].values] == [121, 79, 64]
    assert link.written == [b"\x02R00\x03"] * 3


async def test_a_memory_that_never_comes_twice_the_same_is_not_believed() -> None:
    random = Random(2)

    def damage(answer: bytes) -> Iterator[bytes]:
        yield answer.replace(b"121", b"%03d" % random.randrange(1000))

    found = await visit(DRIVER, SimSerialLink(Visomat([RECORD]), damage))

    assert isinstance(found.error, NoReply)
    assert found.of(Observation) == []


async def test_a_text_that_is_no_memory_is_none() -> None:
    """A port that gives back what it is told answers nothing."""
    count = 0

    def damage(answer: bytes) -> Iterator[bytes]:
        nonlocal count
        count += 1
        yield b"\x02R00\x03" if count == 1 else answer

    link = SimSerialLink(Visomat([RECORD]), damage)

    found = await visit(DRIVER, link)

    assert len(found.of(Observation)) == 1
    assert link.noted == [b"R00"]


async def test_an_odd_record_is_kept_and_hides_no_other() -> None:
    """Records have a fixed size, so each is read for itself."""

    def damage(answer: bytes) -> Iterator[bytes]:
        yield answer.replace(b"121079064", b"---------")

    found = await visit(DRIVER, SimSerialLink(Visomat([RECORD], [FLAGGED]), damage))

    (problem,) = found.of(Undecoded)
    assert problem.source == "record of user 1"
    assert problem.payload == b"26031407300---------"
    assert [one.slot for one in found.of(Observation)] == [2]


async def test_values_of_nothing_are_no_numbers() -> None:
    """A measurement without a result must not be a pressure of 0."""
    failed = VisomatRecord(MORNING, 0, 0, 0, flag=1)

    found = await visit(DRIVER, SimSerialLink(Visomat([failed])))

    (seen,) = found.of(Observation)
    assert {value.state for value in seen.values} == {State.NO_VALUE}


def test_the_simulated_cuff_speaks_as_the_document_says() -> None:
    """As it was captured; a bench that agreed with our codec only proves nothing."""
    time = datetime(2015, 11, 3, 21, 30)  # noqa: DTZ001 - a wall clock
    cuff = Visomat([], [VisomatRecord(time, 134, 97, 83)])

    assert cuff.feed(b"\x02R00\x03") == [b"\x02M1001M20115110321300134097083\x03"]
    assert cuff.feed(b"\xff\x02R0") == []
    assert cuff.feed(b"0\x03\x02R02\x03") == [b"\x02M1001M20115110321300134097083\x03"]


def test_the_simulated_cuff_holds_99_readings_of_each_user() -> None:
    cuff = Visomat(99 * [RECORD])
    cuff.store(1, FLAGGED)

    (memory,) = cuff.feed(b"\x02R00\x03")

    assert isinstance(memory, bytes)
    assert memory.startswith(b"\x02M199" + RECORD.text().encode())
    assert memory.endswith(FLAGGED.text().encode() + b"M2001\x03")

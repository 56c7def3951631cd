"""What is particular to the BM58's driver, against its simulated cuff."""

from collections.abc import Callable, Iterator
from datetime import datetime
from random import Random

import pytest

from drivers.beurer_bm58 import DRIVER
from drivers.sdk import (
    DateTime,
    Identity,
    LinkLost,
    NoReply,
    Observation,
    State,
    Undecoded,
)
from firmware_sim.devices.beurer_bm58 import NAME, Bm58, Bm58Record
from firmware_sim.link import (
    Damage,
    SimSerialLink,
    bytewise,
    lossy,
    noisy,
    twice,
    whole,
)
from tests.drivers.collecting import visit

MORNING = datetime(2026, 3, 14, 7, 30)  # noqa: DTZ001 - a wall clock
EVENING = datetime(2026, 3, 14, 21, 5)  # noqa: DTZ001 - a wall clock
RECORDS = [Bm58Record(MORNING, 121, 79, 64), Bm58Record(EVENING, 134, 85, 71)]
VALUES = [[121, 79, 64], [134, 85, 71]]


def _values(seen: list[Observation]) -> list[list[object]]:
    return [[value.number for value in one.values] for one in seen]


def _nth(which: int, change: Callable[[bytes], bytes]) -> Damage:
    """Change one answer, counted from 1."""
    count = 0

    def damage(answer: bytes) -> Iterator[bytes]:
        nonlocal count
        count += 1
        yield change(answer) if count == which else answer

    return damage


@pytest.mark.parametrize("damage", [whole, bytewise, twice, lossy(seed=7)])
async def test_all_records_are_read_however_they_arrive(damage: Damage) -> None:
    """Every reading arrives once, and as it was."""
    found = await visit(DRIVER, SimSerialLink(Bm58(RECORDS), damage))

    assert found.error is None
    assert found.events[0] == Identity("Andon", NAME)
    assert _values(found.of(Observation)) == VALUES
    assert [one.device_time for one in found.of(Observation)] == [
        DateTime.of(MORNING),
        DateTime.of(EVENING),
    ]
    assert {one.slot for one in found.of(Observation)} == {None}


async def test_every_answer_is_asked_for_twice() -> None:
    """There is no checksum, so saying the same twice stands for it."""
    link = SimSerialLink(Bm58(RECORDS[:1]))

    await visit(DRIVER, link)

    asked = [b"\xa4", b"\xa4", b"\xa2", b"\xa2"]
    assert link.written == [b"\xaa", *asked, b"\xa3\x01", b"\xa3\x01", *asked]


@pytest.mark.parametrize("which", range(1, 12))
async def test_no_wrong_bit_makes_a_wrong_value(which: int) -> None:
    """Wherever it is: in readiness, name, count or record."""
    random = Random(which)

    def flip(answer: bytes) -> bytes:
        bit = random.randrange(8 * len(answer))
        flipped = answer[bit // 8] ^ 1 << bit % 8
        return answer[: bit // 8] + bytes([flipped]) + answer[bit // 8 + 1 :]

    found = await visit(DRIVER, SimSerialLink(Bm58(RECORDS), _nth(which, flip)))

    assert found.error is None
    assert found.events[0] == Identity("Andon", NAME)
    assert _values(found.of(Observation)) == VALUES


async def test_noise_around_each_answer_ends_the_visit_without_a_value() -> None:
    """It can't be told from an answer, so nothing is believed."""
    found = await visit(DRIVER, SimSerialLink(Bm58(RECORDS), noisy))

    assert isinstance(found.error, NoReply)
    assert found.of(Observation) == []


async def test_an_answer_that_never_comes_twice_the_same_is_not_believed() -> None:
    random = Random(58)

    def damage(answer: bytes) -> Iterator[bytes]:
        is_record = answer[:1] == b"\xac"
        yield answer[:1] + random.randbytes(8) if is_record else answer

    found = await visit(DRIVER, SimSerialLink(Bm58(RECORDS), damage))

    assert isinstance(found.error, NoReply)
    assert str(found.error) == "the record 1 was another one each time in 6"
    assert found.of(Observation) == []


async def test_a_record_that_the_cuff_denies_is_told() -> None:
    """It counted it, so somebody may look for it."""

    def damage(answer: bytes) -> Iterator[bytes]:
        yield b"\xa9" if answer == RECORDS[0].encode() else answer

    found = await visit(DRIVER, SimSerialLink(Bm58(RECORDS), damage))

    (problem,) = found.of(Undecoded)
    assert (problem.source, problem.payload) == ("record 1", b"\xa9")
    assert _values(found.of(Observation)) == VALUES[1:]


async def test_a_pulse_of_nothing_is_no_number() -> None:
    """Nobody whose pressure was measured has a pulse of 0."""
    found = await visit(DRIVER, SimSerialLink(Bm58([Bm58Record(MORNING, 121, 79, 0)])))

    (seen,) = found.of(Observation)
    assert [value.number for value in seen.values] == [121, 79, None]
    assert seen.values[2].state == State.NO_VALUE


async def test_what_is_no_andon_cuff_is_not_read() -> None:
    """Its adapter is a common one, and other devices hang on such too."""
    found = await visit(DRIVER, SimSerialLink(Bm58(RECORDS, name="Kestrel N2")))

    assert isinstance(found.error, NoReply)
    assert found.events == []


async def test_the_records_of_another_cuff_are_nobodys() -> None:
    """A record does not say whose it is, but their number differs."""
    cuff = Bm58(RECORDS)

    def damage(answer: bytes) -> Iterator[bytes]:
        if answer == RECORDS[1].encode():
            cuff.store(RECORDS[0])
        yield answer

    found = await visit(DRIVER, SimSerialLink(cuff, damage))

    assert isinstance(found.error, LinkLost)
    assert found.of(Observation) == []


def test_the_simulated_cuff_speaks_as_the_document_says() -> None:
    """A bench that agreed with our codec only would prove nothing."""
    time = datetime(2024, 6, 15, 14, 30)  # noqa: DTZ001 - a wall clock
    cuff = Bm58([Bm58Record(time, 120, 80, 72)])

    assert cuff.feed(b"\xa2") == []  # it was not woken up
    assert cuff.feed(b"\xaa\xa2\x00") == [b"\x55", b"\x01"]
    assert cuff.feed(b"\xa4") == [b"Andon Blood Pressure Meter KD001"]
    assert cuff.feed(b"\xa3\x01") == [bytes.fromhex("ac5f3748060f0e1e18")]
    assert cuff.feed(b"\xa3\x00\xa3\x02") == [b"\xa9", b"\xa9"]


def test_the_simulated_cuff_holds_60_records() -> None:
    cuff = Bm58(60 * RECORDS[:1])
    cuff.store(RECORDS[1])

    assert cuff.feed(b"\xaa\xa2") == [b"\x55", b"\x3c"]
    assert cuff.feed(b"\xa3\x3c") == [RECORDS[1].encode()]
    with pytest.raises(ValueError, match="61 records"):
        Bm58(61 * RECORDS[:1])

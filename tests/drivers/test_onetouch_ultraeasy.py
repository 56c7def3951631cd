"""The OneTouch UltraEasy driver against the simulated meter."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from hashlib import blake2b

import pytest

from drivers.onetouch_ultraeasy import DRIVER
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
    Undecoded,
    Unit,
    Value,
)
from firmware_sim.devices.onetouch_ultraeasy import UltraEasy, UltraEasyRecord
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
RECORDS = [
    UltraEasyRecord(START + timedelta(hours=n), Decimal(80 + n)) for n in range(7)
]
IDENTITY = Identity("LifeScan", "OneTouch UltraEasy", "SIM000001", "P02.00.0025/05/07")


def told(record: UltraEasyRecord, number: Decimal | None = None, state: State = State.MEASURED) -> Observation:  # fmt: skip  # noqa: E501
    """Return what a record must become: seconds of local time, mg/dL."""
    seconds = int((record.time - datetime(1970, 1, 1)).total_seconds())  # noqa: DTZ001 - a wall clock
    word = {State.ABOVE_RANGE: 0xFFFF, State.BELOW_RANGE: 0xFFFE}.get(state)
    raw = word if word is not None else int(record.mg_per_dl)
    return Observation(
        kind=Kind.GLUCOSE,
        values=(
            Value(
                Quantity.GLUCOSE,
                Unit.MG_PER_DL,
                Decimal(raw) if word is None else number,
                state,
            ),
        ),
        device_time=DateTime.of(record.time),
        raw=(b"\x05\x06" + seconds.to_bytes(4, "little") + raw.to_bytes(4, "little"),),
    )


def mark_of(newest: list[bytes]) -> int:
    """Return the mark for the newest records of a meter, at most four of them."""
    digest = blake2b(b"".join(newest[:4]), digest_size=7).hexdigest()
    return int(digest, 16) * 8 + len(newest[:4])


def mark_after(records: Sequence[UltraEasyRecord]) -> int:
    return mark_of([told(record).raw[0] for record in records[::-1]])


EVERYTHING = [
    IDENTITY,
    DeviceClock(DateTime(2026, 3, 1, 12, 0, 0)),
    *[told(record) for record in RECORDS[::-1]],
    Checkpoint(mark_after(RECORDS)),
]


@pytest.mark.parametrize(
    "damage",
    [whole, bytewise, twice, noisy, *(lossy(seed, 0.25) for seed in range(6))],
    ids=["whole", "bytewise", "twice", "noisy", *(f"lossy-{n}" for n in range(6))],
)
async def test_every_record_comes_once_newest_first_however_it_arrives(
    damage: Damage,
) -> None:
    """A late duplicate must not be taken for the next record."""
    found = await visit(DRIVER, SimSerialLink(UltraEasy(RECORDS), damage))

    assert found.error is None
    assert found.events == EVERYTHING


def _without(numbers: Iterable[int]) -> Damage:
    count = 0
    lost = set(numbers)

    def damage(answer: bytes) -> Iterator[bytes]:
        nonlocal count
        count += 1
        if count not in lost:
            yield answer

    return damage


@pytest.mark.parametrize("lost", range(1, 26))
async def test_any_one_lost_frame_is_made_good(lost: int) -> None:
    """Acknowledgements, answers and the start of the link alike."""
    found = await visit(DRIVER, SimSerialLink(UltraEasy(RECORDS), _without({lost})))

    assert found.error is None
    assert found.events == EVERYTHING


@pytest.mark.parametrize("bit", range(0, 80, 7))
async def test_a_damaged_answer_is_asked_for_again_and_counted(bit: int) -> None:
    """A checksum that fails costs a second, never a wrong value."""
    count = 0

    def damage(answer: bytes) -> Iterator[bytes]:
        nonlocal count
        count += 1
        if count == 11:  # the first record's answer
            broken = bytearray(answer)
            broken[bit // 8] ^= 1 << bit % 8
            answer = bytes(broken)
        yield answer

    link = SimSerialLink(UltraEasy(RECORDS), damage)
    found = await visit(DRIVER, link)

    assert found.events == EVERYTHING
    assert any(isinstance(event, Damaged) for event in link.noted)


async def test_line_noise_is_counted() -> None:
    link = SimSerialLink(UltraEasy(RECORDS), noisy)

    await visit(DRIVER, link)

    assert Damaged(b"\xff", "noise") in link.noted


async def test_sequence_bits_alternate_on_the_wire() -> None:
    """Disconnect, then S and E by turns, and an acknowledgement for each answer."""
    link = SimSerialLink(UltraEasy(RECORDS[:1]))

    await visit(DRIVER, link)

    assert link.written[0] == bytes.fromhex("02 06 08 03 c2 62")
    bits = [frame[2] for frame in link.written[1:]]
    assert bits == [0b000, 0b111, 0b011, 0b100, 0b000, 0b111, 0b011, 0b100, 0b000, 0b111, 0b011, 0b100]  # fmt: skip  # noqa: E501
    requests = [frame[3:-3].hex() for frame in link.written[1::2]]
    assert requests == [
        "050b02" + "00" * 9,
        "050d02",
        "052002" + "00" * 4,
        "051ff501",
        "051f0000",
        "050b02" + "00" * 9,  # still the same meter?
    ]


async def test_silence_is_told_with_the_question() -> None:
    """A technician must see what was asked, and how often."""
    found = await visit(DRIVER, SimSerialLink(UltraEasy(RECORDS), lossy(0, 1.0)))

    assert isinstance(found.error, NoReply)
    assert re.fullmatch(r"no answer to \[start\] in \d+ x 1 s", str(found.error))
    assert found.events == []


async def test_silence_midway_gives_nothing_and_checks_nothing_in() -> None:
    """Whose the records are is known only when the meter was asked again."""
    found = await visit(
        DRIVER, SimSerialLink(UltraEasy(RECORDS), _without(range(14, 400)))
    )

    assert isinstance(found.error, NoReply)
    assert "[05 1f 02 00]" in str(found.error)
    assert found.of(Observation) == []
    assert found.of(Checkpoint) == []


@pytest.mark.parametrize("known", range(7))
async def test_the_walk_stops_at_the_mark(known: int) -> None:
    """500 records at 9600 baud take minutes; only what is new is fetched."""
    link = SimSerialLink(UltraEasy(RECORDS))

    found = await visit(DRIVER, link, mark_after(RECORDS[: known + 1]))

    walked = [*range(len(RECORDS))][max(known - 3, 0) :]
    assert found.of(Observation) == [told(RECORDS[at]) for at in walked[::-1]]
    assert found.events[-1] == Checkpoint(mark_after(RECORDS))
    asked = [w for w in link.written if w[3:5] == b"\x05\x1f"]
    assert len(asked) == 1 + len(walked)


async def test_a_time_that_comes_again_does_not_stop_the_walk() -> None:
    """A clock that was set back shows the mark's time a second time."""
    old = [
        UltraEasyRecord(START + timedelta(minutes=n), Decimal(100 + n))
        for n in range(6)
    ]
    again = [replace(one, mg_per_dl=Decimal(150)) for one in old]
    meter = UltraEasy([*old, *again])

    found = await visit(DRIVER, SimSerialLink(meter), mark_after(old))

    assert {told(one) for one in again} <= {*found.of(Observation)}


class _Swapped:
    """The plug is put into another meter after some answers."""

    def __init__(self, one: UltraEasy, other: UltraEasy, after: int) -> None:
        self._meters, self._left = [one, other], after
        self.baud = one.baud

    def plugged(self) -> Iterable[bytes]:
        return ()

    def feed(self, data: bytes) -> Iterator[bytes]:
        self._left -= 1
        yield from self._meters[self._left < 0].feed(data)


MANY = [
    UltraEasyRecord(START + timedelta(minutes=n), Decimal(100 + n)) for n in range(70)
]


async def test_more_than_a_block_comes_once_each() -> None:
    found = await visit(DRIVER, SimSerialLink(UltraEasy(MANY)))

    assert found.of(Observation) == [told(record) for record in MANY[::-1]]


@pytest.mark.parametrize("size", [1100, 1400])
async def test_a_cable_pulled_in_the_second_block_keeps_the_first(size: int) -> None:
    """What was yielded stays, and no mark stands over what was not."""
    found = await visit(DRIVER, SimSerialLink(UltraEasy(MANY), lost_after=size))

    assert isinstance(found.error, LinkLost)
    assert found.of(Observation) == [told(record) for record in MANY[: -32 - 1 : -1]]
    assert found.of(Checkpoint) == []


@pytest.mark.parametrize("after", [*range(10, 30), *range(60, 170, 5)])
async def test_a_swapped_meters_readings_are_never_the_first_ones(after: int) -> None:
    """Nobody may get another person's readings; a record does not say whose it is."""
    mine = UltraEasy(MANY, serial="MINE00001")
    yours = UltraEasy(
        [replace(one, mg_per_dl=Decimal(333)) for one in MANY], serial="YOURS0001"
    )

    found = await visit(DRIVER, SimSerialLink(_Swapped(mine, yours, after)))

    values = {seen.values[0].number for seen in found.of(Observation)}
    assert Decimal(333) not in values
    assert found.error is not None or values == {one.mg_per_dl for one in MANY}


async def test_a_mark_that_the_meter_has_forgotten_stops_nothing() -> None:
    """After 500 newer records the mark is gone: everything is fetched."""
    found = await visit(DRIVER, SimSerialLink(UltraEasy(RECORDS)), 1)

    assert found.events == EVERYTHING


async def test_an_empty_memory_is_no_error() -> None:
    found = await visit(DRIVER, SimSerialLink(UltraEasy()))

    assert found.error is None
    assert found.events == EVERYTHING[:2]


@pytest.mark.parametrize(
    ("shown", "state"),
    [
        (Decimal("Infinity"), State.ABOVE_RANGE),
        (Decimal("-Infinity"), State.BELOW_RANGE),
    ],
)
async def test_hi_and_lo_are_no_numbers(shown: Decimal, state: State) -> None:
    record = UltraEasyRecord(START, shown)

    found = await visit(DRIVER, SimSerialLink(UltraEasy([record])))

    assert found.of(Observation) == [told(record, None, state)]


@pytest.mark.parametrize(
    ("number", "state"),
    [(601, State.ABOVE_RANGE), (65533, State.ABOVE_RANGE), (19, State.BELOW_RANGE)],
)
async def test_a_number_that_the_meter_shows_as_hi_or_lo_is_none(
    number: int, state: State
) -> None:
    """It shows 20 to 600 as numbers, as LifeScan's other meters do."""
    record = UltraEasyRecord(START, Decimal(number))

    found = await visit(DRIVER, SimSerialLink(UltraEasy([record])))

    (seen,) = found.of(Observation)
    value = Value(Quantity.GLUCOSE, Unit.MG_PER_DL, None, state)
    assert seen == replace(told(record), values=(value,))


@pytest.mark.parametrize("damaged", range(7))
async def test_a_record_that_is_none_is_kept_and_the_walk_goes_on(
    damaged: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One bad record must not hide the older ones behind it."""
    meter = UltraEasy(RECORDS)
    bad = bytes.fromhex("05 06 95 a5 6d 66 00 00 01 00")
    plain = meter._reply
    monkeypatch.setattr(
        meter,
        "_reply",
        lambda m: bad if m == bytes([5, 0x1F, damaged, 0]) else plain(m),
    )

    found = await visit(DRIVER, SimSerialLink(meter))

    assert found.error is None
    (undecoded,) = found.of(Undecoded)
    assert (undecoded.source, undecoded.payload) == (f"record {damaged}", bad)
    left = [record for at, record in enumerate(RECORDS[::-1]) if at != damaged]
    assert found.of(Observation) == [told(record) for record in left]
    raw = [told(record).raw[0] for record in RECORDS[::-1]]
    raw[damaged] = bad
    assert found.events[-1] == Checkpoint(mark_of(raw))


@pytest.mark.parametrize("refused", range(6))
async def test_a_record_that_is_refused_is_missing_and_hides_no_older_one(
    refused: int,
) -> None:
    """A refusal is no record, and no mark stands over it."""
    meter = UltraEasy(RECORDS)
    meter.refused = {refused, 6}

    found = await visit(DRIVER, SimSerialLink(meter))

    assert isinstance(found.error, NoReply)
    assert str(found.error) == (
        f"record {refused}: 'status' is 05 07, not 05 06; it is asked for again at "
        "the next visit"
    )
    left = [record for at, record in enumerate(RECORDS[:0:-1]) if at != refused]
    assert found.events == [*EVERYTHING[:2], *[told(record) for record in left]]


@pytest.mark.parametrize("size", [0, 1, 5, 6, 30, 60, 95, 130, 200])
async def test_a_pulled_cable_keeps_what_came(size: int) -> None:
    """Reconnecting is the agent's work; what was yielded stays."""
    link = SimSerialLink(UltraEasy(RECORDS), lost_after=size or 1)
    if not size:
        link.unplug()

    found = await visit(DRIVER, link)

    assert isinstance(found.error, LinkLost)
    assert found.events == EVERYTHING[: len(found.events)]
    assert found.of(Checkpoint) == []


async def test_it_never_asks_the_meter_to_erase_or_to_set_its_clock() -> None:
    """05 1A destroys a patient's memory."""
    link = SimSerialLink(UltraEasy(RECORDS), lossy(3, 0.3))

    await visit(DRIVER, link)

    for frame in link.written:
        assert frame[3:5] != b"\x05\x1a"
        assert frame[3:6] != b"\x05\x20\x01"

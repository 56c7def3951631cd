"""The CareSens N driver against the simulated meter."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from drivers.caresens_n import DRIVER
from drivers.sdk import (
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
    Terms,
    Unit,
    Value,
)
from firmware_sim.bench import Wait
from firmware_sim.devices.caresens_n import CareSensN, CareSensRecord
from firmware_sim.link import SimSerialLink, bytewise, noisy, twice, whole
from protocols.observation import POSITION
from tests.drivers.collecting import visit

START = datetime(2026, 3, 1, 7, 30, 5)  # noqa: DTZ001 - a wall clock
NOW = datetime(2026, 3, 1, 12, 0)  # noqa: DTZ001 - a wall clock
CONTROL, AFTER, LOW, HIGH, FASTING, NORMAL, KETONE, VALID = (1 << n for n in range(8))


def record(number: int, **more: object) -> CareSensRecord:
    """Return a record that differs from every other one."""
    time = START + timedelta(minutes=7 * number)
    usual = CareSensRecord(time, NORMAL | VALID, 80 + number % 400)
    return replace(usual, **more)  # type: ignore[arg-type]


def test_the_bench_answers_as_documented() -> None:
    """Its packets by the document's bytes; that of GLUE without a right crc."""
    meter = CareSensN([record(0, flags=0x20, value=120)], serial="ABC")
    meter.plugged()

    assert meter.feed(b"\x80") == [b"\x2e"]
    (serial,) = meter.feed(_made(b"RSNB", b""))
    assert serial[:-3] == b"\x02iSPc\x0bRSNBABC\0"
    (records,) = meter.feed(_made(b"GLUE", b"\x00\x01\x01"))
    assert records == b"\x02iSPc\x10GLUE" + bytes.fromhex(
        "1a030107 1e05 20 0078 0000 03"
    )


@pytest.mark.parametrize("damage", [whole, bytewise, twice, noisy])
async def test_every_record_comes_exactly(damage: object) -> None:
    """However the bytes arrive: values, clock and meal, and whose they are."""
    told = [
        record(0),
        record(1, flags=AFTER | VALID),
        record(2, flags=FASTING | VALID),
        record(3, flags=KETONE | NORMAL | VALID, value=12),
        record(4, flags=CONTROL | VALID),
        record(5, flags=CONTROL | KETONE | VALID, value=15),
        record(6, flags=AFTER | FASTING | VALID),
    ]

    found = await visit(DRIVER, SimSerialLink(CareSensN(told), damage))  # type: ignore[arg-type]

    assert found.error is None
    assert found.events[:2] == [
        Identity("i-SENS", "CareSens", "SIM0000000001"),
        DeviceClock(DateTime(2026, 3, 1, 12, 0, 0)),
    ]
    assert found.events[2] == Observation(
        kind=Kind.GLUCOSE,
        values=(Value(Quantity.GLUCOSE, Unit.MG_PER_DL, Decimal(80)),),
        device_time=DateTime(2026, 3, 1, 7, 30, 5),
        raw=(bytes.fromhex("1a 03 01 07 1e 05 a0 00 50"),),
    )
    seen = found.of(Observation)
    meals = [dict(one.context).get("meal") for one in seen]
    assert meals == [None, "postprandial", "fasting", None, None, None, None]
    assert [one.kind for one in seen[3:]] == [
        Kind.KETONE,
        Kind.CONTROL_SOLUTION,
        Kind.CONTROL_SOLUTION,
        Kind.GLUCOSE,
    ]
    assert seen[3].values == (Value(Quantity.KETONE, Unit.MMOL_PER_L, Decimal("1.2")),)
    assert seen[5].values[0].quantity == Quantity.KETONE


@pytest.mark.parametrize(
    ("flags", "value", "state"),
    [
        (0, 20, State.MEASURED),
        (0, 600, State.MEASURED),
        (0, 0, State.NO_VALUE),
        (0, 19, State.BELOW_RANGE),
        (0, 601, State.ABOVE_RANGE),
        (LOW | VALID, 20, State.BELOW_RANGE),
        (HIGH | VALID, 600, State.ABOVE_RANGE),
        (HIGH, 300, State.ABOVE_RANGE),
        (HIGH | LOW | VALID, 300, State.NO_VALUE),
        (KETONE, 0, State.MEASURED),
        (KETONE, 80, State.MEASURED),
        (KETONE, 81, State.ABOVE_RANGE),
        (KETONE | HIGH | VALID, 80, State.ABOVE_RANGE),
        (KETONE | LOW | VALID, 1, State.NO_VALUE),
        (KETONE | LOW | VALID, 15, State.NO_VALUE),  # low as a glucose only
    ],
)
async def test_what_is_no_measured_value_is_never_one(
    flags: int, value: int, state: State
) -> None:
    """HI and LO by their flags, and beyond what such a meter shows without them."""
    meter = CareSensN([record(0, flags=flags, value=value)])

    found = await visit(DRIVER, SimSerialLink(meter))

    (seen,) = found.of(Observation)[0].values
    assert seen.state == state
    assert (seen.number is not None) is (state == State.MEASURED)


class _Flaky(CareSensN):
    """Sends a record wrong, as often as it is told to; no crc protects it."""

    wrong = 0

    def feed(self, data: bytes) -> Iterable[bytes | Wait]:
        for answer in super().feed(data):
            if isinstance(answer, bytes) and answer[6:10] == b"GLUE" and self.wrong:
                self.wrong -= 1
                yield answer[:18] + bytes([answer[18] ^ self.wrong + 1]) + answer[19:]
            else:
                yield answer


@pytest.mark.parametrize("wrong", [1, 2, 3])
async def test_a_wrong_byte_in_a_record_is_found_by_asking_twice(wrong: int) -> None:
    """The answer with the readings is the one that no checksum protects."""
    meter = _Flaky([record(0, value=120)])
    meter.wrong = wrong

    found = await visit(DRIVER, SimSerialLink(meter))

    assert found.error is None
    assert found.of(Observation)[0].values[0].number == Decimal(120)


async def test_records_that_never_come_alike_are_told() -> None:
    meter = _Flaky([record(0, value=120)])
    meter.wrong = 99

    found = await visit(DRIVER, SimSerialLink(meter))

    assert isinstance(found.error, NoReply)
    assert found.of(Observation) == []


async def test_many_records_come_in_blocks_of_27() -> None:
    link = SimSerialLink(CareSensN([record(n) for n in range(55)]))

    found = await visit(DRIVER, link)

    assert len(found.of(Observation)) == 55
    blocks = [one[10:13].hex() for one in link.written if b"GLUE" in one]
    assert blocks == ["00011b", "00011b", "001c1b", "001c1b", "003701", "003701"]


async def test_two_that_are_alike_are_two() -> None:
    found = await visit(DRIVER, SimSerialLink(CareSensN([record(0), record(0)])))

    assert [dict(one.context) for one in found.of(Observation)] == [{}, {POSITION: "2"}]


class _Pinged(CareSensN):
    """Answers the ping otherwise."""

    says: bytes

    def feed(self, data: bytes) -> Iterable[bytes | Wait]:
        if data == b"\x80":
            return [self.says] if self.says else []
        return super().feed(data)


async def test_a_meter_of_the_older_protocol_is_told() -> None:
    """Its flash is read in another way, and nothing of it is guessed."""

    class _Old(_Pinged):
        says = b"\x20"

    found = await visit(DRIVER, SimSerialLink(_Old([record(0)])))

    assert isinstance(found.error, NoReply)
    assert "protocol 1" in str(found.error)


async def test_a_meter_that_does_not_hear_the_ping_is_read_all_the_same() -> None:
    class _Deaf(_Pinged):
        says = b""

    found = await visit(DRIVER, SimSerialLink(_Deaf([record(0)])))

    assert found.error is None
    assert len(found.of(Observation)) == 1


class _Answers(CareSensN):
    """Answers some packets otherwise, each made by the bench."""

    instead: bytes
    to: bytes

    def _answer(self, packet: bytes) -> bytes:
        if packet[6:10] == self.to:
            return self.instead
        return super()._answer(packet)


def _made(letters: bytes, data: bytes) -> bytes:
    head = b"\x02iSPc" + bytes([len(data) + 7]) + letters + data
    crc = 0xFFFF
    for byte in head + b"\x03":
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ (0x1021 if crc & 0x8000 else 0)) & 0xFFFF
    return head + bytes([crc >> 8, crc & 0xFF, 3])


async def test_a_refusal_is_told_at_once() -> None:
    class _Refuses(_Answers):
        to, instead = b"NCOT", _made(b"CMND", b"")

    found = await visit(DRIVER, SimSerialLink(_Refuses([record(0)])))

    assert isinstance(found.error, DecodeError)
    assert "CMND" in str(found.error)


async def test_a_count_that_no_meter_holds_is_not_believed() -> None:
    class _Endless(_Answers):
        to, instead = b"NCOT", _made(b"NCOT", b"\xff\xff")

    found = await visit(DRIVER, SimSerialLink(_Endless([record(0)])))

    assert isinstance(found.error, NoReply)
    assert "65535" in str(found.error)


async def test_a_meter_that_does_not_take_the_clock_is_told() -> None:
    class _Stubborn(_Answers):
        to, instead = b"WTIM", _made(b"WTIM", bytes([20, 1, 1, 0, 0, 0]))

    late = NOW - timedelta(days=9)
    meter = _Stubborn([record(0)], clock=lambda: late)
    terms = Terms(set_clock=lambda: NOW)

    found = await visit(DRIVER, SimSerialLink(meter), terms=terms)

    assert isinstance(found.error, NoReply)
    assert "2026-03-01 12:00:00" in str(found.error)


async def test_another_meter_on_the_plug_is_not_mixed_up() -> None:
    """The plug may be moved between two answers; no reading changes its owner."""

    class _Swapped(CareSensN):
        def feed(self, data: bytes) -> Iterable[bytes | Wait]:
            if b"GLUE" in data:
                self.serial = "SIM0000000002"
            return super().feed(data)

    found = await visit(DRIVER, SimSerialLink(_Swapped([record(0)])))

    assert isinstance(found.error, LinkLost)
    assert found.of(Observation) == []


async def test_the_clock_is_set_behind_the_download_if_allowed() -> None:
    """Setting it first would make the stored times uncorrectable."""
    meter = CareSensN([record(0)], clock=lambda: NOW - timedelta(hours=1))
    link = SimSerialLink(meter)

    found = await visit(DRIVER, link, terms=Terms(set_clock=lambda: NOW))

    assert found.error is None
    assert meter.set_to == NOW
    assert link.written[-1][:-3] == b"\x02iSPc\x0dWTIM\x1a\x03\x01\x0c\x00\x00"


async def test_what_answers_another_question_is_no_answer() -> None:
    class _Talks(CareSensN):
        def feed(self, data: bytes) -> Iterable[bytes | Wait]:
            return [_made(b"NCOT", b"\x00\x01\x00"), *super().feed(data)]

    link = SimSerialLink(_Talks([record(0)]))

    found = await visit(DRIVER, link)

    assert found.error is None
    assert len(found.of(Observation)) == 1
    assert link.noted

"""The Verio IQ driver against the simulated meter."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from drivers.onetouch_verio_iq import DRIVER
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
    Undecoded,
    Unit,
    Value,
)
from firmware_sim.bench import Wait
from firmware_sim.devices.onetouch_verio_iq import VerioIq, VerioRecord
from firmware_sim.link import SimSerialLink, bytewise, noisy, twice, whole
from protocols.crc import ccitt_false
from protocols.observation import POSITION
from tests.drivers.collecting import visit

START = datetime(2026, 3, 1, 7, 30)  # noqa: DTZ001 - a wall clock


def record(number: int, **more: object) -> VerioRecord:
    """Return a record that differs from every other one."""
    time = START + timedelta(minutes=7 * number)
    return replace(VerioRecord(time, 80 + number % 500), **more)  # type: ignore[arg-type]


def test_the_bench_answers_as_documented() -> None:
    """Its frames by the document's bytes: 2026-03-01 07:30 is 0x3136A778."""
    meter = VerioIq([record(0, meal=2)])

    (count,) = meter.feed(bytes.fromhex("020900032700032671"))
    (first,) = meter.feed(bytes.fromhex("020a0003210000039dd2"))

    assert count[:7] == bytes.fromhex("02 0a 00 03 06 01 00")
    assert first[:-2] == bytes.fromhex(
        "02 12 00 03 06 78 a7 36 31 50 00 00 02 00 00 03"
    )


@pytest.mark.parametrize("damage", [whole, bytewise, twice, noisy])
async def test_every_record_comes_exactly(damage: object) -> None:
    """However the bytes arrive: values, clock and meal, and whose they are."""
    told = [record(0), record(1, meal=1), record(2, meal=7), record(3, control=1)]

    found = await visit(DRIVER, SimSerialLink(VerioIq(told), damage))  # type: ignore[arg-type]

    assert found.error is None
    assert found.events[:2] == [
        Identity("LifeScan", "OneTouch Verio IQ", "SIMIQ0001", "VIE_01.00.00"),
        DeviceClock(DateTime(2026, 3, 1, 12, 0, 0)),
    ]
    assert found.events[2] == Observation(
        kind=Kind.GLUCOSE,
        values=(Value(Quantity.GLUCOSE, Unit.MG_PER_DL, Decimal(80)),),
        device_time=DateTime(2026, 3, 1, 7, 30, 0),
        raw=(bytes.fromhex("03 06 78 a7 36 31 50 00 00 00 00 00"),),
    )
    seen = found.of(Observation)
    assert [dict(one.context) for one in seen[1:]] == [
        {"meal": "preprandial"},
        {"meal": "reserved-7"},
        {},
    ]
    assert seen[3].kind == Kind.CONTROL_SOLUTION


@pytest.mark.parametrize(
    ("mg_per_dl", "state"),
    [
        (0, State.NO_VALUE),
        (19, State.BELOW_RANGE),
        (20, State.MEASURED),
        (600, State.MEASURED),
        (601, State.ABOVE_RANGE),
        (0xFFFF, State.ABOVE_RANGE),
    ],
)
async def test_what_is_no_measured_value_is_never_one(
    mg_per_dl: int, state: State
) -> None:
    """No Verio shows a number beyond 20 to 600."""
    meter = VerioIq([record(0, mg_per_dl=mg_per_dl)])

    found = await visit(DRIVER, SimSerialLink(meter))

    (value,) = found.of(Observation)[0].values
    assert value.state == state
    assert (value.number is not None) is (state == State.MEASURED)


async def test_two_that_are_alike_are_two() -> None:
    """Two answers alike may be one that came twice, so it is asked once more."""
    found = await visit(DRIVER, SimSerialLink(VerioIq([record(0), record(0)])))

    assert [dict(one.context) for one in found.of(Observation)] == [{}, {POSITION: "2"}]


async def test_a_record_of_no_known_kind_is_kept_and_costs_no_other() -> None:
    """A control flag of 2 may be anything: its bytes go on, and no value."""
    found = await visit(
        DRIVER, SimSerialLink(VerioIq([record(0, control=2), record(1)]))
    )

    assert found.error is None
    (kept,) = found.of(Undecoded)
    assert kept.source == "record 1"
    assert kept.payload == bytes.fromhex("03 06 78 a7 36 31 50 00 02 00 00 00")
    assert len(found.of(Observation)) == 1


class _Answers(VerioIq):
    """Answers some messages otherwise, each frame made by the bench."""

    instead: dict[bytes, bytes]

    def _reply(self, message: bytes) -> bytes:
        return self.instead.get(message[1:], super()._reply(message))


async def test_a_refusal_is_told_at_once() -> None:
    """A meter that will not do it is not asked for it again and again."""

    class _Refuses(_Answers):
        instead = {b"\x20\x02": b"\x07"}  # noqa: RUF012 - a constant

    found = await visit(DRIVER, SimSerialLink(_Refuses([record(0)])))

    assert isinstance(found.error, DecodeError)
    assert "not allowed" in str(found.error)


async def test_a_refused_record_costs_no_other_and_leaves_the_clock() -> None:
    """By the new clock the time of what is missing would be corrected wrongly."""
    meter = VerioIq([record(n) for n in range(3)])
    meter.refused = {1}

    found = await visit(
        DRIVER, SimSerialLink(meter), terms=Terms(set_clock=lambda: START)
    )

    assert isinstance(found.error, NoReply)
    assert "record 1: 'status' is 0x07, not allowed" in str(found.error)
    assert [one.device_time for one in found.of(Observation)] == [
        DateTime.of(record(n).time) for n in (0, 2)
    ]
    assert found.of(Undecoded) == []
    assert meter.set_to is None


async def test_a_count_that_no_meter_holds_is_not_believed() -> None:
    class _Endless(_Answers):
        instead = {b"\x27\x00": b"\x06\xff\xff"}  # noqa: RUF012 - a constant

    found = await visit(DRIVER, SimSerialLink(_Endless([record(0)])))

    assert isinstance(found.error, NoReply)
    assert "65535" in str(found.error)


async def test_another_meter_on_the_plug_is_not_mixed_up() -> None:
    """The plug may be moved between two answers; no reading changes its owner."""

    class _Swapped(VerioIq):
        def feed(self, data: bytes) -> Iterable[bytes | Wait]:
            if b"\x03\x21" in data:
                self.serial = "SIMIQ0002"
            return super().feed(data)

    found = await visit(DRIVER, SimSerialLink(_Swapped([record(0)])))

    assert isinstance(found.error, LinkLost)
    assert found.of(Observation) == []


async def test_the_clock_is_set_behind_the_download_if_allowed() -> None:
    """Seconds of local time since 2000; setting it first would spoil the past."""
    now = datetime(2026, 3, 1, 7, 30)  # noqa: DTZ001 - a wall clock
    meter = VerioIq([record(0)], clock=lambda: now - timedelta(hours=1))
    link = SimSerialLink(meter)

    found = await visit(DRIVER, link, terms=Terms(set_clock=lambda: now))

    assert found.error is None
    assert meter.set_to == now
    assert link.written[-1][3:-3] == bytes.fromhex("03 20 01 78 a7 36 31")


async def test_what_answers_another_question_is_no_answer() -> None:
    """An answer does not say what it answers; its shape must fit at least."""

    class _Talks(VerioIq):
        def feed(self, data: bytes) -> Iterable[bytes | Wait]:
            stray = bytes.fromhex("02 09 00 03 06 aa 03")
            crc = ccitt_false(stray).to_bytes(2, "little")
            return [stray + crc, *super().feed(data)]

    link = SimSerialLink(_Talks([record(0)]))

    found = await visit(DRIVER, link)

    assert found.error is None
    assert len(found.of(Observation)) == 1
    assert link.noted

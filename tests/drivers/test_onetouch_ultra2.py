"""The Ultra2 driver against the simulated meter."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from drivers.onetouch_ultra2 import DRIVER
from drivers.sdk import (
    DateTime,
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
from firmware_sim.devices.onetouch_ultra2 import Ultra2, Ultra2Record
from firmware_sim.link import SimSerialLink, bytewise, noisy, twice, whole
from protocols.observation import POSITION
from tests.drivers.collecting import visit

START = datetime(2015, 3, 21, 16, 45, 24)  # noqa: DTZ001 - a wall clock
NOW = datetime(2026, 3, 1, 12, 0)  # noqa: DTZ001 - a wall clock


def record(number: int, **more: object) -> Ultra2Record:
    """Return a record that differs from every other one."""
    time = START + timedelta(minutes=7 * number)
    return replace(Ultra2Record(time, 80 + number % 500), **more)  # type: ignore[arg-type]


def test_the_bench_says_what_was_published() -> None:
    """The simulated meter itself must agree with a real one's lines."""
    meter = Ultra2([Ultra2Record(START, 81, comment=3)], serial="GMF600DCY")
    meter.plugged()
    meter.feed(b"\x11\r")

    (dump,) = meter.feed(b"\x11\rDMP\r")

    assert dump == (
        b'P 001,"GMF600DCY","MG/DL " 05A4\r\n'
        b'P "SAT","03/21/15","16:45:24   ","  081 ","N","03", 00 09B6\r\n'
    )


@pytest.mark.parametrize("damage", [whole, bytewise, twice, noisy])
async def test_every_record_comes_exactly_and_oldest_first(damage: object) -> None:
    """However the bytes arrive: values, clock, meal and comment, and whose."""
    told = [
        Ultra2Record(START, 81, comment=3),
        record(1, meal="B"),
        record(2, meal="A", comment=99),
        record(3, is_control=True),
    ]

    found = await visit(DRIVER, SimSerialLink(Ultra2(told), damage))  # type: ignore[arg-type]

    assert found.error is None
    assert found.events[:2] == [
        Identity("LifeScan", "OneTouch Ultra2", "SIM00001Y", "P02.00.00 30/08/06"),
        DeviceClock(DateTime(2026, 3, 1, 12, 0, 0)),
    ]
    assert found.events[2] == Observation(
        kind=Kind.GLUCOSE,
        values=(Value(Quantity.GLUCOSE, Unit.MG_PER_DL, Decimal(81)),),
        device_time=DateTime(2015, 3, 21, 16, 45, 24),
        context=(("comment", "mild_exercise"),),
        raw=(b'P "SAT","03/21/15","16:45:24   ","  081 ","N","03", 00 09B6\r\n',),
    )
    seen = found.of(Observation)
    assert [one.kind for one in seen] == [
        *[Kind.GLUCOSE] * 3,
        Kind.CONTROL_SOLUTION,
    ]
    assert [dict(one.context) for one in seen[1:]] == [
        {"meal": "preprandial"},
        {"meal": "postprandial", "comment": "reserved-99"},
        {},
    ]


@pytest.mark.parametrize(
    ("more", "state"),
    [
        ({"mg_per_dl": 0}, State.NO_VALUE),
        ({"mg_per_dl": 19}, State.BELOW_RANGE),
        ({"mg_per_dl": 20}, State.MEASURED),
        ({"mg_per_dl": 600}, State.MEASURED),
        ({"mg_per_dl": 601}, State.ABOVE_RANGE),
        ({"is_damaged": True}, State.DEVICE_ERROR),
        ({"is_damaged": True, "mg_per_dl": 700}, State.DEVICE_ERROR),
    ],
)
async def test_what_is_no_measured_value_is_never_one(
    more: dict[str, object], state: State
) -> None:
    """HI, LO and what the memory lost are no numbers."""
    found = await visit(DRIVER, SimSerialLink(Ultra2([record(0, **more)])))

    (value,) = found.of(Observation)[0].values
    assert value.state == state
    assert (value.number is not None) is (state == State.MEASURED)


async def test_two_that_are_alike_are_two() -> None:
    """A clock that was set back may show one second twice."""
    found = await visit(DRIVER, SimSerialLink(Ultra2([record(0), record(0)])))

    assert [dict(one.context) for one in found.of(Observation)] == [{}, {POSITION: "2"}]


class _Odd(Ultra2):
    """Changes what the meter says, as a subclass does."""

    def feed(self, data: bytes) -> Iterable[bytes | Wait]:
        return [
            self.change(one) if isinstance(one, bytes) else one
            for one in super().feed(data)
        ]

    def change(self, answer: bytes) -> bytes:
        return answer


def _line(body: str) -> bytes:
    return f"{body} {sum(body.encode()) % 65536:04X}\r\n".encode()


async def test_a_line_of_no_known_form_is_kept_and_costs_no_other() -> None:
    """HIGH is said of other models: its bytes go on, and nothing is guessed."""
    odd = _line('P "SAT","03/21/15","16:45:24   "," HIGH ","N","00", 00')

    class _High(_Odd):
        def change(self, answer: bytes) -> bytes:
            lines = answer.splitlines(keepends=True)
            return answer if len(lines) == 1 else b"".join([*lines[:-1], odd])

    found = await visit(DRIVER, SimSerialLink(_High([record(0), record(1)])))

    assert found.error is None
    assert [one.payload for one in found.of(Undecoded)] == [odd]
    assert len(found.of(Observation)) == 1


async def test_a_dump_that_lacks_a_line_is_asked_for_again() -> None:
    """A lost line looks like a shorter memory; the header tells better."""

    class _Lossy(_Odd):
        left = 2

        def change(self, answer: bytes) -> bytes:
            if answer.startswith(b"P ") and self.left:
                self.left -= 1
                lines = answer.splitlines(keepends=True)
                return b"".join([lines[0], *lines[2:]])
            return answer

    found = await visit(DRIVER, SimSerialLink(_Lossy([record(n) for n in range(5)])))

    assert found.error is None
    assert len(found.of(Observation)) == 5


async def test_a_dump_that_never_comes_whole_is_told() -> None:
    class _Short(_Odd):
        def change(self, answer: bytes) -> bytes:
            lines = answer.splitlines(keepends=True)
            return lines[0] if answer.startswith(b"P ") else answer

    found = await visit(DRIVER, SimSerialLink(_Short([record(n) for n in range(5)])))

    assert isinstance(found.error, NoReply)
    assert str(found.error) == "no dump came whole in 4 attempts"
    assert found.of(Observation) == []


@pytest.mark.parametrize("command", [b"DMP", b"DM@"])
async def test_another_meter_on_the_plug_is_not_mixed_up(command: bytes) -> None:
    """The plug may be moved between two answers; no reading changes its owner."""

    class _Swapped(Ultra2):
        asked = 0

        def feed(self, data: bytes) -> Iterable[bytes | Wait]:
            self.asked += command in data
            if self.asked == 3 or (command == b"DMP" and self.asked):
                self.serial = "SIM00002Y"
            return super().feed(data)

    found = await visit(DRIVER, SimSerialLink(_Swapped([record(0)])))

    assert isinstance(found.error, LinkLost)
    assert str(found.error) == "another meter was plugged in"
    assert found.of(Observation) == []


async def test_a_meter_that_does_not_take_the_clock_is_told() -> None:
    """The operator allowed it, and must hear that it did not happen."""

    class _Stubborn(_Odd):
        def change(self, answer: bytes) -> bytes:
            return (
                _line('T "SUN","01/01/06","00:00:00   "')
                if answer[:1] == b"T"
                else answer
            )

    late = NOW - timedelta(days=9)
    meter = _Stubborn([record(0)], clock=lambda: late)

    found = await visit(
        DRIVER, SimSerialLink(meter), terms=Terms(set_clock=lambda: NOW)
    )

    assert isinstance(found.error, NoReply)
    assert "2026-03-01 12:00:00" in str(found.error)
    assert len(found.of(Observation)) == 1


async def test_the_first_question_may_be_lost() -> None:
    """It sleeps until it is asked, and does not hear what wakes it."""
    link = SimSerialLink(Ultra2([record(0)]))

    found = await visit(DRIVER, link)

    assert found.error is None
    assert link.written[:2] == [b"\x11\rDM@\r"] * 2
    assert not [one for one in link.written if b"DMZ" in one]


async def test_the_clock_is_set_behind_the_download_if_allowed() -> None:
    """Setting it first would make the stored times uncorrectable."""
    meter = Ultra2([record(0)], clock=lambda: NOW - timedelta(hours=1))
    link = SimSerialLink(meter)

    found = await visit(DRIVER, link, terms=Terms(set_clock=lambda: NOW))

    assert found.error is None
    assert meter.set_to == NOW
    assert link.written[-1] == b"\x11\rDMT03/01/26 12:00:00\r"


async def test_a_dump_without_an_end_is_left() -> None:
    """More lines than twice what the header says are no dump."""

    class _Babbles(_Odd):
        def change(self, answer: bytes) -> bytes:
            lines = answer.splitlines(keepends=True)
            return b"".join([lines[0], *lines[1:] * 9]) if len(lines) > 1 else answer

    found = await visit(DRIVER, SimSerialLink(_Babbles([record(0), record(1)])))

    assert isinstance(found.error, NoReply)
    assert found.of(Observation) == []

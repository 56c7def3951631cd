"""The driver of the HBP-9030 against the simulated one."""

from collections.abc import Iterable
from datetime import datetime

import pytest

from drivers.omron_hbp9030 import DRIVER
from drivers.sdk import (
    Damaged,
    DateTime,
    Identity,
    Observation,
    Quantity,
    State,
    Undecoded,
    Unit,
    Value,
)
from firmware_sim.devices.omron_hbp9030 import Hbp9030, Hbp9030Record
from firmware_sim.link import SimSerialLink, bytewise, noisy, twice
from tests.drivers.collecting import Visit, visit

PERSON = "31010519900307001X"
RECORD = Hbp9030Record(
    datetime(2026, 7, 11, 9, 5),  # noqa: DTZ001 - a wall clock
    systolic=120,
    diastolic=80,
    pulse=72,
    person=PERSON,
)
LINE = b"2026,07,11,09,05,31010519900307001X  ,0,120,080,072,0\r\n"


class Saying(Hbp9030):
    """A cuff that sends just these lines."""

    def __init__(self, *lines: bytes) -> None:
        super().__init__()
        self._lines = lines

    def plugged(self) -> Iterable[bytes]:
        return self._lines


async def hear(link: SimSerialLink) -> Visit:
    link.unplug()
    return await visit(DRIVER, link)


async def test_a_line_tells_when_and_what() -> None:
    link = SimSerialLink(Hbp9030([RECORD]))

    found = await hear(link)

    assert found.events[0] == Identity("Omron", "HBP-9030")
    (seen,) = found.of(Observation)
    assert [(value.quantity, value.number) for value in seen.values] == [
        (Quantity.SYSTOLIC, 120),
        (Quantity.DIASTOLIC, 80),
        (Quantity.PULSE_RATE, 72),
    ]
    assert seen.device_time == DateTime(2026, 7, 11, 9, 5, 0)
    assert (seen.status, seen.context, seen.raw) == ((), (), (LINE,))
    assert (link.kept, link.written) == ([LINE], [])


async def test_movement_is_told() -> None:
    moved = Hbp9030Record(RECORD.time, 120, 80, 72, movements=3)

    found = await hear(SimSerialLink(Hbp9030([moved])))

    (seen,) = found.of(Observation)
    assert (seen.status, seen.context) == (("body_movement",), (("movements", "3"),))


@pytest.mark.parametrize("values", [b"   ,   ,   ", b"120,080,072"])
async def test_a_failed_measurement_has_no_numbers(values: bytes) -> None:
    """Figures beside an error are left over from somebody else's arm."""
    line = LINE.replace(b",0,120,080,072,", b",7," + values + b",")

    found = await hear(SimSerialLink(Saying(line)))

    (seen,) = found.of(Observation)
    assert seen.context == (("error", "7"),)
    assert seen.values == tuple(
        Value(quantity, Unit.MM_HG, None, State.DEVICE_ERROR)
        for quantity in (Quantity.SYSTOLIC, Quantity.DIASTOLIC)
    )


@pytest.mark.parametrize("damage", [bytewise, twice])
async def test_a_line_comes_out_however_the_bytes_arrive(damage: object) -> None:
    found = await hear(SimSerialLink(Hbp9030([RECORD]), damage))  # type: ignore[arg-type]

    assert {seen.raw for seen in found.of(Observation)} == {(LINE,)}


async def test_noise_before_a_line_makes_it_none() -> None:
    """A line has no start: what is longer than one line could be two halves."""
    link = SimSerialLink(Hbp9030([RECORD]), noisy)

    found = await hear(link)

    assert found.of(Observation) == []
    assert all(isinstance(one, Damaged) for one in link.noted)


async def test_another_format_says_what_to_set() -> None:
    """A technician finds the cuff's menu item, and not just silence."""
    other = b"bp,120,80,72\r\n"

    found = await hear(SimSerialLink(Saying(other)))

    (kept,) = found.of(Undecoded)
    assert kept.payload == other
    assert "set the cuff's item 32 to 5" in kept.problem


@pytest.mark.parametrize(
    "line",
    [
        LINE.replace(b"072", b"039"),
        LINE.replace(b"07,11", b"13,11"),
        LINE.replace(b",0,120", b",x,120"),
    ],
)
async def test_whose_a_line_is_stands_in_no_problem(line: bytes) -> None:
    """Problems go into logs, and a person's number is nobody's business there."""
    found = await hear(SimSerialLink(Saying(line)))

    (kept,) = found.of(Undecoded)
    assert PERSON not in kept.problem
    assert PERSON.encode().hex(" ") not in kept.problem
    assert kept.payload == line


async def test_whose_a_line_is_stands_in_no_context() -> None:
    found = await hear(SimSerialLink(Hbp9030([RECORD])))

    (seen,) = found.of(Observation)
    assert PERSON not in str((seen.context, seen.status, seen.values))

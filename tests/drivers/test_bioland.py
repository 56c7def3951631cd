"""The Bioland driver against the simulated meter."""

from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from drivers.bioland import DRIVER
from drivers.sdk import (
    DateTime,
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
from firmware_sim.bench import Send
from firmware_sim.devices import bioland as bench
from firmware_sim.devices.bioland import Bioland, BiolandResult
from firmware_sim.faults import Faults, faulty
from firmware_sim.link import SimGattLink
from tests.drivers.collecting import Visit, visit

NOW = datetime(2026, 3, 10, 9, 17, 41)  # noqa: DTZ001 - a wall clock
TIME = datetime(2014, 1, 1, 5, 24)  # noqa: DTZ001 - a wall clock
ALLOWED = Terms(set_clock=lambda: NOW)
RESULTS = [BiolandResult(TIME + timedelta(minutes=n), 160 + n) for n in range(9)]


async def of(device: Bioland, terms: Terms = ALLOWED) -> Visit:
    return await visit(DRIVER, SimGattLink(device), terms=terms)


def numbers(found: Visit) -> list[Decimal | None]:
    return [seen.values[0].number for seen in found.of(Observation)]


async def test_a_published_result_is_read_whole() -> None:
    found = await of(Bioland([BiolandResult(TIME, 168)]))

    assert found.error is None
    assert found.told == [
        Identity("Bioland", "", "BGM000815", "protocol 32"),
        Observation(
            kind=Kind.GLUCOSE,
            values=(Value(Quantity.GLUCOSE, Unit.MG_PER_DL, Decimal(168)),),
            device_time=DateTime(2014, 1, 1, 5, 24, 0),
            raw=(bytes.fromhex("55 0c 03 0e 01 01 05 18 00 a8 00 3b"),),
        ),
    ]


async def test_without_leave_nothing_is_written_and_the_setting_is_named() -> None:
    """Each question sets the clock; nobody's clock is set behind their back."""
    link = SimGattLink(Bioland(RESULTS))

    found = await visit(DRIVER, link)

    assert isinstance(found.error, NoReply)
    assert "set_clock = true" in str(found.error)
    assert (found.events, link.written) == ([], [])


@pytest.mark.parametrize(
    ("sent", "state"),
    [
        (707, State.ABOVE_RANGE),
        (18, State.BELOW_RANGE),
        (0, State.NO_VALUE),
        (19, State.MEASURED),
        (706, State.MEASURED),
    ],
)
async def test_high_and_low_are_no_numbers(sent: int, state: State) -> None:
    """707 would be treated as a number, and it is only above the range."""
    found = await of(Bioland([BiolandResult(TIME, sent)]))

    (value,) = found.of(Observation)[0].values
    number = Decimal(sent) if state is State.MEASURED else None
    assert (value.state, value.number) == (state, number)


@pytest.mark.parametrize(
    ("sent", "state"),
    [
        (708, State.ABOVE_RANGE),
        (8721, State.ABOVE_RANGE),
        (17, State.BELOW_RANGE),
        (1, State.BELOW_RANGE),
    ],
)
async def test_what_is_beyond_hi_or_lo_is_no_number_either(
    sent: int, state: State
) -> None:
    """Another meter may tell HI by another number."""
    found = await of(Bioland([BiolandResult(TIME, sent)]))

    (seen,) = found.of(Observation)
    assert (seen.values[0].state, seen.values[0].number) == (state, None)
    assert seen.context == (("raw-number", str(sent)),)


async def test_a_countdown_is_no_answer() -> None:
    """Somebody may measure while the station asks."""
    found = await of(Bioland(RESULTS, measures=(3, 2, 1)))

    assert found.error is None
    assert numbers(found) == list(range(160, 169))


async def test_two_tests_of_one_minute_are_two() -> None:
    found = await of(Bioland([RESULTS[0]] * 2))

    older, newer = found.of(Observation)
    assert (older.context, newer.context) == ((), (("position-at-this-time", "2"),))


async def test_a_lost_answer_is_not_asked_for_again() -> None:
    """The next question brings the next result: the lost one would be missing."""
    link = SimGattLink(faulty(Bioland(RESULTS), Faults(lost=frozenset({4}))))

    found = await visit(DRIVER, link, terms=ALLOWED)

    assert isinstance(found.error, NoReply)
    assert "result 3" in str(found.error)
    assert numbers(found) == [167, 168]
    assert len(link.written) == 4
    assert numbers(await of(Bioland(RESULTS))) == list(range(160, 169))


async def test_a_lost_link_leaves_what_came() -> None:
    link = SimGattLink(Bioland(RESULTS), lost_after=5)

    found = await visit(DRIVER, link, terms=ALLOWED)

    assert isinstance(found.error, LinkLost)
    assert numbers(found) == [165, 166, 167, 168]


async def test_a_result_with_another_sum_than_the_others_is_not_believed() -> None:
    """One meter adds one number: another one may be a damaged glucose value."""

    class Odd(Bioland):
        def _next(self) -> Send:
            told = super()._next()
            last = told.payload[-1] - 2 * (self._told == 2)
            return Send(told.uuid, told.payload[:-1] + bytes([last & 0xFF]))

    found = await of(Odd(RESULTS[:3]))

    (lost,) = found.of(Undecoded)
    assert lost.problem == "its sum has 0 too much, that of others 2"
    assert numbers(found) == [160, 162]


async def test_a_result_that_cannot_be_read_is_kept_for_somebody_who_can() -> None:
    class Short(Bioland):
        def _next(self) -> Send:
            told = super()._next()
            if self._told == 2 and told.payload[2] == 3:
                return bench._notify(0x03, told.payload[3:-2])
            return told

    found = await of(Short(RESULTS[:1] * 2))

    (lost,) = found.of(Undecoded)
    assert "'glucose' needs 2 bytes" in lost.problem
    assert numbers(found) == [160]


async def test_a_meter_of_protocol_2_has_no_number_to_know_it_by() -> None:
    """What it rolls instead would make it another meter at each visit."""

    class Older(Bioland):
        def _info(self) -> Send:
            return bench._notify(
                0x00, bytes.fromhex("2a 03 02 27 00 11 80 06 00 33 0a")
            )

    found = await of(Older(RESULTS[:1]))

    assert found.of(Identity) == [Identity("Bioland", "", "", "protocol 42")]


async def test_a_meter_that_always_has_one_more_is_left() -> None:
    """Else the station would be busy with it until somebody takes it away."""

    class Bottomless(Bioland):
        def _next(self) -> Send:
            self._told = 0
            return super()._next()

    found = await of(Bottomless(RESULTS[:1]))

    assert isinstance(found.error, NoReply)
    assert "has still more" in str(found.error)


async def test_each_question_sets_the_clock_to_what_it_is_then() -> None:
    times = iter(NOW + timedelta(seconds=n) for n in range(99))
    device = Bioland(RESULTS[:2])

    await of(device, Terms(set_clock=lambda: next(times)))

    assert device.set_to == NOW + timedelta(seconds=3)


async def test_another_device_is_told_so() -> None:
    class Other(Bioland):
        def __init__(self) -> None:
            super().__init__()
            self.services = {}

    found = await of(Other())

    assert isinstance(found.error, NoReply)
    assert "set_clock" not in str(found.error)

"""The FreeStyle Optium driver against the simulated meter."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from drivers.freestyle_optium import DRIVER
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
from firmware_sim.devices.freestyle_optium import FreeStyleOptium, OptiumResult
from firmware_sim.link import Damage, SimSerialLink, bytewise, noisy, twice, whole
from tests.drivers.collecting import visit

START = datetime(2026, 6, 30, 23, 30, 15)  # noqa: DTZ001 - a wall clock
GLUCOSE = OptiumResult(START, "105")
KETONE = OptiumResult(START + timedelta(hours=2), "003", is_ketone=True)
OPENING = [
    Identity("Abbott", "FreeStyle Optium", "XXGS173-S0001", "0.22"),
    DeviceClock(DateTime(2026, 3, 1, 12, 0, 0)),
]


def told(result: OptiumResult, value: Value, kind: Kind, **more: object) -> Observation:
    return Observation(
        kind=kind,
        values=(value,),
        device_time=DateTime.of(result.time.replace(second=0)),
        raw=(result.line().encode(),),
        **more,  # type: ignore[arg-type]
    )


def glucose(number: int | None, state: State = State.MEASURED) -> Value:
    exact = None if number is None else Decimal(number)
    return Value(Quantity.GLUCOSE, Unit.MG_PER_DL, exact, state)


def ketone(number: str | None, state: State = State.MEASURED) -> Value:
    exact = None if number is None else Decimal(number)
    return Value(Quantity.KETONE, Unit.MMOL_PER_L, exact, state)


EVERYTHING = [
    *OPENING,
    told(GLUCOSE, glucose(105), Kind.GLUCOSE),
    told(KETONE, ketone("0.1667"), Kind.KETONE, context=(("raw-number", "3"),)),
]


@pytest.mark.parametrize("damage", [whole, bytewise, twice, noisy])
async def test_glucose_and_ketone_come_each_in_its_unit(damage: Damage) -> None:
    """003 of ketone is 0.2 mmol/L on the display, neither 3 mmol/L nor 3 mg/dL."""
    link = SimSerialLink(FreeStyleOptium([GLUCOSE, KETONE]), damage)

    found = await visit(DRIVER, link)

    assert found.error is None
    assert found.told == EVERYTHING


async def test_it_is_asked_again_until_it_is_awake() -> None:
    link = SimSerialLink(FreeStyleOptium([GLUCOSE]))

    await visit(DRIVER, link)

    assert link.written == [b"$colq\r\n", b"$colq\r\n", b"$xmem\r\n"]


@pytest.mark.parametrize(
    ("result", "value", "kind"),
    [
        (
            OptiumResult(START, "HI "),
            glucose(None, State.ABOVE_RANGE),
            Kind.GLUCOSE,
        ),
        (
            OptiumResult(START, "LO "),
            glucose(None, State.BELOW_RANGE),
            Kind.GLUCOSE,
        ),
        (OptiumResult(START, "000"), glucose(None, State.NO_VALUE), Kind.GLUCOSE),
        (
            OptiumResult(START, "HI ", is_ketone=True),
            ketone(None, State.ABOVE_RANGE),
            Kind.KETONE,
        ),
        (
            OptiumResult(START, "105", flags=1),
            glucose(105),
            Kind.CONTROL_SOLUTION,
        ),
    ],
)
async def test_what_is_no_plain_number_of_a_person_is_said_so(
    result: OptiumResult, value: Value, kind: Kind
) -> None:
    """HI as a number, or control solution as a person's, would be treated."""
    found = await visit(DRIVER, SimSerialLink(FreeStyleOptium([result])))

    assert found.of(Observation) == [told(result, value, kind)]


async def test_a_ketone_of_nought_is_a_value() -> None:
    """The display shows 0.0, and that is good news."""
    result = OptiumResult(START, "000", is_ketone=True)

    found = await visit(DRIVER, SimSerialLink(FreeStyleOptium([result])))

    raw = (("raw-number", "0"),)
    value = ketone("0.0000")
    assert found.of(Observation) == [told(result, value, Kind.KETONE, context=raw)]


async def test_a_control_of_ketone_is_nobodys_ketone() -> None:
    result = OptiumResult(START, "018", is_ketone=True, flags=1)

    found = await visit(DRIVER, SimSerialLink(FreeStyleOptium([result])))

    raw = (("raw-number", "18"),)
    value = ketone("1.0000")
    expected = told(result, value, Kind.CONTROL_SOLUTION, context=raw)
    assert found.of(Observation) == [expected]


async def test_a_lost_clock_is_a_fault_of_the_time_not_of_the_value() -> None:
    result = OptiumResult(START, "105", flags=2)

    found = await visit(DRIVER, SimSerialLink(FreeStyleOptium([result])))

    assert found.of(Observation) == [
        told(result, glucose(105), Kind.GLUCOSE, status=("time_fault",))
    ]


@pytest.mark.parametrize(
    "odd", [OptiumResult(START, "105", flags=0x80), OptiumResult(START, "???")]
)
async def test_a_result_that_nobody_has_explained_is_kept_and_the_rest_told(
    odd: OptiumResult,
) -> None:
    meter = FreeStyleOptium([GLUCOSE, odd, KETONE])

    found = await visit(DRIVER, SimSerialLink(meter))

    assert [one.payload for one in found.of(Undecoded)] == [odd.line().encode()]
    assert found.of(Observation) == EVERYTHING[2:]


class _Swapped:
    """The plug is put into another meter behind the first answer that counts."""

    baud = 19200

    def __init__(self, one: FreeStyleOptium, other: FreeStyleOptium) -> None:
        self._one, self._other = one, other

    def plugged(self) -> Iterable[bytes]:
        return ()

    def feed(self, data: bytes) -> Iterator[object]:
        yield from (self._other if data == b"$xmem\r\n" else self._one).feed(data)


async def test_another_meters_results_are_not_the_first_ones() -> None:
    """Nobody may get another person's readings."""
    other = FreeStyleOptium([KETONE], serial="XXGS173-S0002")
    other.feed(b"\r\n")  # awake

    found = await visit(
        DRIVER,
        SimSerialLink(_Swapped(FreeStyleOptium([GLUCOSE]), other)),  # type: ignore[arg-type]
    )

    assert isinstance(found.error, LinkLost)
    assert found.events == []


NOW = datetime(2026, 3, 1, 13, 59, 31)  # noqa: DTZ001 - a wall clock


async def test_the_clock_is_set_to_the_nearest_minute_behind_the_results() -> None:
    """It takes no seconds; to leave them out would set it half a minute late."""
    meter = FreeStyleOptium([GLUCOSE, KETONE])
    link = SimSerialLink(meter)

    found = await visit(DRIVER, link, terms=Terms(set_clock=lambda: NOW))

    assert found.error is None
    assert found.told == EVERYTHING
    assert link.written[-2:] == [b"$tim,03,01,26,14,00\r\n", b"$colq\r\n"]
    assert meter.set_to == datetime(2026, 3, 1, 14, 0)  # noqa: DTZ001


async def test_a_clock_that_does_not_take_the_time_is_told() -> None:
    """Else everybody would trust it."""

    class Stubborn(FreeStyleOptium):
        def _now(self) -> datetime:
            return datetime(2020, 2, 3)  # noqa: DTZ001

    link = SimSerialLink(Stubborn([GLUCOSE]))

    found = await visit(DRIVER, link, terms=Terms(set_clock=lambda: NOW))

    assert isinstance(found.error, NoReply)
    assert "was to show 2026-03-01 14:00:00, and shows 2020-02-03" in str(found.error)
    assert len(found.of(Observation)) == 1


async def test_a_clock_that_shows_no_date_is_told() -> None:
    class Wrong(FreeStyleOptium):
        def _information(self) -> bytes:
            return super()._information().replace(b"  01 ", b"  00 ")

    link = SimSerialLink(Wrong([GLUCOSE]))

    found = await visit(DRIVER, link, terms=Terms(set_clock=lambda: NOW))

    assert isinstance(found.error, NoReply)


async def test_silence_is_told_with_the_question() -> None:
    def silent(_: bytes) -> Iterator[bytes]:
        return iter(())

    found = await visit(DRIVER, SimSerialLink(FreeStyleOptium([GLUCOSE]), silent))

    assert isinstance(found.error, NoReply)
    assert "no answer to the information in 8 x 2 s" in str(found.error)

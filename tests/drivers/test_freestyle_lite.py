"""The FreeStyle Lite driver against the simulated meter."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from drivers.freestyle_lite import DRIVER
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
    Undecoded,
    Unit,
    Value,
)
from firmware_sim.devices.freestyle_lite import FreeStyleLite, LiteResult
from firmware_sim.link import Damage, SimSerialLink, bytewise, noisy, twice, whole
from protocols.stream import Damaged
from tests.drivers.collecting import visit

START = datetime(2026, 6, 30, 23, 30, 15)  # noqa: DTZ001 - a wall clock
RESULTS = [
    LiteResult(START + timedelta(hours=n), f"{80 + n:03}".encode()) for n in range(7)
]
OPENING = [
    Identity("Abbott", "FreeStyle Lite", "DBMW173-S0001", "0.31        -P"),
    DeviceClock(DateTime(2026, 3, 1, 12, 0, 0)),
]


def told(
    result: LiteResult,
    number: Decimal | None,
    state: State = State.MEASURED,
    *,
    kind: Kind = Kind.GLUCOSE,
    status: tuple[str, ...] = (),
    context: tuple[tuple[str, str], ...] = (),
) -> Observation:
    """Return what a result must become: whole minutes, mg/dL."""
    return Observation(
        kind=kind,
        values=(Value(Quantity.GLUCOSE, Unit.MG_PER_DL, number, state),),
        device_time=DateTime.of(result.time.replace(second=0)),
        status=status,
        context=context,
        raw=(result.line(),),
    )


EVERYTHING = [
    *OPENING,
    *(told(one, Decimal(80 + n)) for n, one in enumerate(RESULTS)),
]


@pytest.mark.parametrize("damage", [whole, bytewise, twice, noisy])
async def test_every_result_comes_once_oldest_first_however_it_arrives(
    damage: Damage,
) -> None:
    link = SimSerialLink(FreeStyleLite(RESULTS), damage)

    found = await visit(DRIVER, link)

    assert found.error is None
    assert found.told == EVERYTHING
    assert link.written == [b"mem"]


async def test_a_memory_that_was_damaged_is_asked_for_again() -> None:
    """Its sum tells: half a memory must never be taken for a whole one."""
    count = 0

    def damage(answer: bytes) -> Iterator[bytes]:
        nonlocal count
        count += 1
        yield answer.replace(b"086", b"186") if count == 1 else answer

    link = SimSerialLink(FreeStyleLite(RESULTS), damage)
    found = await visit(DRIVER, link)

    assert found.told == EVERYTHING
    assert link.written == [b"mem", b"mem"]
    assert any(isinstance(event, Damaged) for event in link.noted)


@pytest.mark.parametrize(
    ("shown", "flags", "expected"),
    [
        (b"HI ", 0, {"number": None, "state": State.ABOVE_RANGE}),
        (b"LO ", 0, {"number": None, "state": State.BELOW_RANGE}),
        (b"000", 0, {"number": None, "state": State.NO_VALUE}),
        (b"105", 1, {"number": Decimal(105), "kind": Kind.CONTROL_SOLUTION}),
        (b"105", 2, {"number": Decimal(105), "status": ("time_fault",)}),
        (
            b"HI ",
            3,
            {
                "number": None,
                "state": State.ABOVE_RANGE,
                "kind": Kind.CONTROL_SOLUTION,
                "status": ("time_fault",),
            },
        ),
    ],
)
async def test_what_is_no_plain_number_of_a_person_is_said_so(
    shown: bytes, flags: int, expected: dict[str, object]
) -> None:
    """HI as a number, or control solution as a person's, would be treated."""
    result = LiteResult(START, shown, flags)

    found = await visit(DRIVER, SimSerialLink(FreeStyleLite([result])))

    assert found.of(Observation) == [told(result, **expected)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "odd",
    [
        LiteResult(START, b"105", 4),
        LiteResult(START, b"1O5"),
        LiteResult(START, b" 81"),
        LiteResult(START, b"---"),
    ],
)
async def test_a_result_that_nobody_has_explained_is_kept_and_the_rest_told(
    odd: LiteResult,
) -> None:
    """One odd line must neither become a number nor hide the others."""
    meter = FreeStyleLite([*RESULTS[:3], odd, *RESULTS[3:]])

    found = await visit(DRIVER, SimSerialLink(meter))

    assert found.error is None
    (undecoded,) = found.of(Undecoded)
    assert (undecoded.source, undecoded.payload) == ("result", odd.line().strip())
    assert found.of(Observation) == EVERYTHING[2:]


async def test_an_optiums_ketone_is_never_taken_for_glucose() -> None:
    """3 eighteenths of a mmol/L are not 3 mg/dL."""

    class Ketone(LiteResult):
        def line(self) -> bytes:
            return super().line().replace(b" 14 ", b" K ")

    found = await visit(DRIVER, SimSerialLink(FreeStyleLite([Ketone(START, b"003")])))

    assert found.of(Observation) == []
    assert len(found.of(Undecoded)) == 1


async def test_two_equal_results_of_one_minute_stay_two() -> None:
    """Neither number nor seconds tell them apart, only their place."""
    twins = [LiteResult(START, b"105"), LiteResult(START, b"105")]

    found = await visit(DRIVER, SimSerialLink(FreeStyleLite([*RESULTS, *twins])))

    last = found.of(Observation)[-2:]
    assert last[0] == told(twins[0], Decimal(105))
    assert last[1] == told(
        twins[1], Decimal(105), context=(("position-at-this-time", "2"),)
    )


async def test_an_empty_memory_is_no_error() -> None:
    found = await visit(DRIVER, SimSerialLink(FreeStyleLite()))

    assert found.error is None
    assert found.told == OPENING


async def test_silence_is_told_with_the_question() -> None:
    def silent(_: bytes) -> Iterator[bytes]:
        return iter(())

    found = await visit(DRIVER, SimSerialLink(FreeStyleLite(RESULTS), silent))

    assert isinstance(found.error, NoReply)
    assert "no answer to the memory" in str(found.error)
    assert found.events == []


@pytest.mark.parametrize("size", [1, 60, 150, 250])
async def test_a_pulled_cable_brings_nothing_half(size: int) -> None:
    link = SimSerialLink(FreeStyleLite(RESULTS), lost_after=size)

    found = await visit(DRIVER, link)

    assert isinstance(found.error, LinkLost)
    assert found.events == []

"""What is particular to the GlucoMen's driver, against its simulated meter."""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal

from drivers.glucomen_areo import DRIVER
from drivers.sdk import (
    DateTime,
    DeviceClock,
    Identity,
    Kind,
    LinkLost,
    NoReply,
    Observation,
    State,
    Terms,
    Undecoded,
    Unit,
)
from firmware_sim.devices.glucomen_areo import Areo, AreoResult
from firmware_sim.link import SimSerialLink, twice
from protocols.observation import POSITION
from protocols.units import measures
from tests.drivers.collecting import visit

MORNING = datetime(2026, 3, 14, 7, 30)  # noqa: DTZ001 - a wall clock
TOLD = datetime(2026, 3, 14, 10, 5, 59)  # noqa: DTZ001 - a wall clock
GLUCOSE = AreoResult(MORNING, "5.2", unit="mmol/L", marking="02")
KETONE = AreoResult(MORNING, "0.2", test="Ket", unit="mmol/L")


def _allowed() -> Terms:
    return Terms(set_clock=lambda: TOLD)


async def test_each_value_comes_in_the_unit_of_its_own_line() -> None:
    """One memory may hold both; taken for mg/dL, 5.2 would be deadly."""
    other = AreoResult(MORNING, "125", marking="08")
    meter = Areo([GLUCOSE, other, KETONE])

    found = await visit(DRIVER, SimSerialLink(meter))

    assert found.error is None
    assert found.events[0] == Identity("Menarini", "", "SIM00001", "B.0")
    assert found.of(DeviceClock) == []
    assert [
        (one.kind, one.values[0].number, one.values[0].unit, one.context)
        for one in found.of(Observation)
    ] == [
        (
            Kind.GLUCOSE,
            Decimal("5.2"),
            Unit.MMOL_PER_L,
            (("meal", "preprandial"),),
        ),
        (Kind.GLUCOSE, Decimal(125), Unit.MG_PER_DL, (("marking", "exercise"),)),
        (Kind.KETONE, Decimal("0.2"), Unit.MMOL_PER_L, ()),
    ]
    assert found.of(Observation)[0].device_time == DateTime.of(MORNING)
    assert found.of(Observation)[0].raw == (b"Glu, 5.2,mmol/L,02,260314,0730",)


async def test_hi_and_lo_are_no_numbers() -> None:
    meter = Areo([AreoResult(MORNING, "HI"), AreoResult(MORNING, "LO")])

    found = await visit(DRIVER, SimSerialLink(meter))

    assert [one.values[0].state for one in found.of(Observation)] == [
        State.ABOVE_RANGE,
        State.BELOW_RANGE,
    ]
    assert {one.values[0].number for one in found.of(Observation)} == {None}


async def test_a_ketone_in_mg_per_dl_is_kept_and_hides_no_other() -> None:
    """No factor to mmol/L is known; told so, it would end every visit."""
    odd = AreoResult(MORNING, "4", test="Ket")

    found = await visit(DRIVER, SimSerialLink(Areo([GLUCOSE, odd, KETONE])))

    (problem,) = found.of(Undecoded)
    assert problem.payload == b"Ket,   4, mg/dL,00,260314,0730"
    seen = found.of(Observation)
    assert [one.kind for one in seen] == [Kind.GLUCOSE, Kind.KETONE]
    assert all(measures(one.values[0].unit, one.values[0].quantity) for one in seen)


async def test_no_glucose_is_no_number_and_no_ketone_is_one() -> None:
    """0.0 mmol/L of ketone is a healthy person's; 0 mg/dL is nobody's."""
    none = AreoResult(MORNING, "0.0", test="Ket", unit="mmol/L")

    found = await visit(DRIVER, SimSerialLink(Areo([AreoResult(MORNING, "0"), none])))

    glucose, ketone = (one.values[0] for one in found.of(Observation))
    assert (glucose.number, glucose.state) == (None, State.NO_VALUE)
    assert ketone.number == Decimal("0.0")


async def test_a_marking_of_no_known_meaning_is_kept() -> None:
    found = await visit(
        DRIVER, SimSerialLink(Areo([AreoResult(MORNING, "99", marking="16")]))
    )

    assert found.of(Observation)[0].context == (("marking", "16"),)


async def test_two_of_one_minute_are_two() -> None:
    found = await visit(DRIVER, SimSerialLink(Areo([GLUCOSE, GLUCOSE])))

    assert [dict(one.context).get(POSITION) for one in found.of(Observation)] == [
        None,
        "2",
    ]


async def test_an_odd_line_is_kept_and_hides_no_other() -> None:
    """The block's checksum was right, so the meter means what it says."""
    meter = Areo([AreoResult(MORNING, "5.2", unit="%"), GLUCOSE])

    found = await visit(DRIVER, SimSerialLink(meter))

    (problem,) = found.of(Undecoded)
    assert problem.payload == b"Glu, 5.2,     %,00,260314,0730"
    assert problem.problem == "'unit' is b'%', neither mg/dL nor mmol/L"
    assert len(found.of(Observation)) == 1


async def test_a_meter_without_ketone_may_keep_silent() -> None:
    """Its glucose is told all the same."""
    found = await visit(DRIVER, SimSerialLink(Areo([GLUCOSE], has_ketone=False)))

    assert found.error is None
    assert len(found.of(Observation)) == 1


async def test_an_answer_to_another_question_is_not_taken() -> None:
    """The blocks do not say what they answer, but their lines do."""
    link = SimSerialLink(Areo([GLUCOSE, KETONE]), twice)

    found = await visit(DRIVER, link)

    assert [one.kind for one in found.of(Observation)] == [Kind.GLUCOSE, Kind.KETONE]


async def test_only_what_answers_a_question_is_taken_for_it() -> None:
    """A late answer must not stand for the next one."""
    (ketones,) = Areo([KETONE]).feed(b"\xa8")
    assert isinstance(ketones, bytes)
    late, count = ketones, 0

    def damage(answer: bytes) -> Iterator[bytes]:
        nonlocal count
        count += 1
        if count <= 2:
            yield b"P"
        if count == 2:
            yield late
        yield answer

    link = SimSerialLink(Areo([GLUCOSE]), damage)

    found = await visit(DRIVER, link)

    assert found.error is None
    assert [one.kind for one in found.of(Observation)] == [Kind.GLUCOSE]
    assert len(link.noted) == 3


async def test_the_results_of_another_meter_are_nobodys() -> None:
    """A result does not say whose it is."""
    meter = Areo([GLUCOSE])

    def damage(answer: bytes) -> Iterator[bytes]:
        if b"Glu" in answer:
            meter.serial = "SIM00002"
        yield answer

    found = await visit(DRIVER, SimSerialLink(meter, damage))

    assert isinstance(found.error, LinkLost)
    assert found.of(Observation) == []


async def test_the_clock_is_set_behind_the_results_where_it_is_allowed() -> None:
    """It can't be asked for, so nobody knows whether it was right."""
    meter = Areo([GLUCOSE])
    link = SimSerialLink(meter)

    found = await visit(DRIVER, link, terms=_allowed())

    assert found.error is None
    assert meter.set_to == TOLD.replace(second=0)
    assert link.written[-1].startswith(b"\xc2\xa1[\r\n2603141005\r\n")


async def test_a_clock_that_nobody_may_set_is_left_alone() -> None:
    meter = Areo([GLUCOSE])
    link = SimSerialLink(meter)

    await visit(DRIVER, link)

    assert meter.set_to is None
    assert set(link.written) == {b"\xa2", b"\x80", b"\xa8"}


async def test_a_meter_that_refuses_to_be_set_is_told() -> None:
    """The results are there all the same."""

    def damage(answer: bytes) -> Iterator[bytes]:
        yield b"F" if answer == b"P" else answer

    found = await visit(
        DRIVER, SimSerialLink(Areo([GLUCOSE]), damage), terms=_allowed()
    )

    assert len(found.of(Observation)) == 1
    assert isinstance(found.error, NoReply)


def test_the_simulated_meter_speaks_as_the_document_says() -> None:
    """A bench that agreed with our codec only would prove nothing."""
    meter = Areo([AreoResult(datetime(2024, 1, 1, 8), "10.2", unit="mmol/L")])  # noqa: DTZ001

    # The block that glucofix-tech-gk-extract knows with CRC 2E, and the empty one.
    assert meter.feed(b"\x80") == [
        b"[\r\nGlu,10.2,mmol/L,00,240101,0800\r\n2E\r\n]\r\n"
    ]
    assert meter.feed(b"\xa8") == [b"[\r\n\x90\x3d\r\n]\r\n"]
    for strange in (b"\x81", b"\xc2\x80", b"\xc2\xa1[\r\n2401010800\r\n"):
        assert meter.feed(strange) == []


def test_the_simulated_meter_refuses_what_is_no_time() -> None:
    """Its real one wants the checksum in upper case, and so does this one."""
    meter = Areo()

    assert meter.feed(b"\xc2\xa1[\r\n2603141005\r\n00\r\n]\r\n") == [b"F"]
    assert meter.feed(b"\xc2\xa1[\r\n2613141005\r\n00\r\n]\r\n") == [b"F"]
    assert meter.feed(b"\xc2\xa1[\r\n2401010800\r\n77\r\n]\r\n") == [b"P"]
    assert meter.set_to == datetime(2024, 1, 1, 8)  # noqa: DTZ001 - a wall clock

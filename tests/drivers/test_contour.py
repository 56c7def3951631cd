"""What is particular to the Contour's driver, against its simulated meter."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from drivers.contour import DRIVER
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
from firmware_sim.bench import Wait
from firmware_sim.devices.contour import Contour, ContourResult
from firmware_sim.link import SimSerialLink
from firmware_sim.trial import Limit, SimClock
from protocols.observation import POSITION
from protocols.stream import Damaged
from tests.drivers.collecting import visit

NOW = datetime(2026, 3, 14, 9, 26)  # noqa: DTZ001 - a wall clock
MORNING = datetime(2026, 3, 14, 7, 30)  # noqa: DTZ001 - a wall clock
RESULT = ContourResult(MORNING, Decimal(121), meal="B")
TOLD = datetime(2026, 3, 14, 10, 5)  # noqa: DTZ001 - a wall clock


def _allowed() -> Terms:
    return Terms(set_clock=lambda: TOLD)


async def test_an_old_meter_tells_its_average_and_nobody_takes_it() -> None:
    """It looks like a reading, and nobody ever measured it."""
    meter = Contour([RESULT, ContourResult(NOW, Decimal(99))], clock=SimClock(NOW))

    found = await visit(DRIVER, SimSerialLink(meter))

    assert found.error is None
    assert found.events[:2] == [
        Identity("Ascensia", "Bayer7150", "7150-SIM0001", "1.05\\0.00"),
        DeviceClock(DateTime.of(NOW)),
    ]
    assert [one.values[0].number for one in found.of(Observation)] == [121, 99]
    assert found.of(Observation)[0].context == (
        ("meal", "preprandial"),
        ("sample", "undetermined_plasma"),
    )


@pytest.mark.parametrize("is_eager", [True, False])
async def test_a_newer_meter_has_markers_and_no_average(is_eager: bool) -> None:
    """Its first result is one, and its first frame may come ahead of ENQ."""
    results = [
        ContourResult(MORNING, Decimal("6.7"), meal="A/Z1"),
        ContourResult(NOW, Decimal("6.9"), is_control=True),
    ]
    meter = Contour(results, unit="mmol/L", is_old=False, is_eager=is_eager)

    found = await visit(DRIVER, SimSerialLink(meter))

    one, two = found.of(Observation)
    assert (one.kind, two.kind) == (Kind.GLUCOSE, Kind.CONTROL_SOLUTION)
    assert (one.values[0].number, one.values[0].unit) == (
        Decimal("6.7"),
        Unit.MMOL_PER_L,
    )
    assert one.context == (
        ("markers", "Z1"),
        ("meal", "postprandial"),
        ("sample", "undetermined_plasma"),
    )


@pytest.mark.parametrize(
    ("limit", "state"),
    [(Limit.HIGH, State.ABOVE_RANGE), (Limit.LOW, State.BELOW_RANGE)],
)
@pytest.mark.parametrize("is_old", [True, False])
async def test_a_number_beside_a_limit_is_none(
    limit: Limit, state: State, is_old: bool
) -> None:
    """601 with > is not 601 mg/dL."""
    result = ContourResult(NOW, Decimal(601), limit)

    found = await visit(DRIVER, SimSerialLink(Contour([result], is_old=is_old)))

    (value,) = found.of(Observation)[0].values
    assert (value.number, value.state) == (None, state)


@pytest.mark.parametrize(
    ("record", "number", "notes"),
    [
        ("R|2|^^^Glucose|88|mg/dL^P||||F|||202603140930", 88, {"markers": "status-F"}),
        ("R|2|^^^Glucose|88|mg/dL^P||A|||||202603140930", 88, {"markers": "flag-A"}),
        ("R|2|^^^Glucose|88|mg/dL^P|||A||||202603140930", 88, {"meal": "postprandial"}),
        ("R|2|^^^Glucose|0|mg/dL^P|||||||202603140930", None, {}),
    ],
)
async def test_only_a_mark_of_an_old_meter_is_a_meal_and_nought_is_no_glucose(
    record: str, number: int | None, notes: dict[str, str]
) -> None:
    """By ASTM a status of F is "final", and no fasting."""
    meter = Contour([RESULT])
    meter.extra = [record]

    found = await visit(DRIVER, SimSerialLink(meter))

    seen = found.of(Observation)[-1]
    assert seen.values[0].number == number
    assert seen.values[0].state == (State.MEASURED if number else State.NO_VALUE)
    assert dict(seen.context) == {"sample": "undetermined_plasma", **notes}


async def test_what_is_no_glucose_is_not_told_as_one() -> None:
    """A diary's 80 units of insulin are no 80 mg/dL."""
    meter = Contour([RESULT], is_old=False)
    meter.extra = [
        "R|2|^^^Insulin|80|1^||||202603140930",
        "R|3|^^^Carb|8|3^||||202603140931",
    ]

    found = await visit(DRIVER, SimSerialLink(meter))

    assert len(found.of(Observation)) == 1
    assert found.error is None


async def test_control_solution_is_told_by_its_order_too() -> None:
    """Q in the order says what the result does not."""
    meter = Contour(is_old=False)
    meter.extra = [
        "O|1||||||||||Q",
        "R|1|^^^Glucose|121|mg/dL^P||||202603140930",
        "O|2",
        "R|2|^^^Glucose|122|mg/dL^P||||202603140931",
    ]

    found = await visit(DRIVER, SimSerialLink(meter))

    assert [one.kind for one in found.of(Observation)] == [
        Kind.CONTROL_SOLUTION,
        Kind.GLUCOSE,
    ]


async def test_an_odd_result_is_kept_and_hides_no_other() -> None:
    meter = Contour([RESULT], is_old=False)
    odd = "R|2|^^^Glucose|12.1|g/L^P||||202603140930"
    meter.extra = [odd, "R|3|^^^Glucose|122|mg/dL^B||||202603140931"]

    found = await visit(DRIVER, SimSerialLink(meter))

    (problem,) = found.of(Undecoded)
    assert (problem.source, problem.payload) == ("result", odd.encode())
    assert [one.values[0].number for one in found.of(Observation)] == [121, 122]
    assert dict(found.of(Observation)[1].context)["sample"] == (
        "undetermined_whole_blood"
    )


async def test_two_of_one_minute_are_two() -> None:
    """The meter keeps neither seconds nor a number that stays."""
    found = await visit(DRIVER, SimSerialLink(Contour([RESULT, RESULT])))

    assert [dict(one.context).get(POSITION) for one in found.of(Observation)] == [
        None,
        "2",
    ]


async def test_a_damaged_frame_is_asked_for_at_once() -> None:
    """And the damage is counted."""
    count = 0

    def damage(answer: bytes) -> Iterator[bytes]:
        nonlocal count
        count += 1
        yield answer.replace(b"|121|", b"|181|") if count < 6 else answer

    link = SimSerialLink(Contour([RESULT], is_old=False), damage)

    found = await visit(DRIVER, link)

    assert [one.values[0].number for one in found.of(Observation)] == [121]
    assert b"\x15" in link.written
    assert any(isinstance(event, Damaged) for event in link.noted)


async def test_no_result_counts_before_the_last_record_has_come() -> None:
    """Until then the meter itself does not call them valid."""

    def damage(answer: bytes) -> Iterator[bytes]:
        if b"L|1" not in answer:
            yield answer

    found = await visit(DRIVER, SimSerialLink(Contour([RESULT]), damage))

    assert isinstance(found.error, NoReply)
    assert found.of(Observation) == []


async def test_a_meter_that_breaks_off_is_read_again_from_the_start() -> None:
    """Half a message and half of the next are none."""
    count = 0

    def damage(answer: bytes) -> Iterator[bytes]:
        nonlocal count
        count += 1
        yield b"\x04" if count == 4 else answer

    link = SimSerialLink(Contour([RESULT, RESULT], is_old=False), damage)

    found = await visit(DRIVER, link)

    assert found.error is None
    assert len(found.of(Observation)) == 2


async def test_noise_without_an_end_is_not_listened_to_for_ever() -> None:
    """A bad plug rustles, and the station has other meters to read."""
    link = SimSerialLink(Contour([RESULT]), lambda _: iter(1000 * [b"\xff"]))

    found = await visit(DRIVER, link)

    assert str(found.error) == "no new frame in 6 attempts"


async def test_a_meter_without_a_clock_tells_none() -> None:
    def damage(answer: bytes) -> Iterator[bytes]:
        yield answer.replace(b"1|202603011200\r\x172B", b"1|\r\x17DA")

    found = await visit(DRIVER, SimSerialLink(Contour([RESULT]), damage))

    assert (found.error, found.of(DeviceClock)) == (None, [])
    assert len(found.of(Observation)) == 1


async def test_the_results_of_another_meter_are_nobodys() -> None:
    """The plug may be moved while the transfer is being repeated."""
    meter = Contour([RESULT])

    def damage(answer: bytes) -> Iterator[bytes]:
        if b"P|1\r" in answer and meter.serial == "7150-SIM0001":
            meter.serial = "7150-SIM0002"
            yield b"\x04"
        else:
            yield answer

    found = await visit(DRIVER, SimSerialLink(meter, damage))

    assert isinstance(found.error, LinkLost)
    assert found.of(Observation) == []


async def test_the_clock_is_set_behind_the_results_where_it_is_allowed() -> None:
    """Before them, what they say of their time could not be corrected any more."""
    meter = Contour([RESULT], clock=SimClock(NOW))
    link = SimSerialLink(meter)

    found = await visit(DRIVER, link, terms=_allowed())

    assert (found.error, meter.set_to) == (None, TOLD)
    setting = link.written[link.written.index(b"W|") :]
    assert setting == [b"W|", b"D|", b"260314|\r", b"W|", b"T|", b"1005|\r", b"\x04"]
    again = await visit(DRIVER, SimSerialLink(meter))
    assert again.of(DeviceClock) == [DeviceClock(DateTime.of(TOLD))]


async def test_a_clock_that_is_nearly_right_is_left_alone() -> None:
    meter = Contour([RESULT], clock=SimClock(TOLD - timedelta(minutes=2)))

    found = await visit(DRIVER, SimSerialLink(meter), terms=_allowed())

    assert (found.error, meter.set_to) == (None, None)


async def test_a_clock_that_a_pump_owns_is_left_to_it() -> None:
    """That is how the meter is meant to be, and no error."""
    meter = Contour([RESULT], clock=SimClock(NOW))
    meter.owns_clock = True
    link = SimSerialLink(meter)

    found = await visit(DRIVER, link, terms=_allowed())

    assert (found.error, meter.set_to) == (None, None)
    assert link.written[-1] == b"\x04"
    assert b"T|" not in link.written


async def test_the_setting_is_begun_again_where_an_answer_is_lost() -> None:
    """A date without its time would put all readings in between out by a day."""
    count = 0

    def damage(answer: bytes) -> Iterator[bytes]:
        nonlocal count
        count += answer == b"\x06"
        if count != 3 or answer != b"\x06":
            yield answer

    meter = Contour([RESULT], clock=SimClock(NOW))

    found = await visit(DRIVER, SimSerialLink(meter, damage), terms=_allowed())

    assert (found.error, meter.set_to) == (None, TOLD)


async def test_a_meter_that_takes_no_commands_is_told() -> None:
    """The results are there all the same."""

    def damage(answer: bytes) -> Iterator[bytes]:
        if answer != b"\x06":
            yield answer

    meter = Contour([RESULT], clock=SimClock(NOW))

    found = await visit(DRIVER, SimSerialLink(meter, damage), terms=_allowed())

    assert len(found.of(Observation)) == 1
    assert isinstance(found.error, NoReply)
    assert meter.set_to is None


def test_the_simulated_meter_speaks_as_the_document_says() -> None:
    """As a Contour USB was captured; agreeing with our codec only proves nothing."""
    time = datetime(2015, 4, 17, 11, 54)  # noqa: DTZ001 - a wall clock
    result = ContourResult(time, Decimal("10.9"), meal="A")
    meter = Contour([result], unit="mmol/L", is_old=False)
    patient = b"\x022P|1\r\x1753\r\n"

    assert meter.feed(b"\x04") == []  # it wakes up
    assert meter.feed(b"\x04") == [b"\x04\x05"]
    assert meter.feed(b"\x06")[0].startswith(b"\x021H|\\^&|")
    assert meter.feed(b"\x06") == [patient]
    assert meter.feed(b"\x15") == [patient]
    assert meter.feed(b"\x06") == [
        b"\x023R|1|^^^Glucose|10.9|mmol/L^P||A||201504171154\r\x17EC\r\n"
    ]
    assert meter.feed(b"\x06") == [b"\x024L|1||N\r\x0383\r\n"]
    assert meter.feed(b"\x06") == [b"\x04"]
    assert meter.feed(b"\x06") == []


def test_the_simulated_meter_gives_up_behind_six_refusals() -> None:
    meter = Contour([RESULT])
    meter.feed(b"\x04")

    assert meter.feed(b"\x04\x15") == [b"\x04\x05", Wait(10.0), b"\x05"]
    frame = meter.feed(b"\x06")
    assert meter.feed(6 * b"\x15") == 6 * frame
    assert meter.feed(b"\x15") == [b"\x04"]


def test_the_simulated_meter_refuses_what_is_no_time() -> None:
    """And leaves its commands by EOT or NAK."""
    meter = Contour()
    meter.feed(b"\x04")

    assert meter.feed(b"\x15\x05") == [b"\x04", b"\x06"]
    assert meter.feed(b"W|D|261332|\r") == [b"\x06", b"\x06", b"\x15"]
    assert meter.feed(b"xxxxxxxxxx\x04") == []
    assert meter.feed(b"\x05T|\x15") == [b"\x06", b"\x06", b"\x04"]
    assert meter.set_to is None


def test_the_simulated_meter_holds_480_results() -> None:
    meter = Contour(480 * [RESULT])
    meter.store(ContourResult(NOW, Decimal(99)))
    meter.feed(b"\x04\x04")

    frames = meter.feed(b"\x04" + 500 * b"\x06")

    assert b"R|481|^^^Glucose|99|" in frames[-3]
    with pytest.raises(ValueError, match="481 results"):
        Contour(481 * [RESULT])

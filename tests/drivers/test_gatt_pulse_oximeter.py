"""The Pulse Oximeter Service driver against the simulated oximeter."""

from datetime import datetime
from decimal import Decimal

import pytest

from drivers.gatt_pulse_oximeter import DRIVER
from drivers.sdk import (
    Checkpoint,
    DateTime,
    DeviceClock,
    Identity,
    Kind,
    LinkLost,
    NoReply,
    Observation,
    Packet,
    Quantity,
    State,
    Terms,
    Unit,
    Value,
)
from firmware_sim.devices.gatt_pulse_oximeter import (
    NO_MEMORY_TRIAL,
    PulseOximeter,
    SpotCheckRecord,
)
from firmware_sim.kit.bad_devices import Endless
from firmware_sim.kit.check import check_rule
from firmware_sim.kit.rules import RULES, Rule
from firmware_sim.link import SimGattLink
from firmware_sim.racp import Answer
from protocols.gatt.pulse_oximeter import DeviceStatus, MeasurementStatus
from protocols.gatt.racp import Incomplete
from protocols.gatt.uuid import sig
from tests.drivers.collecting import visit

MORNING = datetime(2026, 3, 1, 7, 30)  # noqa: DTZ001 - a wall clock
SPOT = SpotCheckRecord(
    Decimal(97), Decimal(72), MORNING, device=0x20, amplitude=Decimal("8.7")
)
# By hand, each field from the document.
SPOT_BYTES = bytes.fromhex("0f 61 00 48 00 ea 07 03 01 07 1e 00 00 01 20 00 00 57 f0")
SPOT_SEEN = Observation(
    kind=Kind.OXYGEN_SATURATION,
    values=(
        Value(Quantity.OXYGEN_SATURATION, Unit.PERCENT, Decimal(97)),
        Value(Quantity.PULSE_RATE, Unit.PER_MINUTE, Decimal(72)),
    ),
    device_time=DateTime(2026, 3, 1, 7, 30, 0),
    status=("fully_qualified", "low_perfusion"),
    context=(("pulse-amplitude-percent", "8.7"),),
    raw=(SPOT_BYTES,),
)


async def _states(record: SpotCheckRecord) -> list[State]:
    found = await visit(DRIVER, SimGattLink(PulseOximeter([record])))
    assert found.error is None
    (seen,) = found.of(Observation)
    assert all(
        (value.number is None) is (value.state != State.MEASURED)
        for value in seen.values
    )
    return [value.state for value in seen.values]


@pytest.mark.parametrize("has_memory", [False, True])
async def test_a_spot_check_is_told_whole_with_or_without_a_memory(
    has_memory: bool,
) -> None:
    link = SimGattLink(PulseOximeter([SPOT], has_memory=has_memory))

    found = await visit(DRIVER, link)

    assert found.error is None
    assert found.of(Observation) == [SPOT_SEEN]
    asked = [(sig(0x2A52), b"\x01\x01")] if has_memory else []
    assert link.written == asked


async def test_a_memory_is_read_again_and_nothing_is_deleted() -> None:
    oximeter = PulseOximeter([SPOT], has_memory=True)
    first = await visit(DRIVER, SimGattLink(oximeter))
    known = Terms(first.of(Checkpoint)[-1].mark, Identity("m", "o", "s", "f"))
    second = await visit(DRIVER, SimGattLink(oximeter), terms=known)

    assert first.of(Observation) == second.events == [SPOT_SEEN]
    assert oximeter.stored == (SPOT,)


@pytest.mark.parametrize(
    "bad",
    [
        MeasurementStatus.INVALID,
        MeasurementStatus.UNAVAILABLE,
        MeasurementStatus.DEMONSTRATION,
        MeasurementStatus.TESTING,
        MeasurementStatus.CALIBRATION_ONGOING,
    ],
    ids=str,
)
async def test_a_value_that_is_nobodys_is_no_number(bad: MeasurementStatus) -> None:
    """A demonstration shows 98 % as beautifully as a finger does."""
    record = SpotCheckRecord(Decimal(98), Decimal(60), MORNING, measured=int(bad))

    assert await _states(record) == [State.DEVICE_ERROR] * 2


@pytest.mark.parametrize(
    "bad",
    [
        DeviceStatus.EQUIPMENT_MALFUNCTION,
        DeviceStatus.SENSOR_UNCONNECTED,
        DeviceStatus.UNKNOWN_SENSOR,
        DeviceStatus.SENSOR_MALFUNCTIONING,
        DeviceStatus.SENSOR_DISCONNECTED,
    ],
    ids=str,
)
async def test_a_value_of_a_broken_sensor_is_no_number(bad: DeviceStatus) -> None:
    record = SpotCheckRecord(Decimal(98), Decimal(60), MORNING, device=int(bad))

    assert await _states(record) == [State.DEVICE_ERROR] * 2


async def test_a_value_in_doubt_is_a_number_and_says_so() -> None:
    """Poor perfusion and a questionable value are for a physician to weigh."""
    record = SpotCheckRecord(
        Decimal(88),
        Decimal(60),
        measured=int(MeasurementStatus.QUESTIONABLE),
        device=int(DeviceStatus.POOR_SIGNAL),
        clock_not_set=True,
    )

    found = await visit(DRIVER, SimGattLink(PulseOximeter([record])))

    (seen,) = found.of(Observation)
    assert seen.values[0].number == 88
    assert seen.status == (
        *("questionable", "poor_signal"),
        *("device_clock_not_set", "time_fault"),
    )


async def test_the_time_of_a_clock_that_nobody_set_is_no_true_time() -> None:
    """It counts from when the battery was put in, and names a plausible day."""
    spot = "11 61 00 48 00 ea 07 01 01 00 05 00"  # flags: time, clock not set
    (seen,) = DRIVER.decode(Packet(sig(0x2A5E), bytes.fromhex(spot)), Identity())

    assert isinstance(seen, Observation)
    assert seen.device_time == DateTime(2026, 1, 1, 0, 5, 0)
    assert seen.status == ("device_clock_not_set", "time_fault")


async def test_zero_and_nan_are_no_values() -> None:
    record = SpotCheckRecord(Decimal(0), Decimal("NaN"), measured=None)

    assert await _states(record) == [State.NO_VALUE, State.NOT_A_NUMBER]


async def test_an_oximeter_that_refuses_its_memory_is_told() -> None:
    """Else it would look like one that is empty."""
    refusing = PulseOximeter(
        [SPOT], has_memory=True, answer=Answer.OPERATOR_NOT_SUPPORTED
    )

    found = await visit(DRIVER, SimGattLink(refusing))

    assert isinstance(found.error, Incomplete)
    assert "value=4" in str(found.error)


async def test_an_empty_memory_is_no_error() -> None:
    found = await visit(DRIVER, SimGattLink(PulseOximeter([], has_memory=True)))

    assert (found.error, found.of(Observation)) == (None, [])


async def test_a_link_lost_within_the_memory_is_told() -> None:
    """What is missing behind the cut must be fetched at the next visit."""
    oximeter = PulseOximeter([SPOT, SPOT], has_memory=True)

    found = await visit(DRIVER, SimGattLink(oximeter, lost_after=1))

    assert isinstance(found.error, LinkLost)
    assert found.of(Observation) == [SPOT_SEEN]


@pytest.mark.parametrize("has_memory", [False, True])
async def test_a_clock_is_read_where_there_is_one(has_memory: bool) -> None:
    """By it the agent corrects the times of a clock that is wrong."""
    oximeter = PulseOximeter([], has_memory=has_memory, clock=lambda: MORNING)

    found = await visit(DRIVER, SimGattLink(oximeter))

    assert found.of(DeviceClock) == [DeviceClock(DateTime(2026, 3, 1, 7, 30, 0))]


async def test_a_memory_without_an_end_is_given_up() -> None:
    oximeter = Endless(PulseOximeter([SPOT], has_memory=True))

    found = await visit(DRIVER, SimGattLink(oximeter))

    assert isinstance(found.error, NoReply)


async def test_an_oximeter_without_spot_checks_is_named() -> None:
    link = SimGattLink(PulseOximeter([], has_spot_checks=False))

    found = await visit(DRIVER, link)

    assert isinstance(found.error, NoReply)


@pytest.mark.parametrize("rule", RULES[1:], ids=lambda rule: rule.name)
def test_every_rule_holds_without_a_memory_too(rule: Rule) -> None:
    """The kit tries the oximeter with a memory; this is the other one."""
    assert check_rule(DRIVER, NO_MEMORY_TRIAL, rule).problems == ()

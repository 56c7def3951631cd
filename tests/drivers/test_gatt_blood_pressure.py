"""The Blood Pressure Service driver against the simulated cuff."""

from datetime import datetime
from decimal import Decimal

import pytest

from drivers.gatt_blood_pressure import DRIVER
from drivers.sdk import (
    DateTime,
    Identity,
    Kind,
    Observation,
    Packet,
    Quantity,
    State,
    Terms,
    Undecoded,
    Unit,
    Value,
)
from firmware_sim.devices.gatt_blood_pressure import (
    BloodPressureCuff,
    BloodPressureRecord,
)
from firmware_sim.faults import Faults, faulty
from firmware_sim.link import SimGattLink
from protocols.gatt.uuid import sig
from tests.drivers.collecting import visit

NAN = Decimal("NaN")
FULL = BloodPressureRecord(
    Decimal(120),
    Decimal(80),
    datetime(2024, 6, 15, 14, 30, 45),  # noqa: DTZ001 - a wall clock
    pulse_rate=Decimal(72),
    mean=Decimal(93),
    user=1,
    status=4,
)
# The example of the device protocols, 2.2, as bytes.
FULL_BYTES = bytes.fromhex("1e 78 00 50 00 5d 00 e8 07 06 0f 0e 1e 2d 48 00 01 04 00")
FULL_SEEN = Observation(
    kind=Kind.BLOOD_PRESSURE,
    values=(
        Value(Quantity.SYSTOLIC, Unit.MM_HG, Decimal(120)),
        Value(Quantity.DIASTOLIC, Unit.MM_HG, Decimal(80)),
        Value(Quantity.MEAN_PRESSURE, Unit.MM_HG, Decimal(93)),
        Value(Quantity.PULSE_RATE, Unit.PER_MINUTE, Decimal(72)),
    ),
    device_time=DateTime(2024, 6, 15, 14, 30, 45),
    slot=1,
    status=("irregular_pulse",),
    raw=(FULL_BYTES,),
)


async def _one(record: BloodPressureRecord) -> Observation:
    found = await visit(DRIVER, SimGattLink(BloodPressureCuff([record])))
    assert found.error is None
    (seen,) = found.of(Observation)
    return seen


async def test_the_published_example_is_read_whole() -> None:
    """From the document's bytes to every value, with nothing left out."""
    found = await visit(DRIVER, SimGattLink(BloodPressureCuff([FULL])))

    assert found.error is None
    assert found.events == [
        Identity("vitalwire simulation", "Blood pressure cuff", "00000815", "1.0"),
        FULL_SEEN,
    ]
    assert DRIVER.decode(Packet(sig(0x2A35), FULL_BYTES), Identity()) == [FULL_SEEN]


async def test_a_failed_measurement_has_no_numbers() -> None:
    """NaN in all three is the cuff's way to say "failed": no 0, no 2047."""
    seen = await _one(BloodPressureRecord(NAN, NAN, FULL.time))

    assert seen.values == (
        Value(Quantity.SYSTOLIC, Unit.MM_HG, None, State.NOT_A_NUMBER),
        Value(Quantity.DIASTOLIC, Unit.MM_HG, None, State.NOT_A_NUMBER),
    )


@pytest.mark.parametrize("mean", [NAN, Decimal(0)])
async def test_a_mean_that_the_cuff_does_not_know_is_absent(mean: Decimal) -> None:
    """Home cuffs fill it with NaN or 0; neither was measured."""
    seen = await _one(BloodPressureRecord(Decimal(120), Decimal(80), mean=mean))

    assert [value.quantity for value in seen.values] == [
        Quantity.SYSTOLIC,
        Quantity.DIASTOLIC,
    ]


async def test_kilopascals_stay_kilopascals() -> None:
    """The decimals of the device are kept: 16.0, not 16 and not 120."""
    seen = await _one(
        BloodPressureRecord(
            Decimal("16.0"), Decimal("10.7"), mean=Decimal("12.4"), kpa=True
        )
    )

    assert seen.values == (
        Value(Quantity.SYSTOLIC, Unit.KILOPASCAL, Decimal("16.0")),
        Value(Quantity.DIASTOLIC, Unit.KILOPASCAL, Decimal("10.7")),
        Value(Quantity.MEAN_PRESSURE, Unit.KILOPASCAL, Decimal("12.4")),
    )
    assert str(seen.values[0].number) == "16.0"


@pytest.mark.parametrize(
    ("user", "slot"), [(255, None), (None, None), (0, 0), (1, 1), (254, 254)]
)
async def test_an_unknown_user_is_nobody(user: int | None, slot: int | None) -> None:
    """255 is no 255th person, and user 0 is one."""
    seen = await _one(BloodPressureRecord(Decimal(120), Decimal(80), user=user))

    assert seen.slot == slot


async def test_a_cuff_without_a_clock_gives_no_time() -> None:
    seen = await _one(BloodPressureRecord(Decimal(120), Decimal(80)))

    assert seen.device_time is None


@pytest.mark.parametrize(
    ("status", "names", "context"),
    [
        (None, (), ()),
        (0, (), ()),
        (
            0x27,
            ("body_movement", "cuff_too_loose", "irregular_pulse", "improper_position"),
            (),
        ),
        (1 << 3, (), (("pulse-range", "above_upper"),)),
        (2 << 3, (), (("pulse-range", "below_lower"),)),
        (3 << 3, (), (("pulse-range", "reserved"),)),
        (0xFFC0, (), ()),
    ],
)
async def test_status_bits_are_told_by_name(
    status: int | None, names: tuple[str, ...], context: tuple[tuple[str, str], ...]
) -> None:
    """Movement and irregular pulse decide what a reading is worth."""
    seen = await _one(BloodPressureRecord(Decimal(120), Decimal(80), status=status))

    assert (seen.status, seen.context) == (names, context)


@pytest.mark.parametrize(
    ("pressure", "state"),
    [
        (Decimal("Infinity"), State.ABOVE_RANGE),
        (Decimal("-Infinity"), State.BELOW_RANGE),
        (Decimal(0), State.NO_VALUE),
        (Decimal(-1), State.NO_VALUE),
    ],
)
async def test_a_pressure_that_is_none_is_no_number(
    pressure: Decimal, state: State
) -> None:
    seen = await _one(BloodPressureRecord(pressure, Decimal(80)))

    assert seen.values[0] == Value(Quantity.SYSTOLIC, Unit.MM_HG, None, state)


async def test_all_unsent_records_come_in_order_and_the_cuff_hangs_up() -> None:
    """There is no end marker: the end of the link is the end."""
    records = [BloodPressureRecord(Decimal(100 + n), Decimal(60)) for n in range(30)]
    cuff = BloodPressureCuff(records)

    found = await visit(DRIVER, SimGattLink(cuff))

    assert found.error is None
    shown = [seen.values[0].number for seen in found.of(Observation)]
    assert shown == [Decimal(100 + n) for n in range(30)]
    assert cuff.unsent == ()


async def test_a_repeated_indication_is_the_same_observation() -> None:
    """It is yielded as it came; equal, so that its key is equal."""
    cuff = faulty(BloodPressureCuff([FULL]), Faults(repeated=frozenset({1})))

    found = await visit(DRIVER, SimGattLink(cuff))

    assert found.of(Observation) == [FULL_SEEN, FULL_SEEN]


@pytest.mark.parametrize("after", [1, 2, 3])
async def test_a_lost_link_loses_no_confirmed_record(after: int) -> None:
    """What the cuff takes for delivered must have been yielded."""
    records = [BloodPressureRecord(Decimal(100 + n), Decimal(60)) for n in range(5)]
    cuff = faulty(BloodPressureCuff(records), Faults(hang_up_after=frozenset({after})))

    first = await visit(DRIVER, SimGattLink(cuff))
    second = await visit(DRIVER, SimGattLink(cuff))

    assert (first.error, second.error) == (None, None)
    assert len(first.of(Observation)) == after
    shown = [
        seen.values[0].number
        for found in (first, second)
        for seen in found.of(Observation)
    ]
    assert shown == [Decimal(100 + n) for n in range(5)]


async def test_a_lost_indication_is_sent_again_at_the_next_visit() -> None:
    cuff = faulty(BloodPressureCuff([FULL]), Faults(lost=frozenset({1})))

    first = await visit(DRIVER, SimGattLink(cuff))
    second = await visit(DRIVER, SimGattLink(cuff))

    assert first.of(Observation) == []
    assert second.of(Observation) == [FULL_SEEN]


async def test_a_cuff_that_says_nothing_more_is_left_after_ten_seconds() -> None:
    """Some cuffs neither send nor hang up."""
    cuff = BloodPressureCuff([])
    cuff._tell = lambda: iter(())  # type: ignore[method-assign]

    found = await visit(DRIVER, SimGattLink(cuff))

    assert (found.error, found.of(Observation)) == (None, [])


async def test_a_known_cuff_is_not_asked_who_it_is() -> None:
    """It may send as soon as it is connected, and hang up before it is asked."""
    events = [
        event
        async for event in DRIVER.visit(
            SimGattLink(BloodPressureCuff([FULL])), Terms(identity=Identity())
        )
    ]

    assert events == [FULL_SEEN]


@pytest.mark.parametrize("size", range(19))
def test_a_cut_indication_is_kept_and_no_reading(size: int) -> None:
    """A pressure without its announced time would be another reading."""
    (event,) = DRIVER.decode(Packet(sig(0x2A35), FULL_BYTES[:size]), Identity())

    assert isinstance(event, Undecoded)
    assert event.payload == FULL_BYTES[:size]
    assert "Blood Pressure Measurement" in event.problem


def test_readings_of_a_cuff_are_told_only_once() -> None:
    """The agent journals each payload of such a driver before all else."""
    assert DRIVER.once_only


def test_a_beurer_says_its_pulse_the_other_way_round() -> None:
    """By the standard's layout user 1's pulse of 65 would be 2,560,000."""
    payload = bytes.fromhex("56 6a 00 47 00 00 00 ea 07 08 0b 12 1f 00 00 41 01 00 00")
    packet = Packet(sig(0x2A35), payload)

    (seen,) = DRIVER.decode(packet, Identity())

    assert isinstance(seen, Observation)
    assert [value.number for value in seen.values] == [106, 71, 65]
    assert (seen.slot, seen.status) == (1, ())


def test_another_cuff_that_fills_up_its_value_says_its_pulse_as_all_do() -> None:
    """With the bytes turned, its pulse of 72 would be none, and its user invented."""
    payload = bytes.fromhex("56 6a 00 47 00 00 00 ea 07 08 0b 12 1f 00 48 00 04 00 00")

    (seen,) = DRIVER.decode(Packet(sig(0x2A35), payload), Identity())

    assert isinstance(seen, Observation)
    assert [value.number for value in seen.values] == [106, 71, 72]
    assert (seen.slot, seen.status) == (None, ("irregular_pulse",))

"""Canonical units, and which two reports are the same reading."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.gatt.time import DateTime
from protocols.medfloat import Special
from protocols.observation import (
    Device,
    Kind,
    LinkSecurity,
    Observation,
    Quality,
    Quantity,
    Reading,
    State,
    TimeMethod,
    Unit,
    Value,
    fingerprint,
    is_undated,
    key,
    packed_time,
)
from protocols.units import canonical

NOON = DateTime(2026, 3, 1, 12, 0, 0)
GLUCOSE = Value(Quantity.GLUCOSE, Unit.KG_PER_L, Decimal("0.00120"))
SEEN = Observation(
    kind=Kind.GLUCOSE,
    values=(GLUCOSE,),
    device_time=NOON,
    offset_min=60,
    sequence=7,
    slot=1,
    status=("battery_low",),
    context=(("meal", "fasting"), ("sample", "capillary_plasma")),
    raw=(b"\x01",),
)
READING = Reading(
    device=Device("a:b:c", "a", "b", "c", "1"),
    observation=SEEN,
    driver="gatt-glucose",
    driver_version="1",
    captured_ms=1_772_000_000_000,
    utc_ms=1_771_999_000_000,
    time_method=TimeMethod.CORRECTED,
    time_bound_ms=130_000,
    link=LinkSecurity.AUTHENTICATED,
    quality=Quality.CLOCK_AHEAD,
)


def _with(**changes: object) -> Reading:
    return replace(READING, observation=replace(SEEN, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("quantity", "number", "unit", "text", "into"),
    [
        (Quantity.GLUCOSE, "0.00120", Unit.KG_PER_L, "120", Unit.MG_PER_DL),
        (Quantity.GLUCOSE, "0.0055", Unit.MOL_PER_L, "99.08580", Unit.MG_PER_DL),
        (Quantity.GLUCOSE, "5.5", Unit.MMOL_PER_L, "99.08580", Unit.MG_PER_DL),
        (Quantity.GLUCOSE, "115", Unit.MG_PER_DL, "115", Unit.MG_PER_DL),
        (Quantity.KETONE, "0.0006", Unit.MOL_PER_L, "0.6", Unit.MMOL_PER_L),
        (Quantity.SYSTOLIC, "16.0", Unit.KILOPASCAL, "120.009920", Unit.MM_HG),
        (Quantity.DIASTOLIC, "80", Unit.MM_HG, "80", Unit.MM_HG),
        (Quantity.MEAN_PRESSURE, "12.4", Unit.KILOPASCAL, "93.007688", Unit.MM_HG),
        (Quantity.PULSE_RATE, "72", Unit.PER_MINUTE, "72", Unit.PER_MINUTE),
        (Quantity.BODY_TEMPERATURE, "98.6", Unit.FAHRENHEIT, "37.0", Unit.CELSIUS),
        (Quantity.BODY_TEMPERATURE, "36.6", Unit.CELSIUS, "36.6", Unit.CELSIUS),
        (Quantity.BODY_WEIGHT, "150.00", Unit.POUND, "68.0388555000", Unit.KILOGRAM),
        (Quantity.BODY_HEIGHT, "70.0", Unit.INCH, "1.77800", Unit.METRE),
        (
            Quantity.BASAL_METABOLISM,
            "1500",
            Unit.KILOCALORIE,
            "6276.000",
            Unit.KILOJOULE,
        ),
    ],
)
def test_a_value_in_its_canonical_unit_is_exact(
    quantity: Quantity, number: str, unit: Unit, text: str, into: Unit
) -> None:
    """Through binary floats 0.00120 kg/L would be 119.99999 mg/dL."""
    found = canonical(Value(quantity, unit, Decimal(number)))

    assert found == (Decimal(text), into)
    if unit != Unit.KILOPASCAL and quantity != Quantity.GLUCOSE:
        assert str(found[0]) == text


def test_kg_per_litre_becomes_exactly_120_with_its_precision() -> None:
    """The shift is one of the exponent alone: 120, not 120.000 or 1.2E+2."""
    assert str(canonical(GLUCOSE)[0]) == "120"  # type: ignore[index]


def test_what_is_no_number_has_no_canonical_value() -> None:
    """HI must never be drawn as a number."""
    high = Value.of(Quantity.GLUCOSE, Special.POSITIVE_INFINITY, Unit.KG_PER_L)

    assert high == Value(Quantity.GLUCOSE, Unit.KG_PER_L, None, State.ABOVE_RANGE)
    assert canonical(high) is None


def test_a_unit_that_does_not_measure_the_quantity_is_our_mistake() -> None:
    """A driver that mixes up units must fail in its first test."""
    wrong = Value(Quantity.PULSE_RATE, Unit.MM_HG, Decimal(72))
    with pytest.raises(ValueError, match=r"mm\[Hg\] does not measure pulse-rate"):
        canonical(wrong)


@pytest.mark.parametrize(
    ("number", "state"),
    [
        (None, State.MEASURED),
        (Decimal(1), State.NOT_A_NUMBER),
        (Decimal(1), State.DEVICE_ERROR),
        (Decimal(1), State.NO_VALUE),
        (Decimal("NaN"), State.MEASURED),
        (Decimal("Infinity"), State.ABOVE_RANGE),
        (Decimal("sNaN"), State.MEASURED),
    ],
)
def test_a_number_that_does_not_fit_its_state_is_refused(
    number: Decimal | None, state: State
) -> None:
    """Neither a missing number called measured, nor a number called an error."""
    with pytest.raises(ValueError, match=r"does not go with|is no number"):
        Value(Quantity.GLUCOSE, Unit.MG_PER_DL, number, state)


def test_a_limit_may_stand_beside_hi_and_lo() -> None:
    """The meter's limit is worth keeping, as long as nobody takes it for a value."""
    for state in (State.ABOVE_RANGE, State.BELOW_RANGE):
        for number in (None, Decimal(600)):
            made = Value(Quantity.GLUCOSE, Unit.MG_PER_DL, number, state)
            assert (made.number, made.state) == (number, state)


@pytest.mark.parametrize(
    "again",
    [
        _with(offset_min=120),
        _with(offset_min=None),
        _with(raw=(b"\x01", b"\x02")),
        _with(context=SEEN.context[::-1]),
        replace(READING, captured_ms=1, utc_ms=None, time_method=TimeMethod.UNKNOWN),
        replace(READING, time_bound_ms=None, link=LinkSecurity.NONE),
        replace(READING, quality=Quality.NONE, driver="other", driver_version="9"),
        replace(READING, device=replace(READING.device, firmware="2")),
        replace(READING, person="p-1", evidence=(("slot", "1"),)),
    ],
)
def test_the_same_reading_asked_for_again_keeps_key_and_fingerprint(
    again: Reading,
) -> None:
    """Otherwise a changed time zone would double a patient's diary."""
    assert (key(again), fingerprint(again)) == (key(READING), fingerprint(READING))


@pytest.mark.parametrize(
    "other",
    [
        _with(values=(replace(GLUCOSE, number=Decimal("0.00121")),)),
        _with(values=(replace(GLUCOSE, number=Decimal("0.0012")),)),  # other precision
        _with(values=(replace(GLUCOSE, unit=Unit.MOL_PER_L),)),
        _with(values=(replace(GLUCOSE, number=None, state=State.ABOVE_RANGE),)),
        _with(sequence=8),
        _with(slot=2),
        _with(slot=None),
        _with(kind=Kind.CONTROL_SOLUTION),
        replace(READING, generation=1),
        replace(READING, device=replace(READING.device, id="a:b:d")),
    ],
)
def test_another_reading_has_another_key(other: Reading) -> None:
    """Two readings under one key would be one reading, and one is lost."""
    assert key(other) != key(READING)


@pytest.mark.parametrize(
    "other",
    [
        _with(device_time=NOON._replace(second=1)),
        _with(device_time=None),
        _with(status=()),
        _with(context=()),
        _with(values=(replace(GLUCOSE, number=Decimal("0.00121")),)),
    ],
)
def test_another_story_under_one_key_has_another_fingerprint(other: Reading) -> None:
    """A number that a reset meter gives anew must not hide the new reading."""
    assert fingerprint(other) != fingerprint(READING)


def test_without_a_number_the_raw_clock_tells_readings_apart() -> None:
    """Cuffs give no sequence number; their clock is all there is."""
    earlier, later = _with(sequence=None), _with(sequence=None, device_time=NOON)
    assert key(earlier) == key(later)

    later = _with(sequence=None, device_time=NOON._replace(second=1))

    assert key(later) != key(earlier)
    assert key(later).ordinal > key(earlier).ordinal >= 1 << 40


@pytest.mark.parametrize(
    ("sequence", "time", "needs"),
    [
        (7, None, False),
        (0, None, False),
        (None, NOON, False),
        (None, None, True),
        (None, DateTime(0, 0, 0, 0, 0, 0), True),
        (None, DateTime(2026, 0, 1, 7, 0, 0), True),
        (None, DateTime(2026, 11, 31, 7, 0, 0), False),  # impossible, yet its own
    ],
)
def test_an_arrival_number_tells_readings_apart_that_have_nothing_else(
    sequence: int | None, time: DateTime | None, *, needs: bool
) -> None:
    """Two failed clocks must not make two readings one, nor one reading two."""
    seen = replace(SEEN, sequence=sequence, device_time=time)

    assert is_undated(seen) is needs
    bare = replace(READING, observation=seen)
    again = replace(bare, captured_ms=0)
    assert key(bare) == key(again), "a memory that is told again is the same"
    assert (1 << 56 <= key(bare).ordinal < 1 << 62) is needs
    one, two = (replace(bare, arrival=number) for number in (1, 2))
    assert (key(one) != key(two)) is (sequence is None)


@given(
    st.tuples(st.integers(0, 0xFFFF), *[st.integers(0, 0xFF)] * 5),
    st.tuples(st.integers(0, 0xFFFF), *[st.integers(0, 0xFF)] * 5),
)
def test_packed_clocks_are_ordered_as_the_clocks_are(
    a: tuple[int, ...], b: tuple[int, ...]
) -> None:
    """A store sorts by the number, a person by the time; both must agree."""
    first, second = DateTime(*a), DateTime(*b)
    assert (packed_time(first) < packed_time(second)) is (a < b)
    assert (packed_time(first) == packed_time(second)) is (a == b)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"values": ()}, "glucose needs values"),
        ({"values": (GLUCOSE, GLUCOSE)}, "each of another quantity"),
        ({"kind": Kind.KETONE}, "glucose is not what ketone has"),
        ({"context": (("meal", "a"), ("meal", "b"))}, "a name stands twice"),
        (
            {"context": (("sample", "control_solution"),)},
            "of control solution is no person's",
        ),
    ],
)
def test_what_contradicts_itself_is_no_observation(
    changes: dict[str, object], problem: str
) -> None:
    """A value under the wrong kind would be used for what it is not."""
    with pytest.raises(ValueError, match=problem):
        _with(**changes)


def test_what_no_wire_carries_is_no_value() -> None:
    with pytest.raises(ValueError, match="negative zero"):
        replace(GLUCOSE, number=Decimal("-0.0"))
    with pytest.raises(ValueError, match="UNKNOWN does not go with"):
        replace(READING, utc_ms=1, time_method=TimeMethod.UNKNOWN)

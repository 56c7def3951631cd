"""What a Glucose Measurement and its context tell, as parts of an observation.

Source: Bluetooth SIG, Glucose Service 1.0.1, §3.1, §3.2.
"""

from collections.abc import Iterator
from decimal import Decimal

from protocols.gatt import glucose
from protocols.gatt.glucose import Context, Flag, Measurement, Status
from protocols.kinds import flag_names
from protocols.medfloat import Special, show_number
from protocols.observation import Quantity, State, Unit, Value

UNUSABLE = (
    Status.SENSOR_MALFUNCTION
    | Status.SAMPLE_SIZE_INSUFFICIENT
    | Status.STRIP_INSERTION_ERROR
    | Status.STRIP_TYPE_INCORRECT
    | Status.TEMPERATURE_TOO_HIGH
    | Status.TEMPERATURE_TOO_LOW
    | Status.READ_INTERRUPTED
    | Status.GENERAL_DEVICE_FAULT
)
"""What makes a result no value, by the meter's own word."""

LOWEST, HIGHEST = Decimal("0.00020"), Decimal("0.00600")
"""What many a meter shows as a number, 20 to 600 mg/dL, in kg/L."""

_LONGEST_S = 0xFFFF  # of exercise
_NO_GLUCOSE = 6  # a reserved meal, by which i-SENS marks a ketone test


def value(seen: Measurement, context: Context | None) -> Value:
    """Return the glucose of a measurement.

    Args:
        seen: The measurement.
        context: Its context; None if it has none.
    """
    unit = Unit.MOL_PER_L if Flag.MOL_PER_L in seen.flags else Unit.KG_PER_L
    status, sent = Status(seen.status or 0), seen.concentration
    number = sent if isinstance(sent, Decimal) and sent > 0 else None
    high = Status.RESULT_TOO_HIGH in status or sent == Special.POSITIVE_INFINITY
    low = Status.RESULT_TOO_LOW in status or sent == Special.NEGATIVE_INFINITY
    is_other = context is not None and context.meal == _NO_GLUCOSE
    if status & UNUSABLE:
        number, state = None, State.DEVICE_ERROR
    elif is_other or (high and low):
        number, state = None, State.NO_VALUE
    elif high or low:
        # A number beside these is the meter's limit, not what it measured.
        state = State.ABOVE_RANGE if high else State.BELOW_RANGE
    elif isinstance(sent, Special):
        return Value.of(Quantity.GLUCOSE, sent, unit)
    else:
        state = State.NO_VALUE if number is None else State.MEASURED
    return Value(Quantity.GLUCOSE, unit, number, state)


def bounded(value: Value) -> Value:
    """Return a glucose of a meter that tells HI and LO by its number alone.

    One in mol/L is left as it is: no such meter is known to send it.
    """
    number = value.number
    if value.state != State.MEASURED or number is None or value.unit != Unit.KG_PER_L:
        return value
    if LOWEST <= number <= HIGHEST:
        return value
    state = State.ABOVE_RANGE if number > HIGHEST else State.BELOW_RANGE
    return Value(value.quantity, value.unit, None, state)


def status(seen: Measurement) -> tuple[str, ...]:
    """Return the names of the bits of a Sensor Status Annunciation."""
    return tuple(flag_names(Status, seen.status or 0))


def notes(seen: Measurement, context: Context | None) -> dict[str, str]:
    """Return what else a measurement tells, and its context; as name and value.

    Args:
        seen: The measurement.
        context: Its context; None if it has none, or if it did not come.
    """
    found = dict(_notes(seen, context))
    if context is None and Flag.CONTEXT_FOLLOWS in seen.flags:
        found["context"] = "missing"
    return found


def _notes(seen: Measurement, context: Context | None) -> Iterator[tuple[str, str]]:
    if seen.sample_type is not None:
        yield "sample", _named(glucose.TYPES, seen.sample_type)
    if seen.location is not None:
        yield "location", _named(glucose.LOCATIONS, seen.location)
    if context is None:
        return
    for name, code, names in (
        ("carbohydrate", context.carbohydrate, glucose.CARBOHYDRATES),
        ("meal", context.meal, glucose.MEALS),
        ("tester", context.tester, glucose.TESTERS),
        ("health", context.health, glucose.HEALTH),
        ("medication", context.medication, glucose.MEDICATIONS),
    ):
        if code is not None:
            yield name, _named(names, code)
    litres = context.medication_in_litres
    for name, number in (
        ("carbohydrate-kg", context.carbohydrate_kg),
        ("medication-L" if litres else "medication-kg", context.medication_amount),
        ("hba1c-percent", context.hba1c),
    ):
        if number is not None:
            yield name, str(show_number(number))
    if (duration_s := context.exercise_duration_s) is not None:
        overrun = " or more" if duration_s == _LONGEST_S else ""
        yield "exercise-s", f"{duration_s}{overrun}"
        yield "exercise-percent", str(context.exercise_intensity)


def _named(names: dict[int, str], code: int) -> str:
    return names.get(code, f"reserved-{code}")

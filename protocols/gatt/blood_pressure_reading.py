"""What a Blood Pressure Measurement tells, as an observation.

Source: Bluetooth SIG, Blood Pressure Service 1.1.1, §3.1.

Several kinds of cuff send the measurement and differ in what must be done before
they do; what it means is the same for all.
"""

from collections.abc import Iterator
from decimal import Decimal

from protocols.gatt import blood_pressure
from protocols.gatt.blood_pressure import Flag, Measurement, Status
from protocols.kinds import flag_names
from protocols.medfloat import Number
from protocols.observation import Kind, Observation, Quantity, State, Unit, Value


def observation(seen: Measurement, raw: bytes) -> Observation:
    """Return the observation that a measurement tells.

    Args:
        seen: The measurement.
        raw: The payload that it was read from.
    """
    return Observation(
        kind=Kind.BLOOD_PRESSURE,
        values=pressures(
            seen.systolic,
            seen.diastolic,
            seen.mean,
            seen.pulse_rate,
            kpa=Flag.KPA in seen.flags,
        ),
        device_time=seen.time,
        slot=slot(seen.user),
        status=status(seen.status),
        context=pulse_range(seen.status),
        raw=(raw,),
    )


def pressures(
    systolic: Number,
    diastolic: Number,
    mean: Number | None,
    pulse_rate: Number | None,
    *,
    kpa: bool = False,
) -> tuple[Value, ...]:
    """Return the values of a measurement; what is 0 or less is none.

    Args:
        systolic: In mmHg, or in kPa.
        diastolic: In the same unit.
        mean: In the same unit; home cuffs send NaN or 0 where they know none, and
            it is left out then.
        pulse_rate: Per minute; None if the cuff sent none.
        kpa: Whether the pressures are in kPa.
    """
    return tuple(_values(systolic, diastolic, mean, pulse_rate, kpa=kpa))


def whole_pressures(
    systolic: int, diastolic: int, pulse_rate: int
) -> tuple[Value, ...]:
    """Return the values of a cuff that sends whole mmHg and no mean; 0 is none."""
    return pressures(Decimal(systolic), Decimal(diastolic), None, Decimal(pulse_rate))


def slot(user: int | None) -> int | None:
    """Return a user as an observation's slot; None for nobody in particular."""
    return None if user == blood_pressure.UNKNOWN_USER else user


def status(bits: int | None) -> tuple[str, ...]:
    """Return the names of the bits of a Measurement Status."""
    return tuple(flag_names(Status, bits or 0))


def pulse_range(bits: int | None) -> tuple[tuple[str, str], ...]:
    """Return what a Measurement Status says of the pulse rate, if it is unusual."""
    found = blood_pressure.pulse_range(bits or 0)
    return () if found == "within" else (("pulse-range", found),)


def _values(
    systolic: Number,
    diastolic: Number,
    mean: Number | None,
    pulse_rate: Number | None,
    *,
    kpa: bool,
) -> Iterator[Value]:
    unit = Unit.KILOPASCAL if kpa else Unit.MM_HG
    yield _value(Quantity.SYSTOLIC, systolic, unit)
    yield _value(Quantity.DIASTOLIC, diastolic, unit)
    if mean is not None:
        known = _value(Quantity.MEAN_PRESSURE, mean, unit)
        if known.state not in (State.NOT_A_NUMBER, State.NO_VALUE):
            yield known
    if pulse_rate is not None:
        yield _value(Quantity.PULSE_RATE, pulse_rate, Unit.PER_MINUTE)


def _value(quantity: Quantity, number: Number, unit: Unit) -> Value:
    value = Value.of(quantity, number, unit)
    if value.number is not None and value.number <= 0:
        return Value(quantity, unit, None, State.NO_VALUE)
    return value

"""Cuffs that implement the Bluetooth Blood Pressure Service.

Measures: systolic, diastolic and mean pressure, pulse rate.
Modes:    indications, unasked, once the measurement is enabled; then it hangs up.
Clock:    local time in each reading, where the cuff has a clock; never set here.
History:  once only; a cuff takes a confirmed indication for delivered.
Source:   Bluetooth SIG, Blood Pressure Service 1.1.1, Blood Pressure Profile 1.1.1.
Tested:   firmware_sim.devices.gatt_blood_pressure; no hardware yet.
"""

from collections.abc import Iterator
from decimal import Decimal

from drivers.sdk import (
    GattDriver,
    Identity,
    Kind,
    Model,
    Observation,
    Quantity,
    State,
    Unit,
    Value,
)
from protocols.gatt import blood_pressure
from protocols.gatt.blood_pressure import Flag, Measurement, Status
from protocols.kinds import flag_names
from protocols.medfloat import Number

_BEURER = 0x40
_SLOWEST, _FASTEST = 25, 240  # per minute, as the filters have it
_TURNED = ("BM48", "BM59", "BM85")  # pulse and status with the high byte first


def _observations(payload: bytes, _identity: Identity) -> Iterator[Observation]:
    seen = _decode(payload)
    status = seen.status or 0
    context = []
    if (pulse_range := blood_pressure.pulse_range(status)) != "within":
        context.append(("pulse-range", pulse_range))
    yield Observation(
        kind=Kind.BLOOD_PRESSURE,
        values=tuple(_values(seen)),
        device_time=seen.time,
        slot=None if seen.user == blood_pressure.UNKNOWN_USER else seen.user,
        status=tuple(flag_names(Status, status)),
        context=tuple(context),
        raw=(payload,),
    )


def _decode(payload: bytes) -> Measurement:
    seen = blood_pressure.decode(payload)
    # Beurer's BM48, BM59, BM85 set a reserved bit and send one byte more than they
    # announce; by the standard's layout their pulse and status would be invented.
    if seen.flags & _BEURER and Flag.USER not in seen.flags and len(seen.trailing) == 1:
        turned = blood_pressure.decode_big_endian_tail(payload)
        # Another cuff may set that bit and fill up its value with a byte.
        if not _is_pulse(seen.pulse_rate) or _is_pulse(turned.pulse_rate):
            return turned
    return seen


def _is_pulse(number: Number | None) -> bool:
    return isinstance(number, Decimal) and _SLOWEST <= number <= _FASTEST


def _values(seen: Measurement) -> Iterator[Value]:
    unit = Unit.KILOPASCAL if Flag.KPA in seen.flags else Unit.MM_HG
    yield _value(Quantity.SYSTOLIC, seen.systolic, unit)
    yield _value(Quantity.DIASTOLIC, seen.diastolic, unit)
    mean = _value(Quantity.MEAN_PRESSURE, seen.mean, unit)
    # Home cuffs send NaN or 0 for a mean that they don't compute: it is absent.
    if mean.state not in (State.NOT_A_NUMBER, State.NO_VALUE):
        yield mean
    if seen.pulse_rate is not None:
        yield _value(Quantity.PULSE_RATE, seen.pulse_rate, Unit.PER_MINUTE)


def _value(quantity: Quantity, number: Number, unit: Unit) -> Value:
    value = Value.of(quantity, number, unit)
    if value.number is not None and value.number <= 0:
        return Value(quantity, unit, None, State.NO_VALUE)
    return value


DRIVER = GattDriver(
    id="gatt-blood-pressure",
    version="1",
    service=blood_pressure.SERVICE,
    observes=(Kind.BLOOD_PRESSURE,),
    models=(
        Model("Beurer BM54", ("BM54",), note="shows a PIN when it is paired"),
        Model("Beurer BM57", ("BM57",), note="keeps one bond"),
        Model("Beurer BM64", ("BM64",)),
        Model("Beurer BM77", ("BM77",)),
        Model("Beurer BM96", ("BM96",)),
        *(Model(f"Beurer {name}", (name, f"Beurer {name}")) for name in _TURNED),
        Model("Elite 900", ("Elite 900",)),
        Model("Medisana, SilverCrest SBM69", ("SBM69",)),
        Model("Yuwell YE680A and YE8", ("Yuwell",)),
    ),
    on={blood_pressure.BLOOD_PRESSURE_MEASUREMENT: _observations},
    once_only=True,
)

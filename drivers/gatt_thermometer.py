"""Thermometers that implement the Bluetooth Health Thermometer Service.

Measures: body temperature, and where on the body.
Modes:    indications, unasked, once the measurement is enabled; no live display.
Clock:    local time in each reading, where the device has a clock; never set here.
History:  once only; a thermometer takes a confirmed indication for delivered.
Source:   Bluetooth SIG, Health Thermometer Service 1.0, Health Thermometer Profile 1.0.
Tested:   firmware_sim.devices.gatt_thermometer; no hardware yet.
"""

from collections.abc import Iterator

from drivers.sdk import (
    GattDriver,
    Identity,
    Kind,
    Observation,
    Quantity,
    Unit,
    Value,
)
from protocols.gatt import thermometer
from protocols.gatt.thermometer import TYPES, Flag


def _observation(payload: bytes, _identity: Identity) -> Iterator[Observation]:
    seen = thermometer.decode(payload)
    unit = Unit.FAHRENHEIT if Flag.FAHRENHEIT in seen.flags else Unit.CELSIUS
    site = () if seen.type is None else (("site", _named(seen.type)),)
    yield Observation(
        kind=Kind.BODY_TEMPERATURE,
        values=(Value.of(Quantity.BODY_TEMPERATURE, seen.temperature, unit),),
        device_time=seen.time,
        context=site,
        raw=(payload,),
    )


def _named(code: int) -> str:
    return TYPES.get(code, f"reserved-{code}")


DRIVER = GattDriver(
    id="gatt-thermometer",
    version="1",
    service=thermometer.SERVICE,
    observes=(Kind.BODY_TEMPERATURE,),
    on={thermometer.TEMPERATURE_MEASUREMENT: _observation},
    once_only=True,
)

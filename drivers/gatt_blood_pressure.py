"""Cuffs that implement the Bluetooth Blood Pressure Service.

Measures: systolic, diastolic and mean pressure, pulse rate.
Modes:    indications, unasked, once the measurement is enabled; then it hangs up.
Clock:    local time in each reading, where the cuff has a clock; never set here.
History:  once only; a cuff takes a confirmed indication for delivered. Some of
          Beurer's tell their whole memory at each visit, the oldest first.
Source:   Bluetooth SIG, Blood Pressure Service 1.1.1, Blood Pressure Profile 1.1.1.
Tested:   firmware_sim.devices.gatt_blood_pressure; no hardware yet.
"""

from collections.abc import Iterator
from decimal import Decimal

from drivers.sdk import GattDriver, Identity, Kind, Model, Observation, Which
from protocols.gatt import blood_pressure, blood_pressure_reading
from protocols.gatt.blood_pressure import Flag, Measurement
from protocols.medfloat import Number

_BEURER = 0x40
_SLOWEST, _FASTEST = 25, 240  # per minute, as the filters have it
_TURNED = ("BM48", "BM59", "BM85")  # pulse and status with the high byte first
_RETELLING = ("BM54", "BM57", "BM64", "BM77", "BM96")
_PECULIAR = {"BM54": "shows a PIN when it is paired", "BM57": "keeps one bond"}


def _observations(payload: bytes, _identity: Identity) -> Iterator[Observation]:
    yield blood_pressure_reading.observation(_decode(payload), payload)


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


DRIVER = GattDriver(
    id="gatt-blood-pressure",
    version="1",
    service=blood_pressure.SERVICE,
    observes=(Kind.BLOOD_PRESSURE,),
    models=(
        *(
            Model(f"Beurer {name}", (name,), note=_PECULIAR.get(name, ""))
            for name in _RETELLING
        ),
        *(Model(f"Beurer {name}", (name, f"Beurer {name}")) for name in _TURNED),
        Model("Elite 900", ("Elite 900",)),
        Model("Medisana, SilverCrest SBM69", ("SBM69",)),
        Model("Yuwell YE680A and YE8", ("Yuwell",)),
    ),
    on={blood_pressure.BLOOD_PRESSURE_MEASUREMENT: _observations},
    retold=tuple(Which(model=f"*{name}*") for name in _RETELLING),
    once_only=True,
)

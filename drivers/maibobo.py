"""Maibobo (Pulse Wave) cuffs: RBP-9804, BP-88A, and others with BT5050 modules.

Measures: systolic and diastolic pressure, pulse rate; a failed measurement as such.
Modes:    results, unasked, when somebody measures while the station listens.
Clock:    seconds of local time, with each result, where somebody set it; never here.
History:  once only; nothing is asked for, and the cuff is never told to measure.
Source:   protocols.vendor.maibobo.
Tested:   firmware_sim.devices.maibobo; no hardware yet.
"""

from collections.abc import Iterator
from uuid import UUID

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
from protocols.gatt.blood_pressure_reading import whole_pressures
from protocols.gatt.uuid import sig
from protocols.vendor import maibobo
from protocols.vendor.maibobo import UNSET, Failed, Result

_SERVICE, _RECEIVES = sig(0xFFF0), sig(0xFFF1)
_MODULE_SENDS = UUID("49535343-1e4d-4bd9-ba61-23c647249616")  # of its radio's maker
_NOTE = "Press its start button while the station is connected."


def _observations(payload: bytes, _identity: Identity) -> Iterator[Observation]:
    message = maibobo.decode_message(maibobo.decode_frame(payload))
    if isinstance(message, Failed):
        failed = Value(Quantity.SYSTOLIC, Unit.MM_HG, None, State.DEVICE_ERROR)
        yield Observation(
            kind=Kind.BLOOD_PRESSURE,
            values=(failed,),
            status=(message.reason,),
            context=(("error-code", str(message.code)),),
            raw=(payload,),
        )
    if isinstance(message, Result):
        # A cuff that nobody has set may show one moment for ever: two equal results
        # of it are two, so that moment is not taken for a time.
        is_set = message.time != UNSET
        # One that runs on from there tells results apart, and no true time.
        is_right = message.time.year > UNSET.year
        yield Observation(
            kind=Kind.BLOOD_PRESSURE,
            values=whole_pressures(message.systolic, message.diastolic, message.pulse),
            device_time=message.time if is_set else None,
            slot=message.user,
            status=() if is_right else ("time_fault",),
            context=() if is_set else (("unset-clock", str(message.time)),),
            raw=(payload,),
        )


DRIVER = GattDriver(
    id="maibobo",
    version="1",
    service=_SERVICE,
    observes=(Kind.BLOOD_PRESSURE,),
    models=(
        Model("RBP-9804", ("RBP",), note=_NOTE),
        Model("BP-88A", ("BP06",), note=_NOTE),
    ),
    on={_RECEIVES: _observations, _MODULE_SENDS: _observations},
    once_only=True,
    pairs=False,
)

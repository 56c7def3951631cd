"""Yonker YK-IBPA1 cuffs, and those of other names that are the same.

Measures: systolic and diastolic pressure, pulse rate.
Modes:    the results that the cuff holds, unasked, when it is connected after one.
Clock:    minutes, with each result, in an order that is uncertain; never a true time.
History:  rereadable, as far as was seen; nothing is asked for.
Source:   protocols.vendor.yonker.
Tested:   firmware_sim.devices.yonker; no hardware yet.
"""

from collections.abc import Iterator

from drivers.sdk import GattDriver, Identity, Kind, Model, Observation
from protocols.gatt.blood_pressure_reading import whole_pressures
from protocols.vendor import yonker

_NOTE = "Connect it after measuring. The maker's oximeters look alike: not for them."


def _observations(payload: bytes, _identity: Identity) -> Iterator[Observation]:
    if yonker.is_progress(payload):
        return
    record = yonker.decode_record(payload)
    yield Observation(
        kind=Kind.BLOOD_PRESSURE,
        values=whole_pressures(record.systolic, record.diastolic, record.pulse),
        # It tells one result from the next, and when it was from none of them.
        device_time=record.time,
        status=("time_fault",),
        context=(("clock-bytes", record.clock.hex()),),
        raw=(payload,),
    )


DRIVER = GattDriver(
    id="yonker",
    version="1",
    service=yonker.SERVICE,
    observes=(Kind.BLOOD_PRESSURE,),
    models=(
        Model("YK-IBPA1", ("YK-IBPA1",), note=_NOTE),
        Model("YK-BPW5", ("YK-BPW5",), note=_NOTE),
    ),
    on={yonker.NOTIFICATIONS: _observations},
    pairs=False,
)

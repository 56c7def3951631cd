"""Omron HBP-9030 and HBP-9031C tunnel cuffs on their USB plug.

Measures: systolic and diastolic pressure, pulse rate.
Modes:    one line, unasked, directly after each measurement; nothing is ever sent.
Clock:    local time in each line, to the minute; not settable.
History:  once only; what is sent while nobody listens is gone.
Source:   protocols.vendor.omron_hbp9030.
Tested:   firmware_sim.devices.omron_hbp9030; no hardware yet.

Whoever was measured stands in each line. It is kept in `Observation.raw`, which
is what the cuff sent, and nowhere else: neither in a context nor in a problem.
"""

from collections.abc import AsyncGenerator, Iterator

from drivers.sdk import (
    DecodeError,
    Event,
    Identity,
    Kind,
    Model,
    Observation,
    Quantity,
    SerialDriver,
    SerialLink,
    State,
    Terms,
    Undecoded,
    Unit,
    Value,
)
from protocols.gatt.blood_pressure_reading import whole_pressures
from protocols.vendor import omron_hbp9030

_FAILED = (
    Value(Quantity.SYSTOLIC, Unit.MM_HG, None, State.DEVICE_ERROR),
    Value(Quantity.DIASTOLIC, Unit.MM_HG, None, State.DEVICE_ERROR),
)
_NOTE = "set its item 32 to 5; it tells no serial number, so its port stands for it"


async def _introduce(_link: SerialLink, _terms: Terms) -> AsyncGenerator[Event, None]:
    yield Identity("Omron", "HBP-9030")


def _events(frame: bytes, _identity: Identity) -> Iterator[Event]:
    try:
        line = omron_hbp9030.decode_line(frame.removesuffix(omron_hbp9030.END))
    except DecodeError as error:
        # Its own text shows the bytes, and with them whose they are.
        yield Undecoded("serial", frame, f"'{error.field}' {error.problem}")
        return
    context = [("error", str(line.error))] if line.error else []
    if line.movements:
        context.append(("movements", str(line.movements)))
    yield Observation(
        kind=Kind.BLOOD_PRESSURE,
        values=_values(line.vitals),
        device_time=line.time,
        status=("body_movement",) if line.movements else (),
        context=tuple(context),
        raw=(frame,),
    )


def _values(vitals: tuple[int, int, int] | None) -> tuple[Value, ...]:
    if vitals is None:
        return _FAILED
    return whole_pressures(*vitals)


DRIVER = SerialDriver(
    id="omron-hbp9030",
    version="1",
    observes=(Kind.BLOOD_PRESSURE,),
    baud=9600,
    models=(Model("HBP-9030", note=_NOTE), Model("HBP-9031C", note=_NOTE)),
    frames=omron_hbp9030.lines,
    on=_events,
    shows={
        Quantity.SYSTOLIC: (60, 260),
        Quantity.DIASTOLIC: (30, 215),
        Quantity.PULSE_RATE: (40, 180),
    },
    before=_introduce,
    once_only=True,
)

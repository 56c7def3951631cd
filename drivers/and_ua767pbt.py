"""A&D UA-767PBT over Bluetooth's serial port, to which the cuff connects.

Measures: systolic, diastolic and mean pressure, pulse rate.
Modes:    packets, unasked, as soon as the port is open. How one is acknowledged is
          not certain, so nothing is ever sent.
Clock:    local time in each packet, of measuring and of sending; never set here.
History:  rereadable; it tells again what no host acknowledges, and none does here.
Source:   protocols.vendor.and_pbt, which stands on one source.
Tested:   firmware_sim.devices.and_ua767pbt; no hardware yet.
"""

from collections.abc import Iterator
from decimal import Decimal

from drivers.sdk import (
    Damaged,
    DeviceClock,
    Event,
    Identity,
    Kind,
    Model,
    Observation,
    Quantity,
    SerialDriver,
    State,
    Unit,
    Value,
)
from protocols.gatt.blood_pressure_reading import pressures
from protocols.vendor import and_pbt
from protocols.vendor.and_pbt import Measurement

_FAILED = (
    Value(Quantity.SYSTOLIC, Unit.MM_HG, None, State.DEVICE_ERROR),
    Value(Quantity.DIASTOLIC, Unit.MM_HG, None, State.DEVICE_ERROR),
)


class _Packets:
    """What cuts packets out of what is heard, and leaves them as they are."""

    def __init__(self) -> None:
        self._packets = and_pbt.decoder()

    def feed(self, data: bytes) -> list[bytes | Damaged]:
        return [
            event if isinstance(event, Damaged) else event.raw
            for event in self._packets.feed(data)
        ]

    def resync(self) -> list[bytes | Damaged]:
        return [
            event if isinstance(event, Damaged) else event.raw
            for event in self._packets.resync()
        ]


def _events(frame: bytes, identity: Identity) -> Iterator[Event]:
    packet = and_pbt.decode_packet(frame)
    cuff = Identity("A&D", "UA-767PBT", packet.serial)
    if cuff != identity:
        yield cuff
    yield DeviceClock(packet.sent)
    yield Observation(
        kind=Kind.BLOOD_PRESSURE,
        values=_values(packet.measurement),
        device_time=packet.measured,
        raw=(frame,),
    )


def _values(seen: Measurement | None) -> tuple[Value, ...]:
    if seen is None:
        return _FAILED
    return pressures(
        Decimal(seen.systolic),
        Decimal(seen.diastolic),
        Decimal(seen.mean),
        Decimal(seen.pulse),
    )


DRIVER = SerialDriver(
    id="and-ua767pbt",
    version="1",
    observes=(Kind.BLOOD_PRESSURE,),
    baud=9600,
    models=(
        Model(
            "A&D UA-767PBT",
            note="the station must offer the Serial Port Profile, and the cuff be "
            "paired with it; the port is the one that BlueZ makes of it",
        ),
    ),
    frames=_Packets,
    on=_events,
)

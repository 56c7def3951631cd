"""Heart Rate Service: measurement and body sensor location.

Source: Bluetooth SIG, Heart Rate Service 1.0, §3.1, §3.2; GATT Specification
Supplement.

    flags       u8         bit 0 heart rate is u16, 1 and 2 contact, 3 energy,
                           4 RR intervals
    heart rate  u8 or u16  per minute
    energy      u16        kJ since the last reset
    intervals   u16 each   in 1/1024 s, oldest first, to the end of the value

A field behind the heart rate stands there only if its flag is set.
"""

from dataclasses import dataclass
from enum import IntFlag
from uuid import UUID

from protocols.cursor import Cursor
from protocols.gatt import fields
from protocols.gatt.uuid import sig
from protocols.kinds import PayloadKind, Shown, trailing

SERVICE: UUID = sig(0x180D)
HEART_RATE_MEASUREMENT: UUID = sig(0x2A37)
BODY_SENSOR_LOCATION: UUID = sig(0x2A38)

LOCATIONS = ("other", "chest", "wrist", "finger", "hand", "ear_lobe", "foot")


class Flag(IntFlag):
    """How a measurement is laid out, and what is known of the skin contact."""

    U16 = 1
    CONTACT_DETECTED = 2
    CONTACT_SUPPORTED = 4
    ENERGY = 8
    INTERVALS = 16


@dataclass(frozen=True, slots=True)
class Measurement:
    """One Heart Rate Measurement, exactly as it was on the wire.

    Attributes:
        flags: All eight bits, reserved ones too.
        heart_rate: Per minute.
        energy_kj: Energy expended in kJ, 65535 is that or more; None if not
            announced.
        intervals: From one beat to the next, in 1/1024 s, oldest first.
        trailing: Bytes behind the fields known here.
    """

    flags: Flag
    heart_rate: int
    energy_kj: int | None = None
    intervals: tuple[int, ...] = ()
    trailing: bytes = b""

    @property
    def has_contact(self) -> bool | None:
        """Whether the sensor touches skin; None if it can't tell."""
        if Flag.CONTACT_SUPPORTED not in self.flags:
            return None
        return Flag.CONTACT_DETECTED in self.flags


def decode(payload: bytes) -> Measurement:
    """Read one Heart Rate Measurement value.

    Raises:
        DecodeError: ``payload`` is shorter than its flags announce, or ends
            within an interval.
    """
    with Cursor("Heart Rate Measurement", payload) as read:
        flags = Flag(read.u8("flags"))
        wide = Flag.U16 in flags
        heart_rate = read.u16("heart rate") if wide else read.u8("heart rate")
        energy_kj = read.u16("energy expended") if Flag.ENERGY in flags else None
        intervals = []
        if Flag.INTERVALS in flags:
            intervals.append(read.u16("RR interval"))
            while read.left:
                intervals.append(read.u16("RR interval"))
        return Measurement(
            flags, heart_rate, energy_kj, tuple(intervals), trailing=read.rest()
        )


def decode_location(payload: bytes) -> tuple[int, bytes]:
    """Read a Body Sensor Location, and the bytes behind it.

    Returns:
        An index of `LOCATIONS`, or a reserved code.

    Raises:
        DecodeError: ``payload`` is cut short.
    """
    with Cursor("Body Sensor Location", payload) as read:
        return read.u8("location"), read.rest()


def _show_measurement(payload: bytes) -> Shown:
    seen = decode(payload)
    contact = {None: "not_supported", False: "not_detected", True: "detected"}
    shown: Shown = {
        "flags": int(seen.flags),
        "heart_rate": seen.heart_rate,
        "contact": contact[seen.has_contact],
    }
    if seen.energy_kj is not None:
        shown["energy_expended_kj"] = seen.energy_kj
    if seen.intervals:
        shown["rr_raw"] = list(seen.intervals)
    return shown | fields.show_reserved(seen.flags) | trailing(seen.trailing)


def _show_location(payload: bytes) -> Shown:
    code, rest = decode_location(payload)
    name = LOCATIONS[code] if code < len(LOCATIONS) else "reserved"
    return {"location": name, "location_code": code} | trailing(rest)


KINDS = {
    "gatt.body_sensor_location": PayloadKind(_show_location),
    "gatt.heart_rate_measurement": PayloadKind(_show_measurement),
}

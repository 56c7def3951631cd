"""Blood Pressure Service: measurement, intermediate cuff pressure, features.

Source: Bluetooth SIG, Blood Pressure Service 1.1.1, §3.1 to §3.3; GATT
Specification Supplement.

    flags       u8         bit 0 kPa, 1 time, 2 pulse rate, 3 user, 4 status
    pressures   3 SFLOAT   systolic, diastolic, mean, in mmHg, or kPa by bit 0
    time        7 bytes    Date Time
    pulse rate  SFLOAT     per minute
    user        u8         255 is unknown
    status      u16        Measurement Status

A field behind the pressures stands there only if its flag is set. Intermediate
Cuff Pressure has the same layout, and only its first pressure means anything.
"""

from dataclasses import dataclass
from enum import IntFlag
from uuid import UUID

from protocols.cursor import Cursor
from protocols.gatt import fields
from protocols.gatt.time import DateTime, date_time
from protocols.gatt.uuid import sig
from protocols.kinds import PayloadKind, Shown, flag_names, trailing
from protocols.medfloat import Number, sfloat, show_number

SERVICE: UUID = sig(0x1810)
BLOOD_PRESSURE_MEASUREMENT: UUID = sig(0x2A35)
INTERMEDIATE_CUFF_PRESSURE: UUID = sig(0x2A36)
BLOOD_PRESSURE_FEATURE: UUID = sig(0x2A49)

UNKNOWN_USER = fields.UNKNOWN_USER
_PULSE_RANGES = ("within", "above_upper", "below_lower", "reserved")


class Flag(IntFlag):
    """The unit of a Blood Pressure Measurement, and which fields it has."""

    KPA = 1
    TIME = 2
    PULSE_RATE = 4
    USER = 8
    STATUS = 16


class Status(IntFlag):
    """Measurement Status; bits 3 and 4 are a number, see `pulse_range`."""

    BODY_MOVEMENT = 1 << 0
    CUFF_TOO_LOOSE = 1 << 1
    IRREGULAR_PULSE = 1 << 2
    IMPROPER_POSITION = 1 << 5


class Feature(IntFlag):
    """What a cuff is able to tell; a clear bit means that it never says so."""

    BODY_MOVEMENT_DETECTION = 1 << 0
    CUFF_FIT_DETECTION = 1 << 1
    IRREGULAR_PULSE_DETECTION = 1 << 2
    PULSE_RATE_RANGE_DETECTION = 1 << 3
    MEASUREMENT_POSITION_DETECTION = 1 << 4
    MULTIPLE_BONDS = 1 << 5
    E2E_CRC = 1 << 6
    USER_DATA_SERVICE = 1 << 7
    USER_FACING_TIME = 1 << 8


@dataclass(frozen=True, slots=True)
class Measurement:
    """One Blood Pressure Measurement, exactly as it was on the wire.

    Attributes:
        flags: All eight bits, reserved ones too.
        systolic: In mmHg or kPa as `flags` says; the cuff pressure of an
            Intermediate Cuff Pressure.
        diastolic: In the same unit.
        mean: In the same unit; home cuffs often send NaN or 0 for "not known".
        time: The cuff's clock; None if not announced.
        pulse_rate: Per minute; None if not announced.
        user: The cuff's user slot; 255 is unknown, None not announced.
        status: Measurement Status bits; None if not announced.
        trailing: Bytes behind the fields known here.
    """

    flags: Flag
    systolic: Number
    diastolic: Number
    mean: Number
    time: DateTime | None = None
    pulse_rate: Number | None = None
    user: int | None = None
    status: int | None = None
    trailing: bytes = b""


def pulse_range(status: int) -> str:
    """Return what bits 3 and 4 of a Measurement Status say of the pulse rate."""
    return _PULSE_RANGES[status >> 3 & 3]


def decode(payload: bytes) -> Measurement:
    """Read one Blood Pressure Measurement or Intermediate Cuff Pressure value.

    Raises:
        DecodeError: ``payload`` is shorter than its flags announce.
    """
    with Cursor("Blood Pressure Measurement", payload) as read:
        flags = Flag(read.u8("flags"))
        return Measurement(
            flags=flags,
            systolic=read.sfloat("systolic"),
            diastolic=read.sfloat("diastolic"),
            mean=read.sfloat("mean"),
            time=date_time(read, "time") if Flag.TIME in flags else None,
            pulse_rate=read.sfloat("pulse rate") if Flag.PULSE_RATE in flags else None,
            user=read.u8("user") if Flag.USER in flags else None,
            status=read.u16("status") if Flag.STATUS in flags else None,
            trailing=read.rest(),
        )


def decode_big_endian_tail(payload: bytes) -> Measurement:
    """Read a measurement of the Beurer BM48, BM59, BM85 and their twins.

    They send pulse rate and status with the high byte first, and the user
    always, whether or not its flag is set.

    Raises:
        DecodeError: ``payload`` is shorter than its flags announce.
    """
    with Cursor("Blood Pressure Measurement", payload) as read:
        flags = Flag(read.u8("flags"))
        big = Flag.PULSE_RATE in flags
        return Measurement(
            flags=flags,
            systolic=read.sfloat("systolic"),
            diastolic=read.sfloat("diastolic"),
            mean=read.sfloat("mean"),
            time=date_time(read, "time") if Flag.TIME in flags else None,
            pulse_rate=(
                sfloat(int.from_bytes(read.take(2, "pulse rate"), "big"))
                if big
                else None
            ),
            user=read.u8("user"),
            status=(
                int.from_bytes(read.take(2, "status"), "big")
                if Flag.STATUS in flags
                else None
            ),
            trailing=read.rest(),
        )


def show_status(status: int | None) -> Shown:
    """Show a Measurement Status, if there is one."""
    if status is None:
        return {}
    return {
        "status": status,
        "status_flags": flag_names(Status, status),
        "pulse_range": pulse_range(status),
    }


def _show_tail(seen: Measurement) -> Shown:
    shown: Shown = {
        "flags": int(seen.flags),
        "unit": "kPa" if Flag.KPA in seen.flags else "mmHg",
    }
    shown |= fields.show_timestamp(seen.time)
    if seen.pulse_rate is not None:
        shown["pulse_rate"] = show_number(seen.pulse_rate)
    if seen.user is not None:
        shown["user_id"] = seen.user
    shown |= show_status(seen.status) | fields.show_reserved(seen.flags)
    return shown | trailing(seen.trailing)


def _show_measurement(payload: bytes, *, variant: str = "standard") -> Shown:
    read = decode_big_endian_tail if variant == "beurer_bm85" else decode
    seen = read(payload)
    return {
        "systolic": show_number(seen.systolic),
        "diastolic": show_number(seen.diastolic),
        "map": show_number(seen.mean),
        **_show_tail(seen),
    }


def _show_cuff_pressure(payload: bytes) -> Shown:
    seen = decode(payload)
    return {"cuff_pressure": show_number(seen.systolic), **_show_tail(seen)}


KINDS = {
    "gatt.blood_pressure_feature": fields.feature_kind(
        "Blood Pressure Feature", Feature
    ),
    "gatt.blood_pressure_measurement": PayloadKind(
        _show_measurement, {"variant": ("standard", "beurer_bm85")}
    ),
    "gatt.intermediate_cuff_pressure": PayloadKind(_show_cuff_pressure),
}

"""Weight Scale Service: measurement and features.

Source: Bluetooth SIG, Weight Scale Service 1.0.1, §3.1, §3.2; GATT Specification
Supplement.

    flags   u8       bit 0 imperial, 1 time, 2 user, 3 BMI and height
    weight  u16      in 0.005 kg, or 0.01 lb; 0xFFFF is not successful
    time    7 bytes  Date Time
    user    u8       255 is unknown
    BMI     u16      in 0.1 kg/m²
    height  u16      in 0.001 m, or 0.1 in

    feature u32      bit 0 time, 1 users, 2 BMI, 3 to 6 resolution of the weight,
                     7 to 9 of the height

A field behind the weight stands there only if its flag is set. The resolution of
the feature says how precise the scale is; it does not change the units above,
though some readers multiply by it.
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import IntFlag
from uuid import UUID

from protocols.cursor import Cursor
from protocols.gatt import fields
from protocols.gatt.time import DateTime, date_time
from protocols.gatt.uuid import sig
from protocols.kinds import PayloadKind, Shown, flag_names, trailing

SERVICE: UUID = sig(0x181D)
WEIGHT_MEASUREMENT: UUID = sig(0x2A9D)
WEIGHT_SCALE_FEATURE: UUID = sig(0x2A9E)

_FEATURE_SIZE = 4
_UNSUCCESSFUL = 0xFFFF

MASS_RESOLUTIONS = (
    "0.5 kg / 1 lb",
    "0.2 kg / 0.5 lb",
    "0.1 kg / 0.2 lb",
    "0.05 kg / 0.1 lb",
    "0.02 kg / 0.05 lb",
    "0.01 kg / 0.02 lb",
    "0.005 kg / 0.01 lb",
)
HEIGHT_RESOLUTIONS = ("0.01 m / 1 in", "0.005 m / 0.5 in", "0.001 m / 0.1 in")


class Flag(IntFlag):
    """The units of a Weight Measurement, and which fields it has."""

    IMPERIAL = 1
    TIME = 2
    USER = 4
    BMI_HEIGHT = 8


class Feature(IntFlag):
    """What a scale is able to tell; above these stand the resolutions."""

    TIMESTAMP = 1
    MULTIPLE_USERS = 2
    BMI = 4


@dataclass(frozen=True, slots=True)
class Measurement:
    """One Weight Measurement, exactly as it was on the wire.

    Attributes:
        flags: All eight bits, reserved ones too.
        weight: In kg, or in lb as `flags` says; None if it was not successful.
        time: The scale's clock; None if not announced.
        user: The scale's user slot; 255 is unknown, None not announced.
        bmi: In kg/m²; None if not announced.
        height: In m, or in inches; None if not announced.
        trailing: Bytes behind the fields known here.
    """

    flags: Flag
    weight: Decimal | None
    time: DateTime | None = None
    user: int | None = None
    bmi: Decimal | None = None
    height: Decimal | None = None
    trailing: bytes = b""


def mass(raw: int, *, imperial: bool) -> Decimal:
    """Return a mass in kg, or in lb.

    >>> mass(14000, imperial=False), mass(17637, imperial=True)
    (Decimal('70.000'), Decimal('176.37'))
    """
    return raw * Decimal("0.01" if imperial else "0.005")


def height(raw: int, *, imperial: bool) -> Decimal:
    """Return a height in m, or in inches.

    >>> height(1750, imperial=False), height(700, imperial=True)
    (Decimal('1.750'), Decimal('70.0'))
    """
    return raw * Decimal("0.1" if imperial else "0.001")


def decode(payload: bytes) -> Measurement:
    """Read one Weight Measurement value.

    Raises:
        DecodeError: ``payload`` is shorter than its flags announce.
    """
    with Cursor("Weight Measurement", payload) as read:
        flags = Flag(read.u8("flags"))
        imperial = Flag.IMPERIAL in flags
        raw = read.u16("weight")
        time = date_time(read, "time") if Flag.TIME in flags else None
        user = read.u8("user") if Flag.USER in flags else None
        bmi = tall = None
        if Flag.BMI_HEIGHT in flags:
            bmi = read.u16("BMI") * Decimal("0.1")
            tall = height(read.u16("height"), imperial=imperial)
        return Measurement(
            flags=flags,
            weight=None if raw == _UNSUCCESSFUL else mass(raw, imperial=imperial),
            time=time,
            user=user,
            bmi=bmi,
            height=tall,
            trailing=read.rest(),
        )


def decode_feature(payload: bytes) -> int:
    """Read the bits of a Weight Scale Feature value; `Feature` names the low ones.

    Raises:
        DecodeError: ``payload`` is cut short.
    """
    return fields.decode_feature("Weight Scale Feature", payload, _FEATURE_SIZE)


def _show_measurement(payload: bytes) -> Shown:
    seen = decode(payload)
    imperial = Flag.IMPERIAL in seen.flags
    shown: Shown = {
        "flags": int(seen.flags),
        "unit": "lb" if imperial else "kg",
        "weight": seen.weight,
    }
    if seen.weight is None:
        shown["measurement_unsuccessful"] = True
    shown |= fields.show_timestamp(seen.time)
    if seen.user is not None:
        shown["user_id"] = seen.user
    if seen.bmi is not None:
        shown |= {"bmi": seen.bmi, "height": seen.height}
        shown["height_unit"] = "in" if imperial else "m"
    return shown | fields.show_reserved(seen.flags) | trailing(seen.trailing)


def _show_feature(payload: bytes) -> Shown:
    bits = decode_feature(payload)
    return {
        "value": bits,
        "features": flag_names(Feature, bits),
        "weight_resolution": fields.resolution(MASS_RESOLUTIONS, bits >> 3 & 0xF),
        "height_resolution": fields.resolution(HEIGHT_RESOLUTIONS, bits >> 7 & 7),
        **trailing(payload[_FEATURE_SIZE:]),
    }


KINDS = {
    "gatt.weight_measurement": PayloadKind(_show_measurement),
    "gatt.weight_scale_feature": PayloadKind(_show_feature),
}

"""Body Composition Service: measurement and features.

Source: Bluetooth SIG, Body Composition Service 1.0.1, §3.1, §3.2; GATT
Specification Supplement.

    flags             u16      bit 0 imperial, then the fields as below from bit
                               1 on, 12 it comes in two packets
    body fat          u16      in 0.1 %; 0xFFFF is not successful; always there
    time              7 bytes  Date Time
    user              u8       255 is unknown
    basal metabolism  u16      kJ
    muscle            u16      in 0.1 %
    muscle mass       u16      all masses in 0.005 kg, or 0.01 lb
    fat-free mass     u16
    soft lean mass    u16
    body water mass   u16
    impedance         u16      in 0.1 Ω; the supplement's 0.01 is an erratum
    weight            u16      as the masses
    height            u16      in 0.001 m, or 0.1 in

    feature           u32      bits 0 to 10 the fields from time on, 11 to 14
                               resolution of masses, 15 to 17 of the height

A packet of two has its own flags and body fat; `join` puts them together.
"""

from dataclasses import dataclass, replace
from decimal import Decimal
from enum import IntFlag
from typing import Any
from uuid import UUID

from protocols.cursor import Cursor
from protocols.gatt import fields
from protocols.gatt.time import DateTime, date_time
from protocols.gatt.uuid import sig
from protocols.gatt.weight_scale import (
    HEIGHT_RESOLUTIONS,
    MASS_RESOLUTIONS,
    height,
    mass,
)
from protocols.kinds import PayloadKind, Shown, flag_names, trailing

SERVICE: UUID = sig(0x181B)
BODY_COMPOSITION_FEATURE: UUID = sig(0x2A9B)
BODY_COMPOSITION_MEASUREMENT: UUID = sig(0x2A9C)

_FEATURE_SIZE = 4
_UNSUCCESSFUL = 0xFFFF
_TENTH = Decimal("0.1")


class Flag(IntFlag):
    """The units of a measurement, which fields it has, and whether it goes on."""

    IMPERIAL = 1 << 0
    TIME = 1 << 1
    USER = 1 << 2
    BASAL_METABOLISM = 1 << 3
    MUSCLE_PERCENTAGE = 1 << 4
    MUSCLE_MASS = 1 << 5
    FAT_FREE_MASS = 1 << 6
    SOFT_LEAN_MASS = 1 << 7
    BODY_WATER_MASS = 1 << 8
    IMPEDANCE = 1 << 9
    WEIGHT = 1 << 10
    HEIGHT = 1 << 11
    MULTIPLE_PACKETS = 1 << 12


class Feature(IntFlag):
    """What a scale is able to tell; above these stand the resolutions."""

    TIMESTAMP = 1 << 0
    MULTIPLE_USERS = 1 << 1
    BASAL_METABOLISM = 1 << 2
    MUSCLE_PERCENTAGE = 1 << 3
    MUSCLE_MASS = 1 << 4
    FAT_FREE_MASS = 1 << 5
    SOFT_LEAN_MASS = 1 << 6
    BODY_WATER_MASS = 1 << 7
    IMPEDANCE = 1 << 8
    WEIGHT = 1 << 9
    HEIGHT = 1 << 10


@dataclass(frozen=True, slots=True)
class Measurement:
    """One Body Composition Measurement, exactly as it was on the wire.

    All but `flags` and `body_fat_pct` are None if not announced; masses are in kg
    or lb, as `flags` says.

    Attributes:
        flags: All sixteen bits, reserved ones too.
        body_fat_pct: In percent; None if it was not successful.
        time: The scale's clock.
        user: The scale's user slot; 255 is unknown.
        basal_metabolism_kj: In kJ.
        muscle_pct: In percent.
        muscle_mass: See above, as the next three.
        fat_free_mass: See above.
        soft_lean_mass: See above.
        body_water_mass: See above.
        impedance_ohm: In Ω.
        weight: In kg or lb.
        height: In m, or in inches.
        trailing: Bytes behind the fields known here.
    """

    flags: Flag
    body_fat_pct: Decimal | None
    time: DateTime | None = None
    user: int | None = None
    basal_metabolism_kj: int | None = None
    muscle_pct: Decimal | None = None
    muscle_mass: Decimal | None = None
    fat_free_mass: Decimal | None = None
    soft_lean_mass: Decimal | None = None
    body_water_mass: Decimal | None = None
    impedance_ohm: Decimal | None = None
    weight: Decimal | None = None
    height: Decimal | None = None
    trailing: bytes = b""


_NUMBERS = (
    "basal_metabolism_kj",
    "muscle_pct",
    "muscle_mass",
    "fat_free_mass",
    "soft_lean_mass",
    "body_water_mass",
    "impedance_ohm",
    "weight",
    "height",
)


def decode(payload: bytes) -> Measurement:
    """Read one Body Composition Measurement value.

    Raises:
        DecodeError: ``payload`` is shorter than its flags announce.
    """
    with Cursor("Body Composition Measurement", payload) as read:
        flags = Flag(read.u16("flags"))
        imperial = Flag.IMPERIAL in flags

        def number(flag: Flag, field: str) -> int | None:
            return read.u16(field) if flag in flags else None

        def tenths(flag: Flag, field: str) -> Decimal | None:
            raw = number(flag, field)
            return None if raw is None else raw * _TENTH

        def masses(flag: Flag, field: str) -> Decimal | None:
            raw = number(flag, field)
            return None if raw is None else mass(raw, imperial=imperial)

        fat = read.u16("body fat")
        seen = Measurement(
            flags=flags,
            body_fat_pct=None if fat == _UNSUCCESSFUL else fat * _TENTH,
            time=date_time(read, "time") if Flag.TIME in flags else None,
            user=read.u8("user") if Flag.USER in flags else None,
            basal_metabolism_kj=number(Flag.BASAL_METABOLISM, "basal metabolism"),
            muscle_pct=tenths(Flag.MUSCLE_PERCENTAGE, "muscle percentage"),
            muscle_mass=masses(Flag.MUSCLE_MASS, "muscle mass"),
            fat_free_mass=masses(Flag.FAT_FREE_MASS, "fat-free mass"),
            soft_lean_mass=masses(Flag.SOFT_LEAN_MASS, "soft lean mass"),
            body_water_mass=masses(Flag.BODY_WATER_MASS, "body water mass"),
            impedance_ohm=tenths(Flag.IMPEDANCE, "impedance"),
            weight=masses(Flag.WEIGHT, "weight"),
        )
        tall = number(Flag.HEIGHT, "height")
        return replace(
            seen,
            height=None if tall is None else height(tall, imperial=imperial),
            trailing=read.rest(),
        )


def join(first: Measurement, second: Measurement) -> Measurement | None:
    """Return two packets as one measurement; None if they are not of one.

    Both must say that there are two, with the same unit; what both have must be
    the same in both. What the second one's body fat is where the first one
    brought it the specification's text at hand leaves open: "not successful"
    there is taken for "see the first one".
    """
    if Flag.MULTIPLE_PACKETS not in first.flags & second.flags:
        return None
    if (first.flags ^ second.flags) & Flag.IMPERIAL:
        return None
    if second.body_fat_pct not in (None, first.body_fat_pct):
        return None
    more: dict[str, Any] = {}
    for name in ("time", "user", *_NUMBERS):
        here, there = getattr(first, name), getattr(second, name)
        if here is None:
            more[name] = there
        elif there not in (None, here):
            return None
    return replace(
        first,
        flags=first.flags | second.flags,
        trailing=first.trailing + second.trailing,
        **more,
    )


def decode_feature(payload: bytes) -> int:
    """Read the bits of a Body Composition Feature value; `Feature` names the low ones.

    Raises:
        DecodeError: ``payload`` is cut short.
    """
    return fields.decode_feature("Body Composition Feature", payload, _FEATURE_SIZE)


def _show_measurement(payload: bytes) -> Shown:
    seen = decode(payload)
    imperial = Flag.IMPERIAL in seen.flags
    shown: Shown = {
        "flags": int(seen.flags),
        "mass_unit": "lb" if imperial else "kg",
        "body_fat_pct": seen.body_fat_pct,
        "multiple_packets": Flag.MULTIPLE_PACKETS in seen.flags,
    }
    if seen.body_fat_pct is None:
        shown["measurement_unsuccessful"] = True
    shown |= fields.show_timestamp(seen.time)
    if seen.user is not None:
        shown["user_id"] = seen.user
    for name in _NUMBERS:
        if (value := getattr(seen, name)) is not None:
            shown[name] = value
    if seen.height is not None:
        shown["height_unit"] = "in" if imperial else "m"
    return shown | fields.show_reserved(seen.flags) | trailing(seen.trailing)


def _show_feature(payload: bytes) -> Shown:
    bits = decode_feature(payload)
    return {
        "value": bits,
        "features": flag_names(Feature, bits),
        "mass_resolution": fields.resolution(MASS_RESOLUTIONS, bits >> 11 & 0xF),
        "height_resolution": fields.resolution(HEIGHT_RESOLUTIONS, bits >> 15 & 7),
        **trailing(payload[_FEATURE_SIZE:]),
    }


KINDS = {
    "gatt.body_composition_feature": PayloadKind(_show_feature),
    "gatt.body_composition_measurement": PayloadKind(_show_measurement),
}

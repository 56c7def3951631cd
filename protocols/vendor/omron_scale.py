"""Omron: the records of its body composition scales, HBF and BCM.

Source: field notes on Omron's EEPROM protocol, checked against captured records
(docs/reference/sources.md).

A record of 32 bytes, of the HBF-702T 48; words have their high byte first:

    2 u16   bits 6-15 fat, in 0.1 %            3        bits 0-5 visceral fat level
    4 u16   bits 4-15 basal metabolism, kcal   6 u16    bits 6-15 muscle, in 0.1 %
    7       bits 0-5 year - 2000               8 u16    bits 6-15 BMI, in 0.1
    9       bits 0-5 minute                   10        age of the body, years
    11      bits 0-3 month                    12        bits 3-7 day
    12 u16  bits 6-10 hour                    13        bits 0-5 second
    26 u16  bits 5-15 weight, in 0.1 kg

The HBF-702T counts visceral fat in halves. Some scales have no age of the body.
An empty record is all 0 or all FF.
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from protocols.cursor import Cursor
from protocols.errors import Fault
from protocols.gatt.time import DateTime
from protocols.kinds import PayloadKind, Shown


class Profile(StrEnum):
    """Which scale a record stems from."""

    SIZE_32 = "32"
    SIZE_32_NO_AGE = "32_no_age"
    HBF_702T = "702t"


@dataclass(frozen=True, slots=True)
class BodyRecord:
    """One stored weighing.

    Attributes:
        weight: In kg.
        fat: In % of the weight.
        visceral_fat: Omron's level of it.
        metabolism: In kcal a day.
        muscle: In % of the weight.
        bmi: In kg/m2.
        age: Of the body, in years; None if the scale tells none.
        time: The scale's clock.
    """

    weight: Decimal
    fat: Decimal
    visceral_fat: Decimal
    metabolism: int
    muscle: Decimal
    bmi: Decimal
    age: int | None
    time: DateTime


def decode_record(data: bytes, profile: Profile) -> BodyRecord:
    """Read one record.

    Raises:
        DecodeError: It is empty, cut short or too long.
    """
    size = 48 if profile is Profile.HBF_702T else 32
    with Cursor("Omron body composition record", data) as read:
        read.take(size, "record")
        if len({*data[:size]} | {0}) == 1 or {*data[:size]} == {0xFF}:
            raise read.error("record", "is an empty slot", Fault.EMPTY_SLOT, size=size)

    def word(at: int) -> int:
        return int.from_bytes(data[at : at + 2], "big")

    level = Decimal(data[3] & 0x3F)
    return BodyRecord(
        weight=_tenths(word(26) >> 5),
        fat=_tenths(word(2) >> 6),
        visceral_fat=level / 2 if profile is Profile.HBF_702T else level,
        metabolism=word(4) >> 4,
        muscle=_tenths(word(6) >> 6),
        bmi=_tenths(word(8) >> 6),
        age=None if profile is Profile.SIZE_32_NO_AGE else data[10],
        time=DateTime(
            2000 + (data[7] & 0x3F),
            data[11] & 0x0F,
            data[12] >> 3,
            word(12) >> 6 & 0x1F,
            data[9] & 0x3F,
            data[13] & 0x3F,
        ),
    )


def _tenths(number: int) -> Decimal:
    return Decimal(number).scaleb(-1)


def _show_record(payload: bytes, *, profile: str = "32") -> Shown:
    seen = decode_record(payload, Profile(profile))
    valid = {} if seen.time.moment else {"timestamp_valid": False}
    return {
        "weight_kg": seen.weight,
        "body_fat_pct": seen.fat,
        "visceral_fat_level": seen.visceral_fat,
        "bmr_kcal": seen.metabolism,
        "skeletal_muscle_pct": seen.muscle,
        "bmi": seen.bmi,
        "body_age_years": seen.age,
        "timestamp": str(seen.time),
        **valid,
    }


KINDS = {
    "omron.body_composition_record": PayloadKind(
        _show_record, {"profile": tuple(profile.value for profile in Profile)}
    )
}

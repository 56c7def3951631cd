"""Glucose Service: measurement, its context, and the meter's features.

Source: Bluetooth SIG, Glucose Service 1.0.1, §3.1 to §3.3; GATT Specification
Supplement.

    Glucose Measurement
    flags             u8       bit 0 offset, 1 concentration with type and
                               location, 2 mol/L, 3 status, 4 context follows
    sequence number   u16
    base time         7 bytes  Date Time
    time offset       s16      minutes
    concentration     SFLOAT   kg/L, or mol/L by bit 2
    type, location    u8       low nibble, high nibble
    status            u16      Sensor Status Annunciation

    Glucose Measurement Context
    flags             u8       bit 0 carbohydrate, 1 meal, 2 tester and health,
                               3 exercise, 4 medication, 5 in litres, 6 HbA1c,
                               7 extended flags
    sequence number   u16      that of the measurement
    extended flags    u8
    carbohydrate      u8, SFLOAT kg
    meal              u8
    tester, health    u8       low nibble, high nibble
    exercise          u16 s, u8 percent
    medication        u8, SFLOAT kg or L
    HbA1c             SFLOAT   percent

A field stands there only if its flag is set.
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
from protocols.medfloat import Number, show_number

SERVICE: UUID = sig(0x1808)
GLUCOSE_MEASUREMENT: UUID = sig(0x2A18)
GLUCOSE_MEASUREMENT_CONTEXT: UUID = sig(0x2A34)
GLUCOSE_FEATURE: UUID = sig(0x2A51)

TYPES = {
    1: "capillary_whole_blood",
    2: "capillary_plasma",
    3: "venous_whole_blood",
    4: "venous_plasma",
    5: "arterial_whole_blood",
    6: "arterial_plasma",
    7: "undetermined_whole_blood",
    8: "undetermined_plasma",
    9: "interstitial_fluid",
    10: "control_solution",
}
LOCATIONS = {
    1: "finger",
    2: "alternate_site",
    3: "earlobe",
    4: "control_solution",
    5: "subcutaneous_tissue",
    15: "not_available",
}
CARBOHYDRATES = {
    1: "breakfast",
    2: "lunch",
    3: "dinner",
    4: "snack",
    5: "drink",
    6: "supper",
    7: "brunch",
}
MEALS = {
    1: "preprandial",
    2: "postprandial",
    3: "fasting",
    4: "casual",
    5: "bedtime",
}
TESTERS = {
    1: "self",
    2: "health_care_professional",
    3: "lab_test",
    15: "not_available",
}
HEALTH = {
    1: "minor_health_issues",
    2: "major_health_issues",
    3: "during_menses",
    4: "under_stress",
    5: "no_health_issues",
    15: "not_available",
}
MEDICATIONS = {
    1: "rapid_acting_insulin",
    2: "short_acting_insulin",
    3: "intermediate_acting_insulin",
    4: "long_acting_insulin",
    5: "premixed_insulin",
}


class Flag(IntFlag):
    """Which fields a Glucose Measurement has."""

    OFFSET = 1
    CONCENTRATION = 2
    MOL_PER_L = 4
    STATUS = 8
    CONTEXT_FOLLOWS = 16


class Status(IntFlag):
    """Sensor Status Annunciation: what the meter says of one result."""

    BATTERY_LOW = 1 << 0
    SENSOR_MALFUNCTION = 1 << 1
    SAMPLE_SIZE_INSUFFICIENT = 1 << 2
    STRIP_INSERTION_ERROR = 1 << 3
    STRIP_TYPE_INCORRECT = 1 << 4
    RESULT_TOO_HIGH = 1 << 5
    RESULT_TOO_LOW = 1 << 6
    TEMPERATURE_TOO_HIGH = 1 << 7
    TEMPERATURE_TOO_LOW = 1 << 8
    READ_INTERRUPTED = 1 << 9
    GENERAL_DEVICE_FAULT = 1 << 10
    TIME_FAULT = 1 << 11


class Feature(IntFlag):
    """What a meter is able to tell; a clear bit means that it never says so."""

    LOW_BATTERY_DETECTION = 1 << 0
    SENSOR_MALFUNCTION_DETECTION = 1 << 1
    SAMPLE_SIZE_DETECTION = 1 << 2
    STRIP_INSERTION_ERROR_DETECTION = 1 << 3
    STRIP_TYPE_ERROR_DETECTION = 1 << 4
    RESULT_HIGH_LOW_DETECTION = 1 << 5
    TEMPERATURE_HIGH_LOW_DETECTION = 1 << 6
    READ_INTERRUPT_DETECTION = 1 << 7
    GENERAL_DEVICE_FAULT_DETECTION = 1 << 8
    TIME_FAULT_DETECTION = 1 << 9
    MULTIPLE_BONDS = 1 << 10


class _ContextFlag(IntFlag):
    CARBOHYDRATE = 1
    MEAL = 2
    TESTER_HEALTH = 4
    EXERCISE = 8
    MEDICATION = 16
    LITRES = 32
    HBA1C = 64
    EXTENDED = 128


@dataclass(frozen=True, slots=True)
class Measurement:
    """One Glucose Measurement, exactly as it was on the wire.

    Attributes:
        flags: All eight bits, reserved ones too.
        sequence: 0 to 65535; one more for every result the meter stores.
        base_time: The meter's internal clock.
        offset_min: Minutes from the internal clock to what the person saw.
        concentration: In kg/L or mol/L as `flags` says; None if not announced.
        sample_type: One of `TYPES`, or a reserved code.
        location: One of `LOCATIONS`, or a reserved code.
        status: Sensor Status Annunciation bits; None if not announced.
        trailing: Bytes behind the fields known here.
    """

    flags: Flag
    sequence: int
    base_time: DateTime
    offset_min: int | None = None
    concentration: Number | None = None
    sample_type: int | None = None
    location: int | None = None
    status: int | None = None
    trailing: bytes = b""

    @property
    def is_control(self) -> bool:
        """Whether control solution was measured, and no person."""
        return self.sample_type == 10 or self.location == 4


@dataclass(frozen=True, slots=True)
class Context:
    """One Glucose Measurement Context, exactly as it was on the wire.

    Attributes:
        flags: All eight bits.
        sequence: The sequence number of the measurement it belongs to.
        extended_flags: All bits reserved.
        carbohydrate: One of `CARBOHYDRATES`, or a reserved code.
        carbohydrate_kg: Amount in kg.
        meal: One of `MEALS`, or a reserved code.
        tester: One of `TESTERS`, or a reserved code.
        health: One of `HEALTH`, or a reserved code.
        exercise_duration_s: In s; 65535 is that or longer.
        exercise_intensity: In percent.
        medication: One of `MEDICATIONS`, or a reserved code.
        medication_amount: In kg, or in L as `flags` says.
        hba1c: In percent.
        trailing: Bytes behind the fields known here.
    """

    flags: int
    sequence: int
    extended_flags: int | None = None
    carbohydrate: int | None = None
    carbohydrate_kg: Number | None = None
    meal: int | None = None
    tester: int | None = None
    health: int | None = None
    exercise_duration_s: int | None = None
    exercise_intensity: int | None = None
    medication: int | None = None
    medication_amount: Number | None = None
    hba1c: Number | None = None
    trailing: bytes = b""

    @property
    def medication_in_litres(self) -> bool:
        """Whether the amount of medication is in L, else it is in kg."""
        return _ContextFlag.LITRES in _ContextFlag(self.flags)


def decode_measurement(payload: bytes) -> Measurement:
    """Read one Glucose Measurement value.

    Raises:
        DecodeError: ``payload`` is shorter than its flags announce.
    """
    with Cursor("Glucose Measurement", payload) as read:
        flags = Flag(read.u8("flags"))
        sequence = read.u16("sequence number")
        base_time = date_time(read, "base time")
        offset_min = read.s16("time offset") if Flag.OFFSET in flags else None
        concentration = sample_type = location = None
        if Flag.CONCENTRATION in flags:
            concentration = read.sfloat("concentration")
            location, sample_type = divmod(read.u8("type, location"), 16)
        return Measurement(
            flags=flags,
            sequence=sequence,
            base_time=base_time,
            offset_min=offset_min,
            concentration=concentration,
            sample_type=sample_type,
            location=location,
            status=read.u16("status") if Flag.STATUS in flags else None,
            trailing=read.rest(),
        )


def decode_context(payload: bytes) -> Context:
    """Read one Glucose Measurement Context value.

    Raises:
        DecodeError: ``payload`` is shorter than its flags announce.
    """
    with Cursor("Glucose Measurement Context", payload) as read:
        flags = _ContextFlag(read.u8("flags"))
        has = flags.__contains__
        sequence = read.u16("sequence number")
        extended = read.u8("extended flags") if has(_ContextFlag.EXTENDED) else None
        carbohydrate = carbohydrate_kg = meal = tester = health = None
        duration_s = intensity = medication = amount = None
        if has(_ContextFlag.CARBOHYDRATE):
            carbohydrate = read.u8("carbohydrate id")
            carbohydrate_kg = read.sfloat("carbohydrate")
        if has(_ContextFlag.MEAL):
            meal = read.u8("meal")
        if has(_ContextFlag.TESTER_HEALTH):
            health, tester = divmod(read.u8("tester, health"), 16)
        if has(_ContextFlag.EXERCISE):
            duration_s = read.u16("exercise duration")
            intensity = read.u8("exercise intensity")
        if has(_ContextFlag.MEDICATION):
            medication = read.u8("medication id")
            amount = read.sfloat("medication")
        return Context(
            flags=int(flags),
            sequence=sequence,
            extended_flags=extended,
            carbohydrate=carbohydrate,
            carbohydrate_kg=carbohydrate_kg,
            meal=meal,
            tester=tester,
            health=health,
            exercise_duration_s=duration_s,
            exercise_intensity=intensity,
            medication=medication,
            medication_amount=amount,
            hba1c=read.sfloat("HbA1c") if has(_ContextFlag.HBA1C) else None,
            trailing=read.rest(),
        )


def _show_measurement(payload: bytes) -> Shown:
    seen = decode_measurement(payload)
    shown: Shown = {
        "flags": int(seen.flags),
        "sequence_number": seen.sequence,
        "base_time": str(seen.base_time),
        "context_follows": Flag.CONTEXT_FOLLOWS in seen.flags,
    }
    if seen.base_time.moment is None:
        shown["base_time_valid"] = False
        shown["unknown_fields"] = list(seen.base_time.unknown_fields)
    if seen.offset_min is not None:
        shown["time_offset_min"] = seen.offset_min
        if (facing := seen.base_time.plus(seen.offset_min)) is not None:
            shown["user_facing_time"] = str(facing)
    if seen.concentration is not None:
        shown |= _show_concentration(seen, seen.concentration, payload)
    if seen.status is not None:
        shown["status"] = seen.status
        shown["status_flags"] = flag_names(Status, seen.status)
    return shown | fields.show_reserved(seen.flags) | trailing(seen.trailing)


def _show_concentration(
    seen: Measurement, concentration: Number, payload: bytes
) -> Shown:
    at = 10 if seen.offset_min is None else 12
    moles = Flag.MOL_PER_L in seen.flags
    shown: Shown = {
        "concentration_raw": f"0x{int.from_bytes(payload[at : at + 2], 'little'):04X}",
        "concentration": show_number(concentration),
        "unit": "mol/L" if moles else "kg/L",
        "type_code": seen.sample_type,
        "type": TYPES.get(seen.sample_type or 0, "reserved"),
        "location_code": seen.location,
        "location": LOCATIONS.get(seen.location or 0, "reserved"),
    }
    if isinstance(concentration, Decimal):
        name, shift = ("mmol_per_l", 3) if moles else ("mg_per_dl", 5)
        shown[name] = concentration.scaleb(shift)
    return shown


def _show_context(payload: bytes) -> Shown:
    seen = decode_context(payload)
    shown: Shown = {"flags": seen.flags, "sequence_number": seen.sequence}
    if seen.extended_flags is not None:
        shown["extended_flags"] = seen.extended_flags
    for name, names in (("carbohydrate", CARBOHYDRATES), ("meal", MEALS)):
        if (code := getattr(seen, name)) is not None:
            shown[f"{name}_code"] = code
            shown[name] = names.get(code, "reserved")
    if seen.tester is not None and seen.health is not None:
        shown["tester"] = TESTERS.get(seen.tester, "reserved")
        shown["health"] = HEALTH.get(seen.health, "reserved")
    if seen.exercise_duration_s is not None:
        shown["exercise_duration_s"] = seen.exercise_duration_s
        shown["exercise_intensity_pct"] = seen.exercise_intensity
    if seen.medication is not None:
        shown["medication_code"] = seen.medication
        shown["medication"] = MEDICATIONS.get(seen.medication, "reserved")
        shown["medication_unit"] = "L" if seen.medication_in_litres else "kg"
    for name, number in (
        ("carbohydrate_kg", seen.carbohydrate_kg),
        ("medication_quantity", seen.medication_amount),
        ("hba1c_pct", seen.hba1c),
    ):
        if number is not None:
            shown[name] = show_number(number)
    return shown | trailing(seen.trailing)


KINDS = {
    "gatt.glucose_feature": fields.feature_kind("Glucose Feature", Feature),
    "gatt.glucose_measurement": PayloadKind(_show_measurement),
    "gatt.glucose_measurement_context": PayloadKind(_show_context),
}

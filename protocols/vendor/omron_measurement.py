"""Omron: the measurement characteristic of its own, beside the standard one.

Source: field notes on Omron's Bluetooth devices (docs/reference/sources.md).

A blood pressure measurement; each field behind the flags stands there only if
its bit is set, in the order of the bits, numbers little-endian:

    flags u16   bit 0   the pressures are in kPa, else in mmHg
      1  sequence number u16             7  user u8
      2  systolic pressure SFLOAT        8  status u16, as Measurement Status
      3  diastolic pressure SFLOAT       9  measurements in this run u8
      4  mean pressure SFLOAT           10  artefacts u8
      5  time, Date Time               11  irregular pulses u8
      6  pulse rate SFLOAT              12  room temperature u16, in 0.1 Cel
     13  the record goes on in the next value

Not here: the service's body composition measurement, of whose fields the sizes
and resolutions are not known.
"""

from dataclasses import dataclass, fields, replace
from decimal import Decimal
from enum import IntFlag
from typing import TypeAlias
from uuid import UUID

from protocols.cursor import Cursor
from protocols.gatt.blood_pressure import Status, pulse_range
from protocols.gatt.time import DateTime, date_time
from protocols.kinds import PayloadKind, Shown, flag_names
from protocols.medfloat import Number, show_number

SERVICE = UUID("5df5e817-a945-4f81-89c0-3d4e9759c07c")
BLOOD_PRESSURE = UUID("c195da8a-0e23-4582-acd8-d446c77c45de")
BODY_COMPOSITION = UUID("8ff2ddfb-4a52-4ce5-85a4-d2f97917792a")


class Flag(IntFlag):
    """The unit of a measurement, which fields it has, and whether it goes on."""

    KPA = 1 << 0
    SEQUENCE = 1 << 1
    SYSTOLIC = 1 << 2
    DIASTOLIC = 1 << 3
    MEAN = 1 << 4
    TIME = 1 << 5
    PULSE_RATE = 1 << 6
    USER = 1 << 7
    STATUS = 1 << 8
    MEASUREMENTS = 1 << 9
    ARTIFACTS = 1 << 10
    IRREGULAR_PULSES = 1 << 11
    ROOM_TEMPERATURE = 1 << 12
    CONTINUED = 1 << 13


_KNOWN = (1 << 14) - 1


@dataclass(frozen=True, slots=True)
class Measurement:
    """One value; what it does not announce is None.

    Attributes:
        flags: All sixteen bits, reserved ones too.
        sequence: The device's number of the record, 0 to 65535.
        systolic: In mmHg or kPa as `flags` says.
        diastolic: In the same unit.
        mean: In the same unit.
        time: The cuff's clock.
        pulse_rate: Per minute.
        user: The cuff's user slot; 255 is unknown.
        status: Measurement Status bits of the Blood Pressure Service.
        measurements: How many measurements in a row make up this one.
        artifacts: How many artefacts it met.
        irregular_pulses: How many irregular pulses it met.
        room_temperature: In Cel.
    """

    flags: Flag
    sequence: int | None = None
    systolic: Number | None = None
    diastolic: Number | None = None
    mean: Number | None = None
    time: DateTime | None = None
    pulse_rate: Number | None = None
    user: int | None = None
    status: int | None = None
    measurements: int | None = None
    artifacts: int | None = None
    irregular_pulses: int | None = None
    room_temperature: Decimal | None = None


Whole: TypeAlias = tuple[Measurement, tuple[bytes, ...]]
"""A record, and the values that it was read from."""


def decode_blood_pressure(payload: bytes) -> Measurement:
    """Read one value of Omron's blood pressure measurement.

    Raises:
        DecodeError: ``payload`` is shorter or longer than its flags announce.
    """
    with Cursor("Omron blood pressure", payload) as read:
        flags = Flag(read.u16("flags"))
        return Measurement(
            flags=flags,
            sequence=read.u16("sequence") if Flag.SEQUENCE in flags else None,
            systolic=read.sfloat("systolic") if Flag.SYSTOLIC in flags else None,
            diastolic=read.sfloat("diastolic") if Flag.DIASTOLIC in flags else None,
            mean=read.sfloat("mean") if Flag.MEAN in flags else None,
            time=date_time(read, "time") if Flag.TIME in flags else None,
            pulse_rate=read.sfloat("pulse rate") if Flag.PULSE_RATE in flags else None,
            user=read.u8("user") if Flag.USER in flags else None,
            status=read.u16("status") if Flag.STATUS in flags else None,
            measurements=(
                read.u8("measurements") if Flag.MEASUREMENTS in flags else None
            ),
            artifacts=read.u8("artifacts") if Flag.ARTIFACTS in flags else None,
            irregular_pulses=(
                read.u8("irregular pulses") if Flag.IRREGULAR_PULSES in flags else None
            ),
            room_temperature=(
                Decimal(read.u16("room temperature")).scaleb(-1)
                if Flag.ROOM_TEMPERATURE in flags
                else None
            ),
        )


class Parts:
    """Puts records together, of which some go on in a second value."""

    def __init__(self) -> None:
        self._begun: Whole | None = None

    def add(self, payload: bytes) -> list[Whole]:
        """Take a value; return the records that it completes, each with its values.

        One whose second value did not come still has `Flag.CONTINUED`.

        Raises:
            DecodeError: ``payload`` is no such value.
        """
        seen = decode_blood_pressure(payload)
        lost = self.give_up()
        if Flag.CONTINUED in seen.flags:
            self._begun = seen, (payload,)
            return [] if lost == [self._begun] else lost  # it may be told twice
        if lost and _is_one_record(lost[0][0], seen):
            ((first, values),) = lost
            return [(_joined(first, seen), (*values, payload))]
        return [*lost, (seen, (payload,))]

    def give_up(self) -> list[Whole]:
        """Return the record whose second value did not come, if there is one."""
        begun, self._begun = self._begun, None
        return [] if begun is None else [begun]


def _is_one_record(first: Measurement, second: Measurement) -> bool:
    numbers = first.sequence, second.sequence
    return None in numbers or first.sequence == second.sequence


def _joined(first: Measurement, second: Measurement) -> Measurement:
    told = {one.name: getattr(second, one.name) for one in fields(second)}
    told = {name: value for name, value in told.items() if value is not None}
    told["flags"] = (first.flags | second.flags) & ~Flag.CONTINUED
    return replace(first, **told)


def _show_blood_pressure(payload: bytes) -> Shown:
    seen = decode_blood_pressure(payload)
    shown: Shown = {
        "flags": int(seen.flags),
        "unit": "kPa" if Flag.KPA in seen.flags else "mmHg",
    }
    known = (
        ("sequence_number", seen.sequence),
        ("systolic", seen.systolic),
        ("diastolic", seen.diastolic),
        ("map", seen.mean),
        ("timestamp", seen.time),
        ("pulse_rate", seen.pulse_rate),
        ("user_id", seen.user),
        ("status", seen.status),
        ("continuous_measurements", seen.measurements),
        ("artifact_count", seen.artifacts),
        ("irregular_pulse_count", seen.irregular_pulses),
        ("room_temperature_c", seen.room_temperature),
    )
    shown |= {name: _plain(value) for name, value in known if value is not None}
    if seen.time is not None and seen.time.moment is None:
        shown["timestamp_valid"] = False
    if seen.status is not None:
        shown["status_flags"] = flag_names(Status, seen.status)
        shown["pulse_range"] = pulse_range(seen.status)
    if reserved := seen.flags & ~_KNOWN:
        shown["reserved_flag_bits"] = int(reserved)
    return shown | {"more_packets": Flag.CONTINUED in seen.flags}


def _plain(value: Number | DateTime | int) -> object:
    if isinstance(value, DateTime):
        return str(value)
    return value if isinstance(value, int) else show_number(value)


KINDS = {"omron.measurement_bp": PayloadKind(_show_blood_pressure)}

"""Blood Pressure Service: the enhanced measurement and cuff pressure.

Source: Bluetooth SIG, Blood Pressure Service 1.1.1; GATT Specification
Supplement, Enhanced Blood Pressure Measurement, Enhanced Intermediate Cuff
Pressure.

    flags             u8         bit 0 kPa, 1 time stamp, 2 pulse rate, 3 user,
                                 4 status, 5 user-facing time, 6 epoch 2000
    pressures         3 SFLOAT   systolic, diastolic, mean, in mmHg, or kPa
    time stamp        u32        seconds since the epoch, UTC
    pulse rate        SFLOAT     per minute
    user              u8         255 is unknown
    status            u16        Measurement Status
    user-facing time  u32        seconds since the epoch, local time

A field behind the pressures stands there only if its flag is set. The cuff
pressure has one SFLOAT in place of the three. Without bit 6 the epoch is 1900.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntFlag
from uuid import UUID

from protocols.cursor import Cursor
from protocols.gatt import fields
from protocols.gatt.blood_pressure import show_status
from protocols.gatt.time import DateTime
from protocols.gatt.uuid import sig
from protocols.kinds import PayloadKind, Shown, trailing
from protocols.medfloat import Number, show_number

ENHANCED_BLOOD_PRESSURE_MEASUREMENT: UUID = sig(0x2B34)
ENHANCED_INTERMEDIATE_CUFF_PRESSURE: UUID = sig(0x2B35)

_ZONE_STEP_S = 15 * 60  # what lies between is the cuff's way from one to the other


class Flag(IntFlag):
    """The unit and the epoch of a measurement, and which fields it has."""

    KPA = 1
    TIME = 2
    PULSE_RATE = 4
    USER = 8
    STATUS = 16
    USER_FACING_TIME = 32
    EPOCH_2000 = 64


@dataclass(frozen=True, slots=True)
class Measurement:
    """One enhanced measurement, exactly as it was on the wire.

    Attributes:
        flags: All eight bits, a reserved one too.
        pressures: Systolic, diastolic and mean, or the cuff pressure alone, in
            mmHg or kPa as `flags` says.
        time_s: UTC in seconds since the epoch; None if not announced.
        pulse_rate: Per minute; None if not announced.
        user: The cuff's user slot; 255 is unknown, None not announced.
        status: Measurement Status bits; None if not announced.
        user_facing_s: Local time in seconds since the epoch; None if not announced.
        trailing: Bytes behind the fields known here.
    """

    flags: Flag
    pressures: tuple[Number, ...]
    time_s: int | None = None
    pulse_rate: Number | None = None
    user: int | None = None
    status: int | None = None
    user_facing_s: int | None = None
    trailing: bytes = b""

    @property
    def epoch_year(self) -> int:
        """The year on whose first second the times count."""
        return 2000 if Flag.EPOCH_2000 in self.flags else 1900

    @property
    def time(self) -> DateTime | None:
        """The time stamp, UTC."""
        return self._date_time(self.time_s)

    @property
    def user_facing_time(self) -> DateTime | None:
        """What the cuff showed."""
        return self._date_time(self.user_facing_s)

    @property
    def offset_min(self) -> int | None:
        """Minutes from UTC to what the cuff showed; None unless it sent both."""
        if self.time_s is None or self.user_facing_s is None:
            return None
        behind_s = self.user_facing_s - self.time_s
        return (behind_s + _ZONE_STEP_S // 2) // _ZONE_STEP_S * (_ZONE_STEP_S // 60)

    def _date_time(self, seconds: int | None) -> DateTime | None:
        if seconds is None:
            return None
        epoch = datetime(self.epoch_year, 1, 1)  # noqa: DTZ001 - either of two zones
        return DateTime.of(epoch + timedelta(seconds=seconds))


def decode_measurement(payload: bytes) -> Measurement:
    """Read one Enhanced Blood Pressure Measurement value.

    Raises:
        DecodeError: ``payload`` is shorter than its flags announce.
    """
    what = "Enhanced Blood Pressure Measurement"
    return _decode(what, payload, ("systolic", "diastolic", "mean"))


def decode_cuff_pressure(payload: bytes) -> Measurement:
    """Read one Enhanced Intermediate Cuff Pressure value.

    Raises:
        DecodeError: ``payload`` is shorter than its flags announce.
    """
    what = "Enhanced Intermediate Cuff Pressure"
    return _decode(what, payload, ("cuff pressure",))


def _decode(what: str, payload: bytes, pressures: tuple[str, ...]) -> Measurement:
    with Cursor(what, payload) as read:
        flags = Flag(read.u8("flags"))
        has = flags.__contains__
        return Measurement(
            flags=flags,
            pressures=tuple(read.sfloat(name) for name in pressures),
            time_s=read.u32("time stamp") if has(Flag.TIME) else None,
            pulse_rate=read.sfloat("pulse rate") if has(Flag.PULSE_RATE) else None,
            user=read.u8("user") if has(Flag.USER) else None,
            status=read.u16("status") if has(Flag.STATUS) else None,
            user_facing_s=(
                read.u32("user-facing time") if has(Flag.USER_FACING_TIME) else None
            ),
            trailing=read.rest(),
        )


def _show(seen: Measurement, names: tuple[str, ...]) -> Shown:
    shown: Shown = {
        "flags": int(seen.flags),
        "unit": "kPa" if Flag.KPA in seen.flags else "mmHg",
        "epoch_year": seen.epoch_year,
    }
    for name, pressure in zip(names, seen.pressures, strict=True):
        shown[name] = show_number(pressure)
    if seen.time_s is not None:
        shown |= {"timestamp_s": seen.time_s, "timestamp": str(seen.time)}
    if seen.pulse_rate is not None:
        shown["pulse_rate"] = show_number(seen.pulse_rate)
    if seen.user is not None:
        shown["user_id"] = seen.user
    shown |= show_status(seen.status)
    if seen.user_facing_s is not None:
        shown["user_facing_time_s"] = seen.user_facing_s
        shown["user_facing_time"] = str(seen.user_facing_time)
    return shown | fields.show_reserved(seen.flags) | trailing(seen.trailing)


def _show_measurement(payload: bytes) -> Shown:
    return _show(decode_measurement(payload), ("systolic", "diastolic", "map"))


def _show_cuff_pressure(payload: bytes) -> Shown:
    return _show(decode_cuff_pressure(payload), ("cuff_pressure",))


KINDS = {
    "gatt.enhanced_blood_pressure_measurement": PayloadKind(_show_measurement),
    "gatt.enhanced_intermediate_cuff_pressure": PayloadKind(_show_cuff_pressure),
}

"""Continuous Glucose Monitoring Service: measurement, features and status.

Source: Bluetooth SIG, Continuous Glucose Monitoring Service 1.0.2, §3.1 to §3.3;
GATT Specification Supplement.

    CGM Measurement, one record or several in one notification
    size           u8       of this record, itself and its E2E-CRC included
    flags          u8       bit 0 trend, 1 quality, 5 warning, 6 calibration and
                            temperature, 7 status
    concentration  SFLOAT   mg/dL
    time offset    u16      minutes since the session's start
    annunciation   0 to 3 u8, those flagged, in this order: status, calibration
                            and temperature, warning
    trend          SFLOAT   mg/dL per minute
    quality        SFLOAT   percent

    CGM Feature         bits u24, type and location u8 as in Glucose, E2E-CRC;
                        0xFFFF in its place if bit 12 says that there is none
    CGM Status          time offset u16, all three octets of annunciation

Records and status have an E2E-CRC behind them if the feature says so. Their size
is fixed but for that: what is longer is refused.
"""

from dataclasses import dataclass
from enum import IntFlag
from uuid import UUID

from protocols.cursor import Cursor
from protocols.errors import Fault
from protocols.gatt import e2e_crc, fields
from protocols.gatt.e2e_crc import Expect
from protocols.gatt.glucose import LOCATIONS, TYPES
from protocols.gatt.uuid import sig
from protocols.kinds import PayloadKind, Shown, flag_names
from protocols.medfloat import Number, show_number

SERVICE: UUID = sig(0x181F)
CGM_MEASUREMENT: UUID = sig(0x2AA7)
CGM_FEATURE: UUID = sig(0x2AA8)
CGM_STATUS: UUID = sig(0x2AA9)

_FEATURE_SIZE = 6
_NO_CRC = 0xFFFF


class Flag(IntFlag):
    """Which fields a record of a CGM Measurement has."""

    TREND = 1
    QUALITY = 2
    WARNING = 32
    CALIBRATION = 64
    STATUS = 128


_SIZES = (
    (Flag.STATUS, 1),
    (Flag.CALIBRATION, 1),
    (Flag.WARNING, 1),
    (Flag.TREND, 2),
    (Flag.QUALITY, 2),
)
_LEAST_SIZE = 6


class Status(IntFlag):
    """What the sensor says of itself."""

    SESSION_STOPPED = 1 << 0
    BATTERY_LOW = 1 << 1
    SENSOR_TYPE_INCORRECT = 1 << 2
    SENSOR_MALFUNCTION = 1 << 3
    DEVICE_SPECIFIC_ALERT = 1 << 4
    GENERAL_DEVICE_FAULT = 1 << 5


class Calibration(IntFlag):
    """What the sensor says of its calibration, time and temperature."""

    TIME_SYNC_REQUIRED = 1 << 0
    CALIBRATION_NOT_ALLOWED = 1 << 1
    CALIBRATION_RECOMMENDED = 1 << 2
    CALIBRATION_REQUIRED = 1 << 3
    TEMPERATURE_TOO_HIGH = 1 << 4
    TEMPERATURE_TOO_LOW = 1 << 5


class Warnings(IntFlag):
    """What the sensor says of the concentration."""

    BELOW_PATIENT_LOW = 1 << 0
    ABOVE_PATIENT_HIGH = 1 << 1
    BELOW_HYPO = 1 << 2
    ABOVE_HYPER = 1 << 3
    RATE_OF_DECREASE_EXCEEDED = 1 << 4
    RATE_OF_INCREASE_EXCEEDED = 1 << 5
    BELOW_DEVICE_RANGE = 1 << 6
    ABOVE_DEVICE_RANGE = 1 << 7


class Feature(IntFlag):
    """What a sensor is able to do and to tell."""

    CALIBRATION = 1 << 0
    PATIENT_HIGH_LOW_ALERTS = 1 << 1
    HYPO_ALERTS = 1 << 2
    HYPER_ALERTS = 1 << 3
    RATE_ALERTS = 1 << 4
    DEVICE_SPECIFIC_ALERT = 1 << 5
    SENSOR_MALFUNCTION_DETECTION = 1 << 6
    SENSOR_TEMPERATURE_DETECTION = 1 << 7
    SENSOR_RESULT_DETECTION = 1 << 8
    LOW_BATTERY_DETECTION = 1 << 9
    SENSOR_TYPE_ERROR_DETECTION = 1 << 10
    GENERAL_DEVICE_FAULT = 1 << 11
    E2E_CRC = 1 << 12
    MULTIPLE_BONDS = 1 << 13
    MULTIPLE_SESSIONS = 1 << 14
    TREND = 1 << 15
    QUALITY = 1 << 16


@dataclass(frozen=True, slots=True)
class Annunciation:
    """What a sensor says beside its value; None where it says nothing of a part.

    Attributes:
        status: `Status` bits.
        calibration: `Calibration` bits.
        warning: `Warnings` bits.
    """

    status: int | None = None
    calibration: int | None = None
    warning: int | None = None

    @property
    def names(self) -> list[str]:
        """The names of all bits that are set and known."""
        return [
            *flag_names(Status, self.status or 0),
            *flag_names(Calibration, self.calibration or 0),
            *flag_names(Warnings, self.warning or 0),
        ]


@dataclass(frozen=True, slots=True)
class Measurement:
    """One record of a CGM Measurement, exactly as it was on the wire.

    Attributes:
        size: In bytes, 6 to 255.
        flags: All eight bits, reserved ones too.
        concentration: In mg/dL.
        offset_min: Minutes since the session's start, 0 to 65535.
        annunciation: What stands beside the value.
        trend: In mg/dL per minute; None if not announced.
        quality: In percent; None if not announced.
        crc: The E2E-CRC; None if there is none.
    """

    size: int
    flags: Flag
    concentration: Number
    offset_min: int
    annunciation: Annunciation = Annunciation()
    trend: Number | None = None
    quality: Number | None = None
    crc: int | None = None


@dataclass(frozen=True, slots=True)
class Features:
    """One CGM Feature value, exactly as it was on the wire.

    Attributes:
        bits: `Feature` bits.
        sample_type: One of `glucose.TYPES`, or a reserved code.
        location: One of `glucose.LOCATIONS`, or a reserved code.
        crc: The E2E-CRC; None if there is none.
    """

    bits: Feature
    sample_type: int
    location: int
    crc: int | None

    @property
    def expect(self) -> Expect:
        """Whether the sensor's other values have an E2E-CRC."""
        return Expect.PRESENT if Feature.E2E_CRC in self.bits else Expect.ABSENT


@dataclass(frozen=True, slots=True)
class SensorStatus:
    """One CGM Status value, exactly as it was on the wire.

    Attributes:
        offset_min: Minutes since the session's start, 0 to 65535.
        annunciation: With all three parts.
        crc: The E2E-CRC; None if there is none.
    """

    offset_min: int
    annunciation: Annunciation
    crc: int | None = None


def decode_measurement(
    payload: bytes, expect: Expect = Expect.EITHER
) -> list[Measurement]:
    """Read all records of one CGM Measurement value.

    Args:
        payload: The whole value.
        expect: Whether the records have an E2E-CRC.

    Raises:
        DecodeError: A record is cut short, or has another size than its flags
            announce, or its E2E-CRC does not fit. Then none is to be trusted.
    """
    records: list[Measurement] = []
    with Cursor("CGM Measurement", payload) as read:
        while read.left or not records:
            records.append(_record(read, payload, expect))
    return records


def _record(read: Cursor, payload: bytes, expect: Expect) -> Measurement:
    start = len(payload) - read.left
    size = read.u8("size")
    if size < _LEAST_SIZE:
        problem = f"is {size}, below the {_LEAST_SIZE} of the least record"
        raise read.error("size", problem, size=1)
    flags = Flag(read.u8("flags"))
    needed = _LEAST_SIZE + sum(bytes_ for flag, bytes_ in _SIZES if flag in flags)
    if size < needed:
        problem = f"announce {needed} bytes, the record has {size}"
        raise read.error("flags", problem, Fault.TRUNCATED, size=1)
    concentration = read.sfloat("concentration")
    offset_min = read.u16("time offset")
    annunciation = Annunciation(
        status=read.u8("status") if Flag.STATUS in flags else None,
        calibration=read.u8("calibration") if Flag.CALIBRATION in flags else None,
        warning=read.u8("warning") if Flag.WARNING in flags else None,
    )
    trend = read.sfloat("trend") if Flag.TREND in flags else None
    quality = read.sfloat("quality") if Flag.QUALITY in flags else None
    covered = payload[start : start + needed]
    crc = e2e_crc.read_behind(read, covered, size - needed, expect)
    return Measurement(
        size, flags, concentration, offset_min, annunciation, trend, quality, crc
    )


def decode_feature(payload: bytes) -> Features:
    """Read a CGM Feature value.

    Raises:
        DecodeError: ``payload`` has not 6 bytes, or the E2E-CRC does not fit.
    """
    with Cursor("CGM Feature", payload) as read:
        if len(payload) != _FEATURE_SIZE:
            problem = f"of {_FEATURE_SIZE} bytes expected, {len(payload)} are there"
            raise read.error("value", problem)
        bits = Feature(read.u24("feature"))
        location, sample_type = divmod(read.u8("type, location"), 16)
        if Feature.E2E_CRC in bits:
            crc = e2e_crc.read_last(read, payload, Expect.PRESENT)
        elif (filler := read.u16("E2E-CRC")) == _NO_CRC:
            crc = None
        else:
            problem = f"is {filler:#06x}, not 0xffff, though bit 12 says there is none"
            raise read.error("E2E-CRC", problem, Fault.BAD_FIELD, size=e2e_crc.SIZE)
    return Features(bits, sample_type, location, crc)


def decode_status(payload: bytes, expect: Expect = Expect.EITHER) -> SensorStatus:
    """Read a CGM Status value.

    Raises:
        DecodeError: ``payload`` is cut short or too long, or the E2E-CRC is wrong.
    """
    with Cursor("CGM Status", payload) as read:
        return SensorStatus(
            offset_min=read.u16("time offset"),
            annunciation=Annunciation(
                status=read.u8("status"),
                calibration=read.u8("calibration"),
                warning=read.u8("warning"),
            ),
            crc=e2e_crc.read_last(read, payload, expect),
        )


def show_sample(sample_type: int, location: int) -> Shown:
    """Show what was measured, and where."""
    return {
        "type_code": sample_type,
        "type": TYPES.get(sample_type, "reserved"),
        "location_code": location,
        "location": LOCATIONS.get(location, "reserved"),
    }


def _show_record(seen: Measurement) -> Shown:
    shown: Shown = {
        "size": seen.size,
        "flags": int(seen.flags),
        "concentration_mg_dl": show_number(seen.concentration),
        "time_offset_min": seen.offset_min,
    }
    parts: tuple[tuple[str, int | None, type[IntFlag]], ...] = (
        ("status", seen.annunciation.status, Status),
        ("cal_temp", seen.annunciation.calibration, Calibration),
        ("warning", seen.annunciation.warning, Warnings),
    )
    for name, octet, names in parts:
        if octet is not None:
            shown[f"{name}_octet"] = octet
            shown[f"{name}_flags"] = flag_names(names, octet)
    for name, number in (
        ("trend_mg_dl_min", seen.trend),
        ("quality_pct", seen.quality),
    ):
        if number is not None:
            shown[name] = show_number(number)
    return shown | e2e_crc.show(seen.crc) | fields.show_reserved(seen.flags)


def _show_measurement(payload: bytes, *, crc: str = "either") -> Shown:
    seen = decode_measurement(payload, Expect(crc))
    return {"records": [_show_record(record) for record in seen]}


def _show_feature(payload: bytes) -> Shown:
    seen = decode_feature(payload)
    return {
        "features_raw": int(seen.bits),
        "features": flag_names(Feature, seen.bits),
        **show_sample(seen.sample_type, seen.location),
        **e2e_crc.show(seen.crc),
    }


def _show_status(payload: bytes, *, crc: str = "either") -> Shown:
    seen = decode_status(payload, Expect(crc))
    said = seen.annunciation
    return {
        "time_offset_min": seen.offset_min,
        "status": int.from_bytes(payload[2:5], "little"),
        "status_flags": flag_names(Status, said.status or 0),
        "cal_temp_flags": flag_names(Calibration, said.calibration or 0),
        "warning_flags": flag_names(Warnings, said.warning or 0),
        **e2e_crc.show(seen.crc),
    }


KINDS = {
    "gatt.cgm_feature": PayloadKind(_show_feature),
    "gatt.cgm_measurement": PayloadKind(_show_measurement, e2e_crc.OPTION),
    "gatt.cgm_status": PayloadKind(_show_status, e2e_crc.OPTION),
}

"""Pulse Oximeter Service: spot-check and continuous measurement, features.

Source: Bluetooth SIG, Pulse Oximeter Service 1.0.1, §3.1 to §3.3; GATT
Specification Supplement, PLX Spot-Check Measurement, PLX Continuous Measurement,
PLX Features.

    spot check          flags u8   bit 0 time, 1 measurement status, 2 device
                                   status, 3 amplitude, 4 clock not set
    SpO2, pulse rate    2 SFLOAT   percent, per minute
    time                7 bytes    Date Time
    measurement status  u16
    device status       u24        device and sensor status
    amplitude           SFLOAT     pulse amplitude index, percent

    continuous          flags u8   bit 0 fast, 1 slow, 2 measurement status,
                                   3 device status, 4 amplitude
    normal, fast, slow  2 SFLOAT each, SpO2 and pulse rate; the normal ones always
    the rest            as above

    features            u16        see `Feature`
    measurement bits    u16        those supported, if bit 0 of the features is set
    device bits         u24        those supported, if bit 1 is set

A field stands there only if its flag is set, but the normal pair. Features were
seen without the bits that they announce, and are read so: as not told.
"""

from dataclasses import dataclass
from enum import IntFlag
from uuid import UUID

from protocols.cursor import Cursor
from protocols.gatt import fields
from protocols.gatt.time import DateTime, date_time
from protocols.gatt.uuid import sig
from protocols.kinds import PayloadKind, Shown, flag_names, trailing
from protocols.medfloat import Number, show_number

SERVICE: UUID = sig(0x1822)
PLX_SPOT_CHECK: UUID = sig(0x2A5E)
PLX_CONTINUOUS: UUID = sig(0x2A5F)
PLX_FEATURES: UUID = sig(0x2A60)


class SpotFlag(IntFlag):
    """Which fields a spot check has."""

    TIME = 1
    MEASUREMENT_STATUS = 2
    DEVICE_STATUS = 4
    AMPLITUDE = 8
    CLOCK_NOT_SET = 16


class ContinuousFlag(IntFlag):
    """Which fields a continuous measurement has."""

    FAST = 1
    SLOW = 2
    MEASUREMENT_STATUS = 4
    DEVICE_STATUS = 8
    AMPLITUDE = 16


class MeasurementStatus(IntFlag):
    """What the oximeter says of a value; the low five bits are reserved."""

    ONGOING = 1 << 5
    EARLY_ESTIMATE = 1 << 6
    VALIDATED = 1 << 7
    FULLY_QUALIFIED = 1 << 8
    FROM_STORAGE = 1 << 9
    DEMONSTRATION = 1 << 10
    TESTING = 1 << 11
    CALIBRATION_ONGOING = 1 << 12
    UNAVAILABLE = 1 << 13
    QUESTIONABLE = 1 << 14
    INVALID = 1 << 15


class DeviceStatus(IntFlag):
    """What the oximeter says of itself and its sensor; the rest is reserved."""

    EXTENDED_DISPLAY_UPDATE = 1 << 0
    EQUIPMENT_MALFUNCTION = 1 << 1
    SIGNAL_PROCESSING_IRREGULARITY = 1 << 2
    INADEQUATE_SIGNAL = 1 << 3
    POOR_SIGNAL = 1 << 4
    LOW_PERFUSION = 1 << 5
    ERRATIC_SIGNAL = 1 << 6
    NONPULSATILE_SIGNAL = 1 << 7
    QUESTIONABLE_PULSE = 1 << 8
    SIGNAL_ANALYSIS_ONGOING = 1 << 9
    SENSOR_INTERFERENCE = 1 << 10
    SENSOR_UNCONNECTED = 1 << 11
    UNKNOWN_SENSOR = 1 << 12
    SENSOR_DISPLACED = 1 << 13
    SENSOR_MALFUNCTIONING = 1 << 14
    SENSOR_DISCONNECTED = 1 << 15


class Feature(IntFlag):
    """What an oximeter is able to tell."""

    MEASUREMENT_STATUS = 1 << 0
    DEVICE_AND_SENSOR_STATUS = 1 << 1
    MEASUREMENT_STORAGE = 1 << 2
    TIMESTAMP = 1 << 3
    FAST = 1 << 4
    SLOW = 1 << 5
    PULSE_AMPLITUDE_INDEX = 1 << 6
    MULTIPLE_BONDS = 1 << 7


@dataclass(frozen=True, slots=True)
class SpotCheck:
    """One PLX Spot-Check Measurement, exactly as it was on the wire.

    Attributes:
        flags: All eight bits, reserved ones too.
        spo2: Oxygen saturation in percent.
        pulse_rate: Per minute.
        time: The oximeter's clock; None if not announced.
        measurement_status: `MeasurementStatus` bits; None if not announced.
        device_status: `DeviceStatus` bits; None if not announced.
        amplitude: Pulse amplitude index in percent; None if not announced.
        trailing: Bytes behind the fields known here.
    """

    flags: SpotFlag
    spo2: Number
    pulse_rate: Number
    time: DateTime | None = None
    measurement_status: int | None = None
    device_status: int | None = None
    amplitude: Number | None = None
    trailing: bytes = b""


@dataclass(frozen=True, slots=True)
class Continuous:
    """One PLX Continuous Measurement, exactly as it was on the wire.

    Attributes:
        flags: All eight bits, reserved ones too.
        spo2: Oxygen saturation in percent.
        pulse_rate: Per minute.
        fast: Both of them, told quickly; None if not announced.
        slow: Both of them, told slowly; None if not announced.
        measurement_status: `MeasurementStatus` bits; None if not announced.
        device_status: `DeviceStatus` bits; None if not announced.
        amplitude: Pulse amplitude index in percent; None if not announced.
        trailing: Bytes behind the fields known here.
    """

    flags: ContinuousFlag
    spo2: Number
    pulse_rate: Number
    fast: tuple[Number, Number] | None = None
    slow: tuple[Number, Number] | None = None
    measurement_status: int | None = None
    device_status: int | None = None
    amplitude: Number | None = None
    trailing: bytes = b""


@dataclass(frozen=True, slots=True)
class Features:
    """One PLX Features value, exactly as it was on the wire.

    Attributes:
        bits: `Feature` bits.
        measurement_bits: Those of `MeasurementStatus` that the oximeter ever
            sets; None if it does not tell.
        device_bits: Those of `DeviceStatus`; None if it does not tell.
        trailing: Bytes behind the fields known here.
    """

    bits: int
    measurement_bits: int | None = None
    device_bits: int | None = None
    trailing: bytes = b""


def decode_spot_check(payload: bytes) -> SpotCheck:
    """Read one PLX Spot-Check Measurement value.

    Raises:
        DecodeError: ``payload`` is shorter than its flags announce.
    """
    with Cursor("PLX Spot-Check Measurement", payload) as read:
        flags = SpotFlag(read.u8("flags"))
        measured, device = SpotFlag.MEASUREMENT_STATUS, SpotFlag.DEVICE_STATUS
        return SpotCheck(
            flags=flags,
            spo2=read.sfloat("SpO2"),
            pulse_rate=read.sfloat("pulse rate"),
            time=date_time(read, "time") if SpotFlag.TIME in flags else None,
            measurement_status=(
                read.u16("measurement status") if measured in flags else None
            ),
            device_status=read.u24("device status") if device in flags else None,
            amplitude=read.sfloat("amplitude") if SpotFlag.AMPLITUDE in flags else None,
            trailing=read.rest(),
        )


def decode_continuous(payload: bytes) -> Continuous:
    """Read one PLX Continuous Measurement value.

    Raises:
        DecodeError: ``payload`` is shorter than its flags announce.
    """
    with Cursor("PLX Continuous Measurement", payload) as read:
        flags = ContinuousFlag(read.u8("flags"))
        has = flags.__contains__
        measured = ContinuousFlag.MEASUREMENT_STATUS
        return Continuous(
            flags=flags,
            spo2=read.sfloat("SpO2"),
            pulse_rate=read.sfloat("pulse rate"),
            fast=_pair(read, "fast") if has(ContinuousFlag.FAST) else None,
            slow=_pair(read, "slow") if has(ContinuousFlag.SLOW) else None,
            measurement_status=(
                read.u16("measurement status") if has(measured) else None
            ),
            device_status=(
                read.u24("device status") if has(ContinuousFlag.DEVICE_STATUS) else None
            ),
            amplitude=(
                read.sfloat("amplitude") if has(ContinuousFlag.AMPLITUDE) else None
            ),
            trailing=read.rest(),
        )


def _pair(read: Cursor, name: str) -> tuple[Number, Number]:
    return read.sfloat(f"SpO2, {name}"), read.sfloat(f"pulse rate, {name}")


def decode_features(payload: bytes) -> Features:
    """Read a PLX Features value.

    Raises:
        DecodeError: ``payload`` is cut short; but all the supported bits that
            it announces may be missing together.
    """
    with Cursor("PLX Features", payload) as read:
        bits = Feature(read.u16("features"))
        measured = device = None
        are_told = read.left > 0
        if are_told and Feature.MEASUREMENT_STATUS in bits:
            measured = read.u16("measurement status support")
        if are_told and Feature.DEVICE_AND_SENSOR_STATUS in bits:
            device = read.u24("device status support")
        return Features(bits, measured, device, read.rest())


def _show_tail(seen: SpotCheck | Continuous) -> Shown:
    shown: Shown = {}
    if seen.measurement_status is not None:
        shown["measurement_status"] = seen.measurement_status
        shown["measurement_flags"] = flag_names(
            MeasurementStatus, seen.measurement_status
        )
    if seen.device_status is not None:
        shown["device_status"] = seen.device_status
        shown["device_flags"] = flag_names(DeviceStatus, seen.device_status)
    if seen.amplitude is not None:
        shown["pulse_amplitude_index_pct"] = show_number(seen.amplitude)
    return shown | fields.show_reserved(seen.flags) | trailing(seen.trailing)


def _show_spot_check(payload: bytes) -> Shown:
    seen = decode_spot_check(payload)
    shown: Shown = {
        "flags": int(seen.flags),
        "spo2_pct": show_number(seen.spo2),
        "pulse_rate": show_number(seen.pulse_rate),
        **fields.show_timestamp(seen.time),
    }
    if SpotFlag.CLOCK_NOT_SET in seen.flags:
        shown["device_clock_not_set"] = True
    return shown | _show_tail(seen)


def _show_continuous(payload: bytes) -> Shown:
    seen = decode_continuous(payload)
    shown: Shown = {
        "flags": int(seen.flags),
        "spo2_pct": show_number(seen.spo2),
        "pulse_rate": show_number(seen.pulse_rate),
    }
    for name, pair in (("fast", seen.fast), ("slow", seen.slow)):
        if pair is not None:
            shown[f"spo2_{name}"] = show_number(pair[0])
            shown[f"pulse_{name}"] = show_number(pair[1])
    return shown | _show_tail(seen)


def _show_features(payload: bytes) -> Shown:
    seen = decode_features(payload)
    shown: Shown = {"value": seen.bits, "features": flag_names(Feature, seen.bits)}
    if seen.measurement_bits is not None:
        shown["measurement_status_support"] = seen.measurement_bits
        shown["measurement_status_flags"] = flag_names(
            MeasurementStatus, seen.measurement_bits
        )
    if seen.device_bits is not None:
        shown["device_status_support"] = seen.device_bits
        shown["device_status_flags"] = flag_names(DeviceStatus, seen.device_bits)
    return shown | trailing(seen.trailing)


KINDS = {
    "gatt.plx_continuous": PayloadKind(_show_continuous),
    "gatt.plx_features": PayloadKind(_show_features),
    "gatt.plx_spot_check": PayloadKind(_show_spot_check),
}

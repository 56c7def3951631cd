"""Health Thermometer Service: measurement, type and interval.

Source: Bluetooth SIG, Health Thermometer Service 1.0, §3.1 to §3.4; GATT
Specification Supplement.

    flags        u8       bit 0 °F, 1 time, 2 type
    temperature  FLOAT    in °C, or °F
    time         7 bytes  Date Time
    type         u8       where on the body

A field behind the temperature stands there only if its flag is set. Intermediate
Temperature has the same layout. Where the type never changes it is a value of
its own, Temperature Type; Measurement Interval is u16 seconds, 0 is none.
"""

from dataclasses import dataclass
from enum import IntFlag
from uuid import UUID

from protocols.cursor import Cursor
from protocols.gatt import fields
from protocols.gatt.time import DateTime, date_time
from protocols.gatt.uuid import sig
from protocols.kinds import PayloadKind, Shown, trailing
from protocols.medfloat import Number, show_number

SERVICE: UUID = sig(0x1809)
TEMPERATURE_MEASUREMENT: UUID = sig(0x2A1C)
TEMPERATURE_TYPE: UUID = sig(0x2A1D)
INTERMEDIATE_TEMPERATURE: UUID = sig(0x2A1E)
MEASUREMENT_INTERVAL: UUID = sig(0x2A21)

TYPES = {
    1: "armpit",
    2: "body",
    3: "ear",
    4: "finger",
    5: "gastro_intestinal",
    6: "mouth",
    7: "rectum",
    8: "toe",
    9: "tympanum",
}


class Flag(IntFlag):
    """The unit of a Temperature Measurement, and which fields it has."""

    FAHRENHEIT = 1
    TIME = 2
    TYPE = 4


@dataclass(frozen=True, slots=True)
class Measurement:
    """One Temperature Measurement, exactly as it was on the wire.

    Attributes:
        flags: All eight bits, reserved ones too.
        temperature: In °C, or °F as `flags` says.
        time: The thermometer's clock; None if not announced.
        type: One of `TYPES`, or a reserved code; None if not announced.
        trailing: Bytes behind the fields known here.
    """

    flags: Flag
    temperature: Number
    time: DateTime | None = None
    type: int | None = None
    trailing: bytes = b""


def decode(payload: bytes) -> Measurement:
    """Read one Temperature Measurement or Intermediate Temperature value.

    Raises:
        DecodeError: ``payload`` is shorter than its flags announce.
    """
    with Cursor("Temperature Measurement", payload) as read:
        flags = Flag(read.u8("flags"))
        return Measurement(
            flags=flags,
            temperature=read.float32("temperature"),
            time=date_time(read, "time") if Flag.TIME in flags else None,
            type=read.u8("type") if Flag.TYPE in flags else None,
            trailing=read.rest(),
        )


def decode_type(payload: bytes) -> int:
    """Read a Temperature Type value: one of `TYPES`, or a reserved code.

    Raises:
        DecodeError: ``payload`` is not one byte.
    """
    with Cursor("Temperature Type", payload) as read:
        return read.u8("type")


def decode_interval(payload: bytes) -> tuple[int, bytes]:
    """Read a Measurement Interval in s, 0 for none, and the bytes behind it.

    Raises:
        DecodeError: ``payload`` is cut short.
    """
    with Cursor("Measurement Interval", payload) as read:
        return read.u16("interval"), read.rest()


def _show_code(code: int) -> Shown:
    return {"type_code": code, "type": TYPES.get(code, "reserved")}


def _show_measurement(payload: bytes) -> Shown:
    seen = decode(payload)
    shown: Shown = {
        "flags": int(seen.flags),
        "unit": "degF" if Flag.FAHRENHEIT in seen.flags else "degC",
        "temperature": show_number(seen.temperature),
        **fields.show_timestamp(seen.time),
    }
    if seen.type is not None:
        shown |= _show_code(seen.type)
    return shown | fields.show_reserved(seen.flags) | trailing(seen.trailing)


def _show_type(payload: bytes) -> Shown:
    return _show_code(decode_type(payload))


def _show_interval(payload: bytes) -> Shown:
    interval_s, rest = decode_interval(payload)
    return {"interval_s": interval_s} | trailing(rest)


KINDS = {
    "gatt.measurement_interval": PayloadKind(_show_interval),
    "gatt.temperature_measurement": PayloadKind(_show_measurement),
    "gatt.temperature_type": PayloadKind(_show_type),
}

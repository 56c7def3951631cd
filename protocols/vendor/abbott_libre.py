"""Abbott FreeStyle Libre: a record of its database, the sensor's history.

Source: facts from a public reader, checked against captured records, all of one
table (docs/reference/sources.md).

    table           u8    6 is the sensor's history, the only one read here
    record number   u16   the low half of it
    type            u8    12 is a sensor value
    flags           u8    bit 7: the reader's time is valid
    reader time     u32   seconds since a moment that the meter's configuration has
    user offset     s32   seconds to add, as the person set the clock
    glucose         u16   bits 0 to 9 in mg/dL, 12 to 15 flags
    life counter    u16   age of the sensor in minutes
    quality         u16   0, or why the value must not be used
    crc             u16   CRC-16/MCRF4XX of all from the record number on, its bits
                          in reverse order

The bits of ``glucose`` and ``quality`` are known from one source only.
"""

from dataclasses import dataclass
from enum import IntFlag

from protocols.crc import mcrf4xx
from protocols.cursor import Cursor
from protocols.errors import Fault
from protocols.kinds import PayloadKind, Shown, flag_names

_HISTORY_TABLE = 6
_SENSOR_VALUE = 12
_TIME_IS_VALID = 0x80
_GLUCOSE_BITS = 0x03FF


class Flag(IntFlag):
    """What the upper bits of a sensor value's glucose say."""

    FIRST = 1 << 12
    TIME_CHANGED = 1 << 13
    FOOD = 1 << 14
    RAPID_ACTING_INSULIN = 1 << 15


@dataclass(frozen=True, slots=True)
class SensorValue:
    """One value of the sensor's history.

    Attributes:
        record_number_low: The low 16 bits of the record's number.
        is_time_valid: Whether the reader's clock was set.
        reader_time_s: The reader's running clock.
        user_offset_s: What the person's clock adds to it, -2^31 to 2^31 - 1.
        glucose: The whole word.
        life_min: Age of the sensor.
        quality: 0, or why the value must not be used.
    """

    record_number_low: int
    is_time_valid: bool
    reader_time_s: int
    user_offset_s: int
    glucose: int
    life_min: int
    quality: int

    @property
    def mg_per_dl(self) -> int:
        """Glucose, 0 to 1023; no measurement unless `quality` is 0."""
        return self.glucose & _GLUCOSE_BITS


def decode_record(data: bytes) -> SensorValue:
    """Read one database record.

    Raises:
        DecodeError: ``data`` is cut short, too long, damaged, or no sensor value.
    """
    with Cursor("Libre record", data) as read:
        if (table := read.u8("table")) != _HISTORY_TABLE:
            problem = f"is {table}; only {_HISTORY_TABLE} is known"
            raise read.error("table", problem, Fault.UNSUPPORTED_FORMAT, size=1)
        number, kind = read.u16("record number"), read.u8("type")
        if kind != _SENSOR_VALUE:
            problem = f"is {kind}; only {_SENSOR_VALUE} is known"
            raise read.error("type", problem, Fault.UNSUPPORTED_FORMAT, size=1)
        value = SensorValue(
            record_number_low=number,
            is_time_valid=bool(read.u8("flags") & _TIME_IS_VALID),
            reader_time_s=read.u32("reader time"),
            user_offset_s=int.from_bytes(
                read.take(4, "user offset"), "little", signed=True
            ),
            glucose=read.u16("glucose"),
            life_min=read.u16("life counter"),
            quality=read.u16("quality"),
        )
        crc, right = read.u16("crc"), _crc(data[1:-2])
        if crc != right:
            problem = f"is {crc:#06x}, the record's is {right:#06x}"
            raise read.error("crc", problem, Fault.BAD_CRC, size=2)
    return value


def _crc(data: bytes) -> int:
    return int(f"{mcrf4xx(data):016b}"[::-1], 2)


def _show_record(payload: bytes) -> Shown:
    value = decode_record(payload)
    return {
        "table": payload[0],
        "record_number_low": value.record_number_low,
        "record_type": payload[3],
        "time_valid": value.is_time_valid,
        "reader_time": value.reader_time_s,
        "user_offset": value.user_offset_s,
        "glucose_raw": value.glucose,
        "mg_per_dl": value.mg_per_dl,
        "flags": flag_names(Flag, value.glucose & ~_GLUCOSE_BITS),
        "life_minutes": value.life_min,
        "quality": value.quality,
        "crc": f"0x{int.from_bytes(payload[-2:], 'little'):04X}",
    }


KINDS = {"abbott.libre_record": PayloadKind(_show_record)}

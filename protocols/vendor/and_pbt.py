"""A&D UA-767PBT: the packets that it sends over Bluetooth's serial port.

Source: field notes on the UA-767PBT (docs/reference/sources.md), one source.

A header of 60 bytes, numbers little-endian, then the data:

     0 type u16 = 2         23 address of the device, 6 bytes
     2 data's length u32    29 address of the host, 6 bytes
     6 device u16 = 767     35 serial number, 12 characters
     8 flag u8              47 reserved, 10 bytes
     9 measured, 7 bytes    57 battery u8 | 58 u8 | 59 versions u8
    16 sent, 7 bytes

    times  year u16, month u8, day u8, hour u8, minute u8, second u8

    data   10 hexadecimal digits: 80 if valid, systolic - diastolic, diastolic,
           pulse rate, mean pressure

Uncertain, and so left as numbers: flag, battery, versions. Uncertain too is how
a host acknowledges a packet; without that the cuff sends it again. Nothing but
the data's form guards against damage.
"""

from dataclasses import dataclass
from typing import NoReturn

from protocols.cursor import Cursor
from protocols.errors import DecodeError, Fault
from protocols.gatt.time import DateTime, date_time
from protocols.kinds import PayloadKind, Shown
from protocols.stream import Frames

_HEADER, _DATA = 60, 10
_TYPE, _DEVICE, _VALID = 2, 767, 0x80
_START = bytes([_TYPE, 0, _DATA, 0, 0, 0])  # type and length of a cuff's packet
_HEX = frozenset(b"0123456789ABCDEFabcdef")


@dataclass(frozen=True, slots=True)
class Measurement:
    """What the data of a packet say.

    Attributes:
        systolic: In mmHg.
        diastolic: In mmHg.
        pulse: Per minute.
        mean: In mmHg.
    """

    systolic: int
    diastolic: int
    pulse: int
    mean: int


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet of a cuff.

    Attributes:
        measured: The cuff's clock at the measurement.
        sent: The cuff's clock now.
        serial: Its serial number.
        flag: A number of unknown meaning.
        battery: Likewise.
        versions: Likewise.
        measurement: What it measured; None if the data are not marked as valid.
        raw: The whole packet.
    """

    measured: DateTime
    sent: DateTime
    serial: str
    flag: int
    battery: int
    versions: int
    measurement: Measurement | None
    raw: bytes


def decode_data(data: bytes) -> Measurement:
    """Read the data behind a header.

    Raises:
        DecodeError: They are cut short, too long, no hexadecimal digits, or not
            marked as valid.
    """
    with Cursor("UA-767PBT data", data) as read:
        raw = read.take(_DATA, "data")
        if not _HEX.issuperset(raw):
            problem = "is not 10 hexadecimal digits"
            raise read.error("data", problem, Fault.BAD_FIELD, size=_DATA)
        valid, difference, diastolic, pulse, mean = bytes.fromhex(raw.decode("ascii"))
        if valid != _VALID:
            problem = f"is {valid:#04x}, not 0x80"
            raise read.error("validity", problem, Fault.DEVICE_ERROR, size=_DATA)
    return Measurement(difference + diastolic, diastolic, pulse, mean)


def decode_packet(data: bytes) -> Packet:
    """Read one whole packet.

    Raises:
        DecodeError: It is cut short, too long, or of another device.
    """
    with Cursor("UA-767PBT packet", data) as read:
        if (kind := read.u16("type")) != _TYPE:
            raise read.error("type", f"is {kind}, not 2", Fault.BAD_HEADER, size=2)
        length = read.u32("length")
        if (device := read.u16("device")) != _DEVICE:
            problem = f"is {device}, not 767"
            raise read.error("device", problem, Fault.UNSUPPORTED_FORMAT, size=2)
        if length != _DATA:
            problem = f"is {length}, not {_DATA}"
            raise read.error("length", problem, Fault.BAD_LENGTH, size=6)
        flag = read.u8("flag")
        measured = date_time(read, "measured")
        sent = date_time(read, "sent")
        read.take(12, "addresses")
        serial = _text(read, "serial", 12)
        read.take(10, "reserved")
        battery = read.u8("battery")
        read.u8("reserved")
        versions = read.u8("versions")
        values = read.take(_DATA, "data")
    return Packet(
        measured,
        sent,
        serial,
        flag,
        battery,
        versions,
        _measurement(data, values),
        data,
    )


def decoder() -> Frames[Packet]:
    """Return what makes packets of a stream of bytes."""
    return Frames(_START, lambda _: _HEADER + _DATA, decode_packet)


def _measurement(packet: bytes, values: bytes) -> Measurement | None:
    try:
        return decode_data(values)
    except DecodeError as error:
        if error.fault == Fault.DEVICE_ERROR:
            return None
        _refuse(packet, error)


def _refuse(packet: bytes, error: DecodeError) -> NoReturn:
    raise DecodeError(
        "UA-767PBT packet", error.field, error.problem, packet, _HEADER, error.fault
    ) from error


def _text(read: Cursor, field: str, size: int) -> str:
    raw = read.take(size, field)
    try:
        return raw.decode("ascii").strip("\0 ")
    except UnicodeDecodeError as error:
        raise read.error(field, "is not ASCII", Fault.BAD_FIELD, size=size) from error


def _show_data(payload: bytes) -> Shown:
    seen = decode_data(payload)
    return {
        "systolic": seen.systolic,
        "diastolic": seen.diastolic,
        "pulse": seen.pulse,
        "map": seen.mean,
    }


KINDS = {"and.pbt_data": PayloadKind(_show_data)}

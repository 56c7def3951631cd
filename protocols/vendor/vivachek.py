"""VivaChek Ino Smart, Keto-Mojo GK+: frames, requests and records, on BLE.

Source: field notes on the Keto-Mojo GK+, checked against captured frames
(docs/reference/sources.md).

    7B | 01 | from u8 | 01 | to u8 | command u8 | mark u8 | length u16 | data | crc | 7D

The host is 10, the meter 20. ``length`` has its high byte first. ``crc`` is
CRC-16/MODBUS of all between 7B and itself, as four hexadecimal digits, one a
byte: the third and the fourth, then the first and the second. Marks: 55 request,
AA answer, 66 set the clock or the end, 99 the clock was set.

    66  serial number, 16 characters
    77  version, 16 characters
    AA  answered 11; the meaning of other answers is not known
    44  mark 66, YY MM DD hh mm ss: set the clock, answered with mark 99
    DB  number of records: two bytes, hundreds and the rest
    DD  all records, one to a frame; then D1 with mark 66
    16  u16, high byte first, 0 to 1000: as DD, the newest so many
    DE  another layout of the records, which is not known

    record  YY MM DD hh mm | hundreds u8 | rest u8 | flags u8 | kind u8

``value`` is hundreds * 100 + rest, each 0 to 99. Flags: high nibble 1 before, 2
after a meal; what the low one says is not known, nor what is stored for a result
above or below what the meter measures. It has no seconds.
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import IntEnum

from protocols.crc import modbus
from protocols.cursor import Cursor
from protocols.errors import Fault
from protocols.gatt.time import DateTime
from protocols.kinds import PayloadKind, Shown
from protocols.stream import Frames

_START, _END, _CHANNEL = 0x7B, 0x7D, 0x01
_OVERHEAD = 14  # all but the data
_READY = b"\x11"
_LONGEST = 255  # bytes of data; no known frame has more than 21
_MEALS = {0: "none", 1: "preprandial", 2: "postprandial"}


class Command(IntEnum):
    """What a frame is about."""

    LATEST_RECORDS = 0x16
    SET_CLOCK = 0x44
    SERIAL = 0x66
    VERSION = 0x77
    READY = 0xAA
    RECORDS_END = 0xD1
    COUNT = 0xDB
    ALL_RECORDS = 0xDD


class Mark(IntEnum):
    """What a frame is to its command."""

    REQUEST = 0x55
    SET = 0x66  # of `SET_CLOCK` and `RECORDS_END`
    DONE = 0x99
    ANSWER = 0xAA


class Side(IntEnum):
    """Who sent a frame, or is to have it."""

    HOST = 0x10
    METER = 0x20


class Kind(IntEnum):
    """What a record measures."""

    GLUCOSE = 0x11
    GLUCOSE_GKI = 0x12  # taken for the glucose ketone index
    GLUCOSE_CONTROL = 0x22
    KETONE = 0x55
    KETONE_GKI = 0x56
    KETONE_CONTROL = 0x66


_KETONES = (Kind.KETONE, Kind.KETONE_GKI, Kind.KETONE_CONTROL)


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame, without what delimits it.

    Attributes:
        command: 0 to 255; `Command` names those known.
        mark: 0 to 255; `Mark` names those known.
        data: 0 to 255 bytes.
        sender: Who sent it.
    """

    command: int
    mark: int = Mark.REQUEST
    data: bytes = b""
    sender: Side = Side.HOST

    def encode(self) -> bytes:
        """Return the frame as bytes for the wire."""
        to = Side.METER if self.sender is Side.HOST else Side.HOST
        head = bytes([_CHANNEL, self.sender, _CHANNEL, to, self.command, self.mark])
        body = head + len(self.data).to_bytes(2, "big") + self.data
        return bytes([_START]) + body + _digits(modbus(body)) + bytes([_END])


@dataclass(frozen=True, slots=True)
class Record:
    """One stored result.

    Attributes:
        time: The meter's clock, without seconds.
        value: 0 to 9999: mg/dL of glucose, hundredths of mmol/L of ketone.
        kind: What was measured.
        meal: 0 none, 1 before, 2 after it; 3 to 15 are not known.
        low_nibble: Of the flags; not known.
    """

    time: DateTime
    value: int
    kind: Kind
    meal: int
    low_nibble: int

    @property
    def is_ketone(self) -> bool:
        """It is of ketone, else of glucose."""
        return self.kind in _KETONES

    @property
    def is_control(self) -> bool:
        """It is of control solution."""
        return self.kind in (Kind.GLUCOSE_CONTROL, Kind.KETONE_CONTROL)

    @property
    def number(self) -> Decimal:
        """The value in mg/dL, or of ketone in mmol/L."""
        return Decimal(self.value).scaleb(-2 if self.is_ketone else 0)

    @property
    def meal_name(self) -> str | None:
        """The meal in words; None if its number is not known."""
        return _MEALS.get(self.meal)


def decode_frame(data: bytes) -> Frame:
    """Read one whole frame.

    Raises:
        DecodeError: ``data`` is cut short, too long, or damaged.
    """
    with Cursor("VivaChek frame", data) as read:
        if (start := read.u8("start")) != _START:
            problem = f"is {start:#04x}, not 0x7b"
            raise read.error("start", problem, Fault.BAD_HEADER, size=1)
        head = read.take(4, "addresses")
        command, mark = read.u8("command"), read.u8("mark")
        length = read.u16_be("length")
        if length > _LONGEST:
            problem = f"is {length}, more than any frame has"
            raise read.error("length", problem, Fault.BAD_LENGTH, size=2)
        carried = read.take(length, "data")
        crc, right = read.take(4, "crc"), modbus(data[1 : length + 9])
        if crc != _digits(right):
            problem = f"is {crc.hex(' ')}, the frame's is {_digits(right).hex(' ')}"
            raise read.error("crc", problem, Fault.BAD_CRC, size=4)
        if (end := read.u8("end")) != _END:
            problem = f"is {end:#04x}, not 0x7d"
            raise read.error("end", problem, Fault.BAD_FRAME, size=1)
        for sender, to in ((Side.HOST, Side.METER), (Side.METER, Side.HOST)):
            if head == bytes([_CHANNEL, sender, _CHANNEL, to]):
                return Frame(command, mark, carried, sender)
        problem = f"are {head.hex(' ')}, not those of host and meter"
        raise read.error("addresses", problem, Fault.BAD_HEADER, size=length + 13)


def decoder() -> Frames[Frame]:
    """Return what makes frames of a stream of bytes."""
    return Frames(bytes([_START]), _size, decode_frame)


def ask(command: Command) -> Frame:
    """Return the request that needs no data.

    Args:
        command: `SERIAL`, `VERSION`, `READY`, `COUNT` or `ALL_RECORDS`.
    """
    return Frame(command)


def ask_latest(count: int) -> Frame:
    """Return the request for the newest records.

    Args:
        count: 0 to 1000.
    """
    return Frame(Command.LATEST_RECORDS, data=count.to_bytes(2, "big"))


def set_clock(time: DateTime) -> Frame:
    """Return the request that sets the clock.

    Args:
        time: A date of the years 2000 to 2255.
    """
    return Frame(Command.SET_CLOCK, Mark.SET, bytes([time.year - 2000, *time[1:]]))


def decode_text(data: bytes) -> str:
    """Read the data of an answer to `SERIAL` or `VERSION`.

    Raises:
        DecodeError: ``data`` is not ASCII.
    """
    with Cursor("VivaChek text", data) as read:
        raw = read.rest()
        if not raw.isascii():
            problem = "is not ASCII"
            raise read.error("text", problem, Fault.BAD_FIELD, size=len(raw))
        return raw.decode("ascii").strip("\0 ")


def check_ready(data: bytes) -> None:
    """Read the data of an answer to `READY`.

    Raises:
        DecodeError: It is not 11. Another one may announce another unit.
    """
    with Cursor("VivaChek readiness", data) as read:
        if (found := read.rest()) != _READY:
            problem = f"is [{found.hex(' ')}], not 11, and means what is not known"
            raise read.error("state", problem, Fault.RESERVED_VALUE, size=len(found))


def decode_count(data: bytes) -> int:
    """Read the data of an answer to `COUNT`.

    Raises:
        DecodeError: ``data`` has not 2 bytes, or they are no digits.
    """
    with Cursor("VivaChek record count", data) as read:
        return _hundreds(read, "count")


def decode_record(data: bytes) -> Record:
    """Read one record.

    Raises:
        DecodeError: ``data`` has not 9 bytes, its value is no number, or its
            kind is not known.
    """
    with Cursor("VivaChek record", data) as read:
        year, month, day, hour, minute = read.take(5, "time")
        value = _hundreds(read, "value")
        flags, kind = read.u8("flags"), read.u8("kind")
        if kind not in tuple(Kind):
            problem = f"is {kind:#04x}, which is not known"
            raise read.error("kind", problem, Fault.RESERVED_VALUE, size=1)
    time = DateTime(2000 + year, month, day, hour, minute, 0)
    return Record(time, value, Kind(kind), flags >> 4, flags & 0xF)


def _hundreds(read: Cursor, field: str) -> int:
    hundreds, rest = read.u8(field), read.u8(field)
    if max(hundreds, rest) > 99:
        problem = f"is {hundreds} hundreds and {rest}, not two decimal digits each"
        raise read.error(field, problem, Fault.BAD_FIELD, size=2)
    return hundreds * 100 + rest


def _digits(crc: int) -> bytes:
    return bytes([crc >> 4 & 0xF, crc & 0xF, crc >> 12, crc >> 8 & 0xF])


def _size(data: bytes) -> int:
    if len(data) < 9:
        return 9
    length = int.from_bytes(data[7:9], "big")
    return length + _OVERHEAD if length <= _LONGEST else 0


def _show_frame(payload: bytes) -> Shown:
    frame = decode_frame(payload)
    shown: Shown = {
        "direction": frame.sender.name.lower(),
        "command": frame.command,
        "marker": frame.mark,
        "data": frame.data.hex(),
    }
    match frame:
        case Frame(Command.SERIAL | Command.VERSION, Mark.ANSWER, text):
            if text.isascii():
                shown["text"] = decode_text(text)
        case Frame(Command.COUNT, Mark.ANSWER, count):
            if len(count) == 2 and max(count) <= 99:
                shown["record_count"] = decode_count(count)
    return shown


def _show_record(payload: bytes) -> Shown:
    record = decode_record(payload)
    shown: Shown = {
        "timestamp": str(record.time)[:-3],  # it has no seconds to show
        "raw": record.value,
        "meal": record.meal_name or f"unknown_{record.meal}",
        "low_nibble": record.low_nibble,
        "type_code": int(record.kind),
        "type": record.kind.name.lower(),
        "ketone_mmol_per_l" if record.is_ketone else "mg_per_dl": record.number,
    }
    if record.time.moment is None:
        shown["timestamp_valid"] = False
    return shown


KINDS = {
    "vivachek.frame": PayloadKind(_show_frame),
    "vivachek.record": PayloadKind(_show_record),
}

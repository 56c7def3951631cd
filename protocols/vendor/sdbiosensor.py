"""SD Biosensor CodeFree: frames on its serial cable, and what they carry.

Source: field notes on the SD CodeFree, whose working reader settles where they
contradict themselves (docs/reference/sources.md).

    0x53 | direction u8 | length u8 | message | xor u8 | 0xAA

``length`` counts what follows it, ``xor`` is the exclusive or of the message.
The meter speaks first; a frame that it does not expect makes it show E-5.

    meter   10 30                   switched on, until it is answered
    host    10 40                   here I am
    meter   30, count u16 BE, 19 x AA
    host    10 60                   next record, newest first; or leave
    meter   ?? ??, year, month, day, hour, minute, glucose u16 BE in mg/dL,
            meal u8, 7 x ??         17 bytes; the year is two digits
    meter   10 70                   that was the last one
    host    ADATE, YYYYMMDDhhmm     set the clock, instead of the first 10 60
    meter   10 10                   the clock is set

Not known: the bytes ``??``, how HI and LO are stored, whether control solution
is marked. So a meal code that is not known is refused, and a glucose outside the
10 to 600 mg/dL that home meters show as a number.
"""

from dataclasses import dataclass
from enum import IntEnum

from protocols.crc import xor8
from protocols.cursor import Cursor
from protocols.errors import Fault
from protocols.gatt.time import DateTime
from protocols.kinds import PayloadKind, Shown
from protocols.stream import Frames

_START, _END = 0x53, 0xAA
_HEAD = 3  # start, direction, length
_TAIL = 2  # xor, end
_CENTURY = 2000
_LOWEST, _HIGHEST = 10, 600

HELLO = bytes.fromhex("10 30")
GOODBYE = bytes.fromhex("10 70")
CLOCK_IS_SET = bytes.fromhex("10 10")


class Direction(IntEnum):
    """Who sent a frame."""

    HOST = 0x10
    METER = 0x20


class Meal(IntEnum):
    """What the person marked a result as."""

    NONE = 0x00
    BEFORE = 0x10
    AFTER = 0x20


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame, without what delimits it.

    Attributes:
        direction: Who sent it.
        message: 1 to 253 bytes.
    """

    direction: Direction
    message: bytes

    def encode(self) -> bytes:
        """Return the frame as bytes for the wire."""
        head = bytes([_START, self.direction, len(self.message) + _TAIL])
        return head + self.message + bytes([xor8(self.message), _END])


@dataclass(frozen=True, slots=True)
class Record:
    """One stored result.

    Attributes:
        time: The meter's clock, which has no seconds.
        mg_per_dl: 10 to 600.
        meal: What the person marked it as.
    """

    time: DateTime
    mg_per_dl: int
    meal: Meal


def answer_hello() -> Frame:
    """Return the frame that answers `HELLO`."""
    return Frame(Direction.HOST, bytes.fromhex("10 40"))


def fetch() -> Frame:
    """Return the frame that fetches the next record, or leaves after the last."""
    return Frame(Direction.HOST, bytes.fromhex("10 60"))


def set_clock(clock: DateTime) -> Frame:
    """Return the frame that sets the clock; seconds are left out.

    Args:
        clock: The wall clock, of the years 2000 to 2099.
    """
    date = f"{clock.year:04}{clock.month:02}{clock.day:02}"
    return Frame(
        Direction.HOST, f"ADATE{date}{clock.hour:02}{clock.minute:02}".encode()
    )


def decode_frame(data: bytes) -> Frame:
    """Read one whole frame.

    Raises:
        DecodeError: ``data`` is cut short, too long, or damaged.
    """
    with Cursor("CodeFree frame", data) as read:
        if (start := read.u8("start")) != _START:
            problem = f"is {start:#04x}, not 0x53"
            raise read.error("start", problem, Fault.BAD_HEADER, size=1)
        direction = read.u8("direction")
        if direction not in {*Direction}:
            problem = f"is {direction:#04x}, not 0x10 or 0x20"
            raise read.error("direction", problem, Fault.BAD_HEADER, size=1)
        length = read.u8("length")
        if length <= _TAIL:
            problem = f"is {length}, too few for a message"
            raise read.error("length", problem, Fault.BAD_LENGTH, size=1)
        message = read.take(length - _TAIL, "message")
        xor, right = read.u8("xor"), xor8(message)
        if xor != right:
            problem = f"is {xor:#04x}, the message's is {right:#04x}"
            raise read.error("xor", problem, Fault.BAD_CHECKSUM, size=1)
        if (end := read.u8("end")) != _END:
            problem = f"is {end:#04x}, not 0xaa"
            raise read.error("end", problem, Fault.BAD_FRAME, size=1)
    return Frame(Direction(direction), message)


def decoder() -> Frames[Frame]:
    """Return what makes frames of a stream of bytes."""
    return Frames(bytes([_START]), _size, decode_frame)


def decode_count(message: bytes) -> int:
    """Read how many records the meter has, 0 to 65535.

    Raises:
        DecodeError: ``message`` tells no count.
    """
    with Cursor("CodeFree count", message) as read:
        if (code := read.u8("code")) != 0x30:
            problem = f"is {code:#04x}, not 0x30"
            raise read.error("code", problem, Fault.NOT_A_RESPONSE, size=1)
        count = read.u16_be("count")
        if read.take(19, "filling") != bytes([_END]) * 19:
            raise read.error("filling", "is not all 0xaa", Fault.BAD_FIELD, size=19)
        return count


def decode_record(message: bytes) -> Record:
    """Read one stored result.

    Raises:
        DecodeError: ``message`` is no record, or holds what no document explains.
    """
    with Cursor("CodeFree record", message) as read:
        read.take(2, "unknown")
        year, month, day, hour, minute = read.take(5, "year to minute")
        time = DateTime(_CENTURY + year, month, day, hour, minute, 0)
        glucose = read.u16_be("glucose")
        if not _LOWEST <= glucose <= _HIGHEST:
            problem = f"is {glucose}, which no home meter shows as a number"
            raise read.error("glucose", problem, Fault.OUT_OF_RANGE, size=2)
        meal = read.u8("meal")
        if meal not in {*Meal}:
            problem = f"is {meal:#04x}, which no document explains"
            raise read.error("meal", problem, Fault.RESERVED_VALUE, size=1)
        read.take(7, "unknown")
        return Record(time, glucose, Meal(meal))


def _size(data: bytes) -> int:
    if len(data) < _HEAD:
        return _HEAD
    known = data[1] in {*Direction} and data[2] > _TAIL
    return _HEAD + data[2] if known else 0


def _show_frame(payload: bytes) -> Shown:
    frame = decode_frame(payload)
    return {
        "direction": frame.direction.name.lower(),
        "length": payload[2],
        "message": frame.message.hex(),
    }


KINDS = {"sdbiosensor.frame": PayloadKind(_show_frame)}

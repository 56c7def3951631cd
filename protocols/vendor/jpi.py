"""JPI cuffs, as the Visomat Double Comfort: their text.

Source: field notes on the Visomat Double Comfort, checked against two captured
memories (docs/reference/sources.md).

    STX 02 | text | ETX 03

    R00   the memory of both users: M, user 1 or 2, number of records, 2 digits,
          records; one more character of no meaning if there are none
    R02   the clock; how it is written is not known

    record   yymmddHHMM | flag | systolic | diastolic | pulse      20 characters

The three values have 3 digits, pressures in mmHg. ``flag`` is 0, or 1, which
seems to mark an irregular pulse or a disturbed measurement. Nothing is protected
by a checksum, so read the memory twice.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from protocols.cursor import Cursor
from protocols.errors import Fault
from protocols.gatt.time import DateTime
from protocols.kinds import PayloadKind, Shown
from protocols.stream import Frames

R = TypeVar("R")

_STX, _ETX = b"\x02", b"\x03"
_LONGEST = 4100  # bytes: two users with 99 records each, and more
_USERS = (1, 2)
_CENTURY = 2000
_RECORD_SIZE = 20


@dataclass(frozen=True, slots=True)
class Record:
    """One stored reading.

    Attributes:
        time: The cuff's clock, years 2000 to 2099; it has no seconds.
        flag: One digit.
        systolic: 0 to 999 mmHg.
        diastolic: 0 to 999 mmHg.
        pulse: 0 to 999 per minute.
    """

    time: DateTime
    flag: str
    systolic: int
    diastolic: int
    pulse: int


@dataclass(frozen=True, slots=True)
class Memory:
    """What both users have stored, in the cuff's order."""

    user1: tuple[Record, ...]
    user2: tuple[Record, ...]


def ask_memory() -> bytes:
    """Return what asks for the memory."""
    return _STX + b"R00" + _ETX


def split_memory(text: bytes) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    """Return both users' records as they were sent, for `decode_record`.

    Args:
        text: The memory, without STX and ETX.

    Raises:
        DecodeError: ``text`` is no memory, cut short, or too long.
    """
    with Cursor("JPI memory", text) as read:
        user1, user2 = (_user(read, user, _text) for user in _USERS)
    return user1, user2


def decode_memory(text: bytes) -> Memory:
    """Read the whole memory.

    Args:
        text: The memory, without STX and ETX.

    Raises:
        DecodeError: ``text`` is no memory, cut short, or too long.
    """
    with Cursor("JPI memory", text) as read:
        user1, user2 = (_user(read, user, _record) for user in _USERS)
    return Memory(user1, user2)


def decode_record(text: bytes) -> Record:
    """Read one record.

    Raises:
        DecodeError: ``text`` is no record, cut short, or too long.
    """
    with Cursor("JPI record", text) as read:
        return _record(read)


def decode_frame(data: bytes) -> bytes:
    """Return the text of one frame.

    Raises:
        DecodeError: ``data`` is not one whole frame.
    """
    with Cursor("JPI frame", data) as read:
        if read.take(1, "start") != _STX:
            raise read.error("start", "is not STX", Fault.BAD_HEADER, size=1)
        end = data.find(_ETX)
        if end < 0:
            read.rest()
            raise read.error("end", "is missing", Fault.TRUNCATED)
        text = read.take(end - 1, "text")
        read.take(1, "end")
    return text


def decoder() -> Frames[bytes]:
    """Return what makes texts of a stream of bytes."""
    return Frames(_STX, _size, decode_frame)


def _size(data: bytes) -> int:
    start, end = data.find(_STX, 1), data.find(_ETX)
    if end >= 0 and not 0 <= start < end:
        return end + 1
    if start >= 0 or len(data) >= _LONGEST:
        return 0  # its end was lost
    return len(data) + 1


def _user(read: Cursor, user: int, record: Callable[[Cursor], R]) -> tuple[R, ...]:
    if (mark := read.take(1, "memory mark")) != b"M":
        problem = f"is {mark!r}, not 'M'"
        raise read.error("memory mark", problem, Fault.BAD_HEADER, size=1)
    if (number := _number(read, 1, "user")) != user:
        raise read.error("user", f"is {number}, not {user}", Fault.BAD_FIELD, size=1)
    count = _number(read, 2, "number of records")
    if not count:
        read.take(1, "filling")
    return tuple(record(read) for _ in range(count))


def _text(read: Cursor) -> bytes:
    return read.take(_RECORD_SIZE, "record")


def _record(read: Cursor) -> Record:
    text = _text(read)
    if not text.isdigit():
        problem = f"{text!r} is no digits"
        raise read.error("record", problem, Fault.BAD_FIELD, size=_RECORD_SIZE)
    year, *parts = (int(text[at : at + 2]) for at in range(0, 10, 2))
    month, day, hour, minute = parts
    return Record(
        time=DateTime(_CENTURY + year, month, day, hour, minute, 0),
        flag=text[10:11].decode("ascii"),
        systolic=int(text[11:14]),
        diastolic=int(text[14:17]),
        pulse=int(text[17:20]),
    )


def _number(read: Cursor, size: int, field: str) -> int:
    digits = read.take(size, field)
    if not digits.isdigit():
        problem = f"is {digits!r}, no digits"
        raise read.error(field, problem, Fault.BAD_FIELD, size=size)
    return int(digits)


def _show_record(record: Record) -> Shown:
    return {
        "timestamp": str(record.time).removesuffix(":00"),
        "flag": record.flag,
        "systolic": record.systolic,
        "diastolic": record.diastolic,
        "pulse": record.pulse,
    }


def _show_memory(payload: bytes) -> Shown:
    memory = decode_memory(payload)
    return {
        "user1": [_show_record(record) for record in memory.user1],
        "user2": [_show_record(record) for record in memory.user2],
    }


KINDS = {"jpi.memory": PayloadKind(_show_memory)}

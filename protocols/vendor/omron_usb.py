"""Omron cuffs on USB: reports, requests and answers; two families.

Source: field notes, two sources; where they are short, libomron's notes and the
one answer printed there (docs/reference/sources.md).

790IT, 7080IT, 637IT and HEM-7301. The host sends `FEATURE` as report 0, then
`WAKE` until something answers. Either way a report is

    count u8 | count bytes, 7 at most | what fills it up to 8 bytes

and one of fewer than 7 bytes ends a message:

    name, 3 letters | argument | xor u8           request
    OK | status u8 | data | xor u8                answer
    OK                                            answer that carries nothing
    NO                                            not ready: wake it again

``xor`` is the exclusive or of the argument, or of status and data. An answer
does not say what it answers:

    GCL "0"            year - 2000, month, day, hour, minute, second
    CNT "0"            a byte, then the number of records
    MES 0 0 n          HEM-7301: date and time as above, 2 bytes, systolic,
                       diastolic, pulse, more
    GME 0 bank 0 n     790IT: date and time, unit u8, systolic u16 BE,
                       diastolic, pulse, flags u16 BE
    VER "0", PRF "0"   text
    END "0"            the cuff switches off

The notes count a MES's bytes from ``status``, and a GME's from behind it; they
shorten the request GME. Uncertain: what status, unit and bank mean; whether an
empty report follows a message of 7 or 14 bytes, so `Messages.end` is there;
whether a count of 8, which libomron takes for 7, means that; what the 790IT
needs of feature report 0, which libomron sets to other values; which n is the
newest on a HEM-7301 (on a 790IT it is 0). libomron's END ends with two bytes FF,
and what comes back is OFF, CR, LF: `decode_answer` refuses that. MCL, which
erases the memory, is no request here.

HEM-7322U and HEM-7131U carry the frames of `omron_eeprom`:

    0x02 | frame              to the cuff
    a byte | frame | fill     from the cuff

The records of both users, 100 of 14 bytes each on the HEM-7322U and 60 on the
HEM-7131U, stand from `FIRST_RECORD` on and are read in blocks of `BLOCK` bytes.
Uncertain: what the first byte from the cuff is, and how long reports are.
"""

from dataclasses import dataclass

from protocols.crc import xor8
from protocols.cursor import Cursor
from protocols.errors import DecodeError, Fault
from protocols.gatt.time import DateTime
from protocols.stream import Damaged
from protocols.vendor.omron_eeprom import Frame, Type, decode_frame

_ROOM = 7
_MOST = 9 * _ROOM  # the longest known answer has 17 bytes
_CENTURY = 2000
_FRAME_REPORT = 0x02
_IRREGULAR, _MOVEMENT = 0x0001, 0x0002

FEATURE = bytes(2)
WAKE = (bytes([_ROOM]) + bytes(_ROOM),) * 2

ASK_CLOCK = (b"\x05GCL00\0\0",)
ASK_COUNT = (b"\x05CNT00\0\0",)
ASK_VERSION = (b"\x05VER00\0\0",)
ASK_PROFILE = (b"\x05PRF00\0\0",)
SWITCH_OFF = (b"\x05END00\0\0",)
ABORT = Frame(0x0F0F, 0x0F0F, 0)
FIRST_RECORD, BLOCK = 0x02AC, 40


@dataclass(frozen=True, slots=True)
class Record7301:
    """One stored reading of a HEM-7301.

    Attributes:
        time: The cuff's clock.
        systolic, diastolic, pulse: 0 to 255 each.
        raw: The whole answer, status first.
    """

    time: DateTime
    systolic: int
    diastolic: int
    pulse: int
    raw: bytes


@dataclass(frozen=True, slots=True)
class Record790:
    """One stored reading of a 790IT.

    Attributes:
        time: The cuff's clock.
        unit: A code of which only 0 has been seen.
        systolic: 0 to 65535.
        diastolic, pulse: 0 to 255 each.
        flags: 0 to 65535, unknown bits included.
        raw: The whole answer, status first.
    """

    time: DateTime
    unit: int
    systolic: int
    diastolic: int
    pulse: int
    flags: int
    raw: bytes

    @property
    def is_irregular(self) -> bool:
        """Whether the heartbeat was irregular."""
        return bool(self.flags & _IRREGULAR)

    @property
    def has_movement(self) -> bool:
        """Whether the body moved."""
        return bool(self.flags & _MOVEMENT)

    @property
    def in_series(self) -> int:
        """Which reading of a series of three (TruRead) it is; 0 if of none."""
        return self.flags >> 4 & 3


def ask_record_7301(index: int) -> tuple[bytes, ...]:
    """Return the reports that ask a HEM-7301 for record ``index``, 0 to 255."""
    return _request(b"MES", bytes([0, 0, index]))


def ask_record_790(bank: int, index: int) -> tuple[bytes, ...]:
    """Return the reports that ask a 790IT for a record.

    Args:
        bank: 0 to 2.
        index: 0 to 255.
    """
    return _request(b"GME", bytes([0, bank, 0, index]))


class Messages:
    """Reports in, messages out, as `decode_answer` takes them; raises on no input."""

    def __init__(self) -> None:
        self._message = b""

    def feed(self, report: bytes) -> list[bytes | Damaged]:
        """Add one report; return everything that it completes."""
        try:
            data = _from_report(report)
        except DecodeError as error:
            return [*self._lose(), Damaged(report, error.fault)]
        self._message += data
        if len(data) < _ROOM:
            return [*self.end()]
        return self._lose() if len(self._message) > _MOST else []

    def end(self) -> list[bytes]:
        """Return the message that was begun; call it when no report follows."""
        message, self._message = self._message, b""
        return [message] if message else []

    def _lose(self) -> list[bytes | Damaged]:
        return [Damaged(lost, "given up") for lost in self.end()]


def decode_answer(message: bytes) -> bytes:
    """Return status and data of a message; nothing, if it is but OK.

    Raises:
        DecodeError: The message is no answer, damaged, or NO.
    """
    with Cursor("Omron USB answer", message) as cursor:
        head = cursor.take(2, "head")
        if head == b"NO":
            problem = "is NO: the cuff is not ready"
            raise cursor.error("head", problem, Fault.DEVICE_ERROR, size=2)
        if head != b"OK":
            problem = f"is {head.hex(' ')}, not OK"
            raise cursor.error("head", problem, Fault.BAD_HEADER, size=2)
        if not cursor.left:
            return b""
        data = cursor.take(cursor.left - 1, "data")
        if (xor := cursor.u8("xor")) != xor8(data):
            problem = f"is {xor:#04x}, the answer's is {xor8(data):#04x}"
            raise cursor.error("xor", problem, Fault.BAD_CHECKSUM, size=1)
    return data


def decode_clock(answer: bytes) -> DateTime:
    """Read what `decode_answer` returned of the answer to `ASK_CLOCK`.

    Raises:
        DecodeError: ``answer`` is cut short.
    """
    return _time(Cursor("Omron USB clock", answer))


def decode_count(answer: bytes) -> int:
    """Read what `decode_answer` returned of the answer to `ASK_COUNT`, 0 to 255.

    Raises:
        DecodeError: ``answer`` is cut short.
    """
    cursor = Cursor("Omron USB count", answer)
    cursor.take(2, "unknown")
    return cursor.u8("count")


def decode_record_7301(answer: bytes) -> Record7301:
    """Read what `decode_answer` returned of the answer to `ask_record_7301`.

    Raises:
        DecodeError: ``answer`` is cut short.
    """
    cursor = Cursor("Omron USB record", answer)
    time = _time(cursor)
    cursor.take(2, "unknown")
    systolic, diastolic = cursor.u8("systolic"), cursor.u8("diastolic")
    return Record7301(time, systolic, diastolic, cursor.u8("pulse"), answer)


def decode_record_790(answer: bytes) -> Record790:
    """Read what `decode_answer` returned of the answer to `ask_record_790`.

    Raises:
        DecodeError: ``answer`` is cut short or too long.
    """
    with Cursor("Omron USB record", answer) as cursor:
        return Record790(
            time=_time(cursor),
            unit=cursor.u8("unit"),
            systolic=cursor.u16_be("systolic"),
            diastolic=cursor.u8("diastolic"),
            pulse=cursor.u8("pulse"),
            flags=cursor.u16_be("flags"),
            raw=answer,
        )


def decode_text(answer: bytes) -> str:
    """Read what `decode_answer` returned of a version or a profile.

    Raises:
        DecodeError: ``answer`` has no status, or is not ASCII.
    """
    with Cursor("Omron USB text", answer) as cursor:
        cursor.u8("status")
        if not (text := cursor.rest()).isascii():
            raise cursor.error("text", "is not ASCII", Fault.BAD_FIELD, size=len(text))
        return text.decode("ascii")


def wrap(frame: Frame) -> bytes:
    """Return the report that carries ``frame`` to a HEM-7322U or HEM-7131U.

    Raises:
        ValueError: It would write into the memory.
    """
    if frame.type == Type.WRITE:
        raise ValueError("nothing is known to be safe to write by USB")
    return bytes([_FRAME_REPORT]) + frame.encode()


def unwrap(report: bytes) -> Frame:
    """Read the frame that a report of a HEM-7322U or HEM-7131U carries.

    Raises:
        DecodeError: The frame is cut short or damaged.
    """
    cursor = Cursor("Omron USB report", report)
    cursor.u8("first byte")
    return decode_frame(report[1 : 1 + (cursor.u8("length") or 1)])


def _request(name: bytes, argument: bytes) -> tuple[bytes, ...]:
    request = name + argument + bytes([xor8(argument)])
    pieces = (request[at : at + _ROOM] for at in range(0, len(request), _ROOM))
    return tuple(bytes([len(piece)]) + piece.ljust(_ROOM, b"\0") for piece in pieces)


def _from_report(report: bytes) -> bytes:
    with Cursor("Omron USB report", report) as cursor:
        if (count := cursor.u8("count")) > _ROOM:
            problem = f"is {count}, above {_ROOM}"
            raise cursor.error("count", problem, Fault.BAD_LENGTH, size=1)
        data = cursor.take(count, "data")
        cursor.take(min(cursor.left, _ROOM - count), "fill")
    return data


def _time(cursor: Cursor) -> DateTime:
    cursor.u8("status")
    year, month, day, hour, minute, second = cursor.take(6, "time")
    return DateTime(_CENTURY + year, month, day, hour, minute, second)

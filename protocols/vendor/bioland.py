"""Bioland G-500 and its relatives: frames, requests and results.

Source: field notes on the Bioland protocols 1, 2, 3.1 and 3.2, checked against
published frames (docs/reference/sources.md).

    start u8 | length u8 | category u8 | data | sum

``start`` is 5A from the host and 55 from the meter; ``length`` counts the whole
frame. Numbers have their low byte first.

    5A 09  data none: handshake
    5A 00  YY MM DD hh mm ss: ask for the information; sets the clock
    5A 03  likewise: ask for the next result; sets the clock
    55 00  version, ...: the information, see `Info`
    55 02  u8, seconds u8: a measurement is going on
    55 03  YY MM DD hh mm, u8, mg/dL u16: a result; 707 is HI and 18 is LO
    55 05  u8: there are no more results (04, without data, in protocol 1)

``sum`` is that of all before it, modulo 256, and something that differs: with
the meter's firmware, and with the category. The host adds 2, but nothing to the
handshake. In protocol 1 it has 3 bytes, is not shortened, and takes the glucose
value and the serial number for one number each; its host's frames are not known
for certain, and can't be made here.

HI and LO are from one implementation, whose numbers are those in the published
frames of two others.
"""

from dataclasses import dataclass
from enum import IntEnum

from protocols.crc import sum8
from protocols.cursor import Cursor
from protocols.errors import DecodeError, Fault
from protocols.gatt.time import DateTime
from protocols.kinds import PayloadKind, Shown
from protocols.stream import Frames

_HOST, _METER = 0x5A, 0x55
_ADDED_BY_HOST = 2
HIGH, LOW = 707, 18  # mg/dL, as which a meter tells HI and LO
_SMALLEST = 4


class Category(IntEnum):
    """What a frame is about."""

    INFO = 0x00
    COUNTDOWN = 0x02
    RESULT = 0x03
    END_1 = 0x04
    END = 0x05
    HANDSHAKE = 0x09


# What is seen to be added, by category. The fewer, the more the sum can tell.
_ADDED: dict[int, tuple[int, ...]] = {
    Category.INFO: (0, 2, 4),
    Category.RESULT: (0, 2),
    Category.END_1: (0, 2),
    Category.END: (0, 2),
}
_ADDED_ELSE = (0, 1, 2, 4)
# Protocol 1: how many of the last bytes before the sum are one number.
_ONE_NUMBER: dict[int, int] = {Category.INFO: 3, Category.RESULT: 2}
_PACKETS: dict[int, str] = {
    Category.INFO: "info",
    Category.COUNTDOWN: "timing",
    Category.RESULT: "result",
    Category.END_1: "end",
    Category.END: "end",
    Category.HANDSHAKE: "handshake",
}


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of the meter, without what delimits it.

    Attributes:
        category: What it is about, 0 to 255; `Category` names those known.
        data: What it says, 0 to 251 bytes.
        added: What its sum has too much.
    """

    category: int
    data: bytes
    added: int

    def encode(self) -> bytes:
        """Return the frame as it came, of protocol 2, 3.1 or 3.2."""
        return _frame(_METER, self.category, self.data, self.added)


@dataclass(frozen=True, slots=True)
class Info:
    """The meter's information.

    Attributes:
        version: Of its protocol; 1, or 32 for 3.2, and 42 of unknown meaning.
        serial: Its serial number: as text where it is text, else in hexadecimal
            digits; empty in protocols 2 and 3.1, which tell a number that may
            change instead.
        battery: In percent; None where protocol and layout do not tell.
    """

    version: int
    serial: str
    battery: int | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """One stored result.

    Attributes:
        time: The meter's clock, without seconds.
        raw: The number sent, 0 to 65535.
        mg_per_dl: The same; None if above or below what the meter measures.
        above_range: The meter showed HI.
        below_range: The meter showed LO.
    """

    time: DateTime
    raw: int
    mg_per_dl: int | None
    above_range: bool = False
    below_range: bool = False


def handshake() -> bytes:
    """Return the frame that greets the meter."""
    return _frame(_HOST, Category.HANDSHAKE, b"", 0)


def ask_info(now: DateTime) -> bytes:
    """Return the frame that asks for the information, and sets the clock.

    Args:
        now: What the clock is set to, a date of the years 2000 to 2255.
    """
    return _frame(_HOST, Category.INFO, _time(now), _ADDED_BY_HOST)


def ask_result(now: DateTime) -> bytes:
    """Return the frame that asks for the next result, and sets the clock.

    Args:
        now: As of `ask_info`.
    """
    return _frame(_HOST, Category.RESULT, _time(now), _ADDED_BY_HOST)


def decode_frame(data: bytes, *, added: int | None = None) -> Frame:
    """Read one whole frame of a meter of protocol 2, 3.1 or 3.2.

    Args:
        data: The frame.
        added: What this meter is known to add to the sum of such frames; without
            it, every number that was seen is taken, and some damage is missed.

    Raises:
        DecodeError: ``data`` is cut short, too long, or damaged.
    """
    with Cursor("Bioland frame", data) as read:
        category, length = _head(read)
        carried = read.take(length - _SMALLEST, "data")
        found = read.u8("sum") - sum8(data[: length - 1]) & 0xFF
        if found not in (
            _ADDED.get(category, _ADDED_ELSE) if added is None else (added,)
        ):
            problem = f"is {found} more than the frame's"
            raise read.error("sum", problem, Fault.BAD_CHECKSUM, size=1)
    return Frame(category, carried, found)


def decode_frame_1(data: bytes) -> Frame:
    """Read one whole frame of a meter of protocol 1.

    Raises:
        DecodeError: ``data`` is cut short, too long, or damaged.
    """
    with Cursor("Bioland frame", data) as read:
        category, length = _head(read)
        if length < _SMALLEST + 2:
            problem = f"is {length}, below the 6 of an empty frame"
            raise read.error("length", problem, Fault.BAD_LENGTH, size=2)
        carried = read.take(length - _SMALLEST - 2, "data")
        size = min(_ONE_NUMBER.get(category, 0), len(carried))
        single, number = data[: length - 3 - size], data[length - 3 - size : length - 3]
        right = sum(single) + int.from_bytes(number, "little")
        found = read.u24("sum") - right
        if found not in _ADDED.get(category, _ADDED_ELSE):
            problem = f"is {found} more than the frame's"
            raise read.error("sum", problem, Fault.BAD_CHECKSUM, size=3)
    return Frame(category, carried, found)


def decoder() -> Frames[Frame]:
    """Return what makes frames of a stream of bytes of protocol 2, 3.1 or 3.2."""
    return Frames(bytes([_METER]), _size, decode_frame)


def decode_info(data: bytes) -> Info:
    """Read the data of the information.

    Of 10 bytes it is protocol 1 (version, client, model, type, user, year, month
    of make, serial number of 3), of 11 protocol 2 or 3.1 (version, client, model,
    type, u8, battery, rolling code of 5), of 14 protocol 3.2 (version, client, battery,
    type, model, serial number of 9).

    Raises:
        DecodeError: ``data`` has another length.
    """
    with Cursor("Bioland information", data) as read:
        version = read.u8("version")
        read.u8("client")
        match len(data):
            case 10:
                read.take(5, "model to month")
                return Info(version, _text(read.take(3, "serial number")))
            case 11:
                read.take(3, "model to unused")
                battery = read.u8("battery")
                read.take(5, "rolling code")
                return Info(version, "", battery)
            case 14:
                battery = read.u8("battery")
                read.take(2, "type and model")
                return Info(version, _text(read.take(9, "serial number")), battery)
            case size:
                problem = f"of {size} bytes belong to no known protocol"
                raise read.error("fields", problem, Fault.BAD_LENGTH)


def decode_countdown(data: bytes) -> int:
    """Read the data of a countdown; return the seconds left.

    Raises:
        DecodeError: ``data`` has not 2 bytes.
    """
    with Cursor("Bioland countdown", data) as read:
        read.u8("unused")
        return read.u8("seconds")


def decode_result(data: bytes) -> Result:
    """Read the data of a result.

    Raises:
        DecodeError: ``data`` has not 8 bytes.
    """
    with Cursor("Bioland result", data) as read:
        year, month, day, hour, minute = read.take(5, "time")
        read.u8("unused")
        raw = read.u16("glucose")
    time = DateTime(2000 + year, month, day, hour, minute, 0)
    above, below = raw == HIGH, raw == LOW
    return Result(time, raw, None if above or below else raw, above, below)


def _head(read: Cursor) -> tuple[int, int]:
    if (start := read.u8("start")) != _METER:
        problem = f"is {start:#04x}, not 0x55"
        raise read.error("start", problem, Fault.BAD_HEADER, size=1)
    length = read.u8("length")
    if length < _SMALLEST:
        problem = f"is {length}, below the {_SMALLEST} of an empty frame"
        raise read.error("length", problem, Fault.BAD_LENGTH, size=1)
    return read.u8("category"), length


def _frame(start: int, category: int, data: bytes, added: int) -> bytes:
    body = bytes([start, len(data) + _SMALLEST, category]) + data
    return body + bytes([sum8(body) + added & 0xFF])


def _time(now: DateTime) -> bytes:
    return bytes([now.year - 2000, *now[1:]])


def _text(raw: bytes) -> str:
    text = raw.rstrip(b"\0 ")
    if text.isascii() and text.decode("ascii").isprintable():
        return text.decode("ascii")
    return raw.hex()


def _size(data: bytes) -> int:
    if len(data) < 2:
        return 2
    return data[1] if data[1] >= _SMALLEST else 0


def _show_frame(payload: bytes, *, version: str = "2") -> Shown:
    frame = decode_frame_1(payload) if version == "1" else decode_frame(payload)
    shown: Shown = {
        "category": frame.category,
        "packet": _PACKETS.get(frame.category, "unknown"),
        "checksum_offset": frame.added,
    }
    try:
        return shown | _show_data(frame)
    except DecodeError as error:
        raise DecodeError(
            error.what,
            error.field,
            error.problem,
            payload,
            error.offset + 3,
            error.fault,
        ) from error


def _show_data(frame: Frame) -> Shown:
    match frame.category:
        case Category.INFO:
            info = decode_info(frame.data)
            shown: Shown = {"version": info.version, "serial_number": info.serial}
            return shown | ({} if info.battery is None else {"battery": info.battery})
        case Category.COUNTDOWN:
            return {"seconds": decode_countdown(frame.data)}
        case Category.RESULT:
            return _show_result(decode_result(frame.data))
    return {}


def _show_result(result: Result) -> Shown:
    shown: Shown = {
        "timestamp": str(result.time)[:-3],  # it has no seconds to show
        "glucose_raw": result.raw,
    }
    if result.time.moment is None:
        shown["timestamp_valid"] = False
    if result.mg_per_dl is None:
        limit = "above_range" if result.above_range else "below_range"
        return shown | {"limit": limit}
    return shown | {"mg_per_dl": result.mg_per_dl}


KINDS = {"bioland.frame": PayloadKind(_show_frame, {"version": ("1", "2")})}

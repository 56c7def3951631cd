"""GlucoMen Areo and GlucoFix Tech GK: blocks of text.

Source: field notes on the GlucoMen Areo and the GlucoFix Tech GK, checked
against captured blocks (docs/reference/sources.md).

    '[' CR LF | lines, each CR LF | checksum, 2 hex digits, CR LF | ']' CR LF

``checksum`` is CRC-8/MAXIM of all bytes before it, in upper case. Where nothing
is stored, 90 3D stands for lines and checksum. The host asks with one byte:

    A2  information    digits,digits,digits,serial number,version
    80  glucose        Glu,value,unit,marking,yymmdd,hhmm
    A8  ketone         Ket,value,unit,marking,yymmdd,hhmm
    C2 A1, a block     sets the clock by its line yymmddhhmm; answered by P or F

Fields may be filled up with blanks. A value is in the unit of its line, or HI or
LO. Markings: 00 none, 01 check mark, 02 before and 04 after a meal, 08 exercise.
There is no question for the clock. What the first three fields of the
information mean is not known.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from re import compile as pattern
from typing import TypeAlias

from protocols.crc import maxim8
from protocols.cursor import Cursor
from protocols.errors import DecodeError, Fault
from protocols.gatt.time import DateTime
from protocols.kinds import PayloadKind, Shown
from protocols.stream import Damaged, Frames

GLUCOSE, KETONE = "Glu", "Ket"
UNITS = ("mg/dL", "mmol/L")

_START, _END = b"[\r\n", b"\r\n]\r\n"
_REPLIES = b"PF"
_AWAITED = pattern(rb"[\[PF]")  # what may begin behind noise
_NOTHING = b"\x90\x3d"
_LONGEST = 1 << 16  # bytes; thrice what the largest memory needs
_WHAT = "GlucoMen block"
_VALUE = pattern(rb"\d{1,4}(\.\d{1,2})?")


class Reply(StrEnum):
    """What answers `set_clock`."""

    DONE = "P"
    FAILED = "F"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a block.

    Attributes:
        text: The line without its CR LF.
        offset: Where in the block it stands.
    """

    text: bytes
    offset: int


@dataclass(frozen=True, slots=True)
class Block:
    """One block whose checksum is right; no lines where nothing is stored."""

    data: bytes
    lines: tuple[Line, ...]


Message: TypeAlias = Block | Reply | Damaged


@dataclass(frozen=True, slots=True)
class Information:
    """Which meter it is; the fields as they were sent, without blanks."""

    serial: str
    version: str


@dataclass(frozen=True, slots=True)
class Reading:
    """One stored result.

    Attributes:
        test: ``Glu`` or ``Ket``.
        value: In ``unit``; None if above or below what the meter measures.
        unit: ``mg/dL`` or ``mmol/L``.
        marking: Two digits.
        time: The meter's clock; it has no seconds.
        above_range: The meter showed HI.
        below_range: The meter showed LO.
        line: The line it was read from.
    """

    test: str
    value: Decimal | None
    unit: str
    marking: str
    time: DateTime
    above_range: bool
    below_range: bool
    line: bytes


def ask_information() -> bytes:
    """Return what asks for the information."""
    return b"\xa2"


def ask_glucose() -> bytes:
    """Return what asks for the glucose results."""
    return b"\x80"


def ask_ketone() -> bytes:
    """Return what asks for the ketone results."""
    return b"\xa8"


def set_clock(clock: DateTime) -> bytes:
    """Return what sets the clock.

    Args:
        clock: Local time of 2000 to 2099; its seconds are left out.

    Raises:
        ValueError: It is another century's, or no moment.
    """
    if clock.moment is None or clock.year // 100 != 20:
        raise ValueError(f"{clock} can't be set")
    date = f"{clock.year % 100:02}{clock.month:02}{clock.day:02}"
    body = _START + f"{date}{clock.hour:02}{clock.minute:02}\r\n".encode("ascii")
    return b"\xc2\xa1" + body + b"%02X" % maxim8(body) + _END


def decode_block(data: bytes) -> Block:
    """Read one whole block.

    Raises:
        DecodeError: ``data`` is cut short, too long, or damaged.
    """
    with Cursor(_WHAT, data) as read:
        if (start := read.take(len(_START), "start")) != _START:
            problem = f"is {start!r}, not '[' CR LF"
            raise read.error("start", problem, Fault.BAD_HEADER, size=len(_START))
        end = data.find(_END, len(_START))
        if end < 0:
            read.rest()
            raise read.error("end", "is missing", Fault.TRUNCATED)
        *texts, checksum = data[len(_START) : end].split(b"\r\n")
        if checksum == _NOTHING and not texts:
            read.take(len(_NOTHING + _END), "empty")
            return Block(data, ())
        body = data[: end - len(checksum)]
        lines = tuple(_lines(texts))
        read.take(len(body) - len(_START), "lines")
        read.take(len(checksum), "checksum")
        if checksum != (right := b"%02X" % maxim8(body)):
            problem = f"is {checksum!r}, the block's is {right!r}"
            size = len(checksum)
            raise read.error("checksum", problem, Fault.BAD_CRC, size=size)
        read.take(len(_END), "end")
    # One of two sources has a checksum behind the mark of nothing.
    return Block(data, () if texts == [_NOTHING] else lines)


def decode_information(block: Block) -> Information:
    """Read the answer to `ask_information`.

    Raises:
        DecodeError: ``block`` is no such answer.
    """
    if len(block.lines) != 1:
        raise _error(block, "lines", f"are {len(block.lines)}, not one", 0)
    line = block.lines[0]
    fields = _fields(block, line)
    if len(fields) != 5:
        raise _error(block, "columns", f"are {len(fields)}, not 5", line.offset)
    return Information(fields[3].decode("ascii"), fields[4].decode("ascii"))


def decode_readings(block: Block) -> Iterator[Reading | DecodeError]:
    """Read the answer to `ask_glucose` or `ask_ketone`, in the meter's order.

    Yields:
        A reading for each line, or what is wrong with the line.
    """
    for line in block.lines:
        try:
            yield _reading(block, line)
        except DecodeError as error:
            yield error


def decoder() -> Frames[Message]:
    """Return what makes blocks and single characters of a stream of bytes."""
    return Frames(b"", _size, _event)


def _size(data: bytes) -> int:
    """Return how many of the first bytes belong together."""
    if data[0] in _REPLIES:
        return 1
    start = _AWAITED.search(data, 1)
    until = start.start() if start else len(data)
    if not data.startswith(_START[: len(data)]):
        return until
    end, other = data.find(_END), data.find(_START, 1)
    if other > 0 and (end < 0 or other < end):
        return other  # a block was broken off, and another one begins
    if end >= 0:
        return end + len(_END)
    return len(data) + 1 if len(data) < _LONGEST else until


def _event(data: bytes) -> Message:
    if data[0] in _REPLIES:
        return Reply(data.decode("ascii"))
    if not data.startswith(_START):
        return Damaged(data, "noise")
    try:
        return decode_block(data)
    except DecodeError as error:
        return Damaged(data, error.fault)


def _lines(texts: list[bytes]) -> Iterator[Line]:
    offset = len(_START)
    for text in texts:
        yield Line(text, offset)
        offset += len(text) + 2


def _reading(block: Block, line: Line) -> Reading:
    fields = _fields(block, line)
    if len(fields) != 6:
        raise _error(block, "columns", f"are {len(fields)}, not 6", line.offset)
    test, value, unit, marking, date, time = fields
    if test.decode() not in (GLUCOSE, KETONE):
        raise _error(block, "test", f"is {test!r}, neither Glu nor Ket", line.offset)
    if unit.decode() not in UNITS:
        problem = f"is {unit!r}, neither {' nor '.join(UNITS)}"
        raise _error(block, "unit", problem, line.offset)
    is_number = _VALUE.fullmatch(value) is not None
    if not is_number and value not in (b"HI", b"LO"):
        problem = f"is {value!r}, neither a number nor HI nor LO"
        raise _error(block, "value", problem, line.offset)
    if len(marking) != 2 or not marking.isdigit():
        raise _error(block, "marking", f"is {marking!r}, not 2 digits", line.offset)
    stamp = date + time
    if len(date) != 6 or len(time) != 4 or not stamp.isdigit():
        problem = f"is {date!r} {time!r}, not 6 and 4 digits"
        raise _error(block, "time", problem, line.offset)
    year, *parts = (int(stamp[at : at + 2]) for at in range(0, 10, 2))
    month, day, hour, minute = parts
    return Reading(
        test=test.decode(),
        value=Decimal(value.decode()) if is_number else None,
        unit=unit.decode(),
        marking=marking.decode(),
        time=DateTime(2000 + year, month, day, hour, minute, 0),
        above_range=value == b"HI",
        below_range=value == b"LO",
        line=line.text,
    )


def _fields(block: Block, line: Line) -> list[bytes]:
    if not line.text.isascii():
        raise _error(block, "line", "is not ASCII", line.offset)
    return [field.strip(b" ") for field in line.text.split(b",")]


def _error(block: Block, field: str, problem: str, offset: int) -> DecodeError:
    return DecodeError(_WHAT, field, problem, block.data, offset, Fault.BAD_FIELD)


def _show_reading(reading: Reading) -> Shown:
    limit = "HI" if reading.above_range else "LO"
    return {
        "type": reading.test,
        "value": limit if reading.value is None else str(reading.value),
        "unit": reading.unit,
        "marking": reading.marking,
        "timestamp": str(reading.time).removesuffix(":00"),
    }


def _show_text(payload: bytes) -> Shown:
    block = decode_block(payload)
    if len(block.lines) == 1 and block.lines[0].text.split(b",")[0].isdigit():
        information = decode_information(block)
        return {"serial": information.serial, "version": information.version}
    return {"readings": [_show_reading(_reading(block, at)) for at in block.lines]}


KINDS = {"glucomen.text": PayloadKind(_show_text)}

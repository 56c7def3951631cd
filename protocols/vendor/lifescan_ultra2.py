"""LifeScan OneTouch Ultra2: lines of ASCII text.

Source: field notes on the OneTouch Ultra2's text protocol, checked against the
lines published with them (docs/reference/sources.md).

    0x11 CR command CR            what the host sends
    body SP checksum CR LF        what the meter answers, line by line

``checksum`` is four upper-case hex digits, the sum of the body's bytes modulo
65536. A line that ends with CR alone is read too.

    DM?     ?P02.00.00 30/08/06                  version
    DM@     @ "ABCDEFGHY"                        serial number; Y is an Ultra2
    DMF     F "SAT","03/21/15","16:45:24   "     clock, month first
    DMT     T "SAT","03/21/15","16:45:24   "     the same, newly set
    DMSU?   SU?,"MG/DL "                         what the display shows
    DMP     P 001,"ABCDEFGHY","MG/DL "           how many records follow
            P "SAT","03/21/15","16:45:24   ","  081 ","N","03", 00

A record's six characters of value are ``C`` for control solution or a blank, a
blank, three digits, and ``?`` for a value damaged in the meter's memory or a
blank. The digits are mg/dL whatever the display shows; above 600 it showed HI,
below 20 LO. Behind them stand the meal's letter and the comment's number.

Other models are said to send ``HIGH`` and ``LOW`` in the digits' place; nobody
confirms it, so that is refused. DMZ erases the memory and is not offered.
"""

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from protocols.crc import sum16
from protocols.errors import DecodeError, Fault
from protocols.gatt.time import DateTime
from protocols.kinds import PayloadKind, Shown
from protocols.stream import Damaged, Lines

HIGHEST, LOWEST = 600, 20  # mg/dL; what lies beyond was shown as HI or LO

MEALS = {"N": "none", "B": "preprandial", "A": "postprandial"}
COMMENTS = {
    0: "none",
    1: "not_enough_food",
    2: "too_much_food",
    3: "mild_exercise",
    4: "hard_exercise",
    5: "medication",
    6: "stress",
    7: "illness",
    8: "feel_hypo",
    9: "menses",
    10: "vacation",
    11: "other",
}

_LINE = re.compile(rb"(.*) ([0-9A-F]{4})\r\n?", re.DOTALL)
_CLOCK = r'"[A-Z]{3}","(\d\d/\d\d/\d\d)","(\d\d:\d\d:\d\d)   "'
_SET_CLOCK = re.compile(rf"[FT] {_CLOCK}", re.ASCII)
_SERIAL = re.compile(r'@ "([^"]{9})"', re.ASCII)
_UNIT = re.compile(r'SU\?,"(MG/DL |MMOL/L)"', re.ASCII)
_HEADER = re.compile(r'P (\d{3}),"([^"]{9})","(MG/DL |MMOL/L)"', re.ASCII)
_RECORD = re.compile(
    rf'P {_CLOCK},"([ C]) (\d\d\d)([ ?])","([NBA])","(\d\d)", 00', re.ASCII
)


@dataclass(frozen=True, slots=True)
class Version:
    """The answer to `ask_version`."""

    text: str


@dataclass(frozen=True, slots=True)
class SerialNumber:
    """The answer to `ask_serial_number`: nine characters, the last one Y."""

    text: str


@dataclass(frozen=True, slots=True)
class Clock:
    """The answer to `ask_clock` and `set_clock`: the meter's local time."""

    time: DateTime


@dataclass(frozen=True, slots=True)
class DisplayUnit:
    """The answer to `ask_unit`: what the display shows, never what is sent."""

    unit: str


@dataclass(frozen=True, slots=True)
class DumpHeader:
    """The first line of a dump.

    Attributes:
        count: How many records follow, 0 to 999.
        serial: The meter's serial number.
        unit: What the display shows, never what is sent.
    """

    count: int
    serial: str
    unit: str


@dataclass(frozen=True, slots=True)
class Record:
    """One stored result.

    Attributes:
        time: The meter's clock, local time.
        mg_per_dl: 0 to 999; beyond 20 to 600 it stands for LO or HI.
        is_control: Control solution was measured, and no person.
        is_damaged: The meter's memory lost the value: not to be used.
        meal: One of `MEALS`' letters.
        comment: One of `COMMENTS`' numbers, or an unknown one.
    """

    time: DateTime
    mg_per_dl: int
    is_control: bool
    is_damaged: bool
    meal: str
    comment: int


@dataclass(frozen=True, slots=True)
class Unknown:
    """A line that is whole and of no known form."""

    body: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A line that came whole, and is not of the form that it begins like."""

    problem: str


Line: TypeAlias = (
    Version | SerialNumber | Clock | DisplayUnit | DumpHeader | Record | Unknown
)


def ask_version() -> bytes:
    """Return what asks for the version."""
    return _command("DM?")


def ask_serial_number() -> bytes:
    """Return what asks for the serial number."""
    return _command("DM@")


def ask_clock() -> bytes:
    """Return what asks for the clock."""
    return _command("DMF")


def ask_unit() -> bytes:
    """Return what asks for the unit of the display."""
    return _command("DMSU?")


def ask_dump() -> bytes:
    """Return what asks for all records, newest first."""
    return _command("DMP")


def set_clock(moment: datetime) -> bytes:
    """Return what sets the clock; the answer is a `Clock` that shows it.

    Args:
        moment: Local time of 2000 to 2099; its zone and fraction are left out.

    Raises:
        ValueError: The year does not fit into two digits.
    """
    if not 2000 <= moment.year <= 2099:
        raise ValueError(f"the meter knows 2000 to 2099, not {moment.year}")
    return _command(f"DMT{moment:%m/%d/%y %H:%M:%S}")


def decode_line(data: bytes) -> Line:
    """Read one line, its end included.

    Raises:
        DecodeError: ``data`` is cut short, damaged, or of a known form and wrong.
    """
    return _parse(_body(data), data)


@dataclass(frozen=True, slots=True)
class Received:
    """A line out of a stream, and the bytes it was read from."""

    line: Line | Unreadable
    raw: bytes


class Decoder:
    """A byte stream in, lines out, as `protocols.stream.Lines`.

    A line says nowhere that it begins, so one behind noise is looked for by what
    it may begin with; its sum then tells it from a chance.
    """

    def __init__(self) -> None:
        self._lines = Lines(b"\n", bytes)

    def feed(self, data: bytes) -> list[Received | Damaged]:
        """Add received bytes; return everything they complete, in order."""
        return self._read(self._lines.feed(data))

    def resync(self) -> list[Received | Damaged]:
        """Give up on the line being waited for."""
        return self._read(self._lines.resync())

    def _read(self, events: list[bytes | Damaged]) -> list[Received | Damaged]:
        read: list[Received | Damaged] = []
        for event in events:
            read += [event] if isinstance(event, Damaged) else _find(event)
        return read


def _find(data: bytes) -> list[Received | Damaged]:
    try:
        return [Received(decode_line(data), data)]
    except DecodeError as error:
        if error.fault == Fault.BAD_FIELD:
            return [Received(Unreadable(str(error)), data)]
        fault = error.fault
    for at in range(1, len(data)):
        with suppress(DecodeError):
            line = decode_line(data[at:])
            if not isinstance(line, Unknown):
                return [Damaged(data[:at], "noise"), Received(line, data[at:])]
    return [Damaged(data, fault)]


def _command(text: str) -> bytes:
    return b"\x11\r" + text.encode("ascii") + b"\r"


def _body(data: bytes) -> str:
    end = data.find(b"\r")
    if end < 0:
        raise _error(data, "end", "is missing", Fault.TRUNCATED, at=len(data))
    size = end + 2 if data[end + 1 : end + 2] == b"\n" else end + 1
    if size < len(data):
        raise _error(data, "end", "is not the last", Fault.BAD_LENGTH, at=size)
    if (found := _LINE.fullmatch(data)) is None:
        at = max(0, end - 4)
        raise _error(data, "checksum", "is missing", Fault.MISSING_CHECKSUM, at=at)
    body, sent = found[1], int(found[2], 16)
    if (right := sum16(body)) != sent:
        problem = f"is {sent:04X}, the line's is {right:04X}"
        raise _error(data, "checksum", problem, Fault.BAD_CHECKSUM, at=found.start(2))
    try:
        return body.decode("ascii")
    except UnicodeDecodeError as error:
        raise _error(data, "body", "is not ASCII", at=error.start) from error


def _parse(body: str, data: bytes) -> Line:
    for begin, read in _FORMS:
        if body.startswith(begin):
            return read(body, data)
    return Unknown(body)


def _version(body: str, _data: bytes) -> Version:
    return Version(body[1:].strip())


def _serial_number(body: str, data: bytes) -> SerialNumber:
    if (found := _SERIAL.fullmatch(body)) is None:
        raise _error(data, "serial number", "is not nine characters", at=2)
    return SerialNumber(_ending_in_y(found[1], data, at=3))


def _clock(body: str, data: bytes) -> Clock:
    if (found := _SET_CLOCK.fullmatch(body)) is None:
        raise _error(data, "clock", "is not of the known form", at=2)
    return Clock(_date_time(found[1], found[2]))


def _unit(body: str, data: bytes) -> DisplayUnit:
    if (found := _UNIT.fullmatch(body)) is None:
        raise _error(data, "unit", "is neither MG/DL nor MMOL/L", at=4)
    return DisplayUnit(found[1].strip())


def _header(body: str, data: bytes) -> DumpHeader:
    if (found := _HEADER.fullmatch(body)) is None:
        raise _error(data, "dump header", "is not of the known form", at=2)
    serial = _ending_in_y(found[2], data, at=7)
    return DumpHeader(int(found[1]), serial, found[3].strip())


def _record(body: str, data: bytes) -> Record:
    if (found := _RECORD.fullmatch(body)) is None:
        raise _error(data, "record", "is not of the known form", at=2)
    date, time, solution, digits, parity, meal, comment = found.groups()
    return Record(
        time=_date_time(date, time),
        mg_per_dl=int(digits),
        is_control=solution == "C",
        is_damaged=parity == "?",
        meal=meal,
        comment=int(comment),
    )


def _ending_in_y(text: str, data: bytes, *, at: int) -> str:
    if not text.endswith("Y"):
        raise _error(data, "serial number", "does not end in Y", at=at + 8)
    return text


def _date_time(date: str, time: str) -> DateTime:
    month, day, year = map(int, date.split("/"))
    hour, minute, second = map(int, time.split(":"))
    return DateTime(2000 + year, month, day, hour, minute, second)


def _error(
    data: bytes, field: str, problem: str, fault: Fault = Fault.BAD_FIELD, *, at: int
) -> DecodeError:
    return DecodeError("Ultra2 line", field, problem, data, at, fault)


_FORMS: tuple[tuple[str, Callable[[str, bytes], Line]], ...] = (
    ("?", _version),
    ("@", _serial_number),
    ("F ", _clock),
    ("T ", _clock),
    ("SU?", _unit),
    ('P "', _record),
    ("P ", _header),
)


def _show_line(payload: bytes) -> Shown:
    line = decode_line(payload)
    body = _body(payload)
    checksum = f"0x{sum16(body.encode()):04X}"
    shown: Shown = {"line": "unknown", "message": body, "checksum": checksum}
    match line:
        case Version(text):
            shown |= {"line": "version", "version": text}
        case SerialNumber(text):
            shown |= {"line": "serial_number", "serial": text}
        case Clock(time):
            shown |= {"line": "clock", "datetime": str(time)}
        case DisplayUnit(unit):
            shown |= {"line": "unit", "unit": unit}
        case DumpHeader(count, serial, unit):
            shown |= {"line": "dump_header", "count": count}
            shown |= {"serial": serial, "unit": unit}
        case Record():
            shown |= {"line": "record", **_show_record(line)}
    return shown


def _show_record(record: Record) -> Shown:
    return {
        "timestamp": str(record.time),
        "mg_per_dl": record.mg_per_dl,
        "above_range": record.mg_per_dl > HIGHEST,
        "below_range": record.mg_per_dl < LOWEST,
        "control_solution": record.is_control,
        "memory_error": record.is_damaged,
        "meal_code": record.meal,
        "meal": MEALS[record.meal],
        "comment_code": record.comment,
        "comment": COMMENTS.get(record.comment, "reserved"),
    }


KINDS = {"lifescan.ultra2_line": PayloadKind(_show_line)}

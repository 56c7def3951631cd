"""Omron HBP-9030 and HBP-9031C: the lines that the clinic's cuff sends.

Source: field notes on the HBP-9030's format 5, which its settings item 32
chooses (docs/reference/sources.md).

    YYYY,MM,DD,hh,mm,<20 characters>,e,SSS,DDD,PPP,m

53 characters, then CR LF, which `decode_line` must not get. The 20 characters
name the person measured; they are personal data and belong in no log. ``e`` is
an error's number, 0 is none; with an error the three values are blanks, or
figures that must not be used. ``m`` counts movements of the body.
"""

from dataclasses import dataclass
from typing import NoReturn

from protocols.cursor import Cursor
from protocols.errors import DecodeError, Fault
from protocols.gatt.time import DateTime
from protocols.kinds import PayloadKind, Shown
from protocols.stream import Lines

_WHAT = "HBP-9030 line"
_SIZE = 53
_COMMAS = (4, 7, 10, 13, 16, 37, 39, 43, 47, 51)
END = b"\r\n"
_OTHER_FORMATS = (b"MMBP203N", b"ID", b"bp,")
_BLANK = b"   "
_DIGITS = frozenset(b"0123456789")
_PRINTABLE = frozenset(range(0x20, 0x7F))
# What the cuff is able to measure: systolic and diastolic in mmHg, pulse.
_RANGES = (range(60, 261), range(30, 216), range(40, 181))


@dataclass(frozen=True, slots=True)
class Line:
    """One measurement, or the failure of one.

    Attributes:
        time: The cuff's clock; it sends no seconds, which stand here as 0.
        subject: The person's number, 20 characters, blanks too. Not shown by
            ``repr``, for that is what a log would get.
        error: 0, or 1 to 9 by the cuff's manual.
        vitals: Systolic and diastolic in mmHg, pulse per minute; None if
            ``error`` is not 0.
        movements: 0 to 9.
    """

    time: DateTime
    subject: str
    error: int
    vitals: tuple[int, int, int] | None
    movements: int

    def __repr__(self) -> str:
        return f"Line({self.time}, {self.error}, {self.vitals}, {self.movements})"


def decode_line(line: bytes) -> Line:
    """Read one line, without its CR LF.

    Raises:
        DecodeError: ``line`` is cut short, too long, of another format, or a
            field of it is not what the format allows.
    """
    read = Cursor(_WHAT, line)
    if line.startswith(_OTHER_FORMATS):
        problem = "is that of another format; set the cuff's item 32 to 5"
        raise read.error("start", problem, Fault.UNSUPPORTED_FORMAT)
    _check_size(read, len(line))
    for at in _COMMAS:
        if line[at] != ord(","):
            _refuse(line, "separator", "is no comma", at, Fault.BAD_FRAME)
    subject = line[17:37]
    if not _PRINTABLE.issuperset(subject):
        _refuse(line, "subject", "is not 20 printable characters", 17)
    time = DateTime(
        _number(line, 0, 4, "year"),
        _number(line, 5, 7, "month"),
        _number(line, 8, 10, "day"),
        _number(line, 11, 13, "hour"),
        _number(line, 14, 16, "minute"),
        0,
    )
    error = _number(line, 38, 39, "error")
    vitals = _vitals(line, is_failed=error != 0)
    movements = _number(line, 52, 53, "movements")
    if time.moment is None:
        _refuse(line, "time", f"is {time}, which is none", 0, Fault.BAD_DATE)
    return Line(time, subject.decode("ascii"), error, vitals, movements)


def lines() -> Lines[bytes]:
    """Return what cuts whole lines out of a stream of bytes, with their ends.

    A line of another size is `Damaged`, unless it is one of another format, which
    somebody must be told of.
    """
    return Lines(END, _whole)


def _whole(line: bytes) -> bytes:
    if not line.startswith(_OTHER_FORMATS):
        _check_size(Cursor(_WHAT, line), len(line) - len(END))
    return line


def _check_size(read: Cursor, size: int) -> None:
    if size != _SIZE:
        raise read.error("length", f"is {size}, not {_SIZE}", Fault.BAD_LENGTH)


def _vitals(line: bytes, *, is_failed: bool) -> tuple[int, int, int] | None:
    if is_failed and line[40:51] == b",".join([_BLANK] * 3):
        return None
    systolic = _number(line, 40, 43, "systolic")
    diastolic = _number(line, 44, 47, "diastolic")
    pulse = _number(line, 48, 51, "pulse")
    if is_failed:
        return None
    vitals = systolic, diastolic, pulse
    names = ("systolic", "diastolic", "pulse")
    for at, name, value, known in zip(
        (40, 44, 48), names, vitals, _RANGES, strict=True
    ):
        if value not in known:
            problem = f"is {value}, not {known[0]} to {known[-1]}"
            _refuse(line, name, problem, at, Fault.OUT_OF_RANGE)
    return vitals


def _number(line: bytes, start: int, end: int, field: str) -> int:
    raw = line[start:end]
    if not _DIGITS.issuperset(raw):
        _refuse(line, field, f"is not {end - start} digits", start)
    return int(raw)


def _refuse(
    line: bytes, field: str, problem: str, at: int, fault: Fault = Fault.BAD_FIELD
) -> NoReturn:
    raise DecodeError(_WHAT, field, problem, line, at, fault)


def _show_line(payload: bytes) -> Shown:
    seen = decode_line(payload)
    if seen.vitals is None:
        problem = f"is {seen.error}: the measurement failed"
        _refuse(payload, "error", problem, 38, Fault.DEVICE_ERROR)
    systolic, diastolic, pulse = seen.vitals
    return {
        "timestamp": str(seen.time).removesuffix(":00"),
        "subject_id": seen.subject,
        "systolic": systolic,
        "diastolic": diastolic,
        "pulse": pulse,
        "movement_count": seen.movements,
    }


KINDS = {"omron.hbp9030_line": PayloadKind(_show_line)}

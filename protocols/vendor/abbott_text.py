r"""Abbott FreeStyle Lite and Optium families: the text on their serial cables.

FreeStyle Lite, Freedom Lite and Mini answer ``mem``; FreeStyle Optium and
Precision Xtra answer commands that begin with ``$``.

Source: field notes on both families and their public readers, checked against
the clock lines of one (docs/reference/sources.md).

    mem, $xmem   CR LF, serial CR LF, version CR LF, clock CR LF,
                 number of results in 3 digits CR LF, results, 0xhhhh  END
    empty        the same up to the clock, then Log Empty END, without checksum
    clock        Mon  dd yyyy hh:mm:ss
    result       vvv  Mon  dd yyyy hh:mm tt 0xff CR LF
    $colq        lines of a label, tab, values, up to CMD OK; no checksum

The checksum is the sum of all bytes before it, modulo 65536. Blank lines may
stand between the others. A month has four characters: three letters and a blank,
but June and July; the clock of $colq has three and two blanks. A value is three
digits, HI or LO, always in mg/dL; of ketone (tt is K) in eighteenths of a mmol/L.
The tt of the Lite family is its plasma type, what that means is not known.

The flags ff are known from one public reader only: bit 0 control solution, bit 1
the clock was lost. A result with another bit is refused, for nobody knows what it
means. Neither do the notes say that results come newest first; nothing relies on it.
"""

import re
from dataclasses import dataclass
from decimal import Decimal
from enum import IntFlag

from protocols.crc import sum16
from protocols.cursor import Cursor
from protocols.errors import DecodeError, Fault
from protocols.gatt.time import DateTime
from protocols.kinds import PayloadKind, Shown
from protocols.stream import Frames, Lines

ASK_MEMORY_LITE = b"mem"
ASK_MEMORY = b"$xmem\r\n"
ASK_INFORMATION = b"$colq\r\n"

_MOST = 1 << 16  # 450 results are the largest known memory, 14 kB
_MONTH_NAMES = (
    *("Jan", "Feb", "Mar", "Apr", "May", "Jun"),
    *("Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
)
_MONTHS = {name: number for number, name in enumerate(_MONTH_NAMES, start=1)}
_FULL_MONTHS = {"June": 6, "July": 7}
_KETONE_STEP = 18
_ANALYTES = ("G", "K")

_LOG_START = b"\r\n"
_LOG_END = re.compile(
    rb"(?:0x(?P<sum>[0-9A-F]{4}) *|(?P<empty>Log Empty)(?: |\r\n)+)END"
)
_EMPTY = b"Log Empty"
_SERIAL = re.compile(rb"[0-9A-Z-]{11,13}")
_CLOCK = re.compile(
    r"(?P<month>[A-Z][a-z]{2}[ a-z]) (?P<day>\d\d) (?P<year>\d{4}) "
    r"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)",
    re.ASCII,
)
_RESULT = re.compile(
    r"(?P<value>\d{3}|HI |LO )  (?P<month>[A-Z][a-z]{2}[ a-z]) (?P<day>\d\d) "
    r"(?P<year>\d{4}) (?P<hour>\d\d):(?P<minute>\d\d) "
    r"(?P<type>[GK]|[0-9A-Fa-f]{2}) 0x(?P<flags>[0-9A-Fa-f]{2})",
    re.ASCII,
)
_INFORMATION_START = b"S/N:\t"
_DONE = b"CMD OK\r\n"


class Flag(IntFlag):
    """What is known of a result's last field."""

    CONTROL_SOLUTION = 1
    CLOCK_LOST = 2


_KNOWN_FLAGS = int(Flag.CONTROL_SOLUTION | Flag.CLOCK_LOST)


@dataclass(frozen=True, slots=True)
class Log:
    """A meter's whole memory.

    Attributes:
        serial: As printed on the meter's back.
        version: Of its software.
        clock: What its clock shows.
        results: A line each, newest first, for `decode_lite_result` or
            `decode_optium_result`.
    """

    serial: str
    version: str
    clock: DateTime
    results: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """One stored result.

    Attributes:
        time: The meter's clock, which has no seconds here.
        value: 0 to 999, in mg/dL, of ketone in 1/18 mmol/L; None if above or
            below what the meter measures.
        type: G glucose or K ketone; of the Lite family its plasma type.
        flags: Control solution, and a lost clock.
        above_range: The meter showed HI.
        below_range: The meter showed LO.
    """

    time: DateTime
    value: int | None
    type: str
    flags: Flag
    above_range: bool = False
    below_range: bool = False


@dataclass(frozen=True, slots=True)
class Information:
    """What the answer to ``$colq`` tells.

    Attributes:
        serial: As printed on the meter's back.
        version: Of its software.
        display_unit: What the meter shows, as MMOL; it stores mg/dL all the same.
        clock: What its clock shows.
        count: How many results it stores.
    """

    serial: str
    version: str
    display_unit: str
    clock: DateTime
    count: int


def set_clock(clock: DateTime) -> bytes:
    """Return the bytes that set an Optium's clock; seconds are left out.

    Args:
        clock: The wall clock, of the years 2000 to 2099.
    """
    year = f"{clock.year % 100:02}"
    date = f"{clock.month:02},{clock.day:02},{year}"
    return f"$tim,{date},{clock.hour:02},{clock.minute:02}\r\n".encode("ascii")


def ketone_mmol_per_l(value: int) -> Decimal:
    """Return a ketone in mmol/L, to four decimal places.

    It is stored in eighteenths, which have no end as a decimal; the meter shows
    3 of them as 0.2.

    >>> ketone_mmol_per_l(3)
    Decimal('0.1667')
    """
    return (Decimal(value) / _KETONE_STEP).quantize(Decimal("0.0001"))


def decode_log(data: bytes) -> Log:
    """Read the answer to ``mem`` or ``$xmem``, from its first CR LF to its END.

    Raises:
        DecodeError: ``data`` is cut short, too long, or damaged.
    """
    if (end := _LOG_END.search(data)) is None:
        raise _error("log", "END", "is missing", data, len(data), Fault.TRUNCATED)
    if end.end() < len(data):
        problem = "expected, bytes left over"
        raise _error("log", "END", problem, data, end.end(), Fault.BAD_LENGTH)
    body, at = data[: end.start()], end.start()
    if end["sum"] is not None and int(end["sum"], 16) != sum16(body):
        problem = f"is {end['sum'].decode()}, the log's is {sum16(body):04X}"
        raise _error("log", "checksum", problem, data, at, Fault.BAD_CHECKSUM)
    lines = [line for line in map(bytes.strip, body.split(b"\r\n")) if line]
    if end["empty"] is not None:
        lines.append(_EMPTY)
    if not data.startswith(_LOG_START) or len(lines) < 4:
        raise _error("log", "head", "has not four lines", data, 0, Fault.BAD_FRAME)
    serial, version, clock, count, *results = lines
    if not _SERIAL.fullmatch(serial) or not version.isascii():
        raise _error("log", "serial", "has not its form", data, 2, Fault.BAD_FRAME)
    seen = _moment(_CLOCK, clock)
    if seen is None:
        raise _error("log", "clock", "has not its form", data, 2, Fault.BAD_FRAME)
    if count != _EMPTY and not (len(count) == 3 and count.isdigit()):
        raise _error("log", "count", "has not its form", data, 2, Fault.BAD_FRAME)
    expected = 0 if count == _EMPTY else int(count)
    if len(results) != expected:
        problem = f"is {expected}, and {len(results)} results came"
        raise _error("log", "count", problem, data, 2, Fault.BAD_LENGTH)
    return Log(serial.decode(), version.decode(), seen[1], tuple(results))


def log_decoder() -> Frames[Log]:
    """Return what makes a `Log` of a stream of bytes."""
    return Frames(_LOG_START, _log_size, decode_log)


def decode_lite_result(line: bytes) -> Result:
    """Read one line of the `Log` of a Lite, which is always glucose.

    Raises:
        DecodeError: ``line`` is no such result, or has a flag that nobody knows.
    """
    result = _result(line)
    if result.type in _ANALYTES:
        raise _error("result", "type", "is an Optium's", line, 0, Fault.BAD_FIELD)
    return result


def decode_optium_result(line: bytes) -> Result:
    """Read one line of the `Log` of an Optium, glucose (G) or ketone (K).

    Raises:
        DecodeError: ``line`` is no such result, or has a flag that nobody knows.
    """
    result = _result(line)
    if result.type not in _ANALYTES:
        raise _error("result", "type", "is not G or K", line, 0, Fault.BAD_FIELD)
    return result


def decode_clock(line: bytes) -> DateTime:
    """Read the clock's line of ``$colq``, without its CR LF.

    Raises:
        DecodeError: ``line`` is cut short, too long, or no such line.
    """
    label = b"Clock:\t"
    with Cursor("Optium clock", line) as read:
        if line[: len(label)] != label[: len(line)]:
            raise read.error("label", "is not Clock:", Fault.BAD_FRAME)
        read.take(len(label), "label")
        month = _MONTHS.get(read.take(3, "month").decode("latin-1"))
        if month is None:
            raise read.error("month", "is no month", Fault.BAD_FRAME, size=3)
        day = _number(read, b"  ", 2, "day")
        year = _number(read, b" ", 4, "year")
        hour = _number(read, b"\t", 2, "hour")
        minute = _number(read, b":", 2, "minute")
        second = _number(read, b":", 2, "second")
        if read.left:
            raise read.error("end", "expected, bytes left over", Fault.BAD_FRAME)
        return DateTime(year, month, day, hour, minute, second)


def decode_information(data: bytes) -> Information:
    """Read the answer to ``$colq``, from its first letter to its last CR LF.

    Raises:
        DecodeError: ``data`` is cut short, too long, or no such answer.
    """
    what = "information"
    if not data.endswith(_DONE):
        raise _error(what, "CMD OK", "is missing", data, len(data), Fault.TRUNCATED)
    lines = data.decode("latin-1").split("\r\n")
    values = dict(line.split("\t", 1) for line in lines if "\t" in line)
    try:
        version, display_unit = values["Ver:"].split("\t")
        return Information(
            serial=values["S/N:"],
            version=version,
            display_unit=display_unit,
            clock=decode_clock(f"Clock:\t{values['Clock:']}".encode("latin-1")),
            count=int(values["Usage:"]),
        )
    except (KeyError, ValueError) as error:
        problem = "lacks a line, or one has not its form"
        raise _error(what, "lines", problem, data, 0, Fault.BAD_FRAME) from error


def information_decoder() -> Frames[Information]:
    """Return what makes an `Information` of a stream of bytes."""
    return Frames(_INFORMATION_START, _information_size, decode_information)


def done_decoder() -> Lines[bool]:
    """Return what tells of each line whether it says that a command was done."""
    return Lines(b"\r\n", lambda line: line == _DONE)


def _log_size(data: bytes) -> int:
    if b"END" in data and (end := _LOG_END.search(data)) is not None:
        return end.end()
    return len(data) + 1 if len(data) < _MOST else 0


def _information_size(data: bytes) -> int:
    if (at := data.find(_DONE)) >= 0:
        return at + len(_DONE)
    return len(data) + 1 if len(data) < _MOST else 0


def _result(line: bytes) -> Result:
    seen = _moment(_RESULT, line)
    if seen is None:
        raise _error("result", "line", "has not its form", line, 0, Fault.BAD_FRAME)
    found, time = seen
    flags = int(found["flags"], 16)
    if flags & ~_KNOWN_FLAGS:
        problem = f"are {flags:#04x}, which nobody has explained"
        at = len(line) - 4
        raise _error("result", "flags", problem, line, at, Fault.RESERVED_VALUE)
    value = found["value"].strip()
    return Result(
        time=time,
        value=int(value) if value.isdigit() else None,
        type=found["type"],
        flags=Flag(flags),
        above_range=value == "HI",
        below_range=value == "LO",
    )


def _moment(
    form: re.Pattern[str], line: bytes
) -> tuple[re.Match[str], DateTime] | None:
    """Return what a line matches, and the clock in it; None if it does not."""
    if (found := form.fullmatch(line.decode("latin-1"))) is None:
        return None
    name = found["month"]
    month = _FULL_MONTHS.get(name) or _MONTHS.get(name.removesuffix(" "))
    if month is None:
        return None
    parts = found.groupdict(default="0")
    names = ("day", "hour", "minute", "second")
    day, hour, minute, second = (int(parts.get(name, "0")) for name in names)
    return found, DateTime(int(parts["year"]), month, day, hour, minute, second)


def _number(read: Cursor, before: bytes, digits: int, field: str) -> int:
    """Read a number of so many digits, and what must stand before it."""
    separator = read.take(len(before), f"separator of {field}")
    if separator != before:
        problem = f"is {separator!r}"
        raise read.error(field, problem, Fault.BAD_FRAME, size=len(before))
    raw = read.take(digits, field)
    if not raw.isdigit():
        raise read.error(field, "is no number", Fault.BAD_FRAME, size=digits)
    return int(raw)


def _error(  # noqa: PLR0917 - the order in which the sentence reads
    what: str, field: str, problem: str, data: bytes, offset: int, fault: Fault
) -> DecodeError:
    return DecodeError(f"FreeStyle {what}", field, problem, data, offset, fault)


def _show_clock(payload: bytes) -> Shown:
    clock = decode_clock(payload)
    shown: Shown = {"datetime": str(clock)}
    if clock.moment is None:
        shown["datetime_valid"] = False
    return shown


KINDS = {"abbott.optium_clock": PayloadKind(_show_clock)}

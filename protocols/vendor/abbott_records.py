"""Abbott FreeStyle meters on USB: the lists of results, and the clock, as text.

What stands here is the message of `abbott_hid`'s text answers.

Source: field notes on the shared HID protocol, Precision Neo, InsuLinx and Libre,
and their public readers (docs/reference/sources.md); no captured list was at hand.

    $date?      month,day,year CR LF
    $time?      hour,minute CR LF
    a list      its lines, CR LF behind each; number of lines,hhhhhhhh CR LF
    empty list  Log Empty CR LF

hhhhhhhh is the sum of the bytes of the lines, CR LF included, modulo 2^32. A year
has two digits. 255 in every field of date or time says that the clock was lost.
The fields of a line, counted from 1:

                       type                      date   value
    Neo      $result?   1: 7 glucose, 9 ketone   3-7     9
    InsuLinx $result?   1: 0 glucose             3-7    14
    Libre    $arresult? 2: 2 reading             3-8    13; 10: 0 strip, 1 ketone,
                                                        2 sensor; 12, 29 errors
    Libre    $history?                           3-8    14; 15 age of the sensor
                                                        in minutes, 16 errors

The date is month, day, year, hour, minute, and on the Libre second. Of the Neo and
InsuLinx field 2 is the number of the record, of the Libre field 1. Glucose is in
mg/dL, ketone in eighteenths of a mmol/L. A value may be HI or LO. Field 12 is 1
with an error and with LO, which of them is not told; bit 15 of the error field
means an error, other bits are not explained. So a reading with any of these has
no value here. Field 29 is from the Libre's notes alone.

**Nobody knows how these meters mark control solution**: any strip's result may be
of it. A line of another type is `Other`: 10 of a Neo is insulin, where the notes
disagree which field is the dose; 5 of a Libre is a change of its clock.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from protocols.errors import DecodeError, Fault
from protocols.gatt.time import DateTime

_END = b"\r\n"
_EMPTY = b"Log Empty\r\n"
_LIST = re.compile(
    rb"(?P<lines>(?:[^\r\n]+\r\n)*)(?P<count>\d{1,5}),(?P<sum>[0-9A-Fa-f]{8})\r\n"
)
_LOST = 255
_CENTURY = 2000
_LIBRE_READING = 2


class Kind(StrEnum):
    """What was measured."""

    GLUCOSE = "glucose"
    KETONE = "ketone"
    SENSOR = "sensor"


_NEO_KINDS = {7: Kind.GLUCOSE, 9: Kind.KETONE}
_INSULINX_KINDS = {0: Kind.GLUCOSE}
_LIBRE_KINDS = {0: Kind.GLUCOSE, 1: Kind.KETONE, 2: Kind.SENSOR}


@dataclass(frozen=True, slots=True)
class Result:
    """One stored result, of a person or of control solution.

    Attributes:
        kind: Glucose or ketone of a strip, or glucose of a sensor.
        number: The record's own.
        time: The meter's clock, second 0 where it sends none; None if it was
            lost. A year of more than two digits is 0, which is unknown.
        value: 0 to 99999 in mg/dL, of ketone in 1/18 mmol/L; None if it is above
            or below what the meter measures, or not to be used.
        line: The whole line.
        above_range: The line says HI.
        below_range: The line says LO.
        errors: A Libre's error field, 0 if there was none.
        is_error_or_low: A Libre says that there was an error, or LO.
        life_min: Age of the sensor in a Libre's history, else None.
    """

    kind: Kind
    number: int
    time: DateTime | None
    value: int | None
    line: bytes
    above_range: bool = False
    below_range: bool = False
    errors: int = 0
    is_error_or_low: bool = False
    life_min: int | None = None


@dataclass(frozen=True, slots=True)
class Other:
    """A line that is no result known here.

    Attributes:
        type: As sent.
        line: The whole line.
    """

    type: int
    line: bytes


def decode_list(message: bytes) -> tuple[bytes, ...]:
    """Read the message that answers a command for a list.

    Returns:
        Its lines, without CR LF.

    Raises:
        DecodeError: ``message`` is cut short, too long, or damaged.
    """
    if message == _EMPTY:
        return ()
    if (found := _LIST.fullmatch(message)) is None:
        problem = "has no end, or not its form"
        raise _error("list", "end", problem, message, Fault.BAD_FRAME)
    lines = found["lines"].split(_END)[:-1]
    if len(lines) != int(found["count"]):
        problem = f"is {int(found['count'])}, and {len(lines)} lines came"
        raise _error("list", "count", problem, message, Fault.BAD_LENGTH)
    if int(found["sum"], 16) != (right := sum(found["lines"]) & 0xFFFF_FFFF):
        problem = f"is {found['sum'].decode()}, the list's is {right:08X}"
        raise _error("list", "checksum", problem, message, Fault.BAD_CHECKSUM)
    return tuple(lines)


def decode_clock(date: bytes, time: bytes) -> DateTime | None:
    """Read the messages that answer ``$date?`` and ``$time?``.

    Returns:
        What the clock shows, second 0; None if it was lost.

    Raises:
        DecodeError: One of them is cut short, too long, or no such message.
    """
    numbers = []
    for message, count in ((date, 3), (time, 2)):
        fields = _Fields("clock", message.removesuffix(_END), count)
        if not message.endswith(_END) or fields.count != count:
            raise fields.error(count, "is not the last", Fault.BAD_LENGTH)
        found = [fields.clock(number) for number in range(1, count + 1)]
        if set(found) == {_LOST}:
            return None
        numbers += found
    return _date_time(numbers)


def decode_neo(line: bytes) -> Result | Other:
    """Read one line of a Precision or Optium Neo's ``$result?``.

    Raises:
        DecodeError: ``line`` is cut short, or no such line.
    """
    return _strip(_Fields("Neo result", line, 1), _NEO_KINDS, 9)


def decode_insulinx(line: bytes) -> Result | Other:
    """Read one line of an InsuLinx's ``$result?``.

    Raises:
        DecodeError: ``line`` is cut short, or no such line.
    """
    return _strip(_Fields("InsuLinx result", line, 1), _INSULINX_KINDS, 14)


def decode_libre(line: bytes) -> Result | Other:
    """Read one line of a Libre's ``$arresult?``.

    Raises:
        DecodeError: ``line`` is cut short, or no such line.
    """
    fields = _Fields("Libre result", line, 2)
    if (kind := fields.number(2)) != _LIBRE_READING:
        return Other(kind, line)
    fields.needs(29)
    if (measured := fields.number(10)) not in _LIBRE_KINDS:
        problem = f"is {measured}, above 2"
        raise fields.error(10, problem, Fault.RESERVED_VALUE)
    errors, is_error_or_low = fields.number(29), fields.number(12) != 0
    value, above_range, below_range = _value(fields, 13)
    return Result(
        kind=_LIBRE_KINDS[measured],
        number=fields.number(1),
        time=_time(fields, 8),
        value=None if errors or is_error_or_low else value,
        line=line,
        above_range=above_range,
        below_range=below_range,
        errors=errors,
        is_error_or_low=is_error_or_low,
    )


def decode_history(line: bytes) -> Result:
    """Read one line of a Libre's ``$history?``, a value of the sensor.

    Raises:
        DecodeError: ``line`` is cut short, or no such line.
    """
    fields = _Fields("Libre history", line, 16)
    errors = fields.number(16)
    value, above_range, below_range = _value(fields, 14)
    return Result(
        kind=Kind.SENSOR,
        number=fields.number(1),
        time=_time(fields, 8),
        value=None if errors else value,
        line=line,
        above_range=above_range,
        below_range=below_range,
        errors=errors,
        life_min=fields.number(15),
    )


class _Fields:
    """The fields of a line, counted from 1."""

    def __init__(self, what: str, line: bytes, least: int) -> None:
        self._what, self.line = what, line
        # Behind the fields known here a Libre has texts, in quotes and in UTF-8.
        self._fields = line.decode("latin-1").split(",")
        self.needs(least)

    @property
    def count(self) -> int:
        return len(self._fields)

    def needs(self, least: int) -> None:
        if self.count < least:
            problem = f"is missing, {self.count} came"
            raise self.error(least, problem, Fault.TRUNCATED)

    def text(self, number: int) -> str:
        return self._fields[number - 1]

    def number(self, number: int) -> int:
        text = self.text(number)
        if not (text.isascii() and text.isdecimal() and len(text) <= 5):
            raise self.error(number, f"is {text!r}, no number", Fault.BAD_FIELD)
        return int(text)

    def clock(self, number: int) -> int:
        if (found := self.number(number)) > _LOST:
            problem = f"is {found}, beyond any clock"
            raise self.error(number, problem, Fault.BAD_DATE)
        return found

    def error(self, number: int, problem: str, fault: Fault) -> DecodeError:
        return _error(self._what, f"field {number}", problem, self.line, fault)


def _strip(fields: _Fields, kinds: dict[int, Kind], at: int) -> Result | Other:
    if (kind := fields.number(1)) not in kinds:
        return Other(kind, fields.line)
    fields.needs(at)
    value, above_range, below_range = _value(fields, at)
    return Result(
        kind=kinds[kind],
        number=fields.number(2),
        time=_time(fields, 7),
        value=value,
        line=fields.line,
        above_range=above_range,
        below_range=below_range,
    )


def _value(fields: _Fields, at: int) -> tuple[int | None, bool, bool]:
    """Return the value, and whether it is HI or LO and so no number."""
    if (text := fields.text(at)) in ("HI", "LO"):
        return None, text == "HI", text == "LO"
    return fields.number(at), False, False


def _time(fields: _Fields, last: int) -> DateTime | None:
    """Return the clock of the fields from 3 on; None if it was lost."""
    numbers = [fields.clock(number) for number in range(3, last + 1)]
    return None if set(numbers) == {_LOST} else _date_time(numbers)


def _date_time(numbers: list[int]) -> DateTime:
    month, day, year, hour, minute, second = (*numbers, 0)[:6]
    known = _CENTURY + year if year < 100 else 0
    return DateTime(known, month, day, hour, minute, second)


def _error(
    what: str, field: str, problem: str, data: bytes, fault: Fault
) -> DecodeError:
    return DecodeError(f"FreeStyle {what}", field, problem, data, 0, fault)

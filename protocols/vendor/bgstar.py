"""Sanofi BGStar and MyStar Extra: requests and answers, one line each.

Source: field notes on the BGStar; no line of a real meter was at hand
(docs/reference/sources.md).

    hello               200 hello <name>
    get serial          200 serial <serial number>
    get datetime        200 <year> <month> <day> <hour> <minute> <second>
    get glucount        200 glucount <number of results>
    get gluunit         200 gluunit <unit>
    get glurec <n>      200 glurec <digit> <digit> <value> <meal> <year> ... <second>

Every line ends with CR, numbers have no leading zeros; 0 is the newest result.
An answer of several lines begins its lines with 100 and the last one with 200.
Where the value stands, an E at the beginning says that the measurement failed.
Meals are 0 none, 1 and 2 before and after breakfast, 3 and 4 lunch, 5 and 6
dinner. Uncertain: what the two digits mean, whether the seconds are sent, how
a meter for mmol/L writes values and unit, and whether a failed measurement has
the fields behind the value. So a value is a number without a unit here.
"""

from dataclasses import dataclass
from decimal import Decimal
from re import compile as pattern

from protocols.errors import DecodeError, Fault
from protocols.gatt.time import DateTime
from protocols.stream import Lines

_END = b"\r"
_VALUE = pattern(r"\d{1,3}(\.\d)?")
_MEALS = 7


@dataclass(frozen=True, slots=True)
class Answer:
    """One line of an answer.

    Attributes:
        goes_on: Another line follows.
        fields: What stands behind the status, without what separates it.
        line: The whole line.
    """

    goes_on: bool
    fields: tuple[str, ...]
    line: bytes


@dataclass(frozen=True, slots=True)
class Record:
    """One stored result.

    Attributes:
        value: 0 to 999.9 in the unit of the answer to `ask_unit`.
        meal: 0 to 6.
        time: The meter's clock; second 0 where it sends none.
    """

    value: Decimal
    meal: int
    time: DateTime


def ask_hello() -> bytes:
    """Return the request that must come first."""
    return b"hello\r"


def ask_serial_number() -> bytes:
    """Return the request for the serial number."""
    return b"get serial\r"


def ask_clock() -> bytes:
    """Return the request for the clock."""
    return b"get datetime\r"


def ask_count() -> bytes:
    """Return the request for the number of results."""
    return b"get glucount\r"


def ask_unit() -> bytes:
    """Return the request for the unit of the results."""
    return b"get gluunit\r"


def ask_record(index: int) -> bytes:
    """Return the request for a result, 0 being the newest."""
    return b"get glurec %d\r" % index


def decode_line(line: bytes) -> Answer:
    """Read one line, its CR included.

    Raises:
        DecodeError: It is no answer, or says that the request failed.
    """
    text = line.removesuffix(_END)
    if text == line or not text.strip():
        raise _error(line, "line", "has no text or no end", Fault.TRUNCATED)
    if not text.isascii():
        raise _error(line, "line", "is not ASCII", Fault.BAD_FIELD)
    status, *fields = text.decode("ascii").split()
    if len(status) != 3 or not status.isdecimal():
        raise _error(line, "status", f"is {status!r}, not 3 digits", Fault.BAD_HEADER)
    if status not in ("100", "200"):
        problem = f"is {status}, neither 100 nor 200"
        raise _error(line, "status", problem, Fault.DEVICE_ERROR)
    return Answer(status == "100", tuple(fields), line)


def decoder() -> Lines[Answer]:
    """Return what makes answers of a stream of bytes."""
    return Lines(_END, decode_line)


def read_text(answer: Answer, name: str) -> str:
    """Read an answer of a name and one text: hello, serial, gluunit.

    Raises:
        DecodeError: ``answer`` is no such answer.
    """
    fields = _named(answer, name)
    if len(fields) != 1:
        raise _error(answer.line, name, f"has {len(fields)} fields, not one")
    return fields[0]


def read_count(answer: Answer) -> int:
    """Read the answer to `ask_count`.

    Raises:
        DecodeError: ``answer`` is no such answer.
    """
    return _number(answer, read_text(answer, "glucount"), "glucount")


def read_clock(answer: Answer) -> DateTime:
    """Read the answer to `ask_clock`.

    Raises:
        DecodeError: ``answer`` is no such answer.
    """
    return _date_time(answer, answer.fields)


def read_record(answer: Answer) -> Record:
    """Read the answer to `ask_record`.

    Raises:
        DecodeError: ``answer`` is no such answer, or a failed measurement.
    """
    fields = _named(answer, "glurec")
    if len(fields) > 2 and fields[2].startswith("E"):
        problem = f"is {fields[2]!r}: the measurement failed"
        raise _error(answer.line, "value", problem, Fault.DEVICE_ERROR)
    if len(fields) < 9:
        problem = f"has {len(fields)} fields, needs 9"
        raise _error(answer.line, "glurec", problem, Fault.TRUNCATED)
    _, _, value, meal, *stamp = fields
    if not _VALUE.fullmatch(value):
        raise _error(answer.line, "value", f"is {value!r}, no number")
    if (marked := _number(answer, meal, "meal")) >= _MEALS:
        raise _error(answer.line, "meal", f"is {marked}, above 6", Fault.OUT_OF_RANGE)
    return Record(Decimal(value), marked, _date_time(answer, tuple(stamp)))


def _named(answer: Answer, name: str) -> tuple[str, ...]:
    if answer.fields[:1] != (name,):
        named = answer.fields[0] if answer.fields else "nothing"
        problem = f"is {named!r}, not {name}"
        raise _error(answer.line, "name", problem, Fault.NOT_A_RESPONSE)
    return answer.fields[1:]


def _date_time(answer: Answer, fields: tuple[str, ...]) -> DateTime:
    if len(fields) not in (5, 6):
        problem = f"has {len(fields)} fields, not 5 or 6"
        raise _error(answer.line, "time", problem, Fault.BAD_LENGTH)
    numbers = [_number(answer, field, "time") for field in fields]
    if numbers[0] > 9999 or max(numbers[1:]) > 255:
        raise _error(answer.line, "time", "is beyond any clock", Fault.OUT_OF_RANGE)
    return DateTime(*(*numbers, 0)[:6])


def _number(answer: Answer, field: str, name: str) -> int:
    if not field.isdecimal() or len(field) > 5:
        raise _error(answer.line, name, f"is {field!r}, no number")
    return int(field)


def _error(
    line: bytes, field: str, problem: str, fault: Fault = Fault.BAD_FIELD
) -> DecodeError:
    return DecodeError("BGStar line", field, problem, line, 0, fault)

"""Ascensia Contour: the records of a message.

Source: field notes on the Contour meters, whose records are those of ASTM E1394,
checked against captured records (docs/reference/sources.md).

    H|\\^&||password|product^versions^serial^sku|parameters|count|||||P|version|clock
    P|1
    O|n|...|action                                 field 12 of it; Q is control
    R|n|^^^test|value|unit^reference||markers||time
    R|n|^^^test|value|unit^reference|range|flags|mark|status|||time
    L|1||code

The header's field 2 names what separates: ``|`` fields, ``\\`` repetitions, ``^``
components, and ``&`` encloses an escape: F, R, S and E stand for the four. Clock
and time are digits, YYYYMMDDHHMM and from some meters SS.

The second form of R is that of old Contours on a serial cable: their first R is
the average, E in its status is control solution. In the first form markers are
separated by ``/``: > and < out of range, C control solution, B before and A
after a meal, F fasting. Others are uncertain, and so left as they are. A record
is a glucose only if its test is Glucose: diaries hold insulin and food as well.

Numbers of R count what is in the memory; whether they stay is not known.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from re import compile as pattern
from re import escape as literal
from typing import NoReturn

from protocols.errors import DecodeError, Fault
from protocols.gatt.time import DateTime
from protocols.kinds import PayloadKind, Shown

GLUCOSE = "Glucose"
UNITS = ("mg/dL", "mmol/L")

_HEADER = "Contour header record"
_RESULT = "Contour result record"
_MESSAGE = "Contour message"
_VALUE = pattern(r"\d{1,4}(\.\d{1,2})?")
_STAMP_SIZES = (12, 14)
_TIME, _OLD_TIME = 8, 11  # where R's time stands
_OLD_FLAGS = ("<", ">", "T")


@dataclass(frozen=True, slots=True)
class Delimiters:
    """What separates the parts of a message's records."""

    field: str = "|"
    repetition: str = "\\"
    component: str = "^"
    escape: str = "&"


STANDARD = Delimiters()


@dataclass(frozen=True, slots=True)
class Header:
    """The meter that sends, and what its clock shows.

    Attributes:
        delimiters: Those of all records of this message.
        product: As ``Bayer7390``; empty if it is not said, as are the next two.
        version: Its parts as they were separated.
        serial: With the product's number before it.
        clock: 12 or 14 digits; empty if not said.
    """

    delimiters: Delimiters
    product: str
    version: str
    serial: str
    clock: str

    @property
    def time(self) -> DateTime | None:
        """What the clock shows; None if not said."""
        return _date_time(self.clock) if self.clock else None


@dataclass(frozen=True, slots=True)
class Result:
    """One stored result.

    Attributes:
        sequence: Its number in this message.
        test: ``Glucose``, or what else a diary holds.
        value: 0 to 9999.99 in ``unit``; out of range it is no measured value.
        unit: ``mg/dL`` or ``mmol/L``, if it is a glucose.
        reference: P plasma, B whole blood, C capillary, D deproteinised.
        markers: All of them, as they were sent.
        stamp: The meter's clock, 12 or 14 digits.
        above_range: The meter showed HI.
        below_range: The meter showed LO.
        is_control: It was control solution.
    """

    sequence: int
    test: str
    value: Decimal
    unit: str
    reference: str
    markers: tuple[str, ...]
    stamp: str
    above_range: bool
    below_range: bool
    is_control: bool

    @property
    def time(self) -> DateTime:
        """The meter's clock; second 0 where it has none."""
        return _date_time(self.stamp)


@dataclass(frozen=True, slots=True)
class Sent:
    """A result as it was sent, for `decode_result`.

    Attributes:
        payload: The record.
        is_control: The order before it says that it was control solution.
    """

    payload: bytes
    is_control: bool


@dataclass(frozen=True, slots=True)
class Message:
    """A whole message, without the average that old Contours send."""

    header: Header
    results: tuple[Sent, ...]


def decode_message(records: Sequence[bytes]) -> Message:
    """Read a whole message.

    Args:
        records: All of them in order, without their CR.

    Raises:
        DecodeError: They are no whole message, or the meter says that it isn't.
    """
    if not records or records[-1][:1] != b"L":
        joined = b"\r".join(records)
        problem = "is missing, so nothing before it is valid"
        raise DecodeError(
            _MESSAGE, "terminator", problem, joined, len(joined), Fault.TRUNCATED
        )
    header = decode_header(records[0])
    _check_terminator(records[-1], header.delimiters)
    results: list[Sent] = []
    is_control = is_old = False
    for payload in records[1:-1]:
        record = _Record(_MESSAGE, payload, header.delimiters)
        if record.kind == "O":
            is_control = record.get(11) == "Q"
        elif record.kind == "R":
            results.append(Sent(payload, is_control))
            is_old = is_old or record.get(_OLD_TIME) != ""
    return Message(header, tuple(results[is_old:]))


def decode_header(payload: bytes) -> Header:
    """Read an H record.

    Raises:
        DecodeError: ``payload`` is no such record, or cut short.
    """
    signs = payload[1:5].decode("latin-1")
    if len(signs) < 4:
        raise DecodeError(
            _HEADER, "delimiters", "are cut short", payload, 0, Fault.TRUNCATED
        )
    if len({*signs}) < 4 or any(sign.isalnum() or sign < " " for sign in signs):
        problem = f"are {signs!r}, not four signs"
        raise DecodeError(_HEADER, "delimiters", problem, payload, 1, Fault.BAD_HEADER)
    record = _Record(_HEADER, payload, Delimiters(*signs))
    record.check_kind("H")
    record.check_fields(14)
    names = record.fields[4].split(record.delimiters.component)
    product, version, serial = (*names, "", "", "")[:3]
    clock = record.get(13)
    if clock:
        record.check_stamp(13, "clock")
    return Header(
        delimiters=record.delimiters,
        product=record.plain(product, 4, "product").strip(),
        version=version,
        serial=record.plain(serial, 4, "serial number").strip(),
        clock=clock,
    )


def decode_result(
    payload: bytes, delimiters: Delimiters = STANDARD, *, is_control: bool = False
) -> Result:
    """Read an R record, in either form.

    Args:
        payload: The record without its CR.
        delimiters: Those of the message's header.
        is_control: The order before it says so.

    Raises:
        DecodeError: ``payload`` is no such record, or cut short.
    """
    record = _Record(_RESULT, payload, delimiters)
    record.check_kind("R")
    record.check_fields(_TIME + 1)
    is_old = record.get(_OLD_TIME) != ""
    at = _OLD_TIME if is_old else _TIME
    record.check_stamp(at, "time")
    record.check_end(at + 1)
    unit, reference = record.components(4, 2, "unit")
    *_, test = record.components(2, 4, "test")
    if test == GLUCOSE and unit not in UNITS:
        record.fail(4, "unit", f"is {unit!r}, neither {' nor '.join(UNITS)}")
    value = record.fields[3]
    if not _VALUE.fullmatch(value):
        record.fail(3, "value", f"is {value!r}, no number")
    markers = _old_markers(record) if is_old else record.fields[6].split("/")
    if ">" in markers and "<" in markers:
        record.fail(6, "markers", "say both above and below range")
    return Result(
        sequence=record.number(1, "sequence"),
        test=test,
        value=Decimal(value),
        unit=unit,
        reference=reference,
        markers=tuple(filter(None, markers)),
        stamp=record.fields[at],
        above_range=">" in markers,
        below_range="<" in markers,
        is_control=is_control
        or ("E" in record.fields[8] if is_old else "C" in markers),
    )


class _Record:
    """The fields of one record; what a check finds wrong it raises."""

    def __init__(self, what: str, payload: bytes, delimiters: Delimiters) -> None:
        self._what, self._payload = what, payload
        self.delimiters = delimiters
        # Latin-1, so that a place in the text is the same in the bytes.
        self._text = payload.decode("latin-1")
        self.fields = self._text.split(delimiters.field)

    @property
    def kind(self) -> str:
        return self.fields[0][:1]

    def get(self, at: int) -> str:
        """Return a field, or nothing where the record ends before it."""
        return self.fields[at] if at < len(self.fields) else ""

    def fail(
        self, at: int, field: str, problem: str, fault: Fault = Fault.BAD_FIELD
    ) -> NoReturn:
        offset = sum(len(each) + 1 for each in self.fields[:at])
        offset = min(offset, len(self._payload))
        raise DecodeError(self._what, field, problem, self._payload, offset, fault)

    def check_kind(self, kind: str) -> None:
        if not self._text:
            self.fail(0, "type", "is missing", Fault.TRUNCATED)
        if self.kind != kind:
            self.fail(0, "type", f"is {self.kind!r}, not {kind}", Fault.BAD_HEADER)
        if not self._text.isascii():
            self.fail(0, "text", "is not ASCII")

    def check_fields(self, count: int) -> None:
        if len(self.fields) < count:
            problem = f"needs {count} fields, has {len(self.fields)}"
            self.fail(len(self.fields) - 1, "record", problem, Fault.TRUNCATED)

    def check_end(self, at: int) -> None:
        if any(self.fields[at:]):
            self.fail(at, "end", "expected, fields left over", Fault.BAD_LENGTH)

    def check_stamp(self, at: int, field: str) -> None:
        stamp = self.fields[at]
        if len(stamp) not in _STAMP_SIZES:
            problem = f"has {len(stamp)} digits, not 12 or 14"
            self.fail(at, field, problem, Fault.BAD_LENGTH)
        if not stamp.isdecimal():
            self.fail(at, field, f"is {stamp!r}, no digits")

    def number(self, at: int, field: str) -> int:
        if not self.fields[at].isdecimal():
            self.fail(at, field, f"is {self.fields[at]!r}, no number")
        return int(self.fields[at])

    def components(self, at: int, count: int, field: str) -> list[str]:
        parts = self.fields[at].split(self.delimiters.component)
        if len(parts) != count:
            self.fail(at, field, f"has {len(parts)} components, not {count}")
        return [self.plain(part, at, field) for part in parts]

    def plain(self, text: str, at: int, field: str) -> str:
        """Return ``text`` without escapes."""
        signs = self.delimiters
        meanings = {
            "F": signs.field,
            "R": signs.repetition,
            "S": signs.component,
            "E": signs.escape,
        }
        escapes = pattern(f"{literal(signs.escape)}([FRSE]){literal(signs.escape)}")
        if signs.escape in escapes.sub("", text):
            self.fail(at, field, f"has an unknown escape: {text!r}")
        return escapes.sub(lambda found: meanings[found[1]], text)


def _check_terminator(payload: bytes, delimiters: Delimiters) -> None:
    record = _Record(_MESSAGE, payload, delimiters)
    # Some meters leave out the empty field before the code.
    code = "".join(record.fields[2:])
    if code not in ("", "N"):
        problem = f"is {code!r}, not N, so nothing before it is valid"
        record.fail(2, "termination code", problem, Fault.DEVICE_ERROR)


def _old_markers(record: _Record) -> list[str]:
    """Return flags, mark and status; only the mark is the person's own.

    By ASTM a flag of A is "abnormal", and a status of F is "final".
    """
    flags = record.fields[6].split(record.delimiters.repetition)
    status = record.fields[8]
    return [
        *(each if each in ("", *_OLD_FLAGS) else f"flag-{each}" for each in flags),
        record.fields[7],
        status if status in ("", "E") else f"status-{status}",
    ]


def _date_time(stamp: str) -> DateTime:
    parts = [int(stamp[at : at + 2]) for at in range(4, len(stamp), 2)]
    return DateTime(int(stamp[:4]), *(*parts, 0)[:5])


def _show_result(payload: bytes) -> Shown:
    result = decode_result(payload)
    return {
        "record": "R",
        "sequence": result.sequence,
        "test": result.test,
        "value": str(result.value),
        "unit": result.unit,
        "reference": result.reference,
        "markers": list(result.markers),
        "datetime": result.stamp,
        "above_range": result.above_range,
        "below_range": result.below_range,
        "control": result.is_control,
    }


KINDS = {"ascensia.result_record": PayloadKind(_show_result)}

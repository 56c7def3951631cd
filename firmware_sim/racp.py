"""The Record Access Control Point as a meter has it: requests, and what they start.

Source: Bluetooth SIG, Glucose Service 1.0.1, §3.4; GATT Specification
Supplement, Record Access Control Point.

    request  op code u8, operator u8, [filter type u8, one or two values]
    refusal  06 00 op code u8, response value u8
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from functools import partial
from struct import unpack
from typing import Protocol, TypeVar
from uuid import UUID

from firmware_sim.bench import AttError, Send
from protocols.gatt.uuid import sig

CONTROL_POINT = sig(0x2A52)
ALL_OPERATORS = frozenset(range(1, 7))

_NULL, _ALL, _AT_MOST, _AT_LEAST, _WITHIN, _FIRST, _LAST = range(7)
_COMPARING = (_AT_MOST, _AT_LEAST, _WITHIN)
_SEQUENCE, _TIME = 1, 2  # filter types
_SIZES = {_SEQUENCE: 2, _TIME: 7}
_WRITE_NOT_PERMITTED, _INVALID_LENGTH = 0x03, 0x0D  # ATT 1.0 §3.4.1.1


class Op(IntEnum):
    """What is asked for; all else is not supported."""

    REPORT = 1
    DELETE = 2
    ABORT = 3
    COUNT = 4


class Answer(IntEnum):
    """Response values."""

    SUCCESS = 1
    OP_CODE_NOT_SUPPORTED = 2
    INVALID_OPERATOR = 3
    OPERATOR_NOT_SUPPORTED = 4
    INVALID_OPERAND = 5
    NO_RECORDS = 6
    OPERAND_NOT_SUPPORTED = 9


class Refusal(Exception):
    """A request that is answered with an error.

    Attributes:
        payload: The answer.
    """

    def __init__(self, op: int, answer: Answer) -> None:
        super().__init__(f"op code {op:#04x}: {answer.name.lower()}")
        self.payload = _response(op, answer)


class Stored(Protocol):
    """What a filter can look at."""

    @property
    def sequence(self) -> int:
        """0 to 65535."""

    @property
    def user_facing_time(self) -> datetime | None:
        """What the person saw; None is unknown."""


_R = TypeVar("_R", bound=Stored)


@dataclass(frozen=True, eq=False, slots=True)
class Request:
    """A request that the meter will carry out; equal only to itself.

    Attributes:
        op: What to do.
        operator: With which records, 0 to 6.
        by_time: Whether the bounds are user-facing times, in s since year 1,
            or else sequence numbers.
        low: The smallest that is meant; None is any.
        high: The largest that is meant; None is any.
    """

    op: Op
    operator: int
    by_time: bool = False
    low: int | None = None
    high: int | None = None

    def answer(self, answer: Answer) -> bytes:
        """Return the indication with which the procedure ends."""
        return _response(self.op, answer)

    def select(self, records: Iterable[_R]) -> list[_R]:
        """Return those of ``records``, oldest first, that are meant."""
        stored = list(records)
        if self.operator == _FIRST:
            return stored[:1]
        if self.operator == _LAST:
            return stored[-1:]
        return [record for record in stored if self._means(record)]

    def _means(self, record: Stored) -> bool:
        if self.low is None and self.high is None:
            return True
        value = record.sequence
        if self.by_time:
            if record.user_facing_time is None:
                return False
            value = _seconds(record.user_facing_time)
        return (self.low is None or self.low <= value) and (
            self.high is None or value <= self.high
        )


class ControlPoint:
    """The control point of a device, which carries out one request at a time.

    Args:
        tells: The characteristic that the records come by.
        improper: The ATT error of a request before both are enabled.
        running: The ATT error of a request while another one runs.
        operators: The operators that the device knows.
        filters: The filter types that it knows.
        erasable: Whether it deletes records.
    """

    def __init__(
        self,
        tells: UUID,
        *,
        improper: int,
        running: int,
        operators: frozenset[int] = ALL_OPERATORS,
        filters: frozenset[int] = frozenset(),
        erasable: bool = False,
    ) -> None:
        self._needs = {tells, CONTROL_POINT}
        self._improper, self._busy = improper, running
        self._parse = partial(
            parse, operators=operators, filters=filters, erasable=erasable
        )
        self._running: Request | None = None

    def stop(self) -> None:
        """Forget what was running."""
        self._running = None

    def take(
        self, uuid: UUID, payload: bytes, enabled: Iterable[UUID]
    ) -> Request | Send:
        """Return a request that is to be carried out, or else what answers it.

        Args:
            uuid: What was written to.
            payload: What was written.
            enabled: The characteristics that the central has enabled.

        Raises:
            AttError: It is refused.
        """
        if uuid != CONTROL_POINT:
            raise AttError(_WRITE_NOT_PERMITTED)
        if not payload:
            raise AttError(_INVALID_LENGTH)
        if not self._needs.issubset(enabled):
            raise AttError(self._improper)
        if self._running is not None and payload[0] != Op.ABORT:
            raise AttError(self._busy)
        try:
            request = self._parse(payload)
        except Refusal as refusal:
            return Send(CONTROL_POINT, refusal.payload)
        if request.op is Op.ABORT:
            self._running = None
            return Send(CONTROL_POINT, request.answer(Answer.SUCCESS))
        self._running = request
        return request

    def finish(
        self, request: Request, sends: Iterable[Send], answer: bytes
    ) -> Iterator[Send]:
        """Yield what tells the records, then the answer, until it is aborted.

        Args:
            request: As `take` returned it.
            sends: What tells the records; it is taken one by one.
            answer: What says that all went well, or what did not.
        """
        for send in sends:
            if self._running is not request:
                return
            yield send
        if self._running is request:
            self._running = None  # whoever hears the answer may ask again at once
            yield Send(CONTROL_POINT, answer)


def parse(
    payload: bytes,
    *,
    operators: frozenset[int],
    filters: frozenset[int],
    erasable: bool,
) -> Request:
    """Read a request.

    Args:
        payload: What was written, one byte or more.
        operators: The operators that the meter knows.
        filters: The filter types that it knows.
        erasable: Whether it deletes records.

    Raises:
        Refusal: It is not one that the meter can carry out.
    """
    code, operator, operand = payload[0], payload[1:2], payload[2:]
    if code not in {*Op} or (code == Op.DELETE and not erasable):
        raise Refusal(code, Answer.OP_CODE_NOT_SUPPORTED)
    op = Op(code)
    if not operator or (operator[0] == _NULL) != (op is Op.ABORT):
        raise Refusal(op, Answer.INVALID_OPERATOR)
    if op is not Op.ABORT and operator[0] not in operators:
        raise Refusal(op, Answer.OPERATOR_NOT_SUPPORTED)
    if operator[0] not in _COMPARING:
        if operand:
            raise Refusal(op, Answer.INVALID_OPERAND)
        return Request(op, operator[0])
    if not operand:
        raise Refusal(op, Answer.INVALID_OPERAND)
    if operand[0] not in filters & _SIZES.keys():
        raise Refusal(op, Answer.OPERAND_NOT_SUPPORTED)
    try:
        low, high = _bounds(operator[0], operand[0], operand[1:])
    except ValueError:
        raise Refusal(op, Answer.INVALID_OPERAND) from None
    return Request(op, operator[0], operand[0] == _TIME, low, high)


def _bounds(
    operator: int, filter_type: int, operand: bytes
) -> tuple[int | None, int | None]:
    """Read the values of a filter; raise `ValueError` if they are none."""
    size = _SIZES[filter_type]
    values = [
        _value(filter_type, operand[at : at + size])
        for at in range(0, len(operand), size)
    ]
    if len(values) != 1 + (operator == _WITHIN) or values != sorted(values):
        raise ValueError
    low = None if operator == _AT_MOST else values[0]
    return low, None if operator == _AT_LEAST else values[-1]


def _value(filter_type: int, raw: bytes) -> int:
    if len(raw) != _SIZES[filter_type]:
        raise ValueError
    if filter_type == _SEQUENCE:
        return int.from_bytes(raw, "little")
    return _seconds(datetime(*unpack("<H5B", raw)))  # noqa: DTZ001 - a wall clock


def _seconds(moment: datetime) -> int:
    clock = moment.hour * 3600 + moment.minute * 60 + moment.second
    return moment.toordinal() * 86400 + clock


def _response(op: int, answer: Answer) -> bytes:
    return bytes([6, 0, op, answer])

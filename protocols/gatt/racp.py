"""Record Access Control Point: asks a device for its stored records.

Source: Bluetooth SIG, Glucose Service 1.0.1, §3.4; Glucose Profile 1.0.1,
§5.5; GATT Specification Supplement, Record Access Control Point.

    op code u8 | operator u8 | operand

    operand of a request   filter type u8, then one value, or minimum and maximum
    operand of a count     u16 (u8 and u32 are met in the field)
    operand of a response  request's op code u8, response value u8

`Download` is the dialogue that fetches what is new and proves it complete:
"success" alone does not, for notifications get lost on the way.
"""

from collections.abc import Generator
from dataclasses import dataclass
from enum import IntEnum
from uuid import UUID

from protocols.cursor import Cursor
from protocols.errors import Fault
from protocols.gatt.time import date_time
from protocols.gatt.uuid import sig
from protocols.kinds import PayloadKind, Shown, trailing

RECORD_ACCESS_CONTROL_POINT: UUID = sig(0x2A52)

_ATTEMPTS = 3  # to get records that did not arrive
PROCEDURE_TIMEOUT_S = 30.0  # Glucose Profile 1.0.1, §5.5: from the last record
_FILTER_TIME = 2


class OpCode(IntEnum):
    """What a message asks or answers; the last two are Omron's."""

    REPORT_STORED_RECORDS = 1
    DELETE_STORED_RECORDS = 2
    ABORT_OPERATION = 3
    REPORT_NUMBER_OF_STORED_RECORDS = 4
    NUMBER_OF_STORED_RECORDS_RESPONSE = 5
    RESPONSE_CODE = 6
    COMBINED_REPORT = 7
    COMBINED_REPORT_RESPONSE = 8
    REPORT_SEQUENCE_NUMBER_OF_LATEST_RECORD = 0x10
    SEQUENCE_NUMBER_OF_LATEST_RECORD_RESPONSE = 0x11


class Operator(IntEnum):
    """Which records a request means."""

    NULL = 0
    ALL_RECORDS = 1
    LESS_OR_EQUAL = 2
    GREATER_OR_EQUAL = 3
    WITHIN_RANGE = 4
    FIRST_RECORD = 5
    LAST_RECORD = 6


class Value(IntEnum):
    """What became of a request."""

    SUCCESS = 1
    OP_CODE_NOT_SUPPORTED = 2
    INVALID_OPERATOR = 3
    OPERATOR_NOT_SUPPORTED = 4
    INVALID_OPERAND = 5
    NO_RECORDS_FOUND = 6
    ABORT_UNSUCCESSFUL = 7
    PROCEDURE_NOT_COMPLETED = 8
    OPERAND_NOT_SUPPORTED = 9
    SERVER_BUSY = 10


_COUNTS = (
    OpCode.NUMBER_OF_STORED_RECORDS_RESPONSE,
    OpCode.COMBINED_REPORT_RESPONSE,
)
# The device does not know the filter: ask for everything instead.
_NO_FILTER = (
    Value.INVALID_OPERATOR,
    Value.OP_CODE_NOT_SUPPORTED,
    Value.OPERATOR_NOT_SUPPORTED,
    Value.INVALID_OPERAND,
    Value.OPERAND_NOT_SUPPORTED,
)


_REPORT = OpCode.REPORT_STORED_RECORDS
_NUMBER = OpCode.REPORT_NUMBER_OF_STORED_RECORDS
_LAST_SEQUENCE = 0xFFFF


@dataclass(frozen=True, slots=True)
class Request:
    """Ask for records, or for their number, by sequence number.

    In the CGM Service the time offset stands in the place of that number.

    Attributes:
        op_code: What to do.
        operator: With which records.
        sequence: 0 to 65535, where the operator compares with one value.
    """

    op_code: OpCode
    operator: Operator
    sequence: int | None = None

    def encode(self) -> bytes:
        """Return the bytes to write.

        Raises:
            ValueError: It would erase what a device holds; nothing here ever does.
        """
        if self.op_code == OpCode.DELETE_STORED_RECORDS:
            raise ValueError("records are never deleted on a device")
        head = bytes([self.op_code, self.operator])
        if self.sequence is None:
            return head
        return head + b"\x01" + self.sequence.to_bytes(2, "little")

    def is_answered_by(self, end: "Count | Response") -> bool:
        """Whether ``end`` can be the answer to this, and not one to an earlier one."""
        if isinstance(end, Count):
            return self.op_code == _NUMBER
        return end.request == self.op_code


@dataclass(frozen=True, slots=True)
class Count:
    """How many records there are that the request meant."""

    number: int


@dataclass(frozen=True, slots=True)
class Response:
    """How a procedure ended.

    Attributes:
        request: The op code that it answers.
        value: One of `Value`, or a reserved code.
    """

    request: int
    value: int


_NOTHING_STORED = Response(_REPORT, Value.NO_RECORDS_FOUND)
_SENT = Response(_REPORT, Value.SUCCESS)
_FILTER_UNKNOWN = tuple(Response(_REPORT, value) for value in _NO_FILTER)


class Incomplete(Exception):
    """The device holds records that did not arrive, however often asked for."""


def decode_answer(payload: bytes) -> Count | Response:
    """Read an indication of the control point.

    Raises:
        DecodeError: ``payload`` is cut short, or answers nothing.
    """
    with Cursor("Record Access Control Point", payload) as read:
        op_code = read.u8("op code")
        if op_code not in (*_COUNTS, OpCode.RESPONSE_CODE):
            problem = f"{op_code:#04x} is not that of a response"
            raise read.error("op code", problem, Fault.NOT_A_RESPONSE, size=1)
        if (operator := read.u8("operator")) != Operator.NULL:
            problem = f"of a response is {operator:#04x}, not 0"
            raise read.error("operator", problem, Fault.BAD_FIELD, size=1)
        if op_code != OpCode.RESPONSE_CODE:
            return Count(_count(read))
        answer = Response(read.u8("request op code"), read.u8("response value"))
        read.rest()
        return answer


class Download:
    """Fetches every record behind a mark, and proves that none is missing.

    Send `request`; call `record` for every complete record that comes, and
    `end` with the indication that ends the procedure; go on until `request`
    is None. The device may repeat records that are known.

    Args:
        since: The sequence number up to which all is known; None is nothing.
        stamp: What `record` was told of that number. A device that holds
            another record under it was reset, and is read as a whole.

    Attributes:
        request: What to send next; None when all is here.
        mark: The sequence number up to which all is here, to be the next
            ``since``; it moves while records come.
        is_last_attempt: Records that do not come now are given up.
    """

    def __init__(self, since: int | None, stamp: int = 0) -> None:
        self.mark = since
        self.is_last_attempt = False
        self._since, self._stamp = since, stamp
        self._stamps: dict[int, int] = {}
        self._came: set[int] = set()  # in this procedure
        self._last: int | None = None
        self._steps = self._run(since)
        self.request: Request | None = next(self._steps)

    @property
    def mark_stamp(self) -> int:
        """What was told of the record at `mark`, to be the next ``stamp``."""
        return (
            self._stamp
            if self.mark is None
            else self._stamps.get(self.mark, self._stamp)
        )

    def record(self, sequence: int, stamp: int = 0) -> None:
        """Note a complete record.

        Args:
            sequence: Its number.
            stamp: Anything that tells it from another record of that number.
        """
        self._stamps[sequence] = stamp
        self._came.add(sequence)
        self._last = sequence
        if sequence == self._since and stamp != self._stamp:
            self._since = self.mark = None  # a reset: nothing is known any more
        if self._since is not None and self._since not in self._stamps:
            return  # not known yet whether what the mark says still holds
        while self.mark is not None and self.mark + 1 & 0xFFFF in self._stamps:
            self.mark = self.mark + 1 & 0xFFFF

    def end(self, end: Count | Response) -> None:
        """Note that the procedure ended, and choose the next request.

        Raises:
            Incomplete: Fewer records came than the device counts.
        """
        try:
            self.request = self._steps.send(end)
        except StopIteration:
            self.request = None

    def _run(self, since: int | None) -> Generator[Request, Count | Response, None]:
        if since is not None:
            end = yield from self._find_newest()
            if end == _NOTHING_STORED or (
                self._last == since and self._is_known(since)
            ):
                return
            if self._last is None or self._last <= since:
                since = None  # unknown, wrapped, reset, or its newest was deleted
        while True:
            yield from self._fetch(since)
            if since is None or self._is_known(since):
                return
            since = None  # another record, or none, stands where the mark was

    def _is_known(self, since: int) -> bool:
        return self._stamps.get(since) == self._stamp

    def _fetch(self, since: int | None) -> Generator[Request, Count | Response, None]:
        """Fetch the records from ``since`` on, that one too; None is all."""
        expected, since = yield from self._count(since)
        if expected == 0:
            return
        if since is None:
            yield from self._find_start()
        for attempt in range(_ATTEMPTS):
            self.is_last_attempt = attempt == _ATTEMPTS - 1
            resumed = self.mark if attempt > 0 and not self.is_last_attempt else None
            self._came.clear()
            end = yield _report(since if resumed is None else resumed)
            if since is not None and end in _FILTER_UNKNOWN:
                since = None  # it counts behind a number, and reports only all
                continue
            _refuse(end)
            # Counted anew, lest a result stored meanwhile stands for a lost one.
            expected, since = yield from self._count(since)
            here = [number for number in self._stamps if number >= (since or 0)]
            if self._is_whole(here, expected):
                if since is None or self._is_known(since):
                    self.mark = _newest(here)
                return
        raise Incomplete(
            f"the device counts {expected} records, {len(here)} came in "
            f"{_ATTEMPTS} attempts"
        )

    def _is_whole(self, here: list[int], expected: int) -> bool:
        """Whether nothing is missing of what the device holds.

        A device whose memory is full forgets its oldest for a new one, and the
        number of records stays: one that came and is forgotten must not stand for
        one that got lost.
        """
        if len(here) < expected:
            return False
        newest, known = _newest(here), {*here}
        has_gap = any(
            newest - n & _LAST_SEQUENCE not in known for n in range(len(here))
        )
        return not has_gap or len(self._came) >= expected

    def _count(
        self, since: int | None
    ) -> Generator[Request, Count | Response, tuple[int, int | None]]:
        """Ask how many there are; without the filter where it is not known."""
        if since is not None:
            end = yield Request(_NUMBER, Operator.GREATER_OR_EQUAL, since)
            if isinstance(end, Count):
                return end.number, since
            if end.value == Value.NO_RECORDS_FOUND:
                return 0, since
            if end.value not in _NO_FILTER:
                raise Incomplete(_refusal(end))
        end = yield Request(_NUMBER, Operator.ALL_RECORDS)
        if isinstance(end, Count):
            return end.number, None
        if end.value == Value.NO_RECORDS_FOUND:
            return 0, None
        raise Incomplete(_refusal(end))

    def _find_newest(
        self,
    ) -> Generator[Request, Count | Response, Count | Response]:
        """Ask for the newest record, again if it does not come."""
        for _ in range(_ATTEMPTS):
            end = yield Request(_REPORT, Operator.LAST_RECORD)
            if self._last is not None or end != _SENT:
                break  # a notification may get lost, an answer does not
        return end

    def _find_start(self) -> Generator[Request, Count | Response, None]:
        """Ask for the oldest record, behind which a gap can be told."""
        self._last = self.mark = self._since = None
        yield Request(_REPORT, Operator.FIRST_RECORD)
        if self._last is not None:
            self.mark = self._last - 1 & 0xFFFF
            self.record(self._last, self._stamps[self._last])


def _report(since: int | None) -> Request:
    if since is None:
        return Request(_REPORT, Operator.ALL_RECORDS)
    return Request(_REPORT, Operator.GREATER_OR_EQUAL, since)


def _refuse(end: Count | Response) -> None:
    if isinstance(end, Count) or end.value not in (
        Value.SUCCESS,
        Value.NO_RECORDS_FOUND,
        Value.PROCEDURE_NOT_COMPLETED,
    ):
        raise Incomplete(_refusal(end))


def _refusal(end: Count | Response) -> str:
    if isinstance(end, Count):
        return f"the device answers with a count, {end.number}, instead of records"
    known = end.value in {*Value}
    name = Value(end.value).name.lower() if known else f"code {end.value}"
    return f"the device refuses its records: {name.replace('_', ' ')}"


def _newest(sequences: list[int]) -> int:
    """Return the newest of numbers that may have wrapped from 65535 to 0."""
    if max(sequences) - min(sequences) > _LAST_SEQUENCE // 2:
        return max(number for number in sequences if number <= _LAST_SEQUENCE // 2)
    return max(sequences)


def _count(read: Cursor) -> int:
    operand = read.rest()
    if len(operand) not in (1, 2, 4):
        raise read.error(
            "count",
            f"has {len(operand)} bytes, not 1, 2 or 4",
            Fault.TRUNCATED if len(operand) in (0, 3) else Fault.BAD_LENGTH,
            size=len(operand),
        )
    return int.from_bytes(operand, "little")


def _show(payload: bytes, *, dialect: str = "standard", role: str = "any") -> Shown:
    omron = OpCode.SEQUENCE_NUMBER_OF_LATEST_RECORD_RESPONSE
    if role == "response" and payload[:1] != bytes([omron]):
        decode_answer(payload)
    with Cursor("Record Access Control Point", payload) as read:
        raw = read.u8("op code")
        known = (
            {*OpCode} if dialect == "omron" else {code for code in OpCode if code < 9}
        )
        if raw not in known:
            problem = f"{raw:#04x} is reserved"
            raise read.error("op code", problem, Fault.RESERVED_VALUE, size=1)
        op_code = OpCode(raw)
        raw = read.u8("operator")
        if raw not in {*Operator}:
            problem = f"{raw:#04x} is reserved"
            raise read.error("operator", problem, Fault.RESERVED_VALUE, size=1)
        operator = Operator(raw)
        shown: Shown = {
            "op_code": int(op_code),
            "op": op_code.name.lower(),
            "operator": int(operator),
            "operator_name": operator.name.lower(),
        }
        if op_code in _COUNTS:
            shown["count"] = _count(read)
        elif op_code == OpCode.SEQUENCE_NUMBER_OF_LATEST_RECORD_RESPONSE:
            shown["sequence_number"] = read.u16("sequence number")
        elif op_code == OpCode.RESPONSE_CODE:
            shown |= _show_response(read)
        elif operator in (
            Operator.LESS_OR_EQUAL,
            Operator.GREATER_OR_EQUAL,
            Operator.WITHIN_RANGE,
        ):
            shown |= _show_filter(read, operator, dialect)
        return shown | trailing(read.rest())


def _show_response(read: Cursor) -> Shown:
    request, value = read.u8("request op code"), read.u8("response value")
    known = value in {*Value}
    return {
        "request_op_code": request,
        "response_value": value,
        "response": Value(value).name.lower() if known else "reserved",
    }


def _show_filter(read: Cursor, operator: Operator, dialect: str) -> Shown:
    kind = read.u8("filter type")
    if kind not in ((1, 2, 4) if dialect == "omron" else (1, 2)):
        problem = f"{kind:#04x} is reserved"
        raise read.error("filter type", problem, Fault.RESERVED_VALUE, size=1)
    ranged = operator == Operator.WITHIN_RANGE
    shown: Shown = {"filter_type": kind}
    for name in ("min", "max") if ranged else ("value",):
        by_time = kind == _FILTER_TIME
        shown[name] = str(date_time(read, name)) if by_time else read.u16(name)
    return shown


KINDS = {
    "gatt.racp": PayloadKind(
        _show,
        {"dialect": ("standard", "omron"), "role": ("any", "request", "response")},
    )
}

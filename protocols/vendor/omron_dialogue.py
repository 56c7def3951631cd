"""Omron: the dialogues by which a standard cuff gives its records.

Source: field notes on Omron's Bluetooth devices (docs/reference/sources.md);
Bluetooth SIG, Glucose Service 1.0.1, §3.4; User Data Service 1.1, §3.

Each function is a dialogue without its radio: it yields what to write, is sent
the answer, and returns what came of it.
"""

from collections.abc import Callable, Generator
from typing import TypeAlias

from protocols.gatt import racp, user_data
from protocols.gatt.racp import Count, Incomplete, OpCode, Operator, Value
from protocols.gatt.user_data import Op
from protocols.vendor import omron

Answer: TypeAlias = tuple[bytes, int]
"""The control point's indication, and how many records came before it."""

_ATTEMPTS = 3


class NotConsented(Exception):
    """The device serves no user to us."""


def download(
    since: int | None, is_same: Callable[[], bool] | None = None
) -> Generator[bytes, Answer, int | None]:
    """Ask the Record Access Control Point for what is behind a number.

    Args:
        since: The number up to which all is known; None is nothing.
        is_same: Says whether the record of that number came, and is the one that is
            known; if not, the device was erased, and is read as a whole. None where
            that can't be told, and the number is believed.

    Returns:
        The number up to which all is known now; None if the device tells none. Where
        nothing came it is as it was: a device that names a newest record and gives
        none may give it at the next visit.

    Raises:
        Incomplete: The device counts more records than come, or fails.
        DecodeError: It answers something else.
    """
    payload, came = yield omron.ask_newest()
    newest = omron.decode_newest(payload)
    if newest is not None and newest == since and is_same is None:
        return newest
    start = before = None
    if since is not None and newest is not None and newest >= since:
        start, before = since + 1 if is_same is None else since, since
    for _ in range(_ATTEMPTS):
        payload, _ = yield _request(OpCode.REPORT_NUMBER_OF_STORED_RECORDS, start)
        counted = racp.decode_answer(payload)
        expected = counted.number if isinstance(counted, Count) else None
        if expected == 0 or counted == racp.Response(_NUMBER, Value.NO_RECORDS_FOUND):
            if start is None or is_same is None:
                return before
            start = None  # the known one is gone
            continue
        payload, came = yield _request(OpCode.REPORT_STORED_RECORDS, start)
        end = racp.decode_answer(payload)
        if end in (_SENT, _NONE_FOUND):
            if expected is None or came >= expected:
                if start is None or is_same is None or is_same():
                    return newest if came else before
                start = None  # another record stands where the known one was
        elif start is None or end not in _NOT_BEHIND:
            raise Incomplete(f"the device ends its report with [{payload.hex(' ')}]")
        else:
            start = None  # it does not know how to begin behind a number
    raise Incomplete(f"the device counts {expected} records, and {came} came")


def consent(
    code: int, user: int | None
) -> Generator[user_data.Request, user_data.Response, int]:
    """Have a device send a user's data to us.

    Args:
        code: Our consent code, 0 to 9999.
        user: As which we are registered; None if never.

    Returns:
        The user.

    Raises:
        NotConsented: It registers nobody, or does not serve whom it registered.
    """
    if user is not None:
        answer = yield user_data.Request(Op.CONSENT, user, code)
        if answer.value == user_data.Value.SUCCESS:
            return user
    answer = yield user_data.Request(Op.REGISTER_NEW_USER, consent_code=code)
    if (user := answer.user) is None:
        raise NotConsented(f"it registers no user for us: code {answer.value}")
    answer = yield user_data.Request(Op.CONSENT, user, code)
    if answer.value != user_data.Value.SUCCESS:
        raise NotConsented(f"it does not serve user {user}: code {answer.value}")
    return user


_NUMBER = OpCode.REPORT_NUMBER_OF_STORED_RECORDS
_SENT = racp.Response(OpCode.REPORT_STORED_RECORDS, Value.SUCCESS)
_NONE_FOUND = racp.Response(OpCode.REPORT_STORED_RECORDS, Value.NO_RECORDS_FOUND)
# It can't; where it is busy or does not come to an end, it may at the next visit.
_NOT_BEHIND = [
    racp.Response(OpCode.REPORT_STORED_RECORDS, value)
    for value in (
        Value.OP_CODE_NOT_SUPPORTED,
        Value.INVALID_OPERATOR,
        Value.OPERATOR_NOT_SUPPORTED,
        Value.INVALID_OPERAND,
        Value.OPERAND_NOT_SUPPORTED,
    )
]


def _request(op_code: OpCode, start: int | None) -> bytes:
    if start is None:
        return racp.Request(op_code, Operator.ALL_RECORDS).encode()
    return racp.Request(op_code, Operator.GREATER_OR_EQUAL, start).encode()

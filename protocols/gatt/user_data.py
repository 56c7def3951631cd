"""User Data Service: whose data a device sends, and a few of the data.

Source: Bluetooth SIG, User Data Service 1.1, §3; GATT Specification Supplement.
Op code 0x40 is Omron's, by its sample code alone.

    control point    op code u8 | operand
      01 register    consent code u16, 0 to 9999; the answer brings the user
      02 consent     user u8, consent code u16
      03 delete the data of the user who consented
      04 list all users
      05 delete      user u8
      20 response    request's op code u8, value u8, parameter
      40 register    user u8, consent code u16

    User Index                 u8, 255 is unknown
    Database Change Increment  u32
    Date of Birth              year u16, month u8, day u8; 0 is unknown
    Weight                     u16, in 0.005 kg
    Height                     u16, in 0.01 m; some devices are said to send 0.01 cm

A consent code opens the data of a person: it belongs in no log.
"""

from dataclasses import dataclass, field
from decimal import Decimal
from enum import IntEnum
from typing import NamedTuple
from uuid import UUID

from protocols.cursor import Cursor
from protocols.errors import Fault
from protocols.gatt.uuid import sig
from protocols.kinds import PayloadKind, Shown, trailing

SERVICE: UUID = sig(0x181C)
DATE_OF_BIRTH: UUID = sig(0x2A85)
HEIGHT: UUID = sig(0x2A8E)
WEIGHT: UUID = sig(0x2A98)
DATABASE_CHANGE_INCREMENT: UUID = sig(0x2A99)
USER_INDEX: UUID = sig(0x2A9A)
USER_CONTROL_POINT: UUID = sig(0x2A9F)

_MOST_CONSENT = 9999


class Op(IntEnum):
    """What a message asks or answers; the last one is Omron's."""

    REGISTER_NEW_USER = 0x01
    CONSENT = 0x02
    DELETE_USER_DATA = 0x03
    LIST_ALL_USERS = 0x04
    DELETE_USERS = 0x05
    RESPONSE = 0x20
    REGISTER_NEW_USER_WITH_INDEX = 0x40


class Value(IntEnum):
    """What became of a request."""

    SUCCESS = 1
    OP_CODE_NOT_SUPPORTED = 2
    INVALID_PARAMETER = 3
    OPERATION_FAILED = 4
    USER_NOT_AUTHORIZED = 5


_WITH_USER = (Op.CONSENT, Op.DELETE_USERS, Op.REGISTER_NEW_USER_WITH_INDEX)
_WITH_CODE = (Op.REGISTER_NEW_USER, Op.CONSENT, Op.REGISTER_NEW_USER_WITH_INDEX)


class DateOfBirth(NamedTuple):
    """A date of birth as it was on the wire, impossible ones too; 0 is unknown."""

    year: int
    month: int
    day: int


@dataclass(frozen=True, slots=True)
class Request:
    """A request to the control point.

    Attributes:
        op: Any but the response.
        user: 0 to 254; where the op code needs it.
        consent_code: 0 to 9999; where the op code needs it.
    """

    op: Op
    user: int | None = None
    consent_code: int | None = field(default=None, repr=False)

    def encode(self) -> bytes:
        """Return the bytes to write.

        Raises:
            ValueError: A user or a consent code is missing, or too many, or out
                of range.
        """
        needs = self.op in _WITH_USER, self.op in _WITH_CODE
        has = self.user is not None, self.consent_code is not None
        if self.op == Op.RESPONSE or needs != has:
            raise ValueError(f"{self} has not what a request of its op code needs")
        value = bytes([self.op])
        if self.user is not None:
            value += bytes([self.user])
        if self.consent_code is not None:
            if not 0 <= self.consent_code <= _MOST_CONSENT:
                raise ValueError(f"a consent code has up to 4 digits: {self}")
            value += self.consent_code.to_bytes(2, "little")
        return value


@dataclass(frozen=True, slots=True)
class Response:
    """How a request ended.

    Attributes:
        request: The op code that it answers.
        value: One of `Value`, or a reserved code.
        parameter: Behind the value: after a registration the new user.
    """

    request: int
    value: int
    parameter: bytes = b""

    @property
    def user(self) -> int | None:
        """The user that was registered; None if none was, or it isn't told."""
        registered = self.request in (
            Op.REGISTER_NEW_USER,
            Op.REGISTER_NEW_USER_WITH_INDEX,
        )
        if not registered or self.value != Value.SUCCESS or not self.parameter:
            return None
        return self.parameter[0]


def decode_control_point(
    payload: bytes, *, omron: bool = False
) -> tuple[Request | Response, bytes]:
    """Read a request or an answer, and the bytes behind a request.

    Args:
        payload: The whole value.
        omron: Whether Omron's op code is known.

    Raises:
        DecodeError: ``payload`` is cut short, its op code is reserved, or its
            consent code above 9999.
    """
    with Cursor("User Control Point", payload) as read:
        raw = read.u8("op code")
        known = {*Op} if omron else {*Op} - {Op.REGISTER_NEW_USER_WITH_INDEX}
        if raw not in known:
            problem = f"{raw:#04x} is reserved"
            raise read.error("op code", problem, Fault.RESERVED_VALUE, size=1)
        op = Op(raw)
        if op == Op.RESPONSE:
            answers, value = read.u8("request op code"), read.u8("response value")
            return Response(answers, value, read.rest()), b""
        user = read.u8("user") if op in _WITH_USER else None
        code = read.u16("consent code") if op in _WITH_CODE else None
        if code is not None and code > _MOST_CONSENT:
            problem = f"is above {_MOST_CONSENT}"
            raise read.error("consent code", problem, Fault.OUT_OF_RANGE, size=2)
        return Request(op, user, code), read.rest()


def decode_user_index(payload: bytes) -> tuple[int, bytes]:
    """Read a User Index, 255 for an unknown user, and the bytes behind it.

    Raises:
        DecodeError: ``payload`` is cut short.
    """
    with Cursor("User Index", payload) as read:
        return read.u8("user index"), read.rest()


def decode_change_increment(payload: bytes) -> tuple[int, bytes]:
    """Read a Database Change Increment, and the bytes behind it.

    Raises:
        DecodeError: ``payload`` is cut short.
    """
    with Cursor("Database Change Increment", payload) as read:
        return read.u32("increment"), read.rest()


def decode_date_of_birth(payload: bytes) -> tuple[DateOfBirth, bytes]:
    """Read a Date of Birth, and the bytes behind it.

    Raises:
        DecodeError: ``payload`` is cut short.
    """
    with Cursor("Date of Birth", payload) as read:
        born = DateOfBirth(read.u16("year"), read.u8("month"), read.u8("day"))
        return born, read.rest()


def decode_weight(payload: bytes) -> tuple[Decimal, bytes]:
    """Read a Weight in kg, 0 to 327.675, and the bytes behind it.

    Raises:
        DecodeError: ``payload`` is cut short.
    """
    with Cursor("Weight", payload) as read:
        return read.u16("weight") * Decimal("0.005"), read.rest()


def decode_height(payload: bytes) -> tuple[Decimal, bytes]:
    """Read a Height in m, 0 to 655.35, and the bytes behind it.

    Raises:
        DecodeError: ``payload`` is cut short.
    """
    with Cursor("Height", payload) as read:
        return read.u16("height") * Decimal("0.01"), read.rest()


def _show_control_point(payload: bytes, *, dialect: str = "standard") -> Shown:
    seen, rest = decode_control_point(payload, omron=dialect == "omron")
    if isinstance(seen, Response):
        known = seen.value in {*Value}
        shown: Shown = {
            "op_code": int(Op.RESPONSE),
            "op": Op.RESPONSE.name.lower(),
            "request_op_code": seen.request,
            "response_value": seen.value,
            "response": Value(seen.value).name.lower() if known else "reserved",
        }
        if seen.user is not None:
            shown["user_index"] = seen.user
            return shown | trailing(seen.parameter[1:])
        return shown | ({"parameter": seen.parameter.hex()} if seen.parameter else {})
    shown = {"op_code": int(seen.op), "op": seen.op.name.lower()}
    if seen.user is not None:
        shown["user_index"] = seen.user
    if seen.consent_code is not None:
        shown["consent_code"] = seen.consent_code
    return shown | trailing(rest)


def _show_user_index(payload: bytes) -> Shown:
    user, rest = decode_user_index(payload)
    return {"user_index": user} | trailing(rest)


def _show_change_increment(payload: bytes) -> Shown:
    increment, rest = decode_change_increment(payload)
    return {"increment": increment} | trailing(rest)


def _show_date_of_birth(payload: bytes) -> Shown:
    born, rest = decode_date_of_birth(payload)
    return born._asdict() | trailing(rest)


def _show_weight(payload: bytes) -> Shown:
    kilograms, rest = decode_weight(payload)
    return {"kg": kilograms} | trailing(rest)


def _show_height(payload: bytes) -> Shown:
    metres, rest = decode_height(payload)
    return {"m": metres} | trailing(rest)


KINDS = {
    "gatt.database_change_increment": PayloadKind(_show_change_increment),
    "gatt.date_of_birth": PayloadKind(_show_date_of_birth),
    "gatt.height": PayloadKind(_show_height),
    "gatt.user_control_point": PayloadKind(
        _show_control_point, {"dialect": ("standard", "omron")}
    ),
    "gatt.user_index": PayloadKind(_show_user_index),
    "gatt.weight": PayloadKind(_show_weight),
}

"""IEEE 11073-20601 APDUs: association, and what an association carries.

Source: IEEE 11073-20601, MDER encoding; field notes on a meter's USB protocol,
checked against public test frames (docs/reference/sources.md).

    choice u16 | length u16 | content        all numbers with the high byte first

    E200 AARQ  version u32, data protocols
    E300 AARE  result u16, one data protocol
    E400 RLRQ, E500 RLRE, E600 ABRT   reason u16
    E700 PRST  octets: invoke id u16, message u16, length u16, arguments

    octets           length u16, bytes
    list             count u16, length u16, items
    data protocol    id u16, octets; those of id 20601 are
                     version u32, encoding u16, nomenclature u32, functional
                     units u32, system type u32, octets of the system's id,
                     configuration id u16, requests u16, u8, u8, options list
    event            handle u16, time u32, type u16, octets
    action           handle u16, type u16, octets
    attributes       handle u16, list of id u16 and octets
    error            value u16, octets             reject  problem u16

A data protocol that is not 20601, and a message that is none of those, come as
raw bytes; so does what an event or an action tells, which depends on its type.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum

from protocols.cursor import Cursor
from protocols.errors import Fault

PHD = 20601  # the data protocol of personal health devices


class Choice(IntEnum):
    """What kind of APDU it is."""

    AARQ = 0xE200
    AARE = 0xE300
    RLRQ = 0xE400
    RLRE = 0xE500
    ABRT = 0xE600
    PRST = 0xE700


class Result(IntEnum):
    """How a manager answers an association request."""

    ACCEPTED = 0
    REJECTED_PERMANENT = 1
    REJECTED_TRANSIENT = 2
    ACCEPTED_UNKNOWN_CONFIG = 3
    REJECTED_NO_COMMON_PROTOCOL = 4
    REJECTED_NO_COMMON_PARAMETER = 5
    REJECTED_UNKNOWN = 6
    REJECTED_UNAUTHORIZED = 7
    REJECTED_UNSUPPORTED_ASSOC_VERSION = 8


class Message(IntEnum):
    """What the data of an association are about."""

    EVENT = 0x0100
    CONFIRMED_EVENT = 0x0101
    GET = 0x0103
    SET = 0x0104
    CONFIRMED_SET = 0x0105
    ACTION = 0x0106
    CONFIRMED_ACTION = 0x0107
    EVENT_RESPONSE = 0x0201
    GET_RESPONSE = 0x0203
    SET_RESPONSE = 0x0205
    ACTION_RESPONSE = 0x0207
    ERROR = 0x0300
    REJECT = 0x0400


_EVENTS = (Message.EVENT, Message.CONFIRMED_EVENT, Message.EVENT_RESPONSE)
_ACTIONS = (Message.ACTION, Message.CONFIRMED_ACTION, Message.ACTION_RESPONSE)


@dataclass(frozen=True, slots=True)
class Association:
    """What an agent or a manager says of itself, by data protocol 20601.

    Attributes:
        version: Bits of the protocol's versions.
        encoding: Bits of the encoding rules.
        nomenclature: Bits of the nomenclature's version.
        functional_units: Bits.
        system_type: Bits: manager or agent.
        system_id: Names this one system, 8 bytes.
        config_id: Of the agent's configuration; 0 of a manager.
        requests: The 4 bytes of what data may be asked for.
        options: The option list, its count included.
    """

    version: int
    encoding: int
    nomenclature: int
    functional_units: int
    system_type: int
    system_id: bytes
    config_id: int
    requests: bytes
    options: bytes


@dataclass(frozen=True, slots=True)
class DataProtocol:
    """One data protocol of an association.

    Attributes:
        id: 20601, or another.
        association: What it says, if it is 20601 and not empty.
        raw: What it says otherwise.
    """

    id: int
    association: Association | None
    raw: bytes = b""


@dataclass(frozen=True, slots=True)
class AssociationRequest:
    """AARQ: an agent wants to talk."""

    version: int
    protocols: tuple[DataProtocol, ...]


@dataclass(frozen=True, slots=True)
class AssociationResponse:
    """AARE: what a manager answers; ``result`` may be a reserved number."""

    result: int
    protocol: DataProtocol


@dataclass(frozen=True, slots=True)
class Ending:
    """RLRQ, RLRE or ABRT: the association ends, or is cut off."""

    choice: Choice
    reason: int


@dataclass(frozen=True, slots=True)
class Event:
    """Something that the agent reports, or the answer to it.

    Attributes:
        handle: The object that it is about; 0 is the whole system.
        time: The agent's relative time.
        type: A code of the nomenclature.
        info: What it tells.
    """

    handle: int
    time: int
    type: int
    info: bytes


@dataclass(frozen=True, slots=True)
class Action:
    """Something that an object is to do, or the answer to it.

    Attributes:
        handle: The object.
        type: A code of the nomenclature.
        info: What it tells.
    """

    handle: int
    type: int
    info: bytes


@dataclass(frozen=True, slots=True)
class Attributes:
    """An object's attributes by their codes.

    Attributes:
        handle: The object.
        values: Code and bytes, in the order in which they came.
    """

    handle: int
    values: tuple[tuple[int, bytes], ...]


@dataclass(frozen=True, slots=True)
class Failure:
    """The answer to what went wrong: an error's value or a reject's problem."""

    code: int
    parameter: bytes = b""


@dataclass(frozen=True, slots=True)
class Data:
    """PRST: one message of an association.

    Attributes:
        invoke_id: Of the request; an answer has the same.
        message: One of `Message`, or a reserved code.
        content: By the message; bytes where it is not known.
    """

    invoke_id: int
    message: int
    content: Event | Action | Attributes | Failure | bytes


Apdu = AssociationRequest | AssociationResponse | Ending | Data


def decode_apdu(payload: bytes) -> Apdu:
    """Read one whole APDU.

    Raises:
        DecodeError: ``payload`` is cut short, too long, or of another choice; a
            length in it contradicts another.
    """
    with Cursor("APDU", payload) as read:
        choice = read.u16_be("choice")
        if choice not in {*Choice}:
            problem = f"is {choice:#06x}, which is none of them"
            raise read.error("choice", problem, Fault.BAD_HEADER, size=2)
        with counted(read, "length"):
            match Choice(choice):
                case Choice.AARQ:
                    return _request(read)
                case Choice.AARE:
                    result = read.u16_be("result")
                    return AssociationResponse(result, _protocol(read))
                case Choice.PRST:
                    return _data(read)
                case ending:
                    return Ending(ending, read.u16_be("reason"))


def encode_apdu(choice: Choice, content: bytes) -> bytes:
    """Return an APDU as bytes for the wire."""
    return choice.to_bytes(2, "big") + octets(content)


def encode_data(invoke_id: int, message: Message, arguments: bytes) -> bytes:
    """Return a PRST as bytes for the wire.

    Args:
        invoke_id: 0 to 65535.
        message: What it is about.
        arguments: 0 to 65527 bytes.
    """
    head = invoke_id.to_bytes(2, "big") + message.to_bytes(2, "big")
    return encode_apdu(Choice.PRST, octets(head + octets(arguments)))


def octets(content: bytes) -> bytes:
    """Return ``content`` with its length before it."""
    return len(content).to_bytes(2, "big") + content


@contextmanager
def counted(read: Cursor, field: str) -> Iterator[int]:
    """Read a length; what is read inside must have just that many bytes."""
    length = read.u16_be(field)
    end = read.left - length
    if end < 0:
        problem = f"is {length}, {read.left} bytes remain"
        raise read.error(field, problem, Fault.TRUNCATED, size=2)
    yield length
    if read.left != end:
        problem = f"is {length}, which the content has not"
        raise read.error(field, problem, Fault.BAD_LENGTH)


def take_octets(read: Cursor, field: str) -> bytes:
    """Read a length and as many bytes."""
    return read.take(read.u16_be(f"length of {field}"), field)


def take_attributes(read: Cursor) -> tuple[tuple[int, bytes], ...]:
    """Read a list of attributes, each its code and its bytes."""
    count = read.u16_be("count of attributes")
    with counted(read, "length of attributes"):
        return tuple(
            (read.u16_be("attribute"), take_octets(read, "value")) for _ in range(count)
        )


def _request(read: Cursor) -> AssociationRequest:
    version, count = read.u32_be("version"), read.u16_be("count of protocols")
    with counted(read, "length of protocols"):
        return AssociationRequest(version, tuple(_protocol(read) for _ in range(count)))


def _protocol(read: Cursor) -> DataProtocol:
    protocol = read.u16_be("data protocol")
    with counted(read, "length of protocol") as length:
        if protocol != PHD or length == 0:
            return DataProtocol(protocol, None, read.take(length, "protocol"))
        association = Association(
            version=read.u32_be("protocol version"),
            encoding=read.u16_be("encoding rules"),
            nomenclature=read.u32_be("nomenclature version"),
            functional_units=read.u32_be("functional units"),
            system_type=read.u32_be("system type"),
            system_id=take_octets(read, "system id"),
            config_id=read.u16_be("configuration id"),
            requests=read.take(4, "requests"),
            options=read.take(2, "count of options") + take_octets(read, "options"),
        )
        return DataProtocol(protocol, association)


def _data(read: Cursor) -> Data:
    with counted(read, "length of data"):
        invoke_id, message = read.u16_be("invoke id"), read.u16_be("message")
        with counted(read, "length of message") as length:
            return Data(invoke_id, message, _content(read, message, length))


def _content(
    read: Cursor, message: int, length: int
) -> Event | Action | Attributes | Failure | bytes:
    if message in _EVENTS:
        handle, time = read.u16_be("handle"), read.u32_be("time")
        return Event(handle, time, read.u16_be("type"), take_octets(read, "info"))
    if message in _ACTIONS:
        handle, kind = read.u16_be("handle"), read.u16_be("type")
        return Action(handle, kind, take_octets(read, "info"))
    if message == Message.GET_RESPONSE:
        return Attributes(read.u16_be("handle"), take_attributes(read))
    if message == Message.ERROR:
        return Failure(read.u16_be("error"), take_octets(read, "parameter"))
    if message == Message.REJECT:
        return Failure(read.u16_be("problem"))
    return read.take(length, "arguments")

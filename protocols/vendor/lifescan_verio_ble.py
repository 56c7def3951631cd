"""LifeScan OneTouch Verio Flex, Reflect and Select Plus Flex: packets by BLE.

Source: field notes on the Verio's BLE protocol, checked against captured
frames (docs/reference/sources.md).

A packet is one write or one notification: an octet, and a piece of a
`lifescan` frame whose link octet is 0.

    00nnnnnn    the first of n packets; all messages of `lifescan_verio` fit
                into one
    01nnnnnn    continuation n
    10nnnnnn    an acknowledgement, of one octet: 81 answers a frame that came
                in one packet

How a frame in several packets is acknowledged is told in two ways, so it is
not joined here. 11nnnnnn is said to refuse.
"""

from dataclasses import dataclass
from typing import TypeAlias
from uuid import UUID

from protocols.cursor import Cursor
from protocols.errors import DecodeError, Fault
from protocols.kinds import PayloadKind, Shown
from protocols.stream import Damaged
from protocols.vendor.lifescan import Frame, Link, decode_frame

SERVICE: UUID = UUID("af9df7a1-e595-11e3-96b4-0002a5d5c51b")
WRITE: UUID = UUID("af9df7a2-e595-11e3-96b4-0002a5d5c51b")
NOTIFY: UUID = UUID("af9df7a3-e595-11e3-96b4-0002a5d5c51b")

ACKNOWLEDGE = bytes([0x81])

_WHOLE = 0x01
_LARGEST = 20  # octets, what fits into a notification at the smallest MTU
_FIRST, _CONTINUATION, _ACKNOWLEDGEMENT = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Whole:
    """A frame in one packet.

    Attributes:
        message: Its message: the prefix, and what follows it.
    """

    message: bytes


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a frame in several packets.

    Attributes:
        packets: How many they are; None if this is not the first.
        number: Which one this is; 0 is the first.
        data: The part.
    """

    packets: int | None
    number: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """The other side has a frame; ``number`` is 1 if it came in one packet."""

    number: int


Packet: TypeAlias = Whole | Piece | Acknowledgement


def encode(message: bytes) -> bytes:
    """Return the packet that carries ``message``.

    Args:
        message: Of `lifescan_verio`, 13 bytes at most.

    Raises:
        ValueError: It does not fit into one packet.
    """
    packet = bytes([_WHOLE]) + Frame(Link(0), message).encode()
    if len(packet) > _LARGEST:
        raise ValueError(f"{len(message)} bytes do not fit into one packet")
    return packet


def decode(payload: bytes) -> Packet:
    """Read one packet.

    Raises:
        DecodeError: ``payload`` is cut short, too long, or damaged.
    """
    with Cursor("Verio packet", payload) as read:
        form, number = divmod(read.u8("fragment"), 64)
        if form == _ACKNOWLEDGEMENT:
            return Acknowledgement(number)
        if form == _FIRST and number == 1:
            return Whole(_message(payload, read.rest()))
        if form not in (_FIRST, _CONTINUATION) or number == 0:
            problem = f"is {payload[0]:#04x}, no packet"
            raise read.error("fragment", problem, Fault.BAD_HEADER, size=1)
        if not read.left:
            raise read.error("data", "is missing", Fault.TRUNCATED)
        data = read.rest()
        if form == _CONTINUATION:
            return Piece(None, number, data)
        if len(data) > 1 and data[1] <= len(data):
            problem = f"has {data[1]} bytes, which are all here, and not in {number}"
            raise read.error("frame", problem, Fault.BAD_LENGTH, size=len(data))
        return Piece(number, 0, data)


class Packets:
    """Notifications in, messages out; raises on no input.

    An acknowledgement is passed over: it says nothing that the answer behind it
    does not. A frame in several packets is damage here.
    """

    def feed(self, data: bytes) -> list[bytes | Damaged]:
        """Take one notification; return its message, if it carries one."""
        try:
            match decode(data):
                case Whole(message):
                    return [message]
                case Piece():
                    return [Damaged(data, "a frame in several packets")]
        except DecodeError as error:
            return [Damaged(data, error.fault)]
        return []

    def resync(self) -> list[bytes | Damaged]:
        """Return nothing: no packet waits for another one."""
        return []


def _message(payload: bytes, data: bytes) -> bytes:
    try:
        frame = decode_frame(data)
    except DecodeError as error:
        what, field, problem, _, offset, fault = error.args
        raise DecodeError(what, field, problem, payload, offset + 1, fault) from error
    if frame.link:
        problem = f"is {int(frame.link):#04x}, not 0"
        raise DecodeError("Verio packet", "link", problem, payload, 3)
    if not frame.message:
        raise DecodeError("Verio packet", "prefix", "is missing", payload, 4)
    return frame.message


def _show_packet(payload: bytes) -> Shown:
    packet = decode(payload)
    if isinstance(packet, Acknowledgement):
        return {"fragment": "acknowledgement", "number": packet.number}
    if isinstance(packet, Whole):
        prefix, said = packet.message[0], packet.message[1:].hex()
        return {"fragment": "first", "packets": 1, "prefix": prefix, "payload": said}
    data = packet.data.hex()
    if packet.packets is None:
        return {"fragment": "continuation", "number": packet.number, "data": data}
    return {"fragment": "first", "packets": packet.packets, "data": data}


KINDS = {"lifescan.verio_ble": PayloadKind(_show_packet)}

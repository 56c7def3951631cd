"""Microlife cuffs: their frames, and what the host asks in them.

Source: field notes on the Microlife BP3GY1-2N, B3 and B6, checked against
captured frames (docs/reference/sources.md).

    0x4D | sender u8 | length u16 | payload | sum u8       high byte first

``sender`` is FF for the host, 3A for a cuff. ``length`` counts payload and sum;
``sum`` is that of all before it, modulo 256. Older cuffs answer as 31 and pack a
record into 7 bytes: they are refused. A payload begins with its command, which
the answer repeats (`microlife_answers`); an answer without data is one byte: 81
done, 91 refused, 92 nothing there. 03, 06 and 08 erase or overwrite, and are not
here.
"""

from dataclasses import dataclass
from enum import IntEnum

from protocols.crc import sum8
from protocols.cursor import Cursor
from protocols.errors import Fault
from protocols.gatt.time import DateTime
from protocols.kinds import PayloadKind, Shown
from protocols.stream import Frames

ALL_USERS = 0xFD
_START = 0x4D
_HEAD = 4  # start, sender, length
_PACKED = 0x31  # a cuff whose records have another layout
_MOST = 4096  # above any answer: 255 records are 2588 bytes
_EPOCH = 2000


class Sender(IntEnum):
    """Who sent a frame."""

    HOST = 0xFF
    CUFF = 0x3A


class Reply(IntEnum):
    """An answer that carries no data."""

    DONE = 0x81
    REFUSED = 0x91
    NOTHING_THERE = 0x92


class Command(IntEnum):
    """What a payload begins with."""

    HISTORY = 0x00
    DISCONNECT = 0x04
    VERSION = 0x05
    LAST_RESULT = 0x07
    INFORMATION = 0x0B
    CLOCK = 0x0C
    SET_CLOCK = 0x0D
    TRANSMITTED = 0x0E
    SERIAL_NUMBER = 0x0F


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame, without what delimits it.

    Attributes:
        sender: Who sent it.
        payload: At least one byte.
    """

    sender: Sender
    payload: bytes

    def encode(self) -> bytes:
        """Return the frame as bytes for the wire."""
        head = bytes([_START, self.sender]) + (len(self.payload) + 1).to_bytes(2)
        body = head + self.payload
        return body + bytes([sum8(body)])


def ask_history(user: int = ALL_USERS) -> Frame:
    """Return the request for all records.

    Its six bytes for a clock stay 0, as clients send it that leave the cuff's
    clock alone.

    Args:
        user: A user slot, 1 or 2, or `ALL_USERS`.
    """
    return Frame(Sender.HOST, bytes([Command.HISTORY, *bytes(6), user]))


def ask_version() -> Frame:
    """Return the request for user, firmware and battery."""
    return Frame(Sender.HOST, bytes([Command.VERSION]))


def ask_last_result() -> Frame:
    """Return the request for the newest record alone."""
    return Frame(Sender.HOST, bytes([Command.LAST_RESULT]))


def ask_information() -> Frame:
    """Return the request for the device's information."""
    return Frame(Sender.HOST, bytes([Command.INFORMATION]))


def ask_clock() -> Frame:
    """Return the request for the clock."""
    return Frame(Sender.HOST, bytes([Command.CLOCK]))


def ask_serial_number() -> Frame:
    """Return the request for the serial number."""
    return Frame(Sender.HOST, bytes([Command.SERIAL_NUMBER, 0]))


def set_clock(time: DateTime) -> Frame:
    """Return the request that sets the clock.

    Args:
        time: Local time of the years 2000 to 2099.

    Raises:
        ValueError: ``time`` names no moment, or one of another century.
    """
    if time.moment is None or not _EPOCH <= time.year < _EPOCH + 100:
        raise ValueError(f"{time} is no time that the cuff can be set to")
    return Frame(Sender.HOST, bytes([Command.SET_CLOCK, time.year - _EPOCH, *time[1:]]))


def transmitted() -> Frame:
    """Return the message that all data arrived."""
    return Frame(Sender.HOST, bytes([Command.TRANSMITTED]))


def disconnect() -> Frame:
    """Return the message that ends the connection; the cuff does not answer it."""
    return Frame(Sender.HOST, bytes([Command.DISCONNECT]))


def decode_frame(data: bytes) -> Frame:
    """Read one whole frame.

    Raises:
        DecodeError: ``data`` is cut short, too long, damaged, or of a cuff with
            packed records.
    """
    with Cursor("Microlife frame", data) as read:
        if (start := read.u8("start")) != _START:
            problem = f"is {start:#04x}, not 0x4d"
            raise read.error("start", problem, Fault.BAD_HEADER, size=1)
        sender = read.u8("sender")
        if sender not in {_PACKED, *Sender}:
            problem = f"is {sender:#04x}, neither 0xff nor 0x3a"
            raise read.error("sender", problem, Fault.BAD_HEADER, size=1)
        length = read.u16_be("length")
        if length < 2 or length != read.left:
            problem = f"is {length}, {read.left} bytes follow"
            raise read.error("length", problem, Fault.BAD_LENGTH, size=2)
        payload = read.take(length - 1, "payload")
        total, right = read.u8("sum"), sum8(data[:-1])
        if total != right:
            problem = f"is {total:#04x}, the frame's is {right:#04x}"
            raise read.error("sum", problem, Fault.BAD_CHECKSUM, size=1)
        if sender == _PACKED:
            problem = "is 0x31, a cuff with records of another layout"
            raise read.error(
                "sender", problem, Fault.UNSUPPORTED_FORMAT, size=len(data) - 1
            )
    return Frame(Sender(sender), payload)


def decoder() -> Frames[Frame]:
    """Return what makes frames of a stream of bytes."""
    return Frames(bytes([_START]), _size, decode_frame)


def read_reply(payload: bytes, command: Command) -> Reply | None:
    """Return what an answer without data says; None if it is another answer.

    Args:
        payload: The payload of the answer.
        command: What was asked; some cuffs repeat it before the reply.
    """
    code = payload[1:] if payload[:1] == bytes([command]) else payload
    return Reply(code[0]) if len(code) == 1 and code[0] in [*Reply] else None


def _size(data: bytes) -> int:
    if len(data) >= 2 and data[1] not in {_PACKED, *Sender}:
        return 0
    if len(data) < _HEAD:
        return _HEAD
    size = _HEAD + int.from_bytes(data[2:_HEAD])
    return size if size <= _MOST else 0


def _show_frame(payload: bytes) -> Shown:
    frame = decode_frame(payload)
    host = frame.sender == Sender.HOST
    shown: Shown = {
        "direction": "host" if host else "device",
        "payload": frame.payload.hex(),
    }
    if host and frame.payload[0] == Command.SET_CLOCK and len(frame.payload) == 7:
        year, *rest = frame.payload[1:]
        shown["set_time"] = str(DateTime(_EPOCH + year, *rest))
    if not host and len(frame.payload) == 1 and frame.payload[0] in [*Reply]:
        shown["reply"] = Reply(frame.payload[0]).name.lower()
    return shown


KINDS = {"microlife.frame": PayloadKind(_show_frame)}

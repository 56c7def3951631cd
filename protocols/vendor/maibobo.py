"""Maibobo (Pulse Wave) RBP-9804, BP-88A and BT5050 modules: their frames.

Source: field notes on the RBP-9804 and BP-88A from several clients, checked
against captured frames (docs/reference/sources.md).

    CC 80 | version u8 | length u8 | group u8 | code u8 | data | check u8

The cuff begins with AA 80. ``length`` counts group, code and data. ``check`` is the
exclusive or of all from ``version``, which is 2, to the last byte of data.

    01 01 connect   01 02 start: INFLATES THE CUFF   01 03 stop
    01 04 off       04 04 battery                    the host sends 00 as data
    01 05 pressure  6 bytes: b4 is its high byte, b1 xor b4 its low byte, where
                    b5 comes first and b0 last
    01 06 result    user u8, year since 2000, month, day, hour, minute, second,
                    systolic, diastolic, pulse u16, high byte first
    01 07 error     code u8
    04 04 battery   u16 in mV

The cuff answers 01 01 to 01 04 with one byte, 0 for done. The clock's six bytes,
the place of the error code and the battery come from clients, not from a vendor's
document; three captured results agree with the clock. A cuff that nobody has set
shows 2014-01-01 01:01:01. A start is named here and can't be encoded: it must
never be sent.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

from protocols.crc import xor8
from protocols.cursor import Cursor
from protocols.errors import DecodeError, Fault
from protocols.gatt.time import DateTime
from protocols.kinds import PayloadKind, Shown
from protocols.stream import Frames

UNSET = DateTime(2014, 1, 1, 1, 1, 1)
_HEAD = 2
_DATA_AT = 6  # where the data stand in a frame
_VERSION = 2
_EPOCH = 2000
_ERRORS = {
    0x01: "pressure_too_high",
    0x02: "upper_bladder_leaks",
    0x05: "lower_bladder_leaks",
    0x06: "no_pulse_signal",
    0x07: "battery_low",
    0x09: "deflation_too_long",
}


class Sender(IntEnum):
    """Who sent a frame, by its first byte."""

    HOST = 0xCC
    CUFF = 0xAA


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame, without what delimits it.

    Attributes:
        sender: Who sent it.
        group: 1 for measuring, 4 for the battery.
        code: What it is, within the group.
        data: 0 to 253 bytes.
    """

    sender: Sender
    group: int
    code: int
    data: bytes

    def encode(self) -> bytes:
        """Return the frame as bytes for the wire.

        Raises:
            ValueError: It is the host's order to inflate the cuff.
        """
        if (self.sender, self.group, self.code) == (Sender.HOST, 1, 2):
            raise ValueError("a start inflates the cuff and is never sent")
        length = len(self.data) + 2
        body = bytes([_VERSION, length, self.group, self.code]) + self.data
        return bytes([self.sender, 0x80]) + body + bytes([xor8(body)])


CONNECT = Frame(Sender.HOST, 1, 1, b"\0")
STOP = Frame(Sender.HOST, 1, 3, b"\0")
POWER_OFF = Frame(Sender.HOST, 1, 4, b"\0")
ASK_BATTERY = Frame(Sender.HOST, 4, 4, b"\0")


@dataclass(frozen=True, slots=True)
class Answer:
    """The cuff's answer to an order.

    Attributes:
        code: The order's code, 1 to 4.
        status: 0 for done.
    """

    code: int
    status: int


@dataclass(frozen=True, slots=True)
class CuffPressure:
    """The pressure in the cuff while it measures, in mmHg: no result."""

    mm_hg: int


@dataclass(frozen=True, slots=True)
class Result:
    """What the cuff measured.

    Attributes:
        user: The cuff's user slot, as it says it.
        time: The cuff's clock; `UNSET` if nobody has set it.
        systolic: 0 to 65535 mmHg.
        diastolic: 0 to 65535 mmHg.
        pulse: 0 to 65535 per minute.
    """

    user: int
    time: DateTime
    systolic: int
    diastolic: int
    pulse: int


@dataclass(frozen=True, slots=True)
class Failed:
    """The measurement failed; there is no result."""

    code: int

    @property
    def reason(self) -> str:
        """Why, as a name; ``unknown`` for a code without one."""
        return _ERRORS.get(self.code, "unknown")


@dataclass(frozen=True, slots=True)
class Battery:
    """The battery's voltage in mV."""

    mv: int


Message: TypeAlias = Answer | CuffPressure | Result | Failed | Battery


def decode_frame(data: bytes) -> Frame:
    """Read one whole frame of the cuff or the host.

    Raises:
        DecodeError: ``data`` is cut short, too long, or damaged.
    """
    with Cursor("Maibobo frame", data) as read:
        first, second = read.take(_HEAD, "head")
        if first not in [*Sender] or second != 0x80:
            problem = f"is {first:02x} {second:02x}, neither aa 80 nor cc 80"
            raise read.error("head", problem, Fault.BAD_HEADER, size=_HEAD)
        version, length = read.u8("version"), read.u8("length")
        if length < 2 or length + 1 != read.left:
            problem = f"is {length}, {max(read.left - 1, 0)} bytes and the check follow"
            raise read.error("length", problem, Fault.BAD_LENGTH, size=1)
        group, code = read.u8("group"), read.u8("code")
        body = read.take(length - 2, "data")
        check, right = read.u8("check"), xor8(data[_HEAD:-1])
        if check != right:
            problem = f"is {check:#04x}, the frame's is {right:#04x}"
            raise read.error("check", problem, Fault.BAD_CHECKSUM, size=1)
        if version != _VERSION:
            problem = f"is {version}, not 2"
            size = len(data) - _HEAD
            raise read.error("version", problem, Fault.UNSUPPORTED_VERSION, size=size)
    return Frame(Sender(first), group, code, body)


def decode_message(frame: Frame) -> Message | None:
    """Read what a frame of the cuff says; None if it is not known.

    Raises:
        DecodeError: The data are not what the frame's code says.
    """
    with Cursor("Maibobo message", frame.data) as read:
        match frame.sender, frame.group, frame.code:
            case Sender.CUFF, 1, 1 | 2 | 3 | 4:
                return Answer(frame.code, read.u8("status"))
            case Sender.CUFF, 1, 5:
                _, high, _, _, low, _ = read.take(6, "pressure")
                return CuffPressure(high << 8 | (low ^ high))
            case Sender.CUFF, 1, 6:
                user = read.u8("user")
                year, *rest = read.take(6, "time")
                return Result(
                    user,
                    DateTime(_EPOCH + year, *rest),
                    read.u16_be("systolic"),
                    read.u16_be("diastolic"),
                    read.u16_be("pulse"),
                )
            case Sender.CUFF, 1, 7:
                return Failed(read.u8("error"))
            case Sender.CUFF, 4, 4:
                return Battery(read.u16_be("battery"))
        read.rest()
    return None


def decoder() -> Frames[Frame]:
    """Return what makes frames of a cuff's stream of bytes."""
    return Frames(bytes([Sender.CUFF, 0x80]), _size, decode_frame)


def _size(data: bytes) -> int:
    if len(data) < _HEAD + 2:
        return _HEAD + 2
    return data[3] + _HEAD + 3 if data[2] == _VERSION and data[3] >= 2 else 0


_ORDERS = {
    (1, 1): "connect",
    (1, 2): "start",
    (1, 3): "stop",
    (1, 4): "power_off",
    (4, 4): "query_battery",
}
_ANSWERS = {1: "connected", 2: "started", 3: "stopped", 4: "powered_off"}


def _show_frame(payload: bytes) -> Shown:
    frame = decode_frame(payload)
    host = frame.sender == Sender.HOST
    shown: Shown = {
        "direction": "host" if host else "device",
        "group": frame.group,
        "code": frame.code,
        "data": frame.data.hex(),
    }
    if host:
        shown["packet"] = _ORDERS.get((frame.group, frame.code), "unknown")
        return shown
    try:
        message = decode_message(frame)
    except DecodeError as error:  # it is about the data; tell where in the frame
        at = _DATA_AT + error.offset
        what, fault = "Maibobo frame", error.fault
        raise DecodeError(
            what, error.field, error.problem, payload, at, fault
        ) from error
    return shown | _show_message(message)


def _show_message(message: Message | None) -> Shown:
    match message:
        case Answer(code, status):
            return {"packet": _ANSWERS[code], "status": status}
        case CuffPressure(pressure):
            return {"packet": "cuff_pressure", "cuff_pressure": pressure}
        case Result():
            return {
                "packet": "result",
                "user": message.user,
                "timestamp": str(message.time)[:-3],
                "second": message.time.second,
                "clock_set": message.time != UNSET,
                "systolic": message.systolic,
                "diastolic": message.diastolic,
                "pulse": message.pulse,
            }
        case Failed(code):
            return {"packet": "error", "error_code": code, "error": message.reason}
        case Battery(mv):
            return {"packet": "battery", "battery_mv": mv}
    return {"packet": "unknown"}


KINDS = {"maibobo.frame": PayloadKind(_show_frame)}

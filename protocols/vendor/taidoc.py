"""TaiDoc, FORA, GlucoRx: frames and requests, the same on BLE and on a cable.

Source: field notes on TaiDoc meters, cuffs and thermometers, checked against
captured frames (docs/reference/sources.md).

    0x51 | command u8 | data, 4 bytes | end u8 | sum u8

``end`` is A3 from the host and A5 from the device. ``sum`` is that of all before
it, modulo 256. Numbers are little-endian. The commands 71 and 77, of scales,
carry as many bytes of data as the first of them says, and that one besides.

    22, 54  connect; the device sends 54 unasked when it starts to communicate
    23, 33  read, set the clock
    24      model: d1, d0 in BCD, 77 42 is 4277
    25      time of a record, see `taidoc_records`: index u16, 0, user u8
    26      value of a record: likewise; the index 0 is the newest
    27, 28  last, first half of the serial number, each with its last byte first
    2B      number of records u16 of the user d0; the second word is not told alike:
            FFFF where there are none, the newest index, or the number without
            control solution
    50      switch off

52 erases the memory. There is no way to make that frame here.

    clock   u16 day b0-4, month b5-8, year - 2000 b9-15; minute u8, hour u8
"""

from dataclasses import dataclass
from enum import IntEnum
from struct import pack

from protocols.crc import sum8
from protocols.cursor import Cursor
from protocols.errors import Fault
from protocols.gatt.time import DateTime
from protocols.kinds import PayloadKind, Shown
from protocols.stream import Frames

_START = 0x51
_SIZE = 8
_LONG_OVERHEAD = 5  # start, command, length, end, sum
_NONE = 0xFFFF


class Command(IntEnum):
    """The commands that a host may send here, and what the device sends unasked."""

    CONNECT = 0x22
    READ_CLOCK = 0x23
    MODEL = 0x24
    RECORD_TIME = 0x25
    RECORD_VALUE = 0x26
    SERIAL_LAST = 0x27
    SERIAL_FIRST = 0x28
    COUNT = 0x2B
    SET_CLOCK = 0x33
    SWITCH_OFF = 0x50
    COMMUNICATION_MODE = 0x54
    SCALE_RECORD = 0x71
    SCALE_RECORD_25 = 0x77


_LONG = (Command.SCALE_RECORD, Command.SCALE_RECORD_25)


class Sender(IntEnum):
    """Who sent a frame, by its last byte but one."""

    HOST = 0xA3
    DEVICE = 0xA5


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame, without what delimits it.

    Attributes:
        command: 0 to 255; `Command` names those known.
        data: 4 bytes; more or fewer where `command` is one of a scale.
        sender: Who sent it.
    """

    command: int
    data: bytes = bytes(4)
    sender: Sender = Sender.HOST

    def encode(self) -> bytes:
        """Return the frame as bytes for the wire."""
        body = bytes([_START, self.command]) + self.data + bytes([self.sender])
        return body + bytes([sum8(body)])


def decode_frame(data: bytes) -> Frame:
    """Read one whole frame.

    Raises:
        DecodeError: ``data`` is cut short, too long, or damaged.
    """
    with Cursor("TaiDoc frame", data) as read:
        if (start := read.u8("start")) != _START:
            problem = f"is {start:#04x}, not 0x51"
            raise read.error("start", problem, Fault.BAD_HEADER, size=1)
        command = read.u8("command")
        if command in _LONG:
            length = read.u8("length")
            carried = bytes([length]) + read.take(length, "data")
        else:
            carried = read.take(4, "data")
        end, found = read.u8("end"), read.u8("sum")
        if found != (right := sum8(data[: len(carried) + 3])):
            problem = f"is {found:#04x}, the frame's is {right:#04x}"
            raise read.error("sum", problem, Fault.BAD_CHECKSUM, size=1)
        if end not in tuple(Sender):
            problem = f"is {end:#04x}, neither 0xa3 nor 0xa5"
            raise read.error("end", problem, Fault.BAD_FRAME, size=2)
    return Frame(command, carried, Sender(end))


def decoder() -> Frames[Frame]:
    """Return what makes frames of a stream of bytes."""
    return Frames(bytes([_START]), _size, decode_frame)


def ask(command: Command) -> Frame:
    """Return the request that needs no data but its command.

    Args:
        command: `CONNECT`, `READ_CLOCK`, `MODEL`, `SERIAL_FIRST`, `SERIAL_LAST`
            or `SWITCH_OFF`.
    """
    return Frame(command)


def ask_count(user: int = 0) -> Frame:
    """Return the request for the number of records of a user.

    Args:
        user: 0 the one chosen on the device, else 1 to 255.
    """
    return Frame(Command.COUNT, bytes([user, 0, 0, 0]))


def ask_record_time(index: int, user: int = 0) -> Frame:
    """Return the request for the time of a record.

    Args:
        index: 0 to 65535; 0 is the newest.
        user: 0 the one chosen on the device, else 1 to 255.
    """
    return Frame(Command.RECORD_TIME, pack("<HBB", index, 0, user))


def ask_record_value(index: int, user: int = 0) -> Frame:
    """Return the request for the value of a record; arguments as `ask_record_time`."""
    return Frame(Command.RECORD_VALUE, pack("<HBB", index, 0, user))


def set_clock(time: DateTime) -> Frame:
    """Return the request that sets the clock, to the minute.

    Args:
        time: A date of the years 2000 to 2127; its second is not sent.
    """
    day = time.day | time.month << 5 | (time.year - 2000) << 9
    return Frame(Command.SET_CLOCK, pack("<HBB", day, time.minute, time.hour))


def decode_clock(data: bytes) -> DateTime:
    """Read the data of an answer to `READ_CLOCK` or `SET_CLOCK`.

    The clock has no seconds; they are 0 here. The bits above minute and hour
    mean something in the time of a record only, see `taidoc_records`.

    Raises:
        DecodeError: ``data`` has not 4 bytes.
    """
    with Cursor("TaiDoc clock", data) as read:
        day = read.u16("day")
        minute, hour = read.u8("minute") & 0x3F, read.u8("hour") & 0x1F
        return DateTime(
            2000 + (day >> 9), day >> 5 & 0xF, day & 0x1F, hour, minute, second=0
        )


def decode_model(data: bytes) -> str:
    """Read the data of an answer to `MODEL`: four digits, as ``4277``.

    Raises:
        DecodeError: ``data`` has not 4 bytes, or the digits are none.
    """
    with Cursor("TaiDoc model", data) as read:
        digits = read.take(2, "model")[::-1].hex()
        if not digits.isdecimal():
            raise read.error("model", f"is {digits}, not BCD", Fault.BAD_FIELD, size=2)
        read.take(2, "rest")
        return digits


def decode_serial(first: bytes, last: bytes) -> str:
    """Read the serial number off the data of both answers.

    Args:
        first: The data of the answer to `SERIAL_FIRST`.
        last: That to `SERIAL_LAST`.

    Returns:
        Sixteen digits, 0 to 9 and A to F.

    Raises:
        DecodeError: One of them has not 4 bytes.
    """
    halves = []
    for name, data in (("first half", first), ("last half", last)):
        with Cursor("TaiDoc serial number", data) as read:
            halves.append(read.take(4, name)[::-1].hex())
    return "".join(halves).upper()


def decode_count(data: bytes) -> int:
    """Read the number of records off the data of an answer to `COUNT`.

    Raises:
        DecodeError: ``data`` has not 4 bytes.
    """
    with Cursor("TaiDoc record count", data) as read:
        count = read.u16("count")
        read.take(2, "second word")
    return 0 if count == _NONE else count


def _size(data: bytes) -> int:
    if len(data) < 3:
        return 3
    return data[2] + _LONG_OVERHEAD if data[1] in _LONG else _SIZE


def _show_frame(payload: bytes) -> Shown:
    frame = decode_frame(payload)
    return {
        "command": frame.command,
        "data": frame.data.hex(),
        "direction": frame.sender.name.lower(),
    }


def _show_clock(payload: bytes) -> Shown:
    clock = decode_clock(payload)
    shown: Shown = {"datetime": str(clock)[:-3]}  # it has no seconds to show
    if clock.moment is None:
        shown["datetime_valid"] = False
    return shown


KINDS = {
    "taidoc.datetime": PayloadKind(_show_clock),
    "taidoc.frame": PayloadKind(_show_frame),
}

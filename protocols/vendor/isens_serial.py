"""i-SENS CareSens, ReliOn Premier and Glucocard Shine by cable: protocol 3.

Source: field notes on the CareSens serial protocol (docs/reference/sources.md);
no captured packet was found.

    0x02 | "iSPc" | length u8 | command 4 | data | crc u16 | 0x03

``length`` counts all behind it. Numbers are big-endian. ``crc`` is
CRC-16/CCITT-FALSE of the packet without the crc itself.

    RSNB                        serial number text, and one more byte
    RTIM                        year, month, day, hour, minute, second u8
    WTIM year … second u8       the same, newly set
    NCOT                        number of records u16
    GLUE first u16, number u8   number x (year … second u8, flags u8, value u16)

``first`` counts from 1, in an order that the notes do not tell; 27 records at
most. Years count from 2000. **The answer to GLUE carries no valid crc**: ask
twice and compare. In place of a command an answer may name an error: TOUT
HEAD SIZE ECRC CMND.

Values are mg/dL, those of a ketone test ten times the mmol/L, whatever the
display shows.

One byte, 80, asks which protocol the meter speaks; it answers 2E for this
one. 20 is protocol 1, an older one, which is not read here.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import IntFlag
from struct import pack

from protocols.crc import ccitt_false
from protocols.cursor import Cursor
from protocols.errors import Fault
from protocols.gatt.time import DateTime
from protocols.stream import Frames

ASK_PROTOCOL = bytes([0x80])
PROTOCOL_1, PROTOCOL_3 = 0x20, 0x2E

MOST_RECORDS = 27  # in one answer

_START, _END = b"\x02iSPc", 0x03
_HEAD = len(_START) + 1
_LEAST = 7  # command, crc, end
_ERRORS = {
    "TOUT": "it waited too long",
    "HEAD": "the head was wrong",
    "SIZE": "the length was wrong",
    "ECRC": "the crc was wrong",
    "CMND": "the command is not known",
}


class Flag(IntFlag):
    """What a record's flags say."""

    CONTROL_SOLUTION = 0x01
    AFTER_MEAL = 0x02
    LOW = 0x04
    HIGH = 0x08
    FASTING = 0x10
    NORMAL = 0x20
    KETONE = 0x40
    FLAGS_VALID = 0x80


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet, without what delimits it.

    Attributes:
        command: Four characters; an error's name where the meter refuses.
        data: 0 to 248 bytes.
    """

    command: str
    data: bytes = b""

    def encode(self) -> bytes:
        """Return the packet as bytes for the wire.

        Raises:
            ValueError: Command or data have no packet's size.
        """
        body = self.command.encode("ascii") + self.data
        if len(self.command) != 4 or len(body) + 3 > 0xFF:
            raise ValueError(f"{self.command} with {len(self.data)} bytes is no packet")
        head = _START + bytes([len(body) + 3])
        crc = ccitt_false(head + body + bytes([_END]))
        return head + body + crc.to_bytes(2, "big") + bytes([_END])


@dataclass(frozen=True, slots=True)
class Record:
    """One stored result.

    Attributes:
        time: The meter's clock, local time.
        flags: All eight bits.
        value: 0 to 65535; mg/dL, or ten times the mmol/L of a ketone test.
    """

    time: DateTime
    flags: Flag
    value: int

    @property
    def ketone_mmol_per_l(self) -> Decimal | None:
        """What a ketone test found; None where glucose was measured."""
        if Flag.KETONE not in self.flags:
            return None
        return Decimal(self.value).scaleb(-1)


def ask_serial_number() -> Packet:
    """Return what asks for the serial number."""
    return Packet("RSNB")


def ask_clock() -> Packet:
    """Return what asks for the clock."""
    return Packet("RTIM")


def set_clock(moment: datetime) -> Packet:
    """Return what sets the clock; the answer shows it, as that of `ask_clock`.

    Args:
        moment: Local time of 2000 to 2255; its zone and fraction are left out.

    Raises:
        ValueError: The year does not fit.
    """
    year, *rest = DateTime.of(moment)
    if not 2000 <= year <= 2255:
        raise ValueError(f"the meter knows 2000 to 2255, not {year}")
    return Packet("WTIM", bytes([year - 2000, *rest]))


def ask_count() -> Packet:
    """Return what asks how many records there are."""
    return Packet("NCOT")


def ask_records(first: int, number: int) -> Packet:
    """Return what asks for records.

    Args:
        first: Counted from 1.
        number: 1 to `MOST_RECORDS`.

    Raises:
        ValueError: The meter knows no such question.
    """
    if not (1 <= first <= 0xFFFF and 1 <= number <= MOST_RECORDS):
        raise ValueError(f"no meter sends {number} records from {first} on")
    return Packet("GLUE", pack(">HB", first, number))


def decode_packet(data: bytes) -> Packet:
    """Read one whole packet. That of GLUE is not protected by its crc.

    Raises:
        DecodeError: ``data`` is cut short, too long, or damaged.
    """
    with Cursor("CareSens packet", data) as read:
        if (start := read.take(len(_START), "start")) != _START:
            problem = f"is {start.hex(' ')}, not {_START.hex(' ')}"
            raise read.error("start", problem, Fault.BAD_HEADER, size=len(start))
        if (length := read.u8("length")) < _LEAST:
            problem = f"is {length}, below the {_LEAST} of an empty packet"
            raise read.error("length", problem, size=1)
        raw = read.take(4, "command")
        if not (raw.isascii() and raw.isalpha()):
            problem = f"is {raw.hex(' ')}, no name"
            raise read.error("command", problem, Fault.BAD_FIELD, size=4)
        packet = Packet(raw.decode("ascii"), read.take(length - _LEAST, "data"))
        crc = read.u16_be("crc")
        if (end := read.u8("end")) != _END:
            problem = f"is {end:#04x}, not 0x03"
            raise read.error("end", problem, Fault.BAD_FRAME, size=1)
        right = ccitt_false(data[: _HEAD + length - 3] + bytes([_END]))
        if crc != right and packet.command != "GLUE":
            problem = f"is {crc:#06x}, the packet's is {right:#06x}"
            raise read.error("crc", problem, Fault.BAD_CRC, size=3)
        return packet


def decoder() -> Frames[Packet]:
    """Return what makes packets of a stream of bytes."""
    return Frames(_START, _size, decode_packet)


def read_serial_number(packet: Packet) -> str:
    """Read the answer to `ask_serial_number`.

    Raises:
        DecodeError: ``packet`` is no such answer, or holds no text.
    """
    with _answer(packet, "RSNB") as read:
        raw = read.take(max(0, read.left - 1), "serial number")
        read.take(1, "last byte")
        text = raw.strip(b"\0 ")
        if not text or not text.isascii():
            size = len(raw) + 1
            raise read.error("serial number", "is no text", Fault.BAD_FIELD, size=size)
        return text.decode("ascii")


def read_clock(packet: Packet) -> DateTime:
    """Read the answer to `ask_clock`.

    Raises:
        DecodeError: ``packet`` is no such answer.
    """
    with _answer(packet, "RTIM") as read:
        return _date_time(read)


def read_clock_set(packet: Packet) -> DateTime:
    """Read the answer to `set_clock`.

    Raises:
        DecodeError: ``packet`` is no such answer.
    """
    with _answer(packet, "WTIM") as read:
        return _date_time(read)


def read_count(packet: Packet) -> int:
    """Read the answer to `ask_count`.

    Raises:
        DecodeError: ``packet`` is no such answer.
    """
    with _answer(packet, "NCOT") as read:
        return read.u16_be("count")


def read_records(packet: Packet, number: int) -> list[tuple[Record, bytes]]:
    """Read the answer to `ask_records`.

    Args:
        packet: The answer.
        number: How many were asked for.

    Returns:
        Each record, and the nine bytes it was read from.

    Raises:
        DecodeError: ``packet`` is no such answer, or has more records or fewer.
    """
    found = []
    with _answer(packet, "GLUE") as read:
        for _ in range(number):
            raw = read.take(9, "record")
            found.append((_record(raw), raw))
    return found


def _record(raw: bytes) -> Record:
    with Cursor("CareSens record", raw) as read:
        return Record(_date_time(read), Flag(read.u8("flags")), read.u16_be("value"))


def _answer(packet: Packet, command: str) -> Cursor:
    read = Cursor(f"CareSens answer to {command}", packet.data)
    if packet.command in _ERRORS:
        problem = f"is {packet.command}: {_ERRORS[packet.command]}"
        raise read.error("command", problem, Fault.DEVICE_ERROR)
    if packet.command != command:
        problem = f"is {packet.command}, not {command}"
        raise read.error("command", problem, Fault.NOT_A_RESPONSE)
    return read


def _date_time(read: Cursor) -> DateTime:
    year, *rest = read.take(6, "time")
    return DateTime(2000 + year, *rest)


def _size(data: bytes) -> int:
    if len(data) < _HEAD:
        return _HEAD
    length = data[_HEAD - 1]
    return _HEAD + length if length >= _LEAST else 0

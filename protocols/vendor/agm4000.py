"""Allmedicus AGM-4000, EmbracePRO and GlucoZen.auto on USB: frames.

Source: field notes, one source (docs/reference/sources.md); no captured frame.

    0x80 | size u8 | ~size u8 | command u8 | data | low u8 | high u8

``size`` counts command and data. ``low`` is the complement of the exclusive or
of 0x80, ~size and the data at 0, 2, 4 ...; ``high`` that of size, command and
the data at 1, 3, 5 ... The bytes go over USB one by one, 10 ms apart.

    00  number of records   the answer's data: count u16 BE
    01  record              index u16 BE
    09  serial number
    0B  switch off

Not here: the data of a record, where the notes do not say in which bits date
and time are, of the serial number, and the command that sets the clock.
"""

from dataclasses import dataclass

from protocols.crc import xor8
from protocols.cursor import Cursor
from protocols.errors import Fault
from protocols.stream import Frames

_START = 0x80
_HEAD = 3  # start, size, its complement
_TAIL = 2  # low, high
_COUNT, _RECORD, _SERIAL_NUMBER, _OFF = 0x00, 0x01, 0x09, 0x0B


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame, without what delimits it.

    Attributes:
        command: 0 to 255; an answer has that of its request.
        data: 0 to 254 bytes.
    """

    command: int
    data: bytes = b""

    def encode(self) -> bytes:
        """Return the frame as bytes for the wire."""
        size = len(self.data) + 1
        head = bytes([_START, size, size ^ 0xFF, self.command])
        return head + self.data + _checks(head + self.data)


def ask_count() -> Frame:
    """Return the frame that asks how many records there are."""
    return Frame(_COUNT)


def ask_record(index: int) -> Frame:
    """Return the frame that asks for a record.

    Args:
        index: 0 to 65535.
    """
    return Frame(_RECORD, index.to_bytes(2, "big"))


def ask_serial_number() -> Frame:
    """Return the frame that asks for the serial number."""
    return Frame(_SERIAL_NUMBER)


def switch_off() -> Frame:
    """Return the frame that switches the meter off."""
    return Frame(_OFF)


def decode_frame(data: bytes) -> Frame:
    """Read one whole frame.

    Raises:
        DecodeError: ``data`` is cut short, too long, or damaged.
    """
    with Cursor("AGM-4000 frame", data) as read:
        if (start := read.u8("start")) != _START:
            problem = f"is {start:#04x}, not 0x80"
            raise read.error("start", problem, Fault.BAD_HEADER, size=1)
        size, complement = read.u8("size"), read.u8("complement")
        if size == 0 or size ^ complement != 0xFF:
            problem = f"is {size} beside {complement:#04x}"
            raise read.error("size", problem, Fault.BAD_LENGTH, size=2)
        frame = Frame(read.u8("command"), read.take(size - 1, "data"))
        checks, right = read.take(_TAIL, "checks"), _checks(data[: _HEAD + size])
        if checks != right:
            problem = f"are {checks.hex(' ')}, the frame's are {right.hex(' ')}"
            raise read.error("checks", problem, Fault.BAD_CHECKSUM, size=_TAIL)
    return frame


def decoder() -> Frames[Frame]:
    """Return what makes frames of a stream of bytes."""
    return Frames(bytes([_START]), _size, decode_frame)


def decode_count(frame: Frame) -> int:
    """Read the answer to `ask_count`, 0 to 65535.

    Raises:
        DecodeError: ``frame`` answers something else.
    """
    with Cursor("AGM-4000 count", bytes([frame.command]) + frame.data) as read:
        if (command := read.u8("command")) != _COUNT:
            problem = f"is {command:#04x}, not 0x00"
            raise read.error("command", problem, Fault.NOT_A_RESPONSE, size=1)
        return read.u16_be("count")


def _checks(covered: bytes) -> bytes:
    """Return the two check bytes of all that stands before them."""
    _, size, complement, command = covered[:4]
    data = covered[4:]
    low = _START ^ complement ^ xor8(data[0::2])
    high = size ^ command ^ xor8(data[1::2])
    return bytes([low ^ 0xFF, high ^ 0xFF])


def _size(data: bytes) -> int:
    if len(data) < _HEAD:
        return _HEAD
    known = data[1] > 0 and data[1] ^ data[2] == 0xFF
    return _HEAD + data[1] + _TAIL if known else 0

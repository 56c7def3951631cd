"""LifeScan OneTouch: the frames of all its binary protocols.

Source: field notes on the OneTouch UltraEasy and UltraMini protocol, checked
against captured frames (docs/reference/sources.md).

    0x02 | length u8 | link u8 | message | 0x03 | crc u16

``length`` counts the whole frame. ``crc`` is CRC-16/CCITT-FALSE of all before
it. Numbers are little-endian. The bits of ``link``, 0 on all but the UltraEasy:

    0 S   sequence of what is sent        3 DISC  start over, or hang up
    1 E   sequence of what is expected    4 MORE  the message goes on
    2 ACK no message, it acknowledges
"""

from dataclasses import dataclass
from enum import IntFlag

from protocols.crc import ccitt_false
from protocols.cursor import Cursor
from protocols.errors import Fault
from protocols.kinds import PayloadKind, Shown
from protocols.stream import Frames

_STX, _ETX = 0x02, 0x03
_OVERHEAD = 6  # STX, length, link, ETX, CRC


class Link(IntFlag):
    """The bits of a frame's link octet."""

    S = 1
    E = 2
    ACK = 4
    DISCONNECT = 8
    MORE = 16


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame, without what delimits it.

    Attributes:
        link: The link octet's bits.
        message: 0 to 249 bytes.
    """

    link: Link
    message: bytes = b""

    def encode(self) -> bytes:
        """Return the frame as bytes for the wire."""
        head = bytes([_STX, len(self.message) + _OVERHEAD, self.link])
        body = head + self.message + bytes([_ETX])
        return body + ccitt_false(body).to_bytes(2, "little")


def decode_frame(data: bytes) -> Frame:
    """Read one whole frame.

    Raises:
        DecodeError: ``data`` is cut short, too long, or damaged.
    """
    with Cursor("LifeScan frame", data) as read:
        if (start := read.u8("start")) != _STX:
            problem = f"is {start:#04x}, not 0x02"
            raise read.error("start", problem, Fault.BAD_HEADER, size=1)
        length = read.u8("length")
        if length < _OVERHEAD:
            problem = f"is {length}, below the {_OVERHEAD} of an empty frame"
            raise read.error("length", problem, Fault.BAD_LENGTH, size=1)
        link = Link(read.u8("link"))
        message = read.take(length - _OVERHEAD, "message")
        if (end := read.u8("end")) != _ETX:
            problem = f"is {end:#04x}, not 0x03"
            raise read.error("end", problem, Fault.BAD_FRAME, size=1)
        crc, right = read.u16("crc"), ccitt_false(data[: length - 2])
        if crc != right:
            problem = f"is {crc:#06x}, the frame's is {right:#06x}"
            raise read.error("crc", problem, Fault.BAD_CRC, size=2)
    return Frame(link, message)


def decoder() -> Frames[Frame]:
    """Return what makes frames of a stream of bytes."""
    return Frames(bytes([_STX]), _size, decode_frame)


def _size(data: bytes) -> int:
    if len(data) < 2:
        return 2
    return data[1] if data[1] >= _OVERHEAD else 0


def _show_frame(payload: bytes) -> Shown:
    frame = decode_frame(payload)
    names = {Link.S: "S", Link.E: "E"}
    bits = [bit for bit in Link if bit in frame.link]
    return {
        "length": len(payload),
        "link": int(frame.link),
        "link_flags": [names.get(bit, (bit.name or "").lower()) for bit in bits],
        "message": frame.message.hex(),
        "crc": f"0x{int.from_bytes(payload[-2:], 'little'):04X}",
    }


KINDS = {"lifescan.frame": PayloadKind(_show_frame)}

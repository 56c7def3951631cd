"""CP2110 of Silicon Labs: a serial port that comes as a HID device.

TaiDoc's and i-SENS' cables have one; what goes through it are their frames.

Source: field notes on serial and USB meters; no captured report
(docs/reference/sources.md).

    feature  0x41 | 0x01                 switch the port on
    feature  0x50 | baud u32 BE | parity | flow control | data bits | stop bits
    data     1 to 63 | that many bytes   either way; the report's id is its length

Known codes are parity 0 for none, flow control 0 for none, data bits 3 for 8 and
stop bits 0 for one; others are kept and not explained. Uncertain: whether any
system fills a data report up behind its length; one filled up is refused here.
"""

from dataclasses import dataclass
from struct import pack

from protocols.cursor import Cursor
from protocols.errors import Fault

_ENABLE, _SETTINGS = 0x41, 0x50
_ROOM = 63


@dataclass(frozen=True, slots=True)
class Settings:
    """How the serial port is set; without more, 8 data bits, no parity, 1 stop bit.

    Attributes:
        baud: Bits per second, 0 to 2^32 - 1.
        parity: The code, 0 to 255, as all that follow; 0 is none.
        flow_control: 0 is none.
        data_bits: 3 is 8 bits.
        stop_bits: 0 is one.
    """

    baud: int
    parity: int = 0
    flow_control: int = 0
    data_bits: int = 3
    stop_bits: int = 0

    def encode(self) -> bytes:
        """Return the feature report that sets the port so, its id included."""
        codes = self.parity, self.flow_control, self.data_bits, self.stop_bits
        return pack(">BI4B", _SETTINGS, self.baud, *codes)


def enable() -> bytes:
    """Return the feature report that switches the port on, its id included."""
    return bytes([_ENABLE, 1])


def decode_settings(report: bytes) -> Settings:
    """Read the feature report of the settings, its id included.

    Raises:
        DecodeError: ``report`` is another one, cut short or too long.
    """
    with Cursor("CP2110 settings", report) as read:
        if (number := read.u8("id")) != _SETTINGS:
            problem = f"is {number:#04x}, not {_SETTINGS:#04x}"
            raise read.error("id", problem, Fault.BAD_HEADER, size=1)
        return Settings(
            baud=read.u32_be("baud"),
            parity=read.u8("parity"),
            flow_control=read.u8("flow control"),
            data_bits=read.u8("data bits"),
            stop_bits=read.u8("stop bits"),
        )


def to_reports(data: bytes) -> tuple[bytes, ...]:
    """Return the data reports that carry ``data``, their ids included."""
    pieces = (data[at : at + _ROOM] for at in range(0, len(data), _ROOM))
    return tuple(bytes([len(piece)]) + piece for piece in pieces)


def from_report(report: bytes) -> bytes:
    """Return the 1 to 63 bytes that one data report carries, its id included.

    Raises:
        DecodeError: ``report`` is no data report, cut short or too long.
    """
    with Cursor("CP2110 data report", report) as read:
        if not 0 < (size := read.u8("id")) <= _ROOM:
            problem = f"is {size}, not 1 to {_ROOM}"
            raise read.error("id", problem, Fault.BAD_HEADER, size=1)
        return read.take(size, "data")

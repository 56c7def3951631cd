"""LifeScan OneTouch: frames, link control, and the UltraEasy's messages.

Source: field notes on the OneTouch UltraEasy and UltraMini protocol, checked
against captured frames (docs/reference/sources.md).

    0x02 | length u8 | link u8 | message | 0x03 | crc u16

``length`` counts the whole frame. ``crc`` is CRC-16/CCITT-FALSE of all before
it. Numbers are little-endian. The bits of ``link``:

    0 S   sequence of what is sent        3 DISC  start over, or hang up
    1 E   sequence of what is expected    4 MORE  the message goes on
    2 ACK no message, it acknowledges

UltraEasy messages begin with 05, their answers with 05 06:

    05 0D 02              length u8, version text
    05 0B 02, 9 x 00      serial number text
    05 20 02, 4 x 00      clock u32, seconds since 1970 of local time
    05 1F F5 01           0F, number of records u16
    05 1F index u16       time u32, glucose u32 in mg/dL; 0 is the newest
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntFlag
from struct import pack

from protocols.crc import ccitt_false
from protocols.cursor import Cursor
from protocols.errors import DecodeError, Fault
from protocols.gatt.time import DateTime
from protocols.kinds import PayloadKind, Shown

_STX, _ETX = 0x02, 0x03
_OVERHEAD = 6  # STX, length, link, ETX, CRC
_DONE = bytes([0x05, 0x06])
_COUNT_INDEX = 501  # asked for as if it were a record
_HIGH, _LOW = 0xFFFF, 0xFFFE


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


@dataclass(frozen=True, slots=True)
class Damaged:
    """Bytes that were no frame. Reported, so that nothing is lost in silence."""

    data: bytes
    problem: str


@dataclass(frozen=True, slots=True)
class Record:
    """One stored result.

    Attributes:
        time: The meter's clock, local time.
        mg_per_dl: 0 to 65535; None if above or below what the meter measures.
        above_range: The meter showed HI.
        below_range: The meter showed LO.
    """

    time: DateTime
    mg_per_dl: int | None
    above_range: bool = False
    below_range: bool = False


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


class Decoder:
    """A byte stream in, frames out. No I/O, no clock; raises on no input.

    A stray 0x02 can look like the start of a long frame and hold back what
    follows it; call `resync` when an expected frame is late.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()  # at most one frame, 255 bytes, between calls

    def feed(self, data: bytes) -> list[Frame | Damaged]:
        """Add received bytes; return everything they complete, in order."""
        self._buffer += data
        events = []
        while (event := self._next()) is not None:
            events.append(event)
        return events

    def resync(self) -> list[Frame | Damaged]:
        """Give up on the frame being waited for and look for one behind it."""
        if not self._buffer:
            return []
        return [self._cut(1, "given up"), *self.feed(b"")]

    def _next(self) -> Frame | Damaged | None:
        start = self._buffer.find(_STX)
        if start != 0 and self._buffer:
            return self._cut(start if start > 0 else len(self._buffer), "noise")
        if len(self._buffer) < 2:
            return None
        length = self._buffer[1]
        if length >= _OVERHEAD and len(self._buffer) < length:
            return None
        try:
            frame = decode_frame(bytes(self._buffer[: max(length, 2)]))
        except DecodeError as error:
            return self._cut(1, error.fault)  # a frame may start inside this one
        del self._buffer[:length]
        return frame

    def _cut(self, size: int, problem: str) -> Damaged:
        lost = bytes(self._buffer[:size])
        del self._buffer[:size]
        return Damaged(lost, problem)


class LinkControl:
    """The sequence bits of the host's end: what is sent, what is expected.

    `start` resets both ends. `send` frames a request; `receive` tells an
    answer to it from an acknowledgement and from a late repetition.
    """

    DISCONNECT = Frame(Link.DISCONNECT)

    def __init__(self) -> None:
        self._sent = self._expected = False

    def start(self) -> Frame:
        """Return the frame that makes the meter reset its counters too."""
        self._sent = self._expected = False
        return self.DISCONNECT

    def is_started(self, frame: Frame) -> bool:
        """Whether ``frame`` answers that of `start`."""
        return Link.DISCONNECT in frame.link and Link.ACK in frame.link

    def send(self, message: bytes) -> Frame:
        """Return the frame that carries ``message``."""
        return Frame(self._bits(), message)

    def receive(self, frame: Frame) -> bool:
        """Return whether ``frame`` is the awaited answer; if so, count on."""
        answers = bool(frame.message) and not frame.link & (Link.ACK | Link.DISCONNECT)
        if not answers or (Link.S in frame.link) != self._expected:
            return False
        self._sent = not self._sent
        self._expected = not self._expected
        return True

    def acknowledge(self) -> Frame:
        """Return the frame that acknowledges the answer just received."""
        return Frame(self._bits() | Link.ACK)

    def _bits(self) -> Link:
        return Link(Link.S * self._sent | Link.E * self._expected)


def ask_version() -> bytes:
    """Return the message that asks for the version."""
    return bytes.fromhex("05 0d 02")


def ask_serial_number() -> bytes:
    """Return the message that asks for the serial number."""
    return bytes.fromhex("05 0b 02") + bytes(9)


def ask_clock() -> bytes:
    """Return the message that asks for the clock."""
    return bytes.fromhex("05 20 02") + bytes(4)


def ask_count() -> bytes:
    """Return the message that asks how many records there are."""
    return ask_record(_COUNT_INDEX)


def ask_record(index: int) -> bytes:
    """Return the message that asks for a record, 0 being the newest."""
    return pack("<BBH", 0x05, 0x1F, index)


def read_version(message: bytes) -> str:
    """Read the answer to `ask_version`.

    Raises:
        DecodeError: ``message`` is no such answer.
    """
    with _answer("UltraEasy version", message) as read:
        return _text(read, read.take(read.u8("length"), "text"))


def read_serial_number(message: bytes) -> str:
    """Read the answer to `ask_serial_number`.

    Raises:
        DecodeError: ``message`` is no such answer.
    """
    with _answer("UltraEasy serial number", message) as read:
        return _text(read, read.rest())


def read_clock(message: bytes) -> DateTime:
    """Read the answer to `ask_clock`.

    Raises:
        DecodeError: ``message`` is no such answer.
    """
    with _answer("UltraEasy clock", message) as read:
        return _date_time(read.u32("clock"))


def read_count(message: bytes) -> int:
    """Read the answer to `ask_count`.

    Raises:
        DecodeError: ``message`` is no such answer.
    """
    with Cursor("UltraEasy record count", message) as read:
        if (head := read.take(2, "status")) != bytes([0x05, 0x0F]):
            raise read.error(
                "status", f"is {head.hex(' ')}, not 05 0f", Fault.DEVICE_ERROR, size=2
            )
        return read.u16("count")


def read_record(message: bytes) -> Record:
    """Read the answer to `ask_record`.

    Raises:
        DecodeError: ``message`` is no such answer, or no glucose value.
    """
    with _answer("UltraEasy record", message) as read:
        time = _date_time(read.u32("time"))
        raw = read.u32("glucose")
        word = raw & 0xFFFF
        if word in (_HIGH, _LOW):
            return Record(time, None, word == _HIGH, word == _LOW)
        if raw > _LOW:
            problem = f"is {raw}, more than any meter shows"
            raise read.error("glucose", problem, Fault.OUT_OF_RANGE, size=4)
        return Record(time, raw)


def _answer(what: str, message: bytes) -> Cursor:
    read = Cursor(what, message)
    if (head := read.take(2, "status")) != _DONE:
        raise read.error(
            "status", f"is {head.hex(' ')}, not 05 06", Fault.DEVICE_ERROR, size=2
        )
    return read


def _text(read: Cursor, raw: bytes) -> str:
    try:
        return raw.decode("ascii").strip("\0 \r\n")
    except UnicodeDecodeError as error:
        size = len(raw) - error.start
        raise read.error("text", "is not ASCII", Fault.BAD_FIELD, size=size) from error


def _date_time(seconds: int) -> DateTime:
    return DateTime.of(datetime.fromtimestamp(seconds, UTC))


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

"""LifeScan OneTouch UltraEasy and UltraMini: link control and messages.

Source: field notes on the OneTouch UltraEasy and UltraMini protocol, checked
against captured frames (docs/reference/sources.md).

Messages begin with 05, their answers with 05 06, in `lifescan` frames:

    05 0D 02              length u8, version text
    05 0B 02, 9 x 00      serial number text
    05 20 02, 4 x 00      clock u32, seconds since 1970 of local time
    05 1F F5 01           0F, number of records u16
    05 1F index u16       time u32, glucose u32 in mg/dL; 0 is the newest
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from struct import pack

from protocols.cursor import Cursor
from protocols.errors import Fault
from protocols.gatt.time import DateTime
from protocols.vendor.lifescan import Frame, Link

HIGHEST, LOWEST = 600, 20  # mg/dL, what the meter shows as a number

_DONE = bytes([0x05, 0x06])
_COUNT_INDEX = 501  # asked for as if it were a record
_HIGH, _LOW = 0xFFFF, 0xFFFE
_PADDING = "\0 \r\n"  # of a text


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
        return read.ascii(read.u8("length"), "text").strip(_PADDING)


def read_serial_number(message: bytes) -> str:
    """Read the answer to `ask_serial_number`.

    Raises:
        DecodeError: ``message`` is no such answer.
    """
    with _answer("UltraEasy serial number", message) as read:
        return read.ascii(read.left, "text").strip(_PADDING)


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


def _date_time(seconds: int) -> DateTime:
    return DateTime.of(datetime.fromtimestamp(seconds, UTC))

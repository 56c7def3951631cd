"""LifeScan OneTouch Verio of 2015 and its kin on USB: messages in a disk's blocks.

Verio, Verio Flex, Reflect, Ultra Plus Flex, Select Plus and Select Plus Flex.

Source: field notes on the OneTouch Verio 2015 (docs/reference/sources.md); no
captured block was at hand.

The meter is a disk. A request is a `lifescan` frame, link octet 0, padded to one
block of 512 bytes; it is written with SCSI WRITE(10) to block 3 or 4, and its
answer read with READ(10) from the same one. **On any other disk that write
destroys what stands there**: it may be done only where the USB vendor is 2766
and INQUIRY names LifeScan. This module makes bytes and writes nothing. It has
none that set or erase; 1A erases the memory.

    block 3   03 E6 02 selector         03 06, text UTF-16LE, NUL
    block 3   03 20 02                  03 06, clock u32
    block 3   03 27 00                  03 06, number of records u16
    block 3   03 31 02 index u16 00     03 06, record
    block 4   03 parameter 00           03 06, text UTF-16LE, NUL; or the unit u8,
                                        0 mg/dL, 1 mmol/L, and 3 bytes

    record    inverse number u16, 00, lifetime counter u16, time u32, glucose u16
              in mg/dL, meal u8, 00, flags u8, 0B, 00

Numbers are little-endian, times seconds since 2000 of local time. A status other
than 06 means that there is no data. The lifetime counter goes on when the memory
was erased, so it is what a record is known by.

**Which bit marks control solution is not known**, neither what stands for HI and
LO: any record may be of control solution, and the glucose is the number as sent.
The flags, and what the notes call constant, are kept as they came. What fills a
block behind its frame is not told: 0 here, and not judged in an answer.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum
from struct import pack

from protocols.cursor import Cursor
from protocols.errors import Fault
from protocols.gatt.time import DateTime
from protocols.vendor import lifescan, lifescan_verio
from protocols.vendor.lifescan import Frame, Link

BLOCK_SIZE = 512

_DONE = 0x06
_MESSAGES, _PARAMETERS = 3, 4  # the blocks
_EPOCH = datetime(2000, 1, 1)  # noqa: DTZ001 - a device's clock has no zone


class Query(IntEnum):
    """What `ask_text` can ask for."""

    SERIAL_NUMBER = 0
    MODEL = 1
    SOFTWARE = 2
    DATE_FORMAT = 4
    TIME_FORMAT = 5


class Parameter(IntEnum):
    """What `ask_parameter` can ask for; the notes tell no format from the other."""

    FORMAT_0 = 0
    FORMAT_2 = 2
    UNIT = 4


@dataclass(frozen=True, slots=True)
class Request:
    """One message, and the block that it belongs into.

    Attributes:
        block: 3 or 4; the answer is read from the same one.
        message: 1 to 249 bytes.
    """

    block: int
    message: bytes

    def encode(self) -> bytes:
        """Return the 512 bytes of the block."""
        return Frame(Link(0), self.message).encode().ljust(BLOCK_SIZE, b"\0")


@dataclass(frozen=True, slots=True)
class Record:
    """One stored result, of a person or of control solution.

    Attributes:
        inverse_number: 0 to 65535, counted from the other end than the index.
        lifetime_counter: 0 to 65535; survives that the memory is erased.
        time: The meter's clock, local time.
        mg_per_dl: 0 to 65535, as sent.
        meal: One of `lifescan_verio.MEALS`, or an unknown code.
        flags: 0 to 255, of no known meaning.
        constants: The other bytes, 00 00 0B 00 by the notes.
    """

    inverse_number: int
    lifetime_counter: int
    time: DateTime
    mg_per_dl: int
    meal: int
    flags: int
    constants: bytes


def ask_text(query: Query) -> Request:
    """Return the request for one of the meter's texts."""
    return Request(_MESSAGES, bytes([0x03, 0xE6, 0x02, query]))


def ask_clock() -> Request:
    """Return the request for the clock."""
    return Request(_MESSAGES, lifescan_verio.ask_clock())


def ask_count() -> Request:
    """Return the request for the number of records."""
    return Request(_MESSAGES, lifescan_verio.ask_count())


def ask_record(index: int) -> Request:
    """Return the request for a record.

    Args:
        index: 0 to the number of records less one.
    """
    return Request(_MESSAGES, bytes([0x03, 0x31, 0x02]) + pack("<HB", index, 0))


def ask_parameter(parameter: Parameter) -> Request:
    """Return the request for one of the meter's settings."""
    return Request(_PARAMETERS, bytes([0x03, parameter, 0x00]))


def decode_block(data: bytes) -> bytes:
    """Read one block, as the meter answers.

    Returns:
        The message in its frame.

    Raises:
        DecodeError: ``data`` has not 512 bytes, or its frame is damaged.
    """
    with Cursor("Verio 2015 block", data) as read:
        _, length = read.take(2, "start and length")
        read.take(BLOCK_SIZE - 2, "block")
    frame = lifescan.decode_frame(data[:length])
    if frame.link:
        problem = f"is {int(frame.link):#04x}, not 0"
        raise read.error("link", problem, Fault.BAD_HEADER, size=BLOCK_SIZE - 2)
    return frame.message


def read_text(message: bytes) -> str:
    """Read the answer to `ask_text`, or to `ask_parameter` for a format.

    Raises:
        DecodeError: ``message`` is no such answer.
    """
    with _answer("Verio 2015 text", message) as read:
        size = len(raw := read.rest())
        try:
            text, end, rest = raw.decode("utf-16-le").partition("\0")
        except UnicodeDecodeError as error:
            problem = "is not UTF-16"
            raise read.error("text", problem, Fault.BAD_FIELD, size=size) from error
        if not end or rest:
            problem = "does not end with the first NUL"
            raise read.error("text", problem, Fault.BAD_FIELD, size=size)
        return text


def read_clock(message: bytes) -> DateTime:
    """Read the answer to `ask_clock`.

    Raises:
        DecodeError: ``message`` is no such answer.
    """
    return lifescan_verio.read_clock(message)


def read_count(message: bytes) -> int:
    """Read the answer to `ask_count`.

    Raises:
        DecodeError: ``message`` is no such answer.
    """
    return lifescan_verio.read_count(message)


def read_unit(message: bytes) -> str:
    """Read the answer to `ask_parameter` for the unit: ``MG/DL`` or ``MMOL/L``.

    Raises:
        DecodeError: ``message`` is no such answer, or another unit.
    """
    return lifescan_verio.read_unit(message)


def read_record(message: bytes) -> Record:
    """Read the answer to `ask_record`.

    Raises:
        DecodeError: ``message`` is no such answer.
    """
    with _answer("Verio 2015 record", message) as read:
        inverse_number, first = read.u16("inverse number"), read.take(1, "constant")
        lifetime_counter = read.u16("lifetime counter")
        time = DateTime.of(_EPOCH + timedelta(seconds=read.u32("time")))
        mg_per_dl, meal = read.u16("glucose"), read.u8("meal")
        second, flags = read.take(1, "constant"), read.u8("flags")
        return Record(
            inverse_number=inverse_number,
            lifetime_counter=lifetime_counter,
            time=time,
            mg_per_dl=mg_per_dl,
            meal=meal,
            flags=flags,
            constants=first + second + read.take(2, "constants"),
        )


def _answer(what: str, message: bytes) -> Cursor:
    read = Cursor(what, message)
    read.u8("prefix")
    if (status := read.u8("status")) != _DONE:
        problem = f"is {status:#04x}, not 0x06: there is no data"
        raise read.error("status", problem, Fault.DEVICE_ERROR, size=1)
    return read

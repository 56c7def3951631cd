"""i-SENS CareSens by cable, protocol 1: the flash memory, read octet by octet.

Source: field notes on the CareSens serial protocol, one source
(docs/reference/sources.md); no captured byte was at hand. Protocol 3 is
`isens_serial`.

    80                           which protocol? 20 is this one, 2E protocol 3
    8B 1x 2x 1x 2x  1x 2x        read: address of two octets, length of one
    8B 1h 2l                     the answer, once for each octet of data

An octet goes as two: 1 and its high half, 2 and its low half. Behind a CP2110
each packet has its length in front, as 01 80. There is no checksum: read twice
and compare.

    record   year, month, day, hour, minute, second u8, value u16, little-endian

Years count from 2000. A value above 20000 is one of control solution, and 20000
more than what was measured; one above 10000 was measured after a meal, and is
10000 more. What is left is 700 for HI and 10 for LO. A value beyond these two is
refused, for nobody knows what it means, and so is a record that is all FF, as
flash memory is before it is written.

Uncertain: which octet of the address goes first, so it is taken as it is to be
sent; where in the memory the records begin, how many there are and in which
order; and the unit. So a value is a number without a unit here.
"""

from dataclasses import dataclass
from itertools import chain

from protocols.cursor import Cursor
from protocols.errors import DecodeError, Fault
from protocols.gatt.time import DateTime
from protocols.stream import Frames
from protocols.vendor.isens_serial import ASK_PROTOCOL, PROTOCOL_1, PROTOCOL_3

RECORD_SIZE = 8

_READ = 0x8B
_HIGH, _LOW = 0x10, 0x20  # what the halves of an octet are marked with
_TRIPLE = 3
_CONTROL, _AFTER_MEAL = 20_000, 10_000
_ABOVE_RANGE, _BELOW_RANGE = 700, 10
_CENTURY = 2000


@dataclass(frozen=True, slots=True)
class Record:
    """One stored result.

    Attributes:
        time: The meter's clock, local time.
        value: 11 to 699; None if above or below what the meter measures.
        raw: The value as sent, 0 to 65535.
        is_control: Control solution was measured, and no person.
        is_after_meal: It was marked so; not told of control solution.
        above_range: The meter showed HI.
        below_range: The meter showed LO.
    """

    time: DateTime
    value: int | None
    raw: int
    is_control: bool = False
    is_after_meal: bool = False
    above_range: bool = False
    below_range: bool = False


def ask_protocol() -> bytes:
    """Return the byte that asks which protocol the meter speaks."""
    return ASK_PROTOCOL


def decode_protocol(data: bytes) -> int:
    """Read the answer to `ask_protocol`.

    Returns:
        1 or 3.

    Raises:
        DecodeError: ``data`` is not one byte, or names no known protocol.
    """
    with Cursor("CareSens protocol", data) as read:
        if (number := read.u8("protocol")) not in (PROTOCOL_1, PROTOCOL_3):
            problem = f"is {number:#04x}, neither 0x20 nor 0x2e"
            raise read.error("protocol", problem, Fault.NOT_A_RESPONSE, size=1)
    return 1 if number == PROTOCOL_1 else 3


def ask_read(address: bytes, length: int) -> bytes:
    """Return the bytes that ask for a piece of the memory.

    Args:
        address: Two octets, in the order in which they are to be sent.
        length: How many octets to read, 1 to 255.

    Raises:
        ValueError: Address or length do not fit.
    """
    if len(address) != 2 or not 0 < length <= 0xFF:
        raise ValueError(f"{length} octets at [{address.hex(' ')}] can't be read")
    return bytes([_READ, *chain(*map(_halves, address)), *_halves(length)])


def decode_octet(data: bytes) -> int:
    """Read the three bytes that carry one octet of data.

    Raises:
        DecodeError: ``data`` is cut short, too long, or no such three bytes.
    """
    with Cursor("CareSens octet", data) as read:
        if (start := read.u8("start")) != _READ:
            problem = f"is {start:#04x}, not 0x8b"
            raise read.error("start", problem, Fault.BAD_HEADER, size=1)
        return _half(read, _HIGH, "high half") << 4 | _half(read, _LOW, "low half")


def decoder() -> Frames[int]:
    """Return what makes octets of data of a stream of bytes."""
    return Frames(bytes([_READ]), lambda _: _TRIPLE, decode_octet)


def decode_answer(data: bytes, length: int) -> bytes:
    """Read the whole answer to `ask_read`.

    Args:
        data: All bytes of the answer.
        length: How many octets were asked for.

    Raises:
        DecodeError: ``data`` is cut short, too long, or damaged.
    """
    with Cursor("CareSens answer", data) as read:
        triples = [read.take(_TRIPLE, "octet") for _ in range(length)]
    return bytes(map(decode_octet, triples))


def decode_record(data: bytes) -> Record:
    """Read the eight octets of one record.

    Raises:
        DecodeError: ``data`` is cut short, too long, empty, or its value beyond
            what is known.
    """
    with Cursor("CareSens record", data) as read:
        year, *rest = read.take(6, "time")
        raw = read.u16("value")
    if data == bytes([0xFF]) * RECORD_SIZE:
        raise _error(data, 0, "record", "was never written", Fault.EMPTY_SLOT)
    is_control = raw > _CONTROL
    is_after_meal = not is_control and raw > _AFTER_MEAL
    value = raw - is_control * _CONTROL - is_after_meal * _AFTER_MEAL
    if not _BELOW_RANGE <= value <= _ABOVE_RANGE:
        problem = f"is {raw}, beyond {_BELOW_RANGE} and {_ABOVE_RANGE}"
        raise _error(data, 6, "value", problem, Fault.OUT_OF_RANGE)
    return Record(
        time=DateTime(_CENTURY + year, *rest),
        value=value if _BELOW_RANGE < value < _ABOVE_RANGE else None,
        raw=raw,
        is_control=is_control,
        is_after_meal=is_after_meal,
        above_range=value == _ABOVE_RANGE,
        below_range=value == _BELOW_RANGE,
    )


def _halves(octet: int) -> tuple[int, int]:
    return _HIGH | octet >> 4, _LOW | octet & 0x0F


def _half(read: Cursor, mark: int, field: str) -> int:
    if (octet := read.u8(field)) & 0xF0 != mark:
        problem = f"is {octet:#04x}, not marked with {mark >> 4}"
        raise read.error(field, problem, Fault.BAD_FRAME, size=1)
    return octet & 0x0F


def _error(
    data: bytes, offset: int, field: str, problem: str, fault: Fault
) -> DecodeError:
    return DecodeError("CareSens record", field, problem, data, offset, fault)

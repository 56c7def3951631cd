"""Omron: what its devices advertise, and what they have beside the standards.

Source: field notes on Omron's Bluetooth devices (docs/reference/sources.md).

Manufacturer data of company 0x020E, the company's number already removed,
numbers little-endian:

    type u8 = 1 | flags u8 | for each user: sequence u16, records u8

    flags  bits 0, 1  number of users, less one
           bit 2      the clock is not set
           bit 3      pairing mode

    name   "BLEsmart_" in pairing mode, "BLESmart_" when readings wait
           | model, 8 hex digits | address, 12 hex digits

The Record Access Control Point tells the newest record's number too:

    request 10 00 | answer 11 00, number u16

Current Time is written by an adjust reason of 1, "manual".

Uncertain: the flags' other bits, which are kept as a number. Newer devices send
types other than 1, in which bits 0 and 1 may count users otherwise, and what
follows differs; they are refused.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import IntFlag, StrEnum
from struct import pack

from protocols.cursor import Cursor
from protocols.errors import Fault
from protocols.gatt import racp
from protocols.kinds import PayloadKind, Shown

_EACH_USER = 1  # the only type of payload that is known
_MANUAL = 1  # the adjust reason
_ASK_NEWEST = racp.OpCode.REPORT_SEQUENCE_NUMBER_OF_LATEST_RECORD
_TELL_NEWEST = racp.OpCode.SEQUENCE_NUMBER_OF_LATEST_RECORD_RESPONSE
_HEX = frozenset(b"0123456789ABCDEFabcdef")


class Advert(IntFlag):
    """The bits of an advertisement's flags that are known."""

    CLOCK_NOT_SET = 4
    PAIRING_MODE = 8


@dataclass(frozen=True, slots=True)
class Newest:
    """What one user's memory holds.

    Attributes:
        sequence: The number of the newest reading, 0 to 65535.
        records: How many readings there are, 0 to 255.
    """

    sequence: int
    records: int


@dataclass(frozen=True, slots=True)
class Advertisement:
    """One payload of manufacturer data.

    Attributes:
        flags: All eight bits, those of unknown meaning too.
        users: For each user of the device, 1 to 4 of them.
    """

    flags: int
    users: tuple[Newest, ...]


class Mode(StrEnum):
    """What a device that advertises is ready for."""

    PAIRING = "pairing"
    TRANSFER = "transfer"


_MODES = {b"BLEsmart_": Mode.PAIRING, b"BLESmart_": Mode.TRANSFER}


@dataclass(frozen=True, slots=True)
class LocalName:
    """What a device's name says.

    Attributes:
        mode: What it is ready for.
        model: Omron's number of the model, 8 hexadecimal digits.
        address: The device's address, 12 hexadecimal digits.
    """

    mode: Mode
    model: str
    address: str


def decode_advertisement(payload: bytes) -> Advertisement:
    """Read manufacturer data of company 0x020E, that number not included.

    Raises:
        DecodeError: ``payload`` is cut short, too long, or of another type.
    """
    with Cursor("Omron advertisement", payload) as read:
        if (kind := read.u8("type")) != _EACH_USER:
            problem = f"is {kind}, of which only 1 is known"
            raise read.error("type", problem, Fault.UNSUPPORTED_FORMAT, size=1)
        flags = read.u8("flags")
        users = tuple(
            Newest(read.u16(f"user {user}, sequence"), read.u8(f"user {user}, records"))
            for user in range(1, (flags & 3) + 2)
        )
    return Advertisement(flags, users)


def decode_local_name(payload: bytes) -> LocalName:
    """Read the name by which a device advertises.

    Raises:
        DecodeError: ``payload`` is no name of an Omron device.
    """
    with Cursor("Omron local name", payload) as read:
        prefix = read.take(9, "prefix")
        if (mode := _MODES.get(prefix)) is None:
            problem = "is neither BLEsmart_ nor BLESmart_"
            raise read.error("prefix", problem, Fault.BAD_HEADER, size=9)
        return LocalName(mode, _digits(read, 8, "model"), _digits(read, 12, "address"))


def ask_newest() -> bytes:
    """Return what asks the Record Access Control Point for the newest number."""
    return racp.Request(_ASK_NEWEST, racp.Operator.NULL).encode()


def decode_newest(payload: bytes) -> int | None:
    """Read the answer to `ask_newest`.

    Returns:
        The number of the newest record, 0 to 65535; None if the device does not
        tell it.

    Raises:
        DecodeError: ``payload`` is no such answer.
    """
    if payload[:1] == bytes([racp.OpCode.RESPONSE_CODE]):
        racp.decode_answer(payload)
        return None
    with Cursor("Omron newest record", payload) as read:
        for field, right in (("op code", _TELL_NEWEST), ("operator", 0)):
            if (found := read.u8(field)) != right:
                problem = f"is {found:#04x}, not {right:#04x}"
                raise read.error(field, problem, Fault.NOT_A_RESPONSE, size=1)
        return read.u16("number")


def encode_clock(now: datetime) -> bytes:
    """Return the Current Time to write.

    Args:
        now: What the clock shall show, local time.
    """
    time = pack("<H5B", *now.timetuple()[:6])
    return time + bytes([now.isoweekday(), 0, _MANUAL])


def _digits(read: Cursor, size: int, field: str) -> str:
    raw = read.take(size, field)
    if not _HEX.issuperset(raw):
        problem = f"is not {size} hexadecimal digits"
        raise read.error(field, problem, Fault.BAD_FIELD, size=size)
    return raw.decode("ascii")


def _show_advertisement(payload: bytes) -> Shown:
    seen = decode_advertisement(payload)
    flags = Advert(seen.flags)
    return {
        "flags": seen.flags,
        "users": len(seen.users),
        "clock_not_set": Advert.CLOCK_NOT_SET in flags,
        "pairing_mode": Advert.PAIRING_MODE in flags,
        "last": [
            {"sequence_number": user.sequence, "records": user.records}
            for user in seen.users
        ],
    }


def _show_local_name(payload: bytes) -> Shown:
    name = decode_local_name(payload)
    return {"mode": name.mode.value, "model": name.model, "address": name.address}


KINDS = {
    "omron.advertising_payload": PayloadKind(_show_advertisement),
    "omron.local_name": PayloadKind(_show_local_name),
}

"""Andon KD001 cuffs, as the Beurer BM58 and BM65: single bytes and records.

Source: field notes on the BM58 and BM65 by three readers of theirs; no frame of
a real cuff was at hand (docs/reference/sources.md).

    AA        55: ready
    A4        its name, 32 bytes of text
    A2        number of records, u8
    A3 index  the record; index counts from 1. A9 if there is none

    0xAC | systolic - 25 | diastolic - 25 | pulse | month | day | hour | minute | year

Pressures are in mmHg, ``year`` counts from 2000. A record of nothing but 00, or FF,
is a place that was never written, and no 25/25 mmHg (our choice). Nothing is
protected by a checksum, so read each record twice. Uncertain: whether index 1 is the
oldest or the newest record, which of the two users' records are told, and how the
cuff marks an irregular pulse.
"""

from dataclasses import dataclass

from protocols.cursor import Cursor
from protocols.errors import Fault
from protocols.gatt.time import DateTime
from protocols.kinds import PayloadKind, Shown

READY = 0x55
NO_RECORD = 0xA9
NAME_SIZE = 32
RECORD_SIZE = 9

_RECORD = 0xAC
_NEVER_WRITTEN = (bytes(RECORD_SIZE - 1), b"\xff" * (RECORD_SIZE - 1))
_OFFSET = 25  # mmHg
_CENTURY = 2000


@dataclass(frozen=True, slots=True)
class Record:
    """One stored reading.

    Attributes:
        systolic: 25 to 280 mmHg.
        diastolic: 25 to 280 mmHg.
        pulse: 0 to 255 per minute.
        time: The cuff's clock; it has no seconds.
    """

    systolic: int
    diastolic: int
    pulse: int
    time: DateTime


def ask_ready() -> bytes:
    """Return what asks whether the cuff is there."""
    return b"\xaa"


def ask_name() -> bytes:
    """Return what asks for the cuff's name."""
    return b"\xa4"


def ask_count() -> bytes:
    """Return what asks how many records there are."""
    return b"\xa2"


def ask_record(index: int) -> bytes:
    """Return what asks for a record.

    Args:
        index: 1 to 255.
    """
    return bytes([0xA3, index])


def decode_record(data: bytes) -> Record:
    """Read the answer to `ask_record`.

    Raises:
        DecodeError: ``data`` is no record, an empty one, cut short, or too long.
    """
    with Cursor("Andon record", data) as read:
        start = read.u8("start")
        if start == NO_RECORD:
            fault = Fault.EMPTY_SLOT
            raise read.error("start", "says that there is no record", fault, size=1)
        if start != _RECORD:
            problem = f"is {start:#04x}, not 0xac"
            raise read.error("start", problem, Fault.BAD_HEADER, size=1)
        systolic = read.u8("systolic") + _OFFSET
        diastolic = read.u8("diastolic") + _OFFSET
        pulse = read.u8("pulse")
        month, day, hour, minute, year = read.take(5, "time")
        if data[1:RECORD_SIZE] in _NEVER_WRITTEN:
            problem, fault = "is an empty place", Fault.EMPTY_SLOT
            raise read.error("record", problem, fault, size=RECORD_SIZE - 1)
    return Record(
        systolic=systolic,
        diastolic=diastolic,
        pulse=pulse,
        time=DateTime(_CENTURY + year, month, day, hour, minute, 0),
    )


def decode_name(data: bytes) -> str:
    """Read the answer to `ask_name`.

    Raises:
        DecodeError: ``data`` is no text, cut short, or too long.
    """
    with Cursor("Andon name", data) as read:
        text = read.take(NAME_SIZE, "name")
        if not text.isascii():
            raise read.error("name", "is not ASCII", Fault.BAD_FIELD, size=NAME_SIZE)
    return text.decode("ascii").strip("\0 \r\n")


def _show_record(payload: bytes) -> Shown:
    record = decode_record(payload)
    return {
        "systolic": record.systolic,
        "diastolic": record.diastolic,
        "pulse": record.pulse,
        "timestamp": str(record.time).removesuffix(":00"),
    }


KINDS = {"andon.record": PayloadKind(_show_record)}

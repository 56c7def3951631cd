"""Microlife cuffs: what they answer.

Source: field notes on the Microlife BP3GY1-2N, B3 and B6, checked against
captured frames (docs/reference/sources.md).

The payloads of `microlife` frames, the command first:

    00 history      mode u8, singles u8, records u8, user u8, MAM u8, 2 unknown,
                    3 records (single measurements of a series under way),
                    then every stored record
    05 version      user u8, 2 x (identification 20 bytes, age u8), name 3 bytes,
                    year, month, day, users, memory, options, battery u8 in 0.1 V
    07 last result  records u8, user u8, MAM u8, 4 unknown, record
    0C clock        1 if set u8, year, month, day, hour, minute, second
    0F serial       1 unknown, text
    record          systolic, diastolic, pulse, year, month, day, hour, minute,
                    flags, 0: ten bytes, years since 2000; all 0 is empty

A month and day of 0 (17 00 00 was seen) say that the clock was never set. The
layouts of 0C and 0F, and the three single measurements, have one source; the
answers to 0B and 0E are not known well enough to be decoded.
"""

from dataclasses import dataclass, field
from enum import IntFlag

from protocols.cursor import Cursor
from protocols.errors import Fault
from protocols.gatt.time import DateTime
from protocols.kinds import PayloadKind, Shown
from protocols.vendor.microlife import Command

_RECORD = 10
_EMPTY = bytes(_RECORD)
_EPOCH = 2000


class Flag(IntFlag):
    """The bits of a record's flags; bits 3 and 4 are a number, see `Record.mam`."""

    ATRIAL_FIBRILLATION = 1 << 5
    IRREGULAR_PULSE = 1 << 6
    CUFF_FITTED = 1 << 7


@dataclass(frozen=True, slots=True)
class Record:
    """One stored measurement, or one of a series.

    Attributes:
        systolic: 0 to 255 mmHg.
        diastolic: 0 to 255 mmHg.
        pulse: 0 to 255 per minute.
        time: The cuff's clock, to the minute; second is always 0.
        flags: All eight bits; `Flag` names three of them.
        raw: The ten bytes as they were sent.
    """

    systolic: int
    diastolic: int
    pulse: int
    time: DateTime
    flags: int
    raw: bytes = field(default=b"", compare=False)

    @property
    def mam(self) -> int:
        """How the measurement was taken: 0 singly, 1 to 3 a mode of a series."""
        return self.flags >> 3 & 3


@dataclass(frozen=True, slots=True)
class History:
    """All that the cuff remembers of one user, or of all.

    Attributes:
        count: How many records the cuff says there are.
        user: The user slot they belong to, as the cuff says it.
        series: Single measurements of a series under way; their mean becomes a
            record later.
        records: The stored records in the cuff's order, empty places left out.
    """

    count: int
    user: int
    series: tuple[Record, ...]
    records: tuple[Record, ...]


@dataclass(frozen=True, slots=True)
class Version:
    """What the cuff says of itself. The persons' identifications are left out.

    Attributes:
        user: The user slot chosen on the cuff.
        firmware: The firmware's name.
        battery_tenths_v: The battery in 0.1 V; None if the cuff does not tell.
    """

    user: int
    firmware: str
    battery_tenths_v: int | None


@dataclass(frozen=True, slots=True)
class Clock:
    """What the cuff's clock shows.

    Attributes:
        is_set: Whether somebody has set it since the batteries were changed.
        time: What it shows.
    """

    is_set: bool
    time: DateTime


def decode_history(payload: bytes) -> History:
    """Read the answer to `ask_history`.

    Raises:
        DecodeError: ``payload`` is no such answer, or holds fewer records than
            it says.
    """
    with _answer("Microlife history", payload, Command.HISTORY) as read:
        read.take(2, "mode, single measurements")
        count, user = read.u8("records"), read.u8("user")
        read.take(3, "MAM, unknown")
        series = [_record(read) for _ in range(3)]
        places = [_record(read) for _ in range(-(-read.left // _RECORD))]
        if count > len(places):
            problem = f"announces {count} records, {len(places)} are there"
            raise read.error("records", problem, Fault.BAD_LENGTH)
    return History(count, user, _filled(series), _filled(places))


def decode_last_result(payload: bytes) -> Record | None:
    """Read the answer to `ask_last_result`; None if the place is empty.

    Raises:
        DecodeError: ``payload`` is no such answer.
    """
    with _answer("Microlife last result", payload, Command.LAST_RESULT) as read:
        read.take(7, "records, user, MAM, unknown")
        return _record(read)


def decode_version(payload: bytes) -> Version:
    """Read the answer to `ask_version`; what stands behind the battery is ignored.

    Raises:
        DecodeError: ``payload`` is no such answer.
    """
    with _answer("Microlife version", payload, Command.VERSION) as read:
        user = read.u8("user")
        read.take(42, "two users' identifications and ages")
        firmware = read.ascii(3, "firmware").strip("\0 ")
        read.take(6, "date, users, memory, options")
        battery = read.u8("battery") if read.left else None
        read.rest()
        return Version(user, firmware, battery)


def decode_clock(payload: bytes) -> Clock:
    """Read the answer to `ask_clock`.

    Raises:
        DecodeError: ``payload`` is no such answer.
    """
    with _answer("Microlife clock", payload, Command.CLOCK) as read:
        is_set, year = read.u8("set") == 1, read.u8("year")
        return Clock(is_set, DateTime(_EPOCH + year, *read.take(5, "month to second")))


def decode_serial_number(payload: bytes) -> str:
    """Read the answer to `ask_serial_number`.

    Raises:
        DecodeError: ``payload`` is no such answer, or no text.
    """
    with _answer("Microlife serial number", payload, Command.SERIAL_NUMBER) as read:
        read.u8("unknown")
        return read.ascii(read.left, "text").strip("\0 ")


def _answer(what: str, payload: bytes, command: Command) -> Cursor:
    read = Cursor(what, payload)
    if (found := read.u8("command")) != command:
        problem = f"is {found:#04x}, not {command:#04x}"
        raise read.error("command", problem, Fault.NOT_A_RESPONSE, size=1)
    return read


def _record(read: Cursor) -> Record | None:
    raw = read.take(_RECORD, "record")
    if raw == _EMPTY:
        return None
    systolic, diastolic, pulse, year, month, day, hour, minute, flags, _ = raw
    time = DateTime(_EPOCH + year, month, day, hour, minute, 0)
    return Record(systolic, diastolic, pulse, time, flags, raw)


def _filled(places: list[Record | None]) -> tuple[Record, ...]:
    return tuple(record for record in places if record is not None)


def _show_history(payload: bytes) -> Shown:
    history = decode_history(payload)
    return {
        "count": history.count,
        "user": history.user,
        "series": [_show_record(record) for record in history.series],
        "records": [_show_record(record) for record in history.records],
    }


def _show_record(record: Record) -> Shown:
    """Show a record; its time to the minute, as it was sent, or none if unset."""
    return {
        "systolic": record.systolic,
        "diastolic": record.diastolic,
        "pulse": record.pulse,
        "timestamp": None if record.time.unknown_fields else str(record.time)[:-3],
        "flags": record.flags,
    }


KINDS = {"microlife.history_payload": PayloadKind(_show_history)}

"""Date Time and Current Time: a device's wall clock, without a zone.

Source: Bluetooth SIG, GATT Specification Supplement, Date Time, Day of Week, Day
Date Time, Exact Time 256; Current Time Service 1.1, §3.1.

    Date Time       year u16, month u8, day u8, hour u8, minute u8, second u8
    Day of Week     u8, 1 Monday to 7 Sunday, 0 unknown
    Day Date Time   Date Time, Day of Week
    Exact Time 256  Day Date Time, fractions256 u8
    Current Time    Exact Time 256, adjust reason u8

A year, month or day of 0 means unknown. Cuffs and meters send impossible dates
too (11-31, month 13, hour 25). A reading must not be lost for its clock, so all
seven bytes are kept as they are, and `DateTime.moment` says whether they name
a moment.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntFlag
from typing import NamedTuple, Self
from uuid import UUID

from protocols.cursor import Cursor
from protocols.gatt.uuid import sig
from protocols.kinds import PayloadKind, Shown, flag_names, trailing

SERVICE: UUID = sig(0x1805)
DATE_TIME: UUID = sig(0x2A08)
DAY_OF_WEEK: UUID = sig(0x2A09)
DAY_DATE_TIME: UUID = sig(0x2A0A)
EXACT_TIME_256: UUID = sig(0x2A0C)
CURRENT_TIME: UUID = sig(0x2A2B)

DAYS = (
    "unknown",
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
)

_FIRST_YEAR = 1582
_TEXT = re.compile(r"(\d{4,5})-(\d{2,3})-(\d{2,3})T(\d{2,3}):(\d{2,3}):(\d{2,3})")


class DateTime(NamedTuple):
    """What a device's clock showed, unknown and impossible fields included.

    Attributes:
        year: 0 to 65535; 0 is unknown.
        month: 0 to 255; 0 is unknown.
        day: 0 to 255; 0 is unknown.
        hour: 0 to 255.
        minute: 0 to 255.
        second: 0 to 255.
    """

    year: int
    month: int
    day: int
    hour: int
    minute: int
    second: int

    @classmethod
    def of(cls, moment: datetime) -> Self:
        """Return the wall clock of ``moment``; its zone and fraction are left out."""
        return cls(*moment.timetuple()[:6])

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what ``str`` of a `DateTime` gave.

        Raises:
            ValueError: ``text`` is not of that form.
        """
        if (found := _TEXT.fullmatch(text)) is None:
            raise ValueError(f"{text!r} is not of the form 2026-03-01T07:30:00")
        return cls(*map(int, found.groups()))

    @property
    def moment(self) -> datetime | None:
        """The same as `datetime` without a zone; None if unknown or impossible.

        The specification's years are 1582 to 9999.

        >>> DateTime(2026, 11, 31, 7, 30, 0).moment is None
        True
        """
        if self.year < _FIRST_YEAR:
            return None
        try:
            return datetime(*self)  # noqa: DTZ001 - a device's clock has no zone
        except ValueError:
            return None

    def plus(self, minutes: int) -> Self | None:
        """Return the clock ``minutes`` later; None if either names no moment."""
        if (moment := self.moment) is None:
            return None
        try:
            return self.of(moment + timedelta(minutes=minutes))
        except OverflowError:
            return None

    @property
    def unknown_fields(self) -> tuple[str, ...]:
        """The fields of the date that the device marks as unknown."""
        names = ("year", "month", "day")
        return tuple(name for name in names if getattr(self, name) == 0)

    def __str__(self) -> str:
        date = f"{self.year:04}-{self.month:02}-{self.day:02}"
        return f"{date}T{self.hour:02}:{self.minute:02}:{self.second:02}"


@dataclass(frozen=True, slots=True)
class DayDateTime:
    """One Day Date Time value.

    Attributes:
        clock: What the clock showed.
        day_of_week: 1 is Monday, 7 Sunday, 0 unknown; the rest is reserved.
        trailing: Bytes behind the fields known here.
    """

    clock: DateTime
    day_of_week: int
    trailing: bytes = b""


@dataclass(frozen=True, slots=True)
class ExactTime:
    """One Exact Time 256 value.

    Attributes:
        clock: What the clock showed.
        day_of_week: 1 is Monday, 7 Sunday, 0 unknown; the rest is reserved.
        fractions256: Fractions of a second, in 1/256 s.
        trailing: Bytes behind the fields known here.
    """

    clock: DateTime
    day_of_week: int
    fractions256: int
    trailing: bytes = b""


@dataclass(frozen=True, slots=True)
class CurrentTime:
    """One Current Time value.

    Attributes:
        clock: What the clock showed.
        day_of_week: 1 is Monday, 7 Sunday, 0 unknown; the rest is reserved.
        fractions256: Fractions of a second, in 1/256 s.
        adjust_reason: Bits that say why the clock was last set.
        trailing: Bytes behind the fields known here.
    """

    clock: DateTime
    day_of_week: int
    fractions256: int
    adjust_reason: int
    trailing: bytes = b""


class _Adjust(IntFlag):
    MANUAL = 1
    EXTERNAL_REFERENCE = 2
    TIME_ZONE_CHANGE = 4
    DST_CHANGE = 8


def date_time(read: Cursor, field: str = "date time") -> DateTime:
    """Read the seven bytes of a Date Time from a longer value."""
    year = read.u16(f"{field}, year")
    rest = read.take(5, f"{field}, month to second")
    return DateTime(year, *rest)


def decode_date_time(payload: bytes) -> tuple[DateTime, bytes]:
    """Read a Date Time value, and the bytes behind it.

    Raises:
        DecodeError: ``payload`` is cut short.
    """
    with Cursor("Date Time", payload) as read:
        return date_time(read), read.rest()


def decode_day_of_week(payload: bytes) -> tuple[int, bytes]:
    """Read a Day of Week value, and the bytes behind it.

    Returns:
        1 is Monday, 7 Sunday, 0 unknown; the rest is reserved.

    Raises:
        DecodeError: ``payload`` is cut short.
    """
    with Cursor("Day of Week", payload) as read:
        return read.u8("day of week"), read.rest()


def decode_day_date_time(payload: bytes) -> DayDateTime:
    """Read a Day Date Time value.

    Raises:
        DecodeError: ``payload`` is cut short.
    """
    with Cursor("Day Date Time", payload) as read:
        return DayDateTime(date_time(read), read.u8("day of week"), read.rest())


def decode_exact_time(payload: bytes) -> ExactTime:
    """Read an Exact Time 256 value.

    Raises:
        DecodeError: ``payload`` is cut short.
    """
    with Cursor("Exact Time 256", payload) as read:
        return ExactTime(
            clock=date_time(read),
            day_of_week=read.u8("day of week"),
            fractions256=read.u8("fractions256"),
            trailing=read.rest(),
        )


def decode_current_time(payload: bytes) -> CurrentTime:
    """Read a Current Time value.

    Raises:
        DecodeError: ``payload`` is cut short.
    """
    with Cursor("Current Time", payload) as read:
        return CurrentTime(
            clock=date_time(read),
            day_of_week=read.u8("day of week"),
            fractions256=read.u8("fractions256"),
            adjust_reason=read.u8("adjust reason"),
            trailing=read.rest(),
        )


def show_clock(clock: DateTime) -> Shown:
    """Show a Date Time that stands by itself, and what of it is unknown."""
    shown: Shown = {"datetime": str(clock)}
    if clock.unknown_fields:
        shown["unknown_fields"] = list(clock.unknown_fields)
    elif clock.moment is None:
        shown["datetime_valid"] = False
    return shown


def _show_date_time(payload: bytes) -> Shown:
    clock, rest = decode_date_time(payload)
    return show_clock(clock) | trailing(rest)


def _show_day_of_week(payload: bytes) -> Shown:
    day, rest = decode_day_of_week(payload)
    name = DAYS[day] if day < len(DAYS) else "reserved"
    return {"day_of_week": name, "day_of_week_code": day} | trailing(rest)


def _show_day_date_time(payload: bytes) -> Shown:
    time = decode_day_date_time(payload)
    shown = show_clock(time.clock) | {"day_of_week": time.day_of_week}
    return shown | trailing(time.trailing)


def _show_exact_time(payload: bytes) -> Shown:
    time = decode_exact_time(payload)
    shown = show_clock(time.clock)
    shown |= {"day_of_week": time.day_of_week, "fractions256": time.fractions256}
    return shown | trailing(time.trailing)


def _show_current_time(payload: bytes) -> Shown:
    time = decode_current_time(payload)
    shown = show_clock(time.clock) | {
        "day_of_week": time.day_of_week,
        "fractions256": time.fractions256,
        "adjust_reason": time.adjust_reason,
        "adjust_reason_flags": flag_names(_Adjust, time.adjust_reason),
    }
    return shown | trailing(time.trailing)


KINDS = {
    "gatt.current_time": PayloadKind(_show_current_time),
    "gatt.date_time": PayloadKind(_show_date_time),
    "gatt.day_date_time": PayloadKind(_show_day_date_time),
    "gatt.day_of_week": PayloadKind(_show_day_of_week),
    "gatt.exact_time_256": PayloadKind(_show_exact_time),
}

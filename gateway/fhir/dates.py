"""FHIR's dates: what time one names, and how it stands to another.

A date without a zone is UTC.

Source: FHIR R4, Search, date: prefixes and ranges.
"""

import re
from calendar import isleap, monthrange
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Self

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_MS = 86_400_000
_DATE = re.compile(
    r"(?P<prefix>eq|ne|gt|lt|ge|le|sa|eb|ap)?"
    r"(?P<year>\d{4})(?:-(?P<month>\d\d)(?:-(?P<day>\d\d)"
    r"(?:T(?P<hour>\d\d):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:\.(?P<part>\d{1,9}))?)?"
    r"(?P<zone>Z|[+-]\d\d:\d\d)?)?)?)?"
)


class BadSearch(Exception):
    """A parameter cannot be what was sent.

    Attributes:
        name: The parameter.
        problem: What is wrong with it, and what to do.
    """

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(name, problem)
        self.name, self.problem = name, problem


@dataclass(frozen=True, slots=True)
class Range:
    """An interval of time, ms since 1970 UTC.

    Attributes:
        from_ms: Inclusive; None is without a beginning.
        until_ms: Exclusive; None is without an end.
    """

    from_ms: int | None = None
    until_ms: int | None = None

    def within(self, other: "Range") -> Self:
        """Return what both have in common."""
        starts = [one.from_ms for one in (self, other) if one.from_ms is not None]
        ends = [one.until_ms for one in (self, other) if one.until_ms is not None]
        return type(self)(max(starts, default=None), min(ends, default=None))


def holds(name: str, text: str, now: datetime) -> Callable[[str], bool]:
    """Return what tells whether a resource's date stands to ``text`` as it demands.

    Args:
        name: The parameter.
        text: A date, maybe with a prefix.
        now: For what is about the same as a time.

    Raises:
        BadSearch: It is no date of FHIR.
    """
    prefix, start, end = _read(name, text)
    if prefix == "ap":
        start, end = _about(start, end, now)
    return lambda value: _compare(prefix, _read(name, value)[1:], (start, end))


def hull(name: str, alternatives: Iterable[str], now: datetime) -> Range:
    """Return the time outside of which no instant is one of ``alternatives``.

    Raises:
        BadSearch: One of them is no date of FHIR.
    """
    reaches = [_reach(*_read(name, text), now) for text in alternatives]
    starts = [one.from_ms for one in reaches]
    ends = [one.until_ms for one in reaches]
    return Range(
        None if None in starts else min(one for one in starts if one is not None),
        None if None in ends else max(one for one in ends if one is not None),
    )


def instant_ms(name: str, text: str) -> int:
    """Return an instant, which has a zone, as ms since 1970 UTC.

    Raises:
        BadSearch: It is none.
    """
    found = _DATE.fullmatch(text)
    if found is None or found["prefix"] or not found["zone"]:
        problem = f"{text!r} is no instant such as 2026-03-01T07:30:00Z (+ is %2B)"
        raise BadSearch(name, problem)
    return _read(name, text)[1]


def _read(name: str, text: str) -> tuple[str, int, int]:
    """Return the prefix of a date, eq if it has none, and the time that it spans."""
    found = _DATE.fullmatch(text)
    if found is None:
        raise BadSearch(
            name, f"{text!r} is no date such as ge2026-03-01T07:30:00Z (+ is %2B)"
        )
    try:
        start_ms, length_ms = _span(found)
    except (ValueError, OverflowError) as error:
        raise BadSearch(name, f"{text!r} is a date that there is not") from error
    return found["prefix"] or "eq", start_ms, start_ms + length_ms


def _span(found: re.Match[str]) -> tuple[int, int]:
    year, month, day = (int(found[part] or 1) for part in ("year", "month", "day"))
    hour, minute, second = (
        int(found[part] or 0) for part in ("hour", "minute", "second")
    )
    zone = _zone(found["zone"] or "Z")
    start = datetime(year, month, day, hour, minute, second, tzinfo=zone)
    part = found["part"] or ""
    start_ms = _ms(start) + int(part.ljust(3, "0")[:3])
    if part:
        return start_ms, 10 ** max(0, 3 - len(part))
    if found["second"]:
        return start_ms, 1_000
    if found["minute"]:
        return start_ms, 60_000
    if found["day"]:
        return start_ms, _DAY_MS
    if found["month"]:
        return start_ms, monthrange(year, month)[1] * _DAY_MS
    return start_ms, (366 if isleap(year) else 365) * _DAY_MS


def _zone(text: str) -> timezone:
    if text == "Z":
        return UTC
    hours, minutes = text[1:].split(":")
    ahead = timedelta(hours=int(hours), minutes=int(minutes))
    return timezone(-ahead if text[0] == "-" else ahead)


def _ms(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def _about(start: int, end: int, now: datetime) -> tuple[int, int]:
    """Widen a time by a tenth of how far it is from now, as FHIR proposes."""
    far = max(abs(_ms(now) - start), abs(_ms(now) - end)) // 10
    return start - far, end + far


def _compare(prefix: str, found: tuple[int, ...], asked: tuple[int, int]) -> bool:
    """Whether a resource's time stands to the one asked for as the prefix says."""
    inside = asked[0] <= found[0] and found[1] <= asked[1]
    above, below = found[1] > asked[1], found[0] < asked[0]
    return {
        "eq": inside,
        "ne": not inside,
        "gt": above,
        "lt": below,
        "ge": above or inside,
        "le": below or inside,
        "sa": found[0] >= asked[1],
        "eb": found[1] <= asked[0],
        "ap": found[0] < asked[1] and asked[0] < found[1],
    }[prefix]


def _reach(prefix: str, start: int, end: int, now: datetime) -> Range:
    """Return the time outside of which no instant can stand to a date as demanded."""
    if prefix == "ap":
        return Range(*_about(start, end, now))
    return {
        "eq": Range(start, end),
        "ne": Range(),
        "gt": Range(end),
        "sa": Range(end),
        "ge": Range(start),
        "lt": Range(None, start),
        "eb": Range(None, start),
        "le": Range(None, end),
    }[prefix]

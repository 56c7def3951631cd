"""A device's clock and the true time of its readings.

A home meter's clock drifts, is set wrong, or was never set. What is known of
the truth is the difference between the device's clock and the station's at the
visit. It corrects what the device has recorded since its clock was last set,
and says by how much the result may be wrong. The device's own time always stays
beside it, and no reading's identity depends on what happens here.
"""

import ctypes
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self
from zoneinfo import ZoneInfo

from protocols.gatt.time import DateTime
from protocols.observation import FIRST_YEAR, Observation, TimeMethod

_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised
_TIMEX_BYTES = 512  # more than the kernel's struct timex
_NO_CORRECTION = timedelta(minutes=2)
_MOST_CORRECTED = timedelta(hours=24)
_DRIFT_PER_DAY_MS = 10_000  # 5 minutes a month, the worst that meters are known for
_AHEAD = timedelta(minutes=10)
_MOST_AHEAD = timedelta(days=1)
_LAST_RESET_YEAR = 2014
_HOUR_MS = 3_600_000
_TOLD = "told"
_WHOLE_MINUTES_MS = 60_000  # that a clock without seconds hides
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class TrueTime:
    """When a measurement really was.

    Attributes:
        utc_ms: In ms since 1970 UTC; None where nobody knows.
        method: How it was found.
        bound_ms: By how much it may be wrong, in ms; None where it is unknown.
        ahead: The device's clock claims a moment that is still to come.
    """

    utc_ms: int | None = None
    method: TimeMethod = TimeMethod.UNKNOWN
    bound_ms: int | None = None
    ahead: bool = False


@dataclass(frozen=True, slots=True)
class Offset:
    """Both clocks at the same moment of a visit.

    Attributes:
        shown: The device's clock, local time without a zone.
        now: The station's, with its zone.
    """

    shown: datetime
    now: datetime

    @classmethod
    def between(cls, device: DateTime, now: datetime | None) -> "Offset | None":
        """Return both clocks; None if one of them names no moment."""
        shown = device.moment
        return None if shown is None or now is None else cls(shown, now)

    @property
    def ahead(self) -> timedelta:
        """How far the station's clock is ahead of the device's."""
        return self.now.replace(tzinfo=None) - self.shown

    @property
    def is_right(self) -> bool:
        """Whether the device's clock is taken for right."""
        return abs(self.ahead) <= _NO_CORRECTION


@dataclass(frozen=True, slots=True)
class Setting:
    """Both clocks before the station may have set the device's.

    Attributes:
        before: What they showed.
        is_told: The device came to the end of what it had recorded until then, as far
            as it tells where that is.
    """

    before: Offset
    is_told: bool = False

    @classmethod
    def of(cls, text: str) -> Self:
        """Read what `text` gave.

        Raises:
            ValueError: It gave something else.
        """
        shown, now, *told = text.split()
        both = map(datetime.fromisoformat, (shown, now))
        return cls(Offset(*both), is_told=told == [_TOLD])

    @property
    def text(self) -> str:
        """The same, to be kept."""
        both = f"{self.before.shown.isoformat()} {self.before.now.isoformat()}"
        return f"{both} {_TOLD}" if self.is_told else both


def true_time(
    seen: Observation,
    offset: Offset | None,
    now: datetime | None,
    zone: ZoneInfo,
    setting: Setting | None = None,
) -> TrueTime:
    """Return when an observation was made.

    Args:
        seen: The observation, with the device's time of it.
        offset: Both clocks at this visit; None if the device's can't be read, or the
            station itself does not know the time.
        now: The station's time, with its zone; None if it does not know it.
        zone: The zone in which the device's clock is read.
        setting: The last one of the device's clock by the station, if any; what was
            recorded before that may be told only now.
    """
    facing = seen.user_facing_time
    shown = None if facing is None else facing.moment
    if shown is None or "time_fault" in seen.status:
        return TrueTime()
    if setting is not None and offset is not None and offset.is_right:
        before = setting.before
        if shown < before.now.replace(tzinfo=None) - _NO_CORRECTION:
            offset = before
        elif not setting.is_told and shown <= before.shown + _NO_CORRECTION:
            return TrueTime()  # by the old clock or by the new one, nobody knows
    if offset is None or now is None or offset.is_right:
        return _as_shown(shown, offset, now, zone)
    # The device's clock ran while it counted the age, whatever the zone did.
    try:
        utc = offset.now.astimezone(UTC) - (offset.shown - shown)
    except OverflowError:
        return TrueTime()
    if utc > now + _AHEAD or utc.year < FIRST_YEAR:
        return TrueTime(ahead=utc > now + _AHEAD)  # it was set in between
    small = abs(offset.ahead) <= _MOST_CORRECTED
    method = TimeMethod.CORRECTED if small else TimeMethod.RECONSTRUCTED
    # No bound: nothing says that the clock was not set after the measurement.
    return TrueTime((utc - _EPOCH) // _MS, method)


def _as_shown(
    shown: datetime, offset: Offset | None, now: datetime | None, zone: ZoneInfo
) -> TrueTime:
    """Return the true time that the device's clock shows, if it is one."""
    try:
        utc = shown.replace(tzinfo=zone).astimezone(UTC)
    except OverflowError:
        return TrueTime()
    ahead = now is not None and utc > now + _AHEAD
    reset = offset is None and shown.year <= _LAST_RESET_YEAR
    if utc.year < FIRST_YEAR or (now is not None and utc > now + _MOST_AHEAD):
        return TrueTime(ahead=ahead)
    if reset and (shown.month, shown.day) == (1, 1):
        return TrueTime()  # where clocks start that lost their battery
    bound_ms = None
    if offset is not None and now is not None:
        twice = shown.replace(tzinfo=zone, fold=1).astimezone(UTC) != utc
        days = max((now - utc).days, 0) + 1
        bound_ms = _NO_CORRECTION // _MS + _DRIFT_PER_DAY_MS * days
        bound_ms += _HOUR_MS if twice else 0  # the hour that autumn repeats
        has_seconds = shown.second or offset.shown.second
        bound_ms += 0 if has_seconds else _WHOLE_MINUTES_MS
    return TrueTime((utc - _EPOCH) // _MS, TimeMethod.DEVICE, bound_ms, ahead)


def is_synchronised() -> bool:
    """Whether the kernel knows that somebody keeps the station's clock right.

    NTP daemons tell it (adjtimex(2)); where it can't be asked, nobody knows. Nine hours
    after the last word of a server the kernel says no, however right the clock is.
    """
    # All zero asks and changes nothing.
    timex = ctypes.create_string_buffer(_TIMEX_BYTES)
    try:
        state = int(ctypes.CDLL(None).adjtimex(timex))
    except (AttributeError, OSError):
        return False
    return 0 <= state < _TIME_ERROR

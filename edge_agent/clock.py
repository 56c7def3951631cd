"""A device's clock and the true time of its readings.

A home meter's clock drifts, is set wrong, or was never set. What is known of
the truth is the difference between the device's clock and the station's at the
visit. It corrects what the device has recorded since its clock was last set,
and says by how much the result may be wrong. The device's own time always stays
beside it, and no reading's identity depends on what happens here.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from protocols.gatt.time import DateTime
from protocols.observation import Observation, TimeMethod

_NO_CORRECTION = timedelta(minutes=2)
_MOST_CORRECTED = timedelta(hours=24)
_FIRST_YEAR = 2005  # unset clocks say 1970 or 2000
_DRIFT_PER_DAY_MS = 10_000  # 5 minutes a month, the worst that meters are known for
_AHEAD = timedelta(minutes=10)
_MOST_AHEAD = timedelta(days=1)
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
    """How far the station's clock was ahead of the device's at a visit."""

    ahead: timedelta

    @classmethod
    def between(cls, device: DateTime, now: datetime) -> "Offset | None":
        """Return the offset; None if the device's clock names no moment.

        Args:
            device: What the device's clock shows.
            now: The station's local time, with its zone.
        """
        shown = device.moment
        return None if shown is None else cls(now.replace(tzinfo=None) - shown)


def true_time(
    seen: Observation, offset: Offset | None, now: datetime, zone: ZoneInfo
) -> TrueTime:
    """Return when an observation was made.

    Args:
        seen: The observation, with the device's time of it.
        offset: From the device's clock at this visit; None if it has none.
        now: The station's time, with its zone.
        zone: The zone in which the device's clock is read.
    """
    raw = seen.device_time
    facing = None if raw is None else raw.plus(seen.offset_min or 0)
    shown = None if facing is None else facing.moment
    if shown is None or "time_fault" in seen.status:
        return TrueTime()
    ahead = timedelta(0) if offset is None else offset.ahead
    if abs(ahead) > _MOST_CORRECTED:
        method = TimeMethod.RECONSTRUCTED
    elif abs(ahead) > _NO_CORRECTION:
        method = TimeMethod.CORRECTED
    else:
        method, ahead = TimeMethod.DEVICE, timedelta(0)
    try:
        utc = (shown + ahead).replace(tzinfo=zone).astimezone(UTC)
    except OverflowError:
        return TrueTime()
    is_ahead = utc > now + _AHEAD
    # A moment to come means that the clock was set in between: its age is unknown.
    if utc.year < _FIRST_YEAR or utc > now + _MOST_AHEAD:
        return TrueTime(ahead=is_ahead)
    if method == TimeMethod.RECONSTRUCTED and is_ahead:
        return TrueTime(ahead=True)
    bound_ms = None
    if offset is not None and method != TimeMethod.RECONSTRUCTED:
        days = max((now - utc).days, 0) + 1
        bound_ms = _NO_CORRECTION // _MS + _DRIFT_PER_DAY_MS * days
    return TrueTime((utc - _EPOCH) // _MS, method, bound_ms, is_ahead)

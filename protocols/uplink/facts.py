"""The facts of readings as columns of a batch: what each is called, shows and may hold.

Times by a device's clock are seconds since 2000-01-01T00:00 of that clock; a clock
that shows no moment stands as its seven bytes. A true time stands as how many ms it is
behind the device's clock, and alone where that shows no moment.
"""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from protocols.gatt.time import DateTime
from protocols.observation import LinkSecurity, Quality, Reading, TimeMethod
from protocols.uplink import columns
from protocols.uplink.columns import Whole

EPOCH_S = 946_684_800  # from 1970 to 2000
_EPOCH = datetime(2000, 1, 1)  # noqa: DTZ001 - a device's clock has no zone
_UNIX_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - likewise

_FIRST, _LAST = datetime(1582, 1, 1), datetime(9999, 12, 31, 23, 59, 59)  # noqa: DTZ001
_SECOND = timedelta(seconds=1)
_FIRST_S, _LAST_S = (_FIRST - _EPOCH) // _SECOND, (_LAST - _EPOCH) // _SECOND


def _show_time(reading: Reading) -> object:
    time = reading.observation.device_time
    if time is None:
        return None
    if (moment := time.moment) is None:
        return time.year.to_bytes(2, "big") + bytes(time[1:])
    return (moment - _EPOCH) // _SECOND


def read_time(item: object) -> DateTime | None:
    """Return the device's clock that an item of its column says."""
    if isinstance(item, bytes):
        return DateTime(int.from_bytes(item[:2], "big"), *item[2:])
    if isinstance(item, int):
        return DateTime.of(_EPOCH + timedelta(seconds=item))
    return None


def _is_no_moment(item: object) -> bool:
    if item is None:
        return True
    time = read_time(item) if isinstance(item, bytes) and len(item) == 7 else None
    return time is not None and time.moment is None


def _wall_ms(time: DateTime | None) -> int:
    moment = None if time is None else time.moment
    since = timedelta(0) if moment is None else moment - _UNIX_EPOCH
    return since // timedelta(milliseconds=1)


def _show_utc(reading: Reading) -> object:
    if reading.utc_ms is None:
        return None
    return reading.utc_ms - _wall_ms(reading.observation.device_time)


def _names(item: object) -> bool:
    return (
        isinstance(item, list)
        and len(item) <= 32
        and all(isinstance(name, str) and len(name) <= 64 for name in item)
    )


def _pairs(item: object) -> bool:
    return item is None or (
        isinstance(item, dict)
        and len(item) <= 32
        and all(
            isinstance(part, str) and len(part) <= 256
            for pair in item.items()
            for part in pair
        )
    )


def _frames(item: object) -> bool:
    return (
        isinstance(item, list)
        and len(item) <= 8
        and all(isinstance(frame, bytes) and len(frame) <= 4096 for frame in item)
    )


def is_none(item: object) -> bool:
    """Whether there is nothing."""
    return item is None


def one_of(known: Iterable[int]) -> columns.Check:
    """Return a check that lets only these integers pass."""
    allowed = frozenset(int(item) for item in known)
    return lambda item: type(item) is int and item in allowed


_Show = Callable[[Reading], object]
_ANY_QUALITY = sum(Quality)
_MOST_MS = (1 << 63) - 1 - 253_402_300_800_000  # less the latest device clock
COLUMNS: dict[int, tuple[str, _Show, columns.Check]] = {
    1: (
        "sequence",
        lambda r: r.observation.sequence,
        Whole(0, 0xFFFF_FFFF, is_none),
    ),
    2: ("device time", _show_time, Whole(_FIRST_S, _LAST_S, _is_no_moment)),
    3: (
        "offset",
        lambda r: r.observation.offset_min,
        Whole(-0x8000, 0x7FFF, is_none),
    ),
    4: (
        "slot",
        lambda r: r.observation.slot,
        Whole(0, 0xFF, is_none),
    ),
    5: ("generation", lambda r: r.generation, Whole(0, 0xFFFF)),
    6: (
        "arrival",
        lambda r: r.arrival,
        Whole(0, (1 << 61) - 1, is_none),
    ),
    7: ("captured", lambda r: r.captured_ms, Whole()),
    8: ("utc", _show_utc, Whole(-_MOST_MS, _MOST_MS, is_none)),
    9: ("time method", lambda r: int(r.time_method), one_of(TimeMethod)),
    10: ("time bound", lambda r: r.time_bound_ms, Whole(0, other=is_none)),
    11: ("status", lambda r: list(r.observation.status), _names),
    12: ("context", lambda r: dict(r.observation.context) or None, _pairs),
    13: ("link", lambda r: int(r.link), one_of(LinkSecurity)),
    14: (
        "quality",
        lambda r: int(r.quality),
        Whole(0, _ANY_QUALITY),
    ),
    15: (
        "person",
        lambda r: r.person,
        lambda item: item is None or (isinstance(item, str) and 0 < len(item) <= 128),
    ),
    16: ("evidence", lambda r: dict(r.evidence) or None, _pairs),
    17: ("raw", lambda r: list(r.observation.raw), _frames),
}
DEVICE_TIME = 2
DEFAULTS: dict[int, object] = {5: 0, 7: 0, 9: 0, 11: [], 13: 0, 14: 0, 17: []}

"""Time zone and daylight saving time: how a wall clock stands to UTC.

Source: Bluetooth SIG, GATT Specification Supplement; Current Time Service 1.1,
§3.2; Next DST Change Service 1.0, §3.1.

    Time Zone               s8, in steps of 15 minutes, -48 to 56; -128 unknown
    DST Offset              u8, in steps of 15 minutes: 0, 2, 4, 8; 255 unknown
    Local Time Information  Time Zone, DST Offset
    Time with DST           Date Time, DST Offset
"""

from dataclasses import dataclass
from uuid import UUID

from protocols.cursor import Cursor
from protocols.errors import Fault
from protocols.gatt.time import DateTime, date_time, show_clock
from protocols.gatt.uuid import sig
from protocols.kinds import PayloadKind, Shown, trailing

NEXT_DST_CHANGE_SERVICE: UUID = sig(0x1807)
DST_OFFSET: UUID = sig(0x2A0D)
TIME_ZONE: UUID = sig(0x2A0E)
LOCAL_TIME_INFORMATION: UUID = sig(0x2A0F)
TIME_WITH_DST: UUID = sig(0x2A11)

_STEP_MIN = 15
_UNKNOWN_ZONE, _WEST, _EAST = -128, -48, 56
_UNKNOWN_DST, _DST = 255, (0, 2, 4, 8)


@dataclass(frozen=True, slots=True)
class LocalTime:
    """One Local Time Information value, exactly as it was on the wire.

    Attributes:
        zone: In steps of 15 minutes east of UTC, without daylight saving.
        dst: In steps of 15 minutes.
        trailing: Bytes behind the fields known here.
    """

    zone: int
    dst: int
    trailing: bytes = b""


def zone_min(raw: int) -> int | None:
    """Return a Time Zone in minutes east of UTC; None if unknown or reserved.

    >>> zone_min(32), zone_min(-128)
    (480, None)
    """
    return raw * _STEP_MIN if _WEST <= raw <= _EAST else None


def dst_min(raw: int) -> int | None:
    """Return a DST Offset in minutes; None if unknown or reserved.

    >>> dst_min(4), dst_min(255)
    (60, None)
    """
    return raw * _STEP_MIN if raw in _DST else None


def decode_time_zone(payload: bytes) -> tuple[int, bytes]:
    """Read a Time Zone, -48 to 56 or -128, and the bytes behind it.

    Raises:
        DecodeError: ``payload`` is cut short, or its value is reserved.
    """
    with Cursor("Time Zone", payload) as read:
        return _zone(read), read.rest()


def decode_dst_offset(payload: bytes) -> tuple[int, bytes]:
    """Read a DST Offset, 0, 2, 4, 8 or 255, and the bytes behind it.

    Raises:
        DecodeError: ``payload`` is cut short, or its value is reserved.
    """
    with Cursor("DST Offset", payload) as read:
        return _dst(read), read.rest()


def decode_local_time(payload: bytes) -> LocalTime:
    """Read a Local Time Information value.

    Raises:
        DecodeError: ``payload`` is cut short, or a value in it is reserved.
    """
    with Cursor("Local Time Information", payload) as read:
        return LocalTime(_zone(read), _dst(read), read.rest())


def decode_time_with_dst(payload: bytes) -> tuple[DateTime, int, bytes]:
    """Read a Time with DST: when the clock changes, the DST Offset from then on.

    Returns:
        The time, the DST Offset, and the bytes behind them.

    Raises:
        DecodeError: ``payload`` is cut short, or its DST Offset is reserved.
    """
    with Cursor("Time with DST", payload) as read:
        return date_time(read), _dst(read), read.rest()


def _zone(read: Cursor) -> int:
    raw = read.s8("time zone")
    if raw != _UNKNOWN_ZONE and zone_min(raw) is None:
        problem = f"is {raw}, not {_WEST} to {_EAST}"
        raise read.error("time zone", problem, Fault.OUT_OF_RANGE, size=1)
    return raw


def _dst(read: Cursor) -> int:
    raw = read.u8("DST offset")
    if raw != _UNKNOWN_DST and dst_min(raw) is None:
        problem = f"{raw} is reserved"
        raise read.error("DST offset", problem, Fault.RESERVED_VALUE, size=1)
    return raw


def show_zone(raw: int) -> Shown:
    """Show a Time Zone."""
    return {"time_zone_raw": raw, "time_zone_min": zone_min(raw)}


def show_dst(raw: int) -> Shown:
    """Show a DST Offset."""
    return {"dst_raw": raw, "dst_min": dst_min(raw)}


def _show_time_zone(payload: bytes) -> Shown:
    raw, rest = decode_time_zone(payload)
    return show_zone(raw) | trailing(rest)


def _show_dst_offset(payload: bytes) -> Shown:
    raw, rest = decode_dst_offset(payload)
    return show_dst(raw) | trailing(rest)


def _show_local_time(payload: bytes) -> Shown:
    time = decode_local_time(payload)
    return show_zone(time.zone) | show_dst(time.dst) | trailing(time.trailing)


def _show_time_with_dst(payload: bytes) -> Shown:
    clock, dst, rest = decode_time_with_dst(payload)
    return show_clock(clock) | show_dst(dst) | trailing(rest)


KINDS = {
    "gatt.dst_offset": PayloadKind(_show_dst_offset),
    "gatt.local_time_information": PayloadKind(_show_local_time),
    "gatt.time_with_dst": PayloadKind(_show_time_with_dst),
    "gatt.time_zone": PayloadKind(_show_time_zone),
}

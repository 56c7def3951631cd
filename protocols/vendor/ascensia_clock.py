"""Ascensia Contour Next One and its kin: their clock, by BLE.

Source: field notes on the Contour Next One (docs/reference/sources.md).

    service        00000000-0002-11e2-9e96-0800200c9a66
    clock, write   00001026-0002-11e2-9e96-0800200c9a66

    01 | year u16, month, day, hour, minute, second u8 | offset s16

The seven bytes are UTC; ``offset`` are the minutes from it to local time,
daylight saving time included. The two other characteristics of the service,
…1022 and …1025, are not known and never touched.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from struct import pack
from uuid import UUID

from protocols.cursor import Cursor
from protocols.errors import Fault
from protocols.gatt.time import DateTime, date_time
from protocols.kinds import PayloadKind, Shown

SERVICE: UUID = UUID("00000000-0002-11e2-9e96-0800200c9a66")
CLOCK: UUID = UUID("00001026-0002-11e2-9e96-0800200c9a66")

_COMMAND = 0x01


@dataclass(frozen=True, slots=True)
class ClockSetting:
    """One writing of the clock.

    Attributes:
        utc: The time in UTC.
        offset_min: Minutes from UTC to local time, summer time included.
    """

    utc: DateTime
    offset_min: int

    def encode(self) -> bytes:
        """Return the value to write."""
        return pack("<BH5Bh", _COMMAND, *self.utc, self.offset_min)


def set_clock(moment: datetime) -> ClockSetting:
    """Return what sets the clock to ``moment`` and to its zone's offset.

    Args:
        moment: With its zone; its fraction is left out.

    Raises:
        ValueError: ``moment`` has no zone, or one of no whole minutes.
    """
    offset = moment.utcoffset()
    if offset is None or offset % timedelta(minutes=1):
        raise ValueError(f"{moment} has no offset of whole minutes")
    utc = DateTime.of(moment.astimezone(UTC))
    return ClockSetting(utc, offset // timedelta(minutes=1))


def decode(payload: bytes) -> ClockSetting:
    """Read one writing of the clock.

    Raises:
        DecodeError: ``payload`` is cut short, too long, or another command.
    """
    with Cursor("Contour clock", payload) as read:
        if (command := read.u8("command")) != _COMMAND:
            problem = f"is {command:#04x}, not 0x01"
            raise read.error("command", problem, Fault.BAD_HEADER, size=1)
        return ClockSetting(date_time(read, "UTC"), read.s16("offset"))


def _show_setting(payload: bytes) -> Shown:
    setting = decode(payload)
    shown: Shown = {
        "datetime_utc": str(setting.utc),
        "offset_min": setting.offset_min,
    }
    if setting.utc.moment is None:
        shown["datetime_valid"] = False
    return shown


KINDS = {"ascensia.contour_time": PayloadKind(_show_setting)}

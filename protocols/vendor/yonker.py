"""Yonker YK-IBPA1 cuffs (also Yongrow, YK-BPW5): what their service notifies.

Source: field notes on the Yonker YK-IBPA1, checked against captured values
(docs/reference/sources.md).

    81 | systolic | diastolic | pulse | 2 x 00 | clock 5 bytes | 4 bytes    result
    80 | pressure u16 | 12 x 00                                    while measuring

Bytes, all of them; ``pressure`` has its high byte first. There is no checksum: a
result is known by its first byte and its 15 bytes. The clock is uncertain: the
notes read it as day, month, year since 2000, hour, minute and call it unreliable,
but the captured value is then of 2024-11-25, and of 2025-11-24, the day on which it
was published, if the year came first. `Record.time` follows the notes; `clock`
has the bytes. Pulse oximeters of the maker have the same service and begin with 81
too: nothing but the device's name tells them apart.
"""

from dataclasses import dataclass
from uuid import UUID

from protocols.cursor import Cursor
from protocols.errors import Fault
from protocols.gatt.time import DateTime
from protocols.kinds import PayloadKind, Shown

SERVICE = UUID("cdeacd80-5235-4c07-8846-93a37ee6b86d")
NOTIFICATIONS = UUID("cdeacd81-5235-4c07-8846-93a37ee6b86d")

_SIZE = 15
_PROGRESS, _RESULT = 0x80, 0x81
_EPOCH = 2000


@dataclass(frozen=True, slots=True)
class Record:
    """One finished measurement.

    Attributes:
        systolic: 0 to 255 mmHg.
        diastolic: 0 to 255 mmHg.
        pulse: 0 to 255 per minute.
        clock: The cuff's clock as five bytes, whatever their order.
    """

    systolic: int
    diastolic: int
    pulse: int
    clock: bytes

    @property
    def time(self) -> DateTime:
        """The clock if its day comes first and its year third; that is uncertain."""
        day, month, year, hour, minute = self.clock
        return DateTime(_EPOCH + year, month, day, hour, minute, 0)


def is_progress(payload: bytes) -> bool:
    """Whether ``payload`` tells the pressure while measuring, and no result."""
    return len(payload) == _SIZE and payload[0] == _PROGRESS


def decode_record(payload: bytes) -> Record:
    """Read one finished measurement.

    Raises:
        DecodeError: ``payload`` is cut short, too long, or no result.
    """
    with Cursor("Yonker record", payload) as read:
        if (flag := read.u8("flag")) != _RESULT:
            problem = f"is {flag:#04x}, not 0x81"
            raise read.error("flag", problem, Fault.BAD_HEADER, size=1)
        if len(payload) != _SIZE:
            problem = f"at {len(payload)} bytes, not {_SIZE}"
            raise read.error("end", problem, Fault.BAD_LENGTH)
        systolic, diastolic, pulse = read.take(3, "values")
        read.take(2, "unknown")
        clock = read.take(5, "clock")
        read.rest()
        return Record(systolic, diastolic, pulse, clock)


def _show_record(payload: bytes) -> Shown:
    record = decode_record(payload)
    shown: Shown = {
        "systolic": record.systolic,
        "diastolic": record.diastolic,
        "pulse": record.pulse,
        "timestamp": str(record.time)[:-3],
        "clock": record.clock.hex(),
    }
    if record.time.moment is None:
        shown["timestamp_valid"] = False
    return shown


KINDS = {"yonker.record": PayloadKind(_show_record)}

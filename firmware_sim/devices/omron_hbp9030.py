"""An Omron HBP-9030 tunnel cuff on its USB plug, which is a serial port.

Source: field notes on the HBP-9030's format 5 (docs/reference/sources.md).

    2026,07,11,09,05,12345678901234567890,0,120,080,072,1 CR LF

That is the date and the time to the minute, the number of the person in 20
characters, an error from 0 to 9, systolic and diastolic pressure in mmHg, pulse
rate, each in three digits and blank if there was an error, and how often the
body moved, 0 to 9. A line is sent once, when the measurement is over; what was
measured while the port was closed comes when it is opened (our choice). What it
is sent it does not hear.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from firmware_sim.trial import Shown, SimClock, Span, Trial
from protocols.observation import Kind, Quantity, Unit


@dataclass(frozen=True, slots=True)
class Hbp9030Record:
    """One measurement.

    Attributes:
        time: The cuff's clock, without a zone, to the minute.
        systolic: In mmHg, 60 to 260.
        diastolic: In mmHg, 30 to 215.
        pulse: Per minute, 40 to 180.
        person: Whose it is, 20 characters at most.
        error: 0, or the error for which there are no values.
        movements: 0 to 9.
    """

    time: datetime
    systolic: int
    diastolic: int
    pulse: int
    person: str = ""
    error: int = 0
    movements: int = 0

    def line(self) -> bytes:
        """Return the line that is sent."""
        values = f"{self.systolic:03},{self.diastolic:03},{self.pulse:03}"
        if self.error:
            values = "   ,   ,   "
        time = f"{self.time:%Y,%m,%d,%H,%M}"
        text = f"{time},{self.person:<20},{self.error},{values},{self.movements}\r\n"
        return text.encode("ascii")


class Hbp9030:
    """An HBP-9030's firmware: a `SerialBench`.

    Args:
        records: What it measures as soon as somebody listens, oldest first.
    """

    baud = 9600

    def __init__(self, records: Iterable[Hbp9030Record] = ()) -> None:
        self._unsent = list(records)

    def store(self, record: Hbp9030Record) -> None:
        """Add a measurement, as a test does that somebody takes now."""
        self._unsent.append(record)

    def plugged(self) -> Iterable[bytes]:
        """Send what was measured, once."""
        lines = [record.line() for record in self._unsent]
        self._unsent.clear()
        return lines

    def feed(self, data: bytes) -> Iterable[bytes]:  # noqa: ARG002 - not heard
        """Hear nothing."""
        return ()


def _record(shown: Shown) -> Hbp9030Record:
    values = {name: int(str(number)) for name, number in shown.values.items()}
    return Hbp9030Record(
        shown.time,
        values[Quantity.SYSTOLIC],
        values[Quantity.DIASTOLIC],
        values[Quantity.PULSE_RATE],
        person="00000000000000000815",
        movements=int(shown.context.get("movements", "0")),
    )


def _make(shown: Sequence[Shown], _clock: SimClock) -> Hbp9030:
    return Hbp9030([_record(one) for one in shown])


def _take(cuff: Hbp9030, shown: Shown) -> None:
    cuff.store(_record(shown))


TRIAL = Trial(
    make=_make,
    take=_take,
    spans={
        Kind.BLOOD_PRESSURE: (
            Span(Quantity.SYSTOLIC, Unit.MM_HG, Decimal(60), Decimal(260)),
            Span(Quantity.DIASTOLIC, Unit.MM_HG, Decimal(30), Decimal(215)),
            Span(Quantity.PULSE_RATE, Unit.PER_MINUTE, Decimal(40), Decimal(180)),
        )
    },
    # The status is the driver's word for a count that is not 0: both go together.
    contexts=({}, {"movements": "1"}, {"movements": "9"}),
    statuses=((), ("body_movement",), ("body_movement",)),
    resolution_s=60,
    exempt={
        "line-damage": "a line has no start: with noise before it, it is longer than "
        "any, and must be refused; and it is told only once",
        "wrong-bits": "a line has no checksum; that of USB guards it",
    },
)

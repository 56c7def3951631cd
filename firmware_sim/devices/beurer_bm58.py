"""A Beurer BM58 blood-pressure cuff on its serial plug.

Source: field notes on the BM58 and BM65 (docs/reference/sources.md).

    what it hears    what it says
    AA               55
    A4               32 characters, its name
    A2               u8: how many records it has
    A3 n             AC, systolic - 25, diastolic - 25, pulse, month, day, hour,
                     minute, year - 2000; n counts from 1
                     A9 if there is none

Our choice are: that n = 1 is the oldest, that it holds 60 and forgets the oldest,
that it says nothing before it was asked by AA, nor at what it does not know.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from firmware_sim.bench import Wait
from firmware_sim.trial import Limit, Shown, SimClock, Span, Trial
from protocols.observation import Kind, Quantity, Unit

CAPACITY = 60  # records
NAME = "Andon Blood Pressure Meter KD001"


@dataclass(frozen=True, slots=True)
class Bm58Record:
    """One stored reading.

    Attributes:
        time: The cuff's clock, without a zone, to the minute; 2000 to 2255.
        systolic: 25 to 280 mmHg.
        diastolic: 25 to 280 mmHg.
        pulse: 0 to 255 per minute.
    """

    time: datetime
    systolic: int
    diastolic: int
    pulse: int

    def encode(self) -> bytes:
        """Return the record as it is sent."""
        at = self.time
        values = [self.systolic - 25, self.diastolic - 25, self.pulse]
        clock = [at.month, at.day, at.hour, at.minute, at.year - 2000]
        return bytes([0xAC, *values, *clock])


class Bm58:
    """A BM58's firmware: a `SerialBench`.

    Args:
        records: What it has stored, oldest first, 60 at most.
        name: What it calls itself, 32 characters at most.

    Attributes:
        name: What it calls itself.

    Raises:
        ValueError: There are more records than it can hold.
    """

    baud = 4800

    def __init__(self, records: Iterable[Bm58Record] = (), *, name: str = NAME) -> None:
        self._records = list(records)
        if len(self._records) > CAPACITY:
            raise ValueError(f"{len(self._records)} records do not fit into {CAPACITY}")
        self.name = name
        self._is_awake = self._waits_for_index = False

    def store(self, record: Bm58Record) -> None:
        """Add a reading, as a test does that somebody takes now; forget the oldest."""
        self._records = [*self._records, record][-CAPACITY:]

    def plugged(self) -> Iterable[bytes | Wait]:
        """Fall asleep; it says nothing unasked."""
        self._is_awake = self._waits_for_index = False
        return ()

    def feed(self, data: bytes) -> Iterable[bytes | Wait]:
        """Take received bytes; return answers."""
        return [answer for byte in data for answer in self._hear(byte)]

    def _hear(self, byte: int) -> Iterator[bytes]:
        if self._waits_for_index:
            self._waits_for_index = False
            yield self._record(byte)
        elif byte == 0xAA:
            self._is_awake = True
            yield b"\x55"
        elif not self._is_awake:
            return
        elif byte == 0xA4:
            yield self.name.ljust(32).encode("ascii")
        elif byte == 0xA2:
            yield bytes([len(self._records)])
        elif byte == 0xA3:
            self._waits_for_index = True

    def _record(self, index: int) -> bytes:
        if 1 <= index <= len(self._records):
            return self._records[index - 1].encode()
        return b"\xa9"


def _stored(shown: Shown) -> Bm58Record:
    systolic, diastolic, pulse = (
        _number(shown.values[quantity])
        for quantity in (Quantity.SYSTOLIC, Quantity.DIASTOLIC, Quantity.PULSE_RATE)
    )
    return Bm58Record(shown.time, systolic, diastolic, pulse)


def _number(shown: Decimal | Limit) -> int:
    if isinstance(shown, Limit):
        raise TypeError("it shows no limits")
    return int(shown)


def _make(shown: Sequence[Shown], _: SimClock) -> Bm58:
    return Bm58(map(_stored, shown[-CAPACITY:]))


def _take(cuff: Bm58, shown: Shown) -> None:
    cuff.store(_stored(shown))


TRIAL = Trial(
    make=_make,
    take=_take,
    spans={
        Kind.BLOOD_PRESSURE: (
            Span(Quantity.SYSTOLIC, Unit.MM_HG, Decimal(60), Decimal(280)),
            Span(Quantity.DIASTOLIC, Unit.MM_HG, Decimal(30), Decimal(200)),
            Span(Quantity.PULSE_RATE, Unit.PER_MINUTE, Decimal(30), Decimal(180)),
        )
    },
    resolution_s=60,
    capacity=CAPACITY,
    exempt={
        "line-damage": "its answers have no start, no end and no checksum, so noise "
        "around one can't be told from it, and the visit ends without readings; "
        "all else of this rule: tests/drivers/test_beurer_bm58.py",
    },
)

"""An A&D UA-767PBT cuff, which connects to its host's serial port by Bluetooth.

Source: field notes on the UA-767PBT (docs/reference/sources.md), one source.

A packet is a header of 60 bytes, numbers little-endian, and ten digits:

    type u16 = 2, length of what follows the header u32 = 10, device u16 = 767,
    flag u8, when measured 7, when sent 7, own address 6, host's address 6,
    serial number 12 characters, 10 bytes reserved, battery u8, a byte, versions u8
    80, systolic less diastolic, diastolic, pulse rate, mean: hexadecimal digits

    times  year u16, month, day, hour, minute, second

It sends whatever no host has acknowledged. How a host does that is not certain,
so nothing that it is sent counts for it: each time the port is opened, all that
it holds comes again, oldest first. How much it holds is our choice: 40.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from struct import pack

from firmware_sim.fields import date_time
from firmware_sim.trial import Shown, SimClock, Span, Trial, stopped_clock
from protocols.observation import Kind, Quantity, Unit

CAPACITY = 40  # records


@dataclass(frozen=True, slots=True)
class PbtRecord:
    """One stored measurement.

    Attributes:
        time: The cuff's clock, without a zone, to the second.
        systolic: In mmHg, at most 255 above ``diastolic``.
        diastolic: In mmHg.
        pulse: Per minute.
        mean: In mmHg.
        is_valid: Whether the cuff stands for it.
    """

    time: datetime
    systolic: int
    diastolic: int
    pulse: int
    mean: int
    is_valid: bool = True

    def digits(self) -> bytes:
        """Return what stands behind the header."""
        first = 0x80 if self.is_valid else 0
        numbers = (self.systolic - self.diastolic, self.diastolic, self.pulse)
        return bytes([first, *numbers, self.mean]).hex().upper().encode("ascii")


class Ua767Pbt:
    """A UA-767PBT's firmware: a `SerialBench`.

    Args:
        records: What it has measured, oldest first; the last 40 are held.
        serial: Its serial number, at most 12 characters.
        clock: Tells the time that it shows; it stands still if not given.
    """

    baud = 9600

    def __init__(
        self,
        records: Iterable[PbtRecord] = (),
        *,
        serial: str = "5070300012",
        clock: Callable[[], datetime] = stopped_clock,
    ) -> None:
        self._records = deque(records, maxlen=CAPACITY)
        self._serial, self._clock = serial, clock

    def store(self, record: PbtRecord) -> None:
        """Add a measurement, as a test does that somebody takes now."""
        self._records.append(record)

    def plugged(self) -> Iterable[bytes]:
        """Send all that it holds, each record as one packet."""
        return [self._packet(record) for record in self._records]

    def feed(self, data: bytes) -> Iterable[bytes]:  # noqa: ARG002 - none counts
        """Take it, and do nothing."""
        return ()

    def _packet(self, record: PbtRecord) -> bytes:
        times = date_time(record.time) + date_time(self._clock())
        addresses = bytes.fromhex("00 09 1f 00 08 15  00 00 5e 00 53 01")
        serial = self._serial.encode("ascii").ljust(12, b"\0")
        head = pack("<HIHB", 2, 10, 767, 1) + times + addresses + serial
        return head + bytes(10) + bytes([0x64, 0, 0x12]) + record.digits()


def _record(shown: Shown) -> PbtRecord:
    values = {name: int(str(number)) for name, number in shown.values.items()}
    return PbtRecord(
        shown.time,
        values[Quantity.SYSTOLIC],
        values[Quantity.DIASTOLIC],
        values[Quantity.PULSE_RATE],
        values[Quantity.MEAN_PRESSURE],
    )


def _make(shown: Sequence[Shown], clock: SimClock) -> Ua767Pbt:
    return Ua767Pbt([_record(one) for one in shown], clock=clock)


def _another(shown: Sequence[Shown], clock: SimClock) -> Ua767Pbt:
    return Ua767Pbt([_record(one) for one in shown], clock=clock, serial="5070300013")


def _take(cuff: Ua767Pbt, shown: Shown) -> None:
    cuff.store(_record(shown))


TRIAL = Trial(
    make=_make,
    take=_take,
    another=_another,
    spans={
        Kind.BLOOD_PRESSURE: (
            Span(Quantity.SYSTOLIC, Unit.MM_HG, Decimal(60), Decimal(279)),
            Span(Quantity.DIASTOLIC, Unit.MM_HG, Decimal(30), Decimal(200)),
            Span(Quantity.MEAN_PRESSURE, Unit.MM_HG, Decimal(40), Decimal(226)),
            Span(Quantity.PULSE_RATE, Unit.PER_MINUTE, Decimal(40), Decimal(199)),
        )
    },
    capacity=CAPACITY,
    exempt={
        "wrong-bits": "a packet has no checksum; Bluetooth's own guards it",
    },
)

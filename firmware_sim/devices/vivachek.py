"""A VivaChek Ino Smart, or a Keto-Mojo GK+, on VivaChek's own BLE service.

Source: field notes on the Keto-Mojo GK+ (docs/reference/sources.md).

    7B | 01 from 01 to | command | mark | length, high byte first | data | crc | 7D

The host is 10 and the meter 20. The crc is CRC-16/MODBUS of what stands between
7B and itself; of its four digits, one a byte, the last two are sent first. A
request is marked 55 and an answer AA.

    66, 77     serial number and version, 16 characters each
    AA         11
    DB         number of records, hundreds and the rest
    DD         each record in a frame of its own; then D1, marked 66
    16 u16     likewise, the newest so many
    44         marked 66, YY MM DD hh mm ss: the clock is set; answered with mark 99

    record     YY MM DD hh mm, hundreds, rest, meal << 4 | nibble, kind

The nibble is A for glucose and B for ketone, as captured. A notification holds 20
bytes, so that a record takes two. It also has a service FFF0 which looks like a
serial port, and sends nothing but empty values. That the newest record comes
first, that nothing answers what it does not know, and how many records it holds
are our choice.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

from firmware_sim.bench import Action, AttError, Characteristic, Pairing, Send
from firmware_sim.trial import Limit, Shown, SimClock, Span, Trial, stopped_clock
from protocols.crc import modbus
from protocols.gatt.uuid import sig
from protocols.observation import Kind, Quantity, Unit

CAPACITY = 300  # records; our choice

_SERVICE = UUID("0003cdd0-0000-1000-8000-00805f9b0131")
_NOTIFY = UUID("0003cdd1-0000-1000-8000-00805f9b0131")
_WRITE = UUID("0003cdd2-0000-1000-8000-00805f9b0131")
_DECOY, _DECOY_NOTIFY, _DECOY_WRITE = sig(0xFFF0), sig(0xFFF4), sig(0xFFF3)
_PACKET = 20  # bytes
_SERIAL, _VERSION = b"SIM0000000000815", b"00000316A0036602"
_NOT_SUPPORTED = 0x06
_MEALS = {"preprandial": 1, "postprandial": 2}
GLUCOSE, GLUCOSE_GKI, GLUCOSE_CONTROL = 0x11, 0x12, 0x22
KETONE, KETONE_GKI, KETONE_CONTROL = 0x55, 0x56, 0x66


@dataclass(frozen=True, slots=True)
class VivaChekRecord:
    """One stored result.

    Attributes:
        time: The meter's clock, without a zone, to the minute.
        number: 0 to 9999; mg/dL of glucose, hundredths of mmol/L of ketone.
        kind: What was measured, one of this module's constants.
        meal: 0 none, 1 before, 2 after it.
    """

    time: datetime
    number: int
    kind: int = GLUCOSE
    meal: int = 0

    def encode(self) -> bytes:
        """Return the record as it is sent."""
        nibble = 0x0A if self.kind < KETONE else 0x0B
        year, month, day, hour, minute = self.time.timetuple()[:5]
        hundreds, rest = divmod(self.number, 100)
        head = bytes([year - 2000, month, day, hour, minute])
        return head + bytes([hundreds, rest, self.meal << 4 | nibble, self.kind])


class VivaChek:
    """A VivaChek's firmware: a `GattBench`.

    Args:
        records: What it has stored, oldest first, 300 at most.
        ready: What it answers to AA.
        clock: Tells the time that it shows; it stands still if not given.

    Raises:
        ValueError: There are more records than it can hold.
    """

    advertised: tuple[UUID, ...] = ()  # but service data of 78AC
    pairing = Pairing.NONE
    passkey = 0

    def __init__(
        self,
        records: Iterable[VivaChekRecord] = (),
        *,
        ready: int = 0x11,
        clock: Callable[[], datetime] = stopped_clock,
    ) -> None:
        self.name = "Keto-Mojo GK+ Meter"
        self.services = {
            _SERVICE: (
                Characteristic(_NOTIFY, frozenset({"notify"})),
                Characteristic(_WRITE, frozenset({"write-without-response"})),
            ),
            _DECOY: (
                Characteristic(_DECOY_NOTIFY, frozenset({"notify"})),
                Characteristic(_DECOY_WRITE, frozenset({"write"})),
            ),
        }
        self.set_to: datetime | None = None
        self._records = list(records)
        if len(self._records) > CAPACITY:
            raise ValueError(f"{len(self._records)} records do not fit into {CAPACITY}")
        self._ready, self._clock, self._ahead = ready, clock, timedelta()

    @property
    def now(self) -> datetime:
        """What its clock shows."""
        return self._clock() + self._ahead

    def store(self, record: VivaChekRecord) -> None:
        """Add a result, as a test does that somebody takes now; forget the oldest."""
        self._records = [*self._records, record][-CAPACITY:]

    def connected(self) -> None:
        """Say nothing."""

    def disconnected(self) -> None:
        """Keep everything."""

    def read(self, uuid: UUID) -> bytes:  # noqa: ARG002 - nothing is readable
        """Refuse."""
        raise AttError(_NOT_SUPPORTED)

    def enabled(self, uuid: UUID, *, on: bool) -> Iterable[Action]:  # noqa: ARG002 - all
        """Say nothing."""
        return ()

    def write(self, uuid: UUID, payload: bytes) -> Iterable[Action]:
        """Take a frame; answer it, unless it is none."""
        if uuid == _DECOY_WRITE:
            return [Send(_DECOY_NOTIFY, b"")]
        if not payload.startswith(bytes.fromhex("7b 01 10 01 20")):
            return []
        body = payload[1:-5]
        is_whole = len(body) >= 8 and len(body) == 8 + int.from_bytes(body[6:8], "big")
        if not is_whole or payload[-5:] != _crc(body) + b"\x7d":
            return []
        return self._packets(self._answer(body[4], body[5], body[8:]))

    def _answer(self, command: int, mark: int, data: bytes) -> Iterator[bytes]:
        match command, mark:
            case 0x66, 0x55:
                yield _frame(command, 0xAA, _SERIAL)
            case 0x77, 0x55:
                yield _frame(command, 0xAA, _VERSION)
            case 0xAA, 0x55:
                yield _frame(command, 0xAA, bytes([self._ready]))
            case 0xDB, 0x55:
                yield _frame(command, 0xAA, bytes(divmod(len(self._records), 100)))
            case 0xDD, 0x55:
                yield from self._tell(command, len(self._records))
            case 0x16, 0x55:
                yield from self._tell(command, int.from_bytes(data, "big"))
            case 0x44, 0x66:
                self._set(data)
                yield _frame(command, 0x99, b"")

    def _set(self, data: bytes) -> None:
        year, month, day, hour, minute, second = data
        self.set_to = datetime(2000 + year, month, day, hour, minute, second)  # noqa: DTZ001 - a wall clock
        self._ahead = self.set_to - self._clock()

    def _tell(self, command: int, count: int) -> Iterator[bytes]:
        newest_first = self._records[::-1]
        for record in newest_first[:count]:
            yield _frame(command, 0xAA, record.encode())
        yield _frame(0xD1, 0x66, b"")

    def _packets(self, frames: Iterable[bytes]) -> list[Action]:
        return [
            Send(_NOTIFY, frame[at : at + _PACKET])
            for frame in frames
            for at in range(0, len(frame), _PACKET)
        ]


def _frame(command: int, mark: int, data: bytes) -> bytes:
    body = bytes([0x01, 0x20, 0x01, 0x10, command, mark, 0, len(data)]) + data
    return b"\x7b" + body + _crc(body) + b"\x7d"


def _crc(body: bytes) -> bytes:
    first, second, third, fourth = (int(digit, 16) for digit in f"{modbus(body):04x}")
    return bytes([third, fourth, first, second])


def _record_of(shown: Shown) -> VivaChekRecord:
    """Return what a meter stores that showed ``shown``."""
    ((quantity, number),) = shown.values.items()
    if isinstance(number, Limit):
        raise TypeError(f"what it stores for {number.value} is not known")
    is_ketone = quantity == Quantity.KETONE
    kind = KETONE if is_ketone else GLUCOSE
    if shown.kind == Kind.CONTROL_SOLUTION:
        kind = KETONE_CONTROL if is_ketone else GLUCOSE_CONTROL
    sent = number * (100 if is_ketone else 1)
    if sent != int(sent):
        raise ValueError(f"{number} is not what this meter shows")
    meal = _MEALS.get(shown.context.get("meal", ""), 0)
    return VivaChekRecord(shown.time, int(sent), kind, meal)


def _make(shown: Sequence[Shown], clock: SimClock) -> VivaChek:
    return VivaChek(map(_record_of, shown), clock=clock)


def _take(device: VivaChek, shown: Shown) -> None:
    device.store(_record_of(shown))


TRIAL = Trial(
    make=_make,
    take=_take,
    spans={
        Kind.GLUCOSE: (
            Span(Quantity.GLUCOSE, Unit.MG_PER_DL, Decimal(20), Decimal(600)),
        ),
        Kind.KETONE: (
            Span(
                Quantity.KETONE,
                Unit.MMOL_PER_L,
                Decimal("0.10"),
                Decimal("8.00"),
                Decimal("0.01"),
            ),
        ),
        Kind.CONTROL_SOLUTION: (
            Span(Quantity.GLUCOSE, Unit.MG_PER_DL, Decimal(90), Decimal(330)),
        ),
    },
    contexts=({}, {"meal": "preprandial"}, {"meal": "postprandial"}),
    resolution_s=60,
    capacity=CAPACITY,
    set_to=lambda meter: meter.set_to,
)

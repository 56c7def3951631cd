"""A TaiDoc meter, or a cuff with a meter in it, on TaiDoc's own BLE service.

Source: field notes on TaiDoc meters, cuffs and thermometers
(docs/reference/sources.md).

    51 | command | d0 d1 d2 d3 | A3 from the host, A5 from here | sum      8 bytes

The sum is that of the seven bytes before it, modulo 256.

    24           d1 d0: the model in BCD
    27, 28       the last and the first four bytes of the serial number, turned round
    23           clock: u16 day, month << 5, years since 2000 << 9; minute; hour
    33 clock     the clock is set; answered with what it shows now
    2B user      number of records u16 of the user, 0 for all, then FFFF if none
    25 index user   clock of a record, 0 the newest; minute + 80 of blood pressure,
                    + 40 irregular pulse; hour + 80 average, + 40 once it was sent
    26 index user   value: of a strip u16, temperature, analyte << 2 | mark << 6;
                    of blood pressure systolic, mean, diastolic, pulse
    50           it switches off

With the notifications it says 54, and it swallows the first request. What lies
behind the last record is FFFF FFFF, and what it does not know has no answer; both
are our choice, and so is that it forgets its oldest record of all users.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from struct import pack
from uuid import UUID

from firmware_sim.bench import Action, AttError, Characteristic, HangUp, Pairing, Send
from firmware_sim.trial import Limit, Shown, SimClock, Span, Trial, stopped_clock
from protocols.observation import Kind, Quantity, Unit

CAPACITY = 120  # records; our choice

_SERVICE = UUID("00001523-1212-efde-1523-785feabcd123")
_CHARACTERISTIC = UUID("00001524-1212-efde-1523-785feabcd123")
_NOT_SUPPORTED = 0x06
_ANALYTES = {
    Quantity.GLUCOSE: 0,
    Quantity.HEMATOCRIT: 6,
    Quantity.KETONE: 7,
    Quantity.URIC_ACID: 8,
    Quantity.CHOLESTEROL: 9,
    Quantity.HEMOGLOBIN: 11,
    Quantity.LACTATE: 12,
    Quantity.TRIGLYCERIDES: 13,
}
_SCALES = {
    Quantity.KETONE: Decimal(30),
    Quantity.URIC_ACID: Decimal(10),
    Quantity.HEMOGLOBIN: Decimal(10),
}
_MARKS = {"preprandial": 1, "postprandial": 2, "control": 3}


@dataclass(frozen=True, slots=True)
class StripRecord:
    """A test strip's result.

    Attributes:
        time: The device's clock, without a zone, to the minute; None if it was never
            set, which is all 0 here, our choice.
        quantity: What the strip measures.
        number: As it is sent, 0 to 65535.
        mark: 0 none, 1 before, 2 after a meal, 3 control solution.
        user: Whose it is; 0 on a device that knows no users.
    """

    time: datetime | None
    quantity: Quantity
    number: int
    mark: int = 0
    user: int = 0

    def encode(self) -> tuple[bytes, bytes]:
        """Return time and value as they are sent."""
        kind = _ANALYTES[self.quantity] << 2 | self.mark << 6
        return _clock(self.time), pack("<HBB", self.number, 0x17, kind)


@dataclass(frozen=True, slots=True)
class PressureRecord:
    """A cuff's result.

    Attributes:
        time: The device's clock, without a zone, to the minute.
        systolic: In mmHg, 0 to 511; above 255 only without a mean.
        diastolic: In mmHg, 0 to 255.
        pulse: Per minute, 0 to 255.
        mean: In mmHg, 2 to 255; None if the device computes none.
        irregular: The pulse was.
        average: It is that of several.
        user: Whose it is; 0 on a device that knows no users.
    """

    time: datetime
    systolic: int
    diastolic: int
    pulse: int
    mean: int | None = None
    irregular: bool = False
    average: bool = False
    user: int = 0

    def encode(self) -> tuple[bytes, bytes]:
        """Return time and value as they are sent."""
        day_low, day_high, minute, hour = _clock(self.time)
        minute |= 0x80 | 0x40 * self.irregular
        hour |= 0x80 * self.average
        second = self.systolic >> 8 if self.mean is None else self.mean
        value = bytes([self.systolic & 0xFF, second, self.diastolic, self.pulse])
        return bytes([day_low, day_high, minute, hour]), value


Record = StripRecord | PressureRecord


class TaiDoc:
    """A TaiDoc's firmware: a `GattBench`.

    Args:
        records: What it has stored, oldest first, 120 at most.
        model: Four decimal digits.
        serial: Sixteen hexadecimal digits.
        name: What it advertises.
        users: Whether it keeps users apart.
        clock: Tells the time that it showed until it was set; it stands still if
            not given.

    Raises:
        ValueError: There are more records than it can hold.
    """

    advertised = (_SERVICE,)
    pairing = Pairing.JUST_WORKS
    passkey = 0

    def __init__(
        self,
        records: Iterable[Record] = (),
        *,
        model: str = "3261",
        serial: str = "3261A00000000815",
        name: str = "TAIDOC TD3261",
        users: bool = True,
        clock: Callable[[], datetime] = stopped_clock,
    ) -> None:
        self.name = name
        self.services = {
            _SERVICE: (Characteristic(_CHARACTERISTIC, frozenset({"write", "notify"})),)
        }
        self.set_to: datetime | None = None
        self._records = list(records)
        if len(self._records) > CAPACITY:
            raise ValueError(f"{len(self._records)} records do not fit into {CAPACITY}")
        self._model, self._serial = bytes.fromhex(model), bytes.fromhex(serial)
        self._users, self._clock = users, clock
        self._ahead = timedelta()
        self._sent: set[int] = set()  # ids of records that a host has read
        self._awake = False

    def store(self, record: Record) -> None:
        """Add a record, as a test does that somebody measures; forget the oldest."""
        self._records = [*self._records, record][-CAPACITY:]

    def erase(self, user: int | None = None) -> None:
        """Forget what a user measured, or everything, as somebody wants at its keys."""
        self._records = [
            one for one in self._records if user is not None and one.user != user
        ]

    def connected(self) -> None:
        """Begin asleep."""
        self._awake = False

    def disconnected(self) -> None:
        """Keep everything."""

    def read(self, uuid: UUID) -> bytes:  # noqa: ARG002 - nothing is readable
        """Refuse."""
        raise AttError(_NOT_SUPPORTED)

    def enabled(self, uuid: UUID, *, on: bool) -> Iterable[Action]:  # noqa: ARG002 - one
        """Say that the communication begins."""
        return [_notify(0x54, bytes(4))] if on else []

    def write(self, uuid: UUID, payload: bytes) -> Iterable[Action]:  # noqa: ARG002 - one
        """Take a frame; answer it, unless it is none, or the first one."""
        if not self._awake:
            self._awake = True
            return []
        if len(payload) != 8 or payload[0] != 0x51 or payload[6] != 0xA3:
            return []
        if payload[7] != sum(payload[:7]) % 256:
            return []
        if payload[1] == 0x50:
            return [_notify(0x50, bytes(4)), HangUp()]
        data = self._answer(payload[1], payload[2:6])
        return [] if data is None else [_notify(payload[1], data)]

    def _answer(self, command: int, data: bytes) -> bytes | None:
        known: dict[int, Callable[[], bytes]] = {
            0x22: lambda: bytes(4),
            0x54: lambda: bytes(4),
            0x24: lambda: self._model[::-1] + bytes(2),
            0x27: lambda: self._serial[4:][::-1],
            0x28: lambda: self._serial[:4][::-1],
            0x23: lambda: _clock(self._now()),
            0x33: lambda: self._set(data),
            0x2B: lambda: self._count(data[0]),
            0x25: lambda: self._record(command, data),
            0x26: lambda: self._record(command, data),
        }
        return known[command]() if command in known else None

    def _count(self, user: int) -> bytes:
        count = len(self._of(user))
        return pack("<HH", count, count - 1 & 0xFFFF)

    def _record(self, command: int, data: bytes) -> bytes:
        index, found = int.from_bytes(data[:2], "little"), self._of(data[3])
        if index >= len(found):
            return b"\xff" * 4
        record = found[-1 - index]
        time, value = record.encode()
        if command == 0x26:
            self._sent.add(id(record))
            return value
        return time[:3] + bytes([time[3] | 0x40 * (id(record) in self._sent)])

    def _of(self, user: int) -> list[Record]:
        if not self._users or user == 0:
            return self._records
        return [record for record in self._records if record.user == user]

    def _set(self, data: bytes) -> bytes:
        day = int.from_bytes(data[:2], "little")
        year, month = 2000 + (day >> 9), day >> 5 & 0xF
        self.set_to = datetime(year, month, day & 0x1F, data[3], data[2])  # noqa: DTZ001
        self._ahead = self.set_to - self._clock()
        return _clock(self._now())

    def _now(self) -> datetime:
        return self._clock() + self._ahead


def _notify(command: int, data: bytes) -> Send:
    body = bytes([0x51, command]) + data + b"\xa5"
    return Send(_CHARACTERISTIC, body + bytes([sum(body) % 256]))


def _clock(time: datetime | None) -> bytes:
    if time is None:
        return bytes(4)
    day = time.day | time.month << 5 | (time.year - 2000) << 9
    return pack("<HBB", day, time.minute, time.hour)


def _record_of(shown: Shown) -> Record:
    """Return what a device stores that showed ``shown``."""
    values: Mapping[Quantity, Decimal | Limit] = shown.values
    user = shown.slot or 0
    if shown.kind == Kind.BLOOD_PRESSURE:
        systolic, diastolic, mean, pulse = (
            _whole(values[quantity]) if quantity in values else None
            for quantity in (
                Quantity.SYSTOLIC,
                Quantity.DIASTOLIC,
                Quantity.MEAN_PRESSURE,
                Quantity.PULSE_RATE,
            )
        )
        return PressureRecord(
            shown.time,
            systolic or 0,
            diastolic or 0,
            pulse or 0,
            mean,
            irregular="irregular_pulse" in shown.status,
            average="average" in shown.status,
            user=user,
        )
    ((quantity, number),) = values.items()
    mark = _MARKS.get(shown.context.get("meal", ""), 0)
    if shown.kind == Kind.CONTROL_SOLUTION:
        mark = _MARKS["control"]
    sent = _whole(number, _SCALES.get(quantity, Decimal(1)))
    return StripRecord(shown.time, quantity, sent, mark, user)


def _whole(number: Decimal | Limit, scale: Decimal = Decimal(1)) -> int:
    if isinstance(number, Limit):
        raise TypeError(f"what it stores for {number.value} is not known")
    scaled = number * scale
    if scaled != int(scaled):
        raise ValueError(f"{number} is not what this device shows")
    return int(scaled)


def _make(shown: Sequence[Shown], clock: SimClock) -> TaiDoc:
    return TaiDoc(map(_record_of, shown), clock=clock)


def _make_meter(shown: Sequence[Shown], clock: SimClock) -> TaiDoc:
    return TaiDoc(
        map(_record_of, shown),
        model="4277",
        serial="4277B00000000042",
        name="TAIDOC TD4277",
        users=False,
        clock=clock,
    )


def _take(device: TaiDoc, shown: Shown) -> None:
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
                Decimal("0.1"),
                Decimal("8.0"),
                Decimal("0.1"),
            ),
        ),
        Kind.BLOOD_ANALYTE: (
            Span(
                Quantity.URIC_ACID,
                Unit.MG_PER_DL,
                Decimal("3.0"),
                Decimal("20.0"),
                Decimal("0.1"),
            ),
        ),
        Kind.CONTROL_SOLUTION: (
            Span(Quantity.GLUCOSE, Unit.MG_PER_DL, Decimal(90), Decimal(330)),
        ),
        Kind.BLOOD_PRESSURE: (
            Span(Quantity.SYSTOLIC, Unit.MM_HG, Decimal(60), Decimal(255)),
            Span(Quantity.MEAN_PRESSURE, Unit.MM_HG, Decimal(45), Decimal(216)),
            Span(Quantity.DIASTOLIC, Unit.MM_HG, Decimal(30), Decimal(195)),
            Span(Quantity.PULSE_RATE, Unit.PER_MINUTE, Decimal(40), Decimal(199)),
        ),
    },
    slots=(1, 2, 3, 4),
    resolution_s=60,
    capacity=CAPACITY,
    set_to=lambda device: device.set_to,
)
METER_TRIAL = replace(
    TRIAL,
    make=_make_meter,
    spans={
        kind: TRIAL.spans[kind]
        for kind in (Kind.GLUCOSE, Kind.KETONE, Kind.BLOOD_ANALYTE)
    },
    slots=(),
    contexts=({}, {"meal": "preprandial"}, {"meal": "postprandial"}),
)
"""A meter without a cuff and without users, which is not read whole each time."""
CUFF_TRIAL = replace(
    TRIAL,
    spans={Kind.BLOOD_PRESSURE: TRIAL.spans[Kind.BLOOD_PRESSURE]},
    statuses=(
        (),
        ("irregular_pulse",),
        ("average",),
        ("irregular_pulse", "average"),
        (),
    ),
)
"""Its cuff alone: of what else it measures it says nothing beside the value."""

"""A glucose sensor with the Bluetooth Continuous Glucose Monitoring Service.

Source: Bluetooth SIG, Continuous Glucose Monitoring Service 1.0.2, §3; GATT
Specification Supplement, Record Access Control Point.

    record   size u8, flags u8, mg/dL SFLOAT, minutes u16, [status u8],
             [calibration u8], [warning u8], [trend SFLOAT], [quality SFLOAT]
    feature  u24, type and location u8
    status   minutes u16, three octets
    start    Date Time, time zone s8, DST offset u8
    run time hours u16

Each has a CRC behind it, low byte first, that its size counts. Minutes count from
the session's start. As many records come in a notification as fit. It holds 500
of them, our choice, and forgets the oldest. Its session runs on when its clock is
moved, for the clock is the session's start and the minutes since.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from struct import pack
from uuid import UUID

from firmware_sim.bench import Action, Characteristic, Pairing, Security, Send
from firmware_sim.fields import date_time, sfloat
from firmware_sim.label import Label, services
from firmware_sim.racp import CONTROL_POINT, Answer, ControlPoint, Op, Request
from firmware_sim.trial import Limit, Shown, SimClock, Span, Trial, stopped_clock
from protocols.crc import mcrf4xx
from protocols.gatt.uuid import sig
from protocols.observation import Kind, Quantity, Unit

_CGM, _MEASUREMENT, _FEATURE = sig(0x181F), sig(0x2AA7), sig(0x2AA8)
_STATUS, _START, _RUN_TIME = sig(0x2AA9), sig(0x2AAA), sig(0x2AAB)

_TREND, _QUALITY, _WARNING, _STATUS_OCTET = 0x01, 0x02, 0x20, 0x80
_HAS_CRC, _HAS_TREND = 1 << 12, 1 << 15
_INTERSTITIAL_FLUID, _SUBCUTANEOUS = 9, 5
_BELOW, _ABOVE = 0x40, 0x80
_CHINA = 32  # quarters of an hour
_SESSION_STOPPED, _BATTERY_LOW = 0x01, 0x02
_LOW_FOR = 3  # records
_CAPACITY = 500
_LABEL = Label("Glucose sensor", "00000007")
_ATT_HEADER = 3
_RUN_HOURS = 15 * 24

_CCCD_IMPROPER, _PROCEDURE_RUNNING = 0xFD, 0xFE  # Core Specification Supplement, B


@dataclass(frozen=True, slots=True)
class CgmRecord:
    """One stored value.

    Attributes:
        minutes: Since the session's start, 0 to 65535.
        mg_per_dl: An infinity is beyond the range, NaN none.
        trend: In mg/dL per minute; None leaves the field out.
        quality: In percent; None leaves the field out.
        status: The first octet of the annunciation; None leaves it out.
        warning: The last one; None leaves it out.
    """

    minutes: int
    mg_per_dl: Decimal
    trend: Decimal | None = None
    quality: Decimal | None = None
    status: int | None = None
    warning: int | None = None

    @property
    def sequence(self) -> int:
        """What the control point's filter looks at."""
        return self.minutes

    @property
    def user_facing_time(self) -> datetime | None:
        """Nothing that a record tells."""
        return None

    def encode(self, *, has_crc: bool) -> bytes:
        """Return the record as it is sent.

        Raises:
            ValueError: A value has more digits than an SFLOAT can hold.
        """
        flags, fields = 0, sfloat(self.mg_per_dl) + pack("<H", self.minutes)
        if self.status is not None:
            flags |= _STATUS_OCTET
            fields += bytes([self.status])
        if self.warning is not None:
            flags |= _WARNING
            fields += bytes([self.warning])
        if self.trend is not None:
            flags |= _TREND
            fields += sfloat(self.trend)
        if self.quality is not None:
            flags |= _QUALITY
            fields += sfloat(self.quality)
        size = 2 + len(fields) + 2 * has_crc
        return _checked(bytes([size, flags]) + fields, has_crc=has_crc)


class GlucoseSensor:
    """A glucose sensor's firmware: a `GattBench`.

    Args:
        records: What it has stored, oldest first.
        start: Local time at which its session was started; None if nobody told it.
        clock: Tells the time; it stands still if not given.
        has_crc: Whether it sends an E2E-CRC.
        stopped: Whether its session was stopped.
        zone: In quarters of an hour east of UTC; -128 is unknown.
        sample: Type in the low four bits, location in the high ones.

    Attributes:
        records: What is stored now, oldest first.
    """

    name = "Sensor 0007"
    advertised = (_CGM,)
    pairing, passkey = Pairing.PASSKEY, 123456
    mtu = 64  # sensors talk to phones, and pack several records into a packet

    def __init__(
        self,
        records: Iterable[CgmRecord],
        start: datetime | None,
        *,
        clock: Callable[[], datetime] = stopped_clock,
        has_crc: bool = True,
        stopped: bool = False,
        zone: int = _CHINA,
        sample: int = _SUBCUTANEOUS << 4 | _INTERSTITIAL_FLUID,
    ) -> None:
        self.services = _services()
        self.records = list(records)[-_CAPACITY:]
        self.start, self._clock, self._began = start, clock, clock()
        self._age = max((record.minutes for record in self.records), default=0)
        self._has_crc, self._stopped, self._sample = has_crc, stopped, sample
        self._zone = zone
        self._point = ControlPoint(
            _MEASUREMENT,
            improper=_CCCD_IMPROPER,
            running=_PROCEDURE_RUNNING,
            filters=frozenset({1}),
        )
        self._enabled: set[UUID] = set()

    def store(self, record: CgmRecord) -> None:
        """Add a value; forget the oldest of a full memory."""
        self.records = [*self.records, record][-_CAPACITY:]

    def connected(self) -> None:
        """Begin with nothing enabled and nothing running."""
        self._enabled.clear()
        self._point.stop()

    def disconnected(self) -> None:
        """Forget the procedure that was running."""
        self._point.stop()

    def read(self, uuid: UUID) -> bytes:
        """Return a value; raise `AttError` for what is not readable."""
        if uuid == _FEATURE:
            features = _HAS_TREND | _HAS_CRC * self._has_crc
            value = pack("<I", features)[:3] + bytes([self._sample])
            return (
                _checked(value, has_crc=True) if self._has_crc else value + b"\xff\xff"
            )
        values = {
            _STATUS: pack("<HBBB", self._now(), _SESSION_STOPPED * self._stopped, 0, 0),
            _START: date_time(self.start) + pack("<bB", self._zone, 0),
            _RUN_TIME: pack("<H", _RUN_HOURS),
        }
        if uuid in values:
            return _checked(values[uuid], has_crc=self._has_crc)
        return _LABEL.read(uuid)

    def enabled(self, uuid: UUID, *, on: bool) -> Iterable[Action]:
        """Note it; nothing follows from it."""
        (self._enabled.add if on else self._enabled.discard)(uuid)
        return ()

    def write(self, uuid: UUID, payload: bytes) -> Iterable[Action]:
        """Take a request to the control point; return what it starts."""
        request = self._point.take(uuid, payload, self._enabled)
        if isinstance(request, Send):
            return [request]
        return self._run(request, request.select(self.records))

    def _run(self, request: Request, records: list[CgmRecord]) -> Iterator[Action]:
        answer = request.answer(Answer.SUCCESS if records else Answer.NO_RECORDS)
        sends: Iterable[Send] = ()
        if request.op is Op.COUNT:
            answer = pack("<BBH", 5, 0, len(records))
        else:
            sends = self._notifications(records)
        return self._point.finish(request, sends, answer)

    def _notifications(self, records: Iterable[CgmRecord]) -> Iterator[Send]:
        payload = b""
        for record in records:
            more = record.encode(has_crc=self._has_crc)
            if payload and len(payload + more) > self.mtu - _ATT_HEADER:
                yield Send(_MEASUREMENT, payload)
                payload = b""
            payload += more
        if payload:
            yield Send(_MEASUREMENT, payload)

    def _now(self) -> int:
        """Return the minutes since the session's start, as it counts them."""
        since = self._began if self.start is None else self.start
        aged = self._age if self.start is None else 0
        passed = (self._clock() - since) // timedelta(minutes=1) + aged
        return min(max(passed, 0), 0xFFFF)


def _checked(value: bytes, *, has_crc: bool) -> bytes:
    return value + pack("<H", mcrf4xx(value)) if has_crc else value


def _services() -> dict[UUID, tuple[Characteristic, ...]]:
    def one(uuid: UUID, *properties: str) -> Characteristic:
        return Characteristic(uuid, frozenset(properties), Security.AUTHENTICATED)

    return {
        _CGM: (
            one(_MEASUREMENT, "notify"),
            one(_FEATURE, "read"),
            one(_STATUS, "read"),
            one(_START, "read", "write"),
            one(_RUN_TIME, "read"),
            one(CONTROL_POINT, "write", "indicate"),
        ),
        **services(Security.ENCRYPTED),
    }


def _record(shown: Shown, start: datetime) -> CgmRecord:
    value = shown.values[Quantity.GLUCOSE]
    trend = shown.values[Quantity.GLUCOSE_RATE]
    warnings = {Limit.HIGH: _ABOVE, Limit.LOW: _BELOW}
    return CgmRecord(
        minutes=(shown.time - start) // timedelta(minutes=1),
        mg_per_dl=_number(value),
        trend=_number(trend),
        status=_BATTERY_LOW if "battery_low" in shown.status else None,
        warning=warnings[value] if isinstance(value, Limit) else None,
    )


def _number(shown: Decimal | Limit) -> Decimal:
    if isinstance(shown, Limit):
        return Decimal("Infinity" if shown is Limit.HIGH else "-Infinity")
    return shown


def _make(shown: Sequence[Shown], clock: SimClock) -> GlucoseSensor:
    first = shown[0].time if shown else clock()
    start = first.replace(second=0) - timedelta(hours=1)
    records = [_record(one, start) for one in shown]
    return GlucoseSensor(records, start, clock=clock)


def _take(sensor: GlucoseSensor, shown: Shown) -> None:
    if sensor.start is not None:
        sensor.store(_record(shown, sensor.start))


def _run_low(sensor: GlucoseSensor) -> None:
    older, newest = sensor.records[:-_LOW_FOR], sensor.records[-_LOW_FOR:]
    said = [replace(each, status=(each.status or 0) | _BATTERY_LOW) for each in newest]
    sensor.records = [*older, *said]


TRIAL = Trial(
    make=_make,
    take=_take,
    spans={
        Kind.INTERSTITIAL_GLUCOSE: (
            Span(Quantity.GLUCOSE, Unit.MG_PER_DL, Decimal(40), Decimal(400)),
            Span(
                Quantity.GLUCOSE_RATE,
                Unit.MG_PER_DL_PER_MINUTE,
                Decimal("-3.0"),
                Decimal("3.0"),
                step=Decimal("0.1"),
            ),
        )
    },
    limits=frozenset({Kind.INTERSTITIAL_GLUCOSE}),
    contexts=({"location": "subcutaneous_tissue", "sample": "interstitial_fluid"},),
    statuses=((), ("battery_low",), ()),
    resolution_s=60,
    capacity=_CAPACITY,
    conditions={"low_battery": _run_low},
)

"""A glucose meter with the Bluetooth Glucose Service.

Source: Bluetooth SIG, Glucose Service 1.0.1, §3; Current Time Service 1.1,
§3.1; GATT Specification Supplement, Record Access Control Point.

    measurement  flags u8, sequence u16, base time 7, [offset s16],
                 [concentration SFLOAT, type and location u8], [status u16]
    context      flags u8, sequence u16, [meal u8]
    count        05 00 number u16, the answer to op code 4 of the control point

A record is one notification, and directly after it a second one with its
context if it has one.
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
from firmware_sim.racp import (
    ALL_OPERATORS,
    CONTROL_POINT,
    Answer,
    ControlPoint,
    Op,
    Request,
)
from firmware_sim.trial import Limit, Shown, SimClock, Span, Trial, stopped_clock
from protocols.gatt.uuid import sig
from protocols.observation import Kind, Quantity, Unit

_GLUCOSE, _CURRENT_TIME_SERVICE = sig(0x1808), sig(0x1805)
_MEASUREMENT, _CONTEXT, _FEATURE = sig(0x2A18), sig(0x2A34), sig(0x2A51)
_CURRENT_TIME = sig(0x2A2B)

_OFFSET, _CONCENTRATION, _MOL_PER_L, _STATUS, _CONTEXT_FOLLOWS = 1, 2, 4, 8, 16
_MEAL = 2
_BATTERY_LOW = 1  # Sensor Status Annunciation
_STATUS_BITS = {"battery_low": _BATTERY_LOW, "time_fault": 1 << 11}
_ALL_FEATURES = 0x03FF  # everything but multiple bonds

_PROCEDURE_RUNNING, _CCCD_IMPROPER = 0x80, 0x81  # Glucose Service 1.0.1 §1.6


@dataclass(frozen=True, slots=True)
class GlucoseRecord:
    """One stored result.

    Attributes:
        sequence: 0 to 65535; 0 follows 65535.
        base_time: The internal clock, without a zone; None is unknown.
        value: In `unit`, with the decimals that the meter shows; an infinity
            is HI or LO, NaN is not measured, None leaves the field out.
        unit: ``mg/dL``, sent as kg/L, or ``mmol/L``, sent as mol/L.
        offset_min: Minutes from the internal clock to the one that the person
            sees; None leaves the field out.
        sample_type: 1 to 10; 8 is undetermined plasma, 10 control solution.
        location: 1 to 5 or 15; 1 is finger, 4 control solution, 15 unknown.
        status: Sensor Status Annunciation bits; None leaves the field out.
        meal: 1 to 5, sent in a context; 1 is before a meal, 2 after it. None
            is no context.
    """

    sequence: int
    base_time: datetime | None
    value: Decimal | None
    unit: str = "mg/dL"
    offset_min: int | None = 0
    sample_type: int = 8
    location: int = 15
    status: int | None = 0
    meal: int | None = None

    @property
    def user_facing_time(self) -> datetime | None:
        """What the person saw on the meter; None is unknown."""
        if self.base_time is None:
            return None
        return self.base_time + timedelta(minutes=self.offset_min or 0)

    def notifications(self) -> Iterator[Send]:
        """Yield the record as it is sent.

        Raises:
            ValueError: The value has more digits than an SFLOAT can hold.
        """
        yield Send(_MEASUREMENT, self._measurement())
        if self.meal is not None:
            yield Send(_CONTEXT, pack("<BHB", _MEAL, self.sequence, self.meal))

    def _measurement(self) -> bytes:
        flags, fields = 0, b""
        if self.offset_min is not None:
            flags |= _OFFSET
            fields += pack("<h", self.offset_min)
        if self.value is not None:
            in_moles = self.unit == "mmol/L"
            flags |= _CONCENTRATION | _MOL_PER_L * in_moles
            fields += sfloat(self.value.scaleb(-3 if in_moles else -5))
            fields += bytes([self.location << 4 | self.sample_type])
        if self.status is not None:
            flags |= _STATUS
            fields += pack("<H", self.status)
        if self.meal is not None:
            flags |= _CONTEXT_FOLLOWS
        return pack("<BH", flags, self.sequence) + date_time(self.base_time) + fields


class GlucoseMeter:
    """A glucose meter's firmware: a `GattBench`.

    Args:
        records: What it has stored, oldest first.
        name: What it advertises.
        label: Its device information and battery.
        pairing: How it pairs.
        passkey: The six digits printed on it, 0 to 999999.
        security: What the glucose and the time service require. The rest
            requires encryption, unless this is ``NONE``.
        clock: Tells the time that it shows; it stands still if not given.
        operators: The RACP operators that it knows, of 1 to 6.
        filters: The filter types that it knows: 1 sequence number, 2
            user-facing time.
        erasable: Whether it deletes records when asked to.
        miscount: Added to every number of records that it tells.

    Attributes:
        records: What is stored now, oldest first.
    """

    advertised = (_GLUCOSE,)

    def __init__(
        self,
        records: Iterable[GlucoseRecord],
        *,
        name: str = "meter+00012345",
        label: Label = Label("Glucose meter", "00012345"),  # noqa: B008 - frozen
        pairing: Pairing = Pairing.PASSKEY,
        passkey: int = 123456,
        security: Security = Security.AUTHENTICATED,
        clock: Callable[[], datetime] = stopped_clock,
        operators: frozenset[int] = ALL_OPERATORS,
        filters: frozenset[int] = frozenset({1, 2}),
        erasable: bool = False,
        miscount: int = 0,
    ) -> None:
        self.name, self.pairing, self.passkey = name, pairing, passkey
        self.services = _services(security)
        self.records = list(records)
        self._label, self._clock, self._miscount = label, clock, miscount
        self._point = ControlPoint(
            _MEASUREMENT,
            improper=_CCCD_IMPROPER,
            running=_PROCEDURE_RUNNING,
            operators=operators,
            filters=filters,
            erasable=erasable,
        )
        self._enabled: set[UUID] = set()

    def store(self, record: GlucoseRecord) -> None:
        """Add a result, as a test does that somebody takes now."""
        self.records.append(record)

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
            return pack("<H", _ALL_FEATURES)
        if uuid == _CURRENT_TIME:
            now = self._clock()
            return date_time(now) + bytes([now.isoweekday(), 0, 0])
        return self._label.read(uuid)

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

    def _run(self, request: Request, records: list[GlucoseRecord]) -> Iterator[Action]:
        answer = request.answer(Answer.SUCCESS if records else Answer.NO_RECORDS)
        sends: Iterable[Send] = ()
        if request.op is Op.COUNT:
            answer = pack("<BBH", 5, 0, len(records) + self._miscount)
        elif request.op is Op.DELETE:
            self.records = [each for each in self.records if each not in records]
        else:
            sends = (send for record in records for send in record.notifications())
        yield from self._point.finish(request, sends, answer)


def _services(security: Security) -> dict[UUID, tuple[Characteristic, ...]]:
    def one(uuid: UUID, *properties: str) -> Characteristic:
        return Characteristic(uuid, frozenset(properties), security)

    is_open = security is Security.NONE
    return {
        _GLUCOSE: (
            one(_MEASUREMENT, "notify"),
            one(_CONTEXT, "notify"),
            one(_FEATURE, "read"),
            one(CONTROL_POINT, "write", "indicate"),
        ),
        _CURRENT_TIME_SERVICE: (one(_CURRENT_TIME, "read"),),
        **services(Security.NONE if is_open else Security.ENCRYPTED),
    }


_BEYOND = {Limit.HIGH: Decimal("Infinity"), Limit.LOW: Decimal("-Infinity")}
_MEALS = ("preprandial", "postprandial", "fasting", "casual", "bedtime")
_LOW_FOR = 3  # results
_OFFSET_MIN = 334  # as a meter whose displayed time was changed since it was made


def _record(sequence: int, shown: Shown) -> GlucoseRecord:
    number = shown.values[Quantity.GLUCOSE]
    is_control = shown.kind == Kind.CONTROL_SOLUTION
    meal = shown.context.get("meal")
    return GlucoseRecord(
        sequence,
        shown.time - timedelta(minutes=_OFFSET_MIN),
        _BEYOND[number] if isinstance(number, Limit) else number,
        offset_min=_OFFSET_MIN,
        sample_type=10 if is_control else 8,
        status=sum(_STATUS_BITS[name] for name in shown.status),
        meal=None if meal is None else _MEALS.index(meal) + 1,
    )


def _make(shown: Sequence[Shown], clock: SimClock) -> GlucoseMeter:
    return GlucoseMeter(
        (_record(number, one) for number, one in enumerate(shown, 1)), clock=clock
    )


def _take(meter: GlucoseMeter, shown: Shown) -> None:
    last = meter.records[-1].sequence if meter.records else 0
    meter.store(_record((last + 1) & 0xFFFF, shown))


def _wrap(meter: GlucoseMeter) -> None:
    """Number what is stored so that 0 comes in its middle."""
    first = 0x10000 - (len(meter.records) + 1) // 2
    meter.records = [
        replace(record, sequence=(first + number) & 0xFFFF)
        for number, record in enumerate(meter.records)
    ]


def _run_low(meter: GlucoseMeter) -> None:
    """Have the newest results say that the battery was low."""
    older, newest = meter.records[:-_LOW_FOR], meter.records[-_LOW_FOR:]
    said = [replace(each, status=(each.status or 0) | _BATTERY_LOW) for each in newest]
    meter.records = [*older, *said]


_SPAN = Span(Quantity.GLUCOSE, Unit.MG_PER_DL, Decimal(20), Decimal(600))

TRIAL = Trial(
    make=_make,
    take=_take,
    spans={Kind.GLUCOSE: (_SPAN,), Kind.CONTROL_SOLUTION: (_SPAN,)},
    limits=frozenset({Kind.GLUCOSE, Kind.CONTROL_SOLUTION}),
    contexts=({}, *({"meal": meal} for meal in _MEALS)),
    statuses=((), *((name,) for name in _STATUS_BITS), tuple(_STATUS_BITS), ()),
    conditions={"sequence_wrap": _wrap, "low_battery": _run_low},
    exempt={
        "kinds-declared": "only i-SENS meters tell ketone; that is tried on "
        "firmware_sim.devices.gatt_glucose_makers:CARESENS",
        "clock-set-by-policy": "only i-SENS and Contour meters have a clock that is "
        "set; that is tried on CARESENS too",
    },
)

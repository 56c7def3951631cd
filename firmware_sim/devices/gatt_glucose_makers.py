"""Glucose meters with the Bluetooth Glucose Service, and what their makers add.

Source: field notes on the CareSens meters and on the Contour Next One
(docs/reference/sources.md). The service itself is `gatt_glucose`.

    i-SENS    its clock, write and notify, c4dea3bc-5a9d-11e9-8647-d663bd873d93
              write    c0 03 01 00, Date Time 7; all zeros ask
              notify   05 03 01 00, Date Time 7, to what asks
              a record's context comes before it; meal 6 is a ketone test, whose
              number, as if in mg/dL, is ten times the mmol/L; January may come
              as month 13
    Contour   its clock, write, 00001026-0002-11e2-9e96-0800200c9a66
              01, UTC 7, minutes to local time s16

That an i-SENS meter does not confirm a setting, and what stands in the first
bytes of its clock, are our choice. The Contour's clock can't be read.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from struct import unpack
from typing import Any
from uuid import UUID

from firmware_sim.bench import Action, AttError, Characteristic, Security, Send
from firmware_sim.devices.gatt_glucose import GlucoseMeter, GlucoseRecord
from firmware_sim.fields import date_time
from firmware_sim.label import Label
from firmware_sim.trial import Limit, Shown, SimClock, Span, Trial
from protocols.gatt.uuid import sig
from protocols.observation import Kind, Quantity, Unit

_MEASUREMENT, _CONTEXT = sig(0x2A18), sig(0x2A34)
_DEVICE_INFORMATION, _SOFTWARE = sig(0x180A), sig(0x2A28)
_CURRENT_TIME_SERVICE = sig(0x1805)

_ISENS_SERVICE = UUID("c4dea010-5a9d-11e9-8647-d663bd873d93")
_ISENS_CLOCK = UUID("c4dea3bc-5a9d-11e9-8647-d663bd873d93")
_CONTOUR_SERVICE = UUID("00000000-0002-11e2-9e96-0800200c9a66")
_CONTOUR_CLOCK = UUID("00001026-0002-11e2-9e96-0800200c9a66")

_SET_CLOCK, _CLOCK = bytes.fromhex("c0 03 01 00"), bytes.fromhex("05 03 01 00")
_INVALID_LENGTH, _REFUSED = 0x0D, 0xFC
_HIGH, _LOW = 1 << 5, 1 << 6
_KETONE = 6


class _Settable(GlucoseMeter):
    """A meter whose clock can be set.

    Attributes:
        set_to: What the host last set its clock to, local time; None if never.
    """

    def __init__(
        self,
        records: Iterable[GlucoseRecord],
        *,
        clock: Callable[[], datetime],
        **more: Any,  # noqa: ANN401 - as `GlucoseMeter` takes them
    ) -> None:
        super().__init__(records, clock=lambda: clock() + self._ahead, **more)
        self.set_to: datetime | None = None
        self._true, self._ahead = clock, timedelta()
        del self.services[_CURRENT_TIME_SERVICE]

    def _set(self, moment: datetime) -> None:
        self.set_to, self._ahead = moment, moment - self._true()


class CareSens(_Settable):
    """A CareSens Dual's firmware: a `GattBench`.

    Args:
        records: What it has stored, oldest first; those of ketone in mg/dL and
            with meal 6.
        clock: Tells the time that it shows.
        software: Its software revision.
        is_13: It tells January as month 13.
    """

    def __init__(
        self,
        records: Iterable[GlucoseRecord] = (),
        *,
        clock: Callable[[], datetime],
        software: str = "1.5.2",
        is_13: bool = False,
        serial: str = "SIMCS0001",
    ) -> None:
        label = Label("CareSens Dual", serial, "i-SENS, Inc.")
        super().__init__(records, clock=clock, name="CareSens 0001", label=label)
        self._software, self._is_13 = software, is_13
        read = frozenset({"read"})
        self.services[_DEVICE_INFORMATION] += (
            Characteristic(_SOFTWARE, read, Security.ENCRYPTED),
        )
        both = frozenset({"write", "notify"})
        self.services[_ISENS_SERVICE] = (
            Characteristic(_ISENS_CLOCK, both, Security.AUTHENTICATED),
        )

    def read(self, uuid: UUID) -> bytes:
        """Return a value; raise `AttError` for what is not readable."""
        return self._software.encode() if uuid == _SOFTWARE else super().read(uuid)

    def write(self, uuid: UUID, payload: bytes) -> Iterable[Action]:
        """Take a request, or what asks for the clock or sets it."""
        if uuid != _ISENS_CLOCK:
            return self._turned(super().write(uuid, payload))
        if payload[:4] != _SET_CLOCK or len(payload) != 11:
            raise AttError(_REFUSED)
        if not any(payload[4:]):
            return [Send(_ISENS_CLOCK, _CLOCK + self._date(self._clock()))]
        self._set(_moment(payload[4:]))
        return ()

    def _turned(self, actions: Iterable[Action]) -> Iterator[Action]:
        """Put each context before its measurement."""
        held: Send | None = None
        for action in actions:
            if isinstance(action, Send) and action.uuid == _MEASUREMENT:
                if held is not None:
                    yield held
                raw = action.payload
                month = 13 if self._is_13 and raw[5] == 1 else raw[5]
                held = Send(action.uuid, raw[:5] + bytes([month]) + raw[6:])
                continue
            is_context = isinstance(action, Send) and action.uuid == _CONTEXT
            if held is not None and not is_context:
                yield held
                held = None
            yield action
            if held is not None:
                yield held
                held = None

    def _date(self, moment: datetime) -> bytes:
        raw = date_time(moment)
        return raw[:2] + b"\x0d" + raw[3:] if self._is_13 and raw[2] == 1 else raw


class Contour(_Settable):
    """A Contour Next One's firmware: a `GattBench`.

    Args:
        records: What it has stored, oldest first.
        clock: Tells the time that it shows.
    """

    def __init__(
        self, records: Iterable[GlucoseRecord] = (), *, clock: Callable[[], datetime]
    ) -> None:
        label = Label("Contour Next One", "SIMCN0001", "Ascensia Diabetes Care")
        super().__init__(records, clock=clock, name="Contour0001", label=label)
        self.services[_CONTOUR_SERVICE] = (
            Characteristic(
                _CONTOUR_CLOCK, frozenset({"write"}), Security.AUTHENTICATED
            ),
        )

    def write(self, uuid: UUID, payload: bytes) -> Iterable[Action]:
        """Take a request, or what sets the clock."""
        if uuid != _CONTOUR_CLOCK:
            return super().write(uuid, payload)
        if len(payload) != 10 or payload[0] != 1:
            raise AttError(_INVALID_LENGTH)
        (offset_min,) = unpack("<h", payload[8:])
        self._set(_moment(payload[1:8]) + timedelta(minutes=offset_min))
        return ()


def _moment(raw: bytes) -> datetime:
    try:
        return datetime(*unpack("<H5B", raw))  # noqa: DTZ001 - a wall clock
    except ValueError:
        raise AttError(_REFUSED) from None


_MEALS = {"preprandial": 1, "postprandial": 2, "fasting": 3}
_LIMITS = {
    Quantity.GLUCOSE: {Limit.HIGH: Decimal(600), Limit.LOW: Decimal(20)},
    Quantity.KETONE: {Limit.HIGH: Decimal("8.0"), Limit.LOW: Decimal("0.1")},
}


def _record(sequence: int, shown: Shown) -> GlucoseRecord:
    ((quantity, number),) = shown.values.items()
    is_ketone, status = quantity == Quantity.KETONE, 0
    if isinstance(number, Limit):
        status = _HIGH if number is Limit.HIGH else _LOW
        number = _LIMITS[quantity][number]
    is_control = shown.kind == Kind.CONTROL_SOLUTION
    meal = _KETONE if is_ketone else _MEALS.get(shown.context.get("meal", ""))
    return GlucoseRecord(
        sequence,
        shown.time,
        Decimal(int(number * 10)) if is_ketone else number,
        location=4 if is_control else 1,
        status=status,
        meal=meal,
    )


def _caresens(shown: Sequence[Shown], clock: SimClock) -> CareSens:
    return CareSens((_record(n, one) for n, one in enumerate(shown, 1)), clock=clock)


def _contour(shown: Sequence[Shown], clock: SimClock) -> Contour:
    return Contour((_record(n, one) for n, one in enumerate(shown, 1)), clock=clock)


def _take(meter: GlucoseMeter, shown: Shown) -> None:
    meter.store(_record(len(meter.records) + 1, shown))


_GLUCOSE = Span(Quantity.GLUCOSE, Unit.MG_PER_DL, Decimal(20), Decimal(600))
_KETONES = Span(
    Quantity.KETONE, Unit.MMOL_PER_L, Decimal("0.1"), Decimal("8.0"), Decimal("0.1")
)

CARESENS = Trial(
    make=_caresens,
    take=_take,
    spans={
        Kind.GLUCOSE: (_GLUCOSE,),
        Kind.KETONE: (_KETONES,),
        Kind.CONTROL_SOLUTION: (_GLUCOSE,),
    },
    limits=frozenset({Kind.GLUCOSE, Kind.KETONE, Kind.CONTROL_SOLUTION}),
    contexts=({}, *({"meal": meal} for meal in _MEALS)),
    set_to=lambda meter: meter.set_to,
    exempt={
        "contexts-kept": "a ketone test has its mark in the meal's place, and no meal; "
        "meals are tried on firmware_sim.devices.gatt_glucose:TRIAL"
    },
)

CONTOUR = Trial(
    make=_contour,
    take=_take,
    spans={Kind.GLUCOSE: (_GLUCOSE,), Kind.CONTROL_SOLUTION: (_GLUCOSE,)},
    limits=frozenset({Kind.GLUCOSE, Kind.CONTROL_SOLUTION}),
    contexts=({}, *({"meal": meal} for meal in _MEALS)),
    set_to=lambda meter: meter.set_to,
    exempt={
        "kinds-declared": "only i-SENS meters tell ketone; tried on CARESENS",
        "clock-set-by-policy": "its clock can't be read, so where that is allowed "
        "it is set at every visit, right or wrong",
    },
)

"""Scales that implement the Bluetooth Weight Scale or Body Composition Service.

Measures: body weight, height, body mass index; body fat, muscle, water and the like.
Modes:    indications, unasked; weight and body composition of one act are two readings.
Clock:    local time in each reading, where the scale has a clock; never set here.
History:  once only; a scale takes a confirmed indication for delivered.
Source:   Bluetooth SIG, Weight Scale Service 1.0.1, Body Composition Service 1.0.1.
Tested:   firmware_sim.devices.gatt_weight_scale; no hardware yet.
"""

from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from decimal import Decimal

from drivers.sdk import (
    DecodeError,
    Event,
    GattDriver,
    GattLink,
    Identity,
    Kind,
    Observation,
    Packet,
    Quantity,
    State,
    Terms,
    Undecoded,
    Unit,
    Value,
)
from protocols.gatt import body_composition, fields, weight_scale
from protocols.gatt.body_composition import Flag, Measurement
from protocols.gatt.time import DateTime

_WEIGHT = weight_scale.WEIGHT_MEASUREMENT
_COMPOSITION = body_composition.BODY_COMPOSITION_MEASUREMENT


async def _session(link: GattLink, terms: Terms) -> AsyncGenerator[Event, None]:
    pairs = _Pairs()
    async with aclosing(replace(DRIVER, session=None).visit(link, terms)) as heard:
        async for event in heard:
            for one in pairs.add(event):
                yield one
    for one in pairs.give_up():
        yield one


def _recover(packets: Sequence[Packet], terms: Terms) -> Iterator[Event]:
    identity, pairs = terms.identity or Identity(), _Pairs()
    for packet in packets:
        for event in DRIVER.decode(packet, identity):
            yield from pairs.add(event)
    yield from pairs.give_up()


class _Pairs:
    """Joins the two packets in which a composition comes to a link of small packets.

    One alone is kept, and is no reading: a scale whose link was lost between them
    tells both again, and one weighing would be two.
    """

    def __init__(self) -> None:
        self._waiting: tuple[Undecoded, Measurement] | None = None

    def add(self, event: Event) -> list[Event]:
        """Take what one packet said; return what is complete with it."""
        if not isinstance(event, Undecoded) or (seen := _part(event)) is None:
            return [event]
        if self._waiting is None:
            self._waiting = event, seen
            return []
        before, first = self._waiting
        if event.payload == before.payload:
            return []  # repeated
        if (joined := body_composition.join(first, seen)) is None:
            self._waiting = event, seen
            return [before]
        self._waiting = None
        return [_of_composition(joined, (before.payload, event.payload))]

    def give_up(self) -> list[Event]:
        """Return the packet whose other one never came."""
        waiting, self._waiting = self._waiting, None
        return [] if waiting is None else [waiting[0]]


def _part(event: Undecoded) -> Measurement | None:
    """Return what a packet says that is one of two."""
    if event.source == str(_COMPOSITION):
        with suppress(DecodeError):
            seen = body_composition.decode(event.payload)
            return seen if Flag.MULTIPLE_PACKETS in seen.flags else None
    return None


def _weight(payload: bytes, _identity: Identity) -> Iterator[Observation]:
    seen = weight_scale.decode(payload)
    imperial = weight_scale.Flag.IMPERIAL in seen.flags
    mass, length = _units(imperial=imperial)
    values = [_needed(Quantity.BODY_WEIGHT, seen.weight, mass)]
    values += _values(
        (Quantity.BODY_MASS_INDEX, seen.bmi, Unit.KG_PER_M2),
        (Quantity.BODY_HEIGHT, seen.height, length),
    )
    yield _observation(values, seen.time, seen.user, (payload,))


def _composition(payload: bytes, _identity: Identity) -> Iterator[Observation]:
    seen = body_composition.decode(payload)
    if Flag.MULTIPLE_PACKETS in seen.flags:
        raise ValueError("one of two packets, and the other one did not come")
    yield _of_composition(seen, (payload,))


def _of_composition(seen: Measurement, raw: tuple[bytes, ...]) -> Observation:
    mass, length = _units(imperial=Flag.IMPERIAL in seen.flags)
    metabolism = seen.basal_metabolism_kj
    values = [_needed(Quantity.BODY_FAT, seen.body_fat_pct, Unit.PERCENT)]
    values += _values(
        (
            Quantity.BASAL_METABOLISM,
            None if metabolism is None else Decimal(metabolism),
            Unit.KILOJOULE,
        ),
        (Quantity.MUSCLE, seen.muscle_pct, Unit.PERCENT),
        (Quantity.MUSCLE_MASS, seen.muscle_mass, mass),
        (Quantity.FAT_FREE_MASS, seen.fat_free_mass, mass),
        (Quantity.SOFT_LEAN_MASS, seen.soft_lean_mass, mass),
        (Quantity.BODY_WATER_MASS, seen.body_water_mass, mass),
        (Quantity.BODY_IMPEDANCE, seen.impedance_ohm, Unit.OHM),
        (Quantity.BODY_WEIGHT, seen.weight, mass),
        (Quantity.BODY_HEIGHT, seen.height, length),
    )
    return _observation(values, seen.time, seen.user, raw)


def _observation(
    values: list[Value],
    time: DateTime | None,
    user: int | None,
    raw: tuple[bytes, ...],
) -> Observation:
    return Observation(
        kind=Kind.BODY_WEIGHT,
        values=tuple(values),
        device_time=time,
        slot=None if user == fields.UNKNOWN_USER else user,
        raw=raw,
    )


def _units(*, imperial: bool) -> tuple[Unit, Unit]:
    return (Unit.POUND, Unit.INCH) if imperial else (Unit.KILOGRAM, Unit.METRE)


def _needed(quantity: Quantity, number: Decimal | None, unit: Unit) -> Value:
    """Return what a measurement is of; the scale says where it did not succeed."""
    if number is None:
        return Value(quantity, unit, None, State.DEVICE_ERROR)
    return next(_values((quantity, number, unit)))


def _values(*sent: tuple[Quantity, Decimal | None, Unit]) -> Iterator[Value]:
    """Yield what was sent; nobody has a weight, or a height, of nothing."""
    for quantity, number, unit in sent:
        if number is not None and number.is_zero():
            yield Value(quantity, unit, None, State.NO_VALUE)
        elif number is not None:
            yield Value(quantity, unit, number)


DRIVER = GattDriver(
    id="gatt-weight-scale",
    version="1",
    service=weight_scale.SERVICE,
    observes=(Kind.BODY_WEIGHT,),
    on={_WEIGHT: _weight, _COMPOSITION: _composition},
    session=_session,
    recover=_recover,
    once_only=True,
)

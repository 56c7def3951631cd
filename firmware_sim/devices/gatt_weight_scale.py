"""A scale with the Bluetooth Weight Scale and Body Composition Services.

Source: Bluetooth SIG, Weight Scale Service 1.0.1, §3; Body Composition Service
1.0.1, §3.

    2A9D  flags u8, weight u16, [time 7], [user u8], [BMI u16, height u16]
    2A9C  flags u16, body fat u16, [time 7], [user u8], [metabolism u16],
          [muscle u16], four masses u16 each, [impedance u16], [weight u16],
          [height u16]

Masses are in 5 g or 0.01 lb, heights in mm or 0.1 in, body fat, muscle and BMI in
tenths, as is the impedance; metabolism is in kJ. A value that was not measured is
FFFF. A composition that does not fit in one packet comes in two, with time and
user in the first and no body fat in the second, our choice. It sends what nobody
has confirmed as soon as it may, and then hangs up.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from struct import pack
from typing import TypeAlias
from uuid import UUID

from firmware_sim.bench import Characteristic, Pairing, Security, Send
from firmware_sim.fields import date_time
from firmware_sim.label import Label, services
from firmware_sim.once_only import OnceOnly
from firmware_sim.trial import Shown, SimClock, Span, Trial
from protocols.gatt.uuid import sig
from protocols.observation import Kind, Quantity, Unit

_SCALE, _WEIGHT = sig(0x181D), sig(0x2A9D)
_COMPOSER, _COMPOSITION = sig(0x181B), sig(0x2A9C)

_IMPERIAL, _TIME, _USER, _BMI_HEIGHT = 1, 2, 4, 8
_TWO_PACKETS = 1 << 12
_FAILED = 0xFFFF
_IN_FIRST = 3  # of the numbers behind the user, where two packets are needed
_CAPACITY = 30
_LABEL = Label("Scale", "00000070")
_INDICATE = frozenset({"indicate"})
_ATT_HEADER = 3

_TENTH = Decimal("0.1")
_MASS, _POUND = Decimal("0.005"), Decimal("0.01")
_HEIGHT, _INCH = Decimal("0.001"), _TENTH

# Flag bits of a composition's numbers, in the order in which they stand.
_BITS = {
    Quantity.BASAL_METABOLISM: 3,
    Quantity.MUSCLE: 4,
    Quantity.MUSCLE_MASS: 5,
    Quantity.FAT_FREE_MASS: 6,
    Quantity.SOFT_LEAN_MASS: 7,
    Quantity.BODY_WATER_MASS: 8,
    Quantity.BODY_IMPEDANCE: 9,
    Quantity.BODY_WEIGHT: 10,
    Quantity.BODY_HEIGHT: 11,
}
_TENTHS = (Quantity.BODY_FAT, Quantity.MUSCLE, Quantity.BODY_IMPEDANCE)


@dataclass(frozen=True, slots=True)
class WeightRecord:
    """One weighing.

    Attributes:
        weight: In kg, or in lb; None if it failed.
        time: The scale's clock, without a zone; None leaves the field out.
        user: The user slot, 0 to 254, or 255 for unknown; None leaves it out.
        bmi: In kg/m²; None leaves it and the height out.
        height: In m, or in inches.
        imperial: Whether it is in lb and inches.
    """

    weight: Decimal | None
    time: datetime | None = None
    user: int | None = None
    bmi: Decimal | None = None
    height: Decimal = Decimal(0)
    imperial: bool = False

    def indications(self, _most: int) -> Iterator[Send]:
        """Yield the weighing as it is sent; it fits into the smallest packet."""
        flags, tail = _head(self.time, self.user)
        flags |= _IMPERIAL * self.imperial
        if self.bmi is not None:
            flags |= _BMI_HEIGHT
            tall = self.height / (_INCH if self.imperial else _HEIGHT)
            tail += pack("<HH", int(self.bmi / _TENTH), int(tall))
        raw = _FAILED
        if self.weight is not None:
            raw = int(self.weight / (_POUND if self.imperial else _MASS))
        yield Send(_WEIGHT, pack("<BH", flags, raw) + tail)


@dataclass(frozen=True, slots=True)
class CompositionRecord:
    """One body composition.

    Attributes:
        body_fat: In percent; None if it failed.
        numbers: What else was measured, in kg, m, percent, kJ and Ω.
        time: The scale's clock, without a zone; None leaves the field out.
        user: The user slot, 0 to 254, or 255 for unknown; None leaves it out.
    """

    body_fat: Decimal | None
    numbers: Mapping[Quantity, Decimal] = field(default_factory=dict)
    time: datetime | None = None
    user: int | None = None

    def indications(self, most: int) -> Iterator[Send]:
        """Yield the composition as it is sent, in two packets if one is too small.

        Args:
            most: How many bytes fit into one.
        """
        flags, head = _head(self.time, self.user)
        fat = _FAILED if self.body_fat is None else int(self.body_fat / _TENTH)
        there = [name for name in _BITS if name in self.numbers]
        whole = self._packet(flags, fat, head, there)
        if len(whole.payload) <= most:
            yield whole
            return
        flags |= _TWO_PACKETS
        yield self._packet(flags, fat, head, there[:_IN_FIRST])
        yield self._packet(_TWO_PACKETS, _FAILED, b"", there[_IN_FIRST:])

    def _packet(self, flags: int, fat: int, head: bytes, names: list[Quantity]) -> Send:
        for name in names:
            flags |= 1 << _BITS[name]
            head += pack("<H", int(self.numbers[name] / _step(name)))
        return Send(_COMPOSITION, pack("<HH", flags, fat) + head)


Record: TypeAlias = WeightRecord | CompositionRecord


def _head(time: datetime | None, user: int | None) -> tuple[int, bytes]:
    """Return the flags and the bytes of a time and a user, alike in both."""
    flags, head = 0, b""
    if time is not None:
        flags |= _TIME
        head += date_time(time)
    if user is not None:
        flags |= _USER
        head += bytes([user])
    return flags, head


def _step(name: Quantity) -> Decimal:
    if name in _TENTHS:
        return _TENTH
    if name is Quantity.BODY_HEIGHT:
        return _HEIGHT
    return Decimal(1) if name is Quantity.BASAL_METABOLISM else _MASS


class WeightScale(OnceOnly[Record]):
    """A scale's firmware: a `GattBench`.

    Args:
        records: What it has measured and not yet sent, oldest first.
        mtu: The largest packet that it sends, its header of 3 bytes too.
    """

    name = "Scale 70"
    advertised = (_SCALE,)
    pairing, passkey = Pairing.JUST_WORKS, 0
    services = {  # noqa: RUF012 - nobody changes it
        _SCALE: (Characteristic(_WEIGHT, _INDICATE, Security.ENCRYPTED),),
        _COMPOSER: (Characteristic(_COMPOSITION, _INDICATE, Security.ENCRYPTED),),
        **services(Security.NONE),
    }

    def __init__(self, records: Iterable[Record], *, mtu: int = 23) -> None:
        super().__init__(
            records,
            [_WEIGHT, _COMPOSITION],
            lambda one: one.indications(mtu - _ATT_HEADER),
            _CAPACITY,
        )
        self.mtu = mtu

    def read(self, uuid: UUID) -> bytes:
        """Return a value; raise `AttError` for what is not readable."""
        return _LABEL.read(uuid)


def _weighing(shown: Shown) -> WeightRecord:
    values = {name: Decimal(str(number)) for name, number in shown.values.items()}
    return WeightRecord(
        weight=values[Quantity.BODY_WEIGHT],
        bmi=values[Quantity.BODY_MASS_INDEX],
        height=values[Quantity.BODY_HEIGHT],
        time=shown.time,
        user=shown.slot,
    )


def _composition(shown: Shown) -> CompositionRecord:
    values = {name: Decimal(str(number)) for name, number in shown.values.items()}
    fat = values.pop(Quantity.BODY_FAT)
    return CompositionRecord(fat, values, shown.time, shown.slot)


def _make(shown: Sequence[Shown], _clock: SimClock) -> WeightScale:
    return WeightScale([_weighing(one) for one in shown])


def _take(scale: WeightScale, shown: Shown) -> None:
    scale.store(_weighing(shown))


def _make_composer(shown: Sequence[Shown], _clock: SimClock) -> WeightScale:
    return WeightScale([_composition(one) for one in shown], mtu=64)


def _make_small(shown: Sequence[Shown], _clock: SimClock) -> WeightScale:
    return WeightScale([_composition(one) for one in shown])


def _take_composition(scale: WeightScale, shown: Shown) -> None:
    scale.store(_composition(shown))


def _span(
    quantity: Quantity, unit: Unit, low: str, high: str, *, step: Decimal = _MASS
) -> Span:
    return Span(quantity, unit, Decimal(low), Decimal(high), step)


_BODY_WEIGHT = _span(Quantity.BODY_WEIGHT, Unit.KILOGRAM, "2.000", "180.000")
_BODY_HEIGHT = _span(Quantity.BODY_HEIGHT, Unit.METRE, "0.500", "2.200", step=_HEIGHT)

TRIAL = Trial(
    make=_make,
    take=_take,
    spans={
        Kind.BODY_WEIGHT: (
            _BODY_WEIGHT,
            _BODY_HEIGHT,
            _span(
                Quantity.BODY_MASS_INDEX, Unit.KG_PER_M2, "10.0", "60.0", step=_TENTH
            ),
        )
    },
    slots=(1, 2),
    capacity=_CAPACITY,
    exempt={"silence-told": "nothing is asked of it; it speaks when it measured"},
)
COMPOSITION_TRIAL = replace(
    TRIAL,
    make=_make_composer,
    take=_take_composition,
    spans={
        Kind.BODY_WEIGHT: (
            _BODY_WEIGHT,
            _BODY_HEIGHT,
            _span(Quantity.BODY_FAT, Unit.PERCENT, "3.0", "60.0", step=_TENTH),
            _span(
                Quantity.BASAL_METABOLISM,
                Unit.KILOJOULE,
                "2000",
                "12000",
                step=Decimal(1),
            ),
            _span(Quantity.MUSCLE, Unit.PERCENT, "10.0", "60.0", step=_TENTH),
            _span(Quantity.MUSCLE_MASS, Unit.KILOGRAM, "1.000", "80.000"),
            _span(Quantity.FAT_FREE_MASS, Unit.KILOGRAM, "1.500", "120.000"),
            _span(Quantity.SOFT_LEAN_MASS, Unit.KILOGRAM, "1.400", "110.000"),
            _span(Quantity.BODY_WATER_MASS, Unit.KILOGRAM, "1.000", "90.000"),
            _span(Quantity.BODY_IMPEDANCE, Unit.OHM, "100.0", "1500.0", step=_TENTH),
        )
    },
)
# By packets so small that each composition comes in two.
TWO_PACKETS_TRIAL = replace(COMPOSITION_TRIAL, make=_make_small)

"""What a device observed, exactly as it said it, and which reading that is.

Nothing here is converted, rounded or guessed: a number is an exact decimal in
the unit in which it came, a time is the device's own clock, and what is no
number (HI, LO, NaN, an error) has a `State` and can't be mistaken for one.
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import IntEnum, IntFlag, StrEnum
from hashlib import blake2b
from typing import NamedTuple, Self

import cbor2

from protocols.gatt.time import DateTime
from protocols.medfloat import Number, Special


class Kind(StrEnum):
    """What an observation is about; decides what it may be used for."""

    GLUCOSE = "glucose"
    KETONE = "ketone"
    CONTROL_SOLUTION = "control-solution"  # a check of the meter, never a person's
    BLOOD_PRESSURE = "blood-pressure"
    INTERSTITIAL_GLUCOSE = "interstitial-glucose"  # of a sensor under the skin
    BLOOD_ANALYTE = "blood-analyte"  # what else a strip can measure
    OXYGEN_SATURATION = "oxygen-saturation"
    BODY_TEMPERATURE = "body-temperature"
    BODY_WEIGHT = "body-weight"  # and what a scale makes of it


class Quantity(StrEnum):
    """What a value measures."""

    GLUCOSE = "glucose"
    KETONE = "ketone"
    SYSTOLIC = "systolic"
    DIASTOLIC = "diastolic"
    MEAN_PRESSURE = "mean-pressure"
    PULSE_RATE = "pulse-rate"
    GLUCOSE_RATE = "glucose-rate"
    HEMATOCRIT = "hematocrit"
    HEMOGLOBIN = "hemoglobin"
    URIC_ACID = "uric-acid"
    CHOLESTEROL = "cholesterol"
    TRIGLYCERIDES = "triglycerides"
    LACTATE = "lactate"
    OXYGEN_SATURATION = "oxygen-saturation"
    BODY_TEMPERATURE = "body-temperature"
    BODY_WEIGHT = "body-weight"
    BODY_HEIGHT = "body-height"
    BODY_MASS_INDEX = "body-mass-index"
    BODY_FAT = "body-fat"
    BASAL_METABOLISM = "basal-metabolism"
    MUSCLE = "muscle"
    MUSCLE_MASS = "muscle-mass"
    FAT_FREE_MASS = "fat-free-mass"
    SOFT_LEAN_MASS = "soft-lean-mass"
    BODY_WATER_MASS = "body-water-mass"
    BODY_IMPEDANCE = "body-impedance"


class Unit(StrEnum):
    """A unit by its UCUM code."""

    KG_PER_L = "kg/L"
    MOL_PER_L = "mol/L"
    MG_PER_DL = "mg/dL"
    MMOL_PER_L = "mmol/L"
    MM_HG = "mm[Hg]"
    KILOPASCAL = "kPa"
    PER_MINUTE = "/min"
    MG_PER_DL_PER_MINUTE = "mg/dL/min"
    G_PER_DL = "g/dL"
    PERCENT = "%"
    CELSIUS = "Cel"
    FAHRENHEIT = "[degF]"
    KILOGRAM = "kg"
    POUND = "[lb_av]"
    METRE = "m"
    INCH = "[in_i]"
    KG_PER_M2 = "kg/m2"
    KILOJOULE = "kJ"
    KILOCALORIE = "kcal"
    OHM = "Ohm"


# What an observation of each kind may hold.
QUANTITIES = {
    Kind.GLUCOSE: {Quantity.GLUCOSE},
    Kind.CONTROL_SOLUTION: {
        Quantity.GLUCOSE,
        Quantity.KETONE,
        Quantity.HEMATOCRIT,
        Quantity.HEMOGLOBIN,
        Quantity.URIC_ACID,
        Quantity.CHOLESTEROL,
        Quantity.TRIGLYCERIDES,
        Quantity.LACTATE,
    },
    Kind.KETONE: {Quantity.KETONE},
    Kind.BLOOD_PRESSURE: {
        Quantity.SYSTOLIC,
        Quantity.DIASTOLIC,
        Quantity.MEAN_PRESSURE,
        Quantity.PULSE_RATE,
    },
    Kind.INTERSTITIAL_GLUCOSE: {Quantity.GLUCOSE, Quantity.GLUCOSE_RATE},
    Kind.BLOOD_ANALYTE: {
        Quantity.HEMATOCRIT,
        Quantity.HEMOGLOBIN,
        Quantity.URIC_ACID,
        Quantity.CHOLESTEROL,
        Quantity.TRIGLYCERIDES,
        Quantity.LACTATE,
    },
    Kind.OXYGEN_SATURATION: {Quantity.OXYGEN_SATURATION, Quantity.PULSE_RATE},
    Kind.BODY_TEMPERATURE: {Quantity.BODY_TEMPERATURE},
    Kind.BODY_WEIGHT: {
        Quantity.BODY_WEIGHT,
        Quantity.BODY_HEIGHT,
        Quantity.BODY_MASS_INDEX,
        Quantity.BODY_FAT,
        Quantity.BASAL_METABOLISM,
        Quantity.MUSCLE,
        Quantity.MUSCLE_MASS,
        Quantity.FAT_FREE_MASS,
        Quantity.SOFT_LEAN_MASS,
        Quantity.BODY_WATER_MASS,
        Quantity.BODY_IMPEDANCE,
    },
}


class State(IntEnum):
    """Whether a value is a number, and if not, why."""

    MEASURED = 0
    ABOVE_RANGE = 1  # HI; a number beside it is the limit, not the value
    BELOW_RANGE = 2  # LO; likewise
    NOT_A_NUMBER = 3
    NOT_AT_THIS_RESOLUTION = 4
    RESERVED = 5
    DEVICE_ERROR = 6  # the device itself says that the value must not be used
    NO_VALUE = 7  # a placeholder, as the negative glucose of some meters


POSITION = "position-at-this-time"
"""In an observation's context: the how manyth, from the oldest, it is of those that
the device holds with this very time and these very values; not said of the first,
but where only this tells it from the first of another visit."""

_SPECIAL_STATES = {
    Special.NAN: State.NOT_A_NUMBER,
    Special.NRES: State.NOT_AT_THIS_RESOLUTION,
    Special.POSITIVE_INFINITY: State.ABOVE_RANGE,
    Special.NEGATIVE_INFINITY: State.BELOW_RANGE,
    Special.RESERVED: State.RESERVED,
}


@dataclass(frozen=True, slots=True)
class Value:
    """One value of an observation.

    Attributes:
        quantity: What it measures.
        unit: The unit in which the device sent it.
        number: The exact decimal that the device sent, its precision included;
            None where there is none.
        state: Whether ``number`` is the measured value.

    Raises:
        ValueError: ``number`` does not fit ``state``.
    """

    quantity: Quantity
    unit: Unit
    number: Decimal | None
    state: State = State.MEASURED

    def __post_init__(self) -> None:
        measured = self.state == State.MEASURED
        bound = self.state in (State.ABOVE_RANGE, State.BELOW_RANGE)
        if measured is (self.number is None) and not bound:
            raise ValueError(f"{self.state.name} does not go with {self.number}")
        if self.number is not None and not self.number.is_finite():
            raise ValueError(f"{self.number} is no number; give a state instead")
        if (
            self.number is not None
            and self.number.is_zero()
            and self.number.is_signed()
        ):
            raise ValueError("no device knows a negative zero, and no wire carries it")

    @classmethod
    def of(cls, quantity: Quantity, number: Number, unit: Unit) -> Self:
        """Return a value for a number as it came off the wire."""
        if isinstance(number, Special):
            return cls(quantity, unit, None, _SPECIAL_STATES[number])
        return cls(quantity, unit, number)


@dataclass(frozen=True, slots=True)
class Observation:
    """One act of measuring, with all values that belong to it.

    Attributes:
        kind: What it is about.
        values: At least one, in the driver's order.
        device_time: The device's clock at the measurement, exactly as sent, by
            local time and without a zone; None if the device gave none.
        offset_min: Minutes that the device says to add to ``device_time``.
        sequence: The device's own number of it; None if it gives none.
        slot: The device's user slot; None if it has none, or doesn't know.
        status: What the device said of it, by the specification's names.
        context: What else it said, as name and value: sample, location, meal.
        raw: The payloads or frames it was read from, in order of arrival.

    Raises:
        ValueError: The values do not belong to the kind, or repeat a quantity; a
            name stands twice in ``context``; control solution under another kind.
    """

    kind: Kind
    values: tuple[Value, ...]
    device_time: DateTime | None = None
    offset_min: int | None = None
    sequence: int | None = None
    slot: int | None = None
    status: tuple[str, ...] = ()
    context: tuple[tuple[str, str], ...] = ()
    raw: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        quantities = {value.quantity for value in self.values}
        if not quantities or len(quantities) < len(self.values):
            raise ValueError(f"{self.kind} needs values, each of another quantity")
        if not quantities <= QUANTITIES[self.kind]:
            told = ", ".join(value.quantity for value in self.values)
            raise ValueError(f"{told} is not what {self.kind} has")
        if not self.context:
            return
        context = dict(self.context)
        if len(context) < len(self.context):
            raise ValueError(f"a name stands twice in the context {self.context}")
        sampled = "control_solution" in context.values()
        if sampled and self.kind != Kind.CONTROL_SOLUTION:
            raise ValueError(f"{self.kind} of control solution is no person's")

    @property
    def user_facing_time(self) -> DateTime | None:
        """What the person saw on the device; None if that names no moment."""
        if self.device_time is None:
            return None
        return self.device_time.plus(self.offset_min or 0)


@dataclass(frozen=True, slots=True)
class Device:
    """Which device it is.

    Attributes:
        id: Names this one device for ever, on any station: 1 to 128 characters.
        manufacturer: By the device's own word; empty if it has none.
        model: Likewise.
        serial: Likewise.
        firmware: Likewise.
    """

    id: str
    manufacturer: str = ""
    model: str = ""
    serial: str = ""
    firmware: str = ""


class TimeMethod(IntEnum):
    """How a reading's true time was found."""

    UNKNOWN = 0
    DEVICE = 1  # the device's clock, taken as it is
    CORRECTED = 2  # by the difference of both clocks at the visit
    RECONSTRUCTED = 3  # by the age that the device's running clock gives


class LinkSecurity(IntEnum):
    """How far the device on the other end could be another one."""

    NONE = 0
    WIRED = 1
    ENCRYPTED = 2
    AUTHENTICATED = 3


class Quality(IntFlag):
    """What the station's filters noticed; a flag never changes a value."""

    NONE = 0
    IMPLAUSIBLE_VALUE = 1 << 0
    IMPLAUSIBLE_RELATION = 1 << 1  # as a diastolic above its systolic
    CLOCK_AHEAD = 1 << 2
    CLOCK_UNSET = 1 << 3
    RATE_OF_CHANGE = 1 << 4  # a sensor's value, faster than glucose changes
    SPIKE = 1 << 5  # a sensor's value that stands out of those before it
    REPEATED = 1 << 6  # values and time of a reading just before it, under another key
    BEYOND_DEVICE = 1 << 7  # a value that this device can't show


@dataclass(frozen=True, slots=True)
class Reading:
    """An observation, and all that the station knows about it.

    Attributes:
        device: The device that observed it.
        observation: What it observed.
        driver: The driver's name.
        driver_version: Its version.
        captured_ms: The station's clock when it was written to its disk, in ms
            since 1970 UTC. Never part of a key, and never a measured time.
        utc_ms: The true time of the measurement, in ms since 1970 UTC; None
            where nobody knows.
        time_method: How ``utc_ms`` was found.
        time_bound_ms: By how much ``utc_ms`` may be wrong, in ms; None is unknown.
        link: How secure the link to the device was.
        quality: What the filters noticed.
        generation: Which filling of the device's memory it stems from; nobody
            counts it yet, so it is 0.
        arrival: A number that the station drew for it, only where the device tells
            a reading once, and nothing that could tell it from another; else None.
        person: Whose it is, an opaque name, where the station knows; ours do not, so
            it is None.
        evidence: Why it is theirs, as name and value.

    Raises:
        ValueError: A true time without a method, or a method without one.
    """

    device: Device
    observation: Observation
    driver: str
    driver_version: str
    captured_ms: int
    utc_ms: int | None = None
    time_method: TimeMethod = TimeMethod.UNKNOWN
    time_bound_ms: int | None = None
    link: LinkSecurity = LinkSecurity.NONE
    quality: Quality = Quality.NONE
    generation: int = 0
    arrival: int | None = None
    person: str | None = None
    evidence: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if (self.utc_ms is None) is not (self.time_method == TimeMethod.UNKNOWN):
            raise ValueError(f"{self.time_method.name} does not go with {self.utc_ms}")


class Key(NamedTuple):
    """What makes two reports the same reading, from the device's facts alone.

    It arrives nearly in order, which is what stores like best.

    Attributes:
        device: The device's id.
        generation: Which filling of its memory.
        slot: Its user slot; -1 is none.
        kind: What was observed.
        ordinal: The device's sequence number, 0 to 2^32 - 1; else what the station
            drew, from 2^62 on; else its raw clock, from 2^40 on, and from 2^56 on
            where that is no date.
        discriminator: 0 to 65535, from the raw values.
    """

    device: str
    generation: int
    slot: int
    kind: str
    ordinal: int
    discriminator: int


FIRST_YEAR = 2005
"""Clocks that nobody set start before it, at 1970 or 2000."""

_UNDATED = 1 << 56
SEQUENCES, ARRIVALS = 1 << 32, 1 << 62
"""Where the ordinals end that a device counts itself, and where a station's begin."""


def is_undated(observation: Observation) -> bool:
    """Whether the device gave neither a number nor a whole date."""
    time = observation.device_time
    return observation.sequence is None and (time is None or bool(time.unknown_fields))


def is_unset(observation: Observation) -> bool:
    """Whether it has no number, and no date of a clock that somebody had set."""
    time = observation.device_time
    is_early = time is not None and time.year < FIRST_YEAR
    is_early |= "time_fault" in observation.status  # the device says so itself
    return observation.sequence is None and (is_undated(observation) or is_early)


def key(reading: Reading) -> Key:
    """Return the reading's key.

    An undated one without an arrival number is the same as any other of these
    values: a device that tells its memory again tells it again.
    """
    seen = reading.observation
    if seen.sequence is not None:
        ordinal = seen.sequence
    elif reading.arrival is not None:
        ordinal = ARRIVALS + reading.arrival
    else:
        time = seen.device_time
        ordinal = 0 if time is None else packed_time(time)
        ordinal += _UNDATED * is_undated(seen)
    return Key(
        reading.device.id,
        reading.generation,
        -1 if seen.slot is None else seen.slot,
        seen.kind.value,
        ordinal,
        int.from_bytes(_digest(_said(seen), 2), "big"),
    )


def fingerprint(reading: Reading) -> bytes:
    """Return 8 bytes that differ where two readings of one `key` differ.

    Made of what the device said, without what it may tell otherwise when asked
    again (its offset to local time), and without anything of the station's.
    """
    seen = reading.observation
    time = None if seen.device_time is None else packed_time(seen.device_time)
    facts = [_values(seen), time, list(seen.status), sorted(seen.context)]
    return _digest(facts, 8)


def packed_time(time: DateTime) -> int:
    """Return the seven bytes of a clock as one number that grows with time."""
    packed = time.year
    for part in time[1:]:
        packed = packed << 8 | part
    return packed


def _said(seen: Observation) -> list[object]:
    """Return what tells it from another one of the same clock or number."""
    values: list[object] = [*_values(seen)]
    position = dict(seen.context).get(POSITION)
    return values if position is None else [*values, position]


def _values(seen: Observation) -> list[list[object]]:
    return [
        [
            value.quantity.value,
            value.unit.value,
            None if value.number is None else str(value.number),
            int(value.state),
        ]
        for value in seen.values
    ]


def _digest(facts: object, size: int) -> bytes:
    return blake2b(cbor2.dumps(facts, canonical=True), digest_size=size).digest()

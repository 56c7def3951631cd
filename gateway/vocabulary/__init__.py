"""By what codes and units others know what is measured: data, read once.

Each entry of the TOML files beside this module says where it is from. LOINC, IEEE
11073-10101 (MDC) and UCUM are not ours; their notices stand at the head of the files.
"""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import TypeVar

import msgspec

from protocols.observation import Kind, Observation, Quality, Quantity, State, Unit
from protocols.observation import Value as Seen

S = TypeVar("S", bound=msgspec.Struct)

_MASS = (Unit.KG_PER_L, Unit.MG_PER_DL)


class Loinc(msgspec.Struct, frozen=True, array_like=True):
    """A LOINC code.

    Attributes:
        code: As it is written, with its check digit.
        display: LOINC's long common name.
    """

    code: str
    display: str


class Mdc(msgspec.Struct, frozen=True, array_like=True):
    """A term of IEEE 11073-10101.

    Attributes:
        partition: 0 to 65535.
        term: 0 to 65535.
        name: Its reference id; empty if it is not known for sure.
    """

    partition: int
    term: int
    name: str

    @property
    def code(self) -> str:
        """The 32-bit context-free code, as FHIR wants it."""
        return str(self.partition << 16 | self.term)


class Shown(msgspec.Struct, frozen=True, array_like=True):
    """Another unit of the same dimension, a power of ten away.

    Attributes:
        unit: Its UCUM code.
        places: By how many decimal places the point moves to the right.
    """

    unit: str
    places: int


class Amount(msgspec.Struct, frozen=True, array_like=True):
    """An amount that stands in an observation's context.

    Attributes:
        name: Under which name.
        unit: The UCUM code of the unit to show it in.
        places: By how many decimal places the point moves to the right for that.
    """

    name: str
    unit: str
    places: int


class Event(msgspec.Struct, frozen=True, array_like=True):
    """One bit of what a device tells of itself.

    Attributes:
        bit: Its number.
        name: By the code system ASN1ToHL7.
    """

    bit: int
    name: str


class Term(msgspec.Struct, frozen=True, kw_only=True):
    """What a value is called.

    Attributes:
        source: Where that is from.
        text: For people.
        loinc: None where there is none.
        also: Further LOINC codes that a profile demands.
        mdc: None where there is none.
        without: Why a code is missing; empty if none is.
        category: FHIR's observation category; empty if none fits.
        profile: FHIR's profile of the vital sign; empty if it is none.
    """

    source: str
    text: str
    loinc: Loinc | None = None
    also: tuple[Loinc, ...] = ()
    mdc: Mdc | None = None
    without: str = ""
    category: str = ""
    profile: str = ""


class QuantityTerm(Term, frozen=True, kw_only=True):
    """What a value of a quantity is called; without a kind, under any."""

    quantity: Quantity
    kind: Kind | None = None


class GlucoseTerm(msgspec.Struct, frozen=True, kw_only=True):
    """What a glucose is called, by its sample; empty is one that was not told.

    Attributes:
        source: Where that is from.
        sample: As a driver says it.
        location: Where it was taken; empty is anywhere.
        mdc: None where there is none.
        mass: In mass per volume; None where there is none.
        moles: In amount of substance per volume; likewise.
        without: Why a code is missing; empty if none is.
    """

    source: str
    sample: str
    location: str = ""
    mdc: Mdc | None = None
    mass: Loinc | None = None
    moles: Loinc | None = None
    without: str = ""


class UnitTerm(msgspec.Struct, frozen=True, kw_only=True):
    """A unit.

    Attributes:
        source: Where that is from.
        code: In UCUM.
        display: For people.
        shown: In which unit standards want it instead; None is this one.
    """

    source: str
    code: str
    display: str
    shown: Shown | None = None


class StateTerm(msgspec.Struct, frozen=True, kw_only=True):
    """What FHIR says of a value that is no number.

    Attributes:
        source: Where that is from.
        state: The name of the `State`.
        absent: FHIR's reason why there is no value.
        comparator: What stands before a limit; empty if there can be none.
    """

    source: str
    state: str
    absent: str
    comparator: str = ""


class QualityTerm(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a flag of the station's filters speaks against the value."""

    source: str
    flag: str
    questionable: bool


class EventsTerm(msgspec.Struct, frozen=True, kw_only=True):
    """What a device tells of itself by bits, as an observation of its own."""

    source: str
    kinds: tuple[Kind, ...]
    mdc: Mdc
    text: str
    bits: dict[str, Event]


class ContextTerm(msgspec.Struct, frozen=True, kw_only=True):
    """What a meter told beside a glucose, as an observation of its own."""

    source: str
    name: str
    mdc: Mdc
    text: str
    values: dict[str, Mdc]
    amounts: tuple[Amount, ...] = ()


class DeviceTerm(msgspec.Struct, frozen=True, kw_only=True):
    """What a device with readings of a kind is."""

    source: str
    kind: Kind
    text: str
    mdc: Mdc | None = None
    without: str = ""


class _Quantities(msgspec.Struct, frozen=True):
    quantity: tuple[QuantityTerm, ...]
    panel: Term
    profiles: dict[str, tuple[str, ...]]


class _Glucose(msgspec.Struct, frozen=True):
    glucose: tuple[GlucoseTerm, ...]


class _Units(msgspec.Struct, frozen=True):
    unit: tuple[UnitTerm, ...]


class _Test(msgspec.Struct, frozen=True):
    source: str
    names: tuple[str, ...]


class _States(msgspec.Struct, frozen=True):
    state: tuple[StateTerm, ...]
    quality: tuple[QualityTerm, ...]
    interpretation: dict[str, str]
    test: _Test
    events: tuple[EventsTerm, ...]


class Location(msgspec.Struct, frozen=True):
    """Where a sample may be taken."""

    source: str
    mdc: Mdc
    values: dict[str, Mdc]


class _Context(msgspec.Struct, frozen=True):
    context: tuple[ContextTerm, ...]
    location: Location


class _Devices(msgspec.Struct, frozen=True):
    device: tuple[DeviceTerm, ...]


class Vocabulary:
    """All tables, by what they are looked up with."""

    def __init__(self) -> None:
        quantities = _read("quantities", _Quantities)
        states = _read("states", _States)
        context = _read("context", _Context)
        self.quantities = quantities.quantity
        self.panel = quantities.panel
        self.profiles: Mapping[str, tuple[str, ...]] = quantities.profiles
        self.glucose = _read("glucose", _Glucose).glucose
        self.units = {one.code: one for one in _read("units", _Units).unit}
        self.states = {State[one.state]: one for one in states.state}
        self.qualities = {Quality[one.flag]: one for one in states.quality}
        self.interpretations: Mapping[str, str] = states.interpretation
        self.tests = frozenset(states.test.names)
        self.events = {kind: one for one in states.events for kind in one.kinds}
        self.contexts = context.context
        self.location = context.location
        self.devices = {one.kind: one for one in _read("devices", _Devices).device}
        self._by_kind = {(one.kind, one.quantity): one for one in self.quantities}
        self._by_sample = {(one.sample, one.location): one for one in self.glucose}

    def term(self, seen: Observation, value: Seen) -> Term:
        """Return what a value is called; it has no LOINC code if it is no person's."""
        if value.quantity == Quantity.GLUCOSE:
            return self._glucose_term(seen, value.unit)
        found = self._by_kind.get((seen.kind, value.quantity))
        term = found or self._by_kind[None, value.quantity]
        if seen.kind == Kind.CONTROL_SOLUTION:
            # LOINC codes what is measured of a person.
            return Term(source=term.source, text=term.text, mdc=term.mdc)
        return term

    def _glucose_term(self, seen: Observation, unit: Unit) -> Term:
        context = dict(seen.context)
        sample = {
            Kind.CONTROL_SOLUTION: "control_solution",
            Kind.INTERSTITIAL_GLUCOSE: "interstitial_fluid",
        }.get(seen.kind, context.get("sample", ""))
        found = self._by_sample.get((sample, context.get("location", "")))
        term = found or self._by_sample.get((sample, "")) or _RESERVED
        return Term(
            source=term.source,
            text="Glucose",
            loinc=term.mass if unit in _MASS else term.moles,
            mdc=term.mdc,
            without=term.without,
            category="laboratory",
        )


_RESERVED = GlucoseTerm(
    source="IEEE 11073-10417",
    sample="",
    without="the sample is none that IEEE 11073-10417 or LOINC knows",
)


@cache
def vocabulary() -> Vocabulary:
    """Return the tables."""
    return Vocabulary()


def _read(name: str, kind: type[S]) -> S:
    text = (files(__name__) / f"{name}.toml").read_text(encoding="utf-8")
    return msgspec.toml.decode(text, type=kind)

"""In which kinds of reading a code can be found, so that no others are read."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from decimal import Decimal
from functools import cache
from itertools import product

from gateway.fhir.elements import EVENTS, LOINC, MDC
from gateway.vocabulary import vocabulary
from protocols.gatt.glucose import LOCATIONS, TYPES
from protocols.observation import QUANTITIES, Kind, Observation, Quantity, Unit, Value
from protocols.units import measures

_CONTROL = "control_solution"
_CONTEXT_KINDS = (Kind.GLUCOSE, Kind.KETONE, Kind.INTERSTITIAL_GLUCOSE)


def kinds_with(token: str) -> frozenset[Kind]:
    """Return the kinds in which an observation may have a code.

    Args:
        token: As a search has it: a code, or a system, a bar and a code; a system and
            a bar alone is any code of the system.
    """
    system, bar, code = token.partition("|")
    found = {
        kind
        for (of, name), kinds in _places().items()
        if (not bar or of == system)
        and (name == (code if bar else token) or (bar and not code))
        for kind in kinds
    }
    return frozenset(found)


@cache
def _places() -> Mapping[tuple[str, str], frozenset[Kind]]:
    found: dict[tuple[str, str], set[Kind]] = defaultdict(set)
    words = vocabulary()
    for kind in {*Kind} - {Kind.CONTROL_SOLUTION}:
        for seen, value in _examples(kind):
            term = words.term(seen, value)
            for loinc in () if term.loinc is None else (term.loinc, *term.also):
                found[LOINC, loinc.code].add(kind)
            if term.mdc is not None:
                found[MDC, term.mdc.code].add(kind)
    for kind, events in words.events.items():
        found[MDC, events.mdc.code].add(kind)
        for event in events.bits.values():
            found[EVENTS, f"{events.mdc.code}.{event.bit}"].add(kind)
    for context, kind in product(words.contexts, _CONTEXT_KINDS):
        for mdc in (context.mdc, *context.values.values()):
            found[MDC, mdc.code].add(kind)
    panel = words.panel
    if panel.loinc is not None and panel.mdc is not None:
        found[LOINC, panel.loinc.code].add(Kind.BLOOD_PRESSURE)
        found[MDC, panel.mdc.code].add(Kind.BLOOD_PRESSURE)
    return {place: frozenset(kinds) for place, kinds in found.items()}


def _examples(kind: Kind) -> Iterable[tuple[Observation, Value]]:
    """Yield an observation of each quantity, unit and sample that a kind can have."""
    for quantity, unit in product(QUANTITIES[kind], Unit):
        if not measures(unit, quantity):
            continue
        value = Value(quantity, unit, Decimal(1))
        samples = [*TYPES.values(), ""] if quantity == Quantity.GLUCOSE else [""]
        places = [*LOCATIONS.values(), ""] if quantity == Quantity.GLUCOSE else [""]
        for sample, place in product(samples, places):
            if _CONTROL not in {sample, place}:
                told = (("sample", sample), ("location", place))
                context = tuple(pair for pair in told if pair[1])
                yield Observation(kind, (value,), context=context), value

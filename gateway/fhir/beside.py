"""What a device told beside its values: events, meals, sites, and what has no code.

Source: PHD guide 1.1.0, profiles PhdBitsEnumerationObservation and
PhdCodedEnumerationObservation; IEEE 11073-10417 for the context of a glucose.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from decimal import Decimal, InvalidOperation

from gateway.fhir.elements import (
    EVENTS,
    MDC,
    TERMS,
    Resource,
    coding,
    codings,
    concept,
    decimal,
    plain,
    quantity,
)
from gateway.vocabulary import ContextTerm, Event, Mdc, vocabulary
from protocols.gatt.time import DateTime
from protocols.observation import POSITION, Kind, Observation

ABSOLUTE_TIME = coding(MDC, "67975", "MDC_ATTR_TIME_ABS")

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - a device's clock has no zone
_SITES = ("location", "site")
_NOT_TOLD = "not_available"

Part = tuple[str, str, Resource]
"""How an observation's id ends, the guide's profile of it, and its own elements."""


def parts(seen: Observation) -> Iterator[Part]:
    """Yield what else was told that is an observation of its own."""
    if (events := _events(seen)) is not None:
        yield "events", "PhdBitsEnumerationObservation", events
    context = dict(seen.context)
    for term in vocabulary().contexts if _is_glucose(seen) else ():
        for kind, body in _context(term, context):
            yield term.name, kind, body


def site(seen: Observation) -> Resource | None:
    """Return where on the body it was measured; None if that was not told."""
    context = dict(seen.context)
    told = next((context[name] for name in _SITES if name in context), _NOT_TOLD)
    if told == _NOT_TOLD:
        return None
    known = vocabulary().location.values.get(told) if _is_glucose(seen) else None
    return concept(plain(told).replace("_", " "), codings((), known))


def notes(seen: Observation) -> Iterator[str]:
    """Yield for people what was told and has no code."""
    events = vocabulary().events.get(seen.kind)
    coded = {*(() if events is None else events.bits), *vocabulary().tests}
    # What is questionable about it, a code does not say.
    coded |= {
        name
        for name, code in vocabulary().interpretations.items()
        if name == code or code != "questionable"
    }
    if words := [plain(name) for name in seen.status if name not in coded]:
        yield f"The device's own status: {', '.join(words)}"
    if told := [f"{name} {plain(text)}" for name, text in _uncoded(seen)]:
        yield f"Told beside it: {'; '.join(told)}"


def summary(seen: Observation) -> str:
    """Return an observation as a line of text for people."""
    values = [
        f"{value.quantity.value} "
        + (f"{value.number} {value.unit.value}" if value.number is not None else "")
        + ("" if value.state == 0 else f" {value.state.name.lower()}")
        for value in seen.values
    ]
    told = [f"{name} {text}" for name, text in seen.context]
    time = [] if seen.device_time is None else [f"device time {seen.device_time}"]
    return plain("; ".join([*values, *time, *seen.status, *told]))


def facts(body: Resource) -> Iterator[str]:
    """Yield type, values and units of an observation, for its identifier."""
    yield _first_code(body)
    if "valueCodeableConcept" in body:
        yield _first_code({"code": body["valueCodeableConcept"]})
    for one in (body, *_list(body.get("component"))):
        value = one.get("valueQuantity")
        if isinstance(value, dict):
            yield f"{value['value']}-{value['code']}"
        elif "dataAbsentReason" in one:
            yield _first_code({"code": one["dataAbsentReason"]})
        elif one is not body:
            yield _first_code(one)


def stamp(time: DateTime | None) -> str:
    """Return the device's own time as the guide's identifiers have it."""
    if time is None:
        return ""
    return "{:04}{:02}{:02}{:02}{:02}{:02}.00".format(*time)


def since_1970_ms(local: datetime) -> int:
    """Return a clock without a zone as ms since 1970, as if it showed UTC."""
    return round((local - _EPOCH).total_seconds()) * 1000


def _is_glucose(seen: Observation) -> bool:
    return seen.kind in (Kind.GLUCOSE, Kind.KETONE, Kind.INTERSTITIAL_GLUCOSE)


def _events(seen: Observation) -> Resource | None:
    term = vocabulary().events.get(seen.kind)
    set_bits = [] if term is None else [one for one in seen.status if one in term.bits]
    if term is None or not set_bits:
        return None
    yes = concept("", [coding(f"{TERMS}/v2-0136", "Y")])
    return {
        "code": concept(term.text, codings((), term.mdc)),
        "component": [
            {
                "code": concept(
                    event.name, [coding(EVENTS, f"{term.mdc.code}.{event.bit}")]
                ),
                "valueCodeableConcept": yes,
            }
            for event in sorted((term.bits[one] for one in {*set_bits}), key=_bit)
        ],
    }


def _bit(event: Event) -> int:
    return event.bit


def _context(
    term: ContextTerm, context: dict[str, str]
) -> Iterator[tuple[str, Resource]]:
    """Yield a term's observation, if it was told: an amount, or one of a list."""
    told = term.values.get(context.get(term.name, ""))
    for amount in term.amounts:
        number = _number(context.get(amount.name))
        if number is not None:
            shown = quantity(number.scaleb(amount.places), amount.unit)
            code = concept(term.text, codings((), told or term.mdc))
            yield "PhdNumericObservation", {"code": code, "valueQuantity": shown}
            return
    if told is not None:
        yield (
            "PhdCodedEnumerationObservation",
            {
                "code": concept(term.text, codings((), term.mdc)),
                "valueCodeableConcept": concept(
                    context[term.name].replace("_", " "), codings((), told)
                ),
            },
        )


def _uncoded(seen: Observation) -> Iterable[tuple[str, str]]:
    """Return what of the context no code, site or identity is made of."""
    context, glucose = dict(seen.context), _is_glucose(seen)
    made: set[str] = {POSITION, *_SITES}
    for term in vocabulary().contexts if glucose else ():
        amounts = [
            one for one in term.amounts if _number(context.get(one.name)) is not None
        ]
        made |= {one.name for one in amounts[:1]}
        if context.get(term.name) in term.values:
            made.add(term.name)
    # Of a ketone's codes none tells the sample.
    if glucose and seen.kind != Kind.KETONE and _sample(context) is not None:
        made.add("sample")
    return [(name, text) for name, text in seen.context if name not in made]


def _sample(context: dict[str, str]) -> Mdc | None:
    """Return the term of a sample that the glucose's own code tells."""
    samples = {one.sample: one.mdc for one in vocabulary().glucose if one.mdc}
    return samples.get(context.get("sample", ""))


def _number(text: str | None) -> Decimal | None:
    try:
        found = None if text is None else Decimal(text)
    except InvalidOperation:
        return None
    return None if found is None or not found.is_finite() else decimal(found)


def _first_code(body: Resource) -> str:
    code = body.get("code")
    found = _list(code.get("coding")) if isinstance(code, dict) else []
    return str(found[0]["code"]) if found else "none"


def _list(found: object) -> list[Resource]:
    return found if isinstance(found, list) else []

"""A stored reading as FHIR Observations: a panel, a pulse, and what was told beside.

The value is what the device sent, in its own unit, to its own precision. Only where a
profile of FHIR's fixes other units is it converted, by `protocols.units` or by a power
of ten, and then what the device sent stays beside it. A reading that was told again
with another content is still shown as it was first told, as the store shows it; the
other reports stand in notes, and the status is `amended`.

Source: PHD guide 1.1.0, profiles PhdBaseObservation, PhdNumericObservation,
PhdCompoundNumericObservation; FHIR R4, vital signs profiles.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from gateway.attribution import Theirs
from gateway.fhir import beside
from gateway.fhir.elements import (
    HL7,
    OURS,
    PHD,
    TERMS,
    UCUM,
    Resource,
    Unprojectable,
    coding,
    codings,
    concept,
    decimal,
    extension,
    identifier,
    instant,
    meta,
    moment,
    plain,
    quantity,
    reference,
)
from gateway.registry import Patient
from gateway.store import Amendment, Stored
from gateway.vocabulary import Term, vocabulary
from protocols.observation import (
    Kind,
    Observation,
    Quality,
    Quantity,
    TimeMethod,
    Value,
    key,
)
from protocols.units import canonical, measures

_PRESSURES = (Quantity.SYSTOLIC, Quantity.DIASTOLIC, Quantity.MEAN_PRESSURE)
_WHOLE_PANEL = {Quantity.SYSTOLIC, Quantity.DIASTOLIC}
_PANEL = "blood-pressure"
_TRANSLATION = f"{HL7}/iso21090-PQ-translation"
_CLOCK = "clock"  # the contained coincident time stamp
_QUARTER_MIN = 15
_FURTHEST_ZONE_MIN = 14 * 60


@dataclass(frozen=True)
class _Told:
    """One reading, and who and what belongs to it."""

    stored: Stored
    patient: Patient
    theirs: Theirs
    others: Sequence[Amendment]
    named: bool

    @property
    def seen(self) -> Observation:
        return self.stored.reading.observation


def observations(
    stored: Stored,
    patient: Patient,
    theirs: Theirs,
    others: Sequence[Amendment] = (),
    *,
    named: bool = True,
) -> list[Resource]:
    """Return what a reading is as Observations, the measured values first.

    Args:
        stored: The reading.
        patient: Whose it is.
        theirs: Why it is theirs.
        others: All other reports of it.
        named: Whether to name the device and the station as they are known elsewhere.

    Raises:
        Unprojectable: It is no patient's, or a value or time fits no resource.
    """
    told = _Told(stored, patient, theirs, others, named)
    seen = told.seen
    if seen.kind == Kind.CONTROL_SOLUTION:
        raise Unprojectable("a check with control solution is no patient's")
    pressures = [value for value in seen.values if value.quantity in _PRESSURES]
    found = [_panel(told, pressures)] if pressures else []
    found += [_single(told, value) for value in seen.values if value not in pressures]
    main = reference("Observation", str(found[0]["id"]))
    if pressures:
        for pulse in found[1:]:
            pulse["derivedFrom"] = [main]
    for part, profile, body in beside.parts(seen):
        one = _shell(told, part, "", [f"{PHD}/StructureDefinition/{profile}"], body)
        found.append(one | {"derivedFrom": [main]})
    return found


def _panel(told: _Told, pressures: list[Value]) -> Resource:
    term = vocabulary().panel
    components: list[Resource] = []
    units: set[str] = set()
    for value in pressures:
        named = vocabulary().term(told.seen, value)
        shown, unit = _value(value, named.profile)
        units.add(unit)
        components.append({"code": _code(named)} | shown)
    profiles = [f"{PHD}/StructureDefinition/PhdCompoundNumericObservation"]
    whole = {value.quantity for value in pressures} >= _WHOLE_PANEL
    if whole and units <= {*vocabulary().profiles["bp"]}:
        profiles.append(f"{HL7}/bp")
    body: Resource = {"code": _code(term), "component": components}
    return _measured(told, _PANEL, term.category, profiles, body)


def _single(told: _Told, value: Value) -> Resource:
    term = vocabulary().term(told.seen, value)
    shown, unit = _value(value, term.profile)
    profiles = []
    if term.mdc is not None:
        profiles.append(f"{PHD}/StructureDefinition/PhdNumericObservation")
    if term.profile and unit in vocabulary().profiles[term.profile]:
        profiles.append(f"{HL7}/{term.profile}")
    body = {"code": _code(term)} | shown
    return _measured(told, value.quantity.value, term.category, profiles, body)


def _measured(
    told: _Told, part: str, category: str, profiles: list[str], body: Resource
) -> Resource:
    """Return an observation of values, with what speaks against them."""
    seen = told.seen
    found = _shell(told, part, category, profiles, body)
    if interpretation := _interpretation(told):
        found["interpretation"] = interpretation
    if notes := [{"text": text} for text in _notes(told)]:
        found["note"] = notes
    if site := beside.site(seen):
        found["bodySite"] = site
    return found


def _shell(
    told: _Told, part: str, category: str, profiles: list[str], body: Resource
) -> Resource:
    """Return what every observation of a reading has, around its own ``body``."""
    stored, read = told.stored, told.stored.reading
    came = [other.stored.received_ms for other in told.others]
    # What makes it theirs, and their name in its identifier, are of this version too.
    since_ms = max(told.theirs.since_ms, told.patient.named_ms)
    updated_ms = max([stored.received_ms, *came, since_ms])
    version = f"{1 + len(came)}-{told.theirs.fact}-{told.patient.named_ms}"
    # A profile demands a time; a resource without one claims none.
    claimed = [] if read.utc_ms is None else profiles
    about = meta(version, updated_ms, claimed)
    if vocabulary().tests & {*told.seen.status}:
        about["security"] = [coding(f"{TERMS}/v3-ActReason", "HTEST")]
    found: Resource = {
        "resourceType": "Observation",
        "id": f"{stored.id}-{part}",
        "meta": about,
    }
    if clock := _coincident(told):
        found["contained"] = [clock]
    return (
        found
        | {
            "extension": _extensions(told, has_clock=bool(clock)),
            "identifier": _identifiers(told, part, body),
            "status": "amended" if told.others else "final",
            "category": _categories(category),
            "subject": reference("Patient", told.patient.id),
            "issued": instant(updated_ms),
            "device": reference("Device", stored.device),
        }
        | _effective(told)
        | body
    )


def _categories(category: str) -> list[Resource]:
    found = [concept("", [coding(f"{TERMS}/observation-category", category)])]
    ours = coding(f"{PHD}/CodeSystem/PhdObservationCategories", "phd-observation")
    return [*(found if category else []), concept("", [ours])]


def _code(term: Term) -> Resource:
    loinc = () if term.loinc is None else (term.loinc, *term.also)
    return concept(term.text, codings(loinc, term.mdc))


def _value(value: Value, profile: str) -> tuple[Resource, str]:
    """Return a value as elements of FHIR, and the unit that it is given in."""
    if not measures(value.unit, value.quantity):
        raise Unprojectable(f"{value.unit.value} does not measure {value.quantity}")
    number, unit, sent = _in_unit(value, profile)
    state = vocabulary().states.get(value.state)
    if number is None or (state is not None and not state.comparator):
        reason = "" if state is None else state.absent
        absent = [coding(f"{TERMS}/data-absent-reason", reason)]
        return {"dataAbsentReason": concept("", absent)}, unit
    shown = quantity(number, unit)
    if state is not None:
        shown = {"comparator": state.comparator} | shown
    if sent is not None:
        shown["extension"] = [extension(_TRANSLATION, "Quantity", sent)]
    return {"valueQuantity": shown}, unit


def _in_unit(value: Value, profile: str) -> tuple[Decimal | None, str, Resource | None]:
    """Return a value's number and unit as the standards want them.

    Returns:
        The number, the UCUM code, and what the device sent if that was converted by
        more than a power of ten.
    """
    number = None if value.number is None else decimal(value.number)
    unit, shown = value.unit.value, vocabulary().units[value.unit.value].shown
    if shown is not None:
        unit = shown.unit
        number = None if number is None else number.scaleb(shown.places)
    allowed = vocabulary().profiles.get(profile)
    if allowed is None or unit in allowed:
        return number, unit, None
    converted = canonical(value)
    if number is None or converted is None:
        return None, _canonical_unit(value), None
    return converted[0], converted[1].value, quantity(number, unit)


def _canonical_unit(value: Value) -> str:
    """Return the unit that a value would be converted to if it were a number."""
    found = canonical(Value(value.quantity, value.unit, Decimal(1)))
    return value.unit.value if found is None else found[1].value


def _effective(told: _Told) -> Resource:
    """Return when it was measured, and by how much that may be wrong."""
    read = told.stored.reading
    if read.utc_ms is None:
        # By the guide: a time stamp that is on no known time line is not reported.
        unknown = [extension(f"{HL7}/data-absent-reason", "Code", "unknown")]
        return {"_effectiveDateTime": {"extension": unknown}}
    method = read.time_method.name.lower()
    about = [extension(f"{OURS}:time-method", "Code", method)]
    if read.time_bound_ms is not None:
        bound = {
            "value": Decimal(read.time_bound_ms).scaleb(-3),
            "unit": "s",
            "system": UCUM,
            "code": "s",
        }
        about.append(extension(f"{OURS}:time-bound", "Duration", bound))
    return {
        "effectiveDateTime": moment(read.utc_ms, _zone_min(told)),
        "_effectiveDateTime": {"extension": about},
    }


def _zone_min(told: _Told) -> int:
    """Return the zone in which the station read the device's clock; 0 if not known.

    Only a clock that was taken as it is tells it: by how much it differs from UTC.
    """
    read = told.stored.reading
    if read.time_method != TimeMethod.DEVICE or read.utc_ms is None:
        return 0
    # What the station read is what the person saw: some clocks run in another zone.
    shown = told.seen.user_facing_time
    local = None if shown is None else shown.moment
    if local is None:
        return 0
    ahead_ms = beside.since_1970_ms(local) - read.utc_ms
    minutes, rest = divmod(ahead_ms, 60_000)
    if rest or minutes % _QUARTER_MIN or abs(minutes) > _FURTHEST_ZONE_MIN:
        return 0
    return minutes


def _coincident(told: _Told) -> Resource | None:
    """Return what the device's clock showed at that time; None if either is unknown.

    Source: PHD guide, page CoincidentTimeStamp; a local time without a zone is a
    string, as in its example coin-20181119174911.
    """
    shown, utc_ms = told.seen.device_time, told.stored.reading.utc_ms
    if shown is None or utc_ms is None:
        return None
    found: Resource = {
        "resourceType": "Observation",
        "id": _CLOCK,
        "status": "final",
        "code": concept("Absolute time", [beside.ABSOLUTE_TIME]),
        "subject": reference("Device", told.stored.device),
        "effectiveDateTime": moment(utc_ms, _zone_min(told)),
        "valueString": str(shown),
    }
    return found | ({"device": _station(told)} if told.named else {})


def _station(told: _Told) -> Resource:
    """Return the gateway device, by the guide's word, that is our station."""
    station = told.stored.station
    name = f"{station.tenant}/{station.station}"
    return {
        "type": "Device",
        "identifier": identifier(f"{OURS}:station", name),
        "display": station.station,
    }


def _extensions(told: _Told, *, has_clock: bool) -> list[Resource]:
    found: list[Resource] = []
    if told.named:
        url = f"{HL7}/observation-gatewayDevice"
        found.append(extension(url, "Reference", _station(told)))
    if has_clock:
        url = f"{PHD}/StructureDefinition/CoincidentTimeStampReference"
        found.append(extension(url, "Reference", {"reference": f"#{_CLOCK}"}))
    flags = told.stored.reading.quality
    return found + [
        extension(f"{OURS}:quality", "Code", (flag.name or "").lower())
        for flag in Quality
        if flag in flags
    ]


def _identifiers(told: _Told, part: str, body: Resource) -> list[Resource]:
    """Return the reading's own name, and the guide's for a conditional create.

    Source: PHD guide, page NumericObservationProfile: device, patient, type, value,
    units, the device's own time; our device id stands for an EUI-64 that few have.
    """
    stored = told.stored
    if not told.named:
        return [identifier(f"{OURS}:reading", f"{stored.id}/{part}")]
    fields = [stored.station.tenant, *key(stored.reading), part]
    own = identifier(f"{OURS}:reading", "/".join(map(plain, fields)))
    facts = [
        plain(stored.reading.device.id),
        f"{told.patient.name}-{OURS}:patient:{told.patient.tenant}",
        *beside.facts(body),
        beside.stamp(told.seen.device_time),
    ]
    return [own, {"value": "-".join(facts)}]


def _interpretation(told: _Told) -> list[Resource]:
    """Return what speaks against the value, in the words of the PoCD guide."""
    words, flags = vocabulary(), told.stored.reading.quality
    found = {
        words.interpretations[name]
        for name in told.seen.status
        if name in words.interpretations
    }
    against = any(
        term.questionable for flag, term in words.qualities.items() if flag in flags
    )
    if against or any(_contradicts(told, other) for other in told.others):
        found.add("questionable")
    system = "http://hl7.org/fhir/uv/pocd/CodeSystem/measurement-status"
    return [concept("", [coding(system, code)]) for code in sorted(found)]


def _contradicts(told: _Told, other: Amendment) -> bool:
    also = other.stored.reading.observation
    return (also.values, also.device_time) != (told.seen.values, told.seen.device_time)


def _notes(told: _Told) -> Iterable[str]:
    yield from beside.notes(told.seen)
    clock, ahead_min = told.seen.device_time, told.seen.offset_min
    # Else the clock stands beside the true time, as it was.
    if clock is not None and (ahead_min or told.stored.reading.utc_ms is None):
        added = f", to which it says to add {ahead_min} min" if ahead_min else ""
        yield f"The device's clock: {clock}{added}"
    for other in told.others:
        also = beside.summary(other.stored.reading.observation)
        yield f"Told again, received {instant(other.stored.received_ms)}: {also}"

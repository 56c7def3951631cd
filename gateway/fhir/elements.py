"""What FHIR's resources are built of: names, codings, quantities, references, times."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

from gateway.vocabulary import Loinc, Mdc, vocabulary

Resource = dict[str, object]
"""A FHIR element as JSON has it, numbers as exact decimals."""

LOINC = "http://loinc.org"
MDC = "urn:iso:std:iso:11073:10101"
UCUM = "http://unitsofmeasure.org"
HL7 = "http://hl7.org/fhir/StructureDefinition"
PHD = "http://hl7.org/fhir/uv/phd"
EVENTS = f"{PHD}/CodeSystem/ASN1ToHL7"
"""One bit of what a device tells of itself, by its set's MDC code and its number."""
TERMS = "http://terminology.hl7.org/CodeSystem"
OURS = "urn:vitalwire"
"""The namespace of our own identifiers and extensions."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FURTHEST = 40  # decimal places from the point; no device comes near


# What FHIR's strings can't hold.
_UNPRINTABLE = re.compile(r"[^\S \t\r\n]|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


class Unprojectable(Exception):
    """There is no resource for this; the text says why."""


def instant(time_ms: int) -> str:
    """Return ms since 1970 UTC as a FHIR instant.

    Raises:
        Unprojectable: It is in no year from 1 to 9999.
    """
    return moment(time_ms, 0)


def moment(time_ms: int, zone_min: int) -> str:
    """Return ms since 1970 UTC as a FHIR dateTime.

    Args:
        time_ms: The time.
        zone_min: The zone to give it in, in minutes east of UTC.

    Raises:
        Unprojectable: It is in no year from 1 to 9999.
    """
    try:
        found = _EPOCH + timedelta(milliseconds=time_ms)
        local = found.astimezone(timezone(timedelta(minutes=zone_min)))
    except OverflowError as error:
        raise Unprojectable(f"{time_ms} ms since 1970 is in no year of FHIR") from error
    text = local.isoformat(timespec="milliseconds")
    return text.removesuffix("+00:00") + "Z" if zone_min == 0 else text


def decimal(number: Decimal) -> Decimal:
    """Return a number with the digits that it was measured to, and no exponent.

    Source: PHD guide, page FLOATs: 2 times ten to 1 is 20, and 2.00 is 2.00.

    Raises:
        Unprojectable: It is larger or smaller than any measurement.
    """
    if abs(number.adjusted()) > _FURTHEST or len(number.as_tuple().digits) > _FURTHEST:
        raise Unprojectable(f"{number} is no number that a device measures")
    return Decimal(f"{number:f}")


def plain(text: object) -> str:
    """Return a text as FHIR's strings can hold it; empty if nothing of it is left."""
    return _UNPRINTABLE.sub(" ", str(text)).strip()


def coding(system: str, code: str, display: str = "") -> Resource:
    """Return a Coding."""
    found: Resource = {"system": system, "code": code}
    return found | ({"display": display} if display else {})


def codings(loinc: Iterable[Loinc], mdc: Mdc | None) -> list[Resource]:
    """Return the codings of a term: MDC first, which the guide demands, then LOINC."""
    found = [] if mdc is None else [coding(MDC, mdc.code, mdc.name)]
    return [*found, *(coding(LOINC, one.code, one.display) for one in loinc)]


def concept(text: str, found: list[Resource]) -> Resource:
    """Return a CodeableConcept."""
    return ({"coding": found} if found else {}) | ({"text": text} if text else {})


def quantity(number: Decimal, unit: str) -> Resource:
    """Return a Quantity in a UCUM unit."""
    return {
        "value": decimal(number),
        "unit": vocabulary().units[unit].display,
        "system": UCUM,
        "code": unit,
    }


def extension(url: str, kind: str, value: object) -> Resource:
    """Return an Extension whose value is of a type, as ``Quantity``."""
    return {"url": url, f"value{kind}": value}


def identifier(system: str, value: str, kind: Resource | None = None) -> Resource:
    """Return an Identifier; ``kind`` is the coding of its type."""
    typed = {} if kind is None else {"type": {"coding": [kind]}}
    return typed | {"system": system, "value": value}


def reference(kind: str, number: int | str) -> Resource:
    """Return a Reference to a resource of this server."""
    return {"reference": f"{kind}/{number}"}


def meta(version: int | str, updated_ms: int, profiles: Iterable[str] = ()) -> Resource:
    """Return a Meta."""
    found: Resource = {"versionId": str(version), "lastUpdated": instant(updated_ms)}
    return found | ({"profile": list(profiles)} if profiles else {})

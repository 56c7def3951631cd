"""A patient of the registry as a FHIR Patient.

Source: PHD guide 1.1.0, profile PhdPatient: an identifier with a type is all it needs.
"""

from gateway.fhir.elements import (
    OURS,
    PHD,
    TERMS,
    Resource,
    coding,
    identifier,
    meta,
)
from gateway.registry import Patient as Kept

_KINDS = f"{TERMS}/v2-0203"


def patient(kept: Kept) -> Resource:
    """Return a patient as a resource: what is not kept is not there."""
    found: Resource = {
        "resourceType": "Patient",
        "id": str(kept.id),
        "meta": meta(
            kept.version,
            kept.updated_ms,
            [f"{PHD}/StructureDefinition/PhdPatient"],
        ),
        "identifier": [
            own(kept),
            *(
                identifier(system, value, coding(_KINDS, "U"))
                for system, value in kept.identifiers
            ),
        ],
    }
    name = {
        part: value
        for part, value in (
            ("family", kept.family),
            ("given", [kept.given] if kept.given else []),
        )
        if value
    }
    if name:
        found["name"] = [name]
    if kept.gender:
        found["gender"] = kept.gender
    if kept.birth_date:
        found["birthDate"] = kept.birth_date
    return found


def own(kept: Kept) -> Resource:
    """Return the programme's own opaque name of a patient, as an Identifier."""
    system = f"{OURS}:patient:{kept.tenant}"
    return identifier(system, kept.name, coding(_KINDS, "PI"))

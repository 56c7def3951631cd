"""What this server can do, as a FHIR CapabilityStatement.

Source: FHIR R4, CapabilityStatement; Bulk Data Access 2.0, for $export.
"""

from gateway.fhir.elements import PHD, Resource
from gateway.fhir.search import FORMATS, PARAMETERS

_DATE = "2026-11-22"
_BULK = "http://hl7.org/fhir/uv/bulkdata"
_READ = ({"code": "read"}, {"code": "search-type"})
_PROFILES = {
    "Patient": ("PhdPatient",),
    "Device": (),
    "Observation": (
        "PhdNumericObservation",
        "PhdCompoundNumericObservation",
        "PhdCodedEnumerationObservation",
        "PhdBitsEnumerationObservation",
    ),
}


def capability(base: str, version: str) -> Resource:
    """Return the statement of the server at an address.

    Args:
        base: The address, up to the version, without a slash.
        version: Of this program.
    """
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": _DATE,
        "kind": "instance",
        "software": {"name": "vitalwire", "version": version},
        "implementation": {"description": "A vitalwire gateway", "url": base},
        "fhirVersion": "4.0.1",
        "format": list(FORMATS[:3]),
        "instantiates": [f"{_BULK}/CapabilityStatement/bulk-data"],
        "implementationGuide": [f"{PHD}/ImplementationGuide/hl7.fhir.uv.phd|1.1.0"],
        "rest": [
            {
                "mode": "server",
                "security": {
                    "description": "A bearer token of this gateway; what it may see is "
                    "what patients agreed to that its programme may see"
                },
                "resource": [*(_resource(kind) for kind in PARAMETERS), _SUBSCRIPTION],
                "operation": [_export("export")],
            }
        ],
    }


def _resource(kind: str) -> Resource:
    found: Resource = {
        "type": kind,
        "interaction": list(_READ),
        "versioning": "versioned",
        "conditionalRead": "not-match",
        "searchParam": [
            {"name": one.name, "type": one.type, "documentation": one.about}
            for one in PARAMETERS[kind]
        ],
    }
    if _PROFILES[kind]:
        found["supportedProfile"] = [
            f"{PHD}/StructureDefinition/{name}" for name in _PROFILES[kind]
        ]
    if kind == "Patient":
        found["operation"] = [_export("patient-export")]
    return found


def _export(name: str) -> Resource:
    return {"name": "export", "definition": f"{_BULK}/OperationDefinition/{name}"}


_SUBSCRIPTION: Resource = {
    "type": "Subscription",
    "interaction": [
        {"code": code} for code in ("create", "read", "search-type", "delete")
    ],
    "documentation": "rest-hook without a payload, on Observation?patient=...",
}

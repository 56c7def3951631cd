"""What FHIR answers besides resources: bundles of a search, and outcomes.

Source: FHIR R4, Bundle (searchset), OperationOutcome.
"""

from collections.abc import Iterable, Sequence

from gateway.fhir.elements import Resource

MIME = "application/fhir+json"


def searchset(
    base: str,
    found: Iterable[Resource],
    links: Sequence[tuple[str, str]],
    issues: Sequence[Resource] = (),
) -> Resource:
    """Return a page of a search.

    Args:
        base: The server's address, up to the version, without a slash.
        found: The resources of this page.
        links: Relation and address: self, and next if there is more.
        issues: What the client should know of its search.
    """
    entries: list[Resource] = [
        {
            "fullUrl": f"{base}/{one['resourceType']}/{one['id']}",
            "resource": one,
            "search": {"mode": "match"},
        }
        for one in found
    ]
    if issues:
        entries.append(
            {"resource": outcome(*issues), "search": {"mode": "outcome"}},
        )
    bundle: Resource = {
        "resourceType": "Bundle",
        "type": "searchset",
        "link": [{"relation": relation, "url": url} for relation, url in links],
    }
    # An element without content must not be there.
    return bundle | ({"entry": entries} if entries else {})


def issue(severity: str, code: str, diagnostics: str) -> Resource:
    """Return one issue of an outcome.

    Args:
        severity: fatal, error, warning or information.
        code: FHIR's issue type.
        diagnostics: What is wrong and what to do, for people.
    """
    return {"severity": severity, "code": code, "diagnostics": diagnostics}


def outcome(*issues: Resource) -> Resource:
    """Return an OperationOutcome."""
    return {"resourceType": "OperationOutcome", "issue": list(issues)}

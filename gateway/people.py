"""Patients, and all that says who they are and who may see them, as it is served."""

from gateway import normalise
from gateway.attribution import ALWAYS_MS, Attribution
from gateway.audit import Entry
from gateway.chart import Claim
from gateway.consent import Consent, Programme
from gateway.erasure import Erased
from gateway.normalise import Served
from gateway.principals import Issued
from gateway.registry import Patient
from gateway.revision import Revision

_NO_DATE_MS = 253_402_300_800_000  # the year 10000


def person(patient: Patient) -> Served:
    """Return a patient as they are served."""
    return {
        "id": str(patient.id),
        "tenant": patient.tenant,
        "name": patient.name,
        "identifiers": [
            {"system": system, "value": value} for system, value in patient.identifiers
        ],
        "family": patient.family,
        "given": patient.given,
        "birth_date": patient.birth_date,
        "gender": patient.gender,
        "created": normalise.iso(patient.created_ms),
        "updated": normalise.iso(patient.updated_ms),
        "version": patient.version,
    }


def attribution(made: Attribution, device: str) -> Served:
    """Return an attribution as it is served; ``device`` by the device's own id."""
    since, until = _interval(made.from_ms, made.until_ms)
    return {
        "id": str(made.id),
        "tenant": made.tenant,
        "device": device,
        "slot": made.slot,
        "patient": str(made.patient),
        "from": since,
        "until": until,
        "evidence": made.evidence,
        "made": normalise.iso(made.made_ms),
        "made_by": made.made_by,
        "ended": normalise.iso(made.ended_ms),
        "replaces": _id(made.replaces),
    }


def claim(claimed: Claim) -> Served:
    """Return a claim as it is served."""
    return {
        "id": str(claimed.id),
        "reading": str(claimed.reading),
        "patient": str(claimed.patient),
        "evidence": claimed.evidence,
        "made": normalise.iso(claimed.made_ms),
        "made_by": claimed.made_by,
        "ended": normalise.iso(claimed.ended_ms),
    }


def revision(made: Revision) -> Served:
    """Return a revision as it is told."""
    since, until = _interval(made.from_ms, made.until_ms)
    return {
        "patient": str(made.patient),
        "since": since,
        "until": until,
        "reading": _id(made.reading),
    }


def programme(kept: Programme) -> Served:
    """Return a programme as it is served."""
    return {
        "id": str(kept.id),
        "tenant": kept.tenant,
        "name": kept.name,
        "purpose": kept.purpose.value,
        "created": normalise.iso(kept.created_ms),
    }


def consent(given: Consent) -> Served:
    """Return a consent as it is served."""
    grant = given.grant
    return {
        "id": str(given.id),
        "patient": str(given.patient),
        "programme": str(given.programme),
        "kinds": None if grant.kinds is None else sorted(grant.kinds),
        "from": normalise.iso(grant.from_ms),
        "until": normalise.iso(grant.until_ms),
        "expires": normalise.iso(given.expires_ms),
        "given": normalise.iso(given.given_ms),
        "given_by": given.given_by,
        "withdrawn": normalise.iso(given.withdrawn_ms),
    }


def entry(row: Entry) -> Served:
    """Return a row of the audit log as it is served."""
    return {
        "tenant": row.tenant,
        "sequence": row.sequence,
        "at": normalise.iso(row.at_ms),
        "principal": str(row.principal),
        "name": row.name,
        "action": row.action,
        "patient": _id(row.patient),
        "programme": _id(row.programme),
        "purpose": row.purpose,
        "what": row.what,
        "hash": row.hash.hex(),
    }


def issued(kept: Issued) -> Served:
    """Return a principal as it is served; its token is shown by nothing but `issue`."""
    who = kept.principal
    return {
        "id": str(who.id),
        "tenant": who.tenant,
        "name": who.name,
        "roles": sorted(who.roles),
        "programme": _id(who.programme),
        "purpose": who.purpose,
        "created": normalise.iso(kept.created_ms),
        "expires": normalise.iso(kept.expires_ms),
        "revoked": normalise.iso(kept.revoked_ms),
    }


def erased(done: Erased) -> Served:
    """Return what an erasure took away as it is served."""
    return {
        "readings": done.readings,
        "amendments": done.amendments,
        "quarantine": [str(number) for number in done.quarantine],
        "overwritten": done.overwritten,
    }


def _interval(from_ms: int, until_ms: int) -> tuple[str | None, str | None]:
    """Return an interval as it is served; None is from ever, or without end."""
    return (
        None if from_ms <= ALWAYS_MS else normalise.iso(from_ms),
        # No date is written beyond the year 9999.
        None if until_ms >= _NO_DATE_MS else normalise.iso(until_ms),
    )


def _id(number: int | None) -> str | None:
    return None if number is None else str(number)

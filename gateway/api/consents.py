"""Programmes, consents, tokens and the audit log: who may see what, and who did."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from gateway import people
from gateway.access import Forbidden, Principal, Role
from gateway.api import Parts, people_shapes
from gateway.api.caller import Caller, tenant
from gateway.api.exact import Exact
from gateway.api.paging import Id, Number, Paged, Walk, ms, place
from gateway.audit import Audit
from gateway.consent import Consent, Consents, Grant
from gateway.problems import BadParameter
from gateway.registry import Taken


class _OfTenant(Paged):
    """The parameters of lists that hold every tenant's rows."""

    tenant: Id | None = Field(default=None, description="Whose; a token's own at most")


class _Looked(Paged):
    """The parameters of the audit log."""

    tenant: str | None = Field(
        default=None,
        max_length=64,
        description="Whose; a token's own at most. Empty is of what concerns none",
    )
    patient: Number | None = Field(
        default=None, description="Only what is about this patient"
    )


def add(routes: APIRouter, parts: Parts) -> None:
    """Add the routes over ``parts``."""
    _add_programmes(routes, parts)
    _add_consents(routes, parts)
    _add_principals(routes, parts)
    _add_audit(routes, parts)


def _add_programmes(routes: APIRouter, parts: Parts) -> None:
    access, kept = parts.access, Consents(parts.store.database)

    @routes.post(
        "/programmes",
        status_code=201,
        response_model=people_shapes.Programme,
        responses=people_shapes.CONFLICT,
    )
    def add_programme(who: Caller, sent: people_shapes.NewProgramme) -> Exact:
        """Write a programme down, which then may be consented to."""
        access.require(who, Role.STEWARD)
        whose = tenant(who, sent.tenant)
        if not whose:
            raise BadParameter("tenant", "name one, for your token is every tenant's")
        with access.making(whose) as change:
            made = kept.add_programme(
                change, whose, sent.name, sent.purpose, access.now_ms()
            )
            if made is None:
                raise Taken(f"the name {sent.name!r} is another programme's")
            what = f"programme {made.id}"
            access.note(change, who, "programme.made", tenant=whose, what=what)
        return Exact(people.programme(made), 201)

    @routes.get("/programmes", response_model=people_shapes.Programmes)
    def programmes(who: Caller, asked: Annotated[_OfTenant, Query()]) -> Exact:
        """List programmes in order of id."""
        access.require(who, Role.STEWARD)
        whose = tenant(who, asked.tenant) or ""
        rows = kept.programmes(whose, place(asked.after), asked.limit + 1)
        return Walk.of(rows, asked).page(
            "programmes", lambda rows: [people.programme(one) for one in rows]
        )


def _add_consents(routes: APIRouter, parts: Parts) -> None:
    access, kept = parts.access, Consents(parts.store.database)

    def check(who: Principal, number: int) -> str:
        """Return the tenant of a patient that a steward names."""
        access.require(who, Role.STEWARD)
        patient = parts.registry.patient(number, who.tenant)
        if patient is None:
            raise HTTPException(404)
        return patient.tenant

    @routes.post(
        "/patients/{number}/consents",
        status_code=201,
        response_model=people_shapes.Consent,
    )
    def give(who: Caller, number: Number, sent: people_shapes.NewConsent) -> Exact:
        """Write down that a patient agrees that a programme may read."""
        whose, now_ms = check(who, number), access.now_ms()
        if kept.programme(sent.programme, whose) is None:
            raise BadParameter("programme", "there is none of this id")
        since_ms, until_ms = ms(sent.since), ms(sent.until)
        if since_ms is not None and until_ms is not None and since_ms >= until_ms:
            raise BadParameter("until", "is not after 'from'")
        expires_ms = ms(sent.expires) or 0
        if expires_ms <= now_ms:
            raise BadParameter("expires", "is over already")
        kinds = None if sent.kinds is None else frozenset(sent.kinds)
        given = Consent(
            id=0,
            patient=number,
            programme=sent.programme,
            grant=Grant(kinds, since_ms, until_ms),
            expires_ms=expires_ms,
            given_ms=now_ms,
            given_by=who.name,
        )
        with access.making(whose) as change:
            given = kept.give(change, given)
            access.note(
                change,
                who,
                "consent.given",
                tenant=whose,
                patient=number,
                what=f"consent {given.id}, programme {sent.programme}",
            )
        return Exact(people.consent(given), 201)

    @routes.get("/patients/{number}/consents", response_model=people_shapes.Consents)
    def consents(who: Caller, number: Number) -> Exact:
        """List all that a patient ever agreed to, in order of id."""
        check(who, number)
        access.record(who, "consents.list", patient=number)
        found = [people.consent(one) for one in kept.of_patient(number)]
        return Exact({"consents": found})

    @routes.delete("/patients/{number}/consents/{consent}", status_code=204)
    def withdraw(who: Caller, number: Number, consent: Number) -> Response:
        """End a consent at once."""
        check(who, number)
        with access.recorded(
            who, "consent.withdrawn", patient=number, what=f"consent {consent}"
        ) as change:
            done = kept.withdraw(change, consent, number, who.name, access.now_ms())
        if not done:
            raise HTTPException(404)
        return Response(status_code=204)


def _add_principals(routes: APIRouter, parts: Parts) -> None:
    access, kept = parts.access, Consents(parts.store.database)

    @routes.post(
        "/principals",
        status_code=201,
        response_model=people_shapes.Issued,
        responses=people_shapes.CONFLICT,
    )
    def issue(who: Caller, sent: people_shapes.NewPrincipal) -> Exact:
        """Make a token; it is shown this once."""
        access.require(who, Role.STEWARD)
        whose = tenant(who, sent.tenant) or ""
        purpose = None
        if sent.programme is not None:
            programme = kept.programme(sent.programme, whose)
            if programme is None:
                raise BadParameter("programme", "there is none of this id")
            whose, purpose = programme.tenant, programme.purpose
        expires_ms = ms(sent.expires) or 0
        if expires_ms <= access.now_ms():
            raise BadParameter("expires", "is over already")
        try:
            new = Principal(
                0, whose, sent.name, frozenset(sent.roles), sent.programme, purpose
            )
        except ValueError as error:
            raise BadParameter("roles", str(error)) from error
        with access.making(whose) as change:
            issued, token = access.principals.issue(change, new, expires_ms)
            what = f"principal {issued.id}"
            access.note(change, who, "principal.made", tenant=whose, what=what)
        return Exact(people.issued(issued) | {"token": token}, 201)

    @routes.get("/principals", response_model=people_shapes.Principals)
    def principals(who: Caller, asked: Annotated[_OfTenant, Query()]) -> Exact:
        """List who has a token, or had one, in order of id."""
        access.require(who, Role.STEWARD)
        whose = tenant(who, asked.tenant) or ""
        found = access.principals.page(whose, place(asked.after), asked.limit + 1)
        return Walk.of(found, asked).page(
            "principals", lambda rows: [people.issued(one) for one in rows]
        )

    @routes.delete("/principals/{number}", status_code=204)
    def revoke(who: Caller, number: Number) -> Response:
        """End a token at once."""
        access.require(who, Role.STEWARD)
        found = access.principals.page(who.tenant, number - 1, 1)
        if not found or found[0].principal.id != number:
            raise HTTPException(404)
        with access.recorded(
            who,
            "principal.revoked",
            tenant=found[0].principal.tenant,
            what=f"principal {number}",
        ) as change:
            if not access.principals.revoke(change, number, who.tenant):
                raise HTTPException(404)
        return Response(status_code=204)


def _add_audit(routes: APIRouter, parts: Parts) -> None:
    access = parts.access
    audit = Audit(parts.store.database, access.now_ms)

    @routes.get("/audit", response_model=people_shapes.Entries)
    def entries(who: Caller, asked: Annotated[_Looked, Query()]) -> Exact:
        """List who did and saw what, oldest first."""
        access.require(who, Role.STEWARD)
        if who.tenant and asked.tenant == "":
            raise Forbidden(f"this token is for the tenant {who.tenant!r} alone")
        whose = tenant(who, asked.tenant) or ""
        found = audit.entries(
            whose, place(asked.after), asked.limit + 1, patient=asked.patient
        )
        access.record(who, "audit.list", tenant=whose)
        return Walk.of(found, asked).page(
            "entries", lambda rows: [people.entry(one) for one in rows]
        )

    @routes.get("/audit/heads", response_model=people_shapes.Heads)
    def heads(who: Caller) -> Exact:
        """Return where each audit log ends; note it where nobody here can change it."""
        access.require(who, Role.STEWARD)
        return Exact(
            {
                "heads": [
                    {
                        "tenant": head.tenant,
                        "sequence": head.sequence,
                        "hash": head.hash.hex(),
                    }
                    for head in audit.heads()
                    if who.tenant in {"", head.tenant}
                ]
            }
        )

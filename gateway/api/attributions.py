"""Whose a device's readings are, the tray of those that are nobody's, and claims."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from gateway import normalise, people
from gateway.access import Principal, Role
from gateway.api import Parts, people_shapes, shapes
from gateway.api.caller import Caller, tenant
from gateway.api.exact import Exact
from gateway.api.paging import Id, Number, Paged, Walk, cursor, ms, place
from gateway.api.readings import Listed
from gateway.chart import Chart
from gateway.problems import BadParameter
from gateway.registry import ALWAYS_MS, OPEN_MS, Attribution, Patient


class _Asked(Paged):
    """The parameters of the list of attributions."""

    tenant: Id | None = Field(default=None, description="Whose; a token's own at most")
    patient: Number | None = Field(default=None, description="Only theirs")
    device: Id | None = Field(
        default=None,
        description="Only this device's; a token of every tenant names one",
    )
    active: bool = Field(default=False, description="Leave out what has ended")


def add(routes: APIRouter, parts: Parts) -> None:
    """Add the routes over ``parts``."""
    _add_attributions(routes, parts)
    _add_tray(routes, parts)


def _theirs(parts: Parts, who: Principal, number: int) -> Patient:
    """Return the patient that was sent in a body."""
    patient = parts.registry.patient(number, who.tenant)
    if patient is None:
        raise BadParameter("patient", "there is none of this id")
    return patient


def _device(parts: Parts, whose: str, name: str) -> int:
    """Return the `StoredDevice.id` of a device that was asked for by its own id."""
    if not whose:
        raise BadParameter("tenant", "name one, for a device is its tenant's")
    device = parts.registry.device(whose, name)
    if device is None:
        raise BadParameter("device", "there is none of this id")
    return device


def _add_attributions(routes: APIRouter, parts: Parts) -> None:
    access, kept = parts.access, parts.registry.attributions

    @routes.get("/attributions", response_model=people_shapes.Attributions)
    def attributions(who: Caller, asked: Annotated[_Asked, Query()]) -> Exact:
        """List attributions in the order they were made, revised ones too."""
        access.require(who, Role.STEWARD)
        whose = tenant(who, asked.tenant) or ""
        rows = kept.listed(
            whose,
            place(asked.after),
            asked.limit + 1,
            patient=asked.patient,
            device=None
            if asked.device is None
            else _device(parts, whose, asked.device),
            active=asked.active,
        )
        walk = Walk.of(rows, asked)
        if walk.rows:
            access.record(
                who, "attributions.list", patient={one.patient for one in walk.rows}
            )
        names = kept.names({one.device for one in walk.rows})
        return walk.page(
            "attributions",
            lambda rows: [people.attribution(one, names[one.device]) for one in rows],
        )

    @routes.post(
        "/attributions",
        status_code=201,
        response_model=people_shapes.Attribution,
        responses=people_shapes.CONFLICT,
    )
    def attribute(who: Caller, sent: people_shapes.NewAttribution) -> Exact:
        """Say whose a device's readings of an interval are, or revise what was said."""
        access.require(who, Role.STEWARD)
        patient = _theirs(parts, who, sent.patient)
        device = _device(parts, patient.tenant, sent.device)
        since_ms, until_ms = ms(sent.since), ms(sent.until)
        try:
            made = Attribution(
                id=0,
                tenant=patient.tenant,
                device=device,
                slot=sent.slot,
                patient=patient.id,
                from_ms=ALWAYS_MS if since_ms is None else since_ms,
                until_ms=OPEN_MS if until_ms is None else until_ms,
                evidence=sent.evidence,
                made_ms=access.now_ms(),
                made_by=who.name,
                replaces=sent.replaces,
            )
        except ValueError as error:
            raise BadParameter("until", str(error)) from error
        before: list[Attribution] = []
        if sent.replaces is not None:
            before = kept.listed(patient.tenant, sent.replaces - 1, 1)
        with access.making(patient.tenant) as change:
            made = kept.attribute(change, made)
            # Whose it was until now is concerned as well.
            for whom in sorted({patient.id, *(one.patient for one in before)}):
                access.note(
                    change,
                    who,
                    "attribution.made",
                    tenant=patient.tenant,
                    patient=whom,
                    what=f"attribution {made.id}, device {device}",
                )
        return Exact(people.attribution(made, sent.device), 201)

    @routes.delete("/attributions/{number}", status_code=204)
    def take_back(who: Caller, number: Number) -> Response:
        """Take back an attribution that should not have been made."""
        access.require(who, Role.STEWARD)
        found = kept.listed(who.tenant, number - 1, 1)
        if not found or found[0].id != number:
            raise HTTPException(404)
        with access.recorded(
            who,
            "attribution.taken-back",
            patient=found[0].patient,
            what=f"attribution {number}",
        ) as change:
            kept.take_back(change, number, found[0].tenant, who.name, access.now_ms())
        return Response(status_code=204)


def _add_tray(routes: APIRouter, parts: Parts) -> None:
    access, chart = parts.access, Chart(parts.store, parts.registry)

    @routes.get("/unassigned", response_model=shapes.Readings)
    def unassigned(who: Caller, asked: Annotated[Listed, Query()]) -> Exact:
        """List readings that are nobody's for certain, in order of arrival.

        An answer looks at a bounded number of readings, so it may hold fewer than
        were asked for, or none, and there is more.
        """
        access.require(who, Role.STEWARD)
        found = chart.unassigned(asked.filter(who), place(asked.after), asked.limit)
        access.record(who, "unassigned.list", what=f"{len(found.rows)} readings")
        return Exact(
            {
                "readings": [normalise.reading(one) for one in found.rows],
                "next": cursor(found.reached[1]),
                "more": found.more,
            }
        )

    @routes.post(
        "/claims",
        status_code=201,
        response_model=people_shapes.Claims,
        responses=people_shapes.CONFLICT,
    )
    def claim(who: Caller, sent: people_shapes.NewClaim) -> Exact:
        """Say whose readings are that are nobody's; all of them, or none."""
        access.require(who, Role.STEWARD)
        patient = _theirs(parts, who, sent.patient)
        stored = [chart.check_claim(patient, one) for one in {*sent.readings}]
        with access.recorded(
            who, "readings.claimed", patient=patient.id, what=f"{len(stored)} readings"
        ) as change:
            made = [
                chart.claim(
                    change, one, patient.id, sent.evidence, who.name, access.now_ms()
                )
                for one in stored
            ]
        return Exact({"claims": [people.claim(one) for one in made]}, 201)

    @routes.get("/patients/{number}/claims", response_model=people_shapes.Claims)
    def claims(who: Caller, number: Number) -> Exact:
        """List every claim for a patient."""
        access.require(who, Role.STEWARD)
        if parts.registry.patient(number, who.tenant) is None:
            raise HTTPException(404)
        access.record(who, "claims.list", patient=number)
        return Exact({"claims": [people.claim(one) for one in chart.claims(number)]})

    @routes.delete("/patients/{number}/claims/{reading}", status_code=204)
    def release(who: Caller, number: Number, reading: Number) -> Response:
        """Take the claim of a reading back."""
        access.require(who, Role.STEWARD)
        if parts.registry.patient(number, who.tenant) is None:
            raise HTTPException(404)
        with access.recorded(
            who, "claim.taken-back", patient=number, what=f"reading {reading}"
        ) as change:
            done = chart.release(change, reading, number, who.name, access.now_ms())
        if not done:
            raise HTTPException(404)
        return Response(status_code=204)

"""Patients, their readings, all that is kept of them, and taking it away."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Header, Query
from fastapi.responses import StreamingResponse
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from gateway import dossier, normalise, people
from gateway.access import Access, Principal, Role
from gateway.api import Parts, attributions, consents, people_shapes
from gateway.api.caller import Caller, tenant
from gateway.api.exact import Exact, tag
from gateway.api.paging import LAST_ID, Id, Moment, Number, Paged, Walk, ms, place
from gateway.audit import Audit
from gateway.chart import START, Chart, Place
from gateway.consent import Grant
from gateway.erasure import Erasure
from gateway.exact import encode
from gateway.problems import BadParameter
from gateway.registry import Patient, Stale
from protocols.observation import Kind

_LINES = 500  # of a file, between two looks whether its token still holds


class _Searched(Paged):
    """The parameters of the list of patients."""

    tenant: Id | None = Field(default=None, description="Whose; a token's own at most")
    name: Id | None = Field(default=None, description="Exactly")
    family: Id | None = Field(default=None, description="What it begins with, any case")
    given: Id | None = Field(default=None, description="Likewise")
    birth_date: Id | None = Field(default=None, description="What it begins with")
    gender: Id | None = Field(default=None, description="Exactly")
    identifier: str | None = Field(
        default=None,
        min_length=1,
        max_length=400,
        description="A value, or a system, | and a value",
    )


def _reached(text: str) -> Place:
    version, utc, number = (*text.split("."), "", "")[:3]
    wrong = "is no cursor that an answer gave as 'next'"
    if version != "2" or not (utc.lstrip("-").isdecimal() and number.isdecimal()):
        raise ValueError(wrong)
    found = int(utc), int(number)
    if not (START[0] <= found[0] <= LAST_ID and found[1] <= LAST_ID):
        raise ValueError(wrong)
    return found


def _cursor(reached: Place) -> str:
    return f"2.{reached[0]}.{reached[1]}"


class _Which(BaseModel):
    """The parameters of the list of a patient's readings."""

    model_config = ConfigDict(extra="forbid")

    after: Annotated[str, AfterValidator(lambda text: _cursor(_reached(text)))] = Field(
        default=_cursor(START), description="The 'next' of the page before"
    )
    limit: int = Field(default=100, ge=1, le=1_000, description="Longest page")
    kind: Kind | None = Field(default=None, description="Without it every kind")
    since: Moment | None = Field(default=None, description="True time, inclusive")
    until: Moment | None = Field(default=None, description="True time, exclusive")

    def grant(self) -> Grant:
        """Return what is asked for."""
        kinds = None if self.kind is None else frozenset({self.kind})
        return Grant(kinds, ms(self.since), ms(self.until))


def router(parts: Parts) -> APIRouter:
    """Return the routes over ``parts``, those about consents and devices too."""
    routes = APIRouter(prefix="/api/v1")
    _add_patients(routes, parts)
    _add_changes(routes, parts)
    _add_readings(routes, parts)
    attributions.add(routes, parts)
    consents.add(routes, parts)
    return routes


def visible(parts: Parts, who: Principal, number: int) -> Patient:
    """Return a patient if ``who`` may see anything of them.

    Raises:
        HTTPException: A steward asks for one that there is not, with 404.
        Forbidden: ``who`` may not see them, be they there or not.
    """
    patient = parts.registry.patient(number, who.tenant)
    if patient is None and Role.STEWARD in who.roles:
        raise HTTPException(404)
    parts.access.may_see(who, number, None, parts.access.now_ms())
    if patient is None:
        raise HTTPException(404)
    return parts.access.shown(who, patient)


def _add_patients(routes: APIRouter, parts: Parts) -> None:
    registry, access = parts.registry, parts.access

    @routes.get("/patients", response_model=people_shapes.Patients)
    def patients(who: Caller, asked: Annotated[_Searched, Query()]) -> Exact:
        """List the patients that the caller may see, in order of id."""
        if Role.STEWARD not in who.roles:
            access.require(who, Role.READER)
            _refuse_names(access, who, asked)
        system, _, value = (asked.identifier or "").rpartition("|")
        found = registry.patients(
            tenant(who, asked.tenant) or "",
            place(asked.after),
            asked.limit + 1,
            name=asked.name,
            family=asked.family,
            given=asked.given,
            birth_date=asked.birth_date,
            gender=asked.gender,
            identifier=(system or None, value) if asked.identifier else None,
            among=access.visible(who, access.now_ms()),
        )
        walk = Walk.of([access.shown(who, one) for one in found], asked)
        # That there is nobody is an answer too.
        numbers = [one.id for one in walk.rows] or None
        access.record(who, "patients.list", patient=numbers)
        return walk.page("patients", lambda rows: [people.person(one) for one in rows])

    @routes.get("/patients/{number}", response_model=people_shapes.Patient)
    def patient(who: Caller, number: Number) -> Exact:
        """Return one patient; the answer's ETag is for changing them."""
        found = visible(parts, who, number)
        access.record(who, "patient.read", patient=number)
        return Exact(people.person(found))


def _add_changes(routes: APIRouter, parts: Parts) -> None:
    registry, access = parts.registry, parts.access
    erasure = Erasure(parts.store, Chart(parts.store, registry), access)

    @routes.post(
        "/patients",
        status_code=201,
        response_model=people_shapes.Patient,
        responses=people_shapes.CONFLICT,
    )
    def add(who: Caller, sent: people_shapes.NewPatient) -> Exact:
        """Write a new patient down."""
        access.require(who, Role.STEWARD)
        whose = one_tenant(who, sent.tenant)
        new = _patient(sent, Patient(0, whose, sent.name))
        with access.making(whose) as change:
            made = registry.add(change, new, access.now_ms())
            access.note(change, who, "patient.made", tenant=whose, patient=made.id)
        return Exact(people.person(made), 201)

    @routes.put(
        "/patients/{number}",
        response_model=people_shapes.Patient,
        responses=people_shapes.CONFLICT | people_shapes.STALE,
    )
    def revise(
        who: Caller,
        number: Number,
        sent: people_shapes.PatientChange,
        if_match: Annotated[str | None, Header()] = None,
    ) -> Exact:
        """Replace what is kept of a patient, if nobody else changed it meanwhile."""
        access.require(who, Role.STEWARD)
        known = visible(parts, who, number)
        if if_match is None:
            raise BadParameter(
                "If-Match", "send the ETag of the patient as you read it"
            )
        if if_match not in {"*", tag(encode(people.person(known)))}:
            raise Stale("the patient was changed since: read it again")
        with access.recorded(who, "patient.changed", patient=number) as change:
            made = registry.revise(change, _patient(sent, known), access.now_ms())
        return Exact(people.person(made))

    @routes.delete("/patients/{number}", response_model=people_shapes.Erased)
    def erase(who: Caller, number: Number) -> Exact:
        """Take away a patient, their readings and all that says whose they are."""
        access.require(who, Role.STEWARD)
        return Exact(people.erased(erasure.erase(who, visible(parts, who, number))))


def _add_readings(routes: APIRouter, parts: Parts) -> None:
    registry, access, store = parts.registry, parts.access, parts.store
    chart, audit = Chart(store, registry), Audit(store.database, access.now_ms)

    @routes.get(
        "/patients/{number}/readings", response_model=people_shapes.PatientReadings
    )
    def readings(
        who: Caller, number: Number, asked: Annotated[_Which, Query()]
    ) -> Exact:
        """List a patient's readings that the caller may see, in order of true time."""
        patient = visible(parts, who, number)
        access.may_see(who, number, asked.kind, access.now_ms())
        grants = access.granted(who, number, access.now_ms())
        found = chart.readings(
            patient, grants, _reached(asked.after), asked.limit, asked=asked.grant()
        )
        ids = " ".join(
            str(one.id) for one in found.rows[:: max(1, len(found.rows) - 1)]
        )
        access.record(
            who,
            "readings.list",
            patient=number,
            what=f"{len(found.rows)}: {ids}".strip(),
        )
        show = normalise.reading if who.sees_names else normalise.unnamed
        return Exact(
            {
                "readings": [show(one) for one in found.rows],
                "next": _cursor(found.reached),
                "more": found.more,
            }
        )

    @routes.get(
        "/patients/{number}/export",
        response_class=StreamingResponse,
        responses={200: {"content": {"application/x-ndjson": {}}}},
    )
    def export(who: Caller, number: Number) -> StreamingResponse:
        """Return all that is kept of a patient, as lines of JSON."""
        access.require(who, Role.STEWARD)
        patient = visible(parts, who, number)
        access.record(who, "patient.export", patient=number)
        lines = dossier.lines(store, registry, audit, patient)
        return StreamingResponse(
            _while_holding(access, who, lines),
            media_type="application/x-ndjson",
            headers={"Content-Disposition": f'attachment; filename="{number}.ndjson"'},
        )


def _while_holding(
    access: Access, who: Principal, lines: Iterator[bytes]
) -> Iterator[bytes]:
    """Yield lines for as long as the token holds by which they were asked for."""
    for number, line in enumerate(lines):
        if number % _LINES == 0:
            access.check_holds(who.id)
        yield line


def one_tenant(who: Principal, asked: str | None) -> str:
    """Return the one tenant that something new is of.

    Raises:
        BadParameter: The caller is every tenant's, and named none.
        Forbidden: It named another one's.
    """
    found = tenant(who, asked)
    if not found:
        raise BadParameter("tenant", "name one, for your token is every tenant's")
    return found


def _patient(sent: people_shapes.PatientChange, known: Patient) -> Patient:
    return replace(
        known,
        name=sent.name,
        identifiers=tuple(sorted((one.system, one.value) for one in sent.identifiers)),
        family=sent.family,
        given=sent.given,
        birth_date=sent.birth_date,
        gender=sent.gender,
    )


def _refuse_names(access: Access, who: Principal, asked: _Searched) -> None:
    """Refuse a search by what the caller is not shown, which would tell it."""
    probe = Patient(0, "", "", (("", ""),), "?", "?", "?")
    if access.shown(who, probe) == probe:
        return
    for name in ("family", "given", "birth_date", "identifier"):
        if getattr(asked, name) is not None:
            raise BadParameter(name, "is not for this programme to ask for")

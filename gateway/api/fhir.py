"""FHIR R4: read and search of patients, devices and observations.

Source: FHIR R4 (4.0.1), RESTful API.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from gateway.access import Principal
from gateway.api import Parts, fhir_export, fhir_subscription
from gateway.api.caller import Caller
from gateway.api.fhir_answers import Fhir, Route, base_of, form, refused, unknown
from gateway.fhir.bundle import searchset
from gateway.fhir.capability import capability
from gateway.fhir.elements import Resource
from gateway.fhir.records import Records
from gateway.fhir.search import PARAMETERS, read

_PREFIX = "/fhir/R4"
_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


def router(parts: Parts) -> APIRouter:
    """Return the routes over ``parts``.

    They are not in the OpenAPI document: `/fhir/R4/metadata` describes them.
    """
    routes = APIRouter(prefix=_PREFIX, route_class=Route, include_in_schema=False)
    records = Records(parts.store, parts.registry, parts.access)

    @routes.get("/metadata")
    def metadata(request: Request) -> Fhir:
        """Say what this server can do; asked by anybody."""
        return Fhir(capability(base_of(request), version("vitalwire")))

    fhir_export.add(routes, parts, records)
    fhir_subscription.add(routes, parts)
    for kind in PARAMETERS:
        _add(routes, parts, records, kind)

    @routes.api_route("/{path:path}", methods=_METHODS)
    def nowhere(path: str) -> Fhir:
        """Answer what nothing else does."""
        return refused(404, "not-supported", f"there is no {path} here")

    return routes


def _add(routes: APIRouter, parts: Parts, records: Records, kind: str) -> None:
    """Add the routes of one type of resource."""

    def search(
        who: Principal, request: Request, asked: Sequence[tuple[str, str]]
    ) -> Fhir:
        wanted = read(kind, asked, datetime.now(UTC))
        issues = unknown(request, list(wanted.unknown))
        page = records.search(who, wanted)
        what = f"{len(page.found)} {kind}"
        whom = list(page.patients) or None
        parts.access.record(who, "fhir.search", patient=whom, what=what)
        address = f"{base_of(request)}/{kind}"
        links = [("self", _link(address, wanted.used, ""))]
        if page.next:
            links.append(("next", _link(address, wanted.used, page.next)))
        found = searchset(base_of(request), page.found, links, [*issues, *page.issues])
        return Fhir(found)

    @routes.get(f"/{kind}")
    def search_by_address(who: Caller, request: Request) -> Fhir:
        return search(who, request, request.query_params.multi_items())

    @routes.post(f"/{kind}/_search")
    async def search_by_form(who: Caller, request: Request) -> Fhir:
        asked = await form(request)
        return await run_in_threadpool(search, who, request, asked)

    @routes.get(f"/{kind}/{{name}}")
    def one(who: Caller, request: Request, name: str) -> Response:
        try:
            found, patient = records.read(who, kind, name)
        except LookupError:
            raise HTTPException(404, f"there is no {kind}/{name}") from None
        parts.access.record(who, "fhir.read", patient=patient, what=f"{kind}/{name}")
        tag = f'W/"{_about(found)["versionId"]}"'
        headers = {"ETag": tag}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Fhir(found, headers=headers)


def _about(found: Resource) -> Resource:
    about = found["meta"]
    return about if isinstance(about, dict) else {}


def _link(address: str, used: Sequence[tuple[str, str]], cursor: str) -> str:
    """Return the address of a page."""
    kept = [(name, value) for name, value in used if name != "_cursor" or not cursor]
    query = urlencode([*kept, *([("_cursor", cursor)] if cursor else [])])
    return f"{address}?{query}" if query else address

"""FHIR Subscriptions: made, looked at, ended."""

import msgspec
from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from gateway.access import Forbidden, Principal, Role
from gateway.api import Parts
from gateway.api.caller import Caller
from gateway.api.fhir_answers import Fhir, base_of
from gateway.fhir.bundle import searchset
from gateway.fhir.elements import Resource
from gateway.fhir.subscription import Subscriptions
from gateway.webhooks.target import Targets

_LARGEST = 64 * 1024
_MOST_DIGITS = 18


def add(routes: APIRouter, parts: Parts) -> None:
    """Add the routes to ``routes``."""
    kept = Subscriptions(
        parts.store, parts.registry, parts.access, Targets(parts.networks)
    )

    @routes.post("/Subscription", status_code=201)
    async def subscribe(who: Caller, request: Request) -> Fhir:
        """Keep a subscription; it is active at once."""
        _check(who)
        posted = await _body(request)
        made = await run_in_threadpool(kept.add, who, posted)
        place = f"{base_of(request)}/Subscription/{made['id']}"
        return Fhir(made, 201, {"Location": place})

    @routes.get("/Subscription")
    def search(who: Caller, request: Request) -> Fhir:
        """List the caller's own subscriptions."""
        _check(who)
        parts.access.record(who, "fhir.search", what="Subscription")
        links = [("self", f"{base_of(request)}/Subscription")]
        return Fhir(searchset(base_of(request), kept.list(who), links))

    @routes.get("/Subscription/{name}")
    def one(who: Caller, name: str) -> Fhir:
        """Return one of the caller's own subscriptions."""
        return Fhir(_found(who, name))

    @routes.delete("/Subscription/{name}")
    def end(who: Caller, name: str) -> Response:
        """End a subscription."""
        _found(who, name)
        kept.remove(who, int(name))
        return Response(status_code=204)

    def _found(who: Principal, name: str) -> Resource:
        _check(who)
        short = name.isdecimal() and len(name) <= _MOST_DIGITS
        found = kept.find(who, int(name)) if short else None
        if found is None:
            raise HTTPException(404, f"there is no Subscription/{name}")
        return found


def _check(who: Principal) -> None:
    if not {Role.READER, Role.STEWARD} & who.roles:
        raise Forbidden("this needs the role reader or steward")


async def _body(request: Request) -> object:
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > _LARGEST:
            raise HTTPException(413, "a Subscription is at most 64 KiB")
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise HTTPException(400, f"this is no JSON: {error}") from error

"""Readings and amendments as they are stored, as server-sent events."""

from collections.abc import AsyncIterator, Sequence
from typing import Annotated, NamedTuple

from fastapi import APIRouter, Header
from starlette.exceptions import HTTPException
from starlette.responses import StreamingResponse

from gateway import problems
from gateway.access import Forbidden, Principal, Role, Unauthorised
from gateway.api import Parts
from gateway.api.caller import Operator
from gateway.api.document import problem
from gateway.api.paging import cursor, place
from gateway.exact import encode
from gateway.store import Amendment, Filter, Store, Stored
from protocols.observation import Kind

_LIMIT = 200


class _Place(NamedTuple):
    """How far a listener is: in the order of readings, and in that of amendments."""

    reading: int
    amendment: int

    def __str__(self) -> str:
        return f"{cursor(self.reading)}.{cursor(self.amendment)}"


def router(parts: Parts) -> APIRouter:
    """Return the route over ``parts``."""
    routes = APIRouter()

    @routes.get(
        "/live",
        response_class=StreamingResponse,
        responses={
            200: {"content": {"text/event-stream": {}}},
            429: problem("The caller listens as often as it may already"),
        },
    )
    def live(
        who: Operator,
        last_event_id: Annotated[str | None, Header()] = None,
        authorization: Annotated[str | None, Header(include_in_schema=False)] = None,
    ) -> StreamingResponse:
        """Tell of readings and amendments as they are stored, as server-sent events."""
        return stream(parts, who, authorization, last_event_id)

    return routes


def stream(
    parts: Parts, who: Principal, authorization: str | None, last_event_id: str | None
) -> StreamingResponse:
    """Return the events behind a listener's place.

    Args:
        parts: What the API is built on.
        who: Who listens; their tenant's readings alone are told.
        authorization: Their header, judged again before each event, so that a
            token that is revoked ends its streams.
        last_event_id: The place as an event told it; None is from now on.

    Raises:
        HTTPException: There are as many listeners as there may be.
        BadParameter: The place is none.
    """
    if parts.live.full:
        raise HTTPException(503, "too many listen already", {"Retry-After": "5"})
    if parts.live.enough(who.id):
        raise HTTPException(429, "you listen too often already", {"Retry-After": "5"})
    try:
        after = _place(parts.store, last_event_id)
    except ValueError as error:
        raise problems.BadParameter("Last-Event-ID", str(error)) from error
    which = Filter(tenant=who.tenant or None)
    what = f"after {after.reading}, amendments after {after.amendment}"
    parts.access.record(who, "readings.live", what=what)

    def fetch(after: _Place) -> tuple[str, _Place]:
        parts.access.require(parts.access.authenticate(authorization), Role.OPERATOR)
        last = parts.store.last()
        rows = parts.store.readings(which, after.reading, _LIMIT)
        if len(rows) == _LIMIT:
            reached = rows[-1].id
        else:  # others' readings up to here need not be looked through again
            reached = max(after.reading, last, *(row.id for row in rows[-1:]))
        amended, end = _amended(parts.store, who.tenant, after.amendment)
        to = _Place(reached, end)
        return _event(rows, amended, to) if rows or amended else "", to

    async def lines() -> AsyncIterator[str]:
        yield f"retry: 2000\nid: {after}\n\n"
        try:
            async for event in parts.live.events(who.id, after, fetch):
                yield event or ": nothing new\n\n"
        except (Forbidden, Unauthorised):
            return

    return StreamingResponse(lines(), media_type="text/event-stream")


def _place(store: Store, last_event_id: str | None) -> _Place:
    """Return the place that an event told; without one, the end of either order."""
    if not last_event_id:
        return _Place(store.last(), store.last_amended())
    reading, _, amendment = last_event_id.partition(".")
    # An older gateway told no place among amendments.
    last = place(amendment) if amendment else store.last_amended()
    return _Place(place(reading), last)


def _amended(store: Store, tenant: str, after: int) -> tuple[list[Amendment], int]:
    """Return what follows of those that a stream tells, and where that ends."""
    found: list[Amendment] = []
    while not found and (rows := store.amended(after, _LIMIT)):
        after = rows[-1].id
        # Of readings the store's filter says the same.
        found = [
            one
            for one in rows
            if tenant in {"", one.stored.station.tenant}
            and one.stored.reading.observation.kind != Kind.CONTROL_SOLUTION
        ]
    return found, after


def _event(
    rows: Sequence[Stored], amended: Sequence[Amendment], reached: _Place
) -> str:
    news = {
        "readings": [_shown(row) for row in rows],
        "amendments": [
            _shown(one.stored) | {"reading": str(one.reading)} for one in amended
        ],
    }
    # Line ends inside a name are escaped by JSON, so they can't end the event.
    return f"event: readings\nid: {reached}\ndata: {encode(news).decode()}\n\n"


def _shown(stored: Stored) -> dict[str, str]:
    seen = stored.reading
    kind = seen.observation.kind.value
    return {"id": str(stored.id), "device": seen.device.id, "kind": kind}

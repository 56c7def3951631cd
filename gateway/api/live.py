"""New readings as they are stored, as server-sent events."""

from collections.abc import AsyncIterator, Sequence
from typing import Annotated

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
from gateway.store import Filter, Stored

_LIMIT = 200


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
        """Tell of new readings as they are stored, as server-sent events."""
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
        last_event_id: The place as a cursor; None is from now on.

    Raises:
        HTTPException: There are as many listeners as there may be.
        BadParameter: The place is none.
    """
    if parts.live.full:
        raise HTTPException(503, "too many listen already", {"Retry-After": "5"})
    if parts.live.enough(who.id):
        raise HTTPException(429, "you listen too often already", {"Retry-After": "5"})
    try:
        after = place(last_event_id) if last_event_id else parts.store.last()
    except ValueError as error:
        raise problems.BadParameter("Last-Event-ID", str(error)) from error
    which = Filter(tenant=who.tenant or None)
    parts.access.record(who, "readings.live", what=f"after {after}")

    def fetch(after: int) -> tuple[list[Stored], int]:
        parts.access.require(parts.access.authenticate(authorization), Role.OPERATOR)
        last = parts.store.last()
        rows = parts.store.readings(which, after, _LIMIT)
        if len(rows) == _LIMIT:
            return rows, rows[-1].id
        # Others' readings up to here need not be looked through again.
        return rows, max(after, last, *(row.id for row in rows[-1:]))

    async def lines() -> AsyncIterator[str]:
        yield f"retry: 2000\nid: {cursor(after)}\n\n"
        try:
            async for found in parts.live.pages(who.id, after, fetch):
                yield ": nothing new\n\n" if found is None else _event(*found)
        except (Forbidden, Unauthorised):
            return

    return StreamingResponse(lines(), media_type="text/event-stream")


def _event(rows: Sequence[Stored], reached: int) -> str:
    news = [
        {
            "id": str(row.id),
            "device": row.reading.device.id,
            "kind": row.reading.observation.kind.value,
        }
        for row in rows
    ]
    # Line ends inside a name are escaped by JSON, so they can't end the event.
    data = encode({"readings": news}).decode()
    return f"event: readings\nid: {cursor(reached)}\ndata: {data}\n\n"

"""Readings as files."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.concurrency import iterate_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import StreamingResponse

from gateway import export
from gateway.api import Parts
from gateway.api.caller import Operator
from gateway.api.readings import Which

_AT_A_TIME = 4


class Asked(Which):
    """Which readings to export, and as what."""

    format: export.Format = Field(description="The kind of file")


def router(parts: Parts) -> APIRouter:
    """Return the route over ``parts``."""
    routes, running = APIRouter(), set[object]()

    async def limited(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        running.add(chunks)
        try:
            async for chunk in chunks:
                yield chunk
        finally:
            running.discard(chunks)

    @routes.get(
        "/readings/export",
        response_class=StreamingResponse,
        responses={
            200: {"content": {kind: {} for kind in export.MEDIA_TYPES.values()}}
        },
    )
    def exported(who: Operator, asked: Annotated[Asked, Query()]) -> StreamingResponse:
        """Export the readings that are stored now, in order of arrival, as a file."""
        which = asked.filter(who)
        if len(running) >= _AT_A_TIME:
            raise HTTPException(
                503, "others export now; try again", {"Retry-After": "30"}
            )
        given = asked.model_dump(mode="json", exclude_none=True).items()
        what = " ".join(f"{name}={value}" for name, value in given)
        parts.access.record(who, "readings.export", what=what)
        pages = export.pages(
            parts.store, which, lambda _count: parts.access.check_holds(who.id)
        )
        chunks = iterate_in_threadpool(export.write(asked.format, pages))
        return StreamingResponse(
            limited(chunks),
            media_type=export.MEDIA_TYPES[asked.format],
            headers={
                "Content-Disposition": f'attachment; filename="readings.{asked.format}"'
            },
        )

    return routes

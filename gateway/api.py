"""The HTTP side: readings, devices, quarantine, live news, health and the page.

Everything is read from the store; nothing here writes. Lists are walked by
cursor, in order of arrival, so that nothing is missed or met twice while
readings come in.
"""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Protocol, TypeVar

import simplejson
from fastapi import APIRouter, FastAPI, Header, Query, Request
from fastapi.responses import FileResponse, PlainTextResponse, StreamingResponse
from fastapi.responses import Response as HttpResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from starlette.exceptions import HTTPException

from gateway import normalise, problems
from gateway.guard import Guard
from gateway.live import Live
from gateway.metrics import Metrics
from gateway.page import Page
from gateway.store import Filter, Store, Stored
from protocols.observation import Kind

T = TypeVar("T")

_LIVE_LIMIT = 200
_LAST_ID = (1 << 63) - 1


class Exact(HttpResponse):
    """JSON in which a `Decimal` is a number with all of its digits."""

    media_type = "application/json"

    def render(self, content: object) -> bytes:
        text: str = simplejson.dumps(content, use_decimal=True, ensure_ascii=False)
        return text.encode()


class Intake(Protocol):
    """What the API tells of the way in."""

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted the subscriptions."""

    @property
    def commit_good(self) -> bool:
        """Whether the last commit went through."""

    @property
    def working(self) -> bool:
        """Whether messages are being worked off."""


@dataclass(frozen=True)
class Parts:
    """What the API is built on.

    Attributes:
        store: Where to read.
        intake: Where readings come in.
        live: Wakes the listeners.
        metrics: What is counted.
        host: The address served.
    """

    store: Store
    intake: Intake
    live: Live[list[Stored]]
    metrics: Metrics
    host: str = "127.0.0.1"


def _moment(value: object) -> object:
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError as error:
        raise ValueError("is no ISO 8601 time, such as 2026-03-01T07:30:00Z") from error
    if moment.tzinfo is None:
        raise ValueError("needs a zone, as the Z of 2026-03-01T07:30:00Z (+ is %2B)")
    return moment


def _place(text: str) -> int:
    """Return the place in the order of arrival that a cursor names."""
    padded = text + "=" * (-len(text) % 4)
    try:
        version, _, place = urlsafe_b64decode(padded.encode()).decode().partition(".")
        number = int(place)
    except (binascii.Error, ValueError) as error:
        raise ValueError("is no cursor that an answer gave as 'next'") from error
    if version != "1" or not 0 <= number <= _LAST_ID:
        raise ValueError("is no cursor that an answer gave as 'next'")
    return number


def _cursor(place: int) -> str:
    return urlsafe_b64encode(f"1.{place}".encode()).decode().rstrip("=")


_Moment = Annotated[datetime, BeforeValidator(_moment)]
_Id = Annotated[str, Field(min_length=1, max_length=128)]


class _Paged(BaseModel):
    """The parameters of every list."""

    model_config = ConfigDict(extra="forbid")

    after: Annotated[str, AfterValidator(lambda text: _cursor(_place(text)))] = Field(
        default=_cursor(0), description="The 'next' of the page before"
    )
    limit: int = Field(default=100, ge=1, le=1_000, description="Longest page")


class _Asked(_Paged):
    """The parameters of the list of readings."""

    device: _Id | None = Field(default=None, description="The device's id")
    kind: Kind | None = Field(
        default=None,
        description="Without it every kind but control-solution, which is no person's",
    )
    station: _Id | None = Field(default=None, description="The station's id")
    since: _Moment | None = Field(
        default=None, description="True time, inclusive, ISO 8601 with a zone"
    )
    until: _Moment | None = Field(default=None, description="Likewise, exclusive")


def build(parts: Parts) -> FastAPI:
    """Return the web application over ``parts``."""
    app = FastAPI(
        title="vitalwire gateway",
        openapi_url="/api/v1/openapi.json",
        docs_url=None,  # they would load scripts from elsewhere
        redoc_url=None,
    )
    problems.install(app)
    page = Page.load()
    app.add_middleware(Guard, policy=page.policy, host=parts.host)
    app.include_router(_data(parts), prefix="/api/v1")
    app.include_router(_state(parts))
    app.include_router(_pages(page))
    return app


def _data(parts: Parts) -> APIRouter:
    router, store = APIRouter(), parts.store

    @router.get("/readings")
    def readings(asked: Annotated[_Asked, Query()]) -> Exact:
        """List readings in order of arrival."""
        which = Filter(
            device=asked.device,
            kind=asked.kind,
            station=asked.station,
            since_ms=_ms(asked.since),
            until_ms=_ms(asked.until),
        )
        rows = store.readings(which, _place(asked.after), asked.limit + 1)
        return _page("readings", rows, asked, normalise.reading)

    @router.get("/readings/{number}")
    def reading(number: int) -> Exact:
        """Return one reading with its raw bytes and all other reports of it."""
        known = 0 < number <= _LAST_ID
        if not known or (stored := store.reading(number)) is None:
            raise HTTPException(404)
        return Exact(normalise.reading_whole(stored, store.amendments(number)))

    @router.get("/devices")
    def devices(asked: Annotated[_Paged, Query()]) -> Exact:
        """List devices in order of arrival, with what is counted of them."""
        rows = store.devices(_place(asked.after), asked.limit + 1)
        return _page("devices", rows, asked, normalise.device)

    @router.get("/quarantine")
    def quarantine(asked: Annotated[_Paged, Query()]) -> Exact:
        """List messages that could not be read, in order of arrival."""
        rows = store.quarantine(_place(asked.after), asked.limit + 1)
        return _page("quarantine", rows, asked, normalise.quarantined)

    router.add_api_route("/live", _news(parts), methods=["GET"])
    return router


def _news(parts: Parts) -> Callable[..., HttpResponse]:
    def fetch(after: int) -> tuple[list[Stored], int]:
        rows = parts.store.readings(Filter(), after, _LIVE_LIMIT)
        return rows, rows[-1].id if rows else after

    async def lines(after: int) -> AsyncIterator[str]:
        yield f"retry: 2000\nid: {_cursor(after)}\n\n"
        async for page in parts.live.pages(after, fetch):
            yield ": nothing new\n\n" if page is None else _event(*page)

    def live(last_event_id: Annotated[str | None, Header()] = None) -> HttpResponse:
        """Tell of new readings as they are stored, as server-sent events."""
        if parts.live.full:
            raise HTTPException(503, headers={"Retry-After": "5"})
        try:
            after = _place(last_event_id) if last_event_id else parts.store.last()
        except ValueError as error:
            raise problems.BadParameter("Last-Event-ID", str(error)) from error
        return StreamingResponse(lines(after), media_type="text/event-stream")

    return live


def _state(parts: Parts) -> APIRouter:
    router = APIRouter()

    @router.get("/healthz")
    def healthz() -> PlainTextResponse:
        """Say that this process answers."""
        return PlainTextResponse("alive\n")

    @router.get("/readyz")
    def readyz() -> HttpResponse:
        """Say whether readings can come in and be kept."""
        wrong = {
            "broker": "" if parts.intake.connected else "not connected",
            "store": "" if parts.intake.commit_good else "the last commit failed",
            "ingest": "" if parts.intake.working else "not running",
        }
        if not any(wrong.values()):
            return PlainTextResponse("ready\n")
        named = [(name, why) for name, why in wrong.items() if why]
        return problems.problem(503, "; ".join(f"{name}: {why}" for name, why in named))

    @router.get("/metrics")
    def metrics() -> HttpResponse:
        """Show all figures, for Prometheus."""
        body = generate_latest(parts.metrics.registry)
        return HttpResponse(body, media_type=CONTENT_TYPE_LATEST)

    return router


def _pages(page: Page) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    def root() -> HttpResponse:
        return HttpResponse(page.html, media_type="text/html; charset=utf-8")

    @router.get("/static/plotly.min.js")
    def plotly(_request: Request) -> FileResponse:
        return FileResponse(
            Path(page.plotly),
            media_type="text/javascript",
            headers={"Cache-Control": "max-age=3600"},
        )

    return router


class _Row(Protocol):
    @property
    def id(self) -> int: ...


_R = TypeVar("_R", bound=_Row)


def _page(
    name: str,
    rows: Sequence[_R],
    asked: _Paged,
    show: Callable[[_R], normalise.Served],
) -> Exact:
    """Return a page of ``rows``, of which one more than the limit was asked for."""
    some = rows[: asked.limit]
    return Exact(
        {
            name: [show(row) for row in some],
            "next": _cursor(some[-1].id) if some else asked.after,
            "more": len(rows) > len(some),
        }
    )


def _event(rows: Sequence[Stored], place: int) -> str:
    news = [
        {
            "id": str(row.id),
            "device": row.reading.device.id,
            "kind": row.reading.observation.kind.value,
        }
        for row in rows
    ]
    # Line ends inside a name are escaped by JSON, so they can't end the event.
    data = simplejson.dumps({"readings": news})
    return f"event: readings\nid: {_cursor(place)}\ndata: {data}\n\n"


def _ms(moment: datetime | None) -> int | None:
    if moment is None:
        return None
    return round((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000)

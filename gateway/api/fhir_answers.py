"""How FHIR answers over HTTP: its media type, its errors, its preferences.

Source: FHIR R4, RESTful API.
"""

from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from gateway.access import Forbidden, Unauthorised
from gateway.exact import encode
from gateway.fhir.bundle import MIME, issue, outcome
from gateway.fhir.dates import BadSearch
from gateway.fhir.elements import Resource, Unprojectable
from gateway.fhir.search import FORMATS
from gateway.fhir.subscription import BadSubscription
from gateway.store import StoreUnavailable

_JSON = {*FORMATS, "*/*", "application/*", "application/fhir+ndjson", "text/*"}
_FORM = "application/x-www-form-urlencoded"
_LARGEST_FORM = 64 * 1024


# By error: the status, and FHIR's type of issue.
_ERRORS: dict[type[Exception], tuple[int, str]] = {
    Unauthorised: (401, "login"),
    Forbidden: (403, "forbidden"),
    BadSearch: (400, "invalid"),
    BadSubscription: (422, "invalid"),
    Unprojectable: (422, "invalid"),
    StoreUnavailable: (503, "transient"),
}
_TOLD: tuple[type[Exception], ...] = (HTTPException, *_ERRORS)
_HEADERS = {401: {"WWW-Authenticate": "Bearer"}, 503: {"Retry-After": "1"}}


class Fhir(Response):
    """A resource."""

    media_type = MIME

    def __init__(
        self,
        content: Resource,
        status_code: int = 200,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(encode(content), status_code, headers)


class Route(APIRoute):
    """A route whose errors are OperationOutcomes, and that speaks JSON only."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                _check_accept(request.headers.get("accept", "*/*"))
                return await handle(request)
            except _TOLD as error:
                return _outcome(error)

        return answer


def refused(status: int, code: str, text: str) -> Fhir:
    """Return an OperationOutcome for an error.

    Args:
        status: Of HTTP.
        code: FHIR's type of issue.
        text: What is wrong and what to do.
    """
    found = outcome(issue("error", code, text))
    return Fhir(found, status, _HEADERS.get(status))


def unknown(request: Request, names: list[str]) -> list[Resource]:
    """Return what to tell of parameters that are not known.

    Raises:
        BadSearch: The client wants to be told by an error.
    """
    if names and prefers(request, "handling", "strict"):
        raise BadSearch(names[0], "is no parameter here; CapabilityStatement has all")
    return [
        issue("warning", "not-supported", f"{name} is not known here and was ignored")
        for name in names
    ]


def prefers(request: Request, name: str, value: str = "") -> bool:
    """Whether the Prefer header has a preference, of a value if one is given."""
    wanted = f"{name}={value}" if value else name
    told = ",".join(request.headers.getlist("prefer"))
    return wanted in {
        one.strip() for part in told.split(",") for one in part.split(";")
    }


async def form(request: Request) -> list[tuple[str, str]]:
    """Return the parameters of a search that was posted, those of its address first.

    Raises:
        HTTPException: It is no form, or too large.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip()
    if kind != _FORM:
        raise HTTPException(415, f"a search is posted as {_FORM}")
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > _LARGEST_FORM:
            raise HTTPException(413, "a search is at most 64 KiB")
    try:
        posted = parse_qsl(body.decode("ascii"), keep_blank_values=True)
    except UnicodeDecodeError as error:
        raise HTTPException(400, "a form is of ASCII, percent-encoded") from error
    return [*request.query_params.multi_items(), *posted]


def base_of(request: Request) -> str:
    """Return the address of the server as the client knows it."""
    return f"{request.base_url}fhir/R4"


def _outcome(error: Exception) -> Fhir:
    if isinstance(error, HTTPException):
        return refused(error.status_code, "processing", str(error.detail))
    status, code = _ERRORS[type(error)]
    text = str(error)
    if isinstance(error, BadSearch):
        text = f"{error.name}: {error.problem}"
    return refused(status, code, text or "the store cannot be read now; try again")


def _check_accept(accepted: str) -> None:
    kinds = [one.partition(";")[0].strip() for one in accepted.split(",")]
    if not any(kind in _JSON for kind in kinds):
        raise HTTPException(HTTPStatus.NOT_ACCEPTABLE, f"{MIME} alone is served")

"""FHIR Bulk Data: an export is asked for, looked at, fetched, and ended.

Source: HL7 Bulk Data Access 2.0.
"""

from collections.abc import Iterator
from email.utils import formatdate

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException
from starlette.responses import StreamingResponse

from gateway.access import Forbidden, Principal, Role
from gateway.api import Parts
from gateway.api.caller import Caller
from gateway.api.fhir_answers import Fhir, base_of, prefers
from gateway.exact import encode
from gateway.fhir.dates import BadSearch, instant_ms
from gateway.fhir.elements import instant
from gateway.fhir.export import TYPES, Export, Exports
from gateway.fhir.records import Records

NDJSON = "application/fhir+ndjson"

_FORMATS = (NDJSON, "application/ndjson", "ndjson")
_MOST_DIGITS = 15
_KNOWN = {"_outputFormat", "_since", "_type"}


def add(routes: APIRouter, parts: Parts, records: Records) -> None:
    """Add the routes to ``routes``."""
    exports = Exports(parts.store, records, parts.access)

    @routes.get("/$export")
    def system(who: Caller, request: Request) -> Response:
        """Begin an export of all that the caller may see."""
        return _begin(exports, who, request)

    @routes.get("/Patient/$export")
    def patients(who: Caller, request: Request) -> Response:
        """Begin an export of all patients that the caller may see."""
        return _begin(exports, who, request)

    @routes.get("/Group/{name}/$export")
    def group(name: str) -> Fhir:
        """Refuse groups, which there are none of."""
        raise HTTPException(404, f"there is no Group/{name}; export Patient instead")

    @routes.get("/export/{name}")
    def status(who: Caller, request: Request, name: str) -> Response:
        """Tell where an export's files are: they are ready as soon as it is known."""
        return _manifest(_found(exports, who, name), request)

    @routes.delete("/export/{name}")
    def end(who: Caller, name: str) -> Response:
        """End an export: its files are not served any more."""
        exports.cancel(who, _found(exports, who, name))
        return Response(status_code=202)

    @routes.get("/export/{name}/{kind}.{chunk}.ndjson")
    def file(who: Caller, name: str, kind: str, chunk: str) -> Response:
        """Serve one file, made while it is sent."""
        made = _found(exports, who, name)
        known = chunk.isdecimal() and len(chunk) <= _MOST_DIGITS
        if not known or (kind, int(chunk)) not in made.files():
            raise HTTPException(404, "there is no such file")
        pieces = exports.lines(who, made, kind, int(chunk))
        return StreamingResponse(_lines(pieces), media_type=NDJSON)


def _begin(exports: Exports, who: Principal, request: Request) -> Response:
    if not {Role.READER, Role.STEWARD} & who.roles:
        raise Forbidden("this needs the role reader or steward")
    if not prefers(request, "respond-async"):
        raise HTTPException(400, "an export needs the header Prefer: respond-async")
    asked = request.query_params
    if (names := sorted({*asked} - _KNOWN)) and not prefers(
        request, "handling", "lenient"
    ):
        raise BadSearch(
            names[0], "is not known here; Prefer: handling=lenient drops it"
        )
    if asked.get("_outputFormat", NDJSON) not in _FORMATS:
        raise BadSearch("_outputFormat", f"{NDJSON} alone is made")
    since = asked.get("_since")
    since_ms = None if since is None else instant_ms("_since", since)
    types = _types(asked.getlist("_type"))
    made = exports.begin(who, str(request.url), types, since_ms)
    place = f"{base_of(request)}/export/{made.id}"
    return Response(status_code=202, headers={"Content-Location": place})


def _found(exports: Exports, who: Principal, name: str) -> Export:
    made = exports.find(who, name)
    if made is None:
        raise HTTPException(404, "there is no such export, or it has expired")
    return made


def _manifest(made: Export, request: Request) -> Response:
    base = f"{base_of(request)}/export/{made.id}"
    manifest = {
        "transactionTime": instant(made.made_ms),
        "request": made.request,
        "requiresAccessToken": "authorization" in request.headers,
        "output": [
            {"type": kind, "url": f"{base}/{kind}.{chunk}.ndjson"}
            for kind, chunk in made.files()
        ],
        "error": [],
    }
    expires = formatdate(made.expires_ms / 1000, usegmt=True)
    return Response(
        encode(manifest), media_type="application/json", headers={"Expires": expires}
    )


def _lines(pieces: Iterator[bytes]) -> Iterator[bytes]:
    yield from (piece for piece in pieces if piece)


def _types(asked: list[str]) -> tuple[str, ...]:
    named = [one.strip() for some in asked for one in some.split(",")]
    wrong = [one for one in named if one not in TYPES]
    if wrong:
        raise BadSearch("_type", f"{wrong[0]!r} is none of {', '.join(TYPES)}")
    return tuple(kind for kind in TYPES if not named or kind in named)

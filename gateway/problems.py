"""Errors of the API as problem details that name the parameter.

Source: RFC 9457, §3.
"""

from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from gateway.access import Forbidden, Unauthorised
from gateway.attribution import Stale, Taken, Unknown
from gateway.store import StoreUnavailable


class BadParameter(Exception):
    """A parameter cannot be what was sent.

    Attributes:
        name: The parameter.
        problem: What is wrong with it.
    """

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(name, problem)
        self.name, self.problem = name, problem


def install(app: FastAPI) -> None:
    """Make every error of ``app`` a problem document."""
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(BadParameter, _bad_parameter)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Unauthorised, _unauthorised)
    app.add_exception_handler(Forbidden, _forbidden)
    app.add_exception_handler(Taken, _taken)
    app.add_exception_handler(Unknown, _unknown)
    app.add_exception_handler(Stale, _stale)
    app.add_exception_handler(StoreUnavailable, _unavailable)
    app.add_exception_handler(HTTPStatus.INTERNAL_SERVER_ERROR, _broken)


def problem(
    status: int, detail: str, parameters: list[tuple[str, str]] | None = None
) -> JSONResponse:
    """Return a problem document.

    Args:
        status: The HTTP status.
        detail: What is wrong, for people.
        parameters: The parameters that are wrong, and why.
    """
    body: dict[str, object] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    if parameters:
        body["errors"] = [
            {"parameter": name, "detail": wrong} for name, wrong in parameters
        ]
    return JSONResponse(body, status, media_type="application/problem+json")


def _invalid(_request: Request, error: Exception) -> JSONResponse:
    wrong = [
        (_place(found["loc"]), str(found["msg"]).removeprefix("Value error, "))
        for found in (
            error.errors() if isinstance(error, RequestValidationError) else []
        )
    ]
    detail = "; ".join(f"{name}: {why}" for name, why in wrong)
    return problem(HTTPStatus.BAD_REQUEST, detail, wrong)


def _place(parts: tuple[object, ...]) -> str:
    """Return what of a request is meant, as roles.0 of its body."""
    return ".".join(str(part) for part in parts[1:]) or str(parts[0])


def _bad_parameter(_request: Request, error: Exception) -> JSONResponse:
    name, why = error.args
    return problem(HTTPStatus.BAD_REQUEST, f"{name}: {why}", [(name, why)])


def _http(request: Request, error: Exception) -> JSONResponse:
    status, detail = 500, ""
    if isinstance(error, HTTPException):
        status, detail = error.status_code, error.detail
    if detail in {"", HTTPStatus(status).phrase}:
        detail = f"{request.method} {request.url.path}"
    answer = problem(status, detail)
    answer.headers.update(getattr(error, "headers", None) or {})
    return answer


def _unauthorised(_request: Request, error: Exception) -> JSONResponse:
    answer = problem(HTTPStatus.UNAUTHORIZED, str(error))
    answer.headers["WWW-Authenticate"] = "Bearer"
    return answer


def _forbidden(_request: Request, error: Exception) -> JSONResponse:
    return problem(HTTPStatus.FORBIDDEN, str(error))


def _taken(_request: Request, error: Exception) -> JSONResponse:
    return problem(HTTPStatus.CONFLICT, str(error))


def _unknown(_request: Request, error: Exception) -> JSONResponse:
    return problem(HTTPStatus.NOT_FOUND, str(error))


def _stale(_request: Request, error: Exception) -> JSONResponse:
    return problem(HTTPStatus.PRECONDITION_FAILED, str(error))


def _unavailable(_request: Request, _error: Exception) -> JSONResponse:
    answer = problem(
        HTTPStatus.SERVICE_UNAVAILABLE, "the store cannot be read now; try again"
    )
    answer.headers["Retry-After"] = "1"
    return answer


def _broken(_request: Request, _error: Exception) -> JSONResponse:
    return problem(
        HTTPStatus.INTERNAL_SERVER_ERROR, "this is the gateway's fault; its log tells"
    )

"""The OpenAPI document: what FastAPI makes, and errors of every route."""

from typing import Any

from fastapi import FastAPI

from gateway.api.shapes import Problem

_ERRORS = {
    "400": "A parameter is not what it has to be; `errors` names it",
    "401": "No token, or one that is not known any more",
    "403": "The token does not allow it",
    "404": "There is no such thing, or none that the caller may know of",
    "409": "Something else stands there already, or refers to it",
    "412": "It was changed since it was read",
    "421": "This host name is not served here",
    "503": "The store cannot be asked now; Retry-After says when to try again",
}
_GUARDED = frozenset({"401", "403"})
# By status: the methods that may be answered with it.
_OF_METHODS = {"409": {"post", "put"}, "412": {"put"}}


def problem(meaning: str) -> dict[str, Any]:
    """Return how the document says that a status is answered with a problem."""
    shape = {"$ref": "#/components/schemas/Problem"}
    return {
        "description": meaning,
        "content": {"application/problem+json": {"schema": shape}},
    }


def describe(app: FastAPI) -> None:
    """Let ``app`` serve its document with every error in it."""
    made: dict[str, Any] = {}

    def document() -> dict[str, Any]:
        if not made:
            made.update(_with_errors(FastAPI.openapi(app)))
        return made

    app.openapi = document  # type: ignore[method-assign]


def _with_errors(document: dict[str, Any]) -> dict[str, Any]:
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    ref = "#/components/schemas/{model}"
    schema = Problem.model_json_schema(ref_template=ref)
    schemas.update(schema.pop("$defs", {}))
    schemas["Problem"] = schema
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            _add_errors(path, method, operation)
    return document


def _add_errors(path: str, method: str, operation: dict[str, Any]) -> None:
    answers = operation["responses"]
    # Parameters that can't be read are answered with 400 here.
    answers.pop("422", None)
    for status, meaning in _ERRORS.items():
        if status in _GUARDED and not operation.get("security"):
            continue
        if status == "404" and "{" not in path and method == "get":
            continue
        if method not in _OF_METHODS.get(status, {method}):
            continue
        answers.setdefault(status, problem(meaning))

"""Who asks: the principal of a request, by its Authorization header."""

from collections import Counter
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer
from fastapi.security.http import HTTPAuthorizationCredentials

from gateway.access import Access, Forbidden, Principal, Role
from gateway.problems import BadParameter

# For the OpenAPI document; `Access` judges the header itself.
_BEARER = HTTPBearer(
    auto_error=False,
    scheme_name="token",
    description="As `vitalwire gateway access create` gave it; none is needed where "
    "the gateway answers its own machine only.",
)


def _access(request: Request) -> Access:
    access: Access = request.app.state.parts.access
    return access


def _caller(
    request: Request,
    _shown: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)],
) -> Principal:
    return _access(request).authenticate(request.headers.get("authorization"))


Caller = Annotated[Principal, Depends(_caller)]
"""Whoever asks; raises Unauthorised for who is nobody."""


def _operator(request: Request, who: Caller) -> Principal:
    _access(request).require(who, Role.OPERATOR)
    return who


Operator = Annotated[Principal, Depends(_operator)]
"""Whoever asks, and is an operator; raises Forbidden for others."""


def tenant(who: Principal, asked: str | None) -> str | None:
    """Return whose rows to show; None is every tenant's.

    Args:
        who: Who asks.
        asked: The tenant that was asked for; None is none in particular.

    Raises:
        Forbidden: It is not the caller's.
    """
    if who.tenant and asked not in (None, who.tenant):
        raise Forbidden(f"this token is for the tenant {who.tenant!r} alone")
    return who.tenant or asked


def once(request: Request) -> None:
    """Refuse a request that gives a parameter twice: which of them is meant?

    Raises:
        BadParameter: It does.
    """
    given = Counter(name for name, _ in request.query_params.multi_items())
    for name, times in given.items():
        if times > 1:
            raise BadParameter(name, "is given more than once")

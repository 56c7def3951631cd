"""Readings, their other reports, devices and quarantine, as they came in."""

from collections.abc import Callable, Sequence
from typing import Annotated, Protocol, TypeVar

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from gateway import normalise
from gateway.access import Principal
from gateway.api import Parts, shapes
from gateway.api.caller import Operator, tenant
from gateway.api.exact import Exact
from gateway.api.paging import LAST_ID, Id, Moment, Paged, Walk, ms, place
from gateway.store import Filter
from protocols.observation import Kind

_R = TypeVar("_R")


_WHOSE = Field(default=None, description="Whose; a token's own at most")


class OfTenant(Paged):
    """The parameters of lists that hold every tenant's rows."""

    tenant: Id | None = _WHOSE


class Which(BaseModel):
    """Which readings are asked for."""

    model_config = ConfigDict(extra="forbid")

    tenant: Id | None = _WHOSE
    device: Id | None = Field(default=None, description="The device's id")
    kind: Kind | None = Field(
        default=None,
        description="Without it every kind but control-solution, which is no person's",
    )
    station: Id | None = Field(default=None, description="The station's id")
    since: Moment | None = Field(
        default=None, description="True time, inclusive, ISO 8601 with a zone"
    )
    until: Moment | None = Field(default=None, description="Likewise, exclusive")

    def filter(self, who: Principal) -> Filter:
        """Return what the store is asked for.

        Raises:
            Forbidden: It is another tenant's than the caller's.
        """
        return Filter(
            tenant=tenant(who, self.tenant),
            device=self.device,
            kind=self.kind,
            station=self.station,
            since_ms=ms(self.since),
            until_ms=ms(self.until),
        )


class Listed(Which, Paged):
    """The parameters of the list of readings."""


def router(parts: Parts) -> APIRouter:
    """Return the routes over ``parts``."""
    routes, store = APIRouter(), parts.store

    @routes.get("/readings", response_model=shapes.Readings)
    def readings(who: Operator, asked: Annotated[Listed, Query()]) -> Exact:
        """List readings in order of arrival."""
        rows = store.readings(asked.filter(who), place(asked.after), asked.limit + 1)
        walk = Walk.of(rows, asked)
        walk.record(parts.access, who, "readings.list")
        return walk.page("readings", _each(normalise.reading))

    @routes.get("/readings/{number}", response_model=shapes.Whole)
    def reading(who: Operator, number: int) -> Exact:
        """Return one reading with its raw bytes and all other reports of it."""
        stored = store.reading(number) if 0 < number <= LAST_ID else None
        if stored is None or who.tenant not in {"", stored.station.tenant}:
            raise HTTPException(404)
        parts.access.record(who, "readings.read", what=f"reading {number}")
        return Exact(normalise.reading_whole(stored, store.amendments(number)))

    @routes.get("/amendments", response_model=shapes.Amendments)
    def amendments(who: Operator, asked: Annotated[OfTenant, Query()]) -> Exact:
        """List other reports of stored readings, in order of arrival."""
        walk = Walk.within(
            asked, store.amended, _theirs(who, asked, lambda one: one.stored.station)
        )
        walk.record(parts.access, who, "amendments.list")
        return walk.page("amendments", _each(normalise.amendment))

    @routes.get("/devices", response_model=shapes.Devices)
    def devices(who: Operator, asked: Annotated[OfTenant, Query()]) -> Exact:
        """List devices in order of arrival, with what is counted of them."""
        walk = Walk.within(asked, store.devices, _theirs(who, asked, lambda one: one))
        return walk.page("devices", _each(normalise.device))

    @routes.get("/quarantine", response_model=shapes.Quarantine)
    def quarantine(who: Operator, asked: Annotated[OfTenant, Query()]) -> Exact:
        """List messages that could not be read, in order of arrival."""
        walk = Walk.within(
            asked, store.quarantine, _theirs(who, asked, lambda one: one.station)
        )
        walk.record(parts.access, who, "quarantine.list")
        return walk.page("quarantine", _each(normalise.quarantined))

    return routes


def _each(
    show: Callable[[_R], normalise.Served],
) -> Callable[[Sequence[_R]], list[normalise.Served]]:
    return lambda rows: [show(row) for row in rows]


class _Owned(Protocol):
    @property
    def tenant(self) -> str: ...


def _theirs(
    who: Principal, asked: OfTenant, owned: Callable[[_R], _Owned | None]
) -> Callable[[_R], bool] | None:
    """Return whether a row is the tenant's that is asked for; None is every row."""
    whose = tenant(who, asked.tenant)
    if whose is None:
        return None

    def theirs(row: _R) -> bool:
        found = owned(row)
        return found is not None and found.tenant == whose

    return theirs

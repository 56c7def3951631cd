"""The HTTP side: one router for each part, over what `Parts` holds.

Everything is read from the store. Lists are walked by cursor, in order of arrival,
so that nothing is missed or met twice while readings come in.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from fastapi import Depends, FastAPI

from gateway import problems
from gateway.access import Access
from gateway.guard import Guard
from gateway.live import Live
from gateway.metrics import Metrics
from gateway.page import Page
from gateway.registry import Registry
from gateway.store import Store


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
        access: Who asks, and what they may see.
        registry: Patients, and which readings are theirs.
        names: The hosts served besides this machine's names; None is every host.
        networks: Of addresses that are not public and webhooks may lead to.
    """

    store: Store
    intake: Intake
    live: Live
    metrics: Metrics
    access: Access
    registry: Registry
    names: Collection[str] | None = ()
    networks: Sequence[str] = ()


def build(parts: Parts) -> FastAPI:
    """Return the web application over ``parts``."""
    # They import Parts from here.
    from gateway.api import (  # noqa: PLC0415
        caller,
        document,
        export,
        fhir,
        live,
        pages,
        people,
        readings,
        state,
        webhooks,
    )

    app = FastAPI(
        title="vitalwire gateway",
        openapi_url="/api/v1/openapi.json",
        docs_url=None,  # they would load scripts from elsewhere
        redoc_url=None,
    )
    app.state.parts = parts
    problems.install(app)
    page = Page.load()
    app.add_middleware(Guard, policy=page.policy, names=parts.names)
    once = [Depends(caller.once)]
    # The word export would be taken for a number of a reading.
    for routes in (export, readings, live, webhooks):
        app.include_router(routes.router(parts), prefix="/api/v1", dependencies=once)
    app.include_router(people.router(parts), dependencies=once)
    app.include_router(fhir.router(parts))
    app.include_router(state.router(parts))
    app.include_router(pages.router(page))
    document.describe(app)
    return app

"""Webhooks: who is told of readings, what could not be told, and trying it again."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from gateway import normalise, problems
from gateway.access import Forbidden, Principal, Role
from gateway.api import Parts, shapes
from gateway.api.caller import Caller, tenant
from gateway.api.exact import Exact
from gateway.api.paging import Id, Number, Paged, Walk, cursor, place
from gateway.consent import Consents
from gateway.store.database import Change
from gateway.webhooks import Fare, Stretch, Webhook, Webhooks
from gateway.webhooks.target import Refused, Targets
from protocols.observation import Kind


class Wanted(BaseModel):
    """A webhook to be registered."""

    model_config = ConfigDict(extra="forbid")

    url: str = Field(
        min_length=1,
        max_length=2_048,
        description="Where to post to; https, or http on this machine",
        examples=["https://clinic.example/readings"],
    )
    kinds: list[Kind] = Field(
        default_factory=list,
        max_length=len(Kind),
        description="Empty is every kind but control-solution, which is no person's",
    )
    patient: Number | None = Field(default=None, description="Only this patient's")
    programme: Number | None = Field(
        default=None,
        description="Only of patients who agree now that this programme may see them",
    )
    content: shapes.Content = Field(
        default="ids", description="Whether the readings are told, or their ids alone"
    )
    tenant: Id | None = Field(default=None, description="A token's own at most")


def router(parts: Parts) -> APIRouter:
    """Return the routes over ``parts``."""
    routes, book = APIRouter(), _Book(parts)

    @routes.post("/webhooks", status_code=201, response_model=shapes.NewWebhook)
    def register(who: Caller, wanted: Wanted) -> Exact:
        """Register a webhook, which is told of what comes and changes from now on.

        The secret that its messages are signed with is shown this once.
        """
        return Exact(book.add(who, wanted), 201)

    @routes.get("/webhooks", response_model=shapes.Webhooks)
    def webhooks(who: Caller, asked: Annotated[Paged, Query()]) -> Exact:
        """List webhooks that the caller may have made, in the order they were made."""
        return book.page(who, asked)

    @routes.get("/webhooks/{number}", response_model=shapes.Webhook)
    def webhook(who: Caller, number: Number) -> Exact:
        """Return one webhook, and how it fares."""
        found = book.shown([book.find(who, number)])
        if not found:
            raise HTTPException(404)
        return Exact(found[0])

    @routes.delete("/webhooks/{number}", status_code=204)
    def remove(who: Caller, number: Number) -> Response:
        """Forget a webhook, and all that it was yet to be told."""
        with book.change(who, number, "webhook.removed") as change:
            book.hooks.remove(change, number)
        return Response(status_code=204)

    @routes.get("/webhooks/{number}/dead", response_model=shapes.DeadLetters)
    def dead(who: Caller, number: Number, asked: Annotated[Paged, Query()]) -> Exact:
        """List what the gateway has given up telling a webhook."""
        hook = book.find(who, number)
        rows = book.hooks.stretches(
            [hook.id], dead=True, after=place(asked.after), limit=asked.limit + 1
        )
        return Walk.of(rows, asked).page(
            "dead", lambda rows: [_dead(row) for row in rows]
        )

    @routes.post("/webhooks/{number}/dead/{letter}/replay", status_code=204)
    def replay(who: Caller, number: Number, letter: Number) -> Response:
        """Try a dead letter again, from its beginning."""
        with book.change(who, number, "webhook.replayed") as change:
            now_ms = parts.access.now_ms()
            if not book.hooks.replay(change, number, letter, now_ms):
                raise HTTPException(404)
        return Response(status_code=204)

    return routes


class _Book:
    """Webhooks, for those who may have them."""

    def __init__(self, parts: Parts) -> None:
        self._parts, self._access = parts, parts.access
        self._consents = Consents(parts.store.database)
        self._targets = Targets(parts.networks)
        self.hooks = Webhooks(parts.store.database)

    def add(self, who: Principal, wanted: Wanted) -> normalise.Served:
        hook = Webhook(
            id=0,
            tenant="",
            url=wanted.url,
            kinds=frozenset(wanted.kinds),
            patient=wanted.patient,
            programme=wanted.programme,
            whole=wanted.content == "readings",
            created_ms=self._access.now_ms(),
            created_by=who.name,
            principal=who.id,
        )
        self._access.require(who, _role(hook))
        hook = replace(hook, tenant=self._tenant(who, wanted))
        try:
            self._targets.check(hook.url)
        except Refused as error:
            raise problems.BadParameter("url", str(error)) from error
        last = self._parts.store.last()
        with self._access.recorded(who, "webhook.made", tenant=hook.tenant) as change:
            made, secret = self.hooks.add(change, hook, last)
        return self.shown([made])[0] | {"secret": secret}

    def find(self, who: Principal, number: int) -> Webhook:
        hook = self.hooks.webhook(number, who.tenant)
        if hook is None:
            raise HTTPException(404)
        self._access.require(who, _role(hook))
        return hook

    def page(self, who: Principal, asked: Paged) -> Exact:
        if not {Role.OPERATOR, Role.STEWARD} & who.roles:
            raise Forbidden("this needs the role operator or steward")
        walk = Walk.within(
            asked,
            lambda after, limit: self.hooks.webhooks(who.tenant, after, limit),
            lambda hook: _role(hook) in who.roles,
        )
        return walk.page("webhooks", self.shown)

    @contextmanager
    def change(self, who: Principal, number: int, action: str) -> Iterator[Change]:
        """Begin a change of one webhook, which is recorded."""
        tenant = self.find(who, number).tenant
        with self._access.recorded(
            who, action, tenant=tenant, what=f"webhook {number}"
        ) as change:
            yield change

    def shown(self, some: Sequence[Webhook]) -> list[normalise.Served]:
        fares = self.hooks.fare([hook.id for hook in some])
        # One that is gone meanwhile is not there any more.
        return [_shown(hook, fares[hook.id]) for hook in some if hook.id in fares]

    def _tenant(self, who: Principal, wanted: Wanted) -> str:
        """Return whose readings a webhook is told."""
        whose = tenant(who, wanted.tenant) or ""
        for name, number, get in (
            ("programme", wanted.programme, self._consents.programme),
            ("patient", wanted.patient, self._parts.registry.patient),
        ):
            if number is not None:
                named = get(number, whose)
                if named is None:
                    raise problems.BadParameter(name, "there is none of this id")
                whose = named.tenant
        return whose


def _role(hook: Webhook) -> Role:
    """Return who may have a webhook: one that names patients is the steward's."""
    raw = hook.patient is None and hook.programme is None
    return Role.OPERATOR if raw else Role.STEWARD


def _shown(hook: Webhook, fare: Fare) -> normalise.Served:
    state = fare.worst
    return {
        "id": str(hook.id),
        "tenant": hook.tenant,
        "url": hook.url,
        "kinds": sorted(hook.kinds),
        "patient": None if hook.patient is None else str(hook.patient),
        "programme": None if hook.programme is None else str(hook.programme),
        "content": "readings" if hook.whole else "ids",
        "created": normalise.iso(hook.created_ms),
        "created_by": hook.created_by,
        "told": cursor(fare.told),
        "failures": state.attempts,
        "failing_since": normalise.iso(state.failing_ms),
        "next_attempt": normalise.iso(state.due_ms) if state.attempts else None,
        "problem": state.problem or None,
    }


def _dead(letter: Stretch) -> normalise.Served:
    return {
        "id": str(letter.id),
        "about": letter.about.value,
        "after": cursor(letter.after),
        "through": str(letter.through),
        "failures": letter.attempts,
        "failing_since": normalise.iso(letter.failing_ms),
        "problem": letter.problem or None,
    }

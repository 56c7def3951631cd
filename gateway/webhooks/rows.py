"""Webhooks and their stretches as they are kept."""

from dataclasses import dataclass
from enum import StrEnum

from gateway.consent import Purpose
from gateway.store.database import Row
from protocols.observation import Kind


@dataclass(frozen=True, slots=True)
class Webhook:
    """Whom to tell of which readings.

    Attributes:
        id: From 1; 0 of one that is not kept yet.
        tenant: Whose readings; empty is every tenant's.
        url: Where to.
        kinds: Of which kinds; empty is every kind that is about a person.
        patient: Only this patient's, by `Patient.id`; None is not so.
        programme: Only of patients who agree that this programme may see them, by
            `Programme.id`; None is not so.
        whole: Whether to tell the readings, and not only that they are there.
        created_ms: ms since 1970 UTC.
        created_by: By `Principal.name`.
        principal: And by `Principal.id`; with that token it ends.
        purpose: What the programme reads for; None if there is none.
    """

    id: int
    tenant: str
    url: str
    kinds: frozenset[Kind] = frozenset()
    patient: int | None = None
    programme: int | None = None
    whole: bool = False
    created_ms: int = 0
    created_by: str = ""
    principal: int = 0
    purpose: Purpose | None = None


class Order(StrEnum):
    """In which order something is told."""

    READINGS = "readings"
    """Of arrival, by `Stored.id`."""
    REVISIONS = "revisions"
    """Of changes whose readings are, by `Revision.id`."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of an order that a webhook is yet to be told.

    Attributes:
        id: From 1.
        webhook: By `Webhook.id`.
        about: Of which order; the ids below are its.
        dead: Whether the gateway has given up on it.
        after: It begins behind this id.
        reached: Where the message in flight ends; None if there is none.
        through: It ends with this id; None is without end.
        attempts: How often its first message failed.
        failing_ms: Since when; None is not failing.
        due_ms: When it is tried next.
        problem: What was wrong the last time.
    """

    id: int
    webhook: int
    about: Order
    dead: bool
    after: int
    reached: int | None
    through: int | None
    attempts: int
    failing_ms: int | None
    due_ms: int
    problem: str


@dataclass(frozen=True, slots=True)
class Fare:
    """How a webhook fares.

    Attributes:
        told: The id of the last reading that it was told.
        worst: Of what it is being told, what has failed most often.
    """

    told: int
    worst: Stretch


@dataclass(frozen=True, slots=True)
class Taken:
    """A stretch that this gateway works on, with all that it takes to do so."""

    webhook: Webhook
    secret: str
    stretch: Stretch


WEBHOOK = """w.id, w.tenant, w.url, w.kinds, w.patient, w.programme, w.whole,
    w.created_ms, w.created_by, w.principal, g.purpose"""
FROM = "FROM webhook w LEFT JOIN programme g ON g.id = w.programme"
STRETCH = """s.id, s.webhook, s.about, s.dead, s.after_id, s.reached_id, s.through_id,
    s.attempts, s.failing_ms, s.due_ms, s.problem"""


def webhook_of(row: Row) -> Webhook:
    """Return a webhook, from the columns of `WEBHOOK`."""
    kinds = frozenset(Kind(name) for name in row[3].split(",") if name)
    purpose = None if row[10] is None else Purpose(row[10])
    named = (*row[:3], kinds, *row[4:6], bool(row[6]), *row[7:10], purpose)
    return Webhook(*named)


def stretch_of(row: Row) -> Stretch:
    """Return a stretch, from the columns of `STRETCH`."""
    return Stretch(row[0], row[1], Order(row[2]), bool(row[3]), *row[4:])

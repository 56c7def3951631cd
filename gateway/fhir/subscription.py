"""FHIR R4 Subscriptions: a webhook with criteria, told without a payload.

The message names ids only; what came is then searched for, under the consents that
hold. Criteria are of one patient, and may name a code, which is judged by kind of
reading: a message may come for a reading in which a search finds nothing.

Source: FHIR R4, Subscription, channel rest-hook.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import parse_qsl

from gateway.access import Access, Principal, Role
from gateway.fhir.dates import BadSearch
from gateway.fhir.elements import Resource, meta
from gateway.fhir.reach import kinds_with
from gateway.fhir.search import read
from gateway.registry import Registry
from gateway.store import Store
from gateway.store.database import Row
from gateway.webhooks import Fare, Webhook, Webhooks
from gateway.webhooks.target import Refused, Targets
from protocols.observation import Kind

_KIND = "Observation"
_ALLOWED = {"patient", "subject", "code"}
_UNKEPT = ("end", "contact")


class BadSubscription(Exception):
    """What was posted is no Subscription that can be kept; the text says why."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was posted.

    Attributes:
        criteria: As it came.
        reason: Likewise.
        endpoint: Where to.
        patient: Whom about, by `Patient.id`.
        kinds: Readings of which kinds; empty is every kind that is about a person.
    """

    criteria: str
    reason: str
    endpoint: str
    patient: int
    kinds: frozenset[Kind]


class Subscriptions:
    """Keeps subscriptions, each beside its webhook.

    Args:
        store: Where they are.
        registry: Where patients are.
        access: Who may have them.
        targets: Where they may lead.
    """

    def __init__(
        self, store: Store, registry: Registry, access: Access, targets: Targets
    ) -> None:
        self._store, self._registry, self._access = store, registry, access
        self._targets, self._hooks = targets, Webhooks(store.database)
        self._database = store.database

    def add(self, who: Principal, posted: object) -> Resource:
        """Keep a subscription, which is active at once; return it.

        Raises:
            BadSubscription: It can't be kept.
            Forbidden: They may see nothing of the patient.
        """
        wanted = _wanted(posted)
        now_ms = self._access.now_ms()
        self._access.may_see(who, wanted.patient, None, now_ms)
        patient = self._registry.patient(wanted.patient, who.tenant)
        if patient is None:
            raise BadSubscription(f"criteria: there is no patient {wanted.patient}")
        try:
            self._targets.check(wanted.endpoint)
        except Refused as refused:
            raise BadSubscription(f"channel.endpoint {refused}") from refused
        steward = Role.STEWARD in who.roles
        hook = Webhook(
            id=0,
            tenant=patient.tenant,
            url=wanted.endpoint,
            kinds=wanted.kinds,
            patient=patient.id,
            programme=None if steward else who.programme,
            created_ms=now_ms,
            created_by=who.name,
            principal=who.id,
        )
        last = self._store.last()
        with self._access.recorded(
            who, "fhir.subscribed", patient=patient.id
        ) as change:
            made, secret = self._hooks.add(change, hook, last)
            change.rows(
                "INSERT INTO subscription (webhook, principal, criteria, reason) "
                "VALUES (:webhook, :principal, :criteria, :reason)",
                webhook=made.id,
                principal=who.id,
                criteria=wanted.criteria,
                reason=wanted.reason,
            )
        shown = _subscription(made, wanted.criteria, wanted.reason, None)
        return shown | {"extension": [{"url": SECRET, "valueString": secret}]}

    def find(self, who: Principal, number: int) -> Resource | None:
        """Return a subscription that ``who`` made; None if there is none."""
        found = self.list(who, number)
        return found[0] if found else None

    def list(self, who: Principal, number: int | None = None) -> list[Resource]:
        """Return the subscriptions that ``who`` made, or the one of an id."""
        rows: list[Row] = self._database.rows(
            "SELECT webhook, criteria, reason FROM subscription "
            "WHERE principal = :principal AND (:number = 0 OR webhook = :number) "
            "ORDER BY webhook",
            principal=who.id,
            number=number or 0,
        )
        hooks = {row[0]: self._hooks.webhook(row[0], who.tenant) for row in rows}
        fares = self._hooks.fare(list(hooks))
        return [
            _subscription(hook, criteria, reason, fares.get(webhook))
            for webhook, criteria, reason in rows
            if (hook := hooks[webhook]) is not None
        ]

    def remove(self, who: Principal, number: int) -> bool:
        """End a subscription that ``who`` made; return whether there was one."""
        if self.find(who, number) is None:
            return False
        hook = self._hooks.webhook(number, who.tenant)
        patient = None if hook is None else hook.patient
        with self._access.recorded(who, "fhir.unsubscribed", patient=patient) as change:
            self._hooks.remove(change, number)
        return True


SECRET = "urn:vitalwire:webhook-secret"  # noqa: S105 - the name of it
"""The extension that shows the secret of the signatures, once."""


def _wanted(posted: object) -> Wanted:
    if not isinstance(posted, dict) or posted.get("resourceType") != "Subscription":
        raise BadSubscription("this is no Subscription")
    channel = posted.get("channel")
    if not isinstance(channel, dict) or channel.get("type") != "rest-hook":
        raise BadSubscription("channel.type has to be rest-hook")
    if posted.get("status") != "requested":
        raise BadSubscription("status has to be requested")
    for name in ("payload", "header"):
        if name in channel:
            raise BadSubscription(
                f"channel.{name} is not sent: leave it out, and search when told"
            )
    for name in _UNKEPT:
        if name in posted:
            raise BadSubscription(f"{name} is not kept: delete it when it has served")
    criteria, reason = str(posted.get("criteria", "")), str(posted.get("reason", ""))
    if not reason.strip():
        raise BadSubscription("reason has to say what it is for")
    patient, kinds = _criteria(criteria)
    return Wanted(criteria, reason, str(channel.get("endpoint", "")), patient, kinds)


def _criteria(criteria: str) -> tuple[int, frozenset[Kind]]:
    kind, _mark, query = criteria.partition("?")
    asked = parse_qsl(query, keep_blank_values=True)
    names = {name for name, _ in asked}
    if kind != _KIND or not {"patient", "subject"} & names or not names <= _ALLOWED:
        raise BadSubscription(
            "criteria has to be Observation?patient=..., maybe with a code"
        )
    try:
        found = read(_KIND, asked, datetime.now(UTC))
    except BadSearch as error:
        raise BadSubscription(f"criteria: {error.name} {error.problem}") from error
    whom = found.named["patient"]
    if len(whom) != 1 or not min(whom).isdecimal() or int(min(whom)) < 1:
        raise BadSubscription("criteria has to name one patient, by id")
    kinds: frozenset[Kind] = frozenset()
    if "code" in found.named:
        kinds = frozenset().union(*map(kinds_with, found.named["code"]))
        if not kinds:
            raise BadSubscription("criteria: no reading here ever has such a code")
    return int(min(whom)), kinds


def _subscription(
    hook: Webhook, criteria: str, reason: str, fare: Fare | None
) -> Resource:
    problem = "" if fare is None else fare.worst.problem
    found: Resource = {
        "resourceType": "Subscription",
        "id": str(hook.id),
        "meta": meta(1, hook.created_ms),
        "status": "error" if problem else "active",
        "reason": reason,
        "criteria": criteria,
        "channel": {"type": "rest-hook", "endpoint": hook.url},
    }
    return found | ({"error": problem} if problem else {})

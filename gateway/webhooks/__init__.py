"""Whom to tell of readings, and how far each of them has been told.

What is told lies in the store already, so nothing is queued here: a webhook has a
place in the order of arrival, and what could not be told in time is a stretch of that
order, kept as a dead letter. A gateway takes a stretch for a while before it works on
it; no other one touches it until it is given back or the while is over.
"""

from collections.abc import Collection
from dataclasses import dataclass

from gateway.consent import Purpose
from gateway.store.database import Change, Database, Row, Scalar
from gateway.webhooks.signature import draw_secret
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


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of the order of arrival that a webhook is yet to be told.

    Attributes:
        id: From 1.
        webhook: By `Webhook.id`.
        dead: Whether the gateway has given up on it.
        after: It begins behind this reading's id.
        reached: Where the message in flight ends; None if there is none.
        through: It ends with this id; None is without end.
        attempts: How often its first message failed.
        failing_ms: Since when; None is not failing.
        due_ms: When it is tried next.
        problem: What was wrong the last time.
    """

    id: int
    webhook: int
    dead: bool
    after: int
    reached: int | None
    through: int | None
    attempts: int
    failing_ms: int | None
    due_ms: int
    problem: str


@dataclass(frozen=True, slots=True)
class Taken:
    """A stretch that this gateway works on, with all that it takes to do so."""

    webhook: Webhook
    secret: str
    stretch: Stretch


_WEBHOOK = """w.id, w.tenant, w.url, w.kinds, w.patient, w.programme, w.whole,
    w.created_ms, w.created_by, w.principal, g.purpose"""
_FROM = "FROM webhook w LEFT JOIN programme g ON g.id = w.programme"
_STRETCH = """s.id, s.webhook, s.dead, s.after_id, s.reached_id, s.through_id,
    s.attempts, s.failing_ms, s.due_ms, s.problem"""
_DUE = """dead = 0 AND due_ms <= :now_ms AND leased_until_ms < :now_ms
    AND (through_id IS NOT NULL OR after_id < :last)"""


class Webhooks:
    """Keeps webhooks and their stretches. Safe for any thread and any gateway.

    Args:
        database: Where they are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, change: Change, hook: Webhook, last: int) -> tuple[Webhook, str]:
        """Keep a new webhook, which is told of what arrives from now on.

        Args:
            change: The transaction.
            hook: Whose id is not looked at.
            last: The id of the reading that arrived last.

        Returns:
            It with its id, and its secret: show it once.
        """
        secret = draw_secret()
        ((number,),) = change.rows(
            "INSERT INTO webhook (tenant, url, secret, kinds, patient, programme, "
            "whole, created_ms, created_by, principal) VALUES (:tenant, :url, "
            ":secret, :kinds, :patient, :programme, :whole, :created_ms, :created_by, "
            ":principal) RETURNING id",
            tenant=hook.tenant,
            url=hook.url,
            secret=secret,
            kinds=",".join(sorted(hook.kinds)),
            patient=hook.patient,
            programme=hook.programme,
            whole=int(hook.whole),
            created_ms=hook.created_ms,
            created_by=hook.created_by,
            principal=hook.principal,
        )
        change.rows(
            "INSERT INTO webhook_stretch (webhook, after_id, due_ms) "
            "VALUES (:number, :last, :now_ms)",
            number=number,
            last=last,
            now_ms=hook.created_ms,
        )
        found = change.rows(
            f"SELECT {_WEBHOOK} {_FROM} WHERE w.id = :number",
            number=number,
        )
        return _webhook(found[0]), secret

    def remove(self, change: Change, number: int) -> None:
        """Forget a webhook and all that it is yet to be told."""
        change.rows(
            "DELETE FROM webhook_stretch WHERE webhook = :number", number=number
        )
        change.rows("DELETE FROM webhook WHERE id = :number", number=number)

    def webhooks(self, tenant: str, after: int, limit: int) -> list[Webhook]:
        """Return at most ``limit`` webhooks behind ``after``, in order of id.

        Args:
            tenant: Whose; empty is every tenant's.
            after: The id of the last one seen; 0 is from the beginning.
            limit: How many at most.
        """
        rows = self._database.rows(
            f"SELECT {_WEBHOOK} {_FROM} WHERE w.id > :after "
            "AND (:tenant = '' OR w.tenant = :tenant) ORDER BY w.id LIMIT :limit",
            tenant=tenant,
            after=after,
            limit=limit,
        )
        return [_webhook(row) for row in rows]

    def webhook(self, number: int, tenant: str = "") -> Webhook | None:
        """Return one webhook by id; None if there is none in ``tenant``."""
        found = self.webhooks(tenant, number - 1, 1)
        return found[0] if found and found[0].id == number else None

    def stretches(
        self, hooks: Collection[int], *, dead: bool, after: int = 0, limit: int = 1_000
    ) -> list[Stretch]:
        """Return at most ``limit`` stretches of some webhooks, in order of id.

        Args:
            hooks: By `Webhook.id`.
            dead: Those given up on, or those being worked on.
            after: The id of the last one seen; 0 is from the beginning.
            limit: How many at most.
        """
        marks = {f"hook_{at}": hook for at, hook in enumerate(hooks)}
        if not marks:
            return []
        named = ", ".join(f":{mark}" for mark in marks)
        rows = self._database.rows(
            f"SELECT {_STRETCH} FROM webhook_stretch s WHERE s.webhook IN ({named}) "  # noqa: S608
            "AND s.dead = :dead AND s.id > :after ORDER BY s.id LIMIT :limit",
            dead=int(dead),
            after=after,
            limit=limit,
            **marks,
        )
        return [_stretch(row) for row in rows]

    def replay(self, change: Change, hook: int, number: int, now_ms: int) -> bool:
        """Try a dead letter again; return whether there is such a one."""
        return bool(
            change.rows(
                "UPDATE webhook_stretch SET dead = 0, attempts = 0, failing_ms = NULL, "
                "due_ms = :now_ms, problem = '' "
                "WHERE id = :number AND webhook = :hook AND dead = 1 RETURNING id",
                number=number,
                hook=hook,
                now_ms=now_ms,
            )
        )

    def take(
        self, holder: str, *, last: int, now_ms: int, until_ms: int, most: int
    ) -> list[Taken]:
        """Take stretches that are due, so that no other gateway works on them.

        Args:
            holder: Who takes them.
            last: The id of the reading that arrived last.
            now_ms: The time, ms since 1970 UTC.
            until_ms: When they are anybody's again.
            most: How many at most.
        """
        marks: dict[str, Scalar] = {"now_ms": now_ms, "last": last}
        due = f"SELECT id FROM webhook_stretch WHERE {_DUE} ORDER BY due_ms LIMIT :most"  # noqa: S608
        if not self._database.rows(due, **marks, most=most):
            return []
        with self._database.change() as change:
            taken = change.rows(
                "UPDATE webhook_stretch SET holder = :holder, "  # noqa: S608
                f"leased_until_ms = :until_ms WHERE id IN ({due}) AND {_DUE} "
                "RETURNING id",
                **marks,
                most=most,
                holder=holder,
                until_ms=until_ms,
            )
            rows = [
                change.rows(
                    f"SELECT w.secret, {_WEBHOOK}, {_STRETCH} {_FROM} "
                    "JOIN webhook_stretch s ON s.webhook = w.id WHERE s.id = :number",
                    number=number,
                )
                for (number,) in taken
            ]
        return [
            Taken(_webhook(row[1:12]), row[0], _stretch(row[12:])) for (row,) in rows
        ]

    def begin(
        self, change: Change, holder: str, number: int, *, reached: int, until_ms: int
    ) -> bool:
        """Fix where the message ends that is about to be sent.

        Args:
            change: The transaction.
            holder: Who took the stretch.
            number: The stretch.
            reached: The id of the last reading that the message looked at.
            until_ms: When the stretch is anybody's again.

        Returns:
            Whether it is still the holder's; if not, nothing may be sent.
        """
        return bool(
            change.rows(
                "UPDATE webhook_stretch SET reached_id = :reached, "
                "leased_until_ms = :until_ms "
                "WHERE id = :number AND holder = :holder RETURNING id",
                number=number,
                holder=holder,
                reached=reached,
                until_ms=until_ms,
            )
        )

    def told(self, holder: str, stretch: Stretch, reached: int, *, on: bool) -> bool:
        """Note that all up to ``reached`` was told.

        Args:
            holder: Who took the stretch.
            stretch: It.
            reached: The id of the last reading that the message looked at.
            on: Whether the holder goes on with the rest, and keeps it.

        Returns:
            Whether there is a rest, and it is still the holder's.
        """
        marks: dict[str, Scalar] = {"number": stretch.id, "holder": holder}
        with self._database.change() as change:
            if stretch.through is not None and reached >= stretch.through:
                change.rows(
                    "DELETE FROM webhook_stretch "
                    "WHERE id = :number AND holder = :holder",
                    **marks,
                )
                return False
            freed = "" if on else ", holder = '', leased_until_ms = 0"
            kept = change.rows(
                "UPDATE webhook_stretch SET after_id = :reached, reached_id = NULL, "  # noqa: S608
                f"attempts = 0, failing_ms = NULL, problem = '' {freed} "
                "WHERE id = :number AND holder = :holder RETURNING id",
                **marks,
                reached=reached,
            )
        return on and bool(kept)

    def failed(
        self, holder: str, stretch: Stretch, problem: str, *, now_ms: int, due_ms: int
    ) -> None:
        """Note that a message could not be delivered, and give the stretch back.

        Args:
            holder: Who took the stretch.
            stretch: It.
            problem: What was wrong.
            now_ms: The time, ms since 1970 UTC.
            due_ms: When to try again.
        """
        with self._database.change() as change:
            change.rows(
                "UPDATE webhook_stretch SET attempts = attempts + 1, "
                "failing_ms = coalesce(failing_ms, :now_ms), due_ms = :due_ms, "
                "problem = :problem, holder = '', leased_until_ms = 0 "
                "WHERE id = :number AND holder = :holder",
                number=stretch.id,
                holder=holder,
                problem=problem,
                now_ms=now_ms,
                due_ms=due_ms,
            )

    def give_up(
        self, holder: str, stretch: Stretch, through: int, problem: str
    ) -> None:
        """Make a dead letter of what a stretch holds up to a reading.

        Args:
            holder: Who took the stretch; it stays theirs.
            stretch: It.
            through: The id of the last reading given up on.
            problem: What was wrong the last time.
        """
        with self._database.change() as change:
            if stretch.through is not None and through >= stretch.through:
                change.rows(
                    "UPDATE webhook_stretch SET dead = 1, reached_id = NULL "
                    "WHERE id = :number AND holder = :holder",
                    number=stretch.id,
                    holder=holder,
                )
                return
            kept = change.rows(
                "UPDATE webhook_stretch SET after_id = :through, reached_id = NULL "
                "WHERE id = :number AND holder = :holder RETURNING webhook",
                number=stretch.id,
                holder=holder,
                through=through,
            )
            if not kept:
                return
            dead: dict[str, Scalar] = {
                "hook": stretch.webhook,
                "after": stretch.after,
                "through": through,
                "attempts": stretch.attempts + 1,
                "failing_ms": stretch.failing_ms,
                "problem": problem,
            }
            # What died just before it is one dead letter with it.
            longer = change.rows(
                "UPDATE webhook_stretch SET through_id = :through, "
                "attempts = :attempts, problem = :problem, "
                "failing_ms = coalesce(failing_ms, :failing_ms) WHERE webhook = :hook "
                "AND dead = 1 AND through_id = :after RETURNING id",
                **dead,
            )
            if not longer:
                change.rows(
                    "INSERT INTO webhook_stretch (webhook, dead, after_id, through_id, "
                    "attempts, failing_ms, due_ms, problem) VALUES (:hook, 1, :after, "
                    ":through, :attempts, :failing_ms, 0, :problem)",
                    **dead,
                )


def _webhook(row: Row) -> Webhook:
    kinds = frozenset(Kind(name) for name in row[3].split(",") if name)
    purpose = None if row[10] is None else Purpose(row[10])
    named = (*row[:3], kinds, *row[4:6], bool(row[6]), *row[7:10], purpose)
    return Webhook(*named)


def _stretch(row: Row) -> Stretch:
    return Stretch(row[0], row[1], bool(row[2]), *row[3:])

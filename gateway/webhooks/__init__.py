"""Whom to tell of readings, and how far each of them has been told.

What is told lies in the store already, so nothing is queued here: a webhook has a
place in the order of arrival, and what could not be told in time is a stretch of that
order, kept as a dead letter. One that is about patients has a place in the order of
revisions as well, so that what fails of one does not hold up the other. A gateway takes
a stretch for a while before it works on it; no other one touches it, or another of that
webhook's, until it is given back or the while is over. So a reading that was told is
never told after a revision of it by what was known before.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping

from gateway import revision
from gateway.store import marks
from gateway.store.database import Change, Database, Row, Scalar
from gateway.webhooks.rows import (
    FROM,
    STRETCH,
    WEBHOOK,
    Fare,
    Order,
    Stretch,
    Taken,
    Webhook,
    stretch_of,
    webhook_of,
)
from gateway.webhooks.signature import draw_secret

__all__ = ["Fare", "Order", "Stretch", "Taken", "Webhook", "Webhooks"]

_DUE = """dead = 0 AND due_ms <= :now_ms AND (
    through_id IS NOT NULL
    OR after_id < CASE about WHEN 'readings' THEN :readings ELSE :revisions END
) AND NOT EXISTS (
    SELECT 1 FROM stretch o WHERE o.webhook = stretch.webhook
    AND o.leased_until_ms >= :now_ms
)"""
_LOCK = "UPDATE webhook SET whole = whole WHERE id = :id"
_PARTS = (("subscription", "webhook"), ("stretch", "webhook"), ("webhook", "id"))


class Webhooks:
    """Keeps webhooks and their stretches. Safe for any thread and any gateway.

    Args:
        database: Where they are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, change: Change, hook: Webhook, last: int) -> tuple[Webhook, str]:
        """Keep a new webhook, which is told of what comes and is revised from now on.

        Args:
            change: The transaction.
            hook: Whose id is not looked at.
            last: The id of the reading that arrived last.

        Returns:
            It with its id, and its secret: show it once.
        """
        secret = draw_secret()
        # Before it gets its id, so that these are in order of commit as well.
        revised = revision.hold(change)
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
        places = {Order.READINGS: last}
        if hook.patient is not None or hook.programme is not None:
            places[Order.REVISIONS] = revised
        for about, place in places.items():
            change.rows(
                "INSERT INTO stretch (webhook, about, after_id, due_ms) "
                "VALUES (:number, :about, :place, :now_ms)",
                number=number,
                about=about.value,
                place=place,
                now_ms=hook.created_ms,
            )
        found = change.rows(
            f"SELECT {WEBHOOK} {FROM} WHERE w.id = :number",
            number=number,
        )
        return webhook_of(found[0]), secret

    def remove(self, change: Change, number: int) -> None:
        """Forget a webhook, all that it is yet to be told, and the FHIR part of it."""
        change.rows(_LOCK, id=number)  # in the order in which `take` waits
        for table, column in _PARTS:
            change.rows(
                f"DELETE FROM {table} WHERE {column} = :number",  # noqa: S608
                number=number,
            )

    def webhooks(self, tenant: str, after: int, limit: int) -> list[Webhook]:
        """Return at most ``limit`` webhooks behind ``after``, in order of id.

        Args:
            tenant: Whose; empty is every tenant's.
            after: The id of the last one seen; 0 is from the beginning.
            limit: How many at most.
        """
        rows = self._database.rows(
            f"SELECT {WEBHOOK} {FROM} WHERE w.id > :after "
            "AND (:tenant = '' OR w.tenant = :tenant) ORDER BY w.id LIMIT :limit",
            tenant=tenant,
            after=after,
            limit=limit,
        )
        return [webhook_of(row) for row in rows]

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
        if not hooks:
            return []
        named, values = marks.listed([*hooks])
        rows = self._database.rows(
            f"SELECT {STRETCH} FROM stretch s WHERE s.webhook IN ({named}) "  # noqa: S608
            "AND s.dead = :dead AND s.id > :after ORDER BY s.id LIMIT :limit",
            dead=int(dead),
            after=after,
            limit=limit,
            **values,
        )
        return [stretch_of(row) for row in rows]

    def fare(self, hooks: Collection[int]) -> dict[int, Fare]:
        """Return how some webhooks fare, by `Webhook.id`."""
        found: dict[int, list[Stretch]] = defaultdict(list)
        for row in marks.among(
            self._database,
            f"SELECT {STRETCH} FROM stretch s WHERE s.webhook IN ({{}}) "  # noqa: S608
            "AND s.dead = 0 AND s.through_id IS NULL ORDER BY s.about",
            hooks,
        ):
            found[row[1]].append(stretch_of(row))
        return {
            hook: Fare(some[0].after, max(some, key=lambda one: one.attempts))
            for hook, some in found.items()
        }

    def replay(self, change: Change, hook: int, number: int, now_ms: int) -> bool:
        """Try a dead letter again; return whether there is such a one."""
        return bool(
            change.rows(
                "UPDATE stretch SET dead = 0, attempts = 0, failing_ms = NULL, "
                "due_ms = :now_ms, problem = '' "
                "WHERE id = :number AND webhook = :hook AND dead = 1 RETURNING id",
                number=number,
                hook=hook,
                now_ms=now_ms,
            )
        )

    def take(
        self,
        holder: str,
        *,
        last: Mapping[Order, int],
        now_ms: int,
        until_ms: int,
        most: int,
    ) -> list[Taken]:
        """Take stretches that are due, so that no other gateway works on them.

        Args:
            holder: Who takes them.
            last: Where each order ends now.
            now_ms: The time, ms since 1970 UTC.
            until_ms: When they are anybody's again.
            most: How many at most.
        """
        ends: dict[str, Scalar] = {"now_ms": now_ms}
        ends |= {about.value: place for about, place in last.items()}
        found = self._database.rows(
            f"SELECT webhook, id FROM stretch WHERE {_DUE} "  # noqa: S608
            "ORDER BY due_ms, id LIMIT :most",
            **ends,
            most=most,
        )
        if not found:
            return []
        # Of each webhook what was due first.
        first: dict[int, int] = {row[0]: row[1] for row in reversed(found)}
        rows: list[Row] = []
        with self._database.change() as change:
            for webhook, number in sorted(first.items()):
                # It waits for whoever takes another of this webhook's.
                change.rows(_LOCK, id=webhook)
                taken = change.rows(
                    "UPDATE stretch SET holder = :holder, "  # noqa: S608
                    "leased_until_ms = :until_ms "
                    f"WHERE id = :number AND {_DUE} RETURNING id",
                    **ends,
                    number=number,
                    holder=holder,
                    until_ms=until_ms,
                )
                if taken:
                    rows += change.rows(
                        f"SELECT w.secret, {WEBHOOK}, {STRETCH} {FROM} "
                        "JOIN stretch s ON s.webhook = w.id WHERE s.id = :number",
                        number=number,
                    )
        return [
            Taken(webhook_of(row[1:12]), row[0], stretch_of(row[12:])) for row in rows
        ]

    def begin(
        self,
        change: Change,
        holder: str,
        number: int,
        *,
        reached: int,
        now_ms: int,
        until_ms: int,
    ) -> bool:
        """Fix where the message ends that is about to be sent.

        Args:
            change: The transaction.
            holder: Who took the stretch.
            number: The stretch.
            reached: The id of the last one that the message looked at.
            now_ms: The time, ms since 1970 UTC.
            until_ms: When the stretch is anybody's again.

        Returns:
            Whether it is still the holder's; if not, nothing may be sent. Once the
            while is over another stretch of this webhook may have been told, even if
            nobody took this one.
        """
        return bool(
            change.rows(
                "UPDATE stretch SET reached_id = :reached, "
                "leased_until_ms = :until_ms "
                "WHERE id = :number AND holder = :holder "
                "AND leased_until_ms >= :now_ms RETURNING id",
                number=number,
                holder=holder,
                now_ms=now_ms,
                reached=reached,
                until_ms=until_ms,
            )
        )

    def told(
        self, holder: str, stretch: Stretch, reached: int, *, now_ms: int, on: bool
    ) -> bool:
        """Note that all up to ``reached`` was told.

        It was, though the while may be over: only that another took this very stretch
        makes it not noted.

        Args:
            holder: Who took the stretch.
            stretch: It.
            reached: The id of the last one that the message looked at.
            now_ms: The time, ms since 1970 UTC.
            on: Whether the holder goes on with the rest, and keeps it.

        Returns:
            Whether there is a rest, and it is still the holder's.
        """
        held: dict[str, Scalar] = {"number": stretch.id, "holder": holder}
        with self._database.change() as change:
            if stretch.through is not None and reached >= stretch.through:
                change.rows(
                    "DELETE FROM stretch WHERE id = :number AND holder = :holder",
                    **held,
                )
                return False
            # Whatever else of this webhook is due has its turn before the rest.
            freed = ", holder = '', leased_until_ms = 0, due_ms = :now_ms"
            kept = change.rows(
                "UPDATE stretch SET after_id = :reached, reached_id = NULL, "  # noqa: S608
                f"attempts = 0, failing_ms = NULL, problem = '' {'' if on else freed} "
                "WHERE id = :number AND holder = :holder RETURNING id",
                **held,
                reached=reached,
                now_ms=now_ms,
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
                "UPDATE stretch SET attempts = attempts + 1, "
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
        """Make a dead letter of what a stretch holds up to an id.

        Args:
            holder: Who took the stretch; it stays theirs.
            stretch: It.
            through: The id of the last one given up on.
            problem: What was wrong the last time.
        """
        with self._database.change() as change:
            if stretch.through is not None and through >= stretch.through:
                change.rows(
                    "UPDATE stretch SET dead = 1, reached_id = NULL "
                    "WHERE id = :number AND holder = :holder",
                    number=stretch.id,
                    holder=holder,
                )
                return
            kept = change.rows(
                "UPDATE stretch SET after_id = :through, reached_id = NULL "
                "WHERE id = :number AND holder = :holder RETURNING webhook",
                number=stretch.id,
                holder=holder,
                through=through,
            )
            if not kept:
                return
            dead: dict[str, Scalar] = {
                "hook": stretch.webhook,
                "about": stretch.about.value,
                "after": stretch.after,
                "through": through,
                "attempts": stretch.attempts + 1,
                "failing_ms": stretch.failing_ms,
                "problem": problem,
            }
            # What died just before it is one dead letter with it.
            longer = change.rows(
                "UPDATE stretch SET through_id = :through, "
                "attempts = :attempts, problem = :problem, "
                "failing_ms = coalesce(failing_ms, :failing_ms) WHERE webhook = :hook "
                "AND about = :about AND dead = 1 AND through_id = :after RETURNING id",
                **dead,
            )
            if not longer:
                change.rows(
                    "INSERT INTO stretch (webhook, about, dead, after_id, through_id, "
                    "attempts, failing_ms, due_ms, problem) VALUES (:hook, :about, 1, "
                    ":after, :through, :attempts, :failing_ms, 0, :problem)",
                    **dead,
                )

"""What a webhook is told: the readings that it may be told of now."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from gateway import normalise
from gateway.access import Access, Principal, Role
from gateway.registry import Registry
from gateway.store import Filter, Store, Stored
from gateway.webhooks import Stretch, Webhook

_LOOK = 1_000


@dataclass(frozen=True, slots=True)
class Message:
    """A part of the order of arrival, and what of it a webhook is told.

    Attributes:
        told: The readings, in order of arrival; empty is nothing to send.
        patients: Whose each is, by `Patient.id`; None is not said.
        reached: The id of the last reading that was looked at.
    """

    told: Sequence[Stored]
    patients: Sequence[int | None]
    reached: int

    def shown(self, hook: Webhook) -> list[normalise.Served]:
        """Return the readings as the message holds them."""
        whole = normalise.reading
        if not (named := principal(hook).sees_names):
            whole = normalise.unnamed
        return [
            (whole(one) if hook.whole else _short(one, named=named))
            | ({} if patient is None else {"patient": str(patient)})
            for one, patient in zip(self.told, self.patients, strict=True)
        ]


def principal(hook: Webhook) -> Principal:
    """Return as whom a webhook reads: a programme, the steward or the operator."""
    if hook.programme is not None:
        role = Role.READER
    else:
        role = Role.OPERATOR if hook.patient is None else Role.STEWARD
    name = f"webhook {hook.id}"
    return Principal(
        0, hook.tenant, name, frozenset({role}), hook.programme, hook.purpose
    )


class Composer:
    """Finds what follows in a stretch.

    Args:
        store: Where the readings are.
        registry: Whose they are.
        access: Who may see them.
        most: How many readings one message holds at most.
    """

    def __init__(
        self, store: Store, registry: Registry, access: Access, most: int = 100
    ) -> None:
        self._store, self._registry, self._access = store, registry, access
        self._most = most

    def next(self, hook: Webhook, stretch: Stretch) -> Message:
        """Return the message that follows in a stretch."""
        last = self._store.last()
        which = Filter(tenant=hook.tenant or None)
        everything = not hook.kinds and hook.patient is None and hook.programme is None
        look = self._most if everything else _LOOK
        rows = self._store.readings(which, stretch.after, look)
        if len(rows) == look:
            reached = rows[-1].id
        else:  # one may have come since the first line
            reached = max(last, stretch.after, *(row.id for row in rows[-1:]))
        ends = [end for end in (stretch.reached, stretch.through) if end is not None]
        if ends and min(ends) < reached:
            reached = min(ends)
            rows = [row for row in rows if row.id <= reached]
        told = self._allowed(hook, rows)
        if len(told) > self._most:
            told = told[: self._most]
            reached = told[-1][0].id
        stored, patients = [one for one, _ in told], [whose for _, whose in told]
        return Message(stored, patients, reached)

    def expired(self, hook: Webhook, stretch: Stretch, before_ms: int) -> int | None:
        """Return the last reading of a stretch that came up to a time; None if none."""
        which, place = Filter(tenant=hook.tenant or None), stretch.after
        found = None
        while rows := self._store.readings(which, place, _LOOK):
            for row in rows:
                beyond = stretch.through is not None and row.id > stretch.through
                if beyond or row.received_ms > before_ms:
                    return found
                found = place = row.id
        return found if stretch.through is None else stretch.through

    def _allowed(
        self, hook: Webhook, rows: Sequence[Stored]
    ) -> list[tuple[Stored, int | None]]:
        of_kind = [
            row
            for row in rows
            if not hook.kinds or row.reading.observation.kind in hook.kinds
        ]
        if hook.programme is None and hook.patient is None:
            return [(row, None) for row in of_kind]
        theirs: dict[int, list[Stored]] = defaultdict(list)
        for row, whose in zip(of_kind, self._registry.whose(of_kind), strict=True):
            if whose is not None and hook.patient in {None, whose}:
                theirs[whose].append(row)
        who, now_ms = principal(hook), self._access.now_ms()
        told: list[tuple[Stored, int | None]] = [
            (row, whose)
            for whose, some in theirs.items()
            for row in self._access.seen(who, whose, some, now_ms)
        ]
        return sorted(told, key=lambda pair: pair[0].id)


def _short(stored: Stored, *, named: bool) -> normalise.Served:
    return {
        "id": str(stored.id),
        "device": stored.reading.device.id if named else str(stored.device),
        "kind": stored.reading.observation.kind.value,
    }

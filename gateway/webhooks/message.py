"""What a webhook is told: the readings, and revisions, that it may be told of now."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol, TypeVar

from gateway import normalise, people
from gateway.access import Access, Grant, Principal, Role
from gateway.registry import OPEN_MS, Registry
from gateway.revision import Revision, Revisions
from gateway.store import Filter, Store, Stored
from gateway.webhooks import Order, Stretch, Webhook
from protocols.observation import Kind

_LOOK = 1_000
_TYPES = {Order.READINGS: "readings.stored", Order.REVISIONS: "readings.revised"}


class Item(NamedTuple):
    """One thing that a webhook is told.

    Attributes:
        id: Its place in the order.
        patient: Whom about, by `Patient.id`; None is not said.
        shown: As the message holds it.
    """

    id: int
    patient: int | None
    shown: normalise.Served


@dataclass(frozen=True, slots=True)
class Message:
    """A part of an order, and what of it a webhook is told.

    Attributes:
        about: Which order.
        told: In that order; empty is nothing to send.
        reached: The id of the last one that was looked at.
    """

    about: Order
    told: Sequence[Item]
    reached: int

    @property
    def type(self) -> str:
        """What the receiver knows it by."""
        return _TYPES[self.about]

    @property
    def data(self) -> normalise.Served:
        """What it holds."""
        return {self.about.value: [one.shown for one in self.told]}


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
        most: How many readings, or revisions, one message holds at most.
    """

    def __init__(
        self, store: Store, registry: Registry, access: Access, most: int = 100
    ) -> None:
        self._sources: dict[Order, _Source[Any]] = {
            Order.READINGS: _Arrived(store, registry, access),
            Order.REVISIONS: _Revised(store, access),
        }
        self._most = most

    def last(self) -> dict[Order, int]:
        """Return where each order ends now."""
        return {about: source.last() for about, source in self._sources.items()}

    def next(self, hook: Webhook, stretch: Stretch) -> Message:
        """Return the message that follows in a stretch."""
        source = self._sources[stretch.about]
        last = source.last()
        everything = not hook.kinds and hook.patient is None and hook.programme is None
        look = self._most if everything else _LOOK
        rows = source.rows(hook, stretch.after, look)
        if len(rows) == look:
            reached = rows[-1].id
        else:  # one may have come since the first line
            reached = max(last, stretch.after, *(row.id for row in rows[-1:]))
        ends = [end for end in (stretch.reached, stretch.through) if end is not None]
        if ends and min(ends) < reached:
            reached = min(ends)
            rows = [row for row in rows if row.id <= reached]
        told = source.allowed(hook, rows)
        if len(told) > self._most:
            told = told[: self._most]
            reached = told[-1].id
        return Message(stretch.about, told, reached)

    def expired(self, hook: Webhook, stretch: Stretch, before_ms: int) -> int | None:
        """Return the last id of a stretch that came up to a time; None if none did."""
        source, place = self._sources[stretch.about], stretch.after
        found = None
        while rows := source.rows(hook, place, _LOOK):
            for row in rows:
                beyond = stretch.through is not None and row.id > stretch.through
                if beyond or source.came_ms(row) > before_ms:
                    return found
                found = place = row.id
        return found if stretch.through is None else stretch.through


class _Row(Protocol):
    @property
    def id(self) -> int: ...


_R = TypeVar("_R", bound=_Row)


class _Source(Protocol[_R]):
    """What is told in one order."""

    def last(self) -> int:
        """Return where the order ends now."""
        ...

    def rows(self, hook: Webhook, after: int, limit: int) -> list[_R]:
        """Return at most ``limit`` of those that may be for a webhook."""
        ...

    def came_ms(self, row: _R) -> int:
        """Return when one came, ms since 1970 UTC."""
        ...

    def allowed(self, hook: Webhook, rows: Sequence[_R]) -> list[Item]:
        """Return those that a webhook may be told of now."""
        ...


class _Arrived:
    """Readings, in order of arrival."""

    def __init__(self, store: Store, registry: Registry, access: Access) -> None:
        self._store, self._registry, self._access = store, registry, access

    def last(self) -> int:
        return self._store.last()

    def rows(self, hook: Webhook, after: int, limit: int) -> list[Stored]:
        return self._store.readings(Filter(tenant=hook.tenant or None), after, limit)

    def came_ms(self, row: Stored) -> int:
        return row.received_ms

    def allowed(self, hook: Webhook, rows: Sequence[Stored]) -> list[Item]:
        of_kind = [
            row
            for row in rows
            if not hook.kinds or row.reading.observation.kind in hook.kinds
        ]
        if hook.programme is None and hook.patient is None:
            return [_item(hook, row, None) for row in of_kind]
        theirs: dict[int, list[Stored]] = defaultdict(list)
        for row, whose in zip(of_kind, self._registry.whose(of_kind), strict=True):
            if whose is not None and hook.patient in {None, whose}:
                theirs[whose].append(row)
        who, now_ms = principal(hook), self._access.now_ms()
        told = [
            _item(hook, row, whose)
            for whose, some in theirs.items()
            for row in self._access.seen(who, whose, some, now_ms)
        ]
        return sorted(told, key=lambda one: one.id)


class _Revised:
    """Revisions, in the order in which they were made."""

    def __init__(self, store: Store, access: Access) -> None:
        self._store, self._access = store, access
        self._revisions = Revisions(store.database)

    def last(self) -> int:
        return self._revisions.last()

    def rows(self, hook: Webhook, after: int, limit: int) -> list[Revision]:
        return self._revisions.listed(
            after, limit, tenant=hook.tenant, patient=hook.patient or 0
        )

    def came_ms(self, row: Revision) -> int:
        return row.made_ms

    def allowed(self, hook: Webhook, rows: Sequence[Revision]) -> list[Item]:
        who, now_ms = principal(hook), self._access.now_ms()
        grants = {
            patient: self._access.granted(who, patient, now_ms)
            for patient in {row.patient for row in rows}
        }
        told = ((row, self._seen(hook, row, grants[row.patient])) for row in rows)
        return [
            Item(row.id, row.patient, people.revision(seen))
            for row, seen in told
            if seen is not None
        ]

    def _seen(
        self, hook: Webhook, row: Revision, grants: Sequence[Grant]
    ) -> Revision | None:
        """Return what of a revision is about readings that a webhook may see."""
        if not grants:
            return None
        kinds = self._kinds(row)
        # A kind that is not known any more may be one that somebody may not see.
        unknown = row.reading is not None and row.kind is None
        if unknown and hook.kinds:
            return None
        if hook.kinds:
            kinds &= hook.kinds
        # From ever and without end, a single reading has no true time.
        timeless = row.reading is not None and row.until_ms == OPEN_MS
        spans = [
            (
                row.from_ms if one.from_ms is None else max(row.from_ms, one.from_ms),
                row.until_ms
                if one.until_ms is None
                else min(row.until_ms, one.until_ms),
            )
            for one in grants
            if (kinds if one.kinds is None else kinds & one.kinds)
            and not (unknown and one.kinds is not None)
            and not (timeless and (one.from_ms, one.until_ms) != (None, None))
        ]
        spans = [(since, until) for since, until in spans if since < until]
        if not spans:
            return None
        return replace(
            row,
            from_ms=min(since for since, _ in spans),
            until_ms=max(until for _, until in spans),
        )

    def _kinds(self, row: Revision) -> frozenset[Kind]:
        """Return the kinds of readings that a revision may be about.

        That somebody has a device is news of them too, so one that never told a kind
        that they agreed to is not spoken of.
        """
        if row.kind is not None:
            return frozenset({row.kind})
        if row.device is not None:
            devices = self._store.devices(row.device - 1, 1)
            tallies = [one.tallies for one in devices if one.id == row.device]
            return frozenset(tally.kind for some in tallies for tally in some)
        return frozenset(Kind)


def _item(hook: Webhook, stored: Stored, patient: int | None) -> Item:
    """Return a reading as a webhook is told it."""
    named = principal(hook).sees_names
    if hook.whole:
        shown = normalise.reading(stored) if named else normalise.unnamed(stored)
    else:
        shown = {
            "id": str(stored.id),
            "device": stored.reading.device.id if named else str(stored.device),
            "kind": stored.reading.observation.kind.value,
        }
    return Item(
        stored.id,
        patient,
        shown | ({} if patient is None else {"patient": str(patient)}),
    )

"""Readings of devices in order of true time, whatever device or slot they are of."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from heapq import merge
from itertools import islice
from typing import Any

from gateway.store import Span, Stored
from gateway.store.database import Database
from gateway.store.rows import KIND_NUMBERS
from gateway.store.whole import Whole, listed
from protocols.observation import Kind

_FEW = 64  # spans, for which one statement is planned in no time
_ORDER = "ORDER BY r.utc_ms, r.id LIMIT :limit"

Moment = tuple[int, int]
"""Of a reading: its true time, its id."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """Which readings of a span, whichever it is."""

    kinds: Collection[Kind] | None
    after: Moment | None
    limit: int

    def of(self, span: Span, own: str = "") -> tuple[list[str], dict[str, Any]]:
        """Return what is asked of a row of a span, and the values for its marks.

        Args:
            span: Which.
            own: What the marks of the span end with, where others are beside it.
        """
        where, values = _of(span, self.kinds, own)
        if self.after is not None:
            where.append("(r.utc_ms, r.id) > (:utc, :id)")
            values["utc"], values["id"] = self.after
        return where, values


class Timed:
    """Finds readings within spans.

    Args:
        database: The store's.
        whole: Of the same.
    """

    def __init__(self, database: Database, whole: Whole) -> None:
        self._database, self._whole = database, whole

    def first(
        self,
        spans: Sequence[Span],
        kinds: Collection[Kind] | None,
        after: Moment | None,
        limit: int,
    ) -> tuple[list[Stored], Moment | None]:
        """Return the first readings of spans behind one, as `Store.of_device` says.

        Returns:
            The readings, less those that were taken away meanwhile; and the moment of
            the last one looked at, None if there are no more.
        """
        asked = _Asked(kinds, after, limit)
        is_served = self._database.engine == "postgres" and len(spans) <= _FEW
        return (
            self._at_once(spans, asked) if is_served else self._by_moments(spans, asked)
        )

    def _at_once(
        self, spans: Sequence[Span], asked: _Asked
    ) -> tuple[list[Stored], Moment | None]:
        """Ask a server once, which takes longer than to find the first of all spans."""
        values: dict[str, Any] = {"limit": asked.limit}
        parts = []
        for at, span in enumerate(spans):
            where, own = asked.of(span, f"_{at}")
            values |= own
            parts.append(
                f"(SELECT * FROM reading r WHERE {' AND '.join(where)} {_ORDER})"  # noqa: S608
            )
        return self._whole.first(" UNION ALL ".join(parts), _ORDER, values)

    def _by_moments(
        self, spans: Sequence[Span], asked: _Asked
    ) -> tuple[list[Stored], Moment | None]:
        """Ask for moments first, and only for rows that are told."""
        of_spans = [self._moments(span, at, asked) for at, span in enumerate(spans)]
        some = [*islice(merge(*of_spans), asked.limit)]
        within: dict[int, list[Moment]] = defaultdict(list)
        for utc_ms, number, at in some:
            within[at].append((utc_ms, number))
        whole = self._whole.within(
            _narrowed(spans[at], asked.kinds, own) for at, own in within.items()
        )
        stored = {one.id: one for one in whole}
        found = [stored[number] for _, number, _ in some if number in stored]
        return found, some[-1][:2] if len(some) == asked.limit else None

    def _moments(
        self, span: Span, at: int, asked: _Asked
    ) -> list[tuple[int, int, int]]:
        """Return true times and ids of the first readings of the span ``at``."""
        where, values = asked.of(span)
        query = (
            f"SELECT r.utc_ms, r.id FROM reading r WHERE {' AND '.join(where)} "  # noqa: S608
            f"{_ORDER}"
        )
        found = self._database.rows(query, limit=asked.limit, **values)
        return [(row[0], row[1], at) for row in found]


def _of(
    span: Span, kinds: Collection[Kind] | None, own: str = ""
) -> tuple[list[str], dict[str, Any]]:
    """Return what a span asks of a row, and the values for its marks.

    Args:
        span: Which.
        kinds: None is every kind.
        own: What its marks end with, where there are others beside it.
    """
    where = [
        f"r.device = :device{own}",
        f"r.utc_ms >= :from{own}",
        f"r.utc_ms < :until{own}",
    ]
    values = {
        f"device{own}": span.device,
        f"from{own}": span.from_ms,
        f"until{own}": span.until_ms,
    }
    if span.slot is not None:
        where.append(f"r.slot = :slot{own}")
        values[f"slot{own}"] = span.slot
    if kinds is not None:
        numbers = sorted(KIND_NUMBERS[kind] for kind in kinds)
        where.append(f"r.kind IN ({listed(numbers)})")
    return where, values


def _narrowed(
    span: Span, kinds: Collection[Kind] | None, found: Sequence[tuple[int, int]]
) -> tuple[list[str], dict[str, Any]]:
    """Return what leads from times and ids found in a span to their rows, or few more.

    By device and time, as they were found, is the shortest way. The ids leave out most
    others of the same times, as of a clock that stands; + hides the index on them.
    """
    times, ids = zip(*found, strict=True)
    where, values = _of(span, kinds)
    values |= {"from": min(times), "until": max(times) + 1}
    values |= {"first": min(ids), "last": max(ids)}
    return [*where, "+r.id BETWEEN :first AND :last"], values

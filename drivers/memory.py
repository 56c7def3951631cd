"""Telling a memory's records from one another, and from what an earlier visit told."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import TypeVar

from protocols.observation import POSITION, Observation, is_undated, is_unset

_E = TypeVar("_E")

USER_BITS = 31  # of a `Checkpoint` that holds a mark for each of two users


def mark_of(newest: Sequence[bytes], count: int = 0, *, bits: int = 56) -> int:
    """Return a mark by which the next visit knows the newest records again.

    Several records, for one time may come twice when a clock is set back.

    Args:
        newest: What tells each of the newest records from others, in the order of
            the walk; 1 to 7 records.
        count: How many records there are, up to 65,535, where the very same may come
            again, as without a date; 0 is not to be minded.
        bits: How many are kept, 3 fewer than the mark has; fewer make room for more
            than one in a `Checkpoint`.
    """
    counted = count.to_bytes(2, "big") if count else b""
    digest = blake2b(b"".join([*newest, counted]), digest_size=7).digest()
    return int.from_bytes(digest, "big") >> 56 - bits << 3 | len(newest)


def marked(mark: int | None) -> int:
    """Return how many records a mark of `mark_of` stands for; 0 for none."""
    return 0 if mark is None else mark & 7


def ends_with(
    walked: Sequence[bytes], mark: int | None, *counts: int, bits: int = 56
) -> bool:
    """Whether a walk has come to the records that ``mark`` stands for.

    Args:
        walked: What tells each record from others, of the last few at least.
        mark: That of the last visit; None at the first one.
        counts: How many records there may have been at that visit, where it counted
            them; a full memory counts no further.
        bits: As for `mark_of`.
    """
    size = marked(mark)
    return size > 0 and any(
        mark_of(walked[-size:], count, bits=bits) == mark for count in counts or (0,)
    )


def of_user(marks: int, user: int) -> int:
    """Return the mark of one user, 0 or 1, of those that a checkpoint holds."""
    return marks >> user * USER_BITS & (1 << USER_BITS) - 1


def with_user(marks: int, user: int, mark: int) -> int:
    """Return the marks with that of one user, 0 or 1, in place of what it was."""
    return marks ^ (of_user(marks, user) ^ mark) << user * USER_BITS


def apart(events: Iterable[_E], *, undated_again: bool = True) -> Iterator[_E]:
    """Yield events, the observations told apart that else were the same reading.

    A device that keeps neither a number nor seconds may hold two of one minute
    and one value. They get their `POSITION`, which the next visit finds again.

    Args:
        events: Among them observations without a sequence number, oldest first,
            from the start of the memory or at least of their minute.
        undated_again: Those without a date are told at each visit too, from the start
            of the memory; False for a driver that tells them ``undated_once``.
    """
    counts: Counter[object] = Counter()
    for event in events:
        if not isinstance(event, Observation):
            yield event
            continue
        facts = event.kind, event.slot, event.device_time, event.values
        counts[facts] += 1
        if undated_again if is_undated(event) else counts[facts] > 1:
            yield replace(event, context=_placed(event, str(counts[facts])))
        else:
            yield event


class Retold:
    """Places what a memory may tell again though its driver is ``once_only``.

    Without a number and a set clock it is known again by how manyth it is of those
    that are alike; with one, by that.

    Args:
        since: What its place is counted from, as the mark of the visit; empty for the
            start of the memory.
    """

    def __init__(self, since: str = "") -> None:
        self._since = since
        self._counts: Counter[object] = Counter()

    def place(self, event: _E) -> _E:
        """Return an event; an observation, with its place where it needs one."""
        if not isinstance(event, Observation) or not is_unset(event):
            return event
        facts = event.kind, event.slot, event.device_time, event.values
        self._counts[facts] += 1
        position = f"{self._since}{self._counts[facts]}"
        return replace(event, context=_placed(event, position))


def _placed(seen: Observation, position: str) -> tuple[tuple[str, str], ...]:
    """Return an observation's context with its position."""
    return tuple(sorted([*seen.context, (POSITION, position)]))

"""Telling a memory's records from one another, and from what an earlier visit told."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Self, TypeVar

from protocols.observation import POSITION, Observation, is_undated, is_unset

_E = TypeVar("_E")

USER_BITS = 31  # of a `Checkpoint` that holds a mark for each of two users
_FILLING_BITS = 12  # of one user's; 5 of them fit into a `Checkpoint`
_GONE = 1 << 62  # of a `Checkpoint` of `undated_once`: a record of before is not there
_HEAD_BITS, _TAIL_BITS = 20, 26  # likewise, of what its first and last records are
_ENDS = 4  # records at either end, by which the next visit knows a memory
_SLOT_BITS, _NUMBER_BITS, _STAMP_BITS = 9, 17, 24  # of a `RecordMark`
_RETELLS = 1 << 62  # likewise; earlier versions did not set it


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What the next visit is to know; what was yielded before is written with it.

    Attributes:
        mark: The driver's own number, 0 to 2^63 - 1.
    """

    mark: int


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
    return _digest([*newest, counted], bits) << 3 | len(newest)


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


def of_user(marks: int, user: int, *, bits: int = USER_BITS) -> int:
    """Return the mark of one user, from 0, of those that a checkpoint holds."""
    return marks >> user * bits & (1 << bits) - 1


def with_user(marks: int, user: int, mark: int, *, bits: int = USER_BITS) -> int:
    """Return the marks with that of one user, from 0, in place of what it was."""
    return marks ^ (of_user(marks, user, bits=bits) ^ mark) << user * bits


def filling_now(filling: int, *, is_empty: bool) -> int:
    """Return which filling of its memory a device is at, to go into the next mark.

    A record that only its place tells from others looks, behind an erasure, like the
    one that had this place before. So it is told with its filling, and what is stored
    behind a visit that found nothing is of another one.

    Args:
        filling: That of the last mark; 0 without one.
        is_empty: The device itself says that nothing is stored, as no refusal does and
            no silence; else there is a record.

    Returns:
        0 to 4095; odd where it is empty, so that it stays what it is until it is not.
    """
    return (filling | 1 if is_empty else filling + 1 & ~1) % (1 << _FILLING_BITS)


def fillings_now(mark: int, users: Iterable[Sequence[object]]) -> int:
    """Return the same of each user's memory, in one mark.

    Args:
        mark: That of the last visit; 0 at the first one.
        users: What each user's memory holds, by the device's own word; 5 at most.
    """
    for user, records in enumerate(users):
        now = filling_now(filling_of(mark, user), is_empty=not records)
        mark = with_user(mark, user, now, bits=_FILLING_BITS)
    return mark


def filling_of(mark: int, user: int) -> int:
    """Return which filling one user's memory is at, of what `fillings_now` gave."""
    return of_user(mark, user, bits=_FILLING_BITS)


def apart(
    events: Iterable[_E], *, undated_again: bool = True, filling: int = 0
) -> Iterator[_E]:
    """Yield events, the observations told apart that else were the same reading.

    A device that keeps neither a number nor seconds may hold two of one minute
    and one value. They get their `POSITION`, which the next visit finds again.

    Args:
        events: Among them observations without a sequence number, oldest first,
            from the start of the memory or at least of their minute.
        undated_again: Those without a date are told at each visit too, from the start
            of the memory; False for a driver that tells them ``undated_once``.
        filling: Of the memory; even, as `filling_now` has it where there are records.
    """
    since = _since(filling)
    counts: Counter[object] = Counter()
    for event in events:
        if not isinstance(event, Observation):
            yield event
            continue
        facts = event.kind, event.slot, event.device_time, event.values
        counts[facts] += 1
        if undated_again if is_undated(event) else counts[facts] > 1:
            yield replace(event, context=_placed(event, f"{since}{counts[facts]}"))
        else:
            yield event


def undated_once(
    mark: int | None, records: Sequence[_E], *, is_whole: bool = True
) -> Iterator[_E | Checkpoint]:
    """Yield what a driver tells that reads all at each visit, and is ``undated_once``.

    As long as all is there that earlier visits have told, places tell equal records
    without a date apart, and each visit tells them by their `POSITION`, as `apart`
    does. Where one is gone, of a full memory or by an erasure, places mean nothing any
    more: from then on only those are told that are new.

    Args:
        mark: That of the last visit; None at the first one.
        records: All that a memory holds, in the order of its places; whether the first
            is the oldest need not be known.
        is_whole: Nothing is missing. Else those without a date wait, for no mark can
            stand over what is missing.
    """
    facts = [_facts(one) for one in records]
    is_gone, left = divmod(mark or 0, _GONE)
    told = _told(facts, left)
    is_gone = is_gone or len(told) < left >> _HEAD_BITS + _TAIL_BITS
    for place, one in enumerate(apart(records, undated_again=not is_gone)):
        waits = not is_whole or (is_gone and place in told)
        if not (waits and isinstance(one, Observation) and is_undated(one)):
            yield one
    if is_whole:
        yield Checkpoint(_GONE * is_gone | _left(facts))


def _left(facts: list[bytes]) -> int:
    """Return what a memory is known by: its count, and both its ends."""
    head = _digest(facts[:_ENDS], _HEAD_BITS)
    tail = _digest(facts[-_ENDS:], _TAIL_BITS)
    return (len(facts) << _HEAD_BITS | head) << _TAIL_BITS | tail if facts else 0


def _told(facts: list[bytes], left: int) -> range:
    """Return at which places stands what the last visit told, by what it `_left`."""
    rest, tail = divmod(left, 1 << _TAIL_BITS)
    count, head = divmod(rest, 1 << _HEAD_BITS)
    size = min(count, _ENDS)
    most = count if count <= len(facts) else 0
    places = range(len(facts))
    for way in (places, places[::-1]):  # a date may tell a driver that it is turned
        walk = [facts[at] for at in way]
        for kept in range(most, max(size, 1) - 1, -1):
            # At which end a memory grows is not known of every device.
            for start in (0, len(walk) - kept):
                known = walk[start : start + kept]
                begins = _digest(known[:size], _HEAD_BITS) == head
                ends = _digest(known[-size:], _TAIL_BITS) == tail
                # A full one has forgotten as much at the other end.
                is_known = kept < count and (begins if start else ends)
                if (begins and ends) or is_known:
                    return way[start : start + kept]
    return range(0)


def _facts(event: object) -> bytes:
    """Return what of a record is the same at each visit, and at any place."""
    if not isinstance(event, Observation):
        return b""  # its bytes may tell its place
    text = f"{event.kind}\n{event.slot} {event.device_time}\n"
    for one in event.values:
        text += f"{one.quantity} {one.unit} {one.number} {one.state:d}\n"
    return text.encode()


def _digest(records: Sequence[bytes], bits: int) -> int:
    digest = blake2b(b"".join(records), digest_size=7).digest()
    return int.from_bytes(digest, "big") >> 56 - bits


class Retold:
    """Places what a memory may tell again though its driver is ``once_only``.

    Without a number and a set clock it is known again by how manyth it is of those
    that are alike; with one, by that.

    Args:
        since: What its place is counted from, as the mark of the visit; empty for the
            start of the memory.
        filling: Of the memory; even, as `filling_now` has it where there are records.
    """

    def __init__(self, since: str = "", filling: int = 0) -> None:
        self._since = since + _since(filling)
        self._counts: Counter[object] = Counter()

    def place(self, event: _E) -> _E:
        """Return an event; an observation, with its place where it needs one."""
        if not isinstance(event, Observation) or not is_unset(event):
            return event
        facts = event.kind, event.slot, event.device_time, event.values
        self._counts[facts] += 1
        position = f"{self._since}{self._counts[facts]}"
        return replace(event, context=_placed(event, position))


@dataclass(frozen=True, slots=True)
class RecordMark:
    """What is known of a memory of numbered records from one visit to the next.

    Attributes:
        newest: The number of the newest record that came; None if none is known.
        user: Our user in the device, 0 to 255; None if we have none.
        stamp: What tells that record from another of its number, 24 bits; 0 if nothing
            does.
        filling: Of the memory, as `filling_now` has it; None if the device is not known
            to have one that it tells again.
    """

    newest: int | None = None
    user: int | None = None
    stamp: int = 0
    filling: int | None = None

    @classmethod
    def of(cls, packed: int) -> Self:
        """Read a checkpoint's mark."""
        rest, user = divmod(packed % _RETELLS, 1 << _SLOT_BITS)
        rest, newest = divmod(rest, 1 << _NUMBER_BITS)
        filling, stamp = divmod(rest, 1 << _STAMP_BITS)
        return cls(
            newest - 1 if newest else None,
            user - 1 if user else None,
            stamp,
            filling if packed >= _RETELLS else None,
        )

    @property
    def packed(self) -> int:
        """A checkpoint's mark."""
        newest = 0 if self.newest is None else self.newest + 1
        user = 0 if self.user is None else self.user + 1
        packed = (self.filling or 0) << _STAMP_BITS | self.stamp
        packed = (packed << _NUMBER_BITS | newest) << _SLOT_BITS | user
        return packed if self.filling is None else packed | _RETELLS

    def filled(self, *, is_empty: bool) -> Self:
        """Return it behind a record, or behind an answer that there is none."""
        return replace(self, filling=filling_now(self.filling or 0, is_empty=is_empty))

    def memory(self) -> Retold:
        """Return what places the records that are told behind it."""
        start = b""
        if self.newest is not None:
            # With a stamp that record is told again; it has no place.
            start = (self.newest + (self.stamp == 0)).to_bytes(3, "little")[:2]
        return Retold(f"{start.hex()}+", self.filled(is_empty=False).filling or 0)


def _since(filling: int) -> str:
    """Return what a place is counted from; nothing in the first filling."""
    return f"{filling}+" if filling else ""


def _placed(seen: Observation, position: str) -> tuple[tuple[str, str], ...]:
    """Return an observation's context with its position."""
    return tuple(sorted([*seen.context, (POSITION, position)]))

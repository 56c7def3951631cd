"""The download dialogue at a meter that stores, forgets, resets, and loses the link.

What `Download` says it has must be here, at every moment: the link may be gone the
next. The meter below reads and writes the control point's bytes by itself.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from protocols.gatt.racp import Download, Incomplete, decode_answer

_NUMBERS = 1 << 16
_MOST_REQUESTS = 24


@dataclass(frozen=True)
class Record:
    """A stored result: the number that it goes by, and which one it really is."""

    number: int
    result: int


@dataclass
class Meter:
    """A meter's memory, oldest first.

    Attributes:
        capacity: How many records it holds; a new one replaces its oldest.
        stored: What it holds.
        next_number: That of the next record; 0 follows 65535.
        taken: How many results it ever had.
        knows_filter: It can be asked for what is behind a number.
    """

    capacity: int
    stored: list[Record] = field(default_factory=list)
    next_number: int = 0
    taken: int = 0
    knows_filter: bool = True

    def take(self) -> None:
        """Store a result."""
        self.taken += 1
        self.stored.append(Record(self.next_number, self.taken))
        self.next_number = (self.next_number + 1) % _NUMBERS
        del self.stored[: -self.capacity]

    @property
    def is_full(self) -> bool:
        """Whether the next result replaces the oldest."""
        return len(self.stored) == self.capacity

    def reset(self, next_number: int) -> None:
        """Forget all, and begin to count anew."""
        self.stored.clear()
        self.next_number = next_number

    def ask(self, asked: bytes) -> tuple[list[Record], bytes]:
        """Return the records and the indication that answer a request."""
        op, operator = asked[0], asked[1]
        assert op in {1, 4}, "nothing but reports and counts, never a deletion"
        if operator == 3:
            if not self.knows_filter:
                return [], bytes([6, 0, op, 4])
            assert (asked[2], len(asked)) == (1, 5)
            least = asked[3] + 256 * asked[4]
            meant = [record for record in self.stored if record.number >= least]
        else:
            assert len(asked) == 2
            meant = {1: self.stored, 5: self.stored[:1], 6: self.stored[-1:]}[operator]
        if op == 4:
            return [], bytes([5, 0, len(meant) % 256, len(meant) // 256])
        return list(meant), bytes([6, 0, op, 1 if meant else 6])


@dataclass(frozen=True)
class Trouble:
    """What goes wrong at one visit.

    Attributes:
        lost: The notifications that do not come, by their number from 0.
        taken: The requests before which somebody measures, by their number from 0.
        dropped: The number of steps behind which the link is lost; None is never.
        is_full: Somebody measures also where that replaces the oldest record.
    """

    lost: frozenset[int] = frozenset()
    taken: frozenset[int] = frozenset()
    dropped: int | None = None
    is_full: bool = False


class LinkLost(Exception):
    """The link is gone."""


class Visit:
    """One visit; knows at every moment what came and what is said to be here."""

    def __init__(self, meter: Meter, mark: int | None, stamp: int) -> None:
        self.meter = meter
        self.download = Download(mark, stamp)
        self.came: set[Record] = set()

    def steps(self, trouble: Trouble) -> Iterator[bool]:
        """Hold the dialogue; yield at everything that comes, true at a record.

        Raises:
            Incomplete: Not everything came.
            LinkLost: The link is gone.
        """
        notifications = steps = 0
        for request in range(_MOST_REQUESTS):
            if self.download.request is None:
                return
            if request in trouble.taken and (trouble.is_full or not self.meter.is_full):
                self.meter.take()
            records, answer = self.meter.ask(self.download.request.encode())
            for record in [*records, None]:
                if steps == trouble.dropped:
                    raise LinkLost
                steps += 1
                if record is None:
                    self.download.end(decode_answer(answer))
                elif notifications not in trouble.lost:
                    self.came.add(record)
                    self.download.record(record.number, record.result)
                notifications += record is not None
                yield record is not None
        raise AssertionError("it never ends")


TROUBLE = st.builds(
    Trouble,
    st.frozensets(st.integers(0, 40), max_size=12),
    st.frozensets(st.integers(0, 12), max_size=2),
    st.none() | st.integers(0, 40),
    st.booleans(),
)


class Life(RuleBasedStateMachine):
    """Visits to one meter, over its life."""

    def __init__(self) -> None:
        super().__init__()
        self.meter = Meter(capacity=1)
        self.mark: int | None = None
        self.stamp = 0
        self.known: set[Record] = set()

    @initialize(
        capacity=st.integers(1, 12), start=st.sampled_from([0, 1, 300, 65_530, 65_535])
    )
    def begin(self, capacity: int, start: int) -> None:
        """Take a new meter into use."""
        self.meter = Meter(capacity, next_number=start)

    @rule(count=st.integers(1, 6))
    def take(self, count: int) -> None:
        """Measure; the oldest records make room."""
        for _ in range(count):
            self.meter.take()

    @rule(at=st.integers(0, 11))
    def forget(self, at: int) -> None:
        """Lose one record, and leave a gap."""
        if self.meter.stored:
            del self.meter.stored[at % len(self.meter.stored)]

    @rule(start=st.sampled_from([0, 1, 299]), count=st.integers(0, 12))
    def reset(self, start: int, count: int) -> None:
        """Count anew, as with a new battery; measure until the next visit."""
        self.meter.reset(start)
        self.take(count)

    @rule()
    def forget_the_filter(self) -> None:
        """Be one of the many that only know of everything."""
        self.meter.knows_filter = False

    @rule(trouble=TROUBLE)
    def visit(self, trouble: Trouble) -> None:
        """Read what is new; it may be in vain, and is never wrongly complete."""
        before = set(self.meter.stored)
        try:
            self._visit(trouble)
        except (Incomplete, LinkLost):
            return
        assert self.known >= before & set(self.meter.stored)

    @rule()
    @precondition(lambda self: self.meter.stored)
    def visit_undisturbed(self) -> None:
        """Read without trouble: everything is here, and nothing is asked in vain."""
        self._visit(Trouble())
        newest = self.meter.stored[-1]
        assert self.known >= set(self.meter.stored)
        assert (self.mark, self.stamp) == (newest.number, newest.result)

    def _visit(self, trouble: Trouble) -> None:
        """Visit, and write the mark down where a driver does: at a record, at the end.

        It is as if the power failed behind each of these moments.
        """
        visit = Visit(self.meter, self.mark, self.stamp)
        try:
            for is_record in visit.steps(trouble):
                self.known |= visit.came
                if is_record:
                    self._write_down(visit.download)
        finally:
            self.known |= visit.came
        self._write_down(visit.download)

    def _write_down(self, download: Download) -> None:
        if download.mark is not None:
            self.mark, self.stamp = download.mark, download.mark_stamp
            self.nothing_up_to_the_mark_is_missing()

    @invariant()
    def nothing_up_to_the_mark_is_missing(self) -> None:
        """What is behind the mark will never be asked for again."""
        for place, record in enumerate(self.meter.stored):
            if (record.number, record.result) == (self.mark, self.stamp):
                assert self.known >= set(self.meter.stored[: place + 1])


Life.TestCase.settings = settings(
    max_examples=300, stateful_step_count=20, deadline=None, derandomize=True
)
TestLife = Life.TestCase


@pytest.mark.parametrize(
    ("count", "lost", "taken"), [(2, {1}, 2), (3, {2, 4}, 3), (9, {2, 10}, 3)]
)
def test_a_record_that_made_room_does_not_stand_for_a_lost_one(
    count: int, lost: set[int], taken: int
) -> None:
    """A test taken at a full meter, while it is read, must not hide a lost result."""
    meter = Meter(capacity=count)
    for _ in range(count):
        meter.take()
    before = set(meter.stored)
    visit = Visit(meter, None, 0)

    with suppress(Incomplete):
        list(visit.steps(Trouble(frozenset(lost), frozenset({taken}), is_full=True)))
        assert visit.came >= before & set(meter.stored)


def test_the_mark_of_a_reset_meter_is_never_beyond_what_came() -> None:
    """A mark written down in that moment would leave a result out for ever."""
    meter = Meter(capacity=9, next_number=1)
    meter.take()
    first = Visit(meter, None, 0)
    list(first.steps(Trouble()))
    meter.reset(0)
    for _ in range(3):
        meter.take()
    visit = Visit(meter, first.download.mark, first.download.mark_stamp)

    for _ in visit.steps(Trouble()):
        said = visit.download.mark, visit.download.mark_stamp
        for place, record in enumerate(meter.stored):
            if (record.number, record.result) == said:
                assert visit.came >= set(meter.stored[: place + 1])

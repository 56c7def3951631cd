"""A bounded queue in which no station stands in the way of another.

Each station has a line of its own, and they take turns. One that sends more than its
share while the queue fills is refused: it has to wait for itself, not others for it.
"""

from collections import Counter, OrderedDict, deque
from collections.abc import Hashable, Mapping
from threading import Condition
from time import monotonic
from typing import Generic, TypeVar

T = TypeVar("T")
S = TypeVar("S", bound=Hashable)

_SHARES = 4  # of the room
_LEAST = 16  # batches a station has on its way by default: 8, and 8 urgent ones
_TURN = 2  # items that a station may always have in one take
_ACTIVE_S = 1.0


class FairQueue(Generic[S, T]):
    """Items of many stations, first in, first out for each.

    Args:
        room: How many items it holds.
    """

    def __init__(self, room: int) -> None:
        self._room = room
        self._pressed = room // 2
        self._share = max(_LEAST, room // _SHARES)
        self._changed = Condition()
        self._lines: OrderedDict[S, deque[tuple[float, T]]] = OrderedDict()
        self._count = 0
        self._refused: Counter[S] = Counter()
        self._closed = False
        self._active: set[S] = set()  # of this interval, and of the one before
        self._active_before: set[S] = set()
        self._interval_s = monotonic()

    def __len__(self) -> int:
        return self._count

    def put(self, station: S, item: T) -> bool:
        """Add an item; wait while there is no room.

        Returns:
            Whether it was added. Not if the queue is at least half full and the
            station has its share in it, a quarter; nor when it is closed.
        """
        with self._changed:
            self._active.add(station)
            while self._count >= self._room and not self._closed:
                if self._has_share(station):
                    break
                self._changed.wait()
            if self._closed:
                return False
            if self._count >= self._pressed and self._has_share(station):
                self._refused[station] += 1
                return False
            self._lines.setdefault(station, deque()).append((monotonic(), item))
            self._count += 1
            self._changed.notify_all()
        return True

    def take(
        self, most: int, wait_s: float, had: Mapping[S, int] | None = None
    ) -> list[tuple[S, T]]:
        """Remove and return what is there, the stations in turn.

        No station has more than its part of ``most``, all being equal that sent
        something lately, and one whose share of the room is full has a single item
        as long as it is not alone: a flood then makes nobody's group long.

        Args:
            most: How many items at most.
            wait_s: How long to wait for the first, in s.
            had: What stations have already had of ``most``.

        Returns:
            Items and whose they are, those of one station in their order; empty if
            none came in time.
        """
        taken: list[tuple[S, T]] = []
        served = Counter(had or {})
        most -= served.total()
        with self._changed:
            self._changed.wait_for(lambda: self._count or self._closed, wait_s)
            active = self._count_active()
            each = max(_TURN, (most + served.total()) // active)
            passed: list[tuple[S, deque[tuple[float, T]]]] = []
            while self._lines and len(taken) < most:
                station, line = self._lines.popitem(last=False)
                crowds = len(line) + served[station] >= self._share and active > 1
                if served[station] >= (1 if crowds else each):
                    passed.append((station, line))
                    continue
                served[station] += 1
                taken.append((station, line.popleft()[1]))
                if line:
                    self._lines[station] = line
            self._lines.update(passed)
            self._count -= len(taken)
            if taken:
                self._changed.notify_all()
        return taken

    def oldest_s(self) -> float:
        """Return how long the oldest item has waited, in s; 0 if there is none."""
        with self._changed:
            since = [line[0][0] for line in self._lines.values()]
        return monotonic() - min(since) if since else 0.0

    def refused(self) -> Counter[S]:
        """Return how many items of whom were refused since the last call."""
        with self._changed:
            refused, self._refused = self._refused, Counter()
        return refused

    def close(self) -> None:
        """Wake all who wait; nothing is added any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _has_share(self, station: S) -> bool:
        return len(self._lines.get(station, ())) >= self._share

    def _count_active(self) -> int:
        """Return how many stations sent something lately, at least 1."""
        now_s = monotonic()
        if now_s - self._interval_s > _ACTIVE_S:
            self._interval_s = now_s
            self._active_before, self._active = self._active, set()
        return max(1, *map(len, (self._active, self._active_before, self._lines)))

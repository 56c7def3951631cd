"""Messages in: they are opened beside, committed in groups, and then receipted.

    source ─► fair queue ─► decoded ─► one commit a group ─► receipts ─► acknowledged

A commit that fails is tried again for as long as it takes, and nothing is
acknowledged meanwhile: the broker holds back, and after it the stations.

Where a store takes several groups at once, each station has its lane, and each lane one
commit at a time: what a station sends later is never stored before.

A station that floods is put off: what it sends beyond its share of the queue is
acknowledged to the broker, which would else hold back everybody, and gets no receipt.
No acknowledgement promises anything: the station keeps it, and sends it again.
"""

import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from threading import Event, Thread
from time import monotonic, time_ns

from gateway.commits import Commits, Committed
from gateway.delivery import Message, receipts
from gateway.intake.queue import FairQueue
from gateway.intake.source import Acknowledge, Source
from gateway.metrics import Metrics
from gateway.openers import Openers, Opening
from gateway.store import (
    Accepted,
    Delivery,
    Greeting,
    Outcome,
    Refused,
    Store,
)
from gateway.store.rows import Prepared
from gateway.tracing import Passage, Tracing
from protocols.uplink.receipt import Result
from protocols.uplink.topics import Station, station_of

_GROUP = 64  # messages taken at a time, to be committed together
_AHEAD = 2 * _GROUP  # being opened, or ready, while a group is committed
_AT_ONCE = 16
_LOOK_UP_S = 0.2  # how often a thread that waits looks whether it should stop
_TOLD_S = 10.0  # how often at most a station's flood is logged

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A message in the queue, and how it is acknowledged."""

    message: Message
    acknowledge: Acknowledge
    received_ns: int  # since 1970 UTC


@dataclass(frozen=True, slots=True)
class _Opened:
    """A message and what it brings; times in ns since 1970 UTC."""

    waiting: _Waiting
    delivery: Delivery
    opening_ns: int
    opened_ns: int


@dataclass(frozen=True, slots=True)
class _Committing:
    """A group on its way into the store, and what comes of it."""

    group: list[_Opened]
    done: Future[Committed | None]


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of a group that is being opened, and whose messages it holds."""

    stations: list[Station | None]
    waiting: list[_Waiting]
    opening: Opening


class Ingest:
    """Moves messages from a source into a store.

    Args:
        source: Where messages come from, and receipts go.
        store: Where to commit; only this object may commit to it.
        metrics: What to count in.
        tenant: The only tenant served; empty serves each.
        behind: Whether much may wait already, as for a gateway that was down.
        announce: Called after each commit that brought readings, or amendments.
        tracing: Who is told of each batch's way; None is nobody.
    """

    def __init__(
        self,
        source: Source,
        store: Store,
        metrics: Metrics,
        *,
        tenant: str = "",
        behind: bool = False,
        announce: Callable[[], None] = lambda: None,
        tracing: Tracing | None = None,
    ) -> None:
        self._source, self._metrics = source, metrics
        self._tenant, self._behind = tenant, behind
        self._announce, self._tracing = announce, tracing
        # The source's limit counts also what is being committed: put never waits
        # unless the broker knows no limit, or keeps none, as Mosquitto 2.0.11.
        self._queue = FairQueue[Station | None, _Waiting](source.most + 1)
        self._stopping = Event()
        self._commits = Commits(store, metrics, self._stopping)
        self._worker = Thread(target=self._work, name="ingest", daemon=True)
        self._put_off: Counter[Station | None] = Counter()
        self._told_s = monotonic() - _TOLD_S
        metrics.queue.set_function(self._queue.__len__)
        metrics.queue_age_s.set_function(self._queue.oldest_s)
        metrics.unsent_receipt_s.set_function(source.unsent_s)
        metrics.commit_good.set_function(lambda: self.commit_good)
        metrics.connected.set_function(lambda: source.connected)

    @property
    def connected(self) -> bool:
        """Whether messages can come."""
        return self._source.connected

    @property
    def commit_good(self) -> bool:
        """Whether the last commits went through, and none has been at it for long."""
        return self._commits.good

    @property
    def working(self) -> bool:
        """Whether there is somebody to work the queue off."""
        return self._worker.is_alive()

    def start(self) -> None:
        """Connect, and go on for ever; returns at once."""
        self._commits.start()
        self._worker.start()
        self._source.start(self._take)

    def wait_connected(self, timeout_s: float) -> bool:
        """Wait for the source; return whether it connected before any stop."""
        end_s = monotonic() + timeout_s
        while not self.connected and monotonic() < end_s:
            if self._stopping.wait(0.02):
                break
        return self.connected

    def stop(self) -> None:
        """Finish the group in hand and disconnect; the rest is delivered again."""
        self._stopping.set()
        self._queue.close()
        if self._worker.ident is not None:
            self._worker.join()
            self._commits.close()
            self._source.stop()

    # In the source's thread

    def _take(self, message: Message, acknowledge: Acknowledge) -> None:
        waiting = _Waiting(message, acknowledge, time_ns())
        added = self._queue.put(station_of(message.topic), waiting)
        if not added and not self._stopping.is_set():
            acknowledge()

    # In the worker's thread

    def _work(self) -> None:
        openers = Openers(self._tenant, behind=self._behind)
        ahead: deque[_Part] = deque()
        lanes: list[list[_Opened]] = [[] for _ in range(self._commits.at_once)]
        committing: dict[int, _Committing] = {}
        while not self._stopping.is_set():
            is_full = any(len(group) >= _GROUP for group in lanes)
            parts = [] if is_full else _group(ahead)
            # The next ones are opened while these are waited for, and committed.
            is_idle = not (parts or committing or any(lanes))
            self._open(openers, ahead, _LOOK_UP_S if is_idle else 0.0)
            for part in parts:
                opened = self._opened(openers, part)
                for station, one in zip(part.stations, opened, strict=True):
                    lanes[hash(station) % len(lanes)].append(one)
            free = [
                at for at in range(len(lanes)) if lanes[at] and at not in committing
            ]
            free.sort(key=lambda at: len(lanes[at]), reverse=True)
            # As long as more is ready, only one: it makes the others longer.
            for lane in free[: 1 if parts else None]:
                committing[lane] = self._begin(lanes[lane])
                lanes[lane] = []
            if not parts or len(committing) == len(lanes):
                self._settle(committing)
            self._tell_put_off()
        for each in committing.values():
            self._tell(each)
        openers.close()

    def _open(self, openers: Openers, ahead: deque[_Part], wait_s: float) -> None:
        """Begin to open what waits, up to what ``ahead`` should hold."""
        had = Counter(station for part in ahead for station in part.stations)
        came = self._queue.take(_AHEAD, wait_s, had)
        openers.adapt(len(self._queue) + had.total() + len(came))
        for start in range(0, len(came), _AT_ONCE):
            stations, some = zip(*came[start : start + _AT_ONCE], strict=True)
            opening = openers.open([one.message for one in some])
            ahead.append(_Part([*stations], [*some], opening))

    def _opened(self, openers: Openers, part: _Part) -> list[_Opened]:
        messages = [one.message for one in part.waiting]
        found = openers.result(part.opening, messages)
        for one in found:
            self._metrics.decode_s.observe((one.ended_ns - one.began_ns) / 1e9)
        return [
            _Opened(waiting, *timed)
            for waiting, timed in zip(part.waiting, found, strict=True)
        ]

    def _begin(self, group: list[_Opened]) -> _Committing:
        messages = [one.waiting.message for one in group]
        done = self._commits.begin(messages, [one.delivery for one in group])
        return _Committing(group, done)

    def _settle(self, committing: dict[int, _Committing]) -> None:
        """Wait for the first commit to end, if any is under way, and tell of it."""
        pending = [one.done for one in committing.values()]
        wait(pending, return_when=FIRST_COMPLETED)
        ended = [lane for lane, one in committing.items() if one.done.done()]
        for lane in ended:
            self._tell(committing.pop(lane))

    def _tell(self, committing: _Committing) -> None:
        """Tell everybody what is durable, once it is, the broker last."""
        group, committed = committing.group, committing.done.result()
        if committed is None:
            return
        deliveries, outcomes = committed.deliveries, committed.outcomes
        stored_ms = committed.ended_ns // 1_000_000
        for topic, payload in receipts(deliveries, stored_ms):
            self._source.publish(topic, payload)
        for one in group:
            one.waiting.acknowledge()
        receipted_ns = time_ns()
        if any(outcome.new or outcome.amended for outcome in outcomes):
            self._announce()
        self._metrics.commit_readings.observe(sum(one.new for one in outcomes))
        for delivery, outcome in zip(deliveries, outcomes, strict=True):
            self._count(delivery, outcome, stored_ms)
        if self._tracing is not None:
            times = committed.began_ns, committed.ended_ns, receipted_ns
            self._tracing.tell(_passages(group, deliveries, outcomes, times))

    def _tell_put_off(self) -> None:
        put_off = self._queue.refused()
        if put_off:
            self._metrics.shed.labels("flood").inc(put_off.total())
            self._put_off += put_off
        if self._put_off and monotonic() - self._told_s > _TOLD_S:
            for station, count in self._put_off.items():
                name = station.station if station else None
                _log.warning("station.put_off", extra={"station": name, "shed": count})
            self._put_off.clear()
            self._told_s = monotonic()

    def _count(self, delivery: Delivery, outcome: Outcome, stored_ms: int) -> None:
        metrics = self._metrics
        match delivery:
            case Greeting():
                metrics.messages.labels("status").inc()
            case Refused(_, station):
                metrics.messages.labels("refused").inc()
                metrics.receipts.labels(Result.QUARANTINED.name.lower()).inc()
                name = station.station if station else None
                _log.warning("message.quarantined", extra={"station": name})
            case Accepted(station, batch):
                metrics.messages.labels("batch").inc()
                metrics.receipts.labels(Result.STORED.name.lower()).inc()
                metrics.readings.labels("stored").inc(outcome.new)
                metrics.readings.labels("duplicate").inc(outcome.known)
                metrics.readings.labels("amended").inc(outcome.amended)
                metrics.readings.labels("withheld").inc(outcome.withheld)
                if outcome.new:
                    metrics.delays.add(station, _captured_ms(batch), stored_ms)
                named = {"station": station.station, "counter": batch.counter}
                counted = {
                    "new": outcome.new,
                    "known": outcome.known,
                    "amended": outcome.amended,
                }
                _log.info("batch.stored", extra=named | counted)
                if outcome.withheld:
                    more = named | {"withheld": outcome.withheld}
                    _log.warning("readings.withheld", extra=more)
                if outcome.fork:
                    metrics.forks.inc()
                    _log.error("station.forked", extra=named)


def _group(ahead: deque[_Part]) -> list[_Part]:
    """Take the first parts, as many as make a group."""
    parts: list[_Part] = []
    count = 0
    while ahead and count + len(ahead[0].waiting) <= _GROUP:
        parts.append(ahead.popleft())
        count += len(parts[-1].waiting)
    return parts


def _captured_ms(batch: Prepared) -> list[int]:
    return [ms for group in batch.groups for ms in group.columns["captured_ms"]]


def _passages(
    group: Sequence[_Opened],
    deliveries: Sequence[Delivery],
    outcomes: Sequence[Outcome],
    times_ns: tuple[int, int, int],
) -> Iterable[Passage]:
    """Yield the way of each batch; times are of commit, its end, and the receipts."""
    for one, delivery, outcome in zip(group, deliveries, outcomes, strict=True):
        if isinstance(delivery, Accepted):
            yield Passage(
                delivery.station,
                delivery.batch.counter,
                one.waiting.message.size,
                delivery.batch.count,
                outcome.new,
                one.waiting.received_ns,
                one.opening_ns,
                one.opened_ns,
                *times_ns,
            )

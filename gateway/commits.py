"""Commits groups of deliveries, each tried again for as long as it takes."""

import logging
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Barrier, Event, get_ident
from time import monotonic, time_ns

from gateway.delivery import Message, refuse
from gateway.metrics import Metrics
from gateway.store import (
    Delivery,
    Outcome,
    Store,
    StoreRefused,
    StoreUnavailable,
)

_BACK_OFF_S = (0.05, 5.0)
_LONG_S = 10.0  # for a commit: a database may stand still and keep its line

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Committed:
    """A group that is durable.

    Attributes:
        deliveries: What was committed: what does not fit, as refused.
        outcomes: What came of each of them.
        began_ns: When the first attempt began, in ns since 1970 UTC.
        ended_ns: When it was durable.
    """

    deliveries: list[Delivery]
    outcomes: list[Outcome]
    began_ns: int
    ended_ns: int


class Commits:
    """Commits to a store, as many groups at once as it takes.

    Args:
        store: Where to commit; nobody else may.
        metrics: What to count in.
        stopping: Set once each attempt that is under way is to be the last.
    """

    def __init__(self, store: Store, metrics: Metrics, stopping: Event) -> None:
        self._store, self._metrics, self._stopping = store, metrics, stopping
        self._since_s: dict[int, float] = {}  # of the attempt of each thread
        self._failed: set[int] = set()  # threads whose last attempt did
        self._threads = ThreadPoolExecutor(store.commits_at_once, "commit")

    @property
    def at_once(self) -> int:
        """How many groups are committed at once."""
        return self._store.commits_at_once

    @property
    def good(self) -> bool:
        """Whether the last commits went through, and none has been at it for long."""
        since_s = min([*self._since_s.values()], default=None)
        is_long = since_s is not None and monotonic() - since_s > _LONG_S
        return not self._failed and not is_long

    def start(self) -> None:
        """Start all threads: later there may be no room for one."""
        met = Barrier(self.at_once)
        try:
            for _ in range(self.at_once):
                self._threads.submit(met.wait)
        except RuntimeError:
            met.abort()
            raise

    def begin(
        self, messages: Sequence[Message], deliveries: list[Delivery]
    ) -> Future[Committed | None]:
        """Begin to commit; None comes of it if it had not succeeded when told to stop.

        Args:
            messages: As they came.
            deliveries: What each of them brings.
        """
        return self._threads.submit(self._commit, messages, deliveries)

    def close(self) -> None:
        """Wait for what is under way, and end the threads."""
        self._threads.shutdown()

    def _commit(
        self, messages: Sequence[Message], deliveries: list[Delivery]
    ) -> Committed | None:
        began_ns, back_off_s = time_ns(), _BACK_OFF_S[0]
        while not self._stopping.is_set():
            self._since_s[get_ident()] = monotonic()
            try:
                with self._metrics.commit_s.time():
                    outcomes = self._store.commit(deliveries)
            except StoreUnavailable as error:
                self._tell_failure(error, back_off_s)
                self._failed.add(get_ident())
                self._stopping.wait(back_off_s)
                back_off_s = min(2 * back_off_s, _BACK_OFF_S[1])
            except StoreRefused as error:
                if len(deliveries) > 1:
                    return self._commit_singly(messages, deliveries)
                _log.error(
                    "message.unfit", extra={"error": type(error.__cause__).__name__}
                )
                deliveries = [refuse(messages[0], str(error))]
            else:
                self._failed.discard(get_ident())
                return Committed(deliveries, outcomes, began_ns, time_ns())
            finally:
                self._since_s.pop(get_ident(), None)
        return None

    def _commit_singly(
        self, messages: Sequence[Message], deliveries: list[Delivery]
    ) -> Committed | None:
        """Commit one by one, so that only what does not fit is refused."""
        done = []
        for message, delivery in zip(messages, deliveries, strict=True):
            committed = self._commit([message], [delivery])
            if committed is None:
                return None
            done.append(committed)
        return Committed(
            [one for each in done for one in each.deliveries],
            [one for each in done for one in each.outcomes],
            done[0].began_ns,
            done[-1].ended_ns,
        )

    def _tell_failure(self, error: StoreUnavailable, again_in_s: float) -> None:
        self._metrics.retries.inc()
        more = {"reason": str(error), "again_in_s": again_in_s}
        _log.error("store.unavailable", extra=more)

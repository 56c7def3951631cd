"""Opens messages: in a thread, and under load in processes of their own.

Opening is mostly Python, of which a process runs one line at a time. A thread is
enough while little comes; behind a backlog others open, and this process only commits.
"""

import asyncio
import gc
import logging
import multiprocessing
import os
import signal
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from time import monotonic, time_ns

from gateway import tether
from gateway.delivery import Message, open_message
from gateway.packed import Timed, packed, unpacked
from protocols import compiled

_MOST_PROCESSES = 4
_BACKLOG = 64  # messages that wait, from which on processes are worth their memory
_IDLE_S = 60.0  # without a backlog, after which they end
_AGAIN_S = 10.0  # after they died, before they are tried again
_NICE = 5  # they are ahead of who commits, which waits for nothing but a core
ROWS_BETWEEN_COLLECTIONS = 100_000  # rows hold no circles, and are many

_log = logging.getLogger(__name__)


Opening = Future[list[Timed]] | Future[bytes]


class Openers:
    """Opens messages in the order in which they are given; for one thread.

    Args:
        tenant: The only tenant served; empty serves each.
        processes: The most processes; without it one less than there are cores.
        behind: Whether to begin as behind a backlog: processes take a second to come.
    """

    def __init__(
        self, tenant: str, processes: int | None = None, *, behind: bool = False
    ) -> None:
        cores = len(os.sched_getaffinity(0))
        self._tenant = tenant
        self._most = min(cores - 1, _MOST_PROCESSES) if processes is None else processes
        self._thread = ThreadPoolExecutor(1, "opening")
        self._processes: ProcessPoolExecutor | None = None
        self._ready: list[Future[None]] = []
        self._pressed_s = -_IDLE_S
        self._not_before_s = 0.0
        if behind:
            self.adapt(_BACKLOG)

    def adapt(self, backlog: int) -> None:
        """Begin processes, or end them, by how many messages wait now."""
        now_s = monotonic()
        if backlog >= _BACKLOG:
            self._pressed_s = now_s
            if (
                self._processes is None
                and self._most > 0
                and now_s > self._not_before_s
            ):
                self._begin()
        elif self._processes is not None and now_s > self._pressed_s + _IDLE_S:
            self._end()

    def open(self, messages: Sequence[Message]) -> Opening:
        """Begin to open messages, as they came."""
        if self._processes is not None and all(one.done() for one in self._ready):
            try:
                return self._processes.submit(_open_apart, messages, self._tenant)
            except BrokenProcessPool:
                self._give_up()
        return self._thread.submit(_open, messages, self._tenant)

    def result(self, opening: Opening, messages: Sequence[Message]) -> list[Timed]:
        """Wait for what was begun; where its process died, open here.

        Args:
            opening: What `open` returned.
            messages: What it was given.
        """
        try:
            found = opening.result()
        except BrokenProcessPool:
            self._give_up()
            return _open(messages, self._tenant)
        # Here, for the thread that takes it from the process would hold up this one.
        return found if isinstance(found, list) else unpacked(found, messages)

    def close(self) -> None:
        """End the thread and the processes."""
        self._thread.shutdown()
        self._end()

    def _begin(self) -> None:
        # Forking a process with threads may leave a lock for ever locked.
        self._processes = ProcessPoolExecutor(
            self._most,
            multiprocessing.get_context("spawn"),
            _settle,
            (os.getpid(),),
        )
        self._ready = [self._processes.submit(_nothing) for _ in range(self._most)]

    def _give_up(self) -> None:
        if self._processes is not None:
            _log.error("openers.died", extra={"again_in_s": _AGAIN_S})
            self._not_before_s = monotonic() + _AGAIN_S
            self._end()

    def _end(self) -> None:
        if self._processes is not None:
            self._processes.shutdown(wait=False, cancel_futures=False)
            self._processes = None


def _open(messages: Sequence[Message], tenant: str) -> list[Timed]:
    opened = []
    for message in messages:
        began_ns = time_ns()
        opened.append(Timed(open_message(message, tenant), began_ns, time_ns()))
    return opened


def _open_apart(messages: Sequence[Message], tenant: str) -> bytes:
    return packed(_open(messages, tenant))


def _settle(parent: int) -> None:
    """Make a process one that opens: with kernels, and gone with its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # its parent stops it in order
    tether.die_with(parent)
    os.nice(_NICE)
    gc.set_threshold(ROWS_BETWEEN_COLLECTIONS)
    asyncio.run(compiled.warm())


def _nothing() -> None:
    """Be done once the process is there."""

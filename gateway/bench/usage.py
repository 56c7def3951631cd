"""What processes take: time of the processor and memory, by ``/proc``.

Source: proc(5), ``/proc/pid/stat``, ``/proc/pid/status`` and
``/proc/pid/task/tid/children``.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from time import monotonic
from typing import Self

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_USER = 11  # of what follows the name in ``stat``
_EVERY_S = 0.1


def cpu_s(pid: int) -> float:
    """Return the time that a process and its children have run; 0.0 if it is gone.

    Of children that are gone it is what the process has waited for.
    """
    return sum(_ticks(each) for each in (pid, *_children(pid))) * _TICK_S


def peak_mb(pid: int) -> float:
    """Return the most memory that a process ever had in RAM, in MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1_000
    return 0.0


class Watch:
    """Samples of how long some processes have run, taken in a thread.

    Args:
        pids: By name.
    """

    def __init__(self, pids: dict[str, int]) -> None:
        self._pids = pids
        self._samples: list[tuple[float, dict[str, float]]] = []

    def between(self, from_s: float, until_s: float) -> dict[str, float]:
        """Return how long each ran, in s, between two moments of `monotonic`."""
        first = self._at(from_s)
        last = self._at(until_s)
        return {name: last[name] - first[name] for name in self._pids}

    def _at(self, moment_s: float) -> dict[str, float]:
        return min(self._samples, key=lambda sample: abs(sample[0] - moment_s))[1]

    def _take(self) -> None:
        used = {name: cpu_s(pid) for name, pid in self._pids.items()}
        self._samples.append((monotonic(), used))

    @contextmanager
    def running(self) -> Iterator[Self]:
        """Sample until the block ends."""
        stop = Event()

        def work() -> None:
            while not stop.wait(_EVERY_S):
                self._take()

        self._take()
        thread = Thread(target=work, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            stop.set()
            thread.join()
            self._take()


def _children(pid: int) -> Iterator[int]:
    # By each thread; to look through all processes took a sixth of a core.
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            yield from map(int, task.read_text().split())
        except OSError:  # the thread has ended
            continue


def _ticks(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return 0
    return sum(map(int, text.rpartition(")")[2].split()[_USER : _USER + 4]))

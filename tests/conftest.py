"""Virtual time for every async test: an hour of waiting takes no time.

What starts processes, threads or sockets runs in ``asyncio.run`` of its own.
"""

import asyncio
from selectors import BaseSelector, SelectorKey
from typing import Any


class _JumpSelector:
    """Waits by moving the clock instead of by sleeping."""

    def __init__(self, real: BaseSelector, loop: "VirtualTimeLoop") -> None:
        self._real, self._loop = real, loop

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever it has
        return getattr(self._real, name)

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("deadlock: every task waits and no timer is set")
        ready = self._real.select(0)
        if not ready:
            self._loop.now += timeout
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop in which an hour of waiting takes no time."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self._selector = _JumpSelector(self._selector, self)

    def time(self) -> float:
        return self.now


def pytest_asyncio_loop_factories() -> dict[str, type[asyncio.AbstractEventLoop]]:
    return {"virtual": VirtualTimeLoop}

"""An event loop in which waiting takes no time, for devices that wait a lot."""

import asyncio
from selectors import BaseSelector, SelectorKey
from typing import Any


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop in which an hour of waiting takes no time.

    When everybody waits and no timer is set, it raises instead of hanging.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self._selector = _JumpSelector(self._selector, self)

    def time(self) -> float:
        """Return the loop's own time, in s."""
        return self.now


class _JumpSelector:
    """Waits by moving the clock instead of by sleeping."""

    def __init__(self, real: BaseSelector, loop: VirtualTimeLoop) -> None:
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

"""An event loop in which waiting takes no time, for devices that wait a lot."""

import asyncio
from collections.abc import Mapping
from selectors import BaseSelector, DefaultSelector, SelectorKey
from typing import Protocol, TypeAlias


class _HasFileno(Protocol):
    def fileno(self) -> int: ...


FileDescriptorLike: TypeAlias = int | _HasFileno


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop in which an hour of waiting takes no time.

    When everybody waits and no timer is set, it raises instead of hanging.
    """

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__(_JumpSelector(DefaultSelector(), self))

    def time(self) -> float:
        """Return the loop's own time, in s."""
        return self.now


class _JumpSelector(BaseSelector):
    """Waits by moving the clock instead of by sleeping."""

    def __init__(self, real: BaseSelector, loop: "VirtualTimeLoop") -> None:
        self._real, self._loop = real, loop

    def register(
        self, fileobj: FileDescriptorLike, events: int, data: object = None
    ) -> SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: FileDescriptorLike) -> SelectorKey:
        return self._real.unregister(fileobj)

    def close(self) -> None:
        self._real.close()

    def get_map(self) -> Mapping[FileDescriptorLike, SelectorKey]:
        return self._real.get_map()

    def select(self, timeout: float | None = None) -> list[tuple[SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("deadlock: every task waits and no timer is set")
        ready = self._real.select(0)
        if not ready:
            self._loop.now += timeout
        return ready

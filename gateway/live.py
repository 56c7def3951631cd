"""Tells whoever listens that readings came, as server-sent events.

A listener is woken and asks the store what is new behind its own place, so
nothing is queued for it and nothing can be missed, however slow it is.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Generic, TypeVar

T = TypeVar("T")

_HEARTBEAT_S = 15.0


class Live(Generic[T]):
    """Wakes listeners on one event loop, from any thread.

    Args:
        listeners: How many there may be at a time.
    """

    def __init__(self, listeners: int = 64) -> None:
        self._free = listeners
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken: set[asyncio.Event] = set()
        self._closed = False

    @property
    def full(self) -> bool:
        """Whether no more listeners are taken."""
        return self._closed or len(self._woken) >= self._free

    def open(self) -> None:
        """Attach to the running loop."""
        self._loop = asyncio.get_running_loop()

    def announce(self) -> None:
        """Wake every listener. Safe to call from any thread."""
        if self._loop is not None and not self._closed:
            self._loop.call_soon_threadsafe(self._wake)

    def close(self) -> None:
        """End every stream."""
        self._closed = True
        self._wake()

    async def pages(
        self, after: int, fetch: Callable[[int], tuple[T, int]]
    ) -> AsyncIterator[tuple[T, int] | None]:
        """Yield pages as they come, and None now and then so that silence shows.

        Args:
            after: The listener's place.
            fetch: Returns what is behind a place and the new place; the same
                place if there is nothing. Called in a thread.
        """
        woken = asyncio.Event()
        self._woken.add(woken)
        try:
            while not self._closed:
                woken.clear()
                page, reached = await asyncio.to_thread(fetch, after)
                if reached != after:
                    after = reached
                    yield page, after
                    continue
                try:
                    async with asyncio.timeout(_HEARTBEAT_S):
                        await woken.wait()
                except TimeoutError:
                    yield None
        finally:
            self._woken.discard(woken)

    def _wake(self) -> None:
        for woken in self._woken:
            woken.set()

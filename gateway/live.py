"""Tells whoever listens what came, as server-sent events.

A listener is woken and asks the store what is new behind its own place, so
nothing is queued for it and nothing can be missed, however slow it is.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from time import monotonic
from typing import TypeVar

_P = TypeVar("_P")

_HEARTBEAT_S = 15.0
_LOOK_S = 2.0  # another gateway on the same store wakes nobody here
_LOCAL = 0


class Live:
    """Wakes listeners on one event loop, from any thread.

    Args:
        listeners: How many there may be at a time.
        each: How many of them one principal may be; who asks on this machine without
            a token is bound by ``listeners`` alone.
    """

    def __init__(self, listeners: int = 64, each: int = 8) -> None:
        self._most, self._each = listeners, each
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken: dict[asyncio.Event, int] = {}
        self._closed = False

    @property
    def full(self) -> bool:
        """Whether no more listeners are taken."""
        return self._closed or len(self._woken) >= self._most

    def enough(self, who: int) -> bool:
        """Whether a principal listens as often as it may."""
        return who != _LOCAL and Counter(self._woken.values())[who] >= self._each

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

    async def events(
        self, who: int, after: _P, fetch: Callable[[_P], tuple[str, _P]]
    ) -> AsyncIterator[str]:
        """Yield events as they come, and now and then an empty one: silence shows.

        Args:
            who: The principal that listens.
            after: The listener's place.
            fetch: Returns what tells what is behind a place, empty if there is nothing,
                and the place up to which there is no more. Called in a thread.
        """
        woken, told_s = asyncio.Event(), monotonic()
        self._woken[woken] = who
        try:
            while not self._closed:
                woken.clear()
                event, after = await asyncio.to_thread(fetch, after)
                if event or monotonic() - told_s >= _HEARTBEAT_S:
                    yield event
                    told_s = monotonic()
                if not event:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(_LOOK_S):
                            await woken.wait()
        finally:
            del self._woken[woken]

    def _wake(self) -> None:
        for woken in self._woken:
            woken.set()

"""How the agent's process keeps its memory small, where its C library is glibc.

glibc gives each thread a heap of its own, so that threads need not wait for each
other, and keeps what was freed for later. The agent's threads wait for each other
anyhow, for Python's lock; on a small board the 3 MB are better spent.

Source: mallopt(3), and glibc's ``malloc.h`` for the numbers.
"""

import ctypes

_TRIM_THRESHOLD, _ARENA_MAX = -1, -8
_FREE_BYTES = 128 * 1024  # the default, which else grows with what was freed


def share_heap() -> None:
    """Let all threads that start from now on use one heap, and give back its free end.

    Does nothing where there is no glibc.
    """
    if (set_option := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        set_option(_ARENA_MAX, 1)
        set_option(_TRIM_THRESHOLD, _FREE_BYTES)

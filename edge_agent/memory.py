"""How the agent's process keeps its memory small, where it runs on Linux.

glibc gives each thread a heap of its own, so that threads need not wait for each
other, and keeps what was freed for later. The agent's threads wait for each other
anyhow, for Python's lock; on a small board the 3 MB are better spent.

Much of what stands in libraries is for the start alone. What was touched of them once
counts as resident from then on, until the system runs short and looks for what nobody
uses. The agent says so itself: what it touches again is mapped again, and the system
need not read it anew as long as it has room for it.

Source: mallopt(3), and glibc's ``malloc.h`` for the numbers; madvise(2), and Linux's
``mman-common.h`` for the number; proc_pid_smaps(5).
"""

import ctypes
import re
from collections.abc import Iterator
from pathlib import Path

_TRIM_THRESHOLD, _ARENA_MAX = -1, -8
_FREE_BYTES = 128 * 1024  # the default, which else grows with what was freed

_DONTNEED = 4
_SMAPS = Path("/proc/self/smaps")
# What is mapped of a file, for this process alone.
_PART = re.compile(
    rb"""^([0-9a-f]+)-([0-9a-f]+)\ r(.).p\ \S+\ \S+\ [1-9]\d*\ +(.+)\n
    (?:[A-Z].*\n)*?Anonymous:\ +(\d+)\ kB\n
    (?:[A-Z].*\n)*?Swap:\ +(\d+)\ kB\n""",
    re.MULTILINE | re.VERBOSE,
)


def share_heap() -> None:
    """Let all threads that start from now on use one heap, and give back its free end.

    Does nothing where there is no glibc.
    """
    if (set_option := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        set_option(_ARENA_MAX, 1)
        set_option(_TRIM_THRESHOLD, _FREE_BYTES)


def let_go(smaps: Path = _SMAPS) -> None:
    """Have nothing mapped of the libraries but what is touched from now on.

    Does nothing where the system does not tell what is mapped.

    Args:
        smaps: Where it tells.
    """
    try:
        told = smaps.read_bytes()
    except OSError:
        return
    madvise = ctypes.CDLL(None).madvise
    for start, end in _as_in_files(told):
        madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _DONTNEED)


def _as_in_files(told: bytes) -> Iterator[tuple[int, int]]:
    """Yield where the parts of libraries begin and end that are as in their files.

    What was written to is lost with its page: addresses that the loader fills in, say.
    It maps a library from its first part to its last, which can be written to, so what
    stands before such a part is done, though another thread may load a library now.
    """
    writable = set()
    for part in reversed(list(_PART.finditer(told))):
        start, end, write, path, written, swapped = part.groups()
        if write == b"w":
            writable.add(path)
        elif path in writable and not int(written) and not int(swapped):
            yield int(start, 16), int(end, 16)

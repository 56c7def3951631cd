"""What the agent asks of the C library, as the C library tells it."""

import ctypes
import subprocess
import sys

import pytest

# glibc tells of each heap that it has, when threads have asked for memory.
_PROGRAM = """
import ctypes, threading
from edge_agent.memory import share_heap

share_heap()
libc = ctypes.CDLL(None)
both = threading.Barrier(3)

def ask():
    libc.malloc(1000)
    both.wait()

for _ in range(2):
    threading.Thread(target=ask).start()
both.wait()
libc.fdopen.restype = ctypes.c_void_p
out = ctypes.c_void_p(libc.fdopen(1, b"w"))
libc.malloc_info(0, out)
libc.fflush(out)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="not glibc")
def test_threads_share_one_heap() -> None:
    """A heap for each thread would cost a small board some MB, for nothing."""
    run = subprocess.run(
        [sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True
    )

    assert run.stdout.count("<heap nr=") == 1

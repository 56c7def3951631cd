"""Becomes another program that dies when the process that started it does.

    python tether.py PARENT PROGRAM ARGUMENT...

Run as a file of its own rather than between fork and exec, where a process with
threads may do next to nothing. Only Linux can tie the two; elsewhere the
program is merely started.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # prctl(2)


def die_with(parent: int) -> None:
    """End this process when the one that started it ends.

    Raises:
        SystemExit: It has ended already.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        # The parent may have died before the kernel was told to watch it.
        if os.getppid() != parent:
            raise SystemExit("the process that wanted this one is gone")


def _main(parent: int, program: list[str]) -> None:
    die_with(parent)
    os.execv(program[0], program)  # noqa: S606 - what our own caller named


if __name__ == "__main__":
    _main(int(sys.argv[1]), sys.argv[2:])

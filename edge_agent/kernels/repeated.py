"""Was this said just before? A flag on what a device tells twice under two names.

A cuff that sends one measurement again under the next number, and a meter whose memory
was copied, make two readings of one. Nothing here decides that they are one.
"""

from typing import Self

import numpy as np

from edge_agent.kernels.streams import (
    I8,
    MOST_TIME,
    U1,
    StateError,
    packed,
    unpacked,
    whole_numbers,
)
from protocols.kernel import kernel

NO_TIME = -(1 << 63)
REMEMBERED = 8
_VERSION = 1
_WHOLE = 2 + 2 * REMEMBERED


class Repeats:
    """Flags what says the same as one of the 8 before it, at the same time."""

    def __init__(self, *, within_ms: int) -> None:
        """Begin without anything said.

        Args:
            within_ms: How far apart two times may be that are the same, in ms.

        Raises:
            ValueError: It is negative.
        """
        if not 0 <= within_ms < MOST_TIME:
            raise ValueError(f"no time to be the same: {within_ms} ms")
        self._within = within_ms
        # How many are remembered, where the next one goes, their times, their digests.
        self._whole = np.zeros(_WHOLE, np.int64)

    def flag(self, times_ms: I8, digests: I8) -> U1:
        """Take what is said next, and flag what was said before.

        Args:
            times_ms: Shape (n,), in ms; `NO_TIME` is neither judged nor remembered.
            digests: Shape (n,); equal where the same is said.

        Returns:
            Shape (n,): 1 where flagged, else 0.

        Raises:
            ValueError: The shapes differ, or a time is beyond 2^53 ms.
        """
        if times_ms.ndim != 1 or times_ms.shape != digests.shape:
            raise ValueError(
                "times and digests must be (n,), got "
                f"{times_ms.shape} and {digests.shape}"
            )
        told = times_ms[times_ms != NO_TIME]
        if told.size and not (told.min() > -MOST_TIME and told.max() < MOST_TIME):
            raise ValueError(f"times must be within {MOST_TIME} of 0")
        flags = np.zeros(times_ms.size, np.uint8)
        _repeated(
            whole_numbers(times_ms),
            whole_numbers(digests),
            self._within,
            self._whole,
            flags,
        )
        return flags

    def to_bytes(self) -> bytes:
        """Return its state, to go on from with `restored`."""
        return packed(_VERSION, self._whole, np.empty(0))

    def restored(self, data: bytes) -> Self:
        """Take the state of another one, and return this one.

        Raises:
            StateError: ``data`` is no such state.
        """
        whole, _ = unpacked("repeats", data, version=_VERSION, whole=_WHOLE, real=0)
        count, at, *rest = whole.tolist()
        times = rest[:REMEMBERED]
        inside = 0 <= count <= REMEMBERED and 0 <= at < REMEMBERED
        if not inside or any(abs(time) >= MOST_TIME for time in times):
            raise StateError(f"repeats: no state, {whole.tolist()}")
        self._whole = whole
        return self


@kernel("void(i8[::1], i8[::1], i8, i8[::1], u1[::1])")
def _repeated(times: I8, digests: I8, within: int, whole: I8, flags: U1) -> None:
    count, at = whole[0], whole[1]
    for i in range(times.size):
        time, digest = times[i], digests[i]
        if time == NO_TIME:
            continue
        for j in range(2, 2 + count):
            if whole[j + REMEMBERED] == digest and abs(time - whole[j]) <= within:
                flags[i] = 1
        whole[2 + at] = time
        whole[2 + at + REMEMBERED] = digest
        at += 1
        if at == REMEMBERED:
            at = 0
        if count < REMEMBERED:
            count += 1
    whole[0], whole[1] = count, at

"""Does a value change faster than it can? A flag on the reading after the step.

Source: 5 mg/dL a minute flags 0.8 to 0.9 % of the readings of real glucose sensors
(docs/explanation/filters.md has the figures); a gate at 4 would flag twice as
many, so what it flags must never be dropped.
"""

from typing import Self

import numpy as np

from edge_agent.kernels.streams import (
    F8,
    I8,
    MOST_TIME,
    MOST_VALUE,
    U1,
    StateError,
    checked,
    packed,
    unpacked,
)
from protocols.kernel import kernel

_VERSION = 1
_MINUTE_MS = 60_000


class RateGate:
    """Flags what changed too fast since the value before it.

    A step is judged by its rate, but one of less than a minute as if it had taken a
    minute: devices round. Not judged is a value without one before it: the first, and
    one behind a missing value, a longer gap, or a clock that did not go forward.
    """

    def __init__(self, most_per_minute: float, *, most_gap_ms: int) -> None:
        """Begin without a value.

        Args:
            most_per_minute: The largest change a minute that is not flagged.
            most_gap_ms: The longest step that is judged, in ms.

        Raises:
            ValueError: One of them is not positive.
        """
        if not (0 < most_per_minute < 1e100 and 0 < most_gap_ms < MOST_TIME):
            raise ValueError(
                f"no gate: {most_per_minute} a minute over {most_gap_ms} ms"
            )
        self._most = float(most_per_minute)
        self._gap = most_gap_ms
        self._whole = np.zeros(2, np.int64)  # whether a value is known, and its time
        self._real = np.zeros(1, np.float64)  # that value

    def flag(self, times_ms: I8, values: F8) -> U1:
        """Take the next values, and flag those that changed too fast.

        Args:
            times_ms: Shape (n,), in ms.
            values: Shape (n,); NaN or infinite is missing.

        Returns:
            Shape (n,): 1 where flagged, else 0.

        Raises:
            ValueError: The shapes differ, or a time is beyond 2^53 ms.
        """
        times_ms, values = checked(times_ms, values)
        flags = np.zeros(values.size, np.uint8)
        _rate(times_ms, values, self._most, self._gap, self._whole, self._real, flags)
        return flags

    def to_bytes(self) -> bytes:
        """Return its state, to go on from with `restored`."""
        return packed(_VERSION, self._whole, self._real)

    def restored(self, data: bytes) -> Self:
        """Take the state of a gate, and return this one.

        Raises:
            StateError: ``data`` is no state of a gate.
        """
        whole, real = unpacked("rate gate", data, version=_VERSION, whole=2, real=1)
        inside = abs(real[0]) < MOST_VALUE and -MOST_TIME < whole[1] < MOST_TIME
        if whole[0] not in (0, 1) or not inside:
            raise StateError(f"rate gate: no state, {whole.tolist()} {real.tolist()}")
        self._whole, self._real = whole, real
        return self


@kernel("void(i8[::1], f8[::1], f8, i8, i8[::1], f8[::1], u1[::1])")
def _rate(  # noqa: PLR0917 - arrays and limits, one by one, as numba takes them
    times: I8, values: F8, most: float, gap: int, whole: I8, real: F8, flags: U1
) -> None:
    known, before, last = whole[0], whole[1], real[0]
    for i in range(values.size):
        time, value = times[i], values[i]
        if not -MOST_VALUE < value < MOST_VALUE:
            known = 0
            continue
        passed = time - before
        # The rate first: the processor foresees best what is nearly never true.
        fast = abs(value - last) * _MINUTE_MS > most * max(passed, _MINUTE_MS)
        if fast and known == 1 and 0 < passed <= gap:
            flags[i] = 1
        known, before, last = 1, time, value
    whole[0], whole[1], real[0] = known, before, last

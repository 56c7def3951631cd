"""Does a value stand out of its neighbours? Hampel's filter, as a flag.

A value is flagged that is farther from the median of its window than so many standard
deviations, as the median distance from that median gives them (1.4826 of it, for
what is normally distributed).

Source: F. R. Hampel, "The influence curve and its role in robust estimation", J. Am.
Stat. Assoc. 69 (1974) 383; P. J. Rousseeuw and C. Croux, "Alternatives to the median
absolute deviation", ibid. 88 (1993) 1273, for the factor. What the filter does with
real glucose sensors stands in docs/explanation/filters.md.
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

MOST_WINDOW = 63
_VERSION = 1
_FACTOR = 1.4826


class Hampel:
    """Flags values that stand out of the window around or before them.

    A window is of values in a row. It begins anew behind a missing value, a longer
    gap, or a clock that did not go forward, and judges nothing until it is full.
    """

    def __init__(
        self,
        window: int,
        *,
        ahead: int,
        sigmas: float,
        least_sigma: float,
        most_gap_ms: int,
    ) -> None:
        """Begin with an empty window.

        Args:
            window: How many values it holds, the judged one included: odd, 3 to 63.
            ahead: How many of them come after the judged one: 0 to ``window // 2``.
            sigmas: How many standard deviations away a value is flagged.
            least_sigma: A standard deviation below it counts as it; in the unit of
                the values.
            most_gap_ms: The longest step from one value to the next, in ms.

        Raises:
            ValueError: One of them is out of its range.
        """
        if not (3 <= window <= MOST_WINDOW and window % 2):
            raise ValueError(
                f"a window is odd and of 3 to {MOST_WINDOW} values, not {window}"
            )
        if not 0 <= ahead <= window // 2:
            raise ValueError(f"{ahead} values ahead, not 0 to {window // 2}")
        if not (0 < sigmas < 1e3 and 0 <= least_sigma < 1e100):
            raise ValueError(f"no limit: {sigmas} times at least {least_sigma}")
        if not 0 < most_gap_ms < MOST_TIME:
            raise ValueError(f"no gap: {most_gap_ms} ms")
        self._window, self._ahead = window, ahead
        self._limits = np.array([sigmas, least_sigma], np.float64)
        self._gap = most_gap_ms
        # How many values the window holds, where the next one goes, the last time.
        self._whole = np.zeros(3, np.int64)
        self._ring = np.zeros(window)  # values by arrival
        self._ordered = np.full(window, np.inf)  # the same, by size

    def flag(self, times_ms: I8, values: F8) -> U1:
        """Take the next values, and flag.

        Args:
            times_ms: Shape (n,), in ms.
            values: Shape (n,); NaN or infinite is missing.

        Returns:
            Shape (n,): 1 at i where the value is flagged that came ``ahead`` values
            before the i-th, else 0.

        Raises:
            ValueError: The shapes differ, or a time is beyond 2^53 ms.
        """
        times_ms, values = checked(times_ms, values)
        flags = np.zeros(values.size, np.uint8)
        _hampel(
            times_ms,
            values,
            self._ahead,
            self._limits,
            self._gap,
            self._whole,
            self._ring,
            self._ordered,
            flags,
        )
        return flags

    def to_bytes(self) -> bytes:
        """Return its state, to go on from with `restored`."""
        return packed(_VERSION, self._whole, self._ring)

    def restored(self, data: bytes) -> Self:
        """Take the state of a filter with the same window, and return this one.

        Raises:
            StateError: ``data`` is no state of such a filter.
        """
        size = self._window
        whole, ring = unpacked("hampel", data, version=_VERSION, whole=3, real=size)
        count, at, time = whole.tolist()
        inside = 0 <= count <= size and 0 <= at < size and abs(time) < MOST_TIME
        if not inside or not np.all(np.abs(ring) < MOST_VALUE):
            raise StateError(f"hampel: no state, {whole.tolist()} {ring.tolist()}")
        self._whole, self._ring = whole, ring
        kept = np.sort(ring[(at - 1 - np.arange(count)) % size])
        self._ordered[:count], self._ordered[count:] = kept, np.inf
        return self


@kernel("void(i8[::1], f8[::1], i8, f8[::1], i8, i8[::1], f8[::1], f8[::1], u1[::1])")
def _hampel(  # noqa: C901, PLR0912, PLR0917 - a call would cost more than its work
    times: I8,
    values: F8,
    ahead: int,
    limits: F8,
    gap: int,
    whole: I8,
    ring: F8,
    ordered: F8,
    flags: U1,
) -> None:
    count, at, before = whole[0], whole[1], whole[2]
    window = ring.size
    middle = window // 2
    sigmas, least = limits[0], limits[1]
    for i in range(values.size):
        value = values[i]
        if not -MOST_VALUE < value < MOST_VALUE:
            count = 0
            continue
        passed = times[i] - before
        before = times[i]
        if not 0 < passed <= gap:
            count = 0
        if count == 0:
            ordered[:] = np.inf
        # Nothing below branches by values, for no processor could foretell them.
        hole = window - 1
        if count == window:
            oldest = ring[at]
            hole = 0
            for j in range(window):
                hole += int(ordered[j] < oldest)
        else:
            count += 1
        # What lies in the hole goes, and the value takes its place by size.
        last = -np.inf
        for j in range(window - 1):
            other = ordered[j + int(j >= hole)]
            ordered[j] = max(last, min(other, value))
            last = other
        ordered[window - 1] = max(last, value)
        ring[at] = value
        judged = at - ahead
        if judged < 0:
            judged += window
        at += 1
        if at == window:
            at = 0
        if count < window:
            continue
        # The distances from the median grow to both sides. Take j from below, and the
        # rest of half a window from above: the largest of them is least where they are
        # the smallest of all.
        median = ordered[middle]
        distance = min(median - ordered[0], ordered[window - 1] - median)
        for j in range(1, middle):
            below = median - ordered[middle - j]
            above = ordered[window - 1 - j] - median
            distance = min(distance, max(below, above))
        if abs(ring[judged] - median) > sigmas * max(_FACTOR * distance, least):
            flags[i] = 1
    whole[0], whole[1], whole[2] = count, at, before

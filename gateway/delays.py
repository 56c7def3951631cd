"""How long readings were on their way, station by station, as a histogram."""

from collections.abc import Iterator, Sequence
from threading import Lock

import numpy as np
from numpy.typing import NDArray
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

from protocols.uplink.topics import Station

OTHERS = "(others)"  # no station can have this id

_BOUNDS_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3_600, 86_400)
_NAMED = 200  # stations of a name of their own: 3,200 series


class Delays(Collector):
    """Counts readings by the time from their capture until they were stored.

    A whole batch costs one pass over an array, which an observation of each of its
    readings would not. The first 200 stations are told apart, all later ones are one.

    Args:
        name: Of the metric.
        meaning: Its help text.
    """

    def __init__(self, name: str, meaning: str) -> None:
        self._name, self._meaning = name, meaning
        self._lock = Lock()
        self._counts: dict[Station, NDArray[np.int64]] = {}
        self._sums_s: dict[Station, float] = {}

    def add(
        self,
        station: Station,
        captured_ms: Sequence[int] | NDArray[np.int64],
        stored_ms: int,
    ) -> None:
        """Count a batch's readings.

        Args:
            station: Whose they are.
            captured_ms: When the station captured each, in ms since 1970 UTC by its
                clock; 0 and less is unknown, and is not counted.
            stored_ms: When all of them were durable, by this machine's clock. A
                station whose clock is ahead of it counts as one without delay.
        """
        captured = np.asarray(captured_ms, np.int64)
        delays_s = np.maximum(stored_ms - captured[captured > 0], 0) / 1000
        places = np.searchsorted(_BOUNDS_S, delays_s)
        counts = np.bincount(places, minlength=len(_BOUNDS_S) + 1)
        with self._lock:
            if station not in self._counts and len(self._counts) >= _NAMED:
                station = Station(OTHERS, OTHERS)
            self._counts[station] = self._counts.get(station, 0) + counts
            self._sums_s[station] = self._sums_s.get(station, 0.0) + delays_s.sum()

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """Yield the histogram, for a registry."""
        family = HistogramMetricFamily(
            self._name, self._meaning, labels=("tenant", "station")
        )
        with self._lock:
            told = [(*each, self._sums_s[each[0]]) for each in self._counts.items()]
        bounds = [*map(str, map(float, _BOUNDS_S)), "+Inf"]
        for station, counts, sum_s in told:
            upto = [float(count) for count in np.cumsum(counts)]
            family.add_metric(
                station, list(zip(bounds, upto, strict=True)), sum_value=sum_s
            )
        yield family

"""What the store holds, counted when somebody asks for the metrics."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Lock
from time import monotonic, time_ns

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from gateway.store import StoreUnavailable
from gateway.store.database import Database, Row

_FRESH_S = 10.0  # however many ask, the store is asked this often
_NAMED = 200  # stations, those silent for the longest first
_SILENT_S = {"1h": 3_600, "1d": 86_400, "1w": 604_800}
_SIZE = {
    "sqlite": "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size",
    "postgres": "SELECT pg_database_size(current_database())",
}
_LAST_SEEN = """
    SELECT tenant, station, last_seen_ms FROM station ORDER BY last_seen_ms, id
    LIMIT :most
"""


class Census(Collector):
    """Gauges of a store, each counted by a query.

    Args:
        database: What to count in.
        folder: Where it lies, whose free space is told; None if that is elsewhere.
        clock_ms: Tells ms since 1970 UTC.
    """

    def __init__(
        self,
        database: Database,
        folder: Path | None,
        clock_ms: Callable[[], int] = lambda: time_ns() // 1_000_000,
    ) -> None:
        self._database, self._folder, self._clock_ms = database, folder, clock_ms
        self._lock = Lock()
        self._counted: list[GaugeMetricFamily] = []
        self._counted_s = -_FRESH_S

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Yield nothing: registering it must not ask the store."""
        return iter(())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the gauges, some seconds old at most; only one if the store is away."""
        with self._lock:
            if monotonic() - self._counted_s >= _FRESH_S:
                self._counted = self._count()
                self._counted_s = monotonic()
            yield from self._counted

    def _count(self) -> list[GaugeMetricFamily]:
        readable = _gauge("store_readable", "1 while the store can be asked", 1)
        try:
            return [readable, *self._sizes(), *self._stations()]
        except StoreUnavailable:
            return [_gauge("store_readable", "1 while the store can be asked", 0)]

    def _sizes(self) -> Iterator[GaugeMetricFamily]:
        yield _gauge("store_bytes", "Size of it", self._one(_SIZE[self._engine]))
        if self._folder is not None and self._folder.exists():
            free = shutil.disk_usage(self._folder).free
            yield _gauge("store_free_bytes", "Free space beside it", free)
        readings = "SELECT coalesce(sum(readings), 0) FROM tally"
        yield _gauge("store_readings", "Readings kept", self._one(readings))
        quarantine = "SELECT count(*) FROM quarantine"
        yield _gauge("quarantine_messages", "Messages kept", self._one(quarantine))
        dead = "SELECT count(*) FROM stretch WHERE dead = 1"
        yield _gauge("webhook_dead_letters", "Given up for good", self._one(dead))

    def _stations(self) -> Iterator[GaugeMetricFamily]:
        now_ms = self._clock_ms()
        stations = "SELECT count(*) FROM station"
        yield _gauge("stations", "Stations ever heard of", self._one(stations))
        silent = _family("stations_silent", "Stations silent for longer", "longer_than")
        for name, seconds in _SILENT_S.items():
            since = "SELECT count(*) FROM station WHERE last_seen_ms < :since"
            count = self._one(since, since=now_ms - 1000 * seconds)
            silent.add_metric([name], count)
        yield silent
        seen = _family(
            "station_last_seen_timestamp_seconds",
            "When a station's last message came",
            "tenant",
            "station",
        )
        for tenant, station, seen_ms in self._rows(_LAST_SEEN, most=_NAMED):
            seen.add_metric([tenant, station], seen_ms / 1000)
        yield seen

    @property
    def _engine(self) -> str:
        return self._database.engine

    def _rows(self, sql: str, **values: int) -> list[Row]:
        return self._database.rows(sql, **values)

    def _one(self, sql: str, **values: int) -> float:
        return float(self._rows(sql, **values)[0][0])


def _family(name: str, meaning: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"vitalwire_{name}", meaning, labels=labels)


def _gauge(name: str, meaning: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"vitalwire_{name}", meaning, value=value)

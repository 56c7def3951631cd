"""What is counted: complete, bounded, and without anybody's name."""

import re
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from gateway.census import Census
from gateway.delays import OTHERS, Delays
from gateway.metrics import Metrics
from gateway.store import Refused, StoreUnavailable
from gateway.store.postgres import PostgresStore
from gateway.store.sqlite import SqliteStore
from protocols.uplink.topics import Station
from tests.gateway.stations import STATION, accepted, glucose

_PAGE = Path(__file__).parents[2] / "docs" / "reference" / "metrics.md"
_ROW = re.compile(r"^\| `(\w+)(?:\{[\w, ]*\})?` \| (\w+) \|", re.MULTILINE)
_DAY_MS = 86_400_000
_DELAY = "vitalwire_reading_delay_seconds"


def families(registry: CollectorRegistry) -> dict[str, str]:
    """Return the names of all metrics that are shown, with their types."""
    found = text_string_to_metric_families(generate_latest(registry).decode())
    return {
        one.name + ("_total" if one.type == "counter" else ""): one.type
        for one in found
        if not one.name.endswith("_created")
    }


def whole(store: SqliteStore, folder: Path) -> CollectorRegistry:
    metrics = Metrics()
    metrics.registry.register(Census(store.database, folder, lambda: 3 * _DAY_MS))
    return metrics.registry


def test_every_metric_is_documented_and_no_other(
    store: SqliteStore, tmp_path: Path
) -> None:
    """An alert on a metric that nobody explains is one that nobody acts on."""
    shown = families(whole(store, tmp_path))
    documented = dict(_ROW.findall(_PAGE.read_text()))

    ours = {name: kind for name, kind in shown.items() if name.startswith("vital")}
    assert documented == ours


def test_names_follow_the_conventions(store: SqliteStore, tmp_path: Path) -> None:
    """Prometheus: base units, and ``_total`` on what only grows."""
    for name, kind in families(whole(store, tmp_path)).items():
        assert name.endswith("_total") is (kind == "counter"), name
        assert not re.search(r"_(ms|us|kb|mb|minutes|hours)(_|$)", name), name


def test_delays_are_counted_for_every_reading_of_a_batch() -> None:
    """From capture to the end of the commit, as a histogram's buckets count it."""
    registry, delays = CollectorRegistry(), Delays(_DELAY, "…")
    registry.register(delays)
    stored_ms = 1_772_350_200_000
    ages_ms = [10, 50, 51, 400, 3_600_001, 90_000_000, -5_000]

    delays.add(STATION, np.array([stored_ms - age for age in ages_ms]), stored_ms)
    delays.add(STATION, [0, stored_ms - 400], stored_ms)

    def value(name: str, **more: str) -> float | None:
        labels = {"tenant": STATION.tenant, "station": STATION.station} | more
        return registry.get_sample_value(f"{_DELAY}_{name}", labels)

    upto = {le: value("bucket", le=le) for le in ("0.05", "0.1", "0.5", "3600.0")}
    assert upto == {"0.05": 3, "0.1": 4, "0.5": 6, "3600.0": 6}
    assert value("bucket", le="86400.0") == 7
    assert value("bucket", le="+Inf") == value("count") == 8
    assert value("sum") == pytest.approx((sum(ages_ms) + 5_000 + 400) / 1000)


def test_the_number_of_series_has_an_end() -> None:
    """A city's stations, or a hostile one's names, must not fill Prometheus."""
    registry, delays = CollectorRegistry(), Delays(_DELAY, "…")
    registry.register(delays)
    for number in range(1_000):
        delays.add(Station("clinic", f"station-{number}"), [1], 100)

    lines = generate_latest(registry).decode().splitlines()
    assert len(lines) < 201 * 17 + 3
    labels = {"tenant": OTHERS, "station": OTHERS}
    assert registry.get_sample_value(f"{_DELAY}_count", labels) == 800


def test_the_census_counts_what_the_store_holds(
    store: SqliteStore, tmp_path: Path
) -> None:
    """Silent stations first, for these are the ones to look at."""
    old, new = Station("clinic", "old"), Station("clinic", "new")
    refused = Refused("some/topic", None, b"?", b"d" * 32, "no batch", 5)
    store.commit([
        accepted(1, glucose(1), glucose(2), station=old, received_ms=_DAY_MS),
        accepted(1, glucose(3), station=new, received_ms=3 * _DAY_MS - 1),
        refused,
    ])  # fmt: skip
    registry = whole(store, tmp_path)

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"vitalwire_{name}", labels)

    assert value("store_readable") == 1
    assert value("store_readings") == 3
    assert value("quarantine_messages") == 1
    assert value("stations") == 2
    assert value("stations_silent", longer_than="1d") == 1
    assert value("stations_silent", longer_than="1w") == 0
    seen = "station_last_seen_timestamp_seconds"
    assert value(seen, tenant="clinic", station="old") == _DAY_MS / 1000
    assert (value("store_bytes") or 0) > 10_000
    assert (value("store_free_bytes") or 0) > 0


@pytest.mark.integration
def test_the_census_of_a_server_has_the_same_figures(
    postgres_store: PostgresStore, store: SqliteStore, tmp_path: Path
) -> None:
    """One dashboard for both; the free space is that of another machine's."""
    metrics = Metrics()
    postgres_store.commit([accepted(1, glucose(1), glucose(2))])
    metrics.registry.register(Census(postgres_store.database, None))

    shown = families(metrics.registry)
    assert families(whole(store, tmp_path)).keys() - shown.keys() == {
        "vitalwire_store_free_bytes"
    }
    value = metrics.registry.get_sample_value
    assert value("vitalwire_store_readings") == 2
    assert (value("vitalwire_store_bytes") or 0) > 1_000_000


def test_metrics_come_while_the_store_is_away(tmp_path: Path) -> None:
    """They are looked at exactly then."""

    class Away:
        engine = "sqlite"

        def rows(self, _sql: str, **_values: object) -> list[tuple[int]]:
            raise StoreUnavailable("no connection")

    metrics = Metrics()
    metrics.registry.register(Census(Away(), tmp_path))
    shown = families(metrics.registry)
    assert "vitalwire_store_readings" not in shown
    assert metrics.registry.get_sample_value("vitalwire_store_readable") == 0
    assert "vitalwire_commit_good" in shown


def test_however_many_ask_the_store_is_asked_once(
    store: SqliteStore, tmp_path: Path
) -> None:
    """Two Prometheus servers and a curious person must not load it threefold."""
    asked: list[str] = []

    class Counting:
        engine = "sqlite"

        def rows(self, sql: str, **values: int) -> list[tuple[object, ...]]:
            asked.append(sql)
            return store.database.rows(sql, **values)

    census = Census(Counting(), tmp_path)
    list(census.collect())
    once = len(asked)
    list(census.collect())
    assert len(asked) == once > 0

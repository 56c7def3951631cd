"""Fills a store before anything is measured, and asks it afterwards.

The store itself keeps what ten groups tell; the engine then copies that to other groups
by statements, with the readings' indexes made anew behind it. The rows are what the
store would have written: block by block of all groups, so that what belongs to one
device lies in runs of 64 readings all over the table.
"""

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from random import Random
from statistics import median, quantiles
from time import perf_counter
from typing import Any

import apsw

from gateway.bench.engine import Engine
from gateway.bench.engine_postgres import PostgresEngine
from gateway.bench.engine_sqlite import SqliteEngine
from gateway.bench.fleet import (
    DAYS,
    DEVICES,
    PATTERNS,
    READINGS,
    START_MS,
    Fleet,
    device_name,
)
from gateway.config import Config, StoreConfig
from gateway.delivery import Message, open_message
from gateway.store import Delivery, Filter, Span, Store, opening
from gateway.store.sqlite import SqliteStore
from protocols.observation import Reading

BLOCKS = 16
PER_GROUP = BLOCKS * READINGS
_STEP = PATTERNS * READINGS  # readings of one block of all that the store itself keeps
_DAY_MS = 86_400_000
_ASKED, _PAGE = 200, 1_000
_TOLD = 500


def sqlite_file(folder: Path) -> Path:
    """Return where a gateway with its data beside the bench's keeps its readings."""
    return folder / "gateway" / "readings.sqlite"


def sqlite_name() -> str:
    """Return SQLite's name and version."""
    return f"SQLite {apsw.sqlite_lib_version()}"


def groups_of(readings: int) -> int:
    """Return how many groups tell at least so many readings, a multiple of ten."""
    return -(-readings // (PER_GROUP * PATTERNS)) * PATTERNS


def open_store(folder: Path, address: str) -> Store:
    """Open the store as the gateway does.

    Args:
        folder: The bench's.
        address: PostgreSQL's; empty is SQLite.

    Raises:
        StoreUnusable: It can't be opened.
    """
    data = sqlite_file(folder).parent
    return opening.open_store(Config(data=str(data), store=StoreConfig(url=address)))


def open_engine(folder: Path, address: str) -> Engine:
    """Open the same database past the store."""
    if address:
        return PostgresEngine(address)
    file = sqlite_file(folder)
    with closing(SqliteStore(file)) as store:
        # The same room for pages, or it would be no limit; it makes its checkpoints
        # itself, as SQLite does by default, after as many pages as the store's thread.
        settings = {
            name: int(store.database.rows(f"PRAGMA {name}")[0][0])
            for name in ("cache_size", "wal_autocheckpoint")
        }
    return SqliteEngine(file, settings)


def fill(folder: Path, address: str, fleet: Fleet, groups: int) -> None:
    """Make a store, and keep 16 blocks of the first groups in it.

    Args:
        folder: The bench's.
        address: PostgreSQL's; empty is SQLite.
        fleet: Whose groups they are.
        groups: How many, a multiple of ten; 0 leaves it empty.
    """
    with closing(open_store(folder, address)) as store:
        if not groups:
            return
        few = Fleet(PATTERNS, PATTERNS)
        for block in range(BLOCKS):
            store.commit([_delivery(few, group, block) for group in range(PATTERNS)])
    with closing(open_engine(folder, address)) as engine:
        engine.fill(list(_statements(engine, fleet, groups // PATTERNS)))


def ask(
    folder: Path, address: str, fleet: Fleet, last: int, before: int
) -> tuple[list[Reading], dict[str, Any]]:
    """Ask a store for some of what came in, and how long its answers take.

    Args:
        folder: The bench's.
        address: PostgreSQL's; empty is SQLite.
        fleet: Which sent it.
        last: The last id before it did.
        before: Readings stored before that.

    Returns:
        Readings as the store tells them; and for each query its times.
    """
    days = (BLOCKS if before else 1) * DAYS
    random = Random(1)  # noqa: S311 - a choice, no secret
    with closing(open_store(folder, address)) as store:
        gc.collect()
        gc.freeze()  # as a gateway has: what else is held here slows no answer
        steps = range(last, store.last(), max(1, (store.last() - last) // 4))
        told = [
            each.reading
            for after in steps
            for each in store.readings(Filter(), after, _TOLD)
            if not each.reading.generation
        ]
        numbers = _numbers(store)
        full = before // PER_GROUP or len(numbers) // DEVICES
        groups = [at for at in range(full) if device_name(DEVICES * at) in numbers]

        def patient() -> int:
            first = DEVICES * random.choice(groups) + 2 * random.randrange(2)
            begin = START_MS + random.randrange(max(days - 90, 1)) * _DAY_MS
            until = begin + 90 * _DAY_MS
            spans = [
                Span(numbers[device_name(first + at)], None, begin, until)
                for at in range(2)
            ]
            return len(store.of_device(spans, None, None, _PAGE))

        def station() -> int:
            begin = START_MS + random.randrange(days) * _DAY_MS
            name = fleet.station(random.choice(groups)).station
            day = Filter(station=name, since_ms=begin, until_ms=begin + _DAY_MS)
            return len(store.readings(day, 0, _PAGE))

        return told, {
            "patient_90_days": _timed(patient),
            "station_day": _timed(station),
        }


def _delivery(fleet: Fleet, group: int, block: int) -> Delivery:
    sent = fleet.message(group, block, block + 1)
    received_ms = START_MS + (block + 1) * DAYS * _DAY_MS
    return open_message(Message.of(sent.topic, sent.payload, received_ms), "")


def _numbers(store: Store) -> dict[str, int]:
    return {
        str(name): int(number)
        for name, number in store.database.rows("SELECT device, id FROM device")
    }


def _timed(query: Callable[[], int]) -> dict[str, float]:
    times, rows = [], []
    for _ in range(_ASKED):
        began_s = perf_counter()
        rows.append(query())
        times.append(1_000 * (perf_counter() - began_s))
    return {
        "p50_ms": round(median(times), 2),
        "p95_ms": round(quantiles(times, n=20)[-1], 2),
        "rows": round(median(rows)),
    }


def _statements(engine: Engine, fleet: Fleet, copies: int) -> Iterator[str]:
    """Yield what replaces the store's rows by copies of them.

    ``place`` counts from 0 what the store keeps: its groups by their names, which are
    numbers, its batches and its readings in order of arrival.
    """
    yield (
        "CREATE TEMP TABLE t_station AS SELECT "
        "CAST(substr(station, 7) AS BIGINT) AS place, * FROM station"
    )
    yield (
        "CREATE TEMP TABLE t_device AS SELECT "
        "CAST(substr(device, 7) AS BIGINT) AS place, * FROM device"
    )
    yield (
        "CREATE TEMP TABLE t_batch AS SELECT "
        "row_number() OVER (ORDER BY b.id) - 1 AS place, s.place AS s_place, b.* "
        "FROM batch b JOIN t_station s ON s.id = b.station"
    )
    yield (
        "CREATE TEMP TABLE t_reading AS SELECT "
        "row_number() OVER (ORDER BY r.id) - 1 AS place, d.place AS d_place, "
        "b.place AS b_place, r.* FROM reading r "
        "JOIN t_device d ON d.id = r.device JOIN t_batch b ON b.id = r.batch"
    )
    yield "CREATE INDEX t_reading_place ON t_reading (place)"
    yield (
        "CREATE TEMP TABLE t_tally AS SELECT d.place AS d_place, t.* FROM tally t "
        "JOIN t_device d ON d.id = t.device"
    )
    for table in ("reading", "tally", "batch", "device", "station"):
        yield f"DELETE FROM {table}"  # noqa: S608 - our own words
    copy = _Copy(engine, fleet, copies)
    for number in range(copies):
        yield from copy.names(number)
    for block in range(BLOCKS):
        for number in range(copies):
            yield from copy.block(block, number)


class _Copy:
    def __init__(self, engine: Engine, fleet: Fleet, copies: int) -> None:
        self._fleet, self._copies = fleet, copies
        self._columns = {
            table: engine.columns(table)
            for table in ("station", "device", "batch", "reading", "tally")
        }
        self._own_ids = engine.own_ids

    def names(self, number: int) -> Iterator[str]:
        """Yield what makes a copy's stations, devices and tallies."""
        group, device = PATTERNS * number, PATTERNS * DEVICES * number
        stations = self._fleet.stations
        yield self._insert(
            "station",
            {"id": f"place + {group + 1}", "station": f"'bench-' || (place + {group})"},
            f"place + {group} < {stations}",
        )
        name = f"(place + {device})"
        yield self._insert(
            "device",
            {
                "id": f"place + {device + 1}",
                "device": f"'bench-' || {name}",
                "serial": f"substr(CAST(100000000 + {name} AS TEXT), 2)",
            },
        )
        yield self._insert("tally", {"device": f"d_place + {device + 1}"})

    def block(self, block: int, number: int) -> Iterator[str]:
        """Yield what makes a copy's batches and readings of one block."""
        group, stations = PATTERNS * number, self._fleet.stations
        device = PATTERNS * DEVICES * number
        turns = self._fleet.groups // stations
        first = self._first_id(block, number)
        own = f"(s_place + {group})"
        at = f"{first} + ({{}} - {PATTERNS * block}) * {READINGS}"
        within = "place >= {0} AND place < {1} ORDER BY place"
        yield self._insert(
            "batch",
            {
                "id": at.format("place"),  # any number will do
                "station": f"{own} % {stations} + 1",
                "counter": f"{block * turns} + {own} / {stations} + 1",
                "first_id": at.format("place"),
                "last_id": at.format("place") + f" + {READINGS - 1}",
                # PostgreSQL's alone
                "devices": f"(SELECT array_agg(d.place + {device + 1}) "  # noqa: S608 - likewise
                "FROM t_device d WHERE d.id = ANY (devices))",
            },
            within.format(PATTERNS * block, PATTERNS * (block + 1)),
        )
        yield self._insert(
            "reading",
            {
                "id": f"place - {_STEP * block} + {first}",
                "device": f"d_place + {device + 1}",
                "batch": at.format("b_place"),
            },
            within.format(_STEP * block, _STEP * (block + 1)),
        )

    def _first_id(self, block: int, number: int) -> int:
        return (block * self._copies + number) * _STEP + 1

    def _insert(self, table: str, other: dict[str, str], where: str = "1 = 1") -> str:
        columns: Sequence[str] = self._columns[table]
        names = ", ".join(f'"{name}"' for name in columns)
        values = ", ".join(other.get(name, f'"{name}"') for name in columns)
        own = self._own_ids if "id" in columns and table != "reading" else ""
        return (
            f"INSERT INTO {table} ({names}){own} "  # noqa: S608 - our own words
            f"SELECT {values} FROM t_{table} WHERE {where}"
        )

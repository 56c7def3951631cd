"""How much a store looks at for an answer, and that ways through its ledger agree."""

import random
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace

import psycopg
import pytest

from gateway.store import Filter, Span, Store, Stored
from gateway.store.database import Row, Scalar
from gateway.store.postgres import PostgresStore
from gateway.store.reading import Reader
from gateway.store.rows import READING
from protocols.observation import Device, Kind, Reading, TimeMethod
from protocols.uplink.topics import Station
from tests.gateway.stations import MINUTE_MS, START_MS, STATION, accepted, glucose

_OTHER = Station("clinic", "station-2")
_FAR = Station("far", "station-1")
_METERS = [Device(f"meter-{number}") for number in range(4)]
_DAY_MS = 86_400_000
_COPIES = 500
# A day later each, of the same devices, under a batch of its own.
_COPY = """
    INSERT INTO batch (id, station, counter, digest, made_ms, received_ms, new, known,
        amended, first_id, last_id, first_utc_ms, last_utc_ms)
    SELECT b.id + 100000 * n, b.station, b.counter + 10 * n, b.digest, b.made_ms,
        b.received_ms, b.new, b.known, b.amended, b.first_id + 100000 * n,
        b.last_id + 100000 * n, b.first_utc_ms + {day}::bigint * n,
        b.last_utc_ms + {day}::bigint * n
    FROM batch b, generate_series(1, {copies}) AS n;
    INSERT INTO reading ({columns})
    SELECT {values} FROM reading r, generate_series(1, {copies}) AS n;
    SELECT setval('arrival', 16384 * 4000);
"""


_OTHER_VALUES = {
    "id": "id + 100000 * n",
    "ordinal": "ordinal + 100 * n",
    "batch": "batch + 100000 * n",
    "utc_ms": "utc_ms + {day}::bigint * n",
}


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest) -> Store:
    found: Store = request.getfixturevalue(f"{request.param}_store")
    return found


@pytest.fixture
def unknown(postgres_url: str) -> Iterator[PostgresStore]:
    """A store with 20,040 readings of which its server has no statistics."""
    with closing(PostgresStore(postgres_url)) as store:
        store.commit(
            [
                accepted(1 + number, *some, station=station)
                for number, station in enumerate((STATION, _OTHER))
                for some in [
                    [
                        glucose(at, device=meter)
                        for meter in _METERS[2 * number : 2 * number + 2]
                        for at in range(10)
                    ]
                ]
            ]
        )
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            for part in range(16):
                connection.execute(
                    f"ALTER TABLE reading_{part} SET (autovacuum_enabled = off)"
                )
            values = ", ".join(_OTHER_VALUES.get(name, name) for name in READING)
            connection.execute(
                _COPY.format(
                    columns=", ".join(READING),
                    values=values.format(day=_DAY_MS),
                    day=_DAY_MS,
                    copies=_COPIES,
                )
            )
        yield store


def looked_at(store: PostgresStore, url: str, ask: Callable[[], list[Stored]]) -> float:
    """Return how many rows and entries of indexes the server reads for each found."""
    count = """
        SELECT (SELECT sum(seq_tup_read) FROM pg_stat_user_tables
                WHERE relname LIKE 'reading%')
            + (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes
                WHERE relname LIKE 'reading%')
    """

    def counted() -> int:
        store.database.rows("SELECT pg_stat_force_next_flush()")
        with psycopg.connect(url) as connection:
            return int(connection.execute(count).fetchall()[0][0])

    before = counted()
    found = ask()
    assert found
    return (counted() - before) / len(found)


def test_answers_need_no_statistics(unknown: PostgresStore, postgres_url: str) -> None:
    """A table that first fills has none.

    Who asks then would wait for a look through the whole of it, or through all of a
    device's readings for each.
    """
    begin = START_MS + 300 * _DAY_MS
    spans = [Span(number, None, begin, begin + 30 * _DAY_MS) for number in (1, 2)]
    of_station = Filter(
        station="station-2", since_ms=begin, until_ms=begin + 5 * _DAY_MS
    )
    some = unknown.readings(Filter(), 10_000_000, 50)

    for ask in (
        lambda: unknown.of_device(spans, None, None, 1_000),
        lambda: unknown.readings(of_station, 0, 1_000),
        lambda: unknown.readings(Filter(), 10_000_000, 50),
        lambda: [one for one in [unknown.reading(some[0].id)] if one],
    ):
        assert looked_at(unknown, postgres_url, ask) < 12


def test_a_day_of_a_station_is_found_among_others_of_its_batch(
    unknown: PostgresStore, postgres_url: str
) -> None:
    """Who reads out a meter sends weeks at once: a day of it is a few rows."""
    days = [
        glucose(day * 1_440, device=meter) for meter in _METERS for day in range(50)
    ]
    unknown.commit([accepted(1, *days, station=_FAR)])
    begin = START_MS + 20 * _DAY_MS
    day = Filter(tenant="far", since_ms=begin, until_ms=begin + _DAY_MS)

    def ask() -> list[Stored]:
        found = unknown.readings(day, 0, 1_000)
        assert len(found) == len(_METERS)
        return found

    assert looked_at(unknown, postgres_url, ask) < 8
    with psycopg.connect(postgres_url) as connection:
        connection.execute("UPDATE batch SET devices = NULL")
    assert looked_at(unknown, postgres_url, ask) > 50


def test_readings_of_one_time_are_not_looked_up_by_it(
    unknown: PostgresStore, postgres_url: str
) -> None:
    """Each would lead to all of them."""
    at_ms = START_MS - _DAY_MS
    at_once = [
        glucose(at, utc_ms=at_ms, device=_METERS[0]) for at in range(60_000, 60_300)
    ]
    unknown.commit([accepted(9_999, *at_once, glucose(70_000, device=_METERS[0]))])
    which = Filter(station="station-1", since_ms=at_ms, until_ms=at_ms + 1)

    def ask() -> list[Stored]:
        found = unknown.readings(which, 0, 1_000)
        assert [one.reading.observation.sequence for one in found] == [
            *range(60_000, 60_300)
        ]
        return found

    assert looked_at(unknown, postgres_url, ask) < 12


class _Explained:
    """A store's database, and how its server goes about what it is asked."""

    engine = "postgres"

    def __init__(self, store: PostgresStore) -> None:
        self._rows = store.database.rows
        self.plans: list[str] = []

    def rows(self, sql: str, **values: Scalar) -> list[Row]:
        plan = self._rows(f"EXPLAIN {sql}", **values)
        self.plans.append("\n".join(line for (line,) in plan))
        return self._rows(sql, **values)


def test_a_time_without_a_device_is_not_looked_up_by_device(
    unknown: PostgresStore,
) -> None:
    """The index on device and time would be gone through from end to end for it."""
    begin = START_MS + 300 * _DAY_MS
    station = "station-2"
    for which in (
        Filter(since_ms=begin, until_ms=begin + _DAY_MS),
        Filter(station=station, since_ms=begin, until_ms=begin + _DAY_MS),
        Filter(station=station, since_ms=begin),
    ):
        explained = _Explained(unknown)
        assert Reader(explained).readings(which, 0, 50)  # type: ignore[arg-type]

        plans = "\n".join(explained.plans)
        assert "+ utc_ms" in plans
        assert not re.search(r"Index Cond: \(+utc_ms", plans)


def test_a_page_of_many_spans_is_that_of_few(unknown: PostgresStore) -> None:
    """One statement asks for some spans, and more are asked for in another way."""
    begin, end = START_MS, START_MS + 200 * _DAY_MS
    for kinds in (None, [Kind.GLUCOSE]):
        few = [Span(number, -1, begin, end) for number in (1, 2, 3)]
        many = [
            Span(number, -1, start, start + 5 * _DAY_MS)
            for number in (1, 2, 3)
            for start in range(begin, end, 5 * _DAY_MS)
        ]
        pages, after = [], None
        for _ in range(3):
            asked = [
                unknown.of_device(spans, kinds, after, 400) for spans in (few, many)
            ]
            assert len(asked[0]) == 400
            assert asked[0] == asked[1]
            last = asked[0][-1]
            after = last.reading.utc_ms or 0, last.id
            pages += asked[0]
        times = [(one.reading.utc_ms, one.id) for one in pages]
        assert times == sorted({*times})


def test_a_page_is_not_compiled_for(postgres_store: PostgresStore) -> None:
    """The server takes a page over all parts for much work.

    To compile it would take 100 ms, and the page takes 10.
    """
    assert postgres_store.database.rows("SELECT current_setting('jit')") == [("off",)]


def test_pages_of_many_small_batches_leave_nothing_out(
    store: Store, request: pytest.FixtureRequest
) -> None:
    """One page may take many rows of the ledger.

    So it is where stations send each reading as it is taken, in turn with others. Of
    some batches nobody knows the devices, and of some readings nobody knows the time.
    """
    draw = random.Random(3)
    timeless = {
        "utc_ms": None,
        "time_method": TimeMethod.UNKNOWN,
        "time_bound_ms": None,
    }

    def reading(sequence: int) -> Reading:
        utc_ms = START_MS + draw.randrange(2_000) * MINUTE_MS
        found = glucose(
            sequence,
            device=draw.choice(_METERS),
            utc_ms=draw.choice([None, None, utc_ms]),
        )
        return replace(found, **timeless) if draw.random() < 0.1 else found

    deliveries = [
        accepted(
            counter,
            *(reading(counter * 10 + at) for at in range(n)),
            station=draw.choice([STATION, _OTHER, _FAR]),
        )
        for counter in range(1, 200)
        for n in [draw.choice([1, 1, 1, 2, 9])]
    ]
    for start in range(0, len(deliveries), 20):
        store.commit(deliveries[start : start + 20])
    if store.database.engine == "postgres":
        with psycopg.connect(request.getfixturevalue("postgres_url")) as connection:
            connection.execute(
                "UPDATE batch SET devices = NULL WHERE counter / 8 % 3 = 0"
            )
    every = store.readings(Filter(), 0, 2_000)

    since, until = (START_MS + minute * MINUTE_MS for minute in (700, 1_500))
    for which in (
        Filter(station="station-2"),
        Filter(station="station-1", since_ms=since),
        Filter(station="station-1", until_ms=until),
        Filter(tenant="clinic", since_ms=since, until_ms=until),
        Filter(tenant="far", station="station-1", since_ms=since),
        Filter(since_ms=since, until_ms=until),
        Filter(since_ms=since, until_ms=since + 60 * MINUTE_MS),
        Filter(station="station-1", since_ms=since, until_ms=since + 60 * MINUTE_MS),
        Filter(since_ms=since, until_ms=since),
        Filter(since_ms=until, until_ms=since),
    ):
        expected = [one.id for one in every if _is_asked_for(one, which)]
        for size in (1_000, 64, 7):
            found, after = [], 0
            while page := store.readings(which, after, size):
                assert len(page) <= size
                found += [one.id for one in page]
                after = found[-1]
            assert found == expected


def _is_asked_for(one: Stored, which: Filter) -> bool:
    """Whether a filter means a reading, told without a store."""
    time_ms = one.reading.utc_ms
    if which.since_ms is not None and (time_ms is None or time_ms < which.since_ms):
        return False
    if which.until_ms is not None and (time_ms is None or time_ms >= which.until_ms):
        return False
    return which.station in (None, one.station.station) and which.tenant in (
        None,
        one.station.tenant,
    )


def test_readings_of_one_time_are_told_once_each(store: Store) -> None:
    """A clock that stands gives all of them one time: a page ends within them."""
    at_once = [
        glucose(number, utc_ms=START_MS, device=_METERS[0]) for number in range(9)
    ]
    store.commit([accepted(1, *at_once, glucose(99, device=_METERS[1]))])
    spans = [Span(number, None, 0, 1 << 62) for number in (1, 2)]
    found: list[Stored] = []
    after = None
    while page := store.of_device(spans, None, after, 4):
        assert len(page) <= 4
        found += page
        after = page[-1].reading.utc_ms or 0, page[-1].id
    ids = [one.id for one in found]
    assert ids == sorted(ids)
    assert len(ids) == 10

"""The PostgreSQL store: many gateways at once, and a server that comes and goes."""

import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import psycopg
import pytest

from gateway.bench.servers import Postgres
from gateway.consent import Consents, Purpose
from gateway.principals import Principal, Principals, Role
from gateway.registry import Patient, Registry
from gateway.store import Filter, Outcome, Refused, StoreUnavailable, StoreUnusable
from gateway.store.database import Change
from gateway.store.gone import keep_digests
from gateway.store.postgres import PostgresStore, migrate, migrations
from gateway.store.postgres_database import settings, translated
from gateway.store.postgres_write import _Entry, _take_ids
from protocols.gatt.time import DateTime
from protocols.observation import Device, Reading
from protocols.uplink.topics import Station
from tests.gateway import postgres
from tests.gateway.stations import STATION, accepted, eventually, glucose

OTHER = Station("clinic", "station-2")
EVERY = Filter()
METERS = [Device(f"sensor-{number}") for number in range(6)]


@contextmanager
def gateways(url: str, count: int) -> Iterator[list[PostgresStore]]:
    """Run ``count`` stores on one database."""
    found = [PostgresStore(url) for _ in range(count)]
    try:
        yield found
    finally:
        for one in found:
            one.close()


@contextmanager
def commit_held_up(url: str, station: Station) -> Iterator[None]:
    """Keep commits of a known station waiting, after they wrote their readings."""
    with psycopg.connect(url) as connection:
        connection.execute(
            "SELECT FROM station WHERE station = %s FOR NO KEY UPDATE",
            [station.station],
        )
        yield


@dataclass
class _OfSize:
    """As much of a delivery as its ids depend on."""

    count: int

    @property
    def batch(self) -> "_OfSize":
        return self


def waits(url: str, count: int = 1) -> bool:
    """Whether commits wait for each other, at least so many."""
    with psycopg.connect(url) as connection:
        query = "SELECT count(*) >= %s FROM pg_locks WHERE NOT granted"
        return connection.execute(query, [count]).fetchall() == [(True,)]


def walk(store: PostgresStore, after: int = 0, page: int = 7) -> Iterator[int]:
    """Yield ids of readings, page by page, to the end."""
    while found := store.readings(EVERY, after, page):
        yield from (one.id for one in found)
        after = found[-1].id


def test_no_cursor_steps_over_a_commit_that_comes_late(postgres_url: str) -> None:
    """A reading with a lower id that appears behind a cursor would never be read."""
    with (
        gateways(postgres_url, 3) as (slow, fast, reader),
        ThreadPoolExecutor() as pool,
    ):
        slow.commit([accepted(1, glucose(1))])
        fast.commit([accepted(1, glucose(1, device=METERS[1]), station=OTHER)])
        cursor = reader.last()
        with commit_held_up(postgres_url, STATION):
            late = pool.submit(slow.commit, [accepted(2, glucose(2))])
            assert eventually(lambda: waits(postgres_url))
            fast.commit([accepted(2, glucose(2, device=METERS[1]), station=OTHER)])

            assert (list(walk(reader, cursor)), reader.last()) == ([], cursor)

        assert late.result() == [Outcome(new=1)]
        found = reader.readings(EVERY, cursor, 10)
    assert [one.station for one in found] == [STATION, OTHER]


def test_a_gateway_commits_while_another_commit_of_its_own_waits(
    postgres_url: str,
) -> None:
    with gateways(postgres_url, 1) as (store,), ThreadPoolExecutor() as pool:
        store.commit([accepted(1, glucose(1))])
        store.commit([accepted(1, glucose(1, device=METERS[1]), station=OTHER)])
        with commit_held_up(postgres_url, STATION):
            late = pool.submit(store.commit, [accepted(2, glucose(2))])
            assert eventually(lambda: waits(postgres_url))
            beside = accepted(2, glucose(2, device=METERS[1]), station=OTHER)

            assert pool.submit(store.commit, [beside]).result(5) == [Outcome(new=1)]

        assert late.result(5) == [Outcome(new=1)]


def test_where_readers_were_let_they_are_let_again(postgres_url: str) -> None:
    """Who was told the last id takes all up to it as seen that a page does not hold.

    A commit reads the last block's number, and has it locked a moment later; others
    may have gone on meanwhile. It takes higher ids than theirs.
    """
    with (
        gateways(postgres_url, 2) as (fast, reader),
        psycopg.connect(postgres_url) as slow,
    ):
        ((block,),) = slow.execute("SELECT last_value >> 14 FROM arrival")
        fast.commit([accepted(1, glucose(1))])
        last = reader.last()
        slow.execute(
            "SELECT pg_advisory_xact_lock_shared((30295::bigint << 48) | %s)", [block]
        )

        assert [one.id for one in reader.readings(EVERY, 0, 10)] == [last]


def test_an_amendment_that_comes_late_is_not_stepped_over(postgres_url: str) -> None:
    def amended(sequence: int) -> Reading:
        return glucose(sequence, status=("battery_low",))

    with (
        gateways(postgres_url, 3) as (slow, fast, reader),
        ThreadPoolExecutor() as pool,
    ):
        slow.commit([accepted(1, glucose(1))])
        fast.commit([accepted(1, glucose(2), station=OTHER)])
        with commit_held_up(postgres_url, STATION):
            late = pool.submit(slow.commit, [accepted(2, amended(1))])
            assert eventually(lambda: waits(postgres_url))
            fast.commit([accepted(2, amended(2), station=OTHER)])

            assert reader.amended(0, 10) == []
            assert reader.last_amended() == 0

        assert late.result() == [Outcome(amended=1)]
        assert [one.stored.station for one in reader.amended(0, 10)] == [STATION, OTHER]


def test_a_device_that_comes_late_is_not_stepped_over(postgres_url: str) -> None:
    """Who walks the devices keeps the id of the last, and would never see it."""
    with (
        gateways(postgres_url, 3) as (slow, fast, reader),
        ThreadPoolExecutor() as pool,
    ):
        slow.commit([accepted(1, glucose(1, device=METERS[0]))])
        with commit_held_up(postgres_url, STATION):
            new = accepted(2, glucose(2, device=METERS[1]))
            late = pool.submit(slow.commit, [new])
            assert eventually(lambda: waits(postgres_url))
            for at in (2, 3):
                quick = glucose(1, device=METERS[at])
                fast.commit([accepted(at, quick, station=OTHER)])

            before = reader.devices(0, 10)

        assert late.result() == [Outcome(new=1)]
        behind = reader.devices(before[-1].id, 10)
    assert [one.device for one in before] == METERS[:1]
    assert [one.device for one in behind] == METERS[1:4]


def test_a_message_quarantined_late_is_not_stepped_over(postgres_url: str) -> None:
    """Somebody who looks in each morning would never be shown it."""

    def refused(digest: int) -> Refused:
        topic = STATION.up("batch")
        return Refused(topic, STATION, b"?", digest.to_bytes(32), "why", 7)

    with (
        gateways(postgres_url, 3) as (slow, fast, reader),
        ThreadPoolExecutor() as pool,
    ):
        slow.commit([refused(5)])
        with psycopg.connect(postgres_url) as holding:
            holding.execute("SELECT FROM quarantine FOR UPDATE")
            late = pool.submit(slow.commit, [refused(1), refused(5)])
            assert eventually(lambda: waits(postgres_url))
            topic = OTHER.up("batch")
            fast.commit([Refused(topic, None, b"?", bytes(32), "why", 7)])

            before = reader.quarantine(0, 10)

        late.result()
        behind = reader.quarantine(before[-1].id, 10)
    assert [one.deliveries for one in before] == [1]
    assert [one.station for one in behind] == [STATION, None]


def test_a_patient_who_is_added_late_is_not_stepped_over(postgres_url: str) -> None:
    """Who walks every tenant's keeps the id of the last, and would never see them."""

    def add(store: PostgresStore, tenant: str, *identifiers: tuple[str, str]) -> None:
        with store.database.change() as change:
            new = Patient(0, tenant, f"P-{identifiers}", identifiers)
            Registry(store.database).add(change, new, 1)

    with gateways(postgres_url, 2) as (slow, fast), ThreadPoolExecutor() as pool:
        add(slow, "slow")
        with psycopg.connect(postgres_url) as holding:
            holding.execute(
                "INSERT INTO patient_identifier (tenant, value, system, patient) "
                "SELECT 'slow', '7', 'urn:x', id FROM patient"
            )
            late = pool.submit(add, slow, "slow", ("urn:x", "7"))
            assert eventually(lambda: waits(postgres_url))
            other = pool.submit(add, fast, "quick")
            assert eventually(lambda: other.done() or waits(postgres_url, 2))
            before = Registry(fast.database).patients("", 0, 10)
            holding.rollback()

        late.result()
        other.result()
        behind = Registry(fast.database).patients("", before[-1].id, 10)
    assert [one.tenant for one in before + behind] == ["slow", "slow", "quick"]


def _programme(store: PostgresStore, change: Change, tenant: str) -> None:
    Consents(store.database).add_programme(change, tenant, "x", Purpose.TREATMENT, 1)


def _principal(store: PostgresStore, change: Change, tenant: str) -> None:
    new = Principal(0, tenant, "desk", frozenset({Role.STEWARD}))
    Principals(store.database, lambda: 1).issue(change, new, 9)


@pytest.mark.parametrize(
    ("make", "page"),
    [
        (_programme, lambda store: partial(Consents(store.database).programmes, "")),
        (
            _principal,
            lambda store: partial(Principals(store.database, lambda: 1).page, ""),
        ),
    ],
    ids=["programmes", "principals"],
)
def test_what_another_tenant_adds_late_is_not_stepped_over(
    postgres_url: str,
    make: Callable[[PostgresStore, Change, str], None],
    page: Callable[[PostgresStore], Callable[[int, int], list[Any]]],
) -> None:
    """Who walks every tenant's keeps the id of the last, and would never see it."""

    def add(store: PostgresStore) -> None:
        with store.database.change() as change:
            make(store, change, "quick")

    with gateways(postgres_url, 2) as (slow, fast), ThreadPoolExecutor() as pool:
        with slow.database.change() as change:
            make(slow, change, "slow")
            other = pool.submit(add, fast)
            assert eventually(lambda: other.done() or waits(postgres_url))
            found = page(fast)(0, 10)

        other.result()
        found += page(fast)(found[-1].id if found else 0, 10)
    assert [one.id for one in found] == [1, 2]


def test_many_gateways_store_each_reading_once_and_cursors_see_it(
    postgres_url: str,
) -> None:
    """All of them are told the same things in another order, and cut otherwise."""
    stop = Event()

    def work(store: PostgresStore, seed: int) -> Counter[str]:
        draw = random.Random(seed)
        station = Station("clinic", f"station-{seed}")
        told: Counter[str] = Counter()
        readings = [glucose(n, device=m) for m in METERS for n in range(60)]
        draw.shuffle(readings)
        batches = [
            accepted(at + 1, *readings[at : at + 9], station=station)
            for at in range(0, len(readings), 7)
        ]
        while batches:
            group = batches[-4:]
            try:
                outcomes = store.commit(group)
            except StoreUnavailable as error:
                told[str(error)] += 1
                continue
            del batches[-4:]
            told["new"] += sum(outcome.new for outcome in outcomes)
        return told

    def follow(store: PostgresStore) -> list[int]:
        seen: list[int] = []
        while not stop.is_set():
            seen += walk(store, seen[-1] if seen else 0)
        return seen + list(walk(store, seen[-1] if seen else 0))

    with gateways(postgres_url, 5) as stores, ThreadPoolExecutor() as pool:
        following = pool.submit(follow, stores[4])
        working = [pool.submit(work, stores[at], at) for at in range(4)]
        told = sum((one.result() for one in working), Counter[str]())
        stop.set()
        seen = following.result()
        kept = stores[0].database.rows("SELECT id FROM reading ORDER BY id")
        counted = stores[0].database.rows("SELECT sum(readings) FROM tally")

    assert told == {"new": 6 * 60}, "nothing twice, and nobody waited in a circle"
    assert seen == [number for (number,) in kept], "each once, in order"
    assert counted == [(6 * 60,)]


@pytest.mark.parametrize("counts", [[10_000], [10_000, 6_384, 1], [9_000] * 3, [1] * 5])
def test_ids_of_batches_in_one_commit_never_overlap(
    postgres_url: str, counts: list[int]
) -> None:
    """A batch does not fit behind another one in every block of ids."""
    with psycopg.connect(postgres_url) as connection:
        ((before,),) = connection.execute("SELECT arrived()")
        entries = [_Entry(_OfSize(count), 1, count) for count in counts]
        _take_ids(connection, entries)
        ((last,),) = connection.execute("SELECT last_value FROM arrival")

    ids = [
        one
        for entry in entries
        for one in range(entry.first, entry.first + entry.known)
    ]
    assert before < ids[0]
    assert ids == sorted({*ids})
    assert ids[-1] <= last


def test_a_batch_at_two_gateways_at_once_is_stored_by_one(postgres_url: str) -> None:
    """A broker gives a message to another gateway when the first is silent."""
    batch = accepted(2, glucose(2))
    with gateways(postgres_url, 2) as (first, second), ThreadPoolExecutor() as pool:
        first.commit([accepted(1, glucose(1))])
        with commit_held_up(postgres_url, STATION):
            told = [pool.submit(one.commit, [batch]) for one in (first, second)]
            assert eventually(lambda: waits(postgres_url))
        outcomes = [one.result()[0] for one in told]
        kept = first.database.rows("SELECT count(*), sum(deliveries) FROM batch")

    assert sorted(outcomes, key=str) == [Outcome(known=1), Outcome(new=1)]
    assert kept == [(2, 3)]


def test_what_is_being_erased_does_not_come_back(postgres_url: str) -> None:
    """Told again at the very moment, it would be stored behind the erasure's back."""
    with gateways(postgres_url, 2) as (eraser, other), ThreadPoolExecutor() as pool:
        eraser.commit([accepted(1, glucose(1), glucose(2))])
        with eraser.database.change() as change:
            ((device, number),) = change.rows(
                "SELECT device, id FROM reading WHERE ordinal = 1"
            )
            keep_digests(change, device, ":it", {"it": number})
            again = pool.submit(other.commit, [accepted(2, glucose(1), glucose(3))])
            assert eventually(lambda: waits(postgres_url))
            change.rows("DELETE FROM reading WHERE ordinal = 1")

        assert again.result() == [Outcome(new=1, known=1)]
        kept = other.database.rows("SELECT ordinal FROM reading ORDER BY 1")
    assert kept == [(2,), (3,)]


def test_a_report_on_its_way_goes_with_the_reading_that_is_erased(
    postgres_url: str,
) -> None:
    """Taken away without a digest, it would be kept when it is told again."""
    said = glucose(1)
    clock = DateTime(2026, 4, 1, 7, 30, 0)
    beside = replace(said, observation=replace(said.observation, device_time=clock))

    def erase(store: PostgresStore) -> None:
        with store.database.change() as change:
            ((device, number),) = change.rows("SELECT device, id FROM reading")
            keep_digests(change, device, ":it", {"it": number})
            change.rows("DELETE FROM amendment")
            change.rows("DELETE FROM reading")

    with gateways(postgres_url, 2) as (eraser, other), ThreadPoolExecutor() as pool:
        eraser.commit([accepted(1, said)])
        with commit_held_up(postgres_url, STATION):
            late = pool.submit(other.commit, [accepted(2, beside)])
            assert eventually(lambda: waits(postgres_url))
            erasing = pool.submit(erase, eraser)
            assert eventually(lambda: waits(postgres_url, 2))

        assert late.result() == [Outcome(amended=1)]
        erasing.result()
        assert other.commit([accepted(3, beside, said)]) == [Outcome(known=2)]


def test_ids_go_on_in_another_cluster(
    postgres_server: Postgres, postgres_url: str
) -> None:
    """A cursor that a reader kept must still work after the store was restored."""
    with gateways(postgres_url, 1) as (store,):
        store.commit([accepted(number, glucose(number)) for number in range(1, 4)])
        before = [one.id for one in store.readings(EVERY, 0, 10)]
    name = psycopg.conninfo.conninfo_to_dict(postgres_url)["dbname"]
    where = ("-h", str(postgres_server.folder), "-U", "postgres")
    dump = postgres_server.run("pg_dump", *where, "--format=plain", str(name))

    with postgres.server() as fresh:
        fresh.execute("CREATE DATABASE restored")
        to = ("-h", str(fresh.folder), "-U", "postgres", "-v", "ON_ERROR_STOP=1")
        fresh.run("psql", *to, "--quiet", "restored", told=dump)
        with gateways(fresh.url("restored"), 1) as (store,):
            assert [one.id for one in store.readings(EVERY, 0, 10)] == before
            again = [accepted(number, glucose(number)) for number in (3, 4)]
            assert store.commit(again) == [Outcome(known=1), Outcome(new=1)]

            (new,) = store.readings(EVERY, before[-1], 10)
    assert new.reading.observation.sequence == 4


def test_a_server_that_comes_back_is_used_again() -> None:
    """What was committed is there; what was not can be sent again."""
    batch = accepted(2, glucose(2))
    with postgres.server() as server:
        server.execute("CREATE DATABASE readings")
        with gateways(server.url("readings"), 1) as (store,):
            store.commit([accepted(1, glucose(1))])
            server.stop(signal.SIGQUIT)
            with pytest.raises(StoreUnavailable):
                store.commit([batch])
            with pytest.raises(StoreUnavailable):
                store.readings(EVERY, 0, 10)
            server.start()

            assert store.commit([batch]) == [Outcome(new=1)]
            assert len(store.readings(EVERY, 0, 10)) == 2


_CRASH = """
import os, signal, sys
from gateway.store import postgres_told
from gateway.store.postgres import PostgresStore
from tests.gateway.stations import accepted, glucose

store = PostgresStore(sys.argv[1])
store.commit([accepted(1, glucose(1))])
print(1, flush=True)
sys.setprofile(
    lambda frame, event, _: frame.f_code is postgres_told.tallied.__code__
    and event == "return" and os.kill(os.getpid(), signal.SIGKILL)
)
store.commit([accepted(2, glucose(2))])
"""


def test_a_kill_between_insert_and_commit_loses_nothing_told(postgres_url: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _CRASH, postgres_url],
        stdout=subprocess.PIPE,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert (ended.returncode, ended.stdout.split()) == (-signal.SIGKILL, [b"1"])

    with gateways(postgres_url, 1) as (store,):
        again = [accepted(number, glucose(number)) for number in (1, 2)]
        assert store.commit(again) == [Outcome(known=1), Outcome(new=1)]


def test_gateways_that_start_at_once_make_the_tables_once(
    postgres_server: Postgres,
) -> None:
    postgres_server.execute("CREATE DATABASE fresh")
    url = postgres_server.url("fresh")
    with ThreadPoolExecutor() as pool:
        for store in pool.map(PostgresStore, [url] * 4):
            store.close()

    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT number, needs FROM version").fetchall()
    assert found == [(len(migrations()), 8)]


def test_a_migration_runs_while_another_gateway_commits(postgres_url: str) -> None:
    """It gives up at once where it would make everybody wait, and comes again."""
    scripts = [*migrations(), "ALTER TABLE reading ADD COLUMN more integer"]
    with (
        gateways(postgres_url, 1) as (store,),
        psycopg.connect(postgres_url) as holding,
        ThreadPoolExecutor() as pool,
        psycopg.connect(postgres_url, **settings(None)) as connection,
    ):
        holding.execute("SELECT FROM reading")  # as a long report would
        migrating = pool.submit(migrate, connection, scripts, 0.1, "100ms")
        for number in range(1, 5):
            assert eventually(lambda: waits(postgres_url))
            store.commit([accepted(number, glucose(number))])
        holding.rollback()
        migrating.result()
        store.commit([accepted(5, glucose(5))])
        assert len(store.readings(EVERY, 0, 100)) == 5
        found = store.database.rows(
            "SELECT number, max(more) FROM version, reading GROUP BY 1"
        )
    assert found == [(len(scripts), None)]


def test_a_migration_that_fails_leaves_the_version_before(postgres_url: str) -> None:
    scripts = [*migrations(), "CREATE TABLE two (a int); SELECT nonsense"]
    with psycopg.connect(postgres_url, **settings(None)) as connection:
        with pytest.raises(psycopg.errors.UndefinedColumn):
            migrate(connection, scripts)
        assert connection.execute("SELECT number FROM version").fetchall() == [
            (len(migrations()),)
        ]
        assert connection.execute("SELECT to_regclass('two')").fetchall() == [(None,)]


def test_a_store_is_used_by_an_older_gateway_unless_it_forbids_it(
    postgres_url: str,
) -> None:
    """Gateways are replaced one after another; until the last, both kinds run."""
    newer = len(migrations()) + 1
    with psycopg.connect(postgres_url) as connection:
        connection.execute("UPDATE version SET number = %s", [newer])
        connection.commit()
        PostgresStore(postgres_url).close()
        connection.execute("UPDATE version SET needs = %s", [newer])
        connection.commit()

    with pytest.raises(
        StoreUnusable, match=f"needs a gateway that knows version {newer}"
    ):
        PostgresStore(postgres_url)


def test_a_server_that_may_forget_is_refused(postgres_url: str) -> None:
    with pytest.raises(StoreUnusable, match="synchronous_commit off"):
        PostgresStore(f"{postgres_url}&options=-csynchronous_commit%3Doff")


def test_a_commit_waits_for_the_disk_whatever_the_server_is_set_to_later(
    postgres_url: str,
) -> None:
    """A reading that was receipted would else be gone with the server's memory."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(
            "ALTER TABLE batch ADD COLUMN waits text "
            "DEFAULT current_setting('synchronous_commit')"
        )
        with gateways(postgres_url, 1) as (store,):
            connection.execute(
                f"ALTER DATABASE {connection.info.dbname} SET synchronous_commit = off"
            )
            store.commit([accepted(1, glucose(1))])
        found = connection.execute("SELECT waits FROM batch").fetchall()
    assert found == [("on",)]


def test_a_commit_is_not_compiled_for(postgres_url: str) -> None:
    """The server takes a large one for much work, and would compile it each time."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(
            "ALTER TABLE batch ADD COLUMN jit text DEFAULT current_setting('jit')"
        )
        with gateways(postgres_url, 1) as (store,):
            store.commit([accepted(1, glucose(1))])
        found = connection.execute("SELECT jit FROM batch").fetchall()
    assert found == [("off",)]


def test_a_change_sees_what_was_committed_while_it_waited(postgres_url: str) -> None:
    """Else an erasure would leave a report that came in while it waited its turn."""
    frozen = f"{postgres_url}&options=-cdefault_transaction_isolation%3Dserializable"
    with (
        gateways(postgres_url, 1) as (other,),
        gateways(frozen, 1) as (store,),
        store.database.change() as change,
    ):
        assert change.rows("SELECT count(*) FROM reading") == [(0,)]
        other.commit([accepted(1, glucose(1))])

        assert change.rows("SELECT count(*) FROM reading") == [(1,)]


def test_a_database_of_other_letters_is_refused(
    postgres_server: Postgres,
) -> None:
    postgres_server.execute(
        "CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0"
    )

    with pytest.raises(
        StoreUnusable, match="server_encoding LATIN1: make the database"
    ):
        PostgresStore(postgres_server.url("latin"))


def test_a_server_that_is_not_there_is_an_error_of_one_sentence(tmp_path: Path) -> None:
    url = f"postgresql://somebody:secret@/none?host={tmp_path}"

    with pytest.raises(StoreUnusable, match=r"store\.url") as told:
        PostgresStore(url)

    assert "secret" not in str(told.value)


def test_a_password_is_given_to_the_server(postgres_server: Postgres) -> None:
    rules = postgres_server.folder / "data" / "pg_hba.conf"
    before = rules.read_text()
    rules.write_text(f"local all keeper scram-sha-256\n{before}")
    postgres_server.execute("SELECT pg_reload_conf()")
    postgres_server.execute("CREATE ROLE keeper LOGIN PASSWORD 'open sesame'")
    postgres_server.execute("CREATE DATABASE kept OWNER keeper")
    url = postgres_server.url("kept").replace("postgres@", "keeper@")

    with pytest.raises(StoreUnusable):
        PostgresStore(url)
    store = PostgresStore(url, "open sesame")
    assert store.commit([accepted(1, glucose(1))]) == [Outcome(new=1)]
    assert len(store.readings(EVERY, 0, 10)) == 1
    store.close()


def test_marks_are_found_where_they_are_marks() -> None:
    sql = "SELECT ':a', \":b\", x::text, 5 % 2 -- it's :c\nWHERE y = :d OR :e IS NULL"

    assert translated(sql, frozenset({"e"})) == (
        "SELECT ':a', \":b\", x::text, 5 %% 2 -- it's :c\n"
        "WHERE y = %(d)s OR NULL IS NULL"
    )

"""The SQLite store: what only a file can do, or have done to it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

from gateway.store import Filter, Outcome, StoreUnavailable, StoreUnusable
from gateway.store.sqlite import SqliteStore, migrate, migrations, refuse_old_sqlite
from gateway.store.sqlite_write import Writer
from protocols.observation import Device
from tests.gateway.stations import accepted, glucose

ALL = Filter()


def test_a_locked_database_is_unavailable_not_lost(
    store: SqliteStore, tmp_path: Path
) -> None:
    other = apsw.Connection(str(tmp_path / "readings.sqlite"))
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(StoreUnavailable):
        store.commit([accepted(1, glucose(1))])

    other.execute("ROLLBACK")
    assert store.commit([accepted(1, glucose(1))]) == [Outcome(new=1)]


def test_a_full_disk_is_unavailable_and_recovers(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "full.sqlite")
    pages = store._database.connection.pragma("page_count")
    store._database.connection.pragma("max_page_count", pages)
    many = accepted(1, *[glucose(number) for number in range(500)])

    with pytest.raises(StoreUnavailable):
        store.commit([many])
    assert store.readings(ALL, 0, 10) == []

    store._database.connection.pragma("max_page_count", 1 << 20)
    assert store.commit([many]) == [Outcome(new=500)]
    store.close()


def test_every_commit_is_flushed(store: SqliteStore) -> None:
    """NORMAL loses receipted commits in a power cut; FULL is 2."""
    assert store._database.connection.pragma("synchronous") == 2
    assert store._database.connection.pragma("journal_mode") == "wal"
    assert store._database.connection.pragma("foreign_keys") == 1


_CRASH = """
import os, signal, sys
from pathlib import Path
from gateway.store.sqlite import SqliteStore
from tests.gateway.stations import accepted, glucose

store = SqliteStore(Path(sys.argv[1]))
for number in range(1, 4):
    if number == 3:
        writing = store._database.connection
        writing.set_commit_hook(lambda: os.kill(os.getpid(), signal.SIGKILL))
    store.commit([accepted(number, glucose(number))])
    print(number, flush=True)
"""


def test_a_kill_between_insert_and_commit_loses_nothing_told(tmp_path: Path) -> None:
    """What was reported as committed is there; what was not can be sent again."""
    file = tmp_path / "crash.sqlite"
    ended = subprocess.run(
        [sys.executable, "-c", _CRASH, str(file)],
        stdout=subprocess.PIPE,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert (ended.returncode, ended.stdout.split()) == (-signal.SIGKILL, [b"1", b"2"])

    store = SqliteStore(file)
    kept = [one.reading.observation.sequence for one in store.readings(ALL, 0, 10)]
    assert kept == [1, 2]
    again = [accepted(number, glucose(number)) for number in (1, 2, 3)]
    assert store.commit(again) == [Outcome(known=1), Outcome(known=1), Outcome(new=1)]
    store.close()


def test_migrates_from_an_empty_database_once(tmp_path: Path) -> None:
    file = tmp_path / "new.sqlite"
    SqliteStore(file).close()
    SqliteStore(file).close()

    connection = apsw.Connection(str(file))
    assert connection.pragma("user_version") == len(migrations())
    assert connection.pragma("integrity_check") == "ok"


def test_a_migration_that_fails_leaves_the_version_before(tmp_path: Path) -> None:
    connection = apsw.Connection(str(tmp_path / "half.sqlite"))
    scripts = ["CREATE TABLE one (a)", "CREATE TABLE two (a); SELECT nonsense"]

    with pytest.raises(apsw.SQLError):
        migrate(connection, scripts)

    assert connection.pragma("user_version") == 1
    names = connection.execute("SELECT name FROM sqlite_schema").fetchall()
    assert names == [("one",)]


def test_a_store_of_a_newer_gateway_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "newer.sqlite"
    SqliteStore(file).close()
    apsw.Connection(str(file)).pragma("user_version", 999)

    with pytest.raises(StoreUnusable, match="version 999"):
        SqliteStore(file)


def test_a_store_that_an_older_gateway_has_open_is_not_changed(tmp_path: Path) -> None:
    """It would go on with the tables of before, and store again what was erased."""
    file, scripts = tmp_path / "readings.sqlite", migrations()
    running = apsw.Connection(str(file))
    running.execute("PRAGMA journal_mode = WAL")
    migrate(running, scripts[:-1])

    with pytest.raises(StoreUnusable, match=r"stop the gateway .* to version"):
        SqliteStore(file)
    assert running.pragma("user_version") == len(scripts) - 1

    running.close()
    SqliteStore(file).close()
    after = apsw.Connection(str(file))
    assert after.pragma("user_version") == len(scripts)
    assert after.pragma("integrity_check") == "ok"


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "text.sqlite"
    file.write_text("not a database, " * 100)

    with pytest.raises(StoreUnusable, match=r"text\.sqlite"):
        SqliteStore(file)


def test_an_sqlite_that_may_corrupt_a_wal_is_refused() -> None:
    refuse_old_sqlite("3.51.3")
    refuse_old_sqlite("4.0.0")
    with pytest.raises(StoreUnusable, match=r"SQLite 3\.51\.2"):
        refuse_old_sqlite("3.51.2")


def test_no_reading_of_an_older_gateway_is_passed_over(tmp_path: Path) -> None:
    """It gave ids by device over a whole commit: batches lie within each other."""
    file = tmp_path / "old.sqlite"
    connection = apsw.Connection(str(file))
    migrate(connection, migrations()[:1])
    connection.execute("""
        INSERT INTO station (id, tenant, station, first_seen_ms, last_seen_ms)
            VALUES (1, 'clinic', 's-1', 1, 1), (2, 'clinic', 's-2', 1, 1);
        INSERT INTO driver (id, name, version) VALUES (1, 'any', '1');
        INSERT INTO batch (id, station, counter, digest, made_ms, received_ms, new,
            known, amended) VALUES (1, 1, 1, x'00', 1, 1, 2, 0, 0),
            (2, 2, 1, x'01', 1, 1, 1, 0, 0);
    """)
    for number, station in ((1, 1), (2, 2), (3, 1)):
        connection.execute(
            "INSERT INTO device VALUES (?1, 'clinic', ?1, '', '', '', '', 1, 1)",
            (number,),
        )
        connection.execute(
            "INSERT INTO reading (id, device, generation, slot, kind, ordinal, "
            "discriminator, fingerprint, batch, station, driver, utc_ms, time_method, "
            'captured_ms, received_ms, link, quality, "values") VALUES (?1, ?1, 0, -1, '
            "'glucose', 1, 0, x'00', ?2, ?2, 1, 1000, 1, 1, 1, 0, 0, "
            """'[["glucose","mg/dL","100",0]]')""",
            (number, station),
        )
    connection.close()
    store = SqliteStore(file)

    def ids(**which: object) -> list[int]:
        return [one.id for one in store.readings(Filter(**which), 0, 10)]

    assert ids() == ids(tenant="clinic") == ids(since_ms=0) == [1, 2, 3]
    assert (ids(station="s-1"), ids(station="s-2")) == ([1, 3], [2])
    store.close()


def test_numbers_of_devices_are_forgotten_before_they_fill_the_memory(
    store: SqliteStore,
) -> None:
    """The gateway of a nation meets millions of devices, and runs for months."""
    writer = Writer(store._database, remembered=2)
    devices = [Device(f"meter-{number}") for number in range(5)] * 2

    for counter, device in enumerate(devices, start=1):
        told = accepted(counter, glucose(counter, device=device))
        assert writer.commit([told]) == [Outcome(new=1)]
        assert len(writer._devices) <= 3

    found = store.devices(0, 9)
    assert [one.device for one in found] == devices[:5]
    assert [tally.readings for one in found for tally in one.tallies] == [2] * 5


def test_more_readings_than_one_statement_inserts_are_all_there(
    store: SqliteStore,
) -> None:
    """The last ones of a commit go another way than the others."""
    counts = [1, 63, 64, 65, 130]
    first = 0
    for counter, count in enumerate(counts, start=1):
        sent = [glucose(first + at, f"{5 + at / 100:.2f}") for at in range(count)]
        # The first one is known by then: the others must not suffer from it.
        known = [glucose(0, "5.00")] if first else []
        (outcome,) = store.commit([accepted(counter, *known, *sent)])
        assert outcome == Outcome(new=count, known=len(known))
        stored = [one.reading for one in store.readings(ALL, 0, 1_000)]
        assert stored[first:] == sent
        first += count

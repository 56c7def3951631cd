"""Backups: of a store that goes on, whole or not at all, and back again."""

import json
import threading
from contextlib import closing
from pathlib import Path

import apsw
import psycopg
import pytest
from click.testing import CliRunner

from gateway import backup_postgres
from gateway.access import LOCAL
from gateway.backup import BackupError, back_up, kind_of, restore
from gateway.bench.servers import Postgres
from gateway.broker import Broker
from gateway.cli import gateway
from gateway.erasure import Erasure
from gateway.registry import Patient, Registry
from gateway.revision import Revisions
from gateway.store import Filter, Outcome
from gateway.store.postgres import PostgresStore
from gateway.store.sqlite import SqliteStore, migrate, migrations
from protocols.observation import Device, key
from protocols.uplink.receipt import Result
from protocols.uplink.topics import Station
from tests.gateway.conftest import Connect
from tests.gateway.people import Clinic, nobodys
from tests.gateway.stations import METER, accepted, glucose, message, sender

_PASSPHRASE = b"correct horse battery"


def quiet(_line: str) -> None:
    """Stand for somebody who does not want to know how far it is."""


def sequences(store: SqliteStore | PostgresStore) -> list[int | None]:
    rows = store.readings(Filter(), 0, 100_000)
    return [row.reading.observation.sequence for row in rows]


@pytest.mark.parametrize("passphrase", [None, _PASSPHRASE])
def test_a_store_comes_back_as_it_was(
    sqlite_store: SqliteStore, tmp_path: Path, passphrase: bytes | None
) -> None:
    sqlite_store.commit([accepted(1, glucose(1), glucose(2))])
    file, again = tmp_path / "backup", tmp_path / "new" / "readings.sqlite"

    done = back_up(tmp_path / "readings.sqlite", file, passphrase, quiet)
    sqlite_store.commit([accepted(2, glucose(3))])
    back = restore(file, again, passphrase, quiet)

    assert (done.readings, done.last_received_ms) == (2, 1)
    assert back == done
    assert kind_of(file) == ("sealed" if passphrase else "sqlite")
    assert (b"meter-1" in file.read_bytes()) is (passphrase is None)
    assert file.stat().st_mode & 0o077 == 0
    assert again.stat().st_mode & 0o077 == 0
    restored = SqliteStore(again)
    assert sequences(restored) == [1, 2]
    restored.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "backup", "new", "readings.sqlite", "readings.sqlite-shm",
        "readings.sqlite-wal",
    ]  # fmt: skip


_NEIGHBOUR = Station("clinic", "station-2")
_PATIENT = (
    "INSERT INTO patient (tenant, name, family, given, family_folded, "
    "given_folded, birth_date, gender, created_ms, updated_ms, version) "
    "VALUES ('clinic', :name, '', '', '', '', '', '', 1, 1, 1) RETURNING id"
)


def test_no_id_is_ever_given_twice(sqlite_store: SqliteStore, tmp_path: Path) -> None:
    """Who holds a cursor, or noted a patient's id, must never meet another there."""
    database = sqlite_store.database
    sqlite_store.commit([accepted(1, glucose(1))])
    with database.change() as change:
        change.rows(_PATIENT, name="P-1")
    file, again = tmp_path / "backup", tmp_path / "again.sqlite"
    back_up(tmp_path / "readings.sqlite", file, None, quiet)
    sqlite_store.commit([accepted(2, *map(glucose, range(2, 200)))])
    sqlite_store.commit([accepted(3, glucose(1, status=("moved",)))])
    (amended,) = sqlite_store.amended(0, 10)
    with database.change() as change:
        ((lost,),) = change.rows(_PATIENT, name="P-2")
    known = glucose(1, device=Device("known only to the lost store"))
    sqlite_store.commit([accepted(1, known, station=_NEIGHBOUR)])
    numbers = database.rows("SELECT max(s.id), max(d.id) FROM station s, device d")
    cursor = sqlite_store.last()

    restore(file, again, None, quiet)

    restored = SqliteStore(again)
    restored.commit([accepted(3, glucose(500), glucose(1, status=("low",)))])
    assert len(restored.amended(amended.stored.id, 10)) == 1
    (new,) = restored.readings(Filter(), cursor, 10)
    assert new.reading.observation.sequence == 500
    with restored.database.change() as change:
        ((number,),) = change.rows(_PATIENT, name="P-3")
    assert number > lost
    other = glucose(1, device=Device("another"))
    restored.commit([accepted(1, other, station=_NEIGHBOUR._replace(station="third"))])
    ((station, device),) = restored.database.rows(
        "SELECT max(s.id), max(d.id) FROM station s, device d"
    )
    assert station > numbers[0][0]
    assert device > numbers[0][1]
    restored.close()


def test_nor_is_an_id_of_which_the_backup_knows_none(
    sqlite_store: SqliteStore, tmp_path: Path
) -> None:
    """The first patient is most likely to come between a backup and a loss."""
    sqlite_store.commit([accepted(1, glucose(1))])
    file, again = tmp_path / "backup", tmp_path / "again.sqlite"
    back_up(tmp_path / "readings.sqlite", file, None, quiet)
    with sqlite_store.database.change() as change:
        ((lost,),) = change.rows(_PATIENT, name="P-1")

    restore(file, again, None, quiet)

    restored = SqliteStore(again)
    with restored.database.change() as change:
        ((number,),) = change.rows(_PATIENT, name="P-2")
    assert number > lost
    restored.close()


def test_nor_is_the_number_of_a_revision(
    sqlite_store: SqliteStore, tmp_path: Path
) -> None:
    """A message that tells it has its id by it, and a receiver takes each id once."""
    sqlite_store.commit([accepted(1, glucose(1))])
    registry, revisions = (
        kept(sqlite_store.database) for kept in (Registry, Revisions)
    )
    file, again = tmp_path / "backup", tmp_path / "again.sqlite"
    back_up(tmp_path / "readings.sqlite", file, None, quiet)
    with sqlite_store.database.change() as change:
        registry.add(change, Patient(0, "clinic", "P-1"), 1)

    restore(file, again, None, quiet)

    restored = SqliteStore(again)
    assert Revisions(restored.database).last() > revisions.last()
    restored.close()


def test_nor_is_a_device_of_before_ids_were_kept_apart(tmp_path: Path) -> None:
    """In a backup of an earlier version nothing keeps the numbers of lost devices."""
    old, file = tmp_path / "readings.sqlite", tmp_path / "backup"
    with closing(apsw.Connection(str(old))) as connection:
        migrate(connection, migrations()[:6])
        connection.execute(
            "INSERT INTO station (id, tenant, station, first_seen_ms, last_seen_ms) "
            "VALUES (3, 'clinic', 's-3', 1, 1);"
            "INSERT INTO batch (id, station, counter, digest, made_ms, received_ms, "
            "new, known, amended) VALUES (1, 3, 1, x'00', 1, 1, 0, 0, 0)"
        )
    back_up(old, file, None, quiet)

    restore(file, tmp_path / "again.sqlite", None, quiet)

    restored = SqliteStore(tmp_path / "again.sqlite")
    restored.commit([accepted(1, glucose(1))])
    rows = restored.database.rows("SELECT id FROM station UNION SELECT id FROM device")
    restored.close()
    assert len(rows) == 3
    assert [number for (number,) in rows if number < 1_000_000] == [3]


def test_what_was_erased_does_not_come_back_after_a_restore(
    sqlite_store: SqliteStore, tmp_path: Path
) -> None:
    """By the secret that is in the backup, the store still knows it."""
    clinic = Clinic(sqlite_store)
    clinic.send(nobodys(glucose(1)))
    patient = clinic.patient("P-1")
    clinic.attribute(patient, METER.id)
    Erasure(sqlite_store, clinic.chart, clinic.access).erase(LOCAL, patient)
    back_up(tmp_path / "readings.sqlite", tmp_path / "backup", None, quiet)

    restore(tmp_path / "backup", tmp_path / "again.sqlite", None, quiet)

    restored = SqliteStore(tmp_path / "again.sqlite")
    again = restored.commit([accepted(9, glucose(1), glucose(2))])
    restored.close()
    assert again == [Outcome(new=1, known=1)]


def test_a_backup_is_of_one_moment_whatever_is_written_meanwhile(
    sqlite_store: SqliteStore, tmp_path: Path
) -> None:
    """And it comes to an end: it does not begin anew with each commit."""
    for counter in range(1, 40):
        readings = [glucose(100 * counter + k) for k in range(50)]
        sqlite_store.commit([accepted(counter, *readings)])
    stop, began = threading.Event(), threading.Event()

    def write() -> None:
        counter = 1_000
        while not stop.is_set():
            sqlite_store.commit([accepted(counter, glucose(counter * 100))])
            counter += 1
            began.set()

    writing = threading.Thread(target=write)
    writing.start()
    try:
        assert began.wait(10)
        done = back_up(tmp_path / "readings.sqlite", tmp_path / "backup", None, quiet)
    finally:
        stop.set()
        writing.join()

    restore(tmp_path / "backup", tmp_path / "again.sqlite", None, quiet)
    restored = SqliteStore(tmp_path / "again.sqlite")
    found = sequences(restored)
    restored.close()
    assert len(found) == done.readings
    later = [one for one in found if one is not None and one >= 100_000]
    assert later == [100 * n for n in range(1_000, 1_000 + len(later))]


def test_nothing_is_ever_written_over(
    sqlite_store: SqliteStore, tmp_path: Path
) -> None:
    """The one command that must not destroy what it is there to save."""
    sqlite_store.commit([accepted(1, glucose(1))])
    store, file = tmp_path / "readings.sqlite", tmp_path / "backup"
    back_up(store, file, None, quiet)
    before = file.read_bytes()

    with pytest.raises(BackupError, match="backup is there already"):
        back_up(store, file, None, quiet)
    with pytest.raises(BackupError, match="never writes over a store"):
        restore(file, store, None, quiet)
    assert file.read_bytes() == before

    left = tmp_path / "other.sqlite-wal"
    left.touch()
    with pytest.raises(BackupError, match=r"other\.sqlite-wal is there already"):
        restore(file, tmp_path / "other.sqlite", None, quiet)


def test_what_is_damaged_or_foreign_becomes_no_store(
    sqlite_store: SqliteStore, tmp_path: Path
) -> None:
    """A store that was restored wrong is worse than none."""
    sqlite_store.commit([accepted(1, *map(glucose, range(300)))])
    store, file = tmp_path / "readings.sqlite", tmp_path / "backup"
    back_up(store, file, None, quiet)
    good = file.read_bytes()
    damaged = {
        "no backup": b"PK\3\4" + good,
        "is sealed": b"VWSEAL1\n" + bytes(100),
        "malformed": good[: len(good) // 2],
        "newer": good[:60] + (9_999).to_bytes(4) + good[64:],
    }
    for name, content in damaged.items():
        bad = tmp_path / f"bad-{name}"
        bad.write_bytes(content)
        with pytest.raises(BackupError):
            restore(bad, tmp_path / "made.sqlite", None, quiet)
        assert not list(tmp_path.glob("made.sqlite*"))
    with pytest.raises(BackupError, match="there is no store at"):
        back_up(tmp_path / "none.sqlite", tmp_path / "b", None, quiet)
    with pytest.raises(BackupError, match="No such file"):
        restore(tmp_path / "none", tmp_path / "made.sqlite", None, quiet)


def test_a_damaged_store_makes_no_backup(tmp_path: Path) -> None:
    """It would replace the good ones of before, one by one."""
    store = SqliteStore(tmp_path / "readings.sqlite")
    store.commit([accepted(1, *map(glucose, range(300)))])
    store.close()
    with closing(apsw.Connection(str(tmp_path / "readings.sqlite"))) as connection:
        ((page,),) = connection.execute(
            "SELECT rootpage FROM sqlite_schema WHERE name = 'reading_key'"
        )
        size = connection.pragma("page_size")
    with (tmp_path / "readings.sqlite").open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(bytes(size))

    with pytest.raises(BackupError):
        back_up(tmp_path / "readings.sqlite", tmp_path / "backup", None, quiet)
    assert not list(tmp_path.glob("backup*"))


def test_the_drill(
    broker: Broker, connect: Connect, sqlite_store: SqliteStore, tmp_path: Path
) -> None:
    """Readings come in, a backup is made, the store is destroyed, and restored.

    What had a receipt when the backup began is back. What had none when the store was
    lost is sent again by its station. What was receipted in between is back with its
    whole batch or not at all, and nothing else is lost.
    """
    store, file = tmp_path / "readings.sqlite", tmp_path / "backup"
    ingest = connect(broker.port, sqlite_store)
    assert ingest.wait_connected(15)
    batches = {
        counter: message(counter, *[glucose(100 * counter + k) for k in range(20)])
        for counter in range(1, 92)
    }

    def told(counters: range) -> dict[int, list[int]]:
        return {c: [100 * c + k for k in range(20)] for c in counters}

    with sender(broker.port) as station:
        before = range(1, 31)
        for digest in [station.send(batches[counter]) for counter in before]:
            assert station.entry(digest).result == Result.STORED
        # Half of the next ones are on their way while it is made.
        during = range(31, 61)
        digests = [station.send(batches[counter]) for counter in during]
        done = back_up(store, file, _PASSPHRASE, quiet)
        for digest in digests:
            station.entry(digest)
        cursor = sqlite_store.last()
        ingest.stop()
        station.send(batches[91])  # nobody is there to answer it

    sqlite_store.close()
    for left in tmp_path.glob("readings.sqlite*"):
        left.unlink()
    restore(file, store, _PASSPHRASE, quiet)
    restored = SqliteStore(store)
    back = set(sequences(restored))

    assert connect(broker.port, restored).wait_connected(15)
    with sender(broker.port) as station:
        after = range(61, 92)
        for digest in [station.send(batches[counter]) for counter in after]:
            assert station.entry(digest).result == Result.STORED
    found = set(sequences(restored))
    new = [one.id for one in restored.readings(Filter(), cursor, 10_000)]
    restored.close()

    for numbers in told(before).values():
        assert set(numbers) <= back, "it was receipted before the backup"
    for numbers in told(during).values():
        assert back.isdisjoint(numbers) or set(numbers) <= back, "half a batch"
    assert len(back) == done.readings
    assert found == back.union(*told(after).values()), "lost, or from nowhere"
    assert len(new) == 31 * 20, "every new reading stands behind the lost ones"


@pytest.mark.integration
@pytest.mark.parametrize("passphrase", [None, _PASSPHRASE])
def test_a_database_of_postgresql_comes_back(
    postgres_url: str,
    postgres_store: PostgresStore,
    postgres_server: Postgres,
    tmp_path: Path,
    passphrase: bytes | None,
) -> None:
    postgres_store.commit([accepted(1, glucose(1), glucose(2))])
    file = tmp_path / "backup"

    done = backup_postgres.back_up(postgres_url, None, file, passphrase, quiet)
    for counter in range(2, 6):
        postgres_store.commit([accepted(counter, glucose(counter + 1))])
    cursor = postgres_store.last()
    with pytest.raises(BackupError, match="is not empty"):
        backup_postgres.restore(file, postgres_url, None, passphrase, quiet)
    name = "restored_sealed" if passphrase else "restored"
    postgres_server.execute(f"CREATE DATABASE {name}")
    url = postgres_server.url(name)
    back = backup_postgres.restore(file, url, None, passphrase, quiet)

    assert back == done
    assert done.readings == 2
    assert kind_of(file) == ("sealed" if passphrase else "postgres")
    again = PostgresStore(url)
    again.commit([accepted(6, glucose(2), glucose(500))])
    assert sequences(again) == [1, 2, 500]
    (new,) = again.readings(Filter(), cursor, 10)
    assert new.reading.observation.sequence == 500
    same = {key(one.reading) for one in again.readings(Filter(), 0, 10)}
    assert len(same) == 3
    assert Revisions(again.database).last() > 0, "no number is given twice"
    again.close()


@pytest.mark.integration
def test_a_damaged_dump_fills_no_database(
    postgres_url: str,
    postgres_store: PostgresStore,
    postgres_server: Postgres,
    tmp_path: Path,
) -> None:
    """All of it or nothing, and its own words for why."""
    postgres_store.commit([accepted(1, *map(glucose, range(200)))])
    file = tmp_path / "backup"
    backup_postgres.back_up(postgres_url, None, file, None, quiet)
    file.write_bytes(file.read_bytes()[:-2_000])
    postgres_server.execute("CREATE DATABASE damaged")
    url = postgres_server.url("damaged")

    with pytest.raises(BackupError, match="pg_restore"):
        backup_postgres.restore(file, url, None, None, quiet)
    with psycopg.connect(url) as connection:
        tables = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        ).fetchall()
    assert not tables


def test_the_commands_say_what_they_did(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "readings.sqlite")
    store.commit([accepted(1, glucose(1))])
    store.close()
    secret, file = tmp_path / "secret", tmp_path / "backup"
    secret.write_text("a passphrase that is long\nand a second line\n")
    more = ["--passphrase-file", str(secret)]
    run = CliRunner().invoke

    made = run(gateway, ["backup", "--to", str(file), "--data", str(tmp_path), *more])
    assert made.exit_code == 0
    assert made.stdout == f"{file}: 1 readings, {file.stat().st_size} bytes, whole\n"
    folder = str(tmp_path / "new")
    back = run(gateway, ["restore", str(file), "--data", folder, *more, "--json"])
    assert json.loads(back.stdout) == {
        "file": str(file), "store": "sqlite", "size": file.stat().st_size,
        "readings": 1, "last_received_ms": 1,
    }  # fmt: skip

    again = run(gateway, ["restore", str(file), "--data", folder, *more])
    assert (again.exit_code, again.stderr.count("\n")) == (1, 1)
    assert "never writes over a store" in again.stderr
    opened = run(gateway, ["restore", str(file), "--data", str(tmp_path / "x")])
    assert opened.stderr == f"Error: {file} is sealed: name its --passphrase-file\n"
    secret.write_text("short\n")
    weak = run(gateway, ["backup", "--to", f"{file}2", "--data", folder, *more])
    assert "fewer than 12 characters" in weak.stderr

"""The SQLite store: what it keeps, once, and what it refuses."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import apsw
import pytest

from gateway.store import (
    Filter,
    Greeting,
    Outcome,
    Refused,
    StoreRefused,
    StoreUnavailable,
    StoreUnusable,
)
from gateway.store.sqlite import SqliteStore, migrate, migrations, refuse_old_sqlite
from protocols.observation import Device, Kind, Quality, State
from protocols.uplink.topics import Station
from tests.gateway.stations import (
    CUFF,
    METER,
    START_MS,
    STATION,
    accepted,
    glucose,
    message,
    pressure,
)

OTHER = Station("clinic", "station-2")
ALL = Filter()


def refused(payload: bytes = b"?", station: Station | None = STATION) -> Refused:
    topic = "vw/1/clinic/station-1/up/batch"
    return Refused(topic, station, payload, payload.ljust(32, b"\0"), "why", 7)


def test_gives_back_what_a_station_sent(store: SqliteStore) -> None:
    """Decimals, raw frames, evidence, the device's impossible clock: all of it."""
    sent = [
        glucose(1, "5.50", quality=Quality.CLOCK_AHEAD, status=("battery_low",)),
        glucose(2, "33.3", state=State.ABOVE_RANGE),
        glucose(3, None, state=State.NOT_A_NUMBER),
        pressure(4, 120, 80, 64),
    ]
    odd = sent[0].observation.device_time._replace(month=13)
    sent[0] = replace(
        sent[0], observation=replace(sent[0].observation, device_time=odd)
    )

    assert store.commit([accepted(1, *sent, received_ms=9)]) == [Outcome(new=4)]

    found = sorted(
        store.readings(ALL, 0, 10), key=lambda one: one.reading.observation.sequence
    )
    assert [one.reading for one in found] == sent
    assert {(one.station, one.received_ms, one.amendments) for one in found} == {
        (STATION, 9, 0)
    }


def test_a_batch_delivered_again_changes_nothing(store: SqliteStore) -> None:
    batch = accepted(1, glucose(1), glucose(2))

    outcomes = store.commit([batch]) + store.commit([batch, batch])

    assert outcomes == [Outcome(new=2), Outcome(known=2), Outcome(known=2)]
    assert len(store.readings(ALL, 0, 10)) == 2
    assert store.devices(0, 10)[0].tallies[0].readings == 2


def test_a_reading_in_two_batches_is_stored_once(store: SqliteStore) -> None:
    """Two stations read the same meter; the key decides, in one commit or in two."""
    first = accepted(1, glucose(1), glucose(2))
    second = accepted(1, glucose(2), glucose(3), station=OTHER)
    third = accepted(2, glucose(3), glucose(4), station=OTHER)

    outcomes = store.commit([first, second]) + store.commit([third])

    assert outcomes == [Outcome(new=2), Outcome(1, 1), Outcome(1, 1)]
    kept = store.readings(ALL, 0, 10)
    assert sorted(one.reading.observation.sequence for one in kept) == [1, 2, 3, 4]


def test_another_report_of_a_reading_is_kept_beside_it(store: SqliteStore) -> None:
    """The first stands; the second is neither dropped nor written over it."""
    said, later = glucose(1), glucose(1, status=("battery_low",))
    store.commit([accepted(1, said)])
    second = accepted(2, later, glucose(2))

    assert store.commit([second]) == [Outcome(new=1, amended=1)]
    assert store.commit([accepted(3, later)]) == [Outcome(known=1)]

    kept = store.readings(ALL, 0, 10)[0]
    (amendment,) = store.amendments(kept.id)
    assert (kept.reading, kept.amendments) == (said, 1)
    assert (amendment.stored.reading, amendment.digest) == (later, second.digest)


def test_a_counter_used_twice_is_a_fork_and_both_are_kept(store: SqliteStore) -> None:
    store.commit([accepted(5, glucose(1))])

    outcomes = store.commit([accepted(5, glucose(2)), accepted(5, glucose(1))])

    assert outcomes == [Outcome(new=1, fork=True), Outcome(known=1)]
    assert len(store.readings(ALL, 0, 10)) == 2


def test_the_same_counter_of_another_station_is_no_fork(store: SqliteStore) -> None:
    store.commit([accepted(5, glucose(1))])

    assert store.commit([accepted(5, glucose(2), station=OTHER)]) == [Outcome(new=1)]


def test_a_tenant_cannot_take_the_keys_of_another(store: SqliteStore) -> None:
    """Naming another tenant's device must not make its readings look known."""
    store.commit([accepted(1, glucose(1, "9.9"), station=Station("evil", "x"))])

    assert store.commit([accepted(1, glucose(1, "9.9"))]) == [Outcome(new=1)]
    assert [found.tenant for found in store.devices(0, 10)] == ["evil", "clinic"]


def test_quarantine_keeps_bytes_once_and_counts_deliveries(store: SqliteStore) -> None:
    store.commit([refused(b"one"), refused(b"two"), refused(b"one")])
    store.commit([refused(b"one", None)])

    kept = store.quarantine(0, 10)

    assert [(one.message, one.deliveries) for one in kept] == [(b"one", 3), (b"two", 1)]
    assert (kept[0].station, kept[0].reason) == (STATION, "why")
    assert store.quarantine(kept[0].id, 10) == kept[1:]


def test_filters_leave_out_what_was_not_asked_for(store: SqliteStore) -> None:
    store.commit([accepted(1, glucose(1), pressure(2, 120, 80, 60))])
    store.commit([accepted(1, glucose(3, kind=Kind.CONTROL_SOLUTION), station=OTHER)])
    store.commit([accepted(2, glucose(4), station=OTHER)])

    def sequences(**which: object) -> list[int | None]:
        found = store.readings(Filter(**which), 0, 10)
        return sorted(one.reading.observation.sequence for one in found)

    assert sequences() == [1, 2, 4], "control solution is nobody's reading"
    assert sequences(kind=Kind.CONTROL_SOLUTION) == [3]
    assert sequences(kind=Kind.BLOOD_PRESSURE) == [2]
    assert sequences(device=CUFF.id) == [2]
    assert sequences(device=METER.id, station="station-2") == [4]
    assert sequences(since_ms=START_MS + 120_000) == [2, 4]
    assert sequences(until_ms=START_MS + 120_000) == [1]
    assert sequences(device="unheard-of") == []


def test_counts_devices_by_kind(store: SqliteStore) -> None:
    store.commit([accepted(1, glucose(2), glucose(1), received_ms=10)])
    again = glucose(3, device=replace(METER, firmware="2.0"), quality=Quality(1))
    store.commit([accepted(2, again, pressure(1, 120, 80, 60), received_ms=20)])

    meter, cuff = store.devices(0, 10)

    assert meter.device.firmware == "2.0"
    assert (meter.first_seen_ms, meter.last_seen_ms) == (10, 20)
    (tally,) = meter.tallies
    assert (tally.kind, tally.readings, tally.flagged) == (Kind.GLUCOSE, 3, 1)
    assert (tally.first_ms, tally.last_ms) == (START_MS + 60_000, START_MS + 180_000)
    assert store.devices(meter.id, 10) == [cuff]


def test_a_status_replaces_the_one_before(store: SqliteStore, tmp_path: Path) -> None:
    store.commit([Greeting(STATION, b"up", 1), Greeting(STATION, b"gone", 2)])

    rows = apsw.Connection(str(tmp_path / "readings.sqlite")).execute(
        "SELECT station, status, status_ms FROM station"
    )
    assert rows.fetchall() == [("station-1", b"gone", 2)]


def test_a_value_that_does_not_fit_is_refused_whole(store: SqliteStore) -> None:
    """One impossible reading in a group must not leave half of the group behind."""
    too_big = replace(glucose(2), captured_ms=1 << 63)
    bad = accepted(2, glucose(3))
    bad = replace(bad, batch=replace(bad.batch, readings=(too_big,)))

    with pytest.raises(StoreRefused):
        store.commit([accepted(1, glucose(1)), bad])

    assert store.readings(ALL, 0, 10) == []
    assert store.commit([accepted(1, glucose(1))]) == [Outcome(new=1)]


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
    pages = store._connection.pragma("page_count")
    store._connection.pragma("max_page_count", pages)
    many = accepted(1, *[glucose(number) for number in range(500)])

    with pytest.raises(StoreUnavailable):
        store.commit([many])
    assert store.readings(ALL, 0, 10) == []

    store._connection.pragma("max_page_count", 1 << 20)
    assert store.commit([many]) == [Outcome(new=500)]
    store.close()


def test_every_commit_is_flushed(store: SqliteStore) -> None:
    """NORMAL loses receipted commits in a power cut; FULL is 2."""
    assert store._connection.pragma("synchronous") == 2
    assert store._connection.pragma("journal_mode") == "wal"
    assert store._connection.pragma("foreign_keys") == 1


_CRASH = """
import os, signal, sys
from pathlib import Path
from gateway.store.sqlite import SqliteStore
from tests.gateway.stations import accepted, glucose

store = SqliteStore(Path(sys.argv[1]))
for number in range(1, 4):
    if number == 3:
        store._connection.set_commit_hook(lambda: os.kill(os.getpid(), signal.SIGKILL))
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


def test_a_device_of_any_name_is_kept(store: SqliteStore) -> None:
    """A name is data, whatever it holds."""
    device = Device("a\0b'\";--\u202e", "<b>", "", "", "")
    store.commit([accepted(1, glucose(1, device=device))])

    assert store.devices(0, 10)[0].device == device
    assert len(message(1, glucose(1, device=device))) > 0
    assert len(store.readings(Filter(device=device.id), 0, 10)) == 1

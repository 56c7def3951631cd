"""Old readings go to files whole, once, and only when the files hold them."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from edge_agent.cli import main
from gateway import archive
from gateway.archive import CannotArchive, Month, survey
from gateway.store import Filter, Outcome, Store
from gateway.store.rows import READING
from gateway.store.sqlite import SqliteStore
from protocols.gatt.time import DateTime
from protocols.observation import Quality, Reading
from tests.gateway.stations import METER, accepted, glucose, pressure

EVERY = Filter()
MARCH = date(2026, 3, 1)


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest) -> Store:
    """Each test here holds for both."""
    found: Store = request.getfixturevalue(f"{request.param}_store")
    return found


def ms(month: int, day: int) -> int:
    return int(datetime(2026, month, day, tzinfo=UTC).timestamp()) * 1000


def filled(store: Store) -> Store:
    """Keep what came in January, in February, and in March."""
    store.commit(
        [
            accepted(1, glucose(1), glucose(2), received_ms=ms(1, 5)),
            accepted(2, glucose(3, quality=Quality(1)), received_ms=ms(1, 31)),
            accepted(3, pressure(1, 120, 80, 60), received_ms=ms(2, 1)),
            accepted(4, glucose(4), received_ms=ms(3, 1)),
        ]
    )
    amended = glucose(2, status=("battery_low",))
    store.commit([accepted(5, amended, received_ms=ms(3, 2))])
    return store


def run(store: Store, folder: Path, before: date = MARCH) -> list[Month]:
    return list(archive.archive(store, before, folder))


def sequences(store: Store) -> list[int | None]:
    found = store.readings(EVERY, 0, 100)
    return [one.reading.observation.sequence for one in found]


def test_moves_what_came_before_a_day_and_nothing_else(
    store: Store, tmp_path: Path
) -> None:
    january, february = run(filled(store), tmp_path)

    assert (january.month, january.readings, january.amendments) == ("2026-01", 3, 1)
    assert (february.month, february.readings, february.left) == ("2026-02", 1, 0)
    assert sequences(store) == [4]
    assert store.amended(0, 10) == []
    (tally,) = (one for d in store.devices(0, 9) for one in d.tallies if one.readings)
    assert (tally.readings, tally.flagged) == (1, 0)
    assert tally.first_ms == tally.last_ms
    assert sorted(file.name for file in tmp_path.glob("readings-*")) == [
        "readings-2026-01.parquet",
        "readings-2026-02.parquet",
    ]
    assert run(store, tmp_path) == []


def test_a_file_says_all_that_the_store_said(store: Store, tmp_path: Path) -> None:
    """What is archived can be put back, decimals, raw bytes and evidence included."""
    every = (
        "SELECT r.*, b.digest, b.received_ms FROM reading r JOIN batch b "
        "ON b.id = r.batch WHERE b.received_ms < :until ORDER BY r.id"
    )
    filled(store)
    stored = store.database.rows(every, until=ms(2, 1))
    run(store, tmp_path)

    rows = pq.read_table(tmp_path / "readings-2026-01.parquet").to_pylist()
    readings = [row for row in rows if row["amends"] is None]
    names = [*READING, "digest", "received_ms"]
    for row, was in zip(readings, stored, strict=True):
        for name, value in zip(names, was, strict=True):
            if name not in {"batch", "driver"}:
                assert row[name.strip('"')] == value, name
        assert (row["device_id"], row["manufacturer"]) == ("meter-1", "Acme")
        assert (row["driver"], row["driver_version"]) == ("gatt-glucose", "0.1.0")
        assert (row["tenant"], row["station"]) == ("clinic", "station-1")
    (amendment,) = (row for row in rows if row["amends"] is not None)
    assert amendment["amends"] == readings[1]["id"]
    assert amendment["status"] == '["battery_low"]'


def test_an_archived_reading_told_again_is_known(store: Store, tmp_path: Path) -> None:
    run(filled(store), tmp_path)

    again = accepted(9, glucose(1), glucose(2), glucose(3), glucose(5))
    assert store.commit([again]) == [Outcome(new=1, known=3)]


def test_a_later_reading_of_an_archived_key_is_kept(
    store: Store, tmp_path: Path
) -> None:
    """A meter whose memory was cleared counts from 1 again, and may show the same."""
    run(filled(store), tmp_path)
    later = glucose(1)
    moment = DateTime(2026, 4, 1, 7, 30, 0)
    later = replace(later, observation=replace(later.observation, device_time=moment))

    assert store.commit([accepted(6, later)]) == [Outcome(new=1)]
    assert store.commit([accepted(7, later), accepted(8, glucose(2))]) == [
        Outcome(known=1),
        Outcome(known=1),
    ]
    assert sequences(store) == [4, 1]


def clocked(sequence: int, month: int) -> Reading:
    """Return a reading of the same key in each month, by its device's clock."""
    found = glucose(sequence)
    moment = DateTime(2026, month, 1, 7, 30, 0)
    return replace(found, observation=replace(found.observation, device_time=moment))


def test_all_that_was_archived_under_one_key_is_known(
    store: Store, tmp_path: Path
) -> None:
    """It is in a file, once; kept again it would be there twice."""
    for month in (1, 2):
        sent = accepted(month, clocked(1, month), received_ms=ms(month, 5))
        store.commit([sent])
        run(store, tmp_path)
    told = [accepted(9, clocked(1, 1)), accepted(10, clocked(1, 2), clocked(1, 3))]

    assert store.commit(told) == [Outcome(known=1), Outcome(new=1, known=1)]


def test_what_was_archived_beside_a_reading_is_known(
    store: Store, tmp_path: Path
) -> None:
    """A meter that was cleared tells the second one each time, and not the first."""
    store.commit([accepted(1, clocked(1, 1), clocked(2, 1), received_ms=ms(1, 5))])
    store.commit([accepted(2, clocked(1, 2), received_ms=ms(2, 5))])
    (january,) = run(store, tmp_path)
    assert (january.readings, january.amendments) == (2, 1)

    again = accepted(9, clocked(1, 2), clocked(2, 1), clocked(2, 2))
    assert store.commit([again]) == [Outcome(new=1, known=2)]


@pytest.mark.parametrize("until", ["written", "deleted", "renamed"])
def test_a_run_that_was_cut_off_is_gone_on_with(
    store: Store, tmp_path: Path, until: str
) -> None:
    """Wherever it stopped: nothing is lost, nothing is in two files."""
    filled(store)
    if until == "written":
        (tmp_path / "readings-2026-01.parquet.part").write_bytes(b"PAR1 half")
    else:
        months = archive._months(store.database, MARCH)
        name, values = next(months)
        whole = archive._write(store.database, tmp_path, name, values, print)
        assert whole is not None
        if until == "renamed":
            archive._take_away(store.database, whole, print).file.rename(whole)

    found = run(store, tmp_path)

    assert [(one.month, one.readings) for one in found] == [
        ("2026-01", 3),
        ("2026-02", 1),
    ]
    assert sequences(store) == [4]
    ids = [
        row["id"]
        for file in sorted(tmp_path.glob("readings-*"))
        for row in pq.read_table(file).to_pylist()
        if row["amends"] is None
    ]
    assert len(ids) == len({*ids}) == 4


def test_a_part_of_a_month_goes_into_a_file_of_its_own(
    store: Store, tmp_path: Path
) -> None:
    filled(store)

    early = run(store, tmp_path, date(2026, 1, 20))
    late = run(store, tmp_path, date(2026, 2, 1))

    assert [one.readings for one in early + late] == [2, 1]
    assert [one.file.name for one in early + late] == [
        "readings-2026-01.parquet",
        "readings-2026-01.2.parquet",
    ]
    assert sequences(store) == [1, 4]


def test_what_was_amended_meanwhile_stays(store: Store, tmp_path: Path) -> None:
    """Its file does not know of the amendment, so it must not be the only place."""
    filled(store)
    name, values = next(archive._months(store.database, MARCH))
    whole = archive._write(store.database, tmp_path, name, values, print)
    late = glucose(1, status=("strip_short",))
    store.commit([accepted(6, late, received_ms=ms(3, 3))])

    found = run(store, tmp_path)

    assert whole is not None
    assert [(one.month, one.readings, one.left) for one in found] == [
        ("2026-01", 3, 1),
        ("2026-01", 1, 0),
        ("2026-02", 1, 0),
    ]
    assert found[1].amendments == 1
    assert sequences(store) == [4]


@pytest.mark.parametrize("amended", [False, True])
def test_a_device_that_was_updated_meanwhile_holds_nothing_up(
    store: Store, tmp_path: Path, amended: bool
) -> None:
    """What a device says of itself now is no part of what it measured then."""
    store.commit([accepted(1, glucose(1), received_ms=ms(1, 5))])
    if amended:
        late = glucose(1, status=("battery_low",))
        store.commit([accepted(2, late, received_ms=ms(1, 6))])
    name, values = next(archive._months(store.database, MARCH))
    archive._write(store.database, tmp_path, name, values, print)
    updated = replace(METER, firmware="1.1")
    store.commit([accepted(3, glucose(2, device=updated), received_ms=ms(3, 3))])

    (january,) = run(store, tmp_path)

    assert (january.readings, january.left) == (1, 0)
    assert sequences(store) == [2]


def test_a_file_of_another_store_takes_nothing_away(
    store: Store, tmp_path: Path
) -> None:
    """Ids are counted from 1 in each: by the id alone it would be a stranger's."""
    other = filled(SqliteStore(tmp_path / "other.sqlite"))
    name, values = next(archive._months(other.database, MARCH))
    archive._write(other.database, tmp_path, name, values, print)
    other.close()
    store.commit([accepted(1, *map(glucose, range(5, 10)), received_ms=ms(1, 5))])

    with pytest.raises(CannotArchive, match="another one in the store"):
        run(store, tmp_path)

    assert len(sequences(store)) == 5
    assert store.database.rows("SELECT count(*) FROM gone") == [(0,)]


def test_two_runs_do_not_write_into_one_folder(store: Store, tmp_path: Path) -> None:
    running = archive.archive(filled(store), MARCH, tmp_path)
    next(running)

    with pytest.raises(CannotArchive, match="another run"):
        run(store, tmp_path)
    assert len(list(running)) == 1


def test_a_rehearsal_counts_and_changes_nothing(store: Store) -> None:
    found = survey(filled(store), MARCH)

    assert [(one.month, one.readings) for one in found] == [
        ("2026-01", 3),
        ("2026-02", 1),
    ]
    assert len(sequences(store)) == 5


def test_the_command_tells_each_month(tmp_path: Path) -> None:
    store = filled(SqliteStore(tmp_path / "readings.sqlite"))
    store.close()
    to = ("--to", str(tmp_path / "kept"), "--data", str(tmp_path))
    command = ("gateway", "archive", "--before", "2026-03-01", *to)

    plan = CliRunner().invoke(main, [*command, "--dry-run"])
    done = CliRunner().invoke(main, [*command, "--json"])
    never = CliRunner().invoke(
        main, ["gateway", "archive", "--before", "2126-03-01", *to]
    )

    assert plan.stdout == "2026-01  3 readings\n2026-02  1 readings\n"
    assert json.loads(done.stdout.splitlines()[0]) == {
        "month": "2026-01",
        "file": str(tmp_path / "kept" / "readings-2026-01.parquet"),
        "readings": 3,
        "amendments": 1,
        "left": 0,
    }
    assert "in the future" in never.stderr

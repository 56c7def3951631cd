"""Moves old readings out of the store into Parquet files, and remembers their keys.

A file holds the readings of the batches that came in one month, whole: all that the
store says of them, in its own words, and the other reports of them. It changes its name
as it goes, so that a crash at any point loses nothing and is gone on from:

    readings-2026-03.parquet.part    being written; thrown away by the next run
    readings-2026-03.parquet.whole   on the disk and read back; its readings are deleted
    readings-2026-03.parquet         the only place where its readings are
"""

import fcntl
import os
import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gateway.store import Store, marks
from gateway.store.database import Change, Database, Row
from gateway.store.gone import keep_digests
from gateway.store.rows import FACTS, KEY

_PAGE = 10_000  # a row group of the file
_CHUNK = 1_000  # in one transaction, for whose time nobody else can write
_OF_DEVICE = ("manufacturer", "model", "serial", "firmware")
_TEXT, _LONG, _BYTES = pa.string(), pa.int64(), pa.binary()
_TEXTS = {"device_time", "person", "evidence", "status", "context", '"values"'}
_COLUMNS = {
    "id": _LONG,
    "amends": _LONG,
    "tenant": _TEXT,
    "station": _TEXT,
    "device_id": _TEXT,
    **dict.fromkeys(_OF_DEVICE, _TEXT),
    "driver": _TEXT,
    "driver_version": _TEXT,
    "digest": _BYTES,
    "received_ms": _LONG,
    **dict.fromkeys(KEY, _LONG),
    **{
        name.strip('"'): _TEXT if name in _TEXTS else _BYTES if name == "raw" else _LONG
        for name in FACTS
    },
}
_SCHEMA = pa.schema(list(_COLUMNS.items()))
_KEY = slice(list(_COLUMNS).index(KEY[0]), list(_COLUMNS).index(KEY[0]) + len(KEY))
_QUALITY = list(_COLUMNS).index("quality")
_SAID_NOW = slice(
    list(_COLUMNS).index(_OF_DEVICE[0]), list(_COLUMNS).index(_OF_DEVICE[-1]) + 1
)
_KEYS = ", ".join(KEY)
_WHO = f"""
    s.tenant, s.station, d.device, {", ".join(f"d.{name}" for name in _OF_DEVICE)},
    v.name, v.version, b.digest, b.received_ms, {", ".join(f"r.{name}" for name in KEY)}
"""
# Names of tables and columns are constants, ids are integers.
_READINGS = f"""
    SELECT r.id, NULL, {_WHO}, {", ".join(f"r.{name}" for name in FACTS)}
    FROM reading r JOIN batch b ON b.id = r.batch JOIN station s ON s.id = b.station
    JOIN device d ON d.id = r.device JOIN driver v ON v.id = r.driver
    WHERE {{}} ORDER BY r.id
"""  # noqa: S608
_AMENDMENTS = f"""
    SELECT a.id, a.reading, {_WHO}, {", ".join(f"a.{name}" for name in FACTS)}
    FROM amendment a JOIN reading r ON r.id = a.reading
    JOIN batch b ON b.id = a.batch JOIN station s ON s.id = b.station
    JOIN device d ON d.id = r.device JOIN driver v ON v.id = a.driver
    WHERE a.reading IN ({{}}) ORDER BY a.id
"""  # noqa: S608
_CAME = "b.received_ms >= :since AND b.received_ms < :until"
_MONTHS = """
    SELECT min(received_ms) FROM batch
    WHERE last_id >= (SELECT min(id) FROM reading) AND received_ms < :until
"""
_REACH = f"SELECT min(first_id), max(last_id) FROM batch b WHERE {_CAME}"  # noqa: S608
_COUNT = f"""
    SELECT count(*) FROM reading r JOIN batch b ON b.id = r.batch
    WHERE r.id >= :first AND r.id <= :last AND {_CAME}
"""  # noqa: S608
# Whoever adds keys has the store to themselves; so does who adds none.
_ALONE = f"INSERT INTO gone ({_KEYS}, why) SELECT {_KEYS}, why FROM gone WHERE 1 = 0"  # noqa: S608
_GONE = f"""
    INSERT INTO gone ({_KEYS}, why, device_time)
    SELECT {_KEYS}, 'archived', device_time FROM reading r WHERE {{}}
    ON CONFLICT ({_KEYS}) DO NOTHING
"""  # noqa: S608
# A key and a clock stand for one reading: those that share a key, and other reports,
# which may tell another clock, are known by their digests.
_SHARED = f"""
    SELECT r.device, r.id FROM reading r WHERE {{}} AND (
        EXISTS (SELECT 1 FROM amendment a WHERE a.reading = r.id)
        OR EXISTS (SELECT 1 FROM gone g
            WHERE {" AND ".join(f"g.{name} = r.{name}" for name in KEY)}))
"""  # noqa: S608
_UNCOUNT = """
    UPDATE tally SET readings = readings - :readings, flagged = flagged - :flagged
    WHERE device = :device AND kind = :kind
"""
_BOUNDS = """
    UPDATE tally SET
        first_utc_ms = (SELECT min(utc_ms) FROM reading r
            WHERE r.device = :device AND r.kind = :kind),
        last_utc_ms = (SELECT max(utc_ms) FROM reading r
            WHERE r.device = :device AND r.kind = :kind)
    WHERE device = :device AND kind = :kind
"""

Tell = Callable[[str], None]


class CannotArchive(Exception):
    """Nothing more was deleted; the text says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Month:
    """What of one month is archived, or would be.

    Attributes:
        month: As ``2026-03``, of UTC; when the batches came.
        file: Where it is; None in a rehearsal.
        readings: How many readings.
        amendments: How many other reports of them; 0 in a rehearsal.
        left: How many readings of the file are in the store still, since another
            report of them came meanwhile; they go with the next run.
    """

    month: str
    file: Path | None
    readings: int
    amendments: int = 0
    left: int = 0


def survey(store: Store, before: date) -> list[Month]:
    """Count what `archive` would move, and change nothing."""
    database = store.database
    found = []
    for month, values in _months(database, before):
        ((count,),) = database.rows(_COUNT, **values)
        if count:
            found.append(Month(month, None, count))
    return found


def archive(
    store: Store, before: date, folder: Path, tell: Tell = lambda _: None
) -> Iterator[Month]:
    """Move what came before a day, a month at a time; the gateway may run meanwhile.

    Args:
        store: Where readings are.
        before: In UTC.
        folder: Where the files go; made if it is not there.
        tell: Given a line now and then on what is done.

    Yields:
        Each month when it is done; first one that an earlier run left half done.

    Raises:
        CannotArchive: A file can't be written, or is not what was written, or is of
            another store.
        StoreUnavailable: Nothing more was deleted; run it again.
    """
    database = store.database
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _alone(folder):
            for part in folder.glob("readings-*.parquet.part"):
                part.unlink()
            for whole in sorted(folder.glob("readings-*.parquet.whole")):
                yield _take_away(database, whole, tell)
            for month, values in _months(database, before):
                written = _write(database, folder, month, values, tell)
                if written is not None:
                    yield _take_away(database, written, tell)
    except (OSError, pa.ArrowException) as error:
        raise CannotArchive(f"{folder}: {error}") from error


def _months(database: Database, before: date) -> Iterator[tuple[str, dict[str, int]]]:
    """Yield months in which something came that is stored, and where it may be."""
    end_ms = _ms(before)
    ((first_ms,),) = database.rows(_MONTHS, until=end_ms)
    if first_ms is None:
        return
    first = datetime.fromtimestamp(first_ms / 1000, UTC).date().replace(day=1)
    while first < before:
        after = date(first.year + first.month // 12, first.month % 12 + 1, 1)
        times = {"since": _ms(first), "until": min(_ms(after), end_ms)}
        ((low, high),) = database.rows(_REACH, **times)
        if low is not None:
            yield f"{first:%Y-%m}", {"first": low, "last": high, **times}
        first = after


def _write(
    database: Database,
    folder: Path,
    month: str,
    values: dict[str, int],
    tell: Tell,
) -> Path | None:
    """Write a month's file and read it back; None if there is nothing for it."""
    name = f"readings-{month}.parquet"
    number = 1
    while (folder / name).exists():
        number += 1
        name = f"readings-{month}.{number}.parquet"
    part = folder / f"{name}.part"
    count, written = 0, blake2b()
    with part.open("wb") as file:
        with pq.ParquetWriter(file, _SCHEMA, compression="zstd") as writer:
            for rows in _pages(database, values):
                table = pa.Table.from_pylist(
                    [dict(zip(_COLUMNS, row, strict=True)) for row in rows], _SCHEMA
                )
                writer.write_table(table)
                written.update(repr(rows).encode())
                count += len(rows)
                tell(f"{month}: {count} written")
        file.flush()
        os.fsync(file.fileno())
    if not count:
        part.unlink()
        return None
    found = blake2b()
    for rows in _groups(part):
        found.update(repr(rows).encode())
    if found.digest() != written.digest():
        raise CannotArchive(f"{part} does not hold what was written: check the disk")
    return _renamed(part, folder / f"{name}.whole")


def _pages(database: Database, values: dict[str, int]) -> Iterator[list[Row]]:
    """Yield a month's readings, and behind each page other reports of them."""
    where = f"r.id > :after AND r.id <= :last AND {_CAME}"
    query = f"{_READINGS.format(where)} LIMIT {_PAGE}"
    known = {name: values[name] for name in ("last", "since", "until")}
    after = values["first"] - 1
    while rows := database.rows(query, after=after, **known):
        after = rows[-1][0]
        yield rows + database.rows(_AMENDMENTS.format(_listed(rows)))


def _take_away(database: Database, whole: Path, tell: Tell) -> Month:
    """Delete from the store what a file holds, as far as the two say the same."""
    month = re.sub(r"readings-(\d{4}-\d\d).*", r"\1", whole.name)
    count = amendments = left = 0
    touched: set[tuple[int, int]] = set()
    for rows in _groups(whole):
        readings = [row for row in rows if row[1] is None]
        told: dict[int, list[Row]] = defaultdict(list)
        for row in rows[len(readings) :]:
            told[row[1]].append(row)
        for at in range(0, len(readings), _CHUNK):
            began_s = time.monotonic()
            chunk = readings[at : at + _CHUNK]
            with database.change() as change:
                left += _delete(change, chunk, told, touched)
            # Others want to write too: they have as long.
            time.sleep(time.monotonic() - began_s)
        count += len(readings)
        amendments += len(rows) - len(readings)
        tell(f"{month}: {count} deleted")
    for device, kind in sorted(touched):
        with database.change() as change:
            change.rows(_BOUNDS, device=device, kind=kind)
    file = _renamed(whole, whole.with_suffix(""))
    return Month(month, file, count, amendments, left)


def _delete(
    change: Change,
    chunk: Sequence[Row],
    told: dict[int, list[Row]],
    touched: set[tuple[int, int]],
) -> int:
    """Delete readings that the store has just as the file; return how many are left.

    Raises:
        CannotArchive: The store has another reading under an id of the file.
    """
    change.rows(_ALONE)
    # A range of ids is one walk through each part, where a list is a search for each.
    within = f"r.id >= {chunk[0][0]} AND r.id <= {chunk[-1][0]}"
    stored = {row[0]: row for row in change.rows(_READINGS.format(within))}
    reports: dict[int, list[Row]] = defaultdict(list)
    for row in change.rows(_AMENDMENTS.format(_listed(chunk))):
        reports[row[1]].append(row)
    ready = []
    for row in chunk:
        found = stored.get(row[0])
        if found is None:
            continue  # a run before this one deleted it
        if _lasting(found) != _lasting(row):
            raise CannotArchive(
                f"reading {row[0]} is another one in the store than in the file: "
                "name a folder that no other store archives to"
            )
        if [*map(_lasting, reports[row[0]])] == [*map(_lasting, told[row[0]])]:
            ready.append(row)
    if ready:
        if len(ready) < len(stored):
            within = f"r.id IN ({_listed(ready)})"
        shared: dict[int, list[int]] = defaultdict(list)
        for device, number in change.rows(_SHARED.format(within)):
            shared[device].append(number)
        for device, numbers in shared.items():
            keep_digests(change, device, *marks.listed(numbers))
        change.rows(_GONE.format(within))
        change.rows(f"DELETE FROM amendment WHERE reading IN ({_listed(ready)})")  # noqa: S608
        change.rows(f"DELETE FROM reading AS r WHERE {within}")  # noqa: S608
    _uncount(change, ready, touched)
    return len(stored.keys() & {row[0] for row in chunk}) - len(ready)


def _lasting(row: Row) -> Row:
    """Return a row without what its device says of itself, which may change."""
    return row[: _SAID_NOW.start] + row[_SAID_NOW.stop :]


def _uncount(
    change: Change, gone: Sequence[Row], touched: set[tuple[int, int]]
) -> None:
    """Take readings out of what is counted of their devices."""
    counts: Counter[tuple[int, int]] = Counter()
    flagged: Counter[tuple[int, int]] = Counter()
    for row in gone:
        device, _, _, kind, _, _ = row[_KEY]
        counts[device, kind] += 1
        flagged[device, kind] += row[_QUALITY] != 0
    change.many(
        _UNCOUNT,
        [
            {
                "device": name[0],
                "kind": name[1],
                "readings": count,
                "flagged": flagged[name],
            }
            for name, count in sorted(counts.items())
        ],
    )
    touched.update(counts)


def _groups(file: Path) -> Iterator[list[Row]]:
    """Yield the pages of a file: some readings, then the other reports of them."""
    with pq.ParquetFile(file) as opened:
        for at in range(opened.num_row_groups):
            columns = opened.read_row_group(at).columns
            lists: list[list[Any]] = [column.to_pylist() for column in columns]
            yield [*zip(*lists, strict=True)]


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CannotArchive(f"{folder} is being written by another run") from error
        yield


def _renamed(file: Path, to: Path) -> Path:
    """Give a file its next name, so that it has it after a power cut too."""
    file.rename(to)
    descriptor = os.open(to.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return to


def _listed(rows: Sequence[Row]) -> str:
    return ", ".join(str(row[0]) for row in rows)


def _ms(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1000

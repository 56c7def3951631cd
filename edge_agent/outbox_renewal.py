"""A new file of what can still be read of a damaged outbox; the damaged one stays.

No counter is given twice: the new file goes on behind the last one, or where that can't
be read, far beyond what a station ever counts to. Readings whose batch is lost go into
another; the gateway knows again what it has. Where readings are lost, or some of the
log, what was seen is forgotten, so that a device that tells them again is heard.
"""

import logging
import os
import secrets
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from time import gmtime, strftime, time
from typing import Any

import apsw

from edge_agent import outbox_cells, outbox_pages

_log = logging.getLogger(__name__)

_KEPT = "outbox.damaged-"  # how the name of a damaged file begins
_RENEWED = "outbox.renewed-"
_SUFFIXES = ("", "-wal")  # of what belongs to one file
_FAR = 1 << 40
_MOST_ID = (1 << 63) - 1
_MOST_FAILURES = 20_000  # in one table; then all between what was read counts as lost
_MOST_IN_VAIN = 2_000  # where no row could be read yet: most likely none can
# What reading a damaged file raises: a length may be garbled, or a text.
DAMAGE = (apsw.CorruptError, apsw.NotADBError, apsw.TooBigError, UnicodeDecodeError)
_UNREADABLE = (*DAMAGE, apsw.IOError)

_KEYS = {"seen": ("device", "name"), "filters": ("device",)}  # of those without a rowid

Row = tuple[Any, ...]


def renew(path: Path, schemas: Sequence[str], known: int | None) -> None:
    """Put a new file in a damaged one's place, with all of it that can be read.

    Args:
        path: The file; nobody has it open but to read.
        schemas: What makes each version of it from the version before.
        known: How many frames of its log to play in; None for all there are, and to say
            that some of it is lost.

    Raises:
        apsw.Error: The new file can't be written; the damaged one stands as before.
        OSError: Likewise.
    """
    stamp = strftime("%Y%m%dT%H%M%SZ", gmtime()) + f"-{secrets.token_hex(3)}"
    part, kept = path.with_name("outbox.part"), f"{_KEPT}{stamp}.db"
    for suffix in ("", "-wal", "-shm", "-journal"):
        part.with_name(part.name + suffix).unlink(missing_ok=True)
    with closing(apsw.Connection(str(part))) as new:
        part.chmod(0o600)
        new.pragma("synchronous", "FULL")
        old, version = outbox_pages.mended(path, schemas, known)
        with new, closing(old):
            told = {"log": "some of its log"} if known is None else {}
            if version is None:
                told["first"] = "its first page"
            lost = _copy(old, new, schemas[:version], told)
            facts = kept, f"could not read {lost}", int(time() * 1000)
            new.execute(
                "INSERT INTO undecoded (peer, driver, source, payload, problem, "
                "received_ms) VALUES ('', '', ?, x'', ?, ?)",
                facts,
            )
    # Under this name it is whole; without the old one it is put in place later too.
    renewed = part.replace(path.with_name(_RENEWED + stamp))
    _flush(path.parent)
    _put_in_place(path, renewed)
    _log.error(
        "outbox.damaged: could not read %s; a new one goes on with the rest, and the "
        "damaged one stays as %s",
        lost,
        path.with_name(kept),
    )


def finish(path: Path) -> None:
    """End a renewal that was broken off, or forget it where the old file still stands.

    That one may have been written to since, and is renewed again if need be.

    Raises:
        OSError: A file can't be renamed, or removed; another call goes on.
    """
    for renewed in path.parent.glob(f"{_RENEWED}*"):
        if path.exists():
            renewed.unlink()
        else:
            _put_in_place(path, renewed)


def kept(db: apsw.Connection, folder: Path) -> list[str]:
    """Return the damaged files that still stand in a folder, and what was lost."""
    rows = db.execute(
        "SELECT source, problem FROM undecoded WHERE peer = '' AND driver = '' "
        "AND source LIKE ? ORDER BY source",
        (f"{_KEPT}%",),
    )
    to_do = "replace the card, and delete this file when it is copied elsewhere"
    return [
        f"{name}: {lost}; {to_do}"
        for name, lost in rows
        if (folder / str(name)).exists()
    ]


def _put_in_place(path: Path, renewed: Path) -> None:
    """Give an old file and its log other names, and a renewed one its name."""
    stamp = renewed.name.removeprefix(_RENEWED)
    for suffix in _SUFFIXES:
        # A log that stayed would be played back into the new file.
        old = path.with_name(path.name + suffix)
        to = path.with_name(f"{_KEPT}{stamp}.db{suffix}")
        while to.exists():
            to = to.with_name(f"{to.name}~")
        if old.exists():
            old.replace(to)
    path.with_name(f"{path.name}-shm").unlink(missing_ok=True)
    _flush(path.parent)
    renewed.replace(path)
    _flush(path.parent)


def _copy(
    old: outbox_pages.Mended,
    new: apsw.Connection,
    schemas: Sequence[str],
    lost: dict[str, str],
) -> str:
    """Copy what can be read, and return what can't be, behind what is lost already."""
    for schema in schemas:
        new.execute(schema)
    new.pragma("user_version", len(schemas))
    new.pragma("defer_foreign_keys", "ON")
    tables = (
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND sql LIKE '%STRICT%'"
    )
    before = new.total_changes()
    for table in _names(new, tables):
        if told := _copy_table(old, new, table):
            lost[table] = told
    is_any = new.total_changes() > before
    _count_on(old, new, is_cut="log" in lost)
    new.execute(
        "UPDATE reading SET batch = NULL WHERE batch NOT IN (SELECT counter FROM batch)"
    )
    if {"reading", "log"} & lost.keys():
        new.execute("DELETE FROM seen")
    if lost and not is_any:
        return "anything"
    return ", ".join(lost.values()) or "some pages, of which nothing is missing"


def _copy_table(old: outbox_pages.Mended, new: apsw.Connection, table: str) -> str:
    """Copy the rows of a table that can be read, and return what can't be."""
    width = len(new.execute(f"PRAGMA table_info({table})").fetchall())
    insert = f"INSERT OR IGNORE INTO {table} VALUES ({', '.join('?' * width)})"  # noqa: S608
    tally = Counter[str]()
    if table in _KEYS:
        rows = _from_both_ends(old, f"SELECT * FROM {table}", _KEYS[table], tally)  # noqa: S608
    else:
        rows = _by_id(old, table, 1, _MOST_ID, tally)
    for row in rows:
        tally["read"] += 1
        try:
            new.execute(insert, row)
        except (apsw.ConstraintError, apsw.MismatchError, apsw.TooBigError):
            tally["failed"] += 1  # no agent wrote such a one
    count = f"SELECT count(*) FROM {table}"  # noqa: S608
    known, copied = _indexed(old, new, table), _number(new, count)
    if known > copied and table == "reading":
        _copy_cells(old, new)
        copied = _number(new, count)
    if known > copied:
        return f"{known - copied} of the rows of {table}"
    return f"some of the rows of {table}" if tally["failed"] and known < copied else ""


def _by_id(
    db: apsw.Connection, table: str, low: int, high: int, tally: Counter[str]
) -> Iterator[Row]:
    """Yield the rows of a range of ids; those that can't be read are passed over."""
    ends = [low - 1, high + 1]
    for end, order in enumerate(("ASC", "DESC")):
        query = (
            f"SELECT rowid, * FROM {table} WHERE rowid BETWEEN ? AND ? "  # noqa: S608
            f"ORDER BY rowid {order}"
        )
        try:
            for number, *row in db.execute(query, (ends[0] + 1, ends[1] - 1)):
                if not ends[0] < number < ends[1]:
                    # It was not asked for; going on from it might never end.
                    raise apsw.CorruptError(f"row {number} is where it can't be")
                ends[end] = number
                yield tuple(row)
        except _UNREADABLE:
            tally["failed"] += 1
        else:
            return
    low, high = ends[0] + 1, ends[1] - 1
    most = _MOST_FAILURES if tally["read"] else _MOST_IN_VAIN
    if low < high and tally["failed"] < most:
        middle = (low + high) // 2
        yield from _by_id(db, table, low, middle, tally)
        yield from _by_id(db, table, middle + 1, high, tally)


def _from_both_ends(
    db: apsw.Connection, query: str, key: tuple[str, ...], tally: Counter[str]
) -> Iterator[Row]:
    """Yield rows up to the first that can't be read, and those behind the last."""
    for order in ("ASC", "DESC"):
        by = ", ".join(f"{column} {order}" for column in key)
        try:
            yield from db.execute(f"{query} ORDER BY {by}")
        except _UNREADABLE:
            tally["failed"] += 1
        else:
            return


def _copy_cells(old: outbox_pages.Mended, new: apsw.Connection) -> None:
    """Copy readings that only the index of a damaged file knows of."""
    there = {row[0] for row in new.execute("SELECT id FROM reading")}
    missing = {}
    indexed = "SELECT id, batch, urgent FROM reading INDEXED BY reading_by_batch"
    try:
        for number, *of in old.execute(indexed):
            if number not in there:
                missing[number] = of
    except (*_UNREADABLE, apsw.SQLError):
        pass  # which ones more is not known; nor, before version 4, which are urgent
    for number, captured_ms, record in outbox_cells.find(old.pages(), missing):
        batch, urgent = missing[number]
        new.execute(
            "INSERT OR IGNORE INTO reading (id, batch, captured_ms, record, urgent) "
            "VALUES (?, ?, ?, ?, ?)",
            (number, batch, captured_ms, record, urgent),
        )


def _indexed(old: apsw.Connection, new: apsw.Connection, table: str) -> int:
    """Return how many rows the indexes of a table know of; -1 if none can be read."""
    most = -1
    indexes = (
        "SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = ? "
        "AND ifnull(sql, '') NOT LIKE '%WHERE%'"
    )
    for index in _names(new, indexes, table):
        try:
            count = f"SELECT count(*) FROM {table} INDEXED BY {index}"  # noqa: S608
            most = max(most, _number(old, count))
        except _UNREADABLE:
            continue
    return most


def _count_on(old: apsw.Connection, new: apsw.Connection, *, is_cut: bool) -> None:
    """Let the new file's numbers go on behind the old one's."""
    query = "SELECT max(seq) FROM sqlite_sequence WHERE name = ?"
    for name in ("batch", "reading", "journal", "undecoded"):
        try:
            given = _number(old, query, name)
        except (*_UNREADABLE, apsw.SQLError):
            given = 0
        if name == "batch" and (is_cut or not 0 < given < 4 * _FAR):
            # It is lost, or older, and a clock may be wrong: go where none was given.
            given = _FAR + secrets.randbelow(_FAR)
        last = max(given, _number(new, query, name))
        new.execute("DELETE FROM sqlite_sequence WHERE name = ?", (name,))
        new.execute("INSERT INTO sqlite_sequence VALUES (?, ?)", (name, last))


def _number(db: apsw.Connection, query: str, *values: str) -> int:
    """Return the number that a query finds; 0 for NULL."""
    (found,) = db.execute(query, values).fetchall()[0]
    return found if isinstance(found, int) else 0


def _names(db: apsw.Connection, query: str, *values: str) -> list[str]:
    return [str(row[0]) for row in db.execute(query, values)]


def _flush(folder: Path) -> None:
    """Have a folder's names on the disk before anything else is done."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)

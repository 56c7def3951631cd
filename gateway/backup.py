"""Backups of a store that goes on meanwhile, and the way back from one.

A backup is one file: a SQLite database, or what ``pg_dump`` writes in its custom
format; sealed as `gateway.sealed` says if a passphrase is given. It is of one moment,
and proven before it gets its name: a file without the end ``.part`` is a whole backup.

After a restore no id is given again that the lost store may have given: whoever holds a
cursor misses nothing, and whoever noted a patient's id finds no other person there.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import time
from typing import Literal

import apsw

from gateway.sealed import MAGIC, CannotOpen, opened, seal
from gateway.store import StoreUnusable
from gateway.store.database import Row
from gateway.store.sqlite import migrate, migrations, refuse_old_sqlite

Tell = Callable[[str], None]

READINGS_PER_S = 1_000_000  # more than any gateway stores
ROWS_PER_S = 1_000  # of all else that has ids
LEAST_S = 86_400  # that a clock may be wrong by

_PAGES = 16_384  # 64 MiB, between two words on how far it is
_SQLITE = b"SQLite format 3\0"
_POSTGRES = b"PGDMP"


class BackupError(Exception):
    """There is no backup, or no restored store; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Done:
    """What was backed up or restored, and proven to be whole.

    Attributes:
        file: The backup.
        store: The engine.
        size: Bytes of the backup.
        readings: How many readings are in it.
        last_received_ms: When the last batch in it came, in ms since 1970 UTC; None
            if there is none.
    """

    file: Path
    store: Literal["sqlite", "postgres"]
    size: int
    readings: int
    last_received_ms: int | None


def kind_of(file: Path) -> Literal["sqlite", "postgres", "sealed"]:
    """Return what a backup is.

    Raises:
        BackupError: It can't be read, or is no backup.
    """
    try:
        with file.open("rb") as source:
            return _kind(source.read(16), file)
    except OSError as error:
        raise BackupError(f"{file}: {error.strerror}") from error


def back_up(store: Path, to: Path, passphrase: bytes | None, tell: Tell) -> Done:
    """Copy a SQLite store as it is at one moment; a gateway may run on it.

    Args:
        store: The database.
        to: The backup, which must not be there yet.
        passphrase: To seal it with; None leaves it open. The copy is then made in the
            store's own folder first, so that no other disk ever holds it open.
        tell: Given a line now and then on how far it is.

    Raises:
        BackupError: There is no backup: a file can't be read or written, or the store
            is damaged.
    """
    if not store.exists():
        raise BackupError(f"there is no store at {store}: name its folder with --data")
    with becoming(to) as part, _told(store):
        if passphrase is None:
            readings, last_ms = _copy(store, part, tell)
        else:
            with _scrap(store.with_name(f"{store.name}.draft")) as draft:
                readings, last_ms = _copy(store, draft, tell)
                tell("sealing it")
                with draft.open("rb") as source, part.open("wb") as target:
                    seal(source, target, passphrase)
            with part.open("rb") as source:
                for _ in opened(source, passphrase):
                    pass  # it opens to its end
    return Done(to, "sqlite", to.stat().st_size, readings, last_ms)


def restore(file: Path, store: Path, passphrase: bytes | None, tell: Tell) -> Done:
    """Make a SQLite store of a backup, where none is.

    Args:
        file: The backup.
        store: The database to make.
        passphrase: That it was sealed with; None if it was not.
        tell: Given a line now and then on how far it is.

    Raises:
        BackupError: Nothing was restored: there is a store already, or the backup is
            damaged, of a newer gateway, or can't be opened.
    """
    for beside in (store, *(Path(f"{store}{end}") for end in ("-wal", "-shm"))):
        if beside.exists():
            raise BackupError(
                f"{beside} is there already, and a restore never writes over a store: "
                "move it away, or restore into another folder"
            )
    store.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with becoming(store) as part:
        with part.open("wb") as target:
            for piece in pieces(file, passphrase):
                target.write(piece)
        tell("checking it")
        with _told(file):
            readings, last_ms = _accept(part)
    return Done(file, "sqlite", file.stat().st_size, readings, last_ms)


def pieces(file: Path, passphrase: bytes | None) -> Iterator[bytes]:
    """Yield a backup's bytes, opened if it is sealed.

    Raises:
        BackupError: It can't be read or opened.
    """
    sealed = kind_of(file) == "sealed"
    if sealed and passphrase is None:
        raise BackupError(f"{file} is sealed: name its --passphrase-file")
    try:
        with file.open("rb") as source:
            if sealed and passphrase is not None:
                yield from opened(source, passphrase)
            else:
                while piece := source.read(1 << 20):
                    yield piece
    except CannotOpen as error:
        raise BackupError(f"{file}: {error}") from error
    except OSError as error:
        raise BackupError(f"{file}: {error.strerror}") from error


def jumps(last_received_ms: int | None) -> tuple[int, int]:
    """Return how many ids of readings, and of other rows, may have been lost.

    Args:
        last_received_ms: When the backup's last batch came.

    Raises:
        BackupError: It holds no batch, so nobody knows when it was made.
    """
    if last_received_ms is None:
        raise BackupError(
            "no batch is in the backup: begin with an empty folder instead"
        )
    lost_s = max(int(time()) - last_received_ms // 1000, 0) + LEAST_S
    return lost_s * READINGS_PER_S, lost_s * ROWS_PER_S


def _copy(store: Path, draft: Path, tell: Tell) -> tuple[int, int | None]:
    """Copy a database, prove the copy; return its readings and when the last came."""
    refuse_old_sqlite(apsw.sqlite_lib_version())
    with closing(_open(store)) as source, closing(_open(draft)) as target:
        source.set_busy_timeout(10_000)
        # Within one transaction it is one moment, and no commit makes it begin anew.
        source.execute("BEGIN")
        before = _counts(source)
        with target.backup("main", source, "main") as copying:
            while not copying.done:
                copying.step(_PAGES)
                done = copying.page_count - copying.remaining
                tell(f"{done} of {copying.page_count} pages")
        source.execute("ROLLBACK")
        target.execute("PRAGMA journal_mode = DELETE")
        tell("checking it")
        _must_be_whole(target)
        if _counts(target) != before:
            raise BackupError(f"{draft} holds other counts than the store had")
        return _readings(target)


def _accept(part: Path) -> tuple[int, int | None]:
    """Check a database that is to be the store, and let its ids begin anew above."""
    refuse_old_sqlite(apsw.sqlite_lib_version())
    with closing(_open(part)) as connection:
        _must_be_whole(connection)
        version, known = int(connection.pragma("user_version")), len(migrations())
        if not 0 < version <= known:
            raise BackupError(
                f"the backup is of version {version}, and this gateway knows {known}: "
                "install the gateway that made it, or a newer one"
            )
        # Tables of before may give the id of their last row again once it is gone.
        migrate(connection, migrations())
        readings, last_ms = _readings(connection)
        by_reading, by_row = jumps(last_ms)
        with connection:
            # A table that was never written in has no line there yet.
            connection.execute(
                "INSERT INTO sqlite_sequence (name, seq) SELECT name, 0 "
                "FROM sqlite_schema WHERE type = 'table' AND sql LIKE '%AUTOINCREMENT%'"
                " AND name NOT IN (SELECT name FROM sqlite_sequence)"
            )
            connection.execute("UPDATE sqlite_sequence SET seq = seq + ?", (by_row,))
            connection.execute("UPDATE revised SET last = last + ?", (by_row,))
            # New ids begin behind the last that any batch was given.
            connection.execute(
                "UPDATE batch SET last_id = coalesce(last_id, 0) + ? WHERE id = "
                "(SELECT id FROM batch ORDER BY coalesce(last_id, 0) DESC LIMIT 1)",
                (by_reading,),
            )
        return readings, last_ms


def _open(file: Path) -> apsw.Connection:
    return apsw.Connection(str(file), flags=apsw.SQLITE_OPEN_READWRITE)


def _must_be_whole(connection: apsw.Connection) -> None:
    found = connection.execute("PRAGMA integrity_check(1)").fetchall()
    if found != [("ok",)]:
        raise BackupError(f"it is damaged: {found[0][0]}")


def _counts(connection: apsw.Connection) -> dict[str, int]:
    names = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
    return {
        str(name): _number(connection, f'SELECT count(*) FROM "{name}"')  # noqa: S608 - the database's own names
        for (name,) in names.fetchall()
    }


def _readings(connection: apsw.Connection) -> tuple[int, int | None]:
    last_ms = _number(connection, "SELECT coalesce(max(received_ms), -1) FROM batch")
    readings = _number(connection, "SELECT count(*) FROM reading")
    return readings, last_ms if last_ms >= 0 else None


def _number(connection: apsw.Connection, query: str) -> int:
    found: list[Row] = connection.execute(query).fetchall()
    return int(found[0][0])


def _kind(head: bytes, file: Path) -> Literal["sqlite", "postgres", "sealed"]:
    if head.startswith(MAGIC):
        return "sealed"
    if head.startswith(_SQLITE):
        return "sqlite"
    if head.startswith(_POSTGRES):
        return "postgres"
    raise BackupError(f"{file} is no backup of a gateway")


@contextmanager
def _told(file: Path) -> Iterator[None]:
    try:
        yield
    except (apsw.Error, StoreUnusable) as error:
        raise BackupError(f"{file}: {error}") from error


@contextmanager
def becoming(file: Path) -> Iterator[Path]:
    """Yield where to write; what stands there in the end becomes ``file``, durably."""
    if file.exists():
        raise BackupError(f"{file} is there already: name another file")
    with _scrap(file.with_name(f"{file.name}.part")) as part:
        yield part
        try:
            with part.open("rb") as whole:
                os.fsync(whole.fileno())
            part.rename(file)
            folder = os.open(file.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise BackupError(f"{file}: {error.strerror}") from error


@contextmanager
def _scrap(file: Path) -> Iterator[Path]:
    """Make a file that only its owner can read, and take it away in the end."""
    try:
        file.unlink(missing_ok=True)
        file.touch(mode=0o600, exist_ok=False)
    except OSError as error:
        raise BackupError(f"{file}: {error.strerror}") from error
    try:
        yield file
    except OSError as error:
        raise BackupError(f"{error.filename or file}: {error.strerror}") from error
    finally:
        file.unlink(missing_ok=True)

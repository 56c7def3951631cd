"""The embedded store: one SQLite file in WAL mode, every commit on the disk.

Source: https://www.sqlite.org/wal.html, "The WAL-Reset Bug", for the version
below which a WAL may be corrupted.
"""

import re
from collections.abc import Sequence
from contextlib import closing
from importlib.resources import files
from pathlib import Path

import apsw

from gateway.store import (
    Delivery,
    Outcome,
    StoreUnusable,
)
from gateway.store.reading import Reader
from gateway.store.sqlite_checkpoints import CHECKPOINT_PAGES, Checkpoints
from gateway.store.sqlite_database import SqliteDatabase
from gateway.store.sqlite_write import Writer

_OLDEST = (3, 51, 3)
_BUSY_MS = 2_000
_CACHE_KIB = 65_536  # of each connection: the pages where keys come in stay there


class SqliteStore(Reader):
    """A `Store` in one file.

    Args:
        path: The database; made if it is not there.

    Raises:
        StoreUnusable: The SQLite library is too old, the file is no database, it was
            written by a newer gateway, or by an older one that still has it open.
    """

    commits_at_once = 1

    def __init__(self, path: Path) -> None:
        refuse_old_sqlite(apsw.sqlite_lib_version())
        self._path = str(path)
        try:
            self._update()
            self._database = SqliteDatabase(self._open)
            connection = self._database.connection
            connection.execute("PRAGMA journal_mode = WAL")
            migrate(connection, migrations())
            # Migrations may have to drop what others refer to.
            connection.execute("PRAGMA foreign_keys = ON")
            # A statement of many rows may have to be undone alone: it copies each page
            # that it changes, in a file three times what the commit itself writes.
            connection.execute("PRAGMA temp_store = MEMORY")
            self._checkpoints = Checkpoints(connection, self._open)
        except apsw.Error as error:
            raise StoreUnusable(f"{path}: {error}") from error
        self._writer = Writer(self._database)
        super().__init__(self._database)

    def commit(self, deliveries: Sequence[Delivery]) -> list[Outcome]:
        return self._writer.commit(deliveries)

    def close(self) -> None:
        self._database.close()
        self._checkpoints.close()

    def _update(self) -> None:
        """Bring a store that is there to this version, while nobody else has it open.

        Whoever runs with the tables of before would go on with statements that no
        longer say what was meant: what was erased since would be stored again.
        """
        with closing(self._open()) as connection:
            version = int(connection.pragma("user_version"))
        if not 0 < version < len(migrations()):
            return
        with closing(self._open()) as connection:
            # In WAL mode whoever has looked into the file holds a lock on it until it
            # is closed; asked for before the first look, this one is for all of it.
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            try:
                migrate(connection, migrations())
            except apsw.BusyError as error:
                raise StoreUnusable(
                    f"{self._path} is of version {version}, and another process has it "
                    f"open: stop the gateway that runs on it, and whatever else, so "
                    f"that it can be brought to version {len(migrations())}"
                ) from error

    def _open(self) -> apsw.Connection:
        connection = apsw.Connection(self._path)
        connection.set_busy_timeout(_BUSY_MS)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA mmap_size = 0")
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
        return connection


def refuse_old_sqlite(version: str) -> None:
    """Check a version of SQLite, as 3.51.3.

    Raises:
        StoreUnusable: It may corrupt a database in WAL mode.
    """
    if tuple(map(int, version.split(".")[:3])) < _OLDEST:
        oldest = ".".join(map(str, _OLDEST))
        raise StoreUnusable(
            f"SQLite {version} may corrupt the store; {oldest} is the oldest that is "
            "safe: install a newer apsw"
        )


def migrations() -> list[str]:
    """Return the scripts that lead from an empty database to this version's."""
    found = {}
    folder = files("gateway.store").joinpath("migrations", "sqlite")
    for entry in folder.iterdir():
        if name := re.fullmatch(r"(\d{4})_\w+\.sql", entry.name):
            found[int(name[1])] = entry.read_text(encoding="utf-8")
    if sorted(found) != list(range(1, len(found) + 1)):
        raise StoreUnusable(f"migrations are numbered {sorted(found)}")
    return [found[number] for number in sorted(found)]


def migrate(connection: apsw.Connection, scripts: Sequence[str]) -> None:
    """Bring a database to the version that the last of ``scripts`` makes.

    Each script and the version that it leads to are one transaction.

    Raises:
        StoreUnusable: The database is newer than ``scripts``.
    """
    while True:
        connection.execute("BEGIN IMMEDIATE")
        try:
            version = int(connection.pragma("user_version"))
            if version < len(scripts):
                connection.execute(scripts[version])
                connection.pragma("user_version", version + 1)
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        if version > len(scripts):
            raise StoreUnusable(
                f"the store is of version {version}, and this gateway knows "
                f"{len(scripts)}: install the newer gateway again"
            )
        if version == len(scripts):
            return

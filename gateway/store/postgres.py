"""The store to grow into: PostgreSQL, for any number of gateways at once."""

import re
import time
from collections.abc import Sequence
from importlib.resources import files
from queue import LifoQueue
from threading import Lock

import psycopg

from gateway.store import (
    Delivery,
    Outcome,
    StoreUnusable,
)
from gateway.store.postgres_database import Connection, PostgresDatabase, settings
from gateway.store.postgres_write import Writer
from gateway.store.reading import Reader

_OLDEST = 150_000
_MIGRATING = 30297 << 48
_LOCK_WAIT = "2s"  # longer, and everybody would wait behind the migration
_ATTEMPTS = 30
_PAUSE_S = 1.0
_VERSION = """
    CREATE TABLE IF NOT EXISTS version (
        number integer NOT NULL,
        needs integer NOT NULL
    )
"""
# Up to which id all is committed that ever will be.
_ARRIVED = {
    "reading": "SELECT arrived()",
    "device": "SELECT settled('device', 30298)",
    "quarantine": "SELECT settled('quarantine', 30299)",
}


class PostgresStore(Reader):
    """A `Store` on a server.

    Args:
        url: The database's address, as libpq reads it; its tables are made if they
            are not there.
        password: Of the user in it; None leaves it to libpq.

    Raises:
        StoreUnusable: The server can't be reached, is too old or not safe, or a newer
            gateway changed its tables.
    """

    commits_at_once = 2  # the server keeps one group, while the next is on its way

    def __init__(self, url: str, password: str | None = None) -> None:
        try:
            with psycopg.connect(url, **settings(password)) as connection:
                check(connection)
                migrate(connection, migrations())
        except psycopg.Error as error:
            raise StoreUnusable(f"the database of store.url: {error}") from error
        self._database = PostgresDatabase(url, password)
        self._idle = LifoQueue[Writer]()  # the second connects under load only
        self._writers = [Writer(url, password) for _ in range(self.commits_at_once)]
        for writer in self._writers:
            self._idle.put(writer)
        self._reached, self._reaching = dict[str, int](), Lock()
        super().__init__(self._database, self._arrived)

    def commit(self, deliveries: Sequence[Delivery]) -> list[Outcome]:
        writer = self._idle.get()
        try:
            return writer.commit(deliveries)
        finally:
            self._idle.put(writer)

    def close(self) -> None:
        for writer in self._writers:
            writer.close()
        self._database.close()

    def _arrived(self, table: str) -> int:
        # A commit that was slow to lock makes it less for a while, though it takes no
        # id so low: whoever was told more before would take what lies between as seen.
        now = int(self.database.rows(_ARRIVED[table])[0][0])
        with self._reaching:
            self._reached[table] = max(self._reached.get(table, 0), now)
            return self._reached[table]


def migrations() -> list[str]:
    """Return the scripts that lead from an empty database to this version's."""
    found = {}
    folder = files("gateway.store").joinpath("migrations", "postgres")
    for entry in folder.iterdir():
        if name := re.fullmatch(r"(\d{4})_\w+\.sql", entry.name):
            found[int(name[1])] = entry.read_text(encoding="utf-8")
    if sorted(found) != list(range(1, len(found) + 1)):
        raise StoreUnusable(f"migrations are numbered {sorted(found)}")
    return [found[number] for number in sorted(found)]


def migrate(
    connection: Connection,
    scripts: Sequence[str],
    pause_s: float = _PAUSE_S,
    lock_wait: str = _LOCK_WAIT,
) -> None:
    """Bring a database to the version that the last of ``scripts`` makes.

    Other gateways may go on meanwhile: a script that can't have its locks at once is
    given up, and tried again a little later. Each is one transaction. One that older
    gateways can't live with sets ``version.needs`` to the oldest that can.

    Args:
        connection: In no transaction.
        scripts: All there are, in order.
        pause_s: How long to leave the others alone between attempts.
        lock_wait: How long an attempt may wait, and all others behind it.

    Raises:
        StoreUnusable: The database needs a newer gateway, or is never free.
    """
    connection.execute("SELECT pg_advisory_lock(%s)", [_MIGRATING])
    try:
        connection.execute(_VERSION)
        connection.execute(
            "INSERT INTO version SELECT 0, 0 WHERE NOT EXISTS (SELECT FROM version)"
        )
        ((number, needs),) = connection.execute("SELECT number, needs FROM version")
        if needs > len(scripts):
            raise StoreUnusable(
                f"the store is of version {number} and needs a gateway that knows "
                f"version {needs}, and this one knows {len(scripts)}: install the "
                "newer gateway again"
            )
        for at in range(number, len(scripts)):
            _run(connection, scripts[at], at + 1, pause_s, lock_wait)
    finally:
        if not connection.broken:
            connection.execute("SELECT pg_advisory_unlock(%s)", [_MIGRATING])


def _run(
    connection: Connection, script: str, number: int, pause_s: float, lock_wait: str
) -> None:
    for _ in range(_ATTEMPTS):
        try:
            with connection.transaction():
                connection.execute(f"SET LOCAL lock_timeout = '{lock_wait}'")
                connection.execute(script.encode())
                connection.execute("UPDATE version SET number = %s", [number])
        except psycopg.errors.LockNotAvailable:
            time.sleep(pause_s)
        else:
            return
    raise StoreUnusable(
        f"migration {number} waited for its locks {_ATTEMPTS} times: end what holds "
        "them (pg_stat_activity shows it), and start the gateway again"
    )


def check(connection: Connection) -> None:
    """Refuse a server that can't keep what the gateway tells it to.

    Raises:
        StoreUnusable: It is too old, has other letters, or forgets in a power cut.
    """
    version = connection.info.server_version
    if version < _OLDEST:
        raise StoreUnusable(
            f"PostgreSQL {version // 10_000} is too old: {_OLDEST // 10_000} is the "
            "oldest that works"
        )
    for name, good, advice in (
        ("server_encoding", {"UTF8"}, "make the database with ENCODING 'UTF8'"),
        ("fsync", {"on"}, "a power cut would take what was confirmed: set it on"),
        (
            "synchronous_commit",
            {"on", "local", "remote_write", "remote_apply"},
            "a power cut would take what was confirmed: set it on",
        ),
    ):
        found = connection.execute("SELECT current_setting(%s)", [name]).fetchone()
        if found is None or found[0] not in good:
            raise StoreUnusable(
                f"the database has {name} {found and found[0]}: {advice}"
            )

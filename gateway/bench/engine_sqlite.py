"""SQLite itself: an ``executemany`` loop, each commit on the disk."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter

import apsw

from gateway.bench.engine import GROUP, LEDGER, Rate, Row, again, ledger

_STATEMENTS = 200


class SqliteEngine:
    """An `Engine` in one file.

    Args:
        path: The store's database.
        settings: PRAGMAs by name, as the store has them.
    """

    def __init__(self, path: Path, settings: Mapping[str, int]) -> None:
        self._connection = apsw.Connection(str(path))
        self._connection.set_busy_timeout(10_000)
        self._connection.execute("PRAGMA synchronous = FULL")
        for name, value in settings.items():
            self._connection.pragma(name, value)

    def rows(self, sql: str) -> Sequence[Row]:
        return self._connection.execute(sql).fetchall()

    @property
    def own_ids(self) -> str:
        return ""

    def columns(self, table: str) -> Sequence[str]:
        return [str(row[1]) for row in self.rows(f"PRAGMA table_info({table})")]

    def fill(self, statements: Sequence[str]) -> None:
        indexes = self.rows(
            "SELECT name, sql FROM sqlite_master "
            "WHERE type = 'index' AND tbl_name = 'reading' AND sql IS NOT NULL"
        )
        execute = self._connection.execute
        # Nothing is there yet that a power cut could take.
        execute("PRAGMA synchronous = OFF")
        execute("PRAGMA temp_store = FILE")
        execute("BEGIN IMMEDIATE")
        for name, _ in indexes:
            execute(f"DROP INDEX {name}")
        for number, statement in enumerate(statements):
            execute(statement)
            if number % _STATEMENTS == 0:  # a WAL is emptied at a commit only
                execute("COMMIT")
                execute("BEGIN IMMEDIATE")
        execute("COMMIT")
        for _, sql in indexes:
            execute(sql)
        execute("PRAGMA wal_checkpoint(TRUNCATE)")
        execute("PRAGMA synchronous = FULL")

    def size(self) -> int:
        pages, size = (
            int(self._connection.pragma(name)) for name in ("page_count", "page_size")
        )
        return pages * size

    def refill(self, after: int, most: int, generation: int) -> Rate:
        columns = self.columns("reading")
        ((last,),) = self.rows("SELECT max(last_id) FROM batch")
        shift = last - after
        taken = f"id > {after} AND id <= {after + most}"
        rows = self.rows(
            f"SELECT {again(columns, shift, generation)} FROM reading "  # noqa: S608 - our own words
            f"WHERE {taken} ORDER BY id"
        )
        entries = self.rows(
            f"SELECT {ledger(shift, generation)} FROM batch "  # noqa: S608 - likewise
            f"WHERE last_id > {after} AND last_id <= {after + most} ORDER BY last_id"
        )
        insert = _insert("reading", columns)
        enter = _insert("batch", LEDGER)
        each = -(-len(entries) * GROUP // max(len(rows), 1))
        began_s = perf_counter()
        for at, start in enumerate(range(0, len(rows), GROUP)):
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany(enter, entries[at * each : (at + 1) * each])
            self._connection.executemany(insert, rows[start : start + GROUP])
            self._connection.execute("COMMIT")
        return Rate(len(rows), perf_counter() - began_s)

    def refill_bare(self, after: int, most: int) -> Rate:
        rows = self.rows(
            f"SELECT * FROM reading WHERE id > {after} ORDER BY id LIMIT {most}"  # noqa: S608 - our own words
        )
        self._connection.execute("CREATE TABLE bare AS SELECT * FROM reading WHERE 0")
        insert = _insert("bare", self.columns("bare"))
        began_s = perf_counter()
        for start in range(0, len(rows), GROUP):
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany(insert, rows[start : start + GROUP])
            self._connection.execute("COMMIT")
        seconds = perf_counter() - began_s
        self._connection.execute("DROP TABLE bare")
        return Rate(len(rows), seconds)

    def close(self) -> None:
        self._connection.close()


def _insert(table: str, columns: Sequence[str]) -> str:
    names = ", ".join(f'"{name}"' for name in columns)
    marks = ", ".join("?" * len(columns))
    return f"INSERT INTO {table} ({names}) VALUES ({marks})"  # noqa: S608 - our own words

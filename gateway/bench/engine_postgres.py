"""PostgreSQL itself: binary COPY of blocks that it made beforehand, and a ledger."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter

import psycopg

from gateway.bench.engine import COUNTER, GROUP, LEDGER, Rate, Row, again, ledger

_IDS = 16_384  # that the sequence ``arrival`` gives at a time
_ENTER = (
    f"INSERT INTO batch (id, {', '.join(LEDGER)}) "  # noqa: S608 - our own words
    f"VALUES ({', '.join(['%s'] * (1 + len(LEDGER)))}) ON CONFLICT DO NOTHING"
)


@dataclass(frozen=True, slots=True)
class _Block:
    count: int
    readings: bytes
    entries: Sequence[Row]


class PostgresEngine:
    """An `Engine` on a server.

    Args:
        address: Of the store's database.
    """

    def __init__(self, address: str) -> None:
        self._connection = psycopg.connect(address, autocommit=True)

    def rows(self, sql: str) -> Sequence[Row]:
        return self._connection.execute(sql).fetchall()

    @property
    def own_ids(self) -> str:
        return " OVERRIDING SYSTEM VALUE"

    def columns(self, table: str) -> Sequence[str]:
        found = self.rows(
            "SELECT column_name FROM information_schema.columns "  # noqa: S608 - our own words
            f"WHERE table_name = '{table}' ORDER BY ordinal_position"
        )
        return [str(row[0]) for row in found]

    def fill(self, statements: Sequence[str]) -> None:
        indexes = self.rows(
            "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'reading'"
        )
        with self._connection.transaction():
            for name, _ in indexes:
                self._run(f"DROP INDEX {name}")
            for statement in statements:
                self._run(statement)
            for _, sql in indexes:
                self._run(sql.replace(" ON ONLY ", " ON "))
            for table in ("station", "device"):
                self._run(
                    f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), "  # noqa: S608 - our own words
                    f"max(id)) FROM {table}"
                )
            self._run(
                f"SELECT setval('arrival', (max(id) / {_IDS} + 1) * {_IDS}) "  # noqa: S608 - likewise
                "FROM reading"
            )
        self._run("VACUUM ANALYZE")

    def size(self) -> int:
        return int(self.rows("SELECT pg_database_size(current_database())")[0][0])

    def refill(self, after: int, most: int, generation: int) -> Rate:
        """Write as `Engine.refill` says: a ledger row a batch, COPY in a savepoint."""
        ((first, last),) = self.rows(
            f"SELECT min(id), max(id) FROM reading WHERE id > {after}"  # noqa: S608 - our own words
        )
        shift = self._new_ids(last - first + 1) - first
        blocks = list(self._blocks(after, most, shift, generation))
        began_s = perf_counter()
        for block in blocks:
            with self._connection.transaction(), self._connection.cursor() as cursor:
                cursor.executemany(_ENTER, block.entries)
                with self._connection.transaction():
                    self._copy("reading", block)
        seconds = perf_counter() - began_s
        return Rate(sum(block.count for block in blocks), seconds)

    def refill_bare(self, after: int, most: int) -> Rate:
        self._connection.execute("CREATE TABLE bare (LIKE reading)")
        blocks = list(self._blocks(after, most, 0, 1))
        began_s = perf_counter()
        for block in blocks:
            self._copy("bare", block)
        seconds = perf_counter() - began_s
        self._connection.execute("DROP TABLE bare")
        return Rate(sum(block.count for block in blocks), seconds)

    def close(self) -> None:
        self._connection.close()

    def _run(self, statement: str) -> None:
        self._connection.execute(statement)

    def _copy(self, table: str, block: _Block) -> None:
        with self._connection.cursor().copy(
            f"COPY {table} FROM STDIN (FORMAT binary)"
        ) as copy:
            copy.write(block.readings)

    def _blocks(
        self, after: int, most: int, shift: int, generation: int
    ) -> Iterator[_Block]:
        """Yield what is to be written, commit by commit."""
        ids = [
            row[0]
            for row in self.rows(
                f"SELECT id FROM reading WHERE id > {after} ORDER BY id LIMIT {most}"  # noqa: S608 - our own words
            )
        ]
        what = again(self.columns("reading"), shift, generation)
        for start in range(0, len(ids), GROUP):
            some = ids[start : start + GROUP]
            within = f"BETWEEN {some[0]} AND {some[-1]}"
            with self._connection.cursor().copy(
                f"COPY (SELECT {what} FROM reading WHERE id {within} "  # noqa: S608 - likewise
                "ORDER BY device, generation, slot, kind, ordinal, discriminator) "
                "TO STDOUT (FORMAT binary)"
            ) as copy:
                readings = b"".join(map(bytes, copy))
            entries = self.rows(
                f"SELECT first_id + {shift}, {ledger(shift, generation)} FROM batch "  # noqa: S608 - likewise
                f"WHERE first_id {within} AND counter < {COUNTER}"
            )
            yield _Block(len(some), readings, entries)

    def _new_ids(self, count: int) -> int:
        """Take ids that no gateway will be given; return the first."""
        blocks = -(-count // _IDS)
        rows = self.rows(
            f"SELECT nextval('arrival') FROM generate_series(1, {blocks})"  # noqa: S608 - likewise
        )
        return int(rows[0][0]) - _IDS + 1

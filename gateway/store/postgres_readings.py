"""Readings on their way into the PostgreSQL store, each at most once by its key."""

from operator import itemgetter

import psycopg

from gateway.store.database import Row
from gateway.store.postgres_database import Connection
from gateway.store.postgres_names import columns
from gateway.store.remade import reading_of
from gateway.store.rows import FACTS, KEY, READING
from protocols.observation import Device, fingerprint

_TYPES = (
    "int8", "int8", "int4", "int2", "int2", "int8", "int4", "int8", "int8", "int8",
    "int2", "int8", "int8", "text", "int2", "int2", "int4", "text", "text", "text",
    "text", "text", "bytea",
)  # fmt: skip
_COLUMNS = ", ".join(READING)
_KEYS = ", ".join(KEY)
# Tables and columns are constants of ours.
_COPY = f"COPY {{}} ({_COLUMNS}) FROM STDIN (FORMAT BINARY)"
_STAGING = """
    CREATE TEMPORARY TABLE IF NOT EXISTS staging (LIKE reading) ON COMMIT DELETE ROWS
"""
_MERGE = f"""
    INSERT INTO reading ({_COLUMNS}) SELECT {_COLUMNS} FROM staging ORDER BY {_KEYS}, id
    ON CONFLICT ({_KEYS}) DO NOTHING RETURNING id
"""  # noqa: S608
_DIFFERENT = f"""
    SELECT s.id, r.id, {", ".join(f"s.{name}" for name in KEY + FACTS)},
        {", ".join(f"r.{name}" for name in FACTS)}
    FROM staging s JOIN reading r USING ({_KEYS})
    WHERE s.id <> r.id AND (s."values" <> r."values"
        OR s.device_time IS DISTINCT FROM r.device_time
        OR s.status IS DISTINCT FROM r.status
        OR s.context IS DISTINCT FROM r.context)
"""  # noqa: S608
_FACTS = ", ".join(FACTS)
_AMEND = f"""
    INSERT INTO amendment (id, reading, fingerprint, batch, driver, {_FACTS})
    SELECT s.id, w.reading, w.fingerprint, s.batch, s.driver, {_FACTS}
    FROM staging s
    JOIN unnest(%s::bigint[], %s::bigint[], %s::bytea[]) AS w (id, reading, fingerprint)
    USING (id)
    ORDER BY w.reading, w.fingerprint, s.id
    ON CONFLICT (reading, fingerprint) DO NOTHING RETURNING id
"""  # noqa: S608


def keep(connection: Connection, rows: list[Row]) -> tuple[list[Row], set[int]]:
    """Store readings in the transaction under way.

    Args:
        connection: In that transaction.
        rows: In the order of `READING`; of two with one key the lower id is first.

    Returns:
        Those that were not known, and the ids of those that differ from what is known.
    """
    # Stores are fastest when keys come in order, and gateways that store the same keys
    # in one order wait for each other, never both.
    rows = sorted(rows, key=itemgetter(*range(1, 7), 0))
    if not rows:
        return [], set()
    try:
        with connection.transaction():
            _copy(connection, "reading", rows)
    except psycopg.errors.UniqueViolation:
        return _merge(connection, rows)
    return rows, set()


def _copy(connection: Connection, table: str, rows: list[Row]) -> None:
    with connection.cursor() as cursor, cursor.copy(_COPY.format(table)) as copy:
        copy.set_types(_TYPES)
        for row in rows:
            copy.write_row(row)


def _merge(connection: Connection, rows: list[Row]) -> tuple[list[Row], set[int]]:
    connection.execute(_STAGING)
    _copy(connection, "staging", rows)
    new = {number for (number,) in connection.execute(_MERGE)}
    amended: set[int] = set()
    if len(new) < len(rows) and (different := _different(connection)):
        found = connection.execute(_AMEND, columns(different))
        amended = {number for (number,) in found}
    return [row for row in rows if row[0] in new], amended


def _different(connection: Connection) -> list[tuple[int, int, bytes]]:
    """Return id, the stored reading's id and fingerprint of reports that differ."""
    different = []
    for number, stored, *row in connection.execute(_DIFFERENT):
        key, told = tuple(row[: len(KEY)]), tuple(row[len(KEY) :])
        now = _fingerprint(key, told[: len(FACTS)])
        if now != _fingerprint(key, told[len(FACTS) :]):
            different.append((number, stored, now))
    return different


def _fingerprint(key: Row, facts: Row) -> bytes:
    return fingerprint(reading_of(Device("any"), ("", ""), key, facts))

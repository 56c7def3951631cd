"""Readings into an SQLite store, many with one statement."""

from collections.abc import Sequence
from typing import Any

import apsw

from gateway.store.rows import KEY, READING

_WIDTH = len(READING)
# To run a statement costs as much as to insert three readings, and while it runs the
# other threads of this process can work.
_AT_ONCE = 64


def insert(
    table: str, columns: Sequence[str], unique: Sequence[str], rows: int = 1
) -> str:
    """Return a statement that inserts rows which are not there yet.

    Args:
        table: Where.
        columns: Of each row.
        unique: Those that tell one row from another.
        rows: How many.
    """
    marks = f"({','.join('?' * len(columns))})"
    names = ", ".join(columns)
    # Names of tables and columns are constants.
    return (
        f"INSERT INTO {table} ({names}) VALUES {','.join([marks] * rows)} "  # noqa: S608
        f"ON CONFLICT ({', '.join(unique)}) DO NOTHING"
    )


_INSERT_READING = insert("reading", READING, KEY)
_INSERT_READINGS = insert("reading", READING, KEY, _AT_ONCE)


def insert_readings(connection: apsw.Connection, told: list[Any]) -> int:
    """Insert readings in this order; return how many of them were not there.

    Args:
        connection: In the transaction to insert in.
        told: Rows in the order of `READING`, one behind the other.
    """
    before = connection.total_changes()
    many = _AT_ONCE * _WIDTH
    whole = len(told) - len(told) % many
    for start in range(0, whole, many):
        connection.execute(_INSERT_READINGS, told[start : start + many])
    rest = range(whole, len(told), _WIDTH)
    connection.executemany(_INSERT_READING, [told[at : at + _WIDTH] for at in rest])
    return connection.total_changes() - before

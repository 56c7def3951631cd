"""Marks in portable SQL: for conditions that are asked for, and for lists of values."""

from collections.abc import Iterable, Sequence

from gateway.store.database import Change, Database, Row, Scalar

AT_ONCE = 1_000
"""How many marks one query has at most."""


def given(**values: Scalar) -> dict[str, Scalar]:
    """Return those of ``values`` that there are."""
    return {name: value for name, value in values.items() if value is not None}


def listed(values: Sequence[Scalar]) -> tuple[str, dict[str, Scalar]]:
    """Return marks for an IN (...), and what they stand for."""
    found = {f"n{at}": value for at, value in enumerate(values)}
    return ", ".join(f":{mark}" for mark in found), found


def among(database: Database | Change, sql: str, these: Iterable[Scalar]) -> list[Row]:
    """Run a query with marks for ``these`` in its {}, as often as they need."""
    wanted, found = list(these), list[Row]()
    for start in range(0, len(wanted), AT_ONCE):
        some, values = listed(wanted[start : start + AT_ONCE])
        found += database.rows(sql.format(some), **values)
    return found

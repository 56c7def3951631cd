"""What the gateway's registers ask of either engine: portable SQL, whole changes.

SQL here is what SQLite and PostgreSQL both speak: ON CONFLICT and RETURNING, marks
as ``:name``, no function that only one of them has. Readings themselves are written by
the engine's own writer.
"""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any, Literal, Protocol

Row = tuple[Any, ...]
Scalar = int | float | str | bytes | None


class Change(Protocol):
    """One transaction, for the thread that began it."""

    def rows(self, sql: str, **values: Scalar) -> list[Row]:
        """Run a statement; return its rows, if it gives any.

        Raises:
            StoreRefused: A constraint or a type forbids it.
            StoreUnavailable: The store can't be changed now.
        """
        ...

    def many(self, sql: str, values: Iterable[dict[str, Scalar]]) -> None:
        """Run a statement once for each of ``values``."""
        ...


class Database(Protocol):
    """A store's database, safe for any thread."""

    @property
    def engine(self) -> Literal["sqlite", "postgres"]:
        """Which engine it is, for the few statements that differ."""
        ...

    def rows(self, sql: str, **values: Scalar) -> list[Row]:
        """Run a query that changes nothing, and return its rows.

        Raises:
            StoreUnavailable: The store can't be read now.
        """
        ...

    def change(self) -> AbstractContextManager[Change]:
        """Begin a transaction; it is durable when the block ends without an error.

        Raises:
            StoreUnavailable: Nothing was written; try again later.
        """
        ...

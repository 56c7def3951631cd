"""SQLite as a `Database`: one connection that writes, a few that read."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from queue import Empty, LifoQueue
from threading import RLock
from typing import Literal

import apsw

from gateway.store import StoreRefused, StoreUnavailable
from gateway.store.database import Change, Row, Scalar


class SqliteDatabase:
    """A `Database` in one file.

    Args:
        connect: Opens one more connection.
    """

    engine: Literal["sqlite", "postgres"] = "sqlite"

    def __init__(self, connect: Callable[[], apsw.Connection]) -> None:
        self._connect = connect
        self._idle: LifoQueue[apsw.Connection] = LifoQueue()
        self._writing = RLock()
        self.connection = connect()

    def rows(self, sql: str, **values: Scalar) -> list[Row]:
        with self._reading() as connection:
            return connection.execute(sql, values).fetchall()

    @contextmanager
    def change(self) -> Iterator[Change]:
        with self._writing, self.transaction() as connection:
            yield _Change(connection)

    @contextmanager
    def transaction(self) -> Iterator[apsw.Connection]:
        """Begin a transaction on the connection that writes; commit at the end.

        Raises:
            StoreRefused: A constraint or a type forbids something in it.
            StoreUnavailable: Nothing was written; try again later.
        """
        with self._writing:
            try:
                yield from self._transaction()
            except (
                apsw.ConstraintError,
                apsw.TooBigError,
                apsw.MismatchError,
            ) as error:
                raise StoreRefused(f"it does not fit: {error}") from error
            except (OverflowError, ValueError) as error:
                raise StoreRefused(f"it cannot be kept: {error}") from error
            except apsw.Error as error:
                raise StoreUnavailable(f"{type(error).__name__}: {error}") from error

    def close(self) -> None:
        """Close the connections that nobody uses now."""
        while True:
            try:
                self._idle.get_nowait().close()
            except Empty:
                break
        with self._writing:
            self.connection.close()

    def _transaction(self) -> Iterator[apsw.Connection]:
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield self.connection
            self.connection.execute("COMMIT")
        finally:
            # A full disk makes SQLite roll back by itself.
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")

    @contextmanager
    def _reading(self) -> Iterator[apsw.Connection]:
        try:
            connection = self._idle.get_nowait()
        except Empty:
            try:
                connection = self._connect()
                connection.execute("PRAGMA query_only = ON")
            except apsw.Error as error:
                raise StoreUnavailable(f"{type(error).__name__}: {error}") from error
        try:
            yield connection
        except apsw.Error as error:
            raise StoreUnavailable(f"{type(error).__name__}: {error}") from error
        finally:
            self._idle.put(connection)


class _Change:
    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection

    def rows(self, sql: str, **values: Scalar) -> list[Row]:
        return self._connection.execute(sql, values).fetchall()

    def many(self, sql: str, values: Iterable[dict[str, Scalar]]) -> None:
        self._connection.executemany(sql, values)

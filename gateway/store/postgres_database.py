"""PostgreSQL as a `Database`: portable SQL over a few connections.

A text here may hold any character, and PostgreSQL's may not hold NUL: it is kept as
SUB and "0", and SUB as SUB and "S".
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from queue import Empty, LifoQueue
from select import POLLIN, poll
from threading import BoundedSemaphore
from typing import Any, Literal, LiteralString

import psycopg
from psycopg import pq
from psycopg.abc import AdaptContext, Buffer
from psycopg.adapt import AdaptersMap, Dumper, Loader
from psycopg.types.numeric import NumericBinaryLoader
from psycopg.types.string import BytesBinaryDumper

from gateway.store import StoreRefused, StoreUnavailable
from gateway.store.database import Change, Row, Scalar

Connection = psycopg.Connection[Row]

_CONNECT_S = 10
_CONNECTIONS = 10
_WAIT_S = 10.0  # for one of them
_TEXT = psycopg.adapters.types["text"].oid
_TOKEN = re.compile(
    r"""(?P<kept>'(?:[^']|'')*'|"[^"]*"|--[^\n]*|::)|:(?P<mark>[a-z_]\w*)|(?P<percent>%)""",
    re.VERBOSE,
)


@lru_cache(maxsize=1_024)
def translated(sql: str, nulls: frozenset[str] = frozenset()) -> LiteralString:
    """Return portable SQL with its marks as psycopg knows them.

    Args:
        sql: With marks as ``:name``.
        nulls: Marks whose value is NULL; PostgreSQL would ask of which type.

    >>> translated("SELECT ':a' || :a::text WHERE 5 % 2 = :b", frozenset({"b"}))
    "SELECT ':a' || %(a)s::text WHERE 5 %% 2 = NULL"
    """

    def replaced(found: re.Match[str]) -> str:
        mark = found["mark"]
        if mark is not None:
            return "NULL" if mark in nulls else f"%({mark})s"
        return found[0].replace("%", "%%")

    return _TOKEN.sub(replaced, sql)


def escaped(text: str) -> str:
    """Return a text as PostgreSQL can hold it."""
    if "\0" in text or "\x1a" in text:
        return text.replace("\x1a", "\x1aS").replace("\0", "\x1a0")
    return text


def _unescaped(text: str) -> str:
    return text.replace("\x1a0", "\0").replace("\x1aS", "\x1a")


class _Whole(Dumper):
    """Any integer as a bigint, so that no type depends on a value."""

    oid = psycopg.adapters.types["int8"].oid

    def dump(self, obj: int) -> Buffer:
        return str(int(obj)).encode()


class _Text(Dumper):
    oid = _TEXT

    def dump(self, obj: str) -> Buffer:
        return escaped(obj).encode()


class _LoadedText(Loader):
    def load(self, data: Buffer) -> str:
        text = str(data, "utf-8")
        return _unescaped(text) if "\x1a" in text else text


class _Sum(Loader):
    """A sum of integers, which PostgreSQL has as a numeric."""

    format = pq.Format.BINARY

    def __init__(self, oid: int, context: AdaptContext | None = None) -> None:
        super().__init__(oid, context)
        self._numeric = NumericBinaryLoader(oid, context)

    def load(self, data: Buffer) -> int | float:
        found = self._numeric.load(data)
        exponent = found.as_tuple().exponent
        is_whole = isinstance(exponent, int) and exponent >= 0
        return int(found) if is_whole else float(found)


def _adapters(*, unescape: bool = True) -> AdaptersMap:
    adapters = AdaptersMap(psycopg.adapters)
    adapters.register_dumper(int, _Whole)
    adapters.register_dumper(bool, _Whole)
    adapters.register_dumper(str, _Text)
    # COPY takes the one registered last for a type, which calls Python for each value.
    adapters.register_dumper(bytes, BytesBinaryDumper)
    if unescape:
        adapters.register_loader("text", _LoadedText)
    adapters.register_loader("numeric", _Sum)
    return adapters


def settings(password: str | None) -> dict[str, Any]:
    """Return what every connection of a gateway is opened with."""
    more = {} if password is None else {"password": password}
    return {
        "autocommit": True,
        "context": _Context(),
        "connect_timeout": _CONNECT_S,
        "application_name": "vitalwire-gateway",
        # A server that is gone without a word is noticed within half a minute.
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 4,
        "tcp_user_timeout": 30_000,
        **more,
    }


class _Context:
    """What psycopg asks for the ways from values to types and back."""

    adapters = _adapters()
    connection = None


class _AsKept:
    """The same, but that texts come as they are kept: `_rows` looks at them."""

    adapters = _adapters(unescape=False)
    connection = None


@contextmanager
def errors_told() -> Iterator[None]:
    """Turn what PostgreSQL's client raises into what a store does.

    Raises:
        StoreRefused: A value does not fit.
        StoreUnavailable: Anything else went wrong.
    """
    try:
        yield
    except (psycopg.DataError, psycopg.IntegrityError) as error:
        raise StoreRefused(f"it does not fit: {_said(error)}") from error
    except psycopg.Error as error:
        raise StoreUnavailable(f"{type(error).__name__}: {_said(error)}") from error


def _said(error: psycopg.Error) -> str:
    # The first line names the fault; those below may quote a reading.
    return error.diag.message_primary or str(error).partition("\n")[0]


class PostgresDatabase:
    """A `Database` on a server.

    Args:
        url: Its address, as libpq reads it.
        password: Of the user in it; None leaves it to libpq.
    """

    engine: Literal["sqlite", "postgres"] = "postgres"

    def __init__(self, url: str, password: str | None = None) -> None:
        self._url = url
        self._settings = settings(password) | {"context": _AsKept()}
        self._idle: LifoQueue[Connection] = LifoQueue()
        self._free = BoundedSemaphore(_CONNECTIONS)

    def rows(self, sql: str, **values: Scalar) -> list[Row]:
        with errors_told(), self._connection() as connection:
            return _rows(connection, sql, values)

    @contextmanager
    def change(self) -> Iterator[Change]:
        with (
            errors_told(),
            self._connection() as connection,
            connection.transaction(),
        ):
            yield _Change(connection)

    def close(self) -> None:
        """Close the connections that nobody uses now."""
        while True:
            try:
                self._idle.get_nowait().close()
            except Empty:
                return

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        if not self._free.acquire(timeout=_WAIT_S):
            raise StoreUnavailable(f"all {_CONNECTIONS} connections are in use")
        try:
            connection = self._alive() or self._new()
            try:
                yield connection
            finally:
                if connection.broken:
                    connection.close()
                else:
                    self._idle.put(connection)
        finally:
            self._free.release()

    def _new(self) -> Connection:
        connection = psycopg.connect(self._url, **self._settings)
        # Whatever the server's own: who waited for others has to see what they did.
        connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        # A page's query over all parts of a table looks like much work, and is little:
        # compiling it takes ten times as long as running it.
        connection.execute("SET jit = off")
        return connection

    def _alive(self) -> Connection | None:
        """Return a connection that the server has not closed; None if there is none."""
        while True:
            try:
                connection = self._idle.get_nowait()
            except Empty:
                return None
            # An idle connection has nothing to say but that it ends.
            watch = poll()
            watch.register(connection.fileno(), POLLIN)
            if not watch.poll(0):
                return connection
            connection.close()


class _Change:
    """One transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def rows(self, sql: str, **values: Scalar) -> list[Row]:
        with errors_told():
            return _rows(self._connection, sql, values)

    def many(self, sql: str, values: Iterable[dict[str, Scalar]]) -> None:
        with errors_told(), self._connection.cursor() as cursor:
            cursor.executemany(translated(sql), values)


def _rows(connection: Connection, sql: str, values: dict[str, Scalar]) -> list[Row]:
    nulls = frozenset(name for name, value in values.items() if value is None)
    cursor = connection.execute(translated(sql, nulls), values, binary=True)
    if not cursor.description:
        return []
    found = cursor.fetchall()
    # Next to none is escaped, and to call a loader for each text takes as long as all
    # else that is done with a page of readings here.
    texts = [at for at, one in enumerate(cursor.description) if one.type_code == _TEXT]
    if any("\x1a" in "".join([row[at] or "" for row in found]) for at in texts):
        return [tuple(map(_as_meant, row)) for row in found]
    return found


def _as_meant(one: object) -> object:
    return _unescaped(one) if isinstance(one, str) else one

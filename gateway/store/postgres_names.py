"""Rows of the PostgreSQL store that get a number by their name, and never go away."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Any

from gateway.store.database import Row
from gateway.store.postgres_database import Connection

_REMEMBERED = 200_000


@dataclass(frozen=True, slots=True)
class Register:
    """A table of names.

    Attributes:
        table: Its name.
        key: The two columns of text that name a row.
        more: What else a new row has, with its type.
        settling: Locked with its last id before more are taken, as its lists go by id:
            see ``settled`` in migration 0007. None has no list.
    """

    table: str
    key: tuple[str, str]
    more: tuple[tuple[str, str], ...] = ()
    settling: int | None = None


_SEEN = (("first_seen_ms", "bigint"), ("last_seen_ms", "bigint"))
STATIONS = Register("station", ("tenant", "station"), _SEEN)
DEVICES = Register(
    "device",
    ("tenant", "device"),
    (
        ("manufacturer", "text"),
        ("model", "text"),
        ("serial", "text"),
        ("firmware", "text"),
        *_SEEN,
    ),
    settling=30298,
)
DRIVERS = Register("driver", ("name", "version"))

Name = tuple[str, str]


class Names:
    """Numbers by name, remembered once they are durable.

    Args:
        register: Which table.
    """

    def __init__(self, register: Register) -> None:
        self._register = register
        self._durable: dict[Name, int] = {}
        self._fresh: dict[Name, int] = {}

    def numbers(
        self, connection: Connection, wanted: Mapping[Name, Row]
    ) -> dict[Name, int]:
        """Return the number of each name; add those that are not there.

        Args:
            connection: In the transaction to add in.
            wanted: What the row of each would hold besides its name.
        """
        missing = sorted(wanted.keys() - self._durable.keys())
        if missing:
            self._find(connection, missing)
        if new := [name for name in missing if name not in self._fresh]:
            # Another gateway may add the same ones meanwhile, and this waits for it.
            self._add(connection, [(*name, *wanted[name]) for name in new])
            self._find(connection, new)
        return {
            name: self._durable.get(name) or self._fresh[name]
            for name in wanted
        }  # fmt: skip

    def committed(self) -> None:
        """Remember what this transaction found and added."""
        if len(self._durable) > _REMEMBERED:
            self._durable.clear()
        self._durable |= self._fresh
        self._fresh.clear()

    def forget(self) -> None:
        """Remember nothing: a transaction failed, or the server is another one."""
        self._durable.clear()
        self._fresh.clear()

    def _find(self, connection: Connection, names: Collection[Name]) -> None:
        first, second = self._register.key
        found = connection.execute(
            f"SELECT {first}, {second}, id FROM {self._register.table} "  # noqa: S608 - own constants
            f"JOIN unnest(%s::text[], %s::text[]) AS w ({first}, {second}) "
            f"USING ({first}, {second})",
            columns(names),
        )
        self._fresh |= {(one, two): number for one, two, number in found}

    def _add(self, connection: Connection, rows: Sequence[Row]) -> None:
        names = [*self._register.key, *(name for name, _ in self._register.more)]
        types = ["text", "text", *(kind for _, kind in self._register.more)]
        marks = ", ".join(f"%s::{kind}[]" for kind in types)
        if self._register.settling is not None:
            settle(connection, self._register.table, self._register.settling)
        connection.execute(
            f"INSERT INTO {self._register.table} ({', '.join(names)}) "  # noqa: S608 - own constants
            f"SELECT * FROM unnest({marks}) ON CONFLICT DO NOTHING",
            columns(rows),
        )


def settle(connection: Connection, table: str, prefix: int) -> None:
    """Say that ids behind the last one of a table are on their way.

    Args:
        connection: In the transaction that takes them.
        table: Its name.
        prefix: Of its locks.
    """
    connection.execute(
        f"SELECT pg_advisory_xact_lock_shared(({prefix}::bigint << 48) | last_value) "  # noqa: S608 - own constants
        f"FROM {table}_id_seq"
    )


def columns(rows: Collection[Row]) -> list[object]:
    """Return rows as columns, as ``unnest`` takes them."""
    return [_array(column) for column in zip(*rows, strict=True)]


def _array(items: Sequence[Any]) -> object:
    """Return an array as a statement takes it that says of what it is.

    psycopg calls Python for each item, so only one of bytes is left to it.

    Source: PostgreSQL 15 Documentation, 8.15.2 and 8.15.6.
    """
    kinds = {*map(type, items)} - {NoneType}
    if not kinds <= {int} and kinds != {str}:
        return [*items]
    shown = str if kinds <= {int} else _quoted
    if None in items:
        return f"{{{','.join('NULL' if one is None else shown(one) for one in items)}}}"
    return f"{{{','.join(map(shown, items))}}}"


def _quoted(text: str) -> str:
    told = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{told}"'

"""The writing half of the SQLite store: groups of deliveries, one commit each."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import apsw

from gateway.store import (
    Accepted,
    Delivery,
    Greeting,
    Outcome,
    Refused,
    StoreRefused,
    StoreUnavailable,
)
from gateway.store.sqlite_rows import FACTS, facts
from protocols.observation import Device, Key, Reading, fingerprint, key
from protocols.uplink.topics import Station

_Row = tuple[Any, ...]  # apsw checks what it binds

_KEY = ("device", "generation", "slot", "kind", "ordinal", "discriminator")
_SAID_BY = ("fingerprint", "batch", "station", "driver")


def _insert(table: str, columns: tuple[str, ...], unique: str) -> str:
    marks = ", ".join("?" * len(columns))
    names = ", ".join(columns)
    # Names of tables and columns are this module's own constants.
    return (
        f"INSERT INTO {table} ({names}) VALUES ({marks}) "  # noqa: S608
        f"ON CONFLICT ({unique}) DO NOTHING"
    )


_INSERT_READING = _insert("reading", _KEY + _SAID_BY + FACTS, ", ".join(_KEY))
_INSERT_AMENDMENT = _insert(
    "amendment", ("reading", *_SAID_BY, *FACTS), "reading, fingerprint"
)
_FIND_READING = """
    SELECT id, fingerprint FROM reading
    WHERE device = ? AND generation = ? AND slot = ? AND kind = ? AND ordinal = ?
        AND discriminator = ?
"""
_TALLY = """
    INSERT INTO tally
        (device, kind, readings, flagged, first_utc_ms, last_utc_ms, last_reading)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
    ON CONFLICT (device, kind) DO UPDATE SET
        readings = readings + excluded.readings,
        flagged = flagged + excluded.flagged,
        first_utc_ms = coalesce(min(first_utc_ms, excluded.first_utc_ms),
            first_utc_ms, excluded.first_utc_ms),
        last_utc_ms = coalesce(max(last_utc_ms, excluded.last_utc_ms),
            last_utc_ms, excluded.last_utc_ms),
        last_reading = excluded.last_reading
"""
_STATION = """
    INSERT INTO station (tenant, station, first_seen_ms, last_seen_ms)
    VALUES (?1, ?2, ?3, ?3)
    ON CONFLICT (tenant, station) DO UPDATE SET
        last_seen_ms = max(last_seen_ms, excluded.last_seen_ms)
    RETURNING id
"""
_DEVICE = """
    INSERT INTO device (tenant, device, manufacturer, model, serial, firmware,
        first_seen_ms, last_seen_ms)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7)
    ON CONFLICT (tenant, device) DO UPDATE SET
        manufacturer = excluded.manufacturer, model = excluded.model,
        serial = excluded.serial, firmware = excluded.firmware,
        last_seen_ms = max(last_seen_ms, excluded.last_seen_ms)
    RETURNING id
"""
_DRIVER = """
    INSERT INTO driver (name, version) VALUES (?, ?)
    ON CONFLICT (name, version) DO UPDATE SET name = excluded.name
    RETURNING id
"""
_BATCH = """
    INSERT INTO batch
        (station, counter, digest, made_ms, received_ms, new, known, amended)
    VALUES (?, ?, ?, ?, ?, 0, 0, 0)
    RETURNING id
"""
_QUARANTINE = """
    INSERT INTO quarantine
        (topic, station, digest, reason, message, received_ms, last_received_ms)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6)
    ON CONFLICT (topic, digest) DO UPDATE SET
        deliveries = deliveries + 1,
        last_received_ms = max(last_received_ms, excluded.last_received_ms)
"""


@dataclass(slots=True)
class _Entry:
    """One delivered reading, ready to be inserted."""

    delivery: int
    key: tuple[int | str, ...]
    said_by: tuple[object, ...]
    reading: Reading
    received_ms: int


@dataclass(slots=True)
class _Counts:
    batch: int
    new: int = 0
    known: int = 0
    amended: int = 0
    fork: bool = False


@dataclass(slots=True)
class _Tally:
    readings: int = 0
    flagged: int = 0
    last_reading: int = 0
    utc_ms: list[int] = field(default_factory=list)


class Writer:
    """Writes over the one connection that may."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._connection = connection
        # Ids of rows that never go away; forgotten with the commit that made them.
        self._drivers: dict[tuple[str, str], int] = {}

    def commit(self, deliveries: Sequence[Delivery]) -> list[Outcome]:
        """Write ``deliveries`` in one transaction, as `Store.commit` says."""
        try:
            with self._transaction():
                return self._write(deliveries)
        except (apsw.ConstraintError, apsw.TooBigError, apsw.MismatchError) as error:
            raise StoreRefused(f"it does not fit: {error}") from error
        except (OverflowError, ValueError) as error:
            raise StoreRefused(f"it cannot be kept: {error}") from error
        except apsw.Error as error:
            raise StoreUnavailable(f"{type(error).__name__}: {error}") from error

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        done = False
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
            done = True
        finally:
            if not done:
                self._drivers.clear()
                # A full disk makes SQLite roll back by itself.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    def _write(self, deliveries: Sequence[Delivery]) -> list[Outcome]:
        outcomes = [Outcome()] * len(deliveries)
        counted: dict[int, _Counts] = {}
        entries: list[_Entry] = []
        for at, delivery in enumerate(deliveries):
            match delivery:
                case Refused():
                    self._quarantine(delivery)
                case Greeting():
                    self._greet(delivery)
                case Accepted():
                    counts = self._enter(delivery)
                    counted[at] = counts
                    if not counts.known:
                        entries += self._entries(at, delivery, counts.batch)
        self._insert(entries, counted)
        for at, counts in counted.items():
            outcomes[at] = Outcome(
                counts.new, counts.known, counts.amended, counts.fork
            )
        return outcomes

    def _enter(self, delivery: Accepted) -> _Counts:
        """Enter a batch in the ledger; ``known`` is set if it stands there."""
        batch, digest = delivery.batch, delivery.digest
        station = self._station(delivery.station, delivery.received_ms)
        known: list[_Row] = self._connection.execute(
            "SELECT id, digest FROM batch WHERE station = ? AND counter = ?",
            (station, batch.counter),
        ).fetchall()
        for row in known:
            if row[1] == digest:
                # The same bytes were committed whole, so each reading is stored.
                self._connection.execute(
                    "UPDATE batch SET deliveries = deliveries + 1 WHERE id = ?",
                    (row[0],),
                )
                return _Counts(row[0], known=len(batch.readings))
        number = self._id(
            _BATCH,
            (station, batch.counter, digest, batch.made_ms, delivery.received_ms),
        )
        return _Counts(number, fork=bool(known))

    def _entries(self, at: int, delivery: Accepted, batch: int) -> Iterator[_Entry]:
        tenant, received_ms = delivery.station.tenant, delivery.received_ms
        station = self._station(delivery.station, received_ms)
        devices: dict[Device, int] = {}
        for reading in delivery.batch.readings:
            device = devices.get(reading.device)
            if device is None:
                device = self._device(tenant, reading.device, received_ms)
                devices[reading.device] = device
            found: Key = key(reading)
            yield _Entry(
                delivery=at,
                key=(device, *found[1:]),
                said_by=(fingerprint(reading), batch, station, self._driver(reading)),
                reading=reading,
                received_ms=received_ms,
            )

    def _insert(self, entries: list[_Entry], counted: dict[int, _Counts]) -> None:
        # Stores are fastest when keys come in order; the sort is stable, so that
        # of two reports of one reading the earlier stands.
        entries.sort(key=lambda entry: entry.key)
        tallies: dict[tuple[object, object], _Tally] = defaultdict(_Tally)
        for entry in entries:
            counts = counted[entry.delivery]
            row = facts(entry.reading, entry.received_ms)
            number = self._new(_INSERT_READING, (*entry.key, *entry.said_by, *row))
            if number is not None:
                counts.new += 1
                tally = tallies[entry.key[0], entry.key[3]]
                tally.readings += 1
                tally.flagged += bool(entry.reading.quality)
                tally.last_reading = number
                if entry.reading.utc_ms is not None:
                    tally.utc_ms.append(entry.reading.utc_ms)
            elif self._amend(entry, row):
                counts.amended += 1
            else:
                counts.known += 1
        self._count(counted, tallies)

    def _amend(self, entry: _Entry, row: _Row) -> bool:
        """Keep a report that differs from what is stored; return whether it did."""
        ((stored, stands),) = self._connection.execute(_FIND_READING, entry.key)
        if stands == entry.said_by[0]:
            return False
        new = self._new(_INSERT_AMENDMENT, (stored, *entry.said_by, *row))
        return new is not None

    def _count(
        self,
        counted: dict[int, _Counts],
        tallies: dict[tuple[object, object], _Tally],
    ) -> None:
        self._connection.executemany(
            "UPDATE batch SET new = new + ?, known = known + ?, amended = amended + ? "
            "WHERE id = ? AND deliveries = 1",
            [
                (counts.new, counts.known, counts.amended, counts.batch)
                for counts in counted.values()
            ],
        )
        self._connection.executemany(
            _TALLY,
            [
                (
                    device,
                    kind,
                    tally.readings,
                    tally.flagged,
                    min(tally.utc_ms, default=None),
                    max(tally.utc_ms, default=None),
                    tally.last_reading,
                )
                for (device, kind), tally in tallies.items()
            ],
        )

    def _quarantine(self, refused: Refused) -> None:
        station = refused.station and self._station(
            refused.station, refused.received_ms
        )
        self._connection.execute(
            _QUARANTINE,
            (
                refused.topic,
                station,
                refused.digest,
                refused.reason,
                refused.message,
                refused.received_ms,
            ),
        )

    def _greet(self, greeting: Greeting) -> None:
        station = self._station(greeting.station, greeting.received_ms)
        self._connection.execute(
            "UPDATE station SET status = ?, status_ms = ? WHERE id = ?",
            (greeting.status, greeting.received_ms, station),
        )

    def _station(self, station: Station, seen_ms: int) -> int:
        return self._id(_STATION, (*station, seen_ms))

    def _device(self, tenant: str, device: Device, seen_ms: int) -> int:
        parts = (device.manufacturer, device.model, device.serial, device.firmware)
        return self._id(_DEVICE, (tenant, device.id, *parts, seen_ms))

    def _driver(self, reading: Reading) -> int:
        name = reading.driver, reading.driver_version
        if name not in self._drivers:
            self._drivers[name] = self._id(_DRIVER, name)
        return self._drivers[name]

    def _id(self, statement: str, row: _Row) -> int:
        found: list[_Row] = self._connection.execute(statement, row).fetchall()
        return int(found[0][0])

    def _new(self, statement: str, row: _Row) -> int | None:
        """Insert a row; return its id, or None if its key was there."""
        self._connection.execute(statement, row)
        if not self._connection.changes():
            return None
        return self._connection.last_insert_rowid()

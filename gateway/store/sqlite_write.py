"""The writing half of the SQLite store: groups of deliveries, one commit each."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from operator import attrgetter
from typing import Any

import apsw

from gateway.store import Accepted, Delivery, Greeting, Outcome, Refused
from gateway.store.database import Row
from gateway.store.gone import withheld
from gateway.store.remade import reading_of
from gateway.store.rows import (
    AT_KEY,
    FACTS,
    KEY,
    READING,
    Made,
    laid,
    rows,
    said_of,
    tallied,
    tally,
)
from gateway.store.sqlite_database import SqliteDatabase
from gateway.store.sqlite_gone import not_gone
from gateway.store.sqlite_readings import insert, insert_readings
from protocols.observation import Device, fingerprint
from protocols.uplink.topics import Station

_FACTS = slice(len(READING) - len(FACTS), len(READING))
_REMEMBERED = 200_000


_INSERT_AMENDMENT = insert(
    "amendment",
    ("reading", "fingerprint", "batch", "driver", *FACTS),
    ("reading", "fingerprint"),
)
_OF_KEY = " AND ".join(f"{name} = ?" for name in KEY)
_FIND_READING = (
    f"SELECT r.id, v.name, v.version, {', '.join(f'r.{name}' for name in FACTS)} "  # noqa: S608
    f"FROM reading r JOIN driver v ON v.id = r.driver WHERE {_OF_KEY}"
)
_TALLY = """
    INSERT INTO tally
        (device, kind, readings, flagged, first_utc_ms, last_utc_ms)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6)
    ON CONFLICT (device, kind) DO UPDATE SET
        readings = readings + excluded.readings,
        flagged = flagged + excluded.flagged,
        first_utc_ms = coalesce(min(first_utc_ms, excluded.first_utc_ms),
            first_utc_ms, excluded.first_utc_ms),
        last_utc_ms = coalesce(max(last_utc_ms, excluded.last_utc_ms),
            last_utc_ms, excluded.last_utc_ms)
"""
# An INSERT that meets a row would use up an id each time.
_STATION = "SELECT id FROM station WHERE tenant = ? AND station = ?"
_SEEN_STATION = """
    UPDATE station SET last_seen_ms = max(last_seen_ms, ?2) WHERE id = ?1
"""
_NEW_STATION = """
    INSERT INTO station (tenant, station, first_seen_ms, last_seen_ms)
    VALUES (?1, ?2, ?3, ?3) RETURNING id
"""
_DEVICE = "SELECT id FROM device WHERE tenant = ? AND device = ?"
_SEEN_DEVICE = """
    UPDATE device SET manufacturer = ?2, model = ?3, serial = ?4, firmware = ?5,
        last_seen_ms = max(last_seen_ms, ?6)
    WHERE id = ?1
"""
_NEW_DEVICE = """
    INSERT INTO device (tenant, device, manufacturer, model, serial, firmware,
        first_seen_ms, last_seen_ms)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7) RETURNING id
"""
_DRIVER = """
    INSERT INTO driver (name, version) VALUES (?, ?)
    ON CONFLICT (name, version) DO UPDATE SET name = excluded.name
    RETURNING id
"""
_BATCH = """
    INSERT INTO batch (station, counter, digest, made_ms, received_ms, new, known,
        amended, first_id, last_id, first_utc_ms, last_utc_ms)
    VALUES (?, ?, ?, ?, ?, 0, 0, 0, ?, ?, ?, ?)
    RETURNING id
"""
_COUNT_BATCH = """
    UPDATE batch SET new = ?, known = ?, amended = ? WHERE id = ?
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
class _Counts:
    """Of one batch; ``withheld`` are places in it, ``first`` its first id."""

    delivery: Accepted
    batch: int
    first: int = 0
    new: int = 0
    known: int = 0
    amended: int = 0
    fork: bool = False
    withheld: list[int] = field(default_factory=list)


@dataclass(slots=True)
class _Entry:
    """One group of a batch, the id of its first reading, and what it refers to.

    ``rows`` are those of its readings that are to be counted; None is all.
    """

    counts: _Counts
    group: Made
    first: int
    device: int
    driver: int
    rows: list[Row] | None = None

    def made(self) -> list[Row]:
        """Return those readings as rows."""
        if self.rows is not None:
            return self.rows
        batch = self.counts.batch
        return rows(self.group, self.first, self.device, batch, self.driver)

    def laid(self) -> list[Any]:
        """Return the same, one row behind the other."""
        if self.rows is not None:
            return [*chain.from_iterable(self.rows)]
        batch = self.counts.batch
        return laid(self.group, self.first, self.device, batch, self.driver)

    def tallied(self) -> list[Row]:
        """Return what they add to the tally."""
        if self.rows is not None:
            return tallied(self.rows)
        return [tally(self.group, self.device)]


class Writer:
    """Writes over the one connection that may.

    Args:
        database: Whose connection that is.
        remembered: How many devices, and stations, have their numbers remembered.
    """

    def __init__(self, database: SqliteDatabase, remembered: int = _REMEMBERED) -> None:
        self._database, self._remembered = database, remembered
        # Ids of rows that never go away; forgotten with a commit that fails.
        self._stations: dict[tuple[str, str], int] = {}
        self._devices: dict[tuple[str, str], int] = {}
        self._drivers: dict[tuple[str, str], int] = {}
        self._known = self._stations, self._devices, self._drivers

    def commit(self, deliveries: Sequence[Delivery]) -> list[Outcome]:
        """Write ``deliveries`` in one transaction, as `Store.commit` says."""
        for known in self._known:
            if len(known) > self._remembered:
                known.clear()
        done = False
        try:
            with self._database.transaction() as connection:
                found = self._write(connection, deliveries)
            done = True
        finally:
            if not done:
                for known in self._known:
                    known.clear()
        return found

    def _write(
        self, connection: apsw.Connection, deliveries: Sequence[Delivery]
    ) -> list[Outcome]:
        outcomes = [Outcome()] * len(deliveries)
        counted: dict[int, _Counts] = {}
        entries: list[_Entry] = []
        ((last,),) = connection.execute("SELECT coalesce(max(last_id), 0) FROM batch")
        for at, delivery in enumerate(deliveries):
            match delivery:
                case Refused():
                    self._quarantine(connection, delivery)
                case Greeting():
                    self._greet(connection, delivery)
                case Accepted():
                    counted[at] = self._enter(connection, delivery, last, entries)
                    if counted[at].batch:
                        last += delivery.batch.count
        stations = [
            (self._stations[one.station], one.received_ms)
            for one in deliveries
            if one.station is not None
        ]
        connection.executemany(_SEEN_STATION, stations)
        devices = [
            (one.device, *said_of(one.group.device), one.counts.delivery.received_ms)
            for one in entries
        ]
        connection.executemany(_SEEN_DEVICE, devices)
        self._insert(connection, entries)
        connection.executemany(
            _COUNT_BATCH,
            [
                (one.new, one.known + len(one.withheld), one.amended, one.batch)
                for one in counted.values()
                if one.batch
            ],
        )
        for at, counts in counted.items():
            if counts.withheld:
                for some in withheld(counts.delivery, counts.withheld):
                    self._quarantine(connection, some)
            outcomes[at] = Outcome(
                counts.new,
                counts.known,
                counts.amended,
                counts.fork,
                len(counts.withheld),
            )
        return outcomes

    def _enter(
        self,
        connection: apsw.Connection,
        delivery: Accepted,
        last: int,
        entries: list[_Entry],
    ) -> _Counts:
        """Enter a batch in the ledger, and its groups in ``entries``.

        ``last`` is the id that was given last.
        A batch that stands there already adds nothing; its number is 0.
        """
        batch, received_ms = delivery.batch, delivery.received_ms
        station = self._station(connection, delivery.station, received_ms)
        before = connection.execute(
            "SELECT id, digest FROM batch WHERE station = ? AND counter = ?",
            (station, batch.counter),
        ).fetchall()
        for number, digest in before:
            if digest == delivery.digest:
                # The same bytes were committed whole, so each reading is stored.
                connection.execute(
                    "UPDATE batch SET deliveries = deliveries + 1 WHERE id = ?",
                    (number,),
                )
                return _Counts(delivery, 0, known=batch.count)
        first = last + 1
        number = _id(
            connection,
            _BATCH,
            (
                station,
                batch.counter,
                delivery.digest,
                batch.made_ms,
                received_ms,
                first,
                last + batch.count,
                *batch.span_ms,
            ),
        )
        counts = _Counts(delivery, number, first, fork=bool(before))
        for group in batch.groups:
            device = self._device(
                connection, delivery.station.tenant, group.device, received_ms
            )
            driver = self._driver(connection, group.driver)
            entries.append(_Entry(counts, group, first, device, driver))
            first += group.count
        return counts

    def _insert(self, connection: apsw.Connection, entries: list[_Entry]) -> None:
        # Stores are fastest when keys come in order; the sort is stable, so that
        # of two reports of one reading the earlier stands.
        entries.sort(key=attrgetter("device"))
        told: list[Any] = []
        for entry in entries:
            counts = entry.counts
            left = not_gone(
                connection, entry.device, entry.made, as_new=counts.delivery.as_new
            )
            if left is not None:
                entry.rows = left.rows
                counts.known += left.again
                counts.withheld += [number - counts.first for number in left.in_doubt]
            told += entry.laid()
        if insert_readings(connection, told) * len(READING) < len(told):
            for entry in entries:
                entry.rows = self._new(connection, entry)
        for entry in entries:
            new = entry.group.count if entry.rows is None else len(entry.rows)
            entry.counts.new += new
        connection.executemany(
            _TALLY, [row for one in entries for row in one.tallied()]
        )

    def _new(self, connection: apsw.Connection, entry: _Entry) -> list[Row]:
        """Return the rows that were inserted; keep what others say otherwise."""
        told = entry.made()
        if not told:
            return []
        ids = {
            number
            for (number,) in connection.execute(
                "SELECT id FROM reading WHERE id BETWEEN ? AND ?",
                (told[0][0], told[-1][0]),
            )
        }
        for row in told:
            if row[0] not in ids:
                self._meet(connection, entry, row)
        return [row for row in told if row[0] in ids]

    def _meet(self, connection: apsw.Connection, entry: _Entry, row: Row) -> None:
        """Keep a report of a stored reading if it says something else."""
        key = row[AT_KEY]
        ((stored, name, version, *facts),) = connection.execute(_FIND_READING, key)
        device, driver = entry.group.device, entry.group.driver
        stands = reading_of(device, (name, version), key, tuple(facts))
        told = fingerprint(reading_of(device, driver, key, row[_FACTS]))
        if fingerprint(stands) != told:
            amendment = (stored, told, entry.counts.batch, entry.driver, *row[_FACTS])
            connection.execute(_INSERT_AMENDMENT, amendment)
            if connection.changes():
                entry.counts.amended += 1
                return
        entry.counts.known += 1

    def _quarantine(self, connection: apsw.Connection, refused: Refused) -> None:
        station = refused.station and self._station(
            connection, refused.station, refused.received_ms
        )
        connection.execute(
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

    def _greet(self, connection: apsw.Connection, greeting: Greeting) -> None:
        station = self._station(connection, greeting.station, greeting.received_ms)
        connection.execute(
            "UPDATE station SET status = ?, status_ms = ? WHERE id = ?",
            (greeting.status, greeting.received_ms, station),
        )

    def _station(
        self, connection: apsw.Connection, station: Station, seen_ms: int
    ) -> int:
        if station not in self._stations:
            row = (*station, seen_ms)
            self._stations[station] = _named(connection, _STATION, _NEW_STATION, row)
        return self._stations[station]

    def _device(
        self, connection: apsw.Connection, tenant: str, device: Device, seen_ms: int
    ) -> int:
        name = tenant, device.id
        if name not in self._devices:
            row = (*name, *said_of(device), seen_ms)
            self._devices[name] = _named(connection, _DEVICE, _NEW_DEVICE, row)
        return self._devices[name]

    def _driver(self, connection: apsw.Connection, name: tuple[str, str]) -> int:
        if name not in self._drivers:
            self._drivers[name] = _id(connection, _DRIVER, name)
        return self._drivers[name]


def _named(connection: apsw.Connection, known: str, new: str, row: Row) -> int:
    found: list[Row] = connection.execute(known, row[:2]).fetchall()
    return int(found[0][0]) if found else _id(connection, new, row)


def _id(connection: apsw.Connection, statement: str, row: Row) -> int:
    found: list[Row] = connection.execute(statement, row).fetchall()
    return int(found[0][0])

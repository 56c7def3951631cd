"""The reading half of the SQLite store: queries over connections of their own."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty, LifoQueue
from typing import Any

import apsw

from gateway.store import (
    Amendment,
    Filter,
    Quarantined,
    Stored,
    StoredDevice,
    StoreUnavailable,
    Tally,
)
from gateway.store.sqlite_rows import FACTS, reading_of
from protocols.observation import Device, Kind
from protocols.uplink.topics import Station

_Row = tuple[Any, ...]

_DEVICE_COLUMNS = "d.device, d.manufacturer, d.model, d.serial, d.firmware"
_SAID = (
    "s.tenant, s.station, v.name, v.version, "
    + _DEVICE_COLUMNS
    + ", "
    + ", ".join(f"{{0}}.{name}" for name in FACTS)
)
# Names of tables and columns are this module's own constants.
_READINGS = f"""
    SELECT r.id, (SELECT count(*) FROM amendment a WHERE a.reading = r.id),
        r.kind, r.slot, r.generation, {_SAID.format("r")}
    FROM reading r
    JOIN station s ON s.id = r.station
    JOIN driver v ON v.id = r.driver
    JOIN device d ON d.id = r.device
    WHERE r.id IN ({{}}) ORDER BY r.id
"""  # noqa: S608
_ONE_READING = _READINGS.format("?")
_AMENDMENTS = f"""
    SELECT a.id, 0, r.kind, r.slot, r.generation, {_SAID.format("a")}, b.digest
    FROM amendment a
    JOIN reading r ON r.id = a.reading
    JOIN station s ON s.id = a.station
    JOIN driver v ON v.id = a.driver
    JOIN device d ON d.id = r.device
    JOIN batch b ON b.id = a.batch
    WHERE a.reading = ? ORDER BY a.id
"""  # noqa: S608
_IDS = "SELECT id FROM reading {} WHERE {} AND id > ? ORDER BY id LIMIT ?"
_FIND_IDS = {
    "device": "SELECT id FROM device WHERE device = ?",
    "station": "SELECT id FROM station WHERE station = ?",
}
_DEVICES = f"""
    SELECT d.id, d.tenant, {_DEVICE_COLUMNS}, d.first_seen_ms, d.last_seen_ms
    FROM device d WHERE d.id > ? ORDER BY d.id LIMIT ?
"""  # noqa: S608
_TALLIES = """
    SELECT device, kind, readings, flagged, first_utc_ms, last_utc_ms FROM tally
    WHERE device BETWEEN ? AND ? ORDER BY device, kind
"""
_QUARANTINE = """
    SELECT q.id, q.topic, s.tenant, s.station, q.reason, q.message, q.received_ms,
        q.last_received_ms, q.deliveries
    FROM quarantine q LEFT JOIN station s ON s.id = q.station
    WHERE q.id > ? ORDER BY q.id LIMIT ?
"""


class Reader:
    """Reads over a few connections, none of them the writer's.

    Args:
        connect: Opens one more connection that only reads.
    """

    def __init__(self, connect: Callable[[], apsw.Connection]) -> None:
        self._connect = connect
        self._idle: LifoQueue[apsw.Connection] = LifoQueue()

    def readings(self, which: Filter, after: int, limit: int) -> list[Stored]:
        """Return a page of readings, as `Store.readings` says."""
        where, bindings = self._conditions(which)
        timed = which.since_ms is not None or which.until_ms is not None
        # SQLite would rather walk all rows than a range of times.
        by_time = timed and which.device is None and which.station is None
        # Ids alone are found and sorted first: whole rows are wide.
        ids = _IDS.format("INDEXED BY reading_utc" if by_time else "", where)
        rows = self._rows(_READINGS.format(ids), *bindings, after, limit)
        return [_stored(row) for row in rows]

    def reading(self, number: int) -> Stored | None:
        """Return one reading, or None."""
        rows = self._rows(_ONE_READING, number)
        return _stored(rows[0]) if rows else None

    def amendments(self, number: int) -> list[Amendment]:
        """Return the other reports of one reading."""
        return [
            Amendment(_stored(row[:-1]), bytes(row[-1]))
            for row in self._rows(_AMENDMENTS, number)
        ]

    def last(self) -> int:
        """Return the id of the last reading; 0 if there is none."""
        ((number,),) = self._rows("SELECT coalesce(max(id), 0) FROM reading")
        return int(number)

    def devices(self, after: int, limit: int) -> list[StoredDevice]:
        """Return a page of devices."""
        with self._connection() as connection, connection:
            rows: list[_Row] = connection.execute(_DEVICES, (after, limit)).fetchall()
            reach = (rows[0][0], rows[-1][0]) if rows else (0, 0)
            counted: list[_Row] = connection.execute(_TALLIES, reach).fetchall()
        tallies: dict[int, list[Tally]] = defaultdict(list)
        for device, kind, *counts in counted:
            tallies[device].append(Tally(Kind(kind), *counts))
        return [
            StoredDevice(
                row[0],
                row[1],
                Device(*row[2:7]),
                row[7],
                row[8],
                tuple(tallies[row[0]]),
            )
            for row in rows
        ]

    def quarantine(self, after: int, limit: int) -> list[Quarantined]:
        """Return a page of kept messages."""
        return [
            Quarantined(
                id=row[0],
                topic=row[1],
                station=None if row[2] is None else Station(row[2], row[3]),
                reason=row[4],
                message=bytes(row[5]),
                received_ms=row[6],
                last_received_ms=row[7],
                deliveries=row[8],
            )
            for row in self._rows(_QUARANTINE, after, limit)
        ]

    def close(self) -> None:
        """Close the connections that nobody uses now."""
        while True:
            try:
                self._idle.get_nowait().close()
            except Empty:
                return

    def _conditions(self, which: Filter) -> tuple[str, list[int | str]]:
        """Return what a filter asks of a row, and the values for its marks."""
        where = ["kind <> ?" if which.kind is None else "kind = ?"]
        bindings: list[int | str] = [which.kind or Kind.CONTROL_SOLUTION]
        for column, find in _FIND_IDS.items():
            if (name := getattr(which, column)) is not None:
                numbers = [row[0] for row in self._rows(find, name)]
                # One number alone keeps its index in order of arrival, unsorted.
                where.append(f"{column} IN ({', '.join('?' * len(numbers))})")
                bindings += numbers
        for bound, time_ms in (
            ("utc_ms >=", which.since_ms),
            ("utc_ms <", which.until_ms),
        ):
            if time_ms is not None:
                where.append(f"{bound} ?")
                bindings.append(time_ms)
        return " AND ".join(where), bindings

    def _rows(self, query: str, *bindings: Any) -> list[_Row]:  # noqa: ANN401
        with self._connection() as connection:
            return connection.execute(query, bindings).fetchall()

    @contextmanager
    def _connection(self) -> Iterator[apsw.Connection]:
        try:
            connection = self._idle.get_nowait()
        except Empty:
            connection = self._connect()
        try:
            yield connection
        except apsw.Error as error:
            raise StoreUnavailable(f"{type(error).__name__}: {error}") from error
        finally:
            self._idle.put(connection)


def _stored(row: _Row) -> Stored:
    number, amendments, kind, slot, generation = row[:5]
    tenant, station, driver, version = row[5:9]
    said = row[14:]
    device = Device(*row[9:14])
    reading = reading_of(
        device, (driver, version), said, kind=kind, slot=slot, generation=generation
    )
    received_ms = said[FACTS.index("received_ms")]
    return Stored(number, Station(tenant, station), reading, received_ms, amendments)

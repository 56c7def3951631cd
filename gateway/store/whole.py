"""Readings by where they are, each with what its row refers to."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter
from typing import Any

from gateway.store import Amendment, Stored
from gateway.store.database import Database, Row
from gateway.store.remade import quickly, reading_of
from gateway.store.rows import FACTS, KEY
from protocols.observation import Device
from protocols.uplink.topics import Station

_ALIKE = 8  # readings of one device and time, from which on it leads to too many
DEVICE = "d.device, d.manufacturer, d.model, d.serial, d.firmware"

Place = tuple[int, int, int | None]
"""Of a reading: its id, its device; and its true time where that is at hand."""

_SAID = ", ".join((
    "{0}.batch",
    "{0}.driver",
    *(f"r.{name}" for name in KEY),
    *(f"{{0}}.{name}" for name in FACTS),
))  # fmt: skip
_BATCH, _DRIVER, _KEY = 2, 3, slice(4, 4 + len(KEY))  # of a row of `_READINGS`
_DEVICE, _FACTS = _KEY.start, slice(_KEY.stop, _KEY.stop + len(FACTS))
# Names of tables and columns are constants of ours.
_READINGS = f"""
    SELECT r.id, (SELECT count(*) FROM amendment a WHERE a.reading = r.id),
        {_SAID.format("r")}
    FROM {{}} WHERE {{}}
"""  # noqa: S608
_AMENDMENTS = f"""
    SELECT a.id, 0, {_SAID.format("a")}, b.digest, a.reading
    FROM amendment a
    JOIN reading r ON r.id = a.reading
    JOIN batch b ON b.id = a.batch
    WHERE {{}} ORDER BY a.id LIMIT :limit
"""  # noqa: S608
# What the rows of a page have in common is asked for once, and not joined to each.
_BATCHES = """
    SELECT b.id, b.received_ms, s.tenant, s.station
    FROM batch b JOIN station s ON s.id = b.station WHERE b.id {}
"""
_DRIVERS = "SELECT v.id, v.name, v.version FROM driver v WHERE v.id {}"
_DEVICES = f"SELECT d.id, {DEVICE} FROM device d WHERE d.id {{}}"  # noqa: S608
# One text for any number of ids: it is prepared, and planned, once.
AMONG = {
    "sqlite": "IN (SELECT value FROM json_each('[' || :ids || ']'))",
    "postgres": "= ANY (string_to_array(:ids, ',')::bigint[])",
}
_AT_IDS = _READINGS.format("reading r", f"r.id {AMONG['sqlite']}")
# The device says in which part a reading is. It is a loop over places whatever is known
# of the table, which is nothing while it first fills: LIMIT keeps the planner from
# joining with the whole of it, and the bounds beside an id, or a time, from going
# through all of a device's readings for each.
_AT_PLACES = """
    unnest(string_to_array(:ids, ',')::bigint[],
        string_to_array(:devices, ',')::bigint[]) AS w (id, device)
    CROSS JOIN LATERAL (
        SELECT * FROM reading r WHERE r.id = w.id AND r.id BETWEEN w.id AND w.id
            AND r.device = w.device LIMIT 1) AS r
"""
_AT_TIMES = """
    unnest(string_to_array(:ids, ',')::bigint[],
        string_to_array(:devices, ',')::bigint[],
        string_to_array(:times, ',')::bigint[]) AS w (id, device, utc_ms)
    CROSS JOIN LATERAL (
        SELECT * FROM reading r WHERE r.device = w.device AND r.utc_ms = w.utc_ms
            AND r.utc_ms BETWEEN w.utc_ms AND w.utc_ms AND r.id + 0 = w.id LIMIT 1) AS r
"""


class Whole:
    """Finds whole readings in a store.

    What was taken away since its place was found is left out. What is damaged is a
    ValueError, as of `reading_of`.

    Args:
        database: The store's.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def at(self, places: Sequence[Place]) -> list[Stored]:
        """Return the readings at ``places``, in order of arrival."""
        if not places:
            return []
        if self._database.engine == "sqlite":
            ids = listed(number for number, *_ in places)
            return self._stored(self._rows(_AT_IDS, ids=ids))
        alike = Counter(one[1:] for one in places)
        by_id: list[Place] = []
        by_time: list[Place] = []
        for one in places:
            is_rare = one[2] is not None and alike[one[1:]] <= _ALIKE
            (by_time if is_rare else by_id).append(one)
        rows = []
        for where, some in ((_AT_PLACES, by_id), (_AT_TIMES, by_time)):
            if some:
                ids, devices, times = map(listed, zip(*some, strict=True))
                query = _READINGS.format(where, "true")
                rows += self._rows(query, ids=ids, devices=devices, times=times)
        return self._stored(rows)

    def within(
        self, ranges: Iterable[tuple[Sequence[str], dict[str, Any]]]
    ) -> list[Stored]:
        """Return the readings that fulfil conditions, in order of arrival.

        Args:
            ranges: Each: conditions of which all have to hold of a row ``r``, and the
                values for their marks.
        """
        rows = []
        for where, values in ranges:
            query = _READINGS.format("reading r", " AND ".join(where))
            rows += self._rows(query, **values)
        return self._stored(rows)

    def first(
        self, rows: str, order: str, values: dict[str, Any]
    ) -> tuple[list[Stored], tuple[int, int] | None]:
        """Return the first readings of some, in an order of their times.

        Args:
            rows: A query for rows of ``reading``.
            order: Of the rows ``r``, and how many, ``:limit`` at most.
            values: For the marks in both.

        Returns:
            The readings; and time and id of the last row, None if there are no more.
        """
        query = _READINGS.format(f"({rows}) AS r", f"true {order}")
        found = self._rows(query, **values)
        full = len(found) == values["limit"]
        last = (found[-1][_FACTS.start], found[-1][0]) if full else None
        return [stored for stored, _ in self._whole(found)], last

    def amendments(self, where: str, limit: int, **values: int) -> list[Amendment]:
        """Return the first amendments ``a`` that fulfil a condition."""
        rows = self._rows(_AMENDMENTS.format(where), limit=limit, **values)
        return [
            Amendment(stored, bytes(digest), reading)
            for stored, (digest, reading) in self._whole(rows)
        ]

    def _stored(self, rows: list[Row]) -> list[Stored]:
        rows.sort(key=itemgetter(0))
        return [stored for stored, _ in self._whole(rows)]

    def _whole(self, rows: Sequence[Row]) -> Iterator[tuple[Stored, Row]]:
        """Yield rows as readings, and what stands behind the columns of a reading."""
        batches = {
            number: (received_ms, Station(tenant, station))
            for number, received_ms, tenant, station in self._named(
                _BATCHES, rows, _BATCH
            )
        }
        drivers = {row[0]: row[1:] for row in self._named(_DRIVERS, rows, _DRIVER)}
        devices = {
            number: Device(*said)
            for number, *said in self._named(_DEVICES, rows, _DEVICE)
        }
        for row in rows:
            number, amendments, batch, by, of = row[: _DEVICE + 1]
            if batch not in batches or by not in drivers or of not in devices:
                raise ValueError(f"row {number} is of no batch, driver or device")
            received_ms, station = batches[batch]
            read = reading_of(devices[of], drivers[by], row[_KEY], row[_FACTS])
            stored = _made(number, of, station, read, received_ms, amendments)
            yield stored, row[_FACTS.stop :]

    def _named(self, query: str, rows: Sequence[Row], column: int) -> list[Row]:
        """Return what a query tells of the ids in a column of ``rows``."""
        if not rows:
            return []
        ids = listed({row[column] for row in rows})
        return self._rows(query.format(AMONG[self._database.engine]), ids=ids)

    def _rows(self, query: str, **values: Any) -> list[Row]:  # noqa: ANN401
        return self._database.rows(query, **values)


_made = quickly(Stored)


def listed(numbers: Iterable[int | None]) -> str:
    """Return integers for a list in SQL; of none, what no id is."""
    return ", ".join(map(str, numbers)) or "-1"

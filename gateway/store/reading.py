"""The reading half of either store: portable queries over its `Database`.

The ledger of batches says between which ids and times the readings of each lie, so
those of a station, or of a time, are found through it.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from heapq import merge
from itertools import islice
from typing import Any

from gateway.store import (
    Amendment,
    Filter,
    Quarantined,
    Span,
    Stored,
    StoredDevice,
    Tally,
)
from gateway.store.database import Database, Row
from gateway.store.rows import FACTS, KEY, KIND_NUMBERS, reading_of
from protocols.observation import Device, Kind
from protocols.uplink.group import KINDS
from protocols.uplink.topics import Station

_BATCHES = 64  # looked through at a time
_ANY = 1 << 62
_Place = tuple[int, int]  # of a reading: its id, its device
_DEVICE = "d.device, d.manufacturer, d.model, d.serial, d.firmware"
_SAID = (
    "r.device, b.received_ms, s.tenant, s.station, v.name, v.version, "
    + _DEVICE
    + ", "
    + ", ".join(f"r.{name}" for name in KEY)
    + ", "
    + ", ".join(f"{{0}}.{name}" for name in FACTS)
)
# Names of tables and columns are this module's own constants, ids are integers.
_READINGS = f"""
    SELECT r.id, (SELECT count(*) FROM amendment a WHERE a.reading = r.id),
        {_SAID.format("r")}
    FROM {{}}
    JOIN batch b ON b.id = r.batch
    JOIN station s ON s.id = b.station
    JOIN driver v ON v.id = r.driver
    JOIN device d ON d.id = r.device
    WHERE {{}}
"""  # noqa: S608
_OF_PARTS = _READINGS.format(
    """unnest(string_to_array(:ids, ',')::bigint[],
            string_to_array(:devices, ',')::bigint[]) AS w (id, device)
        JOIN reading r ON r.id = w.id AND r.device = w.device""",
    "true",
)
_AMENDMENTS = f"""
    SELECT a.id, 0, {_SAID.format("a")}, b.digest, a.reading
    FROM amendment a
    JOIN reading r ON r.id = a.reading
    JOIN batch b ON b.id = a.batch
    JOIN station s ON s.id = b.station
    JOIN driver v ON v.id = a.driver
    JOIN device d ON d.id = r.device
    WHERE {{}} ORDER BY a.id LIMIT :limit
"""  # noqa: S608
_DEVICES = f"""
    SELECT d.id, d.tenant, {_DEVICE}, d.first_seen_ms, d.last_seen_ms
    FROM device d WHERE d.id > :after ORDER BY d.id LIMIT :limit
"""  # noqa: S608
_TALLIES = """
    SELECT device, kind, readings, flagged, first_utc_ms, last_utc_ms FROM tally
    WHERE device BETWEEN :first AND :last ORDER BY device, kind
"""
_QUARANTINE = """
    SELECT q.id, q.topic, s.tenant, s.station, q.reason, q.message, q.received_ms,
        q.last_received_ms, q.deliveries, q.replayed_ms, q.outcome
    FROM quarantine q LEFT JOIN station s ON s.id = q.station
    WHERE q.id > :after ORDER BY q.id LIMIT :limit
"""


class Reader:
    """Reads what a store keeps.

    Args:
        database: The store's.
        arrived: Tells the id up to which all is committed that ever will be; a page
            ends there, so that no commit that comes late is behind a cursor.
    """

    def __init__(
        self, database: Database, arrived: Callable[[], int] = lambda: _ANY
    ) -> None:
        self.database, self._arrived = database, arrived

    def readings(self, which: Filter, after: int, limit: int) -> list[Stored]:
        """Return a page of readings, as `Store.readings` says."""
        conditions, values = _conditions(which)
        of_batch = self._of_batch(which)
        if of_batch:
            # Ids of two batches may lie among each other in what an older gateway kept.
            conditions.append(
                f"r.batch IN (SELECT b.id FROM batch b WHERE b.id = r.batch AND "  # noqa: S608
                f"{' AND '.join(of_batch)})"
            )
        if which.device is not None:
            devices = self._numbers("device", which.device)
            conditions.append(f"r.device IN ({_listed(devices)})")
        # Asked once, and before all else: what comes later is the next page's.
        values["last"] = self._arrived()

        def places(after: int, limit: int) -> list[_Place]:
            if which.device is None and (of_batch or _timed(which)):
                ids = self._through_batches(
                    which, of_batch, conditions, values, after, limit
                )
                return [*islice(ids, limit)]
            return self._ids(conditions, values, after, limit)

        found: list[Stored] = []
        # A short page says that no more is there: what was erased after its place was
        # found is made up for by what follows.
        while room := limit - len(found):
            some = places(after, room)
            found += self._stored(some)
            if len(some) < room:
                break
            after = some[-1][0]
        return found

    def of_device(
        self,
        spans: Sequence[Span],
        kinds: Collection[Kind] | None,
        after: tuple[int, int] | None,
        limit: int,
        *,
        newest_first: bool = False,
    ) -> list[Stored]:
        """Return a page of readings in order of true time, as `Store.of_device`."""
        found: list[Stored] = []
        while room := limit - len(found):  # as in `readings`
            of_spans = [
                self._of_span(span, kinds, after, room, newest_first=newest_first)
                for span in spans
            ]
            some = [*islice(merge(*of_spans, reverse=newest_first), room)]
            stored = {one.id: one for one in self._stored([at for _, at in some])}
            found += [stored[at] for _, (at, _) in some if at in stored]
            if len(some) < room:
                break
            after = some[-1][0], some[-1][1][0]
        return found

    def reading(self, number: int) -> Stored | None:
        """Return one reading, or None."""
        query = "SELECT r.id, r.device FROM reading r WHERE r.id = :number"
        places = [(row[0], row[1]) for row in self._rows(query, number=number)]
        return next(iter(self._stored(places)), None)

    def amendments(self, number: int) -> list[Amendment]:
        """Return the other reports of one reading."""
        query = _AMENDMENTS.format("a.reading = :number")
        return [_amendment(row) for row in self._rows(query, number=number, limit=1000)]

    def amended(self, after: int, limit: int) -> list[Amendment]:
        """Return a page of all amendments."""
        query = _AMENDMENTS.format("a.id > :after AND a.id <= :last")
        found = self._rows(query, after=after, last=self._arrived(), limit=limit)
        return [_amendment(row) for row in found]

    def last(self) -> int:
        """Return the id of the last reading; 0 if there is none."""
        query = "SELECT coalesce(max(last_id), 0) FROM batch WHERE last_id <= :last"
        return int(self._rows(query, last=self._arrived())[0][0])

    def devices(self, after: int, limit: int) -> list[StoredDevice]:
        """Return a page of devices."""
        rows = self._rows(_DEVICES, after=after, limit=limit)
        first, last = (rows[0][0], rows[-1][0]) if rows else (0, 0)
        tallies: dict[int, list[Tally]] = defaultdict(list)
        for device, kind, *counts in self._rows(_TALLIES, first=first, last=last):
            tallies[device].append(Tally(KINDS[kind], *counts))
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
                replayed_ms=row[9],
                outcome=row[10],
            )
            for row in self._rows(_QUARANTINE, after=after, limit=limit)
        ]

    def _of_batch(self, which: Filter) -> list[str]:
        """Return what a filter asks of a reading's batch ``b``."""
        if which.station is not None:
            query = "SELECT id, tenant FROM station WHERE station = :name"
            found = self._rows(query, name=which.station)
        elif which.tenant is not None:
            query = "SELECT id, tenant FROM station WHERE tenant = :name"
            found = self._rows(query, name=which.tenant)
        else:
            return []
        numbers = [n for n, tenant in found if which.tenant in (None, tenant)]
        return [f"b.station IN ({_listed(numbers)})"]

    def _through_batches(  # noqa: PLR0917 - what was asked for, and what it came to
        self,
        which: Filter,
        of_batch: Sequence[str],
        conditions: Sequence[str],
        values: dict[str, Any],
        after: int,
        limit: int,
    ) -> Iterator[_Place]:
        """Yield places in order, of batches that may hold what is asked for."""
        where = ["b.last_id > :after", "b.first_id <= :last", *of_batch]
        if which.since_ms is not None:
            where.append("b.last_utc_ms >= :since")
        if which.until_ms is not None:
            where.append("b.first_utc_ms < :until")
        query = (
            "SELECT b.first_id, b.last_id FROM batch b "  # noqa: S608
            f"WHERE {' AND '.join(where)} ORDER BY b.last_id LIMIT {_BATCHES}"
        )
        named = {mark: value for mark, value in values.items() if mark != "kind"}
        while batches := self._rows(query, after=after, **named):
            for first, last in _joined(batches):
                after = max(after, first - 1)
                within = values | {"last": min(last, values["last"])}
                yield from self._ids(conditions, within, after, limit)
                after = last

    def _ids(
        self,
        conditions: Sequence[str],
        values: dict[str, Any],
        after: int,
        limit: int,
    ) -> list[_Place]:
        where = ["r.id > :after", "r.id <= :last", *conditions]
        query = (
            f"SELECT r.id, r.device FROM reading r WHERE {' AND '.join(where)} "  # noqa: S608
            "ORDER BY r.id LIMIT :limit"
        )
        found = self._rows(query, after=after, limit=limit, **values)
        return [(row[0], row[1]) for row in found]

    def _of_span(
        self,
        span: Span,
        kinds: Collection[Kind] | None,
        after: tuple[int, int] | None,
        limit: int,
        *,
        newest_first: bool,
    ) -> list[tuple[int, _Place]]:
        where = ["r.device = :device", "r.utc_ms >= :from", "r.utc_ms < :until"]
        values: dict[str, Any] = {
            "device": span.device,
            "from": span.from_ms,
            "until": span.until_ms,
        }
        if span.slot is not None:
            where.append("r.slot = :slot")
            values["slot"] = span.slot
        if kinds is not None:
            numbers = sorted(KIND_NUMBERS[kind] for kind in kinds)
            where.append(f"r.kind IN ({_listed(numbers)})")
        direction = "DESC" if newest_first else "ASC"
        if after is not None:
            sign = "<" if newest_first else ">"
            where.append(f"(r.utc_ms, r.id) {sign} (:utc, :id)")
            values["utc"], values["id"] = after
        query = (
            f"SELECT r.utc_ms, r.id FROM reading r WHERE {' AND '.join(where)} "  # noqa: S608
            f"ORDER BY r.utc_ms {direction}, r.id {direction} LIMIT :limit"
        )
        found = self._rows(query, limit=limit, **values)
        return [(row[0], (row[1], span.device)) for row in found]

    def _stored(self, places: Sequence[_Place]) -> list[Stored]:
        """Return readings, in order of arrival."""
        if not places:
            return []
        ids, devices = (_listed(numbers) for numbers in zip(*places, strict=True))
        if self.database.engine == "postgres":
            # The device says in which part a reading is, and one text for all of them
            # is planned once: over many parts that takes longer than to run it.
            rows = self._rows(_OF_PARTS, ids=ids, devices=devices)
        else:
            rows = self._rows(_READINGS.format("reading r", f"r.id IN ({ids})"))
        return sorted(map(_stored, rows), key=lambda one: one.id)

    def _numbers(self, table: str, name: str) -> list[int]:
        query = f"SELECT id FROM {table} WHERE {table} = :name"  # noqa: S608
        return [row[0] for row in self._rows(query, name=name)]

    def _rows(self, query: str, **values: Any) -> list[Row]:  # noqa: ANN401
        return self.database.rows(query, **values)


def _timed(which: Filter) -> bool:
    return which.since_ms is not None or which.until_ms is not None


def _conditions(which: Filter) -> tuple[list[str], dict[str, Any]]:
    """Return what a filter asks of a row, and the values for its marks."""
    sign = "<>" if which.kind is None else "="
    kind = KIND_NUMBERS[which.kind or Kind.CONTROL_SOLUTION]
    conditions, values = [f"r.kind {sign} :kind"], {"kind": kind}
    for mark, sign, time_ms in (
        ("since", ">=", which.since_ms),
        ("until", "<", which.until_ms),
    ):
        if time_ms is not None:
            conditions.append(f"r.utc_ms {sign} :{mark}")
            values[mark] = time_ms
    return conditions, values


def _joined(ranges: Sequence[Row]) -> Iterator[tuple[int, int]]:
    """Yield ranges of ids, those that touch as one."""
    first, last = ranges[0]
    for begin, end in ranges[1:]:
        if begin != last + 1:
            yield first, last
            first = begin
        last = end
    yield first, last


def _listed(numbers: Sequence[int]) -> str:
    """Return integers for IN; of none, what no id is."""
    return ", ".join(map(str, numbers)) or "-1"


def _stored(row: Row) -> Stored:
    number, amendments, device, received_ms = row[:4]
    tenant, station, driver, version = row[4:8]
    said = row[13:]
    reading = reading_of(
        Device(*row[8:13]),
        (driver, version),
        said[: len(KEY)],
        said[len(KEY) : len(KEY) + len(FACTS)],
    )
    return Stored(
        id=number,
        device=device,
        station=Station(tenant, station),
        reading=reading,
        received_ms=received_ms,
        amendments=amendments,
    )


def _amendment(row: Row) -> Amendment:
    return Amendment(_stored(row[:-2]), bytes(row[-2]), row[-1])

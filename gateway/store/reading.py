"""The reading half of either store: portable queries over its `Database`.

The ledger of batches says between which ids and times the readings of each lie, so
those of a station, or of a time, are found through it.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from heapq import merge
from itertools import islice
from operator import itemgetter
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
from gateway.store.rows import KIND_NUMBERS
from gateway.store.timed import Timed
from gateway.store.whole import AMONG, DEVICE, Place, Whole, listed
from protocols.observation import Device, Kind
from protocols.uplink.group import KINDS
from protocols.uplink.topics import Station

_BATCHES = 64  # looked through at a time
_RANGES = 1_024  # so many ids of theirs in one query, or as few more as its page holds
_ANY = 1 << 62
_FEW_DAYS_MS = 8 * 86_400_000
_WIDE = 2  # times as long as the time that is asked for
_IN_RANGES = """
    SELECT r.id, r.device
    FROM unnest(string_to_array(:firsts, ',')::bigint[],
        string_to_array(:lasts, ',')::bigint[]) AS w (first, last)
    CROSS JOIN LATERAL (
        SELECT r.id, r.device FROM reading r
        WHERE r.id >= w.first AND r.id <= w.last AND {}
        ORDER BY r.id LIMIT :limit) AS r
    ORDER BY r.id LIMIT :limit
"""
# A device says in which part its readings are, and an index where those of a time: +
# hides the other one, and OFFSET keeps the planner from joining with the whole table.
_OF_DEVICES = f"""
    SELECT r.id, r.device, r.utc_ms
    FROM batch b CROSS JOIN LATERAL unnest(b.devices) AS d (device)
    CROSS JOIN LATERAL (
        SELECT r.id, r.device, r.utc_ms FROM reading r
        WHERE r.device = d.device AND +r.id > :after
            AND +r.id BETWEEN b.first_id AND b.last_id AND {{}}
        OFFSET 0) AS r
    WHERE b.id {AMONG["postgres"]}
    ORDER BY r.id LIMIT :limit
"""  # noqa: S608 - our own words
_DEVICES = f"""
    SELECT d.id, d.tenant, {DEVICE}, d.first_seen_ms, d.last_seen_ms
    FROM device d WHERE d.id > :after AND d.id <= :last ORDER BY d.id LIMIT :limit
"""  # noqa: S608
_TALLIES = """
    SELECT device, kind, readings, flagged, first_utc_ms, last_utc_ms FROM tally
    WHERE device BETWEEN :first AND :last ORDER BY device, kind
"""
_QUARANTINE = """
    SELECT q.id, q.topic, s.tenant, s.station, q.reason, q.message, q.received_ms,
        q.last_received_ms, q.deliveries, q.replayed_ms, q.outcome
    FROM quarantine q LEFT JOIN station s ON s.id = q.station
    WHERE q.id > :after AND q.id <= :last ORDER BY q.id LIMIT :limit
"""


class Reader:
    """Reads what a store keeps.

    Args:
        database: The store's.
        arrived: Tells the id of a table, ``reading``, ``device`` or ``quarantine``, up
            to which all is committed that ever will be; a page ends there, so that no
            commit that comes late is behind a cursor.
    """

    def __init__(
        self, database: Database, arrived: Callable[[str], int] = lambda _: _ANY
    ) -> None:
        self.database, self._arrived = database, arrived
        self._whole = Whole(database)
        self._timed = Timed(database, self._whole)

    def readings(self, which: Filter, after: int, limit: int) -> list[Stored]:
        """Return a page of readings, as `Store.readings` says."""
        # Without a device, an index on device and time is of no use: + hides it.
        conditions, values = _conditions(which, "+" if which.device is None else "")
        of_batch = self._of_batch(which)
        if of_batch:
            # Ids of two batches may lie among each other in what an older gateway kept.
            conditions.append(
                f"r.batch IN (SELECT b.id FROM batch b WHERE b.id = r.batch AND "  # noqa: S608
                f"{' AND '.join(of_batch)})"
            )
        if which.device is not None:
            devices = self._numbers("device", which.device)
            conditions.append(f"r.device IN ({listed(devices)})")
        # Asked once, and before all else: what comes later is the next page's.
        values["last"] = self._arrived("reading")

        def places(after: int, limit: int) -> list[Place]:
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
            found += self._whole.at(some)
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
    ) -> list[Stored]:
        """Return a page of readings in order of true time, as `Store.of_device`."""
        found: list[Stored] = []
        while spans and (room := limit - len(found)):  # as in `readings`
            some, after = self._timed.first(spans, kinds, after, room)
            found += some
            if after is None:
                break
        return found

    def reading(self, number: int) -> Stored | None:
        """Return one reading, or None."""
        query = "SELECT r.id, r.device FROM reading r WHERE r.id = :number"
        found = self._rows(query, number=number)
        places = [(number, device, None) for number, device in found]
        return next(iter(self._whole.at(places)), None)

    def amendments(self, number: int) -> list[Amendment]:
        """Return the other reports of one reading."""
        return self._whole.amendments("a.reading = :number", 1_000, number=number)

    def amended(self, after: int, limit: int) -> list[Amendment]:
        """Return a page of all amendments."""
        last, behind = self._arrived("reading"), "a.id > :after AND a.id <= :last"
        return self._whole.amendments(behind, limit, after=after, last=last)

    def last(self) -> int:
        """Return the id of the last reading; 0 if there is none."""
        query = "SELECT coalesce(max(last_id), 0) FROM batch WHERE last_id <= :last"
        return int(self._rows(query, last=self._arrived("reading"))[0][0])

    def last_amended(self) -> int:
        """Return the id of the last amendment; 0 if there is none."""
        query = "SELECT coalesce(max(id), 0) FROM amendment WHERE id <= :last"
        return int(self._rows(query, last=self._arrived("reading"))[0][0])

    def devices(self, after: int, limit: int) -> list[StoredDevice]:
        """Return a page of devices."""
        last = self._arrived("device")
        rows = self._rows(_DEVICES, after=after, last=last, limit=limit)
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
        last = self._arrived("quarantine")
        rows = self._rows(_QUARANTINE, after=after, last=last, limit=limit)
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
            for row in rows
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
        return [f"b.station IN ({listed(numbers)})"]

    def _through_batches(  # noqa: PLR0917 - what was asked for, and what it came to
        self,
        which: Filter,
        of_batch: Sequence[str],
        conditions: Sequence[str],
        values: dict[str, Any],
        after: int,
        limit: int,
    ) -> Iterator[Place]:
        """Yield places in order, of batches that may hold what is asked for."""
        where = ["b.last_id > :after", "b.first_id <= :last", *of_batch]
        if which.since_ms is not None:
            where.append("b.last_utc_ms >= :since")
        if which.until_ms is not None:
            where.append("b.first_utc_ms < :until")
        # Devices lead to what has a time; SQLite's ledger does not have them. They do
        # so best to a few days of a batch of many, and each day costs all of its own.
        told, span_ms = "1 = 0", _span_ms(which)
        if self.database.engine == "postgres" and 0 < span_ms <= _FEW_DAYS_MS:
            told = (
                "b.devices IS NOT NULL AND "
                f"b.last_utc_ms - b.first_utc_ms > {_WIDE * span_ms}"
            )
        query = (
            f"SELECT {told}, b.id, b.first_id, b.last_id FROM batch b "  # noqa: S608
            f"WHERE {' AND '.join(where)} ORDER BY b.last_id LIMIT {_BATCHES}"
        )
        named = {mark: value for mark, value in values.items() if mark != "kind"}
        while batches := self._rows(query, after=after, **named):
            of_devices = [row[1] for row in batches if row[0]]
            others = [row[2:] for row in batches if not row[0]]
            yield from merge(
                self._of_devices(which, of_devices, values | {"after": after}, limit),
                self._of_others(others, conditions, values, after, limit),
                key=itemgetter(0),
            )
            after = batches[-1][3]

    def _of_devices(
        self,
        which: Filter,
        batches: Sequence[int],
        values: dict[str, Any],
        limit: int,
    ) -> list[Place]:
        """Return the first places of batches of which the devices are known."""
        if not batches:
            return []
        conditions, _ = _conditions(which)
        query = _OF_DEVICES.format(" AND ".join(conditions))
        found = self._rows(query, ids=listed(batches), limit=limit, **values)
        return [(row[0], row[1], row[2]) for row in found]

    def _of_others(
        self,
        batches: Sequence[Row],
        conditions: Sequence[str],
        values: dict[str, Any],
        after: int,
        limit: int,
    ) -> Iterator[Place]:
        """Yield places in order, of batches between whose ids they lie."""
        ranges = []
        for first, last in _joined(batches):
            ranges.append((max(after + 1, first), min(last, values["last"])))
            after = last
        for some in _together(ranges, max(limit, _RANGES)):
            yield from self._in_ranges(some, conditions, values, limit)

    def _in_ranges(
        self,
        ranges: Sequence[tuple[int, int]],
        conditions: Sequence[str],
        values: dict[str, Any],
        limit: int,
    ) -> Iterator[Place]:
        """Yield places in order, the first ``limit`` of ranges of ids in order."""
        if self.database.engine == "sqlite":
            for first, last in ranges:
                within = values | {"last": last}
                yield from self._ids(conditions, within, first - 1, limit)
            return
        # A query of each would be planned for every part of the table each time.
        firsts, lasts = (listed(ids) for ids in zip(*ranges, strict=True))
        query = _IN_RANGES.format(" AND ".join(conditions))
        named = {mark: value for mark, value in values.items() if mark != "last"}
        found = self._rows(query, firsts=firsts, lasts=lasts, limit=limit, **named)
        yield from ((row[0], row[1], None) for row in found)

    def _ids(
        self,
        conditions: Sequence[str],
        values: dict[str, Any],
        after: int,
        limit: int,
    ) -> list[Place]:
        where = ["r.id > :after", "r.id <= :last", *conditions]
        query = (
            f"SELECT r.id, r.device FROM reading r WHERE {' AND '.join(where)} "  # noqa: S608
            "ORDER BY r.id LIMIT :limit"
        )
        found = self._rows(query, after=after, limit=limit, **values)
        return [(row[0], row[1], None) for row in found]

    def _numbers(self, table: str, name: str) -> list[int]:
        query = f"SELECT id FROM {table} WHERE {table} = :name"  # noqa: S608
        return [row[0] for row in self._rows(query, name=name)]

    def _rows(self, query: str, **values: Any) -> list[Row]:  # noqa: ANN401
        return self.database.rows(query, **values)


def _timed(which: Filter) -> bool:
    return which.since_ms is not None or which.until_ms is not None


def _span_ms(which: Filter) -> int:
    """Return how long a filter's time is; -1 if it is open."""
    if which.since_ms is None or which.until_ms is None:
        return -1
    return which.until_ms - which.since_ms


def _conditions(which: Filter, hide: str = "") -> tuple[list[str], dict[str, Any]]:
    """Return what a filter asks of a row, and the values for its marks.

    Args:
        which: The filter.
        hide: What stands before a time.
    """
    sign = "<>" if which.kind is None else "="
    kind = KIND_NUMBERS[which.kind or Kind.CONTROL_SOLUTION]
    conditions, values = [f"r.kind {sign} :kind"], {"kind": kind}
    for mark, sign, time_ms in (
        ("since", ">=", which.since_ms),
        ("until", "<", which.until_ms),
    ):
        if time_ms is not None:
            conditions.append(f"{hide}r.utc_ms {sign} :{mark}")
            values[mark] = time_ms
    return conditions, values


def _joined(ranges: Sequence[Row]) -> Iterator[tuple[int, int]]:
    """Yield ranges of ids, those that touch as one."""
    if not ranges:
        return
    first, last = ranges[0]
    for begin, end in ranges[1:]:
        if begin != last + 1:
            yield first, last
            first = begin
        last = end
    yield first, last


def _together(
    ranges: Sequence[tuple[int, int]], least: int
) -> Iterator[list[tuple[int, int]]]:
    """Yield runs of ranges that hold at least so many ids; the last may hold fewer."""
    some: list[tuple[int, int]] = []
    room = least
    for first, last in ranges:
        some.append((first, last))
        room -= last - first + 1
        if room <= 0:
            yield some
            some, room = [], least
    if some:
        yield some

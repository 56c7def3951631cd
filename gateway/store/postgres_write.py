"""The writing half of the PostgreSQL store: groups of deliveries, one commit each.

Any number commit at once, and all lock in one order: names, the ledger, readings by
key, then what is counted, by id. Only COPY fills the parts of its table in turns of its
own: of two that bring the same new readings at once, each may wait for the other. The
server ends one of them then, and it is tried again.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from operator import attrgetter, itemgetter

import psycopg

from gateway.store import Accepted, Delivery, Greeting, Outcome, Refused, StoreRefused
from gateway.store.database import Row
from gateway.store.gone import withheld
from gateway.store.postgres_database import Connection, errors_told, settings
from gateway.store.postgres_gone import not_gone
from gateway.store.postgres_names import DEVICES, DRIVERS, STATIONS, Names, columns
from gateway.store.postgres_quarantine import quarantine
from gateway.store.postgres_readings import keep
from gateway.store.postgres_told import Told, tallied
from gateway.store.rows import READING, said_of
from gateway.store.rows import tallied as tallied_singly
from gateway.store.whole import listed
from protocols.uplink.topics import Station

_BLOCK = 16_384  # as the sequence counts; no batch is longer
# While one commit waits or its gateway is silent, readers wait too. What is compiled
# takes longer than to run it, here too.
_SETTINGS = """
    SET LOCAL lock_timeout = '10s';
    SET LOCAL idle_in_transaction_session_timeout = '30s';
    SET LOCAL jit = off;
    SELECT set_config('synchronous_commit', 'on', true)
    WHERE current_setting('synchronous_commit') = 'off'
"""  # a server that was let off the disk since the gateway's start would forget
_BATCH = READING.index("batch")

# Both as migration 0001 says: nobody takes keys away while they are looked up, and
# readers stop below the ids that are on their way.
_NOT_ALONE = "SELECT pg_advisory_xact_lock_shared(30296::bigint << 48)"
_ON_ITS_WAY = """
    SELECT pg_advisory_xact_lock_shared((30295::bigint << 48) | (last_value >> 14))
    FROM arrival
"""
_TAKE = "SELECT nextval('arrival') FROM generate_series(1, %s) ORDER BY 1"
_KNOWN = """
    SELECT station, counter, digest FROM batch
    JOIN unnest(%s::bigint[], %s::bigint[]) AS w (station, counter)
    USING (station, counter)
"""
_ENTER = """
    INSERT INTO batch (id, station, counter, digest, made_ms, received_ms, new, known,
        amended, first_id, last_id, first_utc_ms, last_utc_ms, devices)
    SELECT first, station, counter, digest, made_ms, received_ms, count, 0, 0,
        first, first + count - 1, first_utc_ms, last_utc_ms,
        string_to_array(devices, ',')::bigint[]
    FROM unnest(%s::bigint[], %s::bigint[], %s::bytea[], %s::bigint[], %s::bigint[],
            %s::bigint[], %s::integer[], %s::bigint[], %s::bigint[], %s::text[])
        AS w (station, counter, digest, made_ms, received_ms, first, count,
            first_utc_ms, last_utc_ms, devices)
    ON CONFLICT (station, counter, digest) DO NOTHING RETURNING id
"""
_AGAIN = """
    UPDATE batch SET deliveries = deliveries + 1
    WHERE station = %s AND counter = %s AND digest = %s
"""
_COUNT = "UPDATE batch SET new = %s, known = %s, amended = %s WHERE id = %s"
_SEEN_STATIONS = """
    WITH locked AS (SELECT id FROM station WHERE id = ANY(%s::bigint[])
        ORDER BY id FOR NO KEY UPDATE)
    UPDATE station s SET last_seen_ms = greatest(s.last_seen_ms, w.seen_ms)
    FROM locked JOIN unnest(%s::bigint[], %s::bigint[]) AS w (id, seen_ms) USING (id)
    WHERE s.id = locked.id
"""
_SEEN_DEVICES = """
    WITH locked AS (SELECT id FROM device WHERE id = ANY(%s::bigint[])
        ORDER BY id FOR NO KEY UPDATE)
    UPDATE device d SET last_seen_ms = greatest(d.last_seen_ms, w.seen_ms),
        manufacturer = w.manufacturer, model = w.model, serial = w.serial,
        firmware = w.firmware
    FROM locked JOIN unnest(%s::bigint[], %s::text[], %s::text[], %s::text[],
            %s::text[], %s::bigint[])
        AS w (id, manufacturer, model, serial, firmware, seen_ms) USING (id)
    WHERE d.id = locked.id
"""
_TALLY = """
    INSERT INTO tally AS t
        (device, kind, readings, flagged, first_utc_ms, last_utc_ms)
    SELECT * FROM unnest(%s::bigint[], %s::smallint[], %s::bigint[], %s::bigint[],
        %s::bigint[], %s::bigint[])
    ON CONFLICT (device, kind) DO UPDATE SET
        readings = t.readings + excluded.readings,
        flagged = t.flagged + excluded.flagged,
        first_utc_ms = least(t.first_utc_ms, excluded.first_utc_ms),
        last_utc_ms = greatest(t.last_utc_ms, excluded.last_utc_ms)
"""
_GREET = "UPDATE station SET status = %s, status_ms = %s WHERE id = %s"

_BatchKey = tuple[int, int, bytes]  # station, counter, digest
_DeviceName = tuple[str, str]  # tenant, id


@dataclass(slots=True)
class _Entry:
    """A batch, and what came of it.

    ``first`` is its first reading's id, 0 is none; ``withheld`` are places in it.
    """

    delivery: Accepted
    station: int
    known: int
    new: int = 0
    amended: int = 0
    fork: bool = False
    first: int = 0
    withheld: list[int] = field(default_factory=list)

    @property
    def key(self) -> _BatchKey:
        return self.station, self.delivery.batch.counter, self.delivery.digest

    def outcome(self) -> Outcome:
        apart = len(self.withheld)
        return Outcome(self.new, self.known - apart, self.amended, self.fork, apart)


class Writer:
    """Writes over a connection of its own, and opens it again when it was lost.

    Args:
        url: The server's address, as libpq reads it.
        password: Of the user in it; None leaves it to libpq.
    """

    def __init__(self, url: str, password: str | None = None) -> None:
        self._url, self._password = url, password
        self._connection: Connection | None = None
        self._stations, self._devices = Names(STATIONS), Names(DEVICES)
        self._drivers = Names(DRIVERS)

    def commit(self, deliveries: Sequence[Delivery]) -> list[Outcome]:
        """Write ``deliveries`` in one transaction, as `Store.commit` says."""
        with errors_told(), self._transaction() as connection:
            try:
                return self._write(connection, deliveries)
            except (OverflowError, ValueError) as error:
                raise StoreRefused(f"it cannot be kept: {error}") from error

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        if self._connection is None:
            more = settings(self._password)
            self._connection = psycopg.connect(self._url, **more)
            self._connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        connection, durable = self._connection, False
        known = self._stations, self._devices, self._drivers
        try:
            with connection.transaction():
                connection.execute(_SETTINGS)
                yield connection
            durable = True
        finally:
            for names in known:
                if durable:
                    names.committed()
                else:
                    names.forget()
            if connection.broken:
                connection.close()
                self._connection = None

    def _write(
        self, connection: Connection, deliveries: Sequence[Delivery]
    ) -> list[Outcome]:
        connection.execute(_NOT_ALONE)
        stations = self._station_numbers(connection, deliveries)
        accepted = {
            at: _Entry(one, stations[one.station], one.batch.count)
            for at, one in enumerate(deliveries)
            if isinstance(one, Accepted)
        }
        entered = _unknown(connection, [*accepted.values()])
        _take_ids(connection, entered)
        devices = self._device_numbers(connection, entered)
        drivers = self._driver_numbers(connection, entered)
        entered = _enter(connection, entered, devices)
        told = [group for one in entered for group in _told(one, devices, drivers)]
        came = [row for group in told for row in group.rows()]
        memories = {one for group in told for one in group.memories()}
        as_new = {one.first for one in entered if one.delivery.as_new}
        left = not_gone(connection, came, memories, as_new)
        new, amended = keep(connection, left.rows)
        kept_apart = _withheld(entered, left.in_doubt)
        if len(new) == len(came):
            tally = tallied(told)
        else:
            tally = tallied_singly(new)
            _correct(connection, entered, new, amended)
        again = [one for one in accepted.values() if not one.first]
        # From here on all is locked by id, and soon free again.
        for entry in sorted(again, key=attrgetter("key")):
            connection.execute(_AGAIN, entry.key)
        _see_stations(connection, deliveries, stations)
        _see_devices(connection, entered, devices)
        if tally:
            connection.execute(_TALLY, columns(tally))
        quarantine(connection, [*deliveries, *kept_apart], stations)
        return [
            accepted[at].outcome() if at in accepted else Outcome()
            for at in range(len(deliveries))
        ]

    def _station_numbers(
        self, connection: Connection, deliveries: Sequence[Delivery]
    ) -> dict[Station, int]:
        wanted: dict[tuple[str, str], Row] = {}
        for one in deliveries:
            if one.station is not None:
                wanted.setdefault(one.station, (one.received_ms, one.received_ms))
        found = self._stations.numbers(connection, wanted)
        return {Station(*name): number for name, number in found.items()}

    def _device_numbers(
        self, connection: Connection, entries: Sequence[_Entry]
    ) -> dict[_DeviceName, int]:
        wanted: dict[_DeviceName, Row] = {}
        for entry in entries:
            tenant, seen_ms = entry.delivery.station.tenant, entry.delivery.received_ms
            for group in entry.delivery.batch.groups:
                row = (*said_of(group.device), seen_ms, seen_ms)
                wanted.setdefault((tenant, group.device.id), row)
        return self._devices.numbers(connection, wanted)

    def _driver_numbers(
        self, connection: Connection, entries: Sequence[_Entry]
    ) -> dict[tuple[str, str], int]:
        groups = [group for entry in entries for group in entry.delivery.batch.groups]
        return self._drivers.numbers(connection, {one.driver: () for one in groups})


def _unknown(connection: Connection, entries: list[_Entry]) -> list[_Entry]:
    """Return the batches that the ledger does not know, each once; mark forks."""
    if not entries:
        return []
    asked = columns([entry.key[:2] for entry in entries])
    known: set[_BatchKey] = {*connection.execute(_KNOWN, asked)}
    counters = {key[:2] for key in known}
    found = []
    for entry in entries:
        if entry.key not in known:
            entry.fork = entry.key[:2] in counters
            known.add(entry.key)
            counters.add(entry.key[:2])
            found.append(entry)
    return found


def _take_ids(connection: Connection, entries: Sequence[_Entry]) -> None:
    """Give each batch ids that follow each other."""
    if not entries:
        return
    block, used = 0, 0
    places = []
    for entry in entries:
        count = entry.delivery.batch.count
        if used + count > _BLOCK:
            block, used = block + 1, 0
        places.append((block, used))
        used += count
    connection.execute(_ON_ITS_WAY)
    ends = [end for (end,) in connection.execute(_TAKE, [block + 1])]
    for entry, (block, used) in zip(entries, places, strict=True):
        entry.first = ends[block] - _BLOCK + 1 + used


def _enter(
    connection: Connection, entries: list[_Entry], devices: Mapping[_DeviceName, int]
) -> list[_Entry]:
    """Enter batches in the ledger; return those that no gateway entered meanwhile."""
    if not entries:
        return []
    ordered = sorted(entries, key=attrgetter("key"))
    rows = []
    for entry in ordered:
        batch = entry.delivery.batch
        made_ms, received_ms = batch.made_ms, entry.delivery.received_ms
        counted = (entry.first, batch.count, *batch.span_ms)
        tenant = entry.delivery.station.tenant
        of = listed({devices[tenant, group.device.id] for group in batch.groups})
        rows.append((*entry.key, made_ms, received_ms, *counted, of))
    ours = {number for (number,) in connection.execute(_ENTER, columns(rows))}
    for entry in entries:
        if entry.first in ours:
            entry.new, entry.known = entry.known, 0
        else:
            entry.first = 0
    return [entry for entry in entries if entry.first]


def _told(
    entry: _Entry,
    devices: Mapping[_DeviceName, int],
    drivers: Mapping[tuple[str, str], int],
) -> Iterator[Told]:
    """Yield a batch's groups; a batch's number is its first reading's."""
    first, tenant = entry.first, entry.delivery.station.tenant
    for group in entry.delivery.batch.groups:
        device, driver = devices[tenant, group.device.id], drivers[group.driver]
        yield Told(group, first, device, entry.first, driver)
        first += group.count


def _withheld(entries: Sequence[_Entry], ids: Iterable[int]) -> list[Refused]:
    """Note which readings of which batches are withheld; return them as messages."""
    by_first = {entry.first: entry for entry in entries}
    firsts = sorted(by_first)
    for number in ids:
        first = firsts[bisect_right(firsts, number) - 1]
        by_first[first].withheld.append(number - first)
    return [
        message
        for entry in entries
        if entry.withheld
        for message in withheld(entry.delivery, entry.withheld)
    ]


def _correct(
    connection: Connection,
    entries: Sequence[_Entry],
    new: Sequence[Row],
    amended: Iterable[int],
) -> None:
    """Count what of each batch was new, and what not."""
    stored = Counter(row[_BATCH] for row in new)
    firsts = sorted(entry.first for entry in entries)
    changed = Counter(firsts[bisect_right(firsts, at) - 1] for at in amended)
    for entry in entries:
        entry.new = stored[entry.first]
        entry.amended = changed[entry.first]
        entry.known = entry.delivery.batch.count - entry.new - entry.amended
    with connection.cursor() as cursor:
        cursor.executemany(
            _COUNT,
            [(one.new, one.known, one.amended, one.first) for one in entries],
        )


def _see_stations(
    connection: Connection,
    deliveries: Sequence[Delivery],
    stations: Mapping[Station, int],
) -> None:
    seen: dict[int, int] = {}
    told: dict[int, Greeting] = {}
    for one in deliveries:
        if one.station is not None:
            number = stations[one.station]
            seen[number] = max(one.received_ms, seen.get(number, one.received_ms))
            if isinstance(one, Greeting):
                told[number] = one
    if seen:
        numbers, times = columns(sorted(seen.items()))
        connection.execute(_SEEN_STATIONS, (numbers, numbers, times))
    for number, greeting in sorted(told.items(), key=itemgetter(0)):
        connection.execute(_GREET, (greeting.status, greeting.received_ms, number))


def _see_devices(
    connection: Connection,
    entries: Sequence[_Entry],
    devices: Mapping[_DeviceName, int],
) -> None:
    seen: dict[int, Row] = {}
    for entry in entries:
        for group in entry.delivery.batch.groups:
            number = devices[entry.delivery.station.tenant, group.device.id]
            before_ms = seen[number][-1] if number in seen else 0
            seen_ms = max(entry.delivery.received_ms, before_ms)
            seen[number] = (number, *said_of(group.device), seen_ms)
    if seen:
        found = columns([seen[number] for number in sorted(seen)])
        connection.execute(_SEEN_DEVICES, (found[0], *found))

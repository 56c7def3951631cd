"""What goes out of the outbox: batches, the same bytes until a receipt names them.

A reading leaves only on a receipt that names the very bytes it was sent in. One that
can no more be read, for a bad block say, is kept apart, so that it stops no other.
"""

import logging
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

import apsw

from edge_agent import records
from edge_agent.outbox_file import OutboxFile, set_aside
from protocols.errors import DecodeError
from protocols.uplink import envelope
from protocols.uplink.receipt import Entry, Result

_log = logging.getLogger(__name__)

_SOURCE = "outbox"  # of a record that was set aside
_NEXT_URGENT = (
    "SELECT id, record, urgent FROM reading WHERE batch IS NULL AND urgent = 1 "
    "ORDER BY id DESC LIMIT ?"
)
_NEXT_OTHERS = (
    "SELECT id, record, urgent FROM reading WHERE batch IS NULL AND urgent = 0 "
    "ORDER BY id LIMIT ?"
)
_MOST_RECORDS_BYTES = 4 * envelope.MAX_MESSAGE  # what one message may be made of


@dataclass(frozen=True, slots=True)
class Message:
    """A batch as it goes out, the same bytes each time it is sent.

    Attributes:
        counter: Its counter.
        urgent: Whether it holds urgent readings, and no other.
        message: The bytes.
    """

    counter: int
    urgent: bool
    message: bytes


@dataclass(frozen=True, slots=True)
class Unbatched:
    """Readings that are in no batch yet.

    Attributes:
        urgent: How many are urgent.
        others: How many are not.
        oldest: The id of the oldest of the others; None if there is none.
        oldest_ms: When that was captured, in ms since 1970 UTC.
    """

    urgent: int
    others: int
    oldest: int | None
    oldest_ms: int


class Batches:
    """The batches of one outbox; every method is one transaction."""

    def __init__(self, file: OutboxFile) -> None:
        self._file = file

    def unbatched(self, most: int) -> Unbatched:
        """Return how many readings are in no batch yet, counted up to ``most``."""
        row = self._file.one(
            "SELECT (SELECT count(*) FROM (SELECT 1 FROM reading "
            "WHERE batch IS NULL AND urgent = 1 LIMIT ?1)), (SELECT count(*) FROM "
            "(SELECT 1 FROM reading WHERE batch IS NULL AND urgent = 0 LIMIT ?1)), "
            "(SELECT id FROM reading WHERE batch IS NULL AND urgent = 0 "
            "ORDER BY id LIMIT 1)",
            most,
        )
        urgent, others, oldest = row or (0, 0, None)
        found = self._file.one("SELECT captured_ms FROM reading WHERE id = ?", oldest)
        return Unbatched(urgent, others, oldest, found[0] if found else 0)

    def make(
        self,
        station: str,
        now_ms: int,
        most: int,
        *,
        fast: bool = False,
    ) -> Message | None:
        """Make a batch of readings that are in none yet.

        Where urgent ones wait it holds them alone, the newest first; else the
        oldest of the others.

        Args:
            station: This station's id.
            now_ms: Its clock, in ms since 1970 UTC.
            most: The most readings of it; fewer where no more fit into a message.
            fast: Whether time matters more than size.

        Returns:
            The batch; None if no reading waits for one.

        Raises:
            OutboxError: It can't be written.
        """
        # Encoding takes long on a small board, so captures go on meanwhile. The
        # counter comes first: of two that took the same readings one sees by it that
        # it came too late.
        while True:
            with self._file.reading() as db:
                counter = _next_counter(db)
            if not (rows := self._next(most)):
                return None
            try:
                readings = [records.from_record(row[1]) for row in rows]
                count, message = records.fit(
                    station, counter, now_ms, readings, fast=fast
                )
            except (DecodeError, ValueError):
                self._set_aside(station, now_ms, rows)
                continue
            with self._file.transaction() as db:
                if _next_counter(db) != counter:
                    continue
                db.execute(
                    "INSERT INTO batch (counter, message, digest, urgent) "
                    "VALUES (?, ?, ?, ?)",
                    (counter, message, envelope.digest(message), rows[0][2]),
                )
                db.executemany(
                    "UPDATE reading SET batch = ? WHERE id = ?",
                    [(counter, row[0]) for row in rows[:count]],
                )
            return Message(counter, bool(rows[0][2]), message)

    def waiting(self, most: int) -> tuple[list[int], list[int]]:
        """Return the oldest batches that wait for a receipt, by their counters.

        Args:
            most: The most of either.

        Returns:
            Those of urgent readings, and the others.
        """
        return self._waiting(1, most), self._waiting(0, most)

    def message(self, counter: int) -> Message | None:
        """Return a batch as it goes out; None if it is settled.

        None also if it is damaged: its readings go into another one then.
        """
        row = self._file.one(
            "SELECT urgent, message, digest FROM batch WHERE counter = ?", counter
        )
        if row is None:
            return None
        urgent, message, digest = row
        if envelope.digest(message) != digest:
            # No receipt would ever name it.
            with self._file.transaction() as db:
                db.execute(
                    "UPDATE reading SET batch = NULL WHERE batch = ?", (counter,)
                )
                db.execute("DELETE FROM batch WHERE counter = ?", (counter,))
            return None
        return Message(counter, bool(urgent), message)

    def forget(self, entries: Iterable[Entry]) -> list[int]:
        """Act on a receipt's entries: forget what is stored, keep what was refused.

        Returns:
            The counters of the batches that are stored. An entry that names
            other bytes than were sent settles nothing.
        """
        stored = []
        with self._file.transaction() as db:
            for entry in entries:
                row = db.execute(
                    "SELECT counter FROM batch WHERE digest = ?", (entry.digest,)
                ).fetchone()
                if row is None:
                    continue
                counter = int(row[0])
                if entry.result == Result.STORED:
                    db.execute("DELETE FROM reading WHERE batch = ?", (counter,))
                    db.execute("DELETE FROM batch WHERE counter = ?", (counter,))
                    stored.append(counter)
                else:
                    db.execute(
                        "UPDATE batch SET refused = ? WHERE counter = ?",
                        (entry.reason, counter),
                    )
        return stored

    def _next(self, most: int) -> list[tuple[int, bytes, int]]:
        """Return id, record and urgency of readings for one batch."""
        rows: list[tuple[int, bytes, int]] = []
        size = 0
        with self._file.reading() as db:
            for query in (_NEXT_URGENT, _NEXT_OTHERS):
                for row in db.execute(query, (most,)):
                    size += len(row[1])
                    if rows and size > _MOST_RECORDS_BYTES:
                        break
                    rows.append(row)
                if rows:
                    break
        return rows

    def _waiting(self, urgent: int, most: int) -> list[int]:
        with self._file.reading() as db:
            rows = db.execute(
                "SELECT counter FROM batch WHERE refused IS NULL AND urgent = ? "
                "ORDER BY counter LIMIT ?",
                (urgent, most),
            )
            return [row[0] for row in rows]

    def _set_aside(
        self, station: str, now_ms: int, rows: Iterable[tuple[int, bytes, int]]
    ) -> None:
        """Put what no message can be made of where it stands before no other."""
        found = [
            (number, record, problem)
            for number, record, _ in rows
            if (problem := _problem(station, now_ms, record)) is not None
        ]
        with self._file.transaction() as db:
            for number, record, problem in found:
                _log.warning("reading.undecoded id=%d: %s", number, problem)
                set_aside(db, ("", "", _SOURCE, record, problem), now_ms)
                db.execute("DELETE FROM reading WHERE id = ?", (number,))


def take_back(db: apsw.Connection) -> None:
    """Put back what was set aside and can be read now, say after an update.

    Args:
        db: Within a transaction.
    """
    ids = "SELECT id FROM undecoded WHERE peer = '' AND driver = '' AND source = ?"
    for (number,) in db.execute(ids, (_SOURCE,)).fetchall():
        query = "SELECT payload FROM undecoded WHERE id = ?"
        record = db.execute(query, (number,)).get
        with suppress(DecodeError, ValueError):
            captured_ms = records.from_record(record).captured_ms
            db.execute(
                "INSERT INTO reading (captured_ms, record) VALUES (?, ?)",
                (captured_ms, record),
            )
            db.execute("DELETE FROM undecoded WHERE id = ?", (number,))


def give_up(db: apsw.Connection, tenant: str) -> None:
    """Leave what was set aside where it is: it is of a tenant served no more."""
    db.execute(
        "UPDATE undecoded SET source = ? "
        "WHERE peer = '' AND driver = '' AND source = ?",
        (f"{_SOURCE} of {tenant}", _SOURCE),
    )


def _next_counter(db: apsw.Connection) -> int:
    # The sequence's block may be an older one than the batches', on a worn card.
    last = (
        "SELECT max(ifnull((SELECT seq FROM sqlite_sequence WHERE name = 'batch'), 0), "
        "ifnull((SELECT max(counter) FROM batch), 0))"
    )
    return int(db.execute(last).get) + 1


def _problem(station: str, now_ms: int, record: bytes) -> str | None:
    """Return why no message can be made of a record; None if one can."""
    try:
        reading = records.from_record(record)
        records.fit(station, records.MOST_COUNTER, now_ms, [reading])
    except (DecodeError, ValueError) as error:
        return str(error)
    return None

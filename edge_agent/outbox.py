"""The station's memory: readings until the gateway's receipt, and the cursors.

SQLite in WAL mode with synchronous=FULL: what a method has written when it
returns survives a power cut, on storage that honours a flush. Every method is
one transaction. Readings and the cursor of their device go in together; a
reading leaves only on a receipt that names the very bytes it was sent in. One that
can no more be read, for a bad block say, is kept apart, so that it stops no other.
"""

import fcntl
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from hashlib import blake2b
from importlib.resources import files
from pathlib import Path
from typing import Any, TextIO

import apsw
import cbor2

from edge_agent import records
from protocols.errors import DecodeError, Fault
from protocols.observation import (
    Device,
    Observation,
    Quality,
    Reading,
    fingerprint,
    key,
)
from protocols.uplink import envelope
from protocols.uplink.receipt import Entry, Result

# From each version to the next.
_STEPS = ("outbox.sql", "outbox_2.sql", "outbox_3.sql", "outbox_4.sql")
_VERSION = len(_STEPS)
_SAFE_SQLITE = (3, 51, 3)  # older ones can corrupt a WAL
_ROOM_BYTES = 65_536
_READINGS_PER_BATCH = 256
_NEXT_URGENT = (
    "SELECT id, record, urgent FROM reading WHERE batch IS NULL AND urgent = 1 "
    "ORDER BY id DESC LIMIT ?"
)
_NEXT_OTHERS = (
    "SELECT id, record, urgent FROM reading WHERE batch IS NULL AND urgent = 0 "
    "ORDER BY id LIMIT ?"
)
_MOST_RECORDS_BYTES = 4 * envelope.MAX_MESSAGE  # what one message may be made of


Judge = Callable[[bytes | None, Sequence[Reading]], tuple[list[Quality], bytes]]
"""From what the filters kept in mind of a device, None at first, and its new readings,
to the flags of each and what to keep in mind."""

_FLAGS_BYTES = 8  # by which a record grows at most that is flagged


def _never(_: Observation) -> bool:
    return False


class OutboxError(Exception):
    """The station's memory can't be used, or can't be written to now."""


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


@dataclass(frozen=True, slots=True)
class Journaled:
    """A payload that was written down as it came."""

    id: int
    source: str
    payload: bytes
    received_ms: int


@dataclass(frozen=True, slots=True)
class Counts:
    """How much of what the outbox holds.

    Attributes:
        waiting: Readings that no receipt has named yet.
        batches: Batches sent or to be sent, without those refused.
        refused: Batches that the gateway keeps in quarantine.
        journaled: Payloads written down and not yet captured.
        undecoded: Payloads that no reading could be made of.
        oldest_ms: When the first captured of those that wait was captured, ms since
            1970; None if none waits.
    """

    waiting: int
    batches: int
    refused: int
    journaled: int
    undecoded: int
    oldest_ms: int | None


class Outbox:
    """The outbox in one file, owned by one process."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        """Open the outbox, and make it if it is not there.

        Args:
            path: Its file; a lock and SQLite's own files stand beside it.
            read_only: Only look; works while an agent owns it.

        Raises:
            OutboxError: Another agent owns it, it is of a newer version, it can't
                be opened, or this SQLite is not safe.
        """
        if tuple(map(int, apsw.sqlite_lib_version().split(".")[:3])) < _SAFE_SQLITE:
            raise OutboxError(
                f"SQLite {apsw.sqlite_lib_version()} can corrupt the outbox; install "
                "apsw 3.51.3 or newer from its wheel"
            )
        self._mutex = threading.RLock()  # one connection, several threads
        with ExitStack() as held:
            if not read_only:
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                held.callback(_own(path.with_suffix(".lock")).close)
            try:
                self._db = _connect(path, read_only=read_only)
                held.callback(self._db.close)
                self._migrate(path, read_only=read_only)
            except (apsw.Error, OSError) as error:
                raise OutboxError(f"can't open {path}: {error}") from error
            self._held = held.pop_all()

    def close(self) -> None:
        """Close the file, behind what is being written; another agent may open it."""
        with self._mutex:
            self._held.close()

    def serve(self, tenant: str, station: str) -> None:
        """Say for whom readings go out, and try again what was refused.

        Raises:
            OutboxError: Readings of another tenant still wait here.
        """
        row = self._one("SELECT tenant, station FROM station")
        if row is not None and row[0] != tenant and self.counts().waiting:
            raise OutboxError(
                f"{self.counts().waiting} readings of tenant {row[0]!r} wait for their "
                f"receipt; go on as {row[0]!r} until none does, or use another folder"
            )
        with self._transaction():
            self._db.execute("UPDATE batch SET refused = NULL")
            if row is not None and row != (tenant, station):
                # A batch names its station: make all anew, under the new name.
                self._db.execute("UPDATE reading SET batch = NULL")
                self._db.execute("DELETE FROM batch")
            self._db.execute("DELETE FROM station")
            self._db.execute("INSERT INTO station VALUES (?, ?)", (tenant, station))

    def check_room(self) -> None:
        """Write as much as a cuff may send, and take it away again.

        Raises:
            OutboxError: There is no room for it.
        """
        with self._transaction():
            self._db.execute(
                "INSERT INTO journal (peer, driver, source, payload, received_ms) "
                "VALUES ('', '', '', zeroblob(?), 0)",
                (_ROOM_BYTES,),
            )
            self._db.execute("DELETE FROM journal WHERE peer = ''")

    def device(self, peer: str) -> Device | None:
        """Return the device last met at ``peer``."""
        row = self._one(
            "SELECT id, manufacturer, model, serial, firmware FROM device "
            "WHERE peer = ?",
            peer,
        )
        return None if row is None else Device(*row)

    def meet(self, peer: str, device: Device) -> None:
        """Remember which device was met at ``peer``."""
        with self._transaction():
            self._db.execute(
                "INSERT INTO device VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (peer) "
                "DO UPDATE SET id = excluded.id, manufacturer = excluded.manufacturer, "
                "model = excluded.model, serial = excluded.serial, "
                "firmware = excluded.firmware",
                (
                    peer,
                    device.id,
                    device.manufacturer,
                    device.model,
                    device.serial,
                    device.firmware,
                ),
            )

    def mark(self, device: str, driver: str) -> int | None:
        """Return the mark of the device's last checkpoint."""
        row = self._one(
            "SELECT mark FROM cursor WHERE device = ? AND driver = ?", device, driver
        )
        return None if row is None else int(row[0])

    def key(self, peer: str) -> bytes:
        """Return the 16 random bytes that are this station's secret with ``peer``."""
        row = self._one("SELECT key FROM secret WHERE peer = ?", peer)
        if row is not None:
            return bytes(row[0])
        made = secrets.token_bytes(16)
        with self._transaction():
            self._db.execute("INSERT INTO secret VALUES (?, ?)", (peer, made))
        return made

    def journal(
        self,
        peer: str,
        driver: str,
        payloads: Sequence[tuple[str, bytes]],
        received_ms: int,
    ) -> None:
        """Write payloads down, before anything else happens to them.

        Args:
            peer: Where the device was met.
            driver: What reads it.
            payloads: Characteristic and payload, in order of arrival.
            received_ms: The station's clock, in ms since 1970 UTC.
        """
        with self._transaction():
            self._db.executemany(
                "INSERT INTO journal (peer, driver, source, payload, received_ms) "
                "VALUES (?, ?, ?, ?, ?)",
                [(peer, driver, *payload, received_ms) for payload in payloads],
            )

    def journaled(self, peer: str, driver: str) -> list[Journaled]:
        """Return what was written down for ``peer`` and not yet captured."""
        with self._mutex:
            rows = self._db.execute(
                "SELECT id, source, payload, received_ms FROM journal "
                "WHERE peer = ? AND driver = ? ORDER BY id",
                (peer, driver),
            )
            return [Journaled(*row) for row in rows]

    def unjournal(self, peer: str, payload: bytes) -> None:
        """Forget a payload that was written down and tells no reading."""
        with self._transaction():
            self._unjournal(peer, payload)

    def capture(
        self,
        peer: str,
        readings: Sequence[Reading],
        *,
        mark: tuple[str, str, int] | None = None,
        urgent: Callable[[Observation], bool] = _never,
        judge: Judge | None = None,
    ) -> int:
        """Write readings, their device's cursor, and what they were journaled as.

        Args:
            peer: Where the device was met.
            readings: Of one device, in order; one that was captured before is passed
                over, and never judged again.
            mark: Device, driver and mark of a checkpoint behind the readings.
            urgent: Whether an observation must not wait for others.
            judge: The filters; what they keep in mind is written down here too.

        Returns:
            How many of them are new.
        """
        with self._transaction():
            new = [
                (reading, record)
                for reading in readings
                if (record := self._new_record(peer, reading)) is not None
            ]
            if judge is not None and new:
                new = self._judged(new, judge)
            self._db.executemany(
                "INSERT INTO reading (captured_ms, record, urgent) VALUES (?, ?, ?)",
                [
                    (reading.captured_ms, record, urgent(reading.observation))
                    for reading, record in new
                ],
            )
            for reading in readings:
                for payload in reading.observation.raw:
                    self._unjournal(peer, payload)
            if mark is not None:
                self._db.execute(
                    "INSERT INTO cursor VALUES (?, ?, ?) ON CONFLICT (device, driver) "
                    "DO UPDATE SET mark = excluded.mark",
                    mark,
                )
        return len(new)

    def keep_undecoded(
        self,
        peer: str,
        driver: str,
        source: str,
        payload: bytes,
        *,
        problem: str,
        received_ms: int,
    ) -> None:
        """Keep bytes that no reading could be made of."""
        with self._transaction():
            facts = peer, driver, source, payload, problem
            self._insert_undecoded(facts, received_ms)
            self._unjournal(peer, payload)

    def unbatched(self, most: int) -> Unbatched:
        """Return how many readings are in no batch yet, counted up to ``most``."""
        row = self._one(
            "SELECT (SELECT count(*) FROM (SELECT 1 FROM reading "
            "WHERE batch IS NULL AND urgent = 1 LIMIT ?1)), (SELECT count(*) FROM "
            "(SELECT 1 FROM reading WHERE batch IS NULL AND urgent = 0 LIMIT ?1)), "
            "(SELECT id FROM reading WHERE batch IS NULL AND urgent = 0 "
            "ORDER BY id LIMIT 1)",
            most,
        )
        urgent, others, oldest = row or (0, 0, None)
        found = self._one("SELECT captured_ms FROM reading WHERE id = ?", oldest)
        return Unbatched(urgent, others, oldest, found[0] if found else 0)

    def make_batch(
        self,
        station: str,
        now_ms: int,
        most: int = _READINGS_PER_BATCH,
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
            counter = self._next_counter()
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
            with self._transaction():
                if self._next_counter() != counter:
                    continue
                self._db.execute(
                    "INSERT INTO batch (counter, message, digest, urgent) "
                    "VALUES (?, ?, ?, ?)",
                    (counter, message, envelope.digest(message), rows[0][2]),
                )
                self._db.executemany(
                    "UPDATE reading SET batch = ? WHERE id = ?",
                    [(counter, row[0]) for row in rows[:count]],
                )
            return Message(counter, bool(rows[0][2]), message)

    def batches(self, most: int) -> tuple[list[int], list[int]]:
        """Return the oldest batches that wait for a receipt, by their counters.

        Args:
            most: The most of either.

        Returns:
            Those of urgent readings, and the others.
        """
        return self._batches(1, most), self._batches(0, most)

    def message(self, counter: int) -> Message | None:
        """Return a batch as it goes out; None if it is settled.

        None also if it is damaged: its readings go into another one then.
        """
        row = self._one(
            "SELECT urgent, message, digest FROM batch WHERE counter = ?", counter
        )
        if row is None:
            return None
        urgent, message, digest = row
        if envelope.digest(message) != digest:
            # No receipt would ever name it.
            with self._transaction():
                self._db.execute(
                    "UPDATE reading SET batch = NULL WHERE batch = ?", (counter,)
                )
                self._db.execute("DELETE FROM batch WHERE counter = ?", (counter,))
            return None
        return Message(counter, bool(urgent), message)

    def forget(self, entries: Iterable[Entry]) -> list[int]:
        """Act on a receipt's entries: forget what is stored, keep what was refused.

        Returns:
            The counters of the batches that they settle. An entry that names
            other bytes than were sent settles nothing.
        """
        settled = []
        with self._transaction():
            for entry in entries:
                row = self._one(
                    "SELECT counter FROM batch WHERE digest = ?", entry.digest
                )
                if row is None:
                    continue
                counter = int(row[0])
                if entry.result == Result.STORED:
                    self._db.execute("DELETE FROM reading WHERE batch = ?", (counter,))
                    self._db.execute("DELETE FROM batch WHERE counter = ?", (counter,))
                else:
                    self._db.execute(
                        "UPDATE batch SET refused = ? WHERE counter = ?",
                        (entry.reason, counter),
                    )
                settled.append(counter)
        return settled

    def counts(self) -> Counts:
        """Return how much of what the outbox holds."""
        row = self._one(
            "SELECT (SELECT count(*) FROM reading), "
            "(SELECT count(*) FROM batch WHERE refused IS NULL), "
            "(SELECT count(*) FROM batch), "
            "(SELECT count(*) FROM journal), (SELECT count(*) FROM undecoded), "
            "(SELECT captured_ms FROM reading ORDER BY id LIMIT 1)"
        )
        waiting, batches, all_batches, *more = row or ()
        return Counts(waiting, batches, all_batches - batches, *more)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            with self._mutex, self._db:
                yield
        except apsw.Error as error:
            # SQLite rolls a full disk back by itself; what came first is the reason.
            first = error.__context__
            reason = first if isinstance(first, apsw.Error) else error
            raise OutboxError(f"can't write to the outbox: {reason}") from error

    def _next(self, most: int) -> list[tuple[int, bytes, int]]:
        """Return id, record and urgency of readings for one batch."""
        rows: list[tuple[int, bytes, int]] = []
        size = 0
        try:
            with self._mutex:
                for query in (_NEXT_URGENT, _NEXT_OTHERS):
                    for row in self._db.execute(query, (most,)):
                        size += len(row[1])
                        if rows and size > _MOST_RECORDS_BYTES:
                            break
                        rows.append(row)
                    if rows:
                        break
        except apsw.Error as error:
            raise _unreadable(error) from error
        return rows

    def _batches(self, urgent: int, most: int) -> list[int]:
        try:
            with self._mutex:
                rows = self._db.execute(
                    "SELECT counter FROM batch WHERE refused IS NULL AND urgent = ? "
                    "ORDER BY counter LIMIT ?",
                    (urgent, most),
                )
                return [row[0] for row in rows]
        except apsw.Error as error:
            raise _unreadable(error) from error

    def _next_counter(self) -> int:
        row = self._one("SELECT seq FROM sqlite_sequence WHERE name = 'batch'")
        return 1 if row is None else int(row[0]) + 1

    def _set_aside(
        self, station: str, now_ms: int, rows: Iterable[tuple[int, bytes, int]]
    ) -> None:
        """Put what no message can be made of where it stands before no other."""
        for number, record, _ in rows:
            if (problem := _problem(station, now_ms, record)) is not None:
                with self._transaction():
                    facts = "", "", "outbox", record, problem
                    self._insert_undecoded(facts, now_ms)
                    self._db.execute("DELETE FROM reading WHERE id = ?", (number,))

    def _new_record(self, peer: str, reading: Reading) -> bytes | None:
        """Return what to store of a reading; None if it was seen, or can't be sent."""
        try:
            # What can't be sent must not stand before all others.
            record = records.to_record(reading, spare=_FLAGS_BYTES)
        except (DecodeError, ValueError) as error:
            raw = b"".join(reading.observation.raw)
            self._insert_undecoded(
                (peer, reading.driver, "observation", raw, str(error)),
                reading.captured_ms,
            )
            return None
        facts = cbor2.dumps([list(key(reading)), fingerprint(reading)])
        self._db.execute(
            "INSERT OR IGNORE INTO seen VALUES (?, ?)",
            (reading.device.id, blake2b(facts, digest_size=16).digest()),
        )
        return record if self._db.changes() else None

    def _judged(
        self, new: Sequence[tuple[Reading, bytes]], judge: Judge
    ) -> list[tuple[Reading, bytes]]:
        """Return new readings with what the filters say of them."""
        readings = [reading for reading, _ in new]
        device = readings[0].device.id
        row = self._one("SELECT state FROM filters WHERE device = ?", device)
        flags, state = judge(None if row is None else bytes(row[0]), readings)
        self._db.execute(
            "INSERT INTO filters VALUES (?, ?) ON CONFLICT (device) "
            "DO UPDATE SET state = excluded.state",
            (device, state),
        )
        judged = []
        for (reading, record), noticed in zip(new, flags, strict=True):
            if noticed:
                flagged = replace(reading, quality=reading.quality | noticed)
                judged.append((flagged, records.to_record(flagged)))
            else:
                judged.append((reading, record))
        return judged

    def _insert_undecoded(
        self, facts: tuple[str, str, str, bytes, str], received_ms: int
    ) -> None:
        self._db.execute(
            "INSERT OR IGNORE INTO undecoded (peer, driver, source, payload, "
            "problem, received_ms) VALUES (?, ?, ?, ?, ?, ?)",
            (*facts, received_ms),
        )

    def _unjournal(self, peer: str, payload: bytes) -> None:
        self._db.execute(
            "DELETE FROM journal WHERE id = (SELECT min(id) FROM journal "
            "WHERE peer = ? AND payload = ?)",
            (peer, payload),
        )

    def _one(self, sql: str, *values: Any) -> tuple[Any, ...] | None:  # noqa: ANN401
        try:
            with self._mutex:
                return self._db.execute(sql, values).fetchone()
        except apsw.Error as error:
            raise _unreadable(error) from error

    def _migrate(self, path: Path, *, read_only: bool) -> None:
        version = self._db.pragma("user_version")
        if version > _VERSION:
            raise OutboxError(
                f"{path} is of version {version}, made by a newer vitalwire; this one "
                f"reads up to {_VERSION}: update it"
            )
        if version < _VERSION and not read_only:
            with self._db:
                for step in _STEPS[version:]:
                    self._db.execute(files("edge_agent").joinpath(step).read_text())
                self._db.pragma("user_version", _VERSION)


def _connect(path: Path, *, read_only: bool) -> apsw.Connection:
    if read_only:
        db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    else:
        db = apsw.Connection(str(path))
        path.chmod(0o600)
        db.pragma("journal_mode", "WAL")
        db.pragma("synchronous", "FULL")
        db.pragma("foreign_keys", "ON")
    db.set_busy_timeout(5_000)
    return db


def _problem(station: str, now_ms: int, record: bytes) -> str | None:
    """Return why no message can be made of a record; None if one can."""
    try:
        reading = records.from_record(record)
        records.fit(station, records.MOST_COUNTER, now_ms, [reading])
    except DecodeError as error:
        if error.fault == Fault.UNSUPPORTED_VERSION:
            raise OutboxError(
                "a reading was stored by a newer vitalwire; update this one"
            ) from error
        return str(error)
    except ValueError as error:
        return str(error)
    return None


def _unreadable(error: apsw.Error) -> OutboxError:
    return OutboxError(f"can't read the outbox: {error}")


def _own(path: Path) -> TextIO:
    lock = path.open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise OutboxError(
            f"another agent owns {path.parent}; stop it first, or use another folder"
        ) from None
    return lock

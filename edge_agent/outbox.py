"""The station's memory: readings until the gateway's receipt, and the cursors.

SQLite in WAL mode with synchronous=FULL: what a method has written when it
returns survives a power cut, on storage that honours a flush. Every method is
one transaction. Readings and the cursor of their device go in together; a
reading leaves only on a receipt that names the very bytes it was sent in.
"""

import fcntl
import secrets
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from importlib.resources import files
from pathlib import Path
from typing import Any, TextIO

import apsw
import cbor2

from protocols.errors import DecodeError
from protocols.observation import Device, Reading, fingerprint, key
from protocols.uplink import batch, envelope
from protocols.uplink.batch import Batch
from protocols.uplink.receipt import Entry, Result

_STEPS = ("outbox.sql", "outbox_2.sql")  # from each version to the next
_VERSION = len(_STEPS)
_SAFE_SQLITE = (3, 51, 3)  # older ones can corrupt a WAL
_READINGS_PER_BATCH = 256
_ROOM_BYTES = 65_536
_RECORD_STATION = "outbox"  # a stored record is a batch of one, from nowhere


class OutboxError(Exception):
    """The station's memory can't be used, or can't be written to now."""


@dataclass(frozen=True, slots=True)
class Message:
    """A batch as it goes out, the same bytes each time it is sent."""

    counter: int
    message: bytes


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
        oldest_ms: When the oldest waiting reading was captured, ms since 1970;
            None if none waits.
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
        """Close the file; another agent may open it then."""
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
    ) -> int:
        """Write readings, their device's cursor, and what they were journaled as.

        Args:
            peer: Where the device was met.
            readings: In order; one that was captured before is passed over.
            mark: Device, driver and mark of a checkpoint behind the readings.

        Returns:
            How many of them are new.
        """
        with self._transaction():
            new = sum(self._insert(peer, reading) for reading in readings)
            for reading in readings:
                for payload in reading.observation.raw:
                    self._unjournal(peer, payload)
            if mark is not None:
                self._db.execute(
                    "INSERT INTO cursor VALUES (?, ?, ?) ON CONFLICT (device, driver) "
                    "DO UPDATE SET mark = excluded.mark",
                    mark,
                )
        return new

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

    def make_batch(
        self, station: str, now_ms: int, *, full_only: bool = False
    ) -> Message | None:
        """Make a batch of the oldest readings that are in none yet.

        Args:
            station: This station's id.
            now_ms: Its clock, in ms since 1970 UTC.
            full_only: Leave readings for a later batch unless they fill one.

        Returns:
            The batch; None if there is none to make.
        """
        with self._transaction():
            rows = self._db.execute(
                "SELECT id, record FROM reading WHERE batch IS NULL "
                "ORDER BY id LIMIT ?",
                (_READINGS_PER_BATCH,),
            ).fetchall()
            if not rows or (full_only and len(rows) < _READINGS_PER_BATCH):
                return None
            # The counter is part of the message, so its row comes first.
            self._db.execute("INSERT INTO batch (message, digest) VALUES (x'', x'')")
            counter = self._db.last_insert_rowid()
            records: list[Any] = [row[1] for row in rows]
            count, message = _encode(station, counter, now_ms, records)
            self._db.execute(
                "UPDATE batch SET message = ?, digest = ? WHERE counter = ?",
                (message, envelope.digest(message), counter),
            )
            self._db.executemany(
                "UPDATE reading SET batch = ? WHERE id = ?",
                [(counter, row[0]) for row in rows[:count]],
            )
        return Message(counter, message)

    def batches(self, after: int = 0, limit: int = 64) -> list[Message]:
        """Return batches that wait for a receipt, oldest first."""
        with self._mutex:
            rows = self._db.execute(
                "SELECT counter, message FROM batch "
                "WHERE refused IS NULL AND counter > ? ORDER BY counter LIMIT ?",
                (after, limit),
            )
            return [Message(*row) for row in rows]

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
            "(SELECT count(*) FROM batch WHERE refused IS NOT NULL), "
            "(SELECT count(*) FROM journal), (SELECT count(*) FROM undecoded), "
            "(SELECT min(captured_ms) FROM reading)"
        )
        return Counts(*(row or ()))

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

    def _insert(self, peer: str, reading: Reading) -> bool:
        try:
            record = Batch(_RECORD_STATION, 1, 0, (reading,)).encode()
            batch.decode(record)  # what can't be sent must not stand before all others
        except (DecodeError, ValueError) as error:
            raw = b"".join(reading.observation.raw)
            self._insert_undecoded(
                (peer, reading.driver, "observation", raw, str(error)),
                reading.captured_ms,
            )
            return False
        facts = cbor2.dumps([list(key(reading)), fingerprint(reading)])
        self._db.execute(
            "INSERT OR IGNORE INTO seen VALUES (?, ?)",
            (reading.device.id, blake2b(facts, digest_size=16).digest()),
        )
        if not self._db.changes():
            return False
        self._db.execute(
            "INSERT INTO reading (captured_ms, record) VALUES (?, ?)",
            (reading.captured_ms, record),
        )
        return True

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
            raise OutboxError(f"can't read the outbox: {error}") from error

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


def _encode(
    station: str, counter: int, now_ms: int, records: Sequence[bytes]
) -> tuple[int, bytes]:
    """Return how many of the oldest records fit into one message, and it."""
    readings = [batch.decode(record).readings[0] for record in records]
    while True:
        try:
            made = Batch(station, counter, now_ms, tuple(readings)).encode()
        except ValueError:
            if len(readings) == 1:
                raise
            del readings[len(readings) // 2 :]
        else:
            return len(readings), made


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

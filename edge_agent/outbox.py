"""The station's memory: readings until the gateway's receipt, and the cursors.

Every method is one transaction of the file. Readings and the cursor of their device go
in together; they leave by `edge_agent.outbox_batches`.
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path

import apsw
import cbor2

from edge_agent import outbox_renewal, records
from edge_agent.outbox_batches import Batches, give_up, take_back
from edge_agent.outbox_file import Damaged, OutboxError, OutboxFile, set_aside
from protocols.errors import DecodeError
from protocols.observation import (
    Device,
    Observation,
    Quality,
    Reading,
    fingerprint,
    key,
)

__all__ = ["Counts", "Damaged", "Journaled", "Judge", "Outbox", "OutboxError"]

_ROOM_BYTES = 65_536
_FLAGS_BYTES = 8  # by which a record grows at most that is flagged

Judge = Callable[[bytes | None, Sequence[Reading]], tuple[list[Quality], bytes]]
"""From what the filters kept in mind of a device, None at first, and its new readings,
to the flags of each and what to keep in mind."""


def _never(_: Observation) -> bool:
    return False


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
    """The outbox in one file, owned by one process.

    Attributes:
        batches: What goes out of it.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        """Open the outbox, and make it if it is not there.

        Args:
            path: Its file; a lock and SQLite's own files stand beside it.
            read_only: Only look; works while an agent owns it.

        Raises:
            OutboxError: Another agent owns it, it is of a newer version, it can't
                be opened, or this SQLite is not safe.
        """
        self._file = OutboxFile(path, read_only=read_only)
        self.batches = Batches(self._file)

    def close(self) -> None:
        """Close the file, behind what is being written; another agent may open it."""
        self._file.close()

    def serve(self, tenant: str, station: str) -> None:
        """Say for whom readings go out, and try again what could not go out.

        Raises:
            OutboxError: Readings of another tenant still wait here.
        """
        row = self._file.one("SELECT tenant, station FROM station")
        if row is not None and row[0] != tenant and self.counts().waiting:
            raise OutboxError(
                f"{self.counts().waiting} readings of tenant {row[0]!r} wait for their "
                f"receipt; go on as {row[0]!r} until none does, or use another folder"
            )
        with self._file.transaction() as db:
            if row is None or row[0] == tenant:
                take_back(db)
            else:
                give_up(db, row[0])
            db.execute("UPDATE batch SET refused = NULL")
            if row is not None and row != (tenant, station):
                # A batch names its station: make all anew, under the new name.
                db.execute("UPDATE reading SET batch = NULL")
                db.execute("DELETE FROM batch")
            db.execute("DELETE FROM station")
            db.execute("INSERT INTO station VALUES (?, ?)", (tenant, station))

    def check_room(self) -> None:
        """Write as much as a cuff may send, and take it away again.

        Raises:
            OutboxError: There is no room for it.
        """
        with self._file.transaction() as db:
            db.execute(
                "INSERT INTO journal (peer, driver, source, payload, received_ms) "
                "VALUES ('', '', '', zeroblob(?), 0)",
                (_ROOM_BYTES,),
            )
            db.execute("DELETE FROM journal WHERE peer = ''")

    def device(self, peer: str) -> Device | None:
        """Return the device last met at ``peer``."""
        row = self._file.one(
            "SELECT id, manufacturer, model, serial, firmware FROM device "
            "WHERE peer = ?",
            peer,
        )
        return None if row is None else Device(*row)

    def meet(self, peer: str, device: Device) -> None:
        """Remember which device was met at ``peer``."""
        with self._file.transaction() as db:
            db.execute(
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
        row = self._file.one(
            "SELECT mark FROM cursor WHERE device = ? AND driver = ?", device, driver
        )
        return None if row is None else int(row[0])

    def clock_before(self, device: str) -> str | None:
        """Return what `keep_clock` kept of a device."""
        row = self._file.one("SELECT clocks FROM clock WHERE device = ?", device)
        return None if row is None else str(row[0])

    def keep_clock(self, device: str, clocks: str) -> None:
        """Keep a device's clock, and the station's, before the former may be set."""
        with self._file.transaction() as db:
            db.execute(
                "INSERT INTO clock VALUES (?, ?) ON CONFLICT (device) "
                "DO UPDATE SET clocks = excluded.clocks",
                (device, clocks),
            )

    def key(self, peer: str) -> bytes:
        """Return the 16 random bytes that are this station's secret with ``peer``."""
        row = self._file.one("SELECT key FROM secret WHERE peer = ?", peer)
        if row is not None:
            return bytes(row[0])
        made = secrets.token_bytes(16)
        with self._file.transaction() as db:
            db.execute("INSERT INTO secret VALUES (?, ?)", (peer, made))
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
        with self._file.transaction() as db:
            db.executemany(
                "INSERT INTO journal (peer, driver, source, payload, received_ms) "
                "VALUES (?, ?, ?, ?, ?)",
                [(peer, driver, *payload, received_ms) for payload in payloads],
            )

    def journaled(self, peer: str, driver: str) -> list[Journaled]:
        """Return what was written down for ``peer`` and not yet captured."""
        with self._file.reading() as db:
            rows = db.execute(
                "SELECT id, source, payload, received_ms FROM journal "
                "WHERE peer = ? AND driver = ? ORDER BY id",
                (peer, driver),
            )
            return [Journaled(*row) for row in rows]

    def journaled_of(self) -> list[tuple[str, str, int]]:
        """Return where and by what driver payloads were written down, and how many."""
        with self._file.reading() as db:
            rows = db.execute(
                "SELECT peer, driver, count(*) FROM journal "
                "GROUP BY peer, driver ORDER BY peer, driver"
            )
            return [
                (str(peer), str(driver), int(count)) for peer, driver, count in rows
            ]

    def damaged(self) -> list[str]:
        """Return the damaged files that were replaced and still stand there."""
        with self._file.reading() as db:
            return outbox_renewal.kept(db, self._file.path.parent)

    def unjournal(self, peer: str, payload: bytes) -> None:
        """Forget a payload that was written down and tells no reading."""
        with self._file.transaction() as db:
            _unjournal(db, peer, payload)

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
        with self._file.transaction() as db:
            new = [
                (reading, record)
                for reading in readings
                if (record := _new_record(db, peer, reading)) is not None
            ]
            if judge is not None and new:
                new = _judged(db, new, judge)
            db.executemany(
                "INSERT INTO reading (captured_ms, record, urgent) VALUES (?, ?, ?)",
                [
                    (reading.captured_ms, record, urgent(reading.observation))
                    for reading, record in new
                ],
            )
            for reading in readings:
                for payload in reading.observation.raw:
                    _unjournal(db, peer, payload)
            if mark is not None:
                db.execute(
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
        with self._file.transaction() as db:
            facts = peer, driver, source, payload, problem
            set_aside(db, facts, received_ms)
            _unjournal(db, peer, payload)

    def counts(self) -> Counts:
        """Return how much of what the outbox holds."""
        row = self._file.one(
            "SELECT (SELECT count(*) FROM reading), "
            "(SELECT count(*) FROM batch WHERE refused IS NULL), "
            "(SELECT count(*) FROM batch), "
            "(SELECT count(*) FROM journal), (SELECT count(*) FROM undecoded), "
            "(SELECT captured_ms FROM reading ORDER BY id LIMIT 1)"
        )
        waiting, batches, all_batches, *more = row or ()
        return Counts(waiting, batches, all_batches - batches, *more)


def _new_record(db: apsw.Connection, peer: str, reading: Reading) -> bytes | None:
    """Return what to store of a reading; None if it was seen, or can't be sent."""
    try:
        # What can't be sent must not stand before all others.
        record = records.to_record(reading, spare=_FLAGS_BYTES)
    except (DecodeError, ValueError) as error:
        raw = b"".join(reading.observation.raw)
        facts = peer, reading.driver, "observation", raw, str(error)
        set_aside(db, facts, reading.captured_ms)
        return None
    named = cbor2.dumps([list(key(reading)), fingerprint(reading)])
    db.execute(
        "INSERT OR IGNORE INTO seen VALUES (?, ?)",
        (reading.device.id, blake2b(named, digest_size=16).digest()),
    )
    return record if db.changes() else None


def _judged(
    db: apsw.Connection, new: Sequence[tuple[Reading, bytes]], judge: Judge
) -> list[tuple[Reading, bytes]]:
    """Return new readings with what the filters say of them."""
    readings = [reading for reading, _ in new]
    device = readings[0].device.id
    row = db.execute("SELECT state FROM filters WHERE device = ?", (device,)).fetchone()
    flags, state = judge(None if row is None else bytes(row[0]), readings)
    db.execute(
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


def _unjournal(db: apsw.Connection, peer: str, payload: bytes) -> None:
    db.execute(
        "DELETE FROM journal WHERE id = (SELECT min(id) FROM journal "
        "WHERE peer = ? AND payload = ?)",
        (peer, payload),
    )

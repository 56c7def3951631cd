"""The outbox's file: who owns it, which version it is of, and how it is written.

SQLite in WAL mode with synchronous=FULL: what a transaction has written when it ends
survives a power cut, on storage that honours a flush.
"""

import fcntl
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import cache
from importlib.resources import files
from pathlib import Path
from time import monotonic
from typing import Any, TextIO

import apsw

from edge_agent import outbox_pages, outbox_renewal
from edge_agent.outbox_renewal import DAMAGE

_log = logging.getLogger(__name__)

# From each version to the next.
_STEPS = ("outbox.sql", *(f"outbox_{version}.sql" for version in range(2, 7)))
_SAFE_SQLITE = (3, 51, 3)  # older ones can corrupt a WAL
_BUSY_MS = 5_000
_BAD_BLOCK = {
    apsw.SQLITE_IOERR_READ,
    apsw.SQLITE_IOERR_SHORT_READ,
    apsw.SQLITE_IOERR_CORRUPTFS,
}
_AGAIN_S = 60.0  # a file that can't be renewed for want of room is read whole each time


class OutboxError(Exception):
    """The station's memory can't be used, or can't be written to now."""


class Damaged(OutboxError):
    """Something of the station's memory can't be read any more."""


class OutboxFile:
    """A file that one process owns, and several of its threads use.

    Attributes:
        path: Where it stands.
        db: The connection; `reading` and `transaction` give it to one thread at a time.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        """Open the file as `Outbox` does, whose arguments and errors these are."""
        if tuple(map(int, apsw.sqlite_lib_version().split(".")[:3])) < _SAFE_SQLITE:
            raise OutboxError(
                f"SQLite {apsw.sqlite_lib_version()} can corrupt the outbox; install "
                "apsw 3.51.3 or newer from its wheel"
            )
        path = path.resolve()  # SQLite's own files stand beside the file itself
        self.path, self._read_only = path, read_only
        self._mutex = threading.Lock()
        self._renew_at, self._is_closed = 0.0, False
        with ExitStack() as held:
            try:
                if not read_only:
                    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                    held.callback(_own(path.with_suffix(".lock")).close)
                self.db = _look(path) if read_only else _open(path)
            except DAMAGE as error:
                raise Damaged(f"can't open {path}: {error}") from error
            except (apsw.Error, OSError) as error:
                raise OutboxError(f"can't open {path}: {error}") from error
            # It may be another one by then.
            held.callback(lambda: self.db.close())  # noqa: PLW0108
            self._held = held.pop_all()

    def close(self) -> None:
        """Close the file, behind what is being written; another agent may open it."""
        with self._mutex:
            self._is_closed = False
            self._held.close()

    @contextmanager
    def transaction(self) -> Iterator[apsw.Connection]:
        """Give the connection; what is written with it is there together, or not.

        Raises:
            OutboxError: It can't be written.
        """
        try:
            with self._mutex, self._renewing(), self.db:
                yield self.db
        except apsw.Error as error:
            # SQLite rolls a full disk back by itself; what came first is the reason.
            first = error.__context__
            reason = first if isinstance(first, apsw.Error) else error
            raise OutboxError(f"can't write to the outbox: {reason}") from error

    @contextmanager
    def reading(self) -> Iterator[apsw.Connection]:
        """Give the connection, to read with.

        Raises:
            OutboxError: It can't be read.
        """
        try:
            with self._mutex, self._renewing():
                yield self.db
        except apsw.Error as error:
            raise OutboxError(f"can't read the outbox: {error}") from error

    @contextmanager
    def _renewing(self) -> Iterator[None]:
        """Renew a file that turns out to be damaged; what was asked fails this once."""
        try:
            if self._is_closed:
                self._connect_again()
            yield
        except (apsw.Error, UnicodeDecodeError) as error:
            both = error, error.__context__
            if not any(isinstance(e, DAMAGE) for e in both):
                is_refused = any(isinstance(e, apsw.IOError) for e in both)
                if is_refused and not self._read_only:
                    # It may stand in the log, whole, behind what comes next.
                    self._close_for_now()
                raise
            if not self._read_only and monotonic() >= self._renew_at:
                self._renew_at = monotonic() + _AGAIN_S
                self._close_for_now()
                _renew(self.path)
            raise Damaged(f"the outbox is damaged: {error}") from error

    def _close_for_now(self) -> None:
        self.db.close(True)  # noqa: FBT003 - whoever reads with it is no more
        self._is_closed = True

    def _connect_again(self) -> None:
        """Connect anew, and first end a renewal that failed half way."""
        try:
            outbox_renewal.finish(self.path)
            self.db = _connect(self.path, read_only=False)
        except OSError as error:
            raise OutboxError(f"can't open {self.path}: {error}") from error
        self._is_closed = False

    def one(self, sql: str, *values: Any) -> tuple[Any, ...] | None:  # noqa: ANN401
        """Return the first row that a query finds; None if it finds none."""
        with self.reading() as db:
            return db.execute(sql, values).fetchone()


def set_aside(
    db: apsw.Connection, facts: tuple[str, str, str, bytes, str], received_ms: int
) -> None:
    """Keep bytes that no reading, or no message, could be made of.

    Args:
        db: Within a transaction.
        facts: Peer, driver, source, the bytes, and the problem.
        received_ms: In ms since 1970 UTC.
    """
    db.execute(
        "INSERT OR IGNORE INTO undecoded (peer, driver, source, payload, problem, "
        "received_ms) VALUES (?, ?, ?, ?, ?, ?)",
        (*facts, received_ms),
    )


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


def _open(path: Path) -> apsw.Connection:
    """Return a connection to a file of this version; mend it if it is ours."""
    outbox_renewal.finish(path)
    is_gone = not path.exists() or not path.stat().st_size
    known, behind = _played(path)
    if is_gone and path.with_name("status.json").exists():
        path.touch()
        _renew(path)  # an agent ran here before: what it had is lost
    elif path.exists() and (known is None or _is_damaged(path)):
        _renew(path)
    db = _connect(path, read_only=False)
    try:
        _migrate(db)
        if behind == 1:
            _pass_over(db)
    except BaseException:
        db.close()
        raise
    return db


def _look(path: Path) -> apsw.Connection:
    """Return a connection to read a file by that an agent may own."""
    db = _connect(path, read_only=True)
    try:
        _check_schema(db, path)
    except apsw.CantOpenError:
        db.close()
        if not path.exists() or not os.statvfs(path).f_flag & os.ST_RDONLY:
            raise
        # SQLite would write beside it first; nobody can write to it either.
        return outbox_pages.mended(path, _schemas(), None)[0]
    except BaseException:
        db.close()
        raise
    return db


def _is_damaged(path: Path) -> bool:
    """Whether something of a file can't be read, or is not as SQLite writes it."""
    try:
        with closing(apsw.Connection(str(path))) as db:
            db.set_busy_timeout(_BUSY_MS)
            _check_schema(db, path)
            is_whole = db.execute("PRAGMA quick_check(1)").fetchall() == [("ok",)]
            # By its own first page it may be one to read only.
            return not is_whole or (db.readonly("main") and os.access(path, os.W_OK))
    except (*DAMAGE, apsw.SQLError):
        return True
    except apsw.IOError as error:
        if _is_bad_block(error):
            return True
        raise


def _is_bad_block(error: apsw.IOError) -> bool:
    """Whether a disk can't read what it was given; else it is full, say."""
    return getattr(error, "extendedresult", 0) in _BAD_BLOCK


def _played(path: Path) -> tuple[int | None, int]:
    """Return how many frames of its log SQLite plays back, and the commits behind.

    It is None where commits are lost so, or the log can't be read. The log stays as it
    is.
    """
    log, known = path.with_name(f"{path.name}-wal"), 0
    if not log.exists():
        return 0, 0
    # Beside an empty file SQLite would remove it.
    if path.exists() and path.stat().st_size:
        try:
            with closing(apsw.Connection(str(path))) as db:
                db.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
                db.set_busy_timeout(_BUSY_MS)
                with suppress(apsw.Error, UnicodeDecodeError):
                    outbox_pages.schema_of(db)  # so that it looks for the log
                known, _ = db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_NOOP)
        except DAMAGE:
            return None, 0
        except apsw.IOError as error:
            if _is_bad_block(error):
                return None, 0
            raise
    behind = outbox_pages.commits_behind(log, known)
    return (known if behind < 2 else None), behind


def _pass_over(db: apsw.Connection) -> None:
    """Go on behind a last commit that is broken off, or was damaged since.

    If it was whole once, its batch may have been sent, and its readings told: no other
    batch gets its counter, and what a device tells again is heard.
    """
    with db:
        db.execute(
            "INSERT INTO sqlite_sequence (name, seq) SELECT 'batch', 0 "
            "WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'batch')"
        )
        db.execute("UPDATE sqlite_sequence SET seq = seq + 1 WHERE name = 'batch'")
        db.execute("DELETE FROM seen")
    _log.warning("outbox.torn: the last that was written is not there any more")


def _renew(path: Path) -> None:
    try:
        outbox_renewal.renew(path, _schemas(), _played(path)[0])
    except (apsw.Error, OSError) as error:
        raise Damaged(
            f"{path} is damaged, and no other can be made of what is left of it: "
            f"{error}; make room on its disk"
        ) from error


def _connect(path: Path, *, read_only: bool) -> apsw.Connection:
    if read_only:
        db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    else:
        db = apsw.Connection(str(path))
        try:
            path.chmod(0o600)
            db.pragma("journal_mode", "WAL")
            db.pragma("synchronous", "FULL")
            db.pragma("foreign_keys", "ON")
        except BaseException:
            db.close()
            raise
    db.set_busy_timeout(_BUSY_MS)
    return db


def _check_schema(db: apsw.Connection, path: Path) -> None:
    """Refuse a file that is newer, or by its first page no outbox.

    Raises:
        OutboxError: A newer vitalwire made it.
        apsw.CorruptError: None did.
    """
    version, found = db.pragma("user_version"), outbox_pages.schema_of(db)
    made, *_ = outbox_pages.made_by(_schemas())
    if version > len(_STEPS) and found not in made:
        raise OutboxError(
            f"{path} is of version {version}, made by a newer vitalwire; this one "
            f"reads up to {len(_STEPS)}: update it"
        )
    if found not in made[version : version + 1]:
        raise apsw.CorruptError("what it begins with is no outbox's")


def _migrate(db: apsw.Connection) -> None:
    if (version := db.pragma("user_version")) < len(_STEPS):
        with db:
            for schema in _schemas()[version:]:
                db.execute(schema)
            db.pragma("user_version", len(_STEPS))


@cache
def _schemas() -> tuple[str, ...]:
    return tuple(files("edge_agent").joinpath(step).read_text() for step in _STEPS)

"""The outbox's file: who owns it, which version it is of, and how it is written.

SQLite in WAL mode with synchronous=FULL: what a transaction has written when it ends
survives a power cut, on storage that honours a flush.
"""

import fcntl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any, TextIO

import apsw

# From each version to the next.
_STEPS = ("outbox.sql", "outbox_2.sql", "outbox_3.sql", "outbox_4.sql")
_VERSION = len(_STEPS)
_SAFE_SQLITE = (3, 51, 3)  # older ones can corrupt a WAL


class OutboxError(Exception):
    """The station's memory can't be used, or can't be written to now."""


class OutboxFile:
    """A file that one process owns, and several of its threads use.

    Attributes:
        db: The connection; `reading` and `transaction` give it to one thread at a time.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        """Open the file as `Outbox` does, whose arguments and errors these are."""
        if tuple(map(int, apsw.sqlite_lib_version().split(".")[:3])) < _SAFE_SQLITE:
            raise OutboxError(
                f"SQLite {apsw.sqlite_lib_version()} can corrupt the outbox; install "
                "apsw 3.51.3 or newer from its wheel"
            )
        self._mutex = threading.RLock()
        with ExitStack() as held:
            if not read_only:
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                held.callback(_own(path.with_suffix(".lock")).close)
            try:
                self.db = _connect(path, read_only=read_only)
                held.callback(self.db.close)
                _migrate(self.db, path, read_only=read_only)
            except (apsw.Error, OSError) as error:
                raise OutboxError(f"can't open {path}: {error}") from error
            self._held = held.pop_all()

    def close(self) -> None:
        """Close the file, behind what is being written; another agent may open it."""
        with self._mutex:
            self._held.close()

    @contextmanager
    def transaction(self) -> Iterator[apsw.Connection]:
        """Give the connection; what is written with it is there together, or not.

        Raises:
            OutboxError: It can't be written.
        """
        try:
            with self._mutex, self.db:
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
            with self._mutex:
                yield self.db
        except apsw.Error as error:
            raise OutboxError(f"can't read the outbox: {error}") from error

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


def _migrate(db: apsw.Connection, path: Path, *, read_only: bool) -> None:
    version = db.pragma("user_version")
    if version > _VERSION:
        raise OutboxError(
            f"{path} is of version {version}, made by a newer vitalwire; this one "
            f"reads up to {_VERSION}: update it"
        )
    if version < _VERSION and not read_only:
        with db:
            for step in _STEPS[version:]:
                db.execute(files("edge_agent").joinpath(step).read_text())
            db.pragma("user_version", _VERSION)

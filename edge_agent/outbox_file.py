"""The outbox's file: who owns it, which version it is of, and how it is written.

SQLite in WAL mode with synchronous=FULL: what a transaction has written when it ends
survives a power cut, on storage that honours a flush.
"""

import fcntl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from importlib.resources import files
from pathlib import Path
from time import monotonic
from typing import Any, TextIO

import apsw

from edge_agent import outbox_renewal
from edge_agent.outbox_renewal import DAMAGE

# From each version to the next.
_STEPS = ("outbox.sql", *(f"outbox_{version}.sql" for version in range(2, 7)))
_SAFE_SQLITE = (3, 51, 3)  # older ones can corrupt a WAL
_BUSY_MS = 5_000
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
        self.path, self._read_only = path, read_only
        self._mutex = threading.Lock()
        self._renew_at, self._is_renewed = 0.0, False
        with ExitStack() as held:
            if not read_only:
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                held.callback(_own(path.with_suffix(".lock")).close)
            try:
                self.db = _open(path, read_only=read_only)
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
            self._is_renewed = False
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
            if self._is_renewed:
                self._connect_again()
            yield
        except (apsw.Error, UnicodeDecodeError) as error:
            if not any(isinstance(e, DAMAGE) for e in (error, error.__context__)):
                raise
            if not self._read_only and monotonic() >= self._renew_at:
                self._renew_at = monotonic() + _AGAIN_S
                self.db.close(True)  # noqa: FBT003 - whoever reads with it is no more
                self._is_renewed = True
                _renew(self.path)
            raise Damaged(f"the outbox is damaged: {error}") from error

    def _connect_again(self) -> None:
        """Connect behind a renewal, and first end one that failed half way."""
        try:
            outbox_renewal.finish(self.path)
            self.db = _connect(self.path, read_only=False)
        except OSError as error:
            raise OutboxError(f"can't open {self.path}: {error}") from error
        self._is_renewed = False

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


def _open(path: Path, *, read_only: bool) -> apsw.Connection:
    """Return a connection to a file of this version; mend it if it is ours."""
    if not read_only:
        outbox_renewal.finish(path)
        if path.exists() and _is_damaged(path):
            _renew(path)
    db = _connect(path, read_only=read_only)
    try:
        _check_version(db, path)
        if not read_only:
            _migrate(db)
    except BaseException:
        db.close()
        raise
    return db


def _is_damaged(path: Path) -> bool:
    """Whether something of a file can't be read, or is not as SQLite writes it."""
    with closing(apsw.Connection(str(path))) as db:
        db.set_busy_timeout(_BUSY_MS)
        try:
            _check_version(db, path)
            return db.execute("PRAGMA quick_check(1)").fetchall() != [("ok",)]
        except DAMAGE:
            return True


def _renew(path: Path) -> None:
    try:
        outbox_renewal.renew(path, [_schema(step) for step in _STEPS])
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


def _check_version(db: apsw.Connection, path: Path) -> None:
    version = db.pragma("user_version")
    if version > len(_STEPS):
        raise OutboxError(
            f"{path} is of version {version}, made by a newer vitalwire; this one "
            f"reads up to {len(_STEPS)}: update it"
        )


def _migrate(db: apsw.Connection) -> None:
    if (version := db.pragma("user_version")) < len(_STEPS):
        with db:
            for step in _STEPS[version:]:
                db.execute(_schema(step))
            db.pragma("user_version", len(_STEPS))


def _schema(step: str) -> str:
    return files("edge_agent").joinpath(step).read_text()

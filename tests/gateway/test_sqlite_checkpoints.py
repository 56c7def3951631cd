"""Checkpoints beside commits: on real files, for what the log and the file hold."""

from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread
from time import monotonic, sleep

import apsw
import pytest

from gateway.store.sqlite_checkpoints import Checkpoints

PAGES = 20  # that make a checkpoint due, here
PAGE = 4_096
LONGEST = 4 * PAGES


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def connection(path: Path) -> Iterator[apsw.Connection]:
    found = apsw.Connection(str(path))
    found.execute("PRAGMA journal_mode = WAL")
    found.execute("PRAGMA wal_autocheckpoint = 0")
    found.execute("CREATE TABLE page (content BLOB)")
    yield found
    found.close()


def commit(connection: apsw.Connection, times: int = 1) -> None:
    for _ in range(times):
        connection.execute("INSERT INTO page VALUES (zeroblob(4000))")


def pages(path: Path) -> int:
    return path.stat().st_size // PAGE


def log_pages(path: Path) -> int:
    return path.with_name("store.db-wal").stat().st_size // PAGE


def wait_until_larger(path: Path, than: int) -> None:
    end_s = monotonic() + 20
    while pages(path) <= than and monotonic() < end_s:
        sleep(0.01)
    assert pages(path) > than


def test_what_was_committed_reaches_the_file_beside(
    path: Path, connection: apsw.Connection
) -> None:
    opened = []

    def connect() -> apsw.Connection:
        opened.append(apsw.Connection(str(path)))
        return opened[-1]

    checkpoints = Checkpoints(connection, connect, PAGES)
    before = pages(path)
    commit(connection, PAGES // 4)
    assert not opened  # not due yet
    assert pages(path) == before
    while not opened:
        commit(connection)
    wait_until_larger(path, before)
    commit(connection)  # of these few pages none is due
    checkpoints.close()
    assert len(opened) == 1
    with pytest.raises(apsw.ConnectionClosedError):
        opened[0].execute("SELECT 1")


def test_closing_waits_for_what_is_being_copied(
    path: Path, connection: apsw.Connection
) -> None:
    before = pages(path)

    def connect() -> apsw.Connection:
        sleep(0.2)
        return apsw.Connection(str(path))

    checkpoints = Checkpoints(connection, connect, PAGES)
    commit(connection, PAGES)
    checkpoints.close()
    assert pages(path) > before


def test_a_commit_copies_where_no_thread_can_start(
    path: Path, connection: apsw.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_thread: Thread) -> None:
        raise RuntimeError("can't start new thread")

    before = pages(path)
    checkpoints = Checkpoints(connection, lambda: apsw.Connection(str(path)), PAGES)
    with monkeypatch.context() as patched:
        patched.setattr(Thread, "start", start)
        commit(connection, PAGES)
    assert pages(path) > before
    checkpoints.close()


def test_commits_do_it_themselves_where_the_thread_cannot(
    path: Path, connection: apsw.Connection
) -> None:
    def connect() -> apsw.Connection:
        raise apsw.CantOpenError("no more files")

    checkpoints = Checkpoints(connection, connect, PAGES)
    commit(connection, 10 * LONGEST)
    checkpoints.close()
    assert log_pages(path) < 2 * LONGEST
    assert pages(path) > 9 * LONGEST


def test_a_log_that_began_anew_is_copied_beside_again(
    path: Path, connection: apsw.Connection
) -> None:
    opened = 0

    def connect() -> apsw.Connection:
        nonlocal opened
        opened += 1
        raise apsw.CantOpenError("no more files")

    checkpoints = Checkpoints(connection, connect, PAGES)
    while log_pages(path) < LONGEST:
        commit(connection)
    commit(connection)  # the first of the new log
    before = opened
    commit(connection, PAGES)
    checkpoints.close()
    assert opened > before


def test_one_copy_is_under_way_at_a_time(
    path: Path, connection: apsw.Connection
) -> None:
    begun, go_on = [], Event()

    def connect() -> apsw.Connection:
        begun.append(1)
        go_on.wait(20)
        return apsw.Connection(str(path))

    checkpoints = Checkpoints(connection, connect, PAGES)
    commit(connection, PAGES)
    go_on.set()
    checkpoints.close()
    assert len(begun) == 1


def test_a_commit_stands_that_no_checkpoint_can_follow(
    path: Path, connection: apsw.Connection
) -> None:
    checkpoints = Checkpoints(connection, lambda: apsw.Connection(str(path)), PAGES)
    reader = apsw.Connection(str(path))
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM page").fetchall()
    commit(connection, 2 * LONGEST)
    assert log_pages(path) > 2 * LONGEST  # what the reader sees may not be replaced
    ((count,),) = connection.execute("SELECT count(*) FROM page")
    assert count == 2 * LONGEST
    reader.execute("COMMIT")
    commit(connection, 2)
    checkpoints.close()
    assert pages(path) > 2 * LONGEST
    reader.close()
    ((answer,),) = connection.execute("PRAGMA integrity_check")
    assert answer == "ok"


class Busy(apsw.Connection):
    """A connection that finds somebody else at a checkpoint."""

    asked = 0

    def wal_checkpoint(self, *_arguments: object) -> tuple[int, int]:
        self.asked += 1
        raise apsw.BusyError("database is locked")


def test_a_checkpoint_that_fails_fails_no_commit(path: Path) -> None:
    connection = Busy(str(path))
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE page (content BLOB)")
    checkpoints = Checkpoints(connection, lambda: Busy(str(path)), PAGES)
    commit(connection, LONGEST)
    checkpoints.close()
    assert connection.asked > 0
    ((count,),) = connection.execute("SELECT count(*) FROM page")
    assert count == LONGEST
    connection.close()

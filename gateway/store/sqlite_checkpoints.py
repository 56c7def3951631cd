"""Checkpoints of an SQLite store beside its commits.

By itself SQLite copies what was committed from its log into the file within a commit,
one in a few, which then takes several times as long. Here a thread copies, over a
connection of its own, while the next commits are made. As it is always a little behind,
the log would never begin anew: once it is long a commit copies the little that is left.

Source: https://www.sqlite.org/wal.html, "Checkpointing"; c3ref/wal_checkpoint_v2.html.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress

import apsw

CHECKPOINT_PAGES = 8_192  # of 4 KiB each
_LONGEST = 4  # times as many


class Checkpoints:
    """Copies what ``connection`` commits into the file, for as long as it is open.

    Args:
        connection: Whose commits are followed.
        connect: Opens one more connection to the same file, for the thread.
        every: Pages that are committed until the thread copies them; a log of four
            times as many is finished within a commit.
    """

    def __init__(
        self,
        connection: apsw.Connection,
        connect: Callable[[], apsw.Connection],
        every: int = CHECKPOINT_PAGES,
    ) -> None:
        self._connect, self._every = connect, every
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._copying: Future[None] | None = None
        self._copied = 0  # pages, at the start of the log
        connection.set_wal_hook(self._committed)

    def close(self) -> None:
        """End the thread, once it has copied what it is at."""
        self._thread.shutdown()

    def _committed(self, connection: apsw.Connection, _name: str, pages: int) -> int:
        if pages < self._copied:  # the log began anew
            self._copied = 0
        if pages >= _LONGEST * self._every:
            self._copy(connection)
        elif pages - self._copied >= self._every and not self._is_copying():
            try:
                self._copying = self._thread.submit(self._copy_beside)
            except RuntimeError:  # this process may have no more threads
                self._copy(connection)
        return apsw.SQLITE_OK

    def _is_copying(self) -> bool:
        return self._copying is not None and not self._copying.done()

    def _copy_beside(self) -> None:
        with closing(self._connect()) as connection:
            connection.pragma("user_version")  # before it reads it knows of no log
            self._copy(connection)

    def _copy(self, connection: apsw.Connection) -> None:
        # The commit stands whatever becomes of this, and the next one tries again: who
        # reads the oldest pages holds it up, or a full disk.
        with suppress(apsw.Error):
            _, self._copied = connection.wal_checkpoint("main")

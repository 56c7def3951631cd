"""Leaves nothing in an SQLite file of what was deleted from it.

SQLite can overwrite a row that it deletes, but not the copies that it left where a full
page was once divided in two. So the whole file is written anew.

Source: https://www.sqlite.org/lang_vacuum.html; https://www.sqlite.org/wal.html, for
checkpoints.
"""

import apsw

from gateway.store.database import Database

_WAIT_MS = 30_000


def overwrite(database: Database) -> bool:
    """Write the file anew, and empty the log of changes; return whether that was done.

    It takes as long as the file is large, about as much room again on the disk, and
    meanwhile nobody else writes. What a disk or its file system keep of blocks that
    were overwritten is beyond it.

    Args:
        database: Of any engine. PostgreSQL gives the room free in its own time, and
            keeps its own log: that is not done here.
    """
    if database.engine != "sqlite":
        return False
    ((_, _, path),) = database.rows("PRAGMA database_list")
    connection = apsw.Connection(path)
    try:
        connection.set_busy_timeout(_WAIT_MS)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("VACUUM")
        ((busy, _, _),) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except apsw.Error:  # somebody else wrote all the while, or the disk is full
        return False
    finally:
        connection.close()
    return not busy

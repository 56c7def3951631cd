"""Which readings are gone from an SQLite store."""

from collections.abc import Callable

import apsw

from gateway.store.database import Row
from gateway.store.gone import SECRET, Left, Verdict, digest_of, verdict
from gateway.store.rows import AT_KEY, KEY, READING

_TIME = READING.index("device_time")
_ANY = """
    SELECT EXISTS (SELECT 1 FROM gone_digest WHERE device = ?1),
        EXISTS (SELECT 1 FROM gone WHERE device = ?1)
"""
_DIGEST = "SELECT 1 FROM gone_digest WHERE device = ? AND digest = ?"
_GONE = f"""
    SELECT CASE WHEN why = 'erased' THEN before_ms END FROM gone
    WHERE {" AND ".join(f"{name} = ?" for name in KEY)}
        AND (why <> 'archived' OR device_time IS ?)
"""  # noqa: S608 - columns are constants
_STORED = f"""
    SELECT 1 FROM reading
    WHERE {" AND ".join(f"{name} = ?" for name in KEY)} AND device_time = ?
"""  # noqa: S608 - likewise


def not_gone(
    connection: apsw.Connection,
    device: int,
    rows: Callable[[], list[Row]],
    *,
    as_new: bool = False,
) -> Left | None:
    """Sort out what is gone; None if nothing of the device is.

    Args:
        connection: In the transaction that is to store the rest.
        device: The number of their device.
        rows: Returns the readings, in the order of `READING`.
        as_new: Whether they are new where nobody can tell by themselves.
    """
    ((digests, keys),) = connection.execute(_ANY, (device,))
    if not (digests or keys):
        return None
    left = Left()
    ((secret,),) = connection.execute(SECRET)
    for row in rows():
        found = Verdict.NEW
        if digests:
            known = (row[1], digest_of(secret, row))
            if connection.execute(_DIGEST, known).fetchall():
                found = Verdict.AGAIN
        if keys and found == Verdict.NEW:
            for (before_ms,) in connection.execute(_GONE, (*row[AT_KEY], row[_TIME])):
                found = verdict(row, before_ms)
        is_known_new = as_new
        if found == Verdict.IN_DOUBT and not as_new:
            # What stands here already is told again; its key will tell.
            told = (*row[AT_KEY], row[_TIME])
            is_known_new = bool(connection.execute(_STORED, told).fetchall())
        left.add(row, found, is_known_new=is_known_new)
    return left

"""Which readings are gone from a PostgreSQL store."""

from collections.abc import Collection, Container
from operator import itemgetter

from gateway.store.database import Row
from gateway.store.gone import SECRET, Left, Verdict, digest_of, verdict
from gateway.store.postgres_database import Connection
from gateway.store.postgres_names import columns
from gateway.store.rows import AT_KEY, KEY, READING

_TIME, _BATCH = READING.index("device_time"), READING.index("batch")
_MEMORY = itemgetter(*range(1, 5))  # device, generation, slot, kind
_KEYS = ", ".join(KEY)
# Of each memory the last ordinal that is gone: most readings are behind all those.
_LAST = """
    SELECT device, generation, slot, kind, coalesce(last, -1), found FROM
        unnest(%s::bigint[], %s::integer[], %s::smallint[], %s::smallint[])
            AS w (device, generation, slot, kind),
        LATERAL (SELECT max(g.ordinal) AS last FROM gone g
            WHERE (g.device, g.generation, g.slot, g.kind)
                = (w.device, w.generation, w.slot, w.kind)) AS keys,
        LATERAL (SELECT EXISTS (SELECT FROM gone_digest g WHERE g.device = w.device)
            AS found) AS digests
    WHERE last IS NOT NULL OR found
"""
_DIGESTS = """
    SELECT w.id FROM gone_digest JOIN unnest(%s::bigint[], %s::bigint[], %s::bytea[])
        AS w (id, device, digest) USING (device, digest)
"""
_TOLD = f"""
    JOIN unnest(%s::bigint[], %s::bigint[], %s::integer[], %s::smallint[],
        %s::smallint[], %s::bigint[], %s::integer[], %s::text[])
        AS w (id, {_KEYS}, device_time) USING ({_KEYS})
"""
_GONE = f"""
    SELECT w.id, CASE WHEN g.why = 'erased' THEN g.before_ms END FROM gone g {_TOLD}
    WHERE g.why <> 'archived' OR g.device_time IS NOT DISTINCT FROM w.device_time
"""  # noqa: S608 - columns are constants
_STORED = f"""
    SELECT w.id FROM reading r {_TOLD}
    WHERE r.device_time = w.device_time
"""  # noqa: S608 - likewise


def not_gone(
    connection: Connection,
    rows: list[Row],
    memories: Collection[Row],
    as_new: Container[int] = (),
) -> Left:
    """Sort out what is gone.

    Args:
        connection: In the transaction that is to store the rest.
        rows: In the order of `READING`.
        memories: Device, generation, slot and kind of their keys.
        as_new: The batches whose readings are new where nobody can tell by themselves.
    """
    known = connection.execute(_LAST, columns(memories)).fetchall() if rows else []
    found = _found(connection, rows, known) if known else {}
    if not found:
        return Left(rows)
    left = Left()
    # What stands here already is told again; its key will tell.
    in_doubt = [row for row in rows if found.get(row[0]) == Verdict.IN_DOUBT]
    stored = _stored(connection, in_doubt)
    for row in rows:
        is_known_new = row[0] in stored or row[_BATCH] in as_new
        left.add(row, found.get(row[0], Verdict.NEW), is_known_new=is_known_new)
    return left


def _stored(connection: Connection, rows: list[Row]) -> set[int]:
    """Return the ids of those of which a reading of the same key and clock is kept."""
    found = connection.execute(_STORED, _told(rows)) if rows else ()
    return {number for (number,) in found}


def _told(rows: list[Row]) -> list[object]:
    """Return what `_TOLD` joins with."""
    return columns([(row[0], *row[AT_KEY], row[_TIME]) for row in rows])


def _found(
    connection: Connection, rows: list[Row], known: list[Row]
) -> dict[int, Verdict]:
    """Return what of ``rows`` has a mark, by id; ``known`` is what `_LAST` told."""
    last = {row[:4]: row[4] for row in known}
    found: dict[int, Verdict] = {}
    doubtful = [row for row in rows if row[5] <= last.get(_MEMORY(row), -1)]
    if doubtful:
        by_id = {row[0]: row for row in doubtful}
        for number, before_ms in connection.execute(_GONE, _told(doubtful)):
            found[number] = verdict(by_id[number], before_ms)
    devices = {row[0] for row in known if row[5]}
    if doubtful := [row for row in rows if row[1] in devices]:
        ((secret,),) = connection.execute(SECRET)
        told = [(row[0], row[1], digest_of(secret, row)) for row in doubtful]
        again = connection.execute(_DIGESTS, columns(told))
        found |= dict.fromkeys((number for (number,) in again), Verdict.AGAIN)
    return found

"""The store: whether it opens and is whole, and what its counts say."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from time import monotonic, time_ns

import apsw

from gateway.config import Config
from gateway.doctor.finding import Finding, fail, ok, warn
from gateway.store import StoreUnavailable, StoreUnusable
from gateway.store.database import Database
from gateway.store.sqlite import migrations, refuse_old_sqlite
from gateway.store.sqlite_database import SqliteDatabase

_CHECK_S = 60.0
_STEPS = 100_000  # of SQLite's machine, between two looks at the clock
_DAY_MS = 86_400_000
_NAMED = 5
_SILENT = """
    SELECT station FROM station WHERE last_seen_ms < :since ORDER BY last_seen_ms DESC
    LIMIT :most
"""


def findings(config: Config) -> Iterator[Finding]:
    """Yield what is found of the store."""
    if not config.store.url:
        yield from _sqlite(config.sqlite)
        return
    from gateway.doctor.server import findings as of_server  # noqa: PLC0415

    yield from of_server(config, counts)


def counts(database: Database, now_ms: int) -> Iterator[Finding]:
    """Yield what a store's counts say: quarantine, stations, webhooks.

    Args:
        database: Of any engine, at this version.
        now_ms: In ms since 1970 UTC.
    """
    since_ms = now_ms - _DAY_MS
    yield _quarantine(database, since_ms)
    yield _stations(database, since_ms)
    ((dead,),) = database.rows("SELECT count(*) FROM stretch WHERE dead = 1")
    if dead:
        advice = (
            "mend the receiver, then have them sent again; see docs/reference/api.md"
        )
        yield warn("webhooks", f"{dead} dead letters", advice)
    else:
        yield ok("webhooks", "no dead letters")


def _sqlite(file: Path) -> Iterator[Finding]:
    try:
        refuse_old_sqlite(apsw.sqlite_lib_version())
    except StoreUnusable as error:
        yield fail("store", str(error), "nothing is stored with it")
        return
    if not file.exists():
        yield ok("store", f"{file} is not there yet; the first start makes it")
        return
    try:
        with closing(_read_only(file)) as connection:
            version, known = int(connection.pragma("user_version")), len(migrations())
            yield _version(version, known)
            yield _integrity(connection)
        if version == known:
            with closing(SqliteDatabase(lambda: _read_only(file))) as database:
                yield from counts(database, time_ns() // 1_000_000)
    except (apsw.Error, StoreUnavailable) as error:
        advice = "restore the last backup: docs/how-to/back-up-and-restore.md"
        yield fail("store", f"{file}: {error}", advice)


def _version(version: int, known: int) -> Finding:
    if version > known:
        advice = "install the newer gateway again"
        return fail("store", f"version {version}, this gateway knows {known}", advice)
    if version < known:
        advice = "back up first; the next start brings it to the new version"
        return warn("store", f"version {version} of {known}", advice)
    return ok("store", f"version {version}")


def _integrity(connection: apsw.Connection) -> Finding:
    end_s = monotonic() + _CHECK_S
    connection.set_progress_handler(lambda: monotonic() > end_s, _STEPS)
    try:
        found = connection.execute("PRAGMA quick_check(1)").fetchall()
    except apsw.InterruptError:
        advice = "a backup looks at all of it: vitalwire gateway backup"
        return warn("integrity", f"not all seen in {_CHECK_S:.0f} s", advice)
    if found != [("ok",)]:
        advice = (
            "stop the gateway, keep the file, and restore the last backup: "
            "docs/how-to/back-up-and-restore.md"
        )
        return fail("integrity", str(found[0][0]), advice)
    return ok("integrity", "quick_check finds nothing wrong")


def _quarantine(database: Database, since_ms: int) -> Finding:
    ((kept, new),) = database.rows(
        "SELECT count(*), coalesce(sum(CASE WHEN last_received_ms >= :since THEN 1 "
        "ELSE 0 END), 0) FROM quarantine",
        since=since_ms,
    )
    told = f"{kept} messages, {new} of them in the last day"
    if new:
        advice = "see why: vitalwire gateway quarantine list, then show and replay"
        return warn("quarantine", told, advice)
    return ok("quarantine", told)


def _stations(database: Database, since_ms: int) -> Finding:
    ((known, silent),) = database.rows(
        "SELECT count(*), coalesce(sum(CASE WHEN last_seen_ms < :since THEN 1 ELSE 0 "
        "END), 0) FROM station",
        since=since_ms,
    )
    if not silent:
        return ok("stations", f"{known}, each heard of in the last day")
    names = [name for (name,) in database.rows(_SILENT, since=since_ms, most=_NAMED)]
    more = f" and {silent - _NAMED} more" if silent > _NAMED else ""
    return warn(
        "stations",
        f"{silent} of {known} silent for over a day: {', '.join(names)}{more}",
        "look there: docs/how-to/find-out-why-nothing-arrives.md",
    )


def _read_only(file: Path) -> apsw.Connection:
    connection = apsw.Connection(str(file), flags=apsw.SQLITE_OPEN_READONLY)
    connection.set_busy_timeout(5_000)
    return connection

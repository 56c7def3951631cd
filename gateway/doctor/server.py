"""The store on a PostgreSQL server: version, migrations, and what slows it down."""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from time import time_ns

import psycopg

from gateway.config import Config
from gateway.doctor.finding import Finding, fail, ok, warn
from gateway.store import StoreUnavailable, StoreUnusable
from gateway.store.database import Database
from gateway.store.opening import password
from gateway.store.postgres import check, migrations
from gateway.store.postgres_database import Connection, PostgresDatabase, settings
from protocols.config import ConfigError

_DEAD_ROWS, _DEAD_SHARE = 10_000, 0.3
_OLD_AGE = 1_500_000_000  # transactions; at 2^31 PostgreSQL stops
_DEAD = """
    SELECT relname, n_dead_tup FROM pg_stat_user_tables
    WHERE n_dead_tup > %s AND n_dead_tup > %s * (n_live_tup + n_dead_tup)
    ORDER BY n_dead_tup DESC LIMIT 3
"""
_OPEN = """
    SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
        AND state LIKE 'idle in transaction%%' AND xact_start < now() - %s::interval
"""
_AGE = "SELECT age(datfrozenxid) FROM pg_database WHERE datname = current_database()"

Counts = Callable[[Database, int], Iterator[Finding]]


def findings(config: Config, counts: Counts) -> Iterator[Finding]:
    """Yield what is found of a store on a server.

    Args:
        config: Names it.
        counts: Tells what its counts say.
    """
    try:
        secret = password(config)
        with psycopg.connect(config.store.url, **settings(secret)) as connection:
            check(connection)
            version = yield from _version(connection)
            yield _vacuum(connection)
    except (psycopg.Error, StoreUnusable, ConfigError) as error:
        advice = "correct store.url or its password_file, or see the server's log"
        yield fail("store", str(error).strip(), advice)
        return
    if version != len(migrations()):
        return
    try:
        with closing(PostgresDatabase(config.store.url, secret)) as database:
            yield from counts(database, time_ns() // 1_000_000)
    except StoreUnavailable as error:
        yield fail("store", str(error), "see the server's log")


def _version(connection: Connection) -> Generator[Finding, None, int]:
    """Yield what there is; return its version, 0 if it is empty."""
    server = f"PostgreSQL {connection.info.server_version // 10_000}"
    known = len(migrations())
    ((there,),) = connection.execute("SELECT to_regclass('version') IS NOT NULL")
    if not there:
        yield ok("store", f"{server}, empty; the first start makes the tables")
        return 0
    ((number, needs),) = connection.execute("SELECT number, needs FROM version")
    told = f"{server}, version {number}"
    if needs > known:
        advice = "install the newer gateway again"
        yield fail("store", f"{told}; this gateway knows {known}", advice)
    elif number < known:
        advice = "back up first; the next start brings it to the new version"
        yield warn("store", f"{told} of {known}", advice)
    else:
        yield ok("store", told)
    return int(number)


def _vacuum(connection: Connection) -> Finding:
    """Look at what keeps dead rows, and at how many there are."""
    ((age,),) = connection.execute(_AGE)
    if age > _OLD_AGE:
        advice = "VACUUM FREEZE now; see why autovacuum does not"
        return fail("vacuum", f"the oldest transaction is {age} back", advice)
    ((waiting,),) = connection.execute(_OPEN, ["10 minutes"])
    if waiting:
        advice = "end them (pg_stat_activity): nothing can be tidied up behind them"
        return warn("vacuum", f"{waiting} transactions open for 10 minutes", advice)
    dead = connection.execute(_DEAD, [_DEAD_ROWS, _DEAD_SHARE]).fetchall()
    if dead:
        names = ", ".join(f"{name} ({rows} rows)" for name, rows in dead)
        advice = "VACUUM them, and let autovacuum run more often"
        return warn("vacuum", f"much is dead in {names}", advice)
    return ok("vacuum", "little is dead")

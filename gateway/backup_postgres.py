"""Backups of a PostgreSQL store, by PostgreSQL's own programs.

Source: PostgreSQL 15, "pg_dump", "pg_restore"; libpq, "Environment Variables".
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from gateway.backup import BackupError, Done, Tell, becoming, jumps, pieces
from gateway.sealed import seal
from gateway.store.postgres import migrations
from gateway.store.postgres_database import Connection, settings

_DUMP = ("pg_dump", "--format=custom", "--no-owner", "--no-privileges", "--no-password")
_RESTORE = (
    "pg_restore", "--no-owner", "--no-privileges", "--no-password", "--exit-on-error",
    "--single-transaction",
)  # fmt: skip
# It writes all statements to nowhere: every byte has to be read and unpacked for it.
_PROVE = ("pg_restore", "--file=/dev/null", "--exit-on-error")
_TABLES = """
    SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p', 'S', 'v', 'm')
"""
_SEQUENCES = """
    SELECT schemaname, sequencename, increment_by FROM pg_sequences
    WHERE schemaname = current_schema()
"""


def back_up(
    url: str, password: str | None, to: Path, passphrase: bytes | None, tell: Tell
) -> Done:
    """Dump a database as it is at one moment; gateways may go on.

    Args:
        url: The database, as libpq reads it.
        password: Of the user in it; None leaves it to libpq.
        to: The backup, which must not be there yet.
        passphrase: To seal it with; None leaves it open.
        tell: Given a line now and then on what is done.

    Raises:
        BackupError: There is no backup.
    """
    with _connected(url, password) as connection:
        readings, last_ms = _readings(connection)
    with becoming(to) as part:
        tell("dumping")
        with (
            _program(url, password, *_DUMP, stdout=subprocess.PIPE) as dump,
            part.open("wb") as target,
        ):
            if passphrase is None:
                shutil.copyfileobj(_pipe(dump.stdout), target)
            else:
                seal(_pipe(dump.stdout), target, passphrase)
        tell("checking it")
        with _program(None, None, *_PROVE, stdin=subprocess.PIPE) as proof:
            _feed(proof, part, passphrase)
    return Done(to, "postgres", to.stat().st_size, readings, last_ms)


def restore(
    file: Path, url: str, password: str | None, passphrase: bytes | None, tell: Tell
) -> Done:
    """Fill an empty database from a backup, all of it or nothing.

    Args:
        file: The backup.
        url: The database, as libpq reads it.
        password: Of the user in it; None leaves it to libpq.
        passphrase: That it was sealed with; None if it was not.
        tell: Given a line now and then on what is done.

    Raises:
        BackupError: Nothing was restored, or what was is not to be used.
    """
    with _connected(url, password) as connection:
        ((tables,),) = connection.execute(_TABLES)
        if tables:
            raise BackupError(
                "the database of store.url is not empty, and a restore never writes "
                "over a store: make another one with createdb, and name it there"
            )
    tell("restoring")
    with _program(url, password, *_RESTORE, stdin=subprocess.PIPE) as filling:
        _feed(filling, file, passphrase)
    with _connected(url, password) as connection, connection.transaction():
        ((version,),) = connection.execute("SELECT needs FROM version")
        if version > len(migrations()):
            raise BackupError(
                f"the backup needs a gateway that knows version {version}, and this "
                f"one knows {len(migrations())}: install the gateway that made it"
            )
        readings, last_ms = _readings(connection)
        _, by_row = jumps(last_ms)
        for schema, name, step in connection.execute(_SEQUENCES).fetchall():
            place = sql.Identifier(schema, name)
            connection.execute(
                sql.SQL("SELECT setval({}, last_value + %s) FROM {}").format(
                    sql.Literal(place.as_string()), place
                ),
                [step * by_row],
            )
        # A backup of before has none.
        if connection.execute("SELECT to_regclass('revised')").fetchone() != (None,):
            connection.execute("UPDATE revised SET last = last + %s", [by_row])
    return Done(file, "postgres", file.stat().st_size, readings, last_ms)


@contextmanager
def _connected(url: str, password: str | None) -> Iterator[Connection]:
    try:
        with psycopg.connect(url, **settings(password)) as connection:
            yield connection
    except psycopg.Error as error:
        raise BackupError(f"the database of store.url: {error}") from error


def _readings(connection: Connection) -> tuple[int, int | None]:
    ((readings,),) = connection.execute("SELECT count(*) FROM reading")
    ((last_ms,),) = connection.execute("SELECT max(received_ms) FROM batch")
    return readings, last_ms


@contextmanager
def _program(
    url: str | None,
    password: str | None,
    program: str,
    *more: str,
    stdin: int | None = None,
    stdout: int | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run one of PostgreSQL's programs, and see that it ends well.

    Raises:
        BackupError: It is not installed, or it failed; the text says what it said.
    """
    command, env = [program, *more], dict(os.environ)
    if url is not None:
        # What others can see of a process must not show the password.
        facts = conninfo_to_dict(url)
        secret = facts.pop("password", None) if password is None else password
        env |= {"PGPASSWORD": str(secret)} if secret else {}
        facts.pop("password", None)
        told = {name: str(value) for name, value in facts.items()}
        command.append(f"--dbname={make_conninfo(**told)}")
    if shutil.which(program) is None:
        raise BackupError(
            f"{program} is not installed: on Debian it is in postgresql-client"
        )
    with TemporaryFile() as words:
        with subprocess.Popen(  # noqa: S603 - PostgreSQL's own program
            command, env=env, stdin=stdin, stdout=stdout, stderr=words
        ) as running:
            try:
                yield running
            except BrokenPipeError:
                pass  # it ended early, and says why
            except BaseException:
                running.kill()
                raise
        if running.returncode:
            words.seek(0)
            said = words.read(2_000).decode(errors="replace").strip()
            raise BackupError(said or f"{program} ended with {running.returncode}")


def _feed(
    program: subprocess.Popen[bytes], file: Path, passphrase: bytes | None
) -> None:
    target = _pipe(program.stdin)
    for piece in pieces(file, passphrase):
        target.write(piece)
    target.close()


def _pipe(found: IO[bytes] | None) -> IO[bytes]:
    if found is None:
        raise TypeError("it was started without this pipe")
    return found

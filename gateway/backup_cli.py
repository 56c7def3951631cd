"""The ``gateway backup`` and ``gateway restore`` commands."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.config import Config, load
from gateway.opened import configured
from gateway.secret_file import first_line
from protocols.config import ConfigError

if TYPE_CHECKING:  # loaded by who uses them
    from gateway.backup import Done

_SHORTEST = 12  # characters of a passphrase
_FILE = click.Path(path_type=Path)

_passphrase = click.option(
    "--passphrase-file", type=_FILE, help="Its first line seals the backup."
)


@click.command()
@click.option("--to", type=_FILE, required=True, help="The backup; must not be there.")
@configured
@_passphrase
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def backup(
    to: Path,
    file: Path | None,
    data: Path | None,
    passphrase_file: Path | None,
    *,
    as_json: bool,
) -> None:
    """Copy the store as it is now into one file; the gateway may run meanwhile.

    The copy is proven to be whole before it gets its name. It holds all that the store
    holds, secrets of webhooks too: seal it, or keep it on an encrypted disk.

    \b
    Example:
        vitalwire gateway backup --to /mnt/backup/2026-03-01.vw --passphrase-file pass
    """
    from gateway import backup as sqlite  # noqa: PLC0415
    from gateway import backup_postgres as postgres  # noqa: PLC0415

    def work(config: Config, passphrase: bytes | None) -> "Done":
        if (database := _database(config)) is not None:
            return postgres.back_up(*database, to, passphrase, _tell)
        return sqlite.back_up(config.sqlite, to, passphrase, _tell)

    _run(work, file, data, passphrase_file, as_json=as_json)


@click.command()
@click.argument("source", metavar="FROM", type=_FILE)
@configured
@_passphrase
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def restore(
    source: Path,
    file: Path | None,
    data: Path | None,
    passphrase_file: Path | None,
    *,
    as_json: bool,
) -> None:
    """Make a store of the backup FROM, where none is.

    Writes over nothing, and proves the backup first. No id that the lost store may
    have given since is given again.

    \b
    Example:
        vitalwire gateway restore /mnt/backup/2026-03-01.vw --data ./clinic
    """
    from gateway import backup as sqlite  # noqa: PLC0415
    from gateway import backup_postgres as postgres  # noqa: PLC0415

    def work(config: Config, passphrase: bytes | None) -> "Done":
        if (database := _database(config)) is not None:
            return postgres.restore(source, *database, passphrase, _tell)
        return sqlite.restore(source, config.sqlite, passphrase, _tell)

    _run(work, file, data, passphrase_file, as_json=as_json)


def _run(
    work: Callable[[Config, bytes | None], "Done"],
    file: Path | None,
    data: Path | None,
    passphrase_file: Path | None,
    *,
    as_json: bool,
) -> None:
    from gateway.backup import BackupError  # noqa: PLC0415

    try:
        done = work(load(file, data), _read(passphrase_file))
    except (ConfigError, BackupError) as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps(asdict(done) | {"file": str(done.file)}))
    else:
        click.echo(f"{done.file}: {done.readings} readings, {done.size} bytes, whole")


def _database(config: Config) -> tuple[str, str | None] | None:
    """Return a database's address and password; None if the store is a file."""
    from gateway.store.opening import password  # noqa: PLC0415

    return (config.store.url, password(config)) if config.store.url else None


def _read(file: Path | None) -> bytes | None:
    if file is None:
        return None
    line = first_line("--passphrase-file", file).strip()
    if len(line) < _SHORTEST:
        raise ConfigError(
            f"--passphrase-file {file}: its first line has fewer than {_SHORTEST} "
            "characters: draw one with openssl rand -base64 24"
        )
    return line.encode()


def _tell(line: str) -> None:
    click.echo(line, err=True)

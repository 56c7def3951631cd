"""Commands for whoever runs a gateway: ``doctor``, ``backup`` and ``restore``."""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from gateway.config import Config, check, load
from protocols.config import ConfigError

if TYPE_CHECKING:  # loaded by who uses them
    from gateway.backup import Done

_SHORTEST = 12  # characters of a passphrase
_FILE = click.Path(path_type=Path)

_config = click.option(
    "--config", "file", type=_FILE, help="Settings, as TOML; without it the defaults."
)
_data = click.option("--data", type=_FILE, help="Folder for all data.")
_passphrase = click.option(
    "--passphrase-file", type=_FILE, help="Its first line seals the backup."
)


@click.command()
@_config
@_data
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
def doctor(file: Path | None, data: Path | None, *, as_json: bool) -> None:
    """Look whether a gateway can do its work here, and say what to do.

    Looks at settings, folder, disk, clock, kernels, certificates, store, quarantine,
    stations, webhooks and broker, and changes none of them; the gateway may run
    meanwhile. The exit status is 0 if nothing failed, though there may be warnings,
    and 1 if something did.

    \b
    Example:
        vitalwire gateway doctor --config gateway.toml
    """
    from gateway.doctor import findings  # noqa: PLC0415

    failed = False
    for one in findings(file, data):
        failed |= one.state == "fail"
        if as_json:
            click.echo(json.dumps(msgspec.to_builtins(one)))
            continue
        click.echo(f"{one.state:<4}  {one.check:<12}  {one.found}")
        if one.advice:
            click.echo(f"{'':<20}-> {one.advice}")
    sys.exit(int(failed))


@click.command()
@click.option("--to", type=_FILE, required=True, help="The backup; must not be there.")
@_config
@_data
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
        store = config.folder / "readings.sqlite"
        return sqlite.back_up(store, to, passphrase, _tell)

    _run(work, file, data, passphrase_file, as_json=as_json)


@click.command()
@click.argument("source", metavar="FROM", type=_FILE)
@_config
@_data
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
        store = config.folder / "readings.sqlite"
        return sqlite.restore(source, store, passphrase, _tell)

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
        config = load(file)
        if data is not None:
            config = msgspec.structs.replace(config, data=str(data))
        done = work(check(config), _read(passphrase_file))
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
    try:
        line = file.read_text(encoding="utf-8").partition("\n")[0].strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--passphrase-file {file}: {error}") from error
    if len(line) < _SHORTEST:
        raise ConfigError(
            f"--passphrase-file {file}: its first line has fewer than {_SHORTEST} "
            "characters: draw one with openssl rand -base64 24"
        )
    return line.encode()


def _tell(line: str) -> None:
    click.echo(line, err=True)

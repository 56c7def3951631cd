"""What the gateway's commands have in common: options, the store, and who runs them."""

import getpass
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:  # loaded by who uses them
    from gateway.access import Access, Principal
    from gateway.config import Config
    from gateway.store import Store

_FILE = click.Path(path_type=Path)


def configured(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options ``--config`` and ``--data``, as `file` and `data`."""
    command = click.option("--data", type=_FILE, help="Folder for all data.")(command)
    return click.option(
        "--config", "file", type=_FILE, help="Settings, as TOML; else the defaults."
    )(command)


@contextmanager
def opened(
    file: Path | None, data: Path | None, *, may_make: bool = False
) -> Iterator["tuple[Config, Store]"]:
    """Open the store that the settings name, and close it at the end.

    Args:
        file: The settings; None is the defaults.
        data: The folder for all data, if not as the settings say.
        may_make: Whether to make the store where none is. Whoever only looks would
            find nothing in a new one, and take the wrong folder for an empty gateway.

    Raises:
        ClickException: The settings or the store can't be used, or it is not there.
    """
    from gateway.config import load  # noqa: PLC0415 - so that help comes at once
    from gateway.store import StoreUnavailable, StoreUnusable  # noqa: PLC0415
    from gateway.store.opening import open_store  # noqa: PLC0415
    from protocols.config import ConfigError  # noqa: PLC0415

    try:
        config = load(file, data)
        if not (may_make or config.store.url or config.sqlite.exists()):
            raise click.ClickException(
                f"there is no store at {config.sqlite}: name its folder with --data"
            )
        is_new = not (config.store.url or config.sqlite.exists())
        store = open_store(config)
        if is_new:
            click.echo(f"made a new store: {config.sqlite}", err=True)
        try:
            yield config, store
        finally:
            store.close()
    except (ConfigError, StoreUnusable, StoreUnavailable) as error:
        raise click.ClickException(str(error)) from error


def at_the_console(store: "Store") -> tuple["Access", "Principal"]:
    """Return a store's access and audit, and who runs a command: they need no token."""
    from gateway.access import Access, Principal, Role  # noqa: PLC0415

    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # an id without a name, as in a container
        name = "unnamed"
    who = Principal(0, "", f"{name} at the console"[:64], frozenset(Role))
    return Access(store.database, open_local=False), who

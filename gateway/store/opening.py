"""Opens the store that a gateway's settings name."""

from pathlib import Path

from gateway.config import Config
from gateway.secret_file import first_line
from gateway.store import Store
from gateway.store.sqlite import SqliteStore


def open_store(config: Config) -> Store:
    """Open the store, and bring it to this version's schema.

    Raises:
        StoreUnusable: It can't be opened; the text says what to do.
        ConfigError: The password's file can't be read.
    """
    if config.store.url:
        # Whoever keeps an SQLite file need not wait for what PostgreSQL needs.
        from gateway.store.postgres import PostgresStore  # noqa: PLC0415

        return PostgresStore(config.store.url, password(config))
    config.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return SqliteStore(config.sqlite)


def password(config: Config) -> str | None:
    """Return the password for the store's server; None leaves it to libpq.

    Raises:
        ConfigError: Its file can't be read.
    """
    file = config.store.password_file
    return first_line("store.password_file", Path(file)) if file else None

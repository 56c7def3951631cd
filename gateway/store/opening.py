"""Opens the store that a gateway's settings name."""

from pathlib import Path

from gateway.config import Config
from gateway.store import Store
from gateway.store.sqlite import SqliteStore
from protocols.config import ConfigError


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
    return SqliteStore(config.folder / "readings.sqlite")


def password(config: Config) -> str | None:
    """Return the password for the store's server; None leaves it to libpq.

    Raises:
        ConfigError: Its file can't be read.
    """
    file = config.store.password_file
    if not file:
        return None
    try:
        return Path(file).read_text(encoding="utf-8").partition("\n")[0]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"store.password_file {file}: {error}") from error

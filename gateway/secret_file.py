"""Files that hold a secret alone: a password, a passphrase."""

from pathlib import Path

from protocols.config import ConfigError


def first_line(setting: str, file: Path) -> str:
    """Return the first line of a file.

    Args:
        setting: What names the file, for the error.
        file: The file.

    Raises:
        ConfigError: It cannot be read.
    """
    try:
        return file.read_text(encoding="utf-8").partition("\n")[0]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{setting} {file}: {error}") from error

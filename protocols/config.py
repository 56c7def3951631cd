"""Configuration files: TOML read into a tree of frozen structs, strictly.

An unknown key, a missing one or a value of the wrong type is an error that
names file and line.
"""

import re
import tomllib
from typing import TypeVar

import msgspec

T = TypeVar("T")


class ConfigError(Exception):
    """The operator's file cannot be used; the text says where and why."""


def read(text: str, kind: type[T], name: str) -> T:
    """Read a configuration.

    Args:
        text: TOML.
        kind: A `msgspec.Struct` with ``forbid_unknown_fields``.
        name: The file's name, for errors.

    Raises:
        ConfigError: The text is no TOML, or does not fit ``kind``.
    """
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name}: {error}") from error
    try:
        return msgspec.convert(tree, kind)
    except msgspec.ValidationError as error:
        problem, _, path = str(error).partition(" - at ")
        line = _line(text, problem, path.strip("`"))
        raise ConfigError(f"{name}, line {line}: {problem}") from error


def _line(text: str, problem: str, path: str) -> int:
    """Return the line, from 1, on which the key at ``path`` stands."""
    lines = text.splitlines()
    keys = re.findall(r"\.([A-Za-z_][\w-]*)|\[(\d+)\]", path.removeprefix("$"))
    unknown = re.search(r"unknown field `([^`]+)`", problem)
    names = [name for name, _ in keys if name] + ([unknown[1]] if unknown else [])
    places = [int(place) for _, place in keys if place] or [0]
    start = 0
    for depth in range(1, len(names) + 1):
        table = r"\s*\.\s*".join(map(re.escape, names[:depth]))
        header = re.compile(rf"\s*\[+\s*{table}\s*\]")
        found = [at for at in range(start, len(lines)) if header.match(lines[at])]
        if found:
            start = found[min(places[0], len(found) - 1) if depth == 1 else 0]
    for name in reversed(names):
        key = re.compile(rf'\s*(?:[\w-]+\s*\.\s*)*"?{re.escape(name)}"?\s*[=.]')
        for at in range(start, len(lines)):
            if key.match(lines[at]):
                return at + 1
    return start + 1

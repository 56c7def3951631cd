"""Writes the generated pages of docs/reference: commands and drivers.

``python scripts/reference.py`` writes them, with ``--check`` it only tells whether
they are as they would be written.
"""

import inspect
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

import click

from edge_agent.cli import main as vitalwire

_PAGES = Path(__file__).parent.parent / "docs" / "reference"


def commands() -> str:
    """Return the page of the commands, each as its own help shows it."""
    head = (
        "# Commands\n\n"
        "Written by `make docs` from the commands themselves.\n\n"
        "Every command has `--help`. Errors are one line on standard error; the exit\n"
        "status is 0 for done, 1 for an error, 2 for a wrong use of the command.\n"
    )
    return head + "".join(_sections(vitalwire, "vitalwire"))


def drivers() -> str:
    """Return the page of the drivers, from their own words."""
    head = (
        "# Drivers\n\n"
        "Written by `make docs` from the installed drivers.\n\n"
        "| driver | devices | observes | history | tested |\n|---|---|---|---|---|\n"
    )
    rows = []
    for point in sorted(entry_points(group="vitalwire.drivers")):
        driver = point.load()
        words = inspect.getdoc(import_module(point.module)) or ""
        facts = dict(_facts(words))
        observes = ", ".join(kind.value for kind in driver.observes)
        title = words.splitlines()[0].rstrip(".")
        rows.append(
            f"| `{driver.id}` | {title} | {observes} | {facts['History']} "
            f"| {facts['Tested']} |\n"
        )
    return head + "".join(rows)


def _sections(command: click.Command, path: str) -> Iterator[str]:
    settings = {"terminal_width": 88, "help_option_names": ["-h", "--help"]}
    with click.Context(command, info_name=path, **settings) as context:
        shown = command.get_help(context)
        yield f"\n## {path}\n\n```text\n{shown}\n```\n"
        if isinstance(command, click.Group):
            for name in command.list_commands(context):
                found = command.get_command(context, name)
                if found is not None:
                    yield from _sections(found, f"{path} {name}")


def _facts(words: str) -> Iterator[tuple[str, str]]:
    for line in words.splitlines():
        name, colon, fact = line.partition(":")
        if colon and name.isalpha():
            yield name, fact.strip()


def run() -> int:
    """Write or check the pages; return the exit status."""
    stale = 0
    for name, text in (("cli.md", commands()), ("drivers.md", drivers())):
        path = _PAGES / name
        if "--check" not in sys.argv:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            sys.stderr.write(f"{name} is stale; write it with 'make docs'\n")
            stale = 1
    return stale


if __name__ == "__main__":
    sys.exit(run())

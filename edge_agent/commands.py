"""Groups of commands that other packages may add to, by entry point."""

from importlib.metadata import EntryPoint, entry_points
from typing import Any

import click


class Group(click.Group):
    """Finds commands of other packages by entry point, when they are asked for.

    Args:
        names: What `click.Group` takes.
        found_in: The group of entry points.
        more: What `click.Group` takes.
    """

    def __init__(self, *names: Any, found_in: str, **more: Any) -> None:  # noqa: ANN401 - click's own
        super().__init__(*names, **more)
        self._found_in = found_in

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *self._elsewhere()})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        point = self._elsewhere().get(cmd_name)
        if point is None:
            return super().get_command(ctx, cmd_name)
        try:
            command = point.load()
        except ModuleNotFoundError as error:
            return _missing(cmd_name, error.name or "a package")
        return command if isinstance(command, click.Command) else None

    def _elsewhere(self) -> dict[str, EntryPoint]:
        return {point.name: point for point in entry_points(group=self._found_in)}


def _missing(name: str, package: str) -> click.Command:
    """Return a command that says what to install for the command ``name``."""
    needed = f"needs {package}: pip install 'vitalwire[{name}]'"

    def fail() -> None:
        raise click.ClickException(f"'{name}' {needed}")

    return click.Command(name, callback=fail, short_help=needed)

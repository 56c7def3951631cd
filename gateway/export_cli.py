"""The ``gateway export`` command."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from gateway.opened import at_the_console, configured, opened

if TYPE_CHECKING:  # loaded by who uses it
    from gateway.store import Filter

_TOLD_EACH = 100_000  # readings between two words of progress


@click.command()
@configured
@click.option(
    "--format",
    "form",
    type=click.Choice(["csv", "parquet", "ndjson"]),
    required=True,
    help="The kind of file.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The file; one that is there is replaced when the new one is whole.",
)
@click.option("--tenant", help="Only this tenant's.")
@click.option("--device", help="Only this device's, by its id.")
@click.option("--station", help="Only this station's, by its id.")
@click.option("--kind", help="Only this kind; control solution is left out else.")
@click.option(
    "--since",
    metavar="TIME",
    help="True time: ISO 8601 with a zone. Leaves out what has none.",
)
@click.option("--until", metavar="TIME", help="Likewise, and before it.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def export(
    file: Path | None,
    data: Path | None,
    form: str,
    out: Path,
    *,
    as_json: bool,
    **conditions: str | None,
) -> None:
    """Write the readings that are stored now into a file; the gateway may run.

    \b
    Example:
        vitalwire gateway export --data ./clinic --format parquet --out readings.parquet
    """
    count = 0

    def seen(readings: int) -> None:
        nonlocal count
        if readings // _TOLD_EACH > count // _TOLD_EACH:
            click.echo(f"{readings} readings", err=True)
        count = readings

    with opened(file, data) as (_, store):
        from gateway import export as files  # noqa: PLC0415

        given = {"format": form} | conditions
        what = " ".join(f"{name}={value}" for name, value in given.items() if value)
        which = _filter(conditions)
        access, who = at_the_console(store)
        access.record(who, "readings.export", what=what)
        pages = files.pages(store, which, seen)
        try:
            with _whole(out) as target:
                for chunk in files.write(files.Format(form), pages):
                    target.write(chunk)
        except OSError as error:
            raise click.ClickException(f"{out}: {error.strerror}") from error
    told = {"file": str(out), "readings": count}
    click.echo(json.dumps(told) if as_json else f"{out}: {count} readings")


def _filter(conditions: dict[str, str | None]) -> "Filter":
    """Return what the options ask of a reading."""
    from gateway.store import Filter  # noqa: PLC0415
    from protocols.observation import Kind  # noqa: PLC0415

    names = conditions.pop("kind"), conditions.pop("since"), conditions.pop("until")
    kind, since, until = names
    if kind is not None and kind not in {*Kind}:
        raise click.BadParameter(f"--kind is one of {', '.join(Kind)}")
    return Filter(
        kind=None if kind is None else Kind(kind),
        since_ms=_ms("--since", since),
        until_ms=_ms("--until", until),
        **conditions,
    )


def _ms(name: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise click.BadParameter(f"{name} is a time such as 2026-03-01T07:30:00Z")
    return round(moment.timestamp() * 1000)


@contextmanager
def _whole(out: Path) -> Iterator[IO[bytes]]:
    """Open a file that gets its name when it is whole and on the disk."""
    part = out.with_name(f"{out.name}.part")
    try:
        with part.open("wb") as target:
            yield target
            target.flush()
            os.fsync(target.fileno())
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)

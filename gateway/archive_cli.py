"""The ``gateway archive`` command."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.opened import at_the_console, configured, opened

if TYPE_CHECKING:  # loaded by who uses it
    from gateway.archive import Month


@click.command()
@click.option(
    "--before",
    type=click.DateTime(["%Y-%m-%d"]),
    required=True,
    help="What came before this day, of UTC, goes.",
)
@click.option(
    "--to",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder for the files; made if it is not there.",
)
@click.option("--dry-run", is_flag=True, help="Only count, and change nothing.")
@configured
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def archive(
    before: datetime,
    folder: Path,
    file: Path | None,
    data: Path | None,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Move old readings into Parquet files, one a month, and free the store of them.

    A file is on the disk and read back before the first of its readings is deleted. A
    run that was cut off is gone on with by the next into the same folder. The gateway
    may run meanwhile. A meter that tells an archived reading again adds nothing.

    \b
    Example:
        vitalwire gateway archive --before 2026-01-01 --to ./archive --dry-run
    """
    if before.replace(tzinfo=UTC) > datetime.now(UTC):
        raise click.BadParameter("it is in the future", param_hint="--before")
    with opened(file, data) as (_, store):
        # pyarrow is slow to import; help should not wait for it.
        from gateway.archive import CannotArchive, survey  # noqa: PLC0415
        from gateway.archive import archive as move  # noqa: PLC0415

        if not dry_run:
            access, who = at_the_console(store)
            access.record(who, "readings.archived", what=f"before {before.date()}")
        try:
            found = (
                survey(store, before.date())
                if dry_run
                else move(store, before.date(), folder, _tell)
            )
            for month in found:
                click.echo(_json(month) if as_json else _line(month))
        except CannotArchive as error:
            raise click.ClickException(str(error)) from error


def _tell(line: str) -> None:
    click.echo(line, err=True)


def _line(month: "Month") -> str:
    line = f"{month.month}  {month.readings} readings"
    if month.amendments:
        line += f", {month.amendments} amendments"
    if month.file is not None:
        line += f"  {month.file}"
    if month.left:
        line += f"  ({month.left} amended meanwhile, and left for the next run)"
    return line


def _json(month: "Month") -> str:
    return json.dumps(
        {
            "month": month.month,
            "file": None if month.file is None else str(month.file),
            "readings": month.readings,
            "amendments": month.amendments,
            "left": month.left,
        }
    )

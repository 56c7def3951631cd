"""The ``bench`` command: what is measured here, on the machine at hand."""

from collections.abc import Sequence
from pathlib import Path

import click

from edge_agent.bench.filters import filters
from edge_agent.commands import Group

_MOST = 10_000  # readings a message


@click.group(cls=Group, found_in="vitalwire.bench")
def bench() -> None:
    """Measure codecs, filters and a whole gateway, on this machine."""


bench.add_command(filters)


@bench.command()
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE..."
)
@click.option(
    "--batch",
    "batches",
    multiple=True,
    type=click.IntRange(1, _MOST),
    default=(16, 64, 256, _MOST),
    show_default=True,
    help="Readings a message; may be given again.",
)
@click.option("--only", multiple=True, metavar="CODEC", help="May be given again.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per FILE.")
def codec(
    files: Sequence[Path],
    batches: Sequence[int],
    only: Sequence[str],
    *,
    as_json: bool,
) -> None:
    """Compare the size and speed of the uplink's codec with others, on real series.

    FILE is CSV, gzipped or not, with the columns device,time,value[,value2,...]. All
    full batches of every device are encoded, decoded and compared bit by bit. The
    exit status is 1 where no device has readings enough, or where what vitalwire
    decodes differs from the file.

    \b
    Example:
        vitalwire bench codec cgm.csv.gz --batch 64 --batch 256 --only vitalwire
    """
    from edge_agent.bench import codec_run  # noqa: PLC0415 - imports numpy and numba

    unknown = sorted({*only} - {*codec_run.NAMES})
    if unknown:
        raise click.UsageError(
            f"no codec is named {unknown[0]!r}; there are {', '.join(codec_run.NAMES)}"
        )
    done = [
        codec_run.run(
            path, sorted({*batches}), only or codec_run.NAMES, as_json=as_json
        )
        for path in files
    ]
    if not all(done):
        raise SystemExit(1)

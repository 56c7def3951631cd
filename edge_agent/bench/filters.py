"""The ``bench filters`` command: the station's filters beside others."""

from collections.abc import Sequence
from pathlib import Path

import click
import simplejson

_HEAD = f"{'filter':<22}{'by':<26}{'ns/sample':>11}{'times ours':>12}"
_ROUNDS = 9
_FOUND = f"{'filter':<44}{'judged':>9}{'flagged':>10}{'recall':>9}"


@click.command()
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
@click.option(
    "--missing",
    type=float,
    multiple=True,
    metavar="NUMBER",
    help="A value that stands for none, as a sensor's HI; may be given again.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def filters(path: Path, missing: Sequence[float], *, as_json: bool) -> None:
    """Compare the station's filters with others, in speed and in what they find.

    FILE is CSV, gzipped or not, with the columns device,time,value, as of a glucose
    sensor; time is in s. The speed is the median of several rounds, in which all take
    turns. What the filters find is told of the values as they are, and of spikes of
    40 to 150 up or down put on one of 200 of them.

    \b
    Example:
        vitalwire bench filters cgm.csv.gz --missing 39 --missing 401
    """
    from edge_agent.bench import filters_run  # noqa: PLC0415 - imports numpy

    found = filters_run.measure(path, missing=missing, rounds=_ROUNDS)
    if as_json:
        click.echo(simplejson.dumps(found))
        return
    rows = found["results"]
    click.echo(_HEAD)
    for row in rows:
        if "ns_per_sample" in row:
            click.echo(
                f"{row['filter']:<22}{row['by']:<26}{row['ns_per_sample']:>11.1f}"
                f"{row['times_ours']:>12.2f}"
            )
    click.echo(f"\n{_FOUND}")
    for row in rows:
        if "flagged" in row:
            click.echo(
                f"{row['filter']:<44}{row['judged']:>9.2%}{_share(row['flagged']):>10}"
                f"{_share(row['recall']):>9}"
            )


def _share(share: float | None) -> str:
    return "-" if share is None else f"{share:.2%}"

"""The command ``bench ingest``, which the agent's ``bench`` finds by entry point."""

import json
import signal
import sys
from pathlib import Path
from typing import Any, Literal

import click

_HEAD = f"{'':<28}{'readings/s':>12}{'times ours':>12}"


@click.command()
@click.option(
    "--store",
    type=click.Choice(["sqlite", "postgres"]),
    default="sqlite",
    show_default=True,
    help="PostgreSQL's server is started for it.",
)
@click.option(
    "--stations",
    type=click.IntRange(1, 100_000),
    default=100,
    show_default=True,
    help="How many send.",
)
@click.option(
    "--rows-before",
    type=click.IntRange(0, 1_000_000_000),
    default=0,
    show_default=True,
    help="Readings stored beforehand, at least.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(0.5, 3_600),
    default=10.0,
    show_default=True,
    help="For how long stations send.",
)
@click.option(
    "--thingsboard",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="PYTHON",
    help="A Python that has thingsboard-gateway, to measure that too.",
)
@click.option("--without-peers", is_flag=True, help="Measure nothing else beside it.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def ingest(
    store: Literal["sqlite", "postgres"],
    stations: int,
    rows_before: int,
    seconds: float,
    thingsboard: Path | None,
    *,
    without_peers: bool,
    as_json: bool,
) -> None:
    """Measure a gateway from the broker to the disk, beside its limit and others.

    A broker, a gateway and perhaps PostgreSQL are started in a temporary folder;
    stations send batches of 256 readings and wait for receipts. The exit status is 1
    where a reading that was receipted is not stored, or one is stored twice.

    \b
    Example:
        vitalwire bench ingest --store postgres --stations 1000 --seconds 20 --json
    """
    try:
        from gateway.bench import run, servers  # noqa: PLC0415 - slow to import
        from gateway.broker import BrokerError  # noqa: PLC0415 - likewise
        from gateway.store import StoreUnusable  # noqa: PLC0415 - likewise
    except ModuleNotFoundError as error:
        needed = f"bench ingest needs {error.name}: pip install 'vitalwire[gateway]'"
        raise click.ClickException(needed) from error
    plan = run.Plan(
        store,
        stations,
        rows_before,
        seconds,
        peers=not without_peers,
        thingsboard=thingsboard,
    )
    # Ended by a signal, it would leave its servers behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        found = run.measure(plan, lambda text: click.echo(text, err=True))
    except (servers.CannotMeasure, BrokerError, StoreUnusable) as error:
        raise click.ClickException(str(error)) from error
    click.echo(json.dumps(found) if as_json else table(found))
    if not run.is_success(found):
        raise SystemExit(1)


def table(found: dict[str, Any]) -> str:
    """Return what was found as a table."""
    ours = found["readings_per_s"]
    rates = {
        f"vitalwire, {found['engine']}": ours,
        "the store's engine alone": found["limit_per_s"],
        **{name.removesuffix("_per_s"): rate for name, rate in found["limits"].items()},
        **found["peers"],
    }
    lines = [_HEAD]
    lines += [
        f"{name:<28}{rate:>12,}{rate / ours:>12.3f}" for name, rate in rates.items()
    ]
    lines.append("")
    lines += [
        f"{name:<28}{found[name]:>12,}"
        for name in (
            "readings", "lost", "doubled", "wrong", "unanswered",
            "cpu_us_per_reading", "rss_mb",
        )
    ]  # fmt: skip
    lines += [
        f"{name:<28}{times['p50_ms']:>9} ms{times['p95_ms']:>9} ms at most of 95 %"
        for name, times in found["queries"].items()
    ]
    return "\n".join(lines)

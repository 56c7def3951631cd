"""Gives every decoder a million payloads that are nearly right, on all cores."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from itertools import groupby
from multiprocessing import get_context
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

import click

sys.path.insert(0, str(Path(__file__).parent.parent))

from protocols import kinds
from tests.protocols import fuzzing
from tests.protocols.fuzzing import Outcome

_AT_ONCE = 10_000  # payloads of one job


class _Job(NamedTuple):
    name: str
    count: int
    seed: int


class _Done(NamedTuple):
    name: str
    outcomes: list[Outcome]
    seconds: float


def _names() -> list[str]:
    return [*kinds.kinds(), *fuzzing.decoders()]


def _jobs(names: list[str], count: int, seed: int) -> Iterator[_Job]:
    for name in names:
        for turn, at in enumerate(range(0, count, _AT_ONCE)):
            yield _Job(name, min(_AT_ONCE, count - at), seed + turn)


def _run(job: _Job) -> _Done:
    start = time.perf_counter()
    fuzz = fuzzing.fuzz_kind if job.name in kinds.kinds() else fuzzing.fuzz_stream
    outcomes = fuzz(job.name, job.count, job.seed)
    return _Done(job.name, outcomes, time.perf_counter() - start)


def _leave_interrupts_alone() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _report(name: str, parts: list[_Done]) -> list[str]:
    """Print a decoder's line; return its findings, each one once."""
    outcomes = [outcome for part in parts for outcome in part.outcomes]
    executions = sum(outcome.executions for outcome in outcomes)
    refused = sum(outcome.refused for outcome in outcomes)
    shown = sum(outcome.shown for outcome in outcomes)
    rate = executions / sum(part.seconds for part in parts)
    findings = [finding for outcome in outcomes for finding in outcome.findings]
    click.echo(
        f"{name:<42}{executions:>11,}{refused:>12,}{shown:>12,}{rate:>9,.0f}"
        f"{len(findings):>9}"
    )
    return sorted(set(findings))


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--count",
    type=click.IntRange(min=1),
    default=1_000_000,
    show_default=True,
    help="How many payloads each decoder is given.",
)
@click.option(
    "--only",
    multiple=True,
    metavar="KIND",
    help="A kind, a stream decoder, or what their names begin with.",
)
@click.option("--seed", default=1, show_default=True, help="Of the changes.")
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=os.cpu_count() or 1,
    help="How many processes; as many as there are cores, if not given.",
)
def main(count: int, only: tuple[str, ...], seed: int, jobs: int) -> None:
    """Give every decoder payloads that are nearly right, and tell what it must not do.

    They are golden vectors, changed, and the same ones for the same seed. Only
    DecodeError may come out of a kind, and what it shows must be JSON; a stream
    decoder loses no byte, and its messages do not depend on how its bytes are cut.
    The rate is per second and core. The exit status is 1 if anything was found.

    \b
    Examples:
        python scripts/fuzz.py
        python scripts/fuzz.py --count 50000 --only taidoc --only vendor.taidoc
    """
    names = [name for name in _names() if not only or name.startswith(only)]
    if not names:
        raise click.ClickException(f"nothing is named {' or '.join(only)}")
    click.echo(
        f"{'decoder':<42}{'executions':>11}{'refused':>12}{'shown':>12}{'rate':>9}"
        f"{'findings':>9}"
    )
    findings: list[str] = []
    context = get_context("spawn")
    try:
        with context.Pool(jobs, initializer=_leave_interrupts_alone) as pool:
            done = pool.imap(_run, _jobs(names, count, seed))
            for name, parts in groupby(done, attrgetter("name")):
                findings += _report(name, list(parts))
    except KeyboardInterrupt:
        click.echo("interrupted", err=True)
        sys.exit(130)
    finally:
        for finding in findings:
            click.echo(finding)
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()

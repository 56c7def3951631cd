"""The ``gateway doctor`` command."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import click

from gateway.opened import configured


@click.command()
@configured
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
def doctor(file: Path | None, data: Path | None, *, as_json: bool) -> None:
    """Look whether a gateway can do its work here, and say what to do.

    Looks at settings, folder, disk, clock, kernels, certificates, store, quarantine,
    stations, webhooks and broker, and changes none of them; the gateway may run
    meanwhile. The exit status is 0 if nothing failed, though there may be warnings,
    and 1 if something did.

    \b
    Example:
        vitalwire gateway doctor --config gateway.toml
    """
    from gateway.doctor import findings  # noqa: PLC0415

    failed = False
    for one in findings(file, data):
        failed |= one.state == "fail"
        if as_json:
            click.echo(json.dumps(asdict(one)))
            continue
        click.echo(f"{one.state:<4}  {one.check:<12}  {one.found}")
        if one.advice:
            click.echo(f"{'':<20}-> {one.advice}")
    sys.exit(int(failed))

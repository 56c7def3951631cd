"""The ``driver`` command: what there is, and whether it can be trusted."""

import json
import sys
from importlib.metadata import entry_points
from pathlib import Path

import click

from firmware_sim.kit import check as checking
from firmware_sim.kit.check import UnknownTarget
from firmware_sim.kit.scaffold import ScaffoldError, scaffold

_COLOURS = {"done": "green", "exempt": "yellow", "failed": "red"}


@click.group()
def driver() -> None:
    """List drivers, prove one, or begin one of your own."""


@driver.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
def list_all(*, as_json: bool) -> None:
    """List the installed drivers, and the models that each reads.

    \b
    Example:
        vitalwire driver list
    """
    for point in sorted(entry_points(group="vitalwire.drivers")):
        found = point.load()
        models = [model.name for model in found.models]
        if as_json:
            kinds = [kind.value for kind in found.observes]
            shown = {"id": found.id, "observes": kinds, "models": models}
            click.echo(json.dumps(shown))
        else:
            click.echo(f"{found.id:<24} {', '.join(models)}")


@driver.command()
@click.argument("target", metavar="DRIVER|MODULE:NAME")
@click.option("--trial", metavar="MODULE:NAME", help="Its simulated device.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per rule.")
def check(target: str, trial: str | None, *, as_json: bool) -> None:
    """Prove a driver against its simulated device, rule by rule.

    Prints each rule as done, exempt with its reason, or failed with what is
    wrong, and exits with 1 if any failed.

    \b
    Examples:
        vitalwire driver check gatt-glucose
        vitalwire driver check my_meter.driver:DRIVER --trial my_meter.bench:TRIAL
    """
    try:
        case = checking.find(target, trial)
    except UnknownTarget as error:
        raise click.ClickException(str(error)) from error
    failed = 0
    for outcome in checking.check(case):
        failed += outcome.state == "failed"
        if as_json:
            shown = {
                "rule": outcome.rule.name,
                "state": outcome.state,
                "reason": outcome.exempt,
                "problems": outcome.problems,
            }
            click.echo(json.dumps(shown))
        else:
            state = click.style(f"{outcome.state:<7}", fg=_COLOURS[outcome.state])
            click.echo(f"{state} {outcome.rule.name:<22} {outcome.rule.meaning}")
            for line in outcome.problems[:5] or filter(None, [outcome.exempt]):
                click.echo(f"        {line}")
    if not as_json:
        text = f"{failed} rules failed" if failed else "every rule holds"
        click.echo(f"{case.driver.id}: {text}", err=True)
    sys.exit(1 if failed else 0)


@driver.command()
@click.argument("name")
@click.option("--ble", is_flag=True, help="A BLE device; else one on a serial port.")
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    help="Where to begin it; by default here.",
)
def new(name: str, *, ble: bool, folder: Path) -> None:
    """Begin a driver package of your own, that passes the kit from the start.

    \b
    Example:
        vitalwire driver new my-meter
        cd my-meter && pip install --editable . && vitalwire driver check my-meter
    """
    try:
        written = scaffold(name, folder, ble=ble)
    except ScaffoldError as error:
        raise click.ClickException(str(error)) from error
    for path in written:
        click.echo(path)
    root = folder / name
    click.echo(
        f"next: cd {root} && pip install --editable . && vitalwire driver check {name}",
        err=True,
    )

"""The ``gateway quarantine`` commands."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gateway.opened import at_the_console, configured, opened

if TYPE_CHECKING:  # loaded by who uses them
    from gateway.store import Quarantined, Store


@click.group()
def quarantine() -> None:
    """Look at messages that could not be read, and replay them."""


@quarantine.command(name="list")
@configured
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_(file: Path | None, data: Path | None, *, as_json: bool) -> None:
    """List the messages in quarantine, the oldest first.

    \b
    Example:
        vitalwire gateway quarantine list --data ./clinic
    """
    with opened(file, data) as (_, store):
        from gateway.quarantine import kept  # noqa: PLC0415

        for message in kept(store):
            told = _told(message)
            click.echo(json.dumps(told) if as_json else _line(told))


@quarantine.command()
@click.argument("number", type=click.IntRange(1))
@configured
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def show(number: int, file: Path | None, data: Path | None, *, as_json: bool) -> None:
    """Show one message with all its bytes.

    The bytes may hold readings of people: treat what is shown as such.
    """
    with opened(file, data) as (_, store):
        message = _one(store, number)
        _record(store, "quarantine.read", message)
        told = _told(message) | {"message": message.message.hex()}
        if as_json:
            click.echo(json.dumps(told))
            return
        for name, value in told.items():
            click.echo(f"{name:<14}{'-' if value is None else value}")


@quarantine.command()
@click.argument("numbers", nargs=-1, type=click.IntRange(1), metavar="[NUMBER]...")
@click.option("--all", "every", is_flag=True, help="All that was not stored yet.")
@click.option("--as-new", is_flag=True, help="They are none that were erased.")
@configured
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def replay(
    numbers: tuple[int, ...],
    file: Path | None,
    data: Path | None,
    *,
    every: bool,
    as_new: bool,
    as_json: bool,
) -> None:
    """Read messages in quarantine once more, and store what they bring.

    For when this gateway is newer than the one that could not read them. A message
    stays in quarantine with what came of it; replayed again, it adds nothing. The
    gateway may run meanwhile. The exit status is 1 if any could not be stored.

    --as-new is for readings that are withheld since one of the same key was erased,
    and of which you know that they are new, as those of a meter that was cleared.

    \b
    Example:
        vitalwire gateway quarantine replay --all --data ./clinic
    """
    if every is bool(numbers):
        raise click.UsageError("give the numbers of messages, or --all")
    if as_new and every:
        raise click.UsageError("give the numbers of messages that are --as-new")
    failed = 0
    with opened(file, data) as (config, store):
        from gateway.quarantine import kept  # noqa: PLC0415
        from gateway.quarantine import replay as replayed  # noqa: PLC0415

        waiting = (one for one in kept(store) if not _is_stored(one))
        chosen = waiting if every else (_one(store, number) for number in numbers)
        for message in chosen:
            _record(store, "quarantine.replayed", message)
            done = replayed(store, message, config.tenant, as_new=as_new)
            failed += not done.stored
            told = {"id": done.id, "stored": done.stored, "outcome": done.outcome}
            click.echo(json.dumps(told) if as_json else f"{done.id:>8}  {done.outcome}")
    sys.exit(int(failed > 0))


def _record(store: "Store", action: str, message: "Quarantined") -> None:
    """Write down that somebody at the console looks into a message."""
    whose = "" if message.station is None else message.station.tenant
    access, who = at_the_console(store)
    access.record(who, action, tenant=whose, what=f"message {message.id}")


def _one(store: "Store", number: int) -> "Quarantined":
    from gateway.quarantine import one  # noqa: PLC0415

    if (message := one(store, number)) is None:
        raise click.ClickException(f"no message {number} is in quarantine")
    return message


def _is_stored(message: "Quarantined") -> bool:
    return (message.outcome or "").startswith("stored")


def _told(message: "Quarantined") -> dict[str, Any]:
    from gateway.normalise import iso  # noqa: PLC0415

    return {
        "id": message.id,
        "topic": message.topic,
        "reason": message.reason,
        "size": len(message.message),
        "received": iso(message.received_ms),
        "last_received": iso(message.last_received_ms),
        "deliveries": message.deliveries,
        "replayed": iso(message.replayed_ms),
        "outcome": message.outcome,
    }


def _line(told: dict[str, Any]) -> str:
    return (
        f"{told['id']:>8}  {told['received'][:19]}Z  {told['topic']}  "
        f"{told['reason']}  [{told['outcome'] or 'not replayed'}]"
    )

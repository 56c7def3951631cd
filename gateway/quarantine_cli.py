"""The ``gateway quarantine`` commands."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gateway.opened import at_the_console, configured, opened

if TYPE_CHECKING:  # loaded by who uses them
    from gateway.store import Quarantined, Store

_LONGEST_WHY = 256


@click.group()
def quarantine() -> None:
    """Look at messages that could not be read, replay them, and delete them."""


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


@quarantine.command()
@click.argument("numbers", nargs=-1, type=click.IntRange(1), metavar="NUMBER...")
@click.option("--why", required=True, help="For the audit log: nobody's name.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@configured
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def delete(
    numbers: tuple[int, ...],
    file: Path | None,
    data: Path | None,
    *,
    why: str,
    yes: bool,
    as_json: bool,
) -> None:
    """Take messages out of quarantine for good.

    For what may be of a patient who was erased, and for what is not ours. Readings in
    it that are stored nowhere else are lost: replay first what can be read by now. A
    station keeps a batch that could not be read, and sends it again when its agent
    starts anew.

    \b
    Example:
        vitalwire gateway quarantine delete 7 --why "patient 17 was erased"
    """
    if not numbers:
        raise click.UsageError("give the numbers of messages")
    if len(why) > _LONGEST_WHY or not why.isprintable() or not why.strip():
        problem = f"give a reason of 1 to {_LONGEST_WHY} printable characters"
        raise click.BadParameter(problem, param_hint="--why")
    with opened(file, data) as (_, store):
        from gateway.quarantine import delete as take_away  # noqa: PLC0415
        from gateway.store.sqlite_overwrite import overwrite  # noqa: PLC0415

        chosen = [_one(store, number) for number in numbers]
        if not yes:
            for message in chosen:
                told = _told(message)
                click.echo(f"{_line(told)}  {_contents(_held(message))}", err=True)
            click.confirm("Delete for good?", abort=True, err=True)
        access, who = at_the_console(store)
        gone = [one for one in chosen if take_away(access, who, one, why)]
        overwritten = overwrite(store.database)
        is_sqlite = store.database.engine == "sqlite"
    for message in gone:
        told = _told(message) | _held(message) | {"overwritten": overwritten}
        line = f"{message.id:>8}  deleted  {message.topic}  {_contents(told)}"
        click.echo(json.dumps(told) if as_json else line)
    if is_sqlite and not overwritten:
        problem = "the store's file was in use: bytes of them may lie in it still"
        click.echo(problem, err=True)


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


def _held(message: "Quarantined") -> dict[str, Any]:
    """Return what a message holds, as far as this gateway can read it by now."""
    from gateway.quarantine import batch_of  # noqa: PLC0415

    counter, readings = batch_of(message) or (None, None)
    return {"size": len(message.message), "batch": counter, "readings": readings}


def _contents(held: dict[str, Any]) -> str:
    if held["batch"] is None:
        return f"{held['size']} bytes that can't be read here"
    return f"{held['size']} bytes, batch {held['batch']} of {held['readings']} readings"


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

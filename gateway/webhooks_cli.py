"""The ``gateway webhooks`` commands."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gateway.opened import at_the_console, configured, opened

if TYPE_CHECKING:  # loaded by who uses them
    from gateway.store import Store
    from gateway.webhooks import Stretch, Webhook

_PAGE = 100


@click.group()
def webhooks() -> None:
    """Look at webhooks, and try again what they could not be told."""


@webhooks.command(name="list")
@configured
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_(file: Path | None, data: Path | None, *, as_json: bool) -> None:
    """List webhooks, and how each fares.

    \b
    Example:
        vitalwire gateway webhooks list --data ./clinic
    """
    with opened(file, data) as (_, store):
        for hook, worst, dead in _fare(store):
            told = {
                "id": hook.id,
                "tenant": hook.tenant,
                "url": hook.url,
                "failures": worst.attempts,
                "problem": worst.problem or None,
                "dead": len(dead),
            }
            state = worst.problem if worst.attempts else "follows"
            line = f"{hook.id:>6}  {hook.url}  {state}  {len(dead)} dead"
            click.echo(json.dumps(told) if as_json else line)


@webhooks.command()
@configured
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def dead(file: Path | None, data: Path | None, *, as_json: bool) -> None:
    """List dead letters: what the gateway has given up telling.

    \b
    Example:
        vitalwire gateway webhooks dead --data ./clinic
    """
    with opened(file, data) as (_, store):
        for hook, _worst, letters in _fare(store):
            for one in letters:
                told = {
                    "id": one.id,
                    "webhook": hook.id,
                    "about": one.about.value,
                    "after": one.after,
                    "through": one.through,
                    "failures": one.attempts,
                    "problem": one.problem,
                }
                line = (
                    f"{one.id:>6}  webhook {hook.id}  {one.about} {one.after + 1} to "
                    f"{one.through}  {one.problem}"
                )
                click.echo(json.dumps(told) if as_json else line)


@webhooks.command()
@click.argument("numbers", nargs=-1, type=click.IntRange(1), metavar="[LETTER]...")
@click.option("--all", "every", is_flag=True, help="All dead letters.")
@configured
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def replay(
    numbers: tuple[int, ...],
    file: Path | None,
    data: Path | None,
    *,
    every: bool,
    as_json: bool,
) -> None:
    """Try dead letters again, by the numbers that ``dead`` shows.

    The gateway does it, when it runs; what cannot be told is dead again after the time
    that webhooks.give_up_hours says.

    \b
    Example:
        vitalwire gateway webhooks replay --all --data ./clinic
    """
    if every is bool(numbers):
        raise click.UsageError("give the numbers of dead letters, or --all")
    with opened(file, data) as (_, store):
        letters = {one.id: hook for hook, _, dead in _fare(store) for one in dead}
        chosen = list(letters) if every else numbers
        again = _replaying(store)
        for number in chosen:
            if number not in letters:
                raise click.ClickException(f"there is no dead letter {number}")
            again(letters[number], number)
            told = {"id": number, "webhook": letters[number].id}
            line = f"{number:>6}  is tried again"
            click.echo(json.dumps(told) if as_json else line)


def _fare(store: "Store") -> Iterator[tuple["Webhook", "Stretch", list["Stretch"]]]:
    """Yield each webhook with what fails most of it, and its dead letters."""
    from gateway.webhooks import Webhooks  # noqa: PLC0415

    kept, after = Webhooks(store.database), 0
    while hooks := kept.webhooks("", after, _PAGE):
        fares = kept.fare([hook.id for hook in hooks])
        for hook in hooks:
            if hook.id in fares:  # else it is forgotten meanwhile
                letters = kept.stretches([hook.id], dead=True)
                yield hook, fares[hook.id].worst, letters
        after = hooks[-1].id


def _replaying(store: "Store") -> Callable[["Webhook", int], Any]:
    from gateway.webhooks import Webhooks  # noqa: PLC0415

    (access, who), kept = at_the_console(store), Webhooks(store.database)

    def again(hook: "Webhook", number: int) -> None:
        with access.recorded(
            who, "webhook.replayed", tenant=hook.tenant, what=f"webhook {hook.id}"
        ) as change:
            kept.replay(change, hook.id, number, access.now_ms())

    return again

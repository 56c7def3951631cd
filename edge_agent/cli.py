"""The ``vitalwire`` command: the agent, and what a technician asks of a device."""

import asyncio
import gc
import logging
import re
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from time import time

import click

from edge_agent.commands import Group
from protocols import kinds
from protocols.config import ConfigError
from protocols.errors import DecodeError
from protocols.kinds import Shown, UnknownKind


class _Commands(Group):
    """Errors that any command may meet become one line on stderr and exit status 1."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except (ConfigError, DecodeError, UnknownKind) as error:
            raise click.ClickException(str(error)) from error
        except BrokenPipeError:
            raise  # click ends in silence, as the reader has gone
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            raise click.ClickException(f"{where}{error.strerror or error}") from error


@click.group(
    cls=_Commands,
    found_in="vitalwire.commands",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="vitalwire")
def main() -> None:
    """Read home medical devices and bring every reading to where it is used."""


@main.command(short_help="Decode captured bytes, without a device.")
@click.argument("kind", required=False)
@click.argument("payload", metavar="[HEX]", required=False)
@click.option("--option", "options", multiple=True, metavar="KEY=VALUE")
@click.option("--list", "names", is_flag=True, help="Print the kinds.")
@click.option("--lines", is_flag=True, help="Decode JSON Lines from standard input.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def decode(
    kind: str | None,
    payload: str | None,
    options: tuple[str, ...],
    *,
    names: bool,
    lines: bool,
    as_json: bool,
) -> None:
    """Decode one captured payload or frame, without a device.

    With --lines each line of standard input is an object of "kind", "hex" and
    perhaps "options", and is answered with one line.

    \b
    Examples:
        vitalwire decode gatt.date_time "e2 07 04 11 0f 33 00"
        vitalwire decode gatt.racp 06000101 --option role=response --json
        vitalwire decode --lines < captured.jsonl
    """
    if names:
        _print_kinds(as_json=as_json)
    elif lines:
        for raw in sys.stdin.buffer:
            line = raw.decode("utf-8", "replace")
            click.echo(_dumps(_decode_line(line)))
    elif kind is None or payload is None:
        raise click.UsageError("give KIND and HEX, or --list, or --lines")
    else:
        shown = kinds.show(kind, _bytes(payload), dict(map(_pair, options)))
        click.echo(_dumps(shown) if as_json else _table(shown))


@main.group()
def agent() -> None:
    """Run the edge agent on this station, and look at it."""


_data = click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("data/agent"),
    show_default=True,
    help="The folder of the agent's memory.",
)


@agent.command("run")
@click.option(
    "--config",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("vitalwire.toml"),
    show_default=True,
    help="Which devices, and where readings go.",
)
@_data
def run(path: Path, data: Path) -> None:
    """Read the configured devices, and send what they say, until stopped.

    \b
    Example:
        vitalwire agent run --config vitalwire.toml --data /var/lib/vitalwire
    """
    gc.disable()  # what a start imports stays: looking through it finds next to none
    from edge_agent import app, config  # noqa: PLC0415 - takes half a second

    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level="INFO")
    with _our_errors():
        asyncio.run(app.run(config.load(path), data))


@agent.command("status")
@_data
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def status(data: Path, *, as_json: bool) -> None:
    """Show what the agent does, and which readings are still on this station.

    \b
    Example:
        vitalwire agent status --json
    """
    from edge_agent import health, outbox  # noqa: PLC0415 - imported when needed

    found = health.read(data)
    if found is None:
        raise click.ClickException(
            f"no agent has run in {data}; start one with 'vitalwire agent run', or "
            "name its folder with --data"
        )
    with _our_errors():
        try:
            with closing(outbox.Outbox(data / "outbox.db", read_only=True)) as box:
                held = health.of_outbox(box, found)
        except outbox.Damaged as error:
            # An agent that runs keeps the file, and goes on with what can be read.
            held = {"problem": f"{error}; mend it by 'vitalwire agent run'"}
    shown: Shown = {
        "running": health.is_running(found.get("pid")),
        **found,
        "outbox": held,
    }
    told = shown if as_json else health.for_people(shown, time())
    click.echo(_dumps(told) if as_json else _table(told))


@agent.command("warm")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def warm(*, as_json: bool) -> None:
    """Compile the kernels now, and keep them, so that no start waits for them.

    Takes up to a few minutes on a small board. Run it once as the user of the agent;
    it does nothing where the kernels are there. Without it the agent does the same
    in the background.

    \b
    Example:
        vitalwire agent warm
    """
    from edge_agent.app import bring_kernels  # noqa: PLC0415 - takes half a second
    from protocols import compiled, kernel  # noqa: PLC0415 - imports numpy

    bring_kernels()
    try:
        made = compiled.make(lambda line: click.echo(line, err=True))
        compiled.load()
    except compiled.Unusable as error:
        raise click.ClickException(f"{error}; the plain kernels serve") from error
    shown: Shown = {
        "kernels": len(kernel.kernels()),
        "form": "native" if compiled.is_native(made) else "numba",
        "folder": str(made),
    }
    click.echo(_dumps(shown) if as_json else _table(shown))


@main.command()
@click.option(
    "--seconds", type=click.FloatRange(1, 600), default=5.0, show_default=True
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
def scan(seconds: float, *, as_json: bool) -> None:
    """List the BLE devices in reach, and the driver that would read each.

    \b
    Example:
        vitalwire scan --seconds 10
    """
    from edge_agent import scan as scanning  # noqa: PLC0415 - imports bleak

    with _our_errors():
        found = asyncio.run(scanning.scan(seconds))
    for device in found:
        driver = device["driver"] or "no driver"
        line = f"{device['address']}  {driver:<20}  {device['name']}"
        click.echo(_dumps(device) if as_json else line)
    if not found and not as_json:
        click.echo(f"nothing advertised in {seconds:g} s; is the device awake?")


@main.command()
@click.argument("driver_id", metavar="DRIVER")
@click.argument("peer", metavar="ADDRESS|PORT")
@click.option("--passkey", help="The six digits printed on the device.")
@click.option("--model", default="", help="Its model, if it can't tell it itself.")
@click.option("--take", is_flag=True, help="Also from a device that tells only once.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
def read(
    driver_id: str,
    peer: str,
    passkey: str | None,
    model: str,
    *,
    take: bool,
    as_json: bool,
) -> None:
    """Read one device now, and print what it says; nothing is kept or sent.

    \b
    Examples:
        vitalwire read gatt-glucose C0:FF:EE:00:00:01 --passkey 123456
        vitalwire read onetouch-ultraeasy /dev/ttyUSB0 --json
    """
    from edge_agent import config  # noqa: PLC0415 - imports msgspec
    from edge_agent import read as reading  # noqa: PLC0415 - imports bleak

    if passkey is not None and not config.is_passkey(passkey):
        raise click.UsageError(f"--passkey {passkey!r} is not six digits")

    async def print_all() -> int:
        count = 0
        async for seen in reading.observations(
            driver_id, peer, passkey, model=model, take=take
        ):
            text = _dumps(reading.show(seen)) if as_json else reading.line(seen)
            click.echo(text)
            count += 1
        return count

    with _our_errors():
        count = asyncio.run(print_all())
    if not as_json:
        click.echo(f"{count} readings", err=True)


@main.command()
@click.option("--data", type=click.Path(file_okay=False, path_type=Path),
              default=Path("data/demo"), show_default=True,
              help="Where broker, store and outbox keep their state.")  # fmt: skip
@click.option(
    "--once", is_flag=True, help="Check, print and exit; 1 if anything is off."
)
@click.option("--json", "as_json", is_flag=True, help="Print the table as JSON.")
def demo(data: Path, *, once: bool, as_json: bool) -> None:
    """Show the whole way of a reading with three simulated devices.

    Starts broker, gateway, virtual radio, devices and agent, each a process of
    its own, and compares what the devices hold with what is stored.

    \b
    Example:
        vitalwire demo --once
    """
    from edge_agent import demo as showing  # noqa: PLC0415 - imported when needed

    try:
        sys.exit(showing.run(data, once=once, as_json=as_json))
    except showing.DemoFailed as error:
        raise click.ClickException(str(error)) from error


@contextmanager
def _our_errors() -> Iterator[None]:
    """Turn the agent's own errors into one line; importing them takes a while."""
    from drivers import registry, sdk  # noqa: PLC0415
    from edge_agent import outbox  # noqa: PLC0415
    from edge_agent import read as reading  # noqa: PLC0415
    from edge_agent.links import ble  # noqa: PLC0415
    from protocols import link  # noqa: PLC0415
    from protocols.gatt import racp  # noqa: PLC0415

    try:
        yield
    except (
        ble.NoRadio,
        racp.Incomplete,
        link.LinkLost,
        link.Refused,
        outbox.OutboxError,
        reading.OnceOnly,
        registry.UnknownDriver,
        sdk.NoReply,
    ) as error:
        raise click.ClickException(str(error)) from error


def _print_kinds(*, as_json: bool) -> None:
    found = kinds.kinds()
    if as_json:
        click.echo(_dumps({name: dict(kind.options) for name, kind in found.items()}))
        return
    for name, kind in found.items():
        options = "  ".join(
            f"{key}={'|'.join(kind.options[key])}" for key in kind.options
        )
        click.echo(f"{name:<40}{options}".rstrip())


def _decode_line(line: str) -> Shown:
    import simplejson  # noqa: PLC0415 - no start of an agent waits for it

    try:
        match simplejson.loads(line):
            case {"kind": str(kind), "hex": str(payload), **more}:
                shown = kinds.show(kind, bytes.fromhex(payload), _options(more))
                return {"ok": True, "value": shown}
        problem = 'is no object with "kind" and "hex"'
    except DecodeError as error:
        return {"ok": False, "error": kinds.show_error(error)}
    except (UnknownKind, ValueError, RecursionError) as error:
        problem = str(error)
    return {"ok": False, "error": {"error": "bad_request", "problem": problem}}


def _options(more: dict[object, object]) -> dict[str, str]:
    found = more.get("options") or {}
    if not isinstance(found, dict):
        raise UnknownKind(f"options {found!r:.40} are no object")
    return {str(key): str(value) for key, value in found.items()}


def _bytes(text: str) -> bytes:
    try:
        return bytes.fromhex(text.replace(":", " "))
    except ValueError:
        wrong = re.search(r"[^0-9a-fA-F\s:]", text)
        where = f"{wrong[0]!r} at {wrong.start()}" if wrong else "half a byte"
        raise click.ClickException(
            f"{where} is not hex, as in '00 6c 01 00 ff'"
        ) from None


def _pair(text: str) -> tuple[str, str]:
    key, sign, value = text.partition("=")
    if not sign:
        raise click.UsageError(f"--option {text!r} is not KEY=VALUE")
    return key, value


def _dumps(shown: object) -> str:
    """Return JSON on one line, in which a decimal keeps its digits."""
    import simplejson  # noqa: PLC0415 - as above

    return simplejson.dumps(shown, use_decimal=True)


def _table(shown: Shown) -> str:
    return "\n".join(_rows(shown, ""))


def _rows(shown: Shown, indent: str) -> Iterator[str]:
    for name, value in shown.items():
        if isinstance(value, dict):
            yield f"{indent}{name}"
            yield from _rows(value, indent + "  ")
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
            yield f"{indent}{name:<24} {text}"

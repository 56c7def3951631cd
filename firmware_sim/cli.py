"""The ``sim`` command: devices that do not exist, for whoever has none.

Bluetooth is only imported by the command that puts devices on the air.
"""

import asyncio
import json
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import click

from firmware_sim import scenario
from firmware_sim.bench import Pairing
from firmware_sim.pty import plugged
from firmware_sim.simulated import OnSerialPort, OverBluetooth, Record, Simulated
from protocols.config import ConfigError

_SCENARIO = click.argument(
    "path",
    metavar="[SCENARIO]",
    type=click.Path(path_type=Path),
    default=scenario.DEMO,
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


class _Group(click.Group):
    """Turns our own errors into one line on stderr and exit status 1."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise  # click ends in silence, as the reader has gone
        except (ConfigError, OSError) as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
def sim() -> None:
    """Simulate devices: over Bluetooth without a radio, and on serial ports."""


@sim.command()
@_SCENARIO
@click.option(
    "--data",
    "folder",
    metavar="DIR",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the bus and the ports are made.",
)
@_JSON
def run(path: Path, folder: Path, *, as_json: bool) -> None:
    """Switch on the devices of a scenario, until Ctrl-C.

    Without SCENARIO it is a demo: a glucose meter and a blood-pressure cuff
    over Bluetooth, and a glucose meter on a serial port. SCENARIO is a file,
    or the name of one that comes with vitalwire: demo, station (the six devices
    of a community health station) or faults (all that can go wrong, once each).
    What a file may say: docs/reference/scenarios.md. An agent that is started
    with DBUS_SYSTEM_BUS_ADDRESS set to the bus that is printed finds the
    Bluetooth devices there.

    \b
    Examples:
        vitalwire sim run --data sim-data
        vitalwire sim run faults --data sim-data
        vitalwire sim run clinic.toml --data sim-data --json
    """
    devices = scenario.load(path)
    folder.mkdir(parents=True, exist_ok=True)
    asyncio.run(_run(devices, folder, as_json=as_json))


@sim.command()
@_SCENARIO
@_JSON
def show(path: Path, *, as_json: bool) -> None:
    """Print what the memories of a scenario's devices hold.

    That is what a station must have read in the end, whatever goes wrong on the
    way. With --json it is one object per line. SCENARIO is as in sim run.

    \b
    Examples:
        vitalwire sim show
        vitalwire sim show station
        vitalwire sim show clinic.toml --json
    """
    for device in scenario.load(path):
        for record in device.truth:
            click.echo(json.dumps(record) if as_json else _line(record))


async def _run(devices: list[Simulated], folder: Path, *, as_json: bool) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    found = [_found(device, folder) for device in devices]
    async with AsyncExitStack() as stack:
        await _plug_in(stack, devices, folder)
        bus = await _radio(stack, devices, folder)
        ready = {"bus": bus, "devices": found}
        click.echo(json.dumps(ready) if as_json else _summary(bus, found))
        await stop.wait()


async def _radio(
    stack: AsyncExitStack, devices: list[Simulated], folder: Path
) -> str | None:
    """Put the Bluetooth devices on the air; return the bus, None without any."""
    over = [device for device in devices if isinstance(device, OverBluetooth)]
    benches = {device.address: device.bench for device in over}
    forget = {one.address: one.bond_lost for one in over if one.bond_lost is not None}
    if not benches:
        return None
    try:  # only here, for it takes a second and is an extra
        from firmware_sim.bluez import radio  # noqa: PLC0415
        from firmware_sim.bus import NoBus  # noqa: PLC0415
    except ModuleNotFoundError as error:
        problem = (
            f"{error.name} is missing; install it with: pip install vitalwire[sim]"
        )
        raise ConfigError(problem) from error
    try:
        return await stack.enter_async_context(radio(folder, benches, forget))
    except NoBus as error:
        raise ConfigError(str(error)) from error


async def _plug_in(
    stack: AsyncExitStack, devices: list[Simulated], folder: Path
) -> None:
    for device in devices:
        if isinstance(device, OnSerialPort):
            path = folder / device.port
            await stack.enter_async_context(plugged(device.bench, path))


def _found(device: Simulated, folder: Path) -> dict[str, str]:
    """Say how to find and open a device."""
    config = device.config
    found = {"name": config.name, "model": config.model, "serial": config.serial}
    if isinstance(device, OnSerialPort):
        return found | {"port": str(folder.absolute() / device.port)}
    found["address"] = device.address
    if device.bench.pairing is Pairing.PASSKEY:
        found["passkey"] = f"{device.bench.passkey:06}"
    return found


def _summary(bus: str | None, found: list[dict[str, str]]) -> str:
    parts = [] if bus is None else [f"DBUS_SYSTEM_BUS_ADDRESS={bus}"]
    for device in found:
        where = device.get("port") or device["address"]
        passkey = f" passkey {device['passkey']}" if "passkey" in device else ""
        parts.append(f"{device['name']} at {where}{passkey}")
    return "ready: " + "; ".join(parts)


def _line(record: Record) -> str:
    values = "  ".join(
        f"{quantity} {value['value']} {value['unit']}"
        for quantity, value in record["values"].items()
    )
    sequence = "" if record["sequence"] is None else f"#{record['sequence']}"
    return f"{record['device']:<12} {record['device_time']} {sequence:<7} {values}"

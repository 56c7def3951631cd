"""The agent's composition root: builds all parts, runs one task per device."""

import asyncio
import gc
import logging
import os
import signal
from contextlib import closing
from pathlib import Path

from drivers import registry
from drivers.sdk import GattDriver, SerialDriver
from edge_agent.capture import Station
from edge_agent.config import Config, Device
from edge_agent.health import Health
from edge_agent.links.ble import Radio
from edge_agent.memory import let_go, share_heap
from edge_agent.outbox import Outbox
from edge_agent.uplink import Uplink
from edge_agent.visits import attend
from protocols.config import ConfigError

_log = logging.getLogger(__name__)

_START_S = 30.0  # by then the devices that are awake were met, and the broker


async def run(config: Config, folder: Path) -> None:
    """Read the devices and send what they say, until SIGINT or SIGTERM.

    Args:
        config: Which devices, and where readings go.
        folder: Where the outbox stands.

    Raises:
        ConfigError: A device's driver does not fit the way it is connected.
        UnknownDriver: A device's driver is not installed.
        OutboxError: The outbox can't be used.
    """
    share_heap()
    drivers = [(device, registry.load(device.driver)) for device in config.device]
    for device, driver in drivers:
        if isinstance(driver, GattDriver) is (device.address is None):
            way = "an address" if isinstance(driver, GattDriver) else "a port"
            raise ConfigError(f"{device.peer}: the driver {driver.id} needs {way}")
    with closing(Outbox(folder / "outbox.db")) as outbox:
        outbox.serve(config.tenant, config.station)
        station = Station(config, outbox, Health(folder))
        if any(isinstance(driver, GattDriver) for _, driver in drivers):
            station.radio = Radio(station.health.tell_bluetooth)
            station.health.bluetooth = "starting"
        knows_time = station.knows_time()
        station.health.save()
        uplink = Uplink(config, outbox, station.health, station.captured)
        if not knows_time:
            _log.warning("clock: %s", station.health.clock)
        main = asyncio.ensure_future(_tasks(station, uplink, drivers))
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, main.cancel)
        try:
            await main
        except asyncio.CancelledError:
            _log.info("agent.stopped")


async def _tasks(
    station: Station,
    uplink: Uplink,
    drivers: list[tuple[Device, GattDriver | SerialDriver]],
) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(uplink.run())
        group.create_task(_start(station.health))
        if station.radio is not None:
            peers = [device.peer for device, _ in drivers]
            group.create_task(station.radio.run(peers))
        for device, driver in drivers:
            group.create_task(attend(station, device, driver))


def bring_kernels() -> None:
    """Import all kernels of the agent; with numpy, for which no start waits."""
    # No kernel multiplies matrices; threads for it would only wait, and busily so.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from edge_agent import quality  # noqa: F401, PLC0415
    from protocols import compiled  # noqa: F401, PLC0415
    from protocols.uplink import batch  # noqa: F401, PLC0415


async def _start(health: Health) -> None:
    """Do the rest of the start, beside the first visits, and let go of what it took."""
    gc.freeze()  # all that is there by now stays
    gc.enable()  # the command put it off
    await asyncio.to_thread(let_go)  # so that never all of it is there at once
    await asyncio.to_thread(bring_kernels)
    from protocols import compiled  # noqa: PLC0415 - as `bring_kernels` says

    health.kernels = await compiled.warm() or "compiled"
    health.save()
    await asyncio.to_thread(let_go)
    await asyncio.sleep(_START_S)
    await asyncio.to_thread(let_go)

"""One device's life: meet it, read it, let it rest, and meet it again."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from time import time

from drivers.sdk import (
    DecodeError,
    GattDriver,
    LinkLost,
    NoReply,
    Refused,
    SerialDriver,
)
from edge_agent import backoff, config
from edge_agent.capture import Capture, Start, Station
from edge_agent.health import DeviceHealth
from edge_agent.links.ble import BleLink
from edge_agent.links.serial import open_port
from edge_agent.outbox import OutboxError
from protocols.gatt.racp import Incomplete
from protocols.observation import LinkSecurity

_log = logging.getLogger(__name__)

_PORT_REST_S = 15.0  # it costs nothing to look at a port


async def attend(
    station: Station, device: config.Device, driver: GattDriver | SerialDriver
) -> None:
    """Visit a device again and again, for ever; survive whatever it does."""
    health = station.health.devices.setdefault(device.peer, DeviceHealth(driver.id))
    while True:
        health.state = "waiting"
        rest_s = device.every_s
        try:
            await visit(station, device, driver)
            health.visits += 1
            health.failures, health.problem, health.state = 0, "", "resting"
        except (
            LinkLost,
            NoReply,
            Refused,
            DecodeError,
            Incomplete,
            OutboxError,
        ) as error:
            level = logging.DEBUG if str(error) == health.problem else logging.WARNING
            _failed(health, error)
            _log.log(level, "visit.failed %s at %s: %s", driver.id, device.peer, error)
            rest_s = backoff.delay_s(health.failures)
            if isinstance(driver, SerialDriver):
                # Somebody may plug it in, or switch it on, for a minute only; and
                # what was asked for in vain must not come at the next visit.
                rest_s = _PORT_REST_S
        except Exception as error:  # noqa: BLE001 - logged with its traceback
            # The one boundary: a faulty driver must not stop the other devices.
            _failed(health, error)
            _log.exception("visit.broke %s at %s", driver.id, device.peer)
            rest_s = backoff.delay_s(health.failures)
        health.visited_at = time()
        station.health.save()
        await asyncio.sleep(rest_s)


async def visit(
    station: Station, device: config.Device, driver: GattDriver | SerialDriver
) -> None:
    """Visit a device once, as soon as it is there.

    Raises:
        LinkLost: It went away before the visit was over.
        NoReply: It is there and does not answer.
        Refused: It refused what the driver needs.
        DecodeError: It answers what it must not.
        Incomplete: It holds readings that did not come.
    """
    capture = Capture(station, device, driver)
    await capture.recover()
    async with AsyncExitStack() as held:
        start: Start
        if driver.once_only:
            await asyncio.to_thread(station.outbox.check_room)
        if isinstance(driver, GattDriver):
            link = await held.enter_async_context(
                _ble(station, device, driver, capture)
            )
            start = partial(driver.visit, link)
            capture.security = link.security
        else:
            port = open_port(device.peer, driver, capture.note, capture.keep)
            start = partial(driver.visit, await held.enter_async_context(port))
            capture.security = LinkSecurity.WIRED
        station.health.devices[device.peer].state = "visiting"
        station.health.save()
        await capture.hear(start)
    await capture.recover()


@asynccontextmanager
async def _ble(
    station: Station, device: config.Device, driver: GattDriver, capture: Capture
) -> AsyncIterator[BleLink]:
    if station.radio is None:
        raise LinkLost("this station has no Bluetooth radio")
    seen = await station.radio.seen(device.peer)
    async with station.radio.connect(
        seen, device.passkey, capture.journal, capture.note, pair=driver.pairs
    ) as link:
        yield link


def _failed(health: DeviceHealth, error: Exception) -> None:
    health.failures += 1
    health.problem = str(error) or type(error).__name__
    health.state = "failing"

"""A visit as the agent makes it, with a real outbox and a link to a simulated device.

Capturing uses threads, so each visit runs a loop of its own.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from drivers.sdk import GattDriver, Packet, SerialDriver
from edge_agent.capture import Capture, Station
from edge_agent.config import Config, Device
from edge_agent.health import DeviceHealth, Health
from edge_agent.outbox import Outbox
from firmware_sim.bench import GattBench, SerialBench
from firmware_sim.link import SimGattLink, SimSerialLink
from firmware_sim.virtual_time import VirtualTimeLoop

PEER = "C0:FF:EE:00:00:01"
DEVICE = Device("any", address=PEER)
ALLOWED = Device("any", address=PEER, set_clock=True)

# Behind what the journal has: a device tells it only once, and BlueZ has confirmed it.
_WRITES = ("capture", "meet", "keep_clock", "keep_undecoded", "unjournal")


class Unhurried(VirtualTimeLoop):
    """A loop in which no device is waited for, and the disk is."""

    def run_in_executor(self, _: object, func: Any, *args: Any) -> Any:  # noqa: ANN401
        """Run it at once."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except BaseException as error:  # noqa: BLE001 - to whom awaits it
            future.set_exception(error)
        return future


class Killed(BaseException):
    """The agent is no more."""


class Journaling(SimGattLink):
    """A link that lets the agent write each packet down before it is seen."""

    journal: Callable[[list[Packet]], Awaitable[None]]

    async def receive(self) -> Packet:
        """Return the next packet, behind its journaling."""
        packet = await super().receive()
        await self.journal([packet])
        return packet


def station_in(folder: Path) -> Station:
    """Return a station that knows the time, and keeps its outbox in a folder."""
    outbox = Outbox(folder / "outbox.db")
    return Station(Config("s-1"), outbox, Health(folder), is_synchronised=lambda: True)


def read(
    station: Station,
    driver: GattDriver | SerialDriver,
    device: GattBench | SerialBench,
    *,
    config: Device | None = None,
    kind: type[Journaling] = Journaling,
    **more: Any,  # noqa: ANN401 - as the link takes it
) -> SimGattLink | SimSerialLink:
    """Visit once, as `edge_agent.visits.visit` does with an open link."""
    station.health.devices.setdefault(PEER, DeviceHealth(driver.id))
    # A Bioland is read only so.
    config = config or (ALLOWED if driver.id == "bioland" else DEVICE)
    is_serial = isinstance(driver, SerialDriver)

    async def run() -> SimGattLink | SimSerialLink:
        capture = Capture(station, config, driver)
        await capture.recover()
        link: SimGattLink | SimSerialLink
        if isinstance(driver, GattDriver):
            link = kind(device, **more)  # type: ignore[arg-type]
            link.journal = capture.journal
            start = partial(driver.visit, link)
        else:
            link = SimSerialLink(device, **more)  # type: ignore[arg-type]
            start = partial(driver.visit, link)
        await capture.hear(start)
        await capture.recover()
        return link

    with asyncio.Runner(loop_factory=Unhurried if is_serial else None) as runner:
        return runner.run(run())


@contextmanager
def killed_at(station: Station, number: int) -> Iterator[list[str]]:
    """Let the station's disk take so many writes, and no more."""
    done: list[str] = []

    def mortal(name: str, plain: Callable[..., Any]) -> Callable[..., Any]:
        def write(*args: Any, **more: Any) -> Any:  # noqa: ANN401
            if len(done) >= number:
                raise Killed
            done.append(name)
            return plain(*args, **more)

        return write

    with pytest.MonkeyPatch.context() as patch:
        for name in _WRITES:
            patch.setattr(
                station.outbox, name, mortal(name, getattr(station.outbox, name))
            )
        yield done

"""BlueZ's links to virtual devices, below D-Bus."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from bumble import ll
from bumble.controller import Controller
from bumble.device import Device as Host

from firmware_sim.air import Air, address_of
from firmware_sim.ble import Peripheral
from firmware_sim.bluez_agent import Agents
from firmware_sim.bluez_device import Central, Device
from firmware_sim.bus import Bus, Objects, private_bus
from firmware_sim.devices.gatt_glucose import GlucoseMeter

pytestmark = pytest.mark.integration

_METER = "C0:5A:11:00:00:01"


class _Noticed(Air):
    """Calls ``notice`` just before each advertisement."""

    notice: Callable[[], None] = staticmethod(lambda: None)

    def send_advertising_pdu(
        self, sender_controller: Controller, packet: ll.AdvertisingPdu
    ) -> None:
        self.notice()
        super().send_advertising_pdu(sender_controller, packet)

    async def advertisement(self) -> None:
        """Wait for the next one."""
        came = asyncio.Event()
        self.notice = came.set
        async with asyncio.timeout(5):
            await came.wait()


@asynccontextmanager
async def _meter(folder: Path, air: Air) -> AsyncIterator[Device]:
    """Provide a meter as BlueZ shows it, advertising."""
    meter = Peripheral(GlucoseMeter([]), _METER)
    await meter.start(air)
    async with private_bus(folder) as address:
        bus = await Bus(bus_address=address).connect()
        central = Central(air, Objects(bus), Agents(bus))
        await central.device.power_on()
        device = Device(central, address_of(_METER))
        central.device.on(Host.EVENT_CONNECTION, device.on_connection)
        yield device
        await central.close()
        await meter.stop()
        bus.disconnect()
        await bus.wait_for_disconnect()  # type: ignore[no-untyped-call]


async def _turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.mark.parametrize("late", range(4))
def test_a_link_made_as_it_is_given_up_is_dropped(tmp_path: Path, late: int) -> None:
    """The meter took itself for connected, and advertised no more, for ever."""

    async def run() -> None:
        air = _Noticed()
        async with _meter(tmp_path, air) as device:
            given_up: list[asyncio.Future[None]] = []

            async def give_up() -> None:
                await _turns(late)
                await device.hang_up()

            def notice() -> None:
                if not given_up:
                    given_up.append(asyncio.ensure_future(give_up()))

            linking = asyncio.ensure_future(device._link())
            await _turns(10)
            air.notice = notice  # the advertisement that the link is made on
            await asyncio.wait({linking})
            assert late > 1 or str(linking.exception()) == "br-connection-canceled"
            await given_up[0]
            await air.advertisement()

    asyncio.run(run())

"""Which BLE devices are in reach, and which driver would read each."""

from uuid import UUID

from drivers import registry
from drivers.sdk import GattDriver
from edge_agent.links.ble import advertisers
from protocols.kinds import Shown


async def scan(seconds: float) -> list[Shown]:
    """Listen for advertisements.

    Args:
        seconds: For how long, in s.

    Returns:
        The devices, the nearest first.

    Raises:
        NoRadio: There is no Bluetooth.
    """
    loaded = [registry.load(name) for name in registry.names()]
    drivers = {
        driver.service: driver.id for driver in loaded if isinstance(driver, GattDriver)
    }
    found = await advertisers(seconds)
    found.sort(key=lambda pair: -pair[1].rssi)
    return [
        {
            "address": device.address,
            "name": advert.local_name or "",
            "rssi_dbm": advert.rssi,
            "driver": _driver(advert.service_uuids, drivers),
        }
        for device, advert in found
    ]


def _driver(services: list[str], drivers: dict[UUID, str]) -> str | None:
    fitting = (drivers.get(UUID(service)) for service in services)
    return next(filter(None, fitting), None)

"""Which BLE devices are in reach, and which driver would read each."""

from collections.abc import Sequence
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
    drivers = [driver for driver in loaded if isinstance(driver, GattDriver)]
    found = await advertisers(seconds)
    found.sort(key=lambda pair: -pair[1].rssi)
    return [
        {
            "address": device.address,
            "name": advert.local_name or "",
            "rssi_dbm": advert.rssi,
            "driver": suggest(advert.local_name or "", advert.service_uuids, drivers),
        }
        for device, advert in found
    ]


def suggest(
    name: str, services: Sequence[str], drivers: Sequence[GattDriver]
) -> str | None:
    """Return the driver that would read a device; None if none would.

    Many makers use the same service, as FFF0, and some advertise none: the name
    says more, and the longest that fits says most; of several drivers that know
    it, the service decides. Without a known name, of a standard service that
    several drivers claim it is the one for any device that has it; a maker's own
    that several claim says nothing.

    Args:
        name: What it advertises as its name; empty if nothing.
        services: The services that it advertises.
        drivers: Those to choose from.
    """
    offered = {UUID(service) for service in services}
    named: dict[int, set[str]] = {}
    for driver in drivers:
        for model in driver.models:
            for start in filter(name.startswith, model.advertises):
                named.setdefault(len(start), set()).add(driver.id)
    claim = {one.id for one in drivers if offered & {one.service, *one.more_services}}
    if named:
        by_name = named[max(named)]
        claim = by_name & claim or by_name
    elif len(claim) > 1:
        claim = {one for one in claim if one.startswith("gatt-")}
    return claim.pop() if len(claim) == 1 else None

"""Answers as BlueZ does, ``org.bluez`` on D-Bus, for devices that do not exist.

bleak, and our own pairing agent, run unmodified against it: what they call on
the bus becomes what a real Bluetooth host, bumble's, does on the `air.Air`.

Not modelled: implicit pairing when a read is refused, BlueZ's two seconds on a
disconnect, its removal of devices that are not seen any more, AcquireNotify and
AcquireWrite, a second adapter, an adapter that is switched off.

Source: BlueZ 5.66, doc/adapter-api.txt.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from uuid import UUID

from bumble import hci
from bumble.device import Advertisement, Connection
from bumble.device import Device as Host
from dbus_fast import Message, Variant
from dbus_fast.aio import MessageBus

from firmware_sim.air import Air
from firmware_sim.bench import GattBench
from firmware_sim.ble import Peripheral
from firmware_sim.bluez_agent import Agents
from firmware_sim.bluez_device import (
    ADAPTER,
    ADAPTER_ADDRESS,
    Central,
    Device,
    seen_in,
)
from firmware_sim.bluez_gatt import FALSE, TRUE, error
from firmware_sim.bus import (
    NOTHING,
    Answer,
    Bus,
    Call,
    Objects,
    Properties,
    private_bus,
)

_ADAPTER1 = "org.bluez.Adapter1"
_HANG_UP_S = 2.0


@asynccontextmanager
async def radio(
    folder: Path,
    benches: Mapping[str, GattBench],
    bonds_lost: Mapping[str, int] = MappingProxyType({}),
) -> AsyncIterator[str]:
    """Run a private bus, BlueZ on it, and a device for every bench.

    Args:
        folder: Where the bus keeps its configuration and its socket.
        benches: The devices by address; `air.address_of` tells its type.
        bonds_lost: The visits behind which some of them forget their bonds.

    Yields:
        What to put in ``DBUS_SYSTEM_BUS_ADDRESS``.

    Raises:
        NoBus: There is no ``dbus-daemon``.
    """
    air = Air()
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(private_bus(folder))
        for where, bench in benches.items():
            lost = bonds_lost.get(where)
            peripheral = Peripheral(bench, where, bond_lost=lost)
            await peripheral.start(air)
            stack.push_async_callback(peripheral.stop)
        await stack.enter_async_context(bluez(address, air))
        yield address


@asynccontextmanager
async def bluez(bus_address: str, air: Air) -> AsyncIterator[None]:
    """Serve ``org.bluez`` on a bus for everything that is on the ``air``."""
    log = logging.getLogger("bumble")
    if log.level == logging.NOTSET:  # it warns of what is ordinary here
        log.setLevel(logging.ERROR)
    bus = await Bus(bus_address=bus_address).connect()
    adapter = _Adapter(bus, air)
    try:
        await adapter.start()
        await bus.request_name("org.bluez")
        yield
    finally:
        await adapter.stop()
        bus.disconnect()
        await bus.wait_for_disconnect()  # type: ignore[no-untyped-call]


class _Adapter:
    """The one adapter: who discovers on it, and every device that it has seen."""

    def __init__(self, bus: MessageBus, air: Air) -> None:
        self._bus = bus
        self._objects = Objects(bus)
        self._agents = Agents(bus)
        self._central = Central(air, self._objects, self._agents)
        self._host = self._central.device
        self._devices: dict[str, Device] = {}
        self._sessions: dict[str, Properties] = {}  # discoveries, by client
        self._filters: dict[str, Properties] = {}
        self._scanning = asyncio.Lock()

    async def start(self) -> None:
        """Power on, and show the adapter."""
        self._host.on(Host.EVENT_ADVERTISEMENT, self._on_advertisement)
        self._host.on(Host.EVENT_CONNECTION, self._on_connection)
        await self._host.power_on()
        self._bus.add_message_handler(self._on_signal)
        await self._bus.call(
            Message(
                destination="org.freedesktop.DBus",
                path="/org/freedesktop/DBus",
                interface="org.freedesktop.DBus",
                member="AddMatch",
                signature="s",
                body=["sender='org.freedesktop.DBus',member='NameOwnerChanged'"],
            )
        )
        self._agents.show(self._objects)
        calls: dict[str, Call] = {
            "SetDiscoveryFilter": self._set_filter,
            "GetDiscoveryFilters": self._get_filters,
            "StartDiscovery": self._start_discovery,
            "StopDiscovery": self._stop_discovery,
            "RemoveDevice": self._remove_device,
        }
        self._objects.add(ADAPTER, _ADAPTER1, _properties(), calls)

    async def stop(self) -> None:
        """Hang up everywhere, and power off."""
        self._bus.remove_message_handler(self._on_signal)
        await self._objects.close()
        # A link that ends from both sides at once may never be answered for.
        with suppress(TimeoutError):
            async with asyncio.timeout(_HANG_UP_S):
                for device in list(self._devices.values()):
                    await device.hang_up()
        with suppress(TimeoutError):
            async with asyncio.timeout(_HANG_UP_S):
                await self._central.close()

    def _on_connection(self, connection: Connection) -> None:
        device = self._devices.get(str(connection.peer_address))
        if device is None:  # removed while it was dialled
            self._central.run(connection.disconnect())
        else:
            device.on_connection(connection)

    def _on_advertisement(self, advertisement: Advertisement) -> None:
        seen = seen_in(advertisement.data)
        if not any(_wanted(seen, each) for each in self._sessions.values()):
            return
        key = str(advertisement.address)
        if key not in self._devices:
            self._devices[key] = Device(self._central, advertisement.address)
        self._devices[key].on_advertisement(seen, advertisement.rssi)

    def _on_signal(self, message: Message) -> bool:
        if message.member == "NameOwnerChanged" and not message.body[2]:
            client = message.body[0]
            self._agents.forget_client(client)
            self._filters.pop(client, None)
            if client in self._sessions:
                self._central.run(self._end_discovery(client))
            for device in self._devices.values():
                device.forget_client(client)
        return False

    async def _set_filter(self, message: Message) -> Answer:
        self._filters[message.sender or ""] = message.body[0]
        return NOTHING

    async def _get_filters(self, _message: Message) -> Answer:
        return "as", [["UUIDs", "RSSI", "Transport", "DuplicateData", "Pattern"]]

    async def _start_discovery(self, message: Message) -> Answer:
        client = message.sender or ""
        if client in self._sessions:
            raise error("InProgress", "Operation already in progress")
        self._sessions[client] = self._filters.get(client, {})
        async with self._scanning:
            if not self._host.is_scanning:
                await self._host.start_scanning(
                    own_address_type=hci.OwnAddressType.PUBLIC
                )
                self._discovering(on=True)
        return NOTHING

    async def _stop_discovery(self, message: Message) -> Answer:
        if (message.sender or "") not in self._sessions:
            raise error("Failed", "No discovery started")
        await self._end_discovery(message.sender or "")
        return NOTHING

    async def _end_discovery(self, client: str) -> None:
        self._sessions.pop(client, None)
        async with self._scanning:
            if self._host.is_scanning and not self._sessions:
                await self._host.stop_scanning()
                for device in self._devices.values():
                    device.change({}, "RSSI")
                self._discovering(on=False)

    def _discovering(self, *, on: bool) -> None:
        self._objects.change(ADAPTER, _ADAPTER1, {"Discovering": Variant("b", on)})

    async def _remove_device(self, message: Message) -> Answer:
        keys = {device.path: key for key, device in self._devices.items()}
        key = keys.get(message.body[0])
        if key is None:
            raise error("DoesNotExist", "Does Not Exist")
        device = self._devices[key]
        await device.hang_up()
        await device.forget_bond()
        self._devices.pop(key, None)
        self._objects.remove(device.path)
        return NOTHING


def _properties() -> Properties:
    return {
        "Address": Variant("s", ADAPTER_ADDRESS),
        "AddressType": Variant("s", "public"),
        "Name": Variant("s", "vitalwire"),
        "Alias": Variant("s", "vitalwire"),
        "Class": Variant("u", 0),
        "Powered": TRUE,
        "Discoverable": FALSE,
        "Pairable": TRUE,
        "Discovering": FALSE,
        "UUIDs": Variant("as", []),
        "Roles": Variant("as", ["central", "peripheral"]),
    }


def _wanted(seen: Properties, discovery: Properties) -> bool:
    if "UUIDs" not in discovery:
        return True
    asked = {str(UUID(uuid)) for uuid in discovery["UUIDs"].value}
    return not asked.isdisjoint(seen["UUIDs"].value)

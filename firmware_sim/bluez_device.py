"""BlueZ's Device1: one remote device, its link and its bond.

Source: BlueZ 5.66, doc/device-api.txt.
"""

import asyncio
from collections.abc import Awaitable

from bumble import core, hci
from bumble.device import Connection
from bumble.keys import MemoryKeyStore
from dbus_fast import DBusError, Message, Variant

from firmware_sim.air import Air, address_of, attach
from firmware_sim.bluez_agent import Agents, Asker
from firmware_sim.bluez_gatt import (
    FALSE,
    TRUE,
    Attributes,
    LinkGone,
    error,
    linked,
    text_of,
)
from firmware_sim.bus import NOTHING, Answer, Call, Objects, Properties

ADAPTER = "/org/bluez/hci0"
ADAPTER_ADDRESS = "02:00:00:00:00:01"

_DEVICE1 = "org.bluez.Device1"
_ABORT = "le-connection-abort-by-local"
_DIAL_S = 20.0  # the kernel's limit for one connection attempt
_PAIR_S = 30.0  # Core 5.4, 3.H.3.4: the Security Manager's time-out


class Central:
    """What all devices share: the host that dials them, and its bonds.

    Attributes:
        bonds: The keys, by address.
        device: The host.
        objects: Where devices are shown.
        agents: Who is asked when they pair.
    """

    def __init__(self, air: Air, objects: Objects, agents: Agents) -> None:
        self.bonds = MemoryKeyStore()
        self.device, self._controller = attach(air, "hci0", address_of(ADAPTER_ADDRESS))
        self.device.keystore = self.bonds
        self.objects = objects
        self.agents = agents
        self._dialling = asyncio.Lock()
        self._tasks: set[asyncio.Future[None]] = set()

    async def close(self) -> None:
        """Cancel what is still being done beside the calls, and power off."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.device.power_off()

    def run(self, work: Awaitable[None]) -> None:
        """Do ``work`` beside the call that asks for it."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def dial(self, address: hci.Address) -> None:
        """Connect, one device at a time as a controller does."""
        async with self._dialling:
            try:
                async with asyncio.timeout(_DIAL_S):
                    await self.device.connect_le(
                        address,
                        own_address_type=hci.OwnAddressType.PUBLIC,
                        timeout=None,
                    )
            finally:
                self._controller.pending_le_connection = None
                # A link may be made as it is given up. bumble, 0.0.236 at least, fails
                # where it is told of one then, and the device is held for ever.
                self.device.connect_own_address_type = hci.OwnAddressType.PUBLIC


class Device:
    """One remote device: its link, its bond, its attributes.

    Attributes:
        path: Where it is shown.
    """

    def __init__(self, central: Central, address: hci.Address) -> None:
        text = address.to_string(with_type_qualifier=False)
        self.path = f"{ADAPTER}/dev_{text.replace(':', '_')}"
        self._central = central
        self._objects = central.objects
        self._attributes = Attributes(central.objects, self.path)
        self._address = address
        self._attempt: asyncio.Future[None] | None = None
        self._is_pairing = False
        self._reports = 0

    def change(self, changed: Properties, *gone: str) -> None:
        """Set properties of the device, delete those ``gone``, and say so."""
        self._objects.change(self.path, _DEVICE1, changed, *gone)

    def on_advertisement(self, seen: Properties, rssi: int) -> None:
        """Show the device, or what is new about it: its RSSI at least."""
        self._reports += 1
        now = {**seen, "RSSI": Variant("n", rssi - self._reports % 2)}
        if "Name" in seen:
            now["Alias"] = seen["Name"]
        if self._value("Address") is None:
            calls: dict[str, Call] = {
                "Connect": self._connect,
                "Disconnect": self._disconnect,
                "Pair": self._pair,
                "CancelPairing": self._cancel_pairing,
            }
            properties = {**_properties(self._address), **now}
            self._objects.add(self.path, _DEVICE1, properties, calls)
            return
        now["UUIDs"] = self._uuids(now["UUIDs"].value)
        self.change(
            {name: v for name, v in now.items() if self._value(name) != v.value}
        )

    def on_connection(self, connection: Connection) -> None:
        """Hold the link, whoever has asked for it."""
        self._attributes.connection = connection
        connection.on(Connection.EVENT_DISCONNECTION, self._on_disconnection)
        self.change({"Connected": TRUE})

    def forget_client(self, client: str) -> None:
        """Unsubscribe for a client that has left the bus."""
        self._central.run(self._attributes.forget_client(client))

    async def hang_up(self) -> None:
        """Drop the link, or the attempt at one."""
        if self._attempt is not None:
            self._attempt.cancel()
            await asyncio.wait({self._attempt})  # it may connect until it has ended
        if self._attributes.connection is not None:
            try:
                await linked(self._attributes.connection.disconnect())
            except (LinkGone, hci.HCI_Error):
                return  # the other side was faster

    async def forget_bond(self) -> None:
        """Delete the device's keys."""
        await self._central.bonds.delete(str(self._address))

    def _value(self, name: str) -> object:
        return self._objects.value(self.path, _DEVICE1, name)

    def _uuids(self, more: list[str]) -> Variant:
        known = self._objects.value(self.path, _DEVICE1, "UUIDs")
        return Variant("as", sorted({*known, *more}))

    @property
    def _is_bonded(self) -> bool:
        return str(self._address) in self._central.bonds.all_keys

    def _on_disconnection(self, _reason: int) -> None:
        self._attributes.end()
        self.change({"ServicesResolved": FALSE, "Connected": FALSE})

    async def _connect(self, _message: Message) -> Answer:
        await self._link()
        self._central.run(self._resolve())
        return NOTHING

    async def _disconnect(self, _message: Message) -> Answer:
        if self._attributes.connection is None and self._attempt is None:
            raise error("NotConnected", "Not Connected")
        await self.hang_up()
        return NOTHING

    async def _link(self) -> None:
        """Connect, and encrypt with the key of the bond if there is one."""
        if self._attempt is not None:
            raise error("InProgress", "In Progress")
        if self._attributes.connection is not None:
            return
        self._attempt = asyncio.ensure_future(self._central.dial(self._address))
        try:
            await linked(self._attempt)
            if self._is_bonded and self._attributes.connection is not None:
                await linked(self._attributes.connection.encrypt())
        except LinkGone as failure:
            name = "br-connection-canceled" if self._attempt.cancelled() else _ABORT
            raise error("Failed", name) from failure
        except (TimeoutError, hci.HCI_Error) as failure:
            await self.hang_up()  # as the kernel does when the device lost its key
            raise error("Failed", _ABORT) from failure
        finally:
            self._attempt = None

    async def _pair(self, message: Message) -> Answer:
        if self._is_bonded:
            raise error("AlreadyExists", "Already Exists")
        if self._is_pairing:
            raise error("InProgress", "In Progress")
        asker = self._central.agents.asker(message.sender or "", self.path)
        self._is_pairing = True
        try:
            await self._link()
            async with asyncio.timeout(_PAIR_S):
                await linked(self._bond(asker))
        except core.ProtocolError as failure:
            raise error("AuthenticationFailed", "Authentication Failed") from failure
        except LinkGone as failure:
            raise error(
                "AuthenticationCanceled", "Authentication Canceled"
            ) from failure
        except TimeoutError as failure:
            await self.hang_up()
            raise error("AuthenticationTimeout", "Authentication Timeout") from failure
        finally:
            self._is_pairing = False
            await asker.close()
        self.change({"Paired": TRUE, "Bonded": TRUE})
        self._central.run(self._resolve())
        return NOTHING

    async def _bond(self, asker: Asker) -> None:
        if self._attributes.connection is None:
            raise LinkGone
        self._central.device.pairing_config_factory = lambda _: asker.config()
        await self._attributes.connection.pair()

    async def _cancel_pairing(self, _message: Message) -> Answer:
        if not self._is_pairing:
            raise error("DoesNotExist", "Does Not Exist")
        await self.hang_up()
        return NOTHING

    async def _resolve(self) -> None:
        if self._value("ServicesResolved"):
            return
        try:
            uuids = await self._attributes.resolve()
        except DBusError:
            return  # Connected goes false, which is all that a client is told
        self.change({"UUIDs": self._uuids(uuids), "ServicesResolved": TRUE})


def _properties(address: hci.Address) -> Properties:
    text = address.to_string(with_type_qualifier=False)
    flags = ("Paired", "Bonded", "Trusted", "Blocked", "Connected", "ServicesResolved")
    return {
        "Address": Variant("s", text),
        "AddressType": Variant("s", "public" if address.is_public else "random"),
        "Alias": Variant("s", text.replace(":", "-")),
        "Adapter": Variant("o", ADAPTER),
        **dict.fromkeys(flags, FALSE),
    }


def seen_in(data: core.AdvertisingData) -> Properties:
    """Return what an advertisement tells, as properties of a device."""
    kinds = core.AdvertisingData.Type
    seen: Properties = {}
    uuids: list[str] = []
    makers: dict[int, Variant] = {}
    services: dict[str, Variant] = {}
    for kind, value in data.ad_structures:
        match kind:
            case kinds.COMPLETE_LOCAL_NAME | kinds.SHORTENED_LOCAL_NAME:
                seen["Name"] = Variant("s", value.decode(errors="replace"))
            case (
                kinds.COMPLETE_LIST_OF_16_BIT_SERVICE_CLASS_UUIDS
                | kinds.INCOMPLETE_LIST_OF_16_BIT_SERVICE_CLASS_UUIDS
            ):
                uuids += [text_of(value[i : i + 2]) for i in range(0, len(value), 2)]
            case (
                kinds.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS
                | kinds.INCOMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS
            ):
                uuids += [text_of(value[i : i + 16]) for i in range(0, len(value), 16)]
            case kinds.MANUFACTURER_SPECIFIC_DATA:
                maker = int.from_bytes(value[:2], "little")
                makers[maker] = Variant("ay", value[2:])
            case kinds.SERVICE_DATA_16_BIT_UUID:
                services[text_of(value[:2])] = Variant("ay", value[2:])
    seen["UUIDs"] = Variant("as", sorted(set(uuids)))
    if makers:
        seen["ManufacturerData"] = Variant("a{qv}", makers)
    if services:
        seen["ServiceData"] = Variant("a{sv}", services)
    return seen

"""Answers as BlueZ does, ``org.bluez`` on D-Bus, for devices that do not exist.

bleak, and our own pairing agent, run unmodified against it: what they call on
the bus becomes what a real Bluetooth host, bumble's, does on the `Air`.

Not modelled: implicit pairing when a read is refused, BlueZ's two seconds on a
disconnect, its removal of devices that are not seen any more, Acquire…,
a second adapter, an adapter that is switched off.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TypeAlias, TypeVar
from uuid import UUID

from bumble import att, core, hci
from bumble.device import Advertisement, Connection, Device
from bumble.gatt import Characteristic as Gatt
from bumble.gatt_client import (
    CharacteristicProxy,
    Client,
    DescriptorProxy,
    ServiceProxy,
)
from bumble.keys import MemoryKeyStore
from bumble.pairing import PairingConfig, PairingDelegate
from dbus_fast import DBusError, Message, MessageType, Variant
from dbus_fast.aio import MessageBus

from firmware_sim.bench import GattBench
from firmware_sim.ble import Air, Peripheral, address_of, attach
from firmware_sim.bus import NOTHING, Answer, Call, Objects, Properties, private_bus

_T = TypeVar("_T")
_Io: TypeAlias = PairingDelegate.IoCapability

_ADAPTER = "/org/bluez/hci0"
_ADDRESS = "02:00:00:00:00:01"
_DIAL_S = 20.0  # the kernel's limit for one connection attempt
_PAIR_S = 30.0  # Core 5.4, 3.H.3.4: the Security Manager's time-out
_ATT_MTU = 517
_CCCD = core.UUID.from_16_bits(0x2902)
_GAP = core.UUID.from_16_bits(0x1800)  # bluetoothd keeps it to itself

_ADAPTER1 = "org.bluez.Adapter1"
_DEVICE1 = "org.bluez.Device1"
_SERVICE1 = "org.bluez.GattService1"
_CHARACTERISTIC1 = "org.bluez.GattCharacteristic1"
_DESCRIPTOR1 = "org.bluez.GattDescriptor1"

_CAPABILITIES = {
    "": _Io.DISPLAY_OUTPUT_AND_KEYBOARD_INPUT,
    "DisplayOnly": _Io.DISPLAY_OUTPUT_ONLY,
    "DisplayYesNo": _Io.DISPLAY_OUTPUT_AND_YES_NO_INPUT,
    "KeyboardOnly": _Io.KEYBOARD_INPUT_ONLY,
    "NoInputNoOutput": _Io.NO_OUTPUT_NO_INPUT,
    "KeyboardDisplay": _Io.DISPLAY_OUTPUT_AND_KEYBOARD_INPUT,
}
_FLAGS = {
    Gatt.Properties.BROADCAST: "broadcast",
    Gatt.Properties.READ: "read",
    Gatt.Properties.WRITE_WITHOUT_RESPONSE: "write-without-response",
    Gatt.Properties.WRITE: "write",
    Gatt.Properties.NOTIFY: "notify",
    Gatt.Properties.INDICATE: "indicate",
}
_TRUE, _FALSE = Variant(signature="b", value=True), Variant(signature="b", value=False)
_ATT_ERRORS = {
    att.ErrorCode.READ_NOT_PERMITTED: ("NotPermitted", "Read not permitted"),
    att.ErrorCode.WRITE_NOT_PERMITTED: ("NotPermitted", "Write not permitted"),
    att.ErrorCode.INSUFFICIENT_AUTHENTICATION: ("NotPermitted", "Not paired"),
    att.ErrorCode.INSUFFICIENT_ENCRYPTION: ("NotPermitted", "Not paired"),
    att.ErrorCode.INSUFFICIENT_ENCRYPTION_KEY_SIZE: ("NotPermitted", "Not paired"),
    att.ErrorCode.INVALID_OFFSET: ("InvalidArguments", "Invalid offset"),
    att.ErrorCode.INVALID_ATTRIBUTE_LENGTH: ("InvalidArguments", "Invalid Length"),
    att.ErrorCode.INSUFFICIENT_AUTHORIZATION: (
        "NotAuthorized",
        "Operation Not Authorized",
    ),
    att.ErrorCode.REQUEST_NOT_SUPPORTED: (
        "NotSupported",
        "Operation is not supported",
    ),
}


@asynccontextmanager
async def radio(folder: Path, benches: Mapping[str, GattBench]) -> AsyncIterator[str]:
    """Run a private bus, BlueZ on it, and a device for every bench.

    Args:
        folder: Where the bus keeps its configuration and its socket.
        benches: The devices by address; `ble.address_of` tells its type.

    Yields:
        What to put in ``DBUS_SYSTEM_BUS_ADDRESS``.

    Raises:
        NoBus: There is no ``dbus-daemon``.
    """
    air = Air()
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(private_bus(folder))
        for where, bench in benches.items():
            peripheral = Peripheral(bench, where)
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
    bus = MessageBus(bus_address=bus_address)
    await bus.connect()
    service = _BlueZ(bus, air)
    try:
        await service.start()
        await bus.request_name("org.bluez")
        yield
    finally:
        await service.stop()
        bus.disconnect()
        await bus.wait_for_disconnect()  # type: ignore[no-untyped-call]


class _LinkGone(Exception):
    """The link was lost while its answer was awaited."""


async def _linked(awaitable: Awaitable[_T]) -> _T:
    """Await; raise `_LinkGone` where bumble cancels what waits on a lost link."""
    try:
        return await awaitable
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise _LinkGone from None


def _error(name: str, text: str) -> DBusError:
    return DBusError(f"org.bluez.Error.{name}", text)


def _att_error(code: int) -> DBusError:
    failed = ("Failed", f"Operation failed with ATT error: {code:#04x}")
    return _error(*_ATT_ERRORS.get(att.ErrorCode(code), failed))


class _Agent(PairingDelegate):
    """A client's pairing agent: the person who reads and types six digits."""

    def __init__(self, bus: MessageBus, owner: str, path: str, io: _Io) -> None:
        super().__init__(io)
        self._bus, self._owner, self._path = bus, owner, path
        self.device = ""
        self._asking = False

    async def confirm(self, auto: bool = False) -> bool:  # noqa: ARG002, FBT001, FBT002
        """Agree: whoever calls Pair has already said that he wants to."""
        return True

    async def compare_numbers(self, number: int, digits: int) -> bool:  # noqa: ARG002
        body = [self.device, number]
        return await self._ask("RequestConfirmation", "ou", body) is not None

    async def get_number(self) -> int | None:
        answer = await self._ask("RequestPasskey", "o", [self.device])
        return answer.body[0] if answer is not None else None

    async def display_number(self, number: int, digits: int) -> None:  # noqa: ARG002
        await self._ask("DisplayPasskey", "ouq", [self.device, number, 0])

    async def cancel(self) -> None:
        """Take back what is still being asked."""
        if self._asking:
            self._asking = False
            await self._ask("Cancel", "", [])

    async def _ask(
        self, member: str, signature: str, body: list[object]
    ) -> Message | None:
        self._asking = member.startswith("Request")
        answer = await self._bus.call(
            Message(
                destination=self._owner,
                path=self._path,
                interface="org.bluez.Agent1",
                member=member,
                signature=signature,
                body=body,
            )
        )
        self._asking = False
        refused = answer is None or answer.message_type is MessageType.ERROR
        return None if refused else answer


class _Nobody(PairingDelegate):
    """No agent is registered: nobody to agree to anything."""

    async def confirm(self, auto: bool = False) -> bool:  # noqa: ARG002, FBT001, FBT002
        return False


class _BlueZ:
    """The adapter, the agents, and every device that was ever seen."""

    def __init__(self, bus: MessageBus, air: Air) -> None:
        self.bus = bus
        self.objects = Objects(bus)
        self.device, self.controller = attach(air, "hci0", address_of(_ADDRESS))
        self.bonds = MemoryKeyStore()
        self.agents: dict[str, _Agent] = {}
        self.default_agent: list[str] = []
        self._devices: dict[str, _Device] = {}
        self._dialling = asyncio.Lock()
        self._sessions: dict[str, Properties] = {}  # discoveries, by client
        self._filters: dict[str, Properties] = {}
        self._scanning = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Power on and show the adapter."""
        self.device.keystore = self.bonds
        self.device.on(Device.EVENT_ADVERTISEMENT, self._on_advertisement)
        self.device.on(Device.EVENT_CONNECTION, self._on_connection)
        await self.device.power_on()
        self.bus.add_message_handler(self._on_signal)
        await self.bus.call(
            Message(
                destination="org.freedesktop.DBus",
                path="/org/freedesktop/DBus",
                interface="org.freedesktop.DBus",
                member="AddMatch",
                signature="s",
                body=["sender='org.freedesktop.DBus',member='NameOwnerChanged'"],
            )
        )
        self.objects.add(
            "/org/bluez",
            "org.bluez.AgentManager1",
            {},
            {
                "RegisterAgent": self._register_agent,
                "RequestDefaultAgent": self._request_default_agent,
                "UnregisterAgent": self._unregister_agent,
            },
        )
        self.objects.add(
            _ADAPTER,
            _ADAPTER1,
            _adapter_properties(),
            {
                "SetDiscoveryFilter": self._set_filter,
                "GetDiscoveryFilters": self._get_filters,
                "StartDiscovery": self._start_discovery,
                "StopDiscovery": self._stop_discovery,
                "RemoveDevice": self._remove_device,
            },
        )

    async def stop(self) -> None:
        """Hang up everywhere and power off."""
        await self.objects.close()
        for device in self._devices.values():
            await device.hang_up()
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
                self.controller.pending_le_connection = None

    def agent_for(self, client: str) -> _Agent | None:
        """Return the client's own agent, or else the default one."""
        for owner in (client, *self.default_agent):
            if owner in self.agents:
                return self.agents[owner]
        return None

    def _on_connection(self, connection: Connection) -> None:
        device = self._devices.get(str(connection.peer_address))
        if device is not None:
            device.on_connection(connection)

    def _on_advertisement(self, advertisement: Advertisement) -> None:
        seen = _seen(advertisement.data)
        if not any(_wanted(seen, each) for each in self._sessions.values()):
            return
        key = str(advertisement.address)
        if key not in self._devices:
            self._devices[key] = _Device(self, advertisement.address)
        self._devices[key].on_advertisement(seen, advertisement.rssi)

    def _on_signal(self, message: Message) -> bool:
        if message.member == "NameOwnerChanged" and not message.body[2]:
            client = message.body[0]
            self.agents.pop(client, None)
            self._filters.pop(client, None)
            if client in self._sessions:
                self.run(self._end_discovery(client))
            for device in self._devices.values():
                device.forget_client(client)
        return False

    async def _register_agent(self, message: Message) -> Answer:
        path, capability = message.body
        owner = message.sender or ""
        if owner in self.agents:
            raise _error("AlreadyExists", "Already Exists")
        if capability not in _CAPABILITIES:
            raise _error("InvalidArguments", "Invalid arguments in method call")
        self.agents[owner] = _Agent(self.bus, owner, path, _CAPABILITIES[capability])
        return NOTHING

    async def _request_default_agent(self, message: Message) -> Answer:
        self._own_agent(message)
        self.default_agent.insert(0, message.sender or "")
        return NOTHING

    async def _unregister_agent(self, message: Message) -> Answer:
        self._own_agent(message)
        del self.agents[message.sender or ""]
        return NOTHING

    def _own_agent(self, message: Message) -> None:
        if (message.sender or "") not in self.agents:
            raise _error("DoesNotExist", "Does Not Exist")

    async def _set_filter(self, message: Message) -> Answer:
        self._filters[message.sender or ""] = message.body[0]
        return NOTHING

    async def _get_filters(self, _message: Message) -> Answer:
        return "as", [["UUIDs", "RSSI", "Transport", "DuplicateData", "Pattern"]]

    async def _start_discovery(self, message: Message) -> Answer:
        client = message.sender or ""
        if client in self._sessions:
            raise _error("InProgress", "Operation already in progress")
        self._sessions[client] = self._filters.get(client, {})
        async with self._scanning:
            if not self.device.is_scanning:
                await self.device.start_scanning(
                    own_address_type=hci.OwnAddressType.PUBLIC
                )
                self._discovering(on=True)
        return NOTHING

    async def _stop_discovery(self, message: Message) -> Answer:
        if (message.sender or "") not in self._sessions:
            raise _error("Failed", "No discovery started")
        await self._end_discovery(message.sender or "")
        return NOTHING

    async def _end_discovery(self, client: str) -> None:
        self._sessions.pop(client, None)
        async with self._scanning:
            if self.device.is_scanning and not self._sessions:
                await self.device.stop_scanning()
                for device in self._devices.values():
                    device.change({}, "RSSI")
                self._discovering(on=False)

    def _discovering(self, *, on: bool) -> None:
        self.objects.change(_ADAPTER, _ADAPTER1, {"Discovering": Variant("b", on)})

    async def _remove_device(self, message: Message) -> Answer:
        for key, device in self._devices.items():
            if device.path == message.body[0]:
                await device.hang_up()
                await self.bonds.delete(key)
                del self._devices[key]
                self.objects.remove(device.path)
                return NOTHING
        raise _error("DoesNotExist", "Does Not Exist")


class _Device:
    """One remote device: its link, its bond, its attributes."""

    def __init__(self, bluez: _BlueZ, address: hci.Address) -> None:
        self.path = f"{_ADAPTER}/dev_{address.to_string(with_type_qualifier=False).replace(':', '_')}"
        self.objects = bluez.objects
        self.connection: Connection | None = None
        self._bluez = bluez
        self._address = address
        self._key = str(address)
        self._attempt: asyncio.Task[None] | None = None
        self._pairing = False
        self._characteristics: dict[str, _Characteristic] = {}
        self._reports = 0

    def change(self, changed: Properties, *gone: str) -> None:
        """Set properties of the device, and say so."""
        self.objects.change(self.path, _DEVICE1, changed, *gone)

    def on_advertisement(self, seen: Properties, rssi: int) -> None:
        """Show the device, or what is new about it: its RSSI at least."""
        self._reports += 1
        now = {**seen, "RSSI": Variant("n", rssi - self._reports % 2)}
        if "Name" in seen:
            now["Alias"] = seen["Name"]
        if self.objects.value(self.path, _DEVICE1, "Address") is None:
            calls: dict[str, Call] = {
                "Connect": self._connect,
                "Disconnect": self._disconnect,
                "Pair": self._pair,
                "CancelPairing": self._cancel_pairing,
            }
            properties = {**_device_properties(self._address), **now}
            self.objects.add(self.path, _DEVICE1, properties, calls)
            return
        known = self.objects.value(self.path, _DEVICE1, "UUIDs")
        now["UUIDs"] = Variant("as", sorted({*known, *now["UUIDs"].value}))
        self.change(
            {
                name: value
                for name, value in now.items()
                if self.objects.value(self.path, _DEVICE1, name) != value.value
            }
        )

    def on_connection(self, connection: Connection) -> None:
        """Hold the link, whoever has asked for it."""
        self.connection = connection
        connection.on(Connection.EVENT_DISCONNECTION, self._on_disconnection)
        self.change({"Connected": _TRUE})

    def forget_client(self, client: str) -> None:
        """Unsubscribe for a client that has left the bus."""
        for characteristic in self._characteristics.values():
            self._bluez.run(characteristic.forget_client(client))

    async def hang_up(self) -> None:
        """Drop the link, or the attempt at one."""
        if self._attempt is not None:
            self._attempt.cancel()
        if self.connection is not None:
            try:
                await _linked(self.connection.disconnect())
            except (_LinkGone, hci.HCI_Error):
                return  # the other side was faster

    async def request(self, ask: Callable[[Client], Awaitable[_T]]) -> _T:
        """Do something with the device's attributes; raise what BlueZ would."""
        if self.connection is None:
            raise _error("Failed", "Not connected")
        try:
            return await _linked(ask(self.connection.gatt_client))
        except att.ATT_Error as error:
            raise _att_error(error.error_code) from error
        except (_LinkGone, core.TimeoutError) as error:
            raise _att_error(att.ErrorCode.UNLIKELY_ERROR) from error

    @property
    def _bonded(self) -> bool:
        return self._key in self._bluez.bonds.all_keys

    def _on_disconnection(self, _reason: int) -> None:
        self.connection = None
        for characteristic in self._characteristics.values():
            characteristic.on_disconnection()
        off = _FALSE
        self.change({"ServicesResolved": off, "Connected": off})

    async def _connect(self, _message: Message) -> Answer:
        await self._link()
        self._bluez.run(self._resolve())
        return NOTHING

    async def _disconnect(self, _message: Message) -> Answer:
        if self.connection is None and self._attempt is None:
            raise _error("NotConnected", "Not Connected")
        await self.hang_up()
        return NOTHING

    async def _link(self) -> None:
        """Connect, and encrypt with the key of the bond if there is one."""
        if self._attempt is not None:
            raise _error("InProgress", "In Progress")
        if self.connection is not None:
            return
        self._attempt = asyncio.ensure_future(self._bluez.dial(self._address))
        try:
            await _linked(self._attempt)
        except _LinkGone as error:
            raise _error("Failed", "br-connection-canceled") from error
        except TimeoutError as error:
            raise _error("Failed", "le-connection-abort-by-local") from error
        finally:
            self._attempt = None
        if not self._bonded:
            return
        try:
            if self.connection is None:
                raise _LinkGone
            await _linked(self.connection.encrypt())
        except (_LinkGone, hci.HCI_Error) as error:
            # A key that the device has lost: the kernel hangs up.
            await self.hang_up()
            raise _error("Failed", "le-connection-abort-by-local") from error

    async def _pair(self, message: Message) -> Answer:
        if self._bonded:
            raise _error("AlreadyExists", "Already Exists")
        if self._pairing:
            raise _error("InProgress", "In Progress")
        agent = self._bluez.agent_for(message.sender or "")
        self._pairing = True
        try:
            await self._link()
            async with asyncio.timeout(_PAIR_S):
                await _linked(self._bond(agent))
        except core.ProtocolError as error:
            raise _error("AuthenticationFailed", "Authentication Failed") from error
        except _LinkGone as error:
            raise _error("AuthenticationCanceled", "Authentication Canceled") from error
        except TimeoutError as error:
            await self.hang_up()
            raise _error("AuthenticationTimeout", "Authentication Timeout") from error
        finally:
            self._pairing = False
            if agent is not None:
                await agent.cancel()
        on = _TRUE
        self.change({"Paired": on, "Bonded": on})
        self._bluez.run(self._resolve())
        return NOTHING

    async def _bond(self, agent: _Agent | None) -> None:
        if self.connection is None:
            raise _LinkGone
        if agent is not None:
            agent.device = self.path
        delegate = agent or _Nobody()
        self._bluez.device.pairing_config_factory = lambda _: PairingConfig(
            mitm=delegate.io_capability is not _Io.NO_OUTPUT_NO_INPUT,
            delegate=delegate,
        )
        await self.connection.pair()

    async def _cancel_pairing(self, _message: Message) -> Answer:
        if not self._pairing:
            raise _error("DoesNotExist", "Does Not Exist")
        await self.hang_up()
        return NOTHING

    async def _resolve(self) -> None:
        """Discover the device's attributes and show them."""
        if self.objects.value(self.path, _DEVICE1, "ServicesResolved"):
            return
        try:
            services = await self.request(_discover)
        except DBusError:
            return  # Connected goes false, which is all that a client is told
        before = set(self.objects.below(self.path))
        shown = {path for service in services for path in self._show(service)}
        for path in sorted(before - shown, reverse=True):
            self.objects.remove(path)
        known = self.objects.value(self.path, _DEVICE1, "UUIDs")
        uuids = {*known, *(_text(service.uuid) for service in services)}
        self.change(
            {
                "UUIDs": Variant("as", sorted(uuids)),
                "ServicesResolved": _TRUE,
            }
        )

    def _show(self, service: ServiceProxy) -> list[str]:
        path = f"{self.path}/service{service.handle:04x}"
        properties = {
            "UUID": Variant("s", _text(service.uuid)),
            "Primary": _TRUE,
            "Device": Variant("o", self.path),
            "Includes": Variant("ao", []),
        }
        self.objects.add(path, _SERVICE1, properties, {})
        paths = [path]
        for proxy in service.characteristics:
            # The path bears the handle of the declaration, which stands before.
            characteristic = _Characteristic(
                self, f"{path}/char{proxy.handle - 1:04x}", proxy
            )
            self._characteristics[characteristic.path] = characteristic
            paths += characteristic.show(path)
        return paths


class _Characteristic:
    """One remote characteristic, and who is subscribed to it."""

    def __init__(
        self, device: _Device, path: str, proxy: CharacteristicProxy[bytes]
    ) -> None:
        self.path = path
        self._device = device
        self._proxy = proxy
        self._listeners: set[str] = set()
        self._indicates = not proxy.properties & Gatt.Properties.NOTIFY

    def show(self, service: str) -> list[str]:
        """Show it and its descriptors; return their paths."""
        connection = self._device.connection
        properties = {
            "UUID": Variant("s", _text(self._proxy.uuid)),
            "Service": Variant("o", service),
            "Value": Variant("ay", b""),
            "Notifying": _FALSE,
            "Flags": Variant(
                "as",
                [flag for bit, flag in _FLAGS.items() if self._proxy.properties & bit],
            ),
            "MTU": Variant("q", connection.att_mtu if connection else 23),
        }
        calls: dict[str, Call] = {
            "ReadValue": self._read,
            "WriteValue": self._write,
            "StartNotify": self._start_notify,
            "StopNotify": self._stop_notify,
        }
        objects = self._device.objects
        objects.add(self.path, _CHARACTERISTIC1, properties, calls)
        paths = [self.path]
        for proxy in self._proxy.descriptors:
            descriptor = _Descriptor(self._device, proxy, self.path)
            paths.append(descriptor.show())
        return paths

    def on_disconnection(self) -> None:
        """End every subscription: the link is gone."""
        if self._listeners:
            self._listeners.clear()
            self._notifying(on=False)

    async def forget_client(self, client: str) -> None:
        """Unsubscribe for a client that has left the bus."""
        if client in self._listeners:
            await self._unsubscribe(client)

    async def _read(self, _message: Message) -> Answer:
        value = await self._device.request(lambda c: c.read_value(self._proxy.handle))
        self._on_value(value)
        return "ay", [value]

    async def _write(self, message: Message) -> Answer:
        payload, options = message.body
        bits = self._proxy.properties
        kind = options["type"].value if "type" in options else None
        with_response = kind != "command" and bool(bits & Gatt.Properties.WRITE)
        if not with_response and (
            kind == "request" or not bits & Gatt.Properties.WRITE_WITHOUT_RESPONSE
        ):
            raise _att_error(att.ErrorCode.REQUEST_NOT_SUPPORTED)
        await self._device.request(
            lambda c: c.write_value(self._proxy.handle, payload, with_response)
        )
        return NOTHING

    async def _start_notify(self, message: Message) -> Answer:
        client = message.sender or ""
        cccd = self._proxy.get_descriptor(_CCCD)
        if cccd is None:
            raise _att_error(att.ErrorCode.REQUEST_NOT_SUPPORTED)
        if client in self._listeners:
            raise _error("InProgress", "In Progress")
        if not self._listeners:
            bits = b"\x02\x00" if self._indicates else b"\x01\x00"
            await self._device.request(lambda c: self._subscribe(c, cccd, bits))
        self._listeners.add(client)
        self._notifying(on=True)
        return NOTHING

    async def _stop_notify(self, message: Message) -> Answer:
        if (message.sender or "") not in self._listeners:
            raise _error("Failed", "No notify session started")
        await self._unsubscribe(message.sender or "")
        return NOTHING

    async def _subscribe(
        self, client: Client, cccd: DescriptorProxy, bits: bytes
    ) -> None:
        handle = self._proxy.handle
        subscribers = (
            client.indication_subscribers
            if self._indicates
            else client.notification_subscribers
        )
        subscribers[handle] = {self._on_value}  # before the first value can come
        await client.write_value(cccd.handle, bits, with_response=True)

    async def _unsubscribe(self, listener: str) -> None:
        self._listeners.discard(listener)
        cccd = self._proxy.get_descriptor(_CCCD)
        if self._listeners or cccd is None:
            return
        self._notifying(on=False)
        if self._device.connection is not None:
            await self._device.request(lambda c: self._subscribe(c, cccd, b"\x00\x00"))

    def _on_value(self, value: bytes) -> None:
        self._device.objects.change(
            self.path, _CHARACTERISTIC1, {"Value": Variant("ay", value)}
        )

    def _notifying(self, *, on: bool) -> None:
        self._device.objects.change(
            self.path, _CHARACTERISTIC1, {"Notifying": Variant("b", on)}
        )


class _Descriptor:
    """One remote descriptor."""

    def __init__(
        self, device: _Device, proxy: DescriptorProxy, characteristic: str
    ) -> None:
        self._device = device
        self._proxy = proxy
        self._characteristic = characteristic

    def show(self) -> str:
        """Show it; return its path."""
        path = f"{self._characteristic}/desc{self._proxy.handle:04x}"
        properties = {
            "UUID": Variant("s", _text(self._proxy.type)),
            "Characteristic": Variant("o", self._characteristic),
            "Value": Variant("ay", b""),
        }
        calls: dict[str, Call] = {"ReadValue": self._read, "WriteValue": self._write}
        self._device.objects.add(path, _DESCRIPTOR1, properties, calls)
        return path

    async def _read(self, _message: Message) -> Answer:
        value = await self._device.request(lambda c: c.read_value(self._proxy.handle))
        return "ay", [value]

    async def _write(self, message: Message) -> Answer:
        if self._proxy.type == _CCCD:  # that is what StartNotify is for
            raise _att_error(att.ErrorCode.WRITE_NOT_PERMITTED)
        payload = message.body[0]
        await self._device.request(
            lambda c: c.write_value(self._proxy.handle, payload, with_response=True)
        )
        return NOTHING


async def _discover(client: Client) -> list[ServiceProxy]:
    await client.request_mtu(_ATT_MTU)
    services = [s for s in await client.discover_services() if s.uuid != _GAP]
    for service in services:
        for characteristic in await client.discover_characteristics((), service):
            await client.discover_descriptors(characteristic)
    return services


def _adapter_properties() -> Properties:
    return {
        "Address": Variant("s", _ADDRESS),
        "AddressType": Variant("s", "public"),
        "Name": Variant("s", "vitalwire"),
        "Alias": Variant("s", "vitalwire"),
        "Class": Variant("u", 0),
        "Powered": _TRUE,
        "Discoverable": _FALSE,
        "Pairable": _TRUE,
        "Discovering": _FALSE,
        "UUIDs": Variant("as", []),
        "Roles": Variant("as", ["central", "peripheral"]),
    }


def _device_properties(address: hci.Address) -> Properties:
    text = address.to_string(with_type_qualifier=False)
    flags = ("Paired", "Bonded", "Trusted", "Blocked", "Connected", "ServicesResolved")
    return {
        "Address": Variant("s", text),
        "AddressType": Variant("s", "public" if address.is_public else "random"),
        "Alias": Variant("s", text.replace(":", "-")),
        "Adapter": Variant("o", _ADAPTER),
        **{flag: _FALSE for flag in flags},
    }


def _seen(data: core.AdvertisingData) -> Properties:
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
                uuids += [_text(value[i : i + 2]) for i in range(0, len(value), 2)]
            case (
                kinds.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS
                | kinds.INCOMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS
            ):
                uuids += [_text(value[i : i + 16]) for i in range(0, len(value), 16)]
            case kinds.MANUFACTURER_SPECIFIC_DATA:
                maker = int.from_bytes(value[:2], "little")
                makers[maker] = Variant("ay", value[2:])
            case kinds.SERVICE_DATA_16_BIT_UUID:
                services[_text(value[:2])] = Variant("ay", value[2:])
    seen["UUIDs"] = Variant("as", sorted(set(uuids)))
    if makers:
        seen["ManufacturerData"] = Variant("a{qv}", makers)
    if services:
        seen["ServiceData"] = Variant("a{sv}", services)
    return seen


def _wanted(seen: Properties, discovery: Properties) -> bool:
    if "UUIDs" not in discovery:
        return True
    asked = {str(UUID(uuid)) for uuid in discovery["UUIDs"].value}
    return not asked.isdisjoint(seen["UUIDs"].value)


def _text(uuid: core.UUID | bytes) -> str:
    """Return a UUID as BlueZ writes it: 36 characters, lower case."""
    if isinstance(uuid, bytes):
        uuid = core.UUID.from_bytes(uuid)
    return str(UUID(bytes=uuid.to_bytes(force_128=True)[::-1]))

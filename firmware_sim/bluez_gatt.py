"""The GATT half of BlueZ's D-Bus interface: services, characteristics, descriptors.

Source: BlueZ 5.66, doc/gatt-api.txt, as far as bleak 3.1 calls it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar
from uuid import UUID

from bumble import att, core
from bumble.device import Connection
from bumble.gatt import Characteristic as Gatt
from bumble.gatt_client import (
    CharacteristicProxy,
    Client,
    DescriptorProxy,
    ServiceProxy,
)
from dbus_fast import DBusError, Message, Variant

from firmware_sim.bus import NOTHING, Answer, Call, Objects

TRUE = Variant("b", value=True)
FALSE = Variant("b", value=False)

_T = TypeVar("_T")

_ATT_MTU = 517  # what BlueZ asks for
_CCCD = core.UUID.from_16_bits(0x2902)
_GAP = core.UUID.from_16_bits(0x1800)  # bluetoothd keeps it to itself
_SERVICE1 = "org.bluez.GattService1"
_CHARACTERISTIC1 = "org.bluez.GattCharacteristic1"
_DESCRIPTOR1 = "org.bluez.GattDescriptor1"
_FLAGS = {
    Gatt.Properties.BROADCAST: "broadcast",
    Gatt.Properties.READ: "read",
    Gatt.Properties.WRITE_WITHOUT_RESPONSE: "write-without-response",
    Gatt.Properties.WRITE: "write",
    Gatt.Properties.NOTIFY: "notify",
    Gatt.Properties.INDICATE: "indicate",
}
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


class LinkGone(Exception):
    """The link was lost while its answer was awaited."""


async def linked(awaitable: Awaitable[_T]) -> _T:
    """Await; raise `LinkGone` where bumble cancels what waits on a lost link."""
    try:
        return await awaitable
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise LinkGone from None


def error(name: str, text: str) -> DBusError:
    """Return one of BlueZ's errors, to be raised."""
    return DBusError(f"org.bluez.Error.{name}", text)


def _att_error(code: int) -> DBusError:
    failed = ("Failed", f"Operation failed with ATT error: {code:#04x}")
    return error(*_ATT_ERRORS.get(att.ErrorCode(code), failed))


class Attributes:
    """The attributes of one device, and the link that they are asked over.

    Attributes:
        objects: Where they are shown.
        connection: The link; None while there is none.
    """

    def __init__(self, objects: Objects, device: str) -> None:
        self.objects = objects
        self.connection: Connection | None = None
        self._device = device
        self._characteristics: dict[str, _Characteristic] = {}

    async def resolve(self) -> list[str]:
        """Discover and show all attributes; return the services' UUIDs."""
        services = await self.request(_discover)
        before = set(self.objects.below(self._device))
        shown = {path for service in services for path in self._show(service)}
        for path in sorted(before - shown, reverse=True):
            self.objects.remove(path)
            self._characteristics.pop(path, None)
        return [text_of(service.uuid) for service in services]

    async def request(self, ask: Callable[[Client], Awaitable[_T]]) -> _T:
        """Do something with the device's attributes; raise what BlueZ would."""
        if self.connection is None:
            raise error("Failed", "Not connected")
        try:
            return await linked(ask(self.connection.gatt_client))
        except att.ATT_Error as failure:
            raise _att_error(failure.error_code) from failure
        except (LinkGone, core.TimeoutError) as failure:
            raise _att_error(att.ErrorCode.UNLIKELY_ERROR) from failure

    def end(self) -> None:
        """End every subscription: the link is gone, the objects stay."""
        self.connection = None
        for characteristic in self._characteristics.values():
            characteristic.end()

    async def forget_client(self, client: str) -> None:
        """Unsubscribe for a client that has left the bus."""
        for characteristic in list(self._characteristics.values()):
            with suppress(DBusError):  # nobody is left to be told
                await characteristic.forget_client(client)

    def _show(self, service: ServiceProxy) -> list[str]:
        path = f"{self._device}/service{service.handle:04x}"
        properties = {
            "UUID": Variant("s", text_of(service.uuid)),
            "Primary": TRUE,
            "Device": Variant("o", self._device),
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
        self, device: Attributes, path: str, proxy: CharacteristicProxy[bytes]
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
            "UUID": Variant("s", text_of(self._proxy.uuid)),
            "Service": Variant("o", service),
            "Value": Variant("ay", b""),
            "Notifying": FALSE,
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

    def end(self) -> None:
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
            raise error("InProgress", "In Progress")
        if not self._listeners:
            bits = b"\x02\x00" if self._indicates else b"\x01\x00"
            await self._device.request(lambda c: self._subscribe(c, cccd, bits))
        self._listeners.add(client)
        self._notifying(on=True)
        return NOTHING

    async def _stop_notify(self, message: Message) -> Answer:
        if (message.sender or "") not in self._listeners:
            raise error("Failed", "No notify session started")
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
        self, device: Attributes, proxy: DescriptorProxy, characteristic: str
    ) -> None:
        self._device = device
        self._proxy = proxy
        self._characteristic = characteristic

    def show(self) -> str:
        """Show it; return its path."""
        path = f"{self._characteristic}/desc{self._proxy.handle:04x}"
        properties = {
            "UUID": Variant("s", text_of(self._proxy.type)),
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


def text_of(uuid: core.UUID | bytes) -> str:
    """Return a UUID as BlueZ writes it: 36 characters, lower case."""
    if isinstance(uuid, bytes):
        uuid = core.UUID.from_bytes(uuid)
    return str(UUID(bytes=uuid.to_bytes(force_128=True)[::-1]))

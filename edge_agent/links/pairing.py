"""Our pairing agent, which BlueZ asks when a device pairs.

bleak brings none, and without one BlueZ refuses every pairing. Ours answers for
the devices that this station is told to read, while it visits them, and for no
other; a passkey comes from the configuration.

Every wait here has an end, for bluetoothd, or the bus itself, may stop answering.

Source: BlueZ, org.bluez.Agent1 and org.bluez.AgentManager1.
"""

import asyncio
from collections.abc import AsyncIterator, Container, Sequence
from contextlib import asynccontextmanager

from dbus_fast import BusType, DBusError, Message, MessageType
from dbus_fast.aio import MessageBus
from dbus_fast.annotations import DBusObjectPath, DBusStr, DBusUInt32
from dbus_fast.service import ServiceInterface, dbus_method

_BLUEZ = "org.bluez"
_ANSWER_S = 10.0  # all that is asked here is answered within 2 s
_PATH = "/org/vitalwire/agent"
_REJECTED = "org.bluez.Error.Rejected"


class PairingAgent(ServiceInterface):
    """Answers BlueZ for the devices expected to pair.

    Attributes:
        asked: Addresses that asked for their passkey since they are expected.
    """

    def __init__(self) -> None:
        super().__init__("org.bluez.Agent1")
        self._expected: dict[str, str | None] = {}
        self.asked: set[str] = set()

    def expect(self, address: str, passkey: str | None) -> None:
        """Let the device at ``address`` pair, by ``passkey`` if it has one."""
        self._expected[address.upper()] = passkey
        self.asked.discard(address.upper())

    def refuse(self, address: str) -> None:
        """Let the device at ``address`` pair no more."""
        self._expected.pop(address.upper(), None)

    @dbus_method("RequestPasskey")
    def _request_passkey(self, device: DBusObjectPath) -> DBusUInt32:
        address = _address(device)
        passkey = self._expected.get(address)
        if passkey is None:
            raise DBusError(_REJECTED, f"no passkey is configured for {address}")
        self.asked.add(address)
        return int(passkey)

    @dbus_method("RequestConfirmation")
    def _request_confirmation(
        self, device: DBusObjectPath, _passkey: DBusUInt32
    ) -> None:
        # A device that shows a number asks a person to compare; nobody does here.
        self._must_be_just_works(device)

    @dbus_method("RequestAuthorization")
    def _request_authorization(self, device: DBusObjectPath) -> None:
        self._must_be_just_works(device)

    @dbus_method("AuthorizeService")
    def _authorize_service(self, device: DBusObjectPath, _uuid: DBusStr) -> None:
        if _address(device) not in self._expected:
            raise DBusError(_REJECTED, "not a device of this station")

    @dbus_method("Cancel")
    def _cancel(self) -> None:
        pass

    @dbus_method("Release")
    def _release(self) -> None:
        pass

    def _must_be_just_works(self, device: str) -> None:
        address = _address(device)
        if address not in self._expected:
            raise DBusError(_REJECTED, "not a device of this station")
        if self._expected[address] is not None:
            # It should have asked for the passkey: a downgrade, or another device.
            raise DBusError(_REJECTED, f"{address} must pair by its passkey")


class BlueZ:
    """The bluetoothd that has registered our agent.

    Attributes:
        name: Its connection's on the bus: another for each that is started.
    """

    def __init__(self, bus: MessageBus, name: str) -> None:
        self.name = name
        self._bus = bus

    async def check(self) -> None:
        """Make sure that it is there, answers, and still knows our agent.

        Raises:
            DBusError: It is gone; another that was started since knows no agent.
            EOFError: The bus is gone.
            OSError: The bus is gone.
            TimeoutError: It does not answer.
        """
        await _ask(
            self._bus, "/", "org.freedesktop.DBus.Peer", "Ping", destination=self.name
        )

    async def hang_up(self, addresses: Container[str]) -> None:
        """Drop the links that it still holds to devices at ``addresses``.

        Raises:
            DBusError: It refuses.
            EOFError: The bus is gone.
            OSError: The bus is gone.
            TimeoutError: It does not answer.
        """
        reply = await _ask(
            self._bus, "/", "org.freedesktop.DBus.ObjectManager", "GetManagedObjects"
        )
        for path, interfaces in reply.body[0].items():
            device = interfaces.get("org.bluez.Device1", {})
            if device and device["Connected"].value and _address(path) in addresses:
                await _ask(self._bus, path, "org.bluez.Device1", "Disconnect")


@asynccontextmanager
async def registered(agent: PairingAgent) -> AsyncIterator[BlueZ]:
    """Register our agent with BlueZ, for as long as it is held.

    Raises:
        OSError: There is no system bus.
        DBusFastError: The bus or BlueZ refuses.
        EOFError: The bus hangs up.
        TimeoutError: The bus or BlueZ does not answer.
    """
    async with asyncio.timeout(_ANSWER_S):
        bus = await MessageBus(bus_type=BusType.SYSTEM).connect()
    try:
        bus.export(_PATH, agent)
        manager = "/org/bluez", "org.bluez.AgentManager1"
        wanted = [_PATH, "KeyboardDisplay"]
        reply = await _ask(bus, *manager, "RegisterAgent", signature="os", body=wanted)
        await _ask(bus, *manager, "RequestDefaultAgent", signature="o", body=[_PATH])
        yield BlueZ(bus, reply.sender or _BLUEZ)
    finally:
        bus.disconnect()


async def _ask(
    bus: MessageBus,
    path: str,
    interface: str,
    member: str,
    *,
    signature: str = "",
    body: Sequence[object] = (),
    destination: str = _BLUEZ,
) -> Message:
    async with asyncio.timeout(_ANSWER_S):
        reply = await bus.call(
            Message(
                destination=destination,
                path=path,
                interface=interface,
                member=member,
                signature=signature,
                body=list(body),
            )
        )
    if reply is None or reply.message_type == MessageType.ERROR:
        name = reply.error_name if reply and reply.error_name else "no reply"
        raise DBusError(name, str(reply.body) if reply else member)
    return reply


def _address(path: str) -> str:
    """Return the address in a BlueZ object path, .../dev_AA_BB_CC_DD_EE_FF."""
    return path.rpartition("/dev_")[2].replace("_", ":").upper()

"""Puts a bench on the air: a Bluetooth peripheral on a virtual controller.

The Bluetooth in between is bumble's: advertising, pairing, encryption, ATT and
GATT are those of a real stack, only the radio is an object in memory, the
`air.Air`. Nothing here knows what the bench measures.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar
from uuid import UUID

from bumble import att, core, gatt, hci
from bumble.device import Connection, Device
from bumble.keys import MemoryKeyStore, PairingKeys
from bumble.pairing import PairingConfig, PairingDelegate

from firmware_sim.air import Air, address_of, attach
from firmware_sim.bench import (
    Action,
    AttError,
    Characteristic,
    GattBench,
    HangUp,
    Pairing,
    Security,
    Send,
    Wait,
    att_mtu,
)

_T = TypeVar("_T")

_ADVERTISING_INTERVAL_MS = 50.0
_ADVERTISING_SIZE = 31  # bytes in one legacy advertisement
_NOTIFY, _INDICATE = 1, 2  # bits of a CCCD
_PROPERTIES = {
    "read": gatt.Characteristic.Properties.READ,
    "write": gatt.Characteristic.Properties.WRITE,
    "write-without-response": gatt.Characteristic.Properties.WRITE_WITHOUT_RESPONSE,
    "notify": gatt.Characteristic.Properties.NOTIFY,
    "indicate": gatt.Characteristic.Properties.INDICATE,
}


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to a peripheral.

    Attributes:
        what: ``connected``, ``encrypted``, ``paired``, ``pairing failed``,
            ``read``, ``write``, ``enabled``, ``refused``, ``notified``,
            ``indicated``, ``dropped``, ``hung up`` or ``disconnected``.
        uuid: The characteristic, if there is one to name.
        data: Its bytes, or the one byte of the refusal.
    """

    what: str
    uuid: UUID | None = None
    data: bytes = b""


class Peripheral:
    """A bench that can be found, paired with, read, and that hangs up.

    Args:
        bench: The device.
        address: Where it is found.
        bond_lost: The visit behind which it forgets its bonds, from 1 on; None
            is none.

    Attributes:
        address: Where it is found; see `air.address_of` for its type.
        log: What happened to it, oldest first, for tests to compare.
    """

    def __init__(
        self, bench: GattBench, address: str, *, bond_lost: int | None = None
    ) -> None:
        self.address = address
        self._bond_lost, self._visits = bond_lost, 0
        self.log: list[Event] = []
        self._bench = bench
        self._bonds = MemoryKeyStore()
        self._remembered: dict[str, dict[UUID, int]] = {}  # CCCDs, by bonded peer
        self._cccds: dict[UUID, int] = {}
        self._attributes: dict[UUID, gatt.Characteristic[bytes]] = {}
        self._due: asyncio.Queue[Iterable[Action]] = asyncio.Queue()
        self._worker: asyncio.Task[None] | None = None
        self._connection: Connection | None = None

    async def start(self, air: Air) -> None:
        """Switch the device on: it advertises whenever nobody is connected."""
        address = address_of(self.address)
        self._device, self._controller = attach(air, self._bench.name, address)
        self._device.keystore = self._bonds
        self._device.gatt_server.max_mtu = att_mtu(self._bench)
        self._device.pairing_config_factory = self._pairing
        for uuid, characteristics in self._bench.services.items():
            self._device.add_service(
                gatt.Service(_wire(uuid), [self._attribute(c) for c in characteristics])
            )
        self._device.on(Device.EVENT_CONNECTION, self._on_connection)
        await self._device.power_on()
        advertisement, response = _advertisement(self._bench)
        await self._device.start_advertising(
            own_address_type=hci.OwnAddressType(address.address_type),
            auto_restart=True,
            advertising_data=advertisement,
            scan_response_data=response,
            advertising_interval_min=_ADVERTISING_INTERVAL_MS,
            advertising_interval_max=_ADVERTISING_INTERVAL_MS,
        )

    async def stop(self) -> None:
        """Switch it off; its bonds stay."""
        if self._connection is not None:
            await self._connection.disconnect()
        await self._device.stop_advertising()
        await self._device.power_off()
        self._controller.le_legacy_advertiser.stop()
        if self._controller.link is not None:
            self._controller.link.remove_controller(self._controller)

    def forget_bonds(self) -> None:
        """Lose every key, as a meter does whose battery is changed."""
        self._bonds.all_keys.clear()
        self._remembered.clear()

    def _attribute(self, characteristic: Characteristic) -> gatt.Characteristic[bytes]:
        access = att.Attribute.READABLE | att.Attribute.WRITEABLE
        cccd = gatt.Descriptor(
            gatt.GATT_CLIENT_CHARACTERISTIC_CONFIGURATION_DESCRIPTOR,
            access,
            att.AttributeValue(
                read=partial(self._on_cccd_read, characteristic),
                write=partial(self._on_cccd_write, characteristic),
            ),
        )
        properties = gatt.Characteristic.Properties(0)
        for name in characteristic.properties:
            properties |= _PROPERTIES[name]
        attribute: gatt.Characteristic[bytes] = gatt.Characteristic(
            _wire(characteristic.uuid),
            properties,
            access,
            att.AttributeValue(
                read=partial(self._on_read, characteristic),
                write=partial(self._on_write, characteristic),
            ),
            [cccd] if characteristic.properties & {"notify", "indicate"} else [],
        )
        self._attributes[characteristic.uuid] = attribute
        return attribute

    def _pairing(self, _connection: Connection) -> PairingConfig:
        return PairingConfig(
            sc=True,
            mitm=self._bench.pairing is Pairing.PASSKEY,
            bonding=True,
            delegate=_Print(self._bench),
        )

    def _on_connection(self, connection: Connection) -> None:
        peer = str(connection.peer_address)
        bonded = peer in self._bonds.all_keys
        self._cccds = self._remembered.setdefault(peer, {}) if bonded else {}
        self._connection = connection
        self._due = asyncio.Queue()
        self._worker = asyncio.create_task(self._carry_out(connection, self._due))
        self._worker.add_done_callback(_complain)
        connection.on(Connection.EVENT_DISCONNECTION, self._on_disconnection)
        connection.on(Connection.EVENT_PAIRING, self._on_pairing)
        connection.on(Connection.EVENT_PAIRING_FAILURE, self._on_pairing_failure)
        connection.on(
            Connection.EVENT_CONNECTION_ENCRYPTION_CHANGE,
            lambda: self.log.append(Event("encrypted")),
        )
        self.log.append(Event("connected"))
        self._bench.connected()

    def _on_disconnection(self, reason: int) -> None:
        self._connection = None
        if self._worker is not None:
            # Soon: at once would cancel the very disconnection that it may await.
            asyncio.get_running_loop().call_soon(self._worker.cancel)
        self.log.append(Event("disconnected", data=bytes([reason])))
        self._bench.disconnected()
        self._visits += 1
        if self._visits == self._bond_lost:
            self.forget_bonds()

    def _on_pairing(self, _keys: PairingKeys) -> None:
        if self._connection is not None:
            self._remembered[str(self._connection.peer_address)] = self._cccds
        self.log.append(Event("paired"))

    def _on_pairing_failure(self, reason: int) -> None:
        # A failed session would answer the next attempt with its old passkey step.
        if self._connection is not None:
            session = self._device.smp_manager.sessions[self._connection.handle]
            session.on_disconnection(reason)
        self.log.append(Event("pairing failed", data=bytes([reason])))

    def _refusal(
        self, characteristic: Characteristic, connection: Connection
    ) -> int | None:
        """Return the ATT error that the link's security earns, if it does."""
        if characteristic.security is Security.NONE:
            return None
        keys = self._bonds.all_keys.get(str(connection.peer_address))
        if not connection.is_encrypted:
            # Core 5.4, 3.C.10.3.1: with a key it is encryption that is missing.
            return (
                att.ErrorCode.INSUFFICIENT_ENCRYPTION
                if keys
                else att.ErrorCode.INSUFFICIENT_AUTHENTICATION
            )
        key = keys and (keys.ltk or keys.ltk_central)
        if characteristic.security is Security.AUTHENTICATED and not (
            key and key.authenticated
        ):
            return att.ErrorCode.INSUFFICIENT_AUTHENTICATION
        return None

    def _ask(
        self,
        event: Event,
        characteristic: Characteristic,
        connection: Connection,
        call: Callable[[], _T],
    ) -> _T:
        """Call the bench, unless security or the bench itself refuses."""
        self.log.append(event)
        code = self._refusal(characteristic, connection)
        if code is None:
            try:
                return call()
            except AttError as error:
                code = error.code
        self.log.append(Event("refused", event.uuid, bytes([code])))
        raise att.ATT_Error(code)

    def _on_read(self, characteristic: Characteristic, connection: Connection) -> bytes:
        if "read" not in characteristic.properties:
            raise att.ATT_Error(att.ErrorCode.READ_NOT_PERMITTED)
        return self._ask(
            Event("read", characteristic.uuid),
            characteristic,
            connection,
            lambda: self._bench.read(characteristic.uuid),
        )

    def _on_write(
        self, characteristic: Characteristic, connection: Connection, payload: bytes
    ) -> None:
        if not characteristic.properties & {"write", "write-without-response"}:
            raise att.ATT_Error(att.ErrorCode.WRITE_NOT_PERMITTED)
        actions = self._ask(
            Event("write", characteristic.uuid, payload),
            characteristic,
            connection,
            lambda: self._bench.write(characteristic.uuid, payload),
        )
        self._due.put_nowait(actions)

    def _on_cccd_read(
        self, characteristic: Characteristic, _connection: Connection
    ) -> bytes:
        return self._cccds.get(characteristic.uuid, 0).to_bytes(2, "little")

    def _on_cccd_write(
        self, characteristic: Characteristic, connection: Connection, payload: bytes
    ) -> None:
        value = int.from_bytes(payload, "little")
        if len(payload) != 2:
            raise att.ATT_Error(att.ErrorCode.INVALID_ATTRIBUTE_LENGTH)

        def enabled() -> Iterable[Action]:
            self._cccds[characteristic.uuid] = value
            return self._bench.enabled(characteristic.uuid, on=value != 0)

        event = Event("enabled", characteristic.uuid, payload)
        self._due.put_nowait(self._ask(event, characteristic, connection, enabled))

    async def _carry_out(
        self, connection: Connection, due: asyncio.Queue[Iterable[Action]]
    ) -> None:
        while self._connection is connection:
            for action in await due.get():
                await self._act(connection, action)
                if self._connection is not connection:
                    return  # Python 3.11's wait_for can swallow the cancellation

    async def _act(self, connection: Connection, action: Action) -> None:
        match action:
            case Send():
                await self._send(connection, action)
            case Wait(seconds):
                await asyncio.sleep(seconds)
            case HangUp():
                await connection.drain()
                self.log.append(Event("hung up"))
                await connection.disconnect()

    async def _send(self, connection: Connection, send: Send) -> None:
        attribute = self._attributes[send.uuid]
        cccd = self._cccds.get(send.uuid, 0)
        server = self._device.gatt_server
        if cccd & _NOTIFY:
            await server.notify_subscriber(
                connection, attribute, send.payload, force=True
            )
            await connection.drain()
            self.log.append(Event("notified", send.uuid, send.payload))
        elif cccd & _INDICATE:
            await server.indicate_subscriber(
                connection, attribute, send.payload, force=True
            )
            self.log.append(Event("indicated", send.uuid, send.payload))
        else:
            self.log.append(Event("dropped", send.uuid, send.payload))
            await asyncio.sleep(0)  # nothing was waited for: let others run


def _complain(task: asyncio.Task[None]) -> None:
    """Let the event loop report at once what a broken bench has raised."""
    if not task.cancelled():
        task.result()


class _Print(PairingDelegate):
    """What stands on the device's label: six digits, or nothing."""

    def __init__(self, bench: GattBench) -> None:
        ltk_only = PairingDelegate.KeyDistribution.DISTRIBUTE_ENCRYPTION_KEY
        super().__init__(
            PairingDelegate.IoCapability.DISPLAY_OUTPUT_ONLY
            if bench.pairing is Pairing.PASSKEY
            else PairingDelegate.IoCapability.NO_OUTPUT_NO_INPUT,
            local_initiator_key_distribution=ltk_only,
            local_responder_key_distribution=ltk_only,
        )
        self._bench = bench

    async def accept(self) -> bool:
        return self._bench.pairing is not Pairing.NONE

    async def generate_passkey(self) -> int:
        return self._bench.passkey


def _advertisement(bench: GattBench) -> tuple[bytes, bytes]:
    """Return advertisement and scan response; the name is in the first if it fits."""
    kinds = core.AdvertisingData.Type
    flags = bytes([core.AdvertisingData.BR_EDR_NOT_SUPPORTED_FLAG | 2])
    uuids = [_wire(uuid).to_pdu_bytes() for uuid in bench.advertised]
    fields: list[tuple[int, bytes]] = [(kinds.FLAGS, flags)]
    for size, kind in (
        (2, kinds.COMPLETE_LIST_OF_16_BIT_SERVICE_CLASS_UUIDS),
        (16, kinds.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS),
    ):
        if these := [uuid for uuid in uuids if len(uuid) == size]:
            fields.append((kind, b"".join(these)))
    name = [(kinds.COMPLETE_LOCAL_NAME, bench.name.encode())]
    whole = bytes(core.AdvertisingData([*fields, *name]))
    if len(whole) <= _ADVERTISING_SIZE:
        return whole, b""
    return bytes(core.AdvertisingData(fields)), bytes(core.AdvertisingData([*name]))


def _wire(uuid: UUID) -> core.UUID:
    """Return bumble's form of a UUID, two bytes where the SIG assigned it."""
    if str(uuid).endswith("-0000-1000-8000-00805f9b34fb") and uuid.time_low < 1 << 16:
        return core.UUID.from_16_bits(uuid.time_low)
    return core.UUID(str(uuid))

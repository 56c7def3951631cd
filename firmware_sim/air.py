"""The air between virtual Bluetooth devices, and the controllers that share it."""

import asyncio

from bumble import core, hci, ll
from bumble.controller import Controller
from bumble.device import Device, DeviceConfiguration
from bumble.host import Host
from bumble.link import LocalLink

# What the virtual controller claims and a home meter's does not have.
_NOT_IN_A_METER = (
    hci.LeFeatureMask.LL_PRIVACY
    | hci.LeFeatureMask.LE_EXTENDED_ADVERTISING
    | hci.LeFeatureMask.LE_PERIODIC_ADVERTISING
)


class Air(LocalLink):
    """What virtual controllers send through; also from public addresses."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def send_acl_data(
        self,
        sender_controller: Controller,
        destination_address: hci.Address,
        transport: core.PhysicalTransport,
        data: bytes,
    ) -> None:
        """Deliver a packet under the address that the connection was made with."""
        receiver = self.find_le_controller(destination_address)
        connection = sender_controller.le_connections.get(destination_address)
        if receiver is not None and connection is not None:
            asyncio.get_running_loop().call_soon(
                receiver.on_link_acl_data, connection.self_address, transport, data
            )

    def send_advertising_pdu(
        self, sender_controller: Controller, packet: ll.AdvertisingPdu
    ) -> None:
        """Deliver an advertisement, its scan response behind it."""
        if isinstance(packet, ll.AdvInd):
            more = sender_controller.le_legacy_advertiser.scan_response_data
            packet = ll.AdvInd(packet.advertiser_address, packet.data + more)
        super().send_advertising_pdu(sender_controller, packet)


def address_of(text: str) -> hci.Address:
    """Return a device's address, of the type that its first two bits tell.

    Args:
        text: Six hexadecimal bytes. From ``C0`` on in front it is a static
            random address, anything else is public.
    """
    is_random = int(text[:2], 16) >= 0xC0
    return hci.Address(
        text.upper(),
        hci.Address.RANDOM_DEVICE_ADDRESS
        if is_random
        else hci.Address.PUBLIC_DEVICE_ADDRESS,
    )


def attach(air: Air, name: str, address: hci.Address) -> tuple[Device, Controller]:
    """Make a Bluetooth host and its controller; it is silent until `power_on`."""
    public = address if address.is_public else hci.Address.ANY
    controller = Controller(name, link=air, public_address=public)
    controller.le_features &= ~_NOT_IN_A_METER
    host = Host(controller_source=controller, controller_sink=controller)
    config = DeviceConfiguration(
        name=name,
        address=hci.Address.ANY_RANDOM if address.is_public else address,
        gatt_service_enabled=False,
    )
    return Device(config=config, host=host), controller

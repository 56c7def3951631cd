"""Device Information Service: who made a device, and which one it is.

Source: Bluetooth SIG, Device Information Service 1.2, §3; PnP ID and System ID
in the GATT Specification Supplement.

    strings    UTF-8; devices pad them with NUL and spaces
    System ID  u64: OUI in the high 24 bits, the manufacturer's part below
    PnP ID     vendor id source u8, vendor id u16, product id u16, version u16
"""

from dataclasses import dataclass
from uuid import UUID

from protocols.cursor import Cursor
from protocols.errors import Fault
from protocols.gatt.uuid import sig
from protocols.kinds import PayloadKind, Shown, trailing

SERVICE: UUID = sig(0x180A)
SYSTEM_ID: UUID = sig(0x2A23)
MODEL_NUMBER: UUID = sig(0x2A24)
SERIAL_NUMBER: UUID = sig(0x2A25)
FIRMWARE_REVISION: UUID = sig(0x2A26)
HARDWARE_REVISION: UUID = sig(0x2A27)
SOFTWARE_REVISION: UUID = sig(0x2A28)
MANUFACTURER_NAME: UUID = sig(0x2A29)
PNP_ID: UUID = sig(0x2A50)


@dataclass(frozen=True, slots=True)
class PnpId:
    """One PnP ID, exactly as it was on the wire.

    Attributes:
        vendor_id_source: 1 is the Bluetooth SIG, 2 the USB Implementer's Forum.
        vendor_id: 0 to 65535, as that source assigned it.
        product_id: 0 to 65535, as the vendor assigned it.
        product_version: 0xJJMN for version JJ.M.N.
        trailing: Bytes behind the fields known here.
    """

    vendor_id_source: int
    vendor_id: int
    product_id: int
    product_version: int
    trailing: bytes = b""


def decode_string(payload: bytes) -> str:
    """Read one of the service's strings, without its padding.

    Raises:
        DecodeError: ``payload`` is not UTF-8.
    """
    with Cursor("Device Information string", payload) as read:
        try:
            return read.rest().decode().rstrip("\0 ")
        except UnicodeDecodeError as error:
            problem = f"is not UTF-8: {error.reason}"
            behind = len(payload) - error.start
            raise read.error("text", problem, Fault.BAD_FIELD, size=behind) from error


def decode_system_id(payload: bytes) -> int:
    """Read a System ID as a 64-bit number, its OUI in the high 24 bits.

    Raises:
        DecodeError: ``payload`` is cut short.
    """
    with Cursor("System ID", payload) as read:
        system_id = int.from_bytes(read.take(8, "system id"), "little")
        read.rest()
        return system_id


def decode_pnp_id(payload: bytes) -> PnpId:
    """Read a PnP ID.

    Raises:
        DecodeError: ``payload`` is cut short.
    """
    with Cursor("PnP ID", payload) as read:
        return PnpId(
            vendor_id_source=read.u8("vendor id source"),
            vendor_id=read.u16("vendor id"),
            product_id=read.u16("product id"),
            product_version=read.u16("product version"),
            trailing=read.rest(),
        )


def _show_string(payload: bytes) -> Shown:
    return {"text": decode_string(payload)}


def _show_system_id(payload: bytes) -> Shown:
    text = f"{decode_system_id(payload):016X}"
    shown: Shown = {"eui64": text, "oui": text[:6], "manufacturer_id": text[6:]}
    return shown | trailing(payload[8:])


def _show_pnp_id(payload: bytes) -> Shown:
    pnp = decode_pnp_id(payload)
    shown: Shown = {
        "vendor_id_source": pnp.vendor_id_source,
        "vendor_id": pnp.vendor_id,
        "product_id": pnp.product_id,
        "product_version": pnp.product_version,
    }
    return shown | trailing(pnp.trailing)


KINDS = {
    "gatt.pnp_id": PayloadKind(_show_pnp_id),
    "gatt.string": PayloadKind(_show_string),
    "gatt.system_id": PayloadKind(_show_system_id),
}

"""What a simulated BLE device tells of itself: its label and its battery.

Source: Bluetooth SIG, Device Information Service 1.2; Battery Service 1.1.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from firmware_sim.bench import AttError, Characteristic, Security
from protocols.gatt.uuid import sig

_DEVICE_INFORMATION, _BATTERY = sig(0x180A), sig(0x180F)
_MODEL, _SERIAL, _FIRMWARE, _MANUFACTURER = map(sig, (0x2A24, 0x2A25, 0x2A26, 0x2A29))
_BATTERY_LEVEL = sig(0x2A19)

_READ_NOT_PERMITTED = 0x02  # ATT 1.0 §3.4.1.1


@dataclass(frozen=True, slots=True)
class Label:
    """What stands on a device.

    Attributes:
        model: Its model number.
        serial: Its serial number.
        manufacturer: Who made it.
        firmware: Its firmware revision.
        battery: In percent, 0 to 100.
    """

    model: str
    serial: str
    manufacturer: str = "vitalwire simulation"
    firmware: str = "1.0"
    battery: int = 87

    @property
    def values(self) -> Mapping[UUID, bytes]:
        """The value of each characteristic of the two services."""
        return {
            _MANUFACTURER: self.manufacturer.encode(),
            _MODEL: self.model.encode(),
            _SERIAL: self.serial.encode(),
            _FIRMWARE: self.firmware.encode(),
            _BATTERY_LEVEL: bytes([self.battery]),
        }

    def read(self, uuid: UUID) -> bytes:
        """Return one of `values`; raise `AttError` for what is not among them."""
        try:
            return self.values[uuid]
        except KeyError:
            raise AttError(_READ_NOT_PERMITTED) from None


def services(security: Security) -> dict[UUID, tuple[Characteristic, ...]]:
    """Return the Device Information and Battery services."""
    readable = frozenset({"read"})
    return {
        _DEVICE_INFORMATION: tuple(
            Characteristic(uuid, readable, security)
            for uuid in (_MANUFACTURER, _MODEL, _SERIAL, _FIRMWARE)
        ),
        _BATTERY: (Characteristic(_BATTERY_LEVEL, readable, security),),
    }

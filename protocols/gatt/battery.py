"""Battery Service: the Battery Level characteristic.

Source: Bluetooth SIG, Battery Service 1.1, §3.1.

    level  u8  percent, 0 to 100; the rest is reserved
"""

from uuid import UUID

from protocols.cursor import Cursor
from protocols.errors import Fault
from protocols.gatt.uuid import sig
from protocols.kinds import PayloadKind, Shown

SERVICE: UUID = sig(0x180F)
BATTERY_LEVEL: UUID = sig(0x2A19)


def decode(payload: bytes) -> int:
    """Return the battery level in percent, 0 to 100.

    Raises:
        DecodeError: ``payload`` is not one byte, or the level is above 100.
    """
    with Cursor("Battery Level", payload) as read:
        percent = read.u8("level")
        if percent > 100:
            problem = f"is {percent}, above 100 percent"
            raise read.error("level", problem, Fault.OUT_OF_RANGE, size=1)
    return percent


def _show(payload: bytes) -> Shown:
    return {"percent": decode(payload)}


KINDS = {"gatt.battery_level": PayloadKind(_show)}

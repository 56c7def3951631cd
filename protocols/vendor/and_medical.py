"""A&D cuffs and scales on Bluetooth LE: what they want beside the standard.

Source: field notes on the UA-651BLE and its relatives
(docs/reference/sources.md).

They have the Blood Pressure Service with a Date Time in it, and a service of
A&D's own with one characteristic to write commands to:

    02 00 E1   send all readings that are stored
    02 01 03   hang up, which ends pairing as it should

Order matters. Pairing: bond, write Date Time, write 02 01 03. A visit: write
02 00 E1, write Date Time, and only then enable the measurement.
"""

from struct import pack
from uuid import UUID

from protocols.gatt.time import DateTime

SERVICE = UUID("233bf000-5a34-1b6d-975c-000d5690abe4")
COMMAND = UUID("233bf001-5a34-1b6d-975c-000d5690abe4")

SEND_ALL = bytes.fromhex("02 00 e1")
HANG_UP = bytes.fromhex("02 01 03")


def encode_clock(time: DateTime) -> bytes:
    """Return the seven bytes of Date Time to write.

    Args:
        time: What the clock shall show, local time.

    Raises:
        ValueError: ``time`` is no moment.
    """
    if time.moment is None:
        raise ValueError(f"no clock can show {time}")
    return pack("<H5B", *time)

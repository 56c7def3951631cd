"""UUIDs of the Bluetooth SIG's assigned numbers."""

from uuid import UUID


def sig(assigned: int) -> UUID:
    """Return the 128-bit UUID of a 16-bit assigned number.

    >>> sig(0x2A18)
    UUID('00002a18-0000-1000-8000-00805f9b34fb')
    """
    return UUID(f"{assigned:08x}-0000-1000-8000-00805f9b34fb")

"""E2E-CRC: a checksum behind a value, from application to application.

Source: Bluetooth SIG, Continuous Glucose Monitoring Service 1.0.2; Blood Pressure
Service 1.1.1.

    value | crc u16

The CRC is CRC-16/MCRF4XX of all bytes before it. A bit of the service's feature
says whether a device sends it; nothing in a value itself does.
"""

from enum import StrEnum

from protocols.crc import mcrf4xx
from protocols.cursor import Cursor
from protocols.errors import Fault
from protocols.kinds import Shown

SIZE = 2


class Expect(StrEnum):
    """What is known of a device's E2E-CRC.

    ``EITHER`` takes two bytes behind the known fields for one.
    """

    EITHER = "either"
    PRESENT = "present"
    ABSENT = "absent"


OPTION = {"crc": tuple(map(str, Expect))}


def append(value: bytes) -> bytes:
    """Return ``value`` with its CRC behind it."""
    return value + mcrf4xx(value).to_bytes(SIZE, "little")


def read_last(read: Cursor, value: bytes, expect: Expect) -> int | None:
    """Read the CRC that ends ``value``, all of whose fields were read.

    Args:
        read: Stands behind the last field.
        value: The whole value, its CRC included.
        expect: Whether there must be one.

    Returns:
        The CRC; None if there is none.

    Raises:
        DecodeError: It does not fit the value, is missing, or something else
            stands in its place.
    """
    return read_behind(read, value[: len(value) - read.left], read.left, expect)


def read_behind(read: Cursor, covered: bytes, left: int, expect: Expect) -> int | None:
    """Read the CRC of a part of a longer value.

    Args:
        read: Stands behind the part's last field.
        covered: What the CRC is made of.
        left: How many bytes the part has behind its last field.
        expect: Whether there must be one.

    Returns:
        The CRC; None if there is none.

    Raises:
        DecodeError: As in `read_last`.
    """
    if left == 0 and expect == Expect.PRESENT:
        raise read.error("E2E-CRC", "is missing", Fault.MISSING_CHECKSUM)
    if left == 0:
        return None
    if left != SIZE or expect == Expect.ABSENT:
        problem = f"or the end expected, {left} bytes left over"
        raise read.error("E2E-CRC", problem, Fault.BAD_LENGTH)
    crc, right = read.u16("E2E-CRC"), mcrf4xx(covered)
    if crc != right:
        problem = f"is {crc:#06x}, the value's is {right:#06x}"
        raise read.error("E2E-CRC", problem, Fault.BAD_CRC, size=SIZE)
    return crc


def show(crc: int | None) -> Shown:
    """Show a CRC, if there is one."""
    return {} if crc is None else {"e2e_crc": f"0x{crc:04X}"}

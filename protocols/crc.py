"""Checksums by the names that the vectors and the devices' documents use.

The CRCs are those of the CRC catalogue (name there behind each), computed by
fastcrc, or by Python itself where it has one; what is a plain sum is said so.
"""

from binascii import crc_hqx
from collections.abc import Callable

from fastcrc import crc8, crc16, crc32

from protocols.kinds import PayloadKind, Shown


def ccitt_false(data: bytes) -> int:
    """Return CRC-16/CCITT-FALSE (IBM-3740), of LifeScan and i-SENS.

    >>> hex(ccitt_false(b"123456789"))
    '0x29b1'
    """
    return crc_hqx(data, 0xFFFF)


def mcrf4xx(data: bytes) -> int:
    """Return CRC-16/MCRF4XX, the E2E-CRC of Bluetooth's CGM service.

    >>> hex(mcrf4xx(b"123456789"))
    '0x6f91'
    """
    return crc16.mcrf4xx(data)


def modbus(data: bytes) -> int:
    """Return CRC-16/MODBUS, of VivaChek.

    >>> hex(modbus(b"123456789"))
    '0x4b37'
    """
    return crc16.modbus(data)


def maxim8(data: bytes) -> int:
    """Return CRC-8/MAXIM-DOW, of GlucoMen.

    >>> hex(maxim8(b"123456789"))
    '0xa1'
    """
    return crc8.maxim_dow(data)


def freestyle_atp(data: bytes) -> int:
    """Return the CRC of the FreeStyle's ATP frames.

    It is CRC-32/MPEG-2 over 32-bit words, each with its low byte first, the last
    one filled up with zeros.

    >>> hex(freestyle_atp(b"A"))
    '0xf743b0bb'
    """
    filled = data + bytes(-len(data) % 4)
    words = (filled[at : at + 4][::-1] for at in range(0, len(filled), 4))
    return crc32.mpeg_2(b"".join(words))


def sum8(data: bytes) -> int:
    """Return the sum of the bytes, modulo 256.

    >>> sum8(b"\\xff\\x02")
    1
    """
    return sum(data) & 0xFF


def sum16(data: bytes) -> int:
    """Return the sum of the bytes, modulo 65536."""
    return sum(data) & 0xFFFF


def xor8(data: bytes) -> int:
    """Return the exclusive or of the bytes.

    >>> xor8(b"\\x02\\x03")
    1
    """
    found = 0
    for byte in data:
        found ^= byte
    return found


def _kind(compute: Callable[[bytes], int], digits: int) -> PayloadKind:
    def show(payload: bytes) -> Shown:
        return {"value": f"0x{compute(payload):0{digits}X}"}

    return PayloadKind(show)


KINDS = {
    "crc.crc16_arc": _kind(crc16.arc, 4),
    "crc.crc16_aug_ccitt": _kind(crc16.spi_fujitsu, 4),
    "crc.crc16_ccitt_false": _kind(ccitt_false, 4),
    "crc.crc16_kermit": _kind(crc16.kermit, 4),
    "crc.crc16_maxim": _kind(crc16.maxim_dow, 4),
    "crc.crc16_mcrf4xx": _kind(mcrf4xx, 4),
    "crc.crc32_freestyle_atp": _kind(freestyle_atp, 8),
    "crc.sum16_lifescan": _kind(sum16, 4),
    "crc.sum8": _kind(sum8, 2),
}

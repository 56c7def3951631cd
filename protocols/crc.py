"""Checksums by the names of the CRC catalogue."""

from binascii import crc_hqx


def ccitt_false(data: bytes) -> int:
    """Return CRC-16/CCITT-FALSE: polynomial 0x1021, initial 0xFFFF.

    >>> hex(ccitt_false(b"123456789"))
    '0x29b1'
    """
    return crc_hqx(data, 0xFFFF)

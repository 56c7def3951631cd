"""IEEE 11073 FLOAT and SFLOAT: exact decimals with a stated precision.

Source: IEEE 11073-20601, FLOAT-Type and SFLOAT-Type; Bluetooth SIG, Personal
Health Devices Transcoding White Paper 1.6, §2.2.

    SFLOAT  u16  bits 15..12 exponent, bits 11..0 mantissa
    FLOAT   u32  bits 31..24 exponent, bits 23..0 mantissa

Both parts are two's complement. The exponent also states the precision:
0x0002, 0xF014 and 0xE0C8 are 2, 2.0 and 2.00, and stay so as `Decimal`.
"""

from decimal import Decimal
from enum import Enum


class Special(Enum):
    """A FLOAT or SFLOAT that is no number; the value is its usual name."""

    NAN = "NaN"
    NRES = "NRes"
    POSITIVE_INFINITY = "+INF"
    NEGATIVE_INFINITY = "-INF"
    RESERVED = "Reserved"


Number = Decimal | Special

# Compared on the whole word, exponent included: 0x17FE is the number 20460.
_SFLOAT_SPECIALS = {
    0x07FE: Special.POSITIVE_INFINITY,
    0x07FF: Special.NAN,
    0x0800: Special.NRES,
    0x0801: Special.RESERVED,
    0x0802: Special.NEGATIVE_INFINITY,
}
_FLOAT_SPECIALS = {
    0x007F_FFFE: Special.POSITIVE_INFINITY,
    0x007F_FFFF: Special.NAN,
    0x0080_0000: Special.NRES,
    0x0080_0001: Special.RESERVED,
    0x0080_0002: Special.NEGATIVE_INFINITY,
}


def sfloat(raw: int) -> Number:
    """Return the value of an SFLOAT word.

    Args:
        raw: The 16-bit word, 0 to 0xFFFF.

    >>> sfloat(0xB078), sfloat(0xE0C8), sfloat(0x07FF)
    (Decimal('0.00120'), Decimal('2.00'), <Special.NAN: 'NaN'>)
    """
    if (special := _SFLOAT_SPECIALS.get(raw)) is not None:
        return special
    return _exact(_signed(raw & 0xFFF, 12), _signed(raw >> 12, 4))


def float32(raw: int) -> Number:
    """Return the value of a FLOAT word.

    Args:
        raw: The 32-bit word, 0 to 0xFFFFFFFF.

    >>> float32(0xFF00016C)
    Decimal('36.4')
    """
    if (special := _FLOAT_SPECIALS.get(raw)) is not None:
        return special
    return _exact(_signed(raw & 0xFF_FFFF, 24), _signed(raw >> 24, 8))


def _signed(raw: int, bits: int) -> int:
    return raw - (1 << bits) if raw >> (bits - 1) else raw


def _exact(mantissa: int, exponent: int) -> Decimal:
    digits = tuple(int(digit) for digit in str(abs(mantissa)))
    return Decimal((int(mantissa < 0), digits, exponent))


def show_number(number: Number) -> Decimal | str:
    """Return a number as it is, and a special value by its name."""
    return number.value if isinstance(number, Special) else number

"""Fields that several GATT characteristics share, encoded by hand.

Source: IEEE 11073-20601, SFLOAT-Type; Bluetooth SIG, GATT Specification
Supplement, Date Time.

    SFLOAT     u16      bits 15..12 exponent, bits 11..0 mantissa, both signed
    Date Time  7 bytes  year u16, month, day, hour, minute, second

Nothing is taken from ``protocols``, so that a simulator cannot be made to
agree with our decoders.
"""

from datetime import datetime
from decimal import Decimal
from struct import pack

NOT_A_NUMBER = Decimal("NaN")

_NAN, _ABOVE_RANGE, _BELOW_RANGE = 0x07FF, 0x07FE, 0x0802
_LARGEST_MANTISSA = 2045  # larger ones are specials in some decoders
_EXPONENTS = range(-8, 8)


def sfloat(value: Decimal) -> bytes:
    """Encode a number with just the decimals it has.

    Args:
        value: A number of at most 2045 units of its last decimal; NaN, or an
            infinity where it is above or below what the device measures.

    Raises:
        ValueError: ``value`` cannot be sent exactly.

    >>> sfloat(Decimal("0.00120")).hex(" ")
    '78 b0'
    """
    if value.is_nan():
        return pack("<H", _NAN)
    if value.is_infinite():
        return pack("<H", _ABOVE_RANGE if value > 0 else _BELOW_RANGE)
    sign, digits, exponent = value.as_tuple()
    mantissa = int("".join(map(str, digits)))
    if mantissa > _LARGEST_MANTISSA or exponent not in _EXPONENTS:
        raise ValueError(f"{value} is not exact as an SFLOAT")
    signed = -mantissa if sign else mantissa
    return pack("<H", (int(exponent) & 0xF) << 12 | signed & 0xFFF)


def date_time(moment: datetime | None) -> bytes:
    """Encode a wall clock; None is unknown, which is all zeros.

    >>> date_time(datetime(2024, 6, 15, 14, 30, 45)).hex(" ")
    'e8 07 06 0f 0e 1e 2d'
    """
    if moment is None:
        return bytes(7)
    return pack("<H5B", *moment.timetuple()[:6])

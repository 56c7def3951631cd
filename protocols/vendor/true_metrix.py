"""TRUE METRIX on its HID cradle: commands, and the clock.

Source: field notes, one source (docs/reference/sources.md); no captured frame.

    "(" | command | ")" | sum, two hexadecimal digits

``sum`` is that of all bytes before it, brackets included, modulo 256. The clock
is told as the twelve digits ssmmHHDDMMYY.

Not known byte by byte, and so not here: how the meter is woken, how its answers
are framed, and how wide the glucose of a stored result is.
"""

from protocols.crc import sum8
from protocols.cursor import Cursor
from protocols.errors import Fault
from protocols.gatt.time import DateTime

_CENTURY = 2000


def frame(command: bytes) -> bytes:
    """Return a command as bytes for the wire.

    >>> frame(b"T")
    b'(T)A5'
    """
    body = b"(" + command + b")"
    return body + f"{sum8(body):02X}".encode()


def ask_clock() -> bytes:
    """Return the bytes that ask for the clock."""
    return frame(b"T")


def decode_clock(digits: bytes) -> DateTime:
    """Read the twelve digits of the clock.

    Raises:
        DecodeError: ``digits`` are not twelve decimal digits.
    """
    with Cursor("TRUE METRIX clock", digits) as read:
        second, minute, hour, day, month, year = (
            _two_digits(read, field)
            for field in ("second", "minute", "hour", "day", "month", "year")
        )
        return DateTime(_CENTURY + year, month, day, hour, minute, second)


def _two_digits(read: Cursor, field: str) -> int:
    raw = read.take(2, field)
    if not raw.isdigit():
        raise read.error(field, "is not two digits", Fault.BAD_FIELD, size=2)
    return int(raw)

"""What the values of several services have alike, and how it is shown.

Source: Bluetooth SIG, GATT Specification Supplement.

    feature     u16 or u32   a bit for everything that the device is able to tell
    flags       u8 or u16    reserved bits are reported, and otherwise ignored
    time        7 bytes      Date Time
    user        u8           255 is unknown
    resolution  bits         within the feature of a scale, see `resolution`
"""

from collections.abc import Sequence
from enum import IntFlag

from protocols.cursor import Cursor
from protocols.gatt.time import DateTime
from protocols.kinds import PayloadKind, Shown, flag_names, trailing

UNKNOWN_USER = 255


def decode_feature(what: str, payload: bytes, size: int = 2) -> int:
    """Read the bits of a feature value, and nothing of what may stand behind.

    Args:
        what: The value's name.
        payload: The whole value.
        size: How many bytes the bits have, 1 to 4.

    Raises:
        DecodeError: ``payload`` is cut short.
    """
    with Cursor(what, payload) as read:
        bits = int.from_bytes(read.take(size, "feature"), "little")
        read.rest()
    return bits


def feature_kind(what: str, names: type[IntFlag]) -> PayloadKind:
    """Return how to show a feature value of two bytes, whose bits ``names`` names."""

    def show(payload: bytes) -> Shown:
        bits = decode_feature(what, payload)
        shown: Shown = {"value": bits, "features": flag_names(names, bits)}
        return shown | trailing(payload[2:])

    return PayloadKind(show)


def resolution(steps: Sequence[str], code: int) -> str:
    """Return what a resolution code of a scale's feature says.

    Args:
        steps: What 1, 2 and so on stand for.
        code: 0 is not specified.
    """
    if code == 0:
        return "not_specified"
    return steps[code - 1] if code <= len(steps) else "reserved"


def show_reserved(flags: IntFlag) -> Shown:
    """Show the bits that the flags of a value should not have, if it has any."""
    reserved = int(flags) & ~sum(map(int, type(flags)))
    return {"reserved_flag_bits": reserved} if reserved else {}


def show_timestamp(time: DateTime | None) -> Shown:
    """Show a value's time, if it has one."""
    if time is None:
        return {}
    shown: Shown = {"timestamp": str(time)}
    return shown if time.moment is not None else shown | {"timestamp_valid": False}

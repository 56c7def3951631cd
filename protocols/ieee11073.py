"""IEEE 11073-20601 values that stand by themselves, as a GATT value holds them."""

from protocols import medfloat
from protocols.cursor import Cursor
from protocols.kinds import PayloadKind, Shown
from protocols.medfloat import show_number


def _show_sfloat(payload: bytes) -> Shown:
    with Cursor("SFLOAT", payload) as read:
        raw = read.u16("value")
    return {"raw": f"0x{raw:04X}", "value": show_number(medfloat.sfloat(raw))}


def _show_float(payload: bytes) -> Shown:
    with Cursor("FLOAT", payload) as read:
        raw = read.u32("value")
    return {"raw": f"0x{raw:08X}", "value": show_number(medfloat.float32(raw))}


KINDS = {
    "ieee11073.float": PayloadKind(_show_float),
    "ieee11073.sfloat": PayloadKind(_show_sfloat),
}

"""Which device it is: one id for ever, whatever station or driver meets it."""

import re

from drivers.sdk import Identity
from protocols.observation import Device

_PLACEHOLDERS = re.compile(
    r"(no)?serial(number|num|no)?|(.)\3*|none|unknown|undefined|default|string",
    re.IGNORECASE,
)
_COUNTED_UP = "01234567890123456789"


def device_of(identity: Identity, peer: str) -> Device:
    """Return the device that says ``identity`` and is met at ``peer``.

    By manufacturer, model and serial number, which survive a change of address
    and of transport; without a serial number that can be one, by address.

    Args:
        identity: What the device says of itself.
        peer: Its BLE identity address, or the port it hangs on.
    """
    serial = _plain(identity.serial)
    bare = re.sub(r"[\W_]", "", serial)
    if len(bare) < 4 or bare in _COUNTED_UP or _PLACEHOLDERS.fullmatch(bare):
        name = f"at:{_plain(peer)}"
    else:
        name = f"{_plain(identity.manufacturer)}:{_plain(identity.model)}:{serial}"
    return Device(
        id=name,
        manufacturer=identity.manufacturer[:128],
        model=identity.model[:128],
        serial=identity.serial[:128],
        firmware=identity.firmware[:128],
    )


def _plain(text: str) -> str:
    """Return at most 40 characters that print and do not divide an id."""
    return re.sub(r"[^\w.-]+", "-", text.lower()).strip("-")[:40]

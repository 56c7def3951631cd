"""What is known of a device and of its records, and what is allowed with it."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import TypeVar
from uuid import UUID

from protocols.errors import DecodeError
from protocols.gatt import device_information
from protocols.gatt.time import DateTime
from protocols.link import GattLink

Q = TypeVar("Q")

_CLOCK_TOLERANCE = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Identity:
    """What the device says it is; empty where it says nothing."""

    manufacturer: str = ""
    model: str = ""
    serial: str = ""
    firmware: str = ""


@dataclass(frozen=True, slots=True)
class Model:
    """A model that a driver reads, and how it makes itself known.

    Attributes:
        name: As its maker calls it.
        advertises: What the name that it advertises begins with; none where it
            advertises none, or tells it only to bonded hosts.
        usb: Vendor and product id of its own plug, or of its own cable.
        note: What a person must know to have it read; empty if nothing.
    """

    name: str
    advertises: tuple[str, ...] = ()
    usb: tuple[tuple[int, int], ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Which:
    """Which devices a quirk is of, by shell patterns; case does not matter."""

    manufacturer: str = "*"
    model: str = "*"
    firmware: str = "*"

    def fits(self, identity: Identity) -> bool:
        """Whether the device that says ``identity`` is one of them."""
        return (
            fnmatchcase(identity.manufacturer.lower(), self.manufacturer.lower())
            and fnmatchcase(identity.model.lower(), self.model.lower())
            and fnmatchcase(identity.firmware.lower(), self.firmware.lower())
        )


@dataclass(frozen=True, slots=True)
class Write:
    """Something that a driver may write to a device, and why.

    Attributes:
        pattern: A regular expression that the whole payload matches; a dot
            stands for any byte.
        why: What for, in the imperative.
        uuid: The characteristic; None on a serial port.
        sets_clock: It changes the device's clock.
    """

    pattern: bytes
    why: str
    uuid: UUID | None = None
    sets_clock: bool = False

    def fits(self, uuid: UUID | None, payload: bytes) -> bool:
        """Whether ``payload`` is such a write."""
        same = uuid == self.uuid
        return same and re.fullmatch(self.pattern, payload, re.DOTALL) is not None


@dataclass(frozen=True, slots=True)
class Terms:
    """What a driver may count on, and what it is allowed, at one visit.

    Attributes:
        mark: That of the last `Checkpoint`; None at the first visit.
        identity: What the device said of itself at an earlier visit; None if it
            was never met.
        model: The model that the operator named; empty if none.
        set_clock: Tells the local time, with its zone, that the device's clock is to
            be set to; None unless the operator allows it, and the station knows it.
        key: 16 random bytes that the station keeps for this device alone, for
            one that asks its host for a secret; None where nothing is kept.
    """

    mark: int | None = None
    identity: Identity | None = None
    model: str = ""
    set_clock: Callable[[], datetime] | None = None
    key: bytes | None = None


def quirk(table: Sequence[tuple[Which, Q]], identity: Identity, usual: Q) -> Q:
    """Return what is peculiar to a device: the first of ``table`` that fits it.

    Args:
        table: The devices, and what is peculiar to them.
        identity: What the device says of itself.
        usual: What holds for all others.
    """
    return next((found for which, found in table if which.fits(identity)), usual)


def clock_to_set(terms: Terms, shown: DateTime | None) -> datetime | None:
    """Return what a device's clock is to be set to; None if it is to be left alone.

    It is local time without a zone, as most devices keep it.

    It is left alone without a policy that somebody set, and where it is less than
    2 minutes off.

    Args:
        terms: The terms of the visit.
        shown: What the clock shows now; None if that can't be known.
    """
    if terms.set_clock is None:
        return None
    now = terms.set_clock().replace(tzinfo=None)
    moment = None if shown is None else shown.moment
    if moment is not None and abs(now - moment) <= _CLOCK_TOLERANCE:
        return None
    return now


async def identify(link: GattLink) -> Identity:
    """Read who the device is from its Device Information Service.

    A refusal is not taken for an empty answer, for then the same device would
    have another identity at the next visit, and its readings be stored twice.

    Raises:
        LinkLost: The connection is gone.
        Refused: The device has the text and does not give it.
    """
    return Identity(
        manufacturer=await _text(link, device_information.MANUFACTURER_NAME),
        model=await _text(link, device_information.MODEL_NUMBER),
        serial=await _text(link, device_information.SERIAL_NUMBER),
        firmware=await _text(link, device_information.FIRMWARE_REVISION),
    )


async def _text(link: GattLink, uuid: UUID) -> str:
    if not link.has(uuid):
        return ""
    try:
        return device_information.decode_string(await link.read(uuid))
    except DecodeError:
        return ""  # no text at all; it will be none at the next visit too

"""What a device itself has suffered, by name, whatever it is and carries it.

What goes wrong with its radio or its cable is `firmware_sim.faults`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, TypeVar
from uuid import UUID

from msgspec import Meta, Struct

from firmware_sim.bench import Around
from firmware_sim.series import Row
from firmware_sim.trial import Shown
from protocols.config import ConfigError
from protocols.gatt.uuid import sig

FACTORY_DATE: Final = datetime(2000, 1, 1)  # noqa: DTZ001 - a wall clock
LOW_PERCENT = 4

_BATTERY_LEVEL = sig(0x2A19)
_UNTIL_USED = timedelta(minutes=10)

_T = TypeVar("_T", Row, Shown)


class Conditions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What state a device is in.

    Attributes:
        rebooted_clock: How many of its newest readings were taken after its
            battery was changed, which started its clock again at `FACTORY_DATE`.
        full_memory: Its memory holds all that it can, readings of every user slot.
        sequence_wrap: The numbers of its readings begin again in the middle.
        mixed_slots: Its user slots took turns.
        low_battery: Its battery is low, and its newest readings say so if they can.
        bond_lost: The visit behind which it forgets all its bonds, from 1 on.
    """

    rebooted_clock: Annotated[int, Meta(ge=0)] = 0
    full_memory: bool = False
    sequence_wrap: bool = False
    mixed_slots: bool = False
    low_battery: bool = False
    bond_lost: Annotated[int, Meta(ge=1)] | None = None

    def check(self, device: str, impossible: Mapping[str, str]) -> None:
        """Refuse what a device can't be in.

        Args:
            device: Its name, for the error.
            impossible: Conditions, each with the reason.

        Raises:
            ConfigError: It is said to be in one of them.
        """
        for name, reason in impossible.items():
            if getattr(self, name):
                raise ConfigError(f"{device}: no {name}: {reason}")


def rebooted(stored: Sequence[_T], newest: int) -> tuple[list[_T], timedelta]:
    """Return what is stored, and how far the device's clock was set.

    Args:
        stored: Oldest first.
        newest: How many were taken after the battery was changed.
    """
    found = list(stored)
    if not newest or not found:
        return found, timedelta()
    at = max(len(found) - newest, 0)
    changed = found[at].time.replace(second=0) - _UNTIL_USED
    by = FACTORY_DATE - changed
    found[at:] = [replace(one, time=one.time + by) for one in found[at:]]
    return found, by


def enter(
    bench: Any,  # noqa: ANN401 - any bench
    conditions: Conditions,
    ways: Mapping[str, Callable[[Any], None]],
) -> Any:  # noqa: ANN401 - any bench
    """Return a device in the conditions that are not of its stored readings alone.

    Args:
        bench: The device.
        conditions: Which.
        ways: What puts it into one of them, as `Trial.conditions`.
    """
    for name, way in ways.items():
        if getattr(conditions, name):
            way(bench)
    return _Low(bench) if conditions.low_battery and tells_battery(bench) else bench


class _Low(Around):
    """A `GattBench` whose battery is low."""

    def read(self, uuid: UUID) -> bytes:
        """Return a value, the Battery Level of a low battery."""
        value: bytes = self._bench.read(uuid)
        return bytes([LOW_PERCENT]) if uuid == _BATTERY_LEVEL else value


def tells_battery(bench: Any) -> bool:  # noqa: ANN401 - any bench
    """Whether a device has the Battery Level characteristic."""
    services = getattr(bench, "services", {})
    return any(one.uuid == _BATTERY_LEVEL for some in services.values() for one in some)

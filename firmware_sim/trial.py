"""What a simulated device can show, and how the kit makes one to try a driver on.

A `Trial` is data about one bench: the kit makes devices by it, has them show
values all over their range, breaks their link, and demands from the driver what
the device's display showed. A driver's author writes no test harness.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, TypeAlias

from firmware_sim.bench import GattBench, SerialBench
from protocols.observation import Kind, Quantity, Unit


class Limit(Enum):
    """What a device shows instead of a number outside its range."""

    HIGH = "HI"
    LOW = "LO"


@dataclass(frozen=True, slots=True)
class Span:
    """The numbers that a device can show of a quantity.

    Attributes:
        quantity: What it measures.
        unit: The unit of the numbers.
        low: The lowest.
        high: The highest.
        step: The difference between two neighbours.
    """

    quantity: Quantity
    unit: Unit
    low: Decimal
    high: Decimal
    step: Decimal = Decimal(1)

    def points(self, count: int) -> list[Decimal]:
        """Return ``count`` numbers of it, at least 2, evenly spread, both ends too."""
        steps = int((self.high - self.low) / self.step)
        return [self.low + steps * at // (count - 1) * self.step for at in range(count)]


@dataclass(frozen=True, slots=True)
class Shown:
    """One measurement as a person saw it on the device.

    Attributes:
        kind: What it is about.
        values: The numbers by quantity, in the units of the trial's spans.
        time: What the device's clock showed; whole minutes where it keeps no
            seconds.
        slot: The user slot it was stored in; None where there are none.
        context: What else the device stored with it, as the driver names it.
        status: What the device says of it, by the names of `Observation.status`.
    """

    kind: Kind
    values: Mapping[Quantity, Decimal | Limit]
    time: datetime
    slot: int | None = None
    context: Mapping[str, str] = field(default_factory=dict)
    status: tuple[str, ...] = ()


class SimClock:
    """A device's clock in a test: it stands still until somebody moves it."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        """Tell the local time that the device shows."""
        return self.now

    def move(self, by: timedelta) -> None:
        """Set it ``by`` ahead, or back."""
        self.now += by


def stopped_clock() -> datetime:
    """Tell the time of a device to which nobody gave a clock: it stands still."""
    return datetime(2026, 3, 1, 12, 0)  # noqa: DTZ001 - a device's clock has no zone


Bench: TypeAlias = GattBench | SerialBench


@dataclass(frozen=True, kw_only=True)
class Trial:
    """How to make a device, and what it can show.

    Attributes:
        make: Returns a device that has stored these measurements, oldest first,
            and tells the time by the clock. It is a fresh one, but always the
            same device: its serial number does not change.
        another: Likewise, but a second device of the same kind, with another serial
            number; None where a device tells none.
        take: Has somebody measure now: stores one measurement more.
        spans: For each kind of observation what it consists of; the numbers of
            a kind run from low to high together. Control solution stands here
            as a kind of its own, if the device can tell it.
        limits: The kinds of which the device can show HI and LO.
        slots: The user slots that the device keeps apart.
        contexts: What it can store with a measurement, one set after the other.
        statuses: What it can say of a measurement, of any kind, one set after the
            other.
        resolution_s: Of its time stamps, in s: 1, or 60; 0 where it sends none,
            or none that means anything.
        capacity: How many measurements it holds; None where that is not known.
        is_divided: Each user slot, or each kind where there are none, has an equal
            part of that for itself.
        set_to: Returns what the device's clock was last set to by the host; None
            if never. None where it can't be set.
        needs_clock: It can be read only by setting its clock.
        model: What the operator must name, if the device does not tell it.
        conditions: What puts one that was made into a condition, by its name in
            `firmware_sim.conditions`: ``sequence_wrap`` where it numbers its
            readings, ``low_battery`` where a reading tells that.
        exempt: Rules that cannot hold for this device, each with the reason.
    """

    make: Callable[[Sequence[Shown], SimClock], Any]
    take: Callable[[Any, Shown], None]
    spans: Mapping[Kind, tuple[Span, ...]]
    limits: frozenset[Kind] = frozenset()
    slots: tuple[int, ...] = ()
    contexts: tuple[Mapping[str, str], ...] = ({},)
    statuses: tuple[tuple[str, ...], ...] = ((),)
    another: Callable[[Sequence[Shown], SimClock], Any] | None = None
    resolution_s: int = 1
    capacity: int | None = None
    is_divided: bool = False
    set_to: Callable[[Any], datetime | None] | None = None
    needs_clock: bool = False
    model: str = ""
    conditions: Mapping[str, Callable[[Any], None]] = field(default_factory=dict)
    exempt: Mapping[str, str] = field(default_factory=dict)

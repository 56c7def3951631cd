"""Readings of one device, driver, kind and set of values, as columns.

A store takes readings by the hundred: what it needs of them is checked and made by the
column here, for a `Reading` of each would cost more than all the rest of their way.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from hashlib import blake2b
from itertools import chain
from typing import Any, TypeVar

import cbor2
import numpy as np
from numpy.typing import NDArray

from protocols.errors import Fault
from protocols.observation import (
    POSITION,
    QUANTITIES,
    Device,
    Kind,
    LinkSecurity,
    Observation,
    Quality,
    Quantity,
    Reading,
    State,
    TimeMethod,
    Unit,
    Value,
    key,
)
from protocols.units import measures
from protocols.uplink import columns
from protocols.uplink.columns import Whole
from protocols.uplink.facts import (
    COLUMNS,
    DEFAULTS,
    EPOCH_S,
    is_none,
    one_of,
    read_time,
)
from protocols.uplink.shared import Taken, batch_error

I8 = NDArray[np.int64]
T = TypeVar("T")

# Numbers on the wire never change their meaning; new ones are added at the end.
KINDS = tuple(Kind)
UNITS = tuple(Unit)
_QUANTITIES = tuple(Quantity)
_REMEMBERED = 1 << 14  # values whose digest is kept, as most come again
_MANTISSA = Whole(other=is_none)
_POWER = Whole(-128, 127)
_STATE = one_of(State)
_BOUNDS = (State.ABOVE_RANGE, State.BELOW_RANGE)

Measured = tuple[tuple[str, str], ...]
"""The quantity and unit of each value of a reading."""
Said = tuple[Any, ...]
"""What a reading says: of each value its mantissa, power of ten and state, all in one
row; then the position of the body, or None."""


@dataclass(frozen=True, slots=True)
class Values:
    """What the readings of a group have of one quantity; each list is one a reading.

    Attributes:
        quantity: What is measured.
        unit: In which unit.
        mantissas: None where there is no number.
        exponents: Powers of ten, -128 to 127.
        states: Numbers of `State`.
    """

    quantity: Quantity
    unit: Unit
    mantissas: list[int | None]
    exponents: list[int]
    states: list[int]


@dataclass(frozen=True, slots=True)
class Group:
    """Checked columns, from which no `Reading` can fail to be made.

    Attributes:
        device: The device of all.
        driver: Name and version of the driver of all.
        kind: The kind of all.
        count: How many readings they are.
        facts: By the names in `facts.COLUMNS`, one item a reading, as on the wire: in
            a list, but for frames that are `frames.Alike`.
        clock_s: Shape (count,): the device's clock in s since 1970, its own time; only
            where ``facts["device time"]`` is an integer.
        utc_ms: One a reading: the true time in ms since 1970; None is unknown.
        values: One for each quantity, in the driver's order.
    """

    device: Device
    driver: tuple[str, str]
    kind: Kind
    count: int
    facts: dict[str, Any]
    clock_s: I8
    utc_ms: list[int | None]
    values: tuple[Values, ...]

    def readings(self) -> list[Reading]:
        """Return the readings one by one."""
        return [self.reading(at) for at in range(self.count)]

    def reading(self, at: int) -> Reading:
        """Return one reading.

        Args:
            at: Its place, from 0.
        """
        facts = {name: items[at] for name, items in self.facts.items()}
        return Reading(
            device=self.device,
            driver=self.driver[0],
            driver_version=self.driver[1],
            observation=Observation(
                kind=self.kind,
                values=tuple(_value(column, at) for column in self.values),
                device_time=read_time(facts["device time"]),
                offset_min=facts["offset"],
                sequence=facts["sequence"],
                slot=facts["slot"],
                status=tuple(facts["status"]),
                context=_sorted_pairs(facts["context"]),
                raw=tuple(facts["raw"]),
            ),
            captured_ms=facts["captured"],
            utc_ms=self.utc_ms[at],
            time_method=TimeMethod(facts["time method"]),
            time_bound_ms=facts["time bound"],
            link=LinkSecurity(facts["link"]),
            quality=Quality(facts["quality"]),
            generation=facts["generation"],
            arrival=facts["arrival"],
            person=facts["person"],
            evidence=_sorted_pairs(facts["evidence"]),
        )

    def ordinals(self, packed: Sequence[int]) -> list[int]:
        """Return the ordinal of each reading's `observation.key`.

        Args:
            packed: Of each reading's clock, as `clocks.Clocks` packs it.
        """
        sequences: list[Any] = self.facts["sequence"]
        if None not in sequences:
            return sequences
        whole = [type(item) is int for item in self.facts["device time"]]
        arrivals = self.facts["arrival"]
        return [
            clock
            if sequence is None and arrival is None and is_whole
            else key(self.reading(at)).ordinal
            for at, (sequence, arrival, is_whole, clock) in enumerate(
                zip(sequences, arrivals, whole, packed, strict=True)
            )
        ]

    def measured(self) -> Measured:
        """Return what the readings measure."""
        return tuple((one.quantity.value, one.unit.value) for one in self.values)

    def said(self) -> Iterator[Said]:
        """Return what each reading says."""
        parts: Iterator[list[Any]] = chain.from_iterable(
            (one.mantissas, one.exponents, one.states) for one in self.values
        )
        positions = each(self.facts["context"], _position)
        return zip(*parts, positions, strict=True)


def decode(
    group: dict[int, object],
    devices: Sequence[Device],
    drivers: Sequence[tuple[str, str]],
    count: int,
) -> Group:
    """Read a group of a batch.

    Args:
        group: As it stands in the batch.
        devices: Of the batch.
        drivers: Of the batch, name and version.
        count: How many readings it has, checked by the caller.

    Raises:
        DecodeError: It is damaged, or holds what no reading can be.
    """
    device = devices[integer("group's device", group[1], 0, len(devices) - 1)]
    driver = drivers[integer("group's driver", group[2], 0, len(drivers) - 1)]
    kind = KINDS[integer("kind", group[3], 0, len(KINDS) - 1)]
    taken = Taken(group[7], count) if 7 in group else None
    facts = _facts(group[5], count, taken)
    columns_of_values = group[6]
    if not isinstance(columns_of_values, list) or not 1 <= len(columns_of_values) <= 16:
        raise batch_error("values", "are no array of 1 to 16")
    values = tuple(_values(item, count, taken) for item in columns_of_values)
    times = facts["device time"]
    clock_s = np.array(
        [time + EPOCH_S if type(time) is int else 0 for time in times], np.int64
    )
    found = Group(
        device=device,
        driver=driver,
        kind=kind,
        count=count,
        facts=facts,
        clock_s=clock_s,
        utc_ms=[
            None if behind is None else behind + 1000 * clock
            for behind, clock in zip(facts["utc"], clock_s.tolist(), strict=True)
        ],
        values=values,
    )
    if problem := _problem(found):
        raise batch_error("reading", f"cannot be: {problem}", Fault.BAD_FIELD)
    return found


def _facts(found: object, count: int, taken: Taken | None) -> dict[str, Any]:
    if not isinstance(found, dict) or not found.keys() <= COLUMNS.keys():
        raise batch_error("columns", "hold one unknown here", Fault.UNSUPPORTED_VERSION)
    return {
        name: columns.decode(name, found[number], count, check, taken)
        if number in found
        else [DEFAULTS.get(number)] * count
        for number, (name, _, check) in COLUMNS.items()
    }


def _values(column: object, count: int, taken: Taken | None) -> Values:
    if not isinstance(column, list) or len(column) != 5:
        raise batch_error("values", "have not 5 parts")
    quantity = _QUANTITIES[integer("quantity", column[0], 0, len(_QUANTITIES) - 1)]
    unit = UNITS[integer("unit", column[1], 0, len(UNITS) - 1)]
    if not measures(unit, quantity):
        raise batch_error(
            "unit", f"{unit} does not measure {quantity}", Fault.BAD_FIELD
        )
    name = quantity.value
    mantissas: Sequence[Any]
    exponents: Sequence[Any]
    place = columns.place_of(column[2])
    if taken is not None and place is not None and place == columns.place_of(column[3]):
        mantissas, exponents = taken.decimals(name, place)
    else:
        mantissas = columns.decode(name, column[2], count, _MANTISSA, taken)
        exponents = columns.decode(name, column[3], count, _POWER, taken)
    states = columns.decode(name, column[4], count, _STATE, taken)
    return Values(quantity, unit, [*mantissas], [*exponents], [*states])


def _problem(group: Group) -> str:
    """Return why the readings can't be; empty if they can."""
    quantities = [column.quantity for column in group.values]
    if len({*quantities}) < len(quantities):
        return f"{group.kind} needs values, each of another quantity"
    if not {*quantities} <= QUANTITIES[group.kind]:
        return f"{', '.join(quantities)} is not what {group.kind} has"
    if group.kind != Kind.CONTROL_SOLUTION and any(
        each(group.facts["context"], _is_of_control_solution)
    ):
        return f"{group.kind} of control solution is no person's"
    methods = group.facts["time method"]
    if None in group.utc_ms or TimeMethod.UNKNOWN in methods:
        for utc_ms, method in zip(group.utc_ms, methods, strict=True):
            if (utc_ms is None) is not (method == TimeMethod.UNKNOWN):
                return f"{TimeMethod(method).name} does not go with {utc_ms}"
    return next(filter(None, map(_problem_of_values, group.values)), "")


def _problem_of_values(column: Values) -> str:
    if not any(column.states) and None not in column.mantissas:
        return ""
    for mantissa, state in zip(column.mantissas, column.states, strict=True):
        measured = state == State.MEASURED
        if measured is (mantissa is None) and state not in _BOUNDS:
            return f"{State(state).name} does not go with {mantissa}"
    return ""


def each(items: Sequence[Any], make: Callable[[Any], T]) -> list[T]:
    """Return what is made of each item: once of one that stands there many times."""
    if items.count(items[0]) == len(items):
        return [make(items[0])] * len(items)
    made = {number: make(item) for number, item in {id(i): i for i in items}.items()}
    return [made[id(item)] for item in items]


def _is_of_control_solution(context: dict[str, str] | None) -> bool:
    return context is not None and "control_solution" in context.values()


def _position(context: dict[str, str] | None) -> str | None:
    return None if context is None else context.get(POSITION)


def values_said(
    measured: Measured, numbers: Sequence[Any]
) -> Iterator[tuple[str, str, int | None, int, int]]:
    """Yield of each value its quantity, unit, mantissa, power of ten and state.

    Args:
        measured: What is measured.
        numbers: As in `Said`, without the position.
    """
    for at, (quantity, unit) in enumerate(measured):
        mantissa, exponent, state = numbers[3 * at : 3 * at + 3]
        yield quantity, unit, mantissa, exponent, state


def discriminator(
    measured: Measured, numbers: Sequence[Any], position: str | None
) -> int:
    """Return the discriminator of the `observation.key` of a reading.

    Args:
        measured: What is measured.
        numbers: As in `Said`, without the position.
        position: As in `Said`.
    """
    parts = [_part(*value) for value in values_said(measured, numbers)]
    if position is not None:
        parts.append(cbor2.dumps(position))
    # An array of at most 23 items has one byte before them.
    said = b"".join([bytes([0x80 | len(parts)]), *parts])
    return int.from_bytes(blake2b(said, digest_size=2).digest(), "big")


@lru_cache(_REMEMBERED)
def _part(
    quantity: str, unit: str, mantissa: int | None, exponent: int, state: int
) -> bytes:
    number = decimal(mantissa, exponent)
    text = None if number is None else str(number)
    return cbor2.dumps([quantity, unit, text, state], canonical=True)


def decimal(mantissa: int | None, exponent: int) -> Decimal | None:
    """Return the exact decimal, its precision included."""
    if mantissa is None:
        return None
    digits = tuple(map(int, str(abs(mantissa))))
    return Decimal((int(mantissa < 0), digits, exponent))


def _value(column: Values, at: int) -> Value:
    number = decimal(column.mantissas[at], column.exponents[at])
    return Value(column.quantity, column.unit, number, State(column.states[at]))


def _sorted_pairs(item: dict[str, str] | None) -> tuple[tuple[str, str], ...]:
    return () if item is None else tuple(sorted(item.items()))


def integer(name: str, value: object, low: int = 0, high: int = (1 << 63) - 1) -> int:
    """Return ``value``, an integer from ``low`` to ``high``.

    Raises:
        DecodeError: It is none.
    """
    if type(value) is not int or not low <= value <= high:
        problem = f"is {value!r:.20}, no integer from {low} to {high}"
        raise batch_error(name, problem, Fault.OUT_OF_RANGE)
    return value

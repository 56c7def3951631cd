"""The batch: readings on their way from a station to the gateway.

Readings of one device, driver, kind and set of values form a group, and a
group is a set of columns: one for each fact, left out where no reading has it.
``uplink.cddl`` is the format; ``docs/reference/uplink.md`` explains it.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby

import cbor2

from protocols.errors import Fault
from protocols.observation import Device, Kind, Quantity, Reading, Unit, Value
from protocols.uplink import columns, envelope, group
from protocols.uplink.facts import COLUMNS, DEFAULTS, DEVICE_TIME
from protocols.uplink.group import KINDS, UNITS, Group, integer
from protocols.uplink.opening import unwrap
from protocols.uplink.shared import Shared, batch_error
from protocols.uplink.topics import check_id

MAX_READINGS = 10_000
_QUANTITIES = tuple(Quantity)


@dataclass(frozen=True, slots=True)
class Batch:
    """Readings that travel together.

    Attributes:
        station: The id of the station that sends them.
        counter: 1 for a station's first batch, then one more for each.
        made_ms: The station's clock when it made the batch, in ms since 1970.
        readings: 1 to `MAX_READINGS`.
    """

    station: str
    counter: int
    made_ms: int
    readings: tuple[Reading, ...]

    def encode(self, *, fast: bool = False) -> bytes:
        """Return the batch in its envelope.

        Args:
            fast: Whether time, here and at the gateway, matters more than size.

        Raises:
            ValueError: It holds no reading, or is too long for one message.
        """
        if not 1 <= len(self.readings) <= MAX_READINGS:
            raise ValueError(f"a batch holds 1 to {MAX_READINGS} readings")
        devices = list(dict.fromkeys(reading.device for reading in self.readings))
        drivers = list(dict.fromkeys(map(_driver, self.readings)))
        groups = [
            _encode_group(
                list(alike), devices.index(device), drivers.index(driver), fast=fast
            )
            for (device, driver, _, _), alike in groupby(self.readings, _layout)
        ]
        return envelope.wrap(
            {
                1: self.station,
                2: self.counter,
                3: self.made_ms,
                4: [_encode_device(device) for device in devices],
                5: [list(driver) for driver in drivers],
                6: groups,
            }
        )


@dataclass(frozen=True, slots=True)
class Opened:
    """A batch as it came, by the column.

    Attributes:
        station: The id of the station that sent it.
        counter: 1 for a station's first batch, then one more for each.
        made_ms: The station's clock when it made the batch, in ms since 1970.
        groups: Its readings, in order; 1 to `MAX_READINGS` in all.
    """

    station: str
    counter: int
    made_ms: int
    groups: tuple[Group, ...]

    @property
    def count(self) -> int:
        """How many readings it holds."""
        return sum(found.count for found in self.groups)

    def readings(self) -> tuple[Reading, ...]:
        """Return its readings one by one."""
        return tuple(one for found in self.groups for one in found.readings())


def decode(message: bytes) -> Batch:
    """Read a batch from its envelope.

    Raises:
        DecodeError: It is damaged, too large, or of a version unknown here.
    """
    found = open_batch(message)
    return Batch(
        station=found.station,
        counter=found.counter,
        made_ms=found.made_ms,
        readings=found.readings(),
    )


def open_batch(message: bytes) -> Opened:
    """Read a batch from its envelope, by the column.

    Raises:
        DecodeError: It is damaged, too large, or of a version unknown here.
    """
    content = unwrap("batch", message)
    fields = _map("batch", content, {1, 2, 3, 4, 5, 6})
    devices = [_decode_device(item) for item in _list("devices", fields[4])]
    drivers = [_decode_driver(item) for item in _list("drivers", fields[5])]
    groups = [
        _map("group", item, {1, 2, 3, 4, 5, 6}, {7})
        for item in _list("groups", fields[6])
    ]
    sizes = [integer("group size", found[4], 1, MAX_READINGS) for found in groups]
    if not 1 <= sum(sizes) <= MAX_READINGS:
        problem = f"holds {sum(sizes)} readings, not 1 to {MAX_READINGS}"
        raise batch_error("batch", problem, Fault.OUT_OF_RANGE)
    return Opened(
        station=_station(fields[1]),
        counter=integer("counter", fields[2], 1),
        made_ms=integer("made", fields[3]),
        groups=tuple(
            group.decode(found, devices, drivers, size)
            for found, size in zip(groups, sizes, strict=True)
        ),
    )


def _driver(reading: Reading) -> tuple[str, str]:
    return reading.driver, reading.driver_version


def _layout(
    reading: Reading,
) -> tuple[Device, tuple[str, str], Kind, tuple[tuple[Quantity, Unit], ...]]:
    seen = reading.observation
    shape = tuple((value.quantity, value.unit) for value in seen.values)
    return reading.device, _driver(reading), seen.kind, shape


def _encode_group(
    readings: Sequence[Reading], device: int, driver: int, *, fast: bool
) -> dict[int, object]:
    """Return a group, with a series where that makes it shorter."""
    facts = {
        number: [show(reading) for reading in readings]
        for number, (_, show, _) in COLUMNS.items()
    }
    first = readings[0].observation
    head = {1: device, 2: driver, 3: KINDS.index(first.kind), 4: len(readings)}
    found = head | _encode_columns(readings, facts, None)
    if len(readings) > 1:
        shared = Shared(facts[DEVICE_TIME])
        other = head | _encode_columns(readings, facts, shared)
        if (message := shared.encode(fast=fast)) is not None:
            found = min(found, other | {7: message}, key=lambda g: len(cbor2.dumps(g)))
    return found


def _encode_columns(
    readings: Sequence[Reading],
    facts: dict[int, list[object]],
    shared: Shared | None,
) -> dict[int, object]:
    places = range(len(readings[0].observation.values))
    values = [
        _encode_values([r.observation.values[at] for r in readings], shared)
        for at in places
    ]
    shown = {
        number: columns.encode(items, shared)
        for number, items in facts.items()
        if any(item != DEFAULTS.get(number) for item in items)
    }
    for at, column in zip(places, values, strict=True):
        states = [int(r.observation.values[at].state) for r in readings]
        column.append(columns.encode(states, shared))
    return {5: shown, 6: values}


def _encode_values(values: Sequence[Value], shared: Shared | None) -> list[object]:
    """Return a value's quantity, unit, mantissas and exponents."""
    pairs = [_pair(value.number) for value in values]
    mantissas, exponents = (list(part) for part in zip(*pairs, strict=True))
    there = None
    if shared is not None and any(pair != pairs[0] for pair in pairs):
        there = shared.decimals(pairs)
    return [
        _QUANTITIES.index(values[0].quantity),
        UNITS.index(values[0].unit),
        there or columns.encode(mantissas),
        there or columns.encode(exponents),
    ]


def _pair(number: Decimal | None) -> tuple[int | None, int]:
    if number is None:
        return None, 0
    sign, digits, exponent = number.as_tuple()
    mantissa = int("".join(map(str, digits)))
    # A decimal's negative zero has no place on the wire, nor on any device's.
    return -mantissa if sign else mantissa, int(exponent)


def _encode_device(device: Device) -> list[str]:
    return [
        device.id,
        device.manufacturer,
        device.model,
        device.serial,
        device.firmware,
    ]


def _decode_device(item: object) -> Device:
    parts = [_text("device", part, 128) for part in _list("device", item, 5)]
    if len(parts) != 5 or not parts[0]:
        raise batch_error("device", "is no five texts, the first its id")
    return Device(*parts)


def _decode_driver(item: object) -> tuple[str, str]:
    parts = [_text("driver", part, 64) for part in _list("driver", item, 2)]
    if len(parts) != 2:
        raise batch_error("driver", "is no pair of name and version")
    return parts[0], parts[1]


def _map(
    name: str, value: object, keys: set[int], may: Collection[int] = ()
) -> dict[int, object]:
    if not isinstance(value, dict) or not keys <= value.keys() <= {*keys, *may}:
        raise batch_error(name, f"is no map of the keys {min(keys)} to {max(keys)}")
    return value


def _list(name: str, value: object, most: int = MAX_READINGS) -> list[object]:
    if not isinstance(value, list) or len(value) > most:
        raise batch_error(name, f"are no array of at most {most}")
    return value


def _station(value: object) -> str:
    try:
        return check_id("station", _text("station", value, 64))
    except ValueError as error:
        raise batch_error("station", "is no id") from error


def _text(name: str, value: object, most: int) -> str:
    if not isinstance(value, str) or len(value) > most:
        raise batch_error(name, f"is no text of at most {most} characters")
    return value

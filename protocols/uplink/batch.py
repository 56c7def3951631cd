"""The batch: readings on their way from a station to the gateway.

Readings of one device, driver, kind and set of values form a group, and a
group is a set of columns: one for each fact, left out where no reading has it.
``uplink.cddl`` is the format; ``docs/reference/uplink.md`` explains it.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from itertools import groupby
from typing import Any

import cbor2

from protocols.errors import DecodeError, Fault
from protocols.gatt.time import DateTime
from protocols.observation import (
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
)
from protocols.units import measures
from protocols.uplink import columns, envelope
from protocols.uplink.columns import Shared, Taken
from protocols.uplink.envelope import is_int
from protocols.uplink.topics import check_id

MAX_READINGS = 10_000
_EPOCH = datetime(2000, 1, 1)  # noqa: DTZ001 - a device's clock has no zone
_UNIX_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - likewise

_FIRST, _LAST = datetime(1582, 1, 1), datetime(9999, 12, 31, 23, 59, 59)  # noqa: DTZ001
_SECONDS = tuple((end - _EPOCH) // timedelta(seconds=1) for end in (_FIRST, _LAST))

# Numbers on the wire never change their meaning; new ones are added at the end.
_KINDS = tuple(Kind)
_QUANTITIES = tuple(Quantity)
_UNITS = tuple(Unit)


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

    def encode(self) -> bytes:
        """Return the batch in its envelope.

        Raises:
            ValueError: It holds no reading, or is too long for one message.
        """
        if not 1 <= len(self.readings) <= MAX_READINGS:
            raise ValueError(f"a batch holds 1 to {MAX_READINGS} readings")
        devices = list(dict.fromkeys(reading.device for reading in self.readings))
        drivers = list(dict.fromkeys(map(_driver, self.readings)))
        groups = [
            _encode_group(list(group), devices.index(device), drivers.index(driver))
            for (device, driver, _, _), group in groupby(self.readings, _layout)
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


def decode(message: bytes) -> Batch:
    """Read a batch from its envelope.

    Raises:
        DecodeError: It is damaged, too large, or of a version unknown here.
    """
    content = envelope.unwrap("batch", message)
    fields = _map("batch", content, {1, 2, 3, 4, 5, 6})
    devices = [_decode_device(item) for item in _list("devices", fields[4])]
    drivers = [_decode_driver(item) for item in _list("drivers", fields[5])]
    groups = [
        _map("group", item, {1, 2, 3, 4, 5, 6}, {7})
        for item in _list("groups", fields[6])
    ]
    sizes = [_int("group size", group[4], 1, MAX_READINGS) for group in groups]
    if not 1 <= sum(sizes) <= MAX_READINGS:
        problem = f"holds {sum(sizes)} readings, not 1 to {MAX_READINGS}"
        raise _error("batch", problem, Fault.OUT_OF_RANGE)
    readings: list[Reading] = []
    for group in groups:
        readings += _decode_group(group, devices, drivers)
    return Batch(
        station=_station(fields[1]),
        counter=_int("counter", fields[2], 1),
        made_ms=_int("made", fields[3]),
        readings=tuple(readings),
    )


def _driver(reading: Reading) -> tuple[str, str]:
    return reading.driver, reading.driver_version


def _layout(
    reading: Reading,
) -> tuple[Device, tuple[str, str], Kind, tuple[tuple[Quantity, Unit], ...]]:
    seen = reading.observation
    shape = tuple((value.quantity, value.unit) for value in seen.values)
    return reading.device, _driver(reading), seen.kind, shape


# A column: its number, its name, how a reading shows it, and what it may hold.


def _show_time(reading: Reading) -> object:
    time = reading.observation.device_time
    if time is None:
        return None
    if (moment := time.moment) is None:
        return time.year.to_bytes(2, "big") + bytes(time[1:])
    return (moment - _EPOCH) // timedelta(seconds=1)


def _read_time(item: object) -> DateTime | None:
    if isinstance(item, bytes):
        return DateTime(int.from_bytes(item[:2], "big"), *item[2:])
    if isinstance(item, int):
        return DateTime.of(_EPOCH + timedelta(seconds=item))
    return None


def _may_be_time(item: object) -> bool:
    if item is None:
        return True
    if isinstance(item, bytes):
        time = _read_time(item) if len(item) == 7 else None
        return time is not None and time.moment is None
    return is_int(item, *_SECONDS)


def _wall_ms(time: DateTime | None) -> int:
    moment = None if time is None else time.moment
    since = timedelta(0) if moment is None else moment - _UNIX_EPOCH
    return since // timedelta(milliseconds=1)


def _show_utc(reading: Reading) -> object:
    if reading.utc_ms is None:
        return None
    return reading.utc_ms - _wall_ms(reading.observation.device_time)


def _names(item: object) -> bool:
    return (
        isinstance(item, list)
        and len(item) <= 32
        and all(isinstance(name, str) and len(name) <= 64 for name in item)
    )


def _pairs(item: object) -> bool:
    return item is None or (
        isinstance(item, dict)
        and len(item) <= 32
        and all(
            isinstance(part, str) and len(part) <= 256
            for pair in item.items()
            for part in pair
        )
    )


def _frames(item: object) -> bool:
    return (
        isinstance(item, list)
        and len(item) <= 8
        and all(isinstance(frame, bytes) and len(frame) <= 4096 for frame in item)
    )


def _maybe(check: columns.Check) -> columns.Check:
    return lambda item: item is None or check(item)


def _one_of(known: Iterable[int]) -> columns.Check:
    allowed = frozenset(int(item) for item in known)
    return lambda item: type(item) is int and item in allowed


_Show = Callable[[Reading], object]
_ANY_QUALITY = sum(Quality)
_MOST_MS = (1 << 63) - 1 - 253_402_300_800_000  # less the latest device clock
_COLUMNS: dict[int, tuple[str, _Show, columns.Check]] = {
    1: (
        "sequence",
        lambda r: r.observation.sequence,
        _maybe(partial(is_int, low=0, high=0xFFFF_FFFF)),
    ),
    2: ("device time", _show_time, _may_be_time),
    3: (
        "offset",
        lambda r: r.observation.offset_min,
        _maybe(partial(is_int, low=-0x8000, high=0x7FFF)),
    ),
    4: (
        "slot",
        lambda r: r.observation.slot,
        _maybe(partial(is_int, low=0, high=0xFF)),
    ),
    5: ("generation", lambda r: r.generation, partial(is_int, low=0, high=0xFFFF)),
    6: (
        "arrival",
        lambda r: r.arrival,
        _maybe(partial(is_int, low=0, high=(1 << 61) - 1)),
    ),
    7: ("captured", lambda r: r.captured_ms, is_int),
    8: ("utc", _show_utc, _maybe(partial(is_int, low=-_MOST_MS, high=_MOST_MS))),
    9: ("time method", lambda r: int(r.time_method), _one_of(TimeMethod)),
    10: ("time bound", lambda r: r.time_bound_ms, _maybe(partial(is_int, low=0))),
    11: ("status", lambda r: list(r.observation.status), _names),
    12: ("context", lambda r: dict(r.observation.context) or None, _pairs),
    13: ("link", lambda r: int(r.link), _one_of(LinkSecurity)),
    14: (
        "quality",
        lambda r: int(r.quality),
        partial(is_int, low=0, high=_ANY_QUALITY),
    ),
    15: (
        "person",
        lambda r: r.person,
        _maybe(lambda item: isinstance(item, str) and 0 < len(item) <= 128),
    ),
    16: ("evidence", lambda r: dict(r.evidence) or None, _pairs),
    17: ("raw", lambda r: list(r.observation.raw), _frames),
}
_DEVICE_TIME = 2
_DEFAULTS: dict[int, object] = {5: 0, 7: 0, 9: 0, 11: [], 13: 0, 14: 0, 17: []}


def _encode_group(
    readings: Sequence[Reading], device: int, driver: int
) -> dict[int, object]:
    """Return a group, with a series where that makes it shorter."""
    facts = {
        number: [show(reading) for reading in readings]
        for number, (_, show, _) in _COLUMNS.items()
    }
    first = readings[0].observation
    head = {1: device, 2: driver, 3: _KINDS.index(first.kind), 4: len(readings)}
    found = head | _encode_columns(readings, facts, None)
    if len(readings) > 1:
        shared = Shared(facts[_DEVICE_TIME])
        other = head | _encode_columns(readings, facts, shared)
        if (message := shared.encode()) is not None:
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
        if any(item != _DEFAULTS.get(number) for item in items)
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
        _UNITS.index(values[0].unit),
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


def _decode_group(
    group: dict[int, object],
    devices: Sequence[Device],
    drivers: Sequence[tuple[str, str]],
) -> list[Reading]:
    count = _int("group size", group[4], 1, MAX_READINGS)
    device = devices[_int("group's device", group[1], 0, len(devices) - 1)]
    driver = drivers[_int("group's driver", group[2], 0, len(drivers) - 1)]
    kind = _KINDS[_int("kind", group[3], 0, len(_KINDS) - 1)]
    taken = Taken(group[7], count) if 7 in group else None
    facts = _decode_columns(group[5], count, taken)
    values = [
        _decode_values(item, count, taken) for item in _list("values", group[6], 16)
    ]
    if not values:
        raise _error("values", "are none")
    try:
        readings = [
            _reading(
                device,
                driver,
                kind,
                tuple(column[at] for column in values),
                {name: items[at] for name, items in facts.items()},
            )
            for at in range(count)
        ]
    except ValueError as error:
        raise _error("reading", f"cannot be: {error}", Fault.BAD_FIELD) from error
    return readings


def _decode_columns(
    found: object, count: int, taken: Taken | None
) -> dict[str, list[object]]:
    if not isinstance(found, dict) or not found.keys() <= _COLUMNS.keys():
        raise _error("columns", "hold one unknown here", Fault.UNSUPPORTED_VERSION)
    return {
        name: columns.decode(name, found[number], count, check, taken)
        if number in found
        else [_DEFAULTS.get(number)] * count
        for number, (name, _, check) in _COLUMNS.items()
    }


def _decode_values(column: object, count: int, taken: Taken | None) -> list[Value]:
    parts = _list("values", column, 5)
    if len(parts) != 5:
        raise _error("values", f"have {len(parts)} parts, not 5")
    quantity = _QUANTITIES[_int("quantity", parts[0], 0, len(_QUANTITIES) - 1)]
    unit = _UNITS[_int("unit", parts[1], 0, len(_UNITS) - 1)]
    if not measures(unit, quantity):
        raise _error("unit", f"{unit} does not measure {quantity}", Fault.BAD_FIELD)
    name = quantity.value
    mantissas: list[object]
    exponents: list[object]
    place = columns.place_of(parts[2])
    if taken is not None and place is not None and place == columns.place_of(parts[3]):
        pairs = taken.decimals(name, place)
        mantissas, exponents = (list(part) for part in zip(*pairs, strict=True))
    else:
        mantissas = columns.decode(name, parts[2], count, _maybe(is_int), taken)
        power = partial(is_int, low=-128, high=127)
        exponents = columns.decode(name, parts[3], count, power, taken)
    check = _one_of(State)
    states: list[Any] = columns.decode(name, parts[4], count, check, taken)
    values = []
    for mantissa, exponent, state in zip(mantissas, exponents, states, strict=True):
        try:
            number = _number(mantissa, exponent)
            values.append(Value(quantity, unit, number, State(state)))
        except ValueError as error:
            raise _error(name, f"cannot be: {error}", Fault.BAD_FIELD) from error
    return values


def _number(mantissa: object, exponent: object) -> Decimal | None:
    if not isinstance(mantissa, int) or not isinstance(exponent, int):
        return None
    digits = tuple(int(digit) for digit in str(abs(mantissa)))
    return Decimal((int(mantissa < 0), digits, exponent))


def _reading(
    device: Device,
    driver: tuple[str, str],
    kind: Kind,
    values: tuple[Value, ...],
    facts: dict[str, Any],  # each as its column's check allows it
) -> Reading:
    get = facts.__getitem__
    time = _read_time(get("device time"))
    correction = get("utc")
    utc_ms = correction + _wall_ms(time) if isinstance(correction, int) else None
    return Reading(
        device=device,
        driver=driver[0],
        driver_version=driver[1],
        observation=Observation(
            kind=kind,
            values=values,
            device_time=time,
            offset_min=get("offset"),
            sequence=get("sequence"),
            slot=get("slot"),
            status=tuple(get("status")),
            context=_sorted_pairs(get("context")),
            raw=tuple(get("raw")),
        ),
        captured_ms=get("captured"),
        utc_ms=utc_ms,
        time_method=TimeMethod(get("time method")),
        time_bound_ms=get("time bound"),
        link=LinkSecurity(get("link")),
        quality=Quality(get("quality")),
        generation=get("generation"),
        arrival=get("arrival"),
        person=get("person"),
        evidence=_sorted_pairs(get("evidence")),
    )


def _sorted_pairs(item: object) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(item.items())) if isinstance(item, dict) else ()


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
        raise _error("device", "is no five texts, the first its id")
    return Device(*parts)


def _decode_driver(item: object) -> tuple[str, str]:
    parts = [_text("driver", part, 64) for part in _list("driver", item, 2)]
    if len(parts) != 2:
        raise _error("driver", "is no pair of name and version")
    return parts[0], parts[1]


def _map(
    name: str, value: object, keys: set[int], may: Collection[int] = ()
) -> dict[int, object]:
    if not isinstance(value, dict) or not keys <= value.keys() <= {*keys, *may}:
        raise _error(name, f"is no map of the keys {min(keys)} to {max(keys)}")
    return value


def _list(name: str, value: object, most: int = MAX_READINGS) -> list[object]:
    if not isinstance(value, list) or len(value) > most:
        raise _error(name, f"are no array of at most {most}")
    return value


def _station(value: object) -> str:
    try:
        return check_id("station", _text("station", value, 64))
    except ValueError as error:
        raise _error("station", "is no id") from error


def _text(name: str, value: object, most: int) -> str:
    if not isinstance(value, str) or len(value) > most:
        raise _error(name, f"is no text of at most {most} characters")
    return value


def _int(name: str, value: object, low: int = 0, high: int = (1 << 63) - 1) -> int:
    if type(value) is not int or not low <= value <= high:
        problem = f"is {value!r:.20}, no integer from {low} to {high}"
        raise _error(name, problem, Fault.OUT_OF_RANGE)
    return value


def _error(name: str, problem: str, fault: Fault = Fault.BAD_FRAME) -> DecodeError:
    return DecodeError("batch", name, problem, b"", 0, fault)

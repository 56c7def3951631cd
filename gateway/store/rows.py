"""Readings as rows of either store, and back.

A row of `READING` begins with its id and its key, in the order of `KEY`; what its batch
says already, the row does not say again. JSON keeps exact decimals as text.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from itertools import repeat
from typing import Any

import cbor2
import msgspec
import numpy as np

from gateway.store.database import Row
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
from protocols.uplink.batch import Opened, open_batch
from protocols.uplink.facts import read_time
from protocols.uplink.group import KINDS, Group, Values, decimal

KEY = ("device", "generation", "slot", "kind", "ordinal", "discriminator")
FACTS = (
    "utc_ms", "time_method", "time_bound_ms", "captured_ms", "device_time",
    "offset_min", "link", "quality", "person", "evidence", "status", "context",
    '"values"', "raw",
)  # fmt: skip
READING = ("id", *KEY, "batch", "driver", *FACTS)
KIND_NUMBERS = {kind: number for number, kind in enumerate(KINDS)}

_SEQUENCES, _ARRIVALS = 1 << 32, 1 << 62  # of ordinals: these end, those begin
_REMEMBERED = 1 << 16

_Pairs = tuple[tuple[str, str], ...]
_VALUES = msgspec.json.Decoder(list[tuple[Quantity, Unit, str | None, int]])
_PAIRS = msgspec.json.Decoder(_Pairs)
_NAMES = msgspec.json.Decoder(tuple[str, ...])


@dataclass(frozen=True, slots=True)
class Prepared:
    """A batch, ready to be written; made where there is time for it.

    Attributes:
        station: The id of the station that sent it.
        counter: Of the station's batches.
        made_ms: The station's clock when it made the batch.
        groups: Its readings, in order.
        message: The batch as it came.
    """

    station: str
    counter: int
    made_ms: int
    groups: tuple["Made", ...]
    message: bytes

    @property
    def count(self) -> int:
        """How many readings it holds."""
        return sum(group.count for group in self.groups)

    def readings(self) -> tuple[Reading, ...]:
        """Return its readings one by one."""
        return open_batch(self.message).readings()


@dataclass(frozen=True, slots=True)
class Made:
    """A group of a batch as rows, but for the numbers that a store gives.

    Attributes:
        device: The device of all.
        driver: Name and version of the driver of all.
        kind: The kind of all.
        utc_ms: The true times; None is unknown.
        parts: One a reading: its key without the device, and its facts.
    """

    device: Device
    driver: tuple[str, str]
    kind: Kind
    utc_ms: list[int | None]
    parts: list[tuple[Row, Row]]

    @property
    def count(self) -> int:
        """How many readings it holds."""
        return len(self.parts)


def prepare(batch: Opened, message: bytes) -> Prepared:
    """Return a batch ready to be written.

    Args:
        batch: What ``message`` says.
        message: As it came.
    """
    groups = []
    for group in batch.groups:
        device, driver, kind, times = (
            group.device,
            group.driver,
            group.kind,
            group.utc_ms,
        )
        groups.append(Made(device, driver, kind, times, _parts(group)))
    return Prepared(batch.station, batch.counter, batch.made_ms, tuple(groups), message)


def rows(group: Made, first: int, device: int, batch: int, driver: int) -> list[Row]:
    """Return a group's readings as rows, in the order of `READING`.

    Args:
        group: Its readings.
        first: The id of the first of them; the others follow.
        device: The number of their device in this store.
        batch: Of their batch.
        driver: Of their driver.
    """
    said_by = (batch, driver)
    return [
        (number, device, *key, *said_by, *facts)
        for number, (key, facts) in enumerate(group.parts, first)
    ]


def _parts(group: Group) -> list[tuple[Row, Row]]:
    facts = group.facts
    keys = zip(
        facts["generation"],
        [-1 if slot is None else slot for slot in facts["slot"]],
        repeat(KIND_NUMBERS[group.kind], group.count),
        group.ordinals(),
        group.discriminators(),
        strict=True,
    )
    said = zip(
        group.utc_ms,
        facts["time method"],
        facts["time bound"],
        facts["captured"],
        _device_times(group),
        facts["offset"],
        facts["link"],
        facts["quality"],
        facts["person"],
        _texts(facts["evidence"]),
        _texts(facts["status"]),
        _texts(facts["context"]),
        _value_texts(group.values),
        _raw(facts["raw"]),
        strict=True,
    )
    return list(zip(keys, said, strict=True))


def reading_of(
    device: Device, driver: tuple[str, str], key: Sequence[int], facts: Row
) -> Reading:
    """Return the reading that a row tells.

    Args:
        device: Of the row of its device.
        driver: Name and version.
        key: Of the row, in the order of `KEY`.
        facts: Of the row, in the order of `FACTS`.
    """
    _, generation, slot, kind, ordinal, _ = key
    time, status, context, raw = facts[4], facts[10], facts[11], facts[13]
    return Reading(
        device=device,
        driver=driver[0],
        driver_version=driver[1],
        observation=Observation(
            kind=KINDS[kind],
            values=tuple(_value(*parts) for parts in _VALUES.decode(facts[12])),
            device_time=None if time is None else DateTime.parse(time),
            offset_min=facts[5],
            sequence=ordinal if ordinal < _SEQUENCES else None,
            slot=None if slot < 0 else slot,
            status=_NAMES.decode(status) if status else (),
            context=_PAIRS.decode(context) if context else (),
            raw=tuple(cbor2.loads(raw)) if raw else (),
        ),
        captured_ms=facts[3],
        utc_ms=facts[0],
        time_method=TimeMethod(facts[1]),
        time_bound_ms=facts[2],
        link=LinkSecurity(facts[6]),
        quality=Quality(facts[7]),
        generation=generation,
        arrival=ordinal - _ARRIVALS if ordinal >= _ARRIVALS else None,
        person=facts[8],
        evidence=_PAIRS.decode(facts[9]) if facts[9] else (),
    )


def _device_times(group: Group) -> Iterable[str | None]:
    texts = np.datetime_as_string(group.clock_s.astype("datetime64[s]")).tolist()
    return [
        text if type(item) is int else _odd(read_time(item))
        for text, item in zip(texts, group.facts["device time"], strict=True)
    ]


def _odd(time: DateTime | None) -> str | None:
    return None if time is None else str(time)


def _texts(items: list[Any]) -> Iterable[str | None]:
    """Return JSON of each item; where all are alike, made once."""
    if items.count(items[0]) == len(items):
        return [_text(items[0])] * len(items)
    return map(_text, items)


def _text(item: Any) -> str | None:  # noqa: ANN401 - as its column allows it
    return _json(sorted(item.items()) if isinstance(item, dict) else item or ())


def _value_texts(values: Sequence[Values]) -> list[str]:
    shown = []
    for column in values:
        quantity, unit = column.quantity.value, column.unit.value
        shown.append([_shown(quantity, unit, *each) for each in column.numbers()])
    return [f"[{','.join(parts)}]" for parts in zip(*shown, strict=True)]


@lru_cache(_REMEMBERED)
def _shown(
    quantity: str, unit: str, mantissa: int | None, exponent: int, state: int
) -> str:
    number = decimal(mantissa, exponent)
    text = None if number is None else str(number)
    return msgspec.json.encode([quantity, unit, text, state]).decode()


def _raw(items: list[list[bytes]]) -> list[bytes | None]:
    shapes = {(len(frames), len(frames[0]) if frames else 0) for frames in items}
    if len(shapes) == 1 and {count for count, _ in shapes} == {1}:
        # One frame each, all of one length: so is what stands before it.
        head = cbor2.dumps(items[0]).removesuffix(items[0][0])
        return [head + frames[0] for frames in items]
    return [cbor2.dumps(frames) if frames else None for frames in items]


def _json(parts: Sequence[object]) -> str | None:
    return msgspec.json.encode(parts).decode() if parts else None


def _value(quantity: Quantity, unit: Unit, number: str | None, state: int) -> Value:
    exact = None if number is None else Decimal(number)
    return Value(quantity, unit, exact, State(state))

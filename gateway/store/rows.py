"""Readings as rows of either store; `gateway.store.remade` leads back.

A row of `READING` begins with its id and its key, in the order of `KEY`; what its batch
says already, the row does not say again. JSON keeps exact decimals as text.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby, repeat, starmap
from operator import itemgetter
from typing import Any

import cbor2
import msgspec
import numpy as np

from gateway.store.database import Row
from protocols.gatt.time import DateTime
from protocols.observation import Device, Kind, Reading
from protocols.uplink.batch import Opened, open_batch
from protocols.uplink.facts import read_time
from protocols.uplink.group import (
    KINDS,
    Group,
    decimal,
    discriminator,
    each,
    values_said,
)

KEY = ("device", "generation", "slot", "kind", "ordinal", "discriminator")
FACTS = (
    "utc_ms", "time_method", "time_bound_ms", "captured_ms", "device_time",
    "offset_min", "link", "quality", "person", "evidence", "status", "context",
    '"values"', "raw",
)  # fmt: skip
READING = ("id", *KEY, "batch", "driver", *FACTS)
_ID, _DEVICE, _KIND, _UTC, _QUALITY = map(
    READING.index, ("id", "device", "kind", "utc_ms", "quality")
)
KIND_NUMBERS = {kind: number for number, kind in enumerate(KINDS)}

_REMEMBERED = 1 << 14  # texts, as most values come again


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

    @property
    def span_ms(self) -> tuple[int | None, int | None]:
        """The first and the last true time in it; None where none is known."""
        told = (ms for group in self.groups for ms in group.columns["utc_ms"])
        known = [ms for ms in told if ms is not None]
        return min(known, default=None), max(known, default=None)

    def readings(self) -> tuple[Reading, ...]:
        """Return its readings one by one."""
        return open_batch(self.message).readings()


@dataclass(frozen=True, slots=True)
class Made:
    """A group of a batch as columns of rows, but for the numbers that a store gives.

    Attributes:
        device: The device of all.
        driver: Name and version of the driver of all.
        kind: The kind of all.
        count: How many readings they are.
        columns: Of `KEY` but the device, and of `FACTS`: one item a reading.
    """

    device: Device
    driver: tuple[str, str]
    kind: Kind
    count: int
    columns: dict[str, list[Any]]


def prepare(batch: Opened, message: bytes) -> Prepared:
    """Return a batch ready to be written.

    Args:
        batch: What ``message`` says.
        message: As it came.
    """
    groups = tuple(
        Made(group.device, group.driver, group.kind, group.count, _columns(group))
        for group in batch.groups
    )
    return Prepared(batch.station, batch.counter, batch.made_ms, groups, message)


def rows(group: Made, first: int, device: int, batch: int, driver: int) -> list[Row]:
    """Return a group's readings as rows, in the order of `READING`.

    Args:
        group: Its readings.
        first: The id of the first of them; the others follow.
        device: The number of their device in this store.
        batch: Of their batch.
        driver: Of their driver.
    """
    count, columns = group.count, group.columns
    return list(
        zip(
            range(first, first + count),
            repeat(device, count),
            *(columns[name] for name in KEY[1:]),
            repeat(batch, count),
            repeat(driver, count),
            *(columns[name] for name in FACTS),
            strict=True,
        )
    )


def said_of(device: Device) -> Row:
    """Return what a device says of itself, as it stands behind its name in a row."""
    return device.manufacturer, device.model, device.serial, device.firmware


def tallied(new: Sequence[Row]) -> list[Row]:
    """Return what new readings add to the tally of each device and kind.

    Args:
        new: In the order of `READING`; by device, and by kind within it nearly so.

    Returns:
        Device, kind, how many, how many flagged, first and last true time, last id; in
        order.
    """
    alike: dict[Row, list[Row]] = defaultdict(list)
    for name, some in groupby(new, itemgetter(_DEVICE, _KIND)):
        alike[name] += some
    counted: list[Row] = []
    for name, found in sorted(alike.items()):
        times = [row[_UTC] for row in found if row[_UTC] is not None]
        flagged = sum(row[_QUALITY] != 0 for row in found)
        first_ms, last_ms = min(times, default=None), max(times, default=None)
        last = max(row[_ID] for row in found)
        counted.append((*name, len(found), flagged, first_ms, last_ms, last))
    return counted


def _columns(group: Group) -> dict[str, list[Any]]:
    facts = group.facts
    discriminators, values = zip(*starmap(_told, group.said()), strict=True)
    return {
        "generation": facts["generation"],
        "slot": each(facts["slot"], _slot),
        "kind": [KIND_NUMBERS[group.kind]] * group.count,
        "ordinal": group.ordinals(),
        "discriminator": [*discriminators],
        "utc_ms": group.utc_ms,
        "time_method": facts["time method"],
        "time_bound_ms": facts["time bound"],
        "captured_ms": facts["captured"],
        "device_time": _device_times(group),
        "offset_min": facts["offset"],
        "link": facts["link"],
        "quality": facts["quality"],
        "person": facts["person"],
        "evidence": each(facts["evidence"], _text),
        "status": each(facts["status"], _text),
        "context": each(facts["context"], _text),
        '"values"': [*values],
        "raw": [
            _frames_as((*map(len, frames),)) % (*frames,) if frames else None
            for frames in facts["raw"]
        ],
    }


def _device_times(group: Group) -> list[str | None]:
    texts: list[str | None]
    texts = np.datetime_as_string(group.clock_s.astype("datetime64[s]")).tolist()
    items = group.facts["device time"]
    if {*map(type, items)} == {int}:
        return texts
    return [
        text if type(item) is int else _odd(read_time(item))
        for text, item in zip(texts, items, strict=True)
    ]


def _odd(time: DateTime | None) -> str | None:
    return None if time is None else str(time)


def _slot(slot: int | None) -> int:
    return -1 if slot is None else slot


def _text(item: Any) -> str | None:  # noqa: ANN401 - as its column allows it
    return _json(sorted(item.items()) if isinstance(item, dict) else item or ())


@lru_cache(_REMEMBERED)
def _told(
    measured: tuple[tuple[str, str], ...],
    numbers: tuple[Any, ...],
    position: str | None,
) -> tuple[int, str]:
    """Return a reading's discriminator, and JSON of its values."""
    parts = [_shown(*value) for value in values_said(measured, numbers)]
    return discriminator(measured, numbers, position), f"[{','.join(parts)}]"


@lru_cache(_REMEMBERED)
def _shown(
    quantity: str, unit: str, mantissa: int | None, exponent: int, state: int
) -> str:
    number = decimal(mantissa, exponent)
    text = None if number is None else str(number)
    return msgspec.json.encode([quantity, unit, text, state]).decode()


@lru_cache(_REMEMBERED)
def _frames_as(sizes: tuple[int, ...]) -> bytes:
    """Return the CBOR of frames of these sizes, for `%` to put them in."""
    found = bytes([0x80 | len(sizes)])
    for size in sizes:
        head = cbor2.dumps(bytes(size))[: -size or None]
        found += head.replace(b"%", b"%%") + b"%b"
    return found


def _json(parts: Sequence[object]) -> str | None:
    return msgspec.json.encode(parts).decode() if parts else None

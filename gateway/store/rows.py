"""Readings as rows of either store; `gateway.store.remade` leads back.

A row of `READING` begins with its id and its key, in the order of `KEY`; what its batch
says already, the row does not say again. JSON keeps exact decimals as text.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, groupby, repeat
from operator import itemgetter
from typing import Any, cast

import cbor2
import msgspec
import numpy as np

from gateway.store.database import Row
from protocols.gatt.time import DateTime
from protocols.observation import Device, Kind, Reading
from protocols.uplink.batch import Opened, open_batch
from protocols.uplink.clocks import Clocks
from protocols.uplink.facts import read_time
from protocols.uplink.frames import Alike
from protocols.uplink.group import (
    KINDS,
    Group,
    Measured,
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
AT_KEY = slice(1, 1 + len(KEY))  # of a row of `READING`
_ID, _DEVICE, _KIND, _UTC, _QUALITY = map(
    READING.index, ("id", "device", "kind", "utc_ms", "quality")
)
_PLACES = {name: at for at, name in enumerate(READING)}
KIND_NUMBERS = {kind: number for number, kind in enumerate(KINDS)}

_REMEMBERED = 1 << 14  # texts, as most values come again
_MEASURED = 16  # sets of quantities and units, each of which remembers
_SAID = _REMEMBERED // 8  # what readings say
_TIME = b"0000-00-00T00:00:00\n"
_PARTS = (5, 8, 11, 14, 17)  # where the month is in it, day, hour, minute and second
_DIGITS = np.array([[*f"{number:02}".encode()] for number in range(100)], np.uint8)

Span = tuple[int | None, int | None]


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
    def span_ms(self) -> Span:
        """The first and the last true time in it; None where none is known."""
        return span_ms([ms for group in self.groups for ms in group.span_ms])

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
        flagged: How many of them have a quality flag.
        span_ms: The first and the last true time of them; None where none is known.
        columns: Of `KEY` but the device, and of `FACTS`: one item a reading.
    """

    device: Device
    driver: tuple[str, str]
    kind: Kind
    count: int
    flagged: int
    span_ms: Span
    columns: dict[str, list[Any]]


def prepare(batch: Opened, message: bytes) -> Prepared:
    """Return a batch ready to be written.

    Args:
        batch: What ``message`` says.
        message: As it came.
    """
    # By the batch, for arrays are dear by the piece.
    clocks = Clocks.of(np.concatenate([group.clock_s for group in batch.groups]))
    times, packed = _texts(clocks), clocks.packed().tolist()
    ends = [*accumulate(group.count for group in batch.groups)]
    groups = tuple(
        _made(group, times[end - group.count : end], packed[end - group.count : end])
        for group, end in zip(batch.groups, ends, strict=True)
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


def laid(group: Made, first: int, device: int, batch: int, driver: int) -> list[Any]:
    """Return the same as `rows`, one row behind the other, much sooner."""
    width, count = len(READING), group.count
    found: list[Any] = [None] * (width * count)
    found[_ID::width] = range(first, first + count)
    for name, column in group.columns.items():
        found[_PLACES[name] :: width] = column
    for name, number in (("device", device), ("batch", batch), ("driver", driver)):
        found[_PLACES[name] :: width] = [number] * count
    return found


def tally(group: Made, device: int) -> Row:
    """Return what a group adds to the tally if all of it is new, as `tallied` does."""
    kind = KIND_NUMBERS[group.kind]
    return device, kind, group.count, group.flagged, *group.span_ms


def said_of(device: Device) -> Row:
    """Return what a device says of itself, as it stands behind its name in a row."""
    return device.manufacturer, device.model, device.serial, device.firmware


def tallied(new: Sequence[Row]) -> list[Row]:
    """Return what new readings add to the tally of each device and kind.

    Args:
        new: In the order of `READING`; by device, and by kind within it nearly so.

    Returns:
        Device, kind, how many, how many flagged, first and last true time; in order.
    """
    alike: dict[Row, list[Row]] = defaultdict(list)
    for name, some in groupby(new, itemgetter(_DEVICE, _KIND)):
        alike[name] += some
    counted: list[Row] = []
    for name, found in sorted(alike.items()):
        times = [row[_UTC] for row in found if row[_UTC] is not None]
        flagged = sum(row[_QUALITY] != 0 for row in found)
        first_ms, last_ms = min(times, default=None), max(times, default=None)
        counted.append((*name, len(found), flagged, first_ms, last_ms))
    return counted


def _made(group: Group, times: list[str], packed: list[int]) -> Made:
    flagged = group.count - group.facts["quality"].count(0)
    return Made(
        group.device,
        group.driver,
        group.kind,
        group.count,
        flagged,
        span_ms(group.utc_ms),
        _columns(group, times, packed),
    )


def span_ms(times: Sequence[int | None]) -> Span:
    """Return the first and the last of times; None where none is known."""
    known = cast("Sequence[int]", times)
    if None in times:
        known = [ms for ms in times if ms is not None]
    return min(known, default=None), max(known, default=None)


def _columns(group: Group, times: list[str], packed: list[int]) -> dict[str, list[Any]]:
    facts = group.facts
    told = _told(group.measured())
    discriminators, values = zip(*map(told.__getitem__, group.said()), strict=True)
    return {
        "generation": facts["generation"],
        "slot": each(facts["slot"], _slot),
        "kind": [KIND_NUMBERS[group.kind]] * group.count,
        "ordinal": group.ordinals(packed),
        "discriminator": [*discriminators],
        "utc_ms": group.utc_ms,
        "time_method": facts["time method"],
        "time_bound_ms": facts["time bound"],
        "captured_ms": facts["captured"],
        "device_time": _device_times(group, times),
        "offset_min": facts["offset"],
        "link": facts["link"],
        "quality": facts["quality"],
        "person": facts["person"],
        "evidence": each(facts["evidence"], _text),
        "status": each(facts["status"], _text),
        "context": each(facts["context"], _text),
        '"values"': [*values],
        "raw": _raw(facts["raw"]),
    }


def _raw(frames: Sequence[list[bytes]]) -> list[bytes | None]:
    if isinstance(frames, Alike):
        return [*frames.encoded()]
    return [
        _frames_as((*map(len, some),)) % (*some,) if some else None for some in frames
    ]


def _device_times(group: Group, times: list[str]) -> list[str | None]:
    items = group.facts["device time"]
    if {*map(type, items)} == {int}:
        return [*times]
    return [
        text if type(item) is int else _odd(read_time(item))
        for text, item in zip(times, items, strict=True)
    ]


def _texts(clocks: Clocks) -> list[str]:
    """Return clocks as `DateTime` writes them."""
    found = np.tile(np.frombuffer(_TIME, np.uint8), (len(clocks.year), 1))
    century, year = np.divmod(clocks.year, 100)
    for at, part in zip((0, 2, *_PARTS), (century, year, *clocks[1:]), strict=True):
        found[:, at : at + 2] = _DIGITS[part]
    return found.tobytes().decode().splitlines()


def _odd(time: DateTime | None) -> str | None:
    return None if time is None else str(time)


def _slot(slot: int | None) -> int:
    return -1 if slot is None else slot


def _text(item: Any) -> str | None:  # noqa: ANN401 - as its column allows it
    return _json(sorted(item.items()) if isinstance(item, dict) else item or ())


class _Told(dict[tuple[Any, ...], tuple[int, str]]):
    """The discriminators of readings by what they say, and JSON of their values.

    Args:
        measured: As in `group.Measured`.
    """

    def __init__(self, measured: Measured) -> None:
        self._measured = measured

    def __missing__(self, said: tuple[Any, ...]) -> tuple[int, str]:
        *numbers, position = said
        parts = [_shown(*value) for value in values_said(self._measured, numbers)]
        number = discriminator(self._measured, numbers, position)
        if len(self) >= _SAID:
            self.clear()
        self[said] = found = number, f"[{','.join(parts)}]"
        return found


_told = lru_cache(_MEASURED)(_Told)


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

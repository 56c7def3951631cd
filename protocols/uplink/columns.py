"""Columns of a batch, each in the codec that makes it shortest.

    column = [codec, data]

    0 plain     one item a reading, in order
    1 constant  the one item that every reading has
    2 delta     integers: the first, then each one's difference to the one before
    3 listed    [items, column]: the different items, and each reading's by its place,
                which is plain, constant, delta or shared
    4 split     {name: column}: maps, null where one has no name: of each name a
                column, null where a map has it not
    5 digits    column: texts of integers, as these, which are as in 3
    16 shared   [place, base]: integers, each base more than in the group's series
    17 frames   [longest, first, bytes, varying, place]: frames of bytes (`frames`)

A group's series is one message of `series`: its times have the place 0, its values the
places from 1. Codec numbers from 18 on are not known yet; an unknown one is refused.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from types import NoneType
from typing import Any

import cbor2

from protocols.errors import DecodeError, Fault
from protocols.uplink import frames, series
from protocols.uplink.envelope import is_int
from protocols.uplink.frames import Alike
from protocols.uplink.shared import SHARED, Encoded, Shared, Taken, batch_error

_PLAIN, _CONSTANT, _DELTA, _LISTED, _SPLIT, _DIGITS = range(6)
_FRAMES = 17
_MOST_BYTES = 1 << 20  # of one column, unfolded
_MOST_NAMES = 32
_FOLDED = (_SPLIT, _FRAMES)
_DIGITS_OF = re.compile(r"0|-?[1-9][0-9]{0,17}")
_SHARED_SIZE = 8  # bytes of where a shared column is

Item = object
Check = Callable[[object], bool]


@dataclass(frozen=True, slots=True)
class Whole:
    """A check that lets the integers from ``low`` to ``high`` pass.

    Attributes:
        low: The least of them.
        high: The greatest.
        other: A check for what is no integer.
    """

    low: int = -(1 << 63)
    high: int = (1 << 63) - 1
    other: Check = lambda _item: False

    def __call__(self, item: object) -> bool:
        """Whether ``item`` may stand there; bools are no integers."""
        if type(item) is int:
            return self.low <= item <= self.high
        return self.other(item)


def encode(items: Sequence[Item], shared: Shared | None = None) -> Encoded:
    """Return the column that holds ``items``, which are at least one.

    Args:
        items: One a reading.
        shared: Where integers may go; None keeps all here.

    Raises:
        ValueError: It says in few bytes what no receiver would unfold.
    """
    if all(item == items[0] for item in items[1:]):
        if _size(items[0]) * len(items) > _MOST_BYTES:
            raise ValueError(f"a column would fill over {_MOST_BYTES} bytes")
        return [_CONSTANT, items[0]]
    numbers = [item for item in items if type(item) is int]
    if len(numbers) == len(items):
        return _numbers(numbers, shared)
    plain: Encoded = [_PLAIN, list(items)]
    if shared is not None and (found := _unfolded(items, shared)) is not None:
        return found
    return min([plain, *_listed(items, shared)], key=_size)


def decode(
    name: str, column: object, count: int, check: Check, taken: Taken | None = None
) -> Sequence[Any]:
    """Return the ``count`` items of a column.

    Args:
        name: The column's name, for the error.
        column: As it stands in the batch.
        count: How many readings the column is for; the caller bounds it.
        check: Whether an item may stand in this column.
        taken: The group's series; None if it has none.

    Raises:
        DecodeError: Damaged, of an unknown codec, or with an item out of place.
    """
    if not (isinstance(column, list) and len(column) == 2):
        raise batch_error(name, "is no pair of codec and data")
    codec, data = column
    items: Sequence[Any]
    match codec if type(codec) is int else None:
        case 0:
            items = _all(name, data, count)
        case 1:
            items = _constant(name, data, count)
        case 2:
            items = _summed(name, _all(name, data, count))
        case 3:
            items = _chosen(name, data, count, check, taken)
        case 4:
            items = _joined(name, data, count, taken)
        case 5:
            _check_places(name, data)
            items = list(map(str, decode(name, data, count, is_int, taken)))
        case _:
            items = _from_series(name, codec, data, count, taken)
    for at, item in enumerate(_unlike(codec, items, check)):
        if not check(item):
            raise batch_error(name, f"has {item!r:.40} as item {at}", Fault.BAD_FIELD)
    return items


def _unlike(codec: object, items: Sequence[Any], check: Check) -> Sequence[Any]:
    """Return the items to check: where these may stand, so may all others."""
    match codec:
        case 1:  # the same item
            return items[:1]
        case 17:  # frames as the head allows them; none at all may stand for names too
            return [items[0] if isinstance(items, Alike) else max(items, key=len)]
        case 3:  # each was looked at in its list
            return []
        case 16 if isinstance(check, Whole) and items:  # integers
            fits = check.low <= min(items) and max(items) <= check.high
            return [] if fits else items
        case _:
            return items


def place_of(column: object) -> int | None:
    """Return where in the series a column is, with the base 0; None if it is not."""
    match column:
        case [16, [place, base]] if type(place) is type(base) is int and base == 0:
            return place
        case _:
            return None


def _numbers(numbers: Sequence[int], shared: Shared | None) -> Encoded:
    found: list[Encoded] = [[_PLAIN, list(numbers)]]
    steps = [numbers[0], *(b - a for a, b in pairwise(numbers))]
    if all(map(is_int, steps)):
        found.append([_DELTA, steps])
    shortest = min(found, key=_size)
    most = _size(shortest) - _SHARED_SIZE
    there = None if shared is None else shared.integers(numbers, most)
    return there or shortest


def _unfolded(items: Sequence[Any], shared: Shared) -> Encoded | None:
    """Return frames, maps or digits in what is shared; None where they are none."""
    if all(map(frames.are, items)):
        split = frames.split(items)
        if split is None or (place := shared.rows(split.columns)) is None:
            return None
        return [_FRAMES, [*split.head, place]]
    if all(isinstance(item, str) and _DIGITS_OF.fullmatch(item) for item in items):
        return [_DIGITS, _numbers([int(item) for item in items], shared)]
    maps = [item or {} for item in items if item is None or isinstance(item, dict)]
    names = sorted({name for item in maps for name in item})
    if len(maps) < len(items) or _listed(items, None) or len(names) > _MOST_NAMES:
        return None
    return [
        _SPLIT,
        {name: encode([item.get(name) for item in maps], shared) for name in names},
    ]


def _listed(items: Sequence[Item], shared: Shared | None) -> list[Encoded]:
    """Return items as a list of the different ones; none where that is no gain."""
    listed: list[Item] = []
    for item in items:
        if item not in listed:
            listed.append(item)
        if len(listed) * 2 > len(items):
            return []
    places = [listed.index(item) for item in items]
    sizes = [_size(item) for item in listed]
    if sum(sizes[place] for place in places) > _MOST_BYTES:
        return []
    return [[_LISTED, [listed, encode(places, shared)]]]


def _from_series(
    name: str, codec: object, data: object, count: int, taken: Taken | None
) -> Sequence[object]:
    if type(codec) is not int or codec not in (SHARED, _FRAMES):
        problem = f"has the codec {codec!r:.20}, unknown here"
        raise batch_error(name, problem, Fault.UNSUPPORTED_VERSION)
    if taken is None:
        raise batch_error(name, "is in a series, and the group has none")
    if codec == _FRAMES:
        return _framed(name, _parts(name, data, 5), count, taken)
    place, base = _parts(name, data, 2)
    return taken.integers(name, place, base)


def _framed(
    name: str, parts: list[Any], count: int, taken: Taken
) -> Sequence[list[bytes]]:
    *head, start = parts
    if not is_int(start, 1, series.MAX_COLUMNS):
        raise batch_error(name, "has frames that do not fit each other")
    try:
        varying = frames.check(head)
        if frames.size(head) * count > _MOST_BYTES:
            raise _too_large(name)
        columns = [taken.numbers(name, start + at) for at in range(varying)]
        return frames.join(head, columns)
    except ValueError as error:
        raise batch_error(name, str(error)) from error


def _joined(name: str, data: object, count: int, taken: Taken | None) -> list[object]:
    if not isinstance(data, dict) or not 1 <= len(data) <= _MOST_NAMES:
        raise batch_error(name, "is no map of names")
    found: list[dict[str, object]] = [{} for _ in range(count)]
    for part, column in data.items():
        if not isinstance(part, str) or _parts(name, column, 2)[0] in _FOLDED:
            raise batch_error(name, "has a name or a column that no map has")
        for item, text in zip(
            found, decode(name, column, count, _is_text, taken), strict=True
        ):
            if text is not None:
                item[part] = text
    return [item or None for item in found]


def _check_places(name: str, column: object) -> None:
    if _parts(name, column, 2)[0] in (_LISTED, *_FOLDED, _DIGITS):
        raise batch_error(name, "lists places, or has frames of them")


def _chosen(
    name: str, data: object, count: int, check: Check, taken: Taken | None
) -> list[object]:
    items, column = _parts(name, data, 2)
    if not isinstance(items, list) or not 1 <= len(items) <= count:
        raise batch_error(name, "lists no items, or more than there are readings")
    if not all(map(check, items)):
        raise batch_error(
            name, "lists an item that may not stand there", Fault.BAD_FIELD
        )
    _check_places(name, column)
    places = decode(name, column, count, Whole(0, len(items) - 1), taken)
    return _repeated(name, items, places)


def _repeated(name: str, items: list[object], places: Sequence[int]) -> list[object]:
    sizes = [_size(item) for item in items]
    if (
        max(sizes) * len(places) > _MOST_BYTES
        and sum(sizes[place] for place in places) > _MOST_BYTES
    ):
        raise _too_large(name)
    return [items[place] for place in places]


def _constant(name: str, item: object, count: int) -> list[object]:
    # Of most columns it is an integer or nothing, of nine bytes at most.
    if type(item) not in (int, NoneType) and _size(item) * count > _MOST_BYTES:
        raise _too_large(name)
    return [item] * count


def _all(name: str, data: object, count: int) -> list[object]:
    if not isinstance(data, list) or len(data) != count:
        raise batch_error(name, f"does not hold {count} items")
    return data


def _parts(name: str, data: object, count: int) -> list[Any]:
    if not isinstance(data, list) or len(data) != count:
        raise batch_error(name, f"has not {count} parts")
    return data


def _summed(name: str, data: list[object]) -> list[object]:
    numbers = [item for item in data if type(item) is int]
    if len(numbers) != len(data):
        raise batch_error(name, "has a difference that is no integer")
    return list(accumulate(numbers))


def _is_text(item: object) -> bool:
    return item is None or isinstance(item, str)


def _size(item: object) -> int:
    return len(cbor2.dumps(item))


def _too_large(name: str) -> DecodeError:
    return batch_error(name, f"would fill over {_MOST_BYTES} bytes", Fault.OUT_OF_RANGE)

"""Columns of a batch, each in the codec that makes it shortest.

    column = [codec, data]

    0 plain     one item a reading, in order
    1 constant  the one item that every reading has
    2 delta     integers: the first, then each one's difference to the one before

Codec numbers from 16 on are for kernels; an unknown one is refused.
"""

from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise

import cbor2

from protocols.errors import DecodeError, Fault

_PLAIN, _CONSTANT, _DELTA = 0, 1, 2
_MOST_BYTES = 1 << 20  # of one column, unfolded
_INT64 = range(-(1 << 63), 1 << 63)

Item = object
Check = Callable[[object], bool]


def encode(items: Sequence[Item]) -> list[object]:
    """Return the column that holds ``items``, which are at least one."""
    if all(item == items[0] for item in items[1:]):
        return [_CONSTANT, items[0]]
    plain = [_PLAIN, list(items)]
    numbers = [item for item in items if type(item) is int]
    if len(numbers) < len(items):
        return plain
    deltas = [numbers[0], *(b - a for a, b in pairwise(numbers))]
    return min(plain, [_DELTA, deltas], key=lambda column: len(cbor2.dumps(column)))


def decode(name: str, column: object, count: int, check: Check) -> list[object]:
    """Return the ``count`` items of a column.

    Args:
        name: The column's name, for the error.
        column: As it stands in the batch.
        count: How many readings the column is for; the caller bounds it.
        check: Whether an item may stand in this column.

    Raises:
        DecodeError: Damaged, of an unknown codec, or with an item out of place.
    """
    if not (isinstance(column, list) and len(column) == 2):
        raise _error(name, "is no pair of codec and data")
    codec, data = column
    if type(codec) is not int or codec not in (_PLAIN, _CONSTANT, _DELTA):
        problem = f"has the codec {codec!r:.20}, unknown here"
        raise _error(name, problem, Fault.UNSUPPORTED_VERSION)
    if codec == _CONSTANT:
        if len(cbor2.dumps(data)) * count > _MOST_BYTES:
            problem = f"would fill over {_MOST_BYTES} bytes"
            raise _error(name, problem, Fault.OUT_OF_RANGE)
        items: list[object] = [data] * count
        checked = items[:1]
    else:
        if not isinstance(data, list) or len(data) != count:
            raise _error(name, f"does not hold {count} items")
        items = _summed(name, data) if codec == _DELTA else data
        checked = items
    for at, item in enumerate(checked):
        if not check(item):
            raise _error(name, f"has {item!r:.40} as item {at}", Fault.BAD_FIELD)
    return items


def is_int(item: object, low: int = _INT64.start, high: int = _INT64.stop - 1) -> bool:
    """Whether ``item`` is an integer from ``low`` to ``high``; bools are none."""
    return type(item) is int and low <= item <= high


def _summed(name: str, data: list[object]) -> list[object]:
    numbers = [item for item in data if type(item) is int]
    if len(numbers) != len(data):
        raise _error(name, "has a difference that is no integer")
    return list(accumulate(numbers))


def _error(name: str, problem: str, fault: Fault = Fault.BAD_FRAME) -> DecodeError:
    return DecodeError("batch", name, problem, b"", 0, fault)

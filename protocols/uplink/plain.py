"""A series in CBOR: what no codec of ours makes shorter, as random numbers.

    body    = ff cbor
    cbor    = [column, ...], or [columns, number, ...] row by row where it is shorter
    column  = [mantissa, ...]                    all without a power of ten
            / [power, [mantissa, ...]]           all with the same one
            / [[power, ...], [mantissa, ...]]
    number  = mantissa / 4([power, mantissa]) / null

Source: RFC 8949.
"""

from collections.abc import Sequence

import cbor2
import numpy as np
from numpy.typing import NDArray

from protocols.kernel import kernel
from protocols.uplink.grids import ABSENT

I8 = NDArray[np.int64]
Decimals = tuple[I8, NDArray[np.integer]]

FIRST = b"\xff"
_FRACTION = 4
_DEPTH = 4  # of arrays: a list of columns, or of tagged pairs, and one to spare
_INT64 = range(-(1 << 63), 1 << 63)


def encode(columns: Sequence[Decimals]) -> bytes:
    """Return columns of decimals as a body.

    Args:
        columns: Mantissas and exponents, each of shape (n,).
    """
    items: list[object] = [_column(*column) for column in columns]
    if _is_shorter_by_row(columns):
        rows = zip(*(_numbers(*column) for column in columns), strict=True)
        items = [len(columns), *(number for row in rows for number in row)]
    return FIRST + cbor2.dumps(items)


@kernel("i8(i8[:, ::1])")
def least(mantissas: NDArray[np.int64] | list[list[int]]) -> int:
    """Return how many bytes CBOR needs for mantissas alone, of shape (columns, n)."""
    size = 0
    for column in mantissas:
        for number in column:
            far = number if number >= 0 else ~number
            size += 1
            if far > 23:
                size += 1
            if far > 0xFF:
                size += 1
            if far > 0xFFFF:
                size += 2
            if far > 0xFFFF_FFFF:
                size += 4
    return size


def decode(body: bytes, rows: int, columns: int) -> list[Decimals]:
    """Return the columns of a body, at least a time and a value.

    Args:
        body: What `encode` made.
        rows: How many there may be.
        columns: Likewise.

    Raises:
        ValueError: It is no such body, or longer.
    """
    try:
        items = cbor2.loads(
            body[1:],
            max_depth=_DEPTH,
            allow_indefinite=False,
            semantic_decoders={_FRACTION: _fraction},
        )
    except cbor2.CBORDecodeError as error:
        raise ValueError(f"no CBOR: {error}") from error
    if not isinstance(items, list) or not items:
        raise ValueError("no array of columns or numbers")
    if isinstance(items[0], list):
        # Before they are read: CBOR can say one long column many times.
        if len(items) > columns + 1:
            raise ValueError(f"it has {len(items)} columns")
        found = [_read_column(item, rows) for item in items]
    else:
        width, *numbers = items
        if type(width) is not int or width < 1 or len(numbers) % width:
            raise ValueError("its numbers are no rows")
        pairs = [_read_number(number) for number in numbers]
        found = [_pair(pairs[at::width]) for at in range(min(width, columns + 2))]
    if not 2 <= len(found) <= columns + 1:
        raise ValueError(f"it has {len(found)} columns")
    if {len(mantissa) for mantissa, _ in found} - {len(found[0][0])}:
        raise ValueError("its columns are not of one length")
    if not 1 <= len(found[0][0]) <= rows or encode(found) != body:
        raise ValueError("no encoder writes this")
    return found


def _is_shorter_by_row(columns: Sequence[Decimals]) -> bool:
    """Whether numbers in rows are shorter; what is beside mantissas decides."""
    rows = len(columns[0][0])
    by_row = _head(len(columns)) + _head(1 + rows * len(columns))
    by_column = _head(len(columns))
    for _, exponent in columns:
        powers = np.where((exponent >= -24) & (exponent <= 23), 1, 2)
        by_row += int((powers + 2)[(exponent != 0) & (exponent != ABSENT)].sum())
        by_column += _head(rows)
        if (exponent != exponent[0]).any():
            by_column += 1 + _head(rows) + int(powers.sum())
        elif exponent[0]:
            by_column += 1 + int(powers[0])
    return by_row < by_column


def _head(size: int) -> int:
    """Return how many bytes the head of an array takes: those of the number."""
    return len(cbor2.dumps(size))


def _column(mantissa: I8, exponent: NDArray[np.integer]) -> list[object]:
    mantissas: list[object] = mantissa.tolist()
    exponents: list[object] = exponent.tolist()
    if exponents.count(exponents[0]) < len(exponents):
        return [exponents, mantissas]
    return [exponents[0], mantissas] if exponents[0] else mantissas


def _numbers(mantissa: I8, exponent: NDArray[np.integer]) -> list[object]:
    return [
        _number(*pair)
        for pair in zip(mantissa.tolist(), exponent.tolist(), strict=True)
    ]


def _number(mantissa: int, exponent: int) -> object:
    if exponent == ABSENT:
        return None
    return cbor2.CBORTag(_FRACTION, [exponent, mantissa]) if exponent else mantissa


def _read_column(item: object, rows: int) -> Decimals:
    exponents: object = 0
    match item:
        case [list() | int() as exponents, list() as mantissas]:
            pass
        case list() as mantissas:
            pass
        case _:
            raise ValueError("a column is no array")
    if len(mantissas) > rows:
        raise ValueError(f"a column has {len(mantissas)} rows")
    if not isinstance(exponents, list):
        exponents = [exponents] * len(mantissas)
    if len(exponents) != len(mantissas):
        raise ValueError("a column has not as many powers as mantissas")
    return _pair(list(zip(mantissas, exponents, strict=True)))


def _read_number(item: object) -> tuple[object, object]:
    if item is None:
        return 0, ABSENT
    if isinstance(item, cbor2.CBORTag) and item.tag == _FRACTION:
        parts = item.value
        if isinstance(parts, list) and len(parts) == 2:
            return parts[1], parts[0]
    return item, 0


def _fraction(parts: object, _: object) -> cbor2.CBORTag:
    # cbor2 would make a Decimal of it, with whatever power of ten it names.
    return cbor2.CBORTag(_FRACTION, parts)


def _pair(pairs: Sequence[tuple[object, object]]) -> Decimals:
    mantissas = [_whole(mantissa, _INT64) for mantissa, _ in pairs]
    exponents = [_whole(exponent, range(-128, 128)) for _, exponent in pairs]
    if any(m for m, e in zip(mantissas, exponents, strict=True) if e == ABSENT):
        raise ValueError("an absent number has a mantissa")
    return np.array(mantissas, np.int64), np.array(exponents, np.int8)


def _whole(item: object, allowed: range) -> int:
    if type(item) is not int or item not in allowed:
        raise ValueError("a number is out of range")
    return item

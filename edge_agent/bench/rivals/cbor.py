"""CBOR of columns.

    [column, ...]
    column = [number, ...]                     all without a power of ten
           / [power, [mantissa, ...]]          all with the same one
           / [[power, ...], [mantissa, ...]]

What is absent has the power -128. Decimal fractions of their own (tag 4) would take
three bytes more for each number.

Source: RFC 8949.
"""

from collections.abc import Sequence
from typing import Any

import cbor2
import numpy as np

from edge_agent.bench.rivals.codec import Codec
from edge_agent.bench.rivals.decimals import numbers
from protocols.uplink.series import Column, Series


def codec(_: Sequence[Series]) -> Codec:
    """Return the codec."""
    return Codec(encode, decode)


def encode(series: Series) -> bytes:
    """Return a series as CBOR."""
    return cbor2.dumps([_item(column) for column in (series.time, *series.values)])


def decode(message: bytes) -> Series:
    """Return the series of which `encode` made ``message``."""
    time, *values = (_column(item) for item in cbor2.loads(message))
    return Series(time, tuple(values))


def plain_size(series: Series) -> int:
    """Return how many bytes a series has as plain CBOR, whichever form is shorter.

    One form is that of `encode`; the other a flat array of numbers, row by row:
    integers, decimal fractions (tag 4) and null.
    """
    columns = [numbers(column) for column in (series.time, *series.values)]
    flat = [number for row in zip(*columns, strict=True) for number in row]
    return min(len(encode(series)), len(cbor2.dumps(flat)))


def _item(column: Column) -> list[object]:
    mantissas = column.mantissa.tolist()
    exponents = column.exponent.tolist()
    if exponents.count(exponents[0]) < len(exponents):
        return [exponents, mantissas]
    return [exponents[0], mantissas] if exponents[0] else mantissas


def _column(item: list[Any]) -> Column:
    is_plain = not isinstance(item[-1], list)
    exponents, mantissas = (0, item) if is_plain else item
    found = np.array(mantissas, np.int64)
    return Column(found, np.full(len(found), exponents, np.int8))

"""Columns of exact decimals as lists of numbers, for formats that know such."""

from collections.abc import Sequence
from decimal import Decimal
from typing import TypeAlias

import numpy as np

from protocols.uplink.grids import ABSENT
from protocols.uplink.series import Column

Number: TypeAlias = int | Decimal | None
"""What is written without a power of ten is an int, what is absent is None."""


def numbers(column: Column) -> list[Number]:
    """Return a column's numbers, digits and powers of ten kept."""
    mantissas = column.mantissa.tolist()
    if not column.exponent.any():
        return [*mantissas]
    exponents = column.exponent.tolist()
    return [_number(*pair) for pair in zip(mantissas, exponents, strict=True)]


def texts(column: Column) -> list[str]:
    """Return a column's numbers as JSON writes them."""
    return ["null" if each is None else str(each) for each in numbers(column)]


def column(items: Sequence[Number]) -> Column:
    """Return the column of which `numbers` gives ``items``."""
    pairs = [_pair(item) for item in items]
    return Column(
        np.array([mantissa for mantissa, _ in pairs], np.int64),
        np.array([exponent for _, exponent in pairs], np.int8),
    )


def _number(mantissa: int, exponent: int) -> Number:
    if exponent == 0:
        return mantissa
    return None if exponent == ABSENT else Decimal(mantissa).scaleb(exponent)


def _pair(item: Number) -> tuple[int, int]:
    if item is None:
        return 0, ABSENT
    if isinstance(item, int):
        return item, 0
    sign, digits, exponent = item.as_tuple()
    mantissa = int("".join(map(str, digits)))
    return -mantissa if sign else mantissa, int(exponent)

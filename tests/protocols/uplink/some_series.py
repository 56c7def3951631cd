"""Series of every kind, and both forms of the kernels that code them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from types import FunctionType
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray

from protocols import kernel
from protocols.kernel import Kernel
from protocols.uplink import packing, plain
from protocols.uplink.coding import code_columns
from protocols.uplink.grids import ABSENT, gridded
from protocols.uplink.heading import heading
from protocols.uplink.opening import scan
from protocols.uplink.profiles import SETS
from protocols.uplink.series import Column, Series, _check_of

I8 = NDArray[np.int64]
try:
    numba: Any = kernel.import_numba()
except ImportError:  # no wheel for this machine
    numba = None

KERNELS: tuple[Kernel[..., Any], ...] = (
    plain.least,
    gridded,
    heading,
    code_columns,
    packing.pack,
    packing.unpack,
    scan,
)
_LOWEST, _HIGHEST = -(1 << 63), (1 << 63) - 1
# The ends of every range that the forms of a message have, and those of int64.
_ENDS = [
    sign * ((1 << bits) + more)
    for bits in (39, 40, 45, 46, 47, 48, 61, 62)
    for more in (-1, 0, 1)
    for sign in (-1, 1)
] + [_LOWEST, _LOWEST + 1, _HIGHEST, 0]
SIZES = (1, 2, 3, 15, 16, 17, 64, 255, 256, 257)


@cache
def _compiled() -> list[Callable[..., Any]]:
    linked: dict[FunctionType, object] = {}
    return [
        numba.njit(list(each.signatures), **kernel.OPTIONS)(
            kernel.link(each.plain, kernel.compile_inner, linked)
        )
        for each in KERNELS
    ]


@contextmanager
def form(name: str) -> Iterator[None]:
    """Have the kernels "plain" or "compiled"; without numba always plain."""
    before = [each._best for each in KERNELS]
    forms = [each.plain for each in KERNELS]
    if name == "compiled" and numba is not None and not numba.config.DISABLE_JIT:
        forms = _compiled()
    try:
        for each, best in zip(KERNELS, forms, strict=True):
            each.use(best)
        yield
    finally:
        for each, best in zip(KERNELS, before, strict=True):
            each.use(best)


def column(mantissas: ArrayLike, exponents: ArrayLike = 0) -> Column:
    """Return a column; one exponent may stand for all."""
    mantissa = np.array(mantissas, np.int64)
    return Column(mantissa, np.full(len(mantissa), exponents, np.int8))


def sealed(body: bytes) -> bytes:
    """Return a body with the check that a message of it has."""
    return body + _check_of(body, SETS[0], short=len(body) < 12)


def same(one: Series, other: Series) -> bool:
    """Whether two series are one, number by number and power by power."""
    return _lists(one) == _lists(other)


def _lists(series: Series) -> list[tuple[list[int], list[int]]]:
    return [
        (each.mantissa.tolist(), each.exponent.tolist())
        for each in (series.time, *series.values)
    ]


def _absent(rng: np.random.Generator, numbers: Column) -> Column:
    gone = rng.random(len(numbers.mantissa)) < rng.choice([0.01, 0.5, 1.0])
    return Column(
        np.where(gone, 0, numbers.mantissa),
        np.where(gone, ABSENT, numbers.exponent).astype(np.int8),
    )


def _walk(rng: np.random.Generator, rows: int) -> I8:
    steps = np.round(rng.normal(0, 10.0 ** rng.integers(0, 6), rows))
    return np.cumsum(steps.astype(np.int64)) + rng.integers(-1000, 1000)


def _switch(tenths: I8) -> Column:
    """Return what an SFLOAT says: tenths up to 204.5, whole numbers above."""
    above = tenths > 2045
    return column(np.where(above, tenths // 10, tenths), np.where(above, 0, -1))


# Each of a random generator and a number of rows.
VALUES: dict[str, Callable[[np.random.Generator, int], Column]] = {
    "constant": lambda rng, rows: column(np.full(rows, rng.integers(-300, 300))),
    "zero": lambda _, rows: column(np.zeros(rows), -2),
    "walk": lambda rng, rows: column(_walk(rng, rows)),
    "tenths": lambda rng, rows: column(_walk(rng, rows), -1),
    "far below one": lambda rng, rows: column(rng.integers(0, 99, rows), -31),
    "counter": lambda rng, rows: column(np.arange(rows) + rng.integers(0, 1 << 38)),
    "sawtooth": lambda rng, rows: column(
        np.where(np.arange(rows) % 2, 1, -1) * (1 << int(rng.integers(20, 41)))
    ),
    "noise": lambda rng, rows: column(
        rng.integers(_LOWEST, _HIGHEST, rows, np.int64, endpoint=True)
    ),
    "little noise": lambda rng, rows: column(rng.integers(-50, 50, rows)),
    "ends": lambda rng, rows: column(rng.choice(_ENDS, rows)),
    "one end": lambda rng, rows: column(np.full(rows, rng.choice(_ENDS)), -1),
    "switch": lambda rng, rows: _switch(rng.integers(1900, 2200, rows)),
    "exponents": lambda rng, rows: column(
        rng.integers(-9999, 9999, rows), rng.integers(-3, 4, rows)
    ),
    "far exponents": lambda rng, rows: column(
        rng.integers(-9, 9, rows), rng.integers(-127, 128, rows)
    ),
    "noise of exponents": lambda rng, rows: column(
        rng.integers(_LOWEST, _HIGHEST, rows, np.int64, endpoint=True),
        rng.integers(-127, 128, rows),
    ),
    "absent": lambda rng, rows: _absent(rng, column(_walk(rng, rows), -1)),
    "absent ends": lambda rng, rows: _absent(rng, column(rng.choice(_ENDS, rows))),
}
_START = 1_700_000_000
TIMES: dict[str, Callable[[np.random.Generator, int], Column]] = {
    "regular": lambda rng, rows: column(
        _START + np.arange(rows) * rng.choice([1, 60, 300, 900, (1 << 31) - 1, 1 << 31])
    ),
    "jitter": lambda rng, rows: column(
        _START + np.arange(rows) * 300 + rng.integers(-2, 3, rows)
    ),
    "gaps": lambda rng, rows: column(
        _START + np.cumsum(300 * rng.choice([1, 1, 1, 1, 2, 7, 3000], rows))
    ),
    "backwards": lambda rng, rows: column(
        _START + np.cumsum(rng.choice([300, 300, 300, -3600, -86400, 0], rows))
    ),
    "repeated": lambda rng, rows: column(np.full(rows, rng.integers(-9, 1 << 40))),
    "irregular": lambda rng, rows: column(
        _START + np.cumsum(60 * rng.integers(0, 5000, rows))
    ),
    "milliseconds": lambda rng, rows: column(
        _START * 1000 + np.arange(rows) * 300_000 + rng.integers(-900, 900, rows)
    ),
    "waveform": lambda _, rows: column(np.arange(rows) * 5, -3),
    "jumps": lambda rng, rows: column(
        np.where(rng.random(rows) < 0.1, -1, 1) * _START + np.arange(rows)
    ),
    "far jumps": lambda rng, rows: column(
        rng.choice([-(1 << 45), 1 << 45, 0, 1, (1 << 45) - 300], rows)
    ),
    "ends": lambda rng, rows: column(rng.choice(_ENDS, rows)),
    "absent": lambda rng, rows: _absent(rng, column(np.arange(rows))),
    "exponents": lambda rng, rows: column(
        rng.integers(1, 9999, rows), rng.integers(-3, 4, rows)
    ),
}


def made(seed: int, rows: int, time: str, kinds: list[str]) -> Series:
    """Return a series of some kind; the same for the same arguments."""
    rng = np.random.default_rng(seed)
    return Series(
        TIMES[time](rng, rows), tuple(VALUES[kind](rng, rows) for kind in kinds)
    )


def series(
    sizes: tuple[int, ...] = SIZES, columns: int = 5
) -> st.SearchStrategy[Series]:
    """Return a strategy of series of every kind."""
    return st.builds(
        made,
        st.integers(0, 1 << 32),
        st.sampled_from(sizes),
        st.sampled_from(sorted(TIMES)),
        st.lists(st.sampled_from(sorted(VALUES)), min_size=1, max_size=columns),
    )


_NUMBERS = st.tuples(
    st.integers(_LOWEST, _HIGHEST) | st.integers(-300, 300) | st.sampled_from(_ENDS),
    st.sampled_from([0, 0, -1]) | st.integers(-127, 127),
) | st.just((0, ABSENT))


@st.composite
def few_rows(draw: st.DrawFn) -> Series:
    """Return a strategy of short series, number by number."""
    rows, columns = draw(st.integers(1, 6)), draw(st.integers(2, 4))
    table = [
        draw(st.lists(_NUMBERS, min_size=rows, max_size=rows)) for _ in range(columns)
    ]
    time, *values_ = (
        column([number for number, _ in each], [power for _, power in each])
        for each in table
    )
    return Series(time, tuple(values_))

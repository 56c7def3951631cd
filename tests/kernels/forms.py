"""Both forms of the filters' kernels, so that a test can demand the same of them."""

from collections.abc import Callable
from functools import cache
from types import FunctionType
from typing import Any, TypeVar

import numpy as np

from edge_agent.kernels import (
    biquad,
    deadband,
    hampel,
    oscillometry,
    plausibility,
    rate,
    repeated,
)
from protocols import kernel
from protocols.kernel import Kernel

T = TypeVar("T")
try:
    numba: Any = kernel.import_numba()
except ImportError:  # no wheel for this machine
    numba = None
MODULES = biquad, deadband, hampel, oscillometry, plausibility, rate, repeated


@cache
def _compiled(found: Kernel[..., Any]) -> Callable[..., Any]:
    if numba is None or numba.config.DISABLE_JIT:
        return found.plain
    linked: dict[FunctionType, object] = {}
    whole = kernel.link(found.plain, numba.njit(**kernel.OPTIONS), linked)
    made: Callable[..., Any] = numba.njit(list(found.signatures), **kernel.OPTIONS)(
        whole
    )
    return made


def both(run: Callable[[], T]) -> T:
    """Return what ``run`` returns with plain kernels, and with compiled ones.

    Fails where that differs by a single bit. Without numba it is plain both times.
    """
    found = [
        value
        for module in MODULES
        for value in vars(module).values()
        if isinstance(value, Kernel)
    ]
    before = [each._best for each in found]
    try:
        for each in found:
            each.use(each.plain)
        plain = run()
        for each in found:
            each.use(_compiled(each))
        compiled = run()
    finally:
        for each, best in zip(found, before, strict=True):
            each.use(best)
    assert _bits(plain) == _bits(compiled)
    return plain


def _bits(value: object) -> object:
    """Return something that is equal only where every bit is, NaN included."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, list | tuple):
        return [_bits(each) for each in value]
    return repr(value)

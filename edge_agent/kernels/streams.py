"""What the streaming filters share: what they take, and how their state is kept.

    version u8 | whole numbers i64 … | real numbers f64 …      little-endian

A filter's state is numpy arrays, so that it can be written down beside the readings
that made it, and a station that restarts flags what it would have flagged.
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

F8: TypeAlias = NDArray[np.float64]
I8: TypeAlias = NDArray[np.int64]
U1: TypeAlias = NDArray[np.uint8]

MOST_TIME = 1 << 53
"""Times are within this of 0, so that no difference of two overflows."""
MOST_VALUE = 1e300
"""A value that is not below this, NaN included, is missing; differences are finite."""


class StateError(Exception):
    """A filter's state can't be taken: it is damaged, or of another kind."""


def checked(times: I8, values: F8) -> tuple[I8, F8]:
    """Return times and values as kernels take them.

    Raises:
        ValueError: The shapes differ or are not (n,), or a time is out of reach.
    """
    if times.ndim != 1 or times.shape != values.shape:
        raise ValueError(
            f"times and values must be (n,), got {times.shape} and {values.shape}"
        )
    if times.size and not (times.min() > -MOST_TIME and times.max() < MOST_TIME):
        raise ValueError(f"times must be within {MOST_TIME} of 0")
    return whole_numbers(times), numbers(values)


def numbers(values: F8) -> F8:
    """Return values as compiled kernels take them: in one piece, and writable."""
    return np.require(values, np.float64, ["C", "A", "W"])


def whole_numbers(values: I8) -> I8:
    """Return whole numbers likewise."""
    return np.require(values, np.int64, ["C", "A", "W"])


def packed(version: int, whole: I8, real: F8) -> bytes:
    """Return a filter's state as bytes.

    Args:
        version: Of their layout, 0 to 255.
        whole: Shape (n,).
        real: Shape (m,).
    """
    return (
        bytes([version]) + whole.astype("<i8").tobytes() + real.astype("<f8").tobytes()
    )


def unpacked(
    what: str, data: bytes, *, version: int, whole: int, real: int
) -> tuple[I8, F8]:
    """Return the numbers that `packed` was given.

    Args:
        what: The filter's name, for the error.
        data: The bytes.
        version: That they must have.
        whole: How many whole numbers they must hold.
        real: How many real numbers.

    Raises:
        StateError: They are of another version or size.
    """
    size = 1 + 8 * (whole + real)
    if len(data) != size:
        raise StateError(f"{what}: {len(data)} bytes of state, not {size}")
    if data[0] != version:
        raise StateError(f"{what}: state of version {data[0]}, not {version}")
    border = 1 + 8 * whole
    return (
        np.frombuffer(data[1:border], dtype="<i8").astype(np.int64),
        np.frombuffer(data[border:], dtype="<f8").astype(np.float64),
    )

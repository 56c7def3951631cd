"""Is a value one that a living person has, and one that its device can show?

Source: limits proposed for home devices in docs/explanation/filters.md;
most meters show 20 to 600 mg/dL, most cuffs 60 to 260 mmHg, most glucose sensors
40 to 400 or 500 mg/dL.
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from edge_agent.kernels.streams import F8, numbers
from protocols.kernel import kernel

U4: TypeAlias = NDArray[np.uint32]

IMPLAUSIBLE_VALUE = 1
IMPLAUSIBLE_RELATION = 2
BEYOND_DEVICE = 4

# Rows by column of the values: glucose mg/dL, systolic, diastolic and mean mm[Hg],
# pulse per minute, ketone mmol/L, SpO2 %, temperature Cel, weight kg.
GLUCOSE, SYSTOLIC, DIASTOLIC, MEAN, PULSE, KETONE, SPO2, TEMPERATURE, WEIGHT = range(9)
LIMITS: F8 = np.array(
    [
        [10.0, 900.0],
        [50.0, 280.0],
        [25.0, 200.0],
        [25.0, 280.0],
        [25.0, 240.0],
        [0.0, 8.0],
        [50.0, 100.0],
        [30.0, 43.0],
        [2.0, 400.0],
    ]
)
SENSOR_LIMITS: F8 = LIMITS.copy()
SENSOR_LIMITS[GLUCOSE] = 20.0, 600.0
UNLIMITED: F8 = np.tile([-np.inf, np.inf], (len(LIMITS), 1))
"""Limits of what is no person's, and the range of a device that declares none."""


def plausibility(values: F8, limits: F8, shown: F8 = UNLIMITED) -> U4:
    """Flag values outside what is physiological, and pressures that do not fit.

    Args:
        values: Shape (n, 9), a reading a row, by the columns above in canonical
            units; NaN is missing and never flagged.
        limits: Shape (n, 9, 2), the least and the most that is plausible for each
            row's kind, as `LIMITS`; a value equal to a limit is inside.
        shown: Shape (9, 2), likewise, what the device can show.

    Returns:
        Flags, shape (n,): `IMPLAUSIBLE_VALUE` where a value is outside its limits,
        `IMPLAUSIBLE_RELATION` where pulse pressure is below 10 or above 150 mm[Hg],
        or the mean is not between diastolic and systolic, `BEYOND_DEVICE` where a
        value is outside what the device can show.

    Raises:
        ValueError: A shape is another one.
    """
    columns = len(LIMITS)
    if values.ndim != 2 or values.shape[1] != columns:
        raise ValueError(f"values must be (n, {columns}), got {values.shape}")
    if limits.shape != (*values.shape, 2) or shown.shape != (columns, 2):
        raise ValueError(
            f"limits must be ({len(values)}, {columns}, 2), and what the device shows "
            f"({columns}, 2), got {limits.shape} and {shown.shape}"
        )
    flags = np.zeros(len(values), np.uint32)
    _plausibility(
        numbers(values),
        numbers(limits),
        numbers(shown),
        flags,
    )
    return flags


@kernel("void(f8[:, ::1], f8[:, :, ::1], f8[:, ::1], u4[::1])")
def _plausibility(values: F8, limits: F8, shown: F8, flags: U4) -> None:
    for i in range(values.shape[0]):
        found = 0
        for j in range(values.shape[1]):
            value = values[i, j]
            if value < limits[i, j, 0] or value > limits[i, j, 1]:
                found |= 1
            if value < shown[j, 0] or value > shown[j, 1]:
                found |= 4
        systolic, diastolic, mean = values[i, 1], values[i, 2], values[i, 3]
        difference = systolic - diastolic
        if difference < 10.0 or difference > 150.0:
            found |= 2
        if mean < diastolic or mean > systolic:
            found |= 2
        flags[i] = found

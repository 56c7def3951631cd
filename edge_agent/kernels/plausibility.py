"""Is a value one that a living person has? A flag, never a change.

Source: limits proposed for home devices in docs/explanation/plausibility.md;
most meters show 20 to 600 mg/dL, most cuffs 60 to 260 mmHg.
"""

import numpy as np
from numpy.typing import NDArray

from edge_agent.kernels.jit import kernel

F8 = NDArray[np.float64]
U4 = NDArray[np.uint32]

IMPLAUSIBLE_VALUE = 1
IMPLAUSIBLE_RELATION = 2

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


def plausibility(values: F8) -> U4:
    """Flag values outside what is physiological, and pressures that do not fit.

    Args:
        values: Shape (n, 9), a reading a row, by the columns above in canonical
            units; NaN is missing and never flagged.

    Returns:
        Flags, shape (n,): `IMPLAUSIBLE_VALUE` where a value is outside its
        `LIMITS` (a value equal to a limit is inside), `IMPLAUSIBLE_RELATION`
        where pulse pressure is below 10 or above 150 mm[Hg], or the mean is not
        between diastolic and systolic.

    Raises:
        ValueError: ``values`` is not (n, 9).
    """
    if values.ndim != 2 or values.shape[1] != len(LIMITS):
        raise ValueError(f"values must be (n, {len(LIMITS)}), got {values.shape}")
    return _plausibility(np.ascontiguousarray(values), LIMITS)


@kernel(np.zeros((1, 9)), LIMITS)
def _plausibility(values: F8, limits: F8) -> U4:
    flags = np.zeros(values.shape[0], dtype=np.uint32)
    for i in range(values.shape[0]):
        for j in range(values.shape[1]):
            if values[i, j] < limits[j, 0] or values[i, j] > limits[j, 1]:
                flags[i] |= np.uint32(1)
        systolic, diastolic, mean = values[i, 1], values[i, 2], values[i, 3]
        difference = systolic - diastolic
        if difference < 10.0 or difference > 150.0:
            flags[i] |= np.uint32(2)
        if mean < diastolic or mean > systolic:
            flags[i] |= np.uint32(2)
    return flags

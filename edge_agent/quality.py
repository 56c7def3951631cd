"""What the station's filters say of readings, in the flags that travel with them."""

from collections.abc import Sequence

import numpy as np

from edge_agent.kernels import plausibility
from protocols.observation import Observation, Quality, Quantity, State
from protocols.units import canonical

_COLUMN = {
    Quantity.GLUCOSE: plausibility.GLUCOSE,
    Quantity.SYSTOLIC: plausibility.SYSTOLIC,
    Quantity.DIASTOLIC: plausibility.DIASTOLIC,
    Quantity.MEAN_PRESSURE: plausibility.MEAN,
    Quantity.PULSE_RATE: plausibility.PULSE,
    Quantity.KETONE: plausibility.KETONE,
    Quantity.OXYGEN_SATURATION: plausibility.SPO2,
    Quantity.BODY_TEMPERATURE: plausibility.TEMPERATURE,
    Quantity.BODY_WEIGHT: plausibility.WEIGHT,
}
_FLAGS = {
    plausibility.IMPLAUSIBLE_VALUE: Quality.IMPLAUSIBLE_VALUE,
    plausibility.IMPLAUSIBLE_RELATION: Quality.IMPLAUSIBLE_RELATION,
}


def assess(observations: Sequence[Observation]) -> list[Quality]:
    """Return what the filters noticed about each observation, in order."""
    values = np.full((len(observations), len(plausibility.LIMITS)), np.nan)
    for row, seen in enumerate(observations):
        for value in seen.values:
            column = _COLUMN.get(value.quantity)
            # A limit beside HI or LO is not what was measured.
            measured = value.state == State.MEASURED and column is not None
            if measured and (number := canonical(value)):
                values[row, column] = float(number[0])
    return [
        sum((_FLAGS[bit] for bit in _FLAGS if int(flags) & bit), Quality.NONE)
        for flags in plausibility.plausibility(values)
    ]

"""What the station's filters say of readings, in the flags that travel with them.

A reading is flagged once, when it is captured, by what its device said before it. What
the filters keep in mind is written down in the transaction that writes the readings,
so a reading gets the same flags whether or not the station lost its power before it.
"""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from hashlib import blake2b

import cbor2
import numpy as np

from edge_agent.kernels import plausibility
from edge_agent.kernels.hampel import Hampel
from edge_agent.kernels.rate import RateGate
from edge_agent.kernels.repeated import NO_TIME, Repeats
from edge_agent.kernels.streams import StateError
from protocols.observation import (
    Kind,
    Observation,
    Quality,
    Quantity,
    Reading,
    State,
)
from protocols.units import canonical

_log = logging.getLogger(__name__)

_VERSION = 1
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
_LIMITS = dict.fromkeys(Kind, plausibility.LIMITS) | {
    Kind.INTERSTITIAL_GLUCOSE: plausibility.SENSOR_LIMITS,
    Kind.CONTROL_SOLUTION: plausibility.UNLIMITED,
}
_FLAGS = {
    plausibility.IMPLAUSIBLE_VALUE: Quality.IMPLAUSIBLE_VALUE,
    plausibility.IMPLAUSIBLE_RELATION: Quality.IMPLAUSIBLE_RELATION,
    plausibility.BEYOND_DEVICE: Quality.BEYOND_DEVICE,
}

# docs/explanation/filters.md says what these find, and how often.
_SENSOR_GAP_MS = 20 * 60_000  # some sensors tell every 15 minutes
_gate = partial(RateGate, 5.0, most_gap_ms=_SENSOR_GAP_MS)  # mg/dL a minute
_spikes = partial(
    Hampel, 5, ahead=0, sigmas=3.0, least_sigma=12.0, most_gap_ms=_SENSOR_GAP_MS
)
_repeats = partial(Repeats, within_ms=1000)  # no clock of a device is finer

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - a device's clock has no zone

Shows = Mapping[Quantity, tuple[float, float]]


def judge(
    state: bytes | None, readings: Sequence[Reading], *, shows: Shows
) -> tuple[list[Quality], bytes]:
    """Return what the filters notice about each reading, and what they keep in mind.

    Args:
        state: What they kept in mind of the device; None at its first reading.
        readings: Of this one device, in the order in which it told them, each for the
            first time.
        shows: The least and the most that the device can show, in canonical units.

    Returns:
        The flags in order, and the state for the device's next reading.
    """
    gate, spikes, repeats = _filters(state)
    seen = [reading.observation for reading in readings]
    flags = _plausible(seen, shows)
    times = np.array([_time_ms(one) for one in seen], np.int64)
    sensed = [i for i, one in enumerate(seen) if one.kind == Kind.INTERSTITIAL_GLUCOSE]
    values = np.array([_sensor_glucose(seen[i]) for i in sensed], np.float64)
    values[times[sensed] == NO_TIME] = np.nan
    moments = np.where(np.isnan(values), 0, times[sensed])
    digests = np.array([_said(one) for one in seen], np.int64)
    for flag, rows, found in (
        (Quality.RATE_OF_CHANGE, sensed, gate.flag(moments, values)),
        (Quality.SPIKE, sensed, spikes.flag(moments, values)),
        (Quality.REPEATED, range(len(seen)), repeats.flag(times, digests)),
    ):
        for row, bit in zip(rows, found.tolist(), strict=True):
            flags[row] |= flag if bit else Quality.NONE
    return flags, bytes([_VERSION]) + b"".join(
        one.to_bytes() for one in (gate, spikes, repeats)
    )


def _filters(state: bytes | None) -> tuple[RateGate, Hampel, Repeats]:
    """Return the filters, with what they kept in mind if that can be taken."""
    if state is not None:
        gate, spikes = 1 + len(_gate().to_bytes()), len(_spikes().to_bytes())
        version = state[:1] == bytes([_VERSION])
        try:
            return (
                _gate().restored(state[1:gate] if version else b""),
                _spikes().restored(state[gate : gate + spikes]),
                _repeats().restored(state[gate + spikes :]),
            )
        except StateError as error:
            _log.warning("filters.began_anew %s", error)
    return _gate(), _spikes(), _repeats()


def _plausible(seen: Sequence[Observation], shows: Shows) -> list[Quality]:
    values = np.full((len(seen), len(plausibility.LIMITS)), np.nan)
    limits = np.empty((*values.shape, 2))
    for row, one in enumerate(seen):
        limits[row] = _LIMITS[one.kind]
        for value in one.values:
            column = _COLUMN.get(value.quantity)
            # A limit beside HI or LO is not what was measured.
            measured = value.state == State.MEASURED and column is not None
            if measured and (number := canonical(value)):
                values[row, column] = float(number[0])
    shown = plausibility.UNLIMITED.copy()
    for quantity, bounds in shows.items():
        if (column := _COLUMN.get(quantity)) is not None:
            shown[column] = bounds
    return [
        sum((_FLAGS[bit] for bit in _FLAGS if int(found) & bit), Quality.NONE)
        for found in plausibility.plausibility(values, limits, shown)
    ]


def _sensor_glucose(seen: Observation) -> float:
    """Return mg/dL; NaN where the sensor measured none."""
    for value in seen.values:
        if value.quantity == Quantity.GLUCOSE and value.state == State.MEASURED:
            number = canonical(value)
            return np.nan if number is None else float(number[0])
    return np.nan


def _time_ms(seen: Observation) -> int:
    """Return what the device's clock showed; `NO_TIME` where it showed no moment."""
    facing = seen.user_facing_time
    moment = None if facing is None else facing.moment
    if moment is None or "time_fault" in seen.status:
        return NO_TIME
    return int((moment - _EPOCH).total_seconds()) * 1000


def _said(seen: Observation) -> int:
    """Return a number that is the same where the same was measured."""
    facts = [
        [value.quantity.value, value.unit.value, str(value.number), int(value.state)]
        for value in seen.values
    ]
    digest = blake2b(cbor2.dumps([seen.kind.value, facts]), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)

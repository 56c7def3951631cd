"""What the beats in a deflating cuff say of the pressure in the artery.

A research output. It never stands for what the cuff itself says and never changes it:
fixed shares of the envelope are right for a usual artery and wrong for a stiff one.

    mmHg   /\\            the cuff deflates, and each beat moves it by a little:
          /  \\_/\\        most at the mean arterial pressure, by half of that at the
         /      \\_/\\__   systolic, and by seven tenths of it at the diastolic

Source: K. G. Ng and C. F. Small, "Survey of automated noninvasive blood pressure
monitors", J. Clin. Eng. 19 (1994) 452, for shares of the envelope; G. Drzewiecki,
R. Hood, H. Apple, "Theory of the oscillometric maximum and the systolic and diastolic
detection ratios", Ann. Biomed. Eng. 22 (1994) 88, for why they vary. That 0.5 and 0.7
are taken is a measurement of ours on a few recordings.
"""

from dataclasses import dataclass
from typing import Self, TypeAlias

import numpy as np

from edge_agent.kernels.biquad import Biquad, high_pass, low_pass
from edge_agent.kernels.streams import (
    F8,
    I8,
    MOST_VALUE,
    U1,
    StateError,
    numbers,
    packed,
    unpacked,
)
from protocols.kernel import inner, kernel

Beats: TypeAlias = F8

ODD_HEIGHT = 1
"""The beat is much higher or lower than those next to it."""
ODD_TIME = 2
"""It comes much earlier or later than beats do in this recording."""
ODD_PRESSURE = 4
"""The cuff's pressure rose since the beat before, or fell as when it is let out."""

NEAR_ODD = 8
"""It is next to one that movement made, while the filters still ring."""

MOST_BEATS = 512
_VERSION = 1
_SLOWEST_HZ, _FASTEST_HZ = 0.5, 10.0
_LEAST_RATE_HZ, _MOST_RATE_HZ = 40.0, 2000.0
_SETTLE_S = 1.0  # after the cuff's highest pressure; the filters ring as it turns
_REFRACTORY_S = 0.3
_LEAST_PRESSURE = 20.0
_LEAST_HEIGHT = 0.15  # mmHg
_LEAST_STEPS = 0.6  # of the rounding, that a beat is high
_MOST_STEP = 2.0  # mmHg
_MISSED_S = 1.5  # without a beat, after which lower ones are believed
_TURN = 0.4  # of the last beat's height, before a top or a foot is believed
_SYSTOLIC_SHARE, _DIASTOLIC_SHARE = 0.5, 0.7
_REACH = 10.0  # mmHg over which the envelope is smoothed, to each side
_STEP = 0.25  # mmHg
_LEAST_BEATS = 8
_NEAR = 7  # beats among which one is odd
_RING_S = 1.2  # behind a movement


@dataclass(frozen=True, slots=True)
class Estimate:
    """What one deflation says; research, and no device's word.

    Attributes:
        systolic: mmHg; None where the envelope does not come down to its share,
            or there are no beats where it does.
        mean: mmHg, where the envelope is highest; None where there are too few beats.
        diastolic: As ``systolic``.
        pulse: Per minute; None as ``mean``.
        beats: How many there were.
        rejected: How many of them were odd.
        artefact: Their share, 0 to 1; 1 where nothing could be said.
    """

    systolic: float | None
    mean: float | None
    diastolic: float | None
    pulse: float | None
    beats: int
    rejected: int
    artefact: float


class Oscillometer:
    """Takes the pressure of a cuff as it comes, and finds the beats in it.

    It begins at the highest pressure, so a recording may hold the pumping too, and ends
    where the cuff is empty (20 mmHg).
    """

    def __init__(self, rate_hz: float, *, step: float = 0.01) -> None:
        """Begin a recording.

        Args:
            rate_hz: Samples per second, 40 to 2000.
            step: To which the samples are rounded, mmHg, up to 2; a wave must stand
                out of it to be a beat.

        Raises:
            ValueError: One of them is out of its range.
        """
        if not 0 <= step <= _MOST_STEP:
            raise ValueError(f"samples rounded to {step} mmHg, not to {_MOST_STEP:g}")
        if not _LEAST_RATE_HZ <= rate_hz <= _MOST_RATE_HZ:
            raise ValueError(
                f"{rate_hz} Hz is not {_LEAST_RATE_HZ:g} to {_MOST_RATE_HZ:g} Hz"
            )
        self._rate = float(rate_hz)
        self._least = max(_LEAST_HEIGHT, _LEAST_STEPS * step)
        self._filter = Biquad(
            high_pass(_SLOWEST_HZ, rate_hz), low_pass(_FASTEST_HZ, rate_hz)
        )
        # Samples seen, the highest's number, whether a foot is sought (0) or a top
        # (1), the candidate's number, the last foot's, how many beats, if it is over.
        self._whole = np.zeros(7, np.int64)
        # The first sample, the highest, the candidate's height and pressure, the last
        # foot's height and pressure, the last beat's height.
        self._real = np.zeros(7)
        self._beats = np.zeros((MOST_BEATS, 3))

    @property
    def beats(self) -> Beats:
        """The beats so far: shape (n, 3), s since the start, mmHg, height in mmHg."""
        return self._beats[: int(self._whole[5])].copy()

    def push(self, pressure: F8) -> None:
        """Take the next samples.

        Args:
            pressure: Of the cuff, shape (n,), mmHg.

        Raises:
            ValueError: ``pressure`` is not (n,), or a sample is missing.
        """
        if not self._whole[0] and pressure.size:
            self._real[0] = self._real[1] = pressure[0]
        waves = self._filter.filter(pressure - self._real[0])
        _find_beats(
            numbers(pressure),
            waves,
            np.array([self._rate, self._least]),
            self._whole,
            self._real,
            self._beats,
        )

    def estimate(self) -> Estimate:
        """Return what the beats so far say."""
        return estimate(self.beats)

    def to_bytes(self) -> bytes:
        """Return its state, to go on from with `restored`."""
        real = np.concatenate([self._real, self._beats.ravel()])
        return packed(_VERSION, self._whole, real) + self._filter.to_bytes()

    def restored(self, data: bytes) -> Self:
        """Take the state of one of the same rate, and return this one.

        Raises:
            StateError: ``data`` is no such state.
        """
        reals = 7 + 3 * MOST_BEATS
        border = 1 + 8 * (7 + reals)
        whole, real = unpacked(
            "oscillometer", data[:border], version=_VERSION, whole=7, real=reals
        )
        seen, top, seeks, candidate, foot, count, over = whole.tolist()
        inside = (
            0 <= max(top, candidate, foot) <= seen < 1 << 53
            and min(top, candidate, foot) >= 0
            and 0 <= count <= MOST_BEATS
            and {seeks, over} <= {0, 1}
        )
        if not inside or not np.all(np.abs(real) < MOST_VALUE):
            raise StateError(f"oscillometer: no state, {whole.tolist()}")
        self._filter.restored(data[border:])
        self._whole, self._real = whole, real[:7].copy()
        self._beats = real[7:].reshape(MOST_BEATS, 3).copy()
        return self


def odd_beats(beats: Beats) -> U1:
    """Flag the beats that movement made, or that it changed.

    Args:
        beats: Shape (n, 3), in order: s, pressure in mmHg, height in mmHg.

    Returns:
        Shape (n,): `ODD_HEIGHT`, `ODD_TIME`, `ODD_PRESSURE`, `NEAR_ODD` together;
        nothing where there are fewer than 8 beats.

    Raises:
        ValueError: ``beats`` is not (n, 3), or holds what is no number.
    """
    beats = _checked(beats)
    flags = np.zeros(len(beats), np.uint8)
    if len(beats) >= _LEAST_BEATS:
        usual = float(np.median(np.diff(beats[:, 0])))
        _odd_beats(beats, usual, np.zeros(_NEAR), flags)
    return flags


def estimate(beats: Beats) -> Estimate:
    """Return what the beats of a deflation say.

    Args:
        beats: As for `odd_beats`.

    Raises:
        ValueError: As there.
    """
    beats = _checked(beats)
    flags = odd_beats(beats)
    good = beats[flags == 0]
    rejected = len(beats) - len(good)
    if len(good) < _LEAST_BEATS or np.ptp(good[:, 1]) < _REACH:
        return Estimate(None, None, None, None, len(beats), rejected, 1.0)
    low, high = float(good[:, 1].min()), float(good[:, 1].max())
    envelope = np.zeros(int((high - low) / _STEP) + 1)
    _envelope(good, low, envelope)
    top = int(np.nanargmax(envelope))
    found = np.full(2, np.nan)
    _crossings(envelope, top, found)
    diastolic, systolic = (
        None if np.isnan(at) else low + _STEP * float(at) for at in found
    )
    intervals = np.diff(beats[:, 0])
    return Estimate(
        systolic=systolic,
        mean=low + _STEP * top,
        diastolic=diastolic,
        pulse=60.0 / float(np.median(intervals)),
        beats=len(beats),
        rejected=rejected,
        artefact=rejected / len(beats),
    )


def _checked(beats: Beats) -> Beats:
    if beats.ndim != 2 or beats.shape[1] != 3:
        raise ValueError(f"beats must be (n, 3), got {beats.shape}")
    if not np.all(np.abs(beats) < MOST_VALUE):
        raise ValueError("a beat holds what is no number")
    return numbers(beats)


@kernel("void(f8[::1], f8[::1], f8[::1], i8[::1], f8[::1], f8[:, ::1])")
def _find_beats(  # noqa: C901, PLR0917 - one state machine over its arrays
    pressure: F8, waves: F8, limits: F8, whole: I8, real: F8, beats: F8
) -> None:
    seen, highest, seeks, candidate = whole[0], whole[1], whole[2], whole[3]
    foot, count, over = whole[4], whole[5], whole[6]
    most, height, at, foot_height = real[1], real[2], real[3], real[4]
    foot_pressure, last = real[5], real[6]
    rate, least = limits[0], limits[1]
    settle, refractory = rate * _SETTLE_S, rate * _REFRACTORY_S
    missed, forgotten = rate * _MISSED_S, 1.0 - 2.0 / rate
    for i in range(waves.size):
        wave = waves[i]
        if pressure[i] > most:
            most, highest, count, over, seeks = pressure[i], seen, 0, 0, 0
            candidate, height, last = seen, wave, 0.0
        elif over == 0 and seen - highest < settle:
            candidate, height, at = seen, wave, pressure[i]
        elif over == 0 and pressure[i] < _LEAST_PRESSURE:
            over = 1
        elif over == 0:
            if seen - foot > missed:
                last *= forgotten
            turn = max(_TURN * last, least)
            if seeks == 0:
                if wave < height:
                    candidate, height, at = seen, wave, pressure[i]
                elif wave - height > turn:
                    foot, foot_height, foot_pressure = candidate, height, at
                    seeks, candidate, height = 1, seen, wave
            elif wave > height:
                candidate, height = seen, wave
            elif height - wave > turn:
                near = count > 0 and foot - beats[count - 1, 0] * rate < refractory
                if not near and count < MOST_BEATS:
                    beats[count, 0] = foot / rate
                    beats[count, 1] = foot_pressure
                    beats[count, 2] = height - foot_height
                    # One movement must not hide the beats behind it.
                    last = min(height - foot_height, max(2.0 * last, 4.0 * least))
                    count += 1
                seeks, candidate, height, at = 0, seen, wave, pressure[i]
        seen += 1
    whole[0], whole[1], whole[2], whole[3] = seen, highest, seeks, candidate
    whole[4], whole[5], whole[6] = foot, count, over
    real[1], real[2], real[3], real[4] = most, height, at, foot_height
    real[5], real[6] = foot_pressure, last


@inner
def _median_height(beats: F8, first: int, near: F8) -> float:
    for j in range(near.size):
        height = beats[first + j, 2]
        k = j
        while k > 0 and near[k - 1] > height:
            near[k] = near[k - 1]
            k -= 1
        near[k] = height
    return float(near[near.size // 2])


@kernel("void(f8[:, ::1], f8, f8[::1], u1[::1])")
def _odd_beats(beats: F8, usual: float, near: F8, flags: U1) -> None:
    count = beats.shape[0]
    for i in range(count):
        first = min(max(i - _NEAR // 2, 0), count - _NEAR)
        median = _median_height(beats, first, near)
        if beats[i, 2] > 1.6 * median or beats[i, 2] < 0.4 * median:
            flags[i] |= 1
        if i == 0:
            continue
        passed = beats[i, 0] - beats[i - 1, 0]
        if passed < 0.6 * usual or passed > 1.7 * usual:
            flags[i] |= 2
        fell = beats[i - 1, 1] - beats[i, 1]
        if fell < -2.0 or fell > 15.0 * passed + 2.0:
            flags[i] |= 4
    for i in range(count):
        for j in range(max(i - _NEAR, 0), min(i + _NEAR, count - 1) + 1):
            moved = flags[j] & 4 or (flags[j] & 1 and beats[j, 2] > beats[i, 2])
            if i != j and moved and abs(beats[i, 0] - beats[j, 0]) < _RING_S:
                flags[i] |= 8


@kernel("void(f8[:, ::1], f8, f8[::1])")
def _envelope(beats: F8, low: float, envelope: F8) -> None:
    """Give the height of beats at each pressure; NaN where there are none near."""
    for k in range(envelope.size):
        pressure = low + _STEP * k
        # A straight line through the near beats, for the envelope is no step.
        weights = sums = reach = slope = square = highest = 0.0
        for i in range(beats.shape[0]):
            away = beats[i, 1] - pressure
            share = 1.0 - (away / _REACH) * (away / _REACH)
            if share <= 0.0:
                continue
            weight = share * share
            highest = max(highest, beats[i, 2])
            weights += weight
            sums += weight * beats[i, 2]
            reach += weight * away
            slope += weight * away * beats[i, 2]
            square += weight * away * away
        divisor = weights * square - reach * reach
        if divisor > 1e-9 * weights * square:
            fitted = (square * sums - reach * slope) / divisor
            envelope[k] = min(max(fitted, 0.0), highest)
        else:
            envelope[k] = sums / weights if weights > 0.0 else np.nan


@kernel("void(f8[::1], i8, f8[::1])")
def _crossings(envelope: F8, top: int, found: F8) -> None:
    """Find where it falls below the diastolic share below its top, and above."""
    for side in range(2):
        step = 2 * side - 1
        share = _SYSTOLIC_SHARE if side == 1 else _DIASTOLIC_SHARE
        limit = share * envelope[top]
        k = top + step
        while 0 <= k < envelope.size:
            if not envelope[k] >= limit:
                before, behind = envelope[k - step], envelope[k]
                found[side] = k - step + step * (before - limit) / (before - behind)
                break
            k += step

"""What the sensor of a blood-pressure cuff feels while the cuff deflates.

        start ┐
              └──.__                     a ramp, with one beat after another on
                    └─/\\__               it, whose height depends on the pressure
                          └─/\\/\\__        in the cuff: the envelope
       systolic ^     mean ^    ^ diastolic

The envelope is highest at the mean arterial pressure, and at the systolic and
the diastolic it has the shares that the artery says: usual cuffs look for such
shares, and real arteries have other ones, the stiffer the more.

Each recording comes with its truth. As in `firmware_sim.physiology`, everything
is + - * / and sqrt, so that the samples are the same on every computer.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from firmware_sim.physiology import Draws

F8: TypeAlias = NDArray[np.float64]

_QUIET_S = 0.15  # from the start to the first beat, at least
_UPSTROKE = 0.25  # share of a pulse until its top
_NOTCH_HEIGHT = 0.25


@dataclass(frozen=True, slots=True)
class Artery:
    """What is true of the arm.

    Attributes:
        systolic: mmHg.
        diastolic: mmHg.
        pulse: Per minute.
        irregular: Whether the heart fibrillates: no interval says anything of
            the next, and a beat after a short one is weak.
        height: The largest beat in the cuff, mmHg from foot to top.
        mean_share: Where between diastolic and systolic the mean is.
        systolic_ratio: Height of the envelope at the systolic, of its largest.
        diastolic_ratio: Likewise at the diastolic.
        breaths: Per minute.
    """

    systolic: float = 120.0
    diastolic: float = 80.0
    pulse: float = 70.0
    irregular: bool = False
    height: float = 3.0
    mean_share: float = 1 / 3
    systolic_ratio: float = 0.5
    diastolic_ratio: float = 0.7
    breaths: float = 14.0

    @property
    def mean(self) -> float:
        """Mean arterial pressure, mmHg."""
        return self.diastolic + self.mean_share * (self.systolic - self.diastolic)

    def envelope(self, pressure: float) -> float:
        """Return the height of a beat in mmHg at a pressure of the cuff.

        A bell of its own on each side of the mean, (1 + (x / width) ** 2) ** -2.
        """
        away = pressure - self.mean
        if away > 0.0:
            reach, ratio = self.systolic - self.mean, self.systolic_ratio
        else:
            reach, ratio = self.diastolic - self.mean, self.diastolic_ratio
        steep = (1.0 / sqrt(ratio) - 1.0) / (reach * reach)
        bell = 1.0 + away * away * steep
        return self.height / (bell * bell)


@dataclass(frozen=True, slots=True)
class Cuff:
    """How it is recorded.

    Attributes:
        rate_hz: Samples per second.
        above: From how far above the systolic it deflates, mmHg.
        below: To how far below the diastolic, mmHg, but never under 20.
        speed: Of the ramp, mmHg/s.
        breath: Height of the breath on the ramp, mmHg to each side.
        noise_sd: Of the sensor, mmHg.
        decimals: To which samples are rounded.
        movements: How often the arm moves.
    """

    rate_hz: int = 200
    above: float = 30.0
    below: float = 25.0
    speed: float = 4.0
    breath: float = 0.3
    noise_sd: float = 0.04
    decimals: int = 2
    movements: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Deflation:
    """One recording and its truth.

    Attributes:
        rate_hz: Samples per second.
        pressure: Of the cuff, shape (n,), mmHg.
        systolic: mmHg.
        diastolic: mmHg.
        mean: Mean arterial pressure, mmHg.
        beats_s: Feet of the beats, seconds from the first sample.
        movements_s: Begin and end of each movement, likewise, in order.
    """

    rate_hz: int
    pressure: F8
    systolic: float
    diastolic: float
    mean: float
    beats_s: tuple[float, ...]
    movements_s: tuple[tuple[float, float], ...]


def deflation(seed: int | str, artery: Artery, cuff: Cuff = Cuff()) -> Deflation:
    """Record one deflation.

    Args:
        seed: Which one; with movements it is the same one, moved.
        artery: What is true.
        cuff: How it is recorded.

    Raises:
        ValueError: The pressures are not 20 < diastolic < systolic, a share is not
            between 0 and 1, or what must be positive is not.
    """
    _refuse(artery, cuff)
    start = artery.systolic + cuff.above
    end = max(20.0, artery.diastolic - cuff.below)
    size = int((start - end) / cuff.speed * cuff.rate_hz)
    time_s = np.arange(size) / cuff.rate_hz
    length_s = size / cuff.rate_hz
    phase = Draws(seed, "breath").uniform(0.0, 1.0)
    breath = _wave(time_s * (artery.breaths / 60.0) + phase)
    samples = start - cuff.speed * time_s + cuff.breath * breath
    beats = tuple(_beats(seed, artery, phase, length_s))
    before_s = 60.0 / artery.pulse
    heights = Draws(seed, "heights")
    for at, after in pairwise((*beats, length_s + before_s)):
        height = artery.envelope(start - cuff.speed * at) * heights.normal(1.0, 0.02)
        if artery.irregular:  # less blood after less time to fill
            height *= min(1.15, 0.4 + 0.6 * before_s * artery.pulse / 60.0)
        _add(samples, cuff.rate_hz, at, min(after - at, 1.2), height)
        before_s = after - at
    movements = tuple(_movements(seed, cuff.movements, length_s))
    for number, (at, until) in enumerate(movements):
        draws = Draws(seed, "movement", number)
        samples += _movement(draws, (time_s - at) / (until - at))
    noise = Draws(seed, "noise")
    samples += np.array([noise.normal(0.0, cuff.noise_sd) for _ in range(size)])
    steps = float(10**cuff.decimals)
    return Deflation(
        rate_hz=cuff.rate_hz,
        pressure=np.rint(samples * steps) / steps,
        systolic=artery.systolic,
        diastolic=artery.diastolic,
        mean=artery.mean,
        beats_s=beats,
        movements_s=movements,
    )


def _refuse(artery: Artery, cuff: Cuff) -> None:
    if not 20.0 < artery.diastolic < artery.systolic:
        raise ValueError(f"no pressures: {artery.systolic}/{artery.diastolic}")
    shares = artery.mean_share, artery.systolic_ratio, artery.diastolic_ratio
    if not all(0.0 < share < 1.0 for share in shares):
        raise ValueError(f"no shares between 0 and 1: {shares}")
    if not (artery.pulse > 0.0 and artery.height > 0.0):
        raise ValueError(f"no heart: {artery.pulse} per minute, {artery.height} mmHg")
    if not (cuff.rate_hz > 0 and cuff.speed > 0.0 and cuff.above > 0.0):
        raise ValueError(f"no deflation: {cuff.rate_hz} Hz, {cuff.speed} mmHg/s")


def _beats(
    seed: int | str, artery: Artery, phase: float, length_s: float
) -> Iterator[float]:
    """Yield the feet of the beats: breath and chance move them, or chance alone."""
    draws = Draws(seed, "beats")
    usual_s = 60.0 / artery.pulse
    at = _QUIET_S + draws.uniform(0.0, usual_s)
    while at < length_s:
        yield at
        if artery.irregular:
            share = max(0.5, draws.normal(1.0, 0.22))
        else:
            breath = float(_wave(np.array([at * artery.breaths / 60.0 + phase]))[0])
            share = 1.0 + 0.03 * breath + draws.normal(0.0, 0.015)
        at += usual_s * share


def _add(samples: F8, rate_hz: int, at: float, length_s: float, height: float) -> None:
    """Add one beat: a steep rise, a slow fall, and a second small wave in it."""
    first = int(at * rate_hz) + 1
    share = (np.arange(first, samples.size) / rate_hz - at) / length_s
    share = share[share < 1.0]
    fall = (1.0 - share) / (1.0 - _UPSTROKE)
    rise = share / _UPSTROKE
    main = np.where(share < _UPSTROKE, rise * rise * (3.0 - 2.0 * rise), fall * fall)
    notch = (share - 0.5) / 0.35
    second = np.where(np.abs(notch - 0.5) < 0.5, 4.0 * notch * (1.0 - notch), 0.0)
    samples[first : first + share.size] += height * (
        main + _NOTCH_HEIGHT * second * fall
    )


def _movements(
    seed: int | str, count: int, length_s: float
) -> Iterator[tuple[float, float]]:
    """Yield begin and end of each; one falls into each of ``count`` equal parts."""
    draws = Draws(seed, "movements")
    for part in range(count):
        lasts = min(draws.uniform(0.4, 1.6), length_s / count)
        begin = length_s * part / count
        at = draws.uniform(begin, begin + length_s / count - lasts)
        yield at, at + lasts


def _movement(draws: Draws, share: F8) -> F8:
    """Return what one movement adds, by the share of it that is over."""
    inside = (share > 0.0) & (share < 1.0)
    bump = 4.0 * share * (1.0 - share) * _wave(draws.uniform(1.0, 4.0) * share)
    return np.where(inside, draws.uniform(6.0, 20.0) * bump, 0.0)


def _wave(turns: F8) -> F8:
    """Return about the sine of ``turns`` full turns, of parabolas."""
    half = 2.0 * (turns - np.floor(turns))
    return np.where(
        half < 1.0, 4.0 * half * (1.0 - half), -4.0 * (half - 1.0) * (2.0 - half)
    )

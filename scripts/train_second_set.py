"""Train the second set of models: of what is measured now and then, and fine cuffs.

    scripts/train_second_set.py FOLDER

FOLDER is that of train_priors.py. Takes about a minute, and prints the stamp that
protocols/uplink/profiles.py must say of the set.

Series of pressures that may be used are few and of few people: models of these knew
them, and nobody else. So people are made up here over the ranges in which people
differ, and none of these series is looked at. Of the deflations of a cuff every fourth
is not learnt from, for the figures of docs/explanation/compression.md are of these.
"""

import math
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from train_priors import (
    I8,
    Parameters,
    learn,
    read,
    steps_fit,
    train_times,
    train_values,
)

from protocols.uplink.values import (
    COEFFICIENTS,
    FINE,
    FIRST,
    HIGH,
    LOW,
    MEAN,
    MOST,
    ORDER,
    PULL,
    SIDE,
    SIDE_2,
    SPREAD,
    STEP,
    TRUST,
)

F8 = NDArray[np.float64]
_PEOPLE = 800
_APART = 4  # every so many recordings, from the first, one that judges
_HOUR, _DAY = 3600, 86400


def main() -> None:
    """Train every model of the set that the first has not, and write it."""
    train_clock()
    train_pressures()
    train_cuff(Path(sys.argv[1]))
    from protocols.uplink import profiles  # noqa: PLC0415 - reads what was written

    sys.stdout.write(f"stamp: {profiles.stamp(profiles.SETS[1]).hex()!r}\n")


def train_clock() -> None:
    """Train the model of times."""
    rng = np.random.default_rng(6)
    columns = []
    for _ in range(_PEOPLE):
        seconds = times(rng)
        columns.append(seconds // 60 if rng.random() < 0.35 else seconds)
    # People differ more than one differs from day to day, so what is learnt of all is
    # soon forgotten: on others made up alike this is worth 0.5 bit a time.
    train_times("clock-any-2", columns, 0, hastes=(4, 2, 1, 1), seen=4)


def train_pressures() -> None:
    """Train the models of pressures and pulse."""
    rng = np.random.default_rng(7)
    people = [pressures(rng) for _ in range(_PEOPLE)]
    gaps = [missed(rng, len(person)) for person in people]
    columns = [
        [(person[:, at].copy(), gap) for person, gap in zip(people, gaps, strict=True)]
        for at in range(4)
    ]
    how: Parameters = {PULL: 42000, ORDER: 1, COEFFICIENTS: (-0.1,), TRUST: 3}
    how |= {FINE: 3, FIRST: 4, SPREAD: 130, MOST: 256, LOW: 20, HIGH: 299, STEP: 16}
    base, _ = learn(how | {MEAN: 130}, columns[0])
    left = train_values("systolic-2", how | {MEAN: 130}, columns[0], base)
    low: Parameters = how | {MEAN: 75, SIDE: 115}
    left_2 = train_values("diastolic-2", low, columns[1], base, left)
    # A mean is about the diastolic and a third of the pulse pressure.
    mean: Parameters = how | {MEAN: 90, SIDE: 171, SIDE_2: 150}
    train_values("mean-pressure-2", mean, columns[2], base, left_2, left)
    train_values("pulse-2", how | {MEAN: 70}, columns[3], base)


def train_cuff(folder: Path) -> None:
    """Train the model of a cuff's waveform, in hundredths of a mmHg."""
    cuffs = [v[:, 0].copy() for _, v in read(folder, "osc_cuff_itsbelinda_200hz")]
    cuffs = [cuff for at, cuff in enumerate(cuffs) if at % _APART]
    how: Parameters = {FINE: 3, FIRST: 9, SPREAD: 96, MOST: 1 << 20, TRUST: 10}
    how |= {LOW: -1000, HIGH: 35000, STEP: 2000, ORDER: 16}
    how |= {COEFFICIENTS: tuple(steps_fit(cuffs, 16))}
    train_values("cuff-2", how, [(x, np.zeros_like(x)) for x in cuffs])


def times(rng: np.random.Generator) -> I8:
    """Return when somebody made up is measured, shape (n,), in seconds."""
    habit = rng.random()
    if habit < 0.45:
        found = by_habit(rng)
    elif habit < 0.65:
        rows = int(rng.integers(30, 400))
        usual = rng.uniform(math.log(3 * _HOUR), math.log(30 * _HOUR))
        found = np.cumsum(np.exp(rng.normal(usual, rng.uniform(0.3, 1.1), rows)))
    else:
        found = by_schedule(rng)
    often = rng.random() ** 2 * (0.8 if habit < 0.65 else 0.2)
    whole = np.floor([*again(rng, found, often)]).astype(np.int64)
    return np.sort(whole)


def by_habit(rng: np.random.Generator) -> F8:
    """Return the times of one to four hours of the day that are mostly kept."""
    hours = int(rng.integers(1, 5))
    days = np.arange(int(rng.integers(30, 300)) // hours + 1)
    usual, late = rng.uniform(5, 24, hours), rng.uniform(0.2, 2.5, hours)
    found = usual + late * rng.normal(0, 1, (len(days), hours))
    found = found * _HOUR + _DAY * days[:, None]
    return np.sort(found[rng.random(found.shape) < rng.uniform(0.3, 1, hours)])


def by_schedule(rng: np.random.Generator) -> F8:
    """Return the times of a worn cuff: every 15 to 60 minutes, less by night."""
    period, by_night = rng.choice([900, 1200, 1800, 3600]), rng.choice([1, 1, 2])
    early, slow = rng.choice([0, 0, 30, 120, 300]), rng.choice([1, 6, 45])
    now, found = rng.uniform(7, 15) * _HOUR, []
    for _ in range(int(rng.integers(20, 150))):
        is_night = not 7 <= now // _HOUR % 24 < 22
        now += period * (by_night if is_night else 1)
        found.append(now + rng.integers(-early, early + 1) + rng.integers(0, slow))
    kept = rng.random(len(found)) >= rng.uniform(0, 0.15)
    return np.sort(np.array(found)[kept])


def again(rng: np.random.Generator, found: F8, often: float) -> Iterator[float]:
    """Yield times, and after some those of one or two readings more."""
    usual = rng.uniform(math.log(50), math.log(180))
    spread, most = rng.uniform(0.05, 0.5), int(rng.integers(1, 3))
    for now in found:
        yield now
        at = now
        for _ in range(most):
            if rng.random() >= often:
                break
            at += math.exp(rng.normal(usual, spread))
            yield at


def pressures(rng: np.random.Generator) -> I8:
    """Return systolic, diastolic and mean pressure and pulse of somebody made up.

    Returns:
        Shape (n, 4), in mmHg and beats a minute.
    """
    rows = int(math.exp(rng.uniform(math.log(8), math.log(400))))
    high, quick = rng.normal(131, 17), rng.normal(71, 11)
    low = 78 + 0.35 * (high - 131) + rng.normal(0, 9)
    spread = math.exp(rng.normal(math.log(rng.choice([8.5, 12.5])), 0.28))
    spread_2 = spread * 0.62 * math.exp(rng.normal(0, 0.22))
    spread_3 = math.exp(rng.normal(math.log(7), 0.3))
    first, second, third = (drifting(rng, rows) for _ in range(3))
    second = both(rng.uniform(0.35, 0.85), first, second)
    third = both(rng.uniform(-0.1, 0.4), first, third)
    wild = np.where(rng.random(rows) < 0.012, 1.0, 0.0)
    systolic = high + spread * first + wild * rng.normal(0, 20, rows)
    diastolic = low + spread_2 * second + wild * rng.normal(0, 15, rows)
    pulse = quick + spread_3 * third
    pulse += np.where(rng.random(rows) < 0.01, 20.0, 0.0) * rng.normal(0, 1, rows)
    systolic, diastolic = np.round(systolic), np.round(diastolic)
    diastolic = np.minimum(diastolic, systolic - 8)
    if rng.random() < 0.35:  # a cuff that computes its mean
        mean = diastolic + (systolic - diastolic) / 3 + rng.choice([0, 0.33])
    else:
        share, beside = rng.uniform(0.28, 0.42), rng.uniform(-2, 2)
        mean = diastolic + share * (systolic - diastolic) + beside
        mean += rng.normal(0, rng.uniform(0.8, 4), rows)
    found = np.stack([systolic, diastolic, np.round(mean), np.round(pulse)], 1)
    return found.astype(np.int64)


def drifting(rng: np.random.Generator, rows: int) -> F8:
    """Return numbers of the spread 1 that partly follow those before, shape (rows,)."""
    keep, share = rng.beta(1.2, 2.2) * 0.8, rng.uniform(0.2, 1)
    slow, now = np.empty(rows), rng.normal()
    for row in range(rows):
        now = keep * now + math.sqrt(1 - keep * keep) * rng.normal()
        slow[row] = now
    return both(math.sqrt(share), slow, rng.normal(0, 1, rows))


def both(share: float, one: F8, other: F8) -> F8:
    """Return what goes with ``one`` by ``share`` and with ``other`` for the rest."""
    return share * one + math.sqrt(1 - share * share) * other


def missed(rng: np.random.Generator, rows: int) -> I8:
    """Return gaps before rows: none for most people, some for those with a schedule."""
    if rng.random() < 0.7:
        return np.zeros(rows, np.int64)
    return rng.choice([0, 1, 2], rows, p=[0.9, 0.06, 0.04])


if __name__ == "__main__":
    main()

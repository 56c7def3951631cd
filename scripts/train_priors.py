"""Train the models of protocols/uplink/priors from real series.

    scripts/train_priors.py FOLDER

FOLDER holds the series that docs/reference/uplink.md names, as CSV files of the
columns device, time, value, ... Takes about five minutes, and prints the stamp that
protocols/uplink/profiles.py must say. New models break every decoder of before:
make a new set instead of changing one that is in use, as train_second_set.py does.
"""

import csv
import gzip
import math
import sys
import zlib
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import NamedTuple, TypeAlias

import cbor2
import numpy as np
from numpy.typing import NDArray

from protocols.kernel import OPTIONS, compile_inner, import_numba, link
from protocols.uplink import times as clocks
from protocols.uplink import values as numbers
from protocols.uplink.rangecoder import (
    CONTEXT,
    COST,
    COSTS,
    FAULT,
    HASTE,
    LEARN,
    PACE,
    SQUASH,
    STATE,
    STRETCH,
    TABLES,
    begin,
)
from protocols.uplink.times import times
from protocols.uplink.values import (
    COEFFICIENTS,
    FINE,
    FIRST,
    GAP_BITS,
    HIGH,
    LOW,
    MEAN,
    MOST,
    ORDER,
    PROFILE,
    PULL,
    RATE,
    SECOND,
    SIDE,
    SIDE_2,
    SPREAD,
    STEP,
    TRUST,
    values,
)

I8 = NDArray[np.int64]
Parameters: TypeAlias = dict[int, int | tuple[float, ...]]
_PRIORS = Path(__file__).parents[1] / "protocols" / "uplink" / "priors"
_STEP = 24  # of a chance as it is kept, in the logistic domain
_SEEN = 60  # bits that a chance counts for at most, before the first number
_SLOWEST = 255  # bits after which a slot learns no slower
_HASTES = (6, 4, 3, 2, 2)  # of the mixtures, pass by pass
_NO_END = 1 << 62
_MMOL = 18.0182  # mg/dL in one mmol/L of glucose


class Part(NamedTuple):
    """A stretch of a column, as a message may hold it."""

    column: I8
    gaps: I8
    side: I8
    side_2: I8


def main() -> None:
    """Train every model, and write it."""
    folder = Path(sys.argv[1])
    _PRIORS.mkdir(exist_ok=True)
    write("tables", zlib.compress(tables().astype("<i4").tobytes(), 9))
    gaps = train_clocks(folder)
    train_glucose(folder, gaps)
    train_pressures(folder)
    train_waves(folder)
    train_any()
    from protocols.uplink import profiles  # noqa: PLC0415 - reads what was written

    sys.stdout.write(f"stamp: {profiles.stamp(profiles.SETS[0]).hex()!r}\n")


@cache
def compiled(plain: Callable[..., None]) -> Callable[..., None]:
    """Return a function that kernels call, compiled by itself."""
    made: Callable[..., None] = import_numba().njit(**OPTIONS)(
        link(plain, compile_inner, {})
    )
    return made


def tables(*, slowest: int = _SLOWEST, haste: int = 2) -> I8:
    """Return the constants of the range coder by their formulas."""
    found = np.zeros(TABLES, np.int64)
    for x in range(6144):
        odds = round(65536 / (1 + math.exp((3072 - x) / 256)))
        found[SQUASH + x] = min(max(odds, 16), 65520)
    for x in range(4096):
        place = round(256 * math.log((x + 0.5) / (4095.5 - x)))
        found[STRETCH + x] = min(max(place, -3071), 3071)
    for x in range(4097):
        found[COSTS + x] = round(-65536 * math.log2(max(x, 0.25) / 4096))
    for x in range(1024):
        found[PACE + x] = int(65536 / (min(x, slowest) + 1.6))
    found[HASTE] = haste
    return found


def train_clocks(folder: Path) -> Callable[[I8], I8]:
    """Train the models of times; return what tells the gaps before each time."""
    regular = [t for t, _ in read(folder, "cgm_weinstock")]
    model = train_times("clock-regular", regular, 300)
    jittery = [t for t, _ in read(folder, "cgm_tidepool")]
    jittery += [t for t, _ in read(folder, "cgm_dexcomg6_export")]
    jittery += [t for t, _ in read(folder, "cgm_iglu5")][1:3]
    jittery += [t // 3 for t, _ in read(folder, "cgm_libre_tidepool")]
    train_times("clock-jittery", jittery, 300)
    rng = np.random.default_rng(1)
    spot = [t // 60 for t, _ in read(folder, "smbg_uci")]
    spot += [t * 60 + rng.integers(0, 60, len(t)) for t in spot]
    spot += [t // 60 for t, _ in read(folder, "bp_abpm_hypnos")]
    spot += [t for t, _ in read(folder, "bp_home_jhs")]
    train_times("clock-any", spot, 0)

    def gaps(column: I8) -> I8:
        found = np.zeros_like(column)
        run_times(column, found, 300, model.copy(), tables())
        return found

    return gaps


def train_times(
    name: str,
    columns: list[I8],
    period: int,
    *,
    hastes: tuple[int, ...] = _HASTES,
    seen: int = _SEEN,
) -> NDArray[np.int32]:
    """Train a model of times, and write it."""
    model = blank(clocks.MODEL, clocks.WEIGHTS_SIZE, 0.35)
    rng = np.random.default_rng(1)
    for haste in hastes:
        cost = count = 0
        constants = tables(slowest=1023, haste=haste)
        for column in columns:
            for start, end in stretches(len(column), rng):
                part = column[start:end].copy()
                cost += run_times(part, np.zeros_like(part), period, model, constants)
                count += end - start
    report(name, cost, count)
    save(name, [], model, clocks.WEIGHTS_SIZE, seen)
    return model


def run_times(
    column: I8, gaps: I8, period: int, model: NDArray[np.int32], constants: I8
) -> int:
    """Return the cost of a column of times, in 1/65536 bits."""
    coder, context = np.zeros(STATE, np.int64), np.zeros(CONTEXT, np.int64)
    code, touched = np.zeros(1, np.uint8), np.zeros(clocks.PLACES, np.int64)
    begin(LEARN, _NO_END, coder, code)
    relative = column - column[0]
    compiled(times)(
        relative,
        gaps,
        period,
        coder,
        code,
        0,
        touched,
        model,
        model,
        constants,
        context,
    )
    if coder[FAULT]:
        raise ValueError("a number is out of range")
    return int(coder[COST])


def train_glucose(folder: Path, gaps: Callable[[I8], I8]) -> None:
    """Train the models of glucose, of sensors and of meters."""
    files = "cgm_weinstock", "cgm_iglu5", "cgm_dexcomg6_export", "cgm_tidepool"
    sensors = [(v[:, 0], gaps(t)) for name in files for t, v in read(folder, name)]
    sensors += [(v[:, 0], gaps(t // 3)) for t, v in read(folder, "cgm_libre_tidepool")]
    smooth = [(v[:, 0], gaps(t)) for t, v in read(folder, "cgm_colas")]
    steps: Parameters = {
        COEFFICIENTS: (0.53, 0.09, 0.04),
        ORDER: 3,
        FINE: 4,
        GAP_BITS: 2,
    }
    start: Parameters = {FIRST: 4, SPREAD: 48, MOST: 40, TRUST: 10}
    mg: Parameters = {MEAN: 150, LOW: 40, HIGH: 400, STEP: 26} | steps | start
    mmol: Parameters = mg | {
        MEAN: 83,
        LOW: 22,
        HIGH: 222,
        STEP: 14,
        FIRST: 4,
        SPREAD: 32,
    }
    train_values("cgm", mg, sensors)
    train_values("cgm-smooth", mg, smooth)
    train_values("cgm-mmol", mmol, [(tenths(v), g) for v, g in sensors])
    spot = [(v[:, 0], np.zeros_like(t)) for t, v in read(folder, "smbg_uci")]
    meter: Parameters = {
        MEAN: 150,
        PULL: 53600,
        ORDER: 1,
        COEFFICIENTS: (-0.034,),
        FINE: 3,
    }
    meter |= {FIRST: 5, SPREAD: 960, MOST: 1024, TRUST: 10}
    meter |= {LOW: 20, HIGH: 599, STEP: 40}
    small: Parameters = meter | {
        MEAN: 83,
        FIRST: 5,
        SPREAD: 530,
        LOW: 11,
        HIGH: 333,
        STEP: 22,
    }
    train_values("glucose", meter, spot)
    train_values("glucose-mmol", small, [(tenths(v), g) for v, g in spot])


def train_pressures(folder: Path) -> None:
    """Train the models of blood pressure and pulse, on what few series there are."""
    files = "bp_abpm_hypnos", "bp_home_jhs"
    rows = [v for name in files for _, v in read(folder, name)]
    common: Parameters = {FINE: 3, FIRST: 4, SPREAD: 130, MOST: 256, TRUST: 3, ORDER: 1}
    common |= {LOW: 20, HIGH: 299, STEP: 16}
    systolic = [(v[:, 0], np.zeros(len(v), np.int64)) for v in rows]
    meter = [(v[:, 0], np.zeros_like(t)) for t, v in read(folder, "smbg_uci")]
    base, _ = learn(common | {MEAN: 150, PULL: 53600}, meter)
    how: Parameters = {PULL: 42000, COEFFICIENTS: (-0.1,), **common}
    left = train_values("systolic", how | {MEAN: 130}, systolic, base)
    diastolic = [(v[:, 1], g) for v, (_, g) in zip(rows, systolic, strict=True)]
    left_2 = train_values(
        "diastolic", how | {MEAN: 75, SIDE: 110}, diastolic, base, left
    )
    pulse = [(v[:, -1], g) for v, (_, g) in zip(rows, systolic, strict=True)]
    train_values("pulse", how | {MEAN: 70}, pulse, base)
    mean = [
        (v[:, 2], g)
        for v, (_, g) in zip(rows, systolic, strict=True)
        if v.shape[1] == 4
    ]
    both = list(zip(left_2, left, strict=True))[: len(mean)]
    train_values(
        "mean-pressure",
        how | {MEAN: 90, SIDE: 150, SIDE_2: 80},
        mean,
        base,
        [side for side, _ in both],
        [side_2 for _, side_2 in both],
    )


def train_waves(folder: Path) -> None:
    """Train the models of waveforms, in tenths of a mmHg."""
    cuffs = [
        np.round(v[:, 0] / 10).astype(np.int64)
        for _, v in read(folder, "osc_cuff_itsbelinda_200hz")
    ]
    how: Parameters = {FINE: 3, FIRST: 6, SPREAD: 32, MOST: 1 << 20, TRUST: 10}
    how |= {LOW: -100, HIGH: 3500, STEP: 200, ORDER: 16}
    cuff: Parameters = how | {COEFFICIENTS: tuple(steps_fit(cuffs, 16))}
    train_values("cuff", cuff, [(x, np.zeros_like(x)) for x in cuffs])
    arteries = [
        np.round(v[:, 0] / 100).astype(np.int64)
        for _, v in read(folder, "abp_rats_100hz")
    ]
    artery: Parameters = how | {MEAN: 1200, SPREAD: 400, ORDER: 2, SECOND: 32, RATE: 60}
    artery |= {COEFFICIENTS: tuple(steps_fit(arteries, 2))}
    train_values("arterial", artery, [(x, np.zeros_like(x)) for x in arteries])


def train_any() -> None:
    """Train the model of anything: counters, codes, deltas, noise; all made up."""
    rng = np.random.default_rng(1)
    columns = []
    for _ in range(40):
        n = 1000
        columns.append((rng.random(n) < rng.random() ** 4).astype(np.int64))
        columns.append(np.arange(n) + rng.integers(0, 1 << 16))
        scale = 10 ** rng.uniform(0, 4)
        columns.append(np.round(rng.normal(0, scale, n)).astype(np.int64))
        columns.append(np.cumsum(np.round(rng.normal(0, scale, n)).astype(np.int64)))
        columns.append(np.full(n, rng.integers(-1000, 1000)))
    how: Parameters = {
        FINE: 2,
        FIRST: 6,
        SPREAD: 32,
        MOST: 1 << 30,
        TRUST: 10,
        STEP: 1 << 20,
    }
    how |= {LOW: -numbers.LARGEST, HIGH: numbers.LARGEST, ORDER: 1}
    train_values(
        "any",
        how | {COEFFICIENTS: (0.5,)},
        [(column, np.zeros_like(column)) for column in columns],
    )


def train_values(
    name: str,
    how: Parameters,
    columns: list[tuple[I8, I8]],
    base: NDArray[np.int32] | None = None,
    side: list[I8] | None = None,
    side_2: list[I8] | None = None,
) -> list[I8]:
    """Train a model of numbers, and write it; return what was left of each column."""
    model, parameters = learn(how, columns, base, side, side_2, name=name)
    save(name, parameters.tolist(), model, numbers.WEIGHTS_SIZE)
    left = []
    for part in parts_of(columns, side, side_2):
        rest = np.zeros_like(part.column)
        run_values(part, rest, parameters, model.copy(), tables())
        left.append(rest)
    return left


def learn(
    how: Parameters,
    columns: list[tuple[I8, I8]],
    base: NDArray[np.int32] | None = None,
    side: list[I8] | None = None,
    side_2: list[I8] | None = None,
    *,
    name: str = "",
) -> tuple[NDArray[np.int32], I8]:
    """Train a model of numbers."""
    parameters = np.zeros(PROFILE, np.int64)
    for place, value in how.items():
        if isinstance(value, tuple):
            for k, coefficient in enumerate(value):
                parameters[place + k] = round(coefficient * 65536)
        else:
            parameters[place] = value
    model = blank(numbers.MODEL, numbers.WEIGHTS_SIZE, 0.3)
    hastes: tuple[int, ...] = _HASTES
    if base is not None:
        model, hastes = base.copy(), (2, 1, 1)
    rng = np.random.default_rng(1)
    whole = parts_of(columns, side, side_2)
    for haste in hastes:
        cost = count = 0
        constants = tables(slowest=1023, haste=haste)
        for part in whole:
            for start, end in stretches(len(part.column), rng):
                piece = Part(*(each[start:end] for each in part))
                rest = np.zeros_like(piece.column)
                cost += run_values(piece, rest, parameters, model, constants)
                count += end - start
    if name:
        report(name, cost, count)
    return model, parameters


def run_values(
    part: Part, left: I8, parameters: I8, model: NDArray[np.int32], constants: I8
) -> int:
    """Return the cost of a column, in 1/65536 bits."""
    coder, context = np.zeros(STATE, np.int64), np.zeros(CONTEXT, np.int64)
    code, memory = np.zeros(1, np.uint8), np.zeros(numbers.ROOM, np.int64)
    touched = np.zeros(numbers.PLACES, np.int64)
    begin(LEARN, _NO_END, coder, code)
    column, gaps, side, side_2 = (each.copy() for each in part)
    compiled(values)(
        column,
        gaps,
        side,
        side_2,
        left,
        parameters,
        coder,
        code,
        0,
        touched,
        model,
        model,
        constants,
        context,
        memory,
    )
    if coder[FAULT]:
        raise ValueError("a number is out of range")
    return int(coder[COST])


def parts_of(
    columns: list[tuple[I8, I8]], side: list[I8] | None, side_2: list[I8] | None
) -> list[Part]:
    """Return columns with what stands beside them."""
    none = [np.zeros_like(column) for column, _ in columns]
    return [
        Part(column, gaps, beside, beside_2)
        for (column, gaps), beside, beside_2 in zip(
            columns, side or none, side_2 or none, strict=True
        )
    ]


def stretches(size: int, rng: np.random.Generator) -> Iterator[tuple[int, int]]:
    """Yield where messages of 2 to 3,000 rows would start and end."""
    start = 0
    while start < size:
        length = int(math.exp(rng.uniform(math.log(2), math.log(3000))))
        yield start, min(start + length, size)
        start += length


def steps_fit(columns: list[I8], order: int) -> list[float]:
    """Return how the next step follows from those before, by least absolute error."""
    rows, aims = [], []
    for column in columns:
        steps = np.diff(column).astype(float)
        usual = np.median(abs(steps)) + 0.5
        for i in range(order, len(steps), 5):
            window = steps[i - order : i + 1]
            if abs(window).max() <= 30 * usual:
                rows.append(window[:-1][::-1] / usual)
                aims.append(window[-1] / usual)
    x, y = np.array(rows), np.array(aims)
    weight = np.ones(len(y))
    for _ in range(8):
        weighted = x * weight[:, None]
        found = np.linalg.solve(weighted.T @ x + 0.01 * np.eye(order), weighted.T @ y)
        weight = 1 / (abs(y - x @ found) + 0.3)
    return [float(each) for each in found]


def tenths(glucose: I8) -> I8:
    """Return mg/dL as tenths of mmol/L."""
    return np.round(glucose / _MMOL * 10).astype(np.int64)


def read(folder: Path, name: str) -> list[tuple[I8, I8]]:
    """Return each device's times (n,) and values (n, k), at one scale each."""
    found: dict[str, list[list[str]]] = {}
    with gzip.open(folder / f"{name}.csv.gz", "rt", newline="") as file:
        lines = csv.reader(file)
        next(lines)
        for device, *cells in lines:
            found.setdefault(device, []).append(cells)
    series = []
    for rows in found.values():
        time, *columns = (whole(cells) for cells in zip(*rows, strict=True))
        series.append((time, np.stack(columns, 1)))
    return series


def whole(cells: tuple[str, ...]) -> I8:
    """Return decimals as integers of the finest power of ten among them."""
    decimals = [Decimal(cell) for cell in cells]
    finest = min(int(str(d.normalize().as_tuple().exponent)) for d in decimals)
    return np.array([int(d.scaleb(-min(finest, 0))) for d in decimals], np.int64)


def blank(size: int, weights: int, weight: float) -> NDArray[np.int32]:
    """Return a model that knows nothing."""
    model = np.full(size, (1 << 20) << 10, np.int32)
    model[:weights] = int(65536 * weight)
    return model


def save(
    name: str,
    parameters: list[int],
    model: NDArray[np.int32],
    weights: int,
    most: int = _SEEN,
) -> None:
    """Write a model as it is kept: chances in 256 steps, counts in a few."""
    slots = model[weights:].astype(np.int64)
    chance = tables()[STRETCH + (slots >> 19)]
    place = np.clip(np.round(chance / _STEP), -128, 127).astype(np.int64) + 128
    seen = slots & 1023
    count = np.select([seen < 2, seen < 8, seen < 30], [0, 4, 15], _SEEN).clip(0, most)
    parts = model[:weights].astype("<i4"), place.astype(np.uint8), count.astype("u1")
    write(
        name,
        cbor2.dumps([parameters, *(zlib.compress(p.tobytes(), 9) for p in parts)]),
    )


def write(name: str, data: bytes) -> None:
    """Write one file of the priors."""
    (_PRIORS / name).write_bytes(data)


def report(name: str, cost: int, count: int) -> None:
    """Say how a model does on what it was trained with."""
    sys.stdout.write(f"{name:15} {cost / 65536 / count:8.3f} bits, {count:,} rows\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()

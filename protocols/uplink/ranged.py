"""A series as range code, by one set of models: what its writer chooses, and back.

    body    heading, times, then column by column

Which clock and which profiles make a series short is tried on its first rows; a
series of what is measured now and then tries the clocks on all of it.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from protocols.uplink import coding
from protocols.uplink import heading as headings
from protocols.uplink.coding import GAPS, NO_END, UNSURE, WORK, code_columns
from protocols.uplink.heading import (
    ANY,
    ANY_CLOCK,
    CAP,
    CLOCK,
    CLOCKS,
    COLUMNS,
    GRID,
    KINDS,
    LONGEST_PERIOD,
    LONGEST_UNIT,
    LOOSE,
    PERIOD,
    PROFILE,
    PROFILES,
    ROWS,
    SCALES,
    START,
    heading,
    must_fit,
)
from protocols.uplink.profiles import SETS, Models
from protocols.uplink.rangecoder import COST, LEARN, READ, WRITE
from protocols.uplink.room import Room, room

I8 = NDArray[np.int64]

KERNELS = heading, code_columns

_SLOW = 900  # seconds from which a period may be that of what is measured now and then
_FEW = 4  # rows below which it does not pay to look for that
_HUNDREDTHS = -2
_INT64, _INT8, _UINT8 = np.dtype(np.int64), np.dtype(np.int8), np.dtype(np.uint8)
_NOTHING = np.zeros(1, _UINT8)
_NO_POWERS, _NONE_TRIED = np.zeros((0, 0), _INT8), np.zeros((0, 0), _INT64)


class _Tried(NamedTuple):
    """Profiles to choose from, as `coding` takes them.

    Attributes:
        models: Which models that takes, as `heading` says it.
        profiles: For columns on a grid of tenths, and for all others.
    """

    models: int
    profiles: I8


def _trying(*names: str) -> _Tried:
    tenths = [name for name in names if name.endswith("mmol")] or [*names]
    others = [name for name in names if not name.endswith("mmol")]
    numbers = np.full((2, len(names) + 1), -1)
    for row, each in zip(numbers, (tenths, others), strict=True):
        row[: len(each) + 1] = [PROFILES.index(name) for name in (*each, "any")]
    models = sum(1 << PROFILES.index(name) for name in (*names, "any"))
    # Beside profiles `coding` compares the clocks, where it is not sure of them.
    for clock in ("clock-regular", "clock-jittery"):
        models |= 1 << (KINDS + CLOCKS.index(clock))
    return _Tried(models, numbers)


_SENSORS = ("cgm", "cgm-smooth", "cgm-mmol")
_METERS = (
    "cgm",
    "glucose",
    "glucose-mmol",
    "systolic",
    "diastolic",
    "mean-pressure",
    "pulse",
)
_REGULAR, _SPOT = _trying(*_SENSORS), _trying(*_METERS)
_EITHER = _trying(*dict.fromkeys(_SENSORS + _METERS))
_WAVES = _trying("cuff", "arterial")


def encode(
    place: Room, table: I8, times: I8, measured: int, models: Models
) -> tuple[bytes | None, bool]:
    """Return a body that a set of models makes shortest; None where it gets too long.

    Args:
        place: Where the columns' scales are already.
        table: As `coding.code_columns` takes it, but for the times.
        times: On their grid.
        measured: As in `series.encode`.
        models: The set.

    Returns:
        Beside it, whether there are other sets of models for such series: for what
        may be measured now and then, and for waveforms in hundredths.
    """
    count, rows = len(table) // 2, table.shape[1]
    fields, second = place.fields, 10 ** -int(place.fields[SCALES + GRID])
    fields[ROWS], fields[COLUMNS], fields[START] = rows, count - 1, int(times[0])
    table[0] = times - times[0]
    clock, period = _clock(table[0])
    work = np.zeros((WORK, rows), _INT64)
    is_slow = rows >= _FEW and period >= _SLOW * second
    if is_slow and clock == UNSURE:
        clock, period = _slow_clock(place, table, work, period, models)
    elif clock == ANY_CLOCK:
        table[0] //= period
    fields[CLOCK], fields[PERIOD] = clock, period
    is_fast = clock == 0 and period <= second
    tried = _tried(clock, rows, is_fast=is_fast, is_slow=is_slow)
    _run_columns(
        *(place, table, work, _NO_POWERS, _NOTHING, models, tried.models),
        measured=measured,
        tried=tried.profiles,
    )
    code = np.empty(64 + rows * 16 * count, _UINT8)
    wanted = place.run(
        heading, WRITE, len(code), fields, place.coder, code, place.tables
    )
    size = _run_columns(place, table, work, _NO_POWERS, code, models, wanted)
    is_spot = is_slow or (rows >= _FEW and clock == ANY_CLOCK)
    grids = fields[SCALES + 4 + GRID : SCALES + 4 * count : 4]
    is_fine = is_fast and rows >= _FEW and _HUNDREDTHS in grids
    return None if size < 0 else code[:size].tobytes(), is_spot or is_fine


def decode(
    place: Room, body: bytes, most: int, models: Models
) -> tuple[I8, NDArray[np.int8]]:
    """Return mantissas and powers of ten, the times' first, shape (columns, rows).

    Raises:
        ValueError: It is damaged, or has no or more than ``most`` rows.
    """
    code = np.frombuffer(bytearray(body or b"\0"), np.uint8)
    wanted = place.run(
        heading, READ, len(body), place.fields, place.coder, code, place.tables
    )
    if wanted < 0:
        raise ValueError(headings.PROBLEMS[wanted])
    rows, columns = int(place.fields[ROWS]), int(place.fields[COLUMNS])
    must_fit(rows, columns, most)
    # Zeros: what a number was before is subtracted from, though for nothing.
    table = np.zeros((columns + 2, rows), _INT64)
    powers = np.empty((columns + 1, rows), _INT8)
    work = np.zeros((WORK, rows), _INT64)
    if problem := _run_columns(place, table, work, powers, code, models, wanted):
        raise ValueError(coding.PROBLEMS[problem])
    return table[: len(powers)], powers


def size(numbers: I8) -> float:
    """Return about how many bytes a column of integers of any kind adds.

    Args:
        numbers: Shape (n,), each at most 2^39 from 0.
    """
    rows = len(numbers)
    table, work = np.zeros((4, rows), _INT64), np.zeros((WORK, rows), _INT64)
    table[1] = numbers
    with room(*KERNELS) as place:
        fields = place.fields
        fields[ROWS], fields[CLOCK], fields[START] = 1, 0, 0
        for at in (SCALES, SCALES + 4):
            fields[at + GRID], fields[at + CAP], fields[at + LOOSE] = 0, 0, 0
        return _cost(place, table, work, 1, SETS[0]) / (8 * 65536)


def _clock(steps: I8) -> tuple[int, int]:
    """Return a column's clock, which may be `UNSURE`, and its period.

    Args:
        steps: The times less the first, on their grid.
    """
    if len(steps) == 1:
        return 0, 0
    taken = steps[1:] - steps[:-1]
    period = int(taken[len(taken) // 2])
    often = int(np.count_nonzero(taken == period))
    near = often
    if often * 8 < len(taken) * 7:
        different, counts = np.unique(taken, return_counts=True)
        period = int(different[counts.argmax()])
        near = int(np.count_nonzero(abs(taken - period) <= period >> 3))
    if 1 <= period <= LONGEST_PERIOD:
        if often == len(taken):
            return 0, period
        if often * 8 >= len(taken) * 7:
            return 1, period
        if near * 2 >= len(taken):
            return UNSURE, period
    return ANY_CLOCK, _unit(steps)


def _unit(steps: I8) -> int:
    """Return what divides all steps, if a clock can say it; else 1."""
    unit = int(np.gcd.reduce(steps[1:] - steps[:-1]))
    return unit if 1 <= unit <= LONGEST_UNIT else 1


def _tried(clock: int, rows: int, *, is_fast: bool, is_slow: bool) -> _Tried:
    """Return the profiles that may fit a clock."""
    if clock == ANY_CLOCK or rows == 1:
        return _SPOT
    if is_slow:
        return _EITHER
    return _WAVES if is_fast else _REGULAR


def _slow_clock(
    place: Room, table: I8, work: I8, period: int, models: Models
) -> tuple[int, int]:
    """Return the clock that is best for all of a series, and its period.

    Times on a grid of minutes, say: which clock is best is learnt late.

    Args:
        place: Where the heading is.
        table: The times less the first in its first row; filled with these times by
            the clock.
        work: Filled with the gaps before them.
        period: That of clocks that have one.
        models: What the clocks stand for.
    """
    fields, steps = place.fields, table[0].copy()
    unit = _unit(steps)
    trials = {}
    for clock, each in ((2, period), (1, period), (ANY_CLOCK, unit)):
        fields[CLOCK], fields[PERIOD] = clock, each
        table[0] = steps // unit if clock == ANY_CLOCK else steps
        trial = np.zeros_like(work)
        cost = _cost(place, table, trial, 0, models)
        trials[cost] = clock, each, table[0].copy(), trial[GAPS]
    clock, period, table[0], work[GAPS] = trials[min(trials)]
    return clock, period


def _cost(place: Room, table: I8, work: I8, columns: int, models: Models) -> int:
    """Return what times and some columns behind them cost, in 1/65536 bits."""
    fields, held = place.fields, place.fields[COLUMNS]
    fields[COLUMNS], fields[SCALES + 4 + PROFILE] = 1, ANY
    wanted = place.run(
        heading, LEARN, NO_END, fields, place.coder, _NOTHING, place.tables
    )
    before, fields[COLUMNS] = int(place.coder[COST]), columns
    _run_columns(place, table, work, _NO_POWERS, _NOTHING, models, wanted)
    fields[COLUMNS] = held
    return int(place.coder[COST]) - before


def _run_columns(  # noqa: PLR0917 - what a kernel takes
    place: Room,
    table: I8,
    work: I8,
    powers: NDArray[np.int8],
    code: NDArray[np.uint8],
    models: Models,
    wanted: int,
    measured: int = -1,
    tried: I8 = _NONE_TRIED,
) -> int:
    """Write or read all columns, or choose; with the models that are wanted."""
    loaded = place.models(models, wanted)
    return place.run(
        code_columns,
        table,
        work,
        powers,
        place.fields,
        measured,
        tried,
        place.coder,
        code,
        place.turns(),
        place.touched,
        place.model,
        loaded.parameters,
        loaded.profiles,
        loaded.clocks,
        place.tables,
        place.context,
        place.memory,
    )

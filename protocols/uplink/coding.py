"""The kernels for all of a series behind its heading, each of one call a series."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from protocols.kernel import inner, kernel
from protocols.uplink import grids
from protocols.uplink.grids import take
from protocols.uplink.heading import (
    ANY,
    ANY_CLOCK,
    CAP,
    CLOCK,
    COLUMNS,
    GRID,
    LOOSE,
    PERIOD,
    PROFILE,
    SCALES,
    START,
)
from protocols.uplink.rangecoder import (
    COST,
    FAULT,
    I4,
    I8,
    MEASURE,
    MODE,
    READ,
    U1,
    begin,
    ended,
    finish,
)
from protocols.uplink.times import FARTHEST, times
from protocols.uplink.values import values

I8s: TypeAlias = NDArray[np.int64] | list[list[int]]
I4s: TypeAlias = NDArray[np.int32] | list[list[int]]
I1s: TypeAlias = NDArray[np.int8] | list[list[int]]

TRIED = 32  # rows on which clocks and profiles are compared
UNSURE = -1  # a clock that may be regular or jittery
_REGULAR, _JITTERY = 1, 2
NO_END = 1 << 62
"""Where a coder stops that only counts bits: never."""
_FAIR = 8 * 65536  # a cost of one number at which a profile is right enough

# The rows of `code_columns`'s work.
GAPS, _BLANK, _LEFT, _TRIAL, WORK = 0, 1, 2, 5, 6

# What is wrong with what was read, by what `code_columns` returns; others are those
# of `grids.PROBLEMS`.
_OUT, _TIME, _END = 101, 102, 103
PROBLEMS = {
    **dict(enumerate(grids.PROBLEMS)),
    _OUT: "a number is out of range",
    _TIME: "a time is out of range",
    _END: "it does not end where its numbers do",
}


@inner
def _tell_times(time: I8, fields: I8) -> bool:
    """Turn what a clock counts to times; return whether all are in range."""
    start, clock = fields[START], fields[CLOCK]
    if abs(start) > FARTHEST:
        return False
    unit = 1 if 0 < clock < ANY_CLOCK else fields[PERIOD]
    for i in range(len(time)):
        time[i] = start + (time[i] if clock > 0 else i) * unit
        if abs(time[i]) > FARTHEST:
            return False
    return True


@inner
def _choose(
    table: I8s,
    work: I8s,
    fields: I8,
    measured: int,
    tried: I8s,
    coder: I8,
    code: U1,
    touched: I8,
    parameters: I8s,
    priors: I4s,
    clocks: I4s,
    tables: I8,
    context: I8,
    memory: I8,
) -> None:
    """Choose by what the first rows of a series would cost.

    Args:
        table: As in `code_columns`, when writing.
        work: Zeros, shape (`WORK`, rows), but for the gaps, where the clock is sure;
            `code_columns` may have it afterwards.
        fields: The heading; its clock is chosen where it is `UNSURE`, and the profile
            of each column.
        measured: For how many columns, from the first; the others are of any kind.
        tried: Which profiles, `ANY` the last, for columns on a grid of tenths, and
            for all others; filled up with -1.
        coder: As in `code_columns`, and so are all others.
        code: Likewise.
        touched: Likewise.
        parameters: Likewise.
        priors: Likewise.
        clocks: Likewise.
        tables: Likewise.
        context: Likewise.
        memory: Likewise.
    """
    gaps, blank = work[GAPS], work[_BLANK]
    rows = min(len(gaps), TRIED)
    side, side_2, trial = blank, blank, work[_TRIAL]
    if fields[CLOCK] == UNSURE:
        time, least = table[0][:rows], -1
        for clock in (_JITTERY, _REGULAR):
            begin(MEASURE, NO_END, coder, code)
            times(
                time,
                gaps,
                fields[PERIOD],
                coder,
                code,
                0,
                touched,
                clocks[clock],
                clocks[clock],
                tables,
                context,
            )
            if least < 0 or coder[COST] <= least:
                fields[CLOCK], least = clock, coder[COST]
    for number in range(1, fields[COLUMNS] + 1):
        at = SCALES + 4 * number
        fields[at + PROFILE] = ANY
        if number > measured:
            continue
        column, least, left = table[number][:rows], -1, work[_LEFT + number % 3]
        for profile in tried[0 if fields[at + GRID] == -1 else 1]:
            if profile < 0 or (profile == ANY and 0 <= least < rows * _FAIR):
                break
            begin(MEASURE, least if least >= 0 else NO_END, coder, code)
            values(
                column,
                gaps,
                side,
                side_2,
                trial,
                parameters[profile],
                coder,
                code,
                0,
                touched,
                priors[profile],
                priors[profile],
                tables,
                context,
                memory,
            )
            if least < 0 or coder[COST] < least:
                fields[at + PROFILE], least = profile, coder[COST]
                for i in range(rows):
                    left[i] = trial[i]
        side, side_2 = left, side


@kernel(
    "i8(i8[:, ::1], i8[:, ::1], i1[:, ::1], i8[::1], i8, i8[:, ::1], i8[::1], u1[::1], "
    "i8, i8[::1], i4[::1], i8[:, ::1], i4[:, ::1], i4[:, ::1], i8[::1], i8[::1], "
    "i8[::1])"
)
def code_columns(
    table: I8s,
    work: I8s,
    powers: I1s,
    fields: I8,
    measured: int,
    tried: I8s,
    coder: I8,
    code: U1,
    turn: int,
    touched: I8,
    model: I4,
    parameters: I8s,
    priors: I4s,
    clocks: I4s,
    tables: I8,
    context: I8,
    memory: I8,
) -> int:
    """Write or read all that follows a heading; or first, choose what it says.

    Args:
        table: The numbers of each column, that of times first, then the exceptions:
            of each column when writing, room for one when reading. Times that are
            written are counted from the first one on, by their clock; what is read
            is mantissas.
        work: Zeros, shape (`WORK`, rows).
        powers: Filled with powers of ten when reading, shape (columns, rows).
        fields: The heading.
        measured: -1 to write or read. Else for how many columns, from the first, a
            profile is to be chosen; the others are of any kind.
        tried: The profiles to choose from, as in `_choose`.
        coder: The coder's state.
        code: The coder's bytes.
        turn: A number above all in ``touched``, as are the 2 * columns after it.
        touched: As in `rangecoder.fetch`.
        model: Room for any model.
        parameters: Of each profile.
        priors: Of each profile.
        clocks: Of each clock.
        tables: The constants.
        context: Room, shape (`rangecoder.CONTEXT`,).
        memory: Room, shape (`values.ROOM`,).

    Returns:
        When writing, how many bytes the series takes; -1 where there is no room. When
        reading, 0 or one of `PROBLEMS`. When choosing, 0.
    """
    if measured >= 0:
        _choose(
            table,
            work,
            fields,
            measured,
            tried,
            coder,
            code,
            touched,
            parameters,
            priors,
            clocks,
            tables,
            context,
            memory,
        )
        return 0
    reading = coder[MODE] == READ
    count, clock = fields[COLUMNS] + 1, fields[CLOCK]
    gaps, blank, time = work[GAPS], work[_BLANK], table[0]
    if clock > 0:
        period = 0 if clock == ANY_CLOCK else fields[PERIOD]
        time[0] = 0
        times(
            time,
            gaps,
            period,
            coder,
            code,
            turn,
            touched,
            model,
            clocks[clock],
            tables,
            context,
        )
        if coder[FAULT] != 0:
            return _OUT if reading else -1
    if reading and not _tell_times(time, fields):
        return _TIME
    side, side_2 = blank, blank
    for number in range(count):
        at = SCALES + 4 * number
        exceptions = table[count] if reading else table[count + number]
        left = work[_LEFT + number % 3]
        if fields[at + LOOSE] > 0:
            turn += 1
            values(
                exceptions,
                blank,
                blank,
                blank,
                left,
                parameters[ANY],
                coder,
                code,
                turn,
                touched,
                model,
                priors[ANY],
                tables,
                context,
                memory,
            )
        if number > 0:
            turn += 1
            values(
                table[number],
                gaps,
                side,
                side_2,
                left,
                parameters[fields[at + PROFILE]],
                coder,
                code,
                turn,
                touched,
                model,
                priors[fields[at + PROFILE]],
                tables,
                context,
                memory,
            )
            side, side_2 = left, side
        if coder[FAULT] != 0:
            return _OUT if reading else -1
        if reading:
            problem = take(
                table[number],
                fields[at + GRID],
                fields[at + CAP],
                fields[at + LOOSE],
                exceptions,
                powers[number],
            )
            if problem > 0:
                return problem
    if reading:
        return 0 if ended(coder, code) else _END
    return finish(coder, code)

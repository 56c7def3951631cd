"""How a column of times is coded: regular with drift and gaps, or of any kind.

A step of exactly one period is one bit. Any other is, where it can be, a number of
periods and a small remainder, less what the clock has drifted so far; else its sign
and its size. Contexts are how long steps were exact, how long they were before the
last that was not, and what the last such step was like.
"""

from protocols.kernel import inner
from protocols.uplink.rangecoder import (
    FAULT,
    I4,
    I8,
    MODE,
    READ,
    SLOTS,
    U1,
    WEIGHTS,
    bits_of,
    fetch,
    flat,
    golomb,
    learnt,
)

FARTHEST = 1 << 46
ON_TIME, ONE_MISSED, GAP, BACK = range(4)

# What is asked of a step that is not exact, by node.
_IS_NEAR = 0
_TREE = 0  # 1 to 63: how many periods, by six bits
_IS_EXACT = 64  # a number of periods
_IS_LATE = 65  # 65 after one period, 66 after a few, 67 after many or backwards
_REST = 68  # 12 for the bits of the remainder, 3 for the two under its highest
_IS_FORWARD = 104
_MANY = 105  # 21 for the bits of many periods
_IS_POSITIVE = 126
_SIZE = 127  # 48 for the bits of any step
_TOP = 175  # 3 for each of 24 numbers of bits
_NODES = 247

_FEW = 64  # periods from which they are coded by their bits
_MOST_BITS = 20  # of periods
_HISTORY, _RATIO, _SIGNS, _LEAD = 96, 192, 27, 17  # contexts of an exact step
_KIND, _BEFORE = 12, 32  # contexts of all others

_GUESSES_EXACT, _GUESSES = 4, 3

WEIGHTS_SIZE = _GUESSES_EXACT + _GUESSES * _NODES
_EXACT = WEIGHTS_SIZE
_OTHER = _EXACT + _HISTORY + _RATIO + _SIGNS + _LEAD
_OTHERS = 1 + _KIND + _BEFORE
MODEL = _OTHER + _OTHERS * _NODES

# The parts of a model, by place, which a column uses only some of.
_EXACT_WEIGHTS, _EXACT_SLOTS, _OTHER_WEIGHTS, _OTHER_SLOTS = range(4)
PLACES = _OTHER_SLOTS + _OTHERS


@inner
def _sized(
    given: int,
    first: int,
    most: int,
    top: int,
    context: I8,
    coder: I8,
    code: U1,
    model: I4,
    tables: I8,
) -> int:
    """Code a number from 0 by its bits, the two under the highest learnt as well."""
    bits = bits_of(given + 1) if coder[MODE] != READ else 0
    found = 0
    while found < most and learnt(
        1 if found < bits else 0,
        first + found,
        _GUESSES,
        context,
        coder,
        code,
        model,
        tables,
    ):
        found += 1
    number, node = 1, top + 3 * min(found, 23)
    for place in range(found - 1, max(found - 3, -1), -1):
        part = ((given + 1) >> place) & 1
        part = learnt(part, node, _GUESSES, context, coder, code, model, tables)
        number = number << 1 | part
        node += 1 + part
    rest = max(found - 2, 0)
    low = flat((given + 1) & ((1 << rest) - 1), rest, coder, code, tables)
    return (number << rest | low) - 1


@inner
def _periods(
    given: int, context: I8, coder: I8, code: U1, model: I4, tables: I8
) -> int:
    """Code how many periods a step has: 1 to 63 as a tree, any other by its bits."""
    few = given if 0 < given < _FEW else 0
    node = 1
    for place in range(5, -1, -1):
        part = (few >> place) & 1
        part = learnt(part, _TREE + node, _GUESSES, context, coder, code, model, tables)
        node = node << 1 | part
    if node > _FEW:
        return node - _FEW
    forward = 1 if given > 0 else 0
    forward = learnt(
        forward, _IS_FORWARD, _GUESSES, context, coder, code, model, tables
    )
    many = given - _FEW if given > 0 else -given - 1
    many = golomb(
        many,
        _MANY,
        _MOST_BITS,
        _MOST_BITS,
        _GUESSES,
        context,
        coder,
        code,
        model,
        tables,
    )
    return many + _FEW if forward else -many - 1


@inner
def _rest(
    given: int, periods: int, context: I8, coder: I8, code: U1, model: I4, tables: I8
) -> int:
    """Code what a step has beside its periods; one period has always something."""
    if periods != 1 and learnt(
        1 if given == 0 else 0, _IS_EXACT, _GUESSES, context, coder, code, model, tables
    ):
        return 0
    kind = 0 if periods == 1 else (1 if 0 < periods < _FEW else 2)
    late = 1 if given > 0 else 0
    late = learnt(late, _IS_LATE + kind, _GUESSES, context, coder, code, model, tables)
    size = 1 + _sized(
        abs(given) - 1, _REST, 12, _REST + 12, context, coder, code, model, tables
    )
    return size if late else -size


@inner
def _any(given: int, context: I8, coder: I8, code: U1, model: I4, tables: I8) -> int:
    """Code a step of any length."""
    positive = 1 if given >= 0 else 0
    positive = learnt(
        positive, _IS_POSITIVE, _GUESSES, context, coder, code, model, tables
    )
    size = given if given >= 0 else -given - 1
    size = _sized(size, _SIZE, 47, _TOP, context, coder, code, model, tables)
    return size if positive else -size - 1


@inner
def _other(place: int, turn: int, touched: I8, model: I4, prior: I4) -> int:
    """Return where a context of any other step starts; fetch it."""
    start = _OTHER + _NODES * place
    fetch(start, _NODES, _OTHER_SLOTS + place, turn, touched, model, prior)
    return start


@inner
def times(
    column: I8,
    gaps: I8,
    period: int,
    coder: I8,
    code: U1,
    turn: int,
    touched: I8,
    model: I4,
    prior: I4,
    tables: I8,
    context: I8,
) -> None:
    """Write, read or measure times, of which the first is known.

    Args:
        column: The times, shape (n,), each at most `FARTHEST` from 0; filled from
            the second on when reading.
        gaps: Filled with what is before each, shape (n,): `ON_TIME`, `ONE_MISSED`,
            `GAP` or `BACK`; all `ON_TIME` without a period.
        period: The usual step, 1 to 2^31; 0 is none.
        coder: The coder's state; its fault becomes 2 where a time lies too far.
        code: The coder's bytes.
        turn: As in `rangecoder.fetch`.
        touched: Likewise, shape (`PLACES`,).
        model: What is learnt, shape (`MODEL`,).
        prior: What it starts with.
        tables: The constants.
        context: Room, shape (`rangecoder.CONTEXT`,).
    """
    history, run, before = 7, 0, 40
    signs, sign, kind, size = 1, 0, 1, 0
    drift, span = 0, 0
    fetch(0, _GUESSES_EXACT, _EXACT_WEIGHTS, turn, touched, model, prior)
    fetch(_EXACT, _OTHER - _EXACT, _EXACT_SLOTS, turn, touched, model, prior)
    for i in range(1, len(column)):
        step = column[i] - column[i - 1]
        if period > 0:
            ratio = min(run * 8 // (before + 1), 15)
            context[WEIGHTS] = 0
            context[SLOTS] = _EXACT + history * 12 + min(bits_of(run + 1), 11)
            context[SLOTS + 1] = (
                _EXACT + _HISTORY + ratio * 12 + min(bits_of(before + 1), 11)
            )
            context[SLOTS + 2] = (
                _EXACT + _HISTORY + _RATIO + signs * 9 + (sign + 1) * 3 + min(kind, 2)
            )
            context[SLOTS + 3] = _OTHER - _LEAD + min(max(run - before, -8), 8) + 8
            exact = 1 if step == period else 0
            if learnt(exact, 0, _GUESSES_EXACT, context, coder, code, model, tables):
                column[i] = column[i - 1] + period
                gaps[i] = ON_TIME
                history = (history << 1 | 1) & 7
                run, signs, kind, size, span = run + 1, 1, 1, 0, span + 1
                continue
            history = history << 1 & 7
        context[WEIGHTS] = _GUESSES_EXACT
        fetch(
            _GUESSES_EXACT,
            _EXACT - _GUESSES_EXACT,
            _OTHER_WEIGHTS,
            turn,
            touched,
            model,
            prior,
        )
        context[SLOTS] = _other(0, turn, touched, model, prior)
        context[SLOTS + 1] = _other(
            1 + min(kind, 3) * 3 + sign + 1, turn, touched, model, prior
        )
        context[SLOTS + 2] = _other(
            1 + _KIND + min(size, 31), turn, touched, model, prior
        )
        periods, expected, rest, near = 0, 0, 0, 0
        if period > 0:
            periods = (step + (period >> 1)) // period
            few = 0 < periods < _FEW
            expected = 0 if few else periods * drift // (span + 16)
            rest = step - periods * period - expected
            near = 1 if 0 < abs(periods) < 1 << _MOST_BITS else 0
            if abs(rest) > min(period >> 3 if few else period >> 5, 4094):
                near = 0
            if periods == 1 and rest == 0:
                near = 0
            near = learnt(near, _IS_NEAR, _GUESSES, context, coder, code, model, tables)
        if near:
            periods = _periods(periods, context, coder, code, model, tables)
            rest = _rest(rest, periods, context, coder, code, model, tables)
            few = 0 < periods < _FEW
            expected = 0 if few else periods * drift // (span + 16)
            step = periods * period + expected + rest
            if few:
                drift, span = drift + rest, span + periods
                run += periods - 1
            late = 1 if rest > 0 else (-1 if rest < 0 else 0)
            if rest != 0:
                sign = late
                if periods == 1:
                    run, before = 0, run
            signs, size = late + 1, min(bits_of(abs(rest) + 1), 5)
            kind = min(periods, 3) if few else 0
        else:
            step = _any(step, context, coder, code, model, tables)
            signs, kind = 1, 0
            size = 6 + min(bits_of(abs(step) + 1), 25) if period == 0 else 5
        column[i] = column[i - 1] + step
        if abs(column[i]) > FARTHEST:
            coder[FAULT] = 2
            return
        gaps[i] = ON_TIME
        if period > 0 and kind != 1:
            gaps[i] = BACK if step <= 0 else (ONE_MISSED if kind == 2 else GAP)

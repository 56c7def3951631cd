"""How a column of numbers is coded: readings, waveforms, or whatever is counted.

Each number is predicted from those before it (last steps, running mean, a second
stage that learns what the first one left) and from the other values of its row. What
is left is coded as sign, quotient and low bits, each by eight contexts: how large the
last remainders were, what they were, gaps, level, steps, where between two integers
the prediction fell, and the remainder beside it.
"""

from itertools import accumulate

from protocols.kernel import inlined, inner
from protocols.uplink.rangecoder import (
    COST,
    END,
    FAULT,
    I4,
    I8,
    SLOTS,
    U1,
    WEIGHTS,
    bits_of,
    fetch,
    flat,
    golomb,
    learnt,
)
from protocols.uplink.times import BACK

LARGEST = 1 << 40

# What a profile says, by place.
(
    ORDER,  # steps that the first stage looks at, 0 to 16
    SECOND,  # remainders that the second stage looks at, 0 to 32
    RATE,  # how fast the second stage learns, in 1/65536
    MEAN,  # what is expected of the first number
    PULL,  # how far it is drawn to the running mean, in 1/65536
    SIDE,  # how far the column before draws it, in 1/256
    SIDE_2,  # and the one before that
    LOW,  # below, and
    HIGH,  # above this, numbers stand for "too low" and "too high"
    STEP,  # width of a level
    FIRST,  # low bits of the first number
    SPREAD,  # how large remainders are at first, in 1/16
    MOST,  # how large one is taken at most
    FINE,  # how many low bits fewer than the remainders' size
    GAP_BITS,  # low bits more after a gap
    TRUST,  # how many numbers the first mean counts for
    COEFFICIENTS,  # of the steps, in 1/65536
) = range(17)
PROFILE = COEFFICIENTS + 16
ROOM = 96  # 16 last steps, from 32 on 32 last remainders, from 64 on their weights

_NODES = 44
_IS_POSITIVE, _UP, _DOWN, _LOW_BIT, _ESCAPE, _IS_UP, _IS_SAME = 0, 1, 15, 29, 32, 42, 43
_UNARY, _ESCAPE_BITS = 14, 10
_GUESSES = 8
_SETS = 5  # of weights
_SIZES = (256, 338, 144, 128, 169, 192, 208, 156)  # contexts of each guess
_SET = _NODES * _GUESSES
WEIGHTS_SIZE = _SETS * _SET
_C0, _C1, _C2, _C3, _C4, _C5, _C6, _C7, MODEL = accumulate(
    (WEIGHTS_SIZE, *(size * _NODES for size in _SIZES))
)
PLACES = _SETS + (MODEL - WEIGHTS_SIZE) // _NODES
"""The parts of a model: sets of weights and contexts, of which a column uses some."""


@inlined
def _scale(size: int) -> int:
    """Return 0 to 15 for a mean remainder in 1/16, two for each doubling."""
    bits = bits_of(size + 1)
    half = ((size + 1) >> (bits - 1)) & 1 if bits > 0 else 0
    return min(max(2 * bits + half - 1, 0), 15)


@inlined
def _class(number: int) -> int:
    """Return 0 to 12 by sign and size, finer near 0, which is 6."""
    size = abs(number)
    if size >= 14:
        size = 6
    elif size >= 8:
        size = 5
    elif size >= 5:
        size = 4
    elif size >= 3:
        size = 3
    return 6 + size if number >= 0 else 6 - size


@inner
def _remainder(
    given: int, low: int, context: I8, coder: I8, code: U1, model: I4, tables: I8
) -> int:
    """Code a remainder: whether there is one, its sign, quotient and ``low`` bits."""
    size = given if given >= 0 else -given - 1
    if low == 0:
        same = 1 if given == 0 else 0
        if learnt(same, _IS_SAME, _GUESSES, context, coder, code, model, tables):
            return 0
        size, up, node = abs(given) - 1, 1 if given > 0 else 0, _IS_UP
    else:
        up, node = 1 if given >= 0 else 0, _IS_POSITIVE
    up = learnt(up, node, _GUESSES, context, coder, code, model, tables)
    first = _UP if up else _DOWN
    quotient = size >> low
    found = 0
    while found < _UNARY and learnt(
        1 if quotient > found else 0,
        first + found,
        _GUESSES,
        context,
        coder,
        code,
        model,
        tables,
    ):
        found += 1
    if found == _UNARY:
        left = quotient - _UNARY
        found += golomb(
            left,
            _ESCAPE,
            _ESCAPE_BITS,
            42 - low,
            _GUESSES,
            context,
            coder,
            code,
            model,
            tables,
        )
    if low > 0:
        node = _LOW_BIT + min(found, 2)
        part = (size >> (low - 1)) & 1
        part = learnt(part, node, _GUESSES, context, coder, code, model, tables)
        rest = size & ((1 << (low - 1)) - 1)
        found = found << 1 | part
        found = found << (low - 1) | flat(rest, low - 1, coder, code, tables)
        return found if up else -found - 1
    return found + 1 if up else -found - 1


@inner
def _fetch_contexts(context: I8, turn: int, touched: I8, model: I4, prior: I4) -> None:
    """Have in the model what a number is coded with."""
    start = context[WEIGHTS]
    fetch(start, _SET, start // _SET, turn, touched, model, prior)
    for guess in range(_GUESSES):
        start = context[SLOTS + guess]
        place = _SETS + (start - WEIGHTS_SIZE) // _NODES
        fetch(start, _NODES, place, turn, touched, model, prior)


@inner
def values(
    column: I8,
    gaps: I8,
    side: I8,
    side_2: I8,
    left: I8,
    profile: I8,
    coder: I8,
    code: U1,
    turn: int,
    touched: I8,
    model: I4,
    prior: I4,
    tables: I8,
    context: I8,
    memory: I8,
) -> None:
    """Write, read or measure a column of numbers.

    Args:
        column: The numbers, shape (n,), each at most `LARGEST` from 0; filled when
            reading.
        gaps: What is before each, shape (n,), as `times` told.
        side: What was ``left`` of the column before, shape (n,); zeros without one.
        side_2: And of the one before that.
        left: Filled with each number less its prediction, shape (n,).
        profile: What is known of such numbers, shape (`PROFILE`,).
        coder: The coder's state; its fault becomes 2 where a number is too large.
        code: The coder's bytes.
        turn: As in `rangecoder.fetch`.
        touched: Likewise, shape (`PLACES`,).
        model: What is learnt, shape (`MODEL`,).
        prior: What it starts with.
        tables: The constants.
        context: Room, shape (`rangecoder.CONTEXT`,).
        memory: Room, shape (`ROOM`,).
    """
    order, second = profile[ORDER], profile[SECOND]
    mean, trust = profile[MEAN] * 256, profile[TRUST]
    last, left1, left2, after = profile[MEAN], 0, 0, 0
    fast, slow = profile[SPREAD], profile[SPREAD]
    for k in range(ROOM):
        memory[k] = 0
    for i in range(len(column)):
        gap = gaps[i] if i > 0 else BACK
        first = 0
        if gap == 0 and profile[LOW] <= last <= profile[HIGH]:
            for k in range(order):
                first += profile[COEFFICIENTS + k] * memory[k]
        more, energy = 0, 1
        for k in range(second):
            more += memory[64 + k] * memory[32 + k]
            energy += memory[32 + k] * memory[32 + k]
        first = last * 256 + (first >> 8)
        more >>= 8
        expected = first + more
        expected += (((mean - last * 256) >> 8) * profile[PULL]) >> 8
        expected += profile[SIDE] * side[i] + profile[SIDE_2] * side_2[i]
        both = (fast + slow) >> 5
        low = max(bits_of(both) - profile[FINE], 0)
        if gap > 1:
            low += profile[GAP_BITS]
        if i == 0:
            low = profile[FIRST]
        low = min(low, 30)
        whole = (expected + 128) >> 8 if low == 0 else expected >> 8
        part = (expected + 128 & 255) >> 4 if low == 0 else (expected & 255) >> 4
        quick, calm = _scale(fast), _scale(slow)
        size = min((quick + calm) >> 1, 11)
        level = 1 + min(max((last - profile[LOW]) // profile[STEP], 0), 13)
        if last < profile[LOW]:
            level = 0
        elif last > profile[HIGH]:
            level = 15
        beside = (
            (side[i] >> low)
            if profile[SIDE] != 0
            else ((more >> (8 + low)) if second > 0 else (memory[2] >> low))
        )
        step = _class(memory[0] >> low)
        context[WEIGHTS] = _SET * (0 if gap > 0 else 1 + min(max(size - 3, 0) >> 1, 3))
        context[SLOTS] = _C0 + (quick * 16 + calm) * _NODES
        context[SLOTS + 1] = (
            _C1
            + (
                (_class(left1 >> low) * 13 + _class(left2 >> low)) * 2
                + (1 if low > 0 else 0)
            )
            * _NODES
        )
        context[SLOTS + 2] = _C2 + ((gap * 3 + after) * 12 + size) * _NODES
        context[SLOTS + 3] = (
            _C3 + ((level * 4 + (part >> 2)) * 2 + (1 if calm > 7 else 0)) * _NODES
        )
        context[SLOTS + 4] = _C4 + (step * 13 + _class(memory[1] >> low)) * _NODES
        context[SLOTS + 5] = _C5 + (part * 12 + size) * _NODES
        context[SLOTS + 6] = _C6 + (step * 16 + calm) * _NODES
        context[SLOTS + 7] = _C7 + (_class(beside) * 12 + size) * _NODES
        _fetch_contexts(context, turn, touched, model, prior)
        given = column[i] - whole
        remainder = _remainder(given, low, context, coder, code, model, tables)
        if coder[COST] > coder[END]:
            return
        number = whole + remainder
        if abs(number) > LARGEST:
            coder[FAULT] = 2
            return
        column[i] = number
        left[i] = number - ((expected + 128) >> 8)
        if i > 0:
            missed = min(max(number * 256 - expected, -(1 << 28)), 1 << 28)
            gain = (profile[RATE] * missed * 4096) // energy
            for k in range(second):
                weight = memory[64 + k] + ((gain * memory[32 + k]) >> 20)
                memory[64 + k] = min(max(weight, -(1 << 24)), 1 << 24)
            for k in range(second - 1, 0, -1):
                memory[32 + k] = memory[31 + k]
            ahead = (number * 256 - first) >> 8
            memory[32] = min(max(ahead, -(1 << 20)), 1 << 20)
            for k in range(max(order, 3) - 1, 0, -1):
                memory[k] = memory[k - 1] if gap == 0 else 0
            step = number - last if gap == 0 else 0
            memory[0] = min(max(step, -(1 << 20)), 1 << 20)
            error = min(abs(remainder), profile[MOST]) * 16
            fast += (error - fast) >> 2
            slow += (error - slow) >> 4
            after = min(gap, 2)
        trust = min(trust + 1, 1000)
        mean += (number * 256 - mean) // trust
        left1, left2 = remainder, left1
        last = number

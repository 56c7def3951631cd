"""A range coder of bits, and the learning models that say how likely each is.

The coder narrows an interval of 32 bits by each bit's probability and writes the
top byte whenever both ends agree on it. The same function writes, reads and
measures, so that encoder and decoder can't grow apart:

    given = what to write, or anything when reading
    found = bit(given, ...)          is the bit, whichever way

A learnt bit has up to eight guesses, each from a table slot that its own context
chose. The guesses are mixed in the logistic domain, and both the slots and the
weights of the mixture learn from the bit. All of it is integer arithmetic, so that
every machine gives the same bytes; ``docs/reference/uplink.md`` has the formulas.

Source: the logistic mixing of M. Mahoney, "Adaptive weighing of context models for
lossless data compression" (Florida Tech, CS-2005-16), and the range coding of G. N. N.
Martin (1979), in 32 bits without carry.
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from protocols.kernel import inlined, inner

# Compiled kernels take arrays; plain ones are four times as fast on lists.
I8: TypeAlias = NDArray[np.int64] | list[int]
I4: TypeAlias = NDArray[np.int32] | list[int]
U1: TypeAlias = NDArray[np.uint8] | list[int]

# The coder's state, by place.
MODE, LOW, HIGH, AT, END, CODE, COST, FAULT = range(8)
STATE = 8
MEASURE, LEARN, WRITE, READ = range(4)  # the first two count bits; the first only that

# Where the constants start in the array of tables, and how many these are.
SQUASH, STRETCH, COSTS, PACE, HASTE, TABLES = 0, 6144, 10240, 14337, 15361, 15362

# What a learnt bit is told, by place: where the mixture's weights and the guesses'
# slots start in the model; then room for the guesses.
WEIGHTS, SLOTS, HEARD = 0, 1, 9
CONTEXT = 17
_HEAVIEST = 1 << 21  # 32.0
_PLACES = (1 << 24) - 1  # more than any model has


@inner
def begin(mode: int, end: int, coder: I8, code: U1) -> None:
    """Have a coder start.

    Args:
        mode: `MEASURE`, `LEARN`, `WRITE` or `READ`.
        end: How many bytes there are to read, or is room for; or the cost in 1/65536
            bits from which on `values` may give up.
        coder: The coder's state, shape (`STATE`,).
        code: What is to be read, or room.
    """
    coder[MODE], coder[LOW], coder[HIGH], coder[AT] = mode, 0, 0xFFFF_FFFF, 0
    coder[END], coder[CODE], coder[COST], coder[FAULT] = end, 0, 0, 0
    for at in range(4):
        byte = int(code[at]) if mode == READ and at < end else 0
        coder[CODE] = coder[CODE] << 8 | byte


@inlined
def bit(given: int, odds: int, coder: I8, code: U1, tables: I8) -> int:
    """Write, read or measure one bit that is 1 with ``odds`` in 65536."""
    if coder[MODE] <= LEARN:
        coder[COST] += tables[COSTS + ((odds if given else 65536 - odds) >> 4)]
        return given
    span = coder[HIGH] - coder[LOW]
    middle = coder[LOW] + (span >> 16) * odds + (((span & 0xFFFF) * odds) >> 16)
    found = given
    if coder[MODE] == READ:
        found = 1 if coder[CODE] <= middle else 0
    if found:
        coder[HIGH] = middle
    else:
        coder[LOW] = middle + 1
    while (coder[LOW] ^ coder[HIGH]) & 0xFF000000 == 0:
        if coder[MODE] == READ:
            coder[CODE] = (coder[CODE] << 8) & 0xFFFFFFFF
            if coder[AT] + 4 < coder[END]:
                coder[CODE] |= int(code[coder[AT] + 4])
        elif coder[AT] < coder[END]:
            code[coder[AT]] = coder[HIGH] >> 24
        else:
            coder[FAULT] = 1  # it got longer than there is room
        coder[AT] += 1
        coder[LOW] = (coder[LOW] << 8) & 0xFFFFFFFF
        coder[HIGH] = ((coder[HIGH] << 8) & 0xFFFFFFFF) | 255
    return found


@inner
def flat(given: int, bits: int, coder: I8, code: U1, tables: I8) -> int:
    """Code a number of ``bits`` bits, all equally likely, the highest first."""
    found = 0
    for place in range(bits - 1, -1, -1):
        found = found << 1 | bit((given >> place) & 1, 32768, coder, code, tables)
    return found


@inner
def fetch(
    start: int, size: int, place: int, turn: int, touched: I8, model: I4, prior: I4
) -> None:
    """Copy a part of a model from its prior, where this column has not used it yet.

    A column touches some hundred contexts of thousands, and a copy of all of them
    would take longer than most columns.

    Args:
        start: Where the part starts.
        size: How many numbers it has.
        place: The part's own place in ``touched``.
        turn: The number of the column; 0 where the model is to stay as it is.
        touched: The last column that used each part.
        model: What this column learns.
        prior: What it starts with, of the same shape.
    """
    if touched[place] < turn:
        touched[place] = turn
        for at in range(start, start + size):
            model[at] = prior[at]


@inner
def learnt(
    given: int,
    node: int,
    guesses: int,
    context: I8,
    coder: I8,
    code: U1,
    model: I4,
    tables: I8,
) -> int:
    """Code a bit as likely as the model has learnt, and let the model learn it.

    Args:
        given: The bit.
        node: Which question it answers; counts from the start of each context.
        guesses: How many contexts there are, at most 8.
        context: As `WEIGHTS` to `CONTEXT` say.
        coder: The coder's state.
        code: The coder's bytes.
        model: The mixtures' weights in 1/65536, and the slots: 21 bits of
            probability of a 1 over 10 bits of how often it was asked.
        tables: As `SQUASH` to `TABLES` say.
    """
    # The masks change nothing, but tell a compiler that no place is below 0.
    weights = (context[WEIGHTS] + node * guesses) & _PLACES
    mixed = 0
    for guess in range(guesses):
        chance = model[(context[SLOTS + guess] + node) & _PLACES] >> 19
        heard = tables[STRETCH + (chance & 4095)]
        context[HEARD + guess] = heard
        mixed += model[weights + guess] * heard
    mixed = min(max((mixed >> 16) + 3072, 0), 6143)
    odds = tables[SQUASH + mixed]
    found = bit(given, odds, coder, code, tables)
    if coder[MODE] == MEASURE:
        return found
    error = ((65536 if found else 0) - odds) * tables[HASTE]
    aim = 2097151 if found else 0
    for guess in range(guesses):
        weight = model[weights + guess]
        weight += (context[HEARD + guess] * error + 131072) >> 18
        model[weights + guess] = min(max(weight, -_HEAVIEST), _HEAVIEST)
        slot = (context[SLOTS + guess] + node) & _PLACES
        held = model[slot]
        seen = held & 1023
        chance = held >> 10
        chance += ((aim - chance) * tables[PACE + seen]) >> 16
        model[slot] = chance << 10 | min(seen + 1, 1023)
    return found


@inner
def bits_of(number: int) -> int:
    """Return the floor of the binary logarithm of ``number``; 0 for 0 too."""
    bits = 0
    for half in (32, 16, 8, 4, 2, 1):
        if number >> half > 0:
            number >>= half
            bits += half
    return bits


@inner
def golomb(
    given: int,
    first: int,
    nodes: int,
    most: int,
    guesses: int,
    context: I8,
    coder: I8,
    code: U1,
    model: I4,
    tables: I8,
) -> int:
    """Code a number from 0: how many bits one more has, learnt, then these, flat.

    Args:
        given: The number, below 2^most.
        first: The node of the first question.
        nodes: How many nodes there are; the last serves all questions from there on.
        most: How many bits it may have.
        guesses: As in `learnt`.
        context: Likewise.
        coder: Likewise.
        code: Likewise.
        model: Likewise.
        tables: Likewise.
    """
    bits = bits_of(given + 1) if coder[MODE] != READ else 0
    found = 0
    while found < most and learnt(
        1 if found < bits else 0,
        first + min(found, nodes - 1),
        guesses,
        context,
        coder,
        code,
        model,
        tables,
    ):
        found += 1
    low = (given + 1) & ((1 << found) - 1)
    return ((1 << found) | flat(low, found, coder, code, tables)) - 1


@inner
def finish(coder: I8, code: U1) -> int:
    """Write the fewest bytes that say which interval is meant.

    Bytes beyond the last count as zeros, so zeros at the end are left out.

    Returns:
        How many bytes ``code`` holds; -1 where there was no room.
    """
    at = coder[AT]
    if coder[LOW] > 0:
        if at >= coder[END]:
            return -1
        code[at] = _last(coder[LOW])
        at += 1
    if coder[FAULT] != 0 or at > coder[END]:
        return -1
    while at > 0 and code[at - 1] == 0:
        at -= 1
    return at


@inner
def ended(coder: I8, code: U1) -> bool:
    """Whether the bytes read are the very ones `finish` would have written."""
    end, most, last = coder[END], coder[AT], 0
    if coder[LOW] > 0:
        most, last = most + 1, _last(coder[LOW])
    if coder[CODE] != last << 24 or end > most:
        return False
    return end == 0 or code[end - 1] != 0


@inner
def _last(low: int) -> int:
    # The interval's ends differ in their highest byte, so one more byte names it.
    return (low + 0xFFFFFF) >> 24

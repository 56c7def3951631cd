"""The kernel for a series' heading: how many rows, which clock, which grids."""

from protocols.kernel import inner, kernel
from protocols.uplink.rangecoder import (
    I8,
    MODE,
    READ,
    U1,
    begin,
    bit,
    bits_of,
    flat,
)

# What the heading says, by place.
(
    ROWS,
    COLUMNS,  # of values
    CLOCK,  # 0 even, 1 regular, 2 jittery, 3 any
    PERIOD,  # the usual step of a clock but the last, whose it is that all steps share
    START,  # the first time, on its grid
) = range(5)
SCALES = 5  # from here on four for each column, the times' first:
GRID, CAP, LOOSE, PROFILE = range(4)  # power of ten, highest power, exceptions, profile
MOST_COLUMNS = 64
FIELDS = SCALES + 4 * (1 + MOST_COLUMNS)

# Numbers in messages never change their meaning; better models make a new set.
CLOCKS = ("clock-even", "clock-regular", "clock-jittery", "clock-any")
PROFILES = (
    "cgm",
    "cgm-smooth",
    "cgm-mmol",
    "glucose",
    "glucose-mmol",
    "systolic",
    "diastolic",
    "mean-pressure",
    "pulse",
    "cuff",
    "arterial",
    "any",
)
ANY, ANY_CLOCK = PROFILES.index("any"), CLOCKS.index("clock-any")
KINDS = len(PROFILES)
LONGEST_PERIOD, LONGEST_UNIT = (1 << 31) - 1, (1 << 15) - 1

# What is wrong with a heading, by what `heading` returns.
PROBLEMS = {
    -1: "a number is out of range",
    -2: "its profile is unknown here",
    -3: "its clock has a period out of range",
}

_OURS, _HALF = 63488, 32768


def must_fit(rows: int, columns: int, most: int) -> None:
    """Refuse more rows or columns of values than there may be, before room is made.

    Raises:
        ValueError: There are more, or none.
    """
    if not 1 <= rows <= most:
        raise ValueError(f"it has {rows} rows")
    if not 1 <= columns <= MOST_COLUMNS:
        raise ValueError(f"it has {columns} columns of values")


@inner
def _number(given: int, most: int, coder: I8, code: U1, tables: I8) -> int:
    """Code a number from 0 of which nothing is known, of at most ``most`` bits."""
    bits = bits_of(given + 1) if coder[MODE] != READ else 0
    found = 0
    while found < most and _usual(
        1 if found < bits else 0, 1, _HALF, coder, code, tables
    ):
        found += 1
    low = (given + 1) & ((1 << found) - 1)
    return (1 << found | flat(low, found, coder, code, tables)) - 1


@inner
def _usual(given: int, usual: int, odds: int, coder: I8, code: U1, tables: I8) -> int:
    """Code whether a number is the usual one, with ``odds`` in 65536."""
    return bit(1 if given == usual else 0, odds, coder, code, tables)


@inner
def _rows(given: int, coder: I8, code: U1, tables: I8) -> int:
    if _usual(given, 1, 16384, coder, code, tables):
        return 1
    bits = bits_of(given)
    if _usual(given, 1 << bits, 49152, coder, code, tables):
        return 1 << flat(bits, 4, coder, code, tables)
    return _number(given, 14, coder, code, tables)


@inner
def _period(given: int, clock: int, coder: I8, code: U1, tables: I8) -> int:
    if _usual(given, 1 if clock == 3 else 300, _HALF, coder, code, tables):
        return 1 if clock == 3 else 300
    if _usual(given, 60 if clock == 3 else 900, _HALF, coder, code, tables):
        return 60 if clock == 3 else 900
    return _number(given, 31, coder, code, tables)


@inner
def _start(given: int, coder: I8, code: U1, tables: I8) -> int:
    negative = bit(1 if given < 0 else 0, 2048, coder, code, tables)
    size = abs(given)
    bits = bits_of(size) + 1 if size > 0 else 0
    if _usual(bits, 31, 49152, coder, code, tables):
        bits = 31
    else:
        bits = flat(bits, 6, coder, code, tables)
    if bits == 0:
        return 0
    low = flat(size & ((1 << (bits - 1)) - 1), bits - 1, coder, code, tables)
    size = 1 << (bits - 1) | low
    return -size if negative else size


@inner
def _scale(fields: I8, at: int, coder: I8, code: U1, tables: I8) -> None:
    plain = (
        1 if fields[at + LOOSE] == 0 and fields[at + GRID] == fields[at + CAP] else 0
    )
    whole = 1 if plain and fields[at] == 0 else 0
    if bit(whole, 57344, coder, code, tables):
        fields[at + GRID], fields[at + CAP], fields[at + LOOSE] = 0, 0, 0
        return
    tenths = 1 if plain and fields[at] == -1 else 0
    if bit(tenths, _HALF, coder, code, tables):
        fields[at + GRID], fields[at + CAP], fields[at + LOOSE] = -1, -1, 0
        return
    fields[at + GRID] = -flat(-fields[at + GRID], 5, coder, code, tables)
    fields[at + CAP] = flat(fields[at + CAP] + 32, 6, coder, code, tables) - 32
    fields[at + LOOSE] = flat(fields[at + LOOSE], 1, coder, code, tables)


@kernel("i8(i8, i8, i8[::1], i8[::1], u1[::1], i8[::1])")
def heading(mode: int, end: int, fields: I8, coder: I8, code: U1, tables: I8) -> int:
    """Start to write or read a series, with its heading.

    Args:
        mode: `WRITE` or `READ`.
        end: How many bytes there are to read, or is room for.
        fields: What it says, shape (`FIELDS`,); filled when reading.
        coder: The coder's state.
        code: The coder's bytes.
        tables: The constants.

    Returns:
        The models that the series is made with: bit n is that of the profile n, bit
        `KINDS` + n of the clock n. Below 0 is one of `PROBLEMS`.
    """
    begin(mode, end, coder, code)
    # 31 of 32 codes are series of this version: all whose first byte is below f8.
    if not bit(1, _OURS, coder, code, tables):
        return -1
    fields[ROWS] = _rows(fields[ROWS], coder, code, tables)
    if _usual(fields[COLUMNS], 1, 61440, coder, code, tables):
        fields[COLUMNS] = 1
    else:
        fields[COLUMNS] = _number(fields[COLUMNS] - 2, 6, coder, code, tables) + 2
    fields[CLOCK] = fields[CLOCK] if mode != READ else 0
    fields[PERIOD] = fields[PERIOD] if mode != READ else 0
    if fields[ROWS] > 1:
        if _usual(fields[CLOCK], 1, _HALF, coder, code, tables):
            fields[CLOCK] = 1
        else:
            fields[CLOCK] = flat(fields[CLOCK], 2, coder, code, tables)
        fields[PERIOD] = _period(fields[PERIOD], fields[CLOCK], coder, code, tables)
        longest = LONGEST_UNIT if fields[CLOCK] == ANY_CLOCK else LONGEST_PERIOD
        if not 1 <= fields[PERIOD] <= longest:
            return -3
    if fields[COLUMNS] > MOST_COLUMNS:
        return -1
    fields[START] = _start(fields[START], coder, code, tables)
    models = 1 << (KINDS + fields[CLOCK]) if fields[CLOCK] > 0 else 0
    for column in range(fields[COLUMNS] + 1):
        at = SCALES + 4 * column
        _scale(fields, at, coder, code, tables)
        if column > 0:
            if _usual(fields[at + PROFILE], 0, 49152, coder, code, tables):
                fields[at + PROFILE] = 0
            else:
                fields[at + PROFILE] = flat(
                    fields[at + PROFILE], 4, coder, code, tables
                )
            if fields[at + PROFILE] >= KINDS:
                return -2
            models |= 1 << fields[at + PROFILE]
        models |= fields[at + LOOSE] << ANY
    return models

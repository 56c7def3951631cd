"""A series as packed bits, for a processor too weak for the range coder.

    body    = fe rows columns scale{columns + 1} column{…}
    rows    varint, columns (of values) u8
    scale   u8: 0 for a grid and a cap of 0; else 1, or 3 with a column of exceptions
            before its own, then grid and cap, i8 each
    column  first, usual, width, patches, bits, patch{patches}
    first   varint, zigzag; usual likewise: the step that is expected
    width   u8, 0 to 63
    bits    of each row but the first its step less the usual, zigzag, the low ``width``
            bits, lowest bit first; filled up to a byte
    patch   varint: rows since the last patch (or the first row); varint: what is above
            ``width`` bits, never 0

A varint is seven bits a byte, lowest first (LEB128). Source of the scheme: patched
frame of reference, M. Zukowski et al., ICDE 2006.
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from protocols.kernel import inner, kernel
from protocols.uplink import grids
from protocols.uplink.grids import HIGHEST, LOWEST, take
from protocols.uplink.heading import CAP, GRID, LOOSE, SCALES
from protocols.uplink.rangecoder import bits_of

# Compiled kernels take arrays; plain ones are four times as fast on lists.
I8: TypeAlias = NDArray[np.int64] | list[int]
U1: TypeAlias = NDArray[np.uint8] | list[int]
I8s: TypeAlias = NDArray[np.int64] | list[list[int]]
I1s: TypeAlias = NDArray[np.int8] | list[list[int]]

FIRST = 0xFE
_WHOLE, _SCALED, _LOOSE = 0, 1, 3
_SEVEN = 10  # bytes of the longest varint
_FARTHEST = 1 << 47  # from 0, of any number

# What is wrong with a body, by what `unpack` returns; others are those of
# `grids.PROBLEMS`.
_DAMAGED, _SCALE, _FAR_SCALE, _UNFILLED = 101, 102, 103, 104
PROBLEMS = {
    **dict(enumerate(grids.PROBLEMS)),
    _DAMAGED: "it is damaged",
    _SCALE: "a scale is damaged",
    _FAR_SCALE: "a scale is out of range",
    _UNFILLED: "its columns do not fill it",
}


def most_bytes(rows: int, columns: int) -> int:
    """Return how much room `pack` needs for columns, that of times among them."""
    return 8 + columns * (2 * (rows * 12 + 40) + 3)


def read_size(body: bytes) -> tuple[int, int, int]:
    """Return how many rows and columns of values a body has, and where scales start.

    Raises:
        ValueError: It is cut short.
    """
    rows, at, byte = 0, 1, 0x80
    try:
        while byte > 0x7F and at < 5:
            byte = body[at]
            rows |= (byte & 0x7F) << (7 * at - 7)
            at += 1
        if byte <= 0x7F:
            return rows, body[at], at + 1
    except IndexError:
        pass
    raise ValueError("a number is cut short")


@inner
def _put(number: int, code: U1, at: int) -> int:
    """Write a varint; return where it ends."""
    while number > 0x7F:
        code[at] = number & 0x7F | 0x80
        number >>= 7
        at += 1
    code[at] = number
    return at + 1


@inner
def _get(code: U1, at: int) -> tuple[int, int]:
    """Return a varint and where it ends; -1 where it is cut short or too long."""
    found = 0
    for seven in range(_SEVEN - 1):
        if at >= len(code):
            return 0, -1
        part = int(code[at])
        found |= (part & 0x7F) << (7 * seven)
        at += 1
        if part < 0x80:
            return found, at
    return 0, -1


@inner
def _zigzag(number: int) -> int:
    return number * 2 if number >= 0 else -number * 2 - 1


@inner
def _unzigzag(number: int) -> int:
    return number >> 1 if number & 1 == 0 else -(number >> 1) - 1


@kernel("i8(i8[:, ::1], i8[::1], u1[::1], i8[::1])")
def pack(table: I8s, fields: I8, code: U1, sizes: I8) -> int:
    """Write columns; return how many bytes they took.

    Args:
        table: The numbers of each column, that of times first, then the exceptions of
            each; as `grids.gridded` made it, and so are
        fields: the columns' scales.
        code: Room for as many bytes as `most_bytes` says.
        sizes: Room for 64.
    """
    columns, rows = len(table) // 2, len(table[0])
    code[0] = FIRST
    at = _put(rows, code, 1)
    code[at] = columns - 1
    at += 1
    for number in range(columns):
        place = SCALES + 4 * number
        grid, cap = fields[place + GRID], fields[place + CAP]
        loose = fields[place + LOOSE] > 0
        if grid == 0 and cap == 0 and not loose:
            code[at] = _WHOLE
            at += 1
            continue
        code[at] = _LOOSE if loose else _SCALED
        code[at + 1], code[at + 2] = grid & 0xFF, cap & 0xFF
        at += 3
    for number in range(columns):
        if fields[SCALES + 4 * number + LOOSE] > 0:
            at = _pack_column(table[columns + number], code, at, sizes)
        at = _pack_column(table[number], code, at, sizes)
    return at


@inner
def _pack_column(column: I8, code: U1, at: int, sizes: I8) -> int:
    """Write a column; return where it ends."""
    rows = len(column)
    # The usual step is the most common one among the first few.
    usual, most = 0, 0
    for i in range(1, min(rows, 9)):
        step, often = column[i] - column[i - 1], 0
        for j in range(1, min(rows, 9)):
            often += 1 if column[j] - column[j - 1] == step else 0
        if often > most:
            usual, most = step, often
    if most < 2:
        usual = 0
    for bits in range(64):
        sizes[bits] = 0
    for i in range(1, rows):
        rest = _zigzag(column[i] - column[i - 1] - usual)
        sizes[bits_of(rest) + 1 if rest > 0 else 0] += 1
    # A patch costs about two bytes and its high bits.
    width, least, above, high = 0, 1 << 62, 0, 0
    for bits in range(62, -1, -1):
        cost = bits * (rows - 1) + above * 20 + high
        if cost < least:
            width, least = bits, cost
        above += sizes[bits]
        high += above
    patches = 0
    for bits in range(width + 1, 64):
        patches += sizes[bits]
    at = _put(_zigzag(column[0]), code, at)
    at = _put(_zigzag(usual), code, at)
    code[at] = width
    at = _put(patches, code, at + 1)
    held, filled = 0, 0
    mask = (1 << width) - 1
    for i in range(1, rows):
        rest = _zigzag(column[i] - column[i - 1] - usual) & mask
        for part in range(0, width, 32):
            taken = min(width - part, 32)
            held |= ((rest >> part) & ((1 << taken) - 1)) << filled
            filled += taken
            while filled >= 8:
                code[at] = held & 0xFF
                at += 1
                held >>= 8
                filled -= 8
    if filled > 0:
        code[at] = held & 0xFF
        at += 1
    last = 0
    if patches > 0:
        for i in range(1, rows):
            rest = _zigzag(column[i] - column[i - 1] - usual) >> width
            if rest > 0:
                at = _put(i - last, code, at)
                at = _put(rest, code, at)
                last = i
    return at


@kernel("i8(u1[::1], i8, i8[:, ::1], i1[:, ::1])")
def unpack(code: U1, at: int, table: I8s, powers: I1s) -> int:
    """Read columns.

    Args:
        code: The whole body.
        at: Where the scales start.
        table: Filled with mantissas, shape (columns + 1, rows); the last row is room.
        powers: Filled with powers of ten, shape (columns, rows).

    Returns:
        0, or one of `PROBLEMS`.
    """
    columns, scales = len(powers), at
    for _ in range(columns):
        kind = int(code[at]) if at < len(code) else -1
        if kind == _WHOLE:
            at += 1
            continue
        if kind not in (_SCALED, _LOOSE) or at + 3 > len(code):
            return _SCALE
        grid, cap = _signed(int(code[at + 1])), _signed(int(code[at + 2]))
        if not LOWEST <= grid <= 0 or not LOWEST <= cap <= HIGHEST:
            return _FAR_SCALE
        at += 3
    exceptions = table[columns]
    for number in range(columns):
        kind, grid, cap, loose = int(code[scales]), 0, 0, 0
        scales += 1
        if kind != _WHOLE:
            grid, cap = _signed(int(code[scales])), _signed(int(code[scales + 1]))
            scales += 2
        if kind == _LOOSE:
            loose = 1
            at = _unpack_column(code, at, exceptions)
        if at >= 0:
            at = _unpack_column(code, at, table[number])
        if at < 0:
            return _DAMAGED
        problem = take(table[number], grid, cap, loose, exceptions, powers[number])
        if problem > 0:
            return problem
    return 0 if at == len(code) else _UNFILLED


@inner
def _signed(byte: int) -> int:
    return byte - 256 if byte > 127 else byte


@inner
def _unpack_column(code: U1, at: int, numbers: I8) -> int:
    """Read a column; return where it ends, -1 where it is damaged."""
    rows = len(numbers)
    first, at = _get(code, at)
    if at < 0:
        return -1
    usual, at = _get(code, at)
    if at < 0 or at >= len(code):
        return -1
    width = int(code[at])
    patches, at = _get(code, at + 1)
    if at < 0 or width > 62 or patches >= rows:
        return -1
    size = (width * (rows - 1) + 7) >> 3
    if at + size > len(code):
        return -1
    held, filled = 0, 0
    end = at + size
    for i in range(1, rows):
        rest = 0
        for part in range(0, width, 32):
            taken = min(width - part, 32)
            while filled < taken:
                held |= int(code[at]) << filled
                at += 1
                filled += 8
            rest |= (held & ((1 << taken) - 1)) << part
            held >>= taken
            filled -= taken
        numbers[i] = rest
    if held != 0 or at != end:
        return -1
    row = 0
    for _ in range(patches):
        gap, at = _get(code, at)
        if at < 0:
            return -1
        high, at = _get(code, at)
        # Before it is added: a gap of 2^63 - 1 would come out below 0.
        if at < 0 or gap < 1 or gap >= rows - row:
            return -1
        if high < 1 or high >= 1 << (62 - width):
            return -1
        row += gap
        numbers[row] |= high << width
    numbers[0] = _unzigzag(first)
    usual = _unzigzag(usual)
    if abs(usual) > _FARTHEST or abs(numbers[0]) > _FARTHEST:
        return -1
    for i in range(1, rows):
        numbers[i] = numbers[i - 1] + usual + _unzigzag(numbers[i])
        if abs(numbers[i]) > _FARTHEST:
            return -1
    return at

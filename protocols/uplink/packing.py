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

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from protocols.kernel import inner, kernel
from protocols.uplink.grids import Gridded
from protocols.uplink.rangecoder import bits_of

I8 = NDArray[np.int64]
U1 = NDArray[np.uint8]

FIRST = b"\xfe"
_WHOLE, _SCALED, _LOOSE = 0, 1, 3
_SEVEN = 10  # bytes of the longest varint
_FARTHEST = 1 << 47  # from 0, of any number


def pack(columns: Sequence[Gridded]) -> bytes:
    """Return columns of one length as a body, the times' first."""
    rows = len(columns[0].numbers)
    head = bytearray([*FIRST, *_varint(rows), len(columns) - 1])
    numbers = []
    for column in columns:
        loose = column.exceptions is not None
        if column.grid == column.cap == 0 and not loose:
            head.append(_WHOLE)
        else:
            head.append(_LOOSE if loose else _SCALED)
            head += bytes([column.grid & 0xFF, column.cap & 0xFF])
        if column.exceptions is not None:
            numbers.append(column.exceptions)
        numbers.append(column.numbers)
    table = np.array(numbers, np.int64)
    room = np.zeros(len(numbers) * (rows * 12 + 40), np.uint8)
    return bytes(head) + room[: _pack(table, room)].tobytes()


def unpack(body: bytes, rows_most: int, columns_most: int) -> list[Gridded]:
    """Return the columns of a body.

    Args:
        body: What `pack` made.
        rows_most: How many rows there may be.
        columns_most: How many columns of values.

    Raises:
        ValueError: It is cut short, longer, or no such body.
    """
    rows, at = _read_varint(body, 1)
    if not 1 <= rows <= rows_most or at >= len(body):
        raise ValueError(f"it has {rows} rows")
    count, at = body[at] + 1, at + 1
    if not 2 <= count <= columns_most + 1:
        raise ValueError(f"it has {count - 1} columns of values")
    scales = []
    for _ in range(count):
        kind, grid, cap, at = _read_scale(body, at)
        scales.append((kind, grid, cap))
    loose = sum(kind == _LOOSE for kind, _, _ in scales)
    table = np.zeros((count + loose, rows), np.int64)
    end = _unpack(np.frombuffer(body, np.uint8).copy(), at, table)
    if end != len(body):
        raise ValueError("its columns do not fill it" if end >= 0 else "it is damaged")
    left = iter(table)
    found = []
    for kind, grid, cap in scales:
        exceptions = next(left) if kind == _LOOSE else None
        found.append(Gridded(next(left), grid, cap, exceptions))
    return found


def _read_scale(body: bytes, at: int) -> tuple[int, int, int, int]:
    kind = body[at] if at < len(body) else -1
    if kind == _WHOLE:
        return kind, 0, 0, at + 1
    if kind not in (_SCALED, _LOOSE) or at + 3 > len(body):
        raise ValueError("a scale is damaged")
    grid, cap = (
        int.from_bytes(body[place : place + 1], signed=True)
        for place in (at + 1, at + 2)
    )
    if not -31 <= grid <= 0 or not -31 <= cap <= 31:
        raise ValueError("a scale is out of range")
    return kind, grid, cap, at + 3


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def _read_varint(body: bytes, at: int) -> tuple[int, int]:
    found = shift = 0
    while at < len(body) and shift < 28:
        found |= (body[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if body[at - 1] < 0x80:
            return found, at
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


@kernel("i8(i8[:,::1], u1[::1])")
def _pack(table: I8, code: U1) -> int:
    """Write columns; return how many bytes they took.

    Args:
        table: Shape (columns, rows), each number at most 2^46 from 0.
        code: Room for 12 bytes a number and 40 a column.
    """
    at = 0
    rows = table.shape[1]
    for column in table:
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
        sizes = np.zeros(64, np.int64)
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


@kernel("i8(u1[::1], i8, i8[:,::1])")
def _unpack(code: U1, at: int, table: I8) -> int:
    """Fill columns; return where they end, -1 where they are damaged.

    Args:
        code: The whole body.
        at: Where the columns start.
        table: Shape (columns, rows), filled.
    """
    rows = table.shape[1]
    for column in table:
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
            column[i] = rest
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
            column[row] |= high << width
        column[0] = _unzigzag(first)
        usual = _unzigzag(usual)
        if abs(usual) > _FARTHEST or abs(column[0]) > _FARTHEST:
            return -1
        for i in range(1, rows):
            column[i] = column[i - 1] + usual + _unzigzag(column[i])
            if abs(column[i]) > _FARTHEST:
                return -1
    return at

"""Opens the envelope round a message: only CBOR that is written in its one way.

No two byte strings mean the same message, so that a digest names what it says: all
heads are the shortest, no length is indefinite, and the names of a map ascend. A
message holds maps by integers and texts, arrays, texts, bytes, integers of 64 bits,
booleans and null; no tag, and no float.

Source: ``uplink.cddl``; RFC 8949 §3 for heads, §4.2.1 for the deterministic encoding.
"""

from binascii import crc32

import cbor2
import numpy as np
from numpy.typing import NDArray

from protocols.errors import DecodeError, Fault
from protocols.kernel import inner, kernel
from protocols.uplink.envelope import MAX_MESSAGE, VERSION, Protection
from protocols.uplink.room import run_sure

U1 = NDArray[np.uint8]
I8 = NDArray[np.int64]
I8s = NDArray[np.int64]

_KEYS = {1: {0, 1, 2}, 2: {0, 1, 2, 3}}  # by version
_MAX_DEPTH = 12
_UINT, _NINT, _BYTES, _TEXT, _ARRAY, _MAP, _TAG, _SIMPLE = range(8)  # major types
_FALSE, _NULL = 20, 22
_IN_ONE, _IN_EIGHT = 24, 27  # bytes behind it, of a head's number
_LEFT, _NAMED, _NAME, _NAME_END, _AT, _LEVEL = range(6)  # of what is known of a level
_DAMAGED, _FOREIGN, _LONG, _UNSORTED = range(1, 5)
_PROBLEMS = {
    _DAMAGED: "is damaged",
    _FOREIGN: "holds what no message of ours holds",
    _LONG: "is not deterministically encoded: its head is too long",
    _UNSORTED: "is not deterministically encoded: the name is not behind the last one",
}


def unwrap(what: str, message: bytes) -> object:
    """Return the content of an envelope.

    Args:
        what: What the content should be, for the error.
        message: The bytes as received.

    Raises:
        DecodeError: Too long, no strict CBOR, or of a version or a protection
            that is not spoken here.
    """
    outer = _loads(what, message)
    if not isinstance(outer, dict) or 0 not in outer:
        raise _error(what, "envelope", "is no map of version, protection, content")
    version = outer[0]
    if type(version) is not int or version not in _KEYS:
        problem = f"is {version!r:.20}, and {VERSION} is the newest known here"
        raise _error(what, "version", problem, Fault.UNSUPPORTED_VERSION)
    if outer.keys() != _KEYS[version]:
        problem = f"is no map of the keys {_KEYS[version]} of version {version}"
        raise _error(what, "envelope", problem)
    if outer[1] != Protection.PLAIN or type(outer[1]) is not int:
        problem = f"is {outer[1]!r:.20}, and only {Protection.PLAIN:d} is known here"
        raise _error(what, "protection", problem, Fault.UNSUPPORTED_VERSION)
    if not isinstance(outer[2], bytes):
        raise _error(what, "content", "is no byte string")
    if version > 1 and (type(outer[3]) is not int or outer[3] != crc32(outer[2])):
        raise _error(what, "check", "is not that of the content", Fault.BAD_CRC)
    return _loads(what, outer[2])


def _loads(what: str, data: bytes) -> object:
    """Decode CBOR that is short, shallow, and written in its one way.

    Raises:
        DecodeError: It is not.
    """
    if len(data) > MAX_MESSAGE:
        problem = f"has {len(data)} bytes, over {MAX_MESSAGE}"
        raise _error(what, "message", problem, Fault.BAD_LENGTH)
    try:
        value = cbor2.loads(
            data, max_depth=_MAX_DEPTH, allow_indefinite=False,
            allow_duplicate_keys=False, semantic_decoders={},
        )  # fmt: skip
    except cbor2.CBORDecodeError as error:
        raise _error(what, "CBOR", f"is damaged: {error}") from error
    levels = np.zeros((_MAX_DEPTH + 1, _LEVEL), np.int64)
    code = np.frombuffer(bytearray(data), np.uint8)
    if found := run_sure(scan, code, levels):
        raise _error(what, "CBOR", _PROBLEMS[found], at=int(levels[0, _AT]))
    return value


@kernel("i8(u1[::1], i8[:, ::1])")
def scan(code: U1, levels: I8s) -> int:
    """Look whether CBOR is written in its one way.

    Args:
        code: One item.
        levels: Zeros, shape (the most levels, 5); in the first, the last of them tells
            then where the first item begins that is wrong.

    Returns:
        0, or one of `_PROBLEMS`.
    """
    levels[0][_LEFT] = 1
    depth = at = 0
    while depth >= 0:
        level = levels[depth]
        if level[_LEFT] == 0:
            depth -= 1
            continue
        is_name = level[_NAMED] == 1 and level[_LEFT] % 2 == 0
        level[_LEFT] -= 1
        start = at
        levels[0][_AT] = start
        problem, major, number, at = _head(code, start)
        if problem > 0:
            return problem
        if is_name and major not in (_UINT, _NINT, _TEXT):
            return _FOREIGN
        if major in (_BYTES, _TEXT):
            at += number
        if is_name:
            if level[_NAME] > 0 and not _ascends(code, level, start, at):
                return _UNSORTED
            level[_NAME], level[_NAME_END] = start, at
        if major in (_ARRAY, _MAP):
            depth += 1
            if depth == len(levels):
                return _FOREIGN
            inside = levels[depth]
            inside[_NAMED] = 1 if major == _MAP else 0
            inside[_LEFT] = number << inside[_NAMED]
            inside[_NAME] = 0
    levels[0][_AT] = at
    return 0 if at == len(code) else _DAMAGED


@inner
def _head(code: U1, at: int) -> tuple[int, int, int, int]:
    """Read how an item begins.

    Returns:
        0 or what is wrong with it; its major type; its number, which is a length that
        does not lead out of the code, or is of no use; and where what follows begins.
    """
    if at >= len(code):
        return _DAMAGED, 0, 0, at
    major, number, high = int(code[at]) >> 5, int(code[at]) & 31, 0
    at += 1
    if major == _TAG or (major == _SIMPLE and not _FALSE <= number <= _NULL):
        return _FOREIGN, major, 0, at
    if number > _IN_EIGHT:
        return _DAMAGED, major, 0, at
    if number >= _IN_ONE:
        width = 1 << (number - _IN_ONE)
        if at + width > len(code):
            return _DAMAGED, major, 0, at
        least = 24 if width == 1 else 1 << 4 * width
        number = 0
        for place in range(width):
            if place < width - 4:
                high = high << 8 | int(code[at + place])
            else:
                number = number << 8 | int(code[at + place])
        at += width
        if high == 0 and number < least:
            return _LONG, major, 0, at
    if major == _NINT and high >= 1 << 31:
        return _FOREIGN, major, 0, at
    if _BYTES <= major <= _MAP and (high > 0 or number > len(code) - at):
        return _DAMAGED, major, 0, at
    return 0, major, number, at


@inner
def _ascends(code: U1, level: I8, start: int, end: int) -> bool:
    """Whether a name stands behind the last one of its map, byte by byte."""
    last, last_end = int(level[_NAME]), int(level[_NAME_END])
    while start < end and last < last_end:
        if code[start] != code[last]:
            return bool(code[start] > code[last])
        start += 1
        last += 1
    return False  # the same; no CBOR begins another


def _error(
    what: str, field: str, problem: str, fault: Fault = Fault.BAD_FRAME, at: int = 0
) -> DecodeError:
    return DecodeError(what, field, problem, b"", at, fault)

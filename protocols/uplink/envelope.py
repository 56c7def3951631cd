"""The envelope round every message: its version, and how it is protected.

    {0: version, 1: protection, 2: content bstr, 3: check}

The check is the CRC-32 of the content; version 1 had none, and is still read.
Protection says what the content is: 0 the message itself, 1 a COSE_Sign1 of
it, 2 a COSE_Encrypt0 of that. Only 0 is spoken yet; what an older gateway
can't open it refuses by name, and keeps.

Source: ``uplink.cddl``; RFC 8949 §4.2 for the deterministic encoding.
"""

from binascii import crc32
from collections.abc import Iterable
from enum import IntEnum
from hashlib import sha256
from itertools import chain
from types import NoneType
from typing import Any

import cbor2

from protocols.errors import DecodeError, Fault

VERSION = 2
MAX_MESSAGE = 65_536
_KEYS = {1: {0, 1, 2}, 2: {0, 1, 2, 3}}  # by version
_MAX_DEPTH = 12
_INTEGERS = range(-(1 << 63), 1 << 64)  # CBOR has lower ones, and no field of ours
_NAMES = {int, str}
_PLAIN = {dict, list, str, bytes, int, bool, NoneType}


class Protection(IntEnum):
    """What an envelope's content is."""

    PLAIN = 0
    SIGNED = 1
    SEALED = 2


def wrap(content: object) -> bytes:
    """Return ``content`` in an envelope, deterministically encoded.

    Raises:
        ValueError: The message would be longer than `MAX_MESSAGE` bytes.
    """
    inner = cbor2.dumps(content, canonical=True)
    message = cbor2.dumps(
        {0: VERSION, 1: int(Protection.PLAIN), 2: inner, 3: crc32(inner)},
        canonical=True,
    )
    if len(message) > MAX_MESSAGE:
        raise ValueError(f"a message of {len(message)} bytes is over {MAX_MESSAGE}")
    return message


def unwrap(what: str, message: bytes) -> object:
    """Return the content of an envelope.

    Args:
        what: What the content should be, for the error.
        message: The bytes as received.

    Raises:
        DecodeError: Too long, no strict CBOR, or of a version or a protection
            that is not spoken here.
    """
    outer = strict_loads(what, message)
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
    return strict_loads(what, outer[2])


def digest(message: bytes) -> bytes:
    """Return the 32 bytes by which a receipt names a message: its SHA-256."""
    return sha256(message).digest()


def is_int(item: object, low: int = -(1 << 63), high: int = (1 << 63) - 1) -> bool:
    """Whether ``item`` is an integer from ``low`` to ``high``; bools are none."""
    return type(item) is int and low <= item <= high


def strict_loads(what: str, data: bytes) -> object:
    """Decode CBOR that is short, shallow, definite and deterministic.

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
    maps = _maps(value, len(data))
    if maps is None:
        raise _error(what, "CBOR", "holds what no message of ours holds")
    # In maps names stand as they came, and all else is written in its one way.
    if not all(map(_is_sorted, maps)) or cbor2.dumps(value) != data:
        raise _error(what, "CBOR", "is not deterministically encoded")
    return value


def _maps(value: object, most: int) -> list[dict[object, object]] | None:
    """Return all maps; None where there is what no message of ours holds.

    These hold maps, arrays, texts, bytes, small integers, bools and null. A message
    has no more items than bytes; one with references to itself may unfold without end.
    """
    found: list[dict[object, object]] = []
    level = [value]
    while level:
        most -= len(level)
        kinds = {*map(type, level)}
        if most < 0 or not kinds <= _PLAIN:
            return None
        if int in kinds:
            numbers = [item for item in level if type(item) is int]
            if min(numbers) not in _INTEGERS or max(numbers) not in _INTEGERS:
                return None
        maps: list[dict[object, object]] = []
        if dict in kinds:
            maps = [item for item in level if isinstance(item, dict)]
        # true and 1.0 are equal to 1 here, and are not 1 on the wire.
        if not {*map(type, chain(*maps))} <= _NAMES:
            return None
        found += maps
        lists: list[list[object]] = []
        if list in kinds:
            lists = [item for item in level if isinstance(item, list)]
        level = [*chain(*maps, *(item.values() for item in maps), *lists)]
    return found


def _is_sorted(names: Iterable[object]) -> bool:
    """Whether the names of a map are in the order of their CBOR."""
    said: list[Any] = [*names]
    if not all(type(name) is int and name >= 0 for name in said):
        said = [cbor2.dumps(name) for name in said]
    return said == sorted(said)


def _error(
    what: str, field: str, problem: str, fault: Fault = Fault.BAD_FRAME
) -> DecodeError:
    return DecodeError(what, field, problem, b"", 0, fault)

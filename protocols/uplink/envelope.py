"""The envelope round every message: its version, and how it is protected.

    {0: version, 1: protection, 2: content bstr, 3: check}

The check is the CRC-32 of the content; version 1 had none, and is still read.
Protection says what the content is: 0 the message itself, 1 a COSE_Sign1 of
it, 2 a COSE_Encrypt0 of that. Only 0 is spoken yet; what an older gateway
can't open it refuses by name, and keeps. `opening` opens it again.

Source: ``uplink.cddl``; RFC 8949 §4.2 for the deterministic encoding.
"""

from binascii import crc32
from enum import IntEnum
from hashlib import sha256

import cbor2

VERSION = 2
MAX_MESSAGE = 65_536


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


def digest(message: bytes) -> bytes:
    """Return the 32 bytes by which a receipt names a message: its SHA-256."""
    return sha256(message).digest()


def is_int(item: object, low: int = -(1 << 63), high: int = (1 << 63) - 1) -> bool:
    """Whether ``item`` is an integer from ``low`` to ``high``; bools are none."""
    return type(item) is int and low <= item <= high

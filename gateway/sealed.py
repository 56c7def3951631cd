"""Sealed files: AES-256-GCM under a passphrase, chunk by chunk, so that any size goes.

    "VWSEAL1\\n" | salt 16 | prefix 7 | chunk ... | last chunk

A chunk is 1 MiB of text (the last one 0 to 1 MiB) as AES-256-GCM with its tag of 16
bytes. Its nonce is prefix | number of the chunk u32, big-endian | 1 for the last chunk,
else 0; its associated data is the 31 bytes before the first chunk. So a chunk that is
cut off, left out, moved or changed is found. The key is scrypt of the passphrase, N
2^17, r 8, p 1. What is sealed twice has other salt and prefix.

Source: Hoang, Reyhanitabar, Rogaway, Vizár, "Online Authenticated-Encryption and its
Nonce-Reuse Misuse-Resistance", 2015, construction STREAM; RFC 7914 for scrypt.
"""

import os
import secrets
from collections.abc import Iterator
from typing import IO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

MAGIC = b"VWSEAL1\n"

_CHUNK = 1 << 20
_TAG, _SALT, _PREFIX = 16, 16, 7
_MOST = 1 << 32  # chunks: 4 PiB


class CannotOpen(Exception):
    """The file is no sealed one, is damaged, or has another passphrase."""


def seal(source: IO[bytes], target: IO[bytes], passphrase: bytes) -> None:
    """Write all of ``source`` to ``target``, sealed."""
    head = MAGIC + os.urandom(_SALT) + secrets.token_bytes(_PREFIX)
    cipher = _cipher(head, passphrase)
    target.write(head)
    number, text = 0, _whole(source, _CHUNK)
    while True:
        following = _whole(source, _CHUNK)
        nonce = _nonce(head, number, last=not following)
        target.write(cipher.encrypt(nonce, text, head))
        if not following:
            return
        number, text = number + 1, following


def opened(source: IO[bytes], passphrase: bytes) -> Iterator[bytes]:
    """Yield what was sealed; nothing that it yields was changed by anybody.

    The end is proven only by coming to it: use nothing of what came before an error.

    Raises:
        CannotOpen: As its class says.
    """
    head = _whole(source, len(MAGIC) + _SALT + _PREFIX)
    if not head.startswith(MAGIC) or len(head) < len(MAGIC) + _SALT + _PREFIX:
        raise CannotOpen("it is no sealed file")
    cipher = _cipher(head, passphrase)
    number, chunk = 0, _whole(source, _CHUNK + _TAG)
    while True:
        following = _whole(source, _CHUNK + _TAG)
        nonce = _nonce(head, number, last=not following)
        try:
            yield cipher.decrypt(nonce, chunk, head)
        except InvalidTag as error:
            told = "the passphrase is another one, or it is damaged"
            later = f"it is damaged or cut off behind chunk {number}"
            raise CannotOpen(later if number else told) from error
        if not following:
            return
        number, chunk = number + 1, following


def _cipher(head: bytes, passphrase: bytes) -> AESGCM:
    salt = head[len(MAGIC) : len(MAGIC) + _SALT]
    return AESGCM(Scrypt(salt, 32, n=1 << 17, r=8, p=1).derive(passphrase))


def _nonce(head: bytes, number: int, *, last: bool) -> bytes:
    if number >= _MOST:
        raise ValueError("the file is longer than can be sealed")
    return head[-_PREFIX:] + number.to_bytes(4) + bytes([last])


def _whole(source: IO[bytes], size: int) -> bytes:
    """Read ``size`` bytes, fewer only at the end; a pipe gives less at a time."""
    parts = []
    while size and (part := source.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)

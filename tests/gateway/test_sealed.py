"""Sealed files: whole or not at all."""

import io

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from gateway.sealed import CannotOpen, opened, seal

_PASSPHRASE = b"correct horse battery"
_MIB = 1 << 20


def sealed(text: bytes) -> bytes:
    target = io.BytesIO()
    seal(io.BytesIO(text), target, _PASSPHRASE)
    return target.getvalue()


def unsealed(found: bytes, passphrase: bytes = _PASSPHRASE) -> bytes:
    return b"".join(opened(io.BytesIO(found), passphrase))


@pytest.mark.parametrize("size", [0, _MIB, 2 * _MIB + 1])
def test_what_was_sealed_comes_back(size: int) -> None:
    text = bytes(range(251)) * (size // 251 + 1)
    assert unsealed(sealed(text[:size])) == text[:size]


def test_the_format_is_the_one_that_is_written_down() -> None:
    """Who has lost this program must be able to open a backup by the description."""
    found = sealed(b"a" * _MIB + b"the rest")

    head, body = found[:31], found[31:]
    assert head[:8] == b"VWSEAL1\n"
    key = Scrypt(head[8:24], 32, n=131_072, r=8, p=1).derive(_PASSPHRASE)
    first, last = body[: _MIB + 16], body[_MIB + 16 :]
    nonce = head[24:31] + b"\0\0\0\0" + b"\0"
    assert AESGCM(key).decrypt(nonce, first, head) == b"a" * _MIB
    nonce = head[24:31] + b"\0\0\0\1" + b"\1"
    assert AESGCM(key).decrypt(nonce, last, head) == b"the rest"


def test_nobody_opens_it_with_another_passphrase() -> None:
    with pytest.raises(CannotOpen, match="the passphrase is another one"):
        unsealed(sealed(b"text"), b"wrong")


def test_what_was_cut_moved_or_changed_is_found() -> None:
    """A restore from half a backup would look like a whole one."""
    size = 31, 31 + _MIB + 16, 31 + 2 * (_MIB + 16)
    whole = sealed(b"a" * _MIB + b"b" * _MIB + b"c")
    head, first = whole[: size[0]], whole[size[0] : size[1]]
    second, third = whole[size[1] : size[2]], whole[size[2] :]
    flipped = bytearray(whole)
    flipped[size[1] + 5] ^= 1
    for damaged in (
        head + first,
        head + first + third,
        head + second + first + third,
        whole[:-1],
        whole + b"more",
        bytes(flipped),
        head[:8] + bytes(16) + head[24:] + first + second + third,
        head[:20],
        b"",
        b"SQLite format 3\0" + bytes(100),
    ):
        with pytest.raises(CannotOpen):
            unsealed(damaged)


def test_the_same_text_is_never_sealed_alike() -> None:
    assert sealed(b"text")[8:] != sealed(b"text")[8:]

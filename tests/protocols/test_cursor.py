"""Text in a payload: what it is, and where it stops being text."""

import pytest

from protocols.cursor import Cursor
from protocols.errors import DecodeError, Fault


def test_text_comes_with_its_padding() -> None:
    """What a device fills up its text with differs; its codec takes it off."""
    with Cursor("label", b"\x07A12 \0!") as read:
        read.u8("kind")

        assert read.ascii(5, "serial") == "A12 \0"
        assert read.ascii(1, "mark") == "!"


def test_the_first_byte_that_is_no_text_is_pointed_at() -> None:
    """A device must not get another identity for damaged bytes."""
    read = Cursor("label", b"\x07A1\xff\xfe!")
    read.u8("kind")

    with pytest.raises(DecodeError) as refused:
        read.ascii(4, "serial")

    assert str(refused.value) == (
        "label: 'serial' is not ASCII at byte 3 of [07 41 31 ff fe 21]"
    )
    assert refused.value.fault is Fault.BAD_FIELD


def test_text_that_is_cut_short_is_refused() -> None:
    with pytest.raises(DecodeError) as refused:
        Cursor("label", b"A1").ascii(3, "serial")

    assert refused.value.fault is Fault.TRUNCATED

"""Andon cuffs: records and questions by their document."""

import pytest

from protocols.errors import DecodeError, Fault
from protocols.gatt.time import DateTime
from protocols.vendor.andon import (
    Record,
    ask_count,
    ask_name,
    ask_ready,
    ask_record,
    decode_name,
    decode_record,
)

RECORD = bytes.fromhex("ac 5f 37 48 06 0f 0e 1e 18")


def test_the_cuff_is_asked_with_single_bytes() -> None:
    """A record is asked for by its index behind the byte."""
    assert ask_ready() == b"\xaa"
    assert ask_name() == b"\xa4"
    assert ask_count() == b"\xa2"
    assert ask_record(1) == b"\xa3\x01"
    with pytest.raises(ValueError, match="256"):
        ask_record(256)


def test_pressures_are_told_without_25() -> None:
    """Read as they are, 145/90 would look like 120/65."""
    assert decode_record(bytes.fromhex("ac 78 41 48 06 0f 0e 1e 18")) == Record(
        145, 90, 72, DateTime(2024, 6, 15, 14, 30, 0)
    )


@pytest.mark.parametrize("content", [b"\x00" * 8, b"\xff" * 8])
def test_a_place_that_was_never_written_is_no_pressure(content: bytes) -> None:
    """Read as a record, it would be 25/25 mmHg, or 280/280."""
    with pytest.raises(DecodeError) as caught:
        decode_record(b"\xac" + content)
    assert caught.value.fault == Fault.EMPTY_SLOT


def test_the_largest_record_is_read() -> None:
    """A clock that is none is kept as it is."""
    assert decode_record(b"\xac" + b"\xff" * 7 + b"\xfe") == Record(
        280, 280, 255, DateTime(2254, 255, 255, 255, 255, 0)
    )


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", Fault.TRUNCATED),
        (RECORD[:-1], Fault.TRUNCATED),
        (RECORD + b"\x00", Fault.BAD_LENGTH),
        (b"\xad" + RECORD[1:], Fault.BAD_HEADER),
        (b"\xa9", Fault.EMPTY_SLOT),
    ],
)
def test_what_is_no_record_is_refused(data: bytes, fault: Fault) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_record(data)

    assert caught.value.fault == fault


def test_the_name_has_32_characters() -> None:
    name = b"Andon Blood Pressure Meter KD001"

    assert decode_name(name) == name.decode()
    assert decode_name(b"KD002".ljust(32, b"\0")) == "KD002"
    for wrong in (name[:-1], name + b"!", b"\xff" * 32):
        with pytest.raises(DecodeError):
            decode_name(wrong)

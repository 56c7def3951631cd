"""Yonker results, against captured values."""

import pytest

from protocols import kinds
from protocols.errors import DecodeError, Fault
from protocols.gatt.time import DateTime
from protocols.vendor import yonker
from protocols.vendor.yonker import Record

# Captured from two cuffs.
CAPTURED = bytes.fromhex("81 83 67 51 00 00 19 0b 18 13 12 00 00 00 00")
OTHER = bytes.fromhex("81 46 24 32 00 00 19 03 15 0a 11 00 00 00 00")
PROGRESS = bytes.fromhex("80 00 b9 00 00 00 00 00 00 00 00 00 00 00 00")


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (CAPTURED, Record(131, 103, 81, bytes.fromhex("19 0b 18 13 12"))),
        (OTHER, Record(70, 36, 50, bytes.fromhex("19 03 15 0a 11"))),
    ],
)
def test_a_result_is_read_as_captured(payload: bytes, expected: Record) -> None:
    assert yonker.decode_record(payload) == expected


def test_the_clock_is_read_as_the_notes_say_and_kept_as_it_is() -> None:
    """Its order is uncertain; the bytes alone let it be read anew one day."""
    record = yonker.decode_record(CAPTURED)

    assert record.time == DateTime(2024, 11, 25, 19, 18, 0)
    assert record.clock == CAPTURED[6:11]


@pytest.mark.parametrize(
    ("payload", "fault"),
    [
        (b"", Fault.TRUNCATED),
        (PROGRESS, Fault.BAD_HEADER),
        (b"\x82" + CAPTURED[1:], Fault.BAD_HEADER),
        (CAPTURED[:14], Fault.BAD_LENGTH),
        (CAPTURED + b"\x00", Fault.BAD_LENGTH),
        # An oximeter of the maker: saturation and pulse, on the same service.
        (bytes.fromhex("81 61 48 05 00 00"), Fault.BAD_LENGTH),
    ],
)
def test_what_is_no_result_is_refused_by_its_fault(
    payload: bytes, fault: Fault
) -> None:
    """A saturation of 97 % would be a systolic pressure of 97 mmHg."""
    with pytest.raises(DecodeError) as caught:
        yonker.decode_record(payload)

    assert caught.value.fault == fault


@pytest.mark.parametrize(
    ("payload", "expected"),
    [(PROGRESS, True), (PROGRESS[:3], False), (CAPTURED, False)],
)
def test_progress_is_told_from_a_result(payload: bytes, expected: bool) -> None:
    """The pressure in the cuff is nobody's blood pressure."""
    assert yonker.is_progress(payload) is expected


def test_an_impossible_time_is_shown_as_it_was_sent() -> None:
    shown = kinds.show("yonker.record", OTHER[:7] + b"\x0d" + OTHER[8:], {})

    assert shown["timestamp"] == "2021-13-25T10:17"
    assert shown["timestamp_valid"] is False
    assert shown["clock"] == "190d150a11"

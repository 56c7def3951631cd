"""The HBP-9030's lines, and the stream that they come in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import DecodeError, Fault
from protocols.gatt.time import DateTime
from protocols.stream import Damaged
from protocols.vendor.omron_hbp9030 import Line, decode_line, lines

LINE = b"2026,07,11,09,05,12345678901234567890,0,120,080,072,1"
READ = Line(DateTime(2026, 7, 11, 9, 5, 0), "12345678901234567890", 0, (120, 80, 72), 1)


def changed(at: int, text: bytes) -> bytes:
    return LINE[:at] + text + LINE[at + len(text) :]


def test_a_line_is_read_by_the_manual() -> None:
    assert decode_line(LINE) == READ


@pytest.mark.parametrize("vitals", [b"   ,   ,   ", b"120,080,072", b"999,000,001"])
def test_a_failed_measurement_has_no_values_whatever_stands_there(
    vitals: bytes,
) -> None:
    """Figures beside an error are left from another measurement, or from none."""
    failed = decode_line(changed(38, b"7")[:40] + vitals + b",0")

    assert (failed.error, failed.vitals) == (7, None)


@pytest.mark.parametrize(
    ("line", "fault", "offset"),
    [
        (b"", Fault.BAD_LENGTH, 0),
        (LINE[:-1], Fault.BAD_LENGTH, 0),
        (LINE + b"\r", Fault.BAD_LENGTH, 0),
        (b"MMBP203N" + LINE[8:], Fault.UNSUPPORTED_FORMAT, 0),
        (b"ID" + LINE, Fault.UNSUPPORTED_FORMAT, 0),
        (b"bp,120,80,72", Fault.UNSUPPORTED_FORMAT, 0),
        (changed(16, b";"), Fault.BAD_FRAME, 16),
        (changed(51, b"."), Fault.BAD_FRAME, 51),
        (changed(0, b"+026"), Fault.BAD_FIELD, 0),
        (changed(17, b"\x00"), Fault.BAD_FIELD, 17),
        (changed(36, b"\xb1"), Fault.BAD_FIELD, 17),
        (changed(38, b" "), Fault.BAD_FIELD, 38),
        (changed(40, b"   ,   ,   "), Fault.BAD_FIELD, 40),
        (changed(44, b"-80"), Fault.BAD_FIELD, 44),
        (changed(48, b"0 2"), Fault.BAD_FIELD, 48),
        (changed(48, b"\xb2\xb2\xb2"), Fault.BAD_FIELD, 48),
        (changed(52, b"x"), Fault.BAD_FIELD, 52),
        (changed(5, b"13"), Fault.BAD_DATE, 0),
        (changed(11, b"24"), Fault.BAD_DATE, 0),
        (changed(40, b"261"), Fault.OUT_OF_RANGE, 40),
        (changed(44, b"029"), Fault.OUT_OF_RANGE, 44),
        (changed(44, b"216"), Fault.OUT_OF_RANGE, 44),
    ],
)
def test_what_is_no_line_is_refused_at_its_byte(
    line: bytes, fault: Fault, offset: int
) -> None:
    """A blank taken for a digit turns 120 into 12."""
    with pytest.raises(DecodeError) as caught:
        decode_line(line)
    assert (caught.value.fault, caught.value.offset) == (fault, offset)


def test_the_limits_of_the_cuff_are_still_readings() -> None:
    highest = decode_line(changed(40, b"260,215,180"))

    assert highest.vitals == (260, 215, 180)


def test_a_line_does_not_print_whose_it_is() -> None:
    """The 20 characters name a patient, and logs are read by others."""
    assert READ.subject not in repr(READ)
    assert repr(READ) == "Line(2026-07-11T09:05:00, 0, (120, 80, 72), 1)"


@pytest.mark.parametrize("size", [1, 7, 55, 200])
def test_lines_come_out_however_the_bytes_arrive(size: int) -> None:
    whole = LINE + b"\r\n"
    stream, decoder = whole * 3, lines()

    events = [
        event
        for at in range(0, len(stream), size)
        for event in decoder.feed(stream[at : at + size])
    ]

    assert events == [whole] * 3


def test_a_line_joined_in_its_middle_is_damage_and_the_next_one_is_read() -> None:
    """Who plugs in while the cuff sends must not get half a measurement."""
    late, whole = LINE[30:] + b"\r\n", LINE + b"\r\n"

    assert lines().feed(late + whole) == [Damaged(late, Fault.BAD_LENGTH), whole]


def test_a_line_of_another_format_comes_out_to_be_told_of() -> None:
    """Nobody would ever find out that a cuff's item 32 is wrong."""
    other = b"bp,120,80,72\r\n"

    assert lines().feed(other) == [other]


@given(st.binary(max_size=60) | st.binary(max_size=3).map(lambda b: changed(40, b)))
def test_any_line_is_read_or_refused(line: bytes) -> None:
    try:
        decode_line(line)
    except DecodeError as error:
        assert error.data == line  # noqa: PT017 - either is right

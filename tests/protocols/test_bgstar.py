"""BGStar: lines by their document; no meter's own were at hand."""

from decimal import Decimal

import pytest

from protocols.errors import DecodeError, Fault
from protocols.gatt.time import DateTime
from protocols.stream import Damaged
from protocols.vendor.bgstar import (
    Answer,
    Record,
    ask_clock,
    ask_count,
    ask_hello,
    ask_record,
    ask_serial_number,
    ask_unit,
    decode_line,
    decoder,
    read_clock,
    read_count,
    read_record,
    read_text,
)


def test_requests_end_with_cr() -> None:
    assert ask_hello() == b"hello\r"
    assert ask_serial_number() == b"get serial\r"
    assert ask_clock() == b"get datetime\r"
    assert ask_count() == b"get glucount\r"
    assert ask_unit() == b"get gluunit\r"
    assert ask_record(0) == b"get glurec 0\r"
    assert ask_record(1864) == b"get glurec 1864\r"


def test_an_answer_has_a_status_and_fields() -> None:
    """100 says that the list goes on, 200 that it was the last line."""
    line = b"100 model BGSTAR\r"

    assert decode_line(line) == Answer(True, ("model", "BGSTAR"), line)
    assert not decode_line(b"200 sysinfo all\r").goes_on


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (b"", Fault.TRUNCATED),
        (b"\r", Fault.TRUNCATED),
        (b"200 hello", Fault.TRUNCATED),
        (b"200 h\xe9llo\r", Fault.BAD_FIELD),
        (b"hello\r", Fault.BAD_HEADER),
        (b"2000 hello\r", Fault.BAD_HEADER),
        (b"404 glurec\r", Fault.DEVICE_ERROR),
    ],
)
def test_what_is_no_answer_is_refused(line: bytes, fault: Fault) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_line(line)

    assert caught.value.fault == fault


def test_texts_and_numbers_are_read_by_their_name() -> None:
    """An answer to another question must never be taken for this one's."""
    serial = decode_line(b"200 serial ABC12345678901\r")

    assert read_text(serial, "serial") == "ABC12345678901"
    assert read_count(decode_line(b"200 glucount 1865\r")) == 1865
    assert read_text(decode_line(b"200 gluunit mg/dL\r"), "gluunit") == "mg/dL"
    for line in (b"200 serial ABC\r", b"200\r"):
        with pytest.raises(DecodeError) as caught:
            read_count(decode_line(line))
        assert caught.value.fault == Fault.NOT_A_RESPONSE
    for line in (b"200 glucount\r", b"200 glucount x\r", b"200 glucount 123456\r"):
        with pytest.raises(DecodeError) as caught:
            read_count(decode_line(line))
        assert caught.value.fault == Fault.BAD_FIELD


def test_the_clock_is_six_numbers_without_leading_zeros() -> None:
    answer = decode_line(b"200 2016 3 1 7 5 9\r")

    assert read_clock(answer) == DateTime(2016, 3, 1, 7, 5, 9)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (b"200 2016 3 1 7\r", Fault.BAD_LENGTH),
        (b"200 2016 3 1 7 5 9 1\r", Fault.BAD_LENGTH),
        (b"200 2016 3 1 7 5 x\r", Fault.BAD_FIELD),
        (b"200 20160 3 1 7 5 9\r", Fault.OUT_OF_RANGE),
        (b"200 2016 256 1 7 5 9\r", Fault.OUT_OF_RANGE),
    ],
)
def test_a_wrong_clock_is_refused(line: bytes, fault: Fault) -> None:
    with pytest.raises(DecodeError) as caught:
        read_clock(decode_line(line))

    assert caught.value.fault == fault


def test_a_result_has_value_meal_and_time() -> None:
    """Two digits of no known meaning come first."""
    answer = decode_line(b"200 glurec 1 0 142 3 2016 3 1 12 5 9\r")

    assert read_record(answer) == Record(
        Decimal(142), 3, DateTime(2016, 3, 1, 12, 5, 9)
    )


def test_a_result_may_come_without_seconds() -> None:
    answer = decode_line(b"200 glurec 1 0 7.8 0 2016 3 1 12 5\r")

    assert read_record(answer) == Record(
        Decimal("7.8"), 0, DateTime(2016, 3, 1, 12, 5, 0)
    )


def test_a_failed_measurement_is_no_result() -> None:
    """All that is known is the E in the fifth field."""
    for line in (b"200 glurec 1 0 E3\r", b"200 glurec 1 0 E 0 2016 3 1 12 5 9\r"):
        with pytest.raises(DecodeError) as caught:
            read_record(decode_line(line))
        assert caught.value.fault == Fault.DEVICE_ERROR


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (b"200 glurec 1 0 142 3 2016 3 1 12\r", Fault.TRUNCATED),
        (b"200 glurec 1 0 142 7 2016 3 1 12 5 9\r", Fault.OUT_OF_RANGE),
        (b"200 glurec 1 0 142 x 2016 3 1 12 5 9\r", Fault.BAD_FIELD),
        (b"200 glurec 1 0 -14 0 2016 3 1 12 5 9\r", Fault.BAD_FIELD),
        (b"200 glurec 1 0 1420 0 2016 3 1 12 5 9\r", Fault.BAD_FIELD),
        (b"200 serial 1 0 142 0 2016 3 1 12 5 9\r", Fault.NOT_A_RESPONSE),
    ],
)
def test_a_wrong_result_is_refused(line: bytes, fault: Fault) -> None:
    with pytest.raises(DecodeError) as caught:
        read_record(decode_line(line))

    assert caught.value.fault == fault


def test_a_stream_gives_answers_line_by_line() -> None:
    """What is no answer is reported, not passed over."""
    events = decoder().feed(b"200 hello BGST-AR\r\xff\xff\r200 glucount 5\r200 gl")

    assert events == [
        decode_line(b"200 hello BGST-AR\r"),
        Damaged(b"\xff\xff\r", Fault.BAD_FIELD),
        decode_line(b"200 glucount 5\r"),
    ]

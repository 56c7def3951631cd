"""CodeFree frames and messages, against bytes made by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import DecodeError, Fault
from protocols.gatt.time import DateTime
from protocols.stream import Damaged
from protocols.vendor.sdbiosensor import (
    CLOCK_IS_SET,
    GOODBYE,
    HELLO,
    Direction,
    Frame,
    Meal,
    Record,
    answer_hello,
    decode_count,
    decode_frame,
    decode_record,
    decoder,
    fetch,
    set_clock,
)

HELLO_FRAME = bytes.fromhex("53 20 04 10 30 20 aa")
RECORD = bytes.fromhex(
    "53 20 13 11 22 1a 03 02 07 1e 00 69 10 01 02 03 04 05 06 07 48 aa"
)


def xored(message: str) -> bytes:
    """Build a meter's frame by hand."""
    body = bytes.fromhex(message)
    check = 0
    for byte in body:
        check ^= byte
    return bytes([0x53, 0x20, len(body) + 2]) + body + bytes([check, 0xAA])


def test_the_meters_words_are_those_of_the_notes() -> None:
    assert decode_frame(HELLO_FRAME) == Frame(Direction.METER, HELLO)
    assert xored("10 30") == HELLO_FRAME
    assert xored("10 70") == Frame(Direction.METER, GOODBYE).encode()
    assert xored("10 10") == Frame(Direction.METER, CLOCK_IS_SET).encode()


def test_the_hosts_words_are_those_of_the_notes() -> None:
    """A wrong frame gives E-5, and the meter must be switched off."""
    assert answer_hello().encode() == bytes.fromhex("53 10 04 10 40 50 aa")
    assert fetch().encode() == bytes.fromhex("53 10 04 10 60 70 aa")
    clock = DateTime(2024, 6, 15, 14, 30, 59)
    assert set_clock(clock).encode() == (
        b"\x53\x10\x13ADATE202406151430" + bytes([0x55, 0xAA])
    )


def test_a_record_is_mg_per_dl_with_a_meal_and_without_seconds() -> None:
    assert xored("11 22 1a 03 02 07 1e 00 69 10 01 02 03 04 05 06 07") == RECORD

    record = decode_record(decode_frame(RECORD).message)

    assert record == Record(DateTime(2026, 3, 2, 7, 30, 0), 105, Meal.BEFORE)


@pytest.mark.parametrize(("value", "mg_per_dl"), [("00 0a", 10), ("02 58", 600)])
def test_a_record_may_have_any_value_that_a_meter_shows(
    value: str, mg_per_dl: int
) -> None:
    message = bytes.fromhex(f"11 22 1a 03 02 07 1e {value} 20 01 02 03 04 05 06 07")

    assert decode_record(message).mg_per_dl == mg_per_dl


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        ("", Fault.TRUNCATED),
        ("11 22 1a 03 02 07 1e 00 69 10 01 02 03 04 05 06", Fault.TRUNCATED),
        ("11 22 1a 03 02 07 1e 00 69 10 01 02 03 04 05 06 07 08", Fault.BAD_LENGTH),
        ("11 22 1a 03 02 07 1e 02 59 10 01 02 03 04 05 06 07", Fault.OUT_OF_RANGE),
        ("11 22 1a 03 02 07 1e 00 09 10 01 02 03 04 05 06 07", Fault.OUT_OF_RANGE),
        ("11 22 1a 03 02 07 1e 00 00 10 01 02 03 04 05 06 07", Fault.OUT_OF_RANGE),
        ("11 22 1a 03 02 07 1e 00 69 30 01 02 03 04 05 06 07", Fault.RESERVED_VALUE),
    ],
)
def test_what_no_document_explains_is_no_record(message: str, fault: Fault) -> None:
    """How HI, LO and control solution look is not known: nothing is guessed."""
    with pytest.raises(DecodeError) as caught:
        decode_record(bytes.fromhex(message))

    assert caught.value.fault == fault


def test_the_count_has_its_high_byte_first() -> None:
    assert decode_count(bytes.fromhex("30 01 02") + b"\xaa" * 19) == 258


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        ("30 01", Fault.TRUNCATED),
        ("30 01 02" + "aa" * 18, Fault.TRUNCATED),
        ("30 01 02" + "aa" * 20, Fault.BAD_LENGTH),
        ("30 01 02" + "aa" * 18 + "ab", Fault.BAD_FIELD),
        ("31 01 02" + "aa" * 19, Fault.NOT_A_RESPONSE),
    ],
)
def test_another_message_is_no_count(message: str, fault: Fault) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_count(bytes.fromhex(message))

    assert caught.value.fault == fault


@pytest.mark.parametrize(
    ("raw", "fault", "offset"),
    [
        ("54 20 04 10 30 20 aa", Fault.BAD_HEADER, 0),
        ("53 30 04 10 30 20 aa", Fault.BAD_HEADER, 1),
        ("53 20 02 00 aa", Fault.BAD_LENGTH, 2),
        ("53 20 04 10 30 21 aa", Fault.BAD_CHECKSUM, 5),
        ("53 20 04 10 30 20 ab", Fault.BAD_FRAME, 6),
        ("53 20 04 10 30 20", Fault.TRUNCATED, 6),
        ("53 20 04 10 30 20 aa aa", Fault.BAD_LENGTH, 7),
    ],
)
def test_a_wrong_frame_is_refused_where_it_is_wrong(
    raw: str, fault: Fault, offset: int
) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_frame(bytes.fromhex(raw))

    assert (caught.value.fault, caught.value.offset) == (fault, offset)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 64])
def test_frames_come_out_behind_the_zero_that_some_adapters_add(size: int) -> None:
    stream, found = b"\0" + HELLO_FRAME + b"\x53\x77" + RECORD, decoder()

    events = [
        event
        for at in range(0, len(stream), size)
        for event in found.feed(stream[at : at + size])
    ]

    frames = [event for event in events if isinstance(event, Frame)]
    assert [frame.encode() for frame in frames] == [HELLO_FRAME, RECORD]
    lost = b"".join(event.data for event in events if isinstance(event, Damaged))
    assert lost == b"\0\x53\x77"


@given(st.binary(max_size=40))
def test_any_message_is_a_record_or_refused(message: bytes) -> None:
    for decode in (decode_record, decode_count, decode_frame):
        try:
            decode(message)
        except DecodeError as error:
            assert error.data == message  # noqa: PT017 - either is right

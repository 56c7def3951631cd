"""CareSens protocol 1: bytes by its document; no meter's own were at hand."""

import pytest

from protocols.errors import DecodeError, Fault
from protocols.gatt.time import DateTime
from protocols.stream import Damaged
from protocols.vendor.isens_flash import (
    RECORD_SIZE,
    Record,
    ask_protocol,
    ask_read,
    decode_answer,
    decode_octet,
    decode_protocol,
    decode_record,
    decoder,
)

TIME = DateTime(2016, 3, 2, 7, 31, 5)
STAMP = bytes([16, 3, 2, 7, 31, 5])
# 0x6a is 106, behind it 0x00
ANSWER = bytes.fromhex("8b 16 2a 8b 10 20")


def test_the_meter_tells_its_protocol() -> None:
    assert ask_protocol() == b"\x80"
    assert decode_protocol(b"\x20") == 1
    assert decode_protocol(b"\x2e") == 3


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", Fault.TRUNCATED),
        (b"\x80", Fault.NOT_A_RESPONSE),
        (b"\x20\x20", Fault.BAD_LENGTH),
    ],
)
def test_another_answer_names_no_protocol(data: bytes, fault: Fault) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_protocol(data)

    assert caught.value.fault == fault


def test_a_request_is_coded_by_halves_of_octets() -> None:
    """1 and the high half, 2 and the low half."""
    request = ask_read(bytes.fromhex("a1 b2"), 0x78)

    assert request == bytes.fromhex("8b 1a 21 1b 22 17 28")
    assert ask_read(b"\0\0", 255) == bytes.fromhex("8b 10 20 10 20 1f 2f")


@pytest.mark.parametrize(
    ("address", "length"), [(b"\0", 8), (b"\0\0\0", 8), (b"\0\0", 0), (b"\0\0", 256)]
)
def test_a_request_that_does_not_fit_is_refused(address: bytes, length: int) -> None:
    with pytest.raises(ValueError, match="can't be read"):
        ask_read(address, length)


def test_an_answer_has_three_bytes_an_octet() -> None:
    assert decode_octet(bytes.fromhex("8b 16 2a")) == 0x6A
    assert decode_octet(bytes.fromhex("8b 10 20")) == 0
    assert decode_octet(bytes.fromhex("8b 1f 2f")) == 0xFF
    assert decode_answer(ANSWER, 2) == bytes.fromhex("6a 00")


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        ("8b 16", Fault.TRUNCATED),
        ("8b 16 2a 8b", Fault.TRUNCATED),
        ("8b 16 2a 8b 10 20 8b", Fault.BAD_LENGTH),
        ("8a 16 2a 8b 10 20", Fault.BAD_HEADER),
        ("8b 26 2a 8b 10 20", Fault.BAD_FRAME),
        ("8b 16 1a 8b 10 20", Fault.BAD_FRAME),
    ],
)
def test_a_wrong_answer_is_refused(raw: str, fault: Fault) -> None:
    """There is no checksum: the marks are all that can be judged."""
    with pytest.raises(DecodeError) as caught:
        decode_answer(bytes.fromhex(raw), 2)

    assert caught.value.fault == fault


def test_octets_come_out_byte_by_byte() -> None:
    found = decoder()

    events = [event for byte in b"\x2a" + ANSWER for event in found.feed(bytes([byte]))]

    assert events == [Damaged(b"\x2a", "noise"), 0x6A, 0x00]


@pytest.mark.parametrize(
    ("raw", "record"),
    [
        (106, Record(TIME, 106, 106)),
        (11, Record(TIME, 11, 11)),
        (699, Record(TIME, 699, 699)),
        (10, Record(TIME, None, 10, below_range=True)),
        (700, Record(TIME, None, 700, above_range=True)),
        (10106, Record(TIME, 106, 10106, is_after_meal=True)),
        (10700, Record(TIME, None, 10700, is_after_meal=True, above_range=True)),
        (20106, Record(TIME, 106, 20106, is_control=True)),
        (20010, Record(TIME, None, 20010, is_control=True, below_range=True)),
    ],
)
def test_a_value_tells_control_solution_and_meal(raw: int, record: Record) -> None:
    """HI and LO are no numbers, and control solution is no person."""
    assert decode_record(STAMP + raw.to_bytes(2, "little")) == record


@pytest.mark.parametrize("raw", [0, 9, 701, 10000, 10001, 10701, 20000, 20001, 65535])
def test_a_value_that_nobody_can_explain_is_refused(raw: int) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_record(STAMP + raw.to_bytes(2, "little"))

    assert caught.value.fault == Fault.OUT_OF_RANGE


def test_memory_that_was_never_written_is_no_record() -> None:
    with pytest.raises(DecodeError) as caught:
        decode_record(b"\xff" * RECORD_SIZE)

    assert caught.value.fault == Fault.EMPTY_SLOT


def test_a_record_has_one_size() -> None:
    for data in (b"", STAMP, STAMP + b"\x6a"):
        with pytest.raises(DecodeError) as caught:
            decode_record(data)
        assert caught.value.fault == Fault.TRUNCATED

    with pytest.raises(DecodeError) as caught:
        decode_record(STAMP + b"\x6a\0\0")

    assert caught.value.fault == Fault.BAD_LENGTH


def test_an_impossible_date_does_not_cost_the_record() -> None:
    record = decode_record(bytes([16, 13, 32, 25, 61, 61, 106, 0]))

    assert record.time == DateTime(2016, 13, 32, 25, 61, 61)
    assert record.value == 106

"""Verio of 2015: blocks by their document; no meter's own were at hand."""

import pytest

from protocols.crc import ccitt_false
from protocols.errors import DecodeError, Fault
from protocols.gatt.time import DateTime
from protocols.vendor.lifescan_verio_2015 import (
    Parameter,
    Query,
    Record,
    Request,
    ask_clock,
    ask_count,
    ask_parameter,
    ask_record,
    ask_text,
    decode_block,
    read_clock,
    read_count,
    read_record,
    read_text,
    read_unit,
)

# 2026-03-02 07:31:05 is 825 751 865 seconds after 2000
RECORD = "0306 1200 00 3402 39f93731 6a00 02 00 a5 0b 00"


def block(message: str, *, head: str = "02", link: str = "00") -> bytes:
    """Build a block by hand."""
    size = len(bytes.fromhex(message)) + 6
    body = bytes.fromhex(f"{head} {size:02x} {link} {message} 03")
    return (body + ccitt_false(body).to_bytes(2, "little")).ljust(512, b"\0")


def test_a_request_fills_one_block_behind_its_frame() -> None:
    """02, 9 bytes, link 0, the message, 03, the sum; zeros up to 512."""
    data = ask_count().encode()

    assert data == block("03 27 00")
    assert data[:7] == bytes.fromhex("02 09 00 03 27 00 03")
    assert len(data) == 512
    assert not any(data[9:])


def test_requests_are_those_of_the_notes() -> None:
    """A message into the wrong block is not answered."""
    for request, number, message in (
        (ask_text(Query.SERIAL_NUMBER), 3, "03 e6 02 00"),
        (ask_text(Query.MODEL), 3, "03 e6 02 01"),
        (ask_text(Query.SOFTWARE), 3, "03 e6 02 02"),
        (ask_text(Query.DATE_FORMAT), 3, "03 e6 02 04"),
        (ask_text(Query.TIME_FORMAT), 3, "03 e6 02 05"),
        (ask_clock(), 3, "03 20 02"),
        (ask_count(), 3, "03 27 00"),
        (ask_record(258), 3, "03 31 02 02 01 00"),
        (ask_parameter(Parameter.FORMAT_0), 4, "03 00 00"),
        (ask_parameter(Parameter.FORMAT_2), 4, "03 02 00"),
        (ask_parameter(Parameter.UNIT), 4, "03 04 00"),
    ):
        assert request == Request(number, bytes.fromhex(message))


def test_what_fills_a_block_is_not_judged() -> None:
    data = block("03 06 05 00")

    assert decode_block(data) == bytes.fromhex("03 06 05 00")
    assert decode_block(data[:10] + b"\xff" * 502) == bytes.fromhex("03 06 05 00")


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", Fault.TRUNCATED),
        (block("03 06")[:511], Fault.TRUNCATED),
        (block("03 06") + b"\0", Fault.BAD_LENGTH),
        (bytes(512), Fault.TRUNCATED),
        (block("03 06", head="03"), Fault.BAD_HEADER),
        (block("03 06", link="04"), Fault.BAD_HEADER),
        (block("03 06").replace(b"\x06", b"\x07"), Fault.BAD_CRC),
    ],
)
def test_a_wrong_block_is_refused(data: bytes, fault: Fault) -> None:
    """A block of an ordinary disk is none of the meter's."""
    with pytest.raises(DecodeError) as caught:
        decode_block(data)

    assert caught.value.fault == fault


def test_texts_are_wide_and_end_with_nul() -> None:
    assert read_text(bytes.fromhex("0306 4100 4200 3100 0000")) == "AB1"
    assert read_text(bytes.fromhex("0306 0000")) == ""


@pytest.mark.parametrize("raw", ["", "4100", "4100 00", "0000 4100 0000", "00d8 0000"])
def test_a_wrong_text_is_refused(raw: str) -> None:
    with pytest.raises(DecodeError) as caught:
        read_text(bytes.fromhex("0306" + raw))

    assert caught.value.fault == Fault.BAD_FIELD


def test_clock_count_and_unit_are_those_of_the_verio_iq() -> None:
    clock = bytes.fromhex("0306 39f93731")

    assert read_clock(clock) == DateTime(2026, 3, 2, 7, 31, 5)
    assert read_count(bytes.fromhex("0306 f401")) == 500
    assert read_unit(bytes.fromhex("0306 00 000000")) == "MG/DL"
    assert read_unit(bytes.fromhex("0306 01 000000")) == "MMOL/L"


def test_a_record_keeps_what_nobody_can_explain() -> None:
    """One of those bits marks control solution; which of them is not known."""
    assert read_record(bytes.fromhex(RECORD)) == Record(
        inverse_number=0x12,
        lifetime_counter=0x234,
        time=DateTime(2026, 3, 2, 7, 31, 5),
        mg_per_dl=106,
        meal=2,
        flags=0xA5,
        constants=bytes.fromhex("00 00 0b 00"),
    )


def test_a_record_has_one_size() -> None:
    raw = bytes.fromhex(RECORD)
    for cut in range(len(raw)):
        with pytest.raises(DecodeError) as caught:
            read_record(raw[:cut])
        assert caught.value.fault == Fault.TRUNCATED

    with pytest.raises(DecodeError) as caught:
        read_record(raw + b"\0")

    assert caught.value.fault == Fault.BAD_LENGTH


@pytest.mark.parametrize("status", ["05", "07", "08", "09"])
def test_another_status_means_that_there_is_no_data(status: str) -> None:
    """What stands behind it must not be read as a result."""
    message = bytes.fromhex("03" + status + RECORD.removeprefix("0306"))
    for read in (read_record, read_text, read_clock, read_count, read_unit):
        with pytest.raises(DecodeError) as caught:
            read(message)
        assert caught.value.fault == Fault.DEVICE_ERROR

"""Omron on USB by its document; the 790IT's answer is the one libomron prints."""

import pytest

from protocols.errors import DecodeError, Fault
from protocols.gatt.time import DateTime
from protocols.stream import Damaged
from protocols.vendor import omron_eeprom
from protocols.vendor.omron_eeprom import Frame, Type
from protocols.vendor.omron_usb import (
    ABORT,
    ASK_CLOCK,
    ASK_COUNT,
    ASK_PROFILE,
    ASK_VERSION,
    BLOCK,
    FEATURE,
    FIRST_RECORD,
    SWITCH_OFF,
    WAKE,
    Messages,
    Record790,
    Record7301,
    ask_record_790,
    ask_record_7301,
    decode_answer,
    decode_clock,
    decode_count,
    decode_record_790,
    decode_record_7301,
    decode_text,
    unwrap,
    wrap,
)

# 112/75, pulse 71; the message has 17 bytes, so 7, 7 and 3
REPORTS_790 = (
    bytes.fromhex("07 4f 4b 00 07 01 03 00"),
    bytes.fromhex("07 06 33 00 00 70 4b 47"),
    bytes.fromhex("03 00 00 4c 00 00 00 00"),
)
ANSWER_790 = bytes.fromhex("00 07 01 03 00 06 33 00 00 70 4b 47 00 00")
# 09 is 9 o'clock; time at 1 to 6, systolic 7b at 9, diastolic 50, pulse 40
ANSWER_7301 = bytes.fromhex("00 0d 02 06 09 1e 0f aa bb 7b 50 40 cc")
# length 0a, type 8100, address 02ac, count 2, data 11 22; the xor of all is 0
FRAME = bytes.fromhex("0a 81 00 02 ac 02 11 22 00 14")


def test_requests_are_those_of_the_document() -> None:
    assert bytes.fromhex("00 00") == FEATURE
    assert bytes.fromhex("07 00 00 00 00 00 00 00") == WAKE[0] == WAKE[1]
    assert ASK_CLOCK[0] == b"\x05GCL00\0\0"
    assert ASK_COUNT[0] == b"\x05CNT00\0\0"
    assert ASK_VERSION[0] == b"\x05VER00\0\0"
    assert ASK_PROFILE[0] == b"\x05PRF00\0\0"
    assert SWITCH_OFF[0] == b"\x05END00\0\0"
    assert ask_record_7301(5) == (b"\x07MES\x00\x00\x05\x05",)


def test_a_request_of_eight_bytes_goes_in_two_reports() -> None:
    """Its last byte is the exclusive or of bank and index."""
    assert ask_record_790(1, 6) == (
        b"\x07GME\x00\x01\x00\x06",
        b"\x01\x07\0\0\0\0\0\0",
    )


def test_reports_are_joined_until_a_short_one() -> None:
    found = Messages()

    events = [event for report in REPORTS_790 for event in found.feed(report)]

    assert events == [b"OK" + ANSWER_790 + b"\x4c"]
    assert decode_answer(b"OK" + ANSWER_790 + b"\x4c") == ANSWER_790
    assert found.feed(bytes(8)) == []
    assert found.feed(b"\x02OK") == [b"OK"]


def test_a_message_of_whole_reports_ends_in_silence() -> None:
    """No short report may follow one of 7 or 14 bytes."""
    found = Messages()

    assert found.feed(b"\x07OK\x00abc\x60") == []
    assert found.end() == [b"OK\x00abc\x60"]
    assert found.end() == []
    assert decode_answer(b"OK\x00abc\x60") == b"\x00abc"


def test_damaged_reports_are_told_with_what_they_cut() -> None:
    found = Messages()

    assert found.feed(b"") == [Damaged(b"", Fault.TRUNCATED)]
    assert found.feed(b"\x03OK") == [Damaged(b"\x03OK", Fault.TRUNCATED)]
    assert found.feed(b"\x02OK" + bytes(6)) == [
        Damaged(b"\x02OK" + bytes(6), Fault.BAD_LENGTH)
    ]
    assert found.feed(REPORTS_790[0]) == []
    assert found.feed(b"\x08" + bytes(7)) == [
        Damaged(REPORTS_790[0][1:], "given up"),
        Damaged(b"\x08" + bytes(7), Fault.BAD_LENGTH),
    ]
    assert found.feed(REPORTS_790[2]) == [bytes.fromhex("00 00 4c")]


def test_an_endless_message_is_given_up() -> None:
    """A cuff that never ends one must not fill the station's memory."""
    found, report = Messages(), b"\x07" + bytes(7)

    events = [event for _ in range(10) for event in found.feed(report)]

    assert events == [Damaged(bytes(70), "given up")]
    assert found.end() == []


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        (b"", Fault.TRUNCATED),
        (b"O", Fault.TRUNCATED),
        (b"NO", Fault.DEVICE_ERROR),
        (b"OFF\r\n", Fault.BAD_HEADER),
        (b"OK\x00\x01\x00", Fault.BAD_CHECKSUM),
    ],
)
def test_what_is_no_answer_is_refused(message: bytes, fault: Fault) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_answer(message)

    assert caught.value.fault == fault


def test_an_answer_may_carry_nothing() -> None:
    """So is a woken cuff's; no reader takes it for a value."""
    assert decode_answer(b"OK") == b""
    for decode in (
        decode_clock,
        decode_count,
        decode_record_790,
        decode_record_7301,
        decode_text,
    ):
        with pytest.raises(DecodeError) as caught:
            decode(b"")
        assert caught.value.fault == Fault.TRUNCATED


def test_the_clock_stands_behind_the_status() -> None:
    clock = DateTime(2013, 2, 6, 9, 30, 15)

    assert decode_clock(bytes.fromhex("00 0d 02 06 09 1e 0f")) == clock


def test_the_count_is_the_third_byte() -> None:
    assert decode_count(bytes.fromhex("00 00 5a 00")) == 90


def test_a_record_of_the_7301_keeps_what_is_not_known() -> None:
    assert decode_record_7301(ANSWER_7301) == Record7301(
        DateTime(2013, 2, 6, 9, 30, 15), 123, 80, 64, ANSWER_7301
    )


def test_a_record_of_the_790_is_what_libomron_printed() -> None:
    record = decode_record_790(ANSWER_790)

    assert record == Record790(
        DateTime(2007, 1, 3, 0, 6, 51), 0, 112, 75, 71, 0, ANSWER_790
    )
    assert (record.is_irregular, record.has_movement) == (False, False)
    assert record.in_series == 0


@pytest.mark.parametrize(
    ("flags", "irregular", "movement", "in_series"),
    [("0001", True, False, 0), ("0002", False, True, 0), ("8030", False, False, 3)],
)
def test_flags_of_the_790_are_read_by_bits(
    flags: str, irregular: bool, movement: bool, in_series: int
) -> None:
    record = decode_record_790(ANSWER_790[:-2] + bytes.fromhex(flags))

    assert record.flags == int(flags, 16)
    assert (record.is_irregular, record.has_movement) == (irregular, movement)
    assert record.in_series == in_series


@pytest.mark.parametrize("size", range(len(ANSWER_790)))
def test_every_cut_of_a_record_is_refused(size: int) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_record_790(ANSWER_790[:size])
    assert caught.value.fault == Fault.TRUNCATED
    if size < 12:
        with pytest.raises(DecodeError):
            decode_record_7301(ANSWER_7301[:size])


def test_a_record_of_the_790_that_is_too_long_is_refused() -> None:
    with pytest.raises(DecodeError) as caught:
        decode_record_790(ANSWER_790 + b"\0")

    assert caught.value.fault == Fault.BAD_LENGTH


def test_texts_are_ascii_behind_the_status() -> None:
    assert decode_text(b"\0M7080IT 207") == "M7080IT 207"
    with pytest.raises(DecodeError) as caught:
        decode_text(b"\0M\xff")
    assert caught.value.fault == Fault.BAD_FIELD


def test_frames_go_out_behind_a_2() -> None:
    assert wrap(omron_eeprom.START) == bytes.fromhex("02 08 00 00 00 00 10 00 18")
    assert wrap(ABORT) == bytes.fromhex("02 08 0f 0f 0f 0f 00 00 08")
    assert wrap(omron_eeprom.END) == bytes.fromhex("02 08 0f 00 00 00 00 00 07")


def test_nothing_is_written_into_the_memory() -> None:
    """A write anywhere could lose readings."""
    with pytest.raises(ValueError, match="write"):
        wrap(Frame(Type.WRITE, 0x0286, 1, b"\0"))


def test_records_are_read_in_blocks_of_28_from_02ac() -> None:
    frame = omron_eeprom.read(FIRST_RECORD, BLOCK)

    assert wrap(frame) == bytes.fromhex("02 08 01 00 02 ac 28 00 8f")


@pytest.mark.parametrize("first", [0x00, 0x02, 0xFF])
@pytest.mark.parametrize("fill", [b"", bytes(53), b"\xff"])
def test_frames_come_in_behind_a_byte(first: int, fill: bytes) -> None:
    """So the data stand at byte 7."""
    report = bytes([first]) + FRAME + fill

    assert report[7:9] == b"\x11\x22"
    assert unwrap(report) == Frame(Type.DATA, 0x02AC, 2, b"\x11\x22")


@pytest.mark.parametrize(
    ("report", "fault"),
    [
        (b"", Fault.TRUNCATED),
        (b"\x02", Fault.TRUNCATED),
        (b"\x02" + bytes(8), Fault.TRUNCATED),
        (b"\x02" + FRAME[:-1], Fault.TRUNCATED),
        (b"\x02" + FRAME[:-1] + b"\x15", Fault.BAD_CHECKSUM),
    ],
)
def test_a_wrong_frame_is_refused(report: bytes, fault: Fault) -> None:
    with pytest.raises(DecodeError) as caught:
        unwrap(report)

    assert caught.value.fault == fault

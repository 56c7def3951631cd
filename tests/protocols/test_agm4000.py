"""AGM-4000 frames, against checks computed by hand from the field notes."""

import pytest

from protocols.errors import DecodeError, Fault
from protocols.stream import Damaged
from protocols.vendor.agm4000 import (
    Frame,
    ask_count,
    ask_record,
    ask_serial_number,
    decode_count,
    decode_frame,
    decoder,
    switch_off,
)

# low: ~(80 ^ fe) is 81; high: ~(01 ^ 00) is fe
ASK_COUNT = bytes.fromhex("80 01 fe 00 81 fe")
# n is 3, ~n fc; low: ~(80 ^ fc ^ 01) is 82; high: ~(03 ^ 01 ^ 02) is ff
ASK_RECORD_258 = bytes.fromhex("80 03 fc 01 01 02 82 ff")
# low: ~(80 ^ fc ^ 01) is 82; high: ~(03 ^ 00 ^ 02) is fe
COUNT_258 = bytes.fromhex("80 03 fc 00 01 02 82 fe")


def test_requests_are_those_of_the_notes() -> None:
    assert ask_count().encode() == ASK_COUNT
    assert ask_record(258).encode() == ASK_RECORD_258
    assert ask_serial_number().encode() == bytes.fromhex("80 01 fe 09 81 f7")
    assert switch_off().encode() == bytes.fromhex("80 01 fe 0b 81 f5")


def test_the_count_has_its_high_byte_first() -> None:
    assert decode_count(decode_frame(COUNT_258)) == 258


def test_the_answer_to_another_command_is_no_count() -> None:
    with pytest.raises(DecodeError) as caught:
        decode_count(Frame(0x01, b"\x01\x02"))

    assert caught.value.fault == Fault.NOT_A_RESPONSE


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        ("", Fault.TRUNCATED),
        ("81 01 fe 00 81 fe", Fault.BAD_HEADER),
        ("80 00 ff 81 fe", Fault.BAD_LENGTH),
        ("80 01 fd 00 81 fe", Fault.BAD_LENGTH),
        ("80 01 fe 00 81", Fault.TRUNCATED),
        ("80 01 fe 00 81 ff", Fault.BAD_CHECKSUM),
        ("80 01 fe 00 81 fe 00", Fault.BAD_LENGTH),
    ],
)
def test_a_wrong_frame_is_refused_with_its_fault(raw: str, fault: Fault) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_frame(bytes.fromhex(raw))

    assert caught.value.fault == fault


@pytest.mark.parametrize("raw", [ASK_COUNT, ASK_RECORD_258, COUNT_258])
def test_every_flipped_bit_of_a_frame_is_refused(raw: bytes) -> None:
    """Two bytes of checks find every single error."""
    for bit in range(8 * len(raw)):
        damaged = bytearray(raw)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DecodeError):
            decode_frame(bytes(damaged))


def test_frames_come_out_byte_by_byte() -> None:
    """The meter sends one byte a report."""
    stream, found = b"\x80\x00" + COUNT_258 + ASK_COUNT, decoder()

    events = [event for byte in stream for event in found.feed(bytes([byte]))]

    assert [event for event in events if isinstance(event, Frame)] == [
        Frame(0, b"\x01\x02"),
        Frame(0),
    ]
    lost = b"".join(event.data for event in events if isinstance(event, Damaged))
    assert lost == b"\x80\x00"

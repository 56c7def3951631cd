"""Sinocare's public frame, against its captured sample and bytes made by hand."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols import kinds
from protocols.errors import DecodeError, Fault
from protocols.gatt.time import DateTime
from protocols.stream import Damaged
from protocols.vendor.sinocare import (
    Frame,
    Result,
    decode_frame,
    decode_result,
    decoder,
)

SAMPLE = bytes.fromhex("53 4e 10 00 04 04 11 04 0b 10 1b 24 00 36 00 00 cd 18 a2")
START = bytes.fromhex("53 4e 05 00 04 03 01 0d")  # 05 + 04 + 03 + 01


def test_the_sample_says_5_4_mmol_per_l() -> None:
    frame = decode_frame(SAMPLE)

    assert frame == Frame(4, 4, bytes.fromhex("11 04 0b 10 1b 24 00 36 00 00 cd 18"))
    assert decode_result(frame.data) == Result(
        DateTime(2017, 4, 11, 16, 27, 36), Decimal("5.4"), b"\x00\x00\xcd\x18"
    )


def test_the_value_has_its_high_byte_first() -> None:
    """Read the other way round 30.0 mmol/L would be 1126.4."""
    data = bytes.fromhex("11 04 0b 10 1b 24 01 2c 00 00 00 00")

    assert decode_result(data).mmol_per_l == Decimal("30.0")


@pytest.mark.parametrize("size", [0, 7, 11, 13])
def test_a_result_has_twelve_bytes(size: int) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_result(bytes(size))

    assert caught.value.fault in (Fault.TRUNCATED, Fault.BAD_LENGTH)


def test_another_command_shows_no_result() -> None:
    shown = kinds.show("sinocare.wechat_frame", START, {})

    assert shown == {"model": "0004", "command": 3, "data": "01"}


def test_an_impossible_time_is_shown_as_it_is() -> None:
    data = "11 0d 0b 10 1b 24 00 36 00 00 cd 18"
    body = bytes.fromhex("10 00 04 04" + data)
    raw = b"SN" + body + bytes([sum(body) % 256])

    shown = kinds.show("sinocare.wechat_frame", raw, {})

    assert shown["timestamp"] == "2017-13-11T16:27:36"
    assert shown["timestamp_valid"] is False


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        ("53", Fault.TRUNCATED),
        ("54 4e 04 00 04 03 0b", Fault.BAD_HEADER),
        ("53 4f 04 00 04 03 0b", Fault.BAD_HEADER),
        ("53 4e 03 00 04 07", Fault.BAD_LENGTH),
        ("53 4e 05 00 04 03 01", Fault.TRUNCATED),
        ("53 4e 05 00 04 03 01 0e", Fault.BAD_CHECKSUM),
        ("53 4e 05 00 04 03 01 0d 00", Fault.BAD_LENGTH),
    ],
)
def test_a_wrong_frame_is_refused_with_its_fault(raw: str, fault: Fault) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_frame(bytes.fromhex(raw))

    assert caught.value.fault == fault


@pytest.mark.parametrize("size", [1, 2, 3, 20])
def test_frames_come_out_however_they_arrive(size: int) -> None:
    """A BLE packet carries twenty bytes, with no regard to where a frame ends."""
    stream, found = b"\x53\x4e\x01" + SAMPLE + b"S" + START, decoder()

    events = [
        event
        for at in range(0, len(stream), size)
        for event in found.feed(stream[at : at + size])
    ]

    assert [event for event in events if isinstance(event, Frame)] == [
        decode_frame(SAMPLE),
        Frame(4, 3, b"\x01"),
    ]
    lost = b"".join(event.data for event in events if isinstance(event, Damaged))
    assert lost == b"\x53\x4e\x01S"


@given(st.binary(max_size=40))
def test_any_bytes_are_a_result_or_refused(data: bytes) -> None:
    try:
        decode_result(data)
    except DecodeError as error:
        assert error.data == data  # noqa: PT017 - either is right

"""Maibobo frames and messages, against captured frames."""

import pytest

from protocols import kinds
from protocols.errors import DecodeError, Fault
from protocols.gatt.time import DateTime
from protocols.stream import Damaged
from protocols.vendor import maibobo
from protocols.vendor.maibobo import (
    UNSET,
    Answer,
    Battery,
    CuffPressure,
    Failed,
    Frame,
    Message,
    Result,
    Sender,
)

# Captured: a cuff that nobody has set, two that somebody has, one while measuring.
RESULT = "aa 80 02 0f 01 06 00 0e 01 01 01 01 01 00 d7 00 86 00 67 33"
SET = "aa 80 02 0f 01 06 02 10 0a 10 0b 2c 07 00 7a 00 47 00 47 58"
OTHER_USER = "aa 80 02 0f 01 06 01 14 05 0c 0c 1f 12 00 80 00 49 00 45 9b"
PRESSURE = "aa 80 02 08 01 05 00 00 00 00 42 00 4c"
CONNECTED = "aa 80 02 03 01 01 00 01"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (RESULT, Result(0, UNSET, 215, 134, 103)),
        (SET, Result(2, DateTime(2016, 10, 16, 11, 44, 7), 122, 71, 71)),
        (OTHER_USER, Result(1, DateTime(2020, 5, 12, 12, 31, 18), 128, 73, 69)),
        (PRESSURE, CuffPressure(66)),
        # 260 mmHg: the low byte is xored with the high one.
        ("aa 80 02 08 01 05 00 01 00 00 05 00 0a", CuffPressure(260)),
        (CONNECTED, Answer(1, 0)),
        ("aa 80 02 03 01 04 01 05", Answer(4, 1)),
        ("aa 80 02 03 01 07 07 00", Failed(7)),
        ("aa 80 02 04 04 04 0e 10 18", Battery(3600)),
        ("aa 80 02 03 09 09 00 01", None),
        ("cc 80 02 03 01 01 00 01", None),
    ],
)
def test_a_message_is_read_as_captured(data: str, expected: Message | None) -> None:
    """Two bytes a pressure, the high one first."""
    frame = maibobo.decode_frame(bytes.fromhex(data))

    assert maibobo.decode_message(frame) == expected


def test_a_pressure_above_255_keeps_its_high_byte() -> None:
    """One client reads the low byte alone, and so takes 260 for 4."""
    data = bytes.fromhex("aa 80 02 0f 01 06 00 0e 01 01 01 01 01 01 04 00 86 00 67 e1")

    message = maibobo.decode_message(maibobo.decode_frame(data))

    assert isinstance(message, Result)
    assert message.systolic == 260


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (maibobo.CONNECT, "cc 80 02 03 01 01 00 01"),
        (maibobo.STOP, "cc 80 02 03 01 03 00 03"),
        (maibobo.POWER_OFF, "cc 80 02 03 01 04 00 04"),
        (maibobo.ASK_BATTERY, "cc 80 02 03 04 04 00 01"),
    ],
)
def test_an_order_is_encoded_as_documented(order: Frame, expected: str) -> None:
    assert order.encode() == bytes.fromhex(expected)


def test_a_start_cannot_be_encoded() -> None:
    """It inflates a cuff with nobody asked."""
    start = maibobo.decode_frame(bytes.fromhex("cc 80 02 03 01 02 00 02"))

    with pytest.raises(ValueError, match="never sent"):
        start.encode()


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        ("", Fault.TRUNCATED),
        ("aa", Fault.TRUNCATED),
        ("ab 80 02 03 01 01 00 01", Fault.BAD_HEADER),
        ("aa 81 02 03 01 01 00 01", Fault.BAD_HEADER),
        ("aa 80 02 01 01 02", Fault.BAD_LENGTH),
        ("aa 80 02 03 01 01 00", Fault.BAD_LENGTH),
        ("aa 80 02 03 01 01 00 01 00", Fault.BAD_LENGTH),
        # The battery query of one client.
        ("cc 80 02 03 04 01 00 01", Fault.BAD_CHECKSUM),
        ("aa 80 01 03 01 01 00 02", Fault.UNSUPPORTED_VERSION),
    ],
)
def test_what_is_no_frame_is_refused_by_its_fault(data: str, fault: Fault) -> None:
    with pytest.raises(DecodeError) as caught:
        maibobo.decode_frame(bytes.fromhex(data))

    assert caught.value.fault == fault


@pytest.mark.parametrize(
    ("code", "data"), [(6, bytes(12)), (6, bytes(14)), (5, bytes(5)), (7, b"")]
)
def test_a_message_of_another_length_is_refused(code: int, data: bytes) -> None:
    """A result one byte off would be another pressure."""
    with pytest.raises(DecodeError):
        maibobo.decode_message(Frame(Sender.CUFF, 1, code, data))


@pytest.mark.parametrize("size", [1, 2, 7, 64])
def test_frames_come_out_however_the_bytes_arrive(size: int) -> None:
    """Cuffs were seen to send the first two bytes of an answer by themselves."""
    stream, decoder = bytes.fromhex(CONNECTED + PRESSURE + RESULT), maibobo.decoder()

    events = [
        event
        for at in range(0, len(stream), size)
        for event in decoder.feed(stream[at : at + size])
    ]

    assert [
        maibobo.decode_message(event) for event in events if isinstance(event, Frame)
    ] == [Answer(1, 0), CuffPressure(66), Result(0, UNSET, 215, 134, 103)]


@pytest.mark.parametrize("noise", ["00 ff", "aa", "aa 80", "aa 80 02 00", "aa 80 03"])
def test_noise_before_a_frame_is_told_and_costs_no_frame(noise: str) -> None:
    decoder = maibobo.decoder()

    events = decoder.feed(bytes.fromhex(noise + RESULT))
    while more := decoder.resync():
        events += more

    assert maibobo.decode_frame(bytes.fromhex(RESULT)) in events
    assert any(isinstance(event, Damaged) for event in events)


@pytest.mark.parametrize(("code", "reason"), [(7, "battery_low"), (3, "unknown")])
def test_a_failure_says_why_and_an_unknown_code_is_kept(code: int, reason: str) -> None:
    assert Failed(code).reason == reason


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (
            SET,
            {
                "group": 1,
                "code": 6,
                "packet": "result",
                "user": 2,
                "timestamp": "2016-10-16T11:44",
                "second": 7,
                "clock_set": True,
                "systolic": 122,
                "diastolic": 71,
                "pulse": 71,
            },
        ),
        (PRESSURE, {"packet": "cuff_pressure", "cuff_pressure": 66}),
        (CONNECTED, {"packet": "connected", "status": 0}),
        ("aa 80 02 03 01 07 07 00", {"packet": "error", "error": "battery_low"}),
        ("aa 80 02 04 04 04 0e 10 18", {"packet": "battery", "battery_mv": 3600}),
        ("aa 80 02 03 09 09 00 01", {"direction": "device", "packet": "unknown"}),
        ("cc 80 02 03 01 02 00 02", {"direction": "host", "packet": "start"}),
        ("cc 80 02 03 09 02 00 0a", {"direction": "host", "packet": "unknown"}),
    ],
)
def test_a_frame_is_shown_by_its_name(data: str, expected: dict[str, object]) -> None:
    """A technician sees a start before anybody sends it."""
    shown = kinds.show("maibobo.frame", bytes.fromhex(data), {})

    assert expected.items() <= shown.items()


def test_a_clock_that_nobody_set_is_shown_as_such() -> None:
    shown = kinds.show("maibobo.frame", bytes.fromhex(RESULT), {})

    assert shown["timestamp"] == "2014-01-01T01:01"
    assert shown["clock_set"] is False

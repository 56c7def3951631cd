"""Urion frames in both directions, against bytes made by hand from the notes."""

import pytest

from protocols import kinds
from protocols.errors import DecodeError, Fault
from protocols.gatt.time import DateTime
from protocols.stream import Damaged
from protocols.vendor import urion
from protocols.vendor.urion import (
    CuffPressure,
    Failed,
    Message,
    NoMoreRecords,
    PowerOff,
    Received,
    Record,
    Result,
    SendRecords,
    Start,
    Started,
    Waiting,
)

RECORD = "fd fd fe 78 50 48 00 07 e8 06 0f 0e 1e 0d 0a"
NO_MORE = "fd fd ff 00 00 00 00 00 00 00 00 00 00 0d 0a"
RESULT = "fd fd fc 78 50 48 0d 0a"
TIME = DateTime(2024, 6, 15, 14, 30, 45)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("a5", Waiting()),
        ("fd fd 05 0d 0a", Started()),
        ("fd fd 06 0d 0a", Started()),
        ("fd fd fb 01 2c 0d 0a", CuffPressure(300)),
        (RESULT, Result(120, 80, 72)),
        (RECORD, Record(120, 80, 72, 0, DateTime(2024, 6, 15, 14, 30, 0))),
        (NO_MORE, NoMoreRecords()),
        ("fd fd fd 0b 0d 0a", Failed(0x0B)),
        ("fd fd fa 05 0d 0a", Start(None)),
        ("fd fd fa 05 18 06 0f 0e 1e 2d 0d 0a", Start(TIME)),
        ("fd fd fa 07 18 06 0f 0e 1e 2d 0d 0a", SendRecords(TIME)),
        ("fd fd fa 60 0d 0a", Received()),
        ("fd fd fe 06 0d 0a", PowerOff()),
        # Values that look like an end, or like another frame's start.
        ("fd fd fc 0d 0a 0d 0d 0a", Result(13, 10, 13)),
        ("fd fd fb fd fd 0d 0a", CuffPressure(0xFDFD)),
    ],
)
def test_a_frame_is_read_as_the_notes_say(data: str, expected: Message) -> None:
    """The year alone has its high byte first with a low one to be confused with."""
    assert urion.decode_frame(bytes.fromhex(data)) == expected


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (SendRecords(TIME), "fd fd fa 07 18 06 0f 0e 1e 2d 0d 0a"),
        (Received(), "fd fd fa 60 0d 0a"),
        (PowerOff(), "fd fd fe 06 0d 0a"),
    ],
)
def test_what_the_host_sends_is_encoded_as_documented(
    message: SendRecords | Received | PowerOff, expected: str
) -> None:
    assert message.encode() == bytes.fromhex(expected)


def test_a_start_cannot_be_encoded() -> None:
    """It inflates a cuff with nobody asked: no code of ours can make those bytes."""
    assert not hasattr(Start, "encode")


@pytest.mark.parametrize(
    "time", [(2024, 2, 30, 1, 2, 3), (1999, 1, 2, 3, 4, 5), (2100, 1, 2, 3, 4, 5)]
)
def test_records_are_asked_for_with_no_time_that_is_none(
    time: tuple[int, int, int, int, int, int],
) -> None:
    """The request sets the cuff's clock."""
    with pytest.raises(ValueError, match="no time"):
        SendRecords(DateTime(*time)).encode()


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        ("", Fault.TRUNCATED),
        ("fd fd", Fault.TRUNCATED),
        ("fd fc fc 78 50 48 0d 0a", Fault.BAD_HEADER),
        ("fd fd 07 0d 0a", Fault.BAD_FIELD),
        ("fd fd fa 61 0d 0a", Fault.BAD_FIELD),
        ("fd fd fa", Fault.TRUNCATED),
        ("fd fd fa 07 0d 0a", Fault.BAD_LENGTH),
        ("fd fd fa 05 18 06 0f 0d 0a", Fault.BAD_LENGTH),
        ("fd fd fc 78", Fault.TRUNCATED),
        ("fd fd fc 78 50 48", Fault.BAD_FRAME),
        ("fd fd fc 78 50 48 0d 0b", Fault.BAD_FRAME),
        ("fd fd fc 78 50 48 00 0d 0a", Fault.BAD_LENGTH),
        ("fd fd fc 78 50 48 0d 0a 00", Fault.BAD_LENGTH),
        ("fd fd ff 00 00 00 00 00 00 00 00 00 01 0d 0a", Fault.BAD_FIELD),
        # The 16 bytes that one client reads, each value one byte later.
        ("fd fd fe 00 78 50 48 00 07 e8 06 0f 0e 1e 0d 0a", Fault.BAD_LENGTH),
    ],
)
def test_what_is_no_frame_is_refused_by_its_fault(data: str, fault: Fault) -> None:
    """Read one byte off, a diastolic pressure is a systolic one."""
    with pytest.raises(DecodeError) as caught:
        urion.decode_frame(bytes.fromhex(data))

    assert caught.value.fault == fault


@pytest.mark.parametrize("size", [1, 2, 7, 64])
def test_frames_come_out_however_the_bytes_arrive(size: int) -> None:
    stream = bytes.fromhex("fd fd 06 0d 0a fd fd fb 00 b9 0d 0a" + RECORD + NO_MORE)
    decoder = urion.decoder()

    events = [
        event
        for at in range(0, len(stream), size)
        for event in decoder.feed(stream[at : at + size])
    ]

    assert events == [
        Started(),
        CuffPressure(185),
        Record(120, 80, 72, 0, DateTime(2024, 6, 15, 14, 30, 0)),
        NoMoreRecords(),
    ]


@pytest.mark.parametrize("noise", ["00", "fd", "fd fd", "fd fd fa", "fd fd 00", "0d"])
def test_noise_before_a_frame_is_told_and_costs_no_frame(noise: str) -> None:
    """A stray fd makes the next frame look like a failure of the cuff."""
    decoder = urion.decoder()

    events = decoder.feed(bytes.fromhex(noise + RESULT))
    while more := decoder.resync():
        events += more

    assert Result(120, 80, 72) in events
    assert any(isinstance(event, Damaged) for event in events)
    assert not any(isinstance(event, Failed) for event in events)


def test_a_record_of_another_length_is_damage_and_no_reading() -> None:
    data = bytes.fromhex("fd fd fe 00 78 50 48 00 07 e8 06 0f 0e 1e 0d 0a")

    events = urion.decoder().feed(data)

    assert b"".join(e.data for e in events if isinstance(e, Damaged)) == data
    assert all(isinstance(event, Damaged) for event in events)


@pytest.mark.parametrize(
    ("code", "reason"),
    [(1, "weak_signal"), (5, "abnormal_result"), (14, "eeprom"), (6, "unknown")],
)
def test_a_failure_says_why_and_an_unknown_code_is_kept(code: int, reason: str) -> None:
    assert Failed(code).reason == reason


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (
            RECORD,
            {
                "direction": "device",
                "packet": "record",
                "systolic": 120,
                "diastolic": 80,
                "pulse": 72,
                "irregular": 0,
                "timestamp": "2024-06-15T14:30",
            },
        ),
        (
            RESULT,
            {
                "direction": "device",
                "packet": "result",
                "systolic": 120,
                "diastolic": 80,
                "pulse": 72,
            },
        ),
        (
            "fd fd fd 02 0d 0a",
            {
                "direction": "device",
                "packet": "error",
                "error_code": 2,
                "error": "noise",
            },
        ),
        (
            "fd fd fa 07 18 06 0f 0e 1e 2d 0d 0a",
            {
                "direction": "host",
                "packet": "send_records",
                "clock": "2024-06-15T14:30:45",
            },
        ),
        ("fd fd fa 05 0d 0a", {"direction": "host", "packet": "start"}),
    ],
)
def test_a_frame_is_shown_by_its_name(data: str, expected: dict[str, object]) -> None:
    """A technician sees a start before anybody sends it."""
    assert kinds.show("urion.frame", bytes.fromhex(data), {}) == expected


def test_an_impossible_time_is_shown_as_it_was_sent() -> None:
    data = bytes.fromhex("fd fd fe 78 50 48 00 07 e8 0d 0f 0e 1e 0d 0a")

    shown = kinds.show("urion.frame", data, {})

    assert shown["timestamp"] == "2024-13-15T14:30"
    assert shown["timestamp_valid"] is False

"""LifeScan frames, sequence bits and messages, against bytes made by hand."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.errors import DecodeError, Fault
from protocols.gatt.time import DateTime
from protocols.stream import Damaged
from protocols.vendor import lifescan_ultraeasy
from protocols.vendor.lifescan import Frame, Link, decode_frame, decoder
from protocols.vendor.lifescan_ultraeasy import LinkControl, Record

# From captures and the field notes (device protocols, 4.2), none by our encoder.
DISCONNECT = bytes.fromhex("02 06 08 03 c2 62")
DISCONNECTED = bytes.fromhex("02 06 0c 03 06 ae")
ASK_0 = bytes.fromhex("02 0a 03 05 1f 00 00 03 4b 5f")
ANSWER_115 = bytes.fromhex("02 10 00 05 06 95 a5 6d 66 73 00 00 00 03 a4 ae")
COUNT = bytes.fromhex("02 09 00 03 27 00 03 26 71")
STREAM = [DISCONNECTED, ANSWER_115, COUNT, DISCONNECT]


def frame(link: int, message: str = "") -> bytes:
    """Build a frame octet by octet, its CRC by the bitwise definition."""
    body = bytes([2, len(bytes.fromhex(message)) + 6, link])
    body += bytes.fromhex(message) + b"\x03"
    crc = 0xFFFF
    for byte in body:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ (0x1021 if crc & 0x8000 else 0)) & 0xFFFF
    return body + bytes([crc & 0xFF, crc >> 8])


def frames(events: list[Frame | Damaged]) -> list[Frame]:
    return [event for event in events if isinstance(event, Frame)]


def lost(events: list[Frame | Damaged]) -> bytes:
    return b"".join(event.data for event in events if isinstance(event, Damaged))


EXPECTED = [
    Frame(Link.ACK | Link.DISCONNECT),
    Frame(Link(0), bytes.fromhex("05 06 95 a5 6d 66 73 00 00 00")),
    Frame(Link(0), bytes.fromhex("03 27 00")),
    Frame(Link.DISCONNECT),
]


def test_the_bitwise_crc_of_this_file_is_that_of_the_captures() -> None:
    """The oracle itself must agree with what devices sent."""
    assert frame(8) == DISCONNECT
    assert frame(3, "05 1f 00 00") == ASK_0


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 64])
def test_frames_come_out_however_the_bytes_arrive(size: int) -> None:
    """One read is never one frame."""
    stream, stream_decoder = b"".join(STREAM), decoder()

    events = [
        event
        for at in range(0, len(stream), size)
        for event in stream_decoder.feed(stream[at : at + size])
    ]

    assert events == EXPECTED


def test_a_frame_is_encoded_as_captured() -> None:
    assert Frame(Link.DISCONNECT).encode() == DISCONNECT
    assert Frame(Link.S | Link.E, lifescan_ultraeasy.ask_record(0)).encode() == ASK_0


def test_noise_is_told_and_costs_no_frame() -> None:
    """What lies between frames is damage to be counted, not to be swallowed."""
    stream_decoder = decoder()
    noise = b"\x00\xff\x02\x03\x00"

    events = stream_decoder.feed(noise + ANSWER_115 + b"\xaa" + COUNT)

    assert frames(events) == EXPECTED[1:3]
    assert lost(events) == noise + b"\xaa"


def test_a_frame_may_start_inside_a_damaged_one() -> None:
    """After a bad checksum only its first byte is given up, never what follows."""
    damaged = ANSWER_115[:-1] + b"\x00"

    events = decoder().feed(damaged + COUNT)

    assert frames(events) == [EXPECTED[2]]
    assert lost(events) == damaged
    assert Damaged(b"\x02", "bad_crc") in events


def test_a_false_start_holds_back_until_resync() -> None:
    """A stray 02 FF looks like a long frame; when a reply is late, look behind it."""
    stream_decoder = decoder()
    assert stream_decoder.feed(b"\x02\xff" + ANSWER_115) == []

    events = stream_decoder.resync()

    assert events[0] == Damaged(b"\x02", "given up")
    assert frames(events) == [EXPECTED[1]]
    assert lost(events) == b"\x02\xff"
    assert stream_decoder.resync() == []


@given(st.lists(st.binary(max_size=40) | st.sampled_from(STREAM), max_size=12))
@settings(max_examples=300, deadline=None)
def test_no_byte_is_lost_in_silence(pieces: list[bytes]) -> None:
    """What went in comes out as frame or as damage, in order, whatever it is."""
    stream_decoder = decoder()
    events = [event for piece in pieces for event in stream_decoder.feed(piece)]
    for _ in range(300):
        if not (more := stream_decoder.resync()):
            break
        events += more

    out = b"".join(
        event.data
        if isinstance(event, Damaged)
        else frame(event.link, event.message.hex())
        for event in events
    )
    assert out == b"".join(pieces)


@given(st.binary(max_size=2000))
def test_the_buffer_never_holds_more_than_one_frame(data: bytes) -> None:
    """A line that babbles for ever must not fill the memory."""
    stream_decoder = decoder()
    for at in range(0, len(data), 50):
        stream_decoder.feed(data[at : at + 50])
        assert len(stream_decoder._buffer) <= 255


@pytest.mark.parametrize(
    ("raw", "fault", "field", "offset"),
    [
        ("", Fault.TRUNCATED, "start", 0),
        ("03 06 08 03 c2 62", Fault.BAD_HEADER, "start", 0),
        ("02 05 08 03 c2", Fault.BAD_LENGTH, "length", 1),
        ("02 06 08 03 c2", Fault.TRUNCATED, "crc", 4),
        ("02 06 08 04 c2 62", Fault.BAD_FRAME, "end", 3),
        ("02 06 08 03 c2 63", Fault.BAD_CRC, "crc", 4),
        ("02 06 08 03 c2 62 00", Fault.BAD_LENGTH, "end", 6),
    ],
)
def test_what_is_no_frame_is_refused_at_its_byte(
    raw: str, fault: Fault, field: str, offset: int
) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_frame(bytes.fromhex(raw))

    found = caught.value
    assert (found.fault, found.field, found.offset) == (fault, field, offset)


def test_sequence_bits_go_as_the_notes_say() -> None:
    """Two exchanges, link octet by link octet; a wrong bit costs every record."""
    control = LinkControl()
    assert control.start().encode() == DISCONNECT
    assert control.is_started(decode_frame(frame(0x0C)))

    assert control.send(b"\x05\x0d\x02").encode() == frame(0, "05 0d 02")
    assert not control.receive(decode_frame(frame(0b110)))  # its acknowledgement
    assert control.receive(decode_frame(frame(0b010, "05 06 00")))
    assert control.acknowledge().encode() == frame(0b111)

    assert control.send(b"\x05\x1f\x00\x00").encode() == ASK_0
    assert not control.receive(decode_frame(frame(0b010, "05 06 00")))  # it repeats
    assert control.receive(decode_frame(frame(0b001, "05 06 00")))
    assert control.acknowledge().encode() == frame(0b100)

    assert control.send(b"\x05").encode() == frame(0, "05")


@pytest.mark.parametrize("link", [0x00, 0x04, 0x08])
def test_only_an_acknowledged_disconnect_starts_the_link(link: int) -> None:
    """Half an answer leaves both ends with other counters."""
    assert not LinkControl().is_started(decode_frame(frame(link)))


@pytest.mark.parametrize("link", [0b001, 0b100, 0b1000, 0b1100])
def test_a_frame_that_is_no_awaited_answer_changes_nothing(link: int) -> None:
    control = LinkControl()

    assert not control.receive(decode_frame(frame(link, "05 06 00")))
    assert not control.receive(decode_frame(frame(0)))  # empty
    assert control.send(b"\x05").encode() == frame(0, "05")


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lifescan_ultraeasy.ask_version(), "05 0d 02"),
        (lifescan_ultraeasy.ask_serial_number(), "05 0b 02 00 00 00 00 00 00 00 00 00"),
        (lifescan_ultraeasy.ask_clock(), "05 20 02 00 00 00 00"),
        (lifescan_ultraeasy.ask_count(), "05 1f f5 01"),
        (lifescan_ultraeasy.ask_record(0x1F3), "05 1f f3 01"),
    ],
)
def test_questions_are_those_of_the_notes(made: bytes, message: str) -> None:
    """05 1A erases the memory: no question may be off by a digit."""
    assert made == bytes.fromhex(message)


_TIME = DateTime(2024, 6, 15, 14, 30, 45)  # 0x666da595 s since 1970


@pytest.mark.parametrize(
    ("message", "record"),
    [
        ("05 06 95 a5 6d 66 73 00 00 00", Record(_TIME, 115)),
        ("05 06 95 a5 6d 66 00 00 00 00", Record(_TIME, 0)),
        ("05 06 95 a5 6d 66 fd ff 00 00", Record(_TIME, 65533)),
        ("05 06 95 a5 6d 66 ff ff 00 00", Record(_TIME, None, above_range=True)),
        ("05 06 95 a5 6d 66 fe ff 00 00", Record(_TIME, None, below_range=True)),
        (
            "05 06 00 00 00 00 64 00 00 00",
            Record(DateTime(1970, 1, 1, 0, 0, 0), 100),
        ),
        (
            "05 06 ff ff ff ff 64 00 00 00",
            Record(DateTime(2106, 2, 7, 6, 28, 15), 100),
        ),
    ],
)
def test_a_record_is_time_and_glucose(message: str, record: Record) -> None:
    assert lifescan_ultraeasy.read_record(bytes.fromhex(message)) == record


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        ("05 09", Fault.DEVICE_ERROR),
        ("05 0f 01 00", Fault.DEVICE_ERROR),
        ("05 06 95 a5 6d 66 73 00 00", Fault.TRUNCATED),
        ("05 06 95 a5 6d 66 73 00 00 00 00", Fault.BAD_LENGTH),
        ("05 06 95 a5 6d 66 73 00 01 00", Fault.OUT_OF_RANGE),
        ("", Fault.TRUNCATED),
    ],
)
def test_what_is_no_record_is_refused(message: str, fault: Fault) -> None:
    """An answer to another question must not become a glucose value."""
    with pytest.raises(DecodeError) as caught:
        lifescan_ultraeasy.read_record(bytes.fromhex(message))
    assert caught.value.fault == fault


def test_the_other_answers_are_read() -> None:
    assert lifescan_ultraeasy.read_version(b"\x05\x06\x03P02") == "P02"
    assert (
        lifescan_ultraeasy.read_serial_number(b"\x05\x06SIM000001\x00") == "SIM000001"
    )
    assert lifescan_ultraeasy.read_clock(bytes.fromhex("05 06 95 a5 6d 66")) == _TIME
    assert lifescan_ultraeasy.read_count(bytes.fromhex("05 0f f4 01")) == Decimal(500)


@pytest.mark.parametrize(
    "read",
    [
        lifescan_ultraeasy.read_version,
        lifescan_ultraeasy.read_serial_number,
        lifescan_ultraeasy.read_clock,
        lifescan_ultraeasy.read_count,
        lifescan_ultraeasy.read_record,
    ],
)
@given(message=st.binary(max_size=30) | st.binary(max_size=12).map(b"\x05\x06".__add__))
def test_any_answer_is_read_or_refused(read: object, message: bytes) -> None:
    try:
        read(message)  # type: ignore[operator]
    except DecodeError as error:
        assert error.data == message  # noqa: PT017 - either is right

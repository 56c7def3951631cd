"""Omron's frames, channels and unlock messages by the notes' own bytes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.errors import DecodeError, Fault
from protocols.stream import Damaged
from protocols.vendor import omron_eeprom
from protocols.vendor.omron_eeprom import Channels, Frame, Type, decode_frame
from protocols.vendor.omron_models import MODELS, Model, Stack, model

READ_REPLY = bytes.fromhex("0c 8100 0098 04 01020304 00 15")
STARTED = bytes.fromhex("08 8000 0000 10 00 98")


def framed(body: str) -> bytes:
    """Put length and exclusive or around a body, by the document."""
    whole = bytes([len(bytes.fromhex(body)) + 2]) + bytes.fromhex(body)
    xor = 0
    for byte in whole:
        xor ^= byte
    return whole + bytes([xor])


LONG = framed("8100 02c0 28" + bytes(range(40)).hex() + "00")  # 48 bytes


def test_requests_are_those_of_the_notes() -> None:
    """A wrong address reads another's memory, a wrong type would write."""
    assert omron_eeprom.START.encode() == bytes.fromhex("08 00 00 00 00 10 00 18")
    assert omron_eeprom.END.encode() == bytes.fromhex("08 0f 00 00 00 00 00 07")
    asked = omron_eeprom.read(0x02AC, 0x28).encode()
    assert asked == bytes.fromhex("08 01 00 02 ac 28 00 8f")


def test_a_write_goes_into_the_clocks_window_of_the_model_and_nowhere_else() -> None:
    """Any other write could lose readings; so there is no other."""
    cuff = model("7155T")
    assert cuff is not None

    window = bytes(range(16))
    written = omron_eeprom.write_clock(cuff, window).encode()

    assert written[:6] == bytes.fromhex("18 01 c0 00 80 10")  # 0x54 + 0x2c
    assert written[6:] == window + b"\x00" + written[-1:]
    assert len(written) == 24


@pytest.mark.parametrize("found", MODELS, ids=lambda found: found.name)
def test_a_models_clock_lies_in_no_index_and_in_no_record(found: Model) -> None:
    """A window that overlaps a record would be written over a reading."""
    place = found.settings
    assert place.clock >= place.index.size
    window = range(place.write + place.clock, place.write + place.clock + 16)
    for user in found.users:
        records = range(user.address, user.address + user.slots * found.size)
        assert window[-1] < records[0] or window[0] > records[-1]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (READ_REPLY, Frame(Type.DATA, 0x98, 4, bytes([1, 2, 3, 4]))),
        (STARTED, Frame(Type.STARTED, 0, 16)),
        (framed("8100 02e8 10 05"), Frame(Type.DATA, 0x2E8, 16, b"", 5)),
        (framed("7777 0000 ff 01 00"), Frame(0x7777, 0, 255, b"\x01")),
    ],
)
def test_frames_are_read_by_the_document(raw: bytes, expected: Frame) -> None:
    assert decode_frame(raw) == expected
    assert expected.encode() == raw


@pytest.mark.parametrize(
    ("raw", "fault", "field"),
    [
        (b"", Fault.TRUNCATED, "length"),
        (bytes.fromhex("07 8000 0000 10 00 98"), Fault.BAD_LENGTH, "length"),
        (READ_REPLY + b"\x00", Fault.BAD_LENGTH, "end"),
        (READ_REPLY[:-1], Fault.TRUNCATED, "xor"),
        (READ_REPLY[:-1] + b"\x14", Fault.BAD_CHECKSUM, "xor"),
        (framed("8100 0098 10 01020304 00"), Fault.TRUNCATED, "count"),
        (framed("8100 0098 10 00"), Fault.TRUNCATED, "count"),
        (framed("8100 0098 10 01020304 05"), Fault.TRUNCATED, "count"),
        (framed("8100 0098 02 01020304 00"), Fault.BAD_LENGTH, "count"),
        (framed("01c0 0098 02 01020304 00"), Fault.BAD_LENGTH, "count"),
    ],
)
def test_what_is_no_frame_is_refused(raw: bytes, fault: Fault, field: str) -> None:
    """Fewer bytes than announced, filled up, would be a reading of nothing."""
    with pytest.raises(DecodeError) as caught:
        decode_frame(raw)
    assert (caught.value.fault, caught.value.field) == (fault, field)
    assert 0 <= caught.value.offset <= len(raw)


def test_an_error_code_stands_in_data_or_in_result() -> None:
    assert decode_frame(bytes.fromhex("09 8f00 0000 01 03 00 84")).error == 3
    assert decode_frame(bytes.fromhex("08 8f00 0000 00 00 87")).error == 0
    assert decode_frame(framed("8f00 0000 00 05")).error == 5


def test_an_answer_echoes_type_and_address() -> None:
    """A late answer to another read must not become the bytes of this one."""
    asked = omron_eeprom.read(0x98, 4)

    assert omron_eeprom.is_answer(asked, decode_frame(READ_REPLY))
    assert not omron_eeprom.is_answer(asked, Frame(Type.DATA, 0xA8, 4, bytes(4)))
    assert not omron_eeprom.is_answer(asked, Frame(Type.WRITTEN, 0x98, 4))
    assert omron_eeprom.is_answer(asked, Frame(Type.ENDED, 0, 1, b"\x03"))


@pytest.mark.parametrize("size", [8, 15, 16, 17, 32, 33, 48, 64])
def test_a_long_frame_goes_over_the_channels_in_chunks_of_16(size: int) -> None:
    frame = bytes(range(size))

    chunks = omron_eeprom.split(frame, Stack.CLASSIC)

    assert b"".join(chunks) == frame
    assert [len(chunk) for chunk in chunks[:-1]] == [16] * (len(chunks) - 1)
    assert omron_eeprom.split(frame, Stack.MODERN) == [frame]


def test_chunks_make_a_frame_in_whatever_order_they_come() -> None:
    """The channels are four characteristics, and none knows of the others."""
    whole = decode_frame(LONG)
    parts = [LONG[:16], LONG[16:32], LONG[32:]]
    for order in ((0, 1, 2), (0, 2, 1)):
        channels = Channels(Stack.CLASSIC)
        events = [event for at in order for event in channels.feed(at, parts[at])]
        assert events == [whole]


def test_a_last_chunk_that_is_filled_up_is_no_damage() -> None:
    channels = Channels(Stack.CLASSIC)

    assert channels.feed(0, READ_REPLY + bytes(4)) == [decode_frame(READ_REPLY)]


def test_the_modern_stack_has_a_frame_in_one_piece() -> None:
    channels = Channels(Stack.MODERN)

    assert channels.feed(0, LONG) == [decode_frame(LONG)]


def test_a_short_answer_comes_out_as_what_it_is() -> None:
    """Whether to ask again or to take the slot for empty is the driver's affair."""
    short = framed("8100 0098 10 01020304 00")

    (frame,) = Channels(Stack.CLASSIC).feed(0, short)

    assert frame == Frame(Type.DATA, 0x98, 16, bytes([1, 2, 3, 4]))
    assert frame.is_short
    assert not decode_frame(READ_REPLY).is_short


def test_a_new_frame_gives_up_the_one_that_never_ended() -> None:
    """Chunks of two frames must never make a third one."""
    channels = Channels(Stack.CLASSIC)
    assert channels.feed(0, LONG[:16]) == []
    assert channels.feed(1, LONG[16:32]) == []

    assert channels.feed(0, READ_REPLY) == [
        Damaged(LONG[:32], "given up"),
        decode_frame(READ_REPLY),
    ]
    assert channels.feed(1, LONG[16:32]) == []
    assert channels.feed(1, b"again") == [Damaged(LONG[16:32], "given up")]
    assert channels.give_up() == [Damaged(b"again", "given up")]
    assert channels.give_up() == []


def test_a_damaged_frame_is_told_and_the_next_one_read() -> None:
    channels = Channels(Stack.CLASSIC)

    damaged = READ_REPLY[:-1] + b"\xff"
    assert channels.feed(0, damaged) == [Damaged(damaged, Fault.BAD_CHECKSUM)]
    assert channels.feed(0, b"") == []
    assert channels.feed(0, b"\x00\x01") == [Damaged(b"\x00\x01", Fault.TRUNCATED)]
    assert channels.feed(0, STARTED) == [decode_frame(STARTED)]


@given(st.lists(st.tuples(st.integers(0, 3), st.binary(max_size=20)), max_size=20))
@settings(deadline=None)
def test_any_notifications_raise_nothing(said: list[tuple[int, bytes]]) -> None:
    """A cuff that babbles must neither stop the station nor fill its memory."""
    for stack in Stack:
        channels = Channels(stack)
        for channel, payload in said:
            channels.feed(channel, payload)
            assert len(channels._parts) <= 4


def test_unlock_messages_are_those_of_the_notes() -> None:
    """A key programmed wrongly locks the cuff for good."""
    key = bytes(range(16))

    assert omron_eeprom.ask_new_key() == bytes.fromhex("02" + "00" * 16)
    assert omron_eeprom.set_key(key) == b"\x00" + key
    assert omron_eeprom.open_by_key(key) == b"\x01" + key
    token = omron_eeprom.open_by_token(b"\x01\x02\x03\x04")
    assert token == bytes.fromhex("11 01020304" + "00" * 15)
    for wrong in (b"", bytes(15), bytes(17)):
        with pytest.raises(ValueError, match="has 16 bytes"):
            omron_eeprom.set_key(wrong)
        with pytest.raises(ValueError, match="has 16 bytes"):
            omron_eeprom.open_by_key(wrong)
    with pytest.raises(ValueError, match="has 4 bytes"):
        omron_eeprom.open_by_token(bytes(5))


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        (omron_eeprom.ask_new_key(), "82 00"),
        (omron_eeprom.set_key(bytes(16)), "80 00"),
        (omron_eeprom.open_by_key(bytes(16)), "81 00 00"),
        (omron_eeprom.open_by_token(b"\x01\x02\x03\x04"), "91 00 01 02 03 04"),
    ],
)
def test_an_agreeing_unlock_answer_is_taken(request_: bytes, answer: str) -> None:
    omron_eeprom.check_unlock(request_, bytes.fromhex(answer))


@pytest.mark.parametrize(
    ("request_", "answer", "fault"),
    [
        (omron_eeprom.ask_new_key(), "82 0f", Fault.DEVICE_ERROR),
        (omron_eeprom.ask_new_key(), "81 00", Fault.NOT_A_RESPONSE),
        (omron_eeprom.open_by_key(bytes(16)), "81", Fault.TRUNCATED),
        (omron_eeprom.open_by_token(bytes(4)), "91 00 00 00 00", Fault.TRUNCATED),
        (
            omron_eeprom.open_by_token(bytes(4)),
            "91 00 00 00 00 01",
            Fault.NOT_A_RESPONSE,
        ),
    ],
)
def test_another_unlock_answer_is_refused(
    request_: bytes, answer: str, fault: Fault
) -> None:
    """Whether the memory is open decides whether what is read is the memory."""
    with pytest.raises(DecodeError) as caught:
        omron_eeprom.check_unlock(request_, bytes.fromhex(answer))
    assert caught.value.fault == fault

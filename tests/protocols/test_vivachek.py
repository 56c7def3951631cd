"""VivaChek frames, requests and records, against captures and bytes made by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import DecodeError, Fault
from protocols.gatt.time import DateTime
from protocols.stream import Damaged
from protocols.vendor import vivachek
from protocols.vendor.vivachek import (
    Command,
    Frame,
    Kind,
    Mark,
    Side,
    decode_count,
    decode_frame,
    decode_record,
    decode_text,
    decoder,
)

# Captured.
COUNT = bytes.fromhex("7b 01 20 01 10 db aa 00 02 01 29 00 03 07 03 7d")
READY = bytes.fromhex("7b 01 20 01 10 aa aa 00 01 11 0e 0f 07 04 7d")
END = bytes.fromhex("7b 01 20 01 10 d1 66 00 00 0b 09 03 04 7d")


def test_frames_come_out_however_the_bytes_arrive() -> None:
    """A notification may hold several frames, or a part of one."""
    stream, found = decoder(), []

    for byte in COUNT + READY + END:
        found += stream.feed(bytes([byte]))

    assert found == decoder().feed(COUNT + READY + END)
    assert found == [
        Frame(Command.COUNT, Mark.ANSWER, b"\x01\x29", Side.METER),
        Frame(Command.READY, Mark.ANSWER, b"\x11", Side.METER),
        Frame(Command.RECORDS_END, Mark.SET, b"", Side.METER),
    ]


def test_a_frame_with_its_end_inside_is_whole() -> None:
    """A value byte of 7D is data, where others cut the frame off."""
    record = bytes.fromhex("1a 03 0a 08 2d 7d 7d 1a 11")
    frame = Frame(Command.ALL_RECORDS, Mark.ANSWER, record, Side.METER)

    assert decoder().feed(frame.encode()) == [frame]


def test_a_frame_behind_damage_is_found() -> None:
    """A false start that promises more than any frame has holds nothing back."""
    noise = b"\x7b" * 9

    events = decoder().feed(noise + COUNT)

    assert events[-1] == decode_frame(COUNT)
    lost = b"".join(event.data for event in events if isinstance(event, Damaged))
    assert lost == noise


@pytest.mark.parametrize(
    ("raw", "fault", "field", "offset"),
    [
        ("", Fault.TRUNCATED, "start", 0),
        ("7a 01 10 01 20 dd 55 00 00 03 0a 06 0c 7d", Fault.BAD_HEADER, "start", 0),
        ("7b 01 10 01 20 dd 55 01 00", Fault.BAD_LENGTH, "length", 7),
        ("7b 01 10 01 20 dd 55 00 00 03 0a 06 0d 7d", Fault.BAD_CRC, "crc", 9),
        ("7b 01 10 01 20 dd 55 00 00 13 0a 06 0c 7d", Fault.BAD_CRC, "crc", 9),
        ("7b 01 10 01 20 dd 55 00 00 06 0c 03 0a 7d", Fault.BAD_CRC, "crc", 9),
        ("7b 01 10 01 20 dd 55 00 00 03 0a 06 0c 7c", Fault.BAD_FRAME, "end", 13),
        ("7b 01 10 01 20 dd 55 00 00 03 0a 06 0c", Fault.TRUNCATED, "end", 13),
        ("7b 01 10 01 20 dd 55 00 00 03 0a 06 0c 7d 7d", Fault.BAD_LENGTH, "end", 14),
        ("7b 01 10 01 10 dd 55 00 00 03 0f 07 06 7d", Fault.BAD_CRC, "crc", 9),
    ],
)
def test_what_is_no_frame_is_refused_at_its_byte(
    raw: str, fault: Fault, field: str, offset: int
) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_frame(bytes.fromhex(raw))

    found = caught.value
    assert (found.fault, found.field, found.offset) == (fault, field, offset)


def test_a_frame_between_others_than_host_and_meter_is_refused() -> None:
    """The checksum is right here; the addresses are those of nobody."""
    body = bytes.fromhex("01 10 01 10 dd 55 00 00")
    crc = 0xFFFF
    for byte in body:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    digits = [int(digit, 16) for digit in f"{crc:04x}"]
    raw = b"\x7b" + body + bytes([*digits[2:], *digits[:2]]) + b"\x7d"

    with pytest.raises(DecodeError) as caught:
        decode_frame(raw)

    assert (caught.value.fault, caught.value.offset) == (Fault.BAD_HEADER, 1)


@pytest.mark.parametrize(
    ("made", "raw"),
    [
        (vivachek.ask(Command.SERIAL), "7b 01 10 01 20 66 55 00 00 01 0e 08 08 7d"),
        (vivachek.ask(Command.VERSION), "7b 01 10 01 20 77 55 00 00 01 0b 0b 04 7d"),
        (vivachek.ask(Command.READY), "7b 01 10 01 20 aa 55 00 00 02 01 0d 08 7d"),
        (vivachek.ask(Command.COUNT), "7b 01 10 01 20 db 55 00 00 03 0a 0e 04 7d"),
        (
            vivachek.ask(Command.ALL_RECORDS),
            "7b 01 10 01 20 dd 55 00 00 03 0a 06 0c 7d",
        ),
    ],
)
def test_requests_are_those_captured(made: Frame, raw: str) -> None:
    assert made.encode() == bytes.fromhex(raw)


def test_requests_with_data_carry_it_in_the_documented_order() -> None:
    """Hundreds for the count would be other records, a day for a month another age."""
    latest = vivachek.ask_latest(0x3E8).encode()
    clock = vivachek.set_clock(DateTime(2026, 3, 1, 10, 5, 21)).encode()

    assert latest[:11] == bytes.fromhex("7b 01 10 01 20 16 55 00 02 03 e8")
    assert clock[:15] == bytes.fromhex("7b 01 10 01 20 44 66 00 06 1a 03 01 0a 05 15")
    assert decode_frame(latest).data == b"\x03\xe8"
    assert decode_frame(clock).mark == Mark.SET


def test_texts_and_counts_are_read() -> None:
    assert decode_text(b"00000316A0036602") == "00000316A0036602"
    assert decode_text(b"GK0123\0\0 ") == "GK0123"
    assert decode_count(b"\x01\x29") == 141
    assert decode_count(b"\x63\x63") == 9999


@pytest.mark.parametrize("data", [b"\x01\x64", b"\x64\x00"])
def test_a_count_of_no_decimal_digits_is_refused(data: bytes) -> None:
    """100 as the rest would be a hundred too few, or another layout altogether."""
    with pytest.raises(DecodeError, match="two decimal digits each"):
        decode_count(data)


def test_a_text_that_is_none_is_refused() -> None:
    with pytest.raises(DecodeError) as caught:
        decode_text(b"0\xff")
    assert caught.value.fault == Fault.BAD_FIELD


@pytest.mark.parametrize(
    ("raw", "kind", "number", "meal"),
    [
        ("1a 03 0a 08 2d 01 04 1a 11", Kind.GLUCOSE, "104", "preprandial"),
        ("1a 03 0a 08 2d 05 63 2a 12", Kind.GLUCOSE_GKI, "599", "postprandial"),
        ("1a 03 0a 08 2d 01 14 0a 22", Kind.GLUCOSE_CONTROL, "120", "none"),
        ("1a 03 0a 08 2d 01 16 0b 55", Kind.KETONE, "1.22", "none"),
        ("1a 03 0a 08 2d 00 05 0b 56", Kind.KETONE_GKI, "0.05", "none"),
        ("1a 03 0a 08 2d 02 00 0b 66", Kind.KETONE_CONTROL, "2.00", "none"),
        ("1a 03 0a 08 2d 00 50 30 11", Kind.GLUCOSE, "80", None),
    ],
)
def test_a_record_is_hundreds_and_a_rest(
    raw: str, kind: Kind, number: str, meal: str | None
) -> None:
    """01 04 is 104, not 260: the bytes are pairs of decimal digits."""
    record = decode_record(bytes.fromhex(raw))

    assert record.time == DateTime(2026, 3, 10, 8, 45, 0)
    assert (record.kind, str(record.number), record.meal_name) == (kind, number, meal)
    assert record.is_control is ("CONTROL" in kind.name)


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        ("1a 03 0a 08 2d 01 64 1a 11", Fault.BAD_FIELD),
        ("1a 03 0a 08 2d ff ff 1a 11", Fault.BAD_FIELD),
        ("1a 03 0a 08 2d 01 04 1a 33", Fault.RESERVED_VALUE),
        ("1a 03 0a 08 2d 01 04 1a", Fault.TRUNCATED),
        ("1a 03 0a 08 2d 01 04 1a 11 00", Fault.BAD_LENGTH),
    ],
)
def test_what_is_no_record_is_refused(raw: str, fault: Fault) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_record(bytes.fromhex(raw))
    assert caught.value.fault == fault


def test_a_clock_that_was_never_set_is_kept() -> None:
    """The value is right; only its time is not known."""
    record = decode_record(bytes.fromhex("00 00 00 00 00 00 50 0a 11"))

    assert record.time == DateTime(2000, 0, 0, 0, 0, 0)
    assert record.time.moment is None


@pytest.mark.parametrize("read", [decode_text, decode_count, decode_record])
@given(data=st.binary(max_size=12))
def test_any_data_is_read_or_refused(read: object, data: bytes) -> None:
    try:
        read(data)  # type: ignore[operator]
    except DecodeError as error:
        assert error.data == data  # noqa: PT017 - either is right

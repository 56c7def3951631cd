"""Verio messages and BLE packets, against bytes made by hand."""

from datetime import UTC, datetime

import pytest

from protocols import kinds
from protocols.errors import DecodeError, Fault
from protocols.gatt.time import DateTime
from protocols.stream import Damaged
from protocols.vendor import lifescan_verio, lifescan_verio_ble
from protocols.vendor.lifescan_verio import Record
from protocols.vendor.lifescan_verio_ble import Acknowledgement, Piece, Whole

# 2026-03-01 07:30:00 is 825 665 400 s (0x3136 A778) after 2000-01-01.
TIME = "78 a7 36 31"
CLOCK = DateTime(2026, 3, 1, 7, 30, 0)


def packet(message: str, *, fragment: int = 1, link: int = 0) -> bytes:
    """Build a packet octet by octet, its CRC by the bitwise definition."""
    body = bytes([2, len(bytes.fromhex(message)) + 6, link])
    body += bytes.fromhex(message) + b"\x03"
    crc = 0xFFFF
    for byte in body:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ (0x1021 if crc & 0x8000 else 0)) & 0xFFFF
    return bytes([fragment]) + body + bytes([crc & 0xFF, crc >> 8])


def fault_of(read: object, data: str) -> Fault:
    with pytest.raises(DecodeError) as caught:
        read(bytes.fromhex(data))  # type: ignore[operator]
    assert 0 <= caught.value.offset <= len(bytes.fromhex(data))
    return caught.value.fault


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (lifescan_verio.ask_version(), "03 0d 01"),
        (lifescan_verio.ask_serial_number(), "03 0b 01 02"),
        (lifescan_verio.ask_clock(), "03 20 02"),
        (lifescan_verio.ask_clock(4), "04 20 02"),
        (lifescan_verio.ask_unit(), "03 09 02 02"),
        (lifescan_verio.ask_count(), "03 27 00"),
        (lifescan_verio.ask_record(0x1234), "03 21 34 12"),
        (lifescan_verio.ask_highest_id(), "04 0a 02 06"),
        (lifescan_verio.ask_record_by_id(0x1234), "04 b3 34 12"),
        (
            lifescan_verio.set_clock(datetime(2026, 3, 1, 7, 30, 0, 999, UTC)),
            f"03 20 01 {TIME}",
        ),
        (
            lifescan_verio.set_clock(datetime(2000, 1, 1, tzinfo=UTC)),
            "03 20 01 00 00 00 00",
        ),
    ],
)
def test_a_request_is_sent_as_documented(sent: bytes, expected: str) -> None:
    assert sent == bytes.fromhex(expected)


@pytest.mark.parametrize("year", [1999, 2137])
def test_a_moment_that_the_counter_cannot_hold_is_never_written(year: int) -> None:
    with pytest.raises(ValueError, match="the meter knows 2000 to 2136"):
        lifescan_verio.set_clock(datetime(year, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (lifescan_verio.read_version(bytes.fromhex("03 06 03 31 2e 30 00")), "1.0"),
        (lifescan_verio.read_version(bytes.fromhex("03 06 00")), ""),
        (lifescan_verio.read_serial_number(b"\x03\x06ABC123\0"), "ABC123"),
        (lifescan_verio.read_serial_number(b"\x04\x06ABC123"), "ABC123"),
        (lifescan_verio.read_clock(bytes.fromhex(f"03 06 {TIME}")), CLOCK),
        (
            lifescan_verio.read_clock(bytes.fromhex("0c 06 00 00 00 00")),
            DateTime(2000, 1, 1, 0, 0, 0),
        ),
        (
            lifescan_verio.read_clock(bytes.fromhex("03 06 ff ff ff ff")),
            DateTime(2136, 2, 7, 6, 28, 15),
        ),
        (lifescan_verio.read_unit(bytes.fromhex("03 06 00 00 00 00")), "MG/DL"),
        (lifescan_verio.read_unit(bytes.fromhex("03 06 01 00 00 00")), "MMOL/L"),
        (lifescan_verio.read_count(bytes.fromhex("03 06 ee 02")), 750),
        (lifescan_verio.read_highest_id(bytes.fromhex("04 06 4c 00 00 00")), 76),
    ],
)
def test_an_answer_is_read_as_documented(found: object, expected: object) -> None:
    assert found == expected


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            f"03 06 {TIME} 78 00 00 01 00 00",
            Record(CLOCK, 120, False, 1, bytes(2)),
        ),
        (
            f"03 06 {TIME} 58 02 01 02 0b 00",
            Record(CLOCK, 600, True, 2, b"\x0b\0"),
        ),
        (f"03 06 {TIME} 00 00 00 07 00 00", Record(CLOCK, 0, False, 7, bytes(2))),
    ],
)
def test_a_record_of_the_verio_iq_is_read_as_documented(
    message: str, expected: Record
) -> None:
    """Control solution is a flag of its own, and the meal an unjudged code."""
    assert lifescan_verio.read_record(bytes.fromhex(message)) == expected


def test_a_record_by_ble_keeps_what_nobody_knows() -> None:
    """Its last four bytes are kept, not read as anything."""
    raw = bytes.fromhex(f"04 06 {TIME} 78 00 01 02 00 00 07")

    seen = lifescan_verio.read_record_by_id(raw)

    assert seen == Record(CLOCK, 120, True, None, bytes.fromhex("02 00 00 07"))


@pytest.mark.parametrize(
    ("read", "data", "fault"),
    [
        (lifescan_verio.read_clock, "", Fault.TRUNCATED),
        (lifescan_verio.read_clock, "03", Fault.TRUNCATED),
        (lifescan_verio.read_clock, "03 06 00 00 00", Fault.TRUNCATED),
        (lifescan_verio.read_clock, "03 06 00 00 00 00 00", Fault.BAD_LENGTH),
        (lifescan_verio.read_clock, "03 07 03", Fault.DEVICE_ERROR),
        (lifescan_verio.read_record, "03 09", Fault.DEVICE_ERROR),
        (lifescan_verio.read_count, "03 08 03", Fault.DEVICE_ERROR),
        (lifescan_verio.read_count, "03 f0 01 00", Fault.DEVICE_ERROR),
        (lifescan_verio.read_count, "03 06 01", Fault.TRUNCATED),
        (lifescan_verio.read_highest_id, "04 06 00 00 01 00", Fault.OUT_OF_RANGE),
        (lifescan_verio.read_clock_set, "03 06 00", Fault.BAD_LENGTH),
        (lifescan_verio.read_unit, "03 06 02 00 00 00", Fault.RESERVED_VALUE),
        (lifescan_verio.read_unit, "03 06 00 01 00 00", Fault.BAD_LENGTH),
        (lifescan_verio.read_version, "03 06 03 31 2e", Fault.TRUNCATED),
        (lifescan_verio.read_version, "03 06 01 31 32", Fault.BAD_LENGTH),
        (lifescan_verio.read_version, "03 06 01 b1", Fault.BAD_FIELD),
        (lifescan_verio.read_serial_number, "03 06 00", Fault.BAD_FIELD),
        (lifescan_verio.read_serial_number, "03 06 41 ff", Fault.BAD_FIELD),
        (
            lifescan_verio.read_record,
            f"03 06 {TIME} 78 00 02 00 00 00",
            Fault.RESERVED_VALUE,
        ),
        (
            lifescan_verio.read_record_by_id,
            f"04 06 {TIME} 78 00 02 00 00 00 00",
            Fault.RESERVED_VALUE,
        ),
        (
            lifescan_verio.read_record,
            f"03 06 {TIME} 78 00 00 00 00 00 00 00",
            Fault.BAD_LENGTH,
        ),
        (
            lifescan_verio.read_record_by_id,
            f"04 06 {TIME} 78 00 00 00 00 00",
            Fault.TRUNCATED,
        ),
    ],
)
def test_what_is_no_such_answer_is_refused_by_its_class(
    read: object, data: str, fault: Fault
) -> None:
    """A record of one family must not pass for one of the other."""
    assert fault_of(read, data) == fault


def test_the_setting_of_the_clock_is_confirmed_by_its_status_alone() -> None:
    lifescan_verio.read_clock_set(bytes.fromhex("03 06"))


def test_the_bitwise_crc_of_this_file_is_that_of_the_vectors() -> None:
    """The oracle itself must agree with what was published."""
    assert packet("04 20 02") == bytes.fromhex("0102090004200203f9c3")


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (lifescan_verio.ask_highest_id(), "01020a00040a020603de58"),
        (lifescan_verio.ask_record_by_id(5), "01020a0004b30500034e75"),
        (lifescan_verio.ask_clock(4), "0102090004200203f9c3"),
    ],
)
def test_a_packet_is_sent_as_documented(message: bytes, expected: str) -> None:
    assert lifescan_verio_ble.encode(message) == bytes.fromhex(expected)
    assert bytes([0x81]) == lifescan_verio_ble.ACKNOWLEDGE


def test_a_message_that_needs_two_packets_is_our_own_fault() -> None:
    lifescan_verio_ble.encode(bytes(13))
    with pytest.raises(ValueError, match="14 bytes do not fit"):
        lifescan_verio_ble.encode(bytes(14))


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (packet("04 06 4c 00 00 00"), Whole(bytes.fromhex("04 06 4c 00 00 00"))),
        (b"\x81", Acknowledgement(1)),
        (b"\x80", Acknowledgement(0)),
        (b"\xbf", Acknowledgement(63)),
        (bytes.fromhex("02 02 20 00 04"), Piece(2, 0, bytes.fromhex("02 20 00 04"))),
        (bytes.fromhex("02 02"), Piece(2, 0, b"\x02")),
        (bytes.fromhex("41 aa bb"), Piece(None, 1, b"\xaa\xbb")),
    ],
)
def test_a_packet_is_read_as_documented(payload: bytes, expected: object) -> None:
    assert lifescan_verio_ble.decode(payload) == expected


@pytest.mark.parametrize(
    ("payload", "fault"),
    [
        (b"", Fault.TRUNCATED),
        (b"\x00\x02", Fault.BAD_HEADER),
        (b"\x40\x02", Fault.BAD_HEADER),
        (b"\xc1", Fault.BAD_HEADER),
        (b"\x81\x81", Fault.BAD_LENGTH),
        (b"\x02", Fault.TRUNCATED),
        (b"\x41", Fault.TRUNCATED),
        (packet("04 06", fragment=2), Fault.BAD_LENGTH),
        (packet("04 06", link=8), Fault.BAD_FIELD),
        (packet(""), Fault.BAD_FIELD),
        (packet("04 06") + b"\0", Fault.BAD_LENGTH),
        (packet("04 06")[:-1], Fault.TRUNCATED),
    ],
)
def test_a_damaged_packet_is_refused_by_its_class(payload: bytes, fault: Fault) -> None:
    with pytest.raises(DecodeError) as caught:
        lifescan_verio_ble.decode(payload)

    assert caught.value.fault == fault
    assert caught.value.data == payload
    assert 0 <= caught.value.offset <= len(payload)


def test_every_flipped_bit_behind_the_fragment_octet_is_refused() -> None:
    """The CRC does not cover the first octet, and must find all else."""
    whole = packet(f"04 06 {TIME} 78 00 00 00 00 00 00")
    for bit in range(8, 8 * len(whole)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DecodeError):
            lifescan_verio_ble.decode(bytes(damaged))


def test_a_notification_is_a_message_or_nothing_or_damage() -> None:
    """There is nothing to be joined, and nothing to wait for."""
    packets = lifescan_verio_ble.Packets()

    assert packets.feed(b"\x81") == []
    assert packets.feed(packet("04 06")) == [b"\x04\x06"]
    in_two = b"\x02\x02\x20"
    assert packets.feed(in_two) == [Damaged(in_two, "a frame in several packets")]
    assert packets.feed(b"\x00\x01") == [Damaged(b"\x00\x01", Fault.BAD_HEADER)]
    assert packets.resync() == []


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ("81", {"fragment": "acknowledgement", "number": 1}),
        ("41 aa", {"fragment": "continuation", "number": 1, "data": "aa"}),
        ("03 02 40", {"fragment": "first", "packets": 3, "data": "0240"}),
    ],
)
def test_a_packet_without_a_whole_frame_is_shown_as_what_it_is(
    payload: str, expected: dict[str, object]
) -> None:
    assert kinds.show("lifescan.verio_ble", bytes.fromhex(payload), {}) == expected

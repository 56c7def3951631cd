"""A&D's commands, and the packets of the UA-767PBT, by hand-made bytes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.errors import DecodeError, Fault
from protocols.gatt.time import DateTime
from protocols.stream import Damaged
from protocols.vendor import and_medical, and_pbt
from protocols.vendor.and_pbt import Measurement, Packet

HEADER = bytes.fromhex(
    "0200 0a000000 ff02 01"  # type, length, device 767, flag
    "e807 06 0f 0e 1e 2d"  # measured
    "e807 06 0f 0e 20 00"  # sent
    "010203040506 0708090a0b0c"  # addresses
    "35303730333030303132 0000"  # serial number 5070300012
    "00000000000000000000"
    "64 00 12"  # battery, reserved, versions
)
PACKET = HEADER + b"802850485D"
READ = Packet(
    measured=DateTime(2024, 6, 15, 14, 30, 45),
    sent=DateTime(2024, 6, 15, 14, 32, 0),
    serial="5070300012",
    flag=1,
    battery=0x64,
    versions=0x12,
    measurement=Measurement(120, 80, 72, 93),
    raw=PACKET,
)


def test_commands_and_clock_are_those_of_the_notes() -> None:
    """Of 02 00 E1 and 02 01 03 one sends the readings and one ends the visit."""
    assert and_medical.SEND_ALL == b"\x02\x00\xe1"
    assert and_medical.HANG_UP == b"\x02\x01\x03"
    clock = and_medical.encode_clock(DateTime(2024, 6, 15, 14, 30, 45))
    assert clock == bytes.fromhex("e8 07 06 0f 0e 1e 2d")
    with pytest.raises(ValueError, match="no clock can show"):
        and_medical.encode_clock(DateTime(2024, 2, 30, 0, 0, 0))


def test_a_packet_is_read_by_the_document() -> None:
    assert len(HEADER) == 60
    assert and_pbt.decode_packet(PACKET) == READ


def test_data_that_are_not_marked_as_valid_are_no_measurement() -> None:
    """What the cuff itself does not stand for must not be stored as a pressure."""
    seen = and_pbt.decode_packet(HEADER + b"002850485d")

    assert seen.measurement is None
    with pytest.raises(DecodeError) as caught:
        and_pbt.decode_data(b"002850485d")
    assert caught.value.fault == Fault.DEVICE_ERROR


def test_the_highest_values_add_up() -> None:
    assert and_pbt.decode_data(b"80FFFFFFFF") == Measurement(510, 255, 255, 255)


@pytest.mark.parametrize(
    ("packet", "fault", "field"),
    [
        (b"", Fault.TRUNCATED, "type"),
        (b"\x03" + PACKET[1:], Fault.BAD_HEADER, "type"),
        (PACKET[:6] + b"\x41\x01" + PACKET[8:], Fault.UNSUPPORTED_FORMAT, "device"),
        (PACKET[:2] + b"\x0b" + PACKET[3:], Fault.BAD_LENGTH, "length"),
        (PACKET[:35] + b"\xff" + PACKET[36:], Fault.BAD_FIELD, "serial"),
        (PACKET[:-1], Fault.TRUNCATED, "data"),
        (PACKET + b"0", Fault.BAD_LENGTH, "end"),
        (PACKET[:-1] + b"G", Fault.BAD_FIELD, "data"),
        (PACKET[:-1] + b" ", Fault.BAD_FIELD, "data"),
    ],
)
def test_what_is_no_packet_is_refused(packet: bytes, fault: Fault, field: str) -> None:
    with pytest.raises(DecodeError) as caught:
        and_pbt.decode_packet(packet)
    found = caught.value
    assert (found.fault, found.field, found.data) == (fault, field, packet)


@pytest.mark.parametrize("size", [1, 7, 60, 70, 200])
def test_packets_come_out_however_the_bytes_arrive(size: int) -> None:
    stream = b"\x00\x02" + PACKET + PACKET
    packets = and_pbt.decoder()

    events = [
        event
        for at in range(0, len(stream), size)
        for event in packets.feed(stream[at : at + size])
    ]

    assert [event for event in events if not isinstance(event, Damaged)] == [READ] * 2
    lost = b"".join(event.data for event in events if isinstance(event, Damaged))
    assert lost == b"\x00\x02"


@given(st.binary(max_size=80) | st.binary(max_size=70).map(PACKET[:8].__add__))
@settings(deadline=None)
def test_any_bytes_are_a_packet_or_refused(data: bytes) -> None:
    try:
        and_pbt.decode_packet(data)
    except DecodeError as error:
        assert error.data == data  # noqa: PT017 - either is right

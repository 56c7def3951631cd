"""i-SENS meters by BLE and by cable, against bytes made by hand."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols import kinds
from protocols.errors import DecodeError, Fault
from protocols.gatt import glucose
from protocols.gatt.time import DateTime
from protocols.stream import Damaged
from protocols.vendor import isens, isens_serial
from protocols.vendor.isens import ClockReply
from protocols.vendor.isens_serial import Flag, Packet, Record, decode_packet, decoder

CLOCK = DateTime(2026, 3, 1, 7, 30, 5)
RECORD = "1a 03 01 07 1e 05 20 00 78"  # 120 mg/dL, without a mark


def packet(command: str, data: str = "") -> bytes:
    """Build a packet octet by octet, its CRC by the bitwise definition."""
    raw = bytes.fromhex(data)
    head = b"\x02iSPc" + bytes([len(raw) + 7]) + command.encode() + raw
    crc = 0xFFFF
    for byte in head + b"\x03":
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ (0x1021 if crc & 0x8000 else 0)) & 0xFFFF
    return head + bytes([crc >> 8, crc & 0xFF, 0x03])


SERIAL = packet("RSNB", "41 42 43 31 32 33 00")
COUNT = packet("NCOT", "00 03")
GLUE = packet("GLUE", RECORD)[:-3] + b"\x00\x00\x03"  # its crc is not valid


def answered(command: str, data: str) -> Packet:
    return Packet(command, bytes.fromhex(data))


def test_the_clock_is_asked_for_and_set_as_documented() -> None:
    asked, moment = bytes.fromhex("c0 03 01 00 00 00 00 00 00 00 00"), CLOCK.moment
    assert moment is not None

    assert isens.ask_clock() == asked
    assert isens.set_clock(moment) == bytes.fromhex("c0030100 ea07 03 01 07 1e 05")
    assert isens.decode_time_set(isens.set_clock(moment)) == CLOCK
    assert kinds.show("isens.time_set", asked, {})["asks"] is True


def test_the_clock_s_notification_keeps_what_is_not_known() -> None:
    """A head that we judged wrongly would lose the only look at the clock."""
    raw = bytes.fromhex("05 03 01 00 ea 07 03 01 07 1e 05")

    assert isens.decode_clock(raw) == ClockReply(raw[:4], CLOCK)
    assert isens.decode_clock(raw + b"\x09").trailing == b"\x09"


@pytest.mark.parametrize(
    ("payload", "fault"),
    [
        ("c0 03 01 01 ea 07 03 01 07 1e 05", Fault.BAD_HEADER),
        ("c0 03 01 00 ea 07 03 01 07 1e", Fault.TRUNCATED),
        ("c0 03 01 00 ea 07 03 01 07 1e 05 00", Fault.BAD_LENGTH),
    ],
)
def test_another_command_is_not_taken_for_a_time(payload: str, fault: Fault) -> None:
    with pytest.raises(DecodeError) as caught:
        isens.decode_time_set(bytes.fromhex(payload))

    assert caught.value.fault == fault


def test_a_time_that_is_no_date_is_shown_as_such() -> None:
    raw = bytes.fromhex("c0 03 01 00 ea 07 0d 01 07 1e 05")

    shown = kinds.show("isens.time_set", raw, {})

    assert shown["datetime"] == "2026-13-01T07:30:05"
    assert shown["datetime_valid"] is False


def test_a_cut_clock_is_refused() -> None:
    with pytest.raises(DecodeError):
        isens.decode_clock(bytes(10))


@pytest.mark.parametrize(("meal", "expected"), [(6, True), (1, False), (0, False)])
def test_only_meal_six_marks_a_ketone_test(meal: int, expected: bool) -> None:
    """A ketone taken for a glucose of 12 mg/dL would call an ambulance."""
    context = glucose.decode_context(bytes([2, 4, 0, meal]))

    assert isens.is_ketone(context) is expected
    assert isens.is_ketone(glucose.decode_context(bytes([0, 4, 0]))) is False


@pytest.mark.parametrize(
    ("sent", "expected"),
    [("0.00012", "1.2"), ("0.00080", "8.0"), ("0.00001", "0.1"), ("12E-5", "1.2")],
)
def test_a_ketone_is_a_tenth_of_the_number_in_the_scale_of_glucose(
    sent: str, expected: str
) -> None:
    assert str(isens.ketone_mmol_per_l(Decimal(sent))) == expected


def test_month_thirteen_is_january_and_no_other_is_touched() -> None:
    broken = DateTime(2024, 13, 5, 7, 30, 0)

    assert isens.repair_month(broken) == DateTime(2024, 1, 5, 7, 30, 0)
    assert isens.repair_month(CLOCK) == CLOCK
    assert isens.repair_month(CLOCK._replace(month=14)).month == 14


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (isens_serial.ask_serial_number(), "02 69 53 50 63 07 52 53 4e 42"),
        (isens_serial.ask_clock(), "02 69 53 50 63 07 52 54 49 4d"),
        (isens_serial.ask_count(), "02 69 53 50 63 07 4e 43 4f 54"),
        (isens_serial.ask_records(28, 27), "02 69 53 50 63 0a 47 4c 55 45 00 1c 1b"),
        (
            isens_serial.set_clock(datetime(2026, 3, 1, 7, 30, 5, 9, UTC)),
            "02 69 53 50 63 0d 57 54 49 4d 1a 03 01 07 1e 05",
        ),
    ],
)
def test_a_request_is_sent_as_documented(sent: Packet, expected: str) -> None:
    raw = sent.encode()
    head = bytes.fromhex(expected)

    assert raw[:-3] == head
    assert raw == packet(head[6:10].decode(), head[10:].hex())
    assert raw[-1] == 0x03


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: isens_serial.ask_records(0, 1),
        lambda: isens_serial.ask_records(0x10000, 1),
        lambda: isens_serial.ask_records(1, 0),
        lambda: isens_serial.ask_records(1, 28),
        lambda: isens_serial.set_clock(datetime(1999, 1, 1, tzinfo=UTC)),
        lambda: isens_serial.set_clock(datetime(2256, 1, 1, tzinfo=UTC)),
        Packet("RSN").encode,
        Packet("RSNB", bytes(249)).encode,
    ],
)
def test_what_no_meter_knows_is_never_sent(wrong: object) -> None:
    with pytest.raises(ValueError, match=r"is no packet|no meter|the meter knows"):
        wrong()  # type: ignore[operator]


@pytest.mark.parametrize("size", [1, 2, 5, 6, 7, 64])
def test_packets_come_out_however_the_bytes_arrive(size: int) -> None:
    """The answer with the readings has no valid crc, and is read all the same."""
    stream, packets = SERIAL + COUNT + GLUE, decoder()

    seen = [
        event
        for at in range(0, len(stream), size)
        for event in packets.feed(stream[at : at + size])
    ]

    assert seen == [
        answered("RSNB", "41 42 43 31 32 33 00"),
        answered("NCOT", "00 03"),
        answered("GLUE", RECORD),
    ]


def test_answers_are_read_as_documented() -> None:
    assert isens_serial.read_serial_number(decode_packet(SERIAL)) == "ABC123"
    assert isens_serial.read_count(decode_packet(COUNT)) == 3
    clock = answered("RTIM", "1a 03 01 07 1e 05")
    assert isens_serial.read_clock(clock) == CLOCK
    written = answered("WTIM", "1a 03 01 07 1e 05")
    assert isens_serial.read_clock_set(written) == CLOCK


def test_records_are_read_with_the_bytes_they_came_in() -> None:
    ketone = "ff ff ff ff ff ff 60 00 0c"
    both = answered("GLUE", f"{RECORD} {ketone}")

    seen = isens_serial.read_records(both, 2)

    assert seen == [
        (Record(CLOCK, Flag.NORMAL, 120), bytes.fromhex(RECORD)),
        (
            Record(
                DateTime(2255, 255, 255, 255, 255, 255), Flag.NORMAL | Flag.KETONE, 12
            ),
            bytes.fromhex(ketone),
        ),
    ]
    assert [record.ketone_mmol_per_l for record, _ in seen] == [None, Decimal("1.2")]


@pytest.mark.parametrize("name", ["TOUT", "HEAD", "SIZE", "ECRC", "CMND"])
def test_a_refusal_is_told_from_damage(name: str) -> None:
    """What the meter will not do is not asked for again and again."""
    with pytest.raises(DecodeError) as caught:
        isens_serial.read_count(decode_packet(packet(name)))

    assert caught.value.fault == Fault.DEVICE_ERROR
    assert name in str(caught.value)


@pytest.mark.parametrize(
    ("read", "found", "fault"),
    [
        (isens_serial.read_count, answered("RTIM", "00 03"), Fault.NOT_A_RESPONSE),
        (isens_serial.read_count, answered("NCOT", "03"), Fault.TRUNCATED),
        (isens_serial.read_count, answered("NCOT", "00 03 00"), Fault.BAD_LENGTH),
        (isens_serial.read_clock, answered("RTIM", "1a 03 01"), Fault.TRUNCATED),
        (isens_serial.read_serial_number, answered("RSNB", ""), Fault.TRUNCATED),
        (isens_serial.read_serial_number, answered("RSNB", "00"), Fault.BAD_FIELD),
        (isens_serial.read_serial_number, answered("RSNB", "c3 00"), Fault.BAD_FIELD),
        (
            lambda packet: isens_serial.read_records(packet, 2),
            answered("GLUE", RECORD),
            Fault.TRUNCATED,
        ),
        (
            lambda packet: isens_serial.read_records(packet, 1),
            answered("GLUE", RECORD + RECORD),
            Fault.BAD_LENGTH,
        ),
    ],
)
def test_what_is_no_such_answer_is_refused_by_its_class(
    read: object, found: Packet, fault: Fault
) -> None:
    with pytest.raises(DecodeError) as caught:
        read(found)  # type: ignore[operator]

    assert caught.value.fault == fault


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", Fault.TRUNCATED),
        (SERIAL[:-1], Fault.TRUNCATED),
        (SERIAL + b"\x03", Fault.BAD_LENGTH),
        (b"\x02iSPd" + SERIAL[5:], Fault.BAD_HEADER),
        (SERIAL[:5] + b"\x06" + SERIAL[6:], Fault.BAD_LENGTH),
        (SERIAL[:-1] + b"\x04", Fault.BAD_FRAME),
        (SERIAL.replace(b"ABC", b"ABD"), Fault.BAD_CRC),
        (packet("R\x00NB"), Fault.BAD_FIELD),
    ],
)
def test_a_damaged_packet_is_refused_by_its_class(data: bytes, fault: Fault) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_packet(data)

    assert caught.value.fault == fault
    assert caught.value.data == data


def test_every_flipped_bit_of_a_protected_packet_is_refused() -> None:
    """All but the answer to GLUE: the driver asks for that one twice."""
    for bit in range(8 * len(SERIAL)):
        damaged = bytearray(SERIAL)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DecodeError):
            decode_packet(bytes(damaged))


def test_noise_and_a_false_start_are_told_and_cost_no_packet() -> None:
    noise = b"\xff\x02iSPc\x03\x2e"

    seen = decoder().feed(noise + COUNT)

    assert seen[-1] == answered("NCOT", "00 03")
    assert b"".join(e.data for e in seen if isinstance(e, Damaged)) == noise


@given(st.binary(max_size=300))
@settings(deadline=None)
def test_random_bytes_are_read_or_refused(data: bytes) -> None:
    for payload in (data, b"\x02iSPc" + data):
        try:
            decode_packet(payload)
        except DecodeError as error:
            assert error.data == payload  # noqa: PT017 - either is right

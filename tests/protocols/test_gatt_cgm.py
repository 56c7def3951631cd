"""CGM records, features, session and ops, against bytes made by hand and captures."""

from decimal import Decimal

import pytest

from protocols.errors import DecodeError, Fault
from protocols.gatt import cgm, cgm_ops, cgm_session, racp
from protocols.gatt.cgm import Annunciation, Feature, Flag, Measurement
from protocols.gatt.cgm_ops import Calibration, Message, Op, Outcome
from protocols.gatt.cgm_session import SessionStart
from protocols.gatt.e2e_crc import Expect
from protocols.gatt.time import DateTime
from protocols.medfloat import Special

# From an Accu-Chek SmartGuide, their CRCs by the sensor itself.
BELOW_RANGE = bytes.fromhex("0f e3 02 08 68 01 08 0a 40 fa ff 54 00 c4 92")
STATUS = bytes.fromhex("0c 21 08 02 80 2a a5")
START = bytes.fromhex("ea 07 02 04 12 36 2c 00 ff fc c8")
CALIBRATED = bytes.fromhex("1c 04 01 ec 6f")


def crc(value: str) -> bytes:
    """Add the CRC by its bitwise definition."""
    raw, found = bytes.fromhex(value), 0xFFFF
    for byte in raw:
        found ^= byte
        for _ in range(8):
            found = found >> 1 ^ (0x8408 if found & 1 else 0)
    return raw + bytes([found & 0xFF, found >> 8])


def test_the_bitwise_crc_of_this_file_is_that_of_the_sensor() -> None:
    """The oracle itself must agree with what a sensor sent."""
    assert crc(STATUS[:-2].hex()) == STATUS
    assert crc(BELOW_RANGE[:-2].hex()) == BELOW_RANGE


def test_the_octets_stand_in_the_order_of_the_capture() -> None:
    """A library has them mixed: a malfunction would read as a hypo warning."""
    assert cgm.decode_measurement(BELOW_RANGE, Expect.PRESENT) == [
        Measurement(
            size=15,
            flags=Flag(0xE3),
            concentration=Special.NEGATIVE_INFINITY,
            offset_min=360,
            annunciation=Annunciation(status=0x08, calibration=0x0A, warning=0x40),
            trend=Decimal("-0.6"),
            quality=Decimal(84),
            crc=0x92C4,
        )
    ]


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ("07 80 78 00 1e 00 01", Annunciation(status=1)),
        ("07 40 78 00 1e 00 01", Annunciation(calibration=1)),
        ("07 20 78 00 1e 00 01", Annunciation(warning=1)),
        ("08 a0 78 00 1e 00 01 02", Annunciation(status=1, warning=2)),
    ],
)
def test_an_octet_that_is_missing_moves_the_next_one_up(
    raw: str, said: Annunciation
) -> None:
    """Each octet is known by its flag, never by its position."""
    (record,) = cgm.decode_measurement(bytes.fromhex(raw))

    assert (record.concentration, record.annunciation) == (Decimal(120), said)


def test_the_names_of_an_annunciation_are_those_of_all_its_parts() -> None:
    said = Annunciation(status=2, calibration=8, warning=0x80)

    assert said.names == ["battery_low", "calibration_required", "above_device_range"]
    assert Annunciation().names == []


def test_several_records_come_out_of_one_notification() -> None:
    """At a large MTU a sensor sends what it stored several at a time."""
    both = crc("08 00 78 00 05 00") + crc("08 00 79 00 0a 00")

    found = cgm.decode_measurement(both, Expect.PRESENT)

    assert [(each.offset_min, each.concentration) for each in found] == [
        (5, Decimal(120)),
        (10, Decimal(121)),
    ]


@pytest.mark.parametrize(
    ("raw", "expect", "fault"),
    [
        ("", Expect.EITHER, Fault.TRUNCATED),
        ("06", Expect.EITHER, Fault.TRUNCATED),
        ("00", Expect.EITHER, Fault.BAD_LENGTH),
        ("05 00 78 00 1e", Expect.EITHER, Fault.BAD_LENGTH),
        ("06 00 78 00 1e 00", Expect.PRESENT, Fault.MISSING_CHECKSUM),
        ("08 00 78 00 1e 00 01 02", Expect.ABSENT, Fault.BAD_LENGTH),
        ("08 00 78 00 1e 00 01 02", Expect.EITHER, Fault.BAD_CRC),
        ("07 00 78 00 1e 00 01", Expect.EITHER, Fault.BAD_LENGTH),
        # It would take the next record's size and flags for its trend.
        ("06 01 78 00 1e 00 06 00 79 00 1f 00", Expect.EITHER, Fault.TRUNCATED),
        # The second record is cut: nothing of such a value is to be trusted.
        ("06 00 78 00 1e 00 06 00 79 00", Expect.EITHER, Fault.TRUNCATED),
    ],
)
def test_a_record_of_another_size_than_its_flags_announce_is_refused(
    raw: str, expect: Expect, fault: Fault
) -> None:
    """What is skipped or taken from the neighbour would be a glucose value."""
    with pytest.raises(DecodeError) as caught:
        cgm.decode_measurement(bytes.fromhex(raw), expect)

    assert caught.value.fault == fault


def test_every_flipped_bit_is_refused_where_the_sensor_sends_a_crc() -> None:
    """Told by the feature that there is one, no single error gets through."""
    values = (
        (cgm.decode_measurement, BELOW_RANGE),
        (cgm.decode_measurement, crc("08 00 78 00 05 00")),
        (cgm.decode_measurement, crc("08 00 78 00 05 00") * 2),
        (cgm.decode_status, STATUS),
        (cgm_session.decode_session_start, START),
        (cgm_session.decode_run_time, crc("50 01")),
        (cgm_ops.decode, CALIBRATED),
        (cgm_ops.decode, bytes.fromhex("06 01 20 0a 00 32 14 00 01 00 04 bf b2")),
    )
    for decode, raw in values:
        decode(raw, Expect.PRESENT)
        for bit in range(8 * len(raw)):
            damaged = bytearray(raw)
            damaged[bit // 8] ^= 1 << bit % 8
            with pytest.raises(DecodeError):
                decode(bytes(damaged), Expect.PRESENT)


def test_the_feature_says_whether_there_is_a_crc() -> None:
    """Else a flag that flips could turn the CRC into a trend."""
    with_crc = cgm.decode_feature(crc("03 90 01 59"))
    without = cgm.decode_feature(bytes.fromhex("01 00 00 59 ff ff"))

    assert with_crc.bits == Feature.CALIBRATION | Feature.PATIENT_HIGH_LOW_ALERTS | (
        Feature.E2E_CRC | Feature.TREND | Feature.QUALITY
    )
    assert (with_crc.sample_type, with_crc.location) == (9, 5)
    assert (with_crc.expect, without.expect) == (Expect.PRESENT, Expect.ABSENT)
    assert without.crc is None


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        ("01 00 00 59 ff", Fault.BAD_LENGTH),
        ("01 00 00 59 ff ff 00", Fault.BAD_LENGTH),
        ("01 00 00 59 00 00", Fault.BAD_FIELD),
        ("01 10 00 59 ff ff", Fault.BAD_CRC),
    ],
)
def test_a_feature_that_is_not_whole_is_refused(raw: str, fault: Fault) -> None:
    """It decides how every other value is read."""
    with pytest.raises(DecodeError) as caught:
        cgm.decode_feature(bytes.fromhex(raw))

    assert caught.value.fault == fault


def test_the_status_has_all_three_octets() -> None:
    seen = cgm.decode_status(STATUS)

    assert seen.offset_min == 8460
    assert seen.annunciation == Annunciation(status=8, calibration=2, warning=128)


@pytest.mark.parametrize(
    ("zone", "dst", "minutes"),
    [(32, 0, 480), (8, 4, 180), (-128, 0, None), (32, 255, None), (57, 0, None)],
)
def test_a_session_starts_at_a_known_distance_from_utc_or_not(
    zone: int, dst: int, minutes: int | None
) -> None:
    """Zones count quarters of an hour; read as minutes, all is off by hours."""
    raw = bytes.fromhex("ea 07 02 04 12 36 2c") + bytes([zone & 0xFF, dst])

    start = cgm_session.decode_session_start(raw, Expect.ABSENT)

    assert start == SessionStart(DateTime(2026, 2, 4, 18, 54, 44), zone, dst)
    assert start.utc_offset_min == minutes


def test_a_session_that_starts_on_no_date_is_kept() -> None:
    """A sensor whose clock was never set still measures."""
    shown = cgm_session.KINDS["gatt.cgm_session_start_time"].show(
        bytes.fromhex("00 00 00 00 00 00 00 80 ff")
    )

    assert shown["session_start_valid"] is False
    assert shown["time_zone_min"] is None


@pytest.mark.parametrize(
    ("message", "raw"),
    [
        (Message(Op.SET_COMMUNICATION_INTERVAL, 5), "01 05"),
        (Message(Op.GET_COMMUNICATION_INTERVAL), "02"),
        (Message(Op.GET_CALIBRATION, cgm_ops.LAST_CALIBRATION), "05 ff ff"),
        (Message(Op.SET_PATIENT_LOW, Decimal(70)), "0a 46 00"),
        (Message(Op.SET_RATE_OF_DECREASE, Decimal("-2.5")), "13 e7 ff"),
        (Message(Op.GET_HYPER), "11"),
        (Message(Op.RESET_DEVICE_SPECIFIC_ALERT), "19"),
        (Message(Op.START_SESSION), "1a"),
        (Message(Op.STOP_SESSION), "1b"),
        (Message(Op.RESPONSE_CODE, Outcome(0x1A, 1)), "1c 1a 01"),
        (
            Message(Op.SET_CALIBRATION, Calibration(Decimal(100), 10, 2, 3)),
            "04 64 00 0a 00 32 00 00 00 00 00",
        ),
    ],
)
def test_a_message_is_these_bytes_in_both_directions(
    message: Message, raw: str
) -> None:
    """By the document's layout; with a CRC, that of the bitwise definition."""
    assert message.encode(has_crc=False) == bytes.fromhex(raw)
    assert message.encode(has_crc=True) == crc(raw)
    assert cgm_ops.decode(bytes.fromhex(raw), Expect.ABSENT) == message


@pytest.mark.parametrize(
    "message",
    [
        Message(Op.SET_COMMUNICATION_INTERVAL),
        Message(Op.SET_COMMUNICATION_INTERVAL, 256),
        Message(Op.SET_COMMUNICATION_INTERVAL, -1),
        Message(Op.SET_COMMUNICATION_INTERVAL, True),
        Message(Op.GET_COMMUNICATION_INTERVAL, 5),
        Message(Op.GET_CALIBRATION, 65536),
        Message(Op.SET_PATIENT_LOW, 70),
        Message(Op.SET_PATIENT_LOW, Special.NAN),
        Message(Op.SET_PATIENT_LOW, Decimal(2046)),
        Message(Op.SET_PATIENT_LOW, Decimal("70.125")),
        Message(Op.SET_PATIENT_LOW, Decimal("1E-9")),
        Message(Op.GET_PATIENT_LOW, Decimal(70)),
        Message(Op.SET_CALIBRATION, Outcome(1, 1)),
        Message(Op.SET_CALIBRATION, Calibration(Decimal(100), 65536, 2, 3)),
        Message(Op.SET_CALIBRATION, Calibration(Special.NAN, 10, 2, 3)),
        Message(Op.START_SESSION, Calibration(Decimal(100), 10, 2, 3)),
        Message(Op.START_SESSION, Outcome(1, 1)),
    ],
    ids=str,
)
def test_an_operand_that_the_wire_cannot_carry_exactly_is_our_mistake(
    message: Message,
) -> None:
    """A limit for an alarm that was rounded or cut is another limit."""
    with pytest.raises(ValueError, match=r".+"):
        message.encode(has_crc=False)


def test_a_reserved_answer_is_shown_as_such() -> None:
    show = cgm_ops.KINDS["gatt.cgm_specific_ops"].show

    assert show(bytes.fromhex("1c 01 09"))["response"] == "reserved"
    assert "level" not in show(bytes.fromhex("1a"))


@pytest.mark.parametrize(
    ("asked", "end", "answers"),
    [
        ("04 01", racp.Count(3), True),
        ("01 01", racp.Count(3), False),
        ("01 03 01 05 00", racp.Response(1, 1), True),
        ("04 01", racp.Response(1, 1), False),
        ("04 01", racp.Response(4, 6), True),
    ],
)
def test_an_answer_to_an_earlier_request_is_told_from_this_ones(
    asked: str, end: racp.Count | racp.Response, answers: bool
) -> None:
    """An indication that comes twice must not end the next procedure."""
    raw = bytes.fromhex(asked)
    offset = int.from_bytes(raw[3:5], "little") if len(raw) == 5 else None
    request = racp.Request(racp.OpCode(raw[0]), racp.Operator(raw[1]), offset)

    assert request.encode() == raw
    assert request.is_answered_by(end) is answers

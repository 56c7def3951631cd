"""Enhanced blood pressure and segmented records, against bytes made by hand."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import DecodeError
from protocols.gatt import blood_pressure, blood_pressure_enhanced
from protocols.gatt.blood_pressure_enhanced import Flag
from protocols.gatt.blood_pressure_record import Record, Segments
from protocols.gatt.time import DateTime
from protocols.gatt.uuid import sig
from protocols.stream import Damaged

# A 2A35 of 120/80, cut in two and in three by hand.
WHOLE = bytes.fromhex("1e 78 00 50 00 5d 00 e8 07 06 0f 0e 1e 2d 48 00 01 04 00")
ONE, TWO = bytes.fromhex("fd 07 00 35 2a"), bytes.fromhex("02 07 00 35 2a")
FIRST, LAST = ONE + WHOLE[:10], TWO + WHOLE[10:]
RECORD = Record(7, sig(0x2A35), WHOLE)
GAP, NO_START = "a segment did not come", "its first segment did not come"


def crc(raw: bytes) -> bytes:
    """Return the CRC by its bitwise definition."""
    found = 0xFFFF
    for byte in raw:
        found ^= byte
        for _ in range(8):
            found = found >> 1 ^ (0x8408 if found & 1 else 0)
    return bytes([found & 0xFF, found >> 8])


def feed(*payloads: bytes, has_crc: bool = False) -> list[Record | Damaged]:
    segments = Segments(has_crc=has_crc)
    return [event for each in payloads for event in segments.feed(each)]


def test_both_clocks_of_an_enhanced_measurement_give_the_zone() -> None:
    """The one value of the service that says where on earth it was measured."""
    raw = bytes.fromhex("62 78 00 50 00 5d 00 75 f2 ff 2d 28 63 00 2e")

    seen = blood_pressure_enhanced.decode_measurement(raw)

    assert seen.pressures == (Decimal(120), Decimal(80), Decimal(93))
    assert seen.time == DateTime(2024, 6, 15, 6, 34, 29)
    assert seen.user_facing_time == DateTime(2024, 6, 15, 14, 35, 20)
    assert seen.offset_min == 480  # 51 s apart: the cuff read one after the other


@pytest.mark.parametrize(
    ("utc_s", "local_s", "minutes"),
    [(0, 28800, 480), (28800, 0, -480), (0, 449, 0), (0, 450, 15), (449, 0, 0)],
)
def test_the_offset_is_a_quarter_of_an_hour_or_several(
    utc_s: int, local_s: int, minutes: int
) -> None:
    seen = blood_pressure_enhanced.Measurement(
        Flag.TIME | Flag.USER_FACING_TIME, (), time_s=utc_s, user_facing_s=local_s
    )

    assert seen.offset_min == minutes


def test_one_clock_alone_gives_no_zone() -> None:
    """A zone that nobody told must not be guessed."""
    seen = blood_pressure_enhanced.decode_cuff_pressure(
        bytes.fromhex("02 78 00 00 00 00 00")
    )

    assert (seen.offset_min, seen.user_facing_time) == (None, None)
    assert seen.time == DateTime(1900, 1, 1, 0, 0, 0)


def test_the_last_moment_of_either_epoch_can_be_told() -> None:
    """32 bits end in 2036 and in 2136; neither may raise."""
    for flags, year in (("02", 2036), ("42", 2136)):
        seen = blood_pressure_enhanced.decode_cuff_pressure(
            bytes.fromhex(flags + "78 00 ff ff ff ff")
        )
        assert seen.time is not None
        assert seen.time.year == year


def test_a_record_in_one_segment_is_whole() -> None:
    assert feed(bytes.fromhex("03 07 00 35 2a") + WHOLE) == [RECORD]


def test_segments_make_a_record_and_the_counter_rolls() -> None:
    """63 is followed by 0: a record must not be lost for it."""
    assert feed(FIRST, LAST) == [RECORD]
    decoded = blood_pressure.decode(RECORD.data)
    assert (decoded.systolic, decoded.diastolic) == (Decimal(120), Decimal(80))


def test_a_segment_that_comes_twice_counts_once() -> None:
    """Indications are repeated after a lost confirmation."""
    assert feed(FIRST, FIRST, LAST) == [RECORD]


@pytest.mark.parametrize(
    "last",
    ["06 07 00 35 2a", "02 08 00 35 2a", "02 07 00 34 2b"],
    ids=["counter", "sequence", "uuid"],
)
def test_a_gap_takes_the_record_with_it(last: str) -> None:
    """Two halves of two readings would be one that nobody had."""
    other = bytes.fromhex(last) + WHOLE[10:]

    assert feed(FIRST, other) == [Damaged(FIRST, GAP), Damaged(other, GAP)]


def test_what_is_lost_is_reported_and_the_next_record_still_comes() -> None:
    whole = bytes.fromhex("03 08 00 35 2a") + WHOLE

    assert feed(LAST, FIRST, whole, b"\x03") == [
        Damaged(LAST, NO_START),
        Damaged(FIRST, "its last segment did not come"),
        Record(8, sig(0x2A35), WHOLE),
        Damaged(b"\x03", "truncated"),
    ]


def test_a_record_that_does_not_end_is_given_up() -> None:
    """A cuff gone mad must not fill the station's memory."""
    endless = [bytes([at % 64 << 2 | (at == 0)]) + ONE[1:] for at in range(64)]

    assert feed(*endless) == [Damaged(b"".join(endless), "it has no end")]


def test_the_record_being_waited_for_can_be_given_up() -> None:
    segments = Segments(has_crc=False)
    segments.feed(FIRST)

    assert segments.resync() == [Damaged(FIRST, "given up")]
    assert segments.resync() == []


def test_the_crc_is_that_of_all_segments() -> None:
    """Where the feature announces it, no single wrong bit gets through."""
    last = LAST + crc(FIRST + LAST)
    assert feed(FIRST, last, has_crc=True) == [RECORD]

    for bit in range(8 * len(last)):
        damaged = bytearray(last)
        damaged[bit // 8] ^= 1 << bit % 8
        events = feed(FIRST, bytes(damaged), has_crc=True)
        assert not any(isinstance(event, Record) for event in events)


def test_an_announced_crc_that_is_not_there_is_told() -> None:
    only = bytes.fromhex("03 07 00 35 2a 00")

    assert feed(only, has_crc=True) == [Damaged(only, "missing_checksum")]


@given(st.lists(st.binary(max_size=12)), st.booleans())
def test_no_byte_is_lost_in_silence(payloads: list[bytes], has_crc: bool) -> None:
    """Whatever comes, it ends in a record, in a damage report, or is a repetition."""
    segments = Segments(has_crc=has_crc)
    events = [event for each in payloads for event in segments.feed(each)]
    events += segments.resync()

    assert len(events) <= len(payloads)


def test_a_cut_value_names_the_missing_field() -> None:
    with pytest.raises(DecodeError, match="'user-facing time' needs 4 bytes, 3 remain"):
        blood_pressure_enhanced.decode_measurement(
            bytes.fromhex("20 78 00 50 00 5d 00 01 02 03")
        )

"""Bioland frames, requests and results, against published frames."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols import kinds
from protocols.errors import DecodeError, Fault
from protocols.gatt.time import DateTime
from protocols.stream import Damaged
from protocols.vendor import bioland
from protocols.vendor.bioland import (
    Category,
    Frame,
    Info,
    Result,
    decode_frame,
    decode_frame_1,
    decode_info,
    decode_result,
    decoder,
)

# Published frames, of which none is by our encoder.
INFO_3_2 = bytes.fromhex("55 12 00 20 03 32 02 00 11 22 33 44 55 66 77 88 99 bd")
RESULT = bytes.fromhex("55 0c 03 0e 01 01 05 18 00 a8 00 3b")
LOW = bytes.fromhex("55 0c 03 0e 01 01 05 19 00 12 00 a4")
HIGH = bytes.fromhex("55 0c 03 0e 01 01 05 19 00 c3 02 57")
END = bytes.fromhex("55 05 05 00 61")


def test_frames_come_out_however_the_bytes_arrive() -> None:
    """The information of protocol 3.2 nearly fills a packet; a cable knows none."""
    stream, found = decoder(), []

    for byte in INFO_3_2 + RESULT + END:
        found += stream.feed(bytes([byte]))

    assert found == [
        Frame(Category.INFO, INFO_3_2[3:-1], 2),
        Frame(Category.RESULT, RESULT[3:-1], 2),
        Frame(Category.END, b"\0", 2),
    ]


def test_a_frame_behind_damage_is_found() -> None:
    events = decoder().feed(b"\x55\x03" + RESULT + b"\0")

    assert decode_frame(RESULT) in events
    lost = b"".join(event.data for event in events if isinstance(event, Damaged))
    assert lost == b"\x55\x03\0"


@pytest.mark.parametrize(
    ("made", "raw"),
    [
        (bioland.handshake(), "5a 04 09 67"),
        (
            bioland.ask_info(DateTime(2016, 5, 2, 15, 33, 59)),
            "5a 0a 00 10 05 02 0f 21 3b e8",
        ),
        (
            bioland.ask_result(DateTime(2016, 5, 2, 15, 33, 59)),
            "5a 0a 03 10 05 02 0f 21 3b eb",
        ),
    ],
)
def test_requests_are_those_that_others_send(made: bytes, raw: str) -> None:
    """The month counts from 1: one client sends it from 0 and sets a wrong clock."""
    assert made == bytes.fromhex(raw)


@pytest.mark.parametrize(
    ("raw", "fault", "field", "offset"),
    [
        ("", Fault.TRUNCATED, "start", 0),
        ("5a 05 05 00 61", Fault.BAD_HEADER, "start", 0),
        ("55 03 05", Fault.BAD_LENGTH, "length", 1),
        ("55 05 05 00", Fault.TRUNCATED, "sum", 4),
        ("55 05 05 00 60", Fault.BAD_CHECKSUM, "sum", 4),
        ("55 05 05 00 63", Fault.BAD_CHECKSUM, "sum", 4),
        ("55 05 05 00 61 00", Fault.BAD_LENGTH, "end", 5),
    ],
)
def test_what_is_no_frame_is_refused_at_its_byte(
    raw: str, fault: Fault, field: str, offset: int
) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_frame(bytes.fromhex(raw))

    found = caught.value
    assert (found.fault, found.field, found.offset) == (fault, field, offset)


@pytest.mark.parametrize(
    ("added", "taken"), [(0, 1), (1, 0), (2, 1), (3, 0), (4, 0), (254, 0)]
)
def test_a_result_has_only_the_sums_that_meters_send(added: int, taken: int) -> None:
    """Each further number that is taken lets through damage to a glucose value."""
    raw = RESULT[:-1] + bytes([0x39 + added & 0xFF])

    if taken:
        assert decode_frame(raw).added == added
    else:
        with pytest.raises(DecodeError, match="more than the frame's"):
            decode_frame(raw)


def test_no_flipped_bit_passes_once_the_meter_is_known() -> None:
    """Two sums are right at first; the driver learns which this meter makes."""
    for bit in range(8 * len(RESULT)):
        damaged = bytearray(RESULT)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DecodeError):
            decode_frame(bytes(damaged), added=2)
    assert decode_frame(RESULT, added=2).added == 2


def test_the_sum_of_protocol_1_takes_a_field_for_one_number() -> None:
    """Three bytes that are summed one by one would refuse every frame."""
    result = bytes.fromhex("55 0e 03 01 02 03 04 05 00 11 22 86 22 00")

    frame = decode_frame_1(result)

    assert frame == Frame(Category.RESULT, result[3:-3], 0)
    assert decode_result(frame.data).mg_per_dl == 0x2211


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        ("55 05 04 00 00", Fault.BAD_LENGTH),
        ("55 06 04 60 00 00", Fault.BAD_CHECKSUM),
        ("55 06 04 5f 01 00", Fault.BAD_CHECKSUM),
        ("55 06 04 5f 00", Fault.TRUNCATED),
    ],
)
def test_what_is_no_frame_of_protocol_1_is_refused(raw: str, fault: Fault) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_frame_1(bytes.fromhex(raw))
    assert caught.value.fault == fault


def test_high_and_low_are_no_numbers() -> None:
    """A person with HI has no 707 mg/dL, and one with LO may not reach 18."""
    time = DateTime(2014, 1, 1, 5, 25, 0)

    assert decode_result(decode_frame(HIGH).data) == Result(
        time, 707, None, above_range=True
    )
    assert decode_result(decode_frame(LOW).data) == Result(
        time, 18, None, below_range=True
    )
    assert kinds.show("bioland.frame", HIGH, {})["limit"] == "above_range"
    assert kinds.show("bioland.frame", LOW, {})["limit"] == "below_range"


@pytest.mark.parametrize(("glucose", "mg_per_dl"), [("13 00", 19), ("c2 02", 706)])
def test_a_value_beside_high_and_low_is_one(glucose: str, mg_per_dl: int) -> None:
    data = bytes.fromhex("0e 01 01 05 18 00" + glucose)

    assert decode_result(data) == Result(
        DateTime(2014, 1, 1, 5, 24, 0), mg_per_dl, mg_per_dl
    )


@pytest.mark.parametrize(
    ("data", "info"),
    [
        ("01 02 03 04 05 06 07 11 22 33", Info(1, "112233")),
        ("2a 03 02 27 00 11 80 06 00 33 0a", Info(42, "", 17)),
        ("20 03 32 02 00 31 32 33 34 35 36 37 38 39", Info(32, "123456789", 50)),
        ("20 03 32 02 00 31 32 33 00 00 00 00 00 00", Info(32, "123", 50)),
        (
            "20 03 32 02 00 11 22 33 44 55 66 77 88 99",
            Info(32, "112233445566778899", 50),
        ),
    ],
)
def test_the_information_is_that_of_its_protocol(data: str, info: Info) -> None:
    """A rolling code taken for the serial number would double all readings."""
    assert decode_info(bytes.fromhex(data)) == info


def test_information_of_another_length_is_refused() -> None:
    with pytest.raises(DecodeError) as caught:
        decode_info(bytes(12))
    assert caught.value.fault == Fault.BAD_LENGTH


def test_an_error_inside_a_shown_frame_names_the_byte_of_the_frame() -> None:
    raw = bytes.fromhex("55 05 00 20 7c")

    with pytest.raises(DecodeError) as caught:
        kinds.show("bioland.frame", raw, {})

    assert (caught.value.data, caught.value.offset) == (raw, 4)


def test_what_is_shown_of_an_unset_clock_says_so() -> None:
    raw = bytes.fromhex("55 0c 03 00 00 00 00 00 00 50 00 b6")

    shown = kinds.show("bioland.frame", raw, {})

    assert shown["timestamp"] == "2000-00-00T00:00"
    assert shown["timestamp_valid"] is False
    assert shown["mg_per_dl"] == 80


def test_a_frame_of_an_unknown_category_is_shown_as_such() -> None:
    assert kinds.show("bioland.frame", bytes.fromhex("55 04 01 5c"), {}) == {
        "category": 1,
        "packet": "unknown",
        "checksum_offset": 2,
    }


@pytest.mark.parametrize("read", [decode_info, decode_result, bioland.decode_countdown])
@given(data=st.binary(max_size=16))
def test_any_data_is_read_or_refused(read: object, data: bytes) -> None:
    try:
        read(data)  # type: ignore[operator]
    except DecodeError as error:
        assert error.data == data  # noqa: PT017 - either is right

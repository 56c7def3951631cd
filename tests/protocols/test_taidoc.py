"""TaiDoc frames, requests and records, against bytes made by hand."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import DecodeError, Fault
from protocols.gatt.time import DateTime
from protocols.stream import Damaged
from protocols.vendor import taidoc
from protocols.vendor.taidoc import Command, Frame, Sender, decode_frame, decoder
from protocols.vendor.taidoc_records import (
    Analyte,
    BloodPressure,
    Meal,
    Strip,
    decode_blood_pressure,
    decode_record_time,
    decode_strip,
    decode_temperature,
)

TIME = bytes.fromhex("51 25 04 27 25 0d a5 78")
VALUE = bytes.fromhex("51 26 6e 00 00 40 a5 ca")
UNASKED = bytes.fromhex("51 54 00 00 00 00 a5 4a")
# A scale's published record; its sum is not by our code.
SCALE = bytes.fromhex(
    "51 71 1d 15 10 0b 12 12 21 04 00 a7 02 91 1d 00 02 68 05 4e 00 dc 00 00"
    "00 00 00 00 00 00 00 00 a5 ed"
)


def test_frames_come_out_however_the_bytes_arrive() -> None:
    """One notification is never surely one frame, and on a cable there is none."""
    stream, found = decoder(), []

    for byte in UNASKED + TIME + SCALE + VALUE:
        found += stream.feed(bytes([byte]))

    assert found == [
        Frame(Command.COMMUNICATION_MODE, bytes(4), Sender.DEVICE),
        Frame(Command.RECORD_TIME, bytes.fromhex("04 27 25 0d"), Sender.DEVICE),
        Frame(Command.SCALE_RECORD, SCALE[2:-2], Sender.DEVICE),
        Frame(Command.RECORD_VALUE, bytes.fromhex("6e 00 00 40"), Sender.DEVICE),
    ]


def test_a_frame_behind_damage_is_found() -> None:
    """A false start must cost its own byte only, or a glucose value is lost."""
    events = decoder().feed(b"\x51\x26\x00" + VALUE + bytes(8))

    assert Frame(Command.RECORD_VALUE, b"\x6e\0\0\x40", Sender.DEVICE) in events
    lost = b"".join(event.data for event in events if isinstance(event, Damaged))
    assert lost == b"\x51\x26\x00" + bytes(8)


@pytest.mark.parametrize(
    ("raw", "fault", "field", "offset"),
    [
        ("", Fault.TRUNCATED, "start", 0),
        ("50 26 6e 00 00 40 a5 c9", Fault.BAD_HEADER, "start", 0),
        ("51 26 6e 00 00 40 a5", Fault.TRUNCATED, "sum", 7),
        ("51 26 6e 00 00 40 a5 cb", Fault.BAD_CHECKSUM, "sum", 7),
        ("51 26 6e 00 00 40 a4 c9", Fault.BAD_FRAME, "end", 6),
        ("51 26 6e 00 00 40 a5 ca 00", Fault.BAD_LENGTH, "end", 8),
        ("51 71 03 00 00 a3 68", Fault.TRUNCATED, "sum", 7),
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
    ("made", "raw"),
    [
        (taidoc.ask(Command.CONNECT), "51 22 00 00 00 00 a3 16"),
        (taidoc.ask(Command.READ_CLOCK), "51 23 00 00 00 00 a3 17"),
        (taidoc.ask(Command.MODEL), "51 24 00 00 00 00 a3 18"),
        (taidoc.ask(Command.SERIAL_LAST), "51 27 00 00 00 00 a3 1b"),
        (taidoc.ask(Command.SERIAL_FIRST), "51 28 00 00 00 00 a3 1c"),
        (taidoc.ask(Command.SWITCH_OFF), "51 50 00 00 00 00 a3 44"),
        (taidoc.ask_count(), "51 2b 00 00 00 00 a3 1f"),
        (taidoc.ask_count(3), "51 2b 03 00 00 00 a3 22"),
        (taidoc.ask_record_time(0), "51 25 00 00 00 00 a3 19"),
        (taidoc.ask_record_value(0), "51 26 00 00 00 00 a3 1a"),
        (taidoc.ask_record_value(0x1C1, 2), "51 26 c1 01 00 02 a3 de"),
        (
            taidoc.set_clock(DateTime(2019, 8, 4, 13, 37, 59)),
            "51 33 04 27 25 0d a3 84",
        ),
        (Frame(Command.SCALE_RECORD, b"\x02\0\0"), "51 71 02 00 00 a3 67"),
    ],
)
def test_requests_are_those_of_the_notes(made: Frame, raw: str) -> None:
    """52 erases the memory: no request may be off by a bit."""
    assert made.encode() == bytes.fromhex(raw)
    assert decode_frame(made.encode()) == made


def test_nothing_here_erases_the_memory() -> None:
    """The command is not even a name that somebody could pick by mistake."""
    assert 0x52 not in tuple(Command)


@pytest.mark.parametrize(
    ("data", "time", "moment"),
    [
        ("04 27 25 0d", "2019-08-04T13:37:00", True),
        ("41 36 fb ff", "2027-02-01T31:59:00", False),
        ("00 00 00 00", "2000-00-00T00:00:00", False),
        ("ff ff ff ff", "2127-15-31T31:63:00", False),
    ],
)
def test_a_clock_is_kept_as_sent_also_where_it_is_no_date(
    data: str, time: str, moment: bool
) -> None:
    """A reading must not be lost for its clock, nor the flags read as hours."""
    clock = taidoc.decode_clock(bytes.fromhex(data))

    assert str(clock) == time
    assert (clock.moment is not None) is moment


def test_the_identity_is_read_in_the_order_in_which_it_is_printed() -> None:
    assert taidoc.decode_model(bytes.fromhex("77 42 00 00")) == "4277"
    assert (
        taidoc.decode_serial(
            first=bytes.fromhex("42 00 77 42"), last=bytes.fromhex("0a 78 56 34")
        )
        == "427700423456780A"
    )


def test_a_model_that_is_no_number_is_refused() -> None:
    """What a record means depends on the model, so it is never guessed."""
    with pytest.raises(DecodeError, match="is a277, not BCD") as caught:
        taidoc.decode_model(bytes.fromhex("77 a2 00 00"))

    assert caught.value.fault == Fault.BAD_FIELD


@pytest.mark.parametrize(
    ("data", "count"),
    [("03 00 00 00", 3), ("c2 01 c0 01", 450), ("00 00 ff ff", 0), ("ff ff ff ff", 0)],
)
def test_the_count_of_an_empty_memory_is_none(data: str, count: int) -> None:
    assert taidoc.decode_count(bytes.fromhex(data)) == count


def test_the_flags_of_a_record_stand_above_its_time() -> None:
    """Bit 7 of the minute tells a blood pressure from a glucose value."""
    plain = decode_record_time(bytes.fromhex("04 27 25 0d"))
    pressure = decode_record_time(bytes.fromhex("04 27 e5 8d"))

    assert plain.time == pressure.time == DateTime(2019, 8, 4, 13, 37, 0)
    assert (plain.is_blood_pressure, plain.is_irregular, plain.is_average) == (
        False,
        False,
        False,
    )
    assert (pressure.is_blood_pressure, pressure.is_irregular, pressure.is_average) == (
        True,
        True,
        True,
    )


def test_the_bit_that_a_visit_changes_changes_no_record() -> None:
    """Hour bit 6 says "sent before" on some: with it a record would come twice."""
    before = decode_record_time(bytes.fromhex("04 27 25 0d"))

    assert decode_record_time(bytes.fromhex("04 27 25 4d")) == before
    assert decode_record_time(bytes.fromhex("04 27 25 2d")) == before


@pytest.mark.parametrize(
    ("data", "analyte", "meal", "number"),
    [
        ("6e 00 00 40", Analyte.GLUCOSE, Meal.BEFORE, "110"),
        ("58 02 19 80", Analyte.GLUCOSE, Meal.AFTER, "600"),
        ("00 00 19 00", Analyte.GLUCOSE, Meal.NONE, "0"),
        ("78 00 19 c0", Analyte.GLUCOSE, Meal.CONTROL, "120"),
        ("2a 00 19 d8", Analyte.HEMATOCRIT, Meal.CONTROL, "42"),
        ("5a 00 19 1c", Analyte.KETONE, Meal.NONE, "3.0000"),
        ("11 00 19 dc", Analyte.KETONE, Meal.CONTROL, "0.5667"),
        ("41 00 19 20", Analyte.URIC_ACID, Meal.NONE, "6.5"),
        ("c8 00 19 24", Analyte.CHOLESTEROL, Meal.NONE, "200"),
        ("8e 00 19 2c", Analyte.HEMOGLOBIN, Meal.NONE, "14.2"),
        ("12 00 19 30", Analyte.LACTATE, Meal.NONE, "1.9982"),
        ("96 00 19 34", Analyte.TRIGLYCERIDES, Meal.NONE, "150"),
    ],
)
def test_a_strip_says_what_it_measured(
    data: str, analyte: Analyte, meal: Meal, number: str
) -> None:
    """A ketone taken for glucose, or a tenth for a whole, is a wrong treatment."""
    strip = decode_strip(bytes.fromhex(data))

    assert (strip.analyte, strip.meal) == (analyte, meal)
    assert str(strip.number) == number


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        ("ff ff 00 00", Fault.EMPTY_SLOT),
        ("6e 00 00 04", Fault.RESERVED_VALUE),
        ("6e 00 00 3c", Fault.RESERVED_VALUE),
        ("6e 00 00", Fault.TRUNCATED),
        ("6e 00 00 40 00", Fault.BAD_LENGTH),
    ],
)
def test_what_is_no_strip_is_refused(data: str, fault: Fault) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_strip(bytes.fromhex(data))
    assert caught.value.fault == fault


@pytest.mark.parametrize(
    ("data", "record"),
    [
        ("78 00 50 48", BloodPressure(120, 80, 72)),
        ("78 5d 50 48", BloodPressure(120, 80, 72, mean=93)),
        ("50 50 50 48", BloodPressure(80, 80, 72, mean=80)),
        ("04 01 96 48", BloodPressure(260, 150, 72)),
        ("2c 01 96 48", BloodPressure(300, 150, 72)),
    ],
)
def test_the_second_byte_of_a_pressure_is_its_mean_or_its_high_byte(
    data: str, record: BloodPressure
) -> None:
    """120 with a mean of 93 read as 16 bits would be 23928 mmHg."""
    assert decode_blood_pressure(bytes.fromhex(data)) == record


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        ("2d 01 96 48", Fault.OUT_OF_RANGE),
        ("78 79 50 48", Fault.BAD_FIELD),
        ("78 4f 50 48", Fault.BAD_FIELD),
        ("78 02 50 48", Fault.BAD_FIELD),
        ("ff ff ff ff", Fault.EMPTY_SLOT),
        ("78 00 50", Fault.TRUNCATED),
        ("78 00 50 48 00", Fault.BAD_LENGTH),
    ],
)
def test_a_pressure_that_could_mean_two_things_is_refused(
    data: str, fault: Fault
) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_blood_pressure(bytes.fromhex(data))
    assert caught.value.fault == fault


@pytest.mark.parametrize(
    ("data", "degrees"),
    [
        ("6d 01 00 00", "36.5"),
        ("da 03 00 00", "98.6"),
        ("e7 03 00 00", "99.9"),
        ("e8 03 00 00", "10.00"),
        ("42 0e 00 00", "36.50"),
        ("03 10 00 00", "40.99"),
        ("cc 10 00 00", "43.00"),
    ],
)
def test_a_temperature_is_in_tenths_or_in_hundredths(data: str, degrees: str) -> None:
    """A fever above 40.95 in hundredths has a bit where others have a flag."""
    assert str(decode_temperature(bytes.fromhex(data))) == degrees


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        ("cd 10 00 00", Fault.OUT_OF_RANGE),
        ("6d 11 00 00", Fault.OUT_OF_RANGE),
        ("ff ff 00 00", Fault.EMPTY_SLOT),
        ("6d 01 00", Fault.TRUNCATED),
    ],
)
def test_a_temperature_that_could_mean_two_things_is_refused(
    data: str, fault: Fault
) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_temperature(bytes.fromhex(data))
    assert caught.value.fault == fault


def test_a_ketone_of_whole_tenths_is_exact() -> None:
    assert Strip(Analyte.KETONE, 45, Meal.NONE).number == Decimal("1.5")


@pytest.mark.parametrize(
    "read",
    [
        taidoc.decode_clock,
        taidoc.decode_model,
        taidoc.decode_count,
        decode_record_time,
        decode_strip,
        decode_blood_pressure,
        decode_temperature,
    ],
)
@given(data=st.binary(max_size=6))
def test_any_data_is_read_or_refused(read: object, data: bytes) -> None:
    try:
        read(data)  # type: ignore[operator]
    except DecodeError as error:
        assert error.data == data  # noqa: PT017 - either is right
    else:
        assert len(data) == 4

"""Ascensia Contour: what its records say, by their document."""

from decimal import Decimal

import pytest

from protocols.errors import DecodeError, Fault
from protocols.gatt.time import DateTime
from protocols.vendor.ascensia_records import (
    STANDARD,
    Delimiters,
    Result,
    Sent,
    decode_header,
    decode_message,
    decode_result,
)

# As captured by glucometerutils and Tidepool from a Contour USB, a Contour Next
# and a Contour Next One, and as in the manual of the old Contour.
USB = (
    b"H|\\^&||abcdef|Bayer7390^01.26\\01.05\\08.02.20^7390-2408612^7397-|"
    b"A=1^C=62^G=0^I=0200^R=0^S=1^U=1^V=10600|2000|||||P|1|201708242247"
)
NEXT_ONE = (
    b"H|\\^&||7yMyBR|Contour7800^01.16\\02.00\\20.35^7801-1417178|"
    b"A=1^C=7^R=0^S=1^U=0^V=10600^X=070070180130^a=1^J=0|2|||||P|1|20191017205106|"
)
OLD = b"H|\\^&||-7880|Bayer7150^1.05\\0.00^7150-SAM2193|||||||P|1|200305121635"
P, L = b"P|1", b"L|1||N"


def test_a_header_tells_the_meter_and_its_clock() -> None:
    """Version and serial number stand between repetitions and components."""
    header = decode_header(USB)

    assert header.product == "Bayer7390"
    assert header.version == "01.26\\01.05\\08.02.20"
    assert header.serial == "7390-2408612"
    assert header.time == DateTime(2017, 8, 24, 22, 47, 0)
    assert header.delimiters == STANDARD


def test_a_header_may_have_seconds_and_an_end_of_its_own() -> None:
    header = decode_header(NEXT_ONE)

    assert (header.product, header.serial) == ("Contour7800", "7801-1417178")
    assert header.time == DateTime(2019, 10, 17, 20, 51, 6)


def test_an_old_header_is_shorter() -> None:
    header = decode_header(OLD)

    assert (header.product, header.serial) == ("Bayer7150", "7150-SAM2193")
    assert header.time == DateTime(2003, 5, 12, 16, 35, 0)


def test_a_header_without_a_clock_has_none() -> None:
    header = decode_header(b"H|\\^&" + 12 * b"|")

    assert header.time is None
    assert (header.product, header.serial) == ("", "")


@pytest.mark.parametrize(
    ("header", "fault"),
    [
        (b"", Fault.TRUNCATED),
        (b"H|\\^", Fault.TRUNCATED),
        (b"H|\\^&||pw|Bayer7390^1^2|||||||P|1", Fault.TRUNCATED),
        (b"H|||&||", Fault.BAD_HEADER),  # one sign for two things
        (b"HABCD", Fault.BAD_HEADER),
        (b"P" + OLD[1:], Fault.BAD_HEADER),
        (OLD[:-1], Fault.BAD_LENGTH),
        (OLD[:-1] + b"x", Fault.BAD_FIELD),
        (OLD.replace(b"SAM", b"S&M"), Fault.BAD_FIELD),
        (OLD.replace(b"SAM", b"S\xc4M"), Fault.BAD_FIELD),
    ],
)
def test_a_wrong_header_is_refused(header: bytes, fault: Fault) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_header(header)

    assert caught.value.fault == fault
    assert caught.value.data == header
    assert 0 <= caught.value.offset <= len(header)


def test_a_result_is_an_exact_decimal_with_its_markers() -> None:
    """As in the device reference; its unit is that of the record."""
    assert decode_result(b"R|3|^^^Glucose|93|mg/dL^P||A/M0/T1||201505261150") == Result(
        sequence=3,
        test="Glucose",
        value=Decimal(93),
        unit="mg/dL",
        reference="P",
        markers=("A", "M0", "T1"),
        stamp="201505261150",
        above_range=False,
        below_range=False,
        is_control=False,
    )
    shown = decode_result(b"R|1|^^^Glucose|10.0|mmol/L^P||||201504171154")
    assert (str(shown.value), shown.markers) == ("10.0", ())


def test_a_result_may_have_seconds() -> None:
    result = decode_result(b"R|2|^^^Glucose|159|mg/dL^P||T0/M0||20191016001203")

    assert result.time == DateTime(2019, 10, 16, 0, 12, 3)


@pytest.mark.parametrize(
    ("markers", "above", "below", "control"),
    [
        (b">", True, False, False),
        (b"</B", False, True, False),
        (b"C/M0", False, False, True),
        (b"ZC/A", False, False, False),  # three hours after a meal
        (b"B/X", False, False, False),
    ],
)
def test_markers_tell_limits_and_control_solution(
    markers: bytes, above: bool, below: bool, control: bool
) -> None:
    """Control solution taken for blood, or HI for a number, harms somebody."""
    result = decode_result(
        b"R|5|^^^Glucose|601|mg/dL^P||" + markers + b"||201505261200"
    )

    assert (result.above_range, result.below_range) == (above, below)
    assert result.is_control is control


def test_an_old_result_has_other_fields() -> None:
    """As a Contour on its serial cable sends it, GGC's capture."""
    result = decode_result(b"R|2|^^^Glucose|2.83|mmol/L^P|||||||200612190719")

    assert (result.value, result.unit) == (Decimal("2.83"), "mmol/L")
    assert result.time == DateTime(2006, 12, 19, 7, 19, 0)
    assert result.markers == ()


@pytest.mark.parametrize(
    ("fields", "markers", "above", "control"),
    [
        (b">||", (">",), True, False),
        (b">\\T|B|", (">", "T", "B"), True, False),
        (b"|A|E", ("A", "E"), False, True),
        (b"|C|", ("C",), False, False),
        (b"||F", ("status-F",), False, False),
        (b"A\\N||", ("flag-A", "flag-N"), False, False),
    ],
)
def test_an_old_result_has_flags_mark_and_status(
    fields: bytes, markers: tuple[str, ...], above: bool, control: bool
) -> None:
    """There E is control solution, and C is not."""
    result = decode_result(
        b"R|4|^^^Glucose|601|mg/dL^P||" + fields + b"|||200612190719"
    )

    assert result.markers == markers
    assert result.above_range is above
    assert result.is_control is control


def test_a_diary_holds_what_is_no_glucose() -> None:
    """80 units of insulin are not 80 mg/dL; captured from a Contour Next USB."""
    carbohydrate = decode_result(b"R|12|^^^Carb|8|3^||||201404021053")
    insulin = decode_result(b"R|13|^^^Insulin|80|1^||||201404021053")

    assert (carbohydrate.test, carbohydrate.unit) == ("Carb", "3")
    assert (insulin.test, insulin.value) == ("Insulin", Decimal(80))


def test_the_header_defines_what_separates() -> None:
    """The same record with all four signs exchanged."""
    header = decode_header(b"H!*~%!!pw!Bay%F%er~1.0*2~7150%E%A!!!!!!!P!1!200305121635")

    assert header.delimiters == Delimiters("!", "*", "~", "%")
    assert (header.product, header.version) == ("Bay!er", "1.0*2")
    assert header.serial == "7150%A"
    result = decode_result(
        b"R!1!~~~Glucose!93!mg/dL~P!!B/%S%!!201505261150", header.delimiters
    )
    assert (result.unit, result.reference) == ("mg/dL", "P")


@pytest.mark.parametrize(
    ("escaped", "plain"), [("&F&", "|"), ("&R&", "\\"), ("&S&", "^"), ("&E&", "&")]
)
def test_an_escape_stands_for_what_separates(escaped: str, plain: str) -> None:
    payload = f"R|1|^^^In{escaped}sulin|80|1^||||201404021053".encode()

    assert decode_result(payload).test == f"In{plain}sulin"


@pytest.mark.parametrize(
    ("record", "field", "fault"),
    [
        (b"", "type", Fault.TRUNCATED),
        (b"P|1", "type", Fault.BAD_HEADER),
        (b"R|3|^^^Glucose|93|mg/dL^P||A|", "record", Fault.TRUNCATED),
        (b"R|3|^^^Glucose|93|mg/dL^P||A||20150526115", "time", Fault.BAD_LENGTH),
        (b"R|3|^^^Glucose|93|mg/dL^P||A||2015052611505", "time", Fault.BAD_LENGTH),
        (b"R|3|^^^Glucose|93|mg/dL^P||A||2015052611 0", "time", Fault.BAD_FIELD),
        (b"R|x|^^^Glucose|93|mg/dL^P||A||201505261150", "sequence", Fault.BAD_FIELD),
        (b"R|3|^^Glucose|93|mg/dL^P||A||201505261150", "test", Fault.BAD_FIELD),
        (b"R|3|^^^Glucose|93|%^P||A||201505261150", "unit", Fault.BAD_FIELD),
        (b"R|3|^^^Glucose|93|mg/dL||A||201505261150", "unit", Fault.BAD_FIELD),
        (b"R|3|^^^Glucose||mg/dL^P||A||201505261150", "value", Fault.BAD_FIELD),
        (b"R|3|^^^Glucose|-93|mg/dL^P||A||201505261150", "value", Fault.BAD_FIELD),
        (b"R|3|^^^Glucose|9e3|mg/dL^P||A||201505261150", "value", Fault.BAD_FIELD),
        (b"R|3|^^^Glucose|93|mg/dL^P||</>||201505261150", "markers", Fault.BAD_FIELD),
        (b"R|3|^^^Glucose|93|mg/dL^P||A||201505261150|x", "end", Fault.BAD_LENGTH),
        (b"R|3|^^^Glu&X&|93|mg/dL^P||A||201505261150", "test", Fault.BAD_FIELD),
        (b"R|3|^^^Glucose\xff|93|mg/dL^P||A||201505261150", "text", Fault.BAD_FIELD),
    ],
)
def test_a_wrong_result_is_refused_by_field(
    record: bytes, field: str, fault: Fault
) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_result(record)

    assert (caught.value.field, caught.value.fault) == (field, fault)
    assert caught.value.data == record
    assert 0 <= caught.value.offset <= len(record)


@pytest.mark.parametrize(
    "record",
    [
        b"R|2|^^^Glucose|2.83|mmol/L^P|||||||200612190719",
        b"R|3|^^^Glucose|93|mg/dL^P||A/M0/T1||201505261150",
    ],
)
def test_every_cut_of_a_result_is_told_as_one(record: bytes) -> None:
    """A value cut short is another value."""
    for size in range(len(record)):
        with pytest.raises(DecodeError) as caught:
            decode_result(record[:size])
        assert caught.value.fault in (Fault.TRUNCATED, Fault.BAD_LENGTH)


def test_a_date_that_is_none_is_kept() -> None:
    """A reading must not be lost for its clock."""
    result = decode_result(b"R|3|^^^Glucose|93|mg/dL^P||||200013321150")

    assert result.time == DateTime(2000, 13, 32, 11, 50, 0)


def test_a_message_without_its_terminator_is_none() -> None:
    """What came before L is not valid until L has come."""
    result = b"R|1|^^^Glucose|10.9|mmol/L^P||A||201504171154"

    for records in ([], [USB], [USB, P, result]):
        with pytest.raises(DecodeError) as caught:
            decode_message(records)
        assert caught.value.fault == Fault.TRUNCATED
    assert decode_message([USB, P, result, L]).results == (
        Sent(result, is_control=False),
    )


@pytest.mark.parametrize("code", [b"L|1||N", b"L|1|N", b"L|1", b"L|1|"])
def test_a_message_may_end_normally_in_several_ways(code: bytes) -> None:
    assert decode_message([USB, P, code]).results == ()


@pytest.mark.parametrize("code", [b"L|1||E", b"L|1|T", b"L|1||Q", b"L|1||R"])
def test_a_message_that_the_meter_broke_off_is_none(code: bytes) -> None:
    """E1394 has codes for an ending that is not normal."""
    with pytest.raises(DecodeError) as caught:
        decode_message([USB, P, code])

    assert caught.value.fault == Fault.DEVICE_ERROR


def test_a_message_begins_with_its_header() -> None:
    with pytest.raises(DecodeError) as caught:
        decode_message([P, L])

    assert caught.value.fault == Fault.TRUNCATED


def test_the_average_of_an_old_meter_is_no_result() -> None:
    """Nobody ever measured it, though it looks like a reading."""
    average = b"R|1|^^^Glucose|7.1|mmol/L^P|||||||200612190719"
    first = b"R|2|^^^Glucose|2.83|mmol/L^P|||||||200612190719"
    strange = b"R|1|average"

    for begin in (average, strange):
        message = decode_message([OLD, P, b"O|1", begin, first, L])
        assert [each.payload for each in message.results] == [first]
    assert decode_message([OLD, P, b"O|1", average, L]).results == ()


def test_an_order_of_quality_control_makes_control_solution() -> None:
    """Its action code is field 12, and holds for the results behind it."""
    first = b"R|1|^^^Glucose|7.1|mmol/L^P||||201012142048"
    second = b"R|2|^^^Glucose|2.8|mmol/L^P||||201012142049"
    records = [USB, P, b"O|1||||||||||Q", first, b"O|2", second, b"C|1|note", L]

    message = decode_message(records)

    assert message.results == (Sent(first, is_control=True), Sent(second, False))
    assert decode_result(first, is_control=True).is_control

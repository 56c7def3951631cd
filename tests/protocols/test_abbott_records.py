"""FreeStyle lists on USB: text by its document; no meter's own was at hand."""

import pytest

from protocols.errors import DecodeError, Fault
from protocols.gatt.time import DateTime
from protocols.vendor.abbott_records import (
    Kind,
    Other,
    Result,
    decode_clock,
    decode_history,
    decode_insulinx,
    decode_libre,
    decode_list,
    decode_neo,
)

TIME = DateTime(2016, 3, 2, 7, 31, 0)
EXACT = TIME._replace(second=5)


def neo(kind: str = "7", date: str = "3,2,16,7,31", value: str = "106") -> bytes:
    return f"{kind},42,{date},0,{value},0,0".encode()


def insulinx(kind: str = "0", value: str = "106") -> bytes:
    return f"{kind},42,3,2,16,7,31,0,0,0,0,0,0,{value},0,0".encode()


def libre(
    measured: str = "0", low: str = "0", value: str = "106", errors: str = "0"
) -> bytes:
    date = f"42,2,3,2,16,7,31,5,1,{measured},0,{low},{value}"
    return f'{date}{",0" * 15},{errors},"häm, ja"'.encode()


def history(value: str = "106", errors: str = "0") -> bytes:
    return f"42,12,3,2,16,7,31,5,1,0,0,0,0,{value},15,{errors}".encode()


def test_a_list_ends_with_its_number_of_lines_and_their_sum() -> None:
    """7,1 and CR LF are 37+2c+31+0d+0a, 8,2 two more: 0xab and 0xad."""
    message = b"7,1\r\n8,2\r\n2,00000158\r\n"

    assert decode_list(message) == (b"7,1", b"8,2")
    assert decode_list(b"7,1\r\n1,000000AB\r\n") == (b"7,1",)
    assert decode_list(b"Log Empty\r\n") == ()
    assert decode_list(b"0,00000000\r\n") == ()


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        (b"", Fault.BAD_FRAME),
        (b"7,1\r\n1,000000AB", Fault.BAD_FRAME),
        (b"7,1\r\n", Fault.BAD_FRAME),
        (b"7,1\r\n1,000000AB\r\n\r\n", Fault.BAD_FRAME),
        (b"7,1\r\n2,000000AB\r\n", Fault.BAD_LENGTH),
        (b"7,1\r\n1,000000AC\r\n", Fault.BAD_CHECKSUM),
    ],
)
def test_a_wrong_list_is_refused(message: bytes, fault: Fault) -> None:
    """A lost line must not pass for a list without it."""
    with pytest.raises(DecodeError) as caught:
        decode_list(message)

    assert caught.value.fault == fault


def test_the_clock_comes_in_two_messages() -> None:
    assert decode_clock(b"3,2,16\r\n", b"7,31\r\n") == TIME
    assert decode_clock(b"03,02,16\r\n", b"07,31\r\n") == TIME


def test_255_everywhere_is_a_lost_clock() -> None:
    """No moment may be made of it."""
    lost = "255,255,255,255,255"

    assert decode_clock(b"255,255,255\r\n", b"7,31\r\n") is None
    assert decode_clock(b"3,2,16\r\n", b"255,255\r\n") is None
    assert decode_neo(neo(date=lost)) == Result(
        Kind.GLUCOSE, 42, None, 106, neo(date=lost)
    )


def test_a_year_of_more_than_two_digits_is_unknown() -> None:
    """255 beside a plausible day would otherwise be the year 2255."""
    clock = decode_clock(b"3,2,255\r\n", b"7,31\r\n")

    assert clock == TIME._replace(year=0)
    assert clock.moment is None


@pytest.mark.parametrize(
    ("date", "time", "fault"),
    [
        (b"3,2\r\n", b"7,31\r\n", Fault.TRUNCATED),
        (b"3,2,16", b"7,31\r\n", Fault.BAD_LENGTH),
        (b"3,2,16,1\r\n", b"7,31\r\n", Fault.BAD_LENGTH),
        (b"3,2,16\r\n", b"7,31,5\r\n", Fault.BAD_LENGTH),
        (b"3,2,16\r\n", b"7,\r\n", Fault.BAD_FIELD),
        (b"3,2,16\r\n", b"7,256\r\n", Fault.BAD_DATE),
    ],
)
def test_a_wrong_clock_is_refused(date: bytes, time: bytes, fault: Fault) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_clock(date, time)

    assert caught.value.fault == fault


def test_a_neo_has_glucose_and_ketone() -> None:
    assert decode_neo(neo()) == Result(Kind.GLUCOSE, 42, TIME, 106, neo())
    assert decode_neo(neo("9", value="3")) == Result(
        Kind.KETONE, 42, TIME, 3, neo("9", value="3")
    )


def test_hi_and_lo_are_no_numbers() -> None:
    high, low = neo(value="HI"), neo(value="LO")

    assert decode_neo(high) == Result(
        Kind.GLUCOSE, 42, TIME, None, high, above_range=True
    )
    assert decode_neo(low) == Result(
        Kind.GLUCOSE, 42, TIME, None, low, below_range=True
    )


def test_an_insulinx_has_its_value_in_field_14() -> None:
    line = insulinx()

    assert decode_insulinx(line) == Result(Kind.GLUCOSE, 42, TIME, 106, line)


def test_lines_of_another_type_are_no_results() -> None:
    """Insulin must never be read as glucose."""
    assert decode_neo(neo("10")) == Other(10, neo("10"))
    assert decode_insulinx(insulinx("7")) == Other(7, insulinx("7"))
    assert decode_libre(b"42,5,3,2,16") == Other(5, b"42,5,3,2,16")


@pytest.mark.parametrize(
    ("measured", "kind"),
    [("0", Kind.GLUCOSE), ("1", Kind.KETONE), ("2", Kind.SENSOR)],
)
def test_a_libre_tells_strips_from_its_sensor(measured: str, kind: Kind) -> None:
    line = libre(measured)

    assert decode_libre(line) == Result(kind, 42, EXACT, 106, line)


def test_a_reading_with_an_error_or_lo_has_no_value() -> None:
    low, wrong = libre(low="1"), libre(errors="32769")

    assert decode_libre(low) == Result(
        Kind.GLUCOSE, 42, EXACT, None, low, is_error_or_low=True
    )
    assert decode_libre(wrong) == Result(
        Kind.GLUCOSE, 42, EXACT, None, wrong, errors=0x8001
    )


def test_the_history_tells_the_age_of_the_sensor() -> None:
    assert decode_history(history()) == Result(
        Kind.SENSOR, 42, EXACT, 106, history(), life_min=15
    )


@pytest.mark.parametrize("errors", [0x8000, 0x0001])
def test_a_sensor_value_with_any_error_bit_is_none(errors: int) -> None:
    """Bit 15 is an error; what the others mean is not known."""
    line = history(errors=str(errors))

    assert decode_history(line) == Result(
        Kind.SENSOR, 42, EXACT, None, line, errors=errors, life_min=15
    )


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (b"", Fault.BAD_FIELD),
        (b"7", Fault.TRUNCATED),
        (b"7,42,3,2,16,7,31,0", Fault.TRUNCATED),
        (neo(value=""), Fault.BAD_FIELD),
        (neo(value="-6"), Fault.BAD_FIELD),
        (neo(value="\u00b2"), Fault.BAD_FIELD),
        (neo(value="106000"), Fault.BAD_FIELD),
        (neo(date="3,2,16,7,x"), Fault.BAD_FIELD),
        (neo(date="3,2,16,7,310"), Fault.BAD_DATE),
    ],
)
def test_a_wrong_line_of_a_neo_is_refused(line: bytes, fault: Fault) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_neo(line)

    assert caught.value.fault == fault


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (b"42", Fault.TRUNCATED),
        (b"42,2,3,2,16,7,31,5,1,0,0,0,106", Fault.TRUNCATED),
        (libre("3"), Fault.RESERVED_VALUE),
    ],
)
def test_a_wrong_line_of_a_libre_is_refused(line: bytes, fault: Fault) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_libre(line)

    assert caught.value.fault == fault


def test_a_history_cut_short_is_refused() -> None:
    with pytest.raises(DecodeError) as caught:
        decode_history(b"42,12,3,2,16,7,31,5,1,0,0,0,0,106,15")

    assert caught.value.fault == Fault.TRUNCATED

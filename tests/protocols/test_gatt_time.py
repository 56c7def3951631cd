"""Days, zones and reference times, against bytes made by hand."""

import pytest

from protocols.errors import DecodeError, Fault
from protocols.gatt import local_time, reference_time, time
from protocols.gatt.time import DateTime, DayDateTime, ExactTime

MOMENT = DateTime(2026, 3, 1, 7, 30, 0)
RAW = "ea 07 03 01 07 1e 00"


def test_a_date_and_its_day_are_both_as_sent() -> None:
    """The day may contradict the date: which of them is wrong nobody knows."""
    assert time.decode_day_date_time(bytes.fromhex(RAW + "01")) == DayDateTime(
        MOMENT, 1
    )
    assert time.decode_exact_time(bytes.fromhex(RAW + "07 80 aa")) == ExactTime(
        MOMENT, 7, 128, b"\xaa"
    )


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        ("gatt.date_time", "ea 07 0d 01 07 1e 00"),
        ("gatt.day_date_time", "ea 07 0d 01 07 1e 00 01"),
        ("gatt.current_time", "ea 07 0d 01 07 1e 00 01 00 00"),
    ],
)
def test_a_time_that_is_none_is_shown_with_a_warning(kind: str, raw: str) -> None:
    shown = time.KINDS[kind].show(bytes.fromhex(raw))

    assert shown["datetime"] == "2026-13-01T07:30:00"
    assert shown["datetime_valid"] is False


@pytest.mark.parametrize(
    ("raw", "minutes"), [(-48, -720), (56, 840), (32, 480), (-49, None), (57, None)]
)
def test_a_zone_counts_quarters_of_an_hour(raw: int, minutes: int | None) -> None:
    assert local_time.zone_min(raw) == minutes


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        ("", Fault.TRUNCATED),
        ("20", Fault.TRUNCATED),
        ("39 00", Fault.OUT_OF_RANGE),
        ("20 01", Fault.RESERVED_VALUE),
    ],
)
def test_a_local_time_that_is_none_is_refused(raw: str, fault: Fault) -> None:
    """An hour that is guessed is worse than one that is unknown."""
    with pytest.raises(DecodeError) as caught:
        local_time.decode_local_time(bytes.fromhex(raw))
    assert caught.value.fault == fault


def test_unknown_is_no_error() -> None:
    found = local_time.decode_local_time(b"\x80\xff\x01")

    assert (found.zone, found.dst, found.trailing) == (-128, 255, b"\x01")


def test_the_next_change_of_the_clock_is_local_time_and_offset() -> None:
    found = local_time.decode_time_with_dst(bytes.fromhex(RAW + "04"))

    assert found == (MOMENT, 4, b"")


@pytest.mark.parametrize(
    ("raw", "seconds"), [(0, "0.000"), (253, "31.625"), (254, None), (255, None)]
)
def test_an_accuracy_has_an_end(raw: int, seconds: str | None) -> None:
    found = reference_time.accuracy_s(raw)

    assert (None if found is None else str(found)) == seconds


def test_a_reserved_command_is_refused() -> None:
    with pytest.raises(DecodeError) as caught:
        reference_time.decode_update_command(b"\x00")
    assert caught.value.fault == Fault.RESERVED_VALUE


def test_reserved_states_are_shown_as_such() -> None:
    shown = reference_time.KINDS["gatt.time_update_state"].show(b"\x02\x06")

    assert (shown["state_name"], shown["result_name"]) == ("reserved", "reserved")

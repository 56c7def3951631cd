"""The clock of the Contour Next One, against the documented example."""

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from protocols import kinds
from protocols.errors import DecodeError, Fault
from protocols.gatt.time import DateTime
from protocols.vendor import ascensia_clock
from protocols.vendor.ascensia_clock import ClockSetting

EXAMPLE = bytes.fromhex("01 e8 07 06 0f 06 1e 2d e0 01")
SETTING = ClockSetting(DateTime(2024, 6, 15, 6, 30, 45), 480)


def test_the_documented_example_is_written_and_read() -> None:
    """Local time of Shanghai: UTC and its eight hours."""
    moment = datetime(2024, 6, 15, 14, 30, 45, 999, ZoneInfo("Asia/Shanghai"))

    assert ascensia_clock.set_clock(moment).encode() == EXAMPLE
    assert ascensia_clock.decode(EXAMPLE) == SETTING


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        (datetime(2024, 7, 1, 12, tzinfo=ZoneInfo("Europe/Berlin")), 120),
        (datetime(2024, 1, 1, 12, tzinfo=ZoneInfo("Europe/Berlin")), 60),
        (datetime(2024, 1, 1, 12, tzinfo=ZoneInfo("America/St_Johns")), -210),
        (datetime(2024, 1, 1, 12, tzinfo=UTC), 0),
    ],
)
def test_the_offset_counts_summer_time(moment: datetime, expected: int) -> None:
    """The zone's bare offset would be an hour wrong half of the year."""
    setting = ascensia_clock.set_clock(moment)

    assert setting.offset_min == expected
    assert ascensia_clock.decode(setting.encode()) == setting


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2024, 1, 1, tzinfo=UTC).replace(tzinfo=None),
        datetime(2024, 1, 1, tzinfo=timezone(timedelta(seconds=30))),
    ],
)
def test_a_moment_without_a_fitting_zone_is_never_written(moment: datetime) -> None:
    with pytest.raises(ValueError, match="no offset of whole minutes"):
        ascensia_clock.set_clock(moment)


@pytest.mark.parametrize(
    ("payload", "fault"),
    [
        (EXAMPLE[:-1], Fault.TRUNCATED),
        (EXAMPLE + b"\0", Fault.BAD_LENGTH),
        (b"\x02" + EXAMPLE[1:], Fault.BAD_HEADER),
    ],
)
def test_another_command_is_not_taken_for_a_time(payload: bytes, fault: Fault) -> None:
    with pytest.raises(DecodeError) as caught:
        ascensia_clock.decode(payload)

    assert caught.value.fault == fault


def test_a_time_that_is_no_date_is_shown_as_such() -> None:
    raw = bytes.fromhex("01 e8 07 0d 0f 06 1e 2d e0 01")

    assert kinds.show("ascensia.contour_time", raw, {})["datetime_valid"] is False

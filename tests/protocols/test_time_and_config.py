"""A device's wall clock, and where in a file a mistake stands."""

from datetime import datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols import config
from protocols.config import ConfigError
from protocols.gatt.time import DateTime, decode_current_time, decode_date_time


@pytest.mark.parametrize(
    ("raw", "time", "moment"),
    [
        (
            "e8 07 02 1d 17 3b 3b",
            DateTime(2024, 2, 29, 23, 59, 59),
            datetime(2024, 2, 29, 23, 59, 59),  # noqa: DTZ001 - a wall clock
        ),
        ("e7 07 02 1d 00 00 00", DateTime(2023, 2, 29, 0, 0, 0), None),
        ("ea 07 0b 1f 07 1e 00", DateTime(2026, 11, 31, 7, 30, 0), None),
        ("ea 07 0d 01 07 1e 00", DateTime(2026, 13, 1, 7, 30, 0), None),
        ("ea 07 01 01 18 00 00", DateTime(2026, 1, 1, 24, 0, 0), None),
        ("ea 07 01 01 00 00 3c", DateTime(2026, 1, 1, 0, 0, 60), None),
        ("00 00 00 00 00 00 00", DateTime(0, 0, 0, 0, 0, 0), None),
        ("ff ff ff ff ff ff ff", DateTime(65535, 255, 255, 255, 255, 255), None),
        (
            "0f 27 0c 1f 17 3b 3b",
            DateTime(9999, 12, 31, 23, 59, 59),
            datetime(9999, 12, 31, 23, 59, 59),  # noqa: DTZ001 - a wall clock
        ),
        ("10 27 01 01 00 00 00", DateTime(10000, 1, 1, 0, 0, 0), None),
    ],
)
def test_seven_bytes_are_kept_whether_or_not_they_name_a_moment(
    raw: str, time: DateTime, moment: datetime | None
) -> None:
    """A reading must not be lost for its clock, nor its clock be mended."""
    found, trailing = decode_date_time(bytes.fromhex(raw))

    assert (found, trailing, found.moment) == (time, b"", moment)


@pytest.mark.parametrize(
    ("time", "unknown"),
    [
        (DateTime(0, 0, 0, 7, 0, 0), ("year", "month", "day")),
        (DateTime(2026, 0, 5, 0, 0, 0), ("month",)),
        (DateTime(2026, 5, 0, 0, 0, 0), ("day",)),
        (DateTime(2026, 5, 1, 0, 0, 0), ()),
        (DateTime(2026, 5, 99, 0, 0, 0), ()),
    ],
)
def test_only_zero_means_unknown(time: DateTime, unknown: tuple[str, ...]) -> None:
    """An impossible day is a fault of the device, no missing one."""
    assert time.unknown_fields == unknown


@pytest.mark.parametrize(
    ("start", "minutes", "end"),
    [
        ("2020-07-14T11:06:05", 602, "2020-07-14T21:08:05"),
        ("2026-01-01T00:00:00", -1, "2025-12-31T23:59:00"),
        ("2024-02-28T23:00:00", 120, "2024-02-29T01:00:00"),
        ("9999-12-31T23:59:59", 1, None),
        ("0001-01-01T00:00:00", -1, None),
        ("2026-11-31T00:00:00", 5, None),
        ("2026-00-00T00:00:00", 0, None),
    ],
)
def test_minutes_are_added_or_refused(
    start: str, minutes: int, end: str | None
) -> None:
    """User-facing time is base time plus a signed offset."""
    found = DateTime.parse(start).plus(minutes)

    assert found == (None if end is None else DateTime.parse(end))


@given(st.tuples(st.integers(0, 0xFFFF), *[st.integers(0, 0xFF)] * 5))
def test_text_of_any_seven_bytes_reads_back(fields: tuple[int, ...]) -> None:
    """The text is what stores keep; it must hold every clock a device can send."""
    assert DateTime.parse(str(DateTime(*fields))) == DateTime(*fields)


@pytest.mark.parametrize(
    "text", ["", "2026-03-01", "2026-03-01 07:30:00", "2026-03-01T07:30:00Z"]
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not of the form"):
        DateTime.parse(text)


def test_current_time_keeps_reason_and_fraction() -> None:
    """Bytes by the specification: Monday 2026-03-02 07:30:15 and a half, by hand."""
    found = decode_current_time(bytes.fromhex("ea 07 03 02 07 1e 0f 01 80 01 aa"))

    assert found.clock == DateTime(2026, 3, 2, 7, 30, 15)
    assert (found.day_of_week, found.fractions256, found.adjust_reason) == (1, 128, 1)
    assert found.trailing == b"\xaa"


class _Wheel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    size: int
    name: str = ""


class _Hub(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    depth: int = 1


class _Car(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    owner: str
    hub: _Hub = _Hub()
    wheel: tuple[_Wheel, ...] = ()


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ('owner = "x"\ncolour = 1\n', 2, "unknown field `colour`"),
        ("# a comment\n\nowner = 3\n", 3, "Expected `str`, got `int`"),
        ('owner = "x"\n[hub]\n\ndepth = "deep"\n', 4, "Expected `int`, got `str`"),
        ('owner = "x"\n[hub]\nwidth = 1\n', 3, "unknown field `width`"),
        (
            'owner = "x"\n[[wheel]]\nsize = 1\n[[wheel]]\nsize = 2\nsise = 3\n',
            6,
            "unknown field `sise`",
        ),
        (
            'owner = "x"\n[[wheel]]\nsize = 1\n[[wheel]]\nname = "b"\n',
            4,
            "missing required field `size`",
        ),
        (
            'owner = "x"\n[[wheel]]\nsize = 1\n[[wheel]]\nsize = 2\nname = 7\n',
            6,
            "Expected `str`, got `int`",
        ),
        ('owner = "x"\n\n[hubb]\ndepth = 1\n', 3, "unknown field `hubb`"),
        ('owner = "x"\nhub = { width = 1 }\n', 2, "unknown field `width`"),
        ('owner = "x"\nhub.width = 1\n', 2, "unknown field `width`"),
        ("[hub]\ndepth = 1\n", 1, "missing required field `owner`"),
    ],
)
def test_a_mistake_is_told_with_file_and_line(
    text: str, line: int, problem: str
) -> None:
    """An operator with a long file must not be sent to the wrong line."""
    with pytest.raises(ConfigError) as caught:
        config.read(text, _Car, "car.toml")

    assert str(caught.value).startswith(f"car.toml, line {line}: ")
    assert problem in str(caught.value)


def test_what_is_no_toml_is_told_with_its_line() -> None:
    with pytest.raises(ConfigError, match=r"car.toml: .*line 2"):
        config.read('owner = "x"\n= 3\n', _Car, "car.toml")


def test_a_right_file_is_read_whole() -> None:
    text = 'owner = "x"\n[hub]\ndepth = 2\n[[wheel]]\nsize = 3\n'

    assert config.read(text, _Car, "car.toml") == _Car("x", _Hub(2), (_Wheel(3),))

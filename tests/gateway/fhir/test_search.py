"""What a search asks for, apart from any store."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.fhir import dates
from gateway.fhir.dates import BadSearch, Range
from gateway.fhir.reach import kinds_with
from gateway.fhir.search import MOST, read
from protocols.observation import Kind

NOW = datetime(2026, 3, 2, tzinfo=UTC)
DAY = 86_400_000


def ms(*parts: int) -> int:
    return round(datetime(*parts, tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("text", "start", "length"),
    [
        ("2024", ms(2024, 1, 1), 366 * DAY),
        ("2023", ms(2023, 1, 1), 365 * DAY),
        ("2023-02", ms(2023, 2, 1), 28 * DAY),
        ("2023-02-03", ms(2023, 2, 3), DAY),
        ("2023-02-03T04:05", ms(2023, 2, 3, 4, 5), 60_000),
        ("2023-02-03T04:05:06", ms(2023, 2, 3, 4, 5, 6), 1_000),
        ("2023-02-03T04:05:06.5Z", ms(2023, 2, 3, 4, 5, 6) + 500, 100),
        ("2023-02-03T04:05:06.123456Z", ms(2023, 2, 3, 4, 5, 6) + 123, 1),
        ("2023-02-03T04:05+05:30", ms(2023, 2, 2, 22, 35), 60_000),
        ("2023-02-03T04:05-05:30", ms(2023, 2, 3, 9, 35), 60_000),
    ],
)
def test_a_date_spans_what_it_does_not_say(text: str, start: int, length: int) -> None:
    """2023-02 is all of February, for whoever leaves the day out means that."""
    assert dates.hull("date", [text], NOW) == Range(start, start + length)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("gt2026-02-20", Range(ms(2026, 2, 21), None)),
        ("sa2026-02-20", Range(ms(2026, 2, 21), None)),
        ("ge2026-02-20", Range(ms(2026, 2, 20), None)),
        ("lt2026-02-20", Range(None, ms(2026, 2, 20))),
        ("eb2026-02-20", Range(None, ms(2026, 2, 20))),
        ("le2026-02-20", Range(None, ms(2026, 2, 21))),
        ("ne2026-02-20", Range()),
        ("ap2026-02-20", Range(ms(2026, 2, 19), ms(2026, 2, 22))),
    ],
)
def test_a_prefix_says_where_to_look(text: str, expected: Range) -> None:
    """One day too little is readings that a search misses."""
    assert dates.hull("date", [text], NOW) == expected
    both = dates.hull("date", [text, "2026-02-20"], NOW)
    assert both.from_ms is None or both.from_ms <= ms(2026, 2, 20)


@given(
    st.sampled_from(["", "eq", "gt", "lt", "ge", "le", "sa", "eb", "ap"]),
    st.integers(0, 50 * 365),
    st.integers(0, 50 * 365 * DAY),
)
def test_an_instant_that_passes_lies_within_the_hull(
    prefix: str, day: int, instant: int
) -> None:
    """What the store is not asked for must not be something that would pass."""
    text = prefix + datetime.fromtimestamp(day * 86_400, UTC).date().isoformat()
    shown = datetime.fromtimestamp(instant / 1000, UTC).isoformat(
        timespec="milliseconds"
    )

    if dates.holds("date", text, NOW)(shown.removesuffix("+00:00") + "Z"):
        found = dates.hull("date", [text], NOW)
        assert found.from_ms is None or found.from_ms <= instant
        assert found.until_ms is None or instant < found.until_ms


def test_what_is_about_a_time_lies_within_a_tenth_of_its_age() -> None:
    """FHIR's proposal: the further away, the less exact is meant."""
    about = dates.holds("date", "ap2026-02-20", NOW)

    assert about("2026-02-19T12:00:00Z")
    assert not about("2026-02-17T12:00:00Z")


def test_dates_that_repeat_must_all_hold() -> None:
    asked = [("date", "ge2026-01-01"), ("date", "lt2026-02-01")]

    assert read("Observation", asked, NOW).when == Range(ms(2026, 1, 1), ms(2026, 2, 1))


@pytest.mark.parametrize(
    "text", ["2026-03-01", "ge2026-03-01T00:00:00Z", "2026-03-01T00:00:00", "x"]
)
def test_an_instant_has_a_zone(text: str) -> None:
    with pytest.raises(BadSearch, match="instant"):
        dates.instant_ms("_since", text)


def test_a_page_is_never_longer_than_the_longest() -> None:
    assert read("Patient", [("_count", "999999")], NOW).count == MOST


def test_a_comma_can_be_part_of_a_value() -> None:
    asked = read("Patient", [("family", r"O\,Hara,Piggy")], NOW)

    assert asked.finds({"name": [{"family": "O,Hara"}]})
    assert asked.finds({"name": [{"family": "piggyback"}]})
    assert not asked.finds({"name": [{"family": "O"}]})


@pytest.mark.parametrize(
    ("token", "kinds"),
    [
        ("85354-9", {Kind.BLOOD_PRESSURE}),
        ("http://loinc.org|8867-4", {Kind.BLOOD_PRESSURE, Kind.OXYGEN_SATURATION}),
        ("149530", {Kind.OXYGEN_SATURATION}),
        ("41653-7", {Kind.GLUCOSE}),
        ("99504-3", {Kind.INTERSTITIAL_GLUCOSE, Kind.GLUCOSE}),
        ("urn:iso:std:iso:11073:10101|8410608", {Kind.BLOOD_PRESSURE}),
        ("http://loinc.org|160184", set()),
        ("nothing", set()),
    ],
)
def test_a_code_is_looked_for_where_it_can_be(token: str, kinds: set[Kind]) -> None:
    assert kinds_with(token) == kinds


def test_a_system_alone_is_any_code_of_it() -> None:
    assert Kind.BODY_WEIGHT in kinds_with("http://loinc.org|")


@given(st.text(max_size=40))
def test_any_text_is_a_date_or_a_clear_refusal(text: str) -> None:
    try:
        found = dates.hull("date", [text], NOW)
    except BadSearch as error:
        named = error.name
    else:
        named = "date" if found else ""
    assert named == "date"

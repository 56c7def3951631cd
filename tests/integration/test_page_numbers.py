"""What the gateway's page shows of values and times, in a real browser."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING, Any

import pytest

from gateway.store import Accepted
from gateway.store.sqlite import SqliteStore
from protocols.gatt.time import DateTime
from protocols.observation import (
    Kind,
    Observation,
    Quality,
    Quantity,
    Reading,
    State,
    TimeMethod,
    Unit,
    Value,
)
from tests.gateway.stations import (
    MINUTE_MS,
    START_MS,
    accepted,
    glucose,
    message,
    pressure,
    sender,
)
from tests.gateway.test_serve import serving

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.integration
sync_api = pytest.importorskip("playwright.sync_api")

_DAY_MS = 86_400_000
_YEAR_MS = 365 * _DAY_MS


@contextmanager
def _opened(tmp_path: Path, *batches: Accepted) -> Iterator[tuple["Page", int]]:
    """Open the page of a gateway that holds ``batches``; yield it with MQTT's port."""
    data = tmp_path / "data"
    data.mkdir()
    store = SqliteStore(data / "readings.sqlite")
    store.commit(list(batches))
    store.close()
    with (
        serving(data, "--json") as (_, line),
        sync_api.sync_playwright() as playwright,
    ):
        said = json.loads(line)
        browser = playwright.chromium.launch(
            executable_path=which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(timezone_id="UTC", locale="en-GB")
        page.goto(said["http"])
        page.locator("#latest tbody tr").first.wait_for()
        yield page, said["mqtt_port"]
        browser.close()


def _column(page: "Page", number: int) -> list[str]:
    return page.locator(f"#latest tbody td:nth-child({number})").all_inner_texts()


def _choose(page: "Page", time: str) -> None:
    page.get_by_role("button", name=time, exact=True).click()


def _plot(page: "Page", kind: str) -> tuple[dict[str, dict[str, Any]], list[float]]:
    """Return the traces of a plot by their names, and the range of its axis."""
    data, axis = page.evaluate(
        "(id) => { const plot = document.getElementById(id);"
        " return [plot.data, plot.layout.yaxis.range]; }",
        f"plot-{kind}",
    )
    return {trace["name"]: trace for trace in data}, axis


def _untimed(number: int, value: str = "5.50") -> Reading:
    return replace(
        glucose(number, value),
        utc_ms=None,
        time_method=TimeMethod.UNKNOWN,
        time_bound_ms=None,
    )


def _of(number: int, kind: Kind, *values: Value) -> Reading:
    return replace(
        glucose(number), observation=Observation(kind, values, sequence=number)
    )


def test_the_table_shows_values_to_the_digits_that_count(tmp_path: Path) -> None:
    """A fever of 37.6 °C shown as 38, a height of 1.72 m as 2, would be believed."""
    weight = Value(Quantity.BODY_WEIGHT, Unit.POUND, Decimal("159.8"))
    height = Value(Quantity.BODY_HEIGHT, Unit.METRE, Decimal("1.72"))
    fever = Value(Quantity.BODY_TEMPERATURE, Unit.CELSIUS, Decimal("37.6"))
    acid = Value(Quantity.URIC_ACID, Unit.MG_PER_DL, Decimal("5.6"))
    cuff = Value(Quantity.SYSTOLIC, Unit.KILOPASCAL, Decimal("16.0"))
    late = glucose(38, "5.50").observation
    never = DateTime(2026, 2, 31, 0, 0, 0)
    sent = (
        _untimed(9, "6.0"),
        *(glucose(number) for number in range(20, 24)),
        glucose(30, "33.3", state=State.ABOVE_RANGE),
        _of(31, Kind.BODY_WEIGHT, weight, height),
        _of(32, Kind.BODY_TEMPERATURE, fever),
        _of(33, Kind.BLOOD_ANALYTE, acid),
        _of(34, Kind.BLOOD_PRESSURE, cuff),
        glucose(35),
        glucose(36),
        replace(
            glucose(37),
            observation=replace(late, sequence=37, offset_min=334, device_time=never),
        ),
        replace(glucose(38), observation=replace(late, offset_min=334)),
    )
    arrived_ms = START_MS + 60 * MINUTE_MS
    with _opened(tmp_path, accepted(1, *sent, received_ms=arrived_ms)) as (page, _):
        times, cells = _column(page, 1), _column(page, 2)

    # Newest first; what has no known time stands where it arrived.
    assert times[0] == (
        "time unknown, arrived 1 Mar 2026, 08:30\ndevice 2026-03-01 07:30:00"
    )
    assert times[1].endswith("device 2026-03-01 13:04:00")
    assert times[2].endswith("device 2026-02-31 00:00:00"), "an impossible day"
    assert times[3].endswith("device 2026-03-01 07:30:00")
    assert cells == [
        "108 mg/dL",
        *["99 mg/dL"] * 4,
        "120 mmHg",
        "5.6 mg/dL",
        "37.6 °C",
        "body weight 159.8 lb, body height 1.72 m",
        "HI",
        "99 mg/dL",
    ]


def test_readings_without_a_time_hide_none_with_one(tmp_path: Path) -> None:
    """A memory told after its battery was changed would hide the latest for good."""
    old = [_untimed(number, "3.0") for number in range(100, 112)]
    lately = [_untimed(number, "4.0") for number in range(200, 212)]
    new = [glucose(number) for number in range(12)]
    with _opened(
        tmp_path,
        accepted(1, *old, received_ms=START_MS - _YEAR_MS),
        accepted(2, *new, *lately, received_ms=START_MS + 60 * MINUTE_MS),
    ) as (page, _):
        assert _column(page, 2) == ["72 mg/dL"] * 10 + ["99 mg/dL"] * 10
        page.get_by_text("12 without a known time: in no plot").wait_for()
        _choose(page, "All")
        page.get_by_text("24 without a known time: in no plot").wait_for()
        assert _column(page, 2) == ["72 mg/dL"] * 10 + ["99 mg/dL"] * 10


def test_a_flagged_value_is_drawn_apart_and_bends_no_axis(tmp_path: Path) -> None:
    """As a plain point it would be believed, and 6000 make a line of all others."""
    doubts = Quality.IMPLAUSIBLE_VALUE | Quality.BEYOND_DEVICE
    sent = (
        *(glucose(number, "5.50") for number in range(5)),
        glucose(5, "333", quality=doubts),
        glucose(6, "1.0", quality=doubts),
        glucose(7, "6.00", quality=Quality.REPEATED),
        glucose(8, None, state=State.ABOVE_RANGE, quality=Quality.REPEATED),
        glucose(9, None, state=State.DEVICE_ERROR, quality=Quality.REPEATED),
    )
    with _opened(tmp_path, accepted(1, *sent)) as (page, _):
        traces, axis = _plot(page, "glucose")
        legend = page.locator("#plot-glucose .legendtext").all_text_contents()

    assert axis == [40, 250]
    assert legend == ["glucose", "flagged"]
    assert traces.keys() == {"glucose", "flagged"}
    assert traces["glucose"]["y"] == pytest.approx([99.0858] * 5)
    flagged = traces["flagged"]
    assert flagged["y"] == pytest.approx([250, 40, 108.0936, 250])
    assert flagged["text"] == ["5999 mg/dL", "18 mg/dL", "", "HI"]
    assert flagged["customdata"] == [
        "glucose 5999 mg/dL<br>implausible value, beyond device",
        "glucose 18 mg/dL<br>implausible value, beyond device",
        "glucose 108 mg/dL<br>repeated",
        "glucose HI<br>repeated",
    ]
    assert flagged["marker"]["symbol"].endswith("-open")
    assert flagged["marker"]["color"] != traces["glucose"]["marker"]["color"]


def test_a_flagged_pressure_of_a_shared_cuff_tells_whose_it_is(tmp_path: Path) -> None:
    """All that is flagged is one trace: without it nobody knows which arm, whose."""
    crossed = replace(pressure(3, 80, 120, 60), quality=Quality.IMPLAUSIBLE_RELATION)
    theirs = replace(crossed, observation=replace(crossed.observation, slot=2))
    with _opened(tmp_path, accepted(1, pressure(1, 120, 80, 60), theirs)) as (page, _):
        traces, _ = _plot(page, "blood-pressure")

    assert traces["systolic, user 1"]["y"] == [120]
    assert traces["flagged"]["customdata"] == [
        "systolic, user 2 80 mmHg<br>implausible relation",
        "diastolic, user 2 120 mmHg<br>implausible relation",
        "pulse, user 2 60 /min<br>implausible relation",
    ]


@pytest.mark.scale
def test_of_too_many_readings_the_latest_are_never_guessed(tmp_path: Path) -> None:
    """The first thousands under the word Latest would be believed to be of today."""
    count = 30_050
    sent = [
        glucose(number, "5.50" if number < count - 1 else "9.00",
                kind=Kind.INTERSTITIAL_GLUCOSE)
        for number in range(count)
    ]  # fmt: skip
    batches = [
        accepted(1 + start, *sent[start : start + 2_000], _untimed(count + start))
        for start in range(0, count, 2_000)
    ]
    with _opened(tmp_path, *batches) as (page, _):
        table, left_out = page.locator("#texts h3"), page.locator("#unplotted")
        assert table.inner_text() == "Last of the first 30,000"
        page.get_by_text("these are the 30,000 that arrived first").wait_for()
        page.get_by_text("For the latest choose a shorter time").wait_for()

        _choose(page, "7 days")
        page.get_by_text("Latest readings").wait_for()
        assert _column(page, 2)[:2] == ["162 mg/dL", "99 mg/dL"]
        assert page.locator("#capped").is_hidden()
        assert left_out.inner_text() == (
            "Readings without a known time are left out: this device has more than "
            "30,000 readings."
        )

        _choose(page, "All")
        page.get_by_text("Last of the first 30,000").wait_for()
        assert "without a known time: in no plot" in left_out.inner_text()


def test_a_page_left_open_shows_what_is_told_later(tmp_path: Path) -> None:
    """Its days would be counted from a reading long past, its readings never anew."""
    first = [glucose(number) for number in range(3)]
    later = glucose(9, "6.0", utc_ms=START_MS + 8 * _DAY_MS)
    again = replace(
        later, observation=replace(later.observation, status=("battery_low",))
    )
    with (
        _opened(tmp_path, accepted(1, *first)) as (page, port),
        sender(port) as station,
    ):
        _choose(page, "7 days")
        page.get_by_role("row", name="99 mg/dL").nth(2).wait_for()
        station.entry(station.send(message(2, later)))
        sync_api.expect(page.locator("#latest tbody tr")).to_have_count(1)
        assert _column(page, 2) == ["108 mg/dL"]

        # No event tells of it: the page asks when the gateway tells of its silence.
        station.entry(station.send(message(3, again)))
        page.get_by_role("row", name="amended").wait_for()
        assert _column(page, 2) == ["108 mg/dL"]

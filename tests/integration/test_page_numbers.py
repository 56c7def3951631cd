"""What the gateway's page shows of values and times, in a real browser."""

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from shutil import which

import pytest

from gateway.store.sqlite import SqliteStore
from protocols.observation import (
    Kind,
    Observation,
    Quantity,
    Reading,
    State,
    TimeMethod,
    Unit,
    Value,
)
from tests.gateway.stations import accepted, glucose
from tests.gateway.test_serve import serving

pytestmark = pytest.mark.integration
sync_api = pytest.importorskip("playwright.sync_api")


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
    late = glucose(38, "5.50")
    unknown = {"utc_ms": None, "time_method": TimeMethod.UNKNOWN}
    sent = (
        replace(glucose(9, "6.0"), time_bound_ms=None, **unknown),
        *(glucose(number) for number in range(20, 24)),
        glucose(30, "33.3", state=State.ABOVE_RANGE),
        _of(31, Kind.BODY_WEIGHT, weight, height),
        _of(32, Kind.BODY_TEMPERATURE, fever),
        _of(33, Kind.BLOOD_ANALYTE, acid),
        _of(34, Kind.BLOOD_PRESSURE, cuff),
        *(glucose(number, "5.50") for number in range(35, 38)),
        replace(late, observation=replace(late.observation, offset_min=334)),
    )
    data = tmp_path / "data"
    data.mkdir()
    store = SqliteStore(data / "readings.sqlite")
    store.commit([accepted(1, *sent)])
    store.close()
    with (
        serving(data, "--json") as (_, line),
        sync_api.sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(
            executable_path=which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page()
        page.goto(json.loads(line)["http"])
        page.locator("#latest tbody tr").nth(9).wait_for()
        cells = page.locator("#latest tbody td:nth-child(2)").all_inner_texts()
        times = page.locator("#latest tbody td:nth-child(1)").all_inner_texts()
        browser.close()

    # Newest first; what has no known time may be the newest of all.
    assert times[0].startswith("time unknown")
    assert times[1].endswith("device 2026-03-01 13:04:00")
    assert times[2].endswith("device 2026-03-01 07:30:00")
    assert cells == [
        "108 mg/dL",
        *["99 mg/dL"] * 4,
        "120 mmHg",
        "5.6 mg/dL",
        "37.6 °C",
        "body weight 159.8 lb, body height 1.72 m",
        "HI",
    ]

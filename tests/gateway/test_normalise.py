"""What is served of a reading: exact, coded, and never a number that is none."""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from gateway.normalise import codes, device, iso, reading
from gateway.store import Stored, StoredDevice, Tally
from protocols.observation import (
    QUANTITIES,
    Device,
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
from tests.gateway.stations import METER, START_MS, STATION, glucose, pressure

LOINC, MDC = "http://loinc.org", "urn:iso:std:iso:11073:10101"


def served(read: Reading, amendments: int = 0) -> dict[str, object]:
    return reading(Stored(7, 1, STATION, read, START_MS + 2, amendments))


def test_a_reading_is_served_whole() -> None:
    """The contract of the API's central object, field by field."""
    sent = replace(
        glucose(3, "5.50", quality=Quality.CLOCK_AHEAD, status=("battery_low",)),
        utc_ms=START_MS + 5,
    )

    assert served(sent, amendments=1) == {
        "id": "7",
        "tenant": "clinic",
        "station": "station-1",
        "device": "meter-1",
        "kind": "glucose",
        "values": [
            {
                "quantity": "glucose",
                "value": Decimal("5.50"),
                "unit": "mmol/L",
                "state": "measured",
                "limit": None,
                "canonical": {"value": Decimal("99.085800"), "unit": "mg/dL"},
                "codes": [
                    {"system": LOINC, "code": "14743-9"},
                    {"system": MDC, "code": "160188"},
                ],
            }
        ],
        "device_time": "2026-03-01T07:30:00",
        "offset_min": None,
        "time": {
            "utc": "2026-03-01T07:30:00.005Z",
            "method": "corrected",
            "bound_s": Decimal("1.500"),
        },
        "sequence": 3,
        "slot": None,
        "status": ["battery_low"],
        "context": {"sample": "capillary_plasma"},
        "quality": ["clock_ahead"],
        "link": "none",
        "driver": {"name": "gatt-glucose", "version": "0.1.0"},
        "captured": "2026-03-01T07:30:00.001Z",
        "received": "2026-03-01T07:30:00.002Z",
        "amended": True,
    }


def test_the_person_and_the_evidence_are_not_served() -> None:
    """Who may see a reading of a patient may not know who they are."""
    told = str(served(glucose(1)))

    assert "person-7" not in told
    assert "card" not in told


def test_high_and_low_are_never_numbers() -> None:
    """A meter's limit taken for a value is a wrong reading."""
    high = served(glucose(1, "33.3", state=State.ABOVE_RANGE))["values"][0]
    low = served(glucose(1, None, state=State.BELOW_RANGE))["values"][0]

    assert (high["value"], high["canonical"]) == (None, None)
    assert (high["state"], high["limit"]) == ("above-range", Decimal("33.3"))
    assert (low["value"], low["canonical"], low["limit"]) == (None, None, None)
    assert low["state"] == "below-range"


def test_a_unit_that_does_not_measure_is_served_as_sent() -> None:
    """A driver's mistake must not make a whole page of the API fail."""
    value = served(glucose(1, "5", unit=Unit.MM_HG))["values"][0]

    assert (value["value"], value["unit"], value["canonical"]) == (
        Decimal(5),
        "mm[Hg]",
        None,
    )


@pytest.mark.parametrize(
    ("context", "unit", "loinc", "mdc"),
    [
        ({"sample": "capillary_whole_blood"}, Unit.KG_PER_L, "41653-7", "160184"),
        ({"sample": "capillary_whole_blood"}, Unit.MOL_PER_L, "14743-9", "160184"),
        ({"sample": "venous_plasma"}, Unit.MG_PER_DL, "2345-7", "160196"),
        ({"sample": "arterial_plasma"}, Unit.MMOL_PER_L, None, "160204"),
        ({"sample": "interstitial_fluid"}, Unit.MG_PER_DL, "99504-3", "160212"),
        ({"sample": "undetermined_plasma"}, Unit.MG_PER_DL, None, "160368"),
        (
            {"sample": "undetermined_plasma", "location": "finger"},
            Unit.MG_PER_DL,
            "41653-7",
            "160368",
        ),
        ({"sample": "reserved-12"}, Unit.MG_PER_DL, None, None),
        ({}, Unit.MMOL_PER_L, "15074-8", None),
    ],
)
def test_glucose_is_coded_by_sample_and_unit(
    context: dict[str, str], unit: Unit, loinc: str | None, mdc: str | None
) -> None:
    """Plasma, whole blood and tissue differ by more than a meter's error."""
    value = Value(Quantity.GLUCOSE, unit, Decimal(1))
    seen = Observation(Kind.GLUCOSE, (value,), context=tuple(context.items()))

    found = {code["system"]: code["code"] for code in codes(seen, value)}

    assert (found.get(LOINC), found.get(MDC)) == (loinc, mdc)


def test_pressures_are_coded() -> None:
    values = served(pressure(1, 120, 80, 64))["values"]

    found = [[code["code"] for code in value["codes"]] for value in values]
    assert found == [["8480-6", "150021"], ["8462-4", "150022"], ["8867-4", "149546"]]


def test_control_solution_has_no_code_of_a_person() -> None:
    found = served(glucose(1, kind=Kind.CONTROL_SOLUTION))

    assert found["kind"] == "control-solution"
    assert found["values"][0]["codes"] == [{"system": MDC, "code": "160208"}]


def test_a_control_of_any_strip_has_no_code_of_a_person() -> None:
    value = Value(Quantity.KETONE, Unit.MMOL_PER_L, Decimal(1))

    assert codes(Observation(Kind.CONTROL_SOLUTION, (value,)), value) == []


# For which no code was found that two sources name.
_UNCODED = {
    Quantity.GLUCOSE_RATE,
    Quantity.URIC_ACID,
    Quantity.CHOLESTEROL,
    Quantity.TRIGLYCERIDES,
    Quantity.BASAL_METABOLISM,
    Quantity.MUSCLE,
    Quantity.MUSCLE_MASS,
    Quantity.BODY_IMPEDANCE,
}


def test_every_quantity_has_a_code() -> None:
    """A quantity that is added to the protocols must be coded here too, or named."""
    uncoded = set()
    for kind in {*Kind} - {Kind.CONTROL_SOLUTION}:
        for quantity in QUANTITIES[kind]:
            value = Value(quantity, Unit.MMOL_PER_L, Decimal(1))
            if not codes(Observation(kind, (value,)), value):
                uncoded.add(quantity)

    assert uncoded == _UNCODED


@pytest.mark.parametrize(
    ("kind", "quantity", "unit", "expected"),
    [
        (Kind.INTERSTITIAL_GLUCOSE, Quantity.GLUCOSE, Unit.MG_PER_DL, "99504-3"),
        (Kind.INTERSTITIAL_GLUCOSE, Quantity.GLUCOSE, Unit.MMOL_PER_L, "105272-9"),
        (Kind.OXYGEN_SATURATION, Quantity.OXYGEN_SATURATION, Unit.PERCENT, "59408-5"),
        (Kind.BODY_TEMPERATURE, Quantity.BODY_TEMPERATURE, Unit.CELSIUS, "8310-5"),
        (Kind.BODY_WEIGHT, Quantity.BODY_WEIGHT, Unit.KILOGRAM, "29463-7"),
    ],
)
def test_other_measurements_are_coded_too(
    kind: Kind, quantity: Quantity, unit: Unit, expected: str
) -> None:
    """A sensor's glucose under a finger-stick's code would start an insulin dose."""
    value = Value(quantity, unit, Decimal(1))

    assert codes(Observation(kind, (value,)), value)[0]["code"] == expected


def test_the_pulse_of_an_oximeter_is_not_that_of_a_cuff() -> None:
    value = Value(Quantity.PULSE_RATE, Unit.PER_MINUTE, Decimal(60))
    found = codes(Observation(Kind.OXYGEN_SATURATION, (value,)), value)

    assert [code["code"] for code in found] == ["8867-4", "149530"]


def test_unknown_times_are_null() -> None:
    unknown = TimeMethod.UNKNOWN
    bare = replace(glucose(1), utc_ms=None, time_method=unknown, time_bound_ms=None)

    assert served(bare)["time"] == {"utc": None, "method": "unknown", "bound_s": None}


def test_times_before_1970_keep_their_milliseconds() -> None:
    early = replace(glucose(1), utc_ms=-1)

    assert served(early)["time"]["utc"] == "1969-12-31T23:59:59.999Z"


def test_every_time_is_served_as_it_is() -> None:
    """A date that is put together by hand is wrong at the end of some month."""
    for time_ms in (
        -62_135_596_800_000,
        -1,
        0,
        951_782_399_999,
        1_709_164_800_000,
        1_772_350_200_007,
        253_402_300_799_999,
    ):
        moment = datetime(1970, 1, 1) + timedelta(milliseconds=time_ms)  # noqa: DTZ001
        assert iso(time_ms) == moment.isoformat(timespec="milliseconds") + "Z"


def test_equal_values_are_served_with_their_own_digits() -> None:
    """5.5 and 5.50 are equal, so what is remembered of one must not stand for both."""
    for number in ("5.5", "5.50", "5.500", "5.5"):
        (value,) = served(glucose(1, number))["values"]
        assert str(value["value"]) == number


def test_what_was_served_before_is_not_changed_by_an_answer() -> None:
    """Readings of one value share what is served of it, and their codes differ."""
    plasma = glucose(1, "5.50")
    seen = replace(plasma.observation, context=())
    first = served(plasma)["values"]
    unknown = served(replace(plasma, observation=seen))["values"]
    assert first[0]["codes"] != unknown[0]["codes"]
    assert served(plasma)["values"] == first


def test_a_device_is_named_by_its_own_word_or_its_id() -> None:
    tallies = (
        Tally(Kind.GLUCOSE, 2, 1, 1, 2_000),
        Tally(Kind.KETONE, 3, 0, None, None),
        Tally(Kind.CONTROL_SOLUTION, 9, 9, 0, 9_000),
    )

    named = device(StoredDevice(1, "clinic", METER, 1, 2, tallies))
    bare = device(StoredDevice(2, "clinic", Device("x"), 1, 2, ()))

    assert (named["name"], named["readings"], named["flagged"]) == (
        "Acme Sweet 1",
        5,
        1,
    )
    assert named["kinds"] == {"glucose": 2, "ketone": 3, "control-solution": 9}
    assert named["last_reading"] == "1970-01-01T00:00:02.000Z"
    assert (bare["name"], bare["readings"], bare["last_reading"]) == ("x", 0, None)

"""What a reading is in FHIR: exact, valid, never more than the device said."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.fhir.elements import Unprojectable, instant
from gateway.fhir.observation import observations
from gateway.fhir.reach import kinds_with
from gateway.store import Amendment, Stored
from protocols.gatt.time import DateTime
from protocols.observation import (
    QUANTITIES,
    Device,
    Kind,
    LinkSecurity,
    Observation,
    Quality,
    Quantity,
    Reading,
    State,
    TimeMethod,
    Unit,
    Value,
)
from tests.gateway.fhir.wire import PATIENT, THEIRS, valid, wire
from tests.gateway.stations import START_MS, STATION, glucose, pressure

Shown = dict[str, object]


def stored(read: Reading, amendments: int = 0) -> Stored:
    return Stored(7, 2, STATION, read, START_MS + 2, amendments)


def shown(read: Reading) -> dict[str, Shown]:
    """Return a reading's observations by how their ids end, each of them valid."""
    found = [valid(one) for one in observations(stored(read), PATIENT, THEIRS)]
    return {str(one["id"]).removeprefix("7-"): one for one in found}


def only(read: Reading) -> Shown:
    (found,) = shown(read).values()
    return found


def of(kind: Kind, *values: Value, **more: object) -> Reading:
    seen = Observation(kind, values, **more)
    return replace(pressure(1, 1, 1, 1), observation=seen)


def test_the_digits_that_a_device_sent_go_over_the_wire() -> None:
    """5.50 says more than 5.5, and a float would say less."""
    (found,) = observations(stored(glucose(1, "5.50")), PATIENT, THEIRS)

    assert b'"value":5.50,' in wire(found)


@pytest.mark.parametrize(
    ("number", "unit", "expected"),
    [
        ("0.00118", Unit.KG_PER_L, '"value":118,"unit":"mg/dL"'),
        ("0.0055", Unit.MOL_PER_L, '"value":5.5,"unit":"mmol/L"'),
        ("0.00550", Unit.MOL_PER_L, '"value":5.50,"unit":"mmol/L"'),
        ("2E+2", Unit.MG_PER_DL, '"value":200,"unit":"mg/dL"'),
    ],
)
def test_a_power_of_ten_changes_no_digit(
    number: str, unit: Unit, expected: str
) -> None:
    """The wire's kg/L are the meter's mg/dL: the same digits, as the guide wants."""
    (found,) = observations(stored(glucose(1, number, unit=unit)), PATIENT, THEIRS)

    assert expected in wire(found).decode()


def test_a_pressure_in_kilopascals_is_converted_and_kept() -> None:
    """FHIR's profile allows mm[Hg] only, and nobody may lose what the cuff sent."""
    systolic = Value(Quantity.SYSTOLIC, Unit.KILOPASCAL, Decimal("16.0"))
    diastolic = Value(Quantity.DIASTOLIC, Unit.KILOPASCAL, Decimal("10.6"))
    found = only(of(Kind.BLOOD_PRESSURE, systolic, diastolic))

    quantity = found["component"][0]["valueQuantity"]
    assert (quantity["value"], quantity["code"]) == (Decimal("120.009920"), "mm[Hg]")
    (sent,) = quantity["extension"]
    assert sent["url"].endswith("/iso21090-PQ-translation")
    assert sent["valueQuantity"] == {
        "value": Decimal("16.0"),
        "unit": "kPa",
        "system": "http://unitsofmeasure.org",
        "code": "kPa",
    }
    assert "http://hl7.org/fhir/StructureDefinition/bp" in found["meta"]["profile"]


def test_half_a_panel_does_not_claim_to_be_whole() -> None:
    """The profile demands both pressures; a validator would refuse the claim."""
    found = only(
        of(Kind.BLOOD_PRESSURE, Value(Quantity.SYSTOLIC, Unit.MM_HG, Decimal(120)))
    )

    assert not any(name.endswith("/bp") for name in found["meta"]["profile"])


def test_the_pulse_of_a_cuff_stands_alone_and_names_its_panel() -> None:
    found = shown(pressure(1, 120, 80, 64))

    assert found.keys() == {"blood-pressure", "pulse-rate"}
    assert len(found["blood-pressure"]["component"]) == 2
    assert found["pulse-rate"]["derivedFrom"] == [
        {"reference": "Observation/7-blood-pressure"}
    ]


@pytest.mark.parametrize(
    ("state", "limit", "comparator", "absent"),
    [
        (State.ABOVE_RANGE, "33.3", ">", None),
        (State.BELOW_RANGE, "1.1", "<", None),
        (State.ABOVE_RANGE, None, None, "positive-infinity"),
        (State.BELOW_RANGE, None, None, "negative-infinity"),
        (State.NOT_A_NUMBER, None, None, "not-a-number"),
        (State.NOT_AT_THIS_RESOLUTION, None, None, "error"),
        (State.RESERVED, None, None, "error"),
        (State.DEVICE_ERROR, None, None, "error"),
        (State.NO_VALUE, None, None, "unknown"),
    ],
)
def test_what_is_no_number_is_never_one(
    state: State, limit: str | None, comparator: str | None, absent: str | None
) -> None:
    """HI read as a number starts the wrong treatment."""
    found = only(glucose(1, limit, state=state))

    if absent is None:
        quantity = found["valueQuantity"]
        assert quantity["comparator"] == comparator
        assert quantity["value"] == Decimal(str(limit))
        assert "dataAbsentReason" not in found
    else:
        (coding,) = found["dataAbsentReason"]["coding"]
        assert coding["code"] == absent
        assert "valueQuantity" not in found


def test_control_solution_is_refused() -> None:
    """A check of the meter in somebody's record is a wrong glucose."""
    with pytest.raises(Unprojectable, match="no patient's"):
        observations(stored(glucose(1, kind=Kind.CONTROL_SOLUTION)), PATIENT, THEIRS)


def test_a_unit_that_does_not_measure_is_refused() -> None:
    with pytest.raises(Unprojectable, match=r"mm\[Hg\] does not measure glucose"):
        observations(stored(glucose(1, "5", unit=Unit.MM_HG)), PATIENT, THEIRS)


@pytest.mark.parametrize(
    ("method", "device_time", "expected"),
    [
        (TimeMethod.DEVICE, (2026, 3, 1, 9, 31, 0), "2026-03-01T09:31:00.000+02:00"),
        (TimeMethod.DEVICE, (2026, 3, 1, 2, 1, 0), "2026-03-01T02:01:00.000-05:30"),
        (TimeMethod.DEVICE, (2026, 3, 1, 9, 32, 0), "2026-03-01T07:31:00.000Z"),
        (TimeMethod.DEVICE, (2026, 3, 3, 7, 31, 0), "2026-03-01T07:31:00.000Z"),
        (TimeMethod.DEVICE, (2026, 13, 1, 9, 31, 0), "2026-03-01T07:31:00.000Z"),
        (TimeMethod.CORRECTED, (2026, 3, 1, 9, 31, 0), "2026-03-01T07:31:00.000Z"),
    ],
)
def test_a_time_has_a_zone_that_is_known(
    method: TimeMethod, device_time: tuple[int, ...], expected: str
) -> None:
    """A zone that is guessed puts a night's value into the morning."""
    read = replace(
        pressure(1, 120, 80, 64),
        time_method=method,
        observation=replace(
            pressure(1, 120, 80, 64).observation, device_time=DateTime(*device_time)
        ),
    )

    assert shown(read)["blood-pressure"]["effectiveDateTime"] == expected


def test_a_time_says_how_it_was_found_and_how_wrong_it_may_be() -> None:
    found = only(glucose(1))["_effectiveDateTime"]["extension"]

    assert {one["url"]: one for one in found} == {
        "urn:vitalwire:time-method": {
            "url": "urn:vitalwire:time-method",
            "valueCode": "corrected",
        },
        "urn:vitalwire:time-bound": {
            "url": "urn:vitalwire:time-bound",
            "valueDuration": {
                "value": Decimal("1.500"),
                "unit": "s",
                "system": "http://unitsofmeasure.org",
                "code": "s",
            },
        },
    }


def test_an_unknown_time_is_said_to_be_unknown() -> None:
    """When it came is not when it was measured."""
    bare = replace(
        glucose(1), utc_ms=None, time_method=TimeMethod.UNKNOWN, time_bound_ms=None
    )
    found = only(bare)

    assert "effectiveDateTime" not in found
    (absent,) = found["_effectiveDateTime"]["extension"]
    assert absent["valueCode"] == "unknown"
    assert "contained" not in found
    assert "profile" not in found["meta"], "the profiles demand a time"


def test_the_devices_own_clock_stays_beside_the_true_time() -> None:
    """Who doubts the correction must be able to undo it."""
    found = only(glucose(5))
    (clock,) = found["contained"]
    references = [
        one["valueReference"]["reference"]
        for one in found["extension"]
        if one["url"].endswith("/CoincidentTimeStampReference")
    ]

    assert clock["valueString"] == "2026-03-01T07:30:00"
    assert clock["effectiveDateTime"] == found["effectiveDateTime"]
    assert references == [f"#{clock['id']}"]


@pytest.mark.parametrize(
    ("known", "ahead_min", "added"),
    [
        (True, 334, ", to which it says to add 334 min"),
        (False, -60, ", to which it says to add -60 min"),
        (False, None, ""),
    ],
)
def test_a_clock_that_says_less_than_the_device_is_told_in_words(
    known: bool, ahead_min: int | None, added: str
) -> None:
    """What a meter wants added to its clock, and a clock that nobody could place."""
    plain = glucose(5)
    read = replace(plain, observation=replace(plain.observation, offset_min=ahead_min))
    if not known:
        unknown = TimeMethod.UNKNOWN
        read = replace(read, utc_ms=None, time_method=unknown, time_bound_ms=None)

    notes = [one["text"] for one in only(read)["note"]]

    assert notes == [f"The device's clock: 2026-03-01T07:30:00{added}"]


@pytest.mark.parametrize("flag", [*Quality][0:])
def test_no_flag_is_lost(flag: Quality) -> None:
    found = only(glucose(1, quality=flag))
    flags = [
        one["valueCode"]
        for one in found["extension"]
        if one["url"] == "urn:vitalwire:quality"
    ]
    clocks = Quality.CLOCK_AHEAD | Quality.CLOCK_UNSET | Quality.REPEATED

    assert flags == [str(flag.name).lower()]
    assert ("interpretation" in found) is not bool(flag & clocks)


def test_what_a_device_says_against_its_value_is_an_interpretation() -> None:
    value = Value(Quantity.OXYGEN_SATURATION, Unit.PERCENT, Decimal(98))
    found = only(
        of(Kind.OXYGEN_SATURATION, value, status=("questionable", "early_estimate"))
    )

    codes = [one["coding"][0]["code"] for one in found["interpretation"]]
    assert codes == ["early-indication", "questionable"]
    assert "note" not in found


def test_what_may_be_control_solution_is_questionable_and_says_why() -> None:
    """A meter that marks strips so may mean a person's ketone, or none's."""
    value = Value(Quantity.KETONE, Unit.MMOL_PER_L, Decimal("1.5"))
    found = only(of(Kind.KETONE, value, status=("maybe_control_solution",)))

    (code,) = [one["coding"][0]["code"] for one in found["interpretation"]]
    assert code == "questionable"
    assert [one["text"] for one in found["note"]] == [
        "The device's own status: maybe_control_solution"
    ]


def test_a_demonstration_is_marked_as_no_treatment() -> None:
    """The guide: test and demo data carry HTEST, so that no record takes them."""
    value = Value(Quantity.OXYGEN_SATURATION, Unit.PERCENT, Decimal(98))
    found = only(of(Kind.OXYGEN_SATURATION, value, status=("demonstration",)))

    assert [one["code"] for one in found["meta"]["security"]] == ["HTEST"]


def test_what_has_no_code_is_told_in_words() -> None:
    """Nothing that a device said is lost for want of a code."""
    value = Value(Quantity.GLUCOSE, Unit.MG_PER_DL, Decimal(99))
    context = (("raw-number", "17"), ("sample", "reserved-12"))
    found = only(of(Kind.GLUCOSE, value, status=("time_fault",), context=context))

    assert [one["text"] for one in found["note"]] == [
        "The device's own status: time_fault",
        "Told beside it: raw-number 17; sample reserved-12",
    ]


def test_what_fhirs_strings_cannot_hold_is_left_out() -> None:
    """One control character would make a whole bundle unreadable."""
    value = Value(Quantity.GLUCOSE, Unit.MG_PER_DL, Decimal(99))
    read = of(Kind.GLUCOSE, value, status=("\x00odd\x85",), context=(("x", " \x07 "),))
    read = replace(read, device=Device(" me\x1bter "))
    sent = wire(observations(stored(read), PATIENT, THEIRS)[0]).decode()

    assert not any(ord(one) < 32 or 127 <= ord(one) < 160 for one in sent)
    assert "\\u00" not in sent
    assert "clinic/me ter/" in sent


def test_a_site_that_was_not_told_is_none() -> None:
    value = Value(Quantity.GLUCOSE, Unit.MG_PER_DL, Decimal(99))
    found = only(of(Kind.GLUCOSE, value, context=(("location", "not_available"),)))

    assert "bodySite" not in found


def test_a_meters_context_is_observations_of_its_own() -> None:
    value = Value(Quantity.GLUCOSE, Unit.MG_PER_DL, Decimal(99))
    context = (
        ("carbohydrate", "lunch"),
        ("carbohydrate-kg", "0.060"),
        ("location", "finger"),
        ("medication", "rapid_acting_insulin"),
        ("medication-L", "0.00005"),
        ("sample", "capillary_whole_blood"),
        ("tester", "self"),
    )
    found = shown(of(Kind.GLUCOSE, value, context=context))

    assert found.keys() == {"glucose", "carbohydrate", "medication", "tester"}
    assert "note" not in found["glucose"]
    assert found["glucose"]["bodySite"]["coding"][0]["code"] == "8417848"
    carbohydrate = found["carbohydrate"]
    assert carbohydrate["code"]["coding"][0]["code"] == "8417772"
    assert carbohydrate["valueQuantity"]["value"] == Decimal(60)
    assert carbohydrate["valueQuantity"]["code"] == "g"
    assert found["medication"]["valueQuantity"]["value"] == Decimal("0.05")
    assert found["medication"]["valueQuantity"]["code"] == "mL"
    for part in ("carbohydrate", "medication", "tester"):
        assert found[part]["derivedFrom"] == [{"reference": "Observation/7-glucose"}]


def amended(read: Reading, *others: Reading) -> Shown:
    reports = [
        Amendment(
            Stored(number, 2, STATION, other, START_MS + 1000 * number, 0), b"", 7
        )
        for number, other in enumerate(others, 1)
    ]
    return valid(observations(stored(read, len(others)), PATIENT, THEIRS, reports)[0])


def test_a_reading_that_was_told_again_is_amended_and_tells_of_it() -> None:
    """The first report stands, as in the store; nobody may miss that there is more."""
    found = amended(glucose(1, "5.5"), glucose(1, "6.1"), glucose(1, "5.5"))

    assert found["status"] == "amended"
    assert found["meta"]["versionId"] == "3-attribution-9-0"
    assert found["meta"]["lastUpdated"] == instant(START_MS + 2000)
    assert found["valueQuantity"]["value"] == Decimal("5.5")
    assert "glucose 6.1 mmol/L" in found["note"][0]["text"]
    codes = [one["coding"][0]["code"] for one in found["interpretation"]]
    assert codes == ["questionable"]


def test_a_meal_that_was_changed_does_not_make_the_value_questionable() -> None:
    first, second = glucose(1), glucose(1)
    context = (("meal", "fasting"), *second.observation.context)
    second = replace(second, observation=replace(second.observation, context=context))

    found = amended(first, second)

    assert found["status"] == "amended"
    assert "interpretation" not in found
    assert "meal fasting" in found["note"][0]["text"]


def test_identifiers_tell_readings_apart_and_one_reading_together() -> None:
    """A consumer that met it before must know it again, whatever path it took."""
    first, again = only(glucose(1)), only(replace(glucose(1), captured_ms=5))
    other = only(glucose(2))

    own = [one["identifier"][0] for one in (first, again, other)]
    assert own[0] == own[1] != own[2]
    guides = first["identifier"][1]["value"]
    assert guides == (
        "meter-1-P-0001-urn:vitalwire:patient:clinic-160188-5.50-mmol/L-20260301073000.00"
    )


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=12)
NUMBERS = st.decimals(allow_nan=False, allow_infinity=False).filter(
    lambda number: not (number.is_zero() and number.is_signed())
)


@st.composite
def a_value(draw: st.DrawFn, quantity: Quantity) -> Value:
    state = draw(st.sampled_from(State))
    needs, may = (
        state == State.MEASURED,
        state in (State.ABOVE_RANGE, State.BELOW_RANGE),
    )
    number = draw(NUMBERS) if needs or (may and draw(st.booleans())) else None
    return Value(quantity, draw(st.sampled_from(Unit)), number, state)


@st.composite
def readings(draw: st.DrawFn) -> Reading:
    kind = draw(st.sampled_from(Kind))
    quantities = draw(
        st.lists(st.sampled_from(sorted(QUANTITIES[kind])), min_size=1, unique=True)
    )
    words = st.sampled_from(
        ["body_movement", "battery_low", "questionable", "testing", "low_perfusion"]
    )
    contexts = st.dictionaries(
        st.sampled_from(["meal", "sample", "location", "carbohydrate-kg", "raw-number"])
        | TEXTS,
        st.sampled_from(["fasting", "finger", "capillary_plasma", "0.06", "Infinity"])
        | TEXTS,
        max_size=4,
    ).filter(lambda found: "control_solution" not in found.values())
    utc_ms = draw(st.none() | st.integers(-(10**17), 10**17))
    timed = st.sampled_from([*TimeMethod][1:])
    clocks = st.builds(
        DateTime, st.integers(0, 65535), *[st.integers(0, 255) for _ in range(5)]
    )
    return Reading(
        device=Device(draw(TEXTS) or "x", draw(TEXTS), draw(TEXTS), draw(TEXTS)),
        observation=Observation(
            kind=kind,
            values=tuple(draw(a_value(one)) for one in quantities),
            device_time=draw(st.none() | clocks),
            sequence=draw(st.none() | st.integers(0, 2**32 - 1)),
            slot=draw(st.none() | st.integers(0, 255)),
            status=tuple(draw(st.lists(words | TEXTS, max_size=3))),
            context=tuple(draw(contexts).items()),
        ),
        driver="x",
        driver_version="1",
        captured_ms=START_MS,
        utc_ms=utc_ms,
        time_method=TimeMethod.UNKNOWN if utc_ms is None else draw(timed),
        time_bound_ms=draw(st.none() | st.integers(0, 10**12)),
        link=LinkSecurity.NONE,
        quality=Quality(draw(st.integers(0, 255))),
    )


@settings(max_examples=300, deadline=None)
@given(readings())
def test_any_reading_is_valid_observations_or_a_clear_refusal(read: Reading) -> None:
    """Whatever a device sends, a page of FHIR must neither break nor lie."""
    try:
        found = observations(stored(read), PATIENT, THEIRS)
    except Unprojectable as error:
        refusal = str(error)
    else:
        refusal = ""
    if refusal:
        return
    ids = [one["id"] for one in found]
    assert len({*ids}) == len(ids)
    for one in found:
        valid(one)
        for part in (one, *one.get("component", [])):
            for code in part["code"].get("coding", []):
                token = f"{code['system']}|{code['code']}"
                known = read.observation.kind in kinds_with(token)
                assert known, "a search by it would miss it"
    numbers = sum("valueQuantity" in one for one in found) + sum(
        "valueQuantity" in part for one in found for part in one.get("component", [])
    )
    measured = [value for value in read.observation.values if value.number is not None]
    assert numbers >= len(measured), "a measured value is not there"


@pytest.mark.parametrize(
    ("device_time", "offset_min", "expected"),
    [
        ((2026, 3, 1, 8, 31, 0), 60, "2026-03-01T09:31:00.000+02:00"),
        ((2026, 3, 1, 3, 57, 0), 334, "2026-03-01T09:31:00.000+02:00"),
        ((2026, 3, 1, 9, 31, 0), 334, "2026-03-01T07:31:00.000Z"),
    ],
)
def test_a_zone_is_that_of_what_the_person_saw(
    device_time: tuple[int, ...], offset_min: int, expected: str
) -> None:
    """Meters whose clock runs apart from their display would move a day's readings."""
    plain = pressure(1, 120, 80, 64)
    seen = replace(
        plain.observation, device_time=DateTime(*device_time), offset_min=offset_min
    )

    found = shown(replace(plain, observation=seen))["blood-pressure"]

    assert found["effectiveDateTime"] == expected


def test_the_sample_of_a_ketone_is_told() -> None:
    """A glucose's code names its sample; of a ketone it would be lost."""
    value = Value(Quantity.KETONE, Unit.MMOL_PER_L, Decimal("0.6"))
    found = only(of(Kind.KETONE, value, context=(("sample", "capillary_whole_blood"),)))

    assert found["note"] == [{"text": "Told beside it: sample capillary_whole_blood"}]

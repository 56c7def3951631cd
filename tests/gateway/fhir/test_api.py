"""FHIR over HTTP: read, search, pages, and who may see what."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from gateway.access import LOCAL, Role
from gateway.consent import Purpose
from gateway.fhir.elements import instant
from gateway.fhir.records import Records
from gateway.fhir.search import PARAMETERS, read
from gateway.store import Store
from gateway.store.sqlite import SqliteStore
from protocols.observation import Kind, Quantity, Unit, Value
from tests.gateway.fhir.clinic import BASE, NOW_MS, Clinic, ids, issues, link
from tests.gateway.stations import CUFF, METER, MINUTE_MS, START_MS, glucose, pressure

NOW = datetime(2026, 3, 2, tzinfo=UTC)


@pytest.fixture
def clinic(store: SqliteStore) -> Clinic:
    """One patient with a meter and a cuff, and another one's meter."""
    made = Clinic(store)
    other = replace(METER, id="meter-2")
    made.arrive(
        *[glucose(number, f"5.{number}") for number in range(1, 5)],
        *[pressure(number, 120 + number, 80, 64) for number in (1, 2)],
        *[glucose(number, device=other) for number in (1, 2)],
    )
    assert made.patient("P-0001", "meter-1", "cuff-1", family="Piggy") == 1
    assert made.patient("P-0002", "meter-2") == 2
    return made


def test_the_capability_statement_is_valid_and_open_to_all(store: Store) -> None:
    """A client reads it before it has a token."""
    clinic = Clinic(store, open_local=False)
    found = clinic.found("metadata")

    assert found["fhirVersion"] == "4.0.1"
    (rest,) = found["rest"]
    assert [one["type"] for one in rest["resource"]] == [*PARAMETERS, "Subscription"]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (
            "Patient",
            {"_id": "1", "family": "pig", "gender": "female", "birthdate": "1950"},
        ),
        (
            "Device",
            {"_id": "1", "manufacturer": "acme", "model": "Sweet", "type": "65573"},
        ),
        (
            "Observation",
            {
                "_id": "1-glucose",
                "patient": "1",
                "subject": "Patient/1",
                "device": "Device/1",
                "code": "160188",
                "category": "laboratory",
                "status": "final",
                "date": "ge2026",
            },
        ),
    ],
)
def test_every_parameter_that_is_declared_finds(
    store: SqliteStore, kind: str, value: dict[str, str]
) -> None:
    """A declared parameter that is ignored would find what nobody asked for."""
    clinic = Clinic(store)
    clinic.arrive(glucose(1), pressure(1, 120, 80, 64))
    clinic.patient(
        "P-0001",
        "meter-1",
        "cuff-1",
        family="Piggy",
        given="Sisa",
        gender="female",
        birth_date="1950-02-03",
    )
    values = value | {
        "_lastUpdated": "ge2020",
        "given": "SI",
        "component-code": "8480-6",
    }
    identifiers = {
        "Patient": "urn:vitalwire:patient:clinic|P-0001",
        "Device": "urn:vitalwire:device:clinic|meter-1",
        "Observation": "urn:vitalwire:reading|",
    }
    values["identifier"] = identifiers[kind]

    for parameter in PARAMETERS[kind]:
        text = values[parameter.name]
        strict = {"Prefer": "handling=strict"}
        assert clinic.ids(kind, params={parameter.name: text}, headers=strict), (
            parameter.name
        )
        nothing = "2000-01-01" if parameter.type == "date" else "99"
        assert not clinic.ids(kind, params={parameter.name: nothing}), parameter.name


def test_a_page_holds_what_it_may_and_the_next_one_the_rest(clinic: Clinic) -> None:
    """Whoever walks the links meets each observation once, whatever the page's size."""
    whole = clinic.ids("Observation?patient=1")
    assert len(whole) == 8

    for count in range(1, 10):
        pages = clinic.walk(f"Observation?patient=1&_count={count}")
        assert [one for page in pages for one in page] == whole
        assert all(len(page) <= count for page in pages)
    patients = clinic.walk("Patient?_count=1")
    assert patients == [["1"], ["2"]]
    devices = clinic.walk("Device?_count=2")
    assert [one for page in devices for one in page] == ["1", "2", "3"]


def test_a_search_of_everybody_goes_patient_by_patient(clinic: Clinic) -> None:
    pages = clinic.walk("Observation?_count=3&code=http://loinc.org|14743-9")
    found = [one for page in pages for one in page]

    assert len(found) == 6
    assert len({*found}) == 6


def test_pages_stay_whole_while_readings_come_in(clinic: Clinic) -> None:
    """A page boundary must neither lose nor repeat what was there before."""
    first = clinic.found("Observation?patient=1&_count=3")
    clinic.arrive(glucose(0, "9.9"), glucose(30, "8.8"))

    rest = clinic.walk(str(link(first, "next")))
    seen = [*ids(first), *[one for page in rest for one in page]]

    assert len({*seen}) == len(seen)
    assert len(seen) >= 8


def test_a_search_that_looks_at_little_goes_on_where_it_stopped(
    clinic: Clinic,
) -> None:
    """A page that ends early must say where, or the rest is lost."""
    records = Records(clinic.store, clinic.registry, clinic.access, most=1)
    found: list[object] = []
    cursor, pages = "", 0
    while pages == 0 or cursor:
        asked = read("Observation", [("_count", "1"), ("_cursor", cursor)], NOW)
        page = records.search(LOCAL, asked)
        found += [one["id"] for one in page.found]
        cursor, pages = page.next, pages + 1

    assert found == clinic.ids("Observation")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("date=ge2026-03-01T07:33:00Z", 2),
        ("date=gt2026-03-01T07:33:00Z", 1),
        ("date=lt2026-03-01T07:33:00Z", 2),
        ("date=le2026-03-01T07:33:00Z", 3),
        ("date=2026-03-01T07:33:00Z", 1),
        ("date=2026-03-01T07:33", 1),
        ("date=2026-03-01", 4),
        ("date=2026", 4),
        ("date=ne2026-03-01", 0),
        ("date=sa2026-03-01T07:33", 1),
        ("date=eb2026-03-01T07:33", 2),
        ("date=2026-03-01T08:33:00%2B01:00", 1),
        ("date=ge2026-03-01T07:32:00Z&date=lt2026-03-01T07:34:00Z", 2),
        ("date=2026-03-01T07:31:00Z,2026-03-01T07:34:00Z", 2),
        ("code=14743-9", 4),
        ("code=http://loinc.org|14743-9", 4),
        ("code=urn:iso:std:iso:11073:10101|14743-9", 0),
        ("code=41653-7", 0),
        ("code=41653-7,14743-9", 4),
        ("category=laboratory", 4),
        ("category=vital-signs", 0),
        ("status=final", 4),
        ("device=Device/99", 0),
    ],
)
def test_parameters_find_what_they_say(
    store: SqliteStore, query: str, expected: int
) -> None:
    clinic = Clinic(store)
    clinic.arrive(*[glucose(number) for number in range(1, 5)])
    clinic.patient("P-0001", "meter-1")

    assert len(clinic.ids(f"Observation?patient=Patient/1&{query}")) == expected


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("Observation?date=yesterday", "date: 'yesterday' is no date"),
        (
            "Observation?date=2026-02-30",
            "date: '2026-02-30' is a date that there is not",
        ),
        ("Observation?date=ge2026-03-01T07:30:00 01:00", "(+ is %2B)"),
        ("Observation?_count=0", "_count: '0' is no number from 1 on"),
        ("Observation?_cursor=abc", "_cursor: is none that"),
        ("Observation?code=", "code: a value is empty"),
        ("Observation?code:in=x", "code:in: code is served without modifiers"),
        ("Observation?patient.identifier=x", "served without modifiers and chains"),
        ("Observation?patient=Device/1", "is no reference to a Patient"),
        ("Observation?_format=xml", "'xml' is not served"),
    ],
)
def test_a_wrong_parameter_is_named(clinic: Clinic, path: str, text: str) -> None:
    """Whoever gets 400 must learn which parameter, and what to do."""
    status, said = clinic.refusal(path)

    assert status == 400
    assert text in said


def test_an_unknown_parameter_is_told_or_refused_as_the_client_likes(
    clinic: Clinic,
) -> None:
    """A typing mistake that is ignored in silence finds too much."""
    page = clinic.found("Patient?colour=blue&_count=5")

    assert ids(page) == ["1", "2"]
    assert issues(page) == ["colour is not known here and was ignored"]
    assert link(page, "self") == f"{BASE}/Patient?_count=5"
    status, said = clinic.refusal(
        "Patient?colour=blue", headers={"Prefer": "handling=strict"}
    )
    assert (status, said.partition(":")[0]) == (400, "colour")


def test_a_search_may_be_posted(clinic: Clinic) -> None:
    """An identifier in an address would stand in every log on the way."""
    form = {"identifier": "urn:vitalwire:patient:clinic|P-0002"}
    found = clinic.found("Patient/_search", method="POST", data=form)

    assert ids(found) == ["2"]
    assert clinic.refusal("Patient/_search", method="POST", json={})[0] == 415


def test_one_resource_is_read_with_its_version(clinic: Clinic) -> None:
    answer = clinic.ask("Observation/1-glucose")
    tag = answer.headers["etag"]

    assert tag == f'W/"1-attribution-1-{NOW_MS}"'
    assert clinic.found("Observation/1-glucose")["valueQuantity"]["value"] == Decimal(
        "5.1"
    )
    same = clinic.ask("Observation/1-glucose", headers={"If-None-Match": tag})
    assert same.status_code == 304
    assert clinic.found("Patient/1")["name"] == [{"family": "Piggy"}]
    device = clinic.found("Observation/1-glucose")["device"]["reference"]
    assert clinic.found(device)["modelNumber"] == "Sweet 1"


def test_no_answer_of_before_stands_for_another_patients_reading(
    clinic: Clinic,
) -> None:
    """Whoever kept it under its tag would go on showing it as the first one's."""
    read = clinic.ask("Observation/1-glucose")
    number = read.json()["subject"]["reference"].removeprefix("Patient/")
    listed = clinic.ask(f"{BASE[:-8]}/api/v1/patients/{number}/readings")
    tags = {read.headers["etag"]}
    second = clinic.patient("P-0009")
    for patient in (second, int(number)):  # and back again
        clinic.now_ms += 1
        with clinic.store.database.change() as change:
            (old,) = [
                one
                for one in clinic.registry.attributions.listed(
                    "clinic", 0, 99, active=True
                )
                if one.device == 1
            ]
            clinic.registry.attributions.attribute(
                change,
                replace(
                    old, patient=patient, replaces=old.id, made_ms=clinic.now_ms
                ),
            )  # fmt: skip
        for tag in tags:
            again = clinic.ask("Observation/1-glucose", headers={"If-None-Match": tag})
            assert again.status_code == 200
            assert again.json()["subject"] == {"reference": f"Patient/{patient}"}
        tags.add(again.headers["etag"])
        if patient == second:
            rest = clinic.ask(
                f"{BASE[:-8]}/api/v1/patients/{number}/readings",
                headers={"If-None-Match": listed.headers["etag"]},
            )
            assert rest.status_code == 200
            ids_left = [one["id"] for one in rest.json()["readings"]]
            assert "1" not in ids_left
    assert len(tags) == 3


def test_a_patients_new_name_is_another_version(clinic: Clinic) -> None:
    """It stands in the identifier of each observation."""
    before = clinic.found("Observation/1-glucose")
    kept = clinic.registry.patient(1)
    clinic.now_ms += 1
    with clinic.store.database.change() as change:
        clinic.registry.revise(change, replace(kept, name="P-1"), clinic.now_ms)

    after = clinic.found("Observation/1-glucose")

    assert before["identifier"] != after["identifier"]
    assert before["meta"]["versionId"] != after["meta"]["versionId"]
    assert after["meta"]["lastUpdated"] == instant(clinic.now_ms)


@pytest.mark.parametrize(
    "path",
    [
        "Observation/99-glucose",
        "Observation/1",
        "Observation/1-pulse-rate",
        "Observation/99999999999999999999-glucose",
        "Patient/99",
        "Patient/x",
        "Device/99",
        "Practitioner/1",
        "Practitioner?name=x",
    ],
)
def test_what_is_not_there_is_an_outcome(clinic: Clinic, path: str) -> None:
    assert clinic.refusal(path)[0] == 404


def test_another_form_than_json_is_refused(clinic: Clinic) -> None:
    headers = {"Accept": "application/fhir+xml"}

    assert clinic.refusal("Patient", headers=headers)[0] == 406


def test_a_reading_that_is_nobodys_is_not_there(store: SqliteStore) -> None:
    """Never guess a person: a reading outside every attribution is no patient's."""
    clinic = Clinic(store)
    clinic.arrive(glucose(1), glucose(2, device=replace(METER, id="meter-9")))
    clinic.patient("P-0001", "meter-1")

    assert clinic.ids("Observation") == ["1-glucose"]
    assert clinic.refusal("Observation/2-glucose")[0] == 404


def test_control_solution_is_never_there(store: SqliteStore) -> None:
    clinic = Clinic(store)
    clinic.arrive(glucose(1, kind=Kind.CONTROL_SOLUTION))
    clinic.patient("P-0001", "meter-1")

    assert clinic.ids("Observation") == []
    assert clinic.refusal("Observation/1-glucose")[0] == 404


def test_a_reading_that_fits_no_resource_is_told_of(store: SqliteStore) -> None:
    """A clock gone wrong must not make a page fail, nor be dropped in silence."""
    clinic = Clinic(store)
    clinic.arrive(glucose(1, utc_ms=10**15), glucose(2))
    clinic.patient("P-0001", "meter-1")

    page = clinic.found("Observation?patient=1")

    assert ids(page) == ["2-glucose"]
    assert issues(page) == [
        "reading 1 is not shown: 1000000000000000 ms since 1970 is in no year of FHIR"
    ]


def test_an_amended_reading_has_another_version(store: SqliteStore) -> None:
    clinic = Clinic(store)
    clinic.arrive(glucose(1, status=()))
    clinic.arrive(glucose(1, status=("battery_low",)), received_ms=NOW_MS + 5)
    clinic.patient("P-0001", "meter-1")

    found = clinic.found("Observation/1-glucose")

    assert found["status"] == "amended"
    assert found["meta"]["versionId"] == f"2-attribution-1-{NOW_MS}"
    assert clinic.ids("Observation?status=amended") == ["1-glucose"]


def test_a_reader_sees_whom_and_what_was_agreed_to(clinic: Clinic) -> None:
    """Consent is by programme, kind and time, and everything else is not there."""
    clinic.reader(
        "study", 1, kinds=frozenset({Kind.GLUCOSE}), from_ms=START_MS + 2 * MINUTE_MS
    )

    assert clinic.ids("Patient", by="study") == ["1"]
    assert clinic.ids("Observation", by="study") == [
        "2-glucose",
        "3-glucose",
        "4-glucose",
    ]
    assert clinic.ids("Observation?patient=2", by="study") == []
    for hidden in (
        "Observation/1-glucose",
        "Observation/5-blood-pressure",
        "Patient/2",
    ):
        assert clinic.refusal(hidden, by="study")[0] == 404
    assert clinic.found("Observation/2-glucose", by="study")["id"] == "2-glucose"
    assert clinic.ids("Device", by="study") == ["1"]
    assert clinic.refusal("Device/3", by="study")[0] == 404


def test_a_consent_that_is_over_shows_nothing(clinic: Clinic) -> None:
    clinic.reader("study", 1, expires_ms=NOW_MS + 1_000)
    assert clinic.ids("Patient", by="study") == ["1"]

    clinic.now_ms += 1_000

    assert clinic.ids("Patient", by="study") == []
    assert clinic.ids("Observation?patient=1", by="study") == []
    assert clinic.refusal("Observation/1-glucose", by="study")[0] == 404


def test_research_sees_no_names(clinic: Clinic) -> None:
    """Nor can it search by one: that would tell it too."""
    clinic.reader("study", 1, purpose=Purpose.RESEARCH)

    assert "name" not in clinic.found("Patient/1", by="study")
    assert clinic.ids("Patient?family=Piggy", by="study") == []
    assert clinic.ids("Patient?family=Piggy") == ["1"]


def test_who_is_neither_reader_nor_steward_is_refused(clinic: Clinic) -> None:
    clinic.token("operator", Role.OPERATOR)

    for path in (
        "Patient",
        "Patient/1",
        "Observation",
        "Observation/1-glucose",
        "Device",
    ):
        assert clinic.refusal(path, by="operator")[0] == 403


def test_who_brings_no_token_is_refused(store: SqliteStore) -> None:
    clinic = Clinic(store, open_local=False)
    status, _said = clinic.refusal("Patient")

    assert status == 401
    assert clinic.ask("Patient").headers["www-authenticate"] == "Bearer"


def test_another_tenants_patients_are_not_there(clinic: Clinic) -> None:
    clinic.token("far", Role.STEWARD, tenant="elsewhere")

    assert clinic.ids("Patient", by="far") == []
    assert clinic.ids("Observation", by="far") == []
    assert clinic.ids("Device", by="far") == []
    assert clinic.refusal("Patient/1", by="far")[0] == 404
    assert clinic.refusal("Device/1", by="far")[0] == 404
    assert clinic.refusal("Observation/1-glucose", by="far")[0] == 404


def test_every_look_is_on_record_for_each_patient(clinic: Clinic) -> None:
    """Who looked at a patient must be found by the patient."""
    clinic.ids("Observation?_count=100")
    clinic.found("Patient/2")
    clinic.found("metadata")

    assert clinic.audit() == [
        ("fhir.search", 1),
        ("fhir.search", 2),
        ("fhir.read", 2),
    ]


def test_a_search_by_code_skips_other_kinds(clinic: Clinic) -> None:
    """What a code can't be found in is not read: a sensor has 288 readings a day."""
    panels = clinic.ids("Observation?patient=1&code=85354-9")
    pulses = clinic.ids("Observation?patient=1&code=8867-4")

    assert panels == ["5-blood-pressure", "6-blood-pressure"]
    assert pulses == ["5-pulse-rate", "6-pulse-rate"]
    assert clinic.ids("Observation?patient=1&component-code=8480-6") == panels


def test_a_device_is_named_by_a_reading_and_found(clinic: Clinic) -> None:
    panel = clinic.found("Observation/5-blood-pressure")
    device = clinic.found(panel["device"]["reference"])

    assert device["identifier"][0]["value"] == CUFF.id
    value = Value(Quantity.SYSTOLIC, Unit.MM_HG, Decimal(121))
    assert panel["component"][0]["valueQuantity"]["value"] == value.number

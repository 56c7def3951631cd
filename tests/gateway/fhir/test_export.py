"""Bulk exports: asked for, fetched, ended; by the consents that hold meanwhile."""

from dataclasses import replace
from email.utils import parsedate_to_datetime

import pytest
import simplejson

from gateway.access import LOCAL, Role
from gateway.fhir.elements import instant
from gateway.fhir.export import Exports
from gateway.fhir.records import Records
from gateway.registry import ALWAYS_MS, OPEN_MS, Attribution
from protocols.observation import Kind
from tests.gateway.fhir.clinic import BASE, NOW_MS, Clinic
from tests.gateway.fhir.wire import valid
from tests.gateway.stations import METER, START_MS, glucose, pressure

ASYNC = {"Prefer": "respond-async"}
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


@pytest.fixture(params=["sqlite_store", "postgres_store"])
def clinic(request: pytest.FixtureRequest) -> Clinic:
    made = Clinic(request.getfixturevalue(request.param))
    made.arrive(
        *[glucose(number) for number in range(1, 4)],
        pressure(1, 120, 80, 64),
        glucose(1, device=replace(METER, id="meter-2")),
        received_ms=START_MS,
    )
    made.patient("P-0001", "meter-1", "cuff-1")
    made.patient("P-0002", "meter-2")
    return made


def begin(clinic: Clinic, path: str = "$export", **more: object) -> str:
    """Ask for an export; return the address of its status."""
    answer = clinic.ask(path, headers=ASYNC, **more)
    assert answer.status_code == 202, answer.text
    return str(answer.headers["content-location"])


def manifest(clinic: Clinic, place: str, **more: object) -> dict[str, object]:
    answer = clinic.ask(place, **more)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def fetch(clinic: Clinic, place: str, **more: object) -> dict[str, list[str]]:
    """Return the ids of all resources of an export, each valid, by type."""
    found: dict[str, list[str]] = {}
    for file in manifest(clinic, place, **more)["output"]:
        answer = clinic.ask(file["url"], **more)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"].startswith("application/fhir+ndjson")
        for line in answer.content.splitlines():
            one = valid(simplejson.loads(line, use_decimal=True))
            assert one["resourceType"] == file["type"]
            found.setdefault(file["type"], []).append(str(one["id"]))
    return found


def test_an_export_holds_everything_that_may_be_seen(clinic: Clinic) -> None:
    assert fetch(clinic, begin(clinic)) == {
        "Device": ["1", "2", "3"],
        "Patient": ["1", "2"],
        "Observation": [
            "1-glucose",
            "4-blood-pressure",
            "4-pulse-rate",
            "2-glucose",
            "3-glucose",
            "5-glucose",
        ],
    }


def test_the_manifest_is_by_the_book(clinic: Clinic) -> None:
    """Clients rely on each of these fields."""
    place = begin(clinic, "Patient/$export?_type=Patient")
    answer = clinic.ask(place)
    found = answer.json()

    assert found.keys() == {
        "transactionTime",
        "request",
        "requiresAccessToken",
        "output",
        "error",
    }
    assert found["transactionTime"] == "2026-03-02T07:30:00.000Z"
    assert found["request"] == f"{BASE}/Patient/$export?_type=Patient"
    assert found["requiresAccessToken"] is False
    assert found["output"] == [{"type": "Patient", "url": f"{place}/Patient.0.ndjson"}]
    expires = parsedate_to_datetime(answer.headers["expires"])
    assert expires.timestamp() * 1000 == NOW_MS + 86_400_000


def test_what_comes_afterwards_is_not_in_it(clinic: Clinic) -> None:
    """Files fetched one after the other must belong to one moment."""
    place = begin(clinic, "$export?_type=Observation")
    clinic.arrive(glucose(9))

    assert len(fetch(clinic, place)["Observation"]) == 6
    assert (
        len(fetch(clinic, begin(clinic, "$export?_type=Observation"))["Observation"])
        == 7
    )


def test_since_leaves_out_what_has_not_changed(clinic: Clinic) -> None:
    clinic.arrive(glucose(9), received_ms=NOW_MS + 3 * HOUR_MS)
    since = f"$export?_since={instant(NOW_MS + HOUR_MS)}"

    found = fetch(clinic, begin(clinic, since))

    assert found["Observation"] == [f"{clinic.store.last()}-glucose"]
    assert len(found["Device"]) == 1
    assert "Patient" not in found


def test_since_holds_what_was_attributed_late(clinic: Clinic) -> None:
    """It came on Monday, was attributed on Friday, and was exported on Wednesday."""
    lent = replace(METER, id="meter-3")
    clinic.arrive(glucose(1, device=lent), glucose(2, device=lent), received_ms=NOW_MS)
    known = set(fetch(clinic, begin(clinic))["Observation"])
    wednesday_ms = NOW_MS + 2 * DAY_MS
    clinic.now_ms = NOW_MS + 4 * DAY_MS
    clinic.patient("P-0003", "meter-3")

    since = f"$export?_type=Observation&_since={instant(wednesday_ms)}"
    found = fetch(clinic, begin(clinic, since))["Observation"]

    assert len(found) == 2
    assert not known & set(found)
    updated = f"Observation?_lastUpdated=gt{instant(wednesday_ms)}"
    assert sorted(clinic.ids(updated)) == sorted(found)
    late = instant(clinic.now_ms + DAY_MS)
    assert fetch(clinic, begin(clinic, f"$export?_since={late}")) == {}


def test_since_holds_what_another_patient_got(clinic: Clinic) -> None:
    """Under the same id: who keeps it by id keeps it as the new patient's."""
    clinic.now_ms = NOW_MS + 4 * DAY_MS
    with clinic.store.database.change() as change:
        clinic.registry.attributions.attribute(
            change,
            Attribution(0, "clinic", 3, None, 1, ALWAYS_MS, OPEN_MS, "x",
                        clinic.now_ms, "x", replaces=3),
        )  # fmt: skip

    since = f"$export?_type=Observation&_since={instant(NOW_MS + 2 * DAY_MS)}"

    assert fetch(clinic, begin(clinic, since)) == {"Observation": ["5-glucose"]}
    found = clinic.found("Observation/5-glucose")
    assert found["subject"] == {"reference": "Patient/1"}
    assert found["meta"]["lastUpdated"] == found["issued"] == instant(clinic.now_ms)


def test_since_holds_what_was_on_its_way_at_the_last_export(clinic: Clinic) -> None:
    """A commit ends after the time that it writes, and no clock is right to the ms."""
    clinic.now_ms += HOUR_MS
    place = begin(clinic)
    taken = manifest(clinic, place)["transactionTime"]
    clinic.arrive(glucose(9), received_ms=clinic.now_ms - 60_000)
    clinic.now_ms += HOUR_MS

    found = fetch(clinic, begin(clinic, f"$export?_type=Observation&_since={taken}"))

    assert found["Observation"] == [f"{clinic.store.last()}-glucose"]


def test_a_reader_exports_what_was_agreed_to(clinic: Clinic) -> None:
    clinic.reader("study", 1, kinds=frozenset({Kind.BLOOD_PRESSURE}))

    found = fetch(clinic, begin(clinic, by="study"), by="study")

    assert found["Patient"] == ["1"]
    assert found["Observation"] == ["4-blood-pressure", "4-pulse-rate"]
    assert manifest(clinic, begin(clinic, by="study"), by="study")[
        "requiresAccessToken"
    ]


def test_a_consent_that_ends_meanwhile_counts(clinic: Clinic) -> None:
    """Nothing may lie about that somebody has taken back."""
    clinic.reader("study", 1, expires_ms=NOW_MS + 1_000)
    place = begin(clinic, by="study")

    clinic.now_ms += 1_000

    assert fetch(clinic, place, by="study") == {}


def test_an_export_is_its_owners_alone(clinic: Clinic) -> None:
    clinic.reader("study", 1)
    clinic.reader("insurer", 2)
    place = begin(clinic, by="study")

    assert clinic.refusal(place, by="insurer")[0] == 404
    assert clinic.refusal(f"{place}/Patient.0.ndjson", by="insurer")[0] == 404
    assert clinic.refusal(place, by="insurer", method="DELETE")[0] == 404
    assert clinic.ask(place, by="study").status_code == 200


def test_an_export_ends_by_itself_and_by_hand(clinic: Clinic) -> None:
    first, second = begin(clinic), begin(clinic)

    assert clinic.ask(first, method="DELETE").status_code == 202
    assert clinic.refusal(first)[0] == 404
    assert clinic.refusal(f"{first}/Patient.0.ndjson")[0] == 404
    clinic.now_ms += 86_400_000
    assert clinic.refusal(second)[0] == 404
    begin(clinic)
    rows = clinic.store.database.rows("SELECT count(*) FROM export")
    assert rows[0][0] <= 2, "those that have expired are swept out"


@pytest.mark.parametrize(
    ("path", "headers", "text"),
    [
        ("$export", {}, "Prefer: respond-async"),
        ("$export?_type=Group", ASYNC, "'Group' is none of"),
        ("$export?_since=2026", ASYNC, "_since: '2026' is no instant"),
        ("$export?_outputFormat=csv", ASYNC, "_outputFormat: "),
        ("$export?_typeFilter=x", ASYNC, "_typeFilter: is not known"),
    ],
)
def test_an_export_that_cannot_be_is_refused(
    clinic: Clinic, path: str, headers: dict[str, str], text: str
) -> None:
    """A filter that is ignored in silence would export too much."""
    status, said = clinic.refusal(path, headers=headers)

    assert status == 400
    assert text in said


def test_a_file_that_is_not_of_it_is_not_there(clinic: Clinic) -> None:
    place = begin(clinic, "$export?_type=Patient")

    for file in ("Observation.0", "Patient.1", "Patient.x", "Group.0"):
        assert clinic.refusal(f"{place}/{file}.ndjson")[0] == 404


def test_patients_are_divided_among_files_each_in_one(clinic: Clinic) -> None:
    """Files are fetched side by side, and what is in two of them is there twice."""
    records = Records(clinic.store, clinic.registry, clinic.access)
    exports = Exports(clinic.store, records, clinic.access, chunk=1)
    made = exports.begin(LOCAL, BASE, ("Patient",), None)

    files = [
        b"".join(exports.lines(LOCAL, made, kind, chunk))
        for kind, chunk in made.files()
    ]

    assert made.files() == [("Patient", 0), ("Patient", 1), ("Patient", 2)]
    assert [file.count(b"\n") for file in files] == [0, 1, 1]
    assert b'"id":"2"' in files[2]


def test_operators_export_nobody(clinic: Clinic) -> None:
    clinic.token("operator", Role.OPERATOR)

    assert clinic.refusal("$export", by="operator", headers=ASYNC)[0] == 403


def test_each_patient_who_was_exported_is_on_record(clinic: Clinic) -> None:
    fetch(clinic, begin(clinic, "$export?_type=Observation"))

    assert clinic.audit() == [
        ("fhir.export", None),
        ("fhir.export.file", 1),
        ("fhir.export.file", 2),
    ]

"""Patients over HTTP: who may do what, and that each look is on record."""

import asyncio
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import httpx
import pytest
from fastapi import FastAPI

from gateway import api
from gateway.access import Grant, Purpose, Role
from gateway.api import people_shapes as shapes
from gateway.live import Live
from gateway.metrics import Metrics
from gateway.store import Filter, StoreUnavailable
from protocols.observation import Device, Kind
from tests.gateway.people import DAY_MS, NOW_MS, Clinic, nobodys
from tests.gateway.stations import (
    METER,
    MINUTE_MS,
    START_MS,
    accepted,
    glucose,
    pressure,
)

EXPIRES = "2027-01-01T00:00:00Z"
_OTHER = Device("meter-2", "Acme", "Sweet 1", "SN-9", "1.0")
_OF = {tenant: Filter(tenant=tenant) for tenant in ("clinic", "other")}


class Way:
    """A way in that has nothing to say."""

    connected = commit_good = working = True


class Asking:
    """Asks the API of a clinic, with a token or without."""

    def __init__(self, clinic: Clinic) -> None:
        parts = api.Parts(
            clinic.store, Way(), Live(), Metrics(), clinic.access, clinic.registry
        )
        self.app: FastAPI = api.build(parts)

    def __call__(
        self,
        method: str,
        path: str,
        token: str | None = None,
        prefix: str = "/api/v1",
        **more: object,
    ) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(
                transport=transport, base_url="http://127.0.0.1:8080"
            ) as client:
                headers = {**({"Authorization": token} if token else {})}
                headers |= more.pop("headers", {})
                return await client.request(
                    method, f"{prefix}{path}", headers=headers, **more
                )

        return asyncio.run(ask())


@pytest.fixture(params=["sqlite_store", "postgres_store"])
def clinic(request: pytest.FixtureRequest) -> Clinic:
    """Each test here holds for both engines."""
    return Clinic(request.getfixturevalue(request.param))


@pytest.fixture
def ask(clinic: Clinic) -> Asking:
    return Asking(clinic)


@pytest.fixture
def steward(clinic: Clinic) -> str:
    return clinic.token(Role.STEWARD, name="desk")[1]


def actions(clinic: Clinic) -> list[tuple[str, str, int | None]]:
    return [
        (one.name, one.action, one.patient)
        for one in clinic.audit.entries(clinic.tenant, 0, 1_000)
    ]


def test_a_patient_is_written_read_and_changed(
    clinic: Clinic, ask: Asking, steward: str
) -> None:
    sent = {
        "name": "P-0001",
        "identifiers": [{"system": "urn:oid:1", "value": "77"}],
        "family": "Öztürk",
        "birth_date": "1951-03",
        "gender": "female",
    }
    made = ask("POST", "/patients", steward, json=sent)
    assert made.status_code == 201, made.text
    number = made.json()["id"]

    read = ask("GET", f"/patients/{number}", steward)
    assert read.json() == made.json()
    assert read.json() | sent == read.json()
    changed = ask(
        "PUT",
        f"/patients/{number}",
        steward,
        json=sent | {"family": "Öztürk-Braun"},
        headers={"If-Match": read.headers["etag"]},
    )

    assert changed.status_code == 200, changed.text
    assert changed.json()["version"] == 2
    assert changed.json()["created"] == made.json()["created"]
    found = ask("GET", "/patients?family=%C3%B6ZT", steward).json()["patients"]
    assert found == [changed.json()]
    assert ask("GET", "/patients?identifier=urn:oid:1|77", steward).json()["patients"]
    assert ask("GET", "/patients?identifier=77", steward).json()["patients"]
    assert not ask("GET", "/patients?identifier=x|77", steward).json()["patients"]
    assert ask("GET", "/patients?birth_date=1951", steward).json()["patients"]
    assert not ask("GET", "/patients?gender=male", steward).json()["patients"]
    assert actions(clinic)[:3] == [
        ("desk", "patient.made", int(number)),
        ("desk", "patient.read", int(number)),
        ("desk", "patient.changed", int(number)),
    ]


def test_a_change_on_top_of_another_ones_is_refused(
    clinic: Clinic, ask: Asking, steward: str
) -> None:
    """Two at two desks: the second must not undo what it never saw."""
    number = clinic.patient("P-1").id
    tag = ask("GET", f"/patients/{number}", steward).headers["etag"]
    path, sent = f"/patients/{number}", {"name": "P-1", "given": "Eva"}
    first = ask("PUT", path, steward, json=sent, headers={"If-Match": tag})
    assert first.status_code == 200

    late = ask("PUT", path, steward, json={"name": "P-1"}, headers={"If-Match": tag})
    blind = ask("PUT", path, steward, json={"name": "P-1"})

    assert late.status_code == 412
    assert blind.status_code == 400
    assert "If-Match" in blind.json()["detail"]
    assert clinic.registry.patient(number).given == "Eva"
    next_tag = first.headers["etag"]
    again = ask("PUT", path, steward, json=sent, headers={"If-Match": next_tag})
    assert again.status_code == 200


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 65}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"birth_date": "1951-13"}, "birth_date"),
        ({"birth_date": "1951-02-29"}, "birth_date"),
        ({"birth_date": "0000"}, "birth_date"),
        ({"gender": "f"}, "gender"),
        ({"identifiers": [{"system": "s", "value": "v"}] * 2}, "identifier"),
        ({"diagnosis": "E11"}, "diagnosis"),
    ],
)
def test_what_does_not_belong_is_named(
    sqlite_store: object, change: dict[str, object], names: str
) -> None:
    clinic = Clinic(sqlite_store)
    _, steward = clinic.token(Role.STEWARD)

    answer = Asking(clinic)("POST", "/patients", steward, json={"name": "P"} | change)

    assert answer.status_code == 400
    assert names in answer.json()["detail"]


def test_text_that_is_none_is_refused(sqlite_store: object) -> None:
    """Half a character is JSON, and no store can keep it."""
    clinic = Clinic(sqlite_store)
    _, steward = clinic.token(Role.STEWARD)
    body = b'{"name": "P-1", "family": "\\ud800"}'
    headers = {"Content-Type": "application/json"}

    answer = Asking(clinic)("POST", "/patients", steward, content=body, headers=headers)

    assert answer.status_code == 400
    assert "family" in answer.json()["detail"]


def test_a_name_or_identifier_of_another_patient_is_a_conflict(
    ask: Asking, steward: str
) -> None:
    same = [{"system": "urn:oid:1", "value": "77"}]
    ask("POST", "/patients", steward, json={"name": "P-1", "identifiers": same})

    assert ask("POST", "/patients", steward, json={"name": "P-1"}).status_code == 409
    other = ask("POST", "/patients", steward, json={"name": "P-2", "identifiers": same})
    assert other.status_code == 409
    assert "77" in other.json()["detail"]
    assert not ask("GET", "/patients?name=P-2", steward).json()["patients"]


def test_a_device_is_given_to_a_patient_and_its_readings_with_it(
    clinic: Clinic, ask: Asking, steward: str
) -> None:
    clinic.send(*(nobodys(glucose(number)) for number in range(5)))
    one, two = clinic.patient("P-1"), clinic.patient("P-2")
    given = {
        "device": METER.id,
        "patient": one.id,
        "until": "2026-03-01T07:33:00Z",
        "evidence": "handed over",
    }
    made = ask("POST", "/attributions", steward, json=given)
    assert made.status_code == 201, made.text
    assert made.json()["from"] is None
    other = ask("POST", "/attributions", steward, json=given | {"patient": two.id})
    assert other.status_code == 409
    assert f"attribution {made.json()['id']}" in other.json()["detail"]

    def sequences(patient: int) -> list[int]:
        answer = ask("GET", f"/patients/{patient}/readings", steward)
        return [reading["sequence"] for reading in answer.json()["readings"]]

    # The one of 07:33 may have been before or after.
    assert sequences(one.id) == [0, 1, 2]
    tray = ask("GET", "/unassigned", steward).json()["readings"]
    assert [reading["sequence"] for reading in tray] == [3, 4]
    claim = {
        "patient": two.id,
        "readings": [tray[0]["id"]],
        "evidence": "told by the nurse",
    }
    assert ask("POST", "/claims", steward, json=claim).status_code == 201
    assert ask("POST", "/claims", steward, json=claim).status_code == 409
    assert sequences(two.id) == [3]
    left = ask("GET", "/unassigned", steward).json()["readings"]
    assert [reading["sequence"] for reading in left] == [4]

    path = f"/patients/{two.id}/claims/{tray[0]['id']}"
    assert ask("DELETE", path, steward).status_code == 204
    assert ask("DELETE", path, steward).status_code == 404
    assert sequences(two.id) == []
    taken = ask("DELETE", f"/attributions/{made.json()['id']}", steward)
    assert taken.status_code == 204
    assert sequences(one.id) == []


def test_pages_of_readings_meet_each_once(
    clinic: Clinic, ask: Asking, steward: str
) -> None:
    """Claimed ones, named ones and those of an interval are one list by time."""
    patient = clinic.patient("P-1")
    clinic.send(*(nobodys(glucose(number)) for number in range(0, 20, 2)))
    clinic.attribute(patient, METER.id, START_MS - DAY_MS)
    clinic.store.commit([accepted(50, *_named("P-1"))])
    loose = ask("GET", "/unassigned", steward).json()["readings"]
    assert len(loose) == 1
    claim = {"patient": patient.id, "readings": [loose[0]["id"]], "evidence": "hers"}
    assert ask("POST", "/claims", steward, json=claim).status_code == 201

    found, after = [], {}
    while True:
        page = ask(
            "GET",
            f"/patients/{patient.id}/readings",
            steward,
            params={"limit": 3, **after},
        ).json()
        found += [reading["sequence"] for reading in page["readings"]]
        after = {"after": page["next"]}
        if not page["more"]:
            break

    assert found == [*range(18), 18, 99, 100]
    again = ask("GET", f"/patients/{patient.id}/readings", steward, params=after)
    assert again.json()["readings"] == []


def _named(name: str) -> Iterator[object]:
    """Return readings that a station names somebody for, and two without a time."""
    for number in range(1, 18, 2):
        yield replace(glucose(number, device=_OTHER), person=name)
    timeless = {"utc_ms": None, "time_method": 0, "time_bound_ms": None}
    yield replace(glucose(99, device=_OTHER), person=name, **timeless)
    yield replace(nobodys(glucose(100, device=_OTHER)), **timeless)


def test_a_reader_sees_what_was_consented_to_and_nothing_else(
    clinic: Clinic, ask: Asking, steward: str
) -> None:
    clinic.send(nobodys(glucose(1)), nobodys(glucose(2)))
    clinic.send(nobodys(pressure(3, 120, 80, 60, device=METER)))
    patient, other = clinic.patient("P-1", family="Muster"), clinic.patient("P-2")
    clinic.attribute(patient, METER.id)
    study = clinic.programme("study", Purpose.RESEARCH)
    _, reader = clinic.token(Role.READER, name="study-1", programme=study)
    consent = ask(
        "POST",
        f"/patients/{patient.id}/consents",
        steward,
        json={
            "programme": study.id,
            "kinds": ["glucose"],
            "until": "2026-03-01T07:32:00Z",
            "expires": EXPIRES,
        },
    )
    assert consent.status_code == 201, consent.text

    (shown,) = ask("GET", "/patients", reader).json()["patients"]
    readings = ask("GET", f"/patients/{patient.id}/readings", reader)

    assert shown["name"] == "P-1"
    assert shown["family"] == ""
    assert ask("GET", "/patients?family=Muster", reader).status_code == 400
    assert [one["sequence"] for one in readings.json()["readings"]] == [1]
    denied = ask("GET", f"/patients/{patient.id}/readings?kind=blood-pressure", reader)
    assert denied.status_code == 403
    # Whether there is such a patient is not told to who may not see them.
    unknown = ask("GET", "/patients/9999", reader)
    assert unknown.status_code == 403
    hidden = ask("GET", f"/patients/{other.id}", reader)
    assert hidden.json()["detail"] == unknown.json()["detail"]

    path = f"/patients/{patient.id}/consents/{consent.json()['id']}"
    assert ask("DELETE", path, steward).status_code == 204
    assert ask("GET", f"/patients/{patient.id}/readings", reader).status_code == 403
    assert ask("GET", "/patients", reader).json()["patients"] == []
    assert ("study-1", "readings.list", patient.id) in actions(clinic)


def test_what_cannot_be_put_on_record_is_not_shown(
    clinic: Clinic, ask: Asking, steward: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log with holes proves nothing about who saw what."""
    clinic.send(nobodys(glucose(1)))
    patient = clinic.patient("P-1", family="Muster")
    clinic.attribute(patient, METER.id)

    def fail() -> None:
        raise StoreUnavailable("the disk is full")

    monkeypatch.setattr(clinic.store.database, "change", fail)
    for path in (
        "",
        f"/{patient.id}",
        f"/{patient.id}/readings",
        f"/{patient.id}/export",
    ):
        answer = ask("GET", f"/patients{path}", steward)
        assert answer.status_code == 503
        assert "Muster" not in answer.text


def test_a_token_is_shown_once_and_opens_what_it_is_for(
    ask: Asking, steward: str
) -> None:
    programme = ask(
        "POST", "/programmes", steward, json={"name": "ward", "purpose": "TREAT"}
    ).json()
    made = ask(
        "POST",
        "/principals",
        steward,
        json={
            "name": "ward-1",
            "roles": ["reader"],
            "programme": programme["id"],
            "expires": EXPIRES,
        },
    )
    assert made.status_code == 201, made.text
    token = f"Bearer {made.json()['token']}"

    assert ask("GET", "/patients", token).status_code == 200
    assert ask("GET", "/principals", token).status_code == 403
    listed = ask("GET", "/principals", steward)
    assert made.json()["token"] not in listed.text
    assert [one["name"] for one in listed.json()["principals"]] == ["desk", "ward-1"]
    number = made.json()["id"]
    assert ask("DELETE", f"/principals/{number}", steward).status_code == 204
    assert ask("GET", "/patients", token).status_code == 401
    assert ask("DELETE", f"/principals/{number}", steward).status_code == 404


def test_an_expiry_that_is_over_and_odd_roles_are_refused(
    ask: Asking, steward: str
) -> None:
    def status(**more: object) -> str:
        body = {"name": "n", "roles": ["steward"], "expires": EXPIRES} | more
        answer = ask("POST", "/principals", steward, json=body)
        assert answer.status_code in {400, 403}
        return answer.json()["detail"]

    assert "expires" in status(expires="2026-01-01T00:00:00Z")
    assert "9998" in status(expires="9999-12-31T23:59:59-14:00")
    assert "roles" in status(roles=["reader"])
    assert "programme" in status(roles=["reader"], programme=99)
    assert "roles" in status(roles=["god"])
    assert "clinic" in status(tenant="other")


def test_the_log_is_listed_with_its_hashes(
    clinic: Clinic, ask: Asking, steward: str
) -> None:
    patient = clinic.patient("P-1")
    ask("GET", f"/patients/{patient.id}", steward)

    answer = ask("GET", f"/audit?patient={patient.id}", steward).json()

    (entry,) = answer["entries"]
    assert (entry["action"], entry["name"]) == ("patient.read", "desk")
    (head,) = ask("GET", "/audit/heads", steward).json()["heads"]
    last = clinic.audit.entries("clinic", head["sequence"] - 1, 1)[0]
    assert last.hash.hex() == head["hash"]
    assert ask("GET", "/audit?tenant=", steward).status_code == 403


def test_an_export_holds_all_that_is_kept_and_who_saw_it(
    clinic: Clinic, ask: Asking, steward: str
) -> None:
    clinic.send(nobodys(glucose(1, "5.50")), nobodys(glucose(2)))
    clinic.send(nobodys(glucose(2, status=("battery_low",))))
    patient = clinic.patient("P-1", family="Muster")
    other = clinic.patient("P-2")
    clinic.attribute(patient, METER.id)
    clinic.consent(patient, clinic.programme("study"))
    ask("GET", f"/patients/{patient.id}/readings", steward)
    ask("GET", f"/patients/{other.id}", steward)

    answer = ask("GET", f"/patients/{patient.id}/export", steward)

    assert answer.headers["content-type"] == "application/x-ndjson"
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [line["type"] for line in lines] == [
        "patient", "attribution", "consent", "reading", "reading", "audit", "audit",
    ]  # fmt: skip
    assert lines[0]["family"] == "Muster"
    assert [len(line["amendments"]) for line in lines[3:5]] == [0, 1]
    assert lines[3]["raw"] == ["0102", "03"]
    assert '"value":5.50' in answer.text
    assert [line["action"] for line in lines[5:]] == ["readings.list", "patient.export"]


# Every route is asked by everybody; what is not here by role is a fault, and so is a
# route that nobody said who may use it.
_RULES: dict[str, set[str]] = {
    "/patients": {"GET:steward", "GET:reader", "POST:steward"},
    "/patients/{number}": {
        "GET:steward", "GET:reader", "PUT:steward", "DELETE:steward",
    },
    "/patients/{number}/readings": {"GET:steward", "GET:reader"},
    "/patients/{number}/export": {"GET:steward"},
    "/patients/{number}/claims": {"GET:steward"},
    "/patients/{number}/claims/{reading}": {"DELETE:steward"},
    "/patients/{number}/consents": {"GET:steward", "POST:steward"},
    "/patients/{number}/consents/{consent}": {"DELETE:steward"},
    "/attributions": {"GET:steward", "POST:steward"},
    "/attributions/{number}": {"DELETE:steward"},
    "/unassigned": {"GET:steward"},
    "/claims": {"POST:steward"},
    "/programmes": {"GET:steward", "POST:steward"},
    "/principals": {"GET:steward", "POST:steward"},
    "/principals/{number}": {"DELETE:steward"},
    "/audit": {"GET:steward"},
    "/audit/heads": {"GET:steward"},
    "/readings": {"GET:operator"},
    "/readings/{number}": {"GET:operator"},
    "/amendments": {"GET:operator"},
    "/devices": {"GET:operator"},
    "/quarantine": {"GET:operator"},
    "/live": {"GET:operator"},
    "/readings/export": {"GET:operator"},
    "/webhooks": {"GET:operator", "GET:steward", "POST:operator", "POST:steward"},
}  # fmt: skip
# These have a rule that is tested where they are.
_ELSEWHERE = re.compile(r"/api/v1/webhooks/.*|/fhir/.*|/metrics")
# These are everybody's, and hold nothing of a person.
_OPEN = {
    "/", "/api/v1/openapi.json", "/healthz", "/readyz", "/static/plotly.min.js",
    "/fhir/R4/metadata",
}  # fmt: skip


@dataclass
class Case:
    """One tenant with one of everything."""

    clinic: Clinic
    numbers: dict[str, int]
    tokens: dict[str, str]


def case(clinic: Clinic) -> Case:
    clinic.send(*(nobodys(glucose(number)) for number in (1, 2, 3)))
    known_as = (("urn:oid:1", "77"),)
    patient = clinic.patient("P-1", family="Muster", identifiers=known_as)
    made = clinic.attribute(patient, METER.id, START_MS, START_MS + MINUTE_MS + 30_000)
    ward = clinic.programme("ward")
    given = clinic.consent(patient, ward)
    tokens = {
        role.value: clinic.token(role, name=role.value)[1]
        for role in (Role.OPERATOR, Role.STEWARD)
    }
    principal, tokens["reader"] = clinic.token(
        Role.READER, name="reader", programme=ward
    )
    empty = clinic.programme("empty")
    _, tokens["reader without consents"] = clinic.token(
        Role.READER, name="empty", programme=empty
    )
    loose, left = clinic.chart.unassigned(_OF[clinic.tenant], 0, 9).rows
    with clinic.store.database.change() as change:
        clinic.chart.claim(change, loose, patient.id, "why", "desk", NOW_MS)
    numbers = {
        "patient": patient.id,
        "attribution": made.id,
        "consent": given.id,
        "programme": ward.id,
        "principal": principal.id,
        "reading": loose.id,
        "left": left.id,
    }
    return Case(clinic, numbers, tokens)


def routes(app: FastAPI) -> Iterator[tuple[str, str]]:
    """Return each method and path that the gateway answers, in its document or not."""
    for route in app.routes:
        # FastAPI keeps the routes of a router that was included behind one of its own.
        behind = getattr(route, "effective_route_contexts", None)
        for one in behind() if behind else [route]:
            for method in (one.methods or set()) - {"HEAD", "OPTIONS"}:
                yield method, one.path


def ours(app: FastAPI) -> Iterator[tuple[str, str]]:
    """Return those that have a rule here, by their path within the API."""
    for method, path in routes(app):
        if path not in _OPEN and not _ELSEWHERE.fullmatch(path):
            yield method, path.removeprefix("/api/v1")


def _asked(case: Case, method: str, path: str, attempt: int) -> dict[str, object]:
    """Return the path and body of a request about what ``case`` has."""
    numbers = case.numbers
    of = {
        "attributions": "attribution",
        "principals": "principal",
        "readings": "reading",
    }
    number = numbers[of.get(path.split("/")[1], "patient")]
    body = {
        "/patients": {"name": f"N-{attempt}"},
        "/patients/{number}": {"name": f"R-{attempt}"},
        "/patients/{number}/consents": {
            "programme": numbers["programme"], "expires": EXPIRES,
        },
        "/attributions": {
            "device": METER.id, "patient": numbers["patient"], "evidence": "why",
            "from": f"2027-01-01T00:{attempt % 60:02}:00Z",
            "until": f"2027-01-01T00:{attempt % 60:02}:30Z",
        },
        "/claims": {
            "patient": numbers["patient"], "readings": [numbers["left"]],
            "evidence": "why",
        },
        "/programmes": {"name": f"G-{attempt}", "purpose": "TREAT"},
        "/principals": {
            "name": f"T-{attempt}", "roles": ["operator"], "expires": EXPIRES,
        },
        "/webhooks": {"url": "https://clinic.example/readings"},
    }.get(path)  # fmt: skip
    filled = path.format(
        number=number, reading=numbers["reading"], consent=numbers["consent"]
    )
    filled += "?format=csv" if path == "/readings/export" else ""
    asked: dict[str, object] = {"path": filled}
    if method in {"POST", "PUT"}:
        asked |= {"json": body, "headers": {"If-Match": "*"}}
    return asked


def test_every_route_allows_whom_its_rule_names_and_nobody_else(
    sqlite_store: object,
) -> None:
    """Each role of each tenant at each route about each tenant's things."""
    here, there = case(Clinic(sqlite_store)), case(Clinic(sqlite_store, "other"))
    ask = Asking(here.clinic)
    unexpected, allowed, asked = [], set(), 0
    known = {
        (m, p) for p, who in _RULES.items() for m in {w[: w.index(":")] for w in who}
    }
    # What takes things away comes last, and at the very end a patient with all.
    last = ("DELETE", "/patients/{number}")
    for method, path in sorted(
        ours(ask.app), key=lambda one: (one == last, one[0] == "DELETE", one)
    ):
        assert (method, path) in known, f"nobody said who may {method} {path}"
        if path == "/live":
            continue  # it does not end; its own tests ask who may listen
        for tenant, roles in (("clinic", here.tokens), ("other", there.tokens)):
            callers = {**roles, "nobody": None, "forger": f"Bearer vw_{'A' * 43}"}
            for role, token in callers.items():
                for of in (here, there):
                    asked += 1
                    request = _asked(of, method, path, asked)
                    answer = ask(method, token=token, **request)
                    names = role.split()[0]
                    own = of.clinic.tenant == tenant or "{" not in path
                    may = f"{method}:{names}" in _RULES[path] and own
                    if role == "reader without consents" and "{" in path:
                        may = False
                    if answer.is_success and not may:
                        unexpected.append((method, path, tenant, role, answer.text))
                    if answer.is_success:
                        allowed.add(f"{path} {method}:{names}")
                        _check_tenant(answer, tenant, unexpected, path, role)

    assert unexpected == []
    assert asked > 500
    # What a role is for it can do: else a gateway that refuses all would pass.
    wanted = {f"{path} {who}" for path, whose in _RULES.items() for who in whose}
    assert wanted - allowed <= {
        "/live GET:operator",
        "/webhooks POST:steward",  # with a patient, which its own tests send
        "/webhooks POST:operator",
    }


def _check_tenant(
    answer: httpx.Response, tenant: str, unexpected: list[object], path: str, role: str
) -> None:
    """Note an answer that names the other tenant."""
    other = {"clinic": '"tenant":"other"', "other": '"tenant":"clinic"'}[tenant]
    if other in answer.text.replace(" ", ""):
        unexpected.append((path, tenant, role, answer.text))


def test_no_route_answers_who_is_nobody(sqlite_store: object) -> None:
    """Those of FHIR and of webhooks too, and whatever will come."""
    ask = Asking(Clinic(sqlite_store))
    found = set()
    for method, path in routes(ask.app):
        if path in _OPEN:
            continue
        filled = re.sub(r"{[^}]*}", "1", path)
        for token in (None, f"Bearer vw_{'A' * 43}"):
            answer = ask(method, token=token, path=filled, prefix="", json={})
            found.add((answer.status_code, method, path))

    # FHIR does not know some paths, whoever asks.
    wrong = [one for one in found if one[0] != 401]
    assert [one for one in wrong if not (one[0] == 404 and "/fhir/" in one[2])] == []


def test_no_answer_holds_a_secret(sqlite_store: object) -> None:
    found = case(Clinic(sqlite_store))
    ask = Asking(found.clinic)
    rows = sqlite_store.database.rows("SELECT token FROM principal")
    secrets = [row[0].hex() for row in rows]
    secrets += [token.removeprefix("Bearer ") for token in found.tokens.values()]

    for method, path in ours(ask.app):
        if method == "GET" and path != "/live":
            for token in found.tokens.values():
                request = _asked(found, method, path, 1)
                text = ask(method, token=token, **request).text
                assert not [one for one in secrets if one in text], path


def test_answers_have_the_shapes_of_the_document(sqlite_store: object) -> None:
    """A field that the document does not tell is one that nobody decided to show."""
    found = case(Clinic(sqlite_store))
    ask = Asking(found.clinic)
    for path, shape in (
        ("/patients", shapes.Patients),
        (f"/patients/{found.numbers['patient']}", shapes.Patient),
        (f"/patients/{found.numbers['patient']}/readings", shapes.PatientReadings),
        (f"/patients/{found.numbers['patient']}/consents", shapes.Consents),
        (f"/patients/{found.numbers['patient']}/claims", shapes.Claims),
        ("/attributions", shapes.Attributions),
        ("/programmes", shapes.Programmes),
        ("/principals", shapes.Principals),
        ("/audit", shapes.Entries),
        ("/audit/heads", shapes.Heads),
    ):
        answer = ask("GET", path, found.tokens["steward"])
        read = shape.model_validate_json(answer.content)
        said = read.model_dump(by_alias=True, mode="json")
        assert said.keys() == answer.json().keys()
        assert [] not in said.values(), f"{path} shows nothing"


def test_a_kind_that_is_nobodys_is_not_shown_of_anybody(
    clinic: Clinic, ask: Asking, steward: str
) -> None:
    clinic.send(nobodys(glucose(1, kind=Kind.CONTROL_SOLUTION)))
    patient = clinic.patient("P-1")
    clinic.attribute(patient, METER.id)
    clinic.consent(patient, clinic.programme("ward"), Grant())
    stored = clinic.store.last()

    answer = ask(
        "GET", f"/patients/{patient.id}/readings?kind=control-solution", steward
    )
    claim = {"patient": patient.id, "readings": [stored], "evidence": "why"}

    assert answer.json()["readings"] == []
    assert ask("POST", "/claims", steward, json=claim).status_code == 409

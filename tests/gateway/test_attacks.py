"""What somebody would try who wants to learn or change more than they may."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import apsw
import psycopg
import pytest
from click.testing import CliRunner

from gateway.access import Role, Unauthorised
from gateway.bench.servers import Postgres
from gateway.chart import Chart
from gateway.cli import gateway
from gateway.consent import Purpose
from gateway.erasure import Erasure
from gateway.fhir.export import Exports
from gateway.fhir.records import Records
from gateway.store import Filter, Refused
from gateway.store import postgres as on_postgres
from gateway.store import sqlite as on_sqlite
from gateway.store.sqlite import SqliteStore
from gateway.webhooks import Webhooks
from gateway.webhooks.target import Refused as TargetRefused
from gateway.webhooks.target import Targets
from protocols.observation import Device, Kind
from tests.gateway.fhir.clinic import NOW_MS, Clinic
from tests.gateway.fhir.test_export import begin, fetch, manifest
from tests.gateway.fhir.test_subscription import subscribe, tell, wanted
from tests.gateway.receiver import Receiver, receiver
from tests.gateway.stations import MINUTE_MS, START_MS, STATION, glucose, pressure

_DAY_MS = 86_400_000
_HOST = "http://127.0.0.1:8080"
_API = f"{_HOST}/api/v1"
# Its id is the address it was met at, as the agent makes it of a meter without a name.
_METER = Device("at:0a-1b-2c-3d-4e-5f", "Acme", "Sweet 1", "SN-77", "1.0")


@pytest.fixture(params=["sqlite_store", "postgres_store"])
def clinic(request: pytest.FixtureRequest) -> Clinic:
    made = Clinic(request.getfixturevalue(request.param))
    made.arrive(glucose(1, device=_METER), glucose(2, device=_METER))
    made.arrive(pressure(3, 120, 80, 64))
    made.patient(
        "P-0001",
        _METER.id,
        "cuff-1",
        family="Piggy",
        given="Missus",
        birth_date="1951-03",
        identifiers=(("urn:oid:1.2", "AHV-756"),),
    )
    return made


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with receiver() as found:
        yield found


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://127.0.0.1:9999"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ],
)
def test_a_page_of_another_site_changes_nothing(
    clinic: Clinic, hook: Receiver, headers: dict[str, str]
) -> None:
    """A browser sends a form or plain text anywhere, and here nobody needs a token."""
    plain = {"Content-Type": "text/plain"} | headers
    body = json.dumps(wanted(hook.url)).encode()

    for path in ("Subscription", f"{_API}/webhooks/1/dead/1/replay"):
        answer = clinic.ask(path, method="POST", content=body, headers=plain)
        assert answer.status_code == 403, answer.text

    assert clinic.ids("Subscription") == []


def test_a_page_of_another_site_may_lead_here_and_no_more(clinic: Clinic) -> None:
    """How long an answer takes tells whether there is somebody of a name."""
    cross = {"Sec-Fetch-Site": "cross-site"}
    link = cross | {"Sec-Fetch-Mode": "navigate"}

    assert clinic.ask(f"{_HOST}/", headers=link).status_code == 200
    image = cross | {"Sec-Fetch-Mode": "no-cors"}
    assert clinic.ask("Patient?family=Piggy", headers=image).status_code == 403


def test_our_own_page_and_programs_are_let_in(clinic: Clinic, hook: Receiver) -> None:
    for headers in (
        {},
        {"Sec-Fetch-Site": "same-origin", "Origin": _HOST},
        {"Sec-Fetch-Site": "none"},
        {"Origin": _HOST},
    ):
        answer = clinic.ask(
            "Subscription", method="POST", json=wanted(hook.url), headers=headers
        )
        assert answer.status_code == 201, answer.text


def test_what_is_not_called_json_is_not_read_as_such(clinic: Clinic) -> None:
    """A browser sends JSON to another site only after it asked; other types at once."""
    body = json.dumps({"url": "https://evil.example/", "content": "readings"})
    for kind in ("text/plain", "application/x-www-form-urlencoded", None):
        headers = {} if kind is None else {"Content-Type": kind}
        answer = clinic.ask(
            f"{_API}/webhooks", method="POST", content=body.encode(), headers=headers
        )
        assert answer.status_code == 400


def test_research_learns_nothing_that_leads_elsewhere(
    clinic: Clinic, hook: Receiver
) -> None:
    """Not by a name of the patient, of the device, of the place, whatever it asks."""
    programme = clinic.reader("study", 1, purpose=Purpose.RESEARCH)
    for content in ("ids", "readings"):
        made = clinic.ask(
            f"{_API}/webhooks",
            method="POST",
            json={"url": hook.url, "programme": programme, "content": content},
        )
        assert made.status_code == 201, made.text
    subscribe(clinic, hook.url, by="study")
    clinic.arrive(glucose(4, device=_METER))
    tell(clinic)
    files = manifest(clinic, begin(clinic, by="study"), by="study")["output"]
    told = [call.body.decode() for call in hook.calls]
    for path in (
        *(one["url"] for one in files),
        "Patient/1",
        "Device",
        "Device/1",
        "Observation?patient=1",
        "Observation/1-glucose",
        f"{_API}/patients",
        f"{_API}/patients/1",
        f"{_API}/patients/1/readings",
    ):
        answer = clinic.ask(path, by="study")
        assert answer.status_code == 200, answer.text
        told.append(answer.text)

    assert len(hook.calls) == 3
    assert sum("5.50" in text for text in told) >= 4, "it sees values all the same"
    for secret in (
        "Piggy", "Missus", "1951", "AHV-756", "SN-77", "SN-2", "cuff-1", "station-1",
        "0a-1b", "0A-1B",
    ):  # fmt: skip
        assert [text for text in told if secret in text] == [], secret


def test_research_finds_no_device_by_its_serial_number(clinic: Clinic) -> None:
    """That one is found, or none, would tell whose it is."""
    clinic.reader("study", 1, purpose=Purpose.RESEARCH)

    assert clinic.ids(f"Device?identifier={_METER.id}", by="study") == []
    assert clinic.ids("Device?identifier=SN-77", by="study") == []
    assert clinic.ids("Device?identifier=SN-77") == ["1"]


def test_what_was_not_agreed_to_does_not_move_a_cursor(clinic: Clinic) -> None:
    """A place behind a hidden reading would say that there is one, and when."""
    clinic.reader("sugar", 1, kinds=frozenset({Kind.GLUCOSE}))
    clinic.arrive(pressure(50, 190, 110, 90, device=replace(_METER, id="lent")))
    path = f"{_API}/patients/1/readings"
    before = clinic.ask(path, by="sugar").json()

    (loose,) = clinic.store.readings(Filter(device="lent"), 0, 9)
    with clinic.store.database.change() as change:
        Chart(clinic.store, clinic.registry).claim(change, loose, 1, "x", "x", NOW_MS)

    assert clinic.ask(path, by="sugar").json() == before
    assert clinic.ask(f"{path}?limit=1", by="sugar").json()["more"]
    shown = clinic.ask(f"{path}?after={before['next']}", by="sugar").json()
    assert (shown["readings"], shown["more"]) == ([], False)


def test_a_device_is_seen_by_the_kinds_that_were_agreed_to(clinic: Clinic) -> None:
    """That somebody has a cuff is news of them, too."""
    both = Device("both", "Acme", "Two in one", "SN-3", "1.0")
    clinic.arrive(glucose(7, device=both), pressure(8, 120, 80, 60, device=both))
    clinic.patient("P-0002", "both")
    clinic.reader("sugar", 1, 2, kinds=frozenset({Kind.GLUCOSE}))

    seen = clinic.found("Device", by="sugar")
    devices = {one["resource"]["id"]: one["resource"] for one in seen["entry"]}
    cuff, two = (clinic.registry.device("clinic", one) for one in ("cuff-1", "both"))

    assert str(cuff) not in devices
    assert clinic.refusal(f"Device/{cuff}", by="sugar")[0] == 404
    assert len(devices[str(two)]["specialization"]) == 1
    files = fetch(clinic, begin(clinic, by="sugar"), by="sugar")
    assert {*files["Device"]} == {*devices}
    whole = clinic.found(f"Device/{two}")
    assert len(whole["specialization"]) == 2


def test_a_device_of_another_time_is_not_seen(clinic: Clinic) -> None:
    clinic.reader("later", 1, from_ms=START_MS + _DAY_MS)
    assert clinic.ids("Device", by="later") == ["1", "2"]  # it is theirs still

    (kept,) = [
        one
        for one in clinic.registry.attributions.listed("clinic", 0, 9)
        if one.device == 1
    ]
    with clinic.store.database.change() as change:
        clinic.registry.attributions.attribute(
            change, replace(kept, until_ms=START_MS + MINUTE_MS * 9, replaces=kept.id)
        )

    assert clinic.ids("Device", by="later") == ["2"]


def end(clinic: Clinic, name: str, how: str) -> str:
    """Let a token end; return what its refusal says."""
    if how == "expired":
        clinic.now_ms = NOW_MS + _DAY_MS
        return "has expired"
    (found,) = [
        one
        for one in clinic.access.principals.page("", 0, 99)
        if one.principal.name == name
    ]
    with clinic.store.database.change() as change:
        assert clinic.access.principals.revoke(change, found.id)
    return "was revoked"


@pytest.mark.parametrize("how", ["revoked", "expired"])
def test_a_subscription_stops_with_its_owners_token(
    clinic: Clinic, hook: Receiver, how: str
) -> None:
    """Who lost the right to ask must not be told either."""
    clinic.reader("study", 1, expires_ms=NOW_MS + 9 * _DAY_MS)
    made = subscribe(clinic, hook.url, by="study")
    clinic.arrive(glucose(4, device=_METER))
    tell(clinic)
    assert len(hook.calls) == 1

    says = end(clinic, "study", how)
    clinic.arrive(glucose(5, device=_METER))
    tell(clinic)

    assert len(hook.calls) == 1
    seen = clinic.ask(f"{_API}/webhooks/{made['id']}").json()
    assert says in seen["problem"]
    clinic.now_ms += _DAY_MS * 30
    tell(clinic)
    assert len(hook.calls) == 1
    assert Webhooks(clinic.store.database).stretches([int(made["id"])], dead=True) == []


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.STEWARD])
def test_a_webhook_stops_with_its_makers_token(
    clinic: Clinic, hook: Receiver, role: Role
) -> None:
    """Of whatever role; one that somebody else made is told on."""
    clinic.token("desk", role)
    whose = {"patient": 1} if role == Role.STEWARD else {}
    for by in ("desk", ""):
        answer = clinic.ask(
            f"{_API}/webhooks",
            method="POST",
            by=by,
            json={"url": f"{hook.url}?by={by}"} | whose,
        )
        assert answer.status_code == 201, answer.text
    end(clinic, "desk", "revoked")
    clinic.arrive(glucose(4, device=_METER))

    tell(clinic)

    assert len(hook.calls) == 1


def test_a_download_ends_with_its_token(clinic: Clinic) -> None:
    """A file of everybody takes minutes; a token that was stolen is revoked at once."""
    clinic.token("desk", Role.STEWARD)
    clinic.patient("P-0002")
    who = clinic.access.authenticate(f"Bearer {clinic.tokens['desk']}")
    records = Records(clinic.store, clinic.registry, clinic.access)
    exports = Exports(clinic.store, records, clinic.access)
    made = exports.begin(who, "x", ("Patient", "Observation"), None)
    some = exports.lines(who, made, "Patient", 0)
    other = exports.lines(who, made, "Observation", 0)
    next(some), next(other)

    end(clinic, "desk", "revoked")

    with pytest.raises(Unauthorised, match="revoked"):
        next(some)
    with pytest.raises(Unauthorised, match="revoked"):
        list(other)


@pytest.mark.parametrize("path", ["readings/export?format=ndjson", "patients/1/export"])
def test_a_file_breaks_off_when_its_token_ends(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """Whoever reads it slowly would hold the door open for as long as they like."""
    monkeypatch.setattr("gateway.export._PAGE", 1)
    monkeypatch.setattr("gateway.api.people._LINES", 1)
    clinic.token("raw", Role.OPERATOR)
    clinic.token("desk", Role.STEWARD)
    by = "raw" if path.startswith("readings") else "desk"
    whole = clinic.ask(f"{_API}/{path}", by=by).content.splitlines()
    times = iter([NOW_MS] * 3)
    monkeypatch.setattr(
        clinic.access.principals, "_now_ms", lambda: next(times, NOW_MS + 9 * _DAY_MS)
    )

    part = clinic.ask(f"{_API}/{path}", by=by).content.splitlines()

    assert 0 < len(part) < len(whole)


def test_who_loses_a_device_to_another_finds_it_on_record(clinic: Clinic) -> None:
    """Readings leave their chart: who did that has to be found by the patient."""
    other = clinic.patient("P-0002")
    (kept, *_) = clinic.registry.attributions.listed("clinic", 0, 9)
    made = clinic.ask(
        f"{_API}/attributions",
        method="POST",
        json={
            "device": _METER.id, "patient": other, "evidence": "x", "replaces": kept.id
        },
    )  # fmt: skip

    assert made.status_code == 201, made.text
    assert clinic.audit() == [("attribution.made", 1), ("attribution.made", other)]


def test_a_search_that_finds_nobody_is_on_record(clinic: Clinic) -> None:
    """That there is nobody of a name is an answer, too."""
    clinic.ask(f"{_API}/patients?family=Kermit")

    assert clinic.audit() == [("patients.list", None)]


def test_what_is_exported_is_on_record(clinic: Clinic) -> None:
    """All of it, or one device of one day: who was about?"""
    path = f"{_API}/readings/export?format=csv&device=cuff-1&since=2026-03-01T00:00:00Z"
    assert clinic.ask(path).status_code == 200

    ((what,),) = clinic.store.database.rows("SELECT what FROM audit")
    assert "device=cuff-1" in what
    assert "since=2026-03-01" in what
    assert "format=csv" in what


@pytest.mark.parametrize(
    ("command", "action"),
    [
        (("quarantine", "show", "1"), "quarantine.read"),
        (("quarantine", "replay", "1"), "quarantine.replayed"),
        (("export", "--format=csv", "--out={}/x"), "readings.export"),
        (("archive", "--before=2026-01-01", "--to={}/x"), "readings.archived"),
    ],
)
def test_a_command_that_shows_or_moves_readings_is_on_record(
    tmp_path: Path, command: tuple[str, ...], action: str
) -> None:
    """Who may open the store needs no token, and is on record all the same."""
    store = SqliteStore(tmp_path / "readings.sqlite")
    topic = STATION.up("batch")
    store.commit([Refused(topic, STATION, b"\xff", bytes(32), "bad", 5)])
    store.close()
    words = [word.format(tmp_path) for word in command]

    done = CliRunner().invoke(gateway, [*words, "--data", str(tmp_path)])

    assert done.exit_code == int("replay" in command), done.output
    store = SqliteStore(tmp_path / "readings.sqlite")
    ((told, who),) = store.database.rows("SELECT action, name FROM audit")
    store.close()
    assert told == action
    assert who.endswith(" at the console")


@pytest.mark.parametrize(
    "host", ["192.0.0.192", "[3fff::1]", "[::ffff:192.0.0.192]", "[64:ff9b::c000:c0]"]
)
def test_no_webhook_leads_to_where_a_cloud_keeps_secrets(host: str) -> None:
    with pytest.raises(TargetRefused, match="not public"):
        Targets().check(f"https://{host}/latest")


_FIRST_TOKENS = "principal (id, tenant, name, roles, token, created_ms, expires_ms)"
_FIRST_WEBHOOKS = (
    "webhook (id, tenant, url, secret, kinds, patient, whole, created_ms, created_by)"
)


def test_webhooks_of_before_end_with_the_tokens_that_made_them(
    tmp_path: Path, postgres_server: Postgres
) -> None:
    """They have a name only, and subscriptions the number of who made them."""
    connection = apsw.Connection(str(tmp_path / "old.sqlite"))
    on_sqlite.migrate(connection, on_sqlite.migrations()[:5])
    _keep_webhooks(connection.execute, "VALUES", "x'{:02}'")
    on_sqlite.migrate(connection, on_sqlite.migrations())
    found = connection.execute("SELECT principal FROM webhook ORDER BY id").fetchall()
    assert found == [(2,), (3,), (0,), (1,)]

    postgres_server.execute("CREATE DATABASE webhooks_before")
    url = postgres_server.url("webhooks_before")
    with psycopg.connect(url, autocommit=True) as server:
        on_postgres.migrate(server, on_postgres.migrations()[:5])
        _keep_webhooks(server.execute, "OVERRIDING SYSTEM VALUE VALUES", r"'\x{:02}'")
        on_postgres.migrate(server, on_postgres.migrations())
        found = server.execute("SELECT principal FROM webhook ORDER BY id").fetchall()
    assert found == [(2,), (3,), (0,), (1,)]


def _keep_webhooks(execute: Callable[[str], object], these: str, token: str) -> None:
    """Keep webhooks and who made them under the schema that knew no principal."""
    for number, tenant, name in (
        (1, "", "desk"),
        (2, "clinic", "desk"),
        (3, "", "all"),
    ):
        execute(
            f"INSERT INTO {_FIRST_TOKENS} {these} ({number}, '{tenant}', '{name}', "
            f"'operator', {token.format(number)}, 1, 2)"
        )
    for number, name in ((1, "desk"), (2, "all"), (3, "local"), (4, "desk")):
        execute(
            f"INSERT INTO {_FIRST_WEBHOOKS} {these} "
            f"({number}, 'clinic', 'https://a', 's', '', 1, 0, 1, '{name}')"
        )
    execute("INSERT INTO subscription VALUES (4, 1, 'x', 'x')")


def test_an_erasure_goes_on_past_what_is_nobodys(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long run of readings in the tray once hid all behind them."""
    monkeypatch.setattr("gateway.chart._STEPS", 1)
    monkeypatch.setattr("gateway.erasure._PAGE", 3)
    monkeypatch.setattr("gateway.chart._STRETCH", 3)
    lent = Device("lent", "Acme", "Sweet 1", "SN-9", "1.0")
    vague = [
        replace(glucose(number, device=lent), time_bound_ms=None)
        for number in range(20)
    ]
    clinic.arrive(*vague, glucose(60, device=lent))
    number = clinic.patient("P-0002")
    (kept, *_) = clinic.registry.attributions.listed("clinic", 0, 9)
    device = clinic.registry.device("clinic", "lent")
    assert device is not None
    since = replace(
        kept, device=device, patient=number, from_ms=START_MS - 1, replaces=None
    )
    with clinic.store.database.change() as change:
        clinic.registry.attributions.attribute(change, since)
    patient = clinic.registry.patient(number)
    assert patient is not None
    chart = Chart(clinic.store, clinic.registry)
    who = clinic.access.authenticate(None)

    done = Erasure(clinic.store, chart, clinic.access).erase(who, patient)

    assert done.readings == 1

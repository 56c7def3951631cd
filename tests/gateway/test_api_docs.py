"""What the pages on the HTTP interface say, held against the interface."""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway import api, export, people
from gateway.access import Role
from gateway.api import shapes
from gateway.config import HttpConfig, WebhooksConfig
from gateway.export import Format
from gateway.registry import Patient
from gateway.revision import Revisions
from gateway.store import Refused
from gateway.store.sqlite import SqliteStore
from gateway.webhooks.signature import draw_secret, headers
from tests.gateway.people import NOW_MS, Clinic, nobodys
from tests.gateway.stations import (
    METER,
    MINUTE_MS,
    START_MS,
    STATION,
    accepted,
    glucose,
    pressure,
)
from tests.gateway.test_api import get, parts_of
from tests.gateway.test_people_api import Asking
from tests.gateway.test_webhooks import bury

_DOCS = Path(__file__).parents[2] / "docs"
_API = (_DOCS / "reference" / "api.md").read_text()
_PEOPLE = (_DOCS / "reference" / "people.md").read_text()
_RECEIVE = (_DOCS / "how-to" / "receive-webhooks.md").read_text()


def test_every_address_is_documented(store: SqliteStore) -> None:
    """And none that is not there."""
    served = {
        f"{method.upper()} {path}"
        for path, operations in api.build(parts_of(store)).openapi()["paths"].items()
        for method in operations
    }
    told = set(re.findall(r"`((?:GET|POST|PUT|DELETE) [^`?]+)`", _API))
    left_out = {one for one in served if one not in told}

    assert told - served == {"GET /"}
    for one in left_out:
        path = one.split()[1].removeprefix("/api/v1")
        path = re.sub(r"\{(?!reading\})\w+\}", "{id}", path)
        short = path.replace("/patients/{id}/consents", "…/consents")
        assert f" {path}`" in _PEOPLE or f" {short}`" in _PEOPLE, one


def test_every_field_is_documented() -> None:
    fields = {
        name
        for shape in (shapes.Reading, shapes.Whole, shapes.Value, shapes.Time)
        for name in shape.model_fields
    }
    assert {name for name in fields if f"`{name}`" not in _API} == set()
    columns = [*export._COLUMNS, *(f"{name}_text" for name in export._EXACT)]
    assert {name for name in columns if f"`{name}`" not in _API} == set()


@pytest.mark.parametrize("form", [*Format])
def test_every_format_is_documented(form: str) -> None:
    assert f"| `{form}` |" in _API


@pytest.mark.parametrize("section", [HttpConfig, WebhooksConfig])
def test_every_key_is_documented(section: type) -> None:
    configuration = (_DOCS / "reference" / "configuration.md").read_text()
    name = section.__name__.removesuffix("Config").lower()
    for key in section.__struct_fields__:
        assert f"| `[{name}]` `{key}` |" in configuration


def test_answers_are_as_the_document_says(store: SqliteStore) -> None:
    """Field by field; the shapes know no others."""
    store.commit([accepted(1, glucose(1), pressure(2, 120, 80, 60))])
    store.commit([accepted(2, glucose(1, status=("battery_low",)))])
    for station in (STATION, None):
        topic = "vw/1/anything/up/batch"
        store.commit([Refused(topic, station, b"?", bytes([not station] * 32), "?", 5)])
    Clinic(store).patient("P-1")
    bury(store)
    for path, shape, rows in (
        ("readings", shapes.Readings, 3),
        ("readings/1", shapes.Whole, None),
        ("amendments", shapes.Amendments, 1),
        ("devices", shapes.Devices, 2),
        ("quarantine", shapes.Quarantine, 2),
        ("webhooks", shapes.Webhooks, 3),
        ("webhooks/1", shapes.Webhook, None),
        ("webhooks/1/dead", shapes.DeadLetters, 1),
        ("webhooks/2/dead", shapes.DeadLetters, 1),
    ):
        answer = get(store, f"/api/v1/{path}")
        shape.model_validate_json(answer.content)
        listed = answer.json().get(path.split("/")[-1])
        assert (listed and len(listed)) == rows, path


def _program(name: str) -> Callable[..., object]:
    """Return a function of the page about receivers."""
    (program,) = (
        one
        for one in re.findall(r"```python\n(.*?)```", _RECEIVE, re.DOTALL)
        if f"def {name}(" in one
    )
    names: dict[str, Any] = {}
    exec(program, names)
    found: Callable[..., object] = names[name]
    return found


def test_the_receiver_of_the_docs_knows_the_gateway() -> None:
    """People copy it; one that lets others in would be worse than none."""
    verify = _program("verify")
    secret, body, now_s = draw_secret(), b'{"type":"readings.stored"}', int(time.time())
    right = headers(secret, "msg_1_0_2", now_s, body)

    verify(secret, right, body)
    rotated = right | {"webhook-signature": f"v1,AAAA {right['webhook-signature']}"}
    verify(secret, rotated, body)

    old = headers(secret, "msg_1_0_2", now_s - 301, body)
    for given, sent, said in (
        (secret, right, body + b" "),
        (draw_secret(), right, body),
        (secret, right | {"webhook-id": "msg_1_0_3"}, body),
        (secret, right | {"webhook-timestamp": str(now_s + 1)}, body),
        (secret, right | {"webhook-signature": "v1,é"}, body),
        (secret, right | {"webhook-signature": ""}, body),
        (secret, old, body),
    ):
        with pytest.raises(ValueError, match=r"signature|old"):
            verify(given, sent, said)


def test_the_receiver_of_the_docs_follows_what_changed_hands(
    store: SqliteStore,
) -> None:
    """Whatever the order of messages, it holds in the end what the gateway says."""
    clinic, revise = Clinic(store), _program("revise")
    times = [START_MS + minute * MINUTE_MS for minute in range(20)]
    clinic.send(*(nobodys(glucose(at, utc_ms=ms)) for at, ms in enumerate(times)))
    clinic.send(
        replace(nobodys(glucose(99)), utc_ms=None, time_method=0, time_bound_ms=None)
    )
    one, two = clinic.patient("P-1"), clinic.patient("P-2")
    _, token = clinic.token(Role.STEWARD)
    asked = Asking(clinic)

    def theirs(
        patient: str, since: str | None, until: str | None
    ) -> Iterator[dict[str, object]]:
        given = {"since": since, "until": until, "limit": "3"}
        which = {name: value for name, value in given.items() if value}
        page = {"more": True}
        while page["more"]:
            path = f"/patients/{patient}/readings"
            page = asked("GET", path, token, params=which).json()
            yield from page["readings"]
            which["after"] = page["next"]

    changes: list[Callable[[], object]] = [
        lambda: clinic.attribute(one, METER.id),
        lambda: clinic.attribute(two, METER.id, times[10], replaces=1),
        lambda: clinic.attribute(one, METER.id, times[3], times[8]),
        lambda: _claim(clinic, one, store.last()),
        lambda: clinic.attribute(one, METER.id, times[5], times[9], replaces=3),
        lambda: clinic.attribute(one, METER.id, times[15], replaces=2),
    ]
    held: dict[str, dict[str, object]] = {}
    for at, change in enumerate(changes):
        before = Revisions(store.database).last()
        change()
        made = Revisions(store.database).listed(before, 9)
        for revision in made if at % 2 else reversed(made):
            said = people.revision(revision)
            revise(held, said, theirs, frozenset())
        expected = {
            found["id"]: str(patient.id)
            for patient in (one, two)
            for found in theirs(str(patient.id), None, None)
        }
        assert {name: found["patient"] for name, found in held.items()} == expected
        assert expected


def test_the_receiver_of_the_docs_keeps_only_kinds_that_it_is_told_of() -> None:
    """Of another kind it would never be told that the reading went."""
    revise = _program("revise")
    answer = [
        {"id": str(at), "kind": kind, "time": {"utc": "2026-03-01T07:30:00.000Z"}}
        for at, kind in enumerate(("glucose", "blood-pressure"))
    ]
    revision = {"patient": "1", "since": None, "until": None, "reading": None}
    for kinds, kept in ((frozenset({"glucose"}), ["0"]), (frozenset(), ["0", "1"])):
        held: dict[str, dict[str, object]] = {}
        revise(held, revision, lambda *_: iter(answer), kinds)
        assert [*held] == kept


def _claim(clinic: Clinic, patient: Patient, reading: int) -> None:
    stored = clinic.chart.check_claim(patient, reading)
    with clinic.store.database.change() as change:
        clinic.chart.claim(change, stored, patient.id, "why", "desk", NOW_MS)


def test_the_signature_is_standard_webhooks() -> None:
    """By the values that its own libraries are tested with."""
    found = headers(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1_614_265_330,
        b'{"test": 2432232314}',
    )

    assert found["webhook-signature"] == (
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )

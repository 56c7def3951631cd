"""FHIR Subscriptions against a real receiver, told by the webhooks' own courier."""

import asyncio
from collections.abc import Iterator

import pytest

from gateway.access import LOCAL, Role
from gateway.chart import Chart
from gateway.erasure import Erasure
from gateway.fhir.subscription import SECRET
from gateway.webhooks import Webhooks
from gateway.webhooks.courier import Courier
from gateway.webhooks.message import Composer
from gateway.webhooks.target import Targets
from protocols.observation import Kind
from tests.gateway.fhir.clinic import BASE, Clinic
from tests.gateway.receiver import Receiver, deliver, receiver, status
from tests.gateway.stations import glucose, pressure


@pytest.fixture(params=["sqlite_store", "postgres_store"])
def clinic(request: pytest.FixtureRequest) -> Clinic:
    made = Clinic(request.getfixturevalue(request.param))
    made.arrive(glucose(1), pressure(1, 120, 80, 64))
    made.patient("P-0001", "meter-1", "cuff-1")
    return made


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with receiver() as found:
        yield found


def wanted(url: str, **more: object) -> dict[str, object]:
    return {
        "resourceType": "Subscription",
        "status": "requested",
        "reason": "to call those with high values",
        "criteria": "Observation?patient=Patient/1",
        "channel": {"type": "rest-hook", "endpoint": url},
    } | more


def subscribe(
    clinic: Clinic, url: str, by: str = "", **more: object
) -> dict[str, object]:
    answer = clinic.ask("Subscription", method="POST", by=by, json=wanted(url, **more))
    assert answer.status_code == 201, answer.text
    made = dict(answer.json())
    assert answer.headers["location"] == f"{BASE}/Subscription/{made['id']}"
    return made


def tell(clinic: Clinic) -> None:
    """Let the courier do what is due now."""
    courier = Courier(
        Webhooks(clinic.store.database),
        Composer(clinic.store, clinic.registry, clinic.access),
        clinic.access,
        Targets(("127.0.0.0/8",)),
        give_up_ms=86_400_000,
        now_ms=lambda: clinic.now_ms,
        chance=lambda: 1.0,
    )
    asyncio.run(deliver(courier))


def test_a_subscriber_is_told_and_then_finds(clinic: Clinic, hook: Receiver) -> None:
    """The whole round: subscribe, be told without values, search."""
    made = subscribe(clinic, hook.url)
    assert made["status"] == "active"
    clinic.arrive(glucose(2))

    tell(clinic)

    (call,) = hook.calls
    assert b"5.50" not in call.body, "no value leaves without a search"
    (number,) = call.ids
    assert clinic.ids(f"Observation?patient=1&_id={number}-glucose") == [
        f"{number}-glucose"
    ]


def test_a_code_tells_of_its_kinds_only(clinic: Clinic, hook: Receiver) -> None:
    subscribe(clinic, hook.url, criteria="Observation?patient=1&code=85354-9")
    clinic.arrive(glucose(2))
    clinic.arrive(pressure(2, 150, 95, 70))

    tell(clinic)

    assert [
        clinic.store.reading(int(one)).reading.observation.kind for one in hook.ids
    ] == [Kind.BLOOD_PRESSURE]


def test_a_subscription_is_served_as_a_valid_resource(
    clinic: Clinic, hook: Receiver
) -> None:
    made = subscribe(clinic, hook.url)

    found = clinic.found(f"Subscription/{made['id']}")

    assert found["criteria"] == "Observation?patient=Patient/1"
    assert found["channel"] == {"type": "rest-hook", "endpoint": hook.url}
    assert "extension" not in found, "the secret is shown once"
    assert made["extension"][0]["url"] == SECRET
    assert clinic.ids("Subscription") == [made["id"]]


def test_a_subscription_that_fails_says_so(clinic: Clinic, hook: Receiver) -> None:
    hook.answer = lambda asked: status(asked, 500)
    made = subscribe(clinic, hook.url)
    clinic.arrive(glucose(2))

    tell(clinic)

    found = clinic.found(f"Subscription/{made['id']}")
    assert (found["status"], found["error"]) == ("error", "answered 500")


def test_a_subscription_that_was_ended_tells_nothing(
    clinic: Clinic, hook: Receiver
) -> None:
    made = subscribe(clinic, hook.url)
    ended = clinic.ask(f"Subscription/{made['id']}", method="DELETE")
    clinic.arrive(glucose(2))

    tell(clinic)

    assert ended.status_code == 204
    assert hook.calls == []
    assert clinic.refusal(f"Subscription/{made['id']}")[0] == 404


@pytest.mark.parametrize("by", ["removal", "erasure"])
def test_nothing_of_a_subscription_outlives_its_webhook(
    clinic: Clinic, hook: Receiver, by: str
) -> None:
    """Its criteria name a patient."""
    number = int(str(subscribe(clinic, hook.url)["id"]))
    patient = clinic.registry.patient(1)
    assert patient is not None

    if by == "removal":
        with clinic.store.database.change() as change:
            Webhooks(clinic.store.database).remove(change, number)
    else:
        chart = Chart(clinic.store, clinic.registry)
        Erasure(clinic.store, chart, clinic.access).erase(LOCAL, patient)

    for table in ("subscription", "stretch", "webhook"):
        assert clinic.store.database.rows(f"SELECT * FROM {table}") == []


def test_a_readers_subscription_ends_with_the_consent(
    clinic: Clinic, hook: Receiver
) -> None:
    """That something came is news of a patient too."""
    now_ms = clinic.now_ms
    clinic.reader("study", 1, expires_ms=now_ms + 1_000)
    subscribe(clinic, hook.url, by="study")
    clinic.now_ms = now_ms + 1_000
    clinic.arrive(glucose(2))

    tell(clinic)

    assert hook.calls == []


def test_who_may_not_see_a_patient_may_not_subscribe(
    clinic: Clinic, hook: Receiver
) -> None:
    clinic.reader("insurer")
    clinic.token("operator", Role.OPERATOR)
    clinic.token("far", Role.STEWARD, tenant="elsewhere")

    for by in ("insurer", "operator", "far"):
        answer = clinic.refusal(
            "Subscription", method="POST", by=by, json=wanted(hook.url)
        )
        assert answer[0] == 403


def test_a_subscription_is_its_owners_alone(clinic: Clinic, hook: Receiver) -> None:
    clinic.reader("study", 1)
    clinic.reader("insurer", 1)
    made = subscribe(clinic, hook.url, by="study")

    assert clinic.ids("Subscription", by="insurer") == []
    for method in ("GET", "DELETE"):
        answer = clinic.refusal(
            f"Subscription/{made['id']}", by="insurer", method=method
        )
        assert answer[0] == 404


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"resourceType": "Patient"}, "no Subscription"),
        ({"status": "active"}, "status has to be requested"),
        ({"reason": " "}, "reason has to say"),
        ({"criteria": "Observation?code=85354-9"}, "criteria has to be"),
        ({"criteria": "Patient?_id=1"}, "criteria has to be"),
        ({"criteria": "Observation?patient=1&date=2026"}, "criteria has to be"),
        ({"criteria": "Observation?patient=1,2"}, "has to name one patient"),
        ({"criteria": "Observation?patient=x"}, "has to name one patient"),
        ({"criteria": "Observation?patient=1&code=9-9"}, "ever has such a code"),
        ({"end": "2030-01-01T00:00:00Z"}, "end is not kept"),
        ({"channel": {"type": "email"}}, "channel.type has to be rest-hook"),
        (
            {"channel": {"type": "rest-hook", "endpoint": "ftp://x"}},
            "channel.endpoint is no URL",
        ),
        (
            {
                "channel": {
                    "type": "rest-hook",
                    "endpoint": "https://x.example/",
                    "payload": "application/fhir+json",
                }
            },
            "channel.payload is not sent",
        ),
    ],
)
def test_a_subscription_that_cannot_be_kept_is_refused(
    clinic: Clinic, changed: dict[str, object], text: str
) -> None:
    """What would be dropped in silence would be relied upon."""
    body = wanted("https://clinic.example/hook", **changed)
    status_code, said = clinic.refusal("Subscription", method="POST", json=body)

    assert status_code == 422
    assert text in said


def test_what_is_no_json_is_refused(clinic: Clinic) -> None:
    for body in (b"{", b"\xff", b"[" * 70_000):
        answer = clinic.refusal("Subscription", method="POST", content=body)
        assert answer[0] in {400, 413}

"""The API against its own OpenAPI document, by requests made of the document."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    positive_data_acceptance,
    response_schema_conformance,
    status_code_conformance,
)

from gateway import api
from gateway.access import LOCAL, Access, Principal, Role
from gateway.fhir.search import PARAMETERS
from gateway.live import Live
from gateway.metrics import Metrics
from gateway.registry import Registry
from gateway.store import Refused
from gateway.store.sqlite import SqliteStore
from tests.gateway.people import Clinic
from tests.gateway.stations import STATION, accepted, glucose, pressure
from tests.gateway.test_people_api import case
from tests.gateway.test_webhooks import bury

_DAY_MS = 86_400_000
_EXAMPLES = 30
_DOCUMENT = "/api/v1/openapi.json"
_METHODS = ("get", "post", "put", "delete")


@dataclass
class Way:
    """A way in where all is well."""

    connected: bool = True
    commit_good: bool = True
    working: bool = True


@pytest.fixture
def served(store: SqliteStore) -> tuple[FastAPI, str]:
    """An API with something in every list, and a token for all of it."""
    case(Clinic(store))
    store.commit([accepted(101, *[glucose(number) for number in range(20)])])
    store.commit([accepted(102, glucose(1, "7.1"), pressure(3, 120, 80, 60))])
    store.commit([accepted(103, pressure(3, 120, 80, 61))])
    store.commit([accepted(104, glucose(1, status=("battery_low",)))])
    store.commit([Refused(STATION.up("batch"), STATION, b"\xff", b"d" * 32, "bad", 5)])
    bury(store)
    access = Access(store.database, open_local=False)
    both = frozenset({Role.OPERATOR, Role.STEWARD})
    with access.recorded(LOCAL, "token.made") as change:
        made = access.principals.issue(
            change,
            Principal(0, "", "tester", both),
            time.time_ns() // 1_000_000 + _DAY_MS,
        )
    assert made is not None
    live = Live(each=0)  # a stream has no end: it answers that it has enough
    parts = api.Parts(store, Way(), live, Metrics(), access, Registry(store.database))
    return api.build(parts), made[1]


def _of_the_first(case: schemathesis.Case) -> schemathesis.Case:
    """Ask for what is there: of a number drawn from all numbers nothing is."""
    name = "1-glucose" if "/Observation/" in case.path else "1"
    case.path_parameters = dict.fromkeys(case.path_parameters, name)
    return case


def faults(
    document: schemathesis.BaseSchema, headers: dict[str, str], **more: object
) -> list[str]:
    """Ask each operation of a document; return what does not hold.

    What takes something away comes last. A list that never had anything in it does not
    hold either: it is as any document says.
    """
    found, shown = [], dict[str, bool]()
    operations = [one.ok() for one in document.get_all_operations()]
    for operation in sorted(operations, key=lambda one: _METHODS.index(one.method)):
        asked = [operation.as_strategy(generation_mode=mode) for mode in GenerationMode]
        if operation.method == "get":
            asked.append(operation.as_strategy().map(_of_the_first))
            told = operation.definition.raw["responses"]["200"].get("content", {})
            if any("json" in one and "ndjson" not in one for one in told):
                shown[operation.label] = False

        @seed(1)
        @settings(
            max_examples=_EXAMPLES,
            deadline=None,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=st.one_of(asked))
        def ask(case: schemathesis.Case) -> None:
            answer = case.call_and_validate(headers=headers, **more)
            label = case.operation.label
            if label in shown and answer.status_code == 200:
                shown[label] |= _shows(answer.json())

        try:
            ask()
        except (FailureGroup, ExceptionGroup) as fault:
            found.append(f"{operation.label}: {fault}")
    return found + [f"{label}: showed nothing" for label, it in shown.items() if not it]


def _shows(answer: dict[str, Any]) -> bool:
    """Whether there is anything in an answer, if it is a list."""
    if answer.get("resourceType") == "Bundle":
        return bool(answer.get("entry"))
    is_list = "next" in answer or len(answer) == 1
    return not (is_list and [] in answer.values())


def test_every_answer_is_as_the_document_says(served: tuple[FastAPI, str]) -> None:
    """Statuses, media types and shapes; and no request makes the gateway stumble."""
    web, token = served
    headers = {"Host": "127.0.0.1", "Authorization": f"Bearer {token}"}
    document = schemathesis.openapi.from_asgi(_DOCUMENT, web, headers=headers)

    # What a schema can't say is refused with 400 too: whose cursor it is, what is
    # there, when a token ends.
    found = faults(document, headers, excluded_checks=[positive_data_acceptance])

    assert not found, "\n\n".join(found)


def _fhir() -> dict[str, Any]:
    """Return a document of the FHIR addresses, made of what can be searched by."""
    resource = {"type": "object", "required": ["resourceType"]}
    answers = {
        status: {
            "description": "a resource, or an OperationOutcome",
            "content": {"application/fhir+json": {"schema": resource}},
        }
        for status in ("200", "201", "400", "401", "403", "404", "406", "415", "422")
    }
    text = {"schema": {"type": "string"}}

    def get(names: Sequence[str], place: str) -> dict[str, Any]:
        asked = [
            {"name": name, "in": place, "required": place == "path", **text}
            for name in names
        ]
        return {"get": {"parameters": asked, "responses": answers}}

    paths: dict[str, Any] = {"/fhir/R4/metadata": get([], "query")}
    for kind, parameters in PARAMETERS.items():
        names = [parameter.name for parameter in parameters]
        more = ("_count", "_sort", "_cursor", "_format", "_elements")
        paths[f"/fhir/R4/{kind}"] = get([*names, *more], "query")
        paths[f"/fhir/R4/{kind}/{{name}}"] = get(["name"], "path")
    posted = {"content": {"application/fhir+json": {"schema": {"type": "object"}}}}
    paths["/fhir/R4/Subscription"] = {
        "post": {"requestBody": posted, "responses": answers}
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "FHIR", "version": "R4"},
        "paths": paths,
    }


def test_fhir_answers_whatever_is_asked_with_a_resource(
    served: tuple[FastAPI, str],
) -> None:
    """Its own document is the CapabilityStatement; this one is made for the test."""
    web, token = served
    headers = {"Host": "127.0.0.1", "Authorization": f"Bearer {token}"}
    document = schemathesis.openapi.from_dict(_fhir())
    document.app = web

    found = faults(
        document,
        headers,
        checks=[
            not_a_server_error,
            content_type_conformance,
            response_schema_conformance,
            status_code_conformance,
        ],
        base_url="http://127.0.0.1",
    )

    assert not found, "\n\n".join(found)

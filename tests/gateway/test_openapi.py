"""The API against its own OpenAPI document, by requests made of the document."""

import time
from collections.abc import Iterator, Sequence
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
from tests.gateway.stations import STATION, accepted, glucose, pressure

_DAY_MS = 86_400_000
_EXAMPLES = 30
_DOCUMENT = "/api/v1/openapi.json"


@dataclass
class Way:
    """A way in where all is well."""

    connected: bool = True
    commit_good: bool = True
    working: bool = True


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[FastAPI, str]]:
    """An API with something in every list, and a token for all of it."""
    store = SqliteStore(tmp_path_factory.mktemp("openapi") / "readings.sqlite")
    store.commit([accepted(1, *[glucose(number) for number in range(20)])])
    store.commit([accepted(2, glucose(1, "7.1"), pressure(3, 120, 80, 60))])
    store.commit([Refused(STATION.up("batch"), STATION, b"\xff", b"d" * 32, "bad", 5)])
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
    yield api.build(parts), made[1]
    store.close()


def faults(
    document: schemathesis.BaseSchema, headers: dict[str, str], **more: object
) -> list[str]:
    """Ask each operation of a document; return what does not hold."""
    found = []
    for one in document.get_all_operations():
        operation = one.ok()

        @seed(1)
        @settings(
            max_examples=_EXAMPLES,
            deadline=None,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(
            case=st.one_of(
                operation.as_strategy(generation_mode=mode) for mode in GenerationMode
            )
        )
        def ask(case: schemathesis.Case) -> None:
            case.call_and_validate(headers=headers, **more)

        try:
            ask()
        except (FailureGroup, ExceptionGroup) as fault:
            found.append(f"{operation.label}: {fault}")
    return found


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

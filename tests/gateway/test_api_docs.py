"""What the pages on the HTTP interface say, held against the interface."""

import re
import time
from pathlib import Path

import pytest

from gateway import api, export
from gateway.api import shapes
from gateway.config import HttpConfig, WebhooksConfig
from gateway.export import Format
from gateway.store.sqlite import SqliteStore
from gateway.webhooks.signature import draw_secret, headers
from tests.gateway.stations import accepted, glucose, pressure
from tests.gateway.test_api import get, parts_of

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
    for path, shape in (
        ("readings", shapes.Readings),
        ("readings/1", shapes.Whole),
        ("amendments", shapes.Amendments),
        ("devices", shapes.Devices),
        ("quarantine", shapes.Quarantine),
        ("webhooks", shapes.Webhooks),
    ):
        shape.model_validate_json(get(store, f"/api/v1/{path}").content)


def test_the_receiver_of_the_docs_knows_the_gateway() -> None:
    """People copy it; one that lets others in would be worse than none."""
    (program,) = re.findall(r"```python\n(.*?)```", _RECEIVE, re.DOTALL)
    names: dict[str, object] = {}
    exec(program, names)
    verify = names["verify"]
    secret, body, now_s = draw_secret(), b'{"type":"readings.stored"}', int(time.time())
    right = headers(secret, "msg_1_0_2", now_s, body)

    verify(secret, right, body)  # type: ignore[operator]
    rotated = right | {"webhook-signature": f"v1,AAAA {right['webhook-signature']}"}
    verify(secret, rotated, body)  # type: ignore[operator]

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
            verify(given, sent, said)  # type: ignore[operator]


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

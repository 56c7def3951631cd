"""One patient, one device, named as nobody else: neither is in any log or figure."""

import json
import os
import re
import signal
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import httpx
import pytest

from gateway.store import StoreRefused, StoreUnavailable
from gateway.store.postgres import PostgresStore
from gateway.store.sqlite import SqliteStore
from protocols.observation import (
    Device,
    Kind,
    Observation,
    Quantity,
    Reading,
    Unit,
    Value,
)
from protocols.uplink.topics import Station
from tests.gateway.stations import eventually, glucose, message, sender
from tests.gateway.test_serve import serving
from tests.gateway.test_tracing import Collector, collector

__all__ = ["collector"]

_MARK = "zQ7canary"
_DEVICE = Device(
    f"device-{_MARK}", f"maker-{_MARK}", f"model-{_MARK}", f"serial-{_MARK}", _MARK
)
_NUMBER = "61.987654"
_REFUSED = re.compile(r'vitalwire_messages_total\{kind="refused"\} (\d+)')
# As text, as in hex dumps, and as the number that was measured.
_TRACES = (_MARK, _MARK.encode().hex(), _NUMBER)


def canary(sequence: int, status: str = f"status-{_MARK}") -> Reading:
    """Return a reading whose every text is the canary's."""
    value = Value(Quantity.GLUCOSE, Unit.MG_PER_DL, Decimal(_NUMBER))
    seen = Observation(
        kind=Kind.GLUCOSE,
        values=(value,),
        sequence=sequence,
        status=(status,),
        context=(("sample", f"sample-{_MARK}"),),
        raw=(_MARK.encode(),),
    )
    return replace(
        glucose(sequence, device=_DEVICE),
        observation=seen,
        person=f"person-{_MARK}",
        evidence=(("card", _MARK),),
    )


def hostile() -> Iterator[tuple[str, bytes]]:
    """Yield messages that are refused, each with the canary in another place."""
    good = message(9, canary(9))
    up = Station("clinic", "station-1").up("batch")
    yield up, _MARK.encode() * 9
    yield up, good[:-7]
    yield up, good[:40] + b"\xff" + good[40:]
    yield up, good + _MARK.encode()
    yield f"vw/1/clinic/{_MARK}_here/up/batch", good
    yield f"vw/1/clinic/station-1/up/event/{_MARK}", good
    yield Station("clinic", "station-1").up("event"), _MARK.encode()
    yield Station("clinic", "station-1").up("status"), _MARK.encode()
    yield Station("clinic", "station-1").up("status"), _MARK.encode() * 999
    yield Station("clinic", "other").up("batch"), good


def ask_all(url: str) -> None:
    """Ask the API for the canary in every way, right and wrong; make it a patient."""
    patient = {
        "tenant": "clinic", "name": f"P-{_MARK}", "family": f"family-{_MARK}",
        "given": f"given-{_MARK}", "birth_date": "1931-05-07",
        "identifiers": [{"system": f"urn:{_MARK}", "value": _MARK}],
    }  # fmt: skip
    with httpx.Client(base_url=url, headers={"X-Asked": _MARK}) as client:
        for path in (
            "api/v1/readings", f"api/v1/readings?device=device-{_MARK}",
            "api/v1/readings/1", f"api/v1/readings?kind={_MARK}",
            f"api/v1/readings/{_MARK}", f"api/v1/readings?after={_MARK}",
            f"api/v1/readings?since={_MARK}", f"api/v1/readings?{_MARK}=1",
            "api/v1/devices", "api/v1/quarantine", "api/v1/amendments",
            f"api/v1/{_MARK}", f"{_MARK}", "api/v1/readings/export?format=csv",
            f"api/v1/patients?family=family-{_MARK}", "api/v1/unassigned",
            f"fhir/R4/Patient?name={_MARK}", f"fhir/R4/Observation?device={_MARK}",
            f"fhir/R4/Patient/{_MARK}", "fhir/R4/Observation", "fhir/R4/Device",
            "api/v1/audit",
        ):  # fmt: skip
            client.get(path)
        made = client.post("api/v1/patients", json=patient)
        client.post("api/v1/patients", json=patient)
        client.post("api/v1/patients", json=patient | {_MARK: _MARK})
        client.post("api/v1/patients", content=_MARK)
        assert made.status_code in {201, 422}, made.text
        client.get("api/v1/readings", headers={"Authorization": f"Bearer vw_{_MARK}"})
        client.get("api/v1/live", headers={"Last-Event-ID": _MARK})
        client.post("api/v1/webhooks", json={"url": f"https://{_MARK}.example/"})


def test_nobodys_name_or_value_is_in_logs_metrics_or_traces(
    tmp_path: Path, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Logs are kept for years, and read by people who may not know who is ill."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    with serving(tmp_path, "--json") as (process, line):
        said = json.loads(line)
        with sender(said["mqtt_port"]) as station:
            good = message(1, canary(1), canary(2))
            for payload in (
                good, good, message(2, canary(2), canary(3)),
                message(3, canary(1, f"another-{_MARK}")), message(1, canary(8)),
            ):  # fmt: skip
                station.entry(station.send(payload))
            refused = [station.send(sent, topic=topic) for topic, sent in hostile()]
            station.entry(refused[1])
            ask_all(said["http"])

            def shown() -> str:
                return httpx.get(f"{said['http']}metrics").text

            def refusals() -> int:
                return int(_REFUSED.findall(shown())[0])

            # The topic of events, and one below it, nobody subscribes to.
            assert eventually(lambda: refusals() == len([*hostile()]) - 3)
            metrics = shown()
            found = httpx.get(f"{said['http']}api/v1/readings").text
        process.send_signal(signal.SIGTERM)
        out, logs = process.communicate(timeout=20)

    assert _MARK in found
    assert _NUMBER in found, "the canary was there to be seen"
    assert 'vitalwire_readings_total{result="amended"} 1.0' in metrics
    events = [json.loads(one)["event"] for one in logs.splitlines()]
    assert {"batch.stored", "message.quarantined", "station.forked"} <= {*events}
    assert len(collector.spans) >= 5 * 5
    traces = collector.bytes.decode("latin-1")
    told = {"logs": logs + out, "metrics": metrics, "traces": traces}
    for name, text in told.items():
        for trace in _TRACES:
            assert trace not in text, name


@pytest.mark.integration
@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
def test_what_a_store_says_of_an_error_quotes_no_value(
    request: pytest.FixtureRequest, engine: str
) -> None:
    """PostgreSQL tells the whole row in its DETAIL; its text would go into the log."""
    store: SqliteStore | PostgresStore = request.getfixturevalue(f"{engine}_store")
    insert = (
        "INSERT INTO station (tenant, station, first_seen_ms, last_seen_ms) "
        "VALUES (:tenant, :station, 1, 1)"
    )
    wrong = (
        (insert, {"tenant": "a", "station": _MARK}),
        (insert, {"tenant": _MARK, "station": None}),
        (f"SELECT * FROM {_MARK}", {}),
    )
    texts = []
    for sql, values in wrong:
        try:
            for _ in range(2):
                with store.database.change() as change:
                    change.rows(sql, **values)
        except (StoreRefused, StoreUnavailable) as error:
            texts.append(str(error))
    assert len(texts) == len(wrong)
    assert not [text for text in texts[:2] if _MARK in text]


def test_no_file_beside_the_store_holds_the_canary(tmp_path: Path) -> None:
    """The broker's log and what it keeps lie in the same folder as the store."""
    with serving(tmp_path, "--json") as (process, line):
        with sender(json.loads(line)["mqtt_port"]) as station:
            station.entry(station.send(message(1, canary(1))))
            bad = station.send(_MARK.encode() * 9)
            station.entry(bad)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
    holding = {
        Path(folder, name).relative_to(tmp_path).as_posix()
        for folder, _, names in os.walk(tmp_path)
        for name in names
        if _MARK.encode() in Path(folder, name).read_bytes()
    }
    assert not [one for one in holding if one.endswith((".log", "lock", "-id"))]

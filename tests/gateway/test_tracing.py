"""Traces, as a collector gets them: over HTTP, in OTLP's protobuf."""

import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from threading import enumerate as enumerate_threads

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from gateway import tracing
from gateway.config import Config, TelemetryConfig, check
from gateway.tracing import Passage
from protocols.config import ConfigError
from protocols.uplink.topics import Station
from tests.gateway.stations import eventually

_START_NS = 1_772_350_200_000_000_000
_MS = 1_000_000


class Collector(ThreadingHTTPServer):
    """Takes what an OTLP/HTTP exporter sends, and decodes it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Receiver)
        self.requests: list[ExportTraceServiceRequest] = []
        self.bytes = b""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def spans(self) -> list[Span]:
        return [
            span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


class _Receiver(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert self.path == "/v1/traces"
        self.server.requests.append(ExportTraceServiceRequest.FromString(body))
        self.server.bytes += body
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_args: object) -> None:
        """Say nothing on the test's standard error."""


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    for name in (*tracing._ENDPOINTS, "OTEL_TRACES_SAMPLER", "OTEL_SDK_DISABLED"):
        monkeypatch.delenv(name, raising=False)
    found = Collector()
    thread = Thread(target=found.serve_forever, args=(0.02,))
    thread.start()
    yield found
    found.shutdown()
    thread.join()
    found.server_close()


def passage(counter: int) -> Passage:
    at_ns = [_START_NS + step * _MS for step in (0, 3, 4, 5, 25, 26)]
    return Passage(Station("clinic", "station-1"), counter, 812, 256, 250, *at_ns)


def test_a_batch_is_one_trace_with_its_steps(collector: Collector) -> None:
    """Where a batch spent its time must be seen, to the ns that was noted."""
    found = tracing.start(TelemetryConfig(otlp_endpoint=collector.url))
    assert found is not None
    found.tell([passage(7), passage(8)])
    found.close()

    roots = [span for span in collector.spans if not span.parent_span_id]
    assert len({span.trace_id for span in roots}) == 2
    first = next(span for span in roots if span.attributes[2].value.int_value == 7)
    assert first.name == "batch"
    assert first.kind == Span.SPAN_KIND_CONSUMER
    told = {
        one.key: one.value.string_value or one.value.int_value
        for one in first.attributes
    }
    assert told == {
        "vitalwire.tenant": "clinic", "vitalwire.station": "station-1",
        "vitalwire.counter": 7, "vitalwire.bytes": 812,
        "vitalwire.readings": 256, "vitalwire.readings.new": 250,
    }  # fmt: skip
    steps = {
        span.name: (
            (span.start_time_unix_nano - _START_NS) // _MS,
            (span.end_time_unix_nano - _START_NS) // _MS,
        )
        for span in collector.spans
        if span.trace_id == first.trace_id
    }
    assert steps == {
        "batch": (0, 26), "wait": (0, 3), "decode": (3, 4), "commit": (5, 25),
        "receipt": (25, 26),
    }  # fmt: skip
    children = [span for span in collector.spans if span.parent_span_id]
    assert {span.parent_span_id for span in children} == {r.span_id for r in roots}
    resource = collector.requests[0].resource_spans[0].resource
    assert ("service.name", "vitalwire-gateway") in {
        (one.key, one.value.string_value) for one in resource.attributes
    }


def test_the_standard_variables_are_heard(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cluster sets them for all that runs in it."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    found = tracing.start(TelemetryConfig())
    assert found is not None
    found.tell([passage(1)])
    found.close()
    assert len(collector.spans) == 5

    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert tracing.start(TelemetryConfig()) is None


def test_only_a_share_of_batches_is_traced_if_wanted(collector: Collector) -> None:
    found = tracing.start(TelemetryConfig(otlp_endpoint=collector.url, sample=0.1))
    assert found is not None
    found.tell(passage(number) for number in range(400))
    found.close()

    roots = [span for span in collector.spans if not span.parent_span_id]
    assert 5 < len(roots) < 100, "the share is drawn, so only about a tenth"
    assert len(collector.spans) == 5 * len(roots)


@pytest.mark.usefixtures("collector")
def test_a_collector_that_is_gone_holds_nobody_up() -> None:
    """Readings matter more than what is told of them."""
    found = tracing.start(TelemetryConfig(otlp_endpoint="http://127.0.0.1:1"))
    assert found is not None
    started_s = time.monotonic()
    found.tell(passage(number) for number in range(5_000))
    assert time.monotonic() - started_s < 10
    started_s = time.monotonic()
    found.close()
    assert time.monotonic() - started_s < 3
    assert eventually(
        lambda: not any("Otel" in one.name for one in enumerate_threads())
    )


def test_off_is_the_default_and_loads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who wants no traces pays for none."""
    code = (
        "import sys; from gateway import tracing\n"
        "from gateway.config import TelemetryConfig\n"
        "found = tracing.start(TelemetryConfig())\n"
        "print(found, [n for n in sys.modules if n.startswith('opentelemetry')])"
    )
    for name in tracing._ENDPOINTS:
        monkeypatch.delenv(name, raising=False)
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert ended.stdout == "None []\n"


def test_an_endpoint_that_is_no_url_is_refused() -> None:
    """Traces that go nowhere are missed on the day they are needed."""
    config = Config(telemetry=TelemetryConfig(otlp_endpoint="collector:4318"))
    with pytest.raises(ConfigError, match=r"telemetry\.otlp_endpoint 'collector:4318'"):
        check(config)

"""Traces along a reading's way, told by OpenTelemetry; off unless a place is named.

    batch ── received to receipted
      ├─ wait     in the queue
      ├─ decode
      ├─ commit   with all that was committed together with it
      └─ receipt

A batch is one trace. Its spans are made from times that were noted on the way, after
the receipt has gone: nothing that a station waits for waits for them. They hold the
station, the batch's counter and sizes, and nothing of what was measured.

Source: OpenTelemetry specification 1.x, OTLP/HTTP and the variables OTEL_*.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from threading import Thread
from typing import TYPE_CHECKING

from gateway.config import TelemetryConfig
from protocols.uplink.topics import Station

if TYPE_CHECKING:  # nobody pays for the import who traces nothing
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Tracer

_PATH = "/v1/traces"
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_TIMEOUTS = ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT")
_TIMEOUT_S = 2.0
_CLOSE_S = 1.0  # by which a collector that is gone can hold up our end


@dataclass(frozen=True, slots=True)
class Passage:
    """When one batch was where on its way, in ns since 1970 UTC by this machine.

    Attributes:
        station: Whose batch it is.
        counter: Its number.
        size: Its bytes.
        readings: How many readings it holds.
        new: How many of them were stored by it.
        received_ns: When it came from the broker.
        decoding_ns: When it was taken from the queue.
        decoded_ns: When it was decoded.
        committing_ns: When its commit began.
        committed_ns: When it was durable.
        receipted_ns: When its receipt was handed to the broker.
    """

    station: Station
    counter: int
    size: int
    readings: int
    new: int
    received_ns: int
    decoding_ns: int
    decoded_ns: int
    committing_ns: int
    committed_ns: int
    receipted_ns: int


class Tracing:
    """Sends the traces of batches to a collector.

    Args:
        provider: Where spans go; it is shut down with this object.
        exporter: What sends them.
    """

    def __init__(self, provider: "TracerProvider", exporter: "SpanExporter") -> None:
        self._provider, self._exporter = provider, exporter
        self._tracer: Tracer = provider.get_tracer("vitalwire.gateway")

    def tell(self, passages: Iterable[Passage]) -> None:
        """Make the spans of batches; a collector that is gone costs only those."""
        for passage in passages:
            self._tell(passage)

    def close(self) -> None:
        """Send what is left, for a second at most."""
        ending = Thread(target=self._provider.shutdown, daemon=True)
        ending.start()
        ending.join(_CLOSE_S)
        if ending.is_alive():
            self._exporter.shutdown()  # else it goes on trying behind our back

    def _tell(self, passage: Passage) -> None:
        from opentelemetry.trace import SpanKind, set_span_in_context  # noqa: PLC0415

        root = self._tracer.start_span(
            "batch", kind=SpanKind.CONSUMER, start_time=passage.received_ns
        )
        if root.is_recording():
            root.set_attributes({
                "vitalwire.tenant": passage.station.tenant,
                "vitalwire.station": passage.station.station,
                "vitalwire.counter": passage.counter,
                "vitalwire.bytes": passage.size,
                "vitalwire.readings": passage.readings,
                "vitalwire.readings.new": passage.new,
            })  # fmt: skip
            within = set_span_in_context(root)
            for name, start_ns, end_ns in (
                ("wait", passage.received_ns, passage.decoding_ns),
                ("decode", passage.decoding_ns, passage.decoded_ns),
                ("commit", passage.committing_ns, passage.committed_ns),
                ("receipt", passage.committed_ns, passage.receipted_ns),
            ):
                step = self._tracer.start_span(name, within, start_time=start_ns)
                step.end(end_ns)
        root.end(passage.receipted_ns)


@contextmanager
def running(config: TelemetryConfig) -> Iterator[Tracing | None]:
    """Trace until the block ends, if `start` finds that somebody wants to know."""
    found = start(config)
    try:
        yield found
    finally:
        if found is not None:
            found.close()


def start(config: TelemetryConfig) -> Tracing | None:
    """Begin to trace, if the settings or the variables OTEL_* name a collector.

    Args:
        config: Its endpoint stands before the variables'; its share of traced
            batches behind OTEL_TRACES_SAMPLER.

    Returns:
        Where to tell of batches; None where nobody wants to know.
    """
    env = os.environ
    if env.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    if not (config.otlp_endpoint or any(env.get(name) for name in _ENDPOINTS)):
        return None
    # Slow to import.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
        OTLPSpanExporter,
    )
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider, sampling  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    told = any(env.get(name) for name in _TIMEOUTS)
    share = sampling.ParentBasedTraceIdRatio(config.sample)
    provider = TracerProvider(
        sampler=None if env.get("OTEL_TRACES_SAMPLER") else share,
        resource=Resource.create({
            "service.name": env.get("OTEL_SERVICE_NAME") or "vitalwire-gateway",
            "service.version": _version(),
        }),
        shutdown_on_exit=False,
    )  # fmt: skip
    exporter = OTLPSpanExporter(
        _traces(config.otlp_endpoint), timeout=None if told else _TIMEOUT_S
    )
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return Tracing(provider, exporter)


def _traces(endpoint: str) -> str | None:
    """Return the URL for traces of a collector's; None is for the variables'."""
    if not endpoint or endpoint.endswith(_PATH):
        return endpoint or None
    return endpoint.rstrip("/") + _PATH


def _version() -> str:
    try:
        return version("vitalwire")
    except PackageNotFoundError:  # run from its source
        return "unknown"

"""What the gateway counts, for Prometheus. No label names a person or a device."""

from importlib.metadata import PackageNotFoundError, version

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
)

from gateway.delays import Delays

_SECONDS = (0.0001, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5)
_SIZES = (1, 4, 16, 64, 256, 1_024, 4_096, 16_384, 65_536)


class Metrics:
    """All figures of one gateway, in a registry of its own.

    What the store holds is added by `gateway.census`.

    Attributes:
        registry: What ``/metrics`` shows.
        messages: Messages received, by ``kind``: batch, status, refused.
        readings: Readings by ``result``: stored, duplicate, amended, withheld.
        delays: How long readings took from capture until they were stored.
        forks: Batches under a counter that the station used before.
        retries: Commits that failed and were tried again.
        receipts: Batches and messages that were receipted, by ``result``.
        shed: Messages left to be delivered again, by ``reason``.
        queue: Messages that wait for the store.
        queue_age_s: How long the oldest of them has waited, in s.
        unsent_receipt_s: How long the oldest receipt waits for the broker, in s.
        decode_s: How long opening and decoding one message took, in s.
        commit_s: How long a commit took, in s.
        commit_readings: How many readings a commit brought.
        connected: 1 while subscribed at the broker.
        commit_good: 1 while the last commit went through, and none takes long.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.messages = self._counter("messages", "Messages received", "kind")
        self.readings = self._counter("readings", "Readings received", "result")
        self.delays = Delays(
            "vitalwire_reading_delay_seconds", "From capture to the end of the commit"
        )
        self.registry.register(self.delays)
        self.forks = self._counter("forks", "Batches under a counter used before")
        self.retries = self._counter("commit_retries", "Commits that failed")
        self.receipts = self._counter("receipts", "Messages receipted", "result")
        self.shed = self._counter("shed_messages", "Messages put off", "reason")
        self.queue = self._gauge("queue_messages", "Messages that wait")
        self.queue_age_s = self._gauge("queue_oldest_seconds", "The oldest one's wait")
        self.unsent_receipt_s = self._gauge(
            "receipt_oldest_unsent_seconds", "The wait of the oldest unsent receipt"
        )
        self.decode_s = self._histogram("decode_seconds", "Decoding a message")
        self.commit_s = self._histogram("commit_seconds", "How long a commit took")
        self.commit_readings = self._histogram(
            "commit_readings", "Readings in a commit", _SIZES
        )
        self.connected = self._gauge("broker_connected", "1 while subscribed")
        self.commit_good = self._gauge("commit_good", "1 while commits go through")
        for result in ("stored", "duplicate", "amended", "withheld"):
            self.readings.labels(result)
        for kind in ("batch", "status", "refused"):
            self.messages.labels(kind)
        for result in ("stored", "quarantined"):
            self.receipts.labels(result)
        build = Info("vitalwire_build", "What runs here", registry=self.registry)
        build.info({"version": _version()})
        ProcessCollector(registry=self.registry)

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(f"vitalwire_{name}", meaning, labels, registry=self.registry)

    def _gauge(self, name: str, meaning: str) -> Gauge:
        return Gauge(f"vitalwire_{name}", meaning, registry=self.registry)

    def _histogram(
        self, name: str, meaning: str, buckets: tuple[float, ...] = _SECONDS
    ) -> Histogram:
        return Histogram(
            f"vitalwire_{name}", meaning, registry=self.registry, buckets=buckets
        )


def _version() -> str:
    try:
        return version("vitalwire")
    except PackageNotFoundError:  # run from its source
        return "unknown"

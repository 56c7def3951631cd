"""What the gateway counts, for Prometheus. No label names a person or a device."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class Metrics:
    """All figures of one gateway, in a registry of its own.

    Attributes:
        registry: What ``/metrics`` shows.
        messages: Messages received, by ``kind``: batch, status, refused.
        readings: Readings by ``result``: stored, duplicate, amended.
        forks: Batches under a counter that the station used before.
        retries: Commits that failed and were tried again.
        receipts: Batches and messages that were receipted, by ``result``.
        queue: Messages that wait for the store.
        commit_s: How long a commit took, in s.
        connected: 1 while subscribed at the broker.
        commit_good: 1 while the last commit went through.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.messages = self._counter("messages", "Messages received", "kind")
        self.readings = self._counter("readings", "Readings received", "result")
        self.forks = self._counter("forks", "Batches under a counter used before")
        self.retries = self._counter("commit_retries", "Commits that failed")
        self.receipts = self._counter("receipts", "Messages receipted", "result")
        self.queue = self._gauge("queue_messages", "Messages that wait")
        self.commit_s = Histogram(
            "vitalwire_commit_seconds",
            "How long a commit took",
            registry=self.registry,
            buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5),
        )
        self.connected = self._gauge("broker_connected", "1 while subscribed")
        self.commit_good = self._gauge("commit_good", "1 while commits go through")
        self.commit_good.set(1)
        for result in ("stored", "duplicate", "amended"):
            self.readings.labels(result)
        for kind in ("batch", "status", "refused"):
            self.messages.labels(kind)
        for result in ("stored", "quarantined"):
            self.receipts.labels(result)

    def _counter(self, name: str, meaning: str, *labels: str) -> Counter:
        return Counter(f"vitalwire_{name}", meaning, labels, registry=self.registry)

    def _gauge(self, name: str, meaning: str) -> Gauge:
        return Gauge(f"vitalwire_{name}", meaning, registry=self.registry)

"""The source that pulls from JetStream, against a real nats-server of its own."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from threading import Event

import pytest

from gateway.config import NatsConfig
from gateway.ingest import Ingest
from gateway.intake.jetstream import JetStreamSource
from gateway.metrics import Metrics
from gateway.store import Delivery, Filter, Outcome, StoreUnavailable
from gateway.store.sqlite import SqliteStore
from protocols.config import ConfigError
from protocols.uplink.receipt import Result
from protocols.uplink.topics import Station
from tests.gateway.stations import eventually, glucose, message, sender
from tests.integration.fleet import Cluster

pytestmark = pytest.mark.integration


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Cluster]:
    found = Cluster(tmp_path, 1)
    try:
        found.start()
        yield found
    finally:
        found.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    found = SqliteStore(tmp_path / "readings.sqlite")
    yield found
    found.close()


@contextmanager
def ingest(
    server: Cluster, store: SqliteStore, tenant: str = "", **more: object
) -> Iterator[Ingest]:
    config = NatsConfig(
        servers=(f"nats://127.0.0.1:{server.ports[0]}",), replicas=1, **more
    )
    found = Ingest(
        JetStreamSource(config, tenant=tenant), store, Metrics(), tenant=tenant
    )
    found.start()
    try:
        assert found.wait_connected(15)
        yield found
    finally:
        found.stop()


class Watched(SqliteStore):
    """A store whose commits fail as long as a test says so."""

    failing = Event()

    def commit(self, deliveries: Sequence[Delivery]) -> list[Outcome]:
        if self.failing.is_set():
            raise StoreUnavailable("no space left")
        return super().commit(deliveries)


def count(store: SqliteStore) -> int:
    return len(store.readings(Filter(), 0, 10_000))


def test_stations_get_receipts_for_what_is_stored(
    server: Cluster, store: SqliteStore
) -> None:
    """Topics become subjects on the way up, and subjects topics on the way down."""
    with ingest(server, store), sender(server.mqtt_ports[0]) as station:
        digests = [station.send(message(n, glucose(n))) for n in range(1, 91)]
        results = [station.entry(digest).result for digest in digests]
        refused = station.entry(station.send(b"no batch"))
        station.send(b"lost?", topic="vw/1/clinic/no_station/up/batch")
        assert eventually(lambda: len(store.quarantine(0, 9)) == 2)

    assert results == [Result.STORED] * 90
    assert refused.result == Result.QUARANTINED
    assert count(store) == 90


def test_what_a_gateway_held_is_given_to_the_next_at_once(
    server: Cluster, tmp_path: Path
) -> None:
    """A restart costs nobody the 15 s after which the cluster gives a gateway up."""
    store = Watched(tmp_path / "watched.sqlite")
    store.failing.set()
    with sender(server.mqtt_ports[0]) as station:
        with ingest(server, store) as first:
            digests = [station.send(message(n, glucose(n))) for n in range(1, 6)]
            assert eventually(lambda: not first.commit_good)
        store.failing.clear()
        assert count(store) == 0
        with ingest(server, store):
            for digest in digests:
                assert station.entry(digest, timeout_s=5).result == Result.STORED
    assert count(store) == 5
    store.close()


def test_gateways_that_come_and_go_leave_nothing_behind(
    server: Cluster, store: SqliteStore
) -> None:
    """What was on its way to one that stops is stored by the next, at once."""
    with sender(server.mqtt_ports[0]) as station:
        digests: list[bytes] = []
        for _ in range(5):
            with ingest(server, store):
                first = len(digests) + 1
                digests += [
                    station.send(message(n, glucose(n)))
                    for n in range(first, first + 30)
                ]
        with ingest(server, store):
            for digest in digests:
                assert station.entry(digest, timeout_s=8).result == Result.STORED
    assert count(store) == 150


def test_goes_on_after_the_cluster_lost_everything(
    server: Cluster, store: SqliteStore, tmp_path: Path
) -> None:
    """Stream and consumer are made anew; nobody has to be there for it."""
    with ingest(server, store) as running:
        with sender(server.mqtt_ports[0]) as station:
            assert station.entry(station.send(message(1, glucose(1))))
        server.kill(0)
        rmtree(tmp_path / "server-0")
        assert eventually(lambda: not running.connected)
        server.start()
        assert eventually(lambda: running.connected)
        with sender(server.mqtt_ports[0]) as station:
            assert station.entry(station.send(message(2, glucose(2))))
    assert count(store) == 2


def test_a_gateway_of_one_tenant_leaves_the_others_alone(
    server: Cluster, store: SqliteStore
) -> None:
    other = Station("elsewhere", "station-1")
    with (
        ingest(server, store, tenant="clinic"),
        sender(server.mqtt_ports[0]) as ours,
        sender(server.mqtt_ports[0], station=other) as theirs,
    ):
        foreign = theirs.send(message(1, glucose(1), station=other))
        assert ours.entry(ours.send(message(1, glucose(1))))
        with pytest.raises(AssertionError, match="no receipt"):
            theirs.entry(foreign, timeout_s=0.3)

    assert count(store) == 1
    assert store.quarantine(0, 9) == []


def test_no_more_is_pulled_than_may_be_held(server: Cluster, tmp_path: Path) -> None:
    """What a gateway can't store stays with the cluster, for others."""
    store = Watched(tmp_path / "watched.sqlite")
    store.failing.set()
    with (
        sender(server.mqtt_ports[0]) as station,
        ingest(server, store, receive_maximum=10) as running,
    ):
        digests = [station.send(message(n, glucose(n))) for n in range(1, 41)]
        assert eventually(lambda: not running.commit_good)
        source = running._source
        assert eventually(lambda: len(source._held) == 10)
        store.failing.clear()
        for digest in digests:
            assert station.entry(digest).result == Result.STORED
        assert len(source._held) <= 10
    store.close()


def test_stops_at_once_while_no_server_answers(store: SqliteStore) -> None:
    source = JetStreamSource(NatsConfig(servers=("nats://127.0.0.1:1",)))
    found = Ingest(source, store, Metrics())
    found.start()

    found.stop()

    assert not found.connected
    assert not found.working


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    absent, servers = str(tmp_path / "absent"), ("tls://127.0.0.1:4222",)
    with pytest.raises(ConfigError, match=r"nats\.credentials .*absent"):
        JetStreamSource(NatsConfig(servers=servers, credentials=absent))
    with pytest.raises(ConfigError, match=r"nats\.ca .*absent"):
        JetStreamSource(NatsConfig(servers=servers, ca=absent))

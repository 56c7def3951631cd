"""Two groups on their way into a store at once, and what stations sent in order."""

import threading
from collections.abc import Sequence
from contextlib import ExitStack

from gateway.broker import Broker
from gateway.metrics import Metrics
from gateway.store import Delivery, Filter, Outcome, StoreUnavailable
from gateway.store.postgres import PostgresStore
from protocols.uplink.receipt import Result
from protocols.uplink.topics import Station
from tests.gateway.conftest import Connect
from tests.gateway.stations import eventually, glucose, message, sender, value


class Overtaken(PostgresStore):
    """A store that finishes its second commit before the first, where there are two.

    Attributes:
        failing: While it does.
        overtaken: How often one finished before another that began earlier.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.failing, self.overtaken = threading.Event(), 0
        self._inside, self._changed = 0, threading.Condition()

    def commit(self, deliveries: Sequence[Delivery]) -> list[Outcome]:
        if self.failing.is_set():
            raise StoreUnavailable("no space left")
        with self._changed:
            self._inside += 1
            is_second, before = self._inside == 2, self.overtaken
            if not is_second:
                self._changed.wait_for(lambda: self.overtaken > before, 1)
        try:
            return super().commit(deliveries)
        finally:
            with self._changed:
                self._inside -= 1
                self.overtaken += is_second
                self._changed.notify_all()


def test_two_lanes_are_committed_at_once_each_in_order(
    broker: Broker, postgres_url: str, connect: Connect
) -> None:
    """What a station told first stands, whichever commit is done first.

    Four stations, two in each lane, send much before anything is kept: 20 readings,
    another report of each behind it, and a fork at last.
    """
    every = [Station("clinic", f"station-{number}") for number in range(64)]
    lanes = [[one for one in every if hash(one) % 2 == lane] for lane in range(2)]
    store, metrics = Overtaken(postgres_url), Metrics()
    store.failing.set()
    ingest = connect(broker.port, store, metrics)
    assert ingest.wait_connected(15)
    with ExitStack() as held:
        sent = []
        for at, station in enumerate(lanes[0][:2] + lanes[1][:2]):
            sending = held.enter_context(sender(broker.port, station=station))
            readings = [
                glucose(100 * at + number, status=status)
                for number in range(20)
                for status in ((), ("battery_low",))
            ]
            batches = [*enumerate(readings, 1), (5, glucose(100 * at + 50))]
            for counter, reading in batches:
                told = message(counter, reading, station=station)
                sent.append((sending, sending.send(told)))
            for status in (b"gone", b"back"):
                sending.send(status, topic=station.up("status"))
        assert eventually(lambda: not ingest.commit_good)
        store.failing.clear()
        assert {each.entry(digest).result for each, digest in sent} == {Result.STORED}
        assert eventually(lambda: value(metrics, "messages_total", kind="status") == 8)
    ingest.stop()

    assert not [one for one in threading.enumerate() if one.name.startswith("commit_")]
    assert store.overtaken
    found = store.readings(Filter(), 0, 1_000)
    assert [one.reading.observation.status for one in found] == [()] * (4 * 21)
    assert sum(one.amendments for one in found) == 4 * 20
    assert value(metrics, "forks_total") == 4
    statuses = store.database.rows("SELECT DISTINCT status FROM station")
    assert statuses == [(b"back",)]
    store.close()

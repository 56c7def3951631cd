"""Commits that are tried again, and what is said of them meanwhile."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

import psycopg

from gateway.commits import Commits
from gateway.delivery import Message
from gateway.metrics import Metrics
from gateway.store import Delivery, Outcome, StoreUnavailable
from gateway.store.postgres import PostgresStore
from protocols.uplink.topics import Station
from tests.gateway.stations import STATION, accepted, eventually, glucose

_OTHER = Station("clinic", "station-2")
_MESSAGE = Message.of(STATION.up("batch"), b"", 1)


class Halved(PostgresStore):
    """A store that fails for one station, as long as a test says so."""

    failing = threading.Event()

    def commit(self, deliveries: Sequence[Delivery]) -> list[Outcome]:
        if self.failing.is_set() and any(one.station == STATION for one in deliveries):
            raise StoreUnavailable("no space left")
        return super().commit(deliveries)


@contextmanager
def running(store: PostgresStore) -> Iterator[Commits]:
    stopping = threading.Event()
    found = Commits(store, Metrics(), stopping)
    found.start()
    try:
        yield found
    finally:
        stopping.set()
        found.close()


def test_one_that_goes_through_hides_none_that_fails(postgres_url: str) -> None:
    with closing(Halved(postgres_url)) as store, running(store) as commits:
        store.failing.set()
        failing = commits.begin([_MESSAGE], [accepted(1, glucose(1))])
        assert eventually(lambda: not commits.good)
        for counter in (1, 2):
            beside = accepted(counter, glucose(9 + counter), station=_OTHER)
            done = commits.begin([_MESSAGE], [beside]).result(5)
            assert done is not None
            assert done.outcomes == [Outcome(new=1)]
            assert not commits.good

        store.failing.clear()

        assert failing.result(5) is not None
        assert commits.good


def test_all_threads_are_there_from_the_start(postgres_store: PostgresStore) -> None:
    """A machine that is out of threads later stops no commit."""
    with running(postgres_store) as commits:
        names = [one.name for one in threading.enumerate()]
        assert sum(name.startswith("commit_") for name in names) == commits.at_once == 2


def test_the_end_waits_for_what_is_under_way(postgres_url: str) -> None:
    """The store is closed next."""
    with closing(PostgresStore(postgres_url)) as store:
        commits = Commits(store, Metrics(), threading.Event())
        with psycopg.connect(postgres_url) as holding:
            holding.execute("LOCK TABLE batch")
            late = commits.begin([_MESSAGE], [accepted(1, glucose(1))])
            closing_it = threading.Thread(target=commits.close)
            closing_it.start()
            closing_it.join(0.3)
            assert closing_it.is_alive()
        closing_it.join(15)
        done = late.result(0)
        assert done is not None
        assert done.outcomes == [Outcome(new=1)]


def test_what_was_tried_in_vain_comes_to_nothing_at_a_stop(postgres_url: str) -> None:
    with closing(Halved(postgres_url)) as store:
        store.failing.set()
        with running(store) as commits:
            failing = commits.begin([_MESSAGE], [accepted(1, glucose(1))])
            assert eventually(lambda: not commits.good)
        assert failing.result(0) is None
        store.failing.clear()

"""From a real broker into a real store, with everything that may go wrong."""

import os
import shutil
import signal
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from gateway.broker import Broker
from gateway.metrics import Metrics
from gateway.store import (
    Accepted,
    Delivery,
    Filter,
    Outcome,
    StoreUnavailable,
)
from gateway.store.sqlite import SqliteStore
from protocols.observation import Key, key
from protocols.uplink.receipt import Result
from protocols.uplink.topics import Station
from tests.gateway.conftest import Connect, Mosquitto
from tests.gateway.stations import (
    eventually,
    glucose,
    message,
    pressure,
    sender,
    value,
)


def keys(store: SqliteStore) -> list[Key]:
    return sorted(key(one.reading) for one in store.readings(Filter(), 0, 10_000))


class Watched(SqliteStore):
    """A store whose commits fail as long as a test says so."""

    failing = threading.Event()

    def commit(self, deliveries: Sequence[Delivery]) -> list[Outcome]:
        if self.failing.is_set():
            raise StoreUnavailable("no space left")
        return super().commit(deliveries)


def run_messages(
    connect: Connect, store: SqliteStore, port: int, protocol: str
) -> None:
    """Send good, repeated and hostile messages; check receipts, rows and counts."""
    metrics = Metrics()
    ingest = connect(port, store, metrics, protocol=protocol)
    assert ingest.wait_connected(15)
    first = message(1, glucose(1), glucose(2))
    second = message(2, glucose(2), pressure(3, 120, 80, 60))
    with sender(port, protocol=protocol) as station:
        assert station.entry(station.send(first)).result == Result.STORED
        assert len(keys(store)) == 2, "the receipt came before the rows"
        assert station.entry(station.send(second)).counter == 2
        assert station.entry(station.send(first)).result == Result.STORED
        hostile = [b"", b"\xff" * 99, b"\x00", first[:-3], b"\x9f" * 5_000]
        for payload in hostile:
            entry = station.entry(station.send(payload))
            assert (entry.counter, entry.result) == (0, Result.QUARANTINED)
        foreign = message(1, glucose(9), station=Station("clinic", "other"))
        assert station.entry(station.send(foreign)).result == Result.QUARANTINED
        station.send(b"lost?", topic="vw/1/clinic/no_station/up/batch")
        assert station.entry(station.send(message(3, glucose(4)))).counter == 3

    assert len(keys(store)) == 4
    assert eventually(lambda: len(store.quarantine(0, 99)) == len(hostile) + 2)
    assert {one.message for one in store.quarantine(0, 99)} == {
        *hostile, foreign, b"lost?",
    }  # fmt: skip
    # A group is counted once its receipts are on their way.
    assert eventually(lambda: value(metrics, "messages_total", kind="refused") == 7)
    assert eventually(lambda: value(metrics, "readings_total", result="stored") == 4)
    assert value(metrics, "readings_total", result="duplicate") == 3


def test_messages_over_the_embedded_broker(
    broker: Broker, store: SqliteStore, connect: Connect
) -> None:
    run_messages(connect, store, broker.port, "3.1.1")


@pytest.mark.integration
@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
def test_messages_over_mosquitto(
    mosquitto: Mosquitto, store: SqliteStore, connect: Connect, protocol: str
) -> None:
    run_messages(connect, store, mosquitto.port, protocol)


def test_what_is_told_otherwise_is_announced(
    broker: Broker, store: SqliteStore, connect: Connect
) -> None:
    """Who listens would else not hear of it before something new comes."""
    announced = threading.Semaphore(0)
    ingest = connect(broker.port, store, announce=announced.release)
    assert ingest.wait_connected(15)
    other = glucose(1, status=("battery_low",))
    with sender(broker.port) as station:
        for counter, reading, news in ((1, glucose(1), True), (2, other, True),
                                       (3, other, False)):  # fmt: skip
            assert station.entry(station.send(message(counter, reading)))
            assert announced.acquire(timeout=5 if news else 0.2) is news


def test_many_batches_of_many_stations_are_all_receipted(
    broker: Broker, store: SqliteStore, connect: Connect
) -> None:
    """Grouped or not, each station hears of each of its batches."""
    stations = [Station("clinic", f"station-{number}") for number in range(4)]
    assert connect(broker.port, store).wait_connected(15)
    batches = {
        station: [
            message(counter, *[glucose(1000 * at + 10 * counter + k) for k in range(3)],
                    station=station)
            for counter in range(1, 41)
        ]
        for at, station in enumerate(stations)
    }  # fmt: skip
    for station, sent in batches.items():
        with sender(broker.port, station=station) as sending:
            digests = [sending.send(one) for one in sent]
            counters = [sending.entry(digest).counter for digest in digests]
            assert counters == list(range(1, 41))

    assert len(keys(store)) == 4 * 40 * 3


def test_what_was_sent_while_the_gateway_was_away_arrives(
    broker: Broker, store: SqliteStore, connect: Connect
) -> None:
    """The session lasts at the broker."""
    ingest = connect(broker.port, store)
    assert ingest.wait_connected(15)
    ingest.stop()
    with sender(broker.port) as station:
        digest = station.send(message(1, glucose(1)))
        assert connect(broker.port, store).wait_connected(15)
        assert station.entry(digest).result == Result.STORED
    assert len(keys(store)) == 1


def test_nothing_is_told_while_commits_fail(
    broker: Broker, tmp_path: Path, connect: Connect
) -> None:
    """No receipt, no acknowledgement, not ready; and all of it once it can be kept."""
    store, metrics = Watched(tmp_path / "watched.sqlite"), Metrics()
    store.failing.set()
    ingest = connect(broker.port, store, metrics)
    assert ingest.wait_connected(15)
    with sender(broker.port) as station:
        digest = station.send(message(1, glucose(1)))
        assert eventually(lambda: not ingest.commit_good)
        assert eventually(lambda: value(metrics, "commit_retries_total") > 2)
        with pytest.raises(AssertionError, match="no receipt"):
            station.entry(digest, timeout_s=0.3)
        assert value(metrics, "receipts_total", result="stored") == 0

        store.failing.clear()

        assert station.entry(digest).result == Result.STORED
    assert eventually(lambda: ingest.commit_good)
    assert len(keys(store)) == 1
    ingest.stop()
    store.close()


def test_a_commit_that_takes_long_is_told(
    broker: Broker, tmp_path: Path, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database on a disk that hangs breaks no line, and answers nothing."""
    monkeypatch.setattr("gateway.commits._LONG_S", 0.2)
    answered = threading.Event()

    class Still(Watched):
        def commit(self, deliveries: Sequence[Delivery]) -> list[Outcome]:
            assert answered.wait(30)
            return super().commit(deliveries)

    store, metrics = Still(tmp_path / "still.sqlite"), Metrics()
    ingest = connect(broker.port, store, metrics)
    assert ingest.wait_connected(15)
    assert ingest.commit_good
    with sender(broker.port) as station:
        digest = station.send(message(1, glucose(1)))
        assert eventually(lambda: not ingest.commit_good)
        assert value(metrics, "commit_good") == 0

        answered.set()

        assert station.entry(digest).result == Result.STORED
    assert eventually(lambda: ingest.commit_good)
    assert value(metrics, "commit_good") == 1
    ingest.stop()
    store.close()


@pytest.mark.integration
def test_a_gateway_stopped_before_its_commit_gets_the_message_again(
    broker: Broker, tmp_path: Path, connect: Connect
) -> None:
    """A message that is not durable is not acknowledged, so the broker keeps it."""
    store = Watched(tmp_path / "watched.sqlite")
    store.failing.set()
    ingest = connect(broker.port, store)
    assert ingest.wait_connected(15)
    with sender(broker.port) as station:
        digest = station.send(message(1, glucose(1)))
        assert eventually(lambda: not ingest.commit_good)
        ingest.stop()
        store.failing.clear()
        assert keys(store) == []

        again = connect(broker.port, store)

        # This broker delivers again when its patience ends, not on connecting.
        assert station.entry(digest, timeout_s=30).result == Result.STORED
        again.stop()
    assert len(keys(store)) == 1
    store.close()


def test_one_reading_that_cannot_be_kept_spares_the_others(
    broker: Broker, tmp_path: Path, connect: Connect
) -> None:
    """What no decoder foresaw goes to quarantine; the queue goes on."""

    class Picky(Watched):
        def commit(self, deliveries: Sequence[Delivery]) -> list[Outcome]:
            for delivery in deliveries:
                match delivery:
                    case Accepted(_, batch) if batch.counter == 2:
                        batch.groups[0].columns["captured_ms"][0] = 1 << 70
            return super().commit(deliveries)

    store = Picky(tmp_path / "picky.sqlite")
    store.failing.set()  # until all wait in one group
    ingest = connect(broker.port, store)
    assert ingest.wait_connected(15)
    with sender(broker.port) as station:
        digests = [station.send(message(n, glucose(n))) for n in (1, 2, 3)]
        assert eventually(lambda: not ingest.commit_good)
        store.failing.clear()
        results = [station.entry(digest).result for digest in digests]

    assert results == [Result.STORED, Result.QUARANTINED, Result.STORED]
    assert [kept.message for kept in store.quarantine(0, 9)] == [message(2, glucose(2))]
    ingest.stop()
    store.close()


@pytest.mark.parametrize(
    "damaged", ["[]", "no JSON", '[["glucose","mmol/L","5,50",0]]']
)
def test_a_damaged_row_in_the_store_stops_nobody(
    broker: Broker, store: SqliteStore, connect: Connect, damaged: str
) -> None:
    """What a disk did to one reading would else hold up all that come after it."""
    ingest = connect(broker.port, store)
    assert ingest.wait_connected(15)
    again = message(2, glucose(1), glucose(2))
    with sender(broker.port) as station:
        assert station.entry(station.send(message(1, glucose(1)))).counter == 1
        with store.database.change() as change:
            change.rows('UPDATE reading SET "values" = :damaged', damaged=damaged)

        sent = [station.send(one) for one in (again, message(3, glucose(3)))]
        results = [station.entry(digest).result for digest in sent]

    assert results == [Result.QUARANTINED, Result.STORED]
    (kept,) = store.quarantine(0, 9)
    assert kept.message == again
    assert "cannot be kept" in kept.reason
    assert store.database.rows("SELECT count(*) FROM reading") == [(2,)]
    assert ingest.working


def test_goes_on_after_the_broker_lost_everything(
    broker: Broker, store: SqliteStore, connect: Connect, tmp_path: Path
) -> None:
    """A broker without memory knows no subscription: it has to be told again."""
    ingest = connect(broker.port, store)
    assert ingest.wait_connected(15)
    with sender(broker.port) as station:
        assert station.entry(station.send(message(1, glucose(1))))
        for counter in (2, 3):
            pid = broker.pid
            os.kill(pid, signal.SIGKILL)
            shutil.rmtree(tmp_path / "broker" / "jetstream", ignore_errors=True)
            assert eventually(lambda: not ingest.connected)
            assert eventually(lambda: ingest.connected)
            with sender(broker.port) as returned:
                assert returned.entry(returned.send(message(counter, glucose(counter))))
    assert len(keys(store)) == 3


@pytest.mark.integration
def test_goes_on_after_mosquitto_lost_everything(
    mosquitto: Mosquitto, store: SqliteStore, connect: Connect
) -> None:
    ingest = connect(mosquitto.port, store, protocol="5")
    assert ingest.wait_connected(15)
    with sender(mosquitto.port) as station:
        assert station.entry(station.send(message(1, glucose(1))))
    mosquitto.kill()
    mosquitto.database.unlink(missing_ok=True)
    assert eventually(lambda: not ingest.connected)
    mosquitto.start()
    assert eventually(lambda: ingest.connected, timeout_s=30)
    with sender(mosquitto.port) as station:
        assert station.entry(station.send(message(2, glucose(2))))
    assert len(keys(store)) == 2


def test_stops_at_once_while_no_broker_answers(
    store: SqliteStore, connect: Connect
) -> None:
    ingest = connect(1, store)
    waiting = threading.Thread(target=ingest.wait_connected, args=(60,))
    waiting.start()

    ingest.stop()

    waiting.join(2)
    assert not waiting.is_alive()
    assert not ingest.connected
    assert not ingest.working

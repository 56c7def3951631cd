"""Parts of a gateway, each started for real and ended with its test."""

import itertools
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.bench.servers import Postgres, postgres_programs
from gateway.broker import Broker, accepts_clients
from gateway.config import BrokerConfig
from gateway.ingest import Ingest
from gateway.intake.mqtt import MqttSource
from gateway.metrics import Metrics
from gateway.store import Store
from gateway.store.postgres import PostgresStore
from gateway.store.sqlite import SqliteStore
from tests.gateway import postgres
from tests.gateway.stations import eventually

# Debian keeps it where only root looks.
_MOSQUITTO = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin")

Connect = Callable[..., Ingest]
_NUMBERS = itertools.count(1)


@pytest.fixture
def sqlite_store(tmp_path: Path) -> Iterator[SqliteStore]:
    found = SqliteStore(tmp_path / "readings.sqlite")
    yield found
    found.close()


@pytest.fixture
def store(sqlite_store: SqliteStore) -> SqliteStore:
    """The store of tests that do not ask for another."""
    return sqlite_store


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """A server with one database, whose tables are made, to clone from."""
    if postgres_programs() is None:
        pytest.skip("the Debian package postgresql is not installed")
    with postgres.server() as server:
        server.execute(f"CREATE DATABASE {postgres.TEMPLATE}")
        PostgresStore(server.url(postgres.TEMPLATE)).close()
        yield server


@pytest.fixture
def postgres_url(postgres_server: Postgres) -> Iterator[str]:
    """The address of a database of the test's own, its tables made and empty."""
    name = f"test_{next(_NUMBERS)}"
    postgres_server.execute(f"CREATE DATABASE {name} TEMPLATE {postgres.TEMPLATE}")
    yield postgres_server.url(name)
    postgres_server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def postgres_store(postgres_url: str) -> Iterator[PostgresStore]:
    found = PostgresStore(postgres_url)
    yield found
    found.close()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    found = Broker(tmp_path / "broker", "127.0.0.1", 0)
    found.start()
    yield found
    found.stop()


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Start ingests, and stop them before their broker and their store."""
    running: list[Ingest] = []

    def start(
        port: int, store: Store, metrics: Metrics | None = None, **more: object
    ) -> Ingest:
        protocol = more.pop("protocol", "3.1.1")
        source = MqttSource(
            BrokerConfig(port=port, protocol=protocol), client_id="gateway"
        )
        ingest = Ingest(source, store, metrics or Metrics(), **more)
        running.append(ingest)
        ingest.start()
        return ingest

    yield start
    for ingest in running:
        ingest.stop()


class Mosquitto:
    """A Mosquitto, to be killed at will.

    Args:
        folder: For its files.
        keeps: Whether it writes each change of its sessions to the disk, which makes
            it slow: some hundred messages/s.
    """

    def __init__(self, folder: Path, *, keeps: bool = True) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.database = folder / "mosquitto.db"
        self._file = folder / "mosquitto.conf"
        kept = (
            f"persistence true\npersistence_location {folder}/\n"
            "autosave_on_changes true\nautosave_interval 1\n"
        )
        self._file.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\nuser root\n"
            f"{kept if keeps else ''}"
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            [_MOSQUITTO, "-c", str(self._file)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        assert eventually(lambda: accepts_clients("127.0.0.1", self.port))

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


def _run_mosquitto(tmp_path: Path, *, keeps: bool) -> Iterator[Mosquitto]:
    if _MOSQUITTO is None:
        pytest.skip("the Debian package mosquitto is not installed")
    folder = tmp_path / f"mosquitto-{time.monotonic_ns()}"
    folder.mkdir()
    found = Mosquitto(folder, keeps=keeps)
    found.start()
    yield found
    found.kill()


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    yield from _run_mosquitto(tmp_path, keeps=True)


@pytest.fixture
def quick_mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    yield from _run_mosquitto(tmp_path, keeps=False)

"""Parts of a gateway, each started for real and ended with its test."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.broker import Broker, accepts_clients
from gateway.config import BrokerConfig
from gateway.ingest import Ingest
from gateway.metrics import Metrics
from gateway.store import Store
from gateway.store.sqlite import SqliteStore
from tests.gateway.stations import eventually

# Debian keeps it where only root looks.
_MOSQUITTO = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin")

Connect = Callable[..., Ingest]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    found = SqliteStore(tmp_path / "readings.sqlite")
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
        settings = BrokerConfig(port=port, protocol=more.pop("protocol", "3.1.1"))
        ingest = Ingest(
            settings, store, metrics or Metrics(), client_id="gateway", **more
        )
        running.append(ingest)
        ingest.start()
        return ingest

    yield start
    for ingest in running:
        ingest.stop()


class Mosquitto:
    """A Mosquitto that keeps its sessions on the disk, to be killed at will."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.database = folder / "mosquitto.db"
        self._file = folder / "mosquitto.conf"
        self._file.write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\n"
            f"persistence true\npersistence_location {folder}/\n"
            "autosave_on_changes true\nautosave_interval 1\n"
            "user root\n"
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


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    if _MOSQUITTO is None:
        pytest.skip("the Debian package mosquitto is not installed")
    folder = tmp_path / f"mosquitto-{time.monotonic_ns()}"
    folder.mkdir()
    found = Mosquitto(folder)
    found.start()
    yield found
    found.kill()

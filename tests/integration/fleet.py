"""Stations under load, a NATS cluster, and an oracle that counts what is stored."""

import asyncio
import json
import subprocess
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from socket import SHUT_RDWR, socket
from threading import Event, Lock, Thread

import nats
import psycopg
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion
from prometheus_client.parser import text_string_to_metric_families

from gateway.broker import _binary, accepts_clients
from protocols.observation import Device
from protocols.uplink import receipt
from protocols.uplink.envelope import digest
from protocols.uplink.receipt import Result
from protocols.uplink.topics import Station
from tests.gateway.stations import glucose, message
from tests.integration.parts import Part, command, part, until

WINDOW = 8
"""How many batches a station has on their way at most."""

_RESEND_S = 2.0  # a real station waits 20 s
_READINGS = 4

_STORED = """
    SELECT d.device, r.ordinal, count(*)
    FROM reading r JOIN device d ON d.id = r.device
    WHERE r.ordinal < 4294967296 GROUP BY 1, 2
"""


class Load:
    """A station that captures steadily, and sends until it has each batch's receipt.

    Args:
        name: Its id.
        ports: MQTT ports to connect to, the next one whenever one fails.
        every_s: Between two batches.
    """

    def __init__(self, name: str, ports: Sequence[int], every_s: float) -> None:
        self.captured: set[tuple[str, int]] = set()
        self.delays_s: list[float] = []
        self.receipts = 0
        self.sent = 0
        self.resent = 0
        self._station = Station("clinic", name)
        self._device = Device(f"meter-of-{name}")
        self._ports, self._every_s = ports, every_s
        self._at = 0
        self._counter = 0
        self._waiting: dict[bytes, bytes] = {}
        self._sent_s: dict[bytes, tuple[float, float]] = {}  # at first, at last
        self._lock = Lock()
        self._stopping = Event()
        self._client = Client(CallbackAPIVersion.VERSION2, client_id=name)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message
        self._client.on_disconnect = self._on_lost
        self._client.on_connect_fail = self._on_lost
        self._client.connect_async("127.0.0.1", ports[0], 5)
        self._thread = Thread(target=self._run)

    def start(self) -> None:
        self._client.loop_start()
        self._thread.start()

    def stop_capturing(self) -> None:
        """Only send what there is, from now on."""
        self._stopping.set()

    @property
    def empty(self) -> bool:
        """Whether nothing is captured any more, and every batch has its receipt."""
        return not self._thread.is_alive()

    def close(self) -> None:
        self._stopping.set()
        with self._lock:
            self._waiting.clear()
        self._thread.join()
        self._client.disconnect()
        self._client.loop_stop()

    def _run(self) -> None:
        while self._waiting or not self._stopping.is_set():
            if not self._stopping.is_set() and len(self._waiting) < WINDOW:
                self._capture()
            with self._lock:
                late = [
                    one
                    for one, (_, last_s) in self._sent_s.items()
                    if time.monotonic() - last_s > _RESEND_S
                ]
            for one in late:
                self._send(one)
                self.resent += 1
            time.sleep(self._every_s)

    def _capture(self) -> None:
        self._counter += 1
        first = self._counter * _READINGS
        sequences = range(first, first + _READINGS)
        self.captured |= {(self._device.id, one) for one in sequences}
        readings = [glucose(one, device=self._device) for one in sequences]
        payload = message(self._counter, *readings, station=self._station)
        with self._lock:
            self._waiting[digest(payload)] = payload
        self._send(digest(payload))

    def _send(self, named: bytes) -> None:
        now_s = time.monotonic()
        with self._lock:
            payload = self._waiting.get(named)
            if payload is None:
                return
            first_s = self._sent_s.get(named, (now_s, 0))[0]
            self._sent_s[named] = first_s, now_s
        if self._client.is_connected():
            self._client.publish(self._station.up("batch"), payload, 1)
            self.sent += 1

    def _on_connect(self, client: Client, *_more: object) -> None:
        client.subscribe(self._station.down("receipt"), 1)

    def _on_subscribe(self, client: Client, *more: object) -> None:
        # A cluster without a leader refuses, and would never send a receipt.
        _data, _mid, reasons, *_ = more
        line = client.socket()
        if reasons[0].is_failure and line is not None:
            line.shutdown(SHUT_RDWR)

    def _on_lost(self, client: Client, *_more: object) -> None:
        self._at += 1
        client.connect_async("127.0.0.1", self._ports[self._at % len(self._ports)], 5)

    def _on_message(self, _client: Client, _data: object, came: MQTTMessage) -> None:
        now_s = time.monotonic()
        for entry in receipt.decode(came.payload).entries:
            assert entry.result == Result.STORED
            with self._lock:
                if self._waiting.pop(entry.digest, None) is None:
                    continue
                self.delays_s.append(now_s - self._sent_s.pop(entry.digest)[0])
                self.receipts += 1


@contextmanager
def fleet(stations: int, ports: Sequence[int], every_s: float) -> Iterator[list[Load]]:
    """Run stations, each of which begins at another of the ports."""
    loads = [
        Load(
            f"station-{at}",
            [*ports[at % len(ports) :], *ports[: at % len(ports)]],
            every_s,
        )
        for at in range(stations)
    ]
    for load in loads:
        load.start()
    try:
        yield loads
    finally:
        for load in loads:
            load.stop_capturing()
        for load in loads:
            load.close()


def drain(loads: Sequence[Load], seconds: float = 30) -> None:
    """Let no station capture any more, and wait until each has all its receipts."""
    for load in loads:
        load.stop_capturing()
    until(lambda: all(load.empty for load in loads), seconds=seconds)


def check_stored(url: str, loads: Sequence[Load]) -> int:
    """Compare what is stored with what was captured; return how many readings."""
    captured = {one for load in loads for one in load.captured}
    with psycopg.connect(url) as connection:
        rows = connection.execute(_STORED).fetchall()
    stored = Counter({(device, ordinal): count for device, ordinal, count in rows})
    assert captured - stored.keys() == set(), "readings are lost"
    assert stored.keys() - captured == set(), "nobody sent these"
    assert set(stored.values()) == {1}, "readings are stored twice"
    return len(stored)


class Gateway:
    """One of many gateway processes."""

    def __init__(self, started: Part) -> None:
        self._part = started
        self._http = started.ready()["http"]

    def stored(self) -> int:
        """Return how many batches it has receipted."""
        with urllib.request.urlopen(f"{self._http}metrics") as page:
            text = page.read().decode()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == "vitalwire_receipts_total" and (
                    sample.labels["result"] == "stored"
                ):
                    return int(sample.value)
        raise AssertionError("it counts no receipts")

    def kill(self) -> None:
        self._part.kill()


@contextmanager
def gateway(folder: Path, name: str, settings: str) -> Iterator[Gateway]:
    """Run a gateway, one of many or alone."""
    file = folder / f"{name}.toml"
    file.write_text(f'data = "{name}"\n{settings}[http]\nport = 0\n')
    words = command("gateway", "serve", "--json", "--config", str(file))
    with part(folder, name, words) as started:
        yield Gateway(started)


class Cluster:
    """Some nats-servers that stand for one, each with an MQTT listener."""

    def __init__(self, folder: Path, count: int = 3) -> None:
        self.ports, self.mqtt_ports, routes = (_free(count) for _ in range(3))
        self._folder = folder
        self._servers: list[subprocess.Popen[bytes] | None] = [None] * count
        for at in range(count):
            settings = {
                "server_name": f"server-{at}",
                "host": "127.0.0.1",
                "port": self.ports[at],
                "log_file": str(folder / f"server-{at}.log"),
                "jetstream": {
                    "store_dir": str(folder / f"server-{at}"),
                    "max_memory_store": 64 << 20,
                    "max_file_store": 1 << 30,
                },
                "mqtt": {
                    "host": "127.0.0.1",
                    "port": self.mqtt_ports[at],
                    "stream_replicas": count,
                },
            }
            if count > 1:
                settings["cluster"] = {
                    "name": "stations",
                    "host": "127.0.0.1",
                    "port": routes[at],
                    "routes": [f"nats://127.0.0.1:{port}" for port in routes],
                }
            self._file(at).write_text(json.dumps(settings))

    def start(self) -> None:
        for at in range(len(self.ports)):
            self.start_one(at)
        until(lambda: all(accepts_clients("127.0.0.1", p) for p in self.mqtt_ports))

    def start_one(self, at: int) -> None:
        self._servers[at] = subprocess.Popen(
            [_binary(), "-c", str(self._file(at))],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def kill(self, at: int) -> None:
        server = self._servers[at]
        if server is not None:
            server.kill()
            server.wait()

    def leader(self) -> int:
        """Return which server leads the gateways' stream."""
        return int(asyncio.run(self._leader()).removeprefix("server-"))

    async def _leader(self) -> str:
        client = await nats.connect(f"nats://127.0.0.1:{self.ports[0]}")
        found = await client.jetstream().stream_info("vitalwire")
        await client.close()
        assert found.cluster is not None
        return found.cluster.leader or ""

    def close(self) -> None:
        for at in range(len(self.ports)):
            self.kill(at)

    def settings(self) -> str:
        """Return what a gateway's file says of it."""
        servers = [f"nats://127.0.0.1:{port}" for port in self.ports]
        return f'source = "jetstream"\n[nats]\nservers = {json.dumps(servers)}\n'

    def _file(self, at: int) -> Path:
        return self._folder / f"server-{at}.conf"


def _free(count: int) -> list[int]:
    probes = [socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports

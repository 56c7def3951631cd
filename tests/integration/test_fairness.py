"""One station that floods, and what the others notice of it."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import islice
from pathlib import Path
from socket import create_connection
from statistics import median
from typing import Any

import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from protocols.observation import Device
from protocols.uplink import envelope, receipt
from protocols.uplink.batch import Batch
from protocols.uplink.envelope import digest
from protocols.uplink.opening import unwrap
from protocols.uplink.topics import Station
from tests.gateway.conftest import (
    Mosquitto,
    quick_mosquitto,  # noqa: F401 - a fixture
)
from tests.gateway.stations import START_MS, eventually, glucose
from tests.integration.fleet import gateway

_OTHERS = [Station("clinic", f"station-{at}") for at in range(20)]
_FLOOD = Station("clinic", "flood")
_EVERY_S = 0.2  # between two batches of one station
_TIMES = 100  # as many does the flood send
_READINGS = 16

# CONNECT of MQTT 3.1.1, clean session, no keep-alive, as client "flood".
_CONNECT = b"\x10\x11\x00\x04MQTT\x04\x02\x00\x00\x00\x05flood"


@cache
def told(readings: int) -> dict[int, Any]:
    sent = tuple(glucose(at, device=Device("meter")) for at in range(readings))
    message = Batch("", 1, START_MS, sent).encode(fast=True)
    content: dict[int, Any] = unwrap("batch", message)
    return content


def batch(station: Station, counter: int, readings: int) -> bytes:
    """Return a batch of a meter of its own, for all batches tell the same."""
    meter = [f"meter-{counter}-of-{station.station}", "", "", "", ""]
    own = {1: station.station, 2: counter, 4: [meter]}
    return envelope.wrap(told(readings) | own)


def publish(topic: str, number: int, payload: bytes) -> bytes:
    """Return a PUBLISH packet with QoS 1."""
    body = len(topic).to_bytes(2, "big") + topic.encode()
    body += (number % 65_535 + 1).to_bytes(2, "big") + payload
    length, rest = b"", len(body)
    while rest > 127:
        length += bytes([rest % 128 | 128])
        rest //= 128
    return b"\x32" + length + bytes([rest]) + body


@contextmanager
def flooding(port: int, packets: Sequence[bytes]) -> Iterator[None]:
    """Send packets over and over, each so often as the rate wants."""
    stop = threading.Event()

    def flood() -> None:
        with create_connection(("127.0.0.1", port)) as line:
            line.sendall(_CONNECT)
            line.recv(4)
            line.setblocking(False)
            began_s, sent = time.monotonic(), 0
            while not stop.wait(0.01):
                due = int((time.monotonic() - began_s) * _TIMES / _EVERY_S)
                some = [packets[at % len(packets)] for at in range(sent, due)]
                line.setblocking(True)
                line.sendall(b"".join(some))
                line.setblocking(False)
                sent = due
                try:
                    line.recv(1 << 16)  # the broker's PUBACKs
                except BlockingIOError:
                    continue

    thread = threading.Thread(target=flood)
    thread.start()
    yield
    stop.set()
    thread.join()


class Others:
    """All other stations, on one line: each waits for the receipt of each batch."""

    def __init__(self, port: int) -> None:
        self._sent_s: dict[bytes, float] = {}
        self._delays_s: list[float] = []
        self._made = iter(
            [
                (station.up("batch"), payload, digest(payload))
                for counter in range(1, 101)
                for station in _OTHERS
                for payload in [batch(station, counter, _READINGS)]
            ]
        )
        self._client = Client(CallbackAPIVersion.VERSION2, client_id="others")
        self._client.on_message = self._on_message
        self._client.connect("127.0.0.1", port)
        self._client.subscribe("vw/1/clinic/+/down/receipt", 1)
        self._client.loop_start()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def p95_s(self, seconds: float) -> float:
        """Send for a while; return what 95 of 100 receipts take at most."""
        self._delays_s = []
        end_s = time.monotonic() + seconds
        next_s = time.monotonic()
        while time.monotonic() < end_s:
            for topic, payload, named in islice(self._made, len(_OTHERS)):
                self._sent_s[named] = time.monotonic()
                self._client.publish(topic, payload, 1)
                next_s += _EVERY_S / len(_OTHERS)
                time.sleep(max(0.0, next_s - time.monotonic()))
        assert eventually(lambda: not self._sent_s), "a receipt is missing"
        return sorted(self._delays_s)[len(self._delays_s) * 95 // 100]

    def _on_message(self, _client: Client, _data: object, came: MQTTMessage) -> None:
        now_s = time.monotonic()
        for entry in receipt.decode(came.payload).entries:
            if entry.digest in self._sent_s:
                self._delays_s.append(now_s - self._sent_s.pop(entry.digest))


def p95_s(others: Others, port: int, packets: Sequence[bytes]) -> tuple[float, float]:
    """Return what the others measure without the flood, and with it."""
    calm_s = others.p95_s(2)
    with flooding(port, packets):
        flooded_s = others.p95_s(2)
    assert others.p95_s(1)  # until all is as before
    return calm_s, flooded_s


@pytest.mark.integration
def test_a_flood_of_one_station_does_not_slow_down_the_others(
    quick_mosquitto: Mosquitto,  # noqa: F811
    tmp_path: Path,
) -> None:
    """Without turns they would wait behind it for as long as it lasts."""
    settings = (
        f'[broker]\nembedded = false\nport = {quick_mosquitto.port}\nprotocol = "5"\n'
    )
    packets = [
        publish(_FLOOD.up("batch"), at, batch(_FLOOD, at + 1, _READINGS))
        for at in range(1_000)
    ]
    others = Others(quick_mosquitto.port)
    with gateway(tmp_path, "gateway", settings):
        others.p95_s(2)
        found = [p95_s(others, quick_mosquitto.port, packets) for _ in range(3)]
    others.close()
    assert median(flooded_s / calm_s for calm_s, flooded_s in found) < 2, found

"""Stations for the gateway's tests: batches, messages, and a client that sends them."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from queue import Empty, Queue

from paho.mqtt.client import Client, MQTTMessage, MQTTv5, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion

from gateway.metrics import Metrics
from gateway.store import Accepted
from gateway.store.rows import prepare
from protocols.gatt.time import DateTime
from protocols.observation import (
    Device,
    Kind,
    Observation,
    Quality,
    Quantity,
    Reading,
    State,
    TimeMethod,
    Unit,
    Value,
)
from protocols.uplink import envelope, receipt
from protocols.uplink.batch import Batch, open_batch
from protocols.uplink.topics import Station

STATION = Station("clinic", "station-1")
METER = Device("meter-1", "Acme", "Sweet 1", "SN-1", "1.0")
CUFF = Device("cuff-1", "Acme", "Squeeze 1", "SN-2", "1.0")
START_MS = 1_772_350_200_000  # 2026-03-01T07:30:00Z
MINUTE_MS = 60_000


def glucose(
    sequence: int,
    number: str | None = "5.50",
    *,
    device: Device = METER,
    unit: Unit = Unit.MMOL_PER_L,
    state: State = State.MEASURED,
    kind: Kind = Kind.GLUCOSE,
    status: tuple[str, ...] = (),
    utc_ms: int | None = None,
    quality: Quality = Quality.NONE,
) -> Reading:
    """Return one glucose reading, taken ``sequence`` minutes after `START_MS`."""
    exact = None if number is None else Decimal(number)
    return Reading(
        device=device,
        observation=Observation(
            kind=kind,
            values=(Value(Quantity.GLUCOSE, unit, exact, state),),
            device_time=DateTime(2026, 3, 1, 7, 30, 0),
            sequence=sequence,
            status=status,
            context=(("sample", "capillary_plasma"),),
            raw=(b"\x01\x02", b"\x03"),
        ),
        driver="gatt-glucose",
        driver_version="0.1.0",
        captured_ms=START_MS + 1,
        utc_ms=START_MS + sequence * MINUTE_MS if utc_ms is None else utc_ms,
        time_method=TimeMethod.CORRECTED,
        time_bound_ms=1_500,
        quality=quality,
        person="person-7",
        evidence=(("session", "card"),),
    )


def pressure(sequence: int, *numbers: int, device: Device = CUFF) -> Reading:
    """Return one reading of systolic, diastolic, pulse."""
    quantities = (Quantity.SYSTOLIC, Quantity.DIASTOLIC, Quantity.PULSE_RATE)
    units = (Unit.MM_HG, Unit.MM_HG, Unit.PER_MINUTE)
    return Reading(
        device=device,
        observation=Observation(
            kind=Kind.BLOOD_PRESSURE,
            values=tuple(
                Value(quantity, unit, Decimal(number))
                for quantity, unit, number in zip(
                    quantities, units, numbers, strict=True
                )
            ),
            device_time=DateTime(2026, 3, 1, 7, 30, 0),
            sequence=sequence,
            slot=1,
        ),
        driver="gatt-blood-pressure",
        driver_version="0.1.0",
        captured_ms=START_MS + 1,
        utc_ms=START_MS + sequence * MINUTE_MS,
        time_method=TimeMethod.DEVICE,
    )


def message(counter: int, *readings: Reading, station: Station = STATION) -> bytes:
    """Return a batch as its station sends it."""
    return Batch(station.station, counter, START_MS, readings).encode()


def accepted(
    counter: int, *readings: Reading, station: Station = STATION, received_ms: int = 1
) -> Accepted:
    """Return a batch as it reaches the store."""
    sent = message(counter, *readings, station=station)
    found = prepare(open_batch(sent), sent)
    return Accepted(station, found, envelope.digest(sent), received_ms)


def eventually(holds: Callable[[], bool], timeout_s: float = 15.0) -> bool:
    """Wait for ``holds``; return whether it came to hold."""
    end_s = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > end_s:
            return False
        time.sleep(0.01)
    return True


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    """Return what is counted under a name; None if nothing is."""
    return metrics.registry.get_sample_value(f"vitalwire_{name}", labels)


class Sender:
    """A station's client: sends bytes, keeps what the gateway answers."""

    def __init__(self, client: Client, station: Station) -> None:
        self._client, self._station = client, station
        self._came: Queue[receipt.Receipt] = Queue()
        self._entries: dict[bytes, receipt.Entry] = {}
        client.on_message = self._on_message
        client.on_connect = self._on_connect

    def send(self, payload: bytes, *, topic: str = "", qos: int = 1) -> bytes:
        """Send a message; return the digest that its receipt will name."""
        self._client.publish(topic or self._station.up("batch"), payload, qos)
        return envelope.digest(payload)

    def entry(self, digest: bytes, timeout_s: float = 15.0) -> receipt.Entry:
        """Wait for the receipt's entry for ``digest``."""
        end_s = time.monotonic() + timeout_s
        while digest not in self._entries:
            try:
                came = self._came.get(timeout=max(0.0, end_s - time.monotonic()))
            except Empty:
                raise AssertionError("no receipt came") from None
            assert came.station == self._station.station
            self._entries |= {entry.digest: entry for entry in came.entries}
        return self._entries.pop(digest)

    def _on_connect(self, client: Client, *_more: object) -> None:
        client.subscribe(self._station.down("receipt"), 1)

    def _on_message(self, _client: Client, _data: object, came: MQTTMessage) -> None:
        self._came.put(receipt.decode(came.payload))


@contextmanager
def sender(
    port: int, *, station: Station = STATION, protocol: str = "3.1.1"
) -> Iterator[Sender]:
    """Connect a station's client, and disconnect it in the end."""
    client = Client(
        CallbackAPIVersion.VERSION2,
        client_id=f"sender-{station.station}-{time.monotonic_ns()}",
        protocol=MQTTv5 if protocol == "5" else MQTTv311,
    )
    client.reconnect_delay_set(1, 1)
    found = Sender(client, station)
    client.connect_async("127.0.0.1", port)
    client.loop_start()
    try:
        assert eventually(client.is_connected)
        yield found
    finally:
        client.disconnect()
        client.loop_stop()

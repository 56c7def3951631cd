"""MQTT in: messages are grouped, committed, and only then receipted.

    broker ─► queue, bounded ─► open, decode ─► one commit a group ─► receipts, PUBACKs

A commit that fails is tried again for as long as it takes, and nothing is
acknowledged meanwhile: the broker holds back, and after it the stations.
"""

import logging
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Full, Queue
from threading import Event, Thread
from time import monotonic, time_ns

from paho.mqtt.client import Client, MQTTMessage, MQTTv5, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from gateway.broker import IN_FLIGHT
from gateway.config import BrokerConfig
from gateway.delivery import Message, open_message, receipts, refuse
from gateway.metrics import Metrics
from gateway.store import (
    Accepted,
    Delivery,
    Greeting,
    Outcome,
    Refused,
    Store,
    StoreRefused,
    StoreUnavailable,
)
from protocols.config import ConfigError
from protocols.uplink.receipt import Result
from protocols.uplink.topics import every_up

_GROUP = 64
_GROUP_S = 0.004
_KEEPALIVE_S = 60
_RECONNECT_S = (1, 15)
_BACK_OFF_S = (0.05, 5.0)
_LOOK_UP_S = 0.2  # how often a thread that waits looks whether it should stop
_SESSION_S = 7 * 24 * 3_600
_UNSENT_RECEIPTS = 2_000  # a station that gets none sends its batch again

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A message in the queue, and what its acknowledgement needs."""

    message: Message
    mid: int
    qos: int
    connection: int


class Ingest:
    """Moves messages from a broker into a store.

    Args:
        broker: Where to connect.
        store: Where to commit; only this object may commit to it.
        metrics: What to count in.
        client_id: The name of the session at the broker, for ever the same.
        tenant: The only tenant served; empty serves each.
        announce: Called after each commit that brought new readings.

    Raises:
        ConfigError: A file that ``broker`` names cannot be used.
    """

    def __init__(
        self,
        broker: BrokerConfig,
        store: Store,
        metrics: Metrics,
        *,
        client_id: str,
        tenant: str = "",
        announce: Callable[[], None] = lambda: None,
    ) -> None:
        self._store, self._metrics = store, metrics
        self._tenant, self._announce = tenant, announce
        self._queue: Queue[_Waiting] = Queue(IN_FLIGHT + 12)
        self._stopping = Event()
        self._connection = 0
        self._subscribed = Event()
        self._commit_good = True
        self._client = _client(broker, client_id)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_disconnect = self._on_disconnect
        self._client.on_message = self._on_message
        self._worker = Thread(target=self._work, name="ingest", daemon=True)
        metrics.queue.set_function(self._queue.qsize)

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted the subscriptions."""
        return self._subscribed.is_set()

    @property
    def commit_good(self) -> bool:
        """Whether the last commit went through; true before the first."""
        return self._commit_good

    @property
    def working(self) -> bool:
        """Whether there is somebody to work the queue off."""
        return self._worker.is_alive()

    def start(self) -> None:
        """Connect, and go on for ever; returns at once."""
        self._worker.start()
        self._client.loop_start()

    def wait_connected(self, timeout_s: float) -> bool:
        """Wait for the subscriptions; return whether they came before any stop."""
        end_s = monotonic() + timeout_s
        while monotonic() < end_s and not self._stopping.is_set():
            if self._subscribed.wait(_LOOK_UP_S):
                return True
        return self.connected

    def stop(self) -> None:
        """Finish the group in hand and disconnect; the rest is delivered again."""
        self._stopping.set()
        if self._worker.ident is not None:
            self._worker.join()
        self._client.disconnect()
        self._client.loop_stop()

    # Callbacks, in paho's thread

    def _on_connect(self, client: Client, _data: object, *more: object) -> None:
        _flags, reason, *_ = more
        if getattr(reason, "is_failure", False):
            _log.warning("broker.refused", extra={"reason": str(reason)})
            return
        # A broker that lost its state knows nothing of us: subscribe every time.
        self._connection += 1
        # Another tenant's stations have their own gateway, whose answer counts.
        tenant = self._tenant or "+"
        ups = ("batch", "status")
        client.subscribe([(every_up(name, tenant), 1) for name in ups])

    def _on_subscribe(self, _client: Client, _data: object, *more: object) -> None:
        _mid, reasons, *_ = more
        refused = [
            str(reason)
            for reason in (reasons if isinstance(reasons, list) else [])
            if reason.is_failure
        ]
        if refused:
            _log.error("broker.subscription_refused", extra={"reason": refused[0]})
            return
        _log.info("broker.connected")
        self._metrics.connected.set(1)
        self._subscribed.set()

    def _on_disconnect(self, _client: Client, _data: object, *more: object) -> None:
        _flags, reason, *_ = more
        self._subscribed.clear()
        self._metrics.connected.set(0)
        if not self._stopping.is_set():
            _log.warning("broker.lost", extra={"reason": str(reason)})

    def _on_message(self, _client: Client, _data: object, came: MQTTMessage) -> None:
        try:
            topic = came.topic
        except UnicodeDecodeError:
            topic = "(no UTF-8)"
        message = Message.of(topic, bytes(came.payload), time_ns() // 1_000_000)
        waiting = _Waiting(message, came.mid, came.qos, self._connection)
        # While this waits nothing is read from the broker, which has to hold back.
        while not self._stopping.is_set():
            try:
                self._queue.put(waiting, timeout=_LOOK_UP_S)
            except Full:
                continue
            return

    # The worker's thread

    def _work(self) -> None:
        while not self._stopping.is_set():
            group = self._next_group()
            if not group:
                continue
            messages = [waiting.message for waiting in group]
            opened = [open_message(message, self._tenant) for message in messages]
            done = self._commit(messages, opened)
            if done is not None:
                self._finish(group, *done)

    def _next_group(self) -> list[_Waiting]:
        """Return what waits, at most `_GROUP`; empty if nothing came for a while."""
        try:
            group = [self._queue.get(timeout=_LOOK_UP_S)]
        except Empty:
            return []
        end_s = monotonic() + _GROUP_S
        while len(group) < _GROUP:
            try:
                group.append(self._queue.get(timeout=max(0.0, end_s - monotonic())))
            except Empty:
                break
        return group

    def _commit(
        self, messages: Sequence[Message], deliveries: list[Delivery]
    ) -> tuple[list[Delivery], list[Outcome]] | None:
        """Commit until it succeeds; None if it had not when told to stop."""
        back_off_s = _BACK_OFF_S[0]
        while not self._stopping.is_set():
            try:
                with self._metrics.commit_s.time():
                    outcomes = self._store.commit(deliveries)
            except StoreUnavailable as error:
                self._commit_failed(error, back_off_s)
                self._stopping.wait(back_off_s)
                back_off_s = min(2 * back_off_s, _BACK_OFF_S[1])
            except StoreRefused as error:
                if len(deliveries) > 1:
                    return self._commit_singly(messages, deliveries)
                _log.error(
                    "message.unfit", extra={"error": type(error.__cause__).__name__}
                )
                deliveries = [refuse(messages[0], str(error))]
            else:
                self._commit_good = True
                self._metrics.commit_good.set(1)
                return deliveries, outcomes
        return None

    def _commit_singly(
        self, messages: Sequence[Message], deliveries: list[Delivery]
    ) -> tuple[list[Delivery], list[Outcome]] | None:
        """Commit one by one, so that only what does not fit is refused."""
        kept: list[Delivery] = []
        outcomes: list[Outcome] = []
        for message, delivery in zip(messages, deliveries, strict=True):
            done = self._commit([message], [delivery])
            if done is None:
                return None
            kept += done[0]
            outcomes += done[1]
        return kept, outcomes

    def _commit_failed(self, error: StoreUnavailable, again_in_s: float) -> None:
        self._commit_good = False
        self._metrics.commit_good.set(0)
        self._metrics.retries.inc()
        more = {"reason": str(error), "again_in_s": again_in_s}
        _log.error("store.unavailable", extra=more)

    def _finish(
        self,
        group: Sequence[_Waiting],
        deliveries: Sequence[Delivery],
        outcomes: Sequence[Outcome],
    ) -> None:
        """Tell everybody what is durable now: stations first, the broker last."""
        for topic, payload in receipts(deliveries, time_ns() // 1_000_000):
            sent = self._client.publish(topic, payload, qos=1)
            if sent.rc == MQTTErrorCode.MQTT_ERR_QUEUE_SIZE:
                _log.warning("receipt.unsent")
        for waiting in group:
            # A number of a connection that is gone may mean another message now.
            if waiting.connection == self._connection:
                self._client.ack(waiting.mid, waiting.qos)
        for delivery, outcome in zip(deliveries, outcomes, strict=True):
            self._count(delivery, outcome)
        if any(outcome.new for outcome in outcomes):
            self._announce()

    def _count(self, delivery: Delivery, outcome: Outcome) -> None:
        metrics = self._metrics
        match delivery:
            case Greeting():
                metrics.messages.labels("status").inc()
            case Refused(_, station):
                metrics.messages.labels("refused").inc()
                metrics.receipts.labels(Result.QUARANTINED.name.lower()).inc()
                name = station.station if station else None
                _log.warning("message.quarantined", extra={"station": name})
            case Accepted(station, batch):
                metrics.messages.labels("batch").inc()
                metrics.receipts.labels(Result.STORED.name.lower()).inc()
                metrics.readings.labels("stored").inc(outcome.new)
                metrics.readings.labels("duplicate").inc(outcome.known)
                metrics.readings.labels("amended").inc(outcome.amended)
                named = {"station": station.station, "counter": batch.counter}
                counted = {
                    "new": outcome.new,
                    "known": outcome.known,
                    "amended": outcome.amended,
                }
                _log.info("batch.stored", extra=named | counted)
                if outcome.fork:
                    metrics.forks.inc()
                    _log.error("station.forked", extra=named)


def _client(broker: BrokerConfig, client_id: str) -> Client:
    newer = broker.protocol == "5"
    client = Client(
        CallbackAPIVersion.VERSION2,
        client_id=client_id,
        protocol=MQTTv5 if newer else MQTTv311,
        clean_session=None if newer else False,
        manual_ack=True,
    )
    client.max_queued_messages_set(_UNSENT_RECEIPTS)
    client.max_inflight_messages_set(200)
    client.reconnect_delay_set(*_RECONNECT_S)
    if broker.tls:
        _secure(client, broker.ca)
    if broker.username:
        client.username_pw_set(broker.username, _password(broker.password_file))
    if newer:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = _SESSION_S
        properties.ReceiveMaximum = IN_FLIGHT
        client.connect_async(
            broker.host,
            broker.port,
            _KEEPALIVE_S,
            clean_start=False,
            properties=properties,
        )
    else:
        client.connect_async(broker.host, broker.port, _KEEPALIVE_S)
    return client


def _secure(client: Client, ca: str) -> None:
    try:
        context = ssl.create_default_context(cafile=ca or None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"broker.ca {ca}: {error}") from error
    client.tls_set_context(context)


def _password(file: str) -> str | None:
    if not file:
        return None
    try:
        return Path(file).read_text(encoding="utf-8").partition("\n")[0]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"broker.password_file {file}: {error}") from error

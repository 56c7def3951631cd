"""MQTT in: subscribed to what stations send, as one of a group or alone.

Alone, the session lasts at the broker, which keeps what comes while the gateway is
away. In a group it ends with its connection: else the broker would go on to give its
member's part of the messages to a gateway that is gone, and they would lie there.

Source: OASIS MQTT 5.0, §3.1.2.11.2 and §3.1.2.11.3 (Session Expiry Interval, Receive
Maximum), §4.8.2 (shared subscriptions); OASIS MQTT 3.1.1.
"""

import logging
import ssl
from collections import deque
from functools import partial
from pathlib import Path
from threading import Event
from time import monotonic, time_ns

from paho.mqtt.client import Client, MQTTMessage, MQTTv5, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from gateway.config import BrokerConfig
from gateway.delivery import Message
from gateway.intake.source import Take
from gateway.secret_file import first_line
from protocols.config import ConfigError
from protocols.uplink.topics import every_up

_KEEPALIVE_S = 60
_KEEPALIVE_SHARED_S = 10  # until the broker knows, a silent member's part is held up
_RECONNECT_S = (1, 15)
_SESSION_S = 7 * 24 * 3_600
_UNSENT_RECEIPTS = 2_000  # a station that gets none sends its batch again
_RECEIPTS_IN_FLIGHT = 200
_UPS = ("batch", "status")

_log = logging.getLogger(__name__)


class MqttSource:
    """A `gateway.intake.source.Source` that is an MQTT broker.

    Args:
        broker: Where to connect.
        client_id: The name at the broker: alone for ever the same, in a group of no
            other process.
        tenant: The only tenant subscribed to; empty subscribes to each.

    Raises:
        ConfigError: A file that ``broker`` names cannot be used.
    """

    def __init__(
        self, broker: BrokerConfig, *, client_id: str, tenant: str = ""
    ) -> None:
        self.most = broker.receive_maximum
        # Another tenant's stations have their own gateway, whose answer counts.
        group = f"$share/{broker.shared}/" if broker.shared else ""
        self._filters = [(group + every_up(name, tenant or "+"), 1) for name in _UPS]
        self._connection = 0
        self._subscribed = Event()
        self._stopping = False
        self._receipts: dict[int, float] = {}  # since when each is on its way
        self._arrived: deque[int] = deque()  # those of them that the broker has
        self._client = _client(broker, client_id)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_disconnect = self._on_disconnect
        self._client.on_message = self._on_message
        self._client.on_publish = self._on_publish

    @property
    def connected(self) -> bool:
        return self._subscribed.is_set()

    def start(self, take: Take) -> None:
        self._take = take
        self._client.loop_start()

    def stop(self) -> None:
        self._stopping = True
        self._client.disconnect()
        self._client.loop_stop()
        self._subscribed.clear()

    def publish(self, topic: str, payload: bytes) -> None:
        sent = self._client.publish(topic, payload, qos=1)
        if sent.rc == MQTTErrorCode.MQTT_ERR_QUEUE_SIZE:
            _log.warning("receipt.unsent")
            return
        self._receipts[sent.mid] = monotonic()
        # Only here, for the broker may be quicker than the line above.
        while self._arrived:
            self._receipts.pop(self._arrived.popleft(), None)

    def unsent_s(self) -> float:
        arrived = {*self._arrived.copy()}
        since = [at for mid, at in self._receipts.copy().items() if mid not in arrived]
        return monotonic() - min(since) if since else 0.0

    # Callbacks, in paho's thread

    def _on_connect(self, client: Client, _data: object, *more: object) -> None:
        _flags, reason, *_ = more
        if getattr(reason, "is_failure", False):
            _log.warning("broker.refused", extra={"reason": str(reason)})
            return
        # A broker that lost its state knows nothing of us: subscribe every time.
        self._connection += 1
        client.subscribe(self._filters)

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
        self._subscribed.set()

    def _on_disconnect(self, _client: Client, _data: object, *more: object) -> None:
        _flags, reason, *_ = more
        self._subscribed.clear()
        if not self._stopping:
            _log.warning("broker.lost", extra={"reason": str(reason)})

    def _on_message(self, _client: Client, _data: object, came: MQTTMessage) -> None:
        try:
            topic = came.topic
        except UnicodeDecodeError:
            topic = "(no UTF-8)"
        message = Message.of(topic, bytes(came.payload), time_ns() // 1_000_000)
        self._take(
            message, partial(self._acknowledge, came.mid, came.qos, self._connection)
        )

    def _on_publish(self, _client: Client, _data: object, mid: int, *_: object) -> None:
        self._arrived.append(mid)

    def _acknowledge(self, mid: int, qos: int, connection: int) -> None:
        # A number of a connection that is gone may mean another message now.
        if connection == self._connection:
            self._client.ack(mid, qos)


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
    client.max_inflight_messages_set(_RECEIPTS_IN_FLIGHT)
    client.reconnect_delay_set(*_RECONNECT_S)
    introduce(client, broker)
    if not newer:
        client.connect_async(broker.host, broker.port, _KEEPALIVE_S)
        return client
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = 0 if broker.shared else _SESSION_S
    properties.ReceiveMaximum = broker.receive_maximum
    client.connect_async(
        broker.host,
        broker.port,
        _KEEPALIVE_SHARED_S if broker.shared else _KEEPALIVE_S,
        clean_start=bool(broker.shared),
        properties=properties,
    )
    return client


def introduce(client: Client, broker: BrokerConfig) -> None:
    """Let a client reach the broker as its settings say: by TLS, under a name.

    Raises:
        ConfigError: A file that they name cannot be used.
    """
    if broker.tls:
        client.tls_set_context(tls(broker.ca))
    if broker.username:
        file = broker.password_file
        name = "broker.password_file"
        password = first_line(name, Path(file)) if file else None
        client.username_pw_set(broker.username, password)


def tls(ca: str) -> ssl.SSLContext:
    """Return what to check a broker's certificate with.

    Raises:
        ConfigError: The file of the authority cannot be used.
    """
    try:
        return ssl.create_default_context(cafile=ca or None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"broker.ca {ca}: {error}") from error

"""Empties the outbox: sends batches, and forgets them on the gateway's receipt.

The broker is a pipe that may lose everything. Its PUBACK means nothing here: a
batch is sent again, the same bytes, until a receipt names it.
"""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from time import time

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge_agent.config import Broker, Config
from edge_agent.health import Health
from edge_agent.outbox import Message, Outbox, OutboxError
from protocols.config import ConfigError
from protocols.errors import DecodeError
from protocols.uplink import receipt
from protocols.uplink.status import Status
from protocols.uplink.topics import Station

_log = logging.getLogger(__name__)

_WINDOW = 8  # batches without a receipt at a time
_RESEND_S = 20.0
_IDLE_S = 1.0
_OUTBOX_S = 10.0
_KEEPALIVE_S = 30
_PROTOCOLS = {
    "3.1.1": MQTTProtocolVersion.MQTTv311,
    "5": MQTTProtocolVersion.MQTTv5,
}


class Uplink:
    """The MQTT client that empties the outbox."""

    def __init__(
        self, config: Config, outbox: Outbox, health: Health, captured: asyncio.Event
    ) -> None:
        """Prepare to connect.

        Args:
            config: Which broker, and under which name.
            outbox: What to empty.
            health: Where the connection's state is told.
            captured: Set when there may be something new in the outbox.

        Raises:
            ConfigError: The password or the certificates can't be read.
        """
        self._topics = Station(config.tenant, config.station)
        self._outbox = outbox
        self._health = health
        self._captured = captured
        self._broker = config.broker
        self._receipts: asyncio.Queue[bytes] = asyncio.Queue()
        self._sent_at: dict[int, float] = {}
        self._connected = False
        self._loop = asyncio.get_running_loop()
        self._client = _client(
            config.broker, f"vitalwire-{config.tenant}-{config.station}"
        )
        self._client.on_connect = self._on_connect
        self._client.on_connect_fail = self._on_connect_fail
        self._client.on_disconnect = self._on_disconnect
        self._client.on_message = self._on_message
        self._client.will_set(
            self._topics.up("status"), self._status(online=False), qos=1, retain=True
        )

    async def run(self) -> None:
        """Send and forget, for ever; reconnect as often as needed."""
        self._client.connect_async(
            self._broker.host, self._broker.port, keepalive=_KEEPALIVE_S
        )
        self._client.loop_start()
        try:
            while True:
                try:
                    await self._step()
                except OutboxError as error:
                    # A full disk, say: what is there stays, and is tried again.
                    _log.warning("outbox.failed: %s", error)
                    await asyncio.sleep(_OUTBOX_S)
        finally:
            await asyncio.to_thread(self._stop)

    async def _step(self) -> None:
        self._captured.clear()
        if self._connected:
            await self._send()
        receipts = asyncio.ensure_future(self._receipts.get())
        captured = asyncio.ensure_future(self._captured.wait())
        try:
            await asyncio.wait(
                {receipts, captured},
                timeout=_IDLE_S,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if receipts.done():
                await self._forget(receipts.result())
        finally:
            captured.cancel()
            if not receipts.done():
                receipts.cancel()

    async def _send(self) -> None:
        now = asyncio.get_running_loop().time()
        waiting = await asyncio.to_thread(self._outbox.batches, 0, _WINDOW)
        for message in waiting:
            if now - self._sent_at.get(message.counter, -_RESEND_S) >= _RESEND_S:
                self._publish(message, now)
        # The first reading goes at once; while it is on its way others gather.
        while len(waiting) < _WINDOW:
            made = await asyncio.to_thread(
                self._outbox.make_batch,
                self._topics.station,
                _now_ms(),
                full_only=bool(waiting),
            )
            if made is None:
                return
            waiting.append(made)
            self._publish(made, now)

    def _publish(self, message: Message, now: float) -> None:
        self._client.publish(self._topics.up("batch"), message.message, qos=1)
        self._sent_at[message.counter] = now

    async def _forget(self, payload: bytes) -> None:
        try:
            given = receipt.decode(payload)
        except DecodeError as error:
            _log.warning("receipt.refused: %s", error)
            return
        if given.station != self._topics.station:
            _log.warning("receipt.refused: it is for another station")
            return
        settled = await asyncio.to_thread(self._outbox.forget, given.entries)
        for counter in settled:
            self._sent_at.pop(counter, None)
        self._health.receipts += len(settled)
        self._health.save()

    def _on_connect(
        self,
        client: mqtt.Client,
        _userdata: object,
        _flags: mqtt.ConnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        if reason.is_failure:
            self._call(self._tell, f"the broker refuses: {reason}")
            return
        client.subscribe(self._topics.down("receipt"), qos=1)
        client.publish(
            self._topics.up("status"), self._status(online=True), qos=1, retain=True
        )
        self._call(self._tell, "connected")

    def _on_connect_fail(self, _client: mqtt.Client, _userdata: object) -> None:
        where = f"{self._broker.host}:{self._broker.port}"
        self._call(self._tell, f"can't reach the broker at {where}")

    def _on_disconnect(
        self,
        _client: mqtt.Client,
        _userdata: object,
        _flags: mqtt.DisconnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        self._call(self._tell, f"not connected: {reason}")

    def _on_message(
        self, _client: mqtt.Client, _userdata: object, message: mqtt.MQTTMessage
    ) -> None:
        self._call(self._receipts.put_nowait, message.payload)

    def _call(self, function: Callable[..., None], *args: object) -> None:
        """Call a function in the agent's loop, from paho's thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *args)

    def _tell(self, state: str) -> None:
        if state == self._health.broker:
            return
        self._connected = state == "connected"
        # What was on its way may be lost with the connection: send it anew.
        self._sent_at.clear()
        self._captured.set()
        self._health.broker = state
        self._health.save()
        _log.info("broker: %s", state)

    def _status(self, *, online: bool) -> bytes:
        waiting = self._outbox.counts().waiting
        return Status(self._topics.station, online, _now_ms(), waiting).encode()

    def _stop(self) -> None:
        if self._connected:
            gone = self._client.publish(
                self._topics.up("status"), self._status(online=False), 1, retain=True
            )
            gone.wait_for_publish(1.0)
        self._client.disconnect()
        self._client.loop_stop()


def _client(broker: Broker, client_id: str) -> mqtt.Client:
    client = mqtt.Client(
        CallbackAPIVersion.VERSION2,
        client_id=client_id,
        protocol=_PROTOCOLS[broker.protocol],
    )
    client.reconnect_delay_set(1, 30)
    try:
        if broker.username is not None:
            secret = broker.password_file
            password = Path(secret).read_text().strip() if secret else None
            client.username_pw_set(broker.username, password)
        if broker.tls:
            client.tls_set(ca_certs=broker.ca)
    except OSError as error:
        problem = f"can't use its password_file or ca: {error}"
        raise ConfigError(f"[broker]: {problem}") from error
    return client


def _now_ms() -> int:
    return int(time() * 1000)

"""Empties the outbox: sends batches, and forgets them on the gateway's receipt.

The broker is a pipe that may lose everything. Its PUBACK means nothing here: a
batch is sent again, the same bytes, until a receipt names it.
"""

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from math import inf
from pathlib import Path
from time import time

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge_agent.batching import Make, UnderWay, Wait, Waiting, decide
from edge_agent.config import Broker, Config
from edge_agent.health import Health
from edge_agent.outbox import Outbox, OutboxError
from edge_agent.outbox_batches import Message
from protocols.config import ConfigError
from protocols.errors import DecodeError
from protocols.uplink import receipt
from protocols.uplink.receipt import Entry
from protocols.uplink.status import Status
from protocols.uplink.topics import Station

_log = logging.getLogger(__name__)

_IDLE_S = 30.0  # nothing is known to come, but looking costs little
_OUTBOX_S = 1.0
_RECEIPTS = 256  # held at most while the outbox fails: each is given again
_STATUS = 0  # no batch has this counter
_PATIENCE = 10  # times that which a batch is sent again after: a line may be slow
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
        self._policy = config.uplink.policy
        self._receipts: list[bytes] = []
        self._held: dict[int, int] = {}  # by paho's number of it: a batch's counter
        self._told_at: dict[int, float] = {}  # when a batch last went, or was taken
        self._oldest: tuple[int | None, float] = None, 0.0  # and since when it is
        self._connected = False
        self._greeted = False
        self._loop = asyncio.get_running_loop()
        self._client = _client(
            config.broker, f"vitalwire-{config.tenant}-{config.station}"
        )
        self._client.on_connect = self._on_connect
        self._client.on_connect_fail = self._on_connect_fail
        self._client.on_disconnect = self._on_disconnect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message
        self._client.on_publish = self._on_publish
        self._client.will_set(
            self._topics.up("status"), self._status(online=False), qos=1, retain=True
        )

    async def run(self) -> None:
        """Send and forget, for ever; reconnect as often as needed."""
        self._client.connect_async(
            self._broker.host, self._broker.port, keepalive=self._policy.keepalive_s
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
        await self._forget()
        wait_s = await self._send() if self._connected else _IDLE_S
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._captured.wait()

    async def _send(self) -> float:
        """Send what is due, and return for how many s nothing else will be."""
        if not self._greeted:
            await self._greet()
        urgent, others = await asyncio.to_thread(
            self._outbox.batches.waiting, self._policy.window
        )
        made = [*urgent, *others]
        known = {*made, *self._held.values()}
        self._told_at = {k: at for k, at in self._told_at.items() if k in known}
        waits_s = [await self._send_again(counter) for counter in made]
        while True:
            waiting = await self._waiting()
            under_way = UnderWay(len(urgent), len(others))
            match decide(self._policy, waiting, under_way):
                case Wait(seconds):
                    return min([_IDLE_S, *waits_s, *([seconds] if seconds else [])])
                case Make(readings):
                    new = await asyncio.to_thread(
                        self._outbox.batches.make,
                        self._topics.station,
                        _now_ms(),
                        readings,
                        fast=self._policy.fast,
                    )
            if new is not None:
                self._publish(new)
                (urgent if new.urgent else others).append(new.counter)

    async def _greet(self) -> None:
        if _STATUS not in self._held.values():
            status = await asyncio.to_thread(self._status, online=True)
            sent = self._client.publish(
                self._topics.up("status"), status, 1, retain=True
            )
            self._held[sent.mid] = _STATUS
        self._greeted = True

    async def _send_again(self, counter: int) -> float:
        """Send a batch that got no receipt, or return in how many s it is time to.

        What paho still holds it sends by itself, but only after a reconnect.
        """
        is_held = counter in self._held.values()
        wait_s = self._policy.resend_s * (_PATIENCE if is_held else 1)
        now = self._loop.time()
        since = now - self._told_at.get(counter, -inf)
        if since < wait_s:
            return wait_s - since
        if is_held:
            # A broker may drop what it is sent, and live on.
            self._told_at[counter] = now
            self._hang_up()
            return _IDLE_S
        message = await asyncio.to_thread(self._outbox.batches.message, counter)
        if message is not None:
            self._publish(message)
        return _IDLE_S

    def _publish(self, message: Message) -> None:
        sent = self._client.publish(self._topics.up("batch"), message.message, qos=1)
        self._held[sent.mid] = message.counter
        self._told_at[message.counter] = self._loop.time()

    async def _waiting(self) -> Waiting:
        """Return what waits for a batch; its age also where the clock goes back."""
        found = await asyncio.to_thread(
            self._outbox.batches.unbatched, self._policy.batch_readings
        )
        now = self._loop.time()
        if found.oldest != self._oldest[0]:
            self._oldest = found.oldest, now
        by_clock_s = (_now_ms() - found.oldest_ms) / 1000
        oldest_s = max(by_clock_s, now - self._oldest[1])
        return Waiting(found.urgent, found.others, oldest_s)

    async def _forget(self) -> None:
        """Forget what receipts name; they stay until that is written down."""
        payloads = [*self._receipts]
        entries: list[Entry] = []
        for payload in payloads:
            entries += await asyncio.to_thread(self._entries, payload)
        if entries:
            stored = await asyncio.to_thread(self._outbox.batches.forget, entries)
            self._health.receipts += len(stored)
            self._health.save()
        del self._receipts[: len(payloads)]

    def _entries(self, payload: bytes) -> tuple[Entry, ...]:
        try:
            given = receipt.decode(payload)
        except DecodeError as error:
            _log.warning("receipt.refused: %s", error)
            return ()
        if given.station != self._topics.station:
            _log.warning("receipt.refused: it is for another station")
            return ()
        return given.entries

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
        self._call(self._tell, "connected")

    def _on_subscribe(
        self,
        _client: mqtt.Client,
        _userdata: object,
        _mid: int,
        reasons: Sequence[ReasonCode],
        _properties: Properties | None,
    ) -> None:
        # Without receipts nothing would ever be forgotten, and all be sent for ever: a
        # cluster without a leader refuses for a while, so the connection is made anew.
        if any(reason.is_failure for reason in reasons):
            why = f"the broker refuses receipts: {reasons[0]}"
            self._call(self._tell, why)
            self._call(self._hang_up)

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
        self._call(self._received, message.payload)

    def _on_publish(
        self,
        _client: mqtt.Client,
        _userdata: object,
        number: int,
        _reason: ReasonCode,
        _properties: Properties,
    ) -> None:
        self._call(self._taken, number)

    def _call(self, function: Callable[..., None], *args: object) -> None:
        """Call a function in the agent's loop, from paho's thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *args)

    def _received(self, payload: bytes) -> None:
        if len(self._receipts) < _RECEIPTS:
            self._receipts.append(payload)
        self._captured.set()

    def _taken(self, number: int) -> None:
        counter = self._held.pop(number, _STATUS)
        if counter != _STATUS:
            self._told_at[counter] = self._loop.time()
            self._captured.set()

    def _tell(self, state: str) -> None:
        if state == self._health.broker:
            return
        self._connected = state == "connected"
        self._greeted = False
        # What the broker took may be lost with the connection: send it anew. What
        # paho holds it sends on the next.
        self._told_at = dict.fromkeys(self._held.values(), self._loop.time())
        self._captured.set()
        self._health.broker = state
        self._health.save()
        _log.info("broker: %s", state)

    def _status(self, *, online: bool) -> bytes:
        waiting = self._outbox.counts().waiting
        return Status(self._topics.station, online, _now_ms(), waiting).encode()

    def _hang_up(self) -> None:
        """Break the connection; paho makes another, and sends all that it holds."""
        line = self._client.socket()
        if isinstance(line, socket.socket):
            with suppress(OSError):
                # Not a TLS socket's own: that is no thing for a second thread.
                socket.socket.shutdown(line, socket.SHUT_RDWR)

    def _stop(self) -> None:
        try:
            if self._connected:
                status = self._status(online=False)
                gone = self._client.publish(
                    self._topics.up("status"), status, 1, retain=True
                )
                with suppress(RuntimeError):  # the line broke meanwhile
                    gone.wait_for_publish(1.0)
            self._client.disconnect()
        except OutboxError as error:
            # The broker tells our will, for we do not take leave of it.
            _log.warning("outbox.failed: %s", error)
            self._hang_up()
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

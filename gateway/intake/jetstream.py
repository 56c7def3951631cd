"""JetStream in: one of any number of gateways that pull from a replicated stream.

Stations speak MQTT to whichever server of a NATS cluster; each turns the topic
``vw/1/T/S/up/batch`` into the subject ``vw.1.T.S.up.batch``, which the stream keeps.
All gateways share one durable consumer: a message is given to one of them, and to
another if it is not acknowledged in time. A receipt is published on the subject that
the station's server turns into its topic.

Source: https://docs.nats.io, "JetStream" (streams, pull consumers) and "MQTT" (topics
and subjects); ADR-13 of nats-architecture-and-design for pull requests.
"""

import asyncio
import logging
import ssl
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Event, Thread
from time import monotonic, time_ns
from typing import Any

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, RetentionPolicy, StreamConfig
from nats.js.errors import NotFoundError

from gateway.config import NatsConfig
from gateway.delivery import Message
from gateway.intake.source import Take
from protocols.config import ConfigError

_PER_STATION = 256  # messages in the stream; a station has at most 128 on their way
_KEPT_S = 24 * 3_600.0
_ACK_WAIT_S = 15.0  # below the 20 s after which a station sends again
_AT_A_TIME = 64
_FETCH_S = 1.0  # after a reconnect a request may be lost for so long
_AGAIN_S = 1.0
_LOOK_UP_S = 0.1
_STOP_S = 5.0
_ASK_S = 2.0  # longer than an answer takes, shorter than the choice of a leader

_log = logging.getLogger(__name__)


class JetStreamSource:
    """A `gateway.intake.source.Source` that is a NATS cluster.

    Args:
        config: Where it is, and which stream.
        tenant: The only tenant whose messages are pulled; empty pulls each.

    Raises:
        ConfigError: A file that ``config`` names cannot be used.
    """

    def __init__(self, config: NatsConfig, *, tenant: str = "") -> None:
        self.most = config.receive_maximum
        self._config = config
        _check_credentials(config.credentials)
        self._subject = f"vw.1.{tenant or '*'}.*.up.>"
        self._consumer = f"gateway-{tenant}" if tenant else "gateway"
        self._tls = tls(config)
        self._ready = Event()
        self._held: dict[str, Msg] = {}  # by what they are acknowledged on
        self._outgoing: deque[tuple[str, bytes, float]] = deque()
        self._thread = Thread(target=self._run, name="jetstream", daemon=True)

    @property
    def connected(self) -> bool:
        return self._ready.is_set()

    def start(self, take: Take) -> None:
        self._take = take
        self._loop = _new_loop()
        self._stopping, self._roused = asyncio.Event(), asyncio.Event()
        self._freed = asyncio.Event()
        self._thread.start()

    def stop(self) -> None:
        if self._thread.is_alive():
            self._call(self._stopping.set)
            self._call(self._freed.set)
            self._thread.join()
        self._ready.clear()

    def publish(self, topic: str, payload: bytes) -> None:
        self._send(topic.replace("/", "."), payload)

    def unsent_s(self) -> float:
        try:
            return monotonic() - self._outgoing[0][2]
        except IndexError:
            return 0.0

    def _acknowledge(self, reply: str) -> None:
        self._send(reply, b"+ACK")

    def _send(self, subject: str, payload: bytes) -> None:
        self._outgoing.append((subject, payload, monotonic()))
        self._call(self._roused.set)

    def _call(self, function: Any) -> None:  # noqa: ANN401 - the loop's own type
        with suppress(RuntimeError):  # the loop is closed: we are stopped
            self._loop.call_soon_threadsafe(function)

    # In the loop's thread

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        connecting = asyncio.create_task(self._connect())
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait({connecting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not connecting.done():
            await _cancel([connecting])
            return
        client = connecting.result()
        parts = [
            asyncio.create_task(part(client))
            for part in (self._pull, self._deliver, self._hold)
        ]
        await asyncio.wait({stopping, *parts}, return_when=asyncio.FIRST_COMPLETED)
        # What a cancelled request had been given would wait for its time to run out.
        await asyncio.wait(parts[:1], timeout=2 * _FETCH_S)
        await _cancel(parts)
        with suppress(Error, TimeoutError):
            async with asyncio.timeout(_STOP_S):
                await self._leave(client)
        for part in parts:
            if not part.cancelled() and (error := part.exception()):
                raise error

    async def _connect(self) -> Client:
        """Return a client that reconnects for ever, as soon as there is a server."""
        while True:
            try:
                return await nats.connect(
                    servers=list(self._config.servers),
                    name="vitalwire gateway",
                    user_credentials=self._config.credentials or None,
                    tls=self._tls,
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=1.0,
                    ping_interval=10,
                    error_cb=self._on_error,
                    disconnected_cb=self._on_disconnected,
                )
            except (Error, OSError, TimeoutError) as error:
                self._on_refused(error)
                await asyncio.sleep(_AGAIN_S)

    async def _on_error(self, error: Exception) -> None:
        _log.warning("broker.error", extra={"error": type(error).__name__})

    async def _on_disconnected(self) -> None:
        self._ready.clear()
        if not self._stopping.is_set():
            _log.warning("broker.lost", extra={"reason": "the connection broke"})

    def _on_refused(self, error: BaseException) -> None:
        reason = str(error) or type(error).__name__
        _log.warning("broker.refused", extra={"reason": reason})

    async def _pull(self, client: Client) -> None:
        """Give on what comes until we stop; make stream and consumer if missing."""
        js = client.jetstream(timeout=_ASK_S)
        while not self._stopping.is_set():
            if not client.is_connected:
                await asyncio.sleep(_LOOK_UP_S)
                continue
            try:
                await self._prepare(js)
                pull = await js.pull_subscribe_bind(self._consumer, self._config.stream)
                _log.info("broker.connected")
                self._ready.set()
                self._roused.set()
                try:
                    while self._ready.is_set() and not self._stopping.is_set():
                        await self._fetch(pull)
                finally:
                    with suppress(Error):
                        await pull.unsubscribe()
            except (Error, TimeoutError) as error:
                self._ready.clear()
                self._on_refused(error)
                await asyncio.sleep(_AGAIN_S)

    async def _prepare(self, js: JetStreamContext) -> None:
        config = self._config
        try:
            await js.stream_info(config.stream)
        except NotFoundError:
            await js.add_stream(
                StreamConfig(
                    name=config.stream,
                    subjects=["vw.1.*.*.up.>"],
                    # What a gateway has stored is of no more use.
                    retention=RetentionPolicy.WORK_QUEUE,
                    num_replicas=config.replicas,
                    max_msgs_per_subject=_PER_STATION,
                    max_age=_KEPT_S,
                )
            )
        await js.add_consumer(
            config.stream,
            ConsumerConfig(
                durable_name=self._consumer,
                filter_subject=self._subject,
                ack_policy=AckPolicy.EXPLICIT,
                ack_wait=_ACK_WAIT_S,
                max_ack_pending=-1,  # each gateway has its own limit
            ),
        )

    async def _fetch(self, pull: JetStreamContext.PullSubscription) -> None:
        """Give on what comes within some seconds, as far as there is room for it."""
        room = self.most - len(self._held)
        if room < 1:
            self._freed.clear()
            await self._freed.wait()
            return
        try:
            came = await pull.fetch(min(room, _AT_A_TIME), timeout=_FETCH_S)
        except TimeoutError:
            return
        for one in came:
            self._held[one.reply] = one
            message = Message.of(
                one.subject.replace(".", "/"), one.data, time_ns() // 1_000_000
            )
            self._take(message, partial(self._acknowledge, one.reply))

    async def _deliver(self, client: Client) -> None:
        """Send receipts and acknowledgements, in their order, for ever."""
        while True:
            await self._roused.wait()
            self._roused.clear()
            await self._send_all(client)

    async def _send_all(self, client: Client) -> None:
        while self._outgoing and client.is_connected:
            subject, payload, _ = self._outgoing[0]
            try:
                await client.publish(subject, payload)
            except Error as error:
                # What can't go comes again: the message, or from its station.
                _log.warning("receipt.unsent", extra={"error": type(error).__name__})
            self._outgoing.popleft()
            self._held.pop(subject, None)
            self._freed.set()

    async def _hold(self, client: Client) -> None:
        """Tell the cluster, for ever, that what waits here is not forgotten."""
        known: set[str] = set()
        while True:
            await asyncio.sleep(_ACK_WAIT_S / 3)
            for reply in known & self._held.keys():
                with suppress(Error):
                    await client.publish(reply, b"+WPI")
            known = {*self._held}

    async def _leave(self, client: Client) -> None:
        """Say what there is to say, and give back at once what was not stored."""
        await self._send_all(client)
        for reply in self._held:
            await client.publish(reply, b"-NAK")
        await client.flush()
        await client.close()


async def _cancel(tasks: Sequence[asyncio.Task[Any]]) -> None:
    # Before Python 3.12 asyncio.wait_for may lose a cancellation.
    while left := [task for task in tasks if not task.done()]:
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=_LOOK_UP_S)


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop  # noqa: PLC0415 - not on every system
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


def _check_credentials(file: str) -> None:
    try:
        if file:
            Path(file).read_bytes()
    except OSError as error:
        raise ConfigError(f"nats.credentials {file}: {error}") from error


def tls(config: NatsConfig) -> ssl.SSLContext | None:
    """Return what to check the servers' certificates with; None if none has one.

    Raises:
        ConfigError: A file that ``config`` names cannot be used.
    """
    if not any(server.startswith("tls://") for server in config.servers):
        return None
    try:
        return ssl.create_default_context(cafile=config.ca or None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"nats.ca {config.ca}: {error}") from error

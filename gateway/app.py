"""The composition root: builds all parts of a gateway, and runs them until told not to.

broker ─► ingest ─► store ─► api ─► page
"""

import asyncio
import errno
import fcntl
import gc
import logging
import os
import secrets
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import msgspec
import uvicorn
from fastapi import FastAPI

from gateway import api, tracing
from gateway.access import Access
from gateway.broker import Broker
from gateway.census import Census
from gateway.config import Config, HttpConfig
from gateway.ingest import Ingest
from gateway.intake.jetstream import JetStreamSource
from gateway.intake.mqtt import MqttSource
from gateway.intake.source import Source
from gateway.live import Live
from gateway.metrics import Metrics
from gateway.openers import ROWS_BETWEEN_COLLECTIONS
from gateway.registry import Registry
from gateway.store import Store
from gateway.store.opening import open_store
from gateway.webhooks import Webhooks
from gateway.webhooks.courier import Courier
from gateway.webhooks.message import Composer
from gateway.webhooks.target import Targets
from protocols import compiled

_CONNECT_S = 10.0
_FOREIGN_CONNECT_S = 2.0
_LOOK_UP_S = 1.0

_log = logging.getLogger(__name__)


class CannotRun(Exception):
    """The gateway can't start, or can't go on; the text says why."""


@dataclass(frozen=True)
class Addresses:
    """Where a gateway can be reached.

    Attributes:
        http: The page's address.
        mqtt_host: The broker's host; empty where stations use a NATS cluster's own.
        mqtt_port: Its MQTT port; 0 likewise.
    """

    http: str
    mqtt_host: str
    mqtt_port: int


async def serve(config: Config, ready: Callable[[Addresses], None]) -> None:
    """Run a gateway until SIGINT or SIGTERM, and end it in order.

    Args:
        config: Checked by `gateway.config.check`.
        ready: Called once, when readings can come in and be asked for.

    Raises:
        CannotRun: Another gateway uses the folder, a port is taken, a part died.
        BrokerError: The embedded broker cannot run.
        StoreUnusable: The store cannot be opened.
        ConfigError: A file that the settings name cannot be used.
    """
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with (
        _own(config.folder, alone=not config.grouped) as folder,
        _listen(config.http) as listener,
        _broker(config, folder) as settings,
        _store(config) as store,
        tracing.running(config.telemetry) as traces,
    ):
        await _run(settings, folder, listener, store, traces, stop, ready)


async def _run(  # noqa: PLR0917 - each is one part
    config: Config,
    folder: Path,
    listener: socket.socket,
    store: Store,
    traces: tracing.Tracing | None,
    stop: asyncio.Event,
    ready: Callable[[Addresses], None],
) -> None:
    """Tie the parts together, and run them until told to stop."""
    metrics, live = Metrics(), Live()
    ingest = Ingest(
        _source(config, folder),
        store,
        metrics,
        tenant=config.tenant,
        behind=True,
        announce=live.announce,
        tracing=traces,
    )
    beside = None if config.store.url else folder
    metrics.registry.register(Census(store.database, beside))
    access = Access(store.database, open_local=config.http.access == "local")
    registry = Registry(store.database)
    parts = api.Parts(
        store,
        ingest,
        live,
        metrics,
        access,
        registry,
        names=_names(config.http),
        networks=config.webhooks.networks,
    )
    courier = Courier(
        Webhooks(store.database),
        Composer(store, registry, access),
        access,
        Targets(config.webhooks.networks),
        give_up_ms=round(config.webhooks.give_up_hours * 3_600_000),
    )
    mqtt = (config.broker.host, config.broker.port)
    addresses = Addresses(
        _url(listener, config.http), *(mqtt if config.source == "mqtt" else ("", 0))
    )
    patience_s = _CONNECT_S if config.embedded else _FOREIGN_CONNECT_S
    async with _warming(), _running(ingest), _telling(courier) as telling:
        if not await _connected(ingest, stop, patience_s):
            if config.embedded and not stop.is_set():
                raise CannotRun("the embedded broker refuses the gateway")
            _log.warning("broker.awaited")
        live.open()
        await _serve_web(
            _Server(api.build(parts), config.http, lambda: ready(addresses)),
            listener,
            lambda: ingest.working and not telling.done(),
            stop,
            live,
        )


async def _connected(ingest: Ingest, stop: asyncio.Event, patience_s: float) -> bool:
    """Wait for the broker a while; return whether it is there."""
    waits = (
        asyncio.create_task(asyncio.to_thread(ingest.wait_connected, patience_s)),
        asyncio.create_task(stop.wait()),
    )
    _, rest = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in rest:
        wait.cancel()
    return ingest.connected


async def _serve_web(
    server: uvicorn.Server,
    listener: socket.socket,
    working: Callable[[], bool],
    stop: asyncio.Event,
    live: Live,
) -> None:
    """Serve until told to stop, or until a part is no more."""
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while working() and not (stop.is_set() or serving.done()):
        try:
            async with asyncio.timeout(_LOOK_UP_S):
                await stop.wait()
        except TimeoutError:
            continue
    live.close()
    server.should_exit = True
    await serving
    if not stop.is_set():
        raise CannotRun("a part of the gateway ended; its log tells")


class _Server(uvicorn.Server):
    """Says when it is ready, and leaves signals to us, who have more to stop."""

    def __init__(
        self, web: FastAPI, http: HttpConfig, ready: Callable[[], None]
    ) -> None:
        if http.tls_cert:
            _check_certificate(http)
        super().__init__(
            uvicorn.Config(
                web,
                log_config=None,
                access_log=False,
                lifespan="off",
                server_header=False,
                ssl_certfile=http.tls_cert or None,
                ssl_keyfile=http.tls_key or None,
                timeout_graceful_shutdown=1,
            )
        )
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()

    def capture_signals(self) -> nullcontext[None]:  # type: ignore[override]
        return nullcontext()


@contextmanager
def _own(folder: Path, *, alone: bool) -> Iterator[Path]:
    """Make the folder this process's own; two would take each other's session.

    One of a group keeps nothing in it, and has a session of its own.
    """
    if not alone:
        yield folder
        return
    with ExitStack() as held:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = held.enter_context((folder / "lock").open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CannotRun(f"another gateway runs on {folder}") from error
        except FileExistsError as error:
            raise CannotRun(f"{folder} is no folder") from error
        except OSError as error:
            raise CannotRun(f"{folder}: {error.strerror}") from error
        yield folder


@contextmanager
def _listen(http: HttpConfig) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in http.host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((http.host, http.port))
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            advice = "; choose another with --http-port" if taken else ""
            raise CannotRun(
                f"port {http.port} of {http.host} cannot be had for HTTP: "
                f"{error.strerror}{advice}"
            ) from error
        yield listener


@contextmanager
def _broker(config: Config, folder: Path) -> Iterator[Config]:
    """Run the embedded broker if it is wanted; yield the settings with its port."""
    if not config.embedded:
        yield config
        return
    broker = Broker(
        folder / "broker",
        config.broker.host,
        config.broker.port,
        config.broker.receive_maximum,
    )
    broker.start()
    try:
        settings = msgspec.structs.replace(config.broker, port=broker.port)
        yield msgspec.structs.replace(config, broker=settings)
    finally:
        broker.stop()


@contextmanager
def _store(config: Config) -> Iterator[Store]:
    store = open_store(config)
    try:
        yield store
    finally:
        store.close()


@asynccontextmanager
async def _warming() -> AsyncIterator[None]:
    """Get the kernels compiled meanwhile; until then their plain forms decode."""
    warming = asyncio.create_task(_warm())
    try:
        yield
    finally:
        warming.cancel()
        await asyncio.wait({warming})


async def _warm() -> None:
    reason = await compiled.warm() or "compiled"
    # What is loaded by now stays: a long page would wait while all of it is looked
    # through for garbage.
    gc.freeze()
    gc.set_threshold(ROWS_BETWEEN_COLLECTIONS)
    _log.info("kernels.ready", extra={"reason": reason})


@asynccontextmanager
async def _running(ingest: Ingest) -> AsyncIterator[None]:
    ingest.start()
    try:
        yield
    finally:
        await asyncio.to_thread(ingest.stop)
        _log.info("gateway.stopped")


@asynccontextmanager
async def _telling(courier: Courier) -> AsyncIterator[asyncio.Task[None]]:
    telling = asyncio.create_task(courier.run())
    try:
        yield telling
    finally:
        telling.cancel()
        await asyncio.wait({telling})
        if not telling.cancelled():
            _log.error("webhooks.stopped", exc_info=telling.exception())


def _check_certificate(http: HttpConfig) -> None:
    try:
        # A key under a passphrase would be asked for at the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
            http.tls_cert, http.tls_key, password=lambda: b""
        )
    except OSError as error:
        raise CannotRun(
            f"http.tls_cert {http.tls_cert}, http.tls_key {http.tls_key}: {error}"
        ) from error


def _names(http: HttpConfig) -> tuple[str, ...] | None:
    """Return the hosts to serve; None is every one."""
    if http.access == "token" and not http.names:
        return None
    return (http.host, *http.names)


def _source(config: Config, folder: Path) -> Source:
    if config.source == "jetstream":
        return JetStreamSource(config.nats, tenant=config.tenant)
    client_id = _new_client_id() if config.grouped else _client_id(folder)
    return MqttSource(config.broker, client_id=client_id, tenant=config.tenant)


def _new_client_id() -> str:
    return f"vitalwire-gateway-{secrets.token_hex(6)}"


def _client_id(folder: Path) -> str:
    """Return this gateway's name at the broker, drawn once."""
    file = folder / "client-id"
    if not file.exists():
        part = file.with_suffix(".part")  # a power cut must not leave half a name
        with part.open("w", encoding="ascii") as whole:
            whole.write(_new_client_id())
            whole.flush()
            os.fsync(whole.fileno())
        part.replace(file)
    return file.read_text(encoding="ascii").strip()


def _url(listener: socket.socket, http: HttpConfig) -> str:
    host, port = listener.getsockname()[:2]
    scheme = "https" if http.tls_cert else "http"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/"

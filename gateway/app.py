"""The composition root: builds all parts of a gateway, and runs them until told not to.

broker ─► ingest ─► store ─► api ─► page
"""

import asyncio
import errno
import fcntl
import logging
import os
import secrets
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import msgspec
import uvicorn
from fastapi import FastAPI

from gateway import api
from gateway.broker import Broker
from gateway.config import Config, HttpConfig
from gateway.ingest import Ingest
from gateway.live import Live
from gateway.metrics import Metrics
from gateway.store import Store, Stored
from gateway.store.sqlite import SqliteStore
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
        mqtt_host: The broker's host.
        mqtt_port: Its MQTT port.
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
        _own(config.folder) as folder,
        _listen(config.http) as listener,
        _broker(config, folder) as settings,
        _store(folder) as store,
    ):
        await _run(settings, folder, listener, store, stop, ready)


async def _run(  # noqa: PLR0917 - each is one part
    config: Config,
    folder: Path,
    listener: socket.socket,
    store: Store,
    stop: asyncio.Event,
    ready: Callable[[Addresses], None],
) -> None:
    """Tie the parts together, and run them until told to stop."""
    broker, metrics, live = config.broker, Metrics(), Live[list[Stored]]()
    ingest = Ingest(
        broker,
        store,
        metrics,
        client_id=_client_id(folder),
        tenant=config.tenant,
        announce=live.announce,
    )
    web = api.build(api.Parts(store, ingest, live, metrics, config.http.host))
    addresses = Addresses(_url(listener), broker.host, broker.port)
    patience_s = _CONNECT_S if broker.embedded else _FOREIGN_CONNECT_S
    async with _warming(), _running(ingest):
        if not await _connected(ingest, stop, patience_s):
            if broker.embedded and not stop.is_set():
                raise CannotRun("the embedded broker refuses the gateway")
            _log.warning("broker.awaited")
        live.open()
        await _serve_web(web, listener, ingest, stop, live, lambda: ready(addresses))


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


async def _serve_web(  # noqa: PLR0917 - each is one part
    web: FastAPI,
    listener: socket.socket,
    ingest: Ingest,
    stop: asyncio.Event,
    live: Live[list[Stored]],
    ready: Callable[[], None],
) -> None:
    """Serve until told to stop, or until ingest is no more."""
    server = _Server(web, ready)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while ingest.working and not (stop.is_set() or serving.done()):
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

    def __init__(self, web: FastAPI, ready: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                web,
                log_config=None,
                access_log=False,
                lifespan="off",
                server_header=False,
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
def _own(folder: Path) -> Iterator[Path]:
    """Make the folder this process's own; two would take each other's session."""
    with ExitStack() as held:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = held.enter_context((folder / "lock").open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CannotRun(f"another gateway runs on {folder}") from error
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
    if not config.broker.embedded:
        yield config
        return
    broker = Broker(folder / "broker", config.broker.host, config.broker.port)
    broker.start()
    try:
        settings = msgspec.structs.replace(config.broker, port=broker.port)
        yield msgspec.structs.replace(config, broker=settings)
    finally:
        broker.stop()


@contextmanager
def _store(folder: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(folder / "readings.sqlite")
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
    _log.info("kernels: %s", await compiled.warm() or "compiled")


@asynccontextmanager
async def _running(ingest: Ingest) -> AsyncIterator[None]:
    ingest.start()
    try:
        yield
    finally:
        await asyncio.to_thread(ingest.stop)
        _log.info("gateway.stopped")


def _client_id(folder: Path) -> str:
    """Return this gateway's name at the broker, drawn once."""
    file = folder / "client-id"
    if not file.exists():
        part = file.with_suffix(".part")  # a power cut must not leave half a name
        with part.open("w", encoding="ascii") as whole:
            whole.write(f"vitalwire-gateway-{secrets.token_hex(6)}")
            whole.flush()
            os.fsync(whole.fileno())
        part.replace(file)
    return file.read_text(encoding="ascii").strip()


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"

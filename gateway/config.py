"""The gateway's settings: one TOML file, and defaults that need none."""

import ipaddress
import os
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec

from protocols.config import ConfigError, read
from protocols.uplink.topics import check_id

Port = Annotated[int, msgspec.Meta(ge=0, le=65_535)]
InFlight = Annotated[int, msgspec.Meta(ge=1, le=20_000)]


class BrokerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How stations reach the gateway.

    Attributes:
        embedded: Whether the gateway runs a broker of its own.
        host: The address of the broker; the embedded one listens there.
        port: Its MQTT port, 1 to 65535; 0 lets the embedded broker choose.
        tls: Whether to speak TLS to a broker that is not embedded.
        ca: The PEM file of the authority to trust; empty is the system's.
        username: As the broker knows the gateway; empty is nobody.
        password_file: A file whose first line is the password.
        protocol: The version of MQTT; the embedded broker speaks 3.1.1 only.
        shared: The name of the group of gateways that share the broker's messages;
            empty is no group. It takes MQTT 5.
        receive_maximum: How many messages may be here without being stored, 1 to
            20000; MQTT 5 tells the broker, one of 3.1.1 has a limit of its own.
    """

    embedded: bool = True
    host: str = "127.0.0.1"
    port: Port = 1883
    tls: bool = False
    ca: str = ""
    username: str = ""
    password_file: str = ""
    protocol: Literal["5", "3.1.1"] = "3.1.1"
    shared: str = ""
    receive_maximum: InFlight = 200


class StoreConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where readings are kept.

    Attributes:
        url: The address of a PostgreSQL database, as
            ``postgresql://user@host/database?sslmode=verify-full``; empty is an
            SQLite file in the data folder.
        password_file: A file whose first line is the password; empty leaves it to
            libpq, which asks PGPASSFILE.
    """

    url: str = ""
    password_file: str = ""


class NatsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The NATS cluster whose JetStream the messages are pulled from.

    Attributes:
        servers: One URL or more, as ``nats://10.0.0.1:4222`` or ``tls://…``.
        stream: The stream's name; it is made if it is not there.
        replicas: How many servers then keep it: 1, 3 or 5.
        credentials: A ``.creds`` file; empty is nobody.
        ca: The PEM file of the authority to trust; empty is the system's.
        receive_maximum: How many messages may be here without being stored, 1 to
            20000.
    """

    servers: tuple[str, ...] = ()
    stream: str = "vitalwire"
    replicas: Literal[1, 3, 5] = 3
    credentials: str = ""
    ca: str = ""
    receive_maximum: InFlight = 200


class HttpConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the page and the API are served.

    Attributes:
        host: The address; one that other machines reach needs ``access = "token"``.
        port: 1 to 65535; 0 chooses a free one.
        access: ``local`` lets everybody on this machine see everything; ``token``
            asks everybody for one.
        names: The hosts that clients may ask for, without a port, besides ``host``
            and this machine's own; with ``access = "token"`` none is every host.
        tls_cert: The PEM file of the server's certificate and those above it; empty
            serves without TLS.
        tls_key: The PEM file of its key.
    """

    host: str = "127.0.0.1"
    port: Port = 8080
    access: Literal["local", "token"] = "local"
    names: tuple[str, ...] = ()
    tls_cert: str = ""
    tls_key: str = ""


class WebhooksConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whom the gateway may tell of readings, and how long it tries.

    Attributes:
        networks: Networks of private addresses that may be told besides public ones,
            as ``10.1.0.0/16``; plain http needs ``127.0.0.0/8`` or ``::1/128``.
        give_up_hours: For how long a reading is tried before it is a dead letter.
    """

    networks: tuple[str, ...] = ()
    give_up_hours: Annotated[float, msgspec.Meta(gt=0, le=8_760)] = 72.0


class TelemetryConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where traces go; none are made unless a place is named.

    Attributes:
        otlp_endpoint: The URL of a collector's OTLP/HTTP receiver, as
            ``http://127.0.0.1:4318``; empty is as OTEL_EXPORTER_OTLP_ENDPOINT says.
        sample: The share of batches that are traced, above 0, at most 1.
    """

    otlp_endpoint: str = ""
    sample: Annotated[float, msgspec.Meta(gt=0, le=1)] = 1.0


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All settings of one gateway.

    Attributes:
        tenant: The one tenant whose stations are served; empty serves each.
        data: The folder for all that lasts; empty is the user's data folder.
        source: Where messages come from: the broker, or a stream of a NATS cluster.
        broker: How stations reach the gateway.
        nats: The NATS cluster, where that is the source.
        store: Where readings are kept.
        http: Where the page and the API are served.
        webhooks: Whom the gateway may tell of readings.
        telemetry: Where traces go.
    """

    tenant: str = ""
    data: str = ""
    source: Literal["mqtt", "jetstream"] = "mqtt"
    broker: BrokerConfig = BrokerConfig()
    nats: NatsConfig = NatsConfig()
    store: StoreConfig = StoreConfig()
    http: HttpConfig = HttpConfig()
    webhooks: WebhooksConfig = WebhooksConfig()
    telemetry: TelemetryConfig = TelemetryConfig()

    @property
    def embedded(self) -> bool:
        """Whether the gateway runs a broker of its own."""
        return self.source == "mqtt" and self.broker.embedded

    @property
    def grouped(self) -> bool:
        """Whether other gateways take a part of the messages."""
        return self.source == "jetstream" or bool(self.broker.shared)

    @property
    def folder(self) -> Path:
        """The folder for all that lasts."""
        if self.data:
            return Path(self.data).expanduser()
        base = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
        return Path(base).expanduser() / "vitalwire" / "gateway"

    @property
    def sqlite(self) -> Path:
        """The file that readings are kept in, where ``store.url`` is empty."""
        return self.folder / "readings.sqlite"


# Settings that name a file.
_FILES = {
    "broker": ("ca", "password_file"),
    "nats": ("ca", "credentials"),
    "store": ("password_file",),
    "http": ("tls_cert", "tls_key"),
}


def load(
    path: Path | None,
    data: Path | None = None,
    *,
    http_port: int | None = None,
    mqtt_port: int | None = None,
) -> Config:
    """Read and check the settings, with what a command's options say in their place.

    Args:
        path: The TOML file, beside which files that it names are looked for; None is
            no file and all defaults.
        data: In place of ``data``.
        http_port: In place of ``http.port``.
        mqtt_port: In place of ``broker.port``.

    Raises:
        ConfigError: The file cannot be read, or its settings cannot be used.
    """
    replace = msgspec.structs.replace
    config = Config() if path is None else _read(path)
    if data is not None:
        config = replace(config, data=str(data))
    if http_port is not None:
        config = replace(config, http=replace(config.http, port=http_port))
    if mqtt_port is not None:
        config = replace(config, broker=replace(config.broker, port=mqtt_port))
    return check(config)


def check(config: Config) -> Config:
    """Return ``config`` if a gateway may run with it.

    Raises:
        ConfigError: It may not; the text says why, and what to do.
    """
    if config.tenant:
        _check_id("tenant", config.tenant)
    _check_http(config.http)
    _check_networks(config.webhooks.networks)
    _check_store(config.store)
    if config.source == "jetstream":
        _check_nats(config)
    elif config.nats != NatsConfig():
        raise ConfigError('[nats] needs source = "jetstream"')
    else:
        _check_broker(config.broker)
    if config.grouped and not config.store.url:
        group = "broker.shared" if config.broker.shared else 'source = "jetstream"'
        raise ConfigError(
            f"{group} is for several gateways over one store, and an SQLite file "
            "serves one alone: set store.url"
        )
    endpoint = config.telemetry.otlp_endpoint
    if endpoint and not endpoint.startswith(("http://", "https://")):
        raise ConfigError(
            f"telemetry.otlp_endpoint {endpoint!r} is no URL of a collector, such as "
            "http://127.0.0.1:4318"
        )
    return config


def _check_id(name: str, value: str) -> None:
    try:
        check_id(name, value)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _check_http(http: HttpConfig) -> None:
    if http.access == "local" and not is_loopback(http.host):
        raise ConfigError(
            f"http.host {http.host!r} is reachable from other machines: use 127.0.0.1, "
            'or set http.access = "token" to ask everybody for one'
        )
    if bool(http.tls_cert) is not bool(http.tls_key):
        raise ConfigError("http.tls_cert and http.tls_key need each other")


def _check_networks(networks: tuple[str, ...]) -> None:
    for network in networks:
        try:
            ipaddress.ip_network(network)
        except ValueError as error:
            raise ConfigError(f"webhooks.networks: {error}") from error


def _check_store(store: StoreConfig) -> None:
    if not store.url:
        if store.password_file:
            raise ConfigError("store.password_file needs a store.url")
        return
    if not store.url.startswith(("postgresql://", "postgres://")):
        raise ConfigError(
            "store.url is no address such as postgresql://user@host/database; left "
            "out, readings are kept in the data folder"
        )
    # Whoever keeps an SQLite file need not wait for what PostgreSQL needs.
    from psycopg import ProgrammingError  # noqa: PLC0415
    from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415

    try:
        found = conninfo_to_dict(store.url)
    except ProgrammingError as error:
        raise ConfigError(f"store.url: {str(error).strip()}") from error
    if "password" in found:
        raise ConfigError(
            "store.url holds a password, which is shown and logged with it: put it "
            "into a file, and name that in store.password_file"
        )
    hosts = str(found.get("host") or found.get("hostaddr") or "/").split(",")
    local = all(host.startswith("/") or is_loopback(host) for host in hosts)
    if not local and "sslmode" not in found:
        raise ConfigError(
            "store.url does not say whether readings cross the network in the clear: "
            "add ?sslmode=verify-full&sslrootcert=FILE, or ?sslmode=disable where the "
            "network is yours alone"
        )


def _check_nats(config: Config) -> None:
    nats = config.nats
    if config.broker != BrokerConfig():
        raise ConfigError(
            '[broker] has no use with source = "jetstream", whose stations use the '
            "cluster's own MQTT listeners: leave it out"
        )
    if not nats.servers:
        raise ConfigError("nats.servers is missing: name one server or more")
    for server in nats.servers:
        found = urlsplit(server)
        if found.scheme not in {"nats", "tls"} or not found.hostname:
            raise ConfigError(
                f"nats.servers: {server!r} is no URL such as nats://10.0.0.1:4222 or "
                "tls://nats.example:4222"
            )
        secret = nats.credentials or found.username
        if secret and found.scheme != "tls" and not is_loopback(found.hostname):
            raise ConfigError(
                f"nats.credentials would cross the network in the clear to "
                f"{found.hostname}: use tls://"
            )
    if nats.ca and not any(server.startswith("tls://") for server in nats.servers):
        raise ConfigError("nats.ca needs a server with tls://")
    _check_id("nats.stream", nats.stream)


def _check_broker(broker: BrokerConfig) -> None:
    if broker.shared:
        _check_id("broker.shared", broker.shared)
        if broker.embedded or broker.protocol != "5":
            raise ConfigError(
                "broker.shared takes a broker of MQTT 5: set broker.embedded = false "
                'and broker.protocol = "5"'
            )
    if not broker.embedded:
        if not broker.port:
            raise ConfigError("broker.port 0 needs broker.embedded = true")
        if (broker.username or broker.password_file) and not (
            broker.tls or is_loopback(broker.host)
        ):
            raise ConfigError(
                "broker.username would cross the network in the clear: "
                "set broker.tls = true"
            )
        return
    if not is_loopback(broker.host):
        raise ConfigError(
            f"broker.host {broker.host!r} is not this machine, and the embedded "
            "broker lets everybody in: use 127.0.0.1, or set broker.embedded = false "
            "to use a broker with access control"
        )
    for name in ("tls", "ca", "username", "password_file"):
        if getattr(broker, name):
            raise ConfigError(f"broker.{name} needs broker.embedded = false")
    if broker.protocol != "3.1.1":
        raise ConfigError(
            "the embedded broker speaks MQTT 3.1.1: leave broker.protocol out, or set "
            "broker.embedded = false"
        )


def is_loopback(host: str) -> bool:
    """Whether a host is this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _read(path: Path) -> Config:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    replace = msgspec.structs.replace
    config = read(text, Config, str(path))
    config = replace(config, data=_beside(path, config.data))
    for part, names in _FILES.items():
        settings = getattr(config, part)
        found = {name: _beside(path, getattr(settings, name)) for name in names}
        config = replace(config, **{part: replace(settings, **found)})
    return config


def _beside(path: Path, name: str) -> str:
    return str(path.parent / Path(name).expanduser()) if name else name

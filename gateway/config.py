"""The gateway's settings: one TOML file, and defaults that need none."""

import ipaddress
import os
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from protocols.config import ConfigError, read
from protocols.uplink.topics import check_id

Port = Annotated[int, msgspec.Meta(ge=0, le=65_535)]


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
    """

    embedded: bool = True
    host: str = "127.0.0.1"
    port: Port = 1883
    tls: bool = False
    ca: str = ""
    username: str = ""
    password_file: str = ""
    protocol: Literal["5", "3.1.1"] = "3.1.1"


class HttpConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the page and the API are served.

    Attributes:
        host: A loopback address.
        port: 1 to 65535; 0 chooses a free one.
    """

    host: str = "127.0.0.1"
    port: Port = 8080


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All settings of one gateway.

    Attributes:
        tenant: The one tenant whose stations are served; empty serves each.
        data: The folder for all that lasts; empty is the user's data folder.
        broker: How stations reach the gateway.
        http: Where the page and the API are served.
    """

    tenant: str = ""
    data: str = ""
    broker: BrokerConfig = BrokerConfig()
    http: HttpConfig = HttpConfig()

    @property
    def folder(self) -> Path:
        """The folder for all that lasts."""
        if self.data:
            return Path(self.data).expanduser()
        base = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
        return Path(base).expanduser() / "vitalwire" / "gateway"


def load(path: Path | None) -> Config:
    """Read the settings; file names in them are relative to their own file.

    Args:
        path: The TOML file; None is no file and all defaults.

    Raises:
        ConfigError: The file cannot be read, or its settings cannot be used.
    """
    if path is None:
        return Config()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    config = read(text, Config, str(path))
    broker = config.broker
    return msgspec.structs.replace(
        config,
        data=_beside(path, config.data),
        broker=msgspec.structs.replace(
            broker,
            ca=_beside(path, broker.ca),
            password_file=_beside(path, broker.password_file),
        ),
    )


def check(config: Config) -> Config:
    """Return ``config`` if a gateway may run with it.

    Raises:
        ConfigError: It may not; the text says why, and what to do.
    """
    if config.tenant:
        try:
            check_id("tenant", config.tenant)
        except ValueError as error:
            raise ConfigError(str(error)) from error
    if not _is_loopback(config.http.host):
        raise ConfigError(
            f"http.host {config.http.host!r} is reachable from other machines, and "
            "this version's API has no access control: use 127.0.0.1, and put a "
            "proxy that checks who asks in front of it"
        )
    _check_broker(config.broker)
    return config


def _check_broker(broker: BrokerConfig) -> None:
    if not broker.embedded:
        if not broker.port:
            raise ConfigError("broker.port 0 needs broker.embedded = true")
        if (broker.username or broker.password_file) and not (
            broker.tls or _is_loopback(broker.host)
        ):
            raise ConfigError(
                "broker.username would cross the network in the clear: "
                "set broker.tls = true"
            )
        return
    if not _is_loopback(broker.host):
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


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _beside(path: Path, name: str) -> str:
    return str(path.parent / Path(name).expanduser()) if name else name

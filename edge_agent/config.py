"""The agent's configuration: which devices, and where readings go; never how."""

import re
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from edge_agent.batching import FREE, METERED, Policy
from edge_agent.urgency import Urgent
from protocols import config
from protocols.config import ConfigError
from protocols.uplink.topics import check_id

_ADDRESS = re.compile(r"([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}")


class Broker(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The MQTT broker.

    Attributes:
        host: Its name or address.
        port: Its port.
        protocol: The version of MQTT that it speaks.
        tls: Whether to speak TLS to it.
        ca: A PEM file of the authority to trust; without it the system's.
        username: If it wants one.
        password_file: A file that holds the password alone.
    """

    host: Annotated[str, msgspec.Meta(min_length=1)] = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 1883
    protocol: Literal["3.1.1", "5"] = "3.1.1"
    tls: bool = False
    ca: str | None = None
    username: str | None = None
    password_file: str | None = None


class Uplink(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When readings go to the broker.

    Attributes:
        metered: Whether what is sent costs money: readings are then gathered.
        batch_readings: The most readings of one batch; without it 256, metered 1024.
        delay_s: The longest that a reading waits for others, in s; without it 2,
            metered 900. An urgent one never waits.
        window: The most batches on their way at a time; without it 8, metered 2.
    """

    metered: bool = False
    batch_readings: Annotated[int, msgspec.Meta(ge=1, le=10_000)] | None = None
    delay_s: Annotated[float, msgspec.Meta(ge=0, le=86_400)] | None = None
    window: Annotated[int, msgspec.Meta(ge=1, le=64)] | None = None

    @property
    def policy(self) -> Policy:
        """What was chosen, and the defaults of such a link for the rest."""
        link = METERED if self.metered else FREE
        chosen: dict[str, Any] = {
            "batch_readings": self.batch_readings,
            "delay_s": self.delay_s,
            "window": self.window,
        }
        return replace(link, **{k: v for k, v in chosen.items() if v is not None})


class Device(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A device that this station reads. No other device is ever listened to.

    Attributes:
        driver: The driver's name.
        address: Its Bluetooth address, for a BLE device.
        passkey: The six digits printed on it, if it pairs by passkey.
        port: Its serial port, for a serial device.
        every_s: How long to leave it alone after a visit, in s.
        model: Its model, where the driver asks for it: some do not tell it.
        set_clock: Whether its clock may be set, where it is more than 2 minutes
            off; some devices can be read only so.
    """

    driver: str
    address: str | None = None
    passkey: str | None = None
    port: str | None = None
    every_s: float = 15.0
    model: str = ""
    set_clock: bool = False

    @property
    def peer(self) -> str:
        """Where the device is met: its address in capitals, or its port."""
        return (self.address or "").upper() or self.port or ""


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole configuration.

    Attributes:
        station: This station's id.
        tenant: Whose station it is.
        timezone: The zone in which the devices' clocks are read.
        broker: Where readings go.
        uplink: When they go there.
        urgent: Which of them can't wait for others.
        device: The devices.
    """

    station: str
    tenant: str = "home"
    timezone: str = "UTC"
    broker: Broker = Broker()
    uplink: Uplink = Uplink()
    urgent: Urgent = Urgent()
    device: tuple[Device, ...] = ()

    @property
    def zone(self) -> ZoneInfo:
        """The zone in which the devices' clocks are read."""
        return ZoneInfo(self.timezone)


def load(path: Path) -> Config:
    """Read the configuration file.

    Raises:
        ConfigError: It can't be read, or something in it is wrong.
    """
    try:
        text = path.read_text()
    except OSError as error:
        raise ConfigError(
            f"can't read {path}: {error.strerror}; give another file with --config"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is no text file") from error
    found = config.read(text, Config, str(path))
    try:
        check_id("station", found.station)
        check_id("tenant", found.tenant)
        ZoneInfo(found.timezone)
    except (ValueError, OSError, ZoneInfoNotFoundError) as error:
        raise ConfigError(f"{path}: {error}") from error
    for device in found.device:
        _check(device, path)
    peers = [device.peer for device in found.device]
    for peer in peers:
        if peers.count(peer) > 1:
            raise ConfigError(f"{path}: {peer} stands there twice")
    return found


def is_passkey(text: str) -> bool:
    """Whether ``text`` is six digits."""
    return re.fullmatch(r"[0-9]{6}", text) is not None


def _check(device: Device, path: Path) -> None:
    if (device.address is None) is (device.port is None):
        raise ConfigError(f"{path}: {device.driver} needs either an address or a port")
    if device.address is not None and not _ADDRESS.fullmatch(device.address):
        raise ConfigError(f"{path}: {device.address!r} is not of the form C0:5A:11:…")
    if not (isfinite(device.every_s) and device.every_s > 0):
        raise ConfigError(f"{path}: every_s of {device.peer} is not above 0")
    if device.passkey is not None and not is_passkey(device.passkey):
        raise ConfigError(f"{path}: passkey of {device.peer} is not six digits")

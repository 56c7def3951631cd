"""Simulated devices that are ready to be switched on, and the truth about each."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Protocol, TypeAlias, TypedDict

from msgspec import Meta

from firmware_sim.bench import GattBench, SerialBench

Address: TypeAlias = Annotated[str, Meta(pattern=r"\A(?:[0-9A-F]{2}:){5}[0-9A-F]{2}\Z")]
Count: TypeAlias = Annotated[int, Meta(ge=0)]


class Config(Protocol):
    """A device's part of a scenario."""

    @property
    def name(self) -> str:
        """What it advertises, or what it is called."""

    @property
    def model(self) -> str:
        """What the scenario calls this kind of device."""

    @property
    def serial(self) -> str:
        """Its serial number; empty where the bench has its own."""


class ShownValue(TypedDict):
    """A value as the device shows it: exact decimal text, and its UCUM unit."""

    value: str
    unit: str


class Record(TypedDict):
    """What a device holds of one measurement; ``device`` is a serial number."""

    device: str
    kind: str
    device_time: str | None
    sequence: int | None
    values: dict[str, ShownValue]


@dataclass(frozen=True, slots=True)
class OverBluetooth:
    """A Bluetooth device that is ready to be switched on.

    Attributes:
        config: Its part of the scenario.
        bench: Its firmware, with its records.
        truth: What its memory holds, oldest first.
        address: Its own.
        bond_lost: The visit behind which it forgets all its bonds; None is none.
    """

    config: Config
    bench: GattBench
    truth: list[Record]
    address: str
    bond_lost: int | None = None


@dataclass(frozen=True, slots=True)
class OnSerialPort:
    """A serial device that is ready to be plugged in.

    Attributes:
        config: Its part of the scenario.
        bench: Its firmware, with its records.
        truth: What its memory holds, oldest first.
        port: Where it hangs, a path from the folder of the run.
    """

    config: Config
    bench: SerialBench
    truth: list[Record]
    port: str


Simulated: TypeAlias = OverBluetooth | OnSerialPort


def tell(
    serial: str,
    kind: str,
    time: datetime | None,
    sequence: int | None,
    values: Mapping[str, tuple[object, str]],
) -> Record:
    """Return what a device holds of one measurement."""
    return {
        "device": serial,
        "kind": kind,
        "device_time": None if time is None else time.isoformat(),
        "sequence": sequence,
        "values": {
            quantity: {"value": str(value), "unit": unit}
            for quantity, (value, unit) in values.items()
        },
    }

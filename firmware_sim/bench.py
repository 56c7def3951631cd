"""What every simulated device offers, whatever carries its bytes.

A bench is a device's firmware without its radio or its plug: bytes in, bytes
out, no I/O, no clock, no tasks. ``firmware_sim.ble`` puts a `GattBench` on a
virtual controller, ``firmware_sim.pty`` a `SerialBench` on a pseudo-terminal,
and ``firmware_sim.link`` either of them into a test's memory.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol
from uuid import UUID


class Security(Enum):
    """What a characteristic asks of the link before it is read, written or enabled."""

    NONE = "none"
    ENCRYPTED = "encrypted"
    AUTHENTICATED = "authenticated"


class Pairing(Enum):
    """How a device pairs: not at all, unseen, or by six digits printed on it."""

    NONE = "none"
    JUST_WORKS = "just-works"
    PASSKEY = "passkey"


@dataclass(frozen=True, slots=True)
class Characteristic:
    """One characteristic of a simulated GATT server.

    Attributes:
        uuid: Its UUID.
        properties: Some of ``read``, ``write``, ``write-without-response``,
            ``notify``, ``indicate``.
        security: What reading, writing and enabling it requires.
    """

    uuid: UUID
    properties: frozenset[str]
    security: Security = Security.NONE


class AttError(Exception):
    """The ATT error with which a device refuses a read or a write."""

    def __init__(self, code: int) -> None:
        super().__init__(f"ATT error {code:#04x}")
        self.code = code


@dataclass(frozen=True, slots=True)
class Send:
    """A notification or an indication that the device sends, in this order."""

    uuid: UUID
    payload: bytes


class HangUp:
    """The device drops the link here."""


@dataclass(frozen=True, slots=True)
class Wait:
    """The device does nothing for so long, in s."""

    seconds: float


Action = Send | HangUp | Wait


def att_mtu(bench: object) -> int:
    """Return the largest packet that a device takes or sends, its ATT header too.

    That is 23, as with the usual meter, unless the bench has an ``mtu``.
    """
    return int(getattr(bench, "mtu", 23))


class GattBench(Protocol):
    """A BLE device's firmware.

    The carrier calls `connected` first, and `disconnected` last; between them
    the other three, in the order in which the central acts. Every `Action`
    that a call returns is carried out after that call was answered. A
    notification or indication for a characteristic that is not enabled is
    dropped by the carrier, as a stack does. The carrier asks for the next
    action only when it is ready to carry it out; an indication is confirmed
    before the next action.
    """

    @property
    def name(self) -> str:
        """The name that the device advertises."""

    @property
    def advertised(self) -> tuple[UUID, ...]:
        """The services that the device advertises."""

    @property
    def services(self) -> Mapping[UUID, tuple[Characteristic, ...]]:
        """Its services and their characteristics."""

    @property
    def pairing(self) -> Pairing:
        """How it pairs."""

    @property
    def passkey(self) -> int:
        """The six digits printed on it; of use where `pairing` is ``PASSKEY``."""

    def connected(self) -> None:
        """A central has connected."""

    def disconnected(self) -> None:
        """The link is gone; no action is carried out any more."""

    def read(self, uuid: UUID) -> bytes:
        """Return a characteristic's value, or raise `AttError`."""

    def write(self, uuid: UUID, payload: bytes) -> Iterable[Action]:
        """Take a value; return what follows from it, or raise `AttError`.

        It raises at the call, never while its result is iterated.
        """

    def enabled(self, uuid: UUID, *, on: bool) -> Iterable[Action]:
        """The central wrote a CCCD; return what follows from it."""


class SerialBench(Protocol):
    """A serial device's firmware."""

    @property
    def baud(self) -> int:
        """The only speed at which its bytes make sense."""

    def plugged(self) -> Iterable[bytes | Wait]:
        """A host has opened the port; return what the device sends unasked."""

    def feed(self, data: bytes) -> Iterable[bytes | Wait]:
        """Take received bytes; return answers, each sent as one piece."""


class Around:
    """A bench that differs from the one inside in what a subclass says."""

    def __init__(self, bench: Any) -> None:  # noqa: ANN401 - any bench
        self._bench = bench

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - the bench's own
        return getattr(self._bench, name)

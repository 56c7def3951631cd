"""Where messages come from and receipts go, whatever broker stands behind it."""

from collections.abc import Callable
from typing import Protocol

from gateway.delivery import Message

Acknowledge = Callable[[], None]
"""Tells the broker to forget one message. It may be called from any thread, once, and
at any time: after a reconnect or a stop it does no harm."""

Take = Callable[[Message, Acknowledge], None]
"""Is given each message as it comes; while it does not return, no other comes."""


class Source(Protocol):
    """A broker, as the gateway sees it.

    What is not acknowledged is delivered again, here or at another gateway, as long as
    the broker remembers it; nothing relies on that, for stations send again until they
    have their receipt.
    """

    @property
    def connected(self) -> bool:
        """Whether messages can come."""
        ...

    @property
    def most(self) -> int:
        """How many messages there are at most without an acknowledgement."""
        ...

    def start(self, take: Take) -> None:
        """Connect, and go on for ever; returns at once."""
        ...

    def stop(self) -> None:
        """Disconnect; what is not acknowledged is left to others."""
        ...

    def publish(self, topic: str, payload: bytes) -> None:
        """Send a receipt. It may be lost: its batch then comes again."""
        ...

    def unsent_s(self) -> float:
        """Return how long the oldest receipt waits for the broker, in s."""
        ...

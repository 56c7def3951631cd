"""What devices share that tell each record only once, unasked, and then hang up."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar
from uuid import UUID

from firmware_sim.bench import Action, AttError, HangUp, Send

_R = TypeVar("_R")

_WRITE_NOT_PERMITTED = 0x03  # ATT 1.0 §3.4.1.1


class OnceOnly(Generic[_R]):
    """All of a `GattBench` but its name, its services and what can be read of it.

    Args:
        records: What it has measured and not yet sent, oldest first.
        over: The characteristics that must be enabled before it sends.
        sends: Returns what a record is sent as.
        capacity: How many records it keeps; None is any number.
    """

    def __init__(
        self,
        records: Iterable[_R],
        over: Iterable[UUID],
        sends: Callable[[_R], Iterable[Send]],
        capacity: int | None = None,
    ) -> None:
        self._unsent = deque(records, capacity)
        self._over, self._sends = frozenset(over), sends
        self._enabled: set[UUID] = set()

    @property
    def unsent(self) -> tuple[_R, ...]:
        """What nobody has confirmed yet, oldest first."""
        return tuple(self._unsent)

    def store(self, record: _R) -> None:
        """Add a measurement; forget the oldest of a full memory."""
        self._unsent.append(record)

    def connected(self) -> None:
        """Begin with nothing enabled."""
        self._enabled.clear()

    def disconnected(self) -> None:
        """Stop sending; what was not confirmed is kept."""
        self._enabled.clear()

    def write(self, uuid: UUID, payload: bytes) -> Iterable[Action]:  # noqa: ARG002 - none
        """Refuse: nothing is writable."""
        raise AttError(_WRITE_NOT_PERMITTED)

    def enabled(self, uuid: UUID, *, on: bool) -> Iterable[Action]:
        """Send all that is unsent, then hang up, once it is heard."""
        if uuid not in self._over:
            return ()
        (self._enabled.add if on else self._enabled.discard)(uuid)
        return self._tell() if on and self._is_heard else ()

    @property
    def _is_heard(self) -> bool:
        return self._over == self._enabled

    def _tell(self) -> Iterator[Action]:
        while self._unsent and self._is_heard:
            yield from self._sends(self._unsent[0])
            self._unsent.popleft()  # asked for more, the carrier has confirmed it
        if self._is_heard:
            yield HangUp()

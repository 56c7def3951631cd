"""Devices that are broken, or mean harm: wrapped round a good one."""

from collections.abc import Iterable, Iterator
from random import Random
from typing import Any
from uuid import UUID

from firmware_sim.bench import Action, Around, AttError, Send, Wait

_FLOOD = 60_000  # packets, more than any memory holds


class Mute(Around):
    """Takes everything, and says nothing."""

    def plugged(self) -> tuple[bytes, ...]:
        """Say nothing."""
        return ()

    def feed(self, data: bytes) -> tuple[bytes, ...]:
        """Hear, and say nothing."""
        list(self._bench.feed(data))
        return ()

    def write(self, uuid: UUID, payload: bytes) -> tuple[Action, ...]:
        """Take it, and say nothing."""
        self._bench.write(uuid, payload)
        return ()

    def enabled(self, uuid: UUID, *, on: bool) -> tuple[Action, ...]:
        """Take it, and say nothing."""
        self._bench.enabled(uuid, on=on)
        return ()


class Endless(Around):
    """Repeats the first packet of whatever it tells, and does not come to an end."""

    def write(self, uuid: UUID, payload: bytes) -> Iterable[Action]:
        """Take it, and go on and on."""
        return self._flood(self._bench.write(uuid, payload))

    def enabled(self, uuid: UUID, *, on: bool) -> Iterable[Action]:
        """Take it, and go on and on."""
        return self._flood(self._bench.enabled(uuid, on=on))

    def _flood(self, actions: Iterable[Action]) -> Iterator[Action]:
        for action in actions:
            yield action
            if isinstance(action, Send):
                for _ in range(_FLOOD):
                    yield action


class Junk(Around):
    """Says something that means nothing, once, or instead of one answer for ever.

    Args:
        bench: The device.
        which: Which of its answers, from 1.
        seed: Of what it says.
        lasts: Whether it says so each time, as where a record is damaged.
    """

    def __init__(
        self,
        bench: Any,  # noqa: ANN401 - any bench
        which: int,
        seed: int,
        *,
        lasts: bool = False,
    ) -> None:
        super().__init__(bench)
        self._left, self._lasts = which, lasts
        self._damaged: bytes | None = None
        self._random = Random(seed)  # noqa: S311 - not a secret

    def plugged(self) -> list[bytes | Wait]:
        """Say it here, if it is time."""
        return [self._say(one) for one in self._bench.plugged()]

    def feed(self, data: bytes) -> list[bytes | Wait]:
        """Say it here, if it is time."""
        return [self._say(one) for one in self._bench.feed(data)]

    def write(self, uuid: UUID, payload: bytes) -> Iterable[Action]:
        """Say it here, if it is time."""
        return self._packets(self._bench.write(uuid, payload))

    def enabled(self, uuid: UUID, *, on: bool) -> Iterable[Action]:
        """Say it here, if it is time."""
        return self._packets(self._bench.enabled(uuid, on=on))

    def _packets(self, actions: Iterable[Action]) -> Iterator[Action]:
        for action in actions:
            if isinstance(action, Send):
                said = self._say(action.payload)
                yield Send(action.uuid, said) if isinstance(said, bytes) else said
            else:
                yield action

    def _say(self, answer: bytes | Wait) -> bytes | Wait:
        self._left -= 1
        if not isinstance(answer, bytes) or (self._left and answer != self._damaged):
            return answer
        self._damaged = answer if self._lasts else None
        return self._random.randbytes(self._random.choice((1, len(answer), 20)))


class Refusing(Around):
    """Refuses one of the reads, writes and subscriptions, counted together.

    Args:
        bench: The device.
        which: Which one, from 1.
        error: How.

    Attributes:
        has_refused: Whether it came to that.
    """

    def __init__(self, bench: Any, which: int, error: AttError) -> None:  # noqa: ANN401
        super().__init__(bench)
        self._left, self._error = which, error
        self.has_refused = False

    def read(self, uuid: UUID) -> bytes:
        """Give it, or refuse."""
        self._count()
        value: bytes = self._bench.read(uuid)
        return value

    def write(self, uuid: UUID, payload: bytes) -> Iterable[Action]:
        """Take it, or refuse."""
        self._count()
        actions: Iterable[Action] = self._bench.write(uuid, payload)
        return actions

    def enabled(self, uuid: UUID, *, on: bool) -> Iterable[Action]:
        """Take it, or refuse."""
        self._count()
        actions: Iterable[Action] = self._bench.enabled(uuid, on=on)
        return actions

    def _count(self) -> None:
        self._left -= 1
        if self._left == 0:
            self.has_refused = True
            raise self._error


class Swapped(Around):
    """Is taken off the cable while it speaks, and another device put in its place.

    Args:
        bench: The device.
        other: The one that stands there instead.
        whole: How many answers the first one gives.
        parted: Whether it has begun the next one.
    """

    def __init__(
        self,
        bench: Any,  # noqa: ANN401 - any bench
        other: Any,  # noqa: ANN401 - any bench
        whole: int,
        *,
        parted: bool,
    ) -> None:
        super().__init__(bench)
        self._other, self._left, self._parted = other, whole, parted
        self._is_there = False

    def plugged(self) -> list[bytes | Wait]:
        """Say what the one says that is there."""
        return self._say(self._bench.plugged())

    def feed(self, data: bytes) -> list[bytes | Wait]:
        """Have the one hear it that is there."""
        if self._is_there:
            return list(self._other.feed(data))
        return self._say(self._bench.feed(data))

    def _say(self, answers: Iterable[bytes | Wait]) -> list[bytes | Wait]:
        found = list(answers)
        said, lost = found[: self._left], found[self._left :]
        self._left -= len(said)
        if self._left or (self._parted and not lost):
            return said
        if self._parted and isinstance(begun := lost[0], bytes):
            said.append(begun[: len(begun) // 2])
        self._is_there = True
        return [*said, *self._other.plugged()]


class Counted(Around):
    """Counts what a serial device sends.

    Attributes:
        total: How many bytes.
        answers: In how many pieces.
    """

    total = answers = 0

    def plugged(self) -> list[bytes | Wait]:
        """Count, and pass on."""
        return self._count(self._bench.plugged())

    def feed(self, data: bytes) -> list[bytes | Wait]:
        """Count, and pass on."""
        return self._count(self._bench.feed(data))

    def _count(self, answers: Iterable[bytes | Wait]) -> list[bytes | Wait]:
        found = list(answers)
        self.answers += len(found)
        self.total += sum(len(one) for one in found if isinstance(one, bytes))
        return found

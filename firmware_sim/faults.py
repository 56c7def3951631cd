"""What goes wrong with a device's radio or cable, by name, on any carrier.

`Faults` wraps a bench: what the wrapped one sends is lost, repeated, late or
damaged, whether a test's memory, the virtual radio or a pseudo-terminal carries
it. What a device itself can suffer (a clock that starts again, a full memory, a
low battery, a bond that it lost) is the bench's own affair.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from msgspec import Struct

from firmware_sim.bench import (
    Action,
    AttError,
    GattBench,
    HangUp,
    Send,
    SerialBench,
    Wait,
)

_NOISE = b"\xff\x02\x00"  # with what looks like the start of a frame


class Faults(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What goes wrong; packets or answers are counted from 1, over all visits.

    Attributes:
        lost: Those that do not arrive.
        repeated: Those that arrive twice.
        late: Those that arrive `late_s` later.
        late_s: How much later, in s.
        damaged: Those of which one bit is wrong, so that no checksum is right.
        noisy: Those with line noise before and behind them; of a serial device.
        hang_up_after: Those behind which the link drops; of a BLE device.
        refused: Writes that are refused with `refusal`; of a BLE device.
        refusal: An ATT error code.
    """

    lost: frozenset[int] = frozenset()
    repeated: frozenset[int] = frozenset()
    late: frozenset[int] = frozenset()
    late_s: float = 3.0
    damaged: frozenset[int] = frozenset()
    noisy: frozenset[int] = frozenset()
    hang_up_after: frozenset[int] = frozenset()
    refused: frozenset[int] = frozenset()
    refusal: int = 0x80


class _Faulty:
    """A bench whose sending goes wrong; everything else is the bench's own."""

    def __init__(self, bench: Any, faults: Faults) -> None:  # noqa: ANN401 - a bench
        self._bench, self._faults = bench, faults
        self._sent = self._written = 0

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - the bench's own
        return getattr(self._bench, name)

    def _pieces(self, data: bytes) -> Iterator[bytes | Wait]:
        """Yield what arrives of one packet or answer."""
        self._sent += 1
        number, faults = self._sent, self._faults
        if number in faults.late:
            yield Wait(faults.late_s)
        if number in faults.damaged:
            middle = len(data) // 2
            data = data[:middle] + bytes([data[middle] ^ 0x04]) + data[middle + 1 :]
        if number in faults.noisy:
            data = _NOISE + data + _NOISE[1:2]
        if number not in faults.lost:
            yield data
        if number in faults.repeated:
            yield data


class FaultyGatt(_Faulty):
    """A `GattBench` whose packets go wrong."""

    def write(self, uuid: Any, payload: bytes) -> Iterable[Action]:  # noqa: ANN401
        """Take a value, or refuse it."""
        self._written += 1
        if self._written in self._faults.refused:
            raise AttError(self._faults.refusal)
        return self._actions(self._bench.write(uuid, payload))

    def enabled(self, uuid: Any, *, on: bool) -> Iterable[Action]:  # noqa: ANN401
        """Enable, or stop."""
        return self._actions(self._bench.enabled(uuid, on=on))

    def _actions(self, actions: Iterable[Action]) -> Iterator[Action]:
        for action in actions:
            if not isinstance(action, Send):
                yield action
                continue
            for piece in self._pieces(action.payload):
                yield piece if isinstance(piece, Wait) else Send(action.uuid, piece)
            if self._sent in self._faults.hang_up_after:
                yield HangUp()


class FaultySerial(_Faulty):
    """A `SerialBench` whose answers go wrong."""

    def feed(self, data: bytes) -> Iterable[bytes | Wait]:
        """Take received bytes; return what arrives of the answers."""
        return self._all(self._bench.feed(data))

    def plugged(self) -> Iterable[bytes | Wait]:
        """Return what arrives of what the device sends unasked."""
        return self._all(self._bench.plugged())

    def _all(self, answers: Iterable[bytes | Wait]) -> Iterator[bytes | Wait]:
        for answer in answers:
            if isinstance(answer, Wait):
                yield answer
            else:
                yield from self._pieces(answer)


def faulty(bench: GattBench | SerialBench, faults: Faults) -> Any:  # noqa: ANN401
    """Return a bench whose sending goes wrong."""
    if isinstance(getattr(bench, "baud", None), int):
        return FaultySerial(bench, faults)
    return FaultyGatt(bench, faults)

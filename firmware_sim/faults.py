"""What goes wrong with a device's radio or cable, by name, on any carrier.

`Faults` wraps a bench: what the wrapped one sends is lost, repeated, late or
damaged, whether a test's memory, the virtual radio or a pseudo-terminal carries
it. What a device itself can suffer (a clock that starts again, a full memory, a
low battery, a bond that it lost) is `firmware_sim.conditions`.
"""

from collections.abc import Iterable, Iterator
from typing import Annotated, Any, TypeAlias

from msgspec import Meta, Struct

from firmware_sim.bench import (
    Action,
    Around,
    AttError,
    GattBench,
    HangUp,
    Send,
    SerialBench,
    Wait,
)

_NOISE = b"\xff\x02\x00"  # with what looks like the start of a frame
_OF_BLE, _OF_SERIAL = ("hang_up_after", "refused"), ("noisy",)

_Numbers: TypeAlias = frozenset[Annotated[int, Meta(ge=1)]]


class Faults(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What goes wrong; packets or answers are counted from 1, over all visits.

    A packet is a notification or an indication, whichever it is and of whichever
    characteristic; an answer is what a serial device sends as one piece.

    Attributes:
        lost: Those that do not arrive. An indication that is lost is not
            confirmed, which takes the link with it, and is sent again.
        repeated: Those that arrive twice.
        late: Those that arrive `late_s` later.
        late_s: How much later, in s.
        damaged: Those of which one bit is wrong, so that no checksum is right.
        noisy: Those with line noise before and behind them; of a serial device.
        hang_up_after: Those behind which the link drops; of a BLE device.
        silent_after: Those behind which it sends no more until the next visit.
        refused: Writes that are refused with `refusal`; of a BLE device.
        refusal: An ATT error code.
    """

    lost: _Numbers = frozenset()
    repeated: _Numbers = frozenset()
    late: _Numbers = frozenset()
    late_s: Annotated[float, Meta(gt=0)] = 3.0
    damaged: _Numbers = frozenset()
    noisy: _Numbers = frozenset()
    hang_up_after: _Numbers = frozenset()
    silent_after: _Numbers = frozenset()
    refused: _Numbers = frozenset()
    refusal: Annotated[int, Meta(ge=1, le=255)] = 0x80


class _Faulty(Around):
    """A bench whose sending goes wrong."""

    def __init__(self, bench: Any, faults: Faults) -> None:  # noqa: ANN401 - a bench
        super().__init__(bench)
        self._faults = faults
        self._sent = self._written = 0
        self._is_silent = False

    def _pieces(self, number: int, data: bytes) -> Iterator[bytes | Wait]:
        """Yield what arrives of one packet or answer."""
        faults = self._faults
        if number in faults.late:
            yield Wait(faults.late_s)
        if number in faults.damaged and data:
            middle = len(data) // 2
            data = data[:middle] + bytes([data[middle] ^ 0x04]) + data[middle + 1 :]
        if number in faults.noisy:
            data = _NOISE + data + _NOISE[1:2]
        if number not in faults.lost:
            yield data
        if number in faults.repeated:
            yield data


class _FaultyGatt(_Faulty):
    """A `GattBench` whose packets go wrong."""

    def connected(self) -> None:
        """Speak again, if it fell silent."""
        self._is_silent = False
        self._bench.connected()

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
        coming = iter(actions)
        while not self._is_silent and (action := next(coming, None)) is not None:
            if not isinstance(action, Send):
                yield action
                continue
            self._sent += 1
            number, faults = self._sent, self._faults
            if number in faults.lost and self._is_indicated(action.uuid):
                yield HangUp()
                return  # asked for no more, the bench takes it for unconfirmed
            for piece in self._pieces(number, action.payload):
                yield piece if isinstance(piece, Wait) else Send(action.uuid, piece)
            self._is_silent = number in faults.silent_after
            if number in faults.hang_up_after:
                next(coming, None)  # asked for more, it takes it for confirmed
                yield HangUp()
                return

    def _is_indicated(self, uuid: object) -> bool:
        services = self._bench.services.values()
        every = {one.uuid: one.properties for some in services for one in some}
        return "indicate" in every.get(uuid, ())


class _FaultySerial(_Faulty):
    """A `SerialBench` whose answers go wrong."""

    def feed(self, data: bytes) -> Iterable[bytes | Wait]:
        """Take received bytes; return what arrives of the answers."""
        return () if self._is_silent else self._all(self._bench.feed(data))

    def plugged(self) -> Iterable[bytes | Wait]:
        """Return what arrives of what the device sends unasked."""
        self._is_silent = False
        return self._all(self._bench.plugged())

    def _all(self, answers: Iterable[bytes | Wait]) -> Iterator[bytes | Wait]:
        for answer in answers:
            if isinstance(answer, Wait):
                yield answer
                continue
            self._sent += 1
            yield from self._pieces(self._sent, answer)
            if self._sent in self._faults.silent_after:
                self._is_silent = True
                return


def faulty(bench: GattBench | SerialBench, faults: Faults) -> Any:  # noqa: ANN401
    """Return a bench whose sending goes wrong; itself, if nothing does.

    Raises:
        ValueError: It is none to which that can happen.
    """
    if faults == Faults():
        return bench
    is_serial = isinstance(getattr(bench, "baud", None), int)
    for name in _OF_BLE if is_serial else _OF_SERIAL:
        if getattr(faults, name):
            kind = "BLE" if is_serial else "serial"
            raise ValueError(f"the fault {name} is one of a {kind} device")
    return (_FaultySerial if is_serial else _FaultyGatt)(bench, faults)

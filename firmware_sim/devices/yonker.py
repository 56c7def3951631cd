"""A Yonker YK-IBPA1 cuff.

Source: field notes on the Yonker YK-IBPA1 (docs/reference/sources.md).

    result    81, systolic, diastolic, pulse, 2 x 00, five bytes of a clock, 4 x 00
    progress  80, pressure with its high byte first, 12 x 00

Both are 15 bytes, notified by one characteristic of a service of the maker's own;
nothing can be asked for. The notes read the clock as day, month, year since 2000,
hour, minute, and so is it written here; that order is uncertain. They saw the
newest result sent at a connection, once an older one, and once all in a row: here
it is all of them, and the cuff goes on holding them, our choice.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from firmware_sim.bench import Action, AttError, Characteristic, Pairing, Security, Send
from firmware_sim.label import Label, services
from firmware_sim.trial import Shown, SimClock, Span, Trial
from protocols.observation import Kind, Quantity, Unit

_SERVICE = UUID("cdeacd80-5235-4c07-8846-93a37ee6b86d")
_NOTIFIES = UUID("cdeacd81-5235-4c07-8846-93a37ee6b86d")
_WRITE_NOT_PERMITTED = 0x03


@dataclass(frozen=True, slots=True)
class YonkerResult:
    """One measurement.

    Attributes:
        systolic: 1 to 255 mmHg.
        diastolic: 1 to 255 mmHg.
        pulse: 1 to 255 per minute.
        time: What the cuff's clock showed.
    """

    systolic: int
    diastolic: int
    pulse: int
    time: datetime

    def notification(self) -> Send:
        """Return the result as it is sent."""
        time = self.time
        clock = [time.day, time.month, time.year - 2000, time.hour, time.minute]
        values = [self.systolic, self.diastolic, self.pulse, 0, 0]
        return Send(_NOTIFIES, bytes([0x81, *values, *clock, 0, 0, 0, 0]))


class YonkerCuff:
    """A cuff's firmware: a `GattBench`.

    Args:
        results: What it has measured, oldest first.
        is_measuring: Whether it measures while it is connected.
    """

    name = "YK-IBPA1"
    advertised = ()
    pairing = Pairing.NONE
    passkey = 0

    def __init__(
        self, results: Iterable[YonkerResult], *, is_measuring: bool = False
    ) -> None:
        self.services = {
            _SERVICE: (Characteristic(_NOTIFIES, frozenset({"notify"})),),
            **services(Security.NONE),
        }
        self._results, self._is_measuring = list(results), is_measuring
        self._label = Label("YK-IBPA1", "", manufacturer="Yonker")

    def store(self, result: YonkerResult) -> None:
        """Add a measurement, as a test does that somebody takes now."""
        self._results.append(result)

    def connected(self) -> None:
        """Take a connection; nothing follows from it."""

    def disconnected(self) -> None:
        """Lose it; what was sent is kept."""

    def read(self, uuid: UUID) -> bytes:
        """Return a value; raise `AttError` for what is not readable."""
        return self._label.read(uuid)

    def write(self, uuid: UUID, payload: bytes) -> Iterable[Action]:  # noqa: ARG002
        """Refuse: nothing is writable."""
        raise AttError(_WRITE_NOT_PERMITTED)

    def enabled(self, uuid: UUID, *, on: bool) -> Iterable[Action]:
        """Send what it holds, once it can be heard."""
        if uuid != _NOTIFIES or not on:
            return ()
        pressures = (40, 90, 260) if self._is_measuring else ()
        progress = [
            Send(_NOTIFIES, b"\x80" + pressure.to_bytes(2) + bytes(12))
            for pressure in pressures
        ]
        return [*progress, *(result.notification() for result in self._results)]


def _result(shown: Shown) -> YonkerResult:
    order = (Quantity.SYSTOLIC, Quantity.DIASTOLIC, Quantity.PULSE_RATE)
    systolic, diastolic, pulse = (int(str(shown.values[one])) for one in order)
    return YonkerResult(systolic, diastolic, pulse, shown.time)


def _make(shown: Sequence[Shown], _clock: SimClock) -> YonkerCuff:
    return YonkerCuff([_result(one) for one in shown])


def _take(cuff: YonkerCuff, shown: Shown) -> None:
    cuff.store(_result(shown))


TRIAL = Trial(
    make=_make,
    take=_take,
    spans={
        Kind.BLOOD_PRESSURE: (
            Span(Quantity.SYSTOLIC, Unit.MM_HG, Decimal(60), Decimal(255)),
            Span(Quantity.DIASTOLIC, Unit.MM_HG, Decimal(30), Decimal(200)),
            Span(Quantity.PULSE_RATE, Unit.PER_MINUTE, Decimal(40), Decimal(199)),
        )
    },
    statuses=(("time_fault",),),  # no time of it is a true one
    resolution_s=0,
)

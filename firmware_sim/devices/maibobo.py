"""A Maibobo (Pulse Wave) RBP-9804 cuff.

Source: field notes on the RBP-9804 and BP-88A (docs/reference/sources.md).

    host  CC 80 | 02 | size | group | code | data | check
    cuff  AA 80 | 02 | size | group | code | data | check

``size`` counts group, code and data; ``check`` is the exclusive or of all behind
the first two bytes.

    01 05  while it measures: 0, high, 0, 0, low xor high, 0, of the pressure
    01 06  user, year since 2000, month, day, hour, minute, second, systolic,
           diastolic and pulse with two bytes each, the high one first
    01 07  failed: a code

The notes tell of results sent when somebody measures. So that a test can have
somebody measure while nobody listens, results wait here until they are heard:
our choice, as is that the cuff answers an order with 0 and does nothing.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from firmware_sim.bench import Action, AttError, Characteristic, Pairing, Security, Send
from firmware_sim.label import Label, services
from firmware_sim.trial import Shown, SimClock, Span, Trial
from protocols.crc import xor8
from protocols.gatt.uuid import sig
from protocols.observation import Kind, Quantity, Unit

_SERVICE, _NOTIFIES, _TAKES = sig(0xFFF0), sig(0xFFF1), sig(0xFFF2)
_WRITE_NOT_PERMITTED = 0x03
_NEVER_SET = bytes([14, 1, 1, 1, 1, 1])


@dataclass(frozen=True, slots=True)
class MaiboboResult:
    """One measurement.

    Attributes:
        systolic: In mmHg.
        diastolic: In mmHg.
        pulse: Per minute.
        time: The cuff's clock; None if it was never set.
        user: The chosen user.
    """

    systolic: int
    diastolic: int
    pulse: int
    time: datetime | None
    user: int = 1

    def notification(self) -> Send:
        """Return the result as it is sent."""
        clock = _NEVER_SET
        if self.time is not None:
            clock = bytes([self.time.year - 2000, *self.time.timetuple()[1:6]])
        values = (self.systolic, self.diastolic, self.pulse)
        numbers = b"".join(number.to_bytes(2) for number in values)
        return _frame(1, 6, bytes([self.user]) + clock + numbers)


@dataclass(frozen=True, slots=True)
class MaiboboError:
    """A measurement that failed."""

    code: int

    def notification(self) -> Send:
        """Return the failure as it is sent."""
        return _frame(1, 7, bytes([self.code]))


class MaiboboCuff:
    """A cuff's firmware: a `GattBench`.

    Args:
        results: What somebody has measured and nobody has heard, oldest first.

    Attributes:
        was_ordered: Whether a host wrote anything to it.
    """

    name = "RBP1512070123"
    advertised = (_SERVICE,)
    pairing = Pairing.NONE
    passkey = 0

    def __init__(self, results: Iterable[MaiboboResult | MaiboboError]) -> None:
        self.services = {
            _SERVICE: (
                Characteristic(_NOTIFIES, frozenset({"notify"})),
                Characteristic(_TAKES, frozenset({"write"})),
            ),
            **services(Security.NONE),
        }
        self.was_ordered = False
        self._unheard = deque(results)
        self._label = Label("RBP-9804", "RB-0001", manufacturer="Maibobo")
        self._is_heard = False

    def store(self, result: MaiboboResult) -> None:
        """Add a measurement, as a test does that somebody takes now."""
        self._unheard.append(result)

    def connected(self) -> None:
        """Begin with nothing enabled."""
        self._is_heard = False

    def disconnected(self) -> None:
        """Stop sending; what was not heard is kept."""
        self._is_heard = False

    def read(self, uuid: UUID) -> bytes:
        """Return a value; raise `AttError` for what is not readable."""
        return self._label.read(uuid)

    def write(self, uuid: UUID, payload: bytes) -> Iterable[Action]:
        """Take an order; say that it is done, and do nothing."""
        if uuid != _TAKES:
            raise AttError(_WRITE_NOT_PERMITTED)
        self.was_ordered = True
        return [_frame(payload[4], payload[5], b"\0")] if len(payload) == 8 else []

    def enabled(self, uuid: UUID, *, on: bool) -> Iterable[Action]:
        """Have somebody measure, once results can be heard."""
        self._is_heard = on and uuid == _NOTIFIES
        return self._tell() if self._is_heard else ()

    def _tell(self) -> Iterator[Action]:
        while self._unheard and self._is_heard:
            for pressure in (180, 260, 90):
                high, low = divmod(pressure, 256)
                yield _frame(1, 5, bytes([0, high, 0, 0, low ^ high, 0]))
            yield self._unheard[0].notification()
            self._unheard.popleft()  # asked for more, the carrier has sent it


def _frame(group: int, code: int, data: bytes) -> Send:
    body = bytes([2, len(data) + 2, group, code]) + data
    return Send(_NOTIFIES, b"\xaa\x80" + body + bytes([xor8(body)]))


def _result(shown: Shown) -> MaiboboResult:
    order = (Quantity.SYSTOLIC, Quantity.DIASTOLIC, Quantity.PULSE_RATE)
    systolic, diastolic, pulse = (int(str(shown.values[one])) for one in order)
    return MaiboboResult(systolic, diastolic, pulse, shown.time, shown.slot or 0)


def _make(shown: Sequence[Shown], _clock: SimClock) -> MaiboboCuff:
    return MaiboboCuff([_result(one) for one in shown])


def _take(cuff: MaiboboCuff, shown: Shown) -> None:
    cuff.store(_result(shown))


TRIAL = Trial(
    make=_make,
    take=_take,
    spans={
        Kind.BLOOD_PRESSURE: (
            Span(Quantity.SYSTOLIC, Unit.MM_HG, Decimal(60), Decimal(279)),
            Span(Quantity.DIASTOLIC, Unit.MM_HG, Decimal(30), Decimal(200)),
            Span(Quantity.PULSE_RATE, Unit.PER_MINUTE, Decimal(40), Decimal(199)),
        )
    },
    slots=(1, 2),
)

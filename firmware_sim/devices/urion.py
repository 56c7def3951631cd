"""A Urion U9 cuff that keeps its records until a host has confirmed them.

Source: field notes on the Urion U9 from two clients (docs/reference/sources.md).

    to the cuff (FFF2)                     from it (FFF1)
    FD FD FA 07 clock 0D 0A                the oldest unsent record, or the end
    FD FD FA 60 0D 0A                      that record is sent: the next, or the end
    FD FD FA 05 [clock] 0D 0A              FD FD 05 0D 0A, and it inflates
    FD FD FE 06 0D 0A                      hangs up

    record  FD FD FE, systolic, diastolic, pulse, irregular, year with its high
            byte first (2 bytes), month, day, hour, minute, 0D 0A
    end     FD FD FF, ten zeros, 0D 0A
    clock   year since 2000, month, day, hour, minute, second

There is no checksum and no pairing. What the notes do not say is our choice: a
record is sent once unless told otherwise, and what is not known is passed over.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from firmware_sim.bench import (
    Action,
    AttError,
    Characteristic,
    HangUp,
    Pairing,
    Security,
    Send,
)
from firmware_sim.label import Label, services
from firmware_sim.trial import Shown, SimClock, Span, Trial
from protocols.gatt.uuid import sig
from protocols.observation import Kind, Quantity, Unit

_SERVICE, _NOTIFIES, _TAKES = sig(0xFFF0), sig(0xFFF1), sig(0xFFF2)
_WRITE_NOT_PERMITTED = 0x03
_END = Send(_NOTIFIES, b"\xfd\xfd\xff" + bytes(10) + b"\r\n")
_STARTED = Send(_NOTIFIES, b"\xfd\xfd\x05\r\n")
_CONFIRM, _POWER_OFF = b"\xfd\xfd\xfa\x60\r\n", b"\xfd\xfd\xfe\x06\r\n"
_ASK, _START = b"\xfd\xfd\xfa\x07", b"\xfd\xfd\xfa\x05"


@dataclass(frozen=True, slots=True)
class UrionRecord:
    """One stored measurement.

    Attributes:
        systolic: 1 to 255 mmHg.
        diastolic: 1 to 255 mmHg.
        pulse: 1 to 255 per minute.
        time: The cuff's clock.
        irregular: Whether the pulse was irregular.
    """

    systolic: int
    diastolic: int
    pulse: int
    time: datetime
    irregular: bool = False

    def notification(self) -> Send:
        """Return the record as it is sent."""
        values = bytes([self.systolic, self.diastolic, self.pulse, self.irregular])
        time = self.time.year.to_bytes(2) + bytes(self.time.timetuple()[1:5])
        return Send(_NOTIFIES, b"\xfd\xfd\xfe" + values + time + b"\r\n")


class UrionCuff:
    """A cuff's firmware: a `GattBench`.

    Args:
        records: What it has measured and not yet sent, oldest first.
        clock: Tells the time that it shows, until the host sets it.
        times: How often it sends a frame.
        greeting: What it sends as soon as it may.

    Attributes:
        set_to: What the host last set the clock to; None if never.
        was_started: Whether a host had it inflate.
    """

    name = "Bluetooth BP"
    advertised = (_SERVICE,)
    pairing = Pairing.NONE
    passkey = 0

    def __init__(
        self,
        records: Iterable[UrionRecord],
        clock: Callable[[], datetime],
        *,
        times: int = 1,
        greeting: Sequence[bytes] = (),
    ) -> None:
        self.services = {
            _SERVICE: (
                Characteristic(_NOTIFIES, frozenset({"notify"})),
                Characteristic(_TAKES, frozenset({"write"})),
            ),
            **services(Security.NONE),
        }
        self.set_to: datetime | None = None
        self.was_started = False
        self._unsent, self._clock = deque(records), clock
        self._times, self._greeting = times, greeting
        self._label = Label("U9", "", manufacturer="Urion")
        self._is_told = False  # the first of the unsent, and not yet confirmed

    @property
    def unsent(self) -> tuple[UrionRecord, ...]:
        """What no host has confirmed yet, oldest first."""
        return tuple(self._unsent)

    def store(self, record: UrionRecord) -> None:
        """Add a measurement, as a test does that somebody takes now."""
        self._unsent.append(record)

    def connected(self) -> None:
        """Begin with nothing told."""
        self._is_told = False

    def disconnected(self) -> None:
        """Forget what was told and not confirmed; it is told again."""
        self._is_told = False

    def read(self, uuid: UUID) -> bytes:
        """Return a value; raise `AttError` for what is not readable."""
        return self._label.read(uuid)

    def enabled(self, uuid: UUID, *, on: bool) -> Iterable[Action]:
        """Send the greeting."""
        is_heard = on and uuid == _NOTIFIES
        return [Send(_NOTIFIES, one) for one in self._greeting] if is_heard else []

    def write(self, uuid: UUID, payload: bytes) -> Iterable[Action]:
        """Take a frame; return what follows from it."""
        if uuid != _TAKES:
            raise AttError(_WRITE_NOT_PERMITTED)
        if payload.startswith(_ASK) and len(payload) == 12:
            year, month, day, hour, minute, second = payload[4:10]
            self.set_to = datetime(2000 + year, month, day, hour, minute, second)  # noqa: DTZ001
            return self._tell()
        if payload == _CONFIRM and self._is_told:
            self._unsent.popleft()
            return self._tell()
        if payload.startswith(_START):
            self.was_started = True
            return [_STARTED]
        return [HangUp()] if payload == _POWER_OFF else []

    def _tell(self) -> list[Action]:
        self._is_told = bool(self._unsent)
        frame = self._unsent[0].notification() if self._unsent else _END
        return [frame] * self._times


def _record(shown: Shown) -> UrionRecord:
    order = (Quantity.SYSTOLIC, Quantity.DIASTOLIC, Quantity.PULSE_RATE)
    systolic, diastolic, pulse = (int(str(shown.values[one])) for one in order)
    irregular = "irregular_pulse" in shown.status
    return UrionRecord(systolic, diastolic, pulse, shown.time, irregular)


def _make(shown: Sequence[Shown], clock: SimClock) -> UrionCuff:
    return UrionCuff([_record(one) for one in shown], clock)


def _take(cuff: UrionCuff, shown: Shown) -> None:
    cuff.store(_record(shown))


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
    statuses=((), ("irregular_pulse",), ()),
    resolution_s=60,
    set_to=lambda cuff: cuff.set_to,
    needs_clock=True,
)

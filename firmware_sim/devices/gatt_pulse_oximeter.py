"""An oximeter with the Bluetooth Pulse Oximeter Service, with or without a memory.

Source: Bluetooth SIG, Pulse Oximeter Service 1.0.1, §3; GATT Specification
Supplement, PLX Spot-Check Measurement, Record Access Control Point.

    flags u8, SpO2 and pulse rate SFLOAT, [time 7], [measurement status u16],
    [device status u24], [pulse amplitude index SFLOAT]

One with a memory of 100, our choice, tells it as often as it is asked through the
control point: all of it, or how many. One without keeps what nobody has confirmed,
sends it as soon as it may, and hangs up. The continuous measurement goes on while
somebody has it enabled; nobody here puts a finger in.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from struct import pack
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
from firmware_sim.fields import date_time, sfloat
from firmware_sim.label import Label, services
from firmware_sim.racp import CONTROL_POINT, Answer, ControlPoint, Op, Request
from firmware_sim.trial import Shown, SimClock, Span, Trial
from protocols.gatt.uuid import sig
from protocols.observation import Kind, Quantity, Unit

_OXIMETER = sig(0x1822)
_CURRENT_TIME_SERVICE, _CURRENT_TIME = sig(0x1805), sig(0x2A2B)
_SPOT_CHECK, _CONTINUOUS, _FEATURES = sig(0x2A5E), sig(0x2A5F), sig(0x2A60)

_TIME, _MEASURED, _DEVICE, _AMPLITUDE, _NO_CLOCK = 1, 2, 4, 8, 16
_STORES, _STAMPS = 0x04, 0x08
_QUALIFIED = 0x0100
_MEASURED_BITS = {
    "early_estimate": 1 << 6,
    "fully_qualified": _QUALIFIED,
    "questionable": 1 << 14,
}
_DEVICE_BITS = {"poor_signal": 1 << 4, "low_perfusion": 1 << 5}
_ALL = 1  # the only operator that the service asks for
_CAPACITY = 100
_LABEL = Label("Pulse oximeter", "00000098")

_WRITE_NOT_PERMITTED = 0x03
_CCCD_IMPROPER, _PROCEDURE_RUNNING = 0xFD, 0xFE  # Core Specification Supplement, B


@dataclass(frozen=True, slots=True)
class SpotCheckRecord:
    """One spot check.

    Attributes:
        spo2: In percent; NaN if it failed.
        pulse_rate: Per minute; NaN if it failed.
        time: The oximeter's clock, without a zone; None leaves the field out.
        measured: Measurement Status bits; None leaves the field out.
        device: Device and Sensor Status bits; None leaves the field out.
        amplitude: Pulse amplitude index in percent; None leaves the field out.
        clock_not_set: Whether it says that its clock was never set.
    """

    spo2: Decimal
    pulse_rate: Decimal
    time: datetime | None = None
    measured: int | None = _QUALIFIED
    device: int | None = None
    amplitude: Decimal | None = None
    clock_not_set: bool = False

    def indication(self) -> Send:
        """Return the spot check as it is sent.

        Raises:
            ValueError: A value has more digits than an SFLOAT can hold.
        """
        flags = _NO_CLOCK * self.clock_not_set
        fields = sfloat(self.spo2) + sfloat(self.pulse_rate)
        if self.time is not None:
            flags |= _TIME
            fields += date_time(self.time)
        if self.measured is not None:
            flags |= _MEASURED
            fields += pack("<H", self.measured)
        if self.device is not None:
            flags |= _DEVICE
            fields += pack("<I", self.device)[:3]
        if self.amplitude is not None:
            flags |= _AMPLITUDE
            fields += sfloat(self.amplitude)
        return Send(_SPOT_CHECK, bytes([flags]) + fields)


@dataclass(frozen=True, slots=True)
class _Numbered:
    """A record with what the control point's filters would look at."""

    sequence: int
    record: SpotCheckRecord
    user_facing_time: datetime | None = None


class PulseOximeter:
    """An oximeter's firmware: a `GattBench`.

    Args:
        records: What it has measured and not yet sent, or stored, oldest first.
        has_memory: Whether it stores spot checks, and has a control point.
        has_spot_checks: Or else only the continuous measurement.
        clock: Tells the time that it shows; None has no clock to be read.
        answer: What it answers to a request for its records, instead of success.
    """

    name = "Oximeter 98"
    advertised = (_OXIMETER,)
    pairing, passkey = Pairing.JUST_WORKS, 0

    def __init__(
        self,
        records: Iterable[SpotCheckRecord],
        *,
        has_memory: bool = False,
        has_spot_checks: bool = True,
        clock: Callable[[], datetime] | None = None,
        answer: Answer | None = None,
    ) -> None:
        self.services = _services(memory=has_memory, spots=has_spot_checks)
        if clock is not None:
            time = Characteristic(
                _CURRENT_TIME, frozenset({"read"}), Security.ENCRYPTED
            )
            self.services[_CURRENT_TIME_SERVICE] = (time,)
        self._stored = deque(records, _CAPACITY)
        self._has_memory, self._answer = has_memory, answer
        self._clock = clock
        self._enabled: set[UUID] = set()
        self._point = ControlPoint(
            _SPOT_CHECK,
            improper=_CCCD_IMPROPER,
            running=_PROCEDURE_RUNNING,
            operators=frozenset({_ALL}),
        )

    @property
    def stored(self) -> tuple[SpotCheckRecord, ...]:
        """What it holds, oldest first."""
        return tuple(self._stored)

    def store(self, record: SpotCheckRecord) -> None:
        """Add a spot check; forget the oldest of a full memory."""
        self._stored.append(record)

    def erase(self) -> None:
        """Forget everything, as somebody wants who holds its keys."""
        self._stored.clear()

    def connected(self) -> None:
        """Begin with nothing enabled and nothing running."""
        self._enabled.clear()
        self._point.stop()

    def disconnected(self) -> None:
        """Stop sending; what was not confirmed is kept."""
        self._enabled.clear()
        self._point.stop()

    def read(self, uuid: UUID) -> bytes:
        """Return a value; raise `AttError` for what is not readable."""
        if uuid == _FEATURES:
            return pack("<H", _STAMPS | _STORES * self._has_memory)
        if uuid == _CURRENT_TIME and self._clock is not None:
            now = self._clock()
            return date_time(now) + bytes([now.isoweekday(), 0, 0])
        return _LABEL.read(uuid)

    def enabled(self, uuid: UUID, *, on: bool) -> Iterable[Action]:
        """Send all that is unsent, then hang up, where there is no memory."""
        (self._enabled.add if on else self._enabled.discard)(uuid)
        tells = on and uuid == _SPOT_CHECK and not self._has_memory
        return self._tell() if tells else ()

    def write(self, uuid: UUID, payload: bytes) -> Iterable[Action]:
        """Take a request to the control point; return what it starts."""
        if not self._has_memory:
            raise AttError(_WRITE_NOT_PERMITTED)
        request = self._point.take(uuid, payload, self._enabled)
        return [request] if isinstance(request, Send) else self._run(request)

    def _run(self, request: Request) -> Iterator[Action]:
        stored = [_Numbered(at, one) for at, one in enumerate(self._stored)]
        records = request.select(stored)
        usual = Answer.SUCCESS if records else Answer.NO_RECORDS
        answer = request.answer(self._answer or usual)
        sends: Iterable[Send] = ()
        if request.op is Op.COUNT:
            answer = pack("<BBH", 5, 0, len(records))
        elif self._answer is None:
            sends = (each.record.indication() for each in records)
        yield from self._point.finish(request, sends, answer)

    def _tell(self) -> Iterator[Action]:
        while self._stored and _SPOT_CHECK in self._enabled:
            yield self._stored[0].indication()
            self._stored.popleft()  # asked for more, the carrier has confirmed it
        if _SPOT_CHECK in self._enabled:
            yield HangUp()


def _services(*, memory: bool, spots: bool) -> dict[UUID, tuple[Characteristic, ...]]:
    def one(uuid: UUID, *properties: str) -> Characteristic:
        return Characteristic(uuid, frozenset(properties), Security.ENCRYPTED)

    return {
        _OXIMETER: (
            one(_FEATURES, "read"),
            one(_CONTINUOUS, "notify"),
            *((one(_SPOT_CHECK, "indicate"),) if spots else ()),
            *((one(CONTROL_POINT, "write", "indicate"),) if memory else ()),
        ),
        **services(Security.NONE),
    }


def _record(shown: Shown) -> SpotCheckRecord:
    values = {name: Decimal(str(number)) for name, number in shown.values.items()}
    amplitude = shown.context.get("pulse-amplitude-percent")
    return SpotCheckRecord(
        spo2=values[Quantity.OXYGEN_SATURATION],
        pulse_rate=values[Quantity.PULSE_RATE],
        time=shown.time,
        measured=_bits(shown, _MEASURED_BITS),
        device=_bits(shown, _DEVICE_BITS),
        amplitude=None if amplitude is None else Decimal(amplitude),
    )


def _bits(shown: Shown, known: Mapping[str, int]) -> int | None:
    """Return a field of what was said; None, which leaves it out, if nothing was."""
    return sum(bit for name, bit in known.items() if name in shown.status) or None


def _make(shown: Sequence[Shown], _clock: SimClock) -> PulseOximeter:
    return PulseOximeter([_record(one) for one in shown])


def _make_with_memory(shown: Sequence[Shown], clock: SimClock) -> PulseOximeter:
    return PulseOximeter([_record(one) for one in shown], has_memory=True, clock=clock)


def _take(oximeter: PulseOximeter, shown: Shown) -> None:
    oximeter.store(_record(shown))


TRIAL = Trial(
    make=_make_with_memory,
    take=_take,
    spans={
        Kind.OXYGEN_SATURATION: (
            Span(Quantity.OXYGEN_SATURATION, Unit.PERCENT, Decimal(70), Decimal(100)),
            Span(Quantity.PULSE_RATE, Unit.PER_MINUTE, Decimal(30), Decimal(250)),
        )
    },
    contexts=({}, {"pulse-amplitude-percent": "8.7"}),
    statuses=(
        ("fully_qualified",),
        (),
        ("early_estimate",),
        ("fully_qualified", "low_perfusion"),
        ("poor_signal", "questionable"),
    ),
    capacity=_CAPACITY,
)
NO_MEMORY_TRIAL = replace(
    TRIAL,
    make=_make,
    exempt={"silence-told": "nothing is asked of it; it speaks when it measured"},
)

"""An A&D UA-651BLE blood-pressure cuff.

Source: field notes on the UA-651BLE and its relatives
(docs/reference/sources.md); Bluetooth SIG, Blood Pressure Service 1.1.1, §3.

    measurement  flags u8, systolic, diastolic and mean SFLOAT, time 7,
                 pulse SFLOAT, status u16
    Date Time    year u16, month, day, hour, minute, second; in the same service
    command      02 00 E1 send all that is stored, 02 01 03 hang up

It sends what no host has confirmed, and only in this order: told to send all,
clock written or not, measurement enabled. While it is being paired (Pr) it sends
nothing, and waits until it is told to hang up.

Our choice, for the notes do not tell: enabled without being told to send, it
sends nothing and hangs up; once enabled, it refuses to have its clock set.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from struct import pack, unpack
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
from firmware_sim.fields import NOT_A_NUMBER, date_time, sfloat
from firmware_sim.label import Label, services
from firmware_sim.trial import Shown, SimClock, Span, Trial, stopped_clock
from protocols.gatt.uuid import sig
from protocols.observation import Kind, Quantity, Unit

_BLOOD_PRESSURE, _MEASUREMENT, _FEATURE = sig(0x1810), sig(0x2A35), sig(0x2A49)
_DATE_TIME = sig(0x2A08)
_OWN = UUID("233bf000-5a34-1b6d-975c-000d5690abe4")
_COMMAND = UUID("233bf001-5a34-1b6d-975c-000d5690abe4")
_SEND_ALL, _HANG_UP = bytes.fromhex("0200e1"), bytes.fromhex("020103")

_TIME, _PULSE_RATE, _STATUS = 2, 4, 16
_STATUS_BITS = {"body_movement": 1 << 0, "irregular_pulse": 1 << 2}
_FEATURES = 0x0005  # body movement, irregular pulse
_LABEL = Label("UA-651BLE", "5070300815", "A&D Medical")

_WRITE_NOT_PERMITTED, _INVALID_LENGTH = 0x03, 0x0D
_NOT_NOW = 0x80


@dataclass(frozen=True, slots=True)
class CuffRecord:
    """One stored measurement.

    Attributes:
        time: The cuff's clock, without a zone; None is unknown.
        systolic: In mmHg; NaN, as the others, if it failed.
        diastolic: In mmHg.
        mean: In mmHg.
        pulse_rate: Per minute.
        status: Measurement Status bits.
    """

    time: datetime | None
    systolic: Decimal
    diastolic: Decimal
    mean: Decimal = NOT_A_NUMBER
    pulse_rate: Decimal = NOT_A_NUMBER
    status: int = 0

    def encode(self) -> bytes:
        """Return the record as it is sent."""
        pressures = map(sfloat, (self.systolic, self.diastolic, self.mean))
        head = bytes([_TIME | _PULSE_RATE | _STATUS]) + b"".join(pressures)
        rest = date_time(self.time) + sfloat(self.pulse_rate)
        return head + rest + pack("<H", self.status)


class AndCuff:
    """A UA-651BLE's firmware: a `GattBench`.

    Args:
        records: What it has measured and not yet sent, oldest first.
        clock: Tells the time that it shows; it stands still if not given.
        is_pairing: It shows Pr.

    Attributes:
        set_to: What the host last set its clock to; None if never.
    """

    name = "A&D_UA-651BLE_000815"
    advertised = (_BLOOD_PRESSURE,)
    pairing, passkey = Pairing.JUST_WORKS, 0
    services = {  # noqa: RUF012 - nobody changes it
        _BLOOD_PRESSURE: (
            Characteristic(_MEASUREMENT, frozenset({"indicate"}), Security.ENCRYPTED),
            Characteristic(_FEATURE, frozenset({"read"})),
            Characteristic(
                _DATE_TIME, frozenset({"read", "write"}), Security.ENCRYPTED
            ),
        ),
        _OWN: (Characteristic(_COMMAND, frozenset({"write"}), Security.ENCRYPTED),),
        **services(Security.NONE),
    }

    def __init__(
        self,
        records: Iterable[CuffRecord] = (),
        *,
        clock: Callable[[], datetime] = stopped_clock,
        is_pairing: bool = False,
    ) -> None:
        self.set_to: datetime | None = None
        self._unsent = deque(records)
        self._clock, self._is_pairing = clock, is_pairing
        self._ahead = timedelta()
        self._is_told = self._is_enabled = False

    def store(self, record: CuffRecord) -> None:
        """Add a measurement, as a test does that somebody takes now."""
        self._unsent.append(record)

    def connected(self) -> None:
        """Begin with nothing enabled."""
        self._is_told = self._is_enabled = False

    def disconnected(self) -> None:
        """Stop sending; what was not confirmed is kept."""
        self._is_enabled = False

    def read(self, uuid: UUID) -> bytes:
        """Return a value; raise `AttError` for what is not readable."""
        if uuid == _DATE_TIME:
            return date_time(self._clock() + self._ahead)
        if uuid == _FEATURE:
            return pack("<H", _FEATURES)
        return _LABEL.read(uuid)

    def write(self, uuid: UUID, payload: bytes) -> Iterable[Action]:
        """Take a command, or the time."""
        if uuid == _DATE_TIME:
            self._set_clock(payload)
            return ()
        if uuid != _COMMAND or payload not in (_SEND_ALL, _HANG_UP):
            raise AttError(_WRITE_NOT_PERMITTED)
        self._is_told |= payload == _SEND_ALL
        if payload == _SEND_ALL:
            return ()
        self._is_pairing = False
        return (HangUp(),)

    def enabled(self, uuid: UUID, *, on: bool) -> Iterable[Action]:
        """Send all that is unsent, then hang up, once 2A35 is enabled."""
        if uuid != _MEASUREMENT:
            return ()
        self._is_enabled = on
        return self._tell() if on and not self._is_pairing else ()

    def _tell(self) -> Iterator[Action]:
        while self._unsent and self._is_enabled and self._is_told:
            yield Send(_MEASUREMENT, self._unsent[0].encode())
            self._unsent.popleft()  # asked for more, the carrier has confirmed it
        if self._is_enabled:
            yield HangUp()

    def _set_clock(self, payload: bytes) -> None:
        if len(payload) != 7:
            raise AttError(_INVALID_LENGTH)
        if self._is_enabled:
            raise AttError(_NOT_NOW)
        self.set_to = datetime(*unpack("<H5B", payload))  # noqa: DTZ001 - a wall clock
        self._ahead = self.set_to - self._clock()


def _record(shown: Shown) -> CuffRecord:
    values = {name: Decimal(str(number)) for name, number in shown.values.items()}
    return CuffRecord(
        shown.time,
        values[Quantity.SYSTOLIC],
        values[Quantity.DIASTOLIC],
        values[Quantity.MEAN_PRESSURE],
        values[Quantity.PULSE_RATE],
        status=sum(_STATUS_BITS[name] for name in shown.status),
    )


def _make(shown: Sequence[Shown], clock: SimClock) -> AndCuff:
    return AndCuff([_record(one) for one in shown], clock=clock)


def _take(cuff: AndCuff, shown: Shown) -> None:
    cuff.store(_record(shown))


TRIAL = Trial(
    make=_make,
    take=_take,
    spans={
        Kind.BLOOD_PRESSURE: (
            Span(Quantity.SYSTOLIC, Unit.MM_HG, Decimal(60), Decimal(279)),
            Span(Quantity.DIASTOLIC, Unit.MM_HG, Decimal(30), Decimal(200)),
            Span(Quantity.MEAN_PRESSURE, Unit.MM_HG, Decimal(40), Decimal(226)),
            Span(Quantity.PULSE_RATE, Unit.PER_MINUTE, Decimal(40), Decimal(199)),
        )
    },
    statuses=((), *((name,) for name in _STATUS_BITS), tuple(_STATUS_BITS)),
    set_to=lambda cuff: cuff.set_to,
)

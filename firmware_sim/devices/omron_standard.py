"""An Omron cuff with Bluetooth's own services.

Source: field notes on Omron's Bluetooth devices (docs/reference/sources.md);
Bluetooth SIG, Blood Pressure Service 1.1.1, §3; Current Time Service 1.1, §3.1;
User Data Service 1.1, §3; Glucose Service 1.0.1, §3.4.

    measurement   flags u8, systolic, diastolic, mean SFLOAT, time 7, pulse SFLOAT,
                  user u8, status u16
    own           flags u16, sequence u16, systolic, diastolic, mean SFLOAT, time 7,
                  pulse SFLOAT, user u8, status u16; bit 13: goes on in a second value
    current time  date and time 7, day of week, fractions, adjust reason
    users         01 code u16     20 01 01 user        register
                  02 user code    20 02 01, or 05      consent
    records       10 00           11 00 number u16     newest number
                  04 ..           05 00 count u16
                  01 ..           the records, 06 00 01 01, or 06 if there are none
                  where .. is 01, or 03 01 number u16 for those from a number on

It tells its clock as soon as that is enabled. A cuff without a control point for
records sends each record once when the measurement is enabled, and hangs up; one
with it keeps them, and waits to be asked. With user data it sends nothing before
somebody has consented. Written, the time is taken and the rest refused by 80.

Our choice, for the notes do not tell: without consent it says that there are no
records; numbers are counted from 1, for all users together.
"""

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
_CURRENT_TIME_SERVICE, _CURRENT_TIME = sig(0x1805), sig(0x2A2B)
_USER_DATA, _USERS = sig(0x181C), sig(0x2A9F)
_RECORDS = sig(0x2A52)
_OWN_SERVICE = UUID("5df5e817-a945-4f81-89c0-3d4e9759c07c")
_OWN = UUID("c195da8a-0e23-4582-acd8-d446c77c45de")

_TIME, _PULSE_RATE, _USER, _STATUS = 2, 4, 8, 16
_FIRST_PART = 0x203E  # sequence, three pressures, time; goes on
_SECOND_PART = 0x01C2  # sequence, pulse, user, status
_IN_ONE = 0x01FE
_NOT_SUPPORTED, _OPERAND_NOT_SUPPORTED, _NO_RECORDS = 2, 9, 6

_WRITE_NOT_PERMITTED = 0x03
_DATA_FIELD_IGNORED = 0x80
_LABEL = Label("HEM-6233T", "000815", "OMRON")


@dataclass(frozen=True, slots=True)
class StandardRecord:
    """One stored measurement.

    Attributes:
        time: The cuff's clock, without a zone; None is unknown.
        systolic: In mmHg; NaN, as the others, if it failed.
        diastolic: In mmHg.
        mean: In mmHg.
        pulse_rate: Per minute.
        user: The user slot.
        status: Measurement Status bits.
    """

    time: datetime | None
    systolic: Decimal
    diastolic: Decimal
    mean: Decimal = NOT_A_NUMBER
    pulse_rate: Decimal = NOT_A_NUMBER
    user: int = 1
    status: int = 0

    def standard(self) -> bytes:
        """Return it as the service's measurement."""
        flags = _TIME | _PULSE_RATE | _USER | _STATUS
        return bytes([flags]) + self._pressures() + self._rest()

    def own(self, number: int, *, parts: int = 1) -> list[bytes]:
        """Return it as Omron's measurement, in one value or in two."""
        count = pack("<H", number)
        if parts == 1:
            head = pack("<H", _IN_ONE) + count
            return [head + self._pressures() + self._rest()]
        rest = self._rest()
        first = pack("<H", _FIRST_PART) + count + self._pressures() + rest[:7]
        return [first, pack("<H", _SECOND_PART) + count + rest[7:]]

    def _pressures(self) -> bytes:
        numbers = (self.systolic, self.diastolic, self.mean)
        return b"".join(map(sfloat, numbers))

    def _rest(self) -> bytes:
        tail = bytes([self.user]) + pack("<H", self.status)
        return date_time(self.time) + sfloat(self.pulse_rate) + tail


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a model has beside the measurement and the clock.

    Attributes:
        own_parts: In how many values it tells a record by Omron's own measurement;
            0 if it has none.
        records: Whether it has a control point for records.
        numbers: Whether that knows to begin behind a number.
        newest: Whether that tells the newest number.
        users: Whether it has user data.
    """

    own_parts: int = 0
    records: bool = False
    numbers: bool = True
    newest: bool = True
    users: bool = False


class StandardCuff:
    """An Omron cuff's firmware: a `GattBench`.

    Args:
        records: What it has measured, oldest first.
        able: What it has beside the measurement and the clock.
        clock: Tells the time that it shows; it stands still if not given.

    Attributes:
        set_to: What the host last set its clock to; None if never.
        codes: The consent code of each user, by the user.
    """

    name = "BLESmart_0000021F000000000815"
    advertised = (_BLOOD_PRESSURE,)
    pairing, passkey = Pairing.JUST_WORKS, 0

    def __init__(
        self,
        records: Iterable[StandardRecord] = (),
        able: Abilities = Abilities(),
        *,
        clock: Callable[[], datetime] = stopped_clock,
    ) -> None:
        self.set_to: datetime | None = None
        self.codes: dict[int, bytes] = {}
        self.services = _services(able)
        self.mtu = 185 if able.own_parts == 1 else 23
        self._able, self._clock = able, clock
        self._ahead = timedelta()
        self._stored = list(enumerate(records, start=1))
        self._sent = 0
        self._is_consented = self._is_enabled = False

    def store(self, record: StandardRecord) -> None:
        """Add a measurement, as a test does that somebody takes now."""
        self._stored.append((len(self._stored) + 1, record))

    def erase(self) -> None:
        """Forget everything, as somebody wants who holds its keys."""
        self._stored.clear()
        self._sent = 0

    def connected(self) -> None:
        """Begin with nothing enabled, and without consent."""
        self._is_consented, self._is_enabled = not self._able.users, False

    def disconnected(self) -> None:
        """Stop sending; what was not confirmed is kept."""
        self._is_enabled = False

    def read(self, uuid: UUID) -> bytes:
        """Return a value; raise `AttError` for what is not readable."""
        if uuid == _CURRENT_TIME:
            return self._time()
        if uuid == _FEATURE:
            return pack("<H", 5)
        return _LABEL.read(uuid)

    def write(self, uuid: UUID, payload: bytes) -> Iterable[Action]:
        """Take the time, or a request to one of the control points."""
        if uuid == _CURRENT_TIME:
            self._set_clock(payload)
        if uuid == _USERS:
            return [Send(_USERS, self._serve(payload))]
        if uuid != _RECORDS:
            raise AttError(_WRITE_NOT_PERMITTED)
        return self._report(payload)

    def enabled(self, uuid: UUID, *, on: bool) -> Iterable[Action]:
        """Tell the clock; send what is unsent, and hang up."""
        if uuid == _CURRENT_TIME and on:
            return [Send(_CURRENT_TIME, self._time())]
        if uuid != (_OWN if self._able.own_parts else _MEASUREMENT):
            return ()
        self._is_enabled = on
        return self._tell() if on and not self._able.records else ()

    def _tell(self) -> Iterator[Action]:
        while self._is_consented and self._is_enabled:
            if self._sent == len(self._stored):
                break
            yield from self._values(*self._stored[self._sent])
            self._sent += 1  # asked for more, the carrier has confirmed it
        if self._is_enabled:
            yield HangUp()

    def _values(self, number: int, record: StandardRecord) -> Iterator[Send]:
        if not self._able.own_parts:
            yield Send(_MEASUREMENT, record.standard())
            return
        for value in record.own(number, parts=self._able.own_parts):
            yield Send(_OWN, value)

    def _report(self, request: bytes) -> Iterable[Action]:
        op, operator, operand = request[0], request[1], request[2:]
        meant = self._stored if self._is_consented else []
        if op == 0x10:
            if not self._able.newest:
                return [Send(_RECORDS, bytes([6, 0, op, _NOT_SUPPORTED]))]
            return [Send(_RECORDS, pack("<BBH", 0x11, 0, len(meant)))]
        if operator == 3:
            if not self._able.numbers or operand[:1] != b"\x01":
                return [Send(_RECORDS, bytes([6, 0, op, _OPERAND_NOT_SUPPORTED]))]
            meant = meant[max(int.from_bytes(operand[1:], "little") - 1, 0) :]
        if op == 0x04:
            return [Send(_RECORDS, pack("<BBH", 5, 0, len(meant)))]
        end = 1 if meant else _NO_RECORDS
        sent = [value for one in meant for value in self._values(*one)]
        return [*sent, Send(_RECORDS, bytes([6, 0, op, end]))]

    def _serve(self, request: bytes) -> bytes:
        if request[0] == 0x01:
            user = len(self.codes) + 1
            self.codes[user] = request[1:]
            return bytes([0x20, 1, 1, user])
        is_right = self.codes.get(request[1]) == request[2:]
        self._is_consented |= is_right
        return bytes([0x20, 2, 1 if is_right else 5])

    def _time(self) -> bytes:
        now = self._clock() + self._ahead
        return date_time(now) + bytes([now.isoweekday(), 0, 0])

    def _set_clock(self, payload: bytes) -> None:
        if len(payload) != 10 or payload[9] != 1:
            raise AttError(_WRITE_NOT_PERMITTED)
        self.set_to = datetime(*unpack("<H5B", payload[:7]))  # noqa: DTZ001
        self._ahead = self.set_to - self._clock()
        raise AttError(_DATA_FIELD_IGNORED)


def _services(able: Abilities) -> dict[UUID, tuple[Characteristic, ...]]:
    def one(uuid: UUID, *properties: str) -> Characteristic:
        return Characteristic(uuid, frozenset(properties), Security.ENCRYPTED)

    pressure = [one(_MEASUREMENT, "indicate"), one(_FEATURE, "read")]
    if able.records:
        pressure.append(one(_RECORDS, "write", "indicate"))
    found = {
        _BLOOD_PRESSURE: tuple(pressure),
        _CURRENT_TIME_SERVICE: (one(_CURRENT_TIME, "read", "write", "notify"),),
        **services(Security.NONE),
    }
    if able.own_parts:
        found[_OWN_SERVICE] = (one(_OWN, "indicate"),)
    if able.users:
        found[_USER_DATA] = (one(_USERS, "write", "indicate"),)
    return found


def _record(shown: Shown) -> StandardRecord:
    values = {name: Decimal(str(number)) for name, number in shown.values.items()}
    return StandardRecord(
        shown.time,
        values[Quantity.SYSTOLIC],
        values[Quantity.DIASTOLIC],
        values[Quantity.MEAN_PRESSURE],
        values[Quantity.PULSE_RATE],
        user=shown.slot or 1,
    )


def _make(shown: Sequence[Shown], clock: SimClock) -> StandardCuff:
    return StandardCuff([_record(one) for one in shown], clock=clock)


def _take(cuff: StandardCuff, shown: Shown) -> None:
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
    slots=(1, 2),
    set_to=lambda cuff: cuff.set_to,
)

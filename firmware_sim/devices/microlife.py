"""A Microlife cuff of the BP3GY1-2N's kind, with Bluetooth.

Source: field notes on the Microlife BP3GY1-2N, B3 and B6
(docs/reference/sources.md).

    host   4D FF | size u16 | command u8, data | sum u8        high byte first
    cuff   4D 3A | size u16 | command u8, data | sum u8

``size`` counts what follows it, ``sum`` is the low byte of the sum of all before
it. Packets of 20 bytes carry them in both directions (FFF2 to it, FFF1 from it).

    00 6 bytes, user   8 bytes of which the 4th counts the records and the 5th is
                       the user, 30 for a series under way, 10 for each record;
                       the 6 bytes set the clock, unless they are 0
    03                 erases the records
    04                 hangs up
    07                 8 bytes, the newest record
    0C                 1 if the clock is set, year, month, day, hour, minute, second
    0D 6 bytes         sets the clock
    0F 00              one byte, serial number text
    record             systolic, diastolic, pulse, year, month, day, hour, minute,
                       flags (80 fitted, 40 irregular, 20 fibrillation, 18 the
                       mode of a series), 0

What has no data to tell is answered by 81 alone; what is not known by 91, and 07
with an empty memory by 92, both our choice. An unset clock stamps 17 00 00 00 00.
The other user's records are not told, and the version (05) is not known here.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
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
from protocols.crc import sum8
from protocols.gatt.uuid import sig
from protocols.observation import Kind, Quantity, Unit

CAPACITY = 99  # records

_SERVICE, _NOTIFIES, _TAKES = sig(0xFFF0), sig(0xFFF1), sig(0xFFF2)
_PACKET = 20  # bytes
_WRITE_NOT_PERMITTED = 0x03
_FITTED = 0x80
_FLAGS = {
    "cuff_too_loose": _FITTED,
    "irregular_pulse": 0x40,
    "atrial_fibrillation": 0x20,
}
_DONE, _UNKNOWN, _NOTHING = b"\x81", b"\x91", b"\x92"
_UNSET = bytes([17, 0, 0, 0, 0])


@dataclass(frozen=True, slots=True)
class MicrolifeRecord:
    """One stored measurement.

    Attributes:
        systolic: 1 to 255 mmHg.
        diastolic: 1 to 255 mmHg.
        pulse: 1 to 255 per minute.
        time: The cuff's clock; None if it was never set.
        flags: As in the table above.
    """

    systolic: int
    diastolic: int
    pulse: int
    time: datetime | None
    flags: int = _FITTED

    def encode(self) -> bytes:
        """Return the ten bytes that it is told as."""
        time = _UNSET if self.time is None else _clock(self.time)[:5]
        values = bytes([self.systolic, self.diastolic, self.pulse])
        return values + time + bytes([self.flags, 0])


class MicrolifeCuff:
    """A cuff's firmware: a `GattBench`.

    Args:
        records: What the chosen user has stored, oldest first.
        clock: Tells the time that it shows, until the host sets it.
        user: The chosen user, 1 or 2.
        is_set: Whether somebody has set its clock.
        knows_clock: Whether it answers what its clock shows.
        refuses: Commands that it answers with 91.
        echoes: Whether it repeats the command before 81, 91 and 92.

    Attributes:
        set_to: What the host last set the clock to; None if never.
    """

    name = "BP3GY1-2N"
    advertised = (_SERVICE,)
    pairing = Pairing.JUST_WORKS
    passkey = 0

    def __init__(
        self,
        records: Iterable[MicrolifeRecord],
        clock: Callable[[], datetime],
        *,
        user: int = 1,
        is_set: bool = True,
        knows_clock: bool = True,
        refuses: frozenset[int] = frozenset(),
        echoes: bool = False,
    ) -> None:
        security = Security.ENCRYPTED
        self.services = {
            _SERVICE: (
                Characteristic(_NOTIFIES, frozenset({"notify"}), security),
                Characteristic(_TAKES, frozenset({"write"}), security),
            ),
            **services(Security.NONE),
        }
        self.set_to: datetime | None = None
        self._records = [*records][-CAPACITY:]
        self._clock, self._user, self._is_set = clock, user, is_set
        self._knows_clock, self._refuses, self._echoes = knows_clock, refuses, echoes
        self._ahead = timedelta()
        self._label = Label("BP3GY1-2N", "ML-00012345", manufacturer="Microlife")
        self._heard = b""

    @property
    def records(self) -> tuple[MicrolifeRecord, ...]:
        """What is stored now, oldest first."""
        return tuple(self._records)

    def store(self, record: MicrolifeRecord) -> None:
        """Add a measurement; forget the oldest if there is no room."""
        self._records = [*self._records, record][-CAPACITY:]

    def erase(self) -> None:
        """Forget everything, as somebody wants who holds its keys."""
        self._records.clear()

    def connected(self) -> None:
        """Begin with nothing heard."""
        self._heard = b""

    def disconnected(self) -> None:
        """Forget what was heard of a frame."""
        self._heard = b""

    def read(self, uuid: UUID) -> bytes:
        """Return a value; raise `AttError` for what is not readable."""
        return self._label.read(uuid)

    def enabled(self, uuid: UUID, *, on: bool) -> Iterable[Action]:  # noqa: ARG002
        """Say nothing unasked."""
        return ()

    def write(self, uuid: UUID, payload: bytes) -> Iterable[Action]:
        """Take a packet; answer the frame that it completes."""
        if uuid != _TAKES:
            raise AttError(_WRITE_NOT_PERMITTED)
        self._heard += payload
        size = int.from_bytes(self._heard[2:4]) + 4
        if len(self._heard) < max(size, 6):
            return ()
        frame, self._heard = self._heard, b""
        is_whole = len(frame) == size and frame[:2] == b"\x4d\xff"
        if not is_whole or sum8(frame[:-1]) != frame[-1]:
            return ()
        return self._answer(frame[4], frame[5:-1])

    def _answer(self, command: int, data: bytes) -> Iterable[Action]:
        if command == 0x04:
            return [HangUp()]
        if command in self._refuses:
            return self._send(self._plain(command, _UNKNOWN))
        if command == 0x0C and not self._knows_clock:
            return ()
        return self._send(self._reply(command, data))

    def _reply(self, command: int, data: bytes) -> bytes:
        answer = self._plain(command, _UNKNOWN)
        match command, len(data):
            case 0x00, 7:
                if any(data[:6]):
                    self._set(data[:6])
                answer = self._history()
            case 0x03, 0:
                self._records.clear()
                answer = self._plain(command, _DONE)
            case 0x07, 0 if self._records:
                head = bytes([7, len(self._records), self._user]) + bytes(5)
                answer = head + self._records[-1].encode()
            case 0x07, 0:
                answer = self._plain(command, _NOTHING)
            case 0x0C, 0:
                answer = bytes([0x0C, self._is_set]) + _clock(self._now())
            case 0x0D, 6:
                self._set(data)
                answer = self._plain(command, _DONE)
            case 0x0F, 1:
                answer = b"\x0f\x00" + self._label.serial.encode()
        return answer

    def _history(self) -> bytes:
        head = bytes([0, 0, 0, len(self._records), self._user, 0, 0, 0])
        records = b"".join(record.encode() for record in self._records)
        return head + bytes(30) + records

    def _plain(self, command: int, code: bytes) -> bytes:
        return bytes([command]) * self._echoes + code

    def _set(self, data: bytes) -> None:
        year, month, day, hour, minute, second = data
        wanted = datetime(2000 + year, month, day, hour, minute, second)  # noqa: DTZ001
        self._ahead, self._is_set = wanted - self._clock(), True
        self.set_to = wanted

    def _now(self) -> datetime:
        return self._clock() + self._ahead

    def _send(self, answer: bytes) -> Iterable[Action]:
        frame = b"\x4d\x3a" + (len(answer) + 1).to_bytes(2) + answer
        frame += bytes([sum8(frame)])
        for at in range(0, len(frame), _PACKET):
            yield Send(_NOTIFIES, frame[at : at + _PACKET])


def _clock(time: datetime) -> bytes:
    return bytes([time.year - 2000, *time.timetuple()[1:6]])


def _record(shown: Shown) -> MicrolifeRecord:
    order = (Quantity.SYSTOLIC, Quantity.DIASTOLIC, Quantity.PULSE_RATE)
    systolic, diastolic, pulse = (int(str(shown.values[one])) for one in order)
    flags = int(shown.context.get("mam-mode", "0")) << 3
    flags |= sum(_FLAGS[name] for name in shown.status)
    # The bit says that it fitted, and the status that it did not.
    return MicrolifeRecord(systolic, diastolic, pulse, shown.time, flags ^ _FITTED)


def _make(shown: Sequence[Shown], clock: SimClock) -> MicrolifeCuff:
    return MicrolifeCuff([_record(one) for one in shown], clock)


def _take(cuff: MicrolifeCuff, shown: Shown) -> None:
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
    slots=(1,),
    contexts=({}, {"mam-mode": "3"}),
    statuses=((), *((name,) for name in _FLAGS), tuple(_FLAGS)),
    resolution_s=60,
    capacity=CAPACITY,
    set_to=lambda cuff: cuff.set_to,
)

"""A OneTouch Verio Flex glucose meter, by Bluetooth.

Source: field notes on the Verio's BLE protocol (docs/reference/sources.md).

One write, or one notification, is one octet and a frame:

    0x01 | 0x02 | length u8 | 0 | message | 0x03 | crc u16     little-endian
    0x81                                                       "I have it"

``length`` counts the frame; ``crc`` is CRC-16/CCITT-FALSE of it up to there. A
message begins with a prefix, 03 or 04, which its answer repeats:

    04 20 02              04 06, clock u32, seconds since 2000 of local time
    04 20 01 clock u32    nothing but 0x81; the clock is set
    04 27 00              04 06, number of records u16
    04 0A 02 06           04 06, number of the newest record u32
    04 B3 number u16      04 06, time u32, glucose u16 in mg/dL, control u8,
                          4 bytes 0; a deleted record's glucose is 0
    all else              04 09: not understood, or refused, as erasing (04 1A) is

Any question may be answered by 04 07 instead: not allowed now.

It says 0x81 to whatever it is asked, and then answers. Until the host has said
0x81 to an answer, it hears no other question than the same one again. Records
are numbered from 1 on, for ever.

Our choice, for the notes do not tell: a record that it does not hold is
answered by 04 08; 601 and 19 stand for HI and LO; it holds 500; whether it counts
the deleted ones.
"""

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from struct import pack, unpack
from uuid import UUID

from firmware_sim.bench import Action, AttError, Characteristic, Pairing, Security, Send
from firmware_sim.label import Label, services
from firmware_sim.trial import Limit, Shown, SimClock, Span, Trial, stopped_clock
from protocols.crc import ccitt_false
from protocols.observation import Kind, Quantity, Unit

CAPACITY = 500  # records

_SERVICE = UUID("af9df7a1-e595-11e3-96b4-0002a5d5c51b")
_WRITE = UUID("af9df7a2-e595-11e3-96b4-0002a5d5c51b")
_NOTIFY = UUID("af9df7a3-e595-11e3-96b4-0002a5d5c51b")

_ACKNOWLEDGE = b"\x81"
_DONE, _NOT_ALLOWED, _NO_RECORD, _REFUSED = b"\x06", b"\x07", b"\x08", b"\x09"
_HIGH, _LOW = 601, 19
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_WRITE_NOT_PERMITTED = 0x03


@dataclass(frozen=True, slots=True)
class VerioBleRecord:
    """One stored result.

    Attributes:
        time: The meter's clock, without a zone, to the second.
        mg_per_dl: 0 to 65535; 0 is deleted.
        control: 1 is control solution.
        tail: What stands behind it, four bytes.
    """

    time: datetime
    mg_per_dl: int
    control: int = 0
    tail: bytes = bytes(4)

    def encode(self) -> bytes:
        """Return what follows the status."""
        return pack("<IHB", _seconds(self.time), self.mg_per_dl, self.control) + (
            self.tail
        )


class VerioBle:
    """A Verio Flex's firmware: a `GattBench`.

    Args:
        records: What it has measured, oldest first; the last 500 are held.
        label: Its device information and battery.
        clock: Tells the time that it shows; it stands still if not given.

    Attributes:
        set_to: What the host last set its clock to; None if never.
        refused: The numbers of the records that it does not give now.
        counts_deleted: Whether the number of records is that of the deleted ones too.
    """

    name = "OneTouch SM01"
    advertised = (_SERVICE,)
    pairing = Pairing.PASSKEY
    passkey = 123456

    def __init__(
        self,
        records: Iterable[VerioBleRecord] = (),
        *,
        label: Label = Label("OneTouch Verio Flex", "SIMVF0001", "LifeScan"),  # noqa: B008 - frozen
        clock: Callable[[], datetime] = stopped_clock,
    ) -> None:
        self.services = _services()
        self.set_to: datetime | None = None
        self.refused: Container[int] = frozenset()
        self.counts_deleted = False
        self._label, self._clock, self._ahead = label, clock, timedelta()
        every = dict(enumerate(records, 1))
        self._newest = len(every)
        self._held = dict([*every.items()][-CAPACITY:])
        self._unconfirmed: bytes | None = None  # a question

    def store(self, record: VerioBleRecord) -> None:
        """Add a result, as a test does that somebody takes now; forget the oldest."""
        self._newest += 1
        self._held[self._newest] = record
        self._held = dict([*self._held.items()][-CAPACITY:])

    def delete(self, number: int) -> None:
        """Delete a record, as somebody can at the meter; its place stays."""
        self._held[number] = replace(self._held[number], mg_per_dl=0)

    def connected(self) -> None:
        """Begin with nothing to be acknowledged."""
        self._unconfirmed = None

    def disconnected(self) -> None:
        """Forget what was not acknowledged."""
        self._unconfirmed = None

    def read(self, uuid: UUID) -> bytes:
        """Return a value; raise `AttError` for what is not readable."""
        return self._label.read(uuid)

    def enabled(self, uuid: UUID, *, on: bool) -> Iterable[Action]:  # noqa: ARG002 - nothing follows
        """Note nothing: the carrier drops what is not enabled."""
        return ()

    def write(self, uuid: UUID, payload: bytes) -> Iterable[Action]:
        """Take a packet; return what follows from it."""
        if uuid != _WRITE:
            raise AttError(_WRITE_NOT_PERMITTED)
        if payload == _ACKNOWLEDGE:
            self._unconfirmed = None
            return ()
        message = payload[4:-3]
        if not message or payload != _packet(message):
            return ()  # damaged, and passed over
        if self._unconfirmed not in (None, payload):
            return ()
        return self._say(payload, message[:1] + self._reply(message))

    def _say(self, question: bytes, answer: bytes) -> Iterator[Action]:
        yield Send(_NOTIFY, _ACKNOWLEDGE)
        if len(answer) > 1:
            self._unconfirmed = question
            yield Send(_NOTIFY, _packet(answer))

    def _reply(self, message: bytes) -> bytes:  # noqa: PLR0911 - one for each command
        if message[0] not in (0x03, 0x04):
            return _REFUSED
        match message[1:]:
            case b"\x20\x02":
                return _DONE + pack("<I", _seconds(self._clock() + self._ahead))
            case b"\x27\x00":
                every = self._held.values()
                held = [one for one in every if one.mg_per_dl or self.counts_deleted]
                return _DONE + pack("<H", len(held))
            case b"\x0a\x02\x06":
                return _DONE + pack("<I", self._newest)
            case command if command[:1] == b"\xb3" and len(command) == 3:
                return self._record(*unpack("<H", command[1:]))
            case command if command[:2] == b"\x20\x01" and len(command) == 6:
                self._set_clock(*unpack("<I", command[2:]))
                return b""
        return _REFUSED

    def _record(self, number: int) -> bytes:
        if number in self.refused:
            return _NOT_ALLOWED
        record = self._held.get(number)
        return _NO_RECORD if record is None else _DONE + record.encode()

    def _set_clock(self, seconds: int) -> None:
        moment = (_EPOCH + timedelta(seconds=seconds)).replace(tzinfo=None)
        self.set_to, self._ahead = moment, moment - self._clock()


def _packet(message: bytes) -> bytes:
    frame = bytes([2, len(message) + 6, 0]) + message + b"\x03"
    return b"\x01" + frame + ccitt_false(frame).to_bytes(2, "little")


def _seconds(moment: datetime) -> int:
    return int((moment.replace(tzinfo=UTC) - _EPOCH).total_seconds())


def _services() -> dict[UUID, tuple[Characteristic, ...]]:
    def one(uuid: UUID, *properties: str) -> Characteristic:
        return Characteristic(uuid, frozenset(properties), Security.AUTHENTICATED)

    return {
        _SERVICE: (
            one(_WRITE, "write", "write-without-response"),
            one(_NOTIFY, "notify"),
        ),
        **services(Security.ENCRYPTED),
    }


def _record(shown: Shown) -> VerioBleRecord:
    number = shown.values[Quantity.GLUCOSE]
    if isinstance(number, Limit):
        number = Decimal(_HIGH if number is Limit.HIGH else _LOW)
    is_control = shown.kind == Kind.CONTROL_SOLUTION
    return VerioBleRecord(shown.time, int(number), control=is_control)


def _make(shown: Sequence[Shown], clock: SimClock) -> VerioBle:
    return VerioBle(map(_record, shown), clock=clock)


def _take(meter: VerioBle, shown: Shown) -> None:
    meter.store(_record(shown))


_SPAN = Span(Quantity.GLUCOSE, Unit.MG_PER_DL, Decimal(20), Decimal(600))

TRIAL = Trial(
    make=_make,
    take=_take,
    spans={Kind.GLUCOSE: (_SPAN,), Kind.CONTROL_SOLUTION: (_SPAN,)},
    limits=frozenset({Kind.GLUCOSE, Kind.CONTROL_SOLUTION}),
    capacity=CAPACITY,
    set_to=lambda meter: meter.set_to,
)

"""A CareSens N glucose meter on its serial cable.

Source: field notes on the CareSens serial protocol, protocol 3
(docs/reference/sources.md).

    0x02 "iSPc" | number of the bytes behind this one u8 | four letters | data
    | crc u16 | 0x03                                                big-endian

``crc`` is CRC-16/CCITT-FALSE of the whole packet without it.

    80 alone                    2E, the protocol it speaks
    RSNB                        RSNB, serial number text, NUL
    RTIM                        RTIM, year - 2000, month, day, hour, minute, second
    WTIM six bytes of time      the same; the clock is set
    NCOT                        NCOT, number of records u16
    GLUE first u16, number u8   GLUE, number x 9 bytes: time 6, flags, value u16;
                                what stands for the crc is not one

A value is mg/dL, or of a ketone test ten times the mmol/L. Flags: 01 control
solution, 02 after a meal, 04 LO, 08 HI, 10 fasting, 20 without a mark, 40
ketone, 80 these flags are valid. Errors in place of the letters: HEAD, SIZE,
ECRC, CMND.

Our choice, for the notes do not tell: record 1 is the oldest; records that it
does not hold are answered by CMND; it holds 250; 600 and 20 stand beside HI
and LO.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from struct import pack, unpack

from firmware_sim.bench import Wait
from firmware_sim.trial import Limit, Shown, SimClock, Span, Trial, stopped_clock
from protocols.crc import ccitt_false
from protocols.observation import Kind, Quantity, Unit

CAPACITY = 250  # records

_PING, _PROTOCOL = 0x80, b"\x2e"
_START, _END = b"\x02iSPc", b"\x03"
_LEAST = 7  # letters, crc, end
_MOST_AT_ONCE = 27
_CONTROL, _AFTER_MEAL, _LOW, _HIGH, _FASTING, _NORMAL, _KETONE, _VALID = (
    1 << bit for bit in range(8)
)


@dataclass(frozen=True, slots=True)
class CareSensRecord:
    """One stored result.

    Attributes:
        time: The meter's clock, without a zone, to the second; 2000 to 2255.
        flags: All eight bits.
        value: 0 to 65535.
    """

    time: datetime
    flags: int
    value: int

    def encode(self) -> bytes:
        """Return its nine bytes."""
        return _time(self.time) + pack(">BH", self.flags, self.value)


class CareSensN:
    """A CareSens N's firmware: a `SerialBench`.

    Args:
        records: What it has stored, oldest first, 250 at most.
        serial: Its serial number, ASCII.
        clock: Tells the time that it shows; it stands still if not given.

    Attributes:
        set_to: What the host last set its clock to; None if never.

    Raises:
        ValueError: There are more records than it can hold.
    """

    baud = 9600

    def __init__(
        self,
        records: Iterable[CareSensRecord] = (),
        *,
        serial: str = "SIM0000000001",
        clock: Callable[[], datetime] = stopped_clock,
    ) -> None:
        self._records = list(records)
        if len(self._records) > CAPACITY:
            raise ValueError(f"{len(self._records)} records do not fit into {CAPACITY}")
        self.serial, self._clock = serial, clock
        self.set_to: datetime | None = None
        self._ahead = timedelta()
        self._heard = b""

    def store(self, record: CareSensRecord) -> None:
        """Add a result, as a test does that somebody takes now; forget the oldest."""
        self._records = [*self._records, record][-CAPACITY:]

    def plugged(self) -> Iterable[bytes | Wait]:
        """Forget half a packet; it says nothing unasked."""
        self._heard = b""
        return ()

    def feed(self, data: bytes) -> Iterable[bytes | Wait]:
        """Take received bytes; return answers, each one packet or one byte."""
        self._heard += data
        answers: list[bytes] = []
        while self._heard:
            if self._heard[0] == _PING:
                self._heard = self._heard[1:]
                answers.append(_PROTOCOL)
            elif not self._is_packet():
                self._heard = self._heard[1:]
            elif len(self._heard) < 6 or len(self._heard) < 6 + self._heard[5]:
                break  # the rest is still to come
            else:
                size = 6 + self._heard[5]
                answers.append(self._answer(self._heard[:size]))
                self._heard = self._heard[size:]
        return answers

    def _is_packet(self) -> bool:
        return self._heard[:5] == _START[: len(self._heard)]

    def _answer(self, packet: bytes) -> bytes:  # noqa: PLR0911 - one for each command
        if packet[5] < _LEAST:
            return _packet(b"SIZE")
        letters, data = packet[6:10], packet[10:-3]
        if packet != _packet(letters, data):
            return _packet(b"ECRC")
        match letters, len(data):
            case b"RSNB", 0:
                return _packet(b"RSNB", self.serial.encode("ascii") + b"\0")
            case b"RTIM", 0:
                return _packet(b"RTIM", _time(self._clock() + self._ahead))
            case b"WTIM", 6:
                return self._set_clock(data)
            case b"NCOT", 0:
                return _packet(b"NCOT", pack(">H", len(self._records)))
            case b"GLUE", 3:
                return self._some(*unpack(">HB", data))
        return _packet(b"CMND")

    def _some(self, first: int, number: int) -> bytes:
        some = self._records[first - 1 : first - 1 + number]
        if not (first and 0 < number <= _MOST_AT_ONCE and len(some) == number):
            return _packet(b"CMND")
        whole = _packet(b"GLUE", b"".join(one.encode() for one in some))
        return whole[:-3] + b"\0\0" + _END

    def _set_clock(self, data: bytes) -> bytes:
        try:
            moment = datetime(2000 + data[0], *data[1:])  # noqa: DTZ001 - a wall clock
        except ValueError:
            return _packet(b"CMND")
        self.set_to, self._ahead = moment, moment - self._clock()
        return _packet(b"WTIM", data)


def _time(moment: datetime) -> bytes:
    year, *rest = moment.timetuple()[:6]
    return bytes([year - 2000, *rest])


def _packet(letters: bytes, data: bytes = b"") -> bytes:
    head = _START + bytes([len(data) + _LEAST]) + letters + data
    return head + ccitt_false(head + _END).to_bytes(2, "big") + _END


_MEALS = {"postprandial": _AFTER_MEAL, "fasting": _FASTING}


def _record(shown: Shown) -> CareSensRecord:
    ((quantity, number),) = shown.values.items()
    flags = _MEALS.get(shown.context.get("meal", ""), _NORMAL) | _VALID
    flags |= _CONTROL * (shown.kind == Kind.CONTROL_SOLUTION)
    is_ketone = quantity == Quantity.KETONE
    flags |= _KETONE * is_ketone
    if isinstance(number, Limit):
        is_high = number is Limit.HIGH
        flags |= _HIGH if is_high else _LOW
        number = Decimal(600 if is_high else 20)
    return CareSensRecord(shown.time, flags, int(number * (10 if is_ketone else 1)))


def _make(shown: Sequence[Shown], clock: SimClock) -> CareSensN:
    return CareSensN(map(_record, shown[-CAPACITY:]), clock=clock)


def _another(shown: Sequence[Shown], clock: SimClock) -> CareSensN:
    return CareSensN(
        map(_record, shown[-CAPACITY:]), clock=clock, serial="SIM0000000002"
    )


def _take(meter: CareSensN, shown: Shown) -> None:
    meter.store(_record(shown))


_GLUCOSE = Span(Quantity.GLUCOSE, Unit.MG_PER_DL, Decimal(20), Decimal(600))
_KETONES = Span(
    Quantity.KETONE, Unit.MMOL_PER_L, Decimal("0.1"), Decimal("8.0"), Decimal("0.1")
)

TRIAL = Trial(
    make=_make,
    take=_take,
    another=_another,
    spans={
        Kind.GLUCOSE: (_GLUCOSE,),
        Kind.KETONE: (_KETONES,),
        Kind.CONTROL_SOLUTION: (_GLUCOSE,),
    },
    limits=frozenset({Kind.GLUCOSE, Kind.CONTROL_SOLUTION}),  # a ketone is never LO
    contexts=({}, {"meal": "postprandial"}, {"meal": "fasting"}),
    capacity=CAPACITY,
    set_to=lambda meter: meter.set_to,
)

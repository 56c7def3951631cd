"""A OneTouch Verio IQ glucose meter on its USB plug.

Source: field notes on the OneTouch Verio IQ (docs/reference/sources.md).

    0x02 | length u8 | 0 | message | 0x03 | crc u16            little-endian

``length`` counts the whole frame; ``crc`` is CRC-16/CCITT-FALSE of all before
it. A message begins with a prefix, 03 or 04, which its answer repeats.

    03 0D 01              03 06, length u8, version text, NUL
    03 0B 01 02           03 06, serial number text, NUL
    03 20 02              03 06, clock u32, seconds since 2000 of local time
    03 20 01 clock u32    03 06; the clock is set
    03 09 02 02           03 06, 00 00 00 00: the display shows mg/dL
    03 27 00              03 06, number of records u16
    03 21 index u16       03 06, time u32, glucose u16 in mg/dL, control u8,
                          meal u8 (1 before, 2 after), 00 00
    all else              03 09: not understood, or refused, as erasing (03 1A) is

Any question may be answered by 03 07 instead: not allowed now.

Our choice, for the notes do not tell: record 0 is the newest; an index beyond
the last is answered by 03 08; 601 and 19 stand for HI and LO; it holds 750.
"""

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from struct import pack

from firmware_sim.bench import Wait
from firmware_sim.trial import Limit, Shown, SimClock, Span, Trial, stopped_clock
from protocols.crc import ccitt_false
from protocols.observation import Kind, Quantity, Unit

CAPACITY = 750  # records

_STX, _ETX = 0x02, 0x03
_OVERHEAD = 6  # STX, length, link, ETX, CRC
_DONE, _NOT_ALLOWED, _NO_RECORD, _REFUSED = b"\x06", b"\x07", b"\x08", b"\x09"
_HIGH, _LOW = 601, 19
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class VerioRecord:
    """One stored result.

    Attributes:
        time: The meter's clock, without a zone, to the second.
        mg_per_dl: 0 to 65535.
        control: 1 is control solution.
        meal: 0 none, 1 before, 2 after a meal.
    """

    time: datetime
    mg_per_dl: int
    control: int = 0
    meal: int = 0

    def encode(self) -> bytes:
        """Return what follows the status."""
        numbers = self.mg_per_dl, self.control, self.meal
        return pack("<IHBBH", _seconds(self.time), *numbers, 0)


class VerioIq:
    """A Verio IQ's firmware: a `SerialBench`.

    Args:
        records: What it has stored, oldest first, 750 at most.
        serial: Its serial number, ASCII.
        version: Its version, ASCII.
        clock: Tells the time that it shows; it stands still if not given.

    Attributes:
        set_to: What the host last set its clock to; None if never.
        refused: The records that it does not give now, by their index.

    Raises:
        ValueError: There are more records than it can hold.
    """

    baud = 38400

    def __init__(
        self,
        records: Iterable[VerioRecord] = (),
        *,
        serial: str = "SIMIQ0001",
        version: str = "VIE_01.00.00",
        clock: Callable[[], datetime] = stopped_clock,
    ) -> None:
        self._records = list(records)
        if len(self._records) > CAPACITY:
            raise ValueError(f"{len(self._records)} records do not fit into {CAPACITY}")
        self.serial, self._version, self._clock = serial, version, clock
        self.set_to: datetime | None = None
        self.refused: Container[int] = frozenset()
        self._ahead = timedelta()
        self._heard = b""

    def store(self, record: VerioRecord) -> None:
        """Add a result, as a test does that somebody takes now; forget the oldest."""
        self._records = [*self._records, record][-CAPACITY:]

    def plugged(self) -> Iterable[bytes | Wait]:
        """Forget half a frame; it says nothing unasked."""
        self._heard = b""
        return ()

    def feed(self, data: bytes) -> Iterable[bytes | Wait]:
        """Take received bytes; return answers, each one frame.

        What is no frame, by its length, its end or its checksum, is passed
        over without an answer.
        """
        self._heard += data
        return [_frame(message[:1] + self._reply(message)) for message in self._asked()]

    def _asked(self) -> Iterator[bytes]:
        while (start := self._heard.find(_STX)) >= 0:
            self._heard = self._heard[start:]
            length = self._heard[1] if len(self._heard) > 1 else _OVERHEAD
            if length >= _OVERHEAD and len(self._heard) < length:
                return  # the rest is still to come
            whole = self._heard[:length]
            if length <= _OVERHEAD or whole != _frame(whole[3 : length - 3]):
                self._heard = self._heard[1:]  # a frame may start inside this one
                continue
            self._heard = self._heard[length:]
            yield whole[3 : length - 3]
        self._heard = b""

    def _reply(self, message: bytes) -> bytes:  # noqa: PLR0911 - one for each command
        if message[0] not in (0x03, 0x04):
            return _REFUSED
        match message[1:]:
            case b"\x0d\x01":
                text = self._version.encode("ascii")
                return _DONE + bytes([len(text)]) + text + b"\0"
            case b"\x0b\x01\x02":
                return _DONE + self.serial.encode("ascii") + b"\0"
            case b"\x20\x02":
                return _DONE + pack("<I", _seconds(self._clock() + self._ahead))
            case b"\x09\x02\x02":
                return _DONE + bytes(4)
            case b"\x27\x00":
                return _DONE + pack("<H", len(self._records))
            case command if command[:1] == b"\x21" and len(command) == 3:
                return self._record(int.from_bytes(command[1:], "little"))
            case command if command[:2] == b"\x20\x01" and len(command) == 6:
                return self._set_clock(int.from_bytes(command[2:], "little"))
        return _REFUSED

    def _record(self, index: int) -> bytes:
        if index in self.refused:
            return _NOT_ALLOWED
        if index >= len(self._records):
            return _NO_RECORD
        return _DONE + self._records[-1 - index].encode()

    def _set_clock(self, seconds: int) -> bytes:
        moment = (_EPOCH + timedelta(seconds=seconds)).replace(tzinfo=None)
        self.set_to, self._ahead = moment, moment - self._clock()
        return _DONE


def _frame(message: bytes) -> bytes:
    body = bytes([_STX, len(message) + _OVERHEAD, 0]) + message + bytes([_ETX])
    return body + ccitt_false(body).to_bytes(2, "little")


def _seconds(moment: datetime) -> int:
    return int((moment.replace(tzinfo=UTC) - _EPOCH).total_seconds())


_MEALS = {"preprandial": 1, "postprandial": 2}


def _record(shown: Shown) -> VerioRecord:
    number = shown.values[Quantity.GLUCOSE]
    if isinstance(number, Limit):
        number = Decimal(_HIGH if number is Limit.HIGH else _LOW)
    return VerioRecord(
        shown.time,
        int(number),
        control=shown.kind == Kind.CONTROL_SOLUTION,
        meal=_MEALS.get(shown.context.get("meal", ""), 0),
    )


def _make(shown: Sequence[Shown], clock: SimClock) -> VerioIq:
    return VerioIq(map(_record, shown[-CAPACITY:]), clock=clock)


def _another(shown: Sequence[Shown], clock: SimClock) -> VerioIq:
    return VerioIq(map(_record, shown[-CAPACITY:]), clock=clock, serial="SIMIQ0002")


def _take(meter: VerioIq, shown: Shown) -> None:
    meter.store(_record(shown))


_SPAN = Span(Quantity.GLUCOSE, Unit.MG_PER_DL, Decimal(20), Decimal(600))

TRIAL = Trial(
    make=_make,
    take=_take,
    another=_another,
    spans={Kind.GLUCOSE: (_SPAN,), Kind.CONTROL_SOLUTION: (_SPAN,)},
    limits=frozenset({Kind.GLUCOSE, Kind.CONTROL_SOLUTION}),
    contexts=({}, {"meal": "preprandial"}, {"meal": "postprandial"}),
    capacity=CAPACITY,
    set_to=lambda meter: meter.set_to,
)

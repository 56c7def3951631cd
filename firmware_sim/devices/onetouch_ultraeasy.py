"""A OneTouch UltraEasy glucose meter on its serial cable.

Source: field notes on the OneTouch UltraEasy and UltraMini protocol
(docs/reference/sources.md).

    0x02 | length u8 | link u8 | message | 0x03 | crc u16      little-endian

``length`` counts the whole frame; ``crc`` is CRC-16/CCITT-FALSE of all before
it. ``link``: bit 0 S sequence of what is sent, 1 E sequence of what is
expected, 2 acknowledgement, 3 disconnect.

    05 0D 02              05 06, length u8, version text
    05 0B 02, 9 bytes     05 06, serial number text
    05 20 02, [4 bytes]   05 06, clock u32, seconds since 1970 of local time
    05 1F index u16       05 06, time u32, glucose u32 in mg/dL; 0 is the newest
                          05 0F, number of records u16, if there is none
    all else              05 09: not known, or refused, as erasing (05 1A) is

The notes do not say what a meter answers to an index between its number of
records and 501, nor to what it does not know, or does not give now (05 07); these
are our choice.
"""

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from struct import pack

from firmware_sim.trial import Limit, Shown, SimClock, Span, Trial, stopped_clock
from protocols.crc import ccitt_false
from protocols.observation import Kind, Quantity, Unit

CAPACITY = 500  # records

_STX, _ETX = 0x02, 0x03
_OVERHEAD = 6  # STX, length, link, ETX, CRC
_S, _E, _ACK, _DISCONNECT = 1, 2, 4, 8
_DONE, _NO_RECORD = b"\x05\x06", b"\x05\x0f"
_NOT_ALLOWED, _REFUSED = b"\x05\x07", b"\x05\x09"
_VERSION, _SERIAL = bytes.fromhex("05 0d 02"), bytes.fromhex("05 0b 02")
_CLOCK, _RECORD = bytes.fromhex("05 20 02"), bytes.fromhex("05 1f")
_HIGH, _LOW = 0xFFFF, 0xFFFE
_LIMITS: dict[Decimal | float, int] = {float("inf"): _HIGH, float("-inf"): _LOW}
_LARGEST = 0xFFFD  # mg/dL


@dataclass(frozen=True, slots=True)
class UltraEasyRecord:
    """One stored result.

    Attributes:
        time: The meter's clock, without a zone, to the second.
        mg_per_dl: 0 to 65533; an infinity is HI or LO.
    """

    time: datetime
    mg_per_dl: Decimal | float

    def encode(self) -> bytes:
        """Return time and glucose as they are sent.

        Raises:
            ValueError: The value is neither an integer in range nor HI or LO.
        """
        word = _LIMITS.get(self.mg_per_dl)
        if word is None:
            word = int(self.mg_per_dl)
            if word != self.mg_per_dl or not 0 <= word <= _LARGEST:
                raise ValueError(f"{self.mg_per_dl} is no mg/dL of this meter")
        return pack("<II", _epoch(self.time), word)


class UltraEasy:
    """An UltraEasy's firmware: a `SerialBench`.

    Args:
        records: What it has stored, oldest first, 500 at most.
        serial: Its serial number, ASCII.
        version: Its version, ASCII.
        clock: Tells the time that it shows; it stands still if not given.

    Attributes:
        refused: The records that it does not give now, by their index.

    Raises:
        ValueError: There are more records than it can hold.
    """

    baud = 9600

    def __init__(
        self,
        records: Iterable[UltraEasyRecord] = (),
        *,
        serial: str = "SIM000001",
        version: str = "P02.00.0025/05/07",
        clock: Callable[[], datetime] = stopped_clock,
    ) -> None:
        self._records = list(records)
        if len(self._records) > CAPACITY:
            raise ValueError(f"{len(self._records)} records do not fit into {CAPACITY}")
        self._serial, self._version, self._clock = serial, version, clock
        self.refused: Container[int] = frozenset()
        self._buffer = b""
        self._sends = self._expects = False
        self._answer: bytes | None = None  # sent, and not known to have arrived

    def store(self, record: UltraEasyRecord) -> None:
        """Add a result, as a test does that somebody takes now; forget the oldest."""
        self._records = [*self._records, record][-CAPACITY:]

    def plugged(self) -> Iterable[bytes]:
        """Say nothing unasked."""
        return ()

    def feed(self, data: bytes) -> Iterable[bytes]:
        """Take received bytes; return answers, each one frame.

        What is no frame, by its length, its end or its checksum, is passed
        over without an answer.
        """
        self._buffer += data
        return [
            answer
            for link, message in self._frames()
            for answer in self._hear(link, message)
        ]

    def _frames(self) -> Iterator[tuple[int, bytes]]:
        while (start := self._buffer.find(_STX)) >= 0:
            self._buffer = self._buffer[start:]
            length = self._buffer[1] if len(self._buffer) > 1 else _OVERHEAD
            if length >= _OVERHEAD and len(self._buffer) < length:
                return  # the rest is still to come
            body, crc = self._buffer[: length - 2], self._buffer[length - 2 : length]
            if length < _OVERHEAD or body[-1] != _ETX or _crc(body) != crc:
                self._buffer = self._buffer[1:]  # a frame may start inside this one
                continue
            self._buffer = self._buffer[length:]
            yield body[2], body[3:-1]
        self._buffer = b""

    def _hear(self, link: int, message: bytes) -> Iterator[bytes]:
        if link & _DISCONNECT:
            self._start_over()
            yield _frame(_ACK | _DISCONNECT)
            return
        if self._answer is not None and bool(link & _E) != self._sends:
            self._sends = not self._sends  # what it expects next: ours has arrived
            self._answer = None
        if link & _ACK or not message:
            return
        if bool(link & _S) == self._expects:
            self._expects = not self._expects
            self._answer = self._reply(message)
        elif self._answer is None:
            return  # out of sequence, and nothing to repeat
        yield _frame(_ACK | self._bits())
        yield _frame(self._bits(), self._answer)

    def _reply(self, message: bytes) -> bytes:
        if message == _VERSION:
            return _DONE + bytes([len(self._version)]) + self._version.encode("ascii")
        if message.startswith(_SERIAL) and len(message) == 12:
            return _DONE + self._serial.encode("ascii")
        if message.startswith(_CLOCK) and len(message) in (3, 7):
            return _DONE + pack("<I", _epoch(self._clock()))
        if message.startswith(_RECORD) and len(message) == 4:
            index = int.from_bytes(message[2:], "little")
            if index < len(self._records) and index not in self.refused:
                return _DONE + self._records[-1 - index].encode()
            count = pack("<H", len(self._records))
            return _NOT_ALLOWED if index in self.refused else _NO_RECORD + count
        return _REFUSED

    def _start_over(self) -> None:
        self._sends = self._expects = False
        self._answer = None

    def _bits(self) -> int:
        return _S * self._sends | _E * self._expects


def _frame(link: int, message: bytes = b"") -> bytes:
    head = bytes([_STX, len(message) + _OVERHEAD, link])
    body = head + message + bytes([_ETX])
    return body + _crc(body)


def _crc(body: bytes) -> bytes:
    return ccitt_false(body).to_bytes(2, "little")


def _epoch(moment: datetime) -> int:
    return int(moment.replace(tzinfo=UTC).timestamp())


def _record(shown: Shown) -> UltraEasyRecord:
    number = shown.values[Quantity.GLUCOSE]
    if isinstance(number, Limit):
        return UltraEasyRecord(shown.time, _SHOWN[number])
    return UltraEasyRecord(shown.time, number)


def _make(shown: Sequence[Shown], clock: SimClock) -> UltraEasy:
    return UltraEasy([_record(one) for one in shown], clock=clock)


def _another(shown: Sequence[Shown], clock: SimClock) -> UltraEasy:
    return UltraEasy([_record(one) for one in shown], clock=clock, serial="SIM000002")


def _take(meter: UltraEasy, shown: Shown) -> None:
    meter.store(_record(shown))


_SHOWN = {Limit.HIGH: float("inf"), Limit.LOW: float("-inf")}

TRIAL = Trial(
    make=_make,
    take=_take,
    another=_another,
    spans={
        Kind.GLUCOSE: (
            Span(Quantity.GLUCOSE, Unit.MG_PER_DL, Decimal(20), Decimal(600)),
        )
    },
    limits=frozenset({Kind.GLUCOSE}),
    capacity=CAPACITY,
)

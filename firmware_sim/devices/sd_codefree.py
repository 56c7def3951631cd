"""An SD CodeFree glucose meter on its serial cable.

Source: field notes on the SD CodeFree's protocol, and its working reader where the
notes contradict themselves (docs/reference/sources.md).

    0x53 | 0x20 from the meter, 0x10 from the host | size u8 | message | xor u8 | 0xAA

``size`` counts what stands behind it, ``xor`` is that of the message's bytes.

    meter  10 30                      when it is switched on
    host   10 40
    meter  30, number of records u16 high byte first, 19 times AA
    host   10 60                      each time:
    meter  unknown x 2, year - 2000, month, day, hour, minute,
           mg/dL u16 high byte first, meal (00 none, 10 before, 20 after), unknown x 7
    meter  10 70                      behind the last record; it hangs up
    host   ADATEYYYYMMDDhhmm          instead of the first 10 60: sets the clock
    meter  10 10

The newest record comes first. What it does not expect makes it show E-5, and be
silent until it is switched off. Our choice: it is switched on whenever a host
opens the port; the unknown bytes; the 1,000 records that its manual speaks of as
its capacity; a zero byte before its first frame, as notes on the cable have it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum, auto

from firmware_sim.bench import Wait
from firmware_sim.trial import Shown, SimClock, Span, Trial
from protocols.crc import xor8
from protocols.observation import Kind, Quantity, Unit

CAPACITY = 1000  # records

_METER, _HOST = 0x20, 0x10
_HELLO, _HELLO_BACK = b"\x10\x30", b"\x10\x40"
_FETCH, _OVER, _CLOCK_SET = b"\x10\x60", b"\x10\x70", b"\x10\x10"
_SET = "ADATE%Y%m%d%H%M"
_SET_SIZE = 17
_CENTURY = 2000
_UNKNOWN = b"\x01\x02", b"\x03\x04\x05\x06\x07\x08\x09"


class _State(Enum):
    WAITS = auto()  # for the host to answer its first frame
    READY = auto()  # for either a clock or the first fetch
    TELLS = auto()
    IS_OFF = auto()  # hung up, or shows E-5


@dataclass(frozen=True, slots=True)
class CodeFreeRecord:
    """One stored result.

    Attributes:
        time: The meter's clock, without a zone; its seconds are not stored.
        mg_per_dl: 0 to 65535.
        meal: 0x00 none, 0x10 before, 0x20 after.
    """

    time: datetime
    mg_per_dl: int
    meal: int = 0

    def encode(self) -> bytes:
        """Return the record as it is sent."""
        at = self.time
        when = bytes([at.year - _CENTURY, at.month, at.day, at.hour, at.minute])
        value = self.mg_per_dl.to_bytes(2, "big") + bytes([self.meal])
        return _UNKNOWN[0] + when + value + _UNKNOWN[1]


class CodeFree:
    """A CodeFree's firmware: a `SerialBench`.

    Args:
        records: What it has stored, oldest first, 1,000 at most.

    Attributes:
        shows_e5: It was told something that it did not expect.
        set_to: What the host last set its clock to; None if never.

    Raises:
        ValueError: There are more records than it can hold.
    """

    baud = 38400

    def __init__(self, records: Iterable[CodeFreeRecord] = ()) -> None:
        self._records = list(records)
        if len(self._records) > CAPACITY:
            raise ValueError(f"{len(self._records)} records do not fit into {CAPACITY}")
        self.shows_e5 = False
        self.set_to: datetime | None = None
        self._state, self._told, self._heard = _State.IS_OFF, 0, b""

    def store(self, record: CodeFreeRecord) -> None:
        """Add a result, as a test does that somebody takes now; forget the oldest."""
        self._records = [*self._records, record][-CAPACITY:]

    def plugged(self) -> Iterable[bytes | Wait]:
        """Be switched on, and say so."""
        self._state, self._told, self._heard = _State.WAITS, 0, b""
        self.shows_e5 = False
        return [b"\x00" + _frame(_HELLO)]

    def feed(self, data: bytes) -> Iterable[bytes | Wait]:
        """Take received bytes; return answers, each one frame."""
        self._heard += data
        return [_frame(self._answer(one)) for one in self._frames() if self._takes(one)]

    def _frames(self) -> Iterator[bytes]:
        while (start := self._heard.find(0x53)) >= 0:
            self._heard = self._heard[start:]
            if len(self._heard) < 3 or len(self._heard) < 3 + self._heard[2]:
                return  # the rest is still to come
            frame = self._heard[: 3 + self._heard[2]]
            self._heard = self._heard[len(frame) :]
            message = frame[3:-2]
            good = frame[1] == _HOST and frame[-2:] == bytes([xor8(message), 0xAA])
            yield message if good else b""
        self._heard = b""

    def _takes(self, message: bytes) -> bool:
        """Whether it expects the message now; if not, show E-5."""
        expected = {
            _State.WAITS: message == _HELLO_BACK,
            _State.READY: message == _FETCH or _is_clock(message),
            _State.TELLS: message == _FETCH,
            _State.IS_OFF: False,
        }[self._state]
        if not expected and self._state is not _State.IS_OFF:
            self.shows_e5, self._state = True, _State.IS_OFF
        return expected

    def _answer(self, message: bytes) -> bytes:
        if self._state is _State.WAITS:
            self._state = _State.READY
            return b"\x30" + len(self._records).to_bytes(2, "big") + b"\xaa" * 19
        self._state = _State.TELLS
        if _is_clock(message):
            self.set_to = datetime.strptime(message.decode("ascii"), _SET)  # noqa: DTZ007
            self._told = len(self._records)
            return _CLOCK_SET
        self._told += 1
        if self._told > len(self._records):
            self._state = _State.IS_OFF
            return _OVER
        return self._records[-self._told].encode()


def _is_clock(message: bytes) -> bool:
    if len(message) != _SET_SIZE:
        return False
    try:
        datetime.strptime(message.decode("latin-1"), _SET)  # noqa: DTZ007 - a wall clock
    except ValueError:
        return False
    return True


def _frame(message: bytes) -> bytes:
    head = bytes([0x53, _METER, len(message) + 2])
    return head + message + bytes([xor8(message), 0xAA])


_MEALS = {"preprandial": 0x10, "postprandial": 0x20}


def _record(shown: Shown) -> CodeFreeRecord:
    number = shown.values[Quantity.GLUCOSE]
    if not isinstance(number, Decimal):
        raise TypeError(f"how a CodeFree stores {number.value} is not known")
    meal = _MEALS.get(shown.context.get("meal", ""), 0)
    return CodeFreeRecord(shown.time, int(number), meal)


def _make(shown: Sequence[Shown], _: SimClock) -> CodeFree:
    return CodeFree(map(_record, shown[-CAPACITY:]))


def _take(meter: CodeFree, shown: Shown) -> None:
    meter.store(_record(shown))


TRIAL = Trial(
    make=_make,
    take=_take,
    spans={
        Kind.GLUCOSE: (
            Span(Quantity.GLUCOSE, Unit.MG_PER_DL, Decimal(10), Decimal(600)),
        )
    },
    contexts=({}, {"meal": "preprandial"}, {"meal": "postprandial"}),
    resolution_s=60,
    capacity=CAPACITY,
)

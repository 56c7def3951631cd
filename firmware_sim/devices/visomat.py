"""A Visomat Double Comfort blood-pressure cuff on its serial plug.

Source: field notes on the Visomat Double Comfort (docs/reference/sources.md).

    02 | text | 03

It hears ``R00`` and says ``M1nn``, nn records of user 1, ``M2nn``, those of user
2; behind an nn of 00 stands one character more. A record has 20 characters:

    yymmddHHMM | flag, 0 or 1 | systolic | diastolic | pulse, 3 digits each

Our choice are: oldest first, 99 records of each user, the oldest forgotten, that
the one character is 1, and silence at what it does not know.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from firmware_sim.bench import Wait
from firmware_sim.trial import Limit, Shown, SimClock, Span, Trial
from protocols.observation import Kind, Quantity, Unit

CAPACITY = 99  # records of each user

_STX, _ETX = b"\x02", b"\x03"
_LONGEST = 8  # of what it hears, in bytes


@dataclass(frozen=True, slots=True)
class VisomatRecord:
    """One stored reading.

    Attributes:
        time: The cuff's clock, without a zone, to the minute; 2000 to 2099.
        systolic: 0 to 999 mmHg.
        diastolic: 0 to 999 mmHg.
        pulse: 0 to 999 per minute.
        flag: 0 or 1.
    """

    time: datetime
    systolic: int
    diastolic: int
    pulse: int
    flag: int = 0

    def text(self) -> str:
        """Return the record as it is sent."""
        values = f"{self.systolic:03}{self.diastolic:03}{self.pulse:03}"
        return f"{self.time:%y%m%d%H%M}{self.flag}{values}"


class Visomat:
    """A Visomat's firmware: a `SerialBench`.

    Args:
        user1: What user 1 has stored, oldest first.
        user2: What user 2 has stored, oldest first.
    """

    baud = 9600

    def __init__(
        self,
        user1: Iterable[VisomatRecord] = (),
        user2: Iterable[VisomatRecord] = (),
    ) -> None:
        self._users = {1: list(user1)[-CAPACITY:], 2: list(user2)[-CAPACITY:]}
        self._heard = b""

    def store(self, user: int, record: VisomatRecord) -> None:
        """Add a reading, as a test does that somebody takes now; forget the oldest."""
        self._users[user] = [*self._users[user], record][-CAPACITY:]

    def plugged(self) -> Iterable[bytes | Wait]:
        """Say nothing unasked."""
        self._heard = b""
        return ()

    def feed(self, data: bytes) -> Iterable[bytes | Wait]:
        """Take received bytes; return answers."""
        *heard, rest = (self._heard + data).split(_ETX)
        self._heard = rest[-_LONGEST:]
        asked = [one for one in heard if one.endswith(_STX + b"R00")]
        return [self._memory() for _ in asked]

    def _memory(self) -> bytes:
        text = ""
        for user, records in self._users.items():
            text += f"M{user}{len(records):02}"
            text += "".join(record.text() for record in records) or "1"
        return _STX + text.encode("ascii") + _ETX


def _stored(shown: Shown) -> VisomatRecord:
    systolic, diastolic, pulse = (
        _number(shown.values[quantity])
        for quantity in (Quantity.SYSTOLIC, Quantity.DIASTOLIC, Quantity.PULSE_RATE)
    )
    flag = int(shown.context.get("flag", "0"))
    return VisomatRecord(shown.time, systolic, diastolic, pulse, flag)


def _number(shown: Decimal | Limit) -> int:
    if isinstance(shown, Limit):
        raise TypeError("it shows no limits")
    return int(shown)


def _make(shown: Sequence[Shown], _: SimClock) -> Visomat:
    cuff = Visomat()
    for one in shown:
        _take(cuff, one)
    return cuff


def _take(cuff: Visomat, shown: Shown) -> None:
    cuff.store(shown.slot or 1, _stored(shown))


TRIAL = Trial(
    make=_make,
    take=_take,
    spans={
        Kind.BLOOD_PRESSURE: (
            Span(Quantity.SYSTOLIC, Unit.MM_HG, Decimal(50), Decimal(250)),
            Span(Quantity.DIASTOLIC, Unit.MM_HG, Decimal(40), Decimal(180)),
            Span(Quantity.PULSE_RATE, Unit.PER_MINUTE, Decimal(40), Decimal(160)),
        )
    },
    slots=(1, 2),
    contexts=({}, {"flag": "1"}),
    resolution_s=60,
    capacity=2 * CAPACITY,
    is_divided=True,
)

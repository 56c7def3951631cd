"""A OneTouch Ultra2 glucose meter on its serial cable.

Source: field notes on the OneTouch Ultra2's text protocol
(docs/reference/sources.md).

    what it hears   0x11, CR, a command, CR
    what it says    text, blank, four hex digits: the sum of the text's bytes, CR LF

    DM?   ?version
    DM@   @ "nine characters"
    DMF   F "SAT","03/21/15","16:45:24   "
    DMTmm/dd/yy HH:MM:SS
          T and the same; the clock is set
    DMP   P number of records,"serial","MG/DL "
          P "SAT","date","time   ","C 081?","meal","comment", 00     newest first

``C`` is control solution or else blank, ``?`` a value lost in memory or else
blank; beyond 20 to 600 the number stands for LO or HI. It sleeps until it hears
something, and loses that first command.

What it does with a command that it does not know, DMZ for one, which erases a
real one's memory, is our choice: nothing. So are the 500 records that it holds,
and 19 and 601 for LO and HI.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from firmware_sim.bench import Wait
from firmware_sim.trial import Limit, Shown, SimClock, Span, Trial, stopped_clock
from protocols.observation import Kind, Quantity, Unit

CAPACITY = 500  # records

_DC1 = b"\x11"
_HIGH, _LOW = 601, 19
_LONGEST = 40  # of a command, in bytes
_VERSION = "P02.00.00 30/08/06"
_DAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
_SET = "%m/%d/%y %H:%M:%S"


@dataclass(frozen=True, slots=True)
class Ultra2Record:
    """One stored result.

    Attributes:
        time: The meter's clock, without a zone, to the second; 2000 to 2099.
        mg_per_dl: 0 to 999.
        is_control: Control solution was measured.
        is_damaged: The memory lost the value.
        meal: ``N`` none, ``B`` before, ``A`` after a meal.
        comment: 0 to 99; 0 is none, 3 mild exercise.
    """

    time: datetime
    mg_per_dl: int
    is_control: bool = False
    is_damaged: bool = False
    meal: str = "N"
    comment: int = 0

    def text(self) -> str:
        """Return the line, without what follows its text."""
        value = f"{'C' if self.is_control else ' '} {self.mg_per_dl:03}"
        value += "?" if self.is_damaged else " "
        return f'P {_clock(self.time)},"{value}","{self.meal}","{self.comment:02}", 00'


class Ultra2:
    """An Ultra2's firmware: a `SerialBench`.

    Args:
        records: What it has stored, oldest first, 500 at most.
        serial: Its serial number, nine characters, the last one Y.
        clock: Tells the time that it shows; it stands still if not given.

    Attributes:
        set_to: What the host last set its clock to; None if never.

    Raises:
        ValueError: There are more records than it can hold.
    """

    baud = 9600

    def __init__(
        self,
        records: Iterable[Ultra2Record] = (),
        *,
        serial: str = "SIM00001Y",
        clock: Callable[[], datetime] = stopped_clock,
    ) -> None:
        self._records = list(records)
        if len(self._records) > CAPACITY:
            raise ValueError(f"{len(self._records)} records do not fit into {CAPACITY}")
        self.serial, self._clock = serial, clock
        self.set_to: datetime | None = None
        self._ahead = timedelta()
        self._heard, self._is_awake = b"", False

    def store(self, record: Ultra2Record) -> None:
        """Add a result, as a test does that somebody takes now; forget the oldest."""
        self._records = [*self._records, record][-CAPACITY:]

    def plugged(self) -> Iterable[bytes | Wait]:
        """Fall asleep; it says nothing unasked."""
        self._heard, self._is_awake = b"", False
        return ()

    def feed(self, data: bytes) -> Iterable[bytes | Wait]:
        """Take received bytes; return answers, a whole dump as one."""
        if not self._is_awake:
            self._is_awake = True
            return ()
        *commands, rest = (self._heard + data).split(b"\r")
        self._heard = rest[-_LONGEST:]
        return [answer for one in commands if (answer := self._answer(one))]

    def _answer(self, command: bytes) -> bytes:  # noqa: PLR0911 - one for each command
        match command.strip(_DC1):
            case b"DM?":
                return _line(f"?{_VERSION}")
            case b"DM@":
                return _line(f'@ "{self.serial}"')
            case b"DMF":
                return _line(f"F {_clock(self._now())}")
            case b"DMSU?":
                return _line('SU?,"MG/DL "')
            case b"DMP":
                return b"".join(map(_line, self._dump()))
            case other if other.startswith(b"DMT"):
                return self._set_clock(other[3:])
        return b""

    def _dump(self) -> Iterator[str]:
        yield f'P {len(self._records):03},"{self.serial}","MG/DL "'
        for record in reversed(self._records):
            yield record.text()

    def _set_clock(self, text: bytes) -> bytes:
        try:
            moment = datetime.strptime(text.decode("ascii"), _SET)  # noqa: DTZ007
        except ValueError:
            return b""
        self.set_to = moment
        self._ahead = moment - self._clock()
        return _line(f"T {_clock(moment)}")

    def _now(self) -> datetime:
        return self._clock() + self._ahead


def _clock(moment: datetime) -> str:
    day = _DAYS[moment.weekday()]
    return f'"{day}","{moment:%m/%d/%y}","{moment:%H:%M:%S}   "'


def _line(text: str) -> bytes:
    raw = text.encode("ascii")
    return raw + f" {sum(raw) % 65536:04X}\r\n".encode("ascii")


_COMMENTS = {"mild_exercise": 3, "medication": 5}
_MEALS = {"preprandial": "B", "postprandial": "A"}


def _record(shown: Shown) -> Ultra2Record:
    number = shown.values[Quantity.GLUCOSE]
    if isinstance(number, Limit):
        number = Decimal(_HIGH if number is Limit.HIGH else _LOW)
    return Ultra2Record(
        shown.time,
        int(number),
        is_control=shown.kind == Kind.CONTROL_SOLUTION,
        meal=_MEALS.get(shown.context.get("meal", ""), "N"),
        comment=_COMMENTS.get(shown.context.get("comment", ""), 0),
    )


def _make(shown: Sequence[Shown], clock: SimClock) -> Ultra2:
    return Ultra2(map(_record, shown[-CAPACITY:]), clock=clock)


def _another(shown: Sequence[Shown], clock: SimClock) -> Ultra2:
    return Ultra2(map(_record, shown[-CAPACITY:]), clock=clock, serial="SIM00002Y")


def _take(meter: Ultra2, shown: Shown) -> None:
    meter.store(_record(shown))


_SPAN = Span(Quantity.GLUCOSE, Unit.MG_PER_DL, Decimal(20), Decimal(600))

TRIAL = Trial(
    make=_make,
    take=_take,
    another=_another,
    spans={Kind.GLUCOSE: (_SPAN,), Kind.CONTROL_SOLUTION: (_SPAN,)},
    limits=frozenset({Kind.GLUCOSE, Kind.CONTROL_SOLUTION}),
    contexts=(
        {},
        {"meal": "preprandial"},
        {"comment": "mild_exercise", "meal": "postprandial"},
        {"comment": "medication"},
    ),
    capacity=CAPACITY,
    set_to=lambda meter: meter.set_to,
)

r"""A FreeStyle Optium meter for glucose and ketone on its strip-port cable.

Source: field notes on the FreeStyle Optium's text protocol
(docs/reference/sources.md).

It hears a command and CR LF, and ends each answer with CMD OK, CR LF. The first
command after it was plugged in it ignores, and says CR LF.

    $colq    S/N:, tab, serial number                      CR LF
             Ver:, tab, version, tab, MMOL                 CR LF
             Clock:, tab, Mar  02 2026, tab, 07:31:05      CR LF
             Market:, tab, 1, tab, 1                       CR LF
             ROM:, four times tab and a digit              CR LF
             Usage:, tab, number of results                CR LF
    $xmem    CR LF
             serial number                                 CR LF
             version                                       CR LF
             Mar  02 2026 07:31:05                         CR LF
             number of results, three digits               CR LF
             081  Mar  02 2026 07:30 G 0x00                CR LF    mg/dL
             003  July 31 2025 23:05 K 0x00                CR LF    1/18 mmol/L
             0x1A2B  END                                   CR LF    sum of all before
    $tim,03,02,26,07,31      month, day, year, hour, minute: the clock is set

$colq writes all months with three letters and two blanks, $xmem writes June and
July in full. The flag 0x01 of control solution, newest first, 450 results, 000
of an empty memory, and silence to all other commands are our choice.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from firmware_sim.bench import Wait
from firmware_sim.trial import Limit, Shown, SimClock, Span, Trial, stopped_clock
from protocols.crc import sum16
from protocols.observation import Kind, Quantity, Unit

CAPACITY = 450  # results

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "June", "July")
_MORE_MONTHS = ("Aug", "Sep", "Oct", "Nov", "Dec")
_LONGEST = 40  # of a command, in bytes
_SET = "$tim,%m,%d,%y,%H,%M"
_EIGHTEENTHS = 18  # of a mmol/L
_DONE = "CMD OK\r\n"
_VERSION = "0.22"
_CONTROL, _CLOCK_LOST = 1, 2  # flags of a result


@dataclass(frozen=True, slots=True)
class OptiumResult:
    """One stored result.

    Attributes:
        time: The meter's clock, without a zone; its seconds are not stored.
        shown: Three characters: digits, or ``HI `` or ``LO ``.
        is_ketone: The digits are eighteenths of a mmol/L, and not mg/dL.
        flags: 1 is control solution, 2 a clock that was lost.
    """

    time: datetime
    shown: str
    is_ketone: bool = False
    flags: int = 0

    def line(self) -> str:
        """Return the line, without its end."""
        letter = "K" if self.is_ketone else "G"
        time = f"{_date(self.time)} {self.time:%H:%M}"
        return f"{self.shown}  {time} {letter} 0x{self.flags:02X}"


class FreeStyleOptium:
    """A FreeStyle Optium's firmware: a `SerialBench`.

    Args:
        results: What it has stored, oldest first, 450 at most.
        serial: Its serial number, seven characters, a hyphen, and five.
        clock: Tells the time that it shows; it stands still if not given.

    Attributes:
        set_to: What the host last set its clock to; None if never.

    Raises:
        ValueError: There are more results than it can hold.
    """

    baud = 19200

    def __init__(
        self,
        results: Iterable[OptiumResult] = (),
        *,
        serial: str = "XXGS173-S0001",
        clock: Callable[[], datetime] = stopped_clock,
    ) -> None:
        self._results = list(results)
        if len(self._results) > CAPACITY:
            raise ValueError(f"{len(self._results)} results do not fit into {CAPACITY}")
        self._serial, self._clock = serial, clock
        self.set_to: datetime | None = None
        self._ahead = timedelta()
        self._heard, self._is_awake = b"", False

    def store(self, result: OptiumResult) -> None:
        """Add a result, as a test does that somebody takes now; forget the oldest."""
        self._results = [*self._results, result][-CAPACITY:]

    def plugged(self) -> Iterable[bytes | Wait]:
        """Fall asleep; it says nothing unasked."""
        self._heard, self._is_awake = b"", False
        return ()

    def feed(self, data: bytes) -> Iterable[bytes | Wait]:
        """Take received bytes; return answers, each as one."""
        *commands, rest = (self._heard + data).split(b"\r\n")
        self._heard = rest[-_LONGEST:]
        return [answer for one in commands if (answer := self._answer(one))]

    def _answer(self, command: bytes) -> bytes:
        if not self._is_awake:
            self._is_awake = True
            return b"\r\n"
        if command == b"$colq":
            return self._information()
        if command == b"$xmem":
            return self._memory()
        if command.startswith(b"$tim,"):
            return self._set_clock(command.decode("latin-1"))
        return b""

    def _information(self) -> bytes:
        now = self._now()
        date = f"{_month(now)[:3]}  {now:%d} {now:%Y}"
        lines = (
            f"S/N:\t{self._serial}",
            f"Ver:\t{_VERSION}\tMMOL",
            f"Clock:\t{date}\t{now:%H:%M:%S}",
            "Market:\t1\t1",
            "ROM:\t1\t2\t3\t4",
            f"Usage:\t{len(self._results)}",
            _DONE,
        )
        return "\r\n".join(lines).encode("ascii")

    def _memory(self) -> bytes:
        now = self._now()
        head = ["", self._serial, _VERSION, f"{_date(now)} {now:%H:%M:%S}"]
        lines = [result.line() for result in reversed(self._results)]
        text = "\r\n".join([*head, f"{len(self._results):03}", *lines, ""])
        body = text.encode("ascii")
        return body + f"0x{sum16(body):04X}  END\r\n{_DONE}".encode("ascii")

    def _set_clock(self, command: str) -> bytes:
        try:
            moment = datetime.strptime(command, _SET)  # noqa: DTZ007 - a wall clock
        except ValueError:
            return b""
        self.set_to = moment
        self._ahead = moment - self._clock()
        return _DONE.encode("ascii")

    def _now(self) -> datetime:
        return self._clock() + self._ahead


def _month(moment: datetime) -> str:
    return (*_MONTHS, *_MORE_MONTHS)[moment.month - 1]


def _date(moment: datetime) -> str:
    return f"{_month(moment):4} {moment:%d} {moment:%Y}"


def _result(shown: Shown) -> OptiumResult:
    ((quantity, number),) = shown.values.items()
    is_ketone = quantity == Quantity.KETONE
    if isinstance(number, Limit):
        text = f"{number.value:3}"
    else:
        text = f"{int(number * _EIGHTEENTHS if is_ketone else number):03}"
    flags = _CONTROL * (shown.kind == Kind.CONTROL_SOLUTION)
    flags |= _CLOCK_LOST * ("time_fault" in shown.status)
    return OptiumResult(shown.time, text, is_ketone, flags=flags)


def _make(shown: Sequence[Shown], clock: SimClock) -> FreeStyleOptium:
    return FreeStyleOptium(map(_result, shown[-CAPACITY:]), clock=clock)


def _another(shown: Sequence[Shown], clock: SimClock) -> FreeStyleOptium:
    return FreeStyleOptium(
        map(_result, shown[-CAPACITY:]), clock=clock, serial="XXGS173-S0002"
    )


def _take(meter: FreeStyleOptium, shown: Shown) -> None:
    meter.store(_result(shown))


_GLUCOSE = Span(Quantity.GLUCOSE, Unit.MG_PER_DL, Decimal(20), Decimal(500))
# Of the eighteenths only whole and half mmol/L have an end as a decimal.
_KETONE = Span(
    Quantity.KETONE, Unit.MMOL_PER_L, Decimal(0), Decimal(8), step=Decimal("0.5")
)

TRIAL = Trial(
    make=_make,
    take=_take,
    another=_another,
    spans={
        Kind.GLUCOSE: (_GLUCOSE,),
        Kind.KETONE: (_KETONE,),
        Kind.CONTROL_SOLUTION: (_GLUCOSE,),
    },
    limits=frozenset({Kind.GLUCOSE, Kind.CONTROL_SOLUTION}),
    statuses=((), ("time_fault",), ()),
    resolution_s=60,
    capacity=CAPACITY,
    set_to=lambda meter: meter.set_to,
)

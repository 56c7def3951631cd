"""A Contour glucose meter on its serial cable.

Source: field notes on the Contour meters (docs/reference/sources.md).

    what it hears                     what it says
    04 EOT                            04 05, or 04, its first frame, 05
    06 ACK behind 05 or a frame       the next frame; 04 behind the last one
    15 NAK behind a frame             the frame again, six times, then 04
    15 NAK else                       04; then ENQ is answered by 06:
    W| D| yymmdd|CR W| T| hhmm|CR     06 each; sets the clock; EOT ends it

    02 | '1'..'7', '0', ... | record CR | 17, 03 on the last | sum, 2 digits | CR LF

The sum is that of all bytes from the digit to 17 or 03. Records:

    H|\\^&||password|product^versions^serial|||||||P|1|YYYYMMDDhhmm
    P|1
    R|n|^^^Glucose|value|unit^P||flag|mark|status|||YYYYMMDDhhmm
    L|1||N

The first R is the average of all. ``flag`` is > or <, ``mark`` A behind and B
before a meal, ``status`` E with control solution. Meters of the other kind send
no average, and

    R|n|^^^Glucose|value|unit^P||markers||YYYYMMDDhhmm

with all of these as markers, separated by /, and C with control solution.

It sleeps until it hears something, and loses that. Our choice are the 480
results, their order, oldest first, 9 and 601 as the numbers beside < and >, the
average's time, that NAK behind 05 makes it say 05 again 10 s later, and that it
keeps silent at what it does not know.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from firmware_sim.bench import Wait
from firmware_sim.trial import Limit, Shown, SimClock, Span, Trial, stopped_clock
from protocols.observation import Kind, Quantity, Unit

CAPACITY = 480  # results

_STX, _ETX, _EOT, _ENQ, _ACK, _NAK, _ETB = 0x02, 0x03, 0x04, 0x05, 0x06, 0x15, 0x17
_REPETITIONS = 6
_LATER_S = 10.0
_HIGH, _LOW = Decimal(601), Decimal(9)
_LONGEST = 8  # of a command, in bytes


@dataclass(frozen=True, slots=True)
class ContourResult:
    """One stored result.

    Attributes:
        time: The meter's clock, without a zone, to the minute.
        value: In the meter's unit.
        limit: What it showed instead of the value.
        meal: ``A`` behind, ``B`` before a meal, empty for neither.
        is_control: Control solution was measured.
    """

    time: datetime
    value: Decimal
    limit: Limit | None = None
    meal: str = ""
    is_control: bool = False


class Contour:
    """A Contour's firmware: a `SerialBench`.

    Args:
        results: What it has stored, oldest first, 480 at most.
        serial: Its serial number.
        unit: ``mg/dL`` or ``mmol/L``.
        is_old: It is one for the serial cable, with an average.
        is_eager: It sends its first frame ahead of ENQ.
        clock: Tells the time that it shows; it stands still if not given.

    Attributes:
        serial: Its serial number.
        set_to: What the host last set its clock to; None if never.
        extra: Records to send before the last one, as a test wants them.
        owns_clock: It lets nobody set its clock.

    Raises:
        ValueError: There are more results than it can hold.
    """

    baud = 9600

    def __init__(
        self,
        results: Iterable[ContourResult] = (),
        *,
        serial: str = "7150-SIM0001",
        unit: str = "mg/dL",
        is_old: bool = True,
        is_eager: bool = False,
        clock: Callable[[], datetime] = stopped_clock,
    ) -> None:
        self._results = list(results)
        if len(self._results) > CAPACITY:
            raise ValueError(f"{len(self._results)} results do not fit into {CAPACITY}")
        self.serial, self._unit, self._clock = serial, unit, clock
        self._is_old, self._is_eager = is_old, is_eager
        self.set_to: datetime | None = None
        self.extra: list[str] = []
        self.owns_clock = False
        self._ahead = timedelta()
        self._is_awake = self._is_commanded = False
        self._sleep()

    def store(self, result: ContourResult) -> None:
        """Add a result, as a test does that somebody takes now; forget the oldest."""
        self._results = [*self._results, result][-CAPACITY:]

    def plugged(self) -> Iterable[bytes | Wait]:
        """Fall asleep; it says nothing unasked."""
        self._sleep()
        return ()

    def feed(self, data: bytes) -> Iterable[bytes | Wait]:
        """Take received bytes; return answers, each frame as one."""
        if not self._is_awake:
            self._is_awake = True
            return []
        return [answer for byte in data for answer in self._hear(byte)]

    def _sleep(self) -> None:
        self._is_awake = self._is_commanded = False
        self._frames: list[bytes] = []  # of the transfer that goes on
        self._sent = self._repeated = 0  # frames sent; times that the last one was
        self._typed, self._field = b"", b""

    def _hear(self, byte: int) -> Iterator[bytes | Wait]:
        if byte == _EOT:
            yield from self._begin()
        elif self._is_commanded and byte == _NAK:
            self._is_commanded, self._typed = False, b""
            yield bytes([_EOT])
        elif self._is_commanded:
            yield from self._type(byte)
        elif self._frames:
            yield from self._go_on(byte)
        elif byte == _NAK:
            yield bytes([_EOT])
        elif byte == _ENQ:
            self._is_commanded = True
            yield bytes([_ACK])

    def _begin(self) -> Iterator[bytes | Wait]:
        if self._is_commanded:
            self._is_commanded, self._typed = False, b""
            return
        self._frames = list(self._framed())
        self._sent = 1 if self._is_eager else 0
        self._repeated = 0
        yield bytes([_EOT]) + b"".join(self._frames[: self._sent]) + bytes([_ENQ])

    def _go_on(self, byte: int) -> Iterator[bytes | Wait]:
        if byte == _ACK and self._sent < len(self._frames):
            self._sent, self._repeated = self._sent + 1, 0
            yield self._frames[self._sent - 1]
        elif byte == _NAK and self._sent == 0:
            yield Wait(_LATER_S)
            yield bytes([_ENQ])
        elif byte == _NAK and self._repeated < _REPETITIONS:
            self._repeated += 1
            yield self._frames[self._sent - 1]
        elif byte in (_ACK, _NAK):
            self._frames = []
            yield bytes([_EOT])

    def _framed(self) -> Iterator[bytes]:
        records = list(self._records())
        for at, record in enumerate(records, 1):
            end = _ETX if at == len(records) else _ETB
            body = f"{at % 8}{record}\r".encode("ascii") + bytes([end])
            check = f"{sum(body) % 256:02X}\r\n".encode("ascii")
            yield bytes([_STX]) + body + check

    def _records(self) -> Iterator[str]:
        model, clock = "Bayer7150^1.05\\0.00^", f"{self._now():%Y%m%d%H%M}"
        yield f"H|\\^&||simsim|{model}{self.serial}|||||||P|1|{clock}"
        yield "P|1"
        at = 1
        if self._is_old and self._results:
            values = [result.value for result in self._results]
            average = (sum(values, Decimal()) / len(values)).quantize(values[0])
            stands = f"R|1|^^^Glucose|{average}|{self._unit}^P"
            yield f"{stands}|||||||{self._results[-1].time:%Y%m%d%H%M}"
            at = 2
        for number, result in enumerate(self._results, at):
            yield self._result(number, result)
        yield from self.extra
        yield "L|1||N"

    def _result(self, number: int, result: ContourResult) -> str:
        stands = f"R|{number}|^^^Glucose|{result.value}|{self._unit}^P"
        flag = {None: "", Limit.HIGH: ">", Limit.LOW: "<"}[result.limit]
        time = f"{result.time:%Y%m%d%H%M}"
        if self._is_old:
            status = "E" if result.is_control else ""
            return f"{stands}||{flag}|{result.meal}|{status}|||{time}"
        control = "C" if result.is_control else ""
        markers = "/".join(filter(None, (flag, result.meal, control)))
        return f"{stands}||{markers}||{time}"

    def _type(self, byte: int) -> Iterator[bytes]:
        """Take one character of a command."""
        self._typed += bytes([byte])
        if self._typed in (b"W|", b"D|", b"T|"):
            self._field = b"" if self._typed == b"W|" else self._typed[:1]
            yield bytes([_ACK])
        elif byte == 0x0D:
            is_set = not self.owns_clock and self._set(self._typed[:-2].decode("ascii"))
            yield bytes([_ACK if is_set else _NAK])
        elif len(self._typed) < _LONGEST:
            return
        self._typed = b""

    def _set(self, digits: str) -> bool:
        now = self._now()
        try:
            if self._field == b"D":
                date = datetime.strptime(digits, "%y%m%d")  # noqa: DTZ007
                moment = datetime.combine(date, now.time())
            else:
                time = datetime.strptime(digits, "%H%M")  # noqa: DTZ007
                moment = datetime.combine(now, time.time())
                self.set_to = moment
        except ValueError:
            return False
        self._ahead += moment - now
        return True

    def _now(self) -> datetime:
        return self._clock() + self._ahead


_MEALS = {"preprandial": "B", "postprandial": "A"}


def _stored(shown: Shown) -> ContourResult:
    number = shown.values[Quantity.GLUCOSE]
    limit = number if isinstance(number, Limit) else None
    if isinstance(number, Limit):
        number = _HIGH if number is Limit.HIGH else _LOW
    return ContourResult(
        shown.time,
        number,
        limit,
        meal=_MEALS.get(shown.context.get("meal", ""), ""),
        is_control=shown.kind == Kind.CONTROL_SOLUTION,
    )


def _make(shown: Sequence[Shown], clock: SimClock) -> Contour:
    return Contour(map(_stored, shown[-CAPACITY:]), clock=clock)


def _another(shown: Sequence[Shown], clock: SimClock) -> Contour:
    return Contour(map(_stored, shown[-CAPACITY:]), clock=clock, serial="7150-SIM0002")


def _take(meter: Contour, shown: Shown) -> None:
    meter.store(_stored(shown))


_SPAN = Span(Quantity.GLUCOSE, Unit.MG_PER_DL, Decimal(10), Decimal(600))

TRIAL = Trial(
    make=_make,
    take=_take,
    another=_another,
    spans={Kind.GLUCOSE: (_SPAN,), Kind.CONTROL_SOLUTION: (_SPAN,)},
    limits=frozenset({Kind.GLUCOSE, Kind.CONTROL_SOLUTION}),
    contexts=({}, {"meal": "preprandial"}, {"meal": "postprandial"}),
    resolution_s=60,
    capacity=CAPACITY,
    set_to=lambda meter: meter.set_to,
)

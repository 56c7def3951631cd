r"""A FreeStyle Lite glucose meter on its serial cable.

Source: field notes on the FreeStyle Lite family's text protocol
(docs/reference/sources.md).

It hears the three letters mem, and answers with its whole memory at once:

    CR LF
    serial number              CR LF
    version                    CR LF
    Mar  02 2026 07:31:05      CR LF     its clock
    002                        CR LF     the number of results, three digits
    081  Mar  02 2026 07:30 14 0x00      CR LF
    HI   July 31 2025 23:05 14 0x00      CR LF
    0x1A2B  END                CR LF     the sum of all bytes before it, 16 bits

An empty memory says Log Empty END behind the clock, and no sum. A month is
three letters and a blank, but June and July. The last field is 0x01 of control
solution; that, newest first, the 400 results that it holds, and silence to all
that is not mem are our choice.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from firmware_sim.bench import Wait
from firmware_sim.trial import Limit, Shown, SimClock, Span, Trial, stopped_clock
from protocols.crc import sum16
from protocols.observation import Kind, Quantity, Unit

CAPACITY = 400  # results

_MONTHS = (
    *(b"Jan ", b"Feb ", b"Mar ", b"Apr ", b"May ", b"June"),
    *(b"July", b"Aug ", b"Sep ", b"Oct ", b"Nov ", b"Dec "),
)
_CONTROL, _CLOCK_LOST = 1, 2  # flags of a result
_VERSION = b"0.31        -P"


@dataclass(frozen=True, slots=True)
class LiteResult:
    """One stored result.

    Attributes:
        time: The meter's clock, without a zone; its seconds are not stored.
        shown: Three characters: digits in mg/dL, or ``HI `` or ``LO ``.
        flags: 1 is control solution, 2 a clock that was lost.
    """

    time: datetime
    shown: bytes
    flags: int = 0

    def line(self) -> bytes:
        """Return the line, without its end."""
        time = _date(self.time) + f" {self.time:%H:%M}".encode("ascii")
        return self.shown + b"  " + time + f" 14 0x{self.flags:02X}".encode("ascii")


class FreeStyleLite:
    """A FreeStyle Lite's firmware: a `SerialBench`.

    Args:
        results: What it has stored, oldest first, 400 at most.
        serial: Its serial number, seven characters, a hyphen, and five.
        clock: Tells the time that it shows; it stands still if not given.

    Raises:
        ValueError: There are more results than it can hold.
    """

    baud = 19200

    def __init__(
        self,
        results: Iterable[LiteResult] = (),
        *,
        serial: bytes = b"DBMW173-S0001",
        clock: Callable[[], datetime] = stopped_clock,
    ) -> None:
        self._results = list(results)
        if len(self._results) > CAPACITY:
            raise ValueError(f"{len(self._results)} results do not fit into {CAPACITY}")
        self._serial, self._clock = serial, clock
        self._heard = b""

    def store(self, result: LiteResult) -> None:
        """Add a result, as a test does that somebody takes now; forget the oldest."""
        self._results = [*self._results, result][-CAPACITY:]

    def plugged(self) -> Iterable[bytes | Wait]:
        """Say nothing unasked."""
        self._heard = b""
        return ()

    def feed(self, data: bytes) -> Iterable[bytes | Wait]:
        """Take received bytes; return the memory each time that it hears mem."""
        *asked, rest = (self._heard + data).split(b"mem")
        self._heard = rest[-2:]
        return [self._memory() for _ in asked]

    def _memory(self) -> bytes:
        now = self._clock()
        clock = _date(now) + f" {now:%H:%M:%S}".encode("ascii")
        head = [b"", self._serial, _VERSION, clock]
        if not self._results:
            return b"\r\n".join([*head, b"Log Empty END\r\n"])
        count = f"{len(self._results):03}".encode("ascii")
        lines = [result.line() for result in reversed(self._results)]
        body = b"\r\n".join([*head, count, *lines, b""])
        return body + f"0x{sum16(body):04X}  END\r\n".encode("ascii")


def _date(moment: datetime) -> bytes:
    return _MONTHS[moment.month - 1] + f" {moment:%d} {moment:%Y}".encode("ascii")


def _result(shown: Shown) -> LiteResult:
    number = shown.values[Quantity.GLUCOSE]
    flags = _CONTROL * (shown.kind == Kind.CONTROL_SOLUTION)
    flags |= _CLOCK_LOST * ("time_fault" in shown.status)
    text = (
        f"{number.value:3}" if isinstance(number, Limit) else f"{int(number):03}"
    ).encode("ascii")
    return LiteResult(shown.time, text, flags=flags)


def _make(shown: Sequence[Shown], clock: SimClock) -> FreeStyleLite:
    return FreeStyleLite(map(_result, shown[-CAPACITY:]), clock=clock)


def _another(shown: Sequence[Shown], clock: SimClock) -> FreeStyleLite:
    return FreeStyleLite(
        map(_result, shown[-CAPACITY:]), clock=clock, serial=b"DBMW173-S0002"
    )


def _take(meter: FreeStyleLite, shown: Shown) -> None:
    meter.store(_result(shown))


_SPAN = Span(Quantity.GLUCOSE, Unit.MG_PER_DL, Decimal(20), Decimal(500))

TRIAL = Trial(
    make=_make,
    take=_take,
    another=_another,
    spans={Kind.GLUCOSE: (_SPAN,), Kind.CONTROL_SOLUTION: (_SPAN,)},
    limits=frozenset({Kind.GLUCOSE, Kind.CONTROL_SOLUTION}),
    statuses=((), ("time_fault",), ()),
    resolution_s=60,
    capacity=CAPACITY,
)

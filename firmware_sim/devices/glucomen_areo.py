"""A GlucoMen Areo with ketone on its cable.

Source: field notes on the GlucoMen Areo and the GlucoFix Tech GK
(docs/reference/sources.md).

    what it hears    what it says
    A2               a block: 13 digits, 58, 59, serial number, version
    80, A8           a block: Glu or Ket, value, unit, marking, yymmdd, hhmm
    C2 A1, a block   P, or F where the block or its date is wrong

    '[' CR LF | lines, each CR LF | CRC-8/MAXIM, two digits, CR LF | ']' CR LF

The digits are in upper case. Serial number and value have blanks before them.
Nothing stored is 90 3D instead of lines and checksum. It works at odd parity.
Our choice are the 700 results of either test, their order, oldest first, and
silence at what it does not know.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from firmware_sim.bench import Wait
from firmware_sim.trial import Limit, Shown, SimClock, Span, Trial
from protocols.crc import maxim8
from protocols.observation import Kind, Quantity, Unit

CAPACITY = 700  # results of either test

_BLOCK_END = b"\r\n]\r\n"
_LONGEST = 64  # of what it hears, in bytes
_VERSION = "B.0"


@dataclass(frozen=True, slots=True)
class AreoResult:
    """One stored result.

    Attributes:
        time: The meter's clock, without a zone, to the minute.
        value: As it is shown; HI and LO too.
        test: ``Glu`` or ``Ket``.
        unit: ``mg/dL`` or ``mmol/L``.
        marking: Two digits.
    """

    time: datetime
    value: str
    test: str = "Glu"
    unit: str = "mg/dL"
    marking: str = "00"

    def line(self) -> str:
        """Return the line that tells it."""
        stands = f"{self.test},{self.value:>4},{self.unit:>6},{self.marking}"
        return f"{stands},{self.time:%y%m%d,%H%M}"


class Areo:
    """A GlucoMen Areo's firmware: a `SerialBench`.

    Args:
        results: What it has stored, oldest first.
        serial: Its serial number, ASCII.
        has_ketone: It measures ketone, and answers if asked for it.

    Attributes:
        serial: Its serial number.
        set_to: What the host last set its clock to; None if never.
    """

    baud = 9600
    parity = "odd"

    def __init__(
        self,
        results: Iterable[AreoResult] = (),
        *,
        serial: str = "SIM00001",
        has_ketone: bool = True,
    ) -> None:
        self._results: dict[str, list[AreoResult]] = {"Glu": [], "Ket": []}
        self.serial, self._has_ketone = serial, has_ketone
        self.set_to: datetime | None = None
        self._heard = b""
        for result in results:
            self.store(result)

    def store(self, result: AreoResult) -> None:
        """Add a result, as a test does that somebody takes now; forget the oldest."""
        kept = [*self._results[result.test], result]
        self._results[result.test] = kept[-CAPACITY:]

    def plugged(self) -> Iterable[bytes | Wait]:
        """Say nothing unasked."""
        self._heard = b""
        return ()

    def feed(self, data: bytes) -> Iterable[bytes | Wait]:
        """Take received bytes; return answers, each block as one."""
        return [answer for byte in data for answer in self._hear(byte)]

    def _hear(self, byte: int) -> Iterator[bytes]:
        self._heard = (self._heard + bytes([byte]))[-_LONGEST:]
        command, block = self._heard[:2], self._heard[2:]
        if command[:1] != b"\xc2":
            self._heard = b""
            yield from self._answer(byte)
        elif len(command) == 2 and command != b"\xc2\xa1":
            self._heard = b""
        elif block.endswith(_BLOCK_END):
            self._heard = b""
            yield b"P" if self._set(block) else b"F"

    def _answer(self, byte: int) -> Iterator[bytes]:
        if byte == 0xA2:
            lines = [f"0000000000000,58,59,{self.serial:>12},{_VERSION:>4}"]
            yield _block(lines)
        elif byte == 0x80:
            yield _block([result.line() for result in self._results["Glu"]])
        elif byte == 0xA8 and self._has_ketone:
            yield _block([result.line() for result in self._results["Ket"]])

    def _set(self, block: bytes) -> bool:
        digits = block[3:13].decode("latin-1")
        try:
            moment = datetime.strptime(digits, "%y%m%d%H%M")  # noqa: DTZ007
        except ValueError:
            return False
        if block != _block([digits]):
            return False
        self.set_to = moment
        return True


def _block(lines: Sequence[str]) -> bytes:
    if not lines:
        return b"[\r\n\x90\x3d" + _BLOCK_END
    body = b"[\r\n" + "".join(f"{line}\r\n" for line in lines).encode("ascii")
    return body + f"{maxim8(body):02X}".encode("ascii") + _BLOCK_END


_MARKINGS = {
    "check_mark": "01",
    "preprandial": "02",
    "postprandial": "04",
    "exercise": "08",
}


def _stored(shown: Shown) -> AreoResult:
    is_ketone = shown.kind == Kind.KETONE
    number = shown.values[Quantity.KETONE if is_ketone else Quantity.GLUCOSE]
    value = number.value if isinstance(number, Limit) else str(number)
    marking = next(iter(shown.context.values()), "")
    return AreoResult(
        shown.time,
        value,
        test="Ket" if is_ketone else "Glu",
        unit="mmol/L" if is_ketone else "mg/dL",
        marking=_MARKINGS.get(marking, "00"),
    )


def _make(shown: Sequence[Shown], _: Callable[[], datetime] | SimClock) -> Areo:
    return Areo(map(_stored, shown))


def _another(shown: Sequence[Shown], _: Callable[[], datetime] | SimClock) -> Areo:
    return Areo(map(_stored, shown), serial="SIM00002")


def _take(meter: Areo, shown: Shown) -> None:
    meter.store(_stored(shown))


TRIAL = Trial(
    make=_make,
    take=_take,
    another=_another,
    spans={
        Kind.GLUCOSE: (
            Span(Quantity.GLUCOSE, Unit.MG_PER_DL, Decimal(20), Decimal(600)),
        ),
        Kind.KETONE: (
            Span(
                Quantity.KETONE,
                Unit.MMOL_PER_L,
                Decimal("0.1"),
                Decimal("8.0"),
                Decimal("0.1"),
            ),
        ),
    },
    limits=frozenset({Kind.GLUCOSE, Kind.KETONE}),
    contexts=(
        {},
        {"meal": "preprandial"},
        {"meal": "postprandial"},
        {"marking": "exercise"},
        {"marking": "check_mark"},
    ),
    resolution_s=60,
    capacity=2 * CAPACITY,
    is_divided=True,
    set_to=lambda meter: meter.set_to,
)

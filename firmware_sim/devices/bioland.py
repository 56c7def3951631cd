"""A Bioland G-500 of protocol 3.2 on its BLE service.

Source: field notes on the Bioland protocols (docs/reference/sources.md).

    5A from the host, 55 from here | length of all | category | data | sum

The sum is that of all bytes before it and 2, modulo 256; of a greeting without
the 2 if it comes from the host.

    5A 00, 5A 03   YY MM DD hh mm ss: first of all the clock is set to that
    55 00          20, client, battery, 2 for a glucose meter, model, serial number
                   of 9 characters
    55 02          0, seconds: somebody measures
    55 03          YY MM DD hh mm, 0, mg/dL u16 with its low byte first; HI is 707
                   and LO is 18
    55 05          0: all results were told
    5A 09, 55 09   a greeting, and its answer

The newest result comes first, and each connection begins with it. How many it
holds, and that a wrong sum has no answer, are our choice.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from struct import pack
from uuid import UUID

from firmware_sim.bench import Action, AttError, Characteristic, Pairing, Send
from firmware_sim.trial import Limit, Shown, SimClock, Span, Trial, stopped_clock
from protocols.gatt.uuid import sig
from protocols.observation import Kind, Quantity, Unit

CAPACITY = 200  # results; our choice

_SERVICE, _WRITE, _NOTIFY = sig(0x1000), sig(0x1001), sig(0x1002)
_NOT_SUPPORTED = 0x06
_SERIAL = b"BGM000815"
_LIMITS = {Limit.HIGH: 707, Limit.LOW: 18}


@dataclass(frozen=True, slots=True)
class BiolandResult:
    """One stored result.

    Attributes:
        time: The meter's clock, without a zone, to the minute.
        mg_per_dl: 0 to 65535; 707 is HI, and 18 is LO.
    """

    time: datetime
    mg_per_dl: int

    def encode(self) -> bytes:
        """Return the result as it is sent."""
        year, month, day, hour, minute = self.time.timetuple()[:5]
        time = bytes([year - 2000, month, day, hour, minute])
        return time + pack("<BH", 0, self.mg_per_dl)


class Bioland:
    """A Bioland's firmware: a `GattBench`.

    Args:
        results: What it has stored, oldest first, 200 at most.
        measures: The seconds that it counts down before its first answer.
        clock: Tells the time that it showed until it was set; it stands still if
            not given.

    Raises:
        ValueError: There are more results than it can hold.
    """

    name = "Bioland-BGM"
    advertised = (_SERVICE,)
    pairing = Pairing.NONE
    passkey = 0

    def __init__(
        self,
        results: Iterable[BiolandResult] = (),
        *,
        measures: Sequence[int] = (),
        clock: Callable[[], datetime] = stopped_clock,
    ) -> None:
        self.services = {
            _SERVICE: (
                Characteristic(_WRITE, frozenset({"write-without-response"})),
                Characteristic(_NOTIFY, frozenset({"notify"})),
            )
        }
        self.set_to: datetime | None = None
        self._results = list(results)
        if len(self._results) > CAPACITY:
            raise ValueError(f"{len(self._results)} results do not fit into {CAPACITY}")
        self._measures, self._clock, self._ahead = measures, clock, timedelta()
        self._told = 0

    @property
    def now(self) -> datetime:
        """What its clock shows."""
        return self._clock() + self._ahead

    def store(self, result: BiolandResult) -> None:
        """Add a result, as a test does that somebody takes now; forget the oldest."""
        self._results = [*self._results, result][-CAPACITY:]

    def connected(self) -> None:
        """Begin with the newest result."""
        self._told = 0

    def disconnected(self) -> None:
        """Keep everything."""

    def read(self, uuid: UUID) -> bytes:  # noqa: ARG002 - nothing is readable
        """Refuse."""
        raise AttError(_NOT_SUPPORTED)

    def enabled(self, uuid: UUID, *, on: bool) -> Iterable[Action]:  # noqa: ARG002 - one
        """Say nothing."""
        return ()

    def write(self, uuid: UUID, payload: bytes) -> Iterable[Action]:  # noqa: ARG002 - one
        """Take a frame; answer it, unless it is none."""
        if payload == bytes.fromhex("5a 04 09 67"):
            return [_notify(0x09, b"")]
        if len(payload) != 10 or payload[:2] != b"\x5a\x0a":
            return []
        if payload[9] != (sum(payload[:9]) + 2) % 256 or payload[2] not in (0, 3):
            return []
        self._set(payload[3:9])
        before = [_notify(0x02, bytes([0, second])) for second in self._measures]
        self._measures = ()
        return [*before, self._info() if payload[2] == 0 else self._next()]

    def _set(self, data: bytes) -> None:
        year, month, day, hour, minute, second = data
        self.set_to = datetime(2000 + year, month, day, hour, minute, second)  # noqa: DTZ001 - a wall clock
        self._ahead = self.set_to - self._clock()

    def _info(self) -> Send:
        return _notify(0x00, bytes([0x20, 3, 87, 2, 0]) + _SERIAL)

    def _next(self) -> Send:
        if self._told == len(self._results):
            return _notify(0x05, b"\0")
        self._told += 1
        return _notify(0x03, self._results[-self._told].encode())


def _notify(category: int, data: bytes) -> Send:
    body = bytes([0x55, len(data) + 4, category]) + data
    return Send(_NOTIFY, body + bytes([(sum(body) + 2) % 256]))


def _result_of(shown: Shown) -> BiolandResult:
    """Return what a meter stores that showed ``shown``."""
    (number,) = shown.values.values()
    sent = _LIMITS[number] if isinstance(number, Limit) else int(number)
    return BiolandResult(shown.time, sent)


def _make(shown: Sequence[Shown], clock: SimClock) -> Bioland:
    return Bioland(map(_result_of, shown), clock=clock)


def _take(device: Bioland, shown: Shown) -> None:
    device.store(_result_of(shown))


TRIAL = Trial(
    make=_make,
    take=_take,
    spans={
        Kind.GLUCOSE: (
            Span(Quantity.GLUCOSE, Unit.MG_PER_DL, Decimal(20), Decimal(600)),
        ),
    },
    limits=frozenset({Kind.GLUCOSE}),
    resolution_s=60,
    capacity=CAPACITY,
    set_to=lambda meter: meter.set_to,
    needs_clock=True,
)

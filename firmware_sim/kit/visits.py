"""One visit of a driver to a simulated device, however it ends."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import Any, TypeVar
from uuid import UUID

from drivers.sdk import (
    Checkpoint,
    DecodeError,
    Event,
    GattDriver,
    Identity,
    Kind,
    LinkLost,
    NoReply,
    Observation,
    Packet,
    Refused,
    SerialDriver,
    Terms,
    Undecoded,
    Write,
)
from firmware_sim.kit.history import NOW, Reader, history
from firmware_sim.link import Damage, SimGattLink, SimSerialLink, whole
from firmware_sim.trial import Shown, SimClock, Trial
from protocols.gatt.racp import Incomplete

Driver = GattDriver | SerialDriver

_E = TypeVar("_E")

# What may end a visit: the agent tells it to people and comes again.
EXPECTED = (LinkLost, NoReply, Refused, DecodeError, Incomplete)
MOST_EVENTS = 30_000
_LONGEST = timedelta(hours=6)
_SILENCE_S = 60.0  # after which one who only listens has heard all
_ZONE = timezone(timedelta(hours=8))
_KEY = bytes(range(0x30, 0x40))


@dataclass
class Visit:
    """What one visit brought.

    Attributes:
        link: The link, with all that was written.
        events: What the driver yielded, in order.
        error: What ended it; None if it came to its end.
        seconds: How long it took, by the virtual clock.
    """

    link: Any
    events: list[Event] = field(default_factory=list)
    error: BaseException | None = None
    seconds: float = 0.0

    def of(self, kind: type[_E]) -> list[_E]:
        """Return the events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def seen(self) -> list[Observation]:
        """The observations."""
        return self.of(Observation)

    @property
    def mark(self) -> int | None:
        """Where the next visit may start."""
        marks = self.of(Checkpoint)
        return marks[-1].mark if marks else None

    @property
    def identity(self) -> Identity | None:
        """Who the device says it is."""
        found = self.of(Identity)
        return found[0] if found else None

    @property
    def is_broken(self) -> bool:
        """Whether it ended in a way that no driver may end."""
        return self.error is not None and not isinstance(self.error, EXPECTED)


@dataclass
class Case:
    """A driver, and the trial of the device that it reads.

    Attributes:
        driver: The driver.
        trial: How to make devices for it.
        undeclared: What it wrote in any visit without having declared it.
        clock_writes: What it wrote to a device's clock, without being allowed to.
    """

    driver: Driver
    trial: Trial
    undeclared: list[str] = field(default_factory=list)
    clock_writes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.reader = Reader(self.trial)
        self.shown = history(self.trial)
        self.clock = SimClock(NOW)

    @property
    def is_serial(self) -> bool:
        """Whether it is a serial device."""
        return isinstance(self.driver, SerialDriver)

    @property
    def asks(self) -> bool:
        """Whether it asks the device for what it tells."""
        return self.driver.session is not None

    @property
    def is_sensor(self) -> bool:
        """Whether the device measures by itself, at most once in a minute."""
        return Kind.INTERSTITIAL_GLUCOSE in self.trial.spans

    @property
    def listens(self) -> bool:
        """Whether it hears a serial device for ever."""
        return self.is_serial and self.driver.session is None

    def device(self, shown: Sequence[Shown] | None = None) -> Any:  # noqa: ANN401
        """Return a fresh device; its clock shows the kit's own again."""
        self.clock = SimClock(NOW)
        return self.trial.make(self.shown if shown is None else shown, self.clock)

    def another(self, shown: Sequence[Shown]) -> Any:  # noqa: ANN401 - any bench
        """Return a second device, of another serial number, by the same clock."""
        make = self.trial.another
        return None if make is None else make(shown, self.clock)

    def standard(self) -> Any:  # noqa: ANN401 - any link
        """Return a link by which a BLE device's standard services can be read."""
        return SimGattLink(self.device())

    def terms(self, visit: Visit | None = None, *, allow: bool = False) -> Terms:
        """Return the terms of the visit behind ``visit``."""
        return Terms(
            mark=None if visit is None else visit.mark,
            identity=None if visit is None else visit.identity,
            model=self.trial.model,
            set_clock=_now if allow or self.trial.needs_clock else None,
            key=_KEY,
        )

    async def visit(
        self,
        device: Any,  # noqa: ANN401 - any bench
        terms: Terms | None = None,
        *,
        damage: Damage = whole,
        cancel_after: int | None = None,
        **broken: Any,  # noqa: ANN401 - as the link takes it
    ) -> Visit:
        """Run a visit to its end.

        Args:
            device: A bench.
            terms: On which terms; by default those of a first visit.
            damage: What becomes of the answers of a serial device.
            cancel_after: The number of events behind which the agent is killed.
            broken: How the link breaks, as `SimGattLink` or `SimSerialLink` take it.
        """
        terms = self.terms() if terms is None else terms
        if self.is_serial:
            link: Any = SimSerialLink(device, damage, **broken)
        else:
            link = SimGattLink(device, **broken)
        found = Visit(link)
        loop = asyncio.get_running_loop()
        start = loop.time()
        running = self.driver.visit(link, terms)
        try:
            async with asyncio.timeout(_LONGEST.total_seconds()):
                await self._collect(running, found, cancel_after)
        except Exception as error:  # noqa: BLE001 - told, whatever it is
            found.error = error
        finally:
            await running.aclose()
            link.unplug()
        found.seconds = loop.time() - start
        self._check_writes(link.written, allowed=terms.set_clock is not None)
        return found

    async def _collect(
        self,
        running: AsyncGenerator[Event, None],
        found: Visit,
        cancel_after: int | None,
    ) -> None:
        while cancel_after is None or len(found.events) < cancel_after:
            awaited = asyncio.ensure_future(anext(running))
            done, _ = await asyncio.wait(
                {awaited}, timeout=_SILENCE_S if self.listens else None
            )
            if not done:
                awaited.cancel()
                await asyncio.wait({awaited})
                return
            try:
                found.events.append(awaited.result())
            except StopAsyncIteration:
                return
            if len(found.events) > MOST_EVENTS:
                raise _Endless(f"over {MOST_EVENTS} events in one visit")

    def _check_writes(self, written: Iterable[Any], *, allowed: bool) -> None:
        for one in written:
            uuid, payload = (None, one) if isinstance(one, bytes) else one
            declared = self._declared(uuid, payload)
            text = f"[{payload.hex(' ')}]" + (f" to {uuid}" if uuid else "")
            if declared is None:
                self.undeclared.append(text)
            elif declared.sets_clock and not allowed:
                self.clock_writes.append(text)

    def _declared(self, uuid: UUID | None, payload: bytes) -> Write | None:
        fitting = [one for one in self.driver.writes if one.fits(uuid, payload)]
        # One that sets the clock is never hidden behind one that does not.
        fitting.sort(key=lambda one: not one.sets_clock)
        return fitting[0] if fitting else None

    def recovered(self, visit: Visit) -> list[Observation]:
        """Return what the agent makes of what it wrote down, and nobody told.

        What came is forgotten as soon as a reading, or what could not be read, is
        captured that names its very bytes.
        """
        told = Counter(raw for seen in visit.seen for raw in seen.raw)
        told += Counter(one.payload for one in visit.of(Undecoded))
        left: list[Any] = []
        for packet, raw in self._journaled(visit):
            told[raw] -= 1
            if told[raw] < 0:
                left.append(packet)
        events = self.driver.recovered(left, self.terms(visit))
        return [event for event in events if isinstance(event, Observation)]

    def came(self, visit: Visit) -> set[bytes]:
        """Return what a device that tells a reading only once sent."""
        return {raw for _, raw in self._journaled(visit)}

    def _journaled(self, visit: Visit) -> list[tuple[Any, bytes]]:
        """Return what was written down as it came, and its bytes."""
        if isinstance(self.driver, GattDriver):
            packets: list[Packet] = visit.link.received
            return [(packet, packet.payload) for packet in packets]
        return [(frame, frame) for frame in visit.link.kept]


class _Endless(Exception):
    """A driver went on and on."""


def _now() -> datetime:
    return NOW.replace(tzinfo=_ZONE)


def after(visit: Visit, count: int) -> Visit:
    """Return a visit as far as its first ``count`` events."""
    return replace(visit, events=visit.events[:count])

"""What a driver says during one visit, and its way to the station's disk."""

import asyncio
import logging
import secrets
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from time import time
from uuid import UUID

from drivers.sdk import (
    Checkpoint,
    DeviceClock,
    Event,
    GattDriver,
    Identity,
    NoReply,
    Observation,
    Packet,
    SerialDriver,
    Terms,
    Undecoded,
)
from edge_agent import clock, config
from edge_agent.clock import Offset, Setting, true_time
from edge_agent.config import Config
from edge_agent.health import UNKNOWN_TIME, Health
from edge_agent.identity import device_of
from edge_agent.links.ble import Radio
from edge_agent.outbox import Outbox, OutboxError
from protocols.observation import (
    POSITION,
    Device,
    LinkSecurity,
    Quality,
    Reading,
    TimeMethod,
    is_undated,
    is_unset,
)

_log = logging.getLogger(__name__)

Start = Callable[[Terms], AsyncGenerator[Event, None]]

_SERIAL = "serial"  # where a journaled frame came from
_NOT_SET = (
    "this station does not know the time itself, so it sets no device's clock: "
    "'timedatectl' must say that it is synchronised"
)
_FULL = 64  # observations that are written down together
_ROOM_S = 1.0
_IDLE_S = 0.05  # a device that pauses so long has what it said written down


@dataclass
class Station:
    """What the visits to all devices share.

    Attributes:
        config: The agent's configuration.
        outbox: Where readings go.
        health: Where it is told how visits went.
        radio: The Bluetooth radio; None where no device needs one.
        captured: Set when a reading was written down.
        is_synchronised: Whether somebody keeps the station's own clock right now.
    """

    config: Config
    outbox: Outbox
    health: Health
    radio: Radio | None = None
    captured: asyncio.Event = field(default_factory=asyncio.Event)
    is_synchronised: Callable[[], bool] = clock.is_synchronised
    _knew_time: bool = field(default=False, init=False)

    def knows_time(self) -> bool:
        """Whether the station's own clock is right, or was since the agent's start."""
        self._knew_time = self._knew_time or self.is_synchronised()
        self.health.clock = "synchronised" if self._knew_time else UNKNOWN_TIME
        return self._knew_time


class Capture:
    """What is known during one visit, and the way of its events to the disk.

    Attributes:
        security: How far the other end could be another device.
    """

    def __init__(
        self,
        station: Station,
        config: config.Device,
        driver: GattDriver | SerialDriver,
    ) -> None:
        self.security = LinkSecurity.NONE
        self._station = station
        self._outbox = station.outbox
        self._config = config
        self._peer = config.peer
        self._driver = driver
        self._health = station.health.devices[self._peer]
        self._device: Device | None = None  # what is there, or was last met there
        self._offset: Offset | None = None
        self._setting: Setting | None = None  # of this visit or an earlier one
        self._may_set_clock = station.knows_time() and config.set_clock
        self._seen: list[Observation] = []
        # Written down without the checkpoint behind them, they would come once more.
        self._holds = driver.undated_once

    async def terms(self) -> Terms:
        """Return what the driver may count on, by what is known of the device."""
        return await asyncio.to_thread(self._known)

    def _known(self) -> Terms:
        self._device = known = self._device or self._outbox.device(self._peer)
        identity = mark = None
        if known is not None:
            mark = self._outbox.mark(known.id, self._driver.id)
            identity = Identity(
                known.manufacturer, known.model, known.serial, known.firmware
            )
        return Terms(
            mark=mark,
            identity=identity,
            model=self._config.model,
            set_clock=self._local_time if self._may_set_clock else None,
            key=self._outbox.key(self._peer),
        )

    async def journal(self, packets: list[Packet]) -> None:
        """Write packets down as they come, if their device tells them only once."""
        if self._driver.once_only:
            await self._journal([(str(one.uuid), one.payload) for one in packets])

    async def keep(self, frame: bytes) -> None:
        """Write a frame of a serial device down, before anything else happens."""
        await self._journal([(_SERIAL, frame)])

    async def _journal(self, payloads: list[tuple[str, bytes]]) -> None:
        while True:
            try:
                await asyncio.to_thread(
                    self._outbox.journal,
                    self._peer,
                    self._driver.id,
                    payloads,
                    _now_ms(),
                )
            except OutboxError as error:
                # They will not come again: hold them until there is room.
                _log.warning("journal.failed %s: %s", self._peer, error)
                await asyncio.sleep(_ROOM_S)
            else:
                return

    def note(self, _event: object) -> None:
        """Count a piece of damage that the driver met on the link."""
        self._health.damaged += 1

    async def recover(self) -> None:
        """Capture what an earlier visit wrote down and did not come to capture."""
        driver, terms = self._driver, await self.terms()
        if terms.identity is None:
            return
        rows = await asyncio.to_thread(self._outbox.journaled, self._peer, driver.id)
        if isinstance(driver, GattDriver):
            packets = [Packet(UUID(row.source), row.payload) for row in rows]
            events = driver.recovered(packets, terms)
        else:
            events = driver.recovered([row.payload for row in rows], terms)
        for event in events:
            await self._note_down(event)
        await self._write()
        # What is left tells no reading, as the pressure of a pumping cuff.
        left = Counter(row.payload for row in rows)
        left -= Counter(payload for event in events for payload in _payloads(event))
        for payload in left.elements():
            await asyncio.to_thread(self._outbox.unjournal, self._peer, payload)

    async def hear(self, start: Start) -> None:
        """Run a driver to its end, from where its device's last visit ended."""
        terms = await self.terms()
        try:
            while not await self._take(start(terms), terms):
                terms = await self.terms()  # another device hangs there than last time
        except NoReply as error:
            if self._config.set_clock and not self._may_set_clock:
                raise NoReply(f"{error}; {_NOT_SET}") from error
            raise
        setting, offset = self._setting, self._offset
        if self._device is None or setting is None or setting.is_told:
            return
        # One that sends unasked may have been cut off at the visit that set its clock.
        is_earlier = offset is not None and offset.is_right
        if is_earlier or not self._driver.once_only:
            text = replace(setting, is_told=True).text
            await asyncio.to_thread(self._outbox.keep_clock, self._device.id, text)

    async def _take(self, events: AsyncGenerator[Event, None], terms: Terms) -> bool:
        """Write down what a driver yields, at once when the device pauses.

        Returns:
            Whether the driver came to its end; it must start anew where the
            device is not the one whose mark it was given.
        """
        awaited: asyncio.Future[Event] | None = None
        try:
            while True:
                if awaited is None:
                    awaited = asyncio.ensure_future(_next(events))
                pause_s = _IDLE_S if self._seen and not self._holds else None
                done, _ = await asyncio.wait({awaited}, timeout=pause_s)
                if not done:
                    await self._write()
                    continue
                event, awaited = awaited.result(), None
                await self._note_down(event)
                is_met = isinstance(event, Identity)
                if is_met and (await self.terms()).mark != terms.mark:
                    return False
        except StopAsyncIteration:
            return True
        except BaseException:
            if self._holds:
                self._seen = [s for s in self._seen if not self._needs_arrival(s)]
            raise
        finally:
            if awaited is not None:
                awaited.cancel()
                await asyncio.wait({awaited})
            await self._write()
            await events.aclose()

    async def _note_down(self, event: Event) -> None:
        match event:
            case Identity():
                await self._write()  # what came before is of the device before
                before, self._device = self._device, device_of(event, self._peer)
                if before is None or before.id != self._device.id:
                    self._offset = self._setting = None
                await asyncio.to_thread(self._outbox.meet, self._peer, self._device)
            case DeviceClock(time):
                await self._write()  # what came before has the clock before
                await self._compare(Offset.between(time, self._now()))
            case Observation():
                self._seen.append(event)
                if len(self._seen) >= _FULL and not self._holds:
                    await self._write()
            case Checkpoint(mark):
                await self._write(mark)
            case Undecoded(source, payload, problem):
                _log.warning("payload.undecoded driver=%s", self._driver.id)
                await asyncio.to_thread(
                    self._outbox.keep_undecoded,
                    self._peer,
                    self._driver.id,
                    source,
                    payload,
                    problem=problem,
                    received_ms=_now_ms(),
                )

    async def _compare(self, offset: Offset | None) -> None:
        """Take both clocks; keep them, where the driver may set the device's now."""
        self._offset, self._setting, device = offset, None, self._device
        if offset is None or device is None:
            return
        if offset.is_right:
            kept = await asyncio.to_thread(self._outbox.clock_before, device.id)
            with suppress(ValueError):  # a damaged one tells nothing
                self._setting = None if kept is None else Setting.of(kept)
        elif self._may_set_clock:
            # The link may be lost behind that, and readings stamped before it come.
            self._setting = Setting(offset)
            text = self._setting.text
            await asyncio.to_thread(self._outbox.keep_clock, device.id, text)

    async def _write(self, mark: int | None = None) -> None:
        """Write what was seen, and the checkpoint behind it, in one transaction."""
        # What a device tells only once stays journaled until it is known which
        # device it is; any other device will tell it again.
        device, seen = self._device, self._seen
        self._seen = []
        if device is None or (not seen and mark is None):
            return
        readings = self._readings(device, seen)
        new = await asyncio.to_thread(
            self._outbox.capture,
            self._peer,
            readings,
            mark=None if mark is None else (device.id, self._driver.id, mark),
            urgent=self._station.config.urgent.asks_for,
            judge=self._judge,
        )
        if new:
            self._health.captured += new
            self._station.captured.set()

    def _judge(
        self, state: bytes | None, readings: Sequence[Reading]
    ) -> tuple[list[Quality], bytes]:
        # Filters stand on numpy, and no start waits for it.
        from edge_agent.quality import judge  # noqa: PLC0415

        return judge(state, readings, shows=self._driver.shows)

    def _readings(self, device: Device, seen: list[Observation]) -> list[Reading]:
        now = self._now()
        zone = self._station.config.zone
        readings = []
        for observation in seen:
            found = true_time(observation, self._offset, now, zone, self._setting)
            unset = found.method == TimeMethod.UNKNOWN
            flags = Quality.CLOCK_UNSET if unset else Quality.NONE
            flags |= Quality.CLOCK_AHEAD if found.ahead else Quality.NONE
            arrival = secrets.randbits(61) if self._needs_arrival(observation) else None
            readings.append(
                Reading(
                    device=device,
                    observation=observation,
                    driver=self._driver.id,
                    driver_version=self._driver.version,
                    captured_ms=_now_ms(),
                    utc_ms=found.utc_ms,
                    time_method=found.method,
                    time_bound_ms=found.bound_ms,
                    link=self.security,
                    quality=flags,
                    arrival=arrival,
                )
            )
        return readings

    def _needs_arrival(self, seen: Observation) -> bool:
        """Whether nothing tells it from the device's next reading.

        A device that tells its memory again means the same one by the same words.
        One that tells a reading only once does not; and a clock that starts again
        at one moment may show that moment twice.
        """
        is_once = (self._holds and is_undated(seen)) or (
            self._driver.once_only and is_unset(seen)
        )
        return is_once and POSITION not in dict(seen.context)

    def _local_time(self) -> datetime:
        return datetime.now(self._station.config.zone).replace(microsecond=0)

    def _now(self) -> datetime | None:
        """Return the time; None while a wrong clock could only spoil a right one."""
        zone = self._station.config.zone
        return datetime.now(zone) if self._station.knows_time() else None


async def _next(events: AsyncGenerator[Event, None]) -> Event:
    return await anext(events)


def _payloads(event: Event) -> tuple[bytes, ...]:
    """Return what came of the device and was made into an event."""
    match event:
        case Observation():
            return event.raw
        case Undecoded():
            return (event.payload,)
        case _:
            return ()


def _now_ms() -> int:
    return int(time() * 1000)

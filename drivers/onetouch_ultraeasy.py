"""LifeScan OneTouch UltraEasy and UltraMini on their serial cable.

Measures: glucose. The meter does not tell control solution from blood.
Modes:    stored records, newest first; the meter never sends unasked.
Clock:    seconds of local time; never set here.
History:  rereadable, 500 records; nothing is ever erased here.
Source:   protocols.serial.lifescan.
Tested:   firmware_sim.ultraeasy; no hardware yet.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable
from decimal import Decimal

from drivers.sdk import (
    Checkpoint,
    DecodeError,
    DeviceClock,
    Event,
    Identity,
    Kind,
    NoReply,
    Observation,
    Quantity,
    SerialDriver,
    SerialLink,
    State,
    Undecoded,
    Unit,
    Value,
)
from protocols.observation import packed_time
from protocols.serial import lifescan
from protocols.serial.lifescan import Damaged, Decoder, Frame, LinkControl

_REPLY_S = 1.0
_ATTEMPTS = 6


async def _session(link: SerialLink, mark: int | None) -> AsyncGenerator[Event, None]:
    meter = _Conversation(link)
    serial = lifescan.read_serial_number(await meter.ask(lifescan.ask_serial_number()))
    version = lifescan.read_version(await meter.ask(lifescan.ask_version()))
    yield Identity("LifeScan", "OneTouch UltraEasy", serial, version)
    yield DeviceClock(lifescan.read_clock(await meter.ask(lifescan.ask_clock())))
    newest: int | None = None
    for index in range(lifescan.read_count(await meter.ask(lifescan.ask_count()))):
        message = await meter.ask(lifescan.ask_record(index))
        try:
            record = lifescan.read_record(message)
        except DecodeError as error:
            yield Undecoded(f"record {index}", message, str(error))
            continue
        time = packed_time(record.time)
        newest = time if newest is None else newest
        if time == mark:
            break  # this one and all behind it came at an earlier visit
        yield Observation(
            kind=Kind.GLUCOSE,
            values=(_value(record),),
            device_time=record.time,
            raw=(message,),
        )
    if newest is not None:
        yield Checkpoint(newest)


def _value(record: lifescan.Record) -> Value:
    if record.mg_per_dl == 0:
        return Value(Quantity.GLUCOSE, Unit.MG_PER_DL, None, State.NO_VALUE)
    if record.mg_per_dl is not None:
        return Value(Quantity.GLUCOSE, Unit.MG_PER_DL, Decimal(record.mg_per_dl))
    state = State.ABOVE_RANGE if record.above_range else State.BELOW_RANGE
    return Value(Quantity.GLUCOSE, Unit.MG_PER_DL, None, state)


class _Conversation:
    """Asks one question at a time; starts over when an answer does not come."""

    def __init__(self, link: SerialLink) -> None:
        self._link = link
        self._decoder = Decoder()
        self._control = LinkControl()
        self._started = False

    async def ask(self, message: bytes) -> bytes:
        """Return the answer to ``message``.

        Raises:
            NoReply: None came, however often asked for.
            LinkLost: The port is gone.
        """
        for attempt in range(_ATTEMPTS):
            # First the same frame again: its sequence bit makes that harmless.
            if attempt == _ATTEMPTS // 2:
                self._started = False
            if not self._started and not await self._start():
                continue
            await self._link.write(self._control.send(message).encode())
            answer = await self._listen(self._control.receive)
            if answer is not None:
                await self._link.write(self._control.acknowledge().encode())
                return answer.message
        raise NoReply(
            f"no answer to [{message.hex(' ')}] in {_ATTEMPTS} x {_REPLY_S:g} s"
        )

    async def _start(self) -> bool:
        await self._link.write(self._control.start().encode())
        self._started = await self._listen(self._control.is_started) is not None
        return self._started

    async def _listen(self, is_awaited: Callable[[Frame], bool]) -> Frame | None:
        try:
            async with asyncio.timeout(_REPLY_S):
                while True:
                    frames = self._decoder.feed(await self._link.read())
                    if (found := self._pick(is_awaited, frames)) is not None:
                        return found
        except TimeoutError:
            found = None
            while found is None and (frames := self._decoder.resync()):
                found = self._pick(is_awaited, frames)
            return found

    def _pick(
        self, is_awaited: Callable[[Frame], bool], events: Iterable[Frame | Damaged]
    ) -> Frame | None:
        found: Frame | None = None
        for event in events:
            if isinstance(event, Damaged):
                self._link.note(event)
            elif found is None and is_awaited(event):
                found = event
        return found


DRIVER = SerialDriver(
    id="onetouch-ultraeasy",
    version="1",
    observes=(Kind.GLUCOSE,),
    baud=9600,
    session=_session,
    usb=((0x067B, 0x2303),),
)

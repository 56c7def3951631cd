"""LifeScan OneTouch UltraEasy and UltraMini on their serial cable.

Measures: glucose. The meter does not tell control solution from blood.
Modes:    stored records, newest first; the meter never sends unasked.
Clock:    seconds of local time; never set here.
History:  rereadable, 500 records; nothing is ever erased here.
Source:   protocols.vendor.lifescan_ultraeasy.
Tested:   firmware_sim.devices.onetouch_ultraeasy; no hardware yet.
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
    LinkLost,
    Model,
    NoReply,
    Observation,
    Quantity,
    SerialDriver,
    SerialLink,
    State,
    Terms,
    Undecoded,
    Unit,
    Value,
    Write,
    ends_with,
    mark_of,
)
from protocols.errors import Fault
from protocols.stream import Damaged
from protocols.vendor import lifescan, lifescan_ultraeasy
from protocols.vendor.lifescan import Frame
from protocols.vendor.lifescan_ultraeasy import LinkControl

_BLOCK = 32  # records between two looks at the serial number
_KNOWN = 4
_REPLY_S = 1.0
_ATTEMPTS = 6


async def _session(link: SerialLink, terms: Terms) -> AsyncGenerator[Event, None]:
    meter = _Conversation(link)
    serial = await _serial_number(meter)
    version = lifescan_ultraeasy.read_version(
        await meter.ask(lifescan_ultraeasy.ask_version())
    )
    yield Identity("LifeScan", "OneTouch UltraEasy", serial, version)
    yield DeviceClock(
        lifescan_ultraeasy.read_clock(await meter.ask(lifescan_ultraeasy.ask_clock()))
    )
    count = lifescan_ultraeasy.read_count(
        await meter.ask(lifescan_ultraeasy.ask_count())
    )
    walked: list[bytes] = []
    found: list[Event] = []
    refusal = ""
    while len(walked) < count and not ends_with(walked, terms.mark):
        walked.append(await meter.ask(lifescan_ultraeasy.ask_record(len(walked))))
        event = _event(len(walked) - 1, walked[-1])
        if isinstance(event, str):
            refusal = refusal or event
        else:
            found.append(event)
        done = len(walked) == count or ends_with(walked, terms.mark)
        if done or len(found) >= _BLOCK:
            # A record does not say whose it is: the plug may hang in another meter.
            if await _serial_number(meter) != serial:
                raise LinkLost("another meter was plugged in")
            for event in found:
                yield event
            found.clear()
    if refusal:
        # It is counted, so it is there: no mark stands over it.
        raise NoReply(f"{refusal}; it is asked for again at the next visit")
    if walked:
        yield Checkpoint(mark_of(walked[:_KNOWN]))


async def _serial_number(meter: "_Conversation") -> str:
    return lifescan_ultraeasy.read_serial_number(
        await meter.ask(lifescan_ultraeasy.ask_serial_number())
    )


def _event(index: int, message: bytes) -> Event | str:
    """Return what a record is, or how the meter refuses it."""
    try:
        record = lifescan_ultraeasy.read_record(message)
    except DecodeError as error:
        if error.fault == Fault.DEVICE_ERROR:
            return f"record {index}: '{error.field}' {error.problem}"
        return Undecoded(f"record {index}", message, str(error))
    return Observation(
        kind=Kind.GLUCOSE,
        values=(_value(record),),
        device_time=record.time,
        raw=(message,),
    )


def _value(record: lifescan_ultraeasy.Record) -> Value:
    sent, number, state = record.mg_per_dl, None, State.MEASURED
    if sent == 0:
        state = State.NO_VALUE
    elif record.above_range or (sent or 0) > lifescan_ultraeasy.HIGHEST:
        state = State.ABOVE_RANGE
    elif sent is None or sent < lifescan_ultraeasy.LOWEST:
        state = State.BELOW_RANGE
    else:
        number = Decimal(sent)
    return Value(Quantity.GLUCOSE, Unit.MG_PER_DL, number, state)


class _Conversation:
    """Asks one question at a time, again where the answer does not come.

    It never starts over: who answers after that may be another meter.
    """

    def __init__(self, link: SerialLink) -> None:
        self._link = link
        self._decoder = lifescan.decoder()
        self._control = LinkControl()
        self._is_started = False

    async def ask(self, message: bytes) -> bytes:
        """Return the answer to ``message``.

        Raises:
            NoReply: None came, however often asked for.
            LinkLost: The port is gone.
        """
        if not self._is_started:
            await self._exchange(self._control.start(), self._control.is_started)
            self._is_started = True
        # The same frame each time: its sequence bit makes that harmless.
        request = self._control.send(message)
        answer = await self._exchange(request, self._control.receive)
        await self._link.write(self._control.acknowledge().encode())
        return answer.message

    async def _exchange(
        self, frame: Frame, is_awaited: Callable[[Frame], bool]
    ) -> Frame:
        for _ in range(_ATTEMPTS):
            await self._link.write(frame.encode())
            answer = await self._listen(is_awaited)
            if answer is not None:
                return answer
        asked = frame.message.hex(" ") or "start"
        raise NoReply(f"no answer to [{asked}] in {_ATTEMPTS} x {_REPLY_S:g} s")

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
    models=(
        Model("OneTouch UltraEasy", note="on its serial cable, PL2303"),
        Model("OneTouch UltraMini", note="on its serial cable, PL2303"),
    ),
    writes=(
        Write(rb"\x02\x06.\x03..", "start over, or acknowledge"),
        Write(rb"\x02\x09.\x05\x0d\x02\x03..", "ask for the version"),
        Write(rb"\x02\x12.\x05\x0b\x02\x00{9}\x03..", "ask for the serial number"),
        Write(rb"\x02\x0d.\x05\x20\x02\x00{4}\x03..", "ask for the clock"),
        Write(rb"\x02\x0a.\x05\x1f..\x03..", "ask for a record, or their count"),
    ),
    session=_session,
)

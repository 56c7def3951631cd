"""Microlife cuffs with Bluetooth: BP3GY1-2N, B3, B6 and others that answer alike.

Measures: systolic and diastolic pressure, pulse rate.
Modes:    stored records of the user chosen on the cuff, oldest first, when asked.
Clock:    minutes of local time, with each record; set with leave, behind the records.
History:  rereadable, 99 or more records; nothing is ever erased here.
Source:   protocols.vendor.microlife, protocols.vendor.microlife_answers.
Tested:   firmware_sim.devices.microlife; no hardware yet.
"""

from collections.abc import AsyncGenerator, Iterator
from contextlib import suppress
from datetime import datetime

from drivers.sdk import (
    USER_BITS,
    Ask,
    Checkpoint,
    Conversation,
    DateTime,
    DecodeError,
    DeviceClock,
    Event,
    GattDriver,
    GattLink,
    GattStream,
    Kind,
    LinkLost,
    Model,
    NoReply,
    Observation,
    Terms,
    Undecoded,
    Write,
    apart,
    clock_to_set,
    ends_with,
    identify,
    mark_of,
    of_user,
    with_user,
)
from protocols.gatt.blood_pressure_reading import whole_pressures
from protocols.gatt.uuid import sig
from protocols.observation import is_undated
from protocols.vendor import microlife, microlife_answers
from protocols.vendor.microlife import Command, Frame, Reply, Sender
from protocols.vendor.microlife_answers import Flag, Record

_SERVICE, _RECEIVES, _SENDS = sig(0xFFF0), sig(0xFFF1), sig(0xFFF2)
_USERS = (1, 2)
_DIGEST_BITS = USER_BITS - 3
_KNOWN = 4  # records by which the next visit finds where this one ended
_SETTLE_S = 0.05
_HISTORY_S = 20.0  # two kilobytes, 20 at a time
_HISTORY_ATTEMPTS = 3
_READINGS = 4  # of the records, until two in a row are equal
_CLOCK_ATTEMPTS = 2


async def _session(link: GattLink, terms: Terms) -> AsyncGenerator[Event, None]:
    yield await identify(link)
    await link.subscribe(_RECEIVES)
    stream = GattStream(link, _SENDS, _RECEIVES)
    cuff = Conversation(stream, microlife.decoder(), settle_s=_SETTLE_S)
    shown = await _clock(cuff)
    if shown is not None:
        yield DeviceClock(shown)
    for event in _events(await _history(cuff), terms.mark):
        yield event
    if (now := clock_to_set(terms, shown)) is not None:
        await _set_clock(cuff, now)
    with suppress(LinkLost):  # it may hang up before it has confirmed that
        await cuff.tell(microlife.disconnect().encode())


def _ask(name: str, request: Frame, command: Command) -> Ask[Frame, bytes]:
    """Return a question; its answer is the payload, or one that refuses it."""

    def answer(frame: Frame) -> bytes | None:
        if frame.sender != Sender.CUFF:
            return None
        reply = microlife.read_reply(frame.payload, command)
        is_answer = frame.payload[0] == command and reply is None
        is_end = reply in (Reply.REFUSED, Reply.NOTHING_THERE)
        return frame.payload if is_answer or is_end else None

    return Ask(name, request.encode(), answer)


async def _history(cuff: Conversation[Frame]) -> bytes:
    """Return the answer that holds the records, once it came twice in a row.

    One byte guards two kilobytes: where a packet comes twice, and so shifts all
    behind it, one time in 256 the sum is right.

    Raises:
        NoReply: It never did, or none came.
        LinkLost: The connection is gone.
    """
    question = _ask("records", microlife.ask_history(), Command.HISTORY)
    last = b""
    for _ in range(_READINGS):
        found = await cuff.ask(
            question, timeout_s=_HISTORY_S, attempts=_HISTORY_ATTEMPTS
        )
        if found == last:
            return found
        last = found
    raise NoReply(f"the records were others each time in {_READINGS}")


async def _clock(cuff: Conversation[Frame]) -> DateTime | None:
    """Return what the clock shows; None if it was never set, or is not told."""
    question = _ask("clock", microlife.ask_clock(), Command.CLOCK)
    try:
        answer = await cuff.ask(question, attempts=_CLOCK_ATTEMPTS)
        clock = microlife_answers.decode_clock(answer)
    except (NoReply, DecodeError):  # a refusal too; without it nothing is corrected
        return None
    return clock.time if clock.is_set else None


async def _set_clock(cuff: Conversation[Frame], now: datetime) -> None:
    def answer(frame: Frame) -> Reply | None:
        return microlife.read_reply(frame.payload, Command.SET_CLOCK)

    request = microlife.set_clock(DateTime.of(now))
    reply = await cuff.ask(Ask("setting of the clock", request.encode(), answer))
    if reply != Reply.DONE:
        raise NoReply("the cuff refuses to have its clock set")


def _events(payload: bytes, mark: int | None) -> Iterator[Event]:
    """Yield what a history holds behind what the last visit has told.

    Raises:
        NoReply: The cuff refuses its records, or counts more than came.
        DecodeError: What came is no history, or not the whole.
    """
    reply = microlife.read_reply(payload, Command.HISTORY)
    if reply == Reply.NOTHING_THERE:
        return
    if reply is not None:
        raise NoReply("the cuff refuses to tell its records")
    try:
        history = microlife_answers.decode_history(payload)
    except DecodeError as error:
        yield Undecoded("records", payload, str(error))
        raise
    slot = history.user if history.user in _USERS else None
    events = (_observation(record, slot) for record in history.records)
    seen = list(apart(events, undated_again=False))
    # The place at which records stood whose clock was never set can't be told by
    # their time: without this, each visit would bring them anew.
    raw = [record.raw for record in history.records]
    user = int(history.user == _USERS[1])  # it tells no other's than the chosen one's
    new = seen[_told(raw, of_user(mark or 0, user)) :]
    if len(raw) < history.count:
        # No mark stands over what is missing; so it keeps nothing from coming again.
        yield from (one for one in new if not is_undated(one))
        raise NoReply(
            f"the cuff counts {history.count} records and gave {len(raw)}; what is "
            "missing is asked for again at the next visit"
        )
    yield from new
    # An equal record behind an erasure is a new one.
    told = mark_of(raw[-_KNOWN:], len(raw), bits=_DIGEST_BITS) if raw else 0
    yield Checkpoint(with_user(mark or 0, user, told))


def _observation(record: Record, slot: int | None) -> Observation:
    status = []
    if not record.flags & Flag.CUFF_FITTED:
        status.append("cuff_too_loose")
    if record.flags & Flag.IRREGULAR_PULSE:
        status.append("irregular_pulse")
    if record.flags & Flag.ATRIAL_FIBRILLATION:
        status.append("atrial_fibrillation")
    return Observation(
        kind=Kind.BLOOD_PRESSURE,
        values=whole_pressures(record.systolic, record.diastolic, record.pulse),
        device_time=record.time,
        slot=slot,
        status=tuple(status),
        context=(("mam-mode", str(record.mam)),) if record.mam else (),
        raw=(record.raw,),
    )


def _told(raw: list[bytes], mark: int) -> int:
    """Return how many of the records, from the oldest, were told before."""
    # Counted, for without a date a record is the very same as an equal one before.
    for end in range(len(raw), 0, -1):
        counts = range(end, len(raw) + 1)  # a full memory counts no further
        if ends_with(raw[:end], mark, *counts, bits=_DIGEST_BITS):
            return end
    return 0


DRIVER = GattDriver(
    id="microlife",
    version="1",
    service=_SERVICE,
    observes=(Kind.BLOOD_PRESSURE,),
    models=(
        Model("BP3GY1-2N", ("BP3GY",), note="choose the user on the cuff's switch"),
        Model("B3 BT", ("B3 BT",)),
        Model("B6 Connect", ("B6",), note="choose the user on the cuff's switch"),
        Model("A6 BT", ("A6 BT",), note="older ones answer in a way not read here"),
    ),
    writes=(
        Write(rb"M\xff\x00\x09\x00{7}\xfd\x52", "ask for the records", _SENDS),
        Write(rb"M\xff\x00\x02\x0c\x5a", "ask for the clock", _SENDS),
        Write(rb"M\xff\x00\x08\x0d.{7}", "set the clock", _SENDS, sets_clock=True),
        Write(rb"M\xff\x00\x02\x04\x52", "end the connection", _SENDS),
    ),
    session=_session,
    undated_once=True,
)

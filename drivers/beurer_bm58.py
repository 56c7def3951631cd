"""Beurer BM58 and BM65, Andon KD001, on their serial plug.

Measures: blood pressure and pulse rate; of which of its two users is not told.
Modes:    stored readings, all of them at every visit; never sends unasked.
Clock:    local time without seconds; it can be neither asked for nor set.
History:  rereadable; nothing is ever erased here.
Source:   protocols.vendor.andon.
Tested:   firmware_sim.devices.beurer_bm58; no hardware yet.
"""

from collections.abc import AsyncGenerator

from drivers.sdk import (
    Ask,
    Conversation,
    Damaged,
    DecodeError,
    Event,
    Identity,
    Kind,
    LinkLost,
    Model,
    NoReply,
    Observation,
    SerialDriver,
    SerialLink,
    Terms,
    Undecoded,
    Write,
    apart,
)
from protocols.gatt.blood_pressure_reading import whole_pressures
from protocols.vendor import andon
from protocols.vendor.andon import Record

_REPLY_S = 1.0
_READINGS = 6  # of one answer, until two in a row are equal
_NAME = "Andon"
_NO_RECORD = bytes([andon.NO_RECORD])


async def _session(link: SerialLink, _: Terms) -> AsyncGenerator[Event, None]:
    cuff = _Cuff(link)
    await cuff.ask("readiness", andon.ask_ready(), 1, bytes([andon.READY]))
    name = await cuff.name()
    if not name.startswith(_NAME):
        raise NoReply(f"what calls itself {name!r} is no Andon cuff")
    yield Identity("Andon", name)
    count = await cuff.count()
    seen: list[Observation] = []
    for index in range(1, count + 1):
        data = await cuff.twice(
            f"record {index}", andon.ask_record(index), andon.RECORD_SIZE
        )
        try:
            seen.append(_observation(andon.decode_record(data), data))
        except DecodeError as error:
            yield Undecoded(f"record {index}", data, str(error))
    # A record does not say whose it is: the plug may hang in another cuff.
    if (await cuff.name(), await cuff.count()) != (name, count):
        raise LinkLost("another cuff was plugged in")
    for one in apart(seen):
        yield one


def _observation(record: Record, data: bytes) -> Observation:
    return Observation(
        kind=Kind.BLOOD_PRESSURE,
        values=whole_pressures(record.systolic, record.diastolic, record.pulse),
        device_time=record.time,
        raw=(data,),
    )


class _Cuff:
    """Asks a cuff whose answers have neither a frame nor a checksum.

    So what counts is their size, and that the cuff says the same twice.
    """

    def __init__(self, link: SerialLink) -> None:
        self._pieces = _Pieces()
        self._talk = Conversation[bytes](link, self._pieces, settle_s=0.05)

    async def name(self) -> str:
        """Return what the cuff calls itself."""
        data = await self.twice("name", andon.ask_name(), andon.NAME_SIZE)
        return andon.decode_name(data)

    async def count(self) -> int:
        """Return how many records it has."""
        return (await self.twice("number of records", andon.ask_count(), 1))[0]

    async def twice(self, name: str, data: bytes, size: int) -> bytes:
        """Return an answer that came twice in a row.

        Raises:
            NoReply: It never did, or none came.
            LinkLost: The port is gone.
        """
        last = b""
        for _ in range(_READINGS):
            found = await self.ask(name, data, size)
            if found == last:
                return found
            last = found
        raise NoReply(f"the {name} was another one each time in {_READINGS}")

    async def ask(self, name: str, data: bytes, size: int, only: bytes = b"") -> bytes:
        """Return an answer of the size, of that text if one is given.

        Raises:
            NoReply: None came.
            LinkLost: The port is gone.
        """
        self._pieces.size = size

        def answer(found: bytes) -> bytes | None:
            return found if not only or found == only else None

        return await self._talk.ask(Ask(name, data, answer), timeout_s=_REPLY_S)


class _Pieces:
    """Makes one answer of as many bytes as are waited for.

    Attributes:
        size: How many these are.
    """

    def __init__(self) -> None:
        self.size = 1
        self._buffer = b""

    def feed(self, data: bytes) -> list[bytes | Damaged]:
        """Add received bytes; return the answer that they complete."""
        self._buffer += data
        is_refusal = self._buffer == _NO_RECORD and self.size == andon.RECORD_SIZE
        if is_refusal or len(self._buffer) == self.size:
            found, self._buffer = self._buffer, b""
            return [found]
        return self.resync() if len(self._buffer) > self.size else []

    def resync(self) -> list[bytes | Damaged]:
        """Give up on the answer being waited for."""
        lost, self._buffer = self._buffer, b""
        return [Damaged(lost, "of another size")] if lost else []


DRIVER = SerialDriver(
    id="beurer-bm58",
    version="1",
    observes=(Kind.BLOOD_PRESSURE,),
    baud=4800,
    models=(
        Model(
            "Beurer BM58, BM65",
            usb=((0x067B, 0x2303),),
            note="Plug it in, switch it on, and press MEM; one that Linux takes for a "
            "HID device (0C45:7406) is not read.",
        ),
        Model("Andon KD001", usb=((0x067B, 0x2303),)),
    ),
    writes=(
        Write(rb"\xaa", "ask whether it is there"),
        Write(rb"\xa4", "ask for its name"),
        Write(rb"\xa2", "ask for the number of records"),
        Write(rb"\xa3.", "ask for a record"),
    ),
    session=_session,
)

"""Omron: which blocks of a memory to read, in which order, and up to where.

Source: field notes on Omron's EEPROM protocol (docs/reference/sources.md).

What reads is a dialogue without its radio: it yields requests, is sent the
answer to each, and returns what it read.

A block that a device answers with less than was asked for is asked for again;
if it stays so, it is taken for erased, unless an older record stands behind it. The
index says which slot was written last. The records are walked from there back to
those that were the newest at the last visit, by which a memory that was cleared
meanwhile is noticed too.

Who refuses a walk's first block has no such user. One that is refused later is
missing: the walk goes on without it, and nothing is marked as read.
"""

from collections.abc import Generator, Iterator, Sequence
from datetime import datetime
from hashlib import blake2b
from typing import TypeAlias, TypeVar

from protocols.errors import DecodeError, Fault
from protocols.vendor import omron_eeprom, omron_memory
from protocols.vendor.omron_eeprom import Frame, Type
from protocols.vendor.omron_models import Format, Model

T = TypeVar("T")

Dialogue: TypeAlias = Generator[Frame, Frame, T]

_ATTEMPTS = 5
_KNOWN = 4  # records by which the next visit finds where this one ended
_ERASED = b"\xff"


class NotServed(Exception):
    """The device answers that it does not give what was asked for."""


class _Short(Exception):
    """The device answers with too little, however often it is asked."""


def read_clock(model: Model) -> Dialogue[bytes]:
    """Read the window of the clock.

    Raises:
        NotServed: The device refuses.
    """
    settings = model.settings
    size = omron_memory.clock_size(settings.layout)
    return _settings(model, settings.read + settings.clock, size)


def read_index(model: Model) -> Dialogue[bytes]:
    """Read the index.

    Raises:
        NotServed: The device refuses.
    """
    return _settings(model, model.settings.read, model.settings.index.size)


class Walk:
    """One user's records, from the newest back to those that the last visit read.

    Args:
        model: What the device is.
        user: 0 is the first.
        index: As `read_index` returned it.
        last: The mark of the last visit; 0 to read all.

    Attributes:
        mark: Names the newest records, to be the next ``last``, 0 to 2^31 - 1; 0
            until the walk has come to its end, where the index can't be trusted,
            and where something is `missing`.
        missing: What the device did not give, in words; empty if it gave all.
        is_served: The device has given something, so there is such a user.
    """

    def __init__(self, model: Model, user: int, index: bytes, last: int) -> None:
        self.mark = 0
        self.missing = ""
        self.is_served = False
        self._model, self._user = model, user
        self._index, self._last = index, last
        self._walked: list[bytes] = []
        self._places: list[int] = []  # in which slot each of them stands
        self._short = ""

    @property
    def records(self) -> tuple[bytes, ...]:
        """What was read so far, oldest first, empty slots left out.

        Once the walk has come to its end, those that ``last`` names are left out,
        unless something is `missing`.
        """
        return tuple(reversed(self._walked))

    def run(self) -> Dialogue[None]:
        """Read the records behind those that ``last`` names, or all without them.

        Raises:
            NotServed: The device refuses the first block, as for a user whom nobody
                registered.
        """
        newest, is_certain = yield from self._newest()
        self._short = ""  # behind the newest, or of one that is no more certain
        groups = () if newest is None else _groups(self._model, self._user, newest)
        for group in groups:
            for at, slot in zip(group, (yield from self._slots(group)), strict=True):
                if is_empty(self._model, slot):
                    continue
                self._walked.append(slot)
                self._places.append(at)
                if not is_certain:
                    continue
                # Slots are written in turn: no empty one is newer than a record.
                self.missing = self.missing or self._short
                if self._has_come_to_last():
                    self._end(self._last & 7)
                    return
        if is_certain:
            self._end(0)

    def _end(self, known: int) -> None:
        """Mark what came, and leave out as many as are known, if nothing is missing."""
        if self._walked and not self.missing:
            self.mark = _mark(self._walked[:_KNOWN], self._places[:1])
            # One without a date would be another reading at each visit.
            del self._walked[len(self._walked) - known :]

    def _has_come_to_last(self) -> bool:
        """Whether the walk has come to the records that were the newest last time."""
        size = self._last & 7
        if not 0 < size <= len(self._walked):
            return False
        newest, places = self._walked[-size:], self._places[-size:][:1]
        # Earlier versions took no place: equal ones without a date were one to them.
        return self._last in (_mark(newest, places), _mark(newest, []))

    def _newest(self) -> Dialogue[tuple[int | None, bool]]:
        """Find the newest slot, None if nothing is stored, and if that is certain.

        An index that is wrong by one would hide the newest reading for ever. So what
        stands behind the newest must be nothing, or older.
        """
        model, slots = self._model, self._model.users[self._user].slots
        uncertain = slots - 1, False
        try:
            newest = omron_memory.newest_slot(model, self._user, self._index)
        except DecodeError:
            return uncertain
        behind = 0 if newest is None else (newest + 1) % slots
        (oldest,) = yield from self._slots([behind])
        if newest is None:
            return (None, True) if is_empty(model, oldest) else uncertain
        (found,) = yield from self._slots([newest])
        if is_empty(model, found):
            return uncertain
        earlier, later = _moment(model, oldest), _moment(model, found)
        if earlier is not None and later is not None and earlier > later:
            return uncertain
        return newest, True

    def _slots(self, group: Sequence[int]) -> Dialogue[list[bytes]]:
        """Read slots that stand behind each other, named from the last one on.

        Returns:
            Their bytes; those of an empty slot for all of them where the device
            does not give them: a reading is never made up of a part.
        """
        size, low = self._model.size, group[-1]
        start, count = self._model.users[self._user].address + low * size, len(group)
        raw = bytearray()
        try:
            yield from _read(self._model, start, count * size, raw)
        except _Short as error:
            self._short = self._short or str(error)
        except NotServed as error:
            if not self.is_served and not raw:
                raise
            self.missing = self.missing or str(error)
        self.is_served = True
        if len(raw) < count * size:
            return [_ERASED * size] * count
        return [bytes(raw[(slot - low) * size :][:size]) for slot in group]


def is_empty(model: Model, slot: bytes) -> bool:
    """Whether a slot holds nothing.

    In some layouts a systolic above 250 is said to mark an empty slot as well as
    FF does. It could be one that somebody has, so it is not taken for nothing.
    """
    is_odd = model.format in (Format.LITTLE, Format.HEARTGUIDE) and any(slot[1:8])
    if is_odd and 0xE1 < slot[0] < 0xFF:
        return False
    try:
        omron_memory.decode_record(model, slot)
    except DecodeError as error:
        return error.fault == Fault.EMPTY_SLOT
    return False


def _groups(model: Model, user: int, newest: int) -> Iterator[Sequence[int]]:
    """Yield all slots once, newest first, those together that fit into a block."""
    most = max(model.block // model.size, 1)
    left, at = model.users[user].slots, newest
    while left:
        size = min(most, at + 1, left)
        yield range(at, at - size, -1)
        at, left = (at - size) % model.users[user].slots, left - size


def _settings(model: Model, address: int, count: int) -> Dialogue[bytes]:
    """Read what no user has; as erased where the device gives too little."""
    data = bytearray()
    try:
        yield from _read(model, address, count, data)
    except _Short:
        return _ERASED * count
    return bytes(data)


def _read(model: Model, address: int, count: int, data: bytearray) -> Dialogue[None]:
    """Add as many bytes to ``data``, block by block.

    Raises:
        NotServed: The device refuses.
        _Short: It gives too few.
    """
    while len(data) < count:
        size = min(model.block, count - len(data))
        data += yield from _block(address + len(data), size)


def _block(address: int, size: int) -> Dialogue[bytes]:
    for _ in range(_ATTEMPTS):
        answer = yield omron_eeprom.read(address, size)
        code = answer.error if answer.type == Type.ENDED else answer.result
        if answer.type == Type.ENDED or (code and not answer.data):
            raise NotServed(f"its memory at {address:#06x}: code {code}")
        if len(answer.data) == size:
            return answer.data
    raise _Short(f"its memory at {address:#06x}: less than {size} bytes")


def _mark(newest: list[bytes], places: list[int]) -> int:
    """Return what tells the newest records, and the first one's slot, from others."""
    told = [*newest, *(at.to_bytes(2, "big") for at in places)]
    digest = blake2b(b"".join(told), digest_size=4).digest()
    return int.from_bytes(digest, "big") >> 4 << 3 | len(newest)


def _moment(model: Model, slot: bytes) -> datetime | None:
    try:
        return omron_memory.decode_record(model, slot).time.moment
    except DecodeError:
        return None

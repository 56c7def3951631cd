"""Omron: which blocks of a memory to read, in which order, and up to where.

Source: field notes on Omron's EEPROM protocol (docs/reference/sources.md).

What reads is a dialogue without its radio: it yields requests, is sent the
answer to each, and returns what it read.

A block that a device answers with less than was asked for is asked for again;
if it stays so, it is taken for erased. The index says which slot was written
last. The records are walked from there back to those that were the newest at
the last visit, by which a memory that was cleared meanwhile is noticed too.
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


def read_clock(model: Model) -> Dialogue[bytes]:
    """Read the window of the clock.

    Raises:
        NotServed: The device refuses.
    """
    settings = model.settings
    size = omron_memory.clock_size(settings.layout)
    return _read(model, settings.read + settings.clock, size)


def read_index(model: Model) -> Dialogue[bytes]:
    """Read the index.

    Raises:
        NotServed: The device refuses.
    """
    return _read(model, model.settings.read, model.settings.index.size)


class Walk:
    """One user's records, from the newest back to those that the last visit read.

    Args:
        model: What the device is.
        user: 0 is the first.
        index: As `read_index` returned it.
        last: The mark of the last visit; 0 to read all.

    Attributes:
        mark: Names the newest records, to be the next ``last``, 0 to 2^31 - 1; 0
            until the walk has come to its end, or where the index can't be trusted.
    """

    def __init__(self, model: Model, user: int, index: bytes, last: int) -> None:
        self.mark = 0
        self._model, self._user = model, user
        self._index, self._last = index, last
        self._walked: list[bytes] = []

    @property
    def records(self) -> tuple[bytes, ...]:
        """What was read so far, oldest first, empty slots left out.

        Once the walk has come to its end, those that ``last`` names are left out.
        """
        return tuple(reversed(self._walked))

    def run(self) -> Dialogue[None]:
        """Read the records behind those that ``last`` names, or all without them.

        Raises:
            NotServed: The device refuses, as for a user whom nobody registered.
        """
        newest, is_certain = yield from _newest(self._model, self._user, self._index)
        groups = () if newest is None else _groups(self._model, self._user, newest)
        for group in groups:
            for slot in (yield from _slots(self._model, self._user, group)):
                if not is_empty(self._model, slot):
                    self._walked.append(slot)
                if is_certain and _ends_with(self._walked, self._last):
                    self.mark = _mark(self._walked[:_KNOWN])
                    # One without a date would be another reading at each visit.
                    del self._walked[-(self._last & 7) :]
                    return
        if is_certain and self._walked:
            self.mark = _mark(self._walked[:_KNOWN])


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


def _newest(model: Model, user: int, index: bytes) -> Dialogue[tuple[int | None, bool]]:
    """Find the newest slot, None if nothing is stored, and whether that is certain.

    An index that is wrong by one would hide the newest reading for ever. So what
    stands behind the newest must be nothing, or older.
    """
    uncertain = model.users[user].slots - 1, False
    try:
        newest = omron_memory.newest_slot(model, user, index)
    except DecodeError:
        return uncertain
    behind = 0 if newest is None else (newest + 1) % model.users[user].slots
    (oldest,) = yield from _slots(model, user, [behind])
    if newest is None:
        return (None, True) if is_empty(model, oldest) else uncertain
    (found,) = yield from _slots(model, user, [newest])
    if is_empty(model, found):
        return uncertain
    earlier, later = _moment(model, oldest), _moment(model, found)
    if earlier is not None and later is not None and earlier > later:
        return uncertain
    return newest, True


def _groups(model: Model, user: int, newest: int) -> Iterator[Sequence[int]]:
    """Yield all slots once, newest first, those together that fit into a block."""
    most = max(model.block // model.size, 1)
    left, at = model.users[user].slots, newest
    while left:
        size = min(most, at + 1, left)
        yield range(at, at - size, -1)
        at, left = (at - size) % model.users[user].slots, left - size


def _slots(model: Model, user: int, group: Sequence[int]) -> Dialogue[list[bytes]]:
    """Read slots that stand behind each other, named from the last one on."""
    size, low = model.size, group[-1]
    start = model.users[user].address + low * size
    raw = yield from _read(model, start, len(group) * size)
    return [raw[(slot - low) * size :][:size] for slot in group]


def _read(model: Model, address: int, count: int) -> Dialogue[bytes]:
    data = b""
    while len(data) < count:
        size = min(model.block, count - len(data))
        block = yield from _block(address + len(data), size)
        if block is None:
            return _ERASED * count  # never a record of which a part is made up
        data += block
    return data


def _block(address: int, size: int) -> Dialogue[bytes | None]:
    for _ in range(_ATTEMPTS):
        answer = yield omron_eeprom.read(address, size)
        code = answer.error if answer.type == Type.ENDED else answer.result
        if answer.type == Type.ENDED or (code and not answer.data):
            raise NotServed(f"its memory at {address:#06x}: code {code}")
        if len(answer.data) == size:
            return answer.data
    return None


def _mark(newest: list[bytes]) -> int:
    digest = blake2b(b"".join(newest), digest_size=4).digest()
    return int.from_bytes(digest, "big") >> 4 << 3 | len(newest)


def _ends_with(walked: list[bytes], last: int) -> bool:
    """Whether the walk has come to the records that were the newest last time."""
    size = last & 7
    return 0 < size <= len(walked) and _mark(walked[-size:]) == last


def _moment(model: Model, slot: bytes) -> datetime | None:
    try:
        return omron_memory.decode_record(model, slot).time.moment
    except DecodeError:
        return None

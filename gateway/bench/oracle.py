"""Counts what is stored against what was sent, without any code of the store's."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from gateway.bench.engine import Engine
from gateway.bench.fleet import DEVICES, PATTERNS, Fleet, Sent, device_name, pattern
from protocols.observation import Kind, Reading, key

_KINDS = {kind.value: number for number, kind in enumerate(Kind)}
_STORED = """
    SELECT d.device, r.generation, r.slot, r.kind, r.ordinal, r.discriminator
    FROM reading r JOIN device d ON d.id = r.device
    WHERE r.generation = 0 AND r.id > {}
"""


class _Key(NamedTuple):
    """A reading's key as it is stored."""

    device: str
    generation: int
    slot: int
    kind: int
    ordinal: int
    discriminator: int


@dataclass(frozen=True, slots=True)
class Counted:
    """What an oracle found.

    Attributes:
        stored: Readings stored.
        lost: Readings that were receipted as stored, and are not there.
        doubled: Readings that are there once more than they were sent.
    """

    stored: int
    lost: int
    doubled: int


def count(
    engine: Engine, after: int, sent: Iterable[Sent], stored: Iterable[Sent]
) -> Counted:
    """Count the readings stored behind an id.

    Args:
        engine: The store's.
        after: The last id before anything was sent.
        sent: All messages that were.
        stored: Those that were receipted as stored.
    """
    found = Counter(map(_key, engine.rows(_STORED.format(after))))
    may_be = {one for message in sent for one in _keys(message)}
    lost = sum(not found[one] for message in stored for one in _keys(message))
    doubled = sum(times - (one in may_be) for one, times in found.items())
    return Counted(sum(found.values()), lost, doubled)


def wrong(fleet: Fleet, sent: Sequence[Sent], told: Iterable[Reading]) -> int:
    """Count readings that the store tells otherwise than they were sent.

    Args:
        fleet: Which sent them.
        sent: All messages.
        told: Some readings, as the gateway's store tells them.
    """
    told = list(told)
    groups = {_group(reading) for reading in told}
    known = {
        reading
        for message in sent
        if message.group in groups
        for reading in fleet.readings(message.group, message.block)
    }
    return sum(reading not in known for reading in told)


def _group(reading: Reading) -> int:
    return int(reading.device.id.rpartition("-")[2]) // DEVICES


def _key(row: Sequence[object]) -> _Key:
    return _Key._make(row)


def _keys(message: Sent) -> Iterator[_Key]:
    first = DEVICES * message.group
    for device, rest in _pattern_keys(message.group % PATTERNS, message.block):
        yield _Key(device_name(first + device), *rest)


@cache
def _pattern_keys(
    number: int, block: int
) -> tuple[tuple[int, tuple[int, int, int, int, int]], ...]:
    """Return which of a group's devices each reading is of, and the rest of its key."""
    found = []
    for reading in pattern(number, block):
        name, generation, slot, kind, ordinal, discriminator = key(reading)
        device = int(name.rpartition("-")[2]) - DEVICES * number
        rest = generation, slot, _KINDS[kind], ordinal, discriminator
        found.append((device, rest))
    return tuple(found)

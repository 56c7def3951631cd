"""Readings as the outbox stores them, and as many of them as one message holds.

Batches stand on numpy, and no start waits for it: they are imported when needed.
"""

from collections.abc import Sequence

from protocols.observation import Reading
from protocols.uplink.envelope import MAX_MESSAGE

MOST_COUNTER = (1 << 63) - 1
_STATION = "outbox"  # a record is a batch of one, from nowhere
# A real batch's station, counter and time take more room than a record's.
_MOST_BYTES = MAX_MESSAGE - 96


def to_record(reading: Reading, *, spare: int = 0) -> bytes:
    """Return a reading as it is stored.

    Args:
        reading: The reading.
        spare: Bytes by which it may still grow.

    Raises:
        DecodeError: No message can hold it.
        ValueError: Likewise.
    """
    from protocols.uplink import batch  # noqa: PLC0415

    record = batch.Batch(_STATION, 1, 0, (reading,)).encode()
    if len(record) + spare > _MOST_BYTES:
        raise ValueError(f"a reading of {len(record)} bytes is over {_MOST_BYTES}")
    batch.decode(record)
    return record


def from_record(record: bytes) -> Reading:
    """Return the reading that was stored.

    Raises:
        DecodeError: The record is damaged.
    """
    from protocols.uplink import batch  # noqa: PLC0415

    return batch.decode(record).readings[0]


def fit(
    station: str,
    counter: int,
    made_ms: int,
    readings: Sequence[Reading],
    *,
    fast: bool = False,
) -> tuple[int, bytes]:
    """Return how many of the first readings one message holds, and the message.

    Raises:
        ValueError: It holds not even the first.
    """
    from protocols.uplink.batch import Batch  # noqa: PLC0415

    fits, over = 0, len(readings) + 1
    trying, message = len(readings), b""
    while fits + 1 < over:
        # What is alike stands together, and takes less room so.
        some = tuple(sorted(readings[:trying], key=_likeness))
        try:
            message = Batch(station, counter, made_ms, some).encode(fast=fast)
        except ValueError:
            if trying == 1:
                raise
            over = trying
        else:
            fits = trying
        trying = (fits + over) // 2
    return fits, message


def _likeness(reading: Reading) -> tuple[str, str, str]:
    return reading.device.id, reading.driver, reading.observation.kind

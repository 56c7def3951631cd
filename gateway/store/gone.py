"""Readings that are gone, archived or erased: told again, they are not kept again.

An erased reading leaves a digest behind, under the store's own secret, of what its
device says of it each time that it is asked. Without the secret nobody can try out
which value it had; and another reading of the same key has another digest, as that of a
meter that was cleared and counts from 1 again. An archived one leaves its key and its
device's clock. That suffices for one reading of a key; where there are more, these
leave digests too.

Stores from before kept the whole key of an erased reading, and nothing to tell it from
a later one: `verdict` says what then.
"""

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

import cbor2
import msgspec

from gateway.store import Accepted, Refused
from gateway.store.database import Change, Row, Scalar
from gateway.store.rows import AT_KEY, KEY, READING
from protocols.gatt.time import DateTime
from protocols.observation import SEQUENCES, packed_time
from protocols.uplink import envelope
from protocols.uplink.batch import Batch

SECRET = "SELECT value FROM secret WHERE name = 'gone'"  # noqa: S105 - where it is

IN_DOUBT = (
    "each of these readings has the key of one that was erased under an earlier "
    "version: it may be that one, told again, or a new one of a device that was "
    "cleared; if you know that it is new, replay it --as-new"
)
"""Why a message made by `withheld` is in quarantine."""

_DIGEST = 16  # bytes: nobody meets another's by chance
_ORDINAL, _TIME, _VALUES, _UTC, _BOUND = map(
    READING.index, ("ordinal", "device_time", '"values"', "utc_ms", "time_bound_ms")
)
# Names of tables and columns are constants.
_SAID = ", ".join(f"r.{name}" for name in KEY)
_ALONE = """
    INSERT INTO gone_digest (device, digest)
    SELECT device, digest FROM gone_digest WHERE 1 = 0
"""
_THEIRS = f"""
    SELECT {_SAID}, r."values", r.device_time FROM reading r
    WHERE r.device = :device AND r.id IN ({{0}})
    UNION ALL
    SELECT {_SAID}, a."values", a.device_time
    FROM reading r JOIN amendment a ON a.reading = r.id
    WHERE r.device = :device AND r.id IN ({{0}})
"""  # noqa: S608
_KEEP = """
    INSERT INTO gone_digest (device, digest) VALUES (:device, :digest)
    ON CONFLICT (device, digest) DO NOTHING
"""


class Verdict(Enum):
    """What a reading is whose key is that of one that is gone."""

    AGAIN = 0
    NEW = 1
    IN_DOUBT = 2


@dataclass(slots=True)
class Left:
    """Readings, without those that are gone.

    Attributes:
        rows: To be kept.
        again: How many were told again.
        in_doubt: The ids of those of which nobody can tell.
    """

    rows: list[Row] = field(default_factory=list)
    again: int = 0
    in_doubt: list[int] = field(default_factory=list)

    def add(self, row: Row, found: Verdict, *, is_known_new: bool = False) -> None:
        """Sort a row in.

        Args:
            row: In the order of `READING`.
            found: What it is.
            is_known_new: Whether it is new, where nobody can tell by itself.
        """
        if found == Verdict.NEW or (found == Verdict.IN_DOUBT and is_known_new):
            self.rows.append(row)
        elif found == Verdict.AGAIN:
            self.again += 1
        else:
            self.in_doubt.append(row[0])


def digest(
    secret: bytes, ours: Sequence[int], values: str, device_time: str | None
) -> bytes:
    """Return 16 bytes by which a reading is known that must not be kept.

    Made of its key and of what its device says of it again, word for word, whoever asks
    and with whichever version: its values and the device's own clock. What a person may
    change later, or a newer driver read otherwise, is not in it, as a meal or a status.

    Args:
        secret: Of the store.
        ours: Its key in this store, in the order of `KEY`.
        values: As in a row, JSON.
        device_time: As in a row.
    """
    clock = None if device_time is None else packed_time(DateTime.parse(device_time))
    said = [*ours, msgspec.json.decode(values), clock]
    return hmac.digest(secret, cbor2.dumps(said, canonical=True), "sha256")[:_DIGEST]


def digest_of(secret: bytes, row: Row) -> bytes:
    """Return the `digest` of a row in the order of `READING`."""
    return digest(secret, row[AT_KEY], row[_VALUES], row[_TIME])


def verdict(row: Row, before_ms: int | None) -> Verdict:
    """Return what a row is whose key stands in ``gone``.

    Args:
        row: In the order of `READING`.
        before_ms: When the one of that key was erased at the latest; None if it was
            archived, and had the same device time.
    """
    # A key without a sequence number holds the device's clock, or is never drawn twice.
    if before_ms is None or row[_ORDINAL] >= SEQUENCES:
        return Verdict.AGAIN
    utc_ms, bound_ms = row[_UTC], row[_BOUND]
    if utc_ms is not None and bound_ms is not None and utc_ms - bound_ms > before_ms:
        return Verdict.NEW
    return Verdict.IN_DOUBT


def withheld(delivery: Accepted, places: Sequence[int]) -> list[Refused]:
    """Return readings of a batch as messages for the quarantine.

    Args:
        delivery: The batch.
        places: Which of its readings, from 0.
    """
    batch = delivery.batch
    readings = batch.readings()
    ordered = sorted(places)
    some = tuple(readings[at] for at in ordered)
    # Never the very bytes that came, which the ledger would take for stored.
    made_ms = delivery.received_ms
    if made_ms == batch.made_ms:
        made_ms += 1
    apart = Batch(batch.station, batch.counter, made_ms, some)
    try:
        message = apart.encode(fast=True)
    except ValueError:
        if len(some) == 1:
            raise
        # One that is full may be longer so; its halves are not.
        half = len(ordered) // 2
        return withheld(delivery, ordered[:half]) + withheld(delivery, ordered[half:])
    return [
        Refused(
            topic=delivery.station.up("batch"),
            station=delivery.station,
            message=message,
            digest=envelope.digest(message),
            reason=IN_DOUBT,
            received_ms=delivery.received_ms,
        )
    ]


def keep_digests(
    change: Change, device: int, listed: str, ids: Mapping[str, Scalar]
) -> None:
    """Note readings of one device, and other reports of them, as gone.

    To be done in the transaction that deletes them, and before it does.

    Args:
        change: The transaction.
        device: Of all of them, by its number in this store.
        listed: Marks for their ids.
        ids: What the marks stand for.
    """
    # Whoever adds digests has the store to itself; a report may come at this moment.
    change.rows(_ALONE)
    ((secret,),) = change.rows(SECRET)
    told = change.rows(_THEIRS.format(listed), device=device, **ids)
    found = {digest(bytes(secret), row[: len(KEY)], *row[len(KEY) :]) for row in told}
    change.many(_KEEP, [{"device": device, "digest": one} for one in sorted(found)])

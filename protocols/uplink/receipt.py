"""The receipt: what the gateway has made durable, so that a station may forget.

    {1: station, 2: [+ [counter, digest, result, reason]], 3: given at, ms}

A receipt is for one station, and for exactly the bytes whose digest it names.
"""

from dataclasses import dataclass
from enum import IntEnum

from protocols.errors import DecodeError, Fault
from protocols.uplink import envelope
from protocols.uplink.envelope import is_int
from protocols.uplink.topics import is_id


class Result(IntEnum):
    """What became of a batch."""

    STORED = 0
    QUARANTINED = 1  # kept whole, with the reason; the station keeps it too


@dataclass(frozen=True, slots=True)
class Entry:
    """One batch that the gateway has dealt with.

    Attributes:
        counter: The batch's counter; 0 where the gateway could not read it.
        digest: SHA-256 of the message, 32 bytes.
        result: What became of it.
        reason: Why it was not stored; empty if it was.
    """

    counter: int
    digest: bytes
    result: Result
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a gateway tells one station.

    Attributes:
        station: The station that may forget.
        entries: The batches dealt with, at least one.
        given_ms: The gateway's clock, in ms since 1970 UTC.
    """

    station: str
    entries: tuple[Entry, ...]
    given_ms: int

    def encode(self) -> bytes:
        """Return the receipt in its envelope."""
        entries = [
            [entry.counter, entry.digest, int(entry.result), entry.reason[:256]]
            for entry in self.entries
        ]
        return envelope.wrap({1: self.station, 2: entries, 3: self.given_ms})


def decode(message: bytes) -> Receipt:
    """Read a receipt from its envelope.

    Raises:
        DecodeError: It is damaged, or of a version unknown here.
    """
    from protocols.uplink.opening import unwrap  # noqa: PLC0415 - with numpy

    content = unwrap("receipt", message)
    match content:
        case {1: str(station), 2: [_, *_] as entries, 3: given_ms, **more} if (
            not more and is_int(given_ms) and is_id(station)
        ):
            return Receipt(station, tuple(map(_entry, entries)), given_ms)
    raise _error("content", "is no map of station, entries and time")


def _entry(item: object) -> Entry:
    match item:
        case [int(counter), bytes(digest), int(result), str(reason)] if (
            is_int(counter, 0) and len(digest) == 32 and is_int(result, 0, 1)
        ):
            return Entry(counter, digest, Result(result), reason)
    raise _error("entry", "is no counter, digest, result and reason")


def _error(field: str, problem: str) -> DecodeError:
    return DecodeError("receipt", field, problem, b"", 0, Fault.BAD_FRAME)

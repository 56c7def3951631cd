"""What one MQTT message brings, and the receipt that answers it. Pure functions."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from gateway.store import Accepted, Delivery, Greeting, Refused
from gateway.store.rows import prepare, span_ms
from protocols.errors import DecodeError
from protocols.uplink import batch
from protocols.uplink.envelope import MAX_MESSAGE, digest
from protocols.uplink.receipt import Entry, Receipt, Result
from protocols.uplink.topics import Station, station_of

_KEPT = 2 * MAX_MESSAGE  # of a message that is longer, this much is kept
_LONGEST_TOPIC = 512  # of one that is longer, and no station's, this much is kept
_ENTRIES = 50  # in one receipt: at most 54 KiB, reasons of 4-byte letters included
_LONGEST_STATUS = 4_096
_YEARS_MS = tuple(
    int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) * 1000 for year in (1900, 9999)
)


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it came from the broker.

    Attributes:
        topic: The topic that it came on.
        payload: Its bytes, or as many of them as are kept.
        digest: SHA-256 of all its bytes.
        size: How many bytes it had.
        received_ms: When it came, in ms since 1970 UTC.
    """

    topic: str
    payload: bytes
    digest: bytes
    size: int
    received_ms: int

    @classmethod
    def of(cls, topic: str, payload: bytes, received_ms: int) -> "Message":
        """Take a message from the broker; of what is far too long, the beginning."""
        # A store's index does not hold a topic of any length.
        kept, size = payload[:_KEPT], len(payload)
        return cls(topic[:_LONGEST_TOPIC], kept, digest(payload), size, received_ms)


class Answer(NamedTuple):
    """A receipt on its way.

    Attributes:
        topic: Where the station listens.
        payload: The receipt.
    """

    topic: str
    payload: bytes


def open_message(message: Message, tenant: str) -> Delivery:
    """Return what a message brings; what can't be read is `Refused`, never an error.

    Args:
        message: As it came.
        tenant: The only tenant served; empty serves each.
    """
    station = station_of(message.topic)
    if station is None:
        return refuse(message, "the topic is no station's")
    if problem := _message_problem(message, station, tenant):
        return refuse(message, problem)
    if message.topic == station.up("status"):
        return Greeting(station, message.payload, message.received_ms)
    try:
        found = batch.open_batch(message.payload)
    except DecodeError as error:
        return refuse(message, str(error))
    if problem := _batch_problem(found, station):
        return refuse(message, problem)
    ready = prepare(found, message.payload)
    return Accepted(station, ready, message.digest, message.received_ms)


def refuse(message: Message, reason: str) -> Refused:
    """Return the message as one to be kept in quarantine for ``reason``."""
    return Refused(
        topic=message.topic,
        station=station_of(message.topic),
        message=message.payload,
        digest=message.digest,
        reason=reason.encode(errors="replace").decode()[:1_000],
        received_ms=message.received_ms,
    )


def receipts(deliveries: Iterable[Delivery], given_ms: int) -> Iterator[Answer]:
    """Yield the receipts for what the store has committed.

    Args:
        deliveries: All of them durable.
        given_ms: The gateway's clock, in ms since 1970 UTC.
    """
    entries: dict[Station, list[Entry]] = defaultdict(list)
    for delivery in deliveries:
        match delivery:
            case Accepted(station, found, named):
                entries[station].append(Entry(found.counter, named, Result.STORED))
            case Refused(_, Station() as station, _, named, reason):
                refused = Entry(0, named, Result.QUARANTINED, reason)
                entries[station].append(refused)
    for station, given in entries.items():
        for start in range(0, len(given), _ENTRIES):
            some = tuple(given[start : start + _ENTRIES])
            receipt = Receipt(station.station, some, given_ms)
            yield Answer(station.down("receipt"), receipt.encode())


def _message_problem(message: Message, station: Station, tenant: str) -> str:
    """Return why a message can't be taken from ``station``; empty if it can."""
    if tenant and station.tenant != tenant:
        return f"this gateway does not serve {station.tenant!r}"
    if message.topic == station.up("event"):
        return "events are not understood here yet"
    longest = MAX_MESSAGE if message.topic == station.up("batch") else _LONGEST_STATUS
    if message.size > longest:
        return f"the message has {message.size} bytes, over {longest}"
    return ""


def _batch_problem(found: batch.Opened, station: Station) -> str:
    """Return what is wrong with a batch that could be decoded; empty if nothing."""
    if found.station != station.station:
        return f"a batch of station {found.station!r} came from {station.station!r}"
    low, high = _YEARS_MS
    for group in found.groups:
        for name, times in (
            ("utc", group.utc_ms),
            ("captured", group.facts["captured"]),
        ):
            first, last = span_ms(times)
            if (
                first is not None
                and last is not None
                and not low <= first <= last < high
            ):
                return f"a reading has a {name} time outside the years 1900 to 9998"
    return ""

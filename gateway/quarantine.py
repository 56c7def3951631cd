"""Replays messages that could not be read when they came."""

from collections.abc import Iterator
from dataclasses import dataclass
from time import time_ns

from gateway.delivery import Message, open_message
from gateway.store import Accepted, Quarantined, Refused, Store, StoreRefused

_PAGE = 100


@dataclass(frozen=True, slots=True)
class Replayed:
    """What came of one replayed message.

    Attributes:
        id: Its place in the quarantine.
        stored: Whether its readings are in the store now.
        outcome: What came of it, for people.
    """

    id: int
    stored: bool
    outcome: str


def kept(store: Store, after: int = 0) -> Iterator[Quarantined]:
    """Yield all messages in quarantine behind ``after``, in order of arrival."""
    while page := store.quarantine(after, _PAGE):
        yield from page
        after = page[-1].id


def one(store: Store, number: int) -> Quarantined | None:
    """Return one message in quarantine; None if there is none of this id."""
    found = store.quarantine(number - 1, 1)
    return found[0] if found and found[0].id == number else None


def replay(store: Store, message: Quarantined, tenant: str = "") -> Replayed:
    """Try once more to read a message, and store what it brings.

    It stays in quarantine, with what came of it; replayed once more, it adds nothing.

    Args:
        store: Where it is kept.
        message: What to replay.
        tenant: The only tenant served; empty serves each.

    Raises:
        StoreUnavailable: The store can't be written now.
    """
    came = Message.of(message.topic, message.message, message.received_ms)
    delivery = open_message(came, tenant)
    match delivery:
        case Refused(reason=reason):
            done = Replayed(message.id, stored=False, outcome=reason)
        case Accepted():
            done = _commit(store, message, delivery)
        case _:
            done = Replayed(message.id, stored=False, outcome="it holds no readings")
    with store.database.change() as change:
        change.rows(
            "UPDATE quarantine SET replayed_ms = :now, outcome = :outcome "
            "WHERE id = :id",
            now=time_ns() // 1_000_000,
            outcome=done.outcome,
            id=message.id,
        )
    return done


def _commit(store: Store, message: Quarantined, delivery: Accepted) -> Replayed:
    try:
        (found,) = store.commit([delivery])
    except StoreRefused as error:
        return Replayed(message.id, stored=False, outcome=str(error)[:1_000])
    told = f"stored: {found.new} new, {found.known} known, {found.amended} amended"
    return Replayed(message.id, stored=True, outcome=told)

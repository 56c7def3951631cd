"""Messages that could not be read when they came: replayed, or deleted for good."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from time import time_ns

from gateway.access import Access, Principal
from gateway.delivery import Message, open_message
from gateway.store import Accepted, Quarantined, Refused, Store, StoreRefused
from gateway.store.gone import IN_DOUBT

_PAGE = 100
_DELETE = "DELETE FROM quarantine WHERE id = :id RETURNING id"
_NOT_IN_DOUBT = "its readings are not withheld: replay it without --as-new"


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


def kept(store: Store) -> Iterator[Quarantined]:
    """Yield all messages in quarantine, in order of arrival."""
    after = 0
    while page := store.quarantine(after, _PAGE):
        yield from page
        after = page[-1].id


def one(store: Store, number: int) -> Quarantined | None:
    """Return one message in quarantine; None if there is none of this id."""
    found = store.quarantine(number - 1, 1)
    return found[0] if found and found[0].id == number else None


def replay(
    store: Store, message: Quarantined, tenant: str = "", *, as_new: bool = False
) -> Replayed:
    """Try once more to read a message, and store what it brings.

    It stays in quarantine, with what came of it; replayed once more, it adds nothing.

    Args:
        store: Where it is kept.
        message: What to replay.
        tenant: The only tenant served; empty serves each.
        as_new: Whether somebody knows that its readings, which are withheld, are none
            that were erased.

    Raises:
        StoreUnavailable: The store can't be written now.
    """
    if as_new and message.reason != IN_DOUBT:
        return Replayed(message.id, stored=False, outcome=_NOT_IN_DOUBT)
    if message.reason == IN_DOUBT and not as_new:
        # The ledger would know it from then on, and nobody could store it any more.
        return Replayed(message.id, stored=False, outcome=IN_DOUBT)
    came = Message.of(message.topic, message.message, message.received_ms)
    delivery = open_message(came, tenant)
    match delivery:
        case Refused(reason=reason):
            done = Replayed(message.id, stored=False, outcome=reason)
        case Accepted():
            done = _commit(store, message, replace(delivery, as_new=as_new))
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


def batch_of(message: Quarantined) -> tuple[int, int] | None:
    """Return a batch's counter and how many readings it holds.

    Args:
        message: None is returned of what is no batch, or can't be read here either.
    """
    came = Message.of(message.topic, message.message, message.received_ms)
    match open_message(came, ""):
        case Accepted(batch=batch):
            return batch.counter, batch.count
    return None


def delete(access: Access, who: Principal, message: Quarantined, why: str) -> bool:
    """Take a message out of quarantine for good, and note who did it and why.

    Args:
        access: Writes down who did it.
        who: Who asks for it.
        message: What to delete.
        why: For the audit log, which keeps it for good: no value, and nobody's name.

    Returns:
        Whether it was there; if not, nothing is written down.

    Raises:
        StoreUnavailable: The store can't be written now.
    """
    station = message.station
    tenant, name = ("", "no station") if station is None else station
    with access.making(tenant) as change:
        gone = change.rows(_DELETE, id=message.id)
        if gone:
            what = (
                f"message {message.id} of {name}, {len(message.message)} bytes: {why}"
            )
            access.note(change, who, "quarantine.deleted", tenant=tenant, what=what)
    return bool(gone)


def _commit(store: Store, message: Quarantined, delivery: Accepted) -> Replayed:
    try:
        (found,) = store.commit([delivery])
    except StoreRefused as error:
        return Replayed(message.id, stored=False, outcome=str(error)[:1_000])
    told = f"stored: {found.new} new, {found.known} known, {found.amended} amended"
    if found.withheld:
        told += f", {found.withheld} withheld in a message of their own"
    return Replayed(message.id, stored=True, outcome=told)

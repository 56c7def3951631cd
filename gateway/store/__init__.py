"""What the gateway keeps, and what it may ask of the engine that keeps it.

No type here belongs to an engine. Times are ms since 1970 UTC.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.store.database import Database
from gateway.store.rows import Prepared
from protocols.observation import Device, Kind, Reading
from protocols.uplink.topics import Station


class StoreUnavailable(Exception):
    """Nothing was written, and the same may well be written later."""


class StoreRefused(Exception):
    """Nothing was written, and the same never will be: a value does not fit."""


class StoreUnusable(Exception):
    """The store cannot be opened; the text says what the operator can do."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """A batch that could be read.

    Attributes:
        station: By the topic that it came on.
        batch: What it says, ready to be written.
        digest: SHA-256 of the message, 32 bytes.
        received_ms: When it came.
        as_new: Whether somebody knows that none of its readings was erased.
    """

    station: Station
    batch: Prepared
    digest: bytes
    received_ms: int
    as_new: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """A message that could not be read.

    Attributes:
        topic: The topic that it came on.
        station: Whose topic that is; None if it is no station's.
        message: All its bytes.
        digest: SHA-256 of the message, 32 bytes.
        reason: What is wrong with it.
        received_ms: When it came.
    """

    topic: str
    station: Station | None
    message: bytes
    digest: bytes
    reason: str
    received_ms: int


@dataclass(frozen=True, slots=True)
class Greeting:
    """What a station says of itself, to be replaced by the next one.

    Attributes:
        station: By the topic that it came on.
        status: The payload as it came.
        received_ms: When it came.
    """

    station: Station
    status: bytes
    received_ms: int


Delivery = Accepted | Refused | Greeting


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one delivery changed.

    Attributes:
        new: Readings stored by it.
        known: Readings that were stored already.
        amended: Readings that were stored already, and now say something else.
        fork: The station sent other bytes under the same counter before.
        withheld: Readings of which nobody can tell whether they were erased; they are
            in quarantine, see `gateway.store.gone`.
    """

    new: int = 0
    known: int = 0
    amended: int = 0
    fork: bool = False
    withheld: int = 0


@dataclass(frozen=True, slots=True)
class Filter:
    """Which readings are asked for; None is no condition.

    Attributes:
        device: The device's id.
        kind: The kind; None is every kind that is about a person.
        station: The station's id.
        since_ms: True time, inclusive; leaves out readings without one.
        until_ms: True time, exclusive; likewise.
        tenant: Whose stations sent them.
    """

    device: str | None = None
    kind: Kind | None = None
    station: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    tenant: str | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """What one device, or one slot of it, measured in a time.

    Attributes:
        device: The device's id in this store, as of `StoredDevice`.
        slot: Its user slot; -1 is readings without one, None is every slot.
        from_ms: True time, inclusive.
        until_ms: True time, exclusive.
    """

    device: int
    slot: int | None
    from_ms: int
    until_ms: int


@dataclass(frozen=True, slots=True)
class Stored:
    """A reading as it is kept.

    Attributes:
        id: Its place in the order of arrival, from 1.
        device: Its device's id in this store.
        station: The station that sent it first.
        reading: What it sent.
        received_ms: When its batch came.
        amendments: How many other reports of it are kept beside it.
    """

    id: int
    device: int
    station: Station
    reading: Reading
    received_ms: int
    amendments: int


@dataclass(frozen=True, slots=True)
class Amendment:
    """A later report of a stored reading that says something else.

    Attributes:
        stored: The report; its id is the amendment's own.
        digest: Of the batch that brought it, 32 bytes.
        reading: The id of the reading that it amends.
    """

    stored: Stored
    digest: bytes
    reading: int

    @property
    def id(self) -> int:
        """Its place in the order of arrival of amendments."""
        return self.stored.id


@dataclass(frozen=True, slots=True)
class Tally:
    """What is counted of a device's readings of one kind.

    Attributes:
        kind: The kind.
        readings: How many are stored.
        flagged: How many of them have a quality flag.
        first_ms: The earliest true time among them; None if none has one.
        last_ms: The latest.
    """

    kind: Kind
    readings: int
    flagged: int
    first_ms: int | None
    last_ms: int | None


@dataclass(frozen=True, slots=True)
class StoredDevice:
    """A device as it is kept.

    Attributes:
        id: Its place in the order of arrival, from 1.
        tenant: Whose device it is.
        device: What it last said of itself.
        first_seen_ms: When its first batch came.
        last_seen_ms: When its latest batch came.
        tallies: One for each kind of reading that it sent.
    """

    id: int
    tenant: str
    device: Device
    first_seen_ms: int
    last_seen_ms: int
    tallies: tuple[Tally, ...]


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A message that is kept because it could not be read.

    Attributes:
        id: Its place in the order of arrival, from 1.
        topic: The topic that it came on.
        station: Whose topic that is; None if it is no station's.
        reason: What is wrong with it.
        message: All its bytes.
        received_ms: When it first came.
        last_received_ms: When it last came.
        deliveries: How often it came.
        replayed_ms: When it was last replayed; None if never.
        outcome: What came of that.
    """

    id: int
    topic: str
    station: Station | None
    reason: str
    message: bytes
    received_ms: int
    last_received_ms: int
    deliveries: int
    replayed_ms: int | None = None
    outcome: str | None = None


class Store(Protocol):
    """Keeps readings exactly once, by the key that `protocols.observation` makes.

    Any number may read while others commit, and see whole commits only.
    """

    @property
    def commits_at_once(self) -> int:
        """How many callers may commit at once; order is none between them."""
        ...

    @property
    def database(self) -> Database:
        """The same database, for what is kept beside the readings."""
        ...

    def commit(self, deliveries: Sequence[Delivery]) -> list[Outcome]:
        """Keep all of ``deliveries`` durably, or nothing.

        Returns:
            What each of them changed, in their order.

        Raises:
            StoreUnavailable: Nothing was written; try again later.
            StoreRefused: Nothing was written; one of them can't be kept as it is.
        """
        ...

    def readings(self, which: Filter, after: int, limit: int) -> list[Stored]:
        """Return at most ``limit`` readings behind ``after``, in order of arrival.

        Raises:
            StoreUnavailable: The store can't be read now. So do all below.
        """
        ...

    def of_device(
        self,
        spans: Sequence[Span],
        kinds: Collection[Kind] | None,
        after: tuple[int, int] | None,
        limit: int,
    ) -> list[Stored]:
        """Return readings of true times within ``spans``, in order of that time.

        Args:
            spans: None of which overlap.
            kinds: Which kinds; None is every kind.
            after: True time and id of the last one seen; None is from the start.
            limit: How many at most.
        """
        ...

    def reading(self, number: int) -> Stored | None:
        """Return one reading by its id."""
        ...

    def amendments(self, number: int) -> list[Amendment]:
        """Return the other reports of one reading, in order of arrival."""
        ...

    def amended(self, after: int, limit: int) -> list[Amendment]:
        """Return at most ``limit`` amendments behind ``after``, in order of arrival."""
        ...

    def last(self) -> int:
        """Return the id of the reading that arrived last; 0 if there is none."""
        ...

    def last_amended(self) -> int:
        """Return the id of the amendment that arrived last; 0 if there is none."""
        ...

    def devices(self, after: int, limit: int) -> list[StoredDevice]:
        """Return at most ``limit`` devices behind ``after``, in order of arrival."""
        ...

    def quarantine(self, after: int, limit: int) -> list[Quarantined]:
        """Return at most ``limit`` kept messages behind ``after``."""
        ...

    def close(self) -> None:
        """Close the store; nothing may be asked of it afterwards."""
        ...

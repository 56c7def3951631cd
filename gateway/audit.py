"""The record of who did and saw what: rows that a chain of hashes holds together.

There is one chain for each tenant. A row's hash is the SHA-256 of the hash before it
and of the row as canonical CBOR, so no row can be changed, taken out or moved without
all behind it being made anew. Who can do that to a whole chain is found by a head noted
elsewhere: its number and hash.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

import cbor2

from gateway.store.database import Change, Database, Scalar

_START = bytes(32)
_PAGE = 1_000

_NEXT = """
    INSERT INTO audit_head (tenant, sequence, hash) VALUES (:tenant, :rows, :start)
    ON CONFLICT (tenant) DO UPDATE SET sequence = audit_head.sequence + :rows
    RETURNING sequence, hash
"""
_WRITE = """
    INSERT INTO audit (tenant, sequence, at_ms, principal, name, action, patient,
        programme, purpose, what, hash)
    VALUES (:tenant, :sequence, :at_ms, :principal, :name, :action, :patient,
        :programme, :purpose, :what, :hash)
"""
_TOLD = ("tenant", "sequence", "at_ms", "principal", "name", "action", "patient",
         "programme", "purpose", "what")  # fmt: skip


class Asking(Protocol):
    """What the record tells of who asks; see `gateway.access.Principal`."""

    @property
    def id(self) -> int: ...
    @property
    def tenant(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def programme(self) -> int | None: ...
    @property
    def purpose(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Entry:
    """One row.

    Attributes:
        tenant: Whose chain; empty is of what concerns no one tenant.
        sequence: From 1, without gaps.
        at_ms: When, ms since 1970 UTC.
        principal: Who, by `Principal.id`.
        name: And by name, as it was then.
        action: What was done, as ``readings.list``.
        patient: Whom about, by `Patient.id`.
        programme: In which programme.
        purpose: For which of `Purpose`; empty is none in particular.
        what: Which of it, by ids and counts.
        hash: 32 bytes.
    """

    tenant: str
    sequence: int
    at_ms: int
    principal: int
    name: str
    action: str
    patient: int | None
    programme: int | None
    purpose: str
    what: str
    hash: bytes

    @property
    def id(self) -> int:
        """Its place in the list of its chain."""
        return self.sequence


@dataclass(frozen=True, slots=True)
class Head:
    """Where a chain ends.

    Attributes:
        tenant: Whose chain.
        sequence: The last row's; 0 is none yet.
        hash: That row's.
    """

    tenant: str
    sequence: int
    hash: bytes


class Tampered(Exception):
    """A chain does not hold; the text names the row."""


class Audit:
    """Writes the record, lists it, and checks it.

    Args:
        database: Where it is.
        now_ms: The clock, ms since 1970 UTC.
    """

    def __init__(self, database: Database, now_ms: Callable[[], int]) -> None:
        self._database, self._now_ms = database, now_ms

    def write(
        self,
        change: Change,
        who: Asking,
        action: str,
        *,
        tenant: str,
        patients: Sequence[int | None],
        what: str,
    ) -> None:
        """Write a row for each patient within ``change``, which holds the chain.

        Args:
            change: The transaction.
            who: Who asks.
            action: What is done, as ``readings.list``.
            tenant: Whose chain.
            patients: Whom about; None is nobody in particular.
            what: Which of it, by ids and counts; never a value.
        """
        if not patients:
            return
        # This statement comes first: it makes all who write in this chain wait.
        ((sequence, before),) = change.rows(
            _NEXT, tenant=tenant, start=_START, rows=len(patients)
        )
        link, at_ms = bytes(before), self._now_ms()
        first = int(sequence) - len(patients) + 1
        for number, patient in enumerate(patients, first):
            row: tuple[Scalar, ...] = (
                tenant,
                number,
                at_ms,
                who.id,
                who.name,
                action,
                patient,
                who.programme,
                str(who.purpose or ""),
                what,
            )
            link = _link(link, row)
            change.rows(_WRITE, hash=link, **dict(zip(_TOLD, row, strict=True)))
        change.rows(
            "UPDATE audit_head SET hash = :hash WHERE tenant = :tenant",
            hash=link,
            tenant=tenant,
        )

    def hold(self, change: Change, tenant: str) -> None:
        """Make all others who write in a chain wait until ``change`` ends."""
        change.rows(_NEXT, tenant=tenant, start=_START, rows=0)

    def entries(
        self, tenant: str, after: int, limit: int, *, patient: int | None = None
    ) -> list[Entry]:
        """Return at most ``limit`` rows of a chain behind ``after``, oldest first.

        Args:
            tenant: Whose chain.
            after: The sequence of the last one seen; 0 is from the beginning.
            limit: How many at most.
            patient: Only what is about this patient.
        """
        which = "" if patient is None else "AND patient = :patient"
        about = {} if patient is None else {"patient": patient}
        rows = self._database.rows(
            f"SELECT {', '.join(_TOLD)}, hash FROM audit WHERE tenant = :tenant "  # noqa: S608
            f"AND sequence > :after {which} ORDER BY sequence LIMIT :limit",
            tenant=tenant,
            after=after,
            limit=limit,
            **about,
        )
        return [Entry(*row) for row in rows]

    def heads(self) -> list[Head]:
        """Return where each chain ends, by tenant."""
        rows = self._database.rows(
            "SELECT tenant, sequence, hash FROM audit_head ORDER BY tenant"
        )
        return [Head(row[0], row[1], bytes(row[2])) for row in rows]

    def head(self, tenant: str) -> Head:
        """Return where one chain ends."""
        found = [head for head in self.heads() if head.tenant == tenant]
        return found[0] if found else Head(tenant, 0, _START)

    def tenants(self) -> set[str]:
        """Return whose chains there are, by their rows."""
        rows = self._database.rows("SELECT DISTINCT tenant FROM audit")
        return {row[0] for row in rows}

    def verify(self, tenant: str, *noted: Head) -> Head:
        """Check a whole chain; return where it ends.

        Args:
            tenant: Whose chain.
            noted: Heads of it that were noted before, and kept elsewhere.

        Raises:
            Tampered: A row was changed, taken out, put in or moved; rows are missing
                at the end; or the chain is not the one whose head was noted.
        """
        heads = [head for head in (self.head(tenant), *noted) if head.sequence]
        last = Head(tenant, 0, _START)
        for entry in self._chain(tenant):
            last = _next(last, entry)
            for head in heads:
                if head.sequence == last.sequence and head.hash != last.hash:
                    raise Tampered(
                        f"row {last.sequence} of {_name(tenant)} is not the one whose "
                        "hash was noted: all up to it was made anew"
                    )
        for head in heads:
            if head.sequence > last.sequence:
                raise Tampered(
                    f"{_name(tenant)} ends at row {last.sequence}, and row "
                    f"{head.sequence} was noted: its end was cut off"
                )
        # More may have been written meanwhile, and then the head has moved on too.
        if self.head(tenant).sequence < last.sequence:
            raise Tampered(f"row {last.sequence} of {_name(tenant)} was put in")
        return last

    def _chain(self, tenant: str) -> Iterator[Entry]:
        after = 0
        while page := self.entries(tenant, after, _PAGE):
            yield from page
            after = page[-1].sequence


def _next(last: Head, entry: Entry) -> Head:
    """Return the head behind ``entry``, if that is what follows ``last``."""
    if entry.sequence != last.sequence + 1:
        raise Tampered(f"row {last.sequence + 1} of {_name(entry.tenant)} is missing")
    if _link(last.hash, _row(entry)) != entry.hash:
        raise Tampered(
            f"row {entry.sequence} of {_name(entry.tenant)} is not what was written"
        )
    return Head(entry.tenant, entry.sequence, entry.hash)


def _row(entry: Entry) -> tuple[Scalar, ...]:
    return (
        entry.tenant,
        entry.sequence,
        entry.at_ms,
        entry.principal,
        entry.name,
        entry.action,
        entry.patient,
        entry.programme,
        entry.purpose,
        entry.what,
    )


def _link(before: bytes, row: tuple[Scalar, ...]) -> bytes:
    return sha256(before + cbor2.dumps(row, canonical=True)).digest()


def _name(tenant: str) -> str:
    return f"the audit log of tenant {tenant!r}" if tenant else "the audit log"

"""What changed hands: where to look for readings that came to a patient, or went.

Whose a reading is follows from attributions, claims and names. A change of one of them
may move any number of readings, so what is written down of it, in the same transaction,
is whose and of what time they are, and not which.
"""

from dataclasses import dataclass

from gateway.store.database import Change, Database
from protocols.observation import Kind

OPEN_MS = 1 << 62
"""An end that is still open."""

ALWAYS_MS = 0
"""A beginning that is from ever."""

_ADD = """
    INSERT INTO revision (id, tenant, patient, device, reading, kind, from_ms,
        until_ms, made_ms)
    SELECT :id, tenant, id, :device, :reading, :kind, :from_ms, :until_ms, :made_ms
    FROM patient WHERE id = :patient
"""
_LISTED = """
    SELECT id, tenant, patient, device, reading, kind, from_ms, until_ms, made_ms
    FROM revision WHERE id > :after AND (:tenant = '' OR tenant = :tenant)
        AND (:patient = 0 OR patient = :patient)
    ORDER BY id LIMIT :limit
"""


@dataclass(frozen=True, slots=True)
class Revision:
    """That some of a patient's readings came to them, or went.

    Attributes:
        id: From 1, in order of commit; not all are there.
        tenant: The patient's.
        patient: By `Patient.id`.
        device: Of which device, by `StoredDevice.id`; None is any.
        reading: The one reading that it is about; None is all of that time.
        kind: Of that one reading; None is not known any more.
        from_ms: True time, inclusive, ms since 1970 UTC; `ALWAYS_MS` is from ever.
        until_ms: True time, exclusive; `OPEN_MS` has no end. A reading without a true
            time is from ever and without end.
        made_ms: When it was made.
    """

    id: int
    tenant: str
    patient: int
    device: int | None
    reading: int | None
    kind: Kind | None
    from_ms: int
    until_ms: int
    made_ms: int


def hold(change: Change) -> int:
    """Make all others who revise something wait until ``change`` ends.

    What gets its id after this is in order of commit with all that does so. It is the
    last that a transaction waits for but for rows of its tenant, whose log it holds.

    Returns:
        The id of the last revision.
    """
    ((last,),) = change.rows("UPDATE revised SET last = last RETURNING last")
    return int(last)


def add(
    change: Change,
    patient: int,
    made_ms: int,
    from_ms: int = ALWAYS_MS,
    until_ms: int = OPEN_MS,
    *,
    device: int | None = None,
    reading: int | None = None,
    kind: Kind | None = None,
) -> None:
    """Write a revision down, and `hold`; the arguments are those of `Revision`."""
    ((number,),) = change.rows("UPDATE revised SET last = last + 1 RETURNING last")
    change.rows(
        _ADD,
        id=number,
        patient=patient,
        device=device,
        reading=reading,
        kind=None if kind is None else kind.value,
        from_ms=from_ms,
        until_ms=until_ms,
        made_ms=made_ms,
    )


class Revisions:
    """Reads revisions in order of commit.

    Args:
        database: Where they are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def last(self) -> int:
        """Return the id of the last one; 0 if there never was one."""
        ((last,),) = self._database.rows("SELECT last FROM revised")
        return int(last)

    def listed(
        self, after: int, limit: int, *, tenant: str = "", patient: int = 0
    ) -> list[Revision]:
        """Return at most ``limit`` revisions behind ``after``, in order of id.

        Args:
            after: The id of the last one seen.
            limit: How many at most.
            tenant: Whose; empty is every tenant's.
            patient: Only theirs; 0 is everybody's.
        """
        rows = self._database.rows(
            _LISTED, after=after, limit=limit, tenant=tenant, patient=patient
        )
        return [
            Revision(
                *(number, of_tenant, whose, device, reading),
                None if kind is None else Kind(kind),
                *times,
            )
            for number, of_tenant, whose, device, reading, kind, *times in rows
        ]

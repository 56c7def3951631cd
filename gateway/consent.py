"""Programmes, and what patients agreed that each may read.

A consent names one patient, one programme and with it one purpose; it may be limited to
kinds of readings and to an interval of their true time. It ends when it expires or is
withdrawn, and is never changed: who agrees to something else gives another one.
"""

from dataclasses import dataclass
from enum import StrEnum

from gateway import revision
from gateway.store.database import Change, Database, Row
from protocols.observation import Kind


class Purpose(StrEnum):
    """What a programme reads for.

    Source: HL7 v3 PurposeOfUse.
    """

    TREATMENT = "TREAT"
    PAYMENT = "HPAYMT"
    RESEARCH = "HRESCH"


@dataclass(frozen=True, slots=True)
class Programme:
    """Somebody who reads about consenting patients: a clinic, an insurer, a study.

    Attributes:
        id: From 1.
        tenant: Whose patients it reads about.
        name: 1 to 64 characters, unique in the tenant.
        purpose: What it reads for; another purpose is another programme.
        created_ms: ms since 1970 UTC.
    """

    id: int
    tenant: str
    name: str
    purpose: Purpose
    created_ms: int


@dataclass(frozen=True, slots=True)
class Grant:
    """What of one patient may be seen.

    Attributes:
        kinds: Which kinds; None is every kind.
        from_ms: Readings of this true time on, ms since 1970 UTC; None is all before.
        until_ms: Readings before this true time; None is all behind.
    """

    kinds: frozenset[Kind] | None = None
    from_ms: int | None = None
    until_ms: int | None = None

    @property
    def end_ms(self) -> int:
        """The true time before which it ends; `OPEN_MS` is never."""
        return revision.OPEN_MS if self.until_ms is None else self.until_ms

    def covers(self, kind: Kind, utc_ms: int | None) -> bool:
        """Whether it is for readings of this kind and true time.

        A reading without a true time is covered only where no time limits the grant.
        """
        if self.kinds is not None and kind not in self.kinds:
            return False
        if utc_ms is None:
            return self.from_ms is None and self.until_ms is None
        return (self.from_ms is None or self.from_ms <= utc_ms) and (
            self.until_ms is None or utc_ms < self.until_ms
        )


@dataclass(frozen=True, slots=True)
class Consent:
    """That a patient agreed.

    Attributes:
        id: From 1.
        patient: By `Patient.id`.
        programme: By `Programme.id`.
        grant: To what.
        expires_ms: When it ends by itself, ms since 1970 UTC.
        given_ms: When it was given.
        given_by: Who wrote it down, by `Principal.name`.
        withdrawn_ms: When it was withdrawn; None is not.
    """

    id: int
    patient: int
    programme: int
    grant: Grant
    expires_ms: int
    given_ms: int
    given_by: str
    withdrawn_ms: int | None = None

    def holds(self, at_ms: int) -> bool:
        """Whether it holds at a time."""
        return self.withdrawn_ms is None and self.given_ms <= at_ms < self.expires_ms


_COLUMNS = """id, patient, programme, kinds, from_ms, until_ms, expires_ms, given_ms,
    given_by, withdrawn_ms"""
_HOLDS = "withdrawn_ms IS NULL AND given_ms <= :at_ms AND expires_ms > :at_ms"


class Consents:
    """Keeps programmes and consents."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_programme(
        self, change: Change, tenant: str, name: str, purpose: Purpose, now_ms: int
    ) -> Programme | None:
        """Write a new programme down; return None if the name is another one's."""
        revision.hold(change)  # so that ids are in order of commit, for who walks them
        rows = change.rows(
            "INSERT INTO programme (tenant, name, purpose, created_ms) "
            "VALUES (:tenant, :name, :purpose, :now_ms) "
            "ON CONFLICT (tenant, name) DO NOTHING RETURNING id",
            tenant=tenant,
            name=name,
            purpose=purpose.value,
            now_ms=now_ms,
        )
        return Programme(rows[0][0], tenant, name, purpose, now_ms) if rows else None

    def programmes(self, tenant: str, after: int, limit: int) -> list[Programme]:
        """Return at most ``limit`` programmes behind ``after``, in order of id.

        Args:
            tenant: Whose; empty is every tenant's.
            after: The id of the last one seen; 0 is from the beginning.
            limit: How many at most.
        """
        where = "AND tenant = :tenant" if tenant else ""
        rows = self._database.rows(
            "SELECT id, tenant, name, purpose, created_ms FROM programme "  # noqa: S608
            f"WHERE id > :after {where} ORDER BY id LIMIT :limit",
            after=after,
            limit=limit,
            **({"tenant": tenant} if tenant else {}),
        )
        return [
            Programme(row[0], row[1], row[2], Purpose(row[3]), row[4]) for row in rows
        ]

    def programme(self, number: int, tenant: str = "") -> Programme | None:
        """Return one programme by id; None if there is none in ``tenant``."""
        found = self.programmes(tenant, number - 1, 1)
        return found[0] if found and found[0].id == number else None

    def give(self, change: Change, consent: Consent) -> Consent:
        """Write a consent down; return it with its id.

        Args:
            change: The transaction.
            consent: Whose id is not looked at; patient and programme are of one tenant.
        """
        grant = consent.grant
        kinds = ",".join(sorted(grant.kinds)) if grant.kinds is not None else ""
        ((number,),) = change.rows(
            "INSERT INTO consent (patient, programme, kinds, from_ms, until_ms, "
            "expires_ms, given_ms, given_by) VALUES (:patient, :programme, :kinds, "
            ":from_ms, :until_ms, :expires_ms, :given_ms, :given_by) RETURNING id",
            patient=consent.patient,
            programme=consent.programme,
            kinds=kinds,
            from_ms=grant.from_ms,
            until_ms=grant.until_ms,
            expires_ms=consent.expires_ms,
            given_ms=consent.given_ms,
            given_by=consent.given_by,
        )
        return Consent(
            number,
            consent.patient,
            consent.programme,
            grant,
            consent.expires_ms,
            consent.given_ms,
            consent.given_by,
        )

    def withdraw(
        self, change: Change, number: int, patient: int, by: str, now_ms: int
    ) -> bool:
        """End a consent at once; return whether it was there, and not withdrawn yet."""
        return bool(
            change.rows(
                "UPDATE consent SET withdrawn_ms = :now_ms, withdrawn_by = :by "
                "WHERE id = :number AND patient = :patient AND withdrawn_ms IS NULL "
                "RETURNING id",
                number=number,
                patient=patient,
                by=by,
                now_ms=now_ms,
            )
        )

    def of_patient(self, patient: int) -> list[Consent]:
        """Return all that a patient ever agreed to, ended or not, in order of id."""
        return self._consents("patient = :patient", patient=patient)

    def granted(self, programme: int, patient: int, at_ms: int) -> tuple[Grant, ...]:
        """Return what a programme may see of a patient at a time."""
        found = self._consents(
            f"programme = :programme AND patient = :patient AND {_HOLDS}",
            programme=programme,
            patient=patient,
            at_ms=at_ms,
        )
        return tuple(consent.grant for consent in found)

    def patients(self, programme: int, at_ms: int) -> frozenset[int]:
        """Return whom a programme may see anything of at a time, by `Patient.id`."""
        rows = self._database.rows(
            "SELECT DISTINCT patient FROM consent "  # noqa: S608
            f"WHERE programme = :programme AND {_HOLDS}",
            programme=programme,
            at_ms=at_ms,
        )
        return frozenset(row[0] for row in rows)

    def _consents(self, where: str, **values: int) -> list[Consent]:
        rows = self._database.rows(
            f"SELECT {_COLUMNS} FROM consent WHERE {where} ORDER BY id",  # noqa: S608
            **values,
        )
        return [_consent(row) for row in rows]


def _consent(row: Row) -> Consent:
    kinds = frozenset(Kind(name) for name in row[3].split(",")) if row[3] else None
    return Consent(row[0], row[1], row[2], Grant(kinds, row[4], row[5]), *row[6:])

"""Patients, and by their attributions which readings are theirs."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from gateway import revision
from gateway.attribution import (
    ALWAYS_MS,
    OPEN_MS,
    Attribution,
    Attributions,
    Stale,
    Taken,
    Theirs,
    Unknown,
)
from gateway.store import Span, Stored, marks
from gateway.store.database import Change, Database, Row, Scalar

__all__ = ["ALWAYS_MS", "OPEN_MS", "Attribution", "Patient", "Registry",
           "Stale", "Taken", "Unknown"]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Patient:
    """A patient as they are kept.

    Attributes:
        id: From 1; 0 of one that is not kept yet.
        tenant: Whose patient they are.
        name: An opaque identifier, as P-0001: 1 to 64 characters, unique in the tenant.
        identifiers: Others' names of them, as system and value.
        family: Empty is not kept.
        given: Likewise.
        birth_date: YYYY, YYYY-MM or YYYY-MM-DD; empty is not kept.
        gender: male, female, other, unknown; empty is not kept.
        created_ms: When they were first written down, ms since 1970 UTC.
        version: From 1, one more with each change.
        updated_ms: When they were last changed.
        named_ms: Since when they have their name.
    """

    id: int
    tenant: str
    name: str
    identifiers: tuple[tuple[str, str], ...] = ()
    family: str = ""
    given: str = ""
    birth_date: str = ""
    gender: str = ""
    created_ms: int = 0
    version: int = 1
    updated_ms: int = 0
    named_ms: int = 0

    def opaque(self) -> "Patient":
        """Return them without what tells a stranger who they are."""
        return replace(self, identifiers=(), family="", given="", birth_date="")


_PATIENT = """id, tenant, name, family, given, birth_date, gender, created_ms, version,
    updated_ms, named_ms"""
_ADD = """
    INSERT INTO patient (tenant, name, family, given, family_folded, given_folded,
        birth_date, gender, created_ms, updated_ms, named_ms, version)
    VALUES (:tenant, :name, :family, :given, :family_folded, :given_folded,
        :birth_date, :gender, :now_ms, :now_ms, :now_ms, 1)
    ON CONFLICT (tenant, name) DO NOTHING RETURNING id
"""
_REVISE = """
    UPDATE patient SET
        named_ms = CASE name WHEN :name THEN named_ms ELSE :now_ms END,
        name = :name, family = :family, given = :given,
        family_folded = :family_folded, given_folded = :given_folded,
        birth_date = :birth_date, gender = :gender, updated_ms = :now_ms,
        version = version + 1
    WHERE id = :id RETURNING version, named_ms
"""


_FEW = 10_000  # patients, as many as are asked for by id whatever else is asked
_IDENTIFIED = """p.id IN (
    SELECT i.patient FROM patient_identifier i
    WHERE i.tenant = p.tenant AND i.value = :value {})"""
_SYSTEM = "AND i.system = :system"


class Registry:
    """Keeps patients, and says which readings are theirs.

    Whatever changes something takes a `Change`, so that it is durable together with
    the record of who made it (`Access.recorded`), or in one transaction with others.

    Attributes:
        attributions: Which device's readings of what time are whose.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.attributions = Attributions(database)

    def patient(self, number: int, tenant: str = "") -> Patient | None:
        """Return one patient by id; None if there is none in ``tenant``.

        Args:
            number: The id.
            tenant: Whose; empty is every tenant's.
        """
        found = self._patients(["p.id = :number"], 1, tenant, number=number)
        return found[0] if found else None

    def patients(
        self,
        tenant: str,
        after: int,
        limit: int,
        *,
        name: str | None = None,
        family: str | None = None,
        given: str | None = None,
        birth_date: str | None = None,
        gender: str | None = None,
        identifier: tuple[str | None, str] | None = None,
        among: frozenset[int] | None = None,
    ) -> list[Patient]:
        """Return at most ``limit`` patients behind ``after``, in order of id.

        Args:
            tenant: Whose; empty is every tenant's.
            after: The id of the last one seen; 0 is from the beginning.
            limit: How many at most.
            name: Exactly.
            family: What the family name begins with, in any case.
            given: Likewise.
            birth_date: What the date begins with: a year is all of its days.
            gender: Exactly.
            identifier: System, None for any, and value, exactly.
            among: Only these, as of `Access.visible`; None is everybody.
        """
        where, values = ["p.id > :after"], marks.given(after=after)
        for column, exact in (("name", name), ("gender", gender)):
            if exact is not None:
                where.append(f"p.{column} = :{column}")
                values[column] = exact
        for column, start in (
            ("family_folded", family and family.casefold()),
            ("given_folded", given and given.casefold()),
            ("birth_date", birth_date),
        ):
            if start:
                where.append(f"substr(p.{column}, 1, {len(start)}) = :{column}")
                values[column] = start
        if identifier is not None:
            where.append(_IDENTIFIED.format("" if identifier[0] is None else _SYSTEM))
            values |= marks.given(system=identifier[0], value=identifier[1])
        if among is None:
            return self._patients(where, limit, tenant, **values)
        if len(where) > 1 and len(among) > _FEW:
            return self._looked_through(where, limit, tenant, values, among)
        found: list[Patient] = []
        wanted = sorted(number for number in among if number > after)
        while wanted and len(found) < limit:
            some, wanted = wanted[: marks.AT_ONCE], wanted[marks.AT_ONCE :]
            listed, numbers = marks.listed(some)
            found += self._patients(
                [*where, f"p.id IN ({listed})"], limit, tenant, **values, **numbers
            )
        return found[:limit]

    def add(self, change: Change, patient: Patient, now_ms: int) -> Patient:
        """Write a new patient down; return them with their id.

        Args:
            change: The transaction.
            patient: Whose id, version and times are not looked at.
            now_ms: The time, ms since 1970 UTC.

        Raises:
            Taken: The name, or an identifier, is another one's in this tenant.
        """
        revision.hold(change)  # so that ids are in order of commit, for who walks them
        rows = change.rows(_ADD, tenant=patient.tenant, now_ms=now_ms, **_told(patient))
        if not rows:
            raise Taken(f"the name {patient.name!r} is another patient's")
        added = replace(
            patient,
            id=rows[0][0],
            version=1,
            created_ms=now_ms,
            updated_ms=now_ms,
            named_ms=now_ms,
        )
        _identify(change, added)
        # Stations may have named them before they were written down.
        revision.add(change, added.id, now_ms)
        return added

    def revise(self, change: Change, patient: Patient, now_ms: int) -> Patient:
        """Replace what is kept of a patient; return them with their new version.

        Args:
            change: The transaction.
            patient: By its id and tenant; its version is the one that was read.
            now_ms: The time, ms since 1970 UTC.

        Raises:
            Stale: They are of another version by now.
            Unknown: There is no such patient.
            Taken: As for `add`.
        """
        # It waits for whoever else is changing them.
        rows = change.rows(
            "UPDATE patient SET version = version WHERE id = :id AND tenant = :tenant "
            "RETURNING version, created_ms, name",
            id=patient.id,
            tenant=patient.tenant,
        )
        if not rows:
            raise Unknown(f"there is no patient {patient.id}")
        if rows[0][0] != patient.version:
            raise Stale(f"patient {patient.id} is of version {rows[0][0]} by now")
        others = change.rows(
            "SELECT id FROM patient WHERE tenant = :tenant AND name = :name",
            tenant=patient.tenant,
            name=patient.name,
        )
        if others and others[0][0] != patient.id:
            raise Taken(f"the name {patient.name!r} is another patient's")
        ((version, named_ms),) = change.rows(
            _REVISE, id=patient.id, now_ms=now_ms, **_told(patient)
        )
        revised = replace(
            patient,
            version=version,
            created_ms=rows[0][1],
            updated_ms=now_ms,
            named_ms=named_ms,
        )
        change.rows("DELETE FROM patient_identifier WHERE patient = :id", id=patient.id)
        _identify(change, revised)
        if rows[0][2] != revised.name:
            revision.add(change, revised.id, now_ms)
        return revised

    def spans(self, patient: int) -> list[Span]:
        """Return what of which device is a patient's now, as `Attributions.spans`."""
        return self.attributions.spans(patient)

    def whose(self, stored: Sequence[Stored]) -> list[int | None]:
        """Return whose each reading is, as `Attributions.whose`."""
        return self.attributions.whose(stored)

    def theirs(self, stored: Sequence[Stored]) -> list[Theirs | None]:
        """Return whose each reading is, and why, as `Attributions.theirs`."""
        return self.attributions.theirs(stored)

    def device(self, tenant: str, name: str) -> int | None:
        """Return the `StoredDevice.id` of a tenant's device; None if there is none.

        Args:
            tenant: Whose.
            name: The device's own id.
        """
        rows = self._database.rows(
            "SELECT id FROM device WHERE tenant = :tenant AND device = :name",
            tenant=tenant,
            name=name,
        )
        return rows[0][0] if rows else None

    def _looked_through(
        self,
        where: list[str],
        limit: int,
        tenant: str,
        values: dict[str, Scalar],
        among: frozenset[int],
    ) -> list[Patient]:
        """Return those of ``among`` in the pages of what is searched for."""
        found: list[Patient] = []
        while some := self._patients(where, marks.AT_ONCE, tenant, **values):
            found += [one for one in some if one.id in among]
            if len(found) >= limit or len(some) < marks.AT_ONCE:
                break
            values = values | {"after": some[-1].id}
        return found[:limit]

    def _patients(
        self, where: list[str], limit: int, tenant: str, **values: Scalar
    ) -> list[Patient]:
        if tenant:
            where, values = [*where, "p.tenant = :tenant"], {**values, "tenant": tenant}
        rows = self._database.rows(
            f"SELECT {_PATIENT} FROM patient p "  # noqa: S608
            f"WHERE {' AND '.join(where)} ORDER BY p.id LIMIT :limit",
            limit=limit,
            **values,
        )
        known: dict[int, list[tuple[str, str]]] = defaultdict(list)
        for number, system, value in marks.among(
            self._database,
            "SELECT patient, system, value FROM patient_identifier "
            "WHERE patient IN ({}) ORDER BY system, value",
            {row[0] for row in rows},
        ):
            known[number].append((system, value))
        return [
            replace(_patient(row), identifiers=tuple(known[row[0]])) for row in rows
        ]


def _patient(row: Row) -> Patient:
    return Patient(
        id=row[0],
        tenant=row[1],
        name=row[2],
        family=row[3],
        given=row[4],
        birth_date=row[5],
        gender=row[6],
        created_ms=row[7],
        version=row[8],
        updated_ms=row[9],
        named_ms=row[10],
    )


def _identify(change: Change, patient: Patient) -> None:
    """Write a patient's identifiers down.

    Raises:
        Taken: One of them is another patient's in this tenant.
    """
    for system, value in patient.identifiers:
        if not change.rows(
            "INSERT INTO patient_identifier (tenant, value, system, patient) "
            "VALUES (:tenant, :value, :system, :patient) "
            "ON CONFLICT (tenant, value, system) DO NOTHING RETURNING patient",
            tenant=patient.tenant,
            value=value,
            system=system,
            patient=patient.id,
        ):
            raise Taken(f"the identifier {value!r} of {system!r} is another patient's")


def _told(patient: Patient) -> dict[str, Scalar]:
    return {
        "name": patient.name,
        "family": patient.family,
        "given": patient.given,
        "family_folded": patient.family.casefold(),
        "given_folded": patient.given.casefold(),
        "birth_date": patient.birth_date,
        "gender": patient.gender,
    }

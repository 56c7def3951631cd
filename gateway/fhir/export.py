"""Bulk exports: what was asked for is kept, and the files are made on the way.

A file is read from the store while it is fetched, up to the reading that was the last
one when the export was asked for, and by the consents that hold at that moment. So no
copy of anybody's data lies about, any gateway can serve any file, and a consent that is
withdrawn meanwhile counts.

Source: HL7 Bulk Data Access 2.0, $export.
"""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass

from gateway.access import Access, Principal
from gateway.exact import encode
from gateway.fhir.dates import instant_ms
from gateway.fhir.elements import Resource
from gateway.fhir.patient import patient
from gateway.fhir.records import Records
from gateway.registry import Patient
from gateway.store import Store
from gateway.store.database import Database, Row

TYPES = ("Patient", "Device", "Observation")

_KEPT_MS = 24 * 60 * 60 * 1000
# What is timed before the last export may be committed after it: a commit takes a
# while, and gateways' clocks differ.
_SLACK_MS = 120_000
_STEP = 200
_COLUMNS = """id, tenant, principal, request, types, since_ms, through_id, chunks,
    made_ms, expires_ms"""


@dataclass(frozen=True, slots=True)
class Export:
    """An export that somebody asked for.

    Attributes:
        id: A random name.
        tenant: Of who asked.
        principal: Who asked, by `Principal.id`.
        request: The address that was asked.
        types: Of which resources.
        since_ms: Only what came or changed since, ms since 1970 UTC; None is all.
        through: The id of the last reading that belongs to it.
        chunks: By which files patients are divided.
        made_ms: When it was asked for.
        expires_ms: When it is gone.
    """

    id: str
    tenant: str
    principal: int
    request: str
    types: tuple[str, ...]
    since_ms: int | None
    through: int
    chunks: tuple[int, ...]
    made_ms: int
    expires_ms: int

    def files(self) -> list[tuple[str, int]]:
        """Return the files of it, by type and number."""
        whole = [("Device", 0)] if "Device" in self.types and self.chunks else []
        return whole + [
            (kind, chunk)
            for kind in self.types
            if kind != "Device"
            for chunk in self.chunks
        ]


class Exports:
    """Keeps exports, and reads their files.

    Args:
        store: Where everything is.
        records: What may be seen of it.
        access: Where it is written down who exported whom.
        chunk: How many patients' ids a file is for.
    """

    def __init__(
        self, store: Store, records: Records, access: Access, chunk: int = 1_000
    ) -> None:
        self._store, self._records, self._access = store, records, access
        self._chunk = chunk
        self._database: Database = store.database

    def begin(
        self, who: Principal, request: str, types: tuple[str, ...], since_ms: int | None
    ) -> Export:
        """Keep an export that was asked for now.

        Args:
            who: Who asked.
            request: The address that was asked.
            types: Some of `TYPES`.
            since_ms: As of `Export`.
        """
        now_ms = self._access.now_ms()
        made = Export(
            id=secrets.token_hex(16),
            tenant=who.tenant,
            principal=who.id,
            request=request,
            types=types,
            since_ms=since_ms,
            through=self._store.last(),
            chunks=tuple(self._chunks(who)),
            made_ms=now_ms,
            expires_ms=now_ms + _KEPT_MS,
        )
        with self._access.recorded(who, "fhir.export", what=made.id) as change:
            change.rows("DELETE FROM export WHERE expires_ms < :now_ms", now_ms=now_ms)
            change.rows(
                f"INSERT INTO export ({_COLUMNS}) VALUES (:id, :tenant, :principal, "  # noqa: S608
                ":request, :types, :since_ms, :through, :chunks, :made_ms, "
                ":expires_ms)",
                id=made.id,
                tenant=made.tenant,
                principal=made.principal,
                request=made.request,
                types=",".join(types),
                since_ms=since_ms,
                through=made.through,
                chunks=",".join(map(str, made.chunks)),
                made_ms=now_ms,
                expires_ms=made.expires_ms,
            )
        return made

    def find(self, who: Principal, name: str) -> Export | None:
        """Return an export that ``who`` asked for; None if it is not, or no more."""
        rows = self._database.rows(
            f"SELECT {_COLUMNS} FROM export WHERE id = :name AND tenant = :tenant "  # noqa: S608
            "AND principal = :principal AND expires_ms > :now_ms",
            name=name,
            tenant=who.tenant,
            principal=who.id,
            now_ms=self._access.now_ms(),
        )
        return _export(rows[0]) if rows else None

    def cancel(self, who: Principal, made: Export) -> None:
        """Forget an export."""
        with self._access.recorded(who, "fhir.export.ended", what=made.id) as change:
            change.rows("DELETE FROM export WHERE id = :id", id=made.id)

    def lines(
        self, who: Principal, made: Export, kind: str, chunk: int
    ) -> Iterator[bytes]:
        """Yield a file, a piece at a time, each of whole lines.

        Raises:
            StoreUnavailable: It can't be read on, or not be written down who reads it.
            Unauthorised: The token ended meanwhile.
        """
        of = f"{kind} {chunk} of {made.id}"
        if kind == "Device":
            self._access.record(who, "fhir.export.file", what=of)
            yield from self._devices(who, made)
            return
        for one in self._patients(who, chunk):
            self._access.record(who, "fhir.export.file", patient=one.id, what=of)
            if kind == "Patient":
                yield _lines(made, [patient(one)])
            else:
                for some in self._records.readings(who, one, made.through):
                    yield _lines(made, some)

    def _devices(self, who: Principal, made: Export) -> Iterator[bytes]:
        patients = (
            one.id for chunk in made.chunks for one in self._patients(who, chunk)
        )
        for found in self._records.devices.of_patients(who, patients):
            yield _lines(made, [found])

    def _patients(self, who: Principal, chunk: int) -> Iterator[Patient]:
        after, end = chunk * self._chunk - 1, (chunk + 1) * self._chunk
        while some := self._records.patients(who, after, _STEP):
            for one in some:
                if one.id >= end:
                    return
                self._access.check_holds(who.id)
                yield one
            after = some[-1].id

    def _chunks(self, who: Principal) -> list[int]:
        visible = self._access.visible(who, self._access.now_ms())
        if visible is not None:
            return sorted({number // self._chunk for number in visible})
        ((last,),) = self._database.rows("SELECT coalesce(max(id), -1) FROM patient")
        return list(range(int(last) // self._chunk + 1))


def _lines(made: Export, found: list[Resource]) -> bytes:
    """Return resources as lines, without those that have not changed since."""
    since_ms = None if made.since_ms is None else made.since_ms - _SLACK_MS
    return b"".join(
        encode(one) + b"\n"
        for one in found
        if since_ms is None or _updated_ms(one) >= since_ms
    )


def _updated_ms(one: Resource) -> int:
    about = one["meta"]
    text = about["lastUpdated"] if isinstance(about, dict) else ""
    return instant_ms("lastUpdated", str(text))


def _export(row: Row) -> Export:
    return Export(
        id=row[0],
        tenant=row[1],
        principal=row[2],
        request=row[3],
        types=tuple(row[4].split(",")),
        since_ms=row[5],
        through=row[6],
        chunks=tuple(int(one) for one in row[7].split(",") if one),
        made_ms=row[8],
        expires_ms=row[9],
    )

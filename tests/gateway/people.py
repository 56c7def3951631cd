"""Patients and tokens for the gateway's tests."""

from dataclasses import dataclass, replace

from gateway.access import Access, Principal, Purpose, Role
from gateway.audit import Audit
from gateway.chart import Chart
from gateway.consent import Consent, Consents, Grant, Programme
from gateway.registry import ALWAYS_MS, OPEN_MS, Attribution, Patient, Registry
from gateway.store import Store
from protocols.observation import Reading
from protocols.uplink.topics import Station
from tests.gateway.stations import START_MS, accepted

NOW_MS = START_MS + 86_400_000
DAY_MS = 86_400_000
_ALL = Grant()


def nobodys(reading: Reading) -> Reading:
    """Return a reading of which the station does not say whose it is."""
    return replace(reading, person=None, evidence=())


@dataclass
class Clinic:
    """A tenant whose clock a test sets."""

    store: Store
    tenant: str = "clinic"
    now_ms: int = NOW_MS

    def __post_init__(self) -> None:
        database = self.store.database
        self.access = Access(database, open_local=False, now_ms=lambda: self.now_ms)
        self.registry = Registry(database)
        self.consents = Consents(database)
        self.chart = Chart(self.store, self.registry)
        self.audit = Audit(database, lambda: self.now_ms)
        self._counter = 0

    def send(self, *readings: Reading) -> None:
        self._counter += 1
        station = Station(self.tenant, "station-1")
        self.store.commit(
            [accepted(self._counter, *readings, station=station, received_ms=NOW_MS)]
        )

    def device(self, name: str) -> int:
        found = self.registry.device(self.tenant, name)
        assert found is not None
        return found

    def patient(self, name: str, **more: object) -> Patient:
        with self.store.database.change() as change:
            new = Patient(0, self.tenant, name, **more)
            return self.registry.add(change, new, self.now_ms)

    def attribute(
        self,
        patient: Patient,
        device: str,
        from_ms: int = ALWAYS_MS,
        until_ms: int = OPEN_MS,
        *,
        slot: int | None = None,
        replaces: int | None = None,
    ) -> Attribution:
        made = Attribution(
            id=0,
            tenant=patient.tenant,
            device=self.device(device),
            slot=slot,
            patient=patient.id,
            from_ms=from_ms,
            until_ms=until_ms,
            evidence="handed over",
            made_ms=self.now_ms,
            made_by="desk",
            replaces=replaces,
        )
        with self.store.database.change() as change:
            return self.registry.attributions.attribute(change, made)

    def programme(self, name: str, purpose: Purpose = Purpose.TREATMENT) -> Programme:
        with self.store.database.change() as change:
            found = self.consents.add_programme(
                change, self.tenant, name, purpose, self.now_ms
            )
        assert found is not None
        return found

    def consent(
        self,
        patient: Patient,
        programme: Programme,
        grant: Grant = _ALL,
        **more: int,
    ) -> Consent:
        given = Consent(
            0,
            patient.id,
            programme.id,
            grant,
            more.get("expires_ms", self.now_ms + 30 * DAY_MS),
            self.now_ms,
            "desk",
        )
        with self.store.database.change() as change:
            return self.consents.give(change, given)

    def token(
        self, *roles: Role, name: str = "", programme: Programme | None = None
    ) -> tuple[Principal, str]:
        """Return a principal and the header that it sends."""
        name = (
            name or "-".join([self.tenant or "all", *roles, str(programme or "")])[:64]
        )
        purpose = None if programme is None else programme.purpose
        new = Principal(
            0,
            self.tenant,
            name,
            frozenset(roles),
            None if programme is None else programme.id,
            purpose,
        )
        with self.store.database.change() as change:
            issued, token = self.access.principals.issue(
                change, new, self.now_ms + 30 * DAY_MS
            )
        return issued.principal, f"Bearer {token}"

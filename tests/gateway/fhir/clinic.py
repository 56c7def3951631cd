"""A gateway with patients, devices, consents and tokens, asked over HTTP in process."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import httpx
import simplejson

from gateway import api
from gateway.access import Access, Principal, Role
from gateway.attribution import Attribution
from gateway.consent import Consent, Consents, Grant, Purpose
from gateway.live import Live
from gateway.metrics import Metrics
from gateway.registry import ALWAYS_MS, OPEN_MS, Patient, Registry
from gateway.store import Store
from protocols.observation import Kind, Reading
from tests.gateway.fhir.wire import valid
from tests.gateway.stations import START_MS, STATION, accepted
from tests.gateway.test_api import Way

NOW_MS = START_MS + 86_400_000
BASE = "http://127.0.0.1:8080/fhir/R4"


@dataclass
class Clinic:
    """What a test arranges, and whom it asks as."""

    store: Store
    now_ms: int = NOW_MS
    open_local: bool = True
    counter: int = 0
    tokens: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        database = self.store.database
        self.access = Access(
            database, open_local=self.open_local, now_ms=lambda: self.now_ms
        )
        self.registry, self.consents = Registry(database), Consents(database)
        self.parts = api.Parts(
            self.store,
            Way(),
            Live(),
            Metrics(),
            self.access,
            self.registry,
            networks=("127.0.0.0/8",),
        )
        self.app = api.build(self.parts)

    def arrive(self, *readings: Reading, received_ms: int = NOW_MS) -> None:
        """Store readings that no station says whose they are."""
        self.counter += 1
        nobodys = [replace(one, person=None, evidence=()) for one in readings]
        self.store.commit([accepted(self.counter, *nobodys, received_ms=received_ms)])

    def patient(
        self, name: str, *devices: str, tenant: str = "clinic", **more: object
    ) -> int:
        """Write a patient down whose these devices always were; return the id."""
        with self.store.database.change() as change:
            new = Patient(0, tenant, name, **more)
            made = self.registry.add(change, new, self.now_ms)
            for device in devices:
                number = self.registry.device(tenant, device)
                self.registry.attributions.attribute(
                    change,
                    Attribution(
                        0,
                        tenant,
                        number,
                        None,
                        made.id,
                        ALWAYS_MS,
                        OPEN_MS,
                        "x",
                        self.now_ms,
                        "x",
                    ),
                )
        return made.id

    def reader(
        self,
        name: str,
        *patients: int,
        purpose: Purpose = Purpose.TREATMENT,
        kinds: frozenset[Kind] | None = None,
        from_ms: int | None = None,
        expires_ms: int = NOW_MS + 86_400_000,
    ) -> int:
        """Make a programme that patients agree to, and its token; return its id."""
        with self.store.database.change() as change:
            programme = self.consents.add_programme(
                change, "clinic", name, purpose, NOW_MS
            )
            for patient in patients:
                grant = Grant(kinds, from_ms, None)
                self.consents.give(
                    change,
                    Consent(0, patient, programme.id, grant, expires_ms, NOW_MS, "x"),
                )
            self._token(change, name, Role.READER, programme.id)
        return programme.id

    def token(self, name: str, role: Role, tenant: str = "clinic") -> None:
        with self.store.database.change() as change:
            self._token(change, name, role, None, tenant)

    def _token(
        self,
        change: object,
        name: str,
        role: Role,
        programme: int | None,
        tenant: str = "clinic",
    ) -> None:
        who = Principal(0, tenant, name, frozenset({role}), programme)
        _, self.tokens[name] = self.access.principals.issue(
            change, who, NOW_MS + 86_400_000
        )

    def ask(
        self, path: str, *, by: str = "", method: str = "GET", **more: object
    ) -> httpx.Response:
        """Send a request; ``by`` names whose token it has."""
        headers = dict(more.pop("headers", {}))
        if by:
            headers["Authorization"] = f"Bearer {self.tokens[by]}"
        address = path if path.startswith("http") else f"{BASE}/{path}"

        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport) as client:
                return await client.request(method, address, headers=headers, **more)

        return asyncio.run(send())

    def found(self, path: str, **more: object) -> dict[str, object]:
        """Return a resource that is served, once it is known to be valid."""
        answer = self.ask(path, **more)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/fhir+json"
        return valid(simplejson.loads(answer.content, use_decimal=True))

    def ids(self, path: str, **more: object) -> list[str]:
        """Return the ids on a page of a search."""
        return ids(self.found(path, **more))

    def walk(self, path: str, **more: object) -> list[list[str]]:
        """Return the ids on all pages of a search."""
        pages: list[list[str]] = []
        following: str | None = path
        while following is not None:
            page = self.found(following, **more)
            pages.append(ids(page))
            following = link(page, "next")
            assert len(pages) < 100, "the links go round in a circle"
        return pages

    def refusal(self, path: str, **more: object) -> tuple[int, str]:
        """Return the status and the text of an answer that is an outcome."""
        answer = self.ask(path, **more)
        seen = valid(simplejson.loads(answer.content, use_decimal=True))
        assert seen["resourceType"] == "OperationOutcome"
        return answer.status_code, seen["issue"][0]["diagnostics"]

    def audit(self) -> list[tuple[str, int | None]]:
        rows = self.store.database.rows(
            "SELECT action, patient FROM audit ORDER BY tenant, sequence"
        )
        return [(row[0], row[1]) for row in rows]


def ids(page: dict[str, object]) -> list[str]:
    return [
        one["resource"]["id"]
        for one in page.get("entry", [])
        if one["search"]["mode"] == "match"
    ]


def issues(page: dict[str, object]) -> list[str]:
    return [
        issue["diagnostics"]
        for one in page.get("entry", [])
        if one["search"]["mode"] == "outcome"
        for issue in one["resource"]["issue"]
    ]


def link(page: dict[str, object], relation: str) -> str | None:
    urls = {one["relation"]: one["url"] for one in page["link"]}
    return urls.get(relation)


Make = Callable[..., Clinic]

__all__ = ["BASE", "NOW_MS", "STATION", "Clinic", "Make", "ids", "issues", "link"]

"""Who may see what of the raw lists; and entity tags, HEAD, hosts and streams."""

import asyncio
import json
import time
from collections.abc import Callable

import httpx
import pytest

from gateway import api
from gateway.access import LOCAL, Access, Principal, Role
from gateway.api.live import stream
from gateway.live import Live
from gateway.metrics import Metrics
from gateway.registry import Registry
from gateway.store import Filter, Refused
from gateway.store.sqlite import SqliteStore
from protocols.uplink.topics import Station
from tests.gateway.stations import STATION, accepted, glucose
from tests.gateway.test_api import Way, get

_DAY_MS = 86_400_000
_OTHER = Station("other", "station-1")
_LISTS = ("readings", "devices", "quarantine", "amendments")
_RAW = (*_LISTS, "readings/1", "readings/export?format=ndjson", "live")


def issue(store: SqliteStore, tenant: str, *roles: Role) -> dict[str, str]:
    """Make a token; return the header that carries it."""
    access = Access(store.database, open_local=False)
    who = Principal(0, tenant, "-".join([tenant or "all", *roles]), frozenset(roles))
    with access.recorded(LOCAL, "token.made") as change:
        made = access.principals.issue(
            change, who, time.time_ns() // 1_000_000 + _DAY_MS
        )
    assert made is not None
    return {"Authorization": f"Bearer {made[1]}"}


def guarded(store: SqliteStore, live: Live | None = None) -> api.Parts:
    """Return the parts of an API that asks everybody for a token."""
    return api.Parts(
        store,
        Way(),
        live or Live(),
        Metrics(),
        Access(store.database, open_local=False),
        Registry(store.database),
        names=None,
    )


def ask(
    store: SqliteStore, path: str, method: str = "GET", **headers: str
) -> httpx.Response:
    """Ask an API that asks for tokens."""

    async def asking() -> httpx.Response:
        parts = guarded(store)
        parts.live.close()  # so that no stream goes on
        web = httpx.ASGITransport(api.build(parts))
        async with httpx.AsyncClient(transport=web, base_url="http://any") as client:
            return await client.request(method, path, headers=headers)

    return asyncio.run(asking())


def fill(store: SqliteStore) -> None:
    """Store two readings, one of them amended, and a bad message, of two tenants."""
    for counter, station in enumerate((STATION, _OTHER), 1):
        store.commit([accepted(1, glucose(1), glucose(2), station=station)])
        other = glucose(1, status=("battery_low",))
        store.commit([accepted(2, other, station=station)])
        topic, digest = station.up("batch"), bytes([counter]) * 32
        store.commit([Refused(topic, station, b"\xff", digest, "bad", 5)])
    store.commit([Refused("nobody's", None, b"\xff", b"n" * 32, "bad", 5)])


@pytest.mark.parametrize("path", [*(f"/api/v1/{one}" for one in _RAW), "/metrics"])
def test_raw_lists_are_an_operators(store: SqliteStore, path: str) -> None:
    fill(store)

    nobody = ask(store, path)
    steward = ask(store, path, **issue(store, "clinic", Role.STEWARD))
    operator = ask(store, path, **issue(store, "clinic", Role.OPERATOR))

    assert (nobody.status_code, steward.status_code) == (401, 403)
    assert nobody.headers["www-authenticate"] == "Bearer"
    assert operator.status_code == (503 if path.endswith("live") else 200)
    for refused in (nobody, steward):
        assert refused.headers["content-type"] == "application/problem+json"


def test_health_is_told_to_everybody(store: SqliteStore) -> None:
    assert ask(store, "/healthz").status_code == 200
    assert ask(store, "/readyz").status_code == 200


@pytest.mark.parametrize("name", _LISTS)
def test_an_operator_sees_its_own_tenant_only(store: SqliteStore, name: str) -> None:
    """Page by page, with a cursor that leads past the others'."""
    fill(store)
    own = issue(store, "other", Role.OPERATOR)
    everybody = issue(store, "", Role.OPERATOR)

    def tenants(**headers: str) -> list[str | None]:
        met: list[str | None] = []
        after, more = "", True
        while more:
            answer = ask(store, f"/api/v1/{name}?limit=1{after}", **headers).json()
            met += [one["tenant"] for one in answer[name]]
            after, more = f"&after={answer['next']}", answer["more"]
        return met

    count = 2 if name == "readings" else 1
    assert tenants(**own) == ["other"] * count
    nobodys = [None] if name == "quarantine" else []
    assert sorted(tenants(**everybody), key=str) == sorted(
        [*["clinic"] * count, *["other"] * count, *nobodys], key=str
    )
    asked = ask(store, f"/api/v1/{name}?tenant=clinic", **everybody).json()
    assert [one["tenant"] for one in asked[name]] == ["clinic"] * count
    refused = ask(store, f"/api/v1/{name}?tenant=clinic", **own)
    assert refused.status_code == 403


def test_another_tenants_reading_is_not_there(store: SqliteStore) -> None:
    """403 would say that it is."""
    fill(store)
    own = issue(store, "other", Role.OPERATOR)
    seen = [ask(store, f"/api/v1/readings/{n}", **own).status_code for n in range(1, 6)]
    mine = {row.id for row in store.readings(Filter(tenant="other"), 0, 9)}
    assert seen == [200 if n in mine else 404 for n in range(1, 6)]


def test_amendments_name_the_reading_that_stands(store: SqliteStore) -> None:
    fill(store)

    (other, _) = get(store, "/api/v1/amendments").json()["amendments"]

    stands = get(store, f"/api/v1/readings/{other['reading']}").json()
    assert (stands["status"], other["status"]) == ([], ["battery_low"])
    assert stands["id"] == other["reading"]


def test_what_is_seen_is_on_record(store: SqliteStore) -> None:
    fill(store)
    own = issue(store, "clinic", Role.OPERATOR)
    before = len(store.database.rows("SELECT 1 FROM audit"))

    for path in _RAW:
        ask(store, f"/api/v1/{path}", **own)

    seen = store.database.rows("SELECT action FROM audit ORDER BY at_ms, sequence")
    assert sorted(action for (action,) in seen[before:]) == [
        "amendments.list",
        "quarantine.list",
        "readings.export",
        "readings.list",
        "readings.read",
    ]


def test_an_answer_that_has_not_changed_is_not_sent_again(store: SqliteStore) -> None:
    store.commit([accepted(1, glucose(1))])
    for path in ("/api/v1/readings", "/api/v1/readings/1", "/api/v1/devices"):
        first = get(store, path)
        tag = first.headers["etag"]
        for named in (tag, f'"other", W/{tag}', "*"):
            same = get(store, path, headers={"If-None-Match": named})
            assert (same.status_code, same.content) == (304, b"")
            assert same.headers["etag"] == tag
        changed = get(store, path, headers={"If-None-Match": '"other"'})
        assert changed.content == first.content

    tag = get(store, "/api/v1/readings").headers["etag"]
    store.commit([accepted(2, glucose(2))])
    new = get(store, "/api/v1/readings", headers={"If-None-Match": tag})
    assert new.status_code == 200
    assert new.headers["etag"] != tag


@pytest.mark.parametrize("path", ["/", "/healthz", "/api/v1/readings", "/api/v1/live"])
def test_head_is_get_without_a_body(store: SqliteStore, path: str) -> None:
    """Of a stream too, which ends with its head."""
    parts = guarded(store)
    header = issue(store, "", Role.OPERATOR)

    async def asking() -> httpx.Response:
        parts.live.open()
        web = httpx.ASGITransport(api.build(parts))
        async with httpx.AsyncClient(transport=web, base_url="http://any") as client:
            return await client.head(path, headers=header)

    head = asyncio.run(asyncio.wait_for(asking(), 5))

    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"]


def test_a_parameter_that_stands_twice_is_refused(store: SqliteStore) -> None:
    """Which of the two was meant? The other one's readings may be somebody else's."""
    answer = get(store, "/api/v1/readings?device=meter-1&device=meter-2")

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["parameter"] == "device"


def test_with_tokens_any_host_is_served_unless_some_are_named(
    store: SqliteStore,
) -> None:
    """A page elsewhere can't know the token; behind a proxy the name is the proxy's."""
    assert ask(store, "/healthz", Host="gateway.clinic.example").status_code == 200


def listen(
    store: SqliteStore,
    header: dict[str, str],
    act: Callable[[Live], None],
) -> list[str]:
    """Listen as who sends ``header`` while ``act`` acts; return what was told."""

    async def listening() -> list[str]:
        live: Live = Live()
        live.open()
        parts = guarded(store, live)
        token = header["Authorization"]
        who = parts.access.authenticate(token)
        told = []
        async for text in stream(parts, who, token, None).body_iterator:
            told.append(str(text))
            await asyncio.to_thread(act, live)
        return told

    return asyncio.run(asyncio.wait_for(listening(), 10))


def test_a_stream_tells_of_its_tenants_readings_only(store: SqliteStore) -> None:
    """Nor of other reports of others' readings."""
    own = issue(store, "other", Role.OPERATOR)
    steps = iter([1, 2])

    def act(live: Live) -> None:
        if next(steps) == 1:
            store.commit([accepted(1, glucose(1), station=STATION)])
            store.commit([accepted(1, glucose(2), station=_OTHER)])
            again = [glucose(one, status=("battery_low",)) for one in (1, 2)]
            store.commit([accepted(2, again[0], station=STATION)])
            store.commit([accepted(2, again[1], station=_OTHER)])
            live.announce()
        else:
            live.close()

    _, event = listen(store, own, act)

    (mine,) = store.readings(Filter(tenant="other"), 0, 9)
    (other,) = store.amendments(mine.id)
    told = json.loads(event.partition("data: ")[2])
    assert [one["id"] for one in told["readings"]] == [str(mine.id)]
    assert [one["id"] for one in told["amendments"]] == [str(other.id)]


def test_a_token_that_is_revoked_ends_its_streams(store: SqliteStore) -> None:
    own = issue(store, "clinic", Role.OPERATOR)
    access = Access(store.database, open_local=False)

    def act(live: Live) -> None:
        number = access.authenticate(own["Authorization"]).id
        with access.recorded(LOCAL, "token.revoked") as change:
            assert access.principals.revoke(change, number)
        store.commit([accepted(1, glucose(1))])
        live.announce()

    assert len(listen(store, own, act)) == 1


def test_one_principal_cannot_take_every_place_to_listen() -> None:
    """And gives its own back when it goes."""

    async def listening() -> list[bool]:
        live: Live = Live(listeners=9, each=1)
        live.open()
        found = [live.enough(7)]
        events = live.events(7, 0, lambda _: ("", 0))
        waiting = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        found += [live.enough(7), live.enough(8), live.full]
        live.close()
        await asyncio.wait({waiting})
        assert isinstance(waiting.exception(), StopAsyncIteration)
        return [*found, live.enough(7)]

    assert asyncio.run(listening()) == [False, True, False, False, False]

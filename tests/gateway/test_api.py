"""The HTTP side over a real store, asked in process."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal

import httpx
import pytest
import simplejson

from gateway import api
from gateway.access import LOCAL, Access
from gateway.api.live import stream
from gateway.api.paging import cursor
from gateway.live import Live
from gateway.metrics import Metrics
from gateway.registry import Registry
from gateway.store import Filter, Refused, Store, StoreUnavailable
from gateway.store.sqlite import SqliteStore
from protocols.observation import Device, Kind, Reading, State
from protocols.uplink.topics import Station
from tests.gateway.stations import STATION, accepted, glucose, pressure


@dataclass
class Way:
    """A way in whose state a test sets."""

    connected: bool = True
    commit_good: bool = True
    working: bool = True


def parts_of(
    store: SqliteStore,
    intake: Way | None = None,
    metrics: Metrics | None = None,
    live: Live | None = None,
    *,
    open_local: bool = True,
) -> api.Parts:
    return api.Parts(
        store,
        intake or Way(),
        live or Live(),
        metrics or Metrics(),
        Access(store.database, open_local=open_local),
        Registry(store.database),
    )


@asynccontextmanager
async def client(
    store: SqliteStore, intake: Way | None = None, metrics: Metrics | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    live: Live = Live()
    live.open()
    parts = parts_of(store, intake, metrics, live)
    transport = httpx.ASGITransport(api.build(parts), raise_app_exceptions=False)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://127.0.0.1:8080"
    ) as found:
        yield found


def get(store: SqliteStore, path: str, **more: object) -> httpx.Response:
    async def ask() -> httpx.Response:
        async with client(store) as asking:
            return await asking.get(path, **more)

    return asyncio.run(ask())


def ids(answer: httpx.Response) -> list[int]:
    assert answer.status_code == 200, answer.text
    return [one["sequence"] for one in answer.json()["readings"]]


def test_decimals_keep_their_digits(store: SqliteStore) -> None:
    """5.50 was measured to a hundredth; 5.5 was not."""
    store.commit([accepted(1, glucose(1, "5.50"))])

    answer = get(store, "/api/v1/readings")

    assert '"value":5.50,' in answer.text
    found = simplejson.loads(answer.text, use_decimal=True)
    assert found["readings"][0]["values"][0]["value"] == Decimal("5.50")
    assert answer.headers["content-type"] == "application/json"


def test_filters(store: SqliteStore) -> None:
    other = Station("clinic", "station-2")
    store.commit([accepted(1, glucose(1), pressure(2, 120, 80, 60))])
    store.commit([accepted(1, glucose(3), station=other)])
    store.commit([accepted(2, glucose(4, kind=Kind.CONTROL_SOLUTION))])

    def asked(**parameters: str) -> list[int]:
        return sorted(ids(get(store, "/api/v1/readings", params=parameters)))

    assert asked() == [1, 2, 3]
    assert asked(kind="control-solution") == [4]
    assert asked(kind="blood-pressure") == [2]
    assert asked(device="meter-1") == [1, 3]
    assert asked(station="station-2") == [3]
    assert asked(since="2026-03-01T07:32:00Z") == [2, 3]
    assert asked(since="2026-03-01T09:32:00+02:00") == [2, 3]
    assert asked(until="2026-03-01T07:32:00Z") == [1]


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=many", "limit"),
        ("kind=sugar", "kind"),
        ("since=yesterday", "since"),
        ("since=2026-03-01T07:30:00", "since"),
        ("until=1772350200", "until"),
        ("after=nonsense", "after"),
        ("after=%00", "after"),
        ("after=MS4tNQ", "after"),  # 1.-5
        ("after=MS45OTk5OTk5OTk5OTk5OTk5OTk5OTk5", "after"),
        ("device=", "device"),
        ("devise=meter-1", "devise"),
    ],
)
def test_a_bad_parameter_is_named(store: SqliteStore, query: str, name: str) -> None:
    """A filter that is ignored would give another person's readings."""
    answer = get(store, f"/api/v1/readings?{query}")

    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert [wrong["parameter"] for wrong in problem["errors"]] == [name]
    assert problem["status"] == 400
    assert name in problem["detail"]
    assert problem["title"] == "Bad Request"


@pytest.mark.parametrize(
    "path", ["/api/v1/nothing", "/api/v1/readings/1", "/api/v1/readings/-1",
             f"/api/v1/readings/{1 << 70}"],
)  # fmt: skip
def test_what_is_not_there_is_a_problem_too(store: SqliteStore, path: str) -> None:
    answer = get(store, path)

    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_paging_meets_every_reading_once_while_more_come(store: SqliteStore) -> None:
    """What arrives during the walk comes at its end; nothing is skipped."""
    store.commit([accepted(1, *[glucose(number) for number in range(50)])])

    async def walk() -> list[int]:
        met: list[int] = []
        after, counter = {}, 2
        async with client(store) as asking:
            while True:
                answer = (
                    await asking.get("/api/v1/readings", params={"limit": 7, **after})
                ).json()
                met += [one["sequence"] for one in answer["readings"]]
                after = {"after": answer["next"]}
                if counter < 10:
                    new = [glucose(counter * 100 + number) for number in range(3)]
                    store.commit([accepted(counter, *new, glucose(counter))])
                    counter += 1
                elif not answer["more"]:
                    return met

    met = asyncio.run(walk())
    expected = [*range(50)] + [n * 100 + k for n in range(2, 10) for k in range(3)]
    assert sorted(met) == expected
    assert len(met) == len(set(met))


def test_a_page_that_is_empty_keeps_the_place(store: SqliteStore) -> None:
    """So that a system that polls goes on where it was."""
    store.commit([accepted(1, glucose(1))])
    first = get(store, "/api/v1/readings").json()

    again = get(store, "/api/v1/readings", params={"after": first["next"]}).json()

    assert again == {"readings": [], "next": first["next"], "more": False}


def test_one_reading_shows_its_bytes_and_other_reports(store: SqliteStore) -> None:
    store.commit([accepted(1, glucose(1))])
    second = accepted(2, glucose(1, status=("battery_low",)))
    store.commit([second])

    found = get(store, "/api/v1/readings/1").json()

    assert (found["raw"], found["amended"]) == (["0102", "03"], True)
    assert found["status"] == []
    (other,) = found["amendments"]
    assert other["status"] == ["battery_low"]
    assert other["batch_sha256"] == second.digest.hex()


def test_devices_are_listed_with_their_counts(store: SqliteStore) -> None:
    hostile = Device("<script>alert(1)</script>")
    store.commit([accepted(1, glucose(1), glucose(2), glucose(1, device=hostile))])

    first = get(store, "/api/v1/devices?limit=1").json()
    rest = get(store, f"/api/v1/devices?after={first['next']}").json()

    (meter,) = first["devices"]
    assert (meter["id"], meter["readings"], first["more"]) == ("meter-1", 2, True)
    assert meter["last_reading"] == "2026-03-01T07:32:00.000Z"
    assert [one["name"] for one in rest["devices"]] == [hostile.id]


def test_quarantine_is_listed_with_reason_and_bytes(store: SqliteStore) -> None:
    topic = STATION.up("batch")
    store.commit([Refused(topic, STATION, b"\xffbad", b"d" * 32, "damaged", 5)])

    (kept,) = get(store, "/api/v1/quarantine").json()["quarantine"]

    assert (kept["reason"], kept["message"]) == ("damaged", "ff626164")
    assert (kept["topic"], kept["station"], kept["size"]) == (topic, "station-1", 4)


def test_other_hosts_are_refused(store: SqliteStore) -> None:
    """A page elsewhere could read everything under a name that leads here."""
    for host in ("evil.example", "127.0.0.1.evil.example:8080", ""):
        assert get(store, "/api/v1/readings", headers={"Host": host}).status_code == 421
    for host in ("localhost:8080", "127.0.0.1", "[::1]:8080", "LOCALHOST"):
        assert get(store, "/api/v1/readings", headers={"Host": host}).status_code == 200


def test_readiness_names_what_is_missing(store: SqliteStore) -> None:
    async def ask(intake: Way) -> httpx.Response:
        async with client(store, intake) as asking:
            assert (await asking.get("/healthz")).status_code == 200
            return await asking.get("/readyz")

    assert asyncio.run(ask(Way())).status_code == 200
    for intake, word in (
        (Way(connected=False), "broker"),
        (Way(commit_good=False), "store"),
        (Way(working=False), "ingest"),
    ):
        answer = asyncio.run(ask(intake))
        assert answer.status_code == 503
        assert word in answer.json()["detail"]


def test_metrics_name_no_person_and_no_device(store: SqliteStore) -> None:
    metrics = Metrics()
    metrics.readings.labels("stored").inc(3)

    async def ask() -> str:
        async with client(store, metrics=metrics) as asking:
            return (await asking.get("/metrics")).text

    told = asyncio.run(ask())
    assert 'vitalwire_readings_total{result="stored"} 3.0' in told
    assert "meter" not in told


def test_a_store_that_cannot_be_read_says_try_again(store: SqliteStore) -> None:
    class Broken(SqliteStore):
        def last(self) -> int:
            raise StoreUnavailable("gone")

    store.__class__ = Broken
    answer = get(store, "/api/v1/live")

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


def test_the_page_asks_nobody_else(store: SqliteStore) -> None:
    page = get(store, "/")
    plotly = get(store, "/static/plotly.min.js")

    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self' 'sha256-" in policy
    assert "http" not in policy
    assert "https://" not in page.text
    assert plotly.status_code == 200
    assert plotly.headers["content-type"].startswith("text/javascript")
    assert len(plotly.content) > 1_000_000


@pytest.fixture(params=["sqlite", "postgres"])
def either(request: pytest.FixtureRequest) -> Store:
    found: Store = request.getfixturevalue(f"{request.param}_store")
    return found


def news(
    store: Store,
    act: Callable[[Live], Coroutine[object, object, None]],
    last_event_id: str | None = None,
) -> tuple[list[tuple[list[str], list[str]]], str]:
    """Listen while ``act`` acts; return what was told, and the last event's id.

    Of each event the ids of readings, and of those that others amend.
    """

    async def listen() -> list[str]:
        live = Live()
        live.open()
        events = stream(
            parts_of(store, live=live), LOCAL, None, last_event_id
        ).body_iterator
        told = [str(await anext(events))]
        acting = asyncio.create_task(act(live))
        told += [str(text) async for text in events]
        await acting
        return "".join(told).splitlines()

    lines = asyncio.run(listen())
    data = [json.loads(line[6:]) for line in lines if line.startswith("data: ")]
    told = [
        (
            [one["id"] for one in some["readings"]],
            [one["reading"] for one in some["amendments"]],
        )
        for some in data
    ]
    return told, [line[4:] for line in lines if line.startswith("id: ")][-1]


async def leave(live: Live) -> None:
    """Listen to what is there, and no longer."""
    await asyncio.sleep(0.2)
    live.close()


def test_listeners_are_told_of_what_comes(store: SqliteStore) -> None:
    """From another thread, as the store's; and only of what came since."""
    store.commit([accepted(1, glucose(1))])

    async def act(live: Live) -> None:
        for counter in (2, 3):
            await asyncio.sleep(0.05)
            control = glucose(counter + 9, kind=Kind.CONTROL_SOLUTION)
            store.commit([accepted(counter, glucose(counter), control)])
            thread = threading.Thread(target=live.announce)
            thread.start()
            thread.join()
        await asyncio.sleep(0.05)
        live.close()

    assert news(store, act)[0] == [(["2"], []), (["4"], [])]


def test_a_listener_who_comes_back_misses_nothing(store: SqliteStore) -> None:
    store.commit([accepted(1, glucose(1), glucose(2), glucose(3))])

    assert news(store, leave, last_event_id=cursor(1))[0] == [(["2", "3"], [])]


def again(*sequences: int, kind: Kind = Kind.GLUCOSE) -> list[Reading]:
    """Return other reports of readings."""
    return [glucose(one, kind=kind, status=("battery_low",)) for one in sequences]


def test_listeners_are_told_of_other_reports_and_each_once(either: Store) -> None:
    """While they listen and nothing new comes, and of those before they came back."""
    either.commit([accepted(1, glucose(1), glucose(2), glucose(3))])
    either.commit([accepted(9, *again(1))])
    _, two, three = (str(one.id) for one in either.readings(Filter(), 0, 9))

    async def act(live: Live) -> None:
        await asyncio.sleep(0.05)
        either.commit([accepted(2, *again(2))])
        live.announce()
        await leave(live)

    told, place = news(either, act)
    assert told == [([], [two])]
    either.commit([accepted(3, *again(3), glucose(4))])
    (four,) = either.readings(Filter(), int(three), 9)
    assert news(either, leave, place)[0] == [([str(four.id)], [three])]


def test_other_reports_of_checks_are_not_told(store: SqliteStore) -> None:
    """As checks with control solution are not; and they hold up nothing else."""
    checks, kind = range(2, 302), Kind.CONTROL_SOLUTION
    store.commit([accepted(1, glucose(1), *(glucose(n, kind=kind) for n in checks))])
    _, place = news(store, leave)
    store.commit([accepted(2, *again(*checks, kind=kind)), accepted(3, *again(1))])

    assert news(store, leave, place)[0] == [([], ["1"])]


def test_a_place_among_readings_alone_is_the_end_of_other_reports(
    store: SqliteStore,
) -> None:
    """An older gateway told no other."""
    store.commit([accepted(1, glucose(1), glucose(2)), accepted(2, *again(1))])

    assert news(store, leave, cursor(1))[0] == [(["2"], [])]


def test_a_bad_last_event_id_is_named(store: SqliteStore) -> None:
    answer = get(store, "/api/v1/live", headers={"Last-Event-ID": "?"})

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["parameter"] == "Last-Event-ID"


def test_no_answer_shows_a_limit_as_a_value(store: SqliteStore) -> None:
    store.commit([accepted(1, glucose(1, "33.3", state=State.ABOVE_RANGE))])

    (value,) = get(store, "/api/v1/readings").json()["readings"][0]["values"]

    assert (value["value"], value["state"], value["limit"]) == (
        None,
        "above-range",
        33.3,
    )


def test_a_bound_between_two_ms_is_kept_to(store: SqliteStore) -> None:
    """Rounded, it would leave out what is before it, or let in what is not."""
    store.commit([accepted(1, glucose(1))])  # at 07:31 sharp

    def found(**bound: str) -> int:
        return len(get(store, "/api/v1/readings", params=bound).json()["readings"])

    assert found(until="2026-03-01T07:31:00.0004Z") == 1
    assert found(since="2026-03-01T07:31:00.0004Z") == 0
    assert found(until="2026-03-01T07:31:00Z") == 0
    assert found(since="2026-03-01T07:31:00Z") == 1


def test_more_than_an_event_holds_is_told_in_several(store: SqliteStore) -> None:
    """At once; a listener who was away would else miss what the first left over."""
    numbers = range(1, 451)
    store.commit([accepted(1, *map(glucose, numbers))])

    told, _ = news(store, leave, cursor(0))

    assert [one for ids, _ in told for one in ids] == [*map(str, numbers)]


def test_silence_is_told_also_where_others_readings_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A proxy would cut the stream, and the page not ask again."""
    monkeypatch.setattr("gateway.live._LOOK_S", 0.02)
    monkeypatch.setattr("gateway.live._HEARTBEAT_S", 0.1)

    async def listening() -> list[str]:
        live = Live()
        live.open()
        asyncio.get_running_loop().call_later(1, live.close)

        def fetch(after: int) -> tuple[str, int]:
            live.announce()  # a commit of somebody else's
            return "", after

        return [event async for event in live.events(7, 0, fetch)]

    assert 4 <= len(asyncio.run(listening())) <= 10

"""Webhooks against a real receiver: failing, hanging, slow, gone and back."""

import asyncio
import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler
from ipaddress import ip_address
from pathlib import Path
from ssl import PROTOCOL_TLS_SERVER, SSLContext

import httpx
import pytest
from click.testing import CliRunner

from gateway import api, revision
from gateway.access import LOCAL, Access, Role
from gateway.attribution import ALWAYS_MS, OPEN_MS, Attribution, Attributions
from gateway.cli import gateway
from gateway.consent import Consent, Consents, Grant, Purpose
from gateway.registry import Patient, Registry
from gateway.store import Filter, Store
from gateway.webhooks import Order, Stretch, Webhook, Webhooks
from gateway.webhooks.courier import Courier
from gateway.webhooks.message import Composer, Message
from gateway.webhooks.post import _trusted, post
from gateway.webhooks.target import Refused, Target, Targets
from protocols.observation import Device, Kind
from protocols.uplink.topics import Station
from tests.gateway.receiver import Receiver, certify, deliver, receiver, status
from tests.gateway.stations import CUFF, METER, accepted, eventually, glucose, pressure
from tests.gateway.test_api import parts_of
from tests.gateway.test_api_access import issue

_HOUR_MS = 3_600_000
_GIVE_UP_MS = 8 * _HOUR_MS
FILTER = Filter()
_HERE = ("127.0.0.0/8",)


@dataclass
class Clock:
    """The time that a test says it is."""

    now_ms: int = 1_772_350_200_000

    def __call__(self) -> int:
        return self.now_ms


@dataclass
class Bench:
    """A store, whom it tells, and the time."""

    store: Store
    clock: Clock = field(default_factory=Clock)
    counter: int = 0

    def __post_init__(self) -> None:
        self.hooks = Webhooks(self.store.database)
        self.access = Access(self.store.database, open_local=True, now_ms=self.clock)
        self.registry = Registry(self.store.database)
        self.attributions = Attributions(self.store.database)

    def add(self, url: str, tenant: str = "", **more: object) -> tuple[int, str]:
        hook = Webhook(0, tenant, url, created_ms=self.clock(), **more)
        with self.access.recorded(LOCAL, "webhook.made") as change:
            made, secret = self.hooks.add(change, hook, self.store.last())
        return made.id, secret

    def arrive(self, *sequences: int, **more: object) -> None:
        self.counter += 1
        readings = [
            replace(glucose(number, **more), person=None) for number in sequences
        ]
        batch = accepted(self.counter, *readings, received_ms=self.clock())
        self.store.commit([batch])

    def courier(
        self,
        networks: tuple[str, ...] = _HERE,
        deadline_s: float = 15.0,
        composed_by: type[Composer] = Composer,
    ) -> Courier:
        return Courier(
            self.hooks,
            composed_by(self.store, self.registry, self.access, most=3),
            self.access,
            Targets(networks),
            give_up_ms=_GIVE_UP_MS,
            deadline_s=deadline_s,
            now_ms=self.clock,
            chance=lambda: 1.0,
        )

    def work(self, **more: object) -> int:
        return asyncio.run(deliver(self.courier(**more)))

    def stretch(
        self, hook: int, about: Order = Order.READINGS, *, dead: bool = False
    ) -> Stretch:
        (found,) = [
            one for one in self.hooks.stretches([hook], dead=dead) if one.about == about
        ]
        return found


@pytest.fixture(params=["sqlite_store", "postgres_store"])
def bench(request: pytest.FixtureRequest) -> Bench:
    return Bench(request.getfixturevalue(request.param))


@pytest.fixture
def there() -> Iterator[Receiver]:
    with receiver() as found:
        yield found


def bury(store: Store) -> None:
    """Give a clinic webhooks of each form, and dead letters of both orders.

    Its meter and its first patient are there already.
    """
    bench = Bench(store)
    with bench.store.database.change() as change:
        ward = Consents(store.database).add_programme(
            change, "clinic", "of a webhook", Purpose.TREATMENT, bench.clock()
        )
    with receiver() as gone:
        url = gone.url
    forms: tuple[dict[str, object], ...] = (
        {"kinds": frozenset({Kind.GLUCOSE})},
        {"patient": 1},
        {"patient": 1, "programme": ward.id, "whole": True},
    )
    for form in forms:
        bench.add(url, "clinic", **form)
    bench.counter = 1_000
    bench.arrive(1_000)
    with bench.store.database.change() as change:
        revision.add(change, 1, bench.clock(), device=1)
    for _ in range(3):  # of one webhook there is one stretch in hand at a time
        bench.work()
        bench.clock.now_ms += _GIVE_UP_MS


def test_what_arrives_is_told_in_order_and_signed(
    bench: Bench, there: Receiver
) -> None:
    """Nothing from before the webhook; the signature is made anew here, by the book."""
    bench.arrive(1)
    _, secret = bench.add(there.url)
    bench.arrive(*range(2, 9))

    assert bench.work() == 1
    assert bench.work() == 0

    told = [row.id for row in bench.store.readings(FILTER, 0, 100)][1:]
    assert [len(call.ids) for call in there.calls] == [3, 3, 1]
    assert there.ids == [str(number) for number in told]
    assert len({call.headers["webhook-id"] for call in there.calls}) == 3
    for call in there.calls:
        number, sent = call.headers["webhook-id"], call.headers["webhook-timestamp"]
        signed = b".".join([number.encode(), sent.encode(), call.body])
        key = base64.b64decode(secret.removeprefix("whsec_"))
        expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest())
        assert call.headers["webhook-signature"] == f"v1,{expected.decode()}"
        assert int(sent) == bench.clock() // 1000
        assert json.loads(call.body)["type"] == "readings.stored"


def test_what_comes_while_a_message_is_made_is_told_once(bench: Bench) -> None:
    """A reading told behind the end of its message would be told by the next again."""

    class Busy:
        """The store, to which something comes whenever it told its last id."""

        def __getattr__(self, name: str) -> object:
            return getattr(bench.store, name)

        def last(self) -> int:
            found = bench.store.last()
            bench.arrive(bench.counter + 1)
            return found

    bench.arrive(1)
    composer = Composer(Busy(), bench.registry, bench.access)
    stretch = Stretch(1, 1, Order.READINGS, False, 0, None, None, 0, None, 0, "")

    made = composer.next(Webhook(1, "", "https://there.example/"), stretch)

    told = [bench.store.reading(one.id) for one in made.told]
    assert [one.reading.observation.sequence for one in told] == [1, 2]
    assert made.reached == made.told[-1].id


def test_a_message_is_sent_again_until_it_is_answered(
    bench: Bench, there: Receiver
) -> None:
    """The same one under the same id, at growing distances; nothing overtakes it."""
    hook, _ = bench.add(there.url)
    bench.arrive(1, 2)
    there.answer = lambda asked: status(asked, 503)
    waits = []
    for number in range(10):
        assert bench.work() == 1
        state = bench.stretch(hook)
        assert (state.attempts, state.problem) == (number + 1, "answered 503")
        assert bench.work() == 0  # not before it is due
        waits.append((state.due_ms - bench.clock()) / 1000)
        bench.arrive(100 + number)  # what comes later waits
        bench.clock.now_ms = state.due_ms
    assert waits == [*(5 * 2**n for n in range(10))]

    there.answer = lambda asked: status(asked, 200)
    bench.work()

    assert len({call.headers["webhook-id"] for call in there.calls[:11]}) == 1
    kept = [str(row.id) for row in bench.store.readings(FILTER, 0, 100)]
    assert {tuple(call.ids) for call in there.calls[:11]} == {tuple(kept[:2])}
    rest = [number for call in there.calls[11:] for number in call.ids]
    assert rest == kept[2:]
    assert bench.stretch(hook).attempts == 0


def test_what_has_failed_all_year_is_still_tried_each_hour(
    bench: Bench, there: Receiver
) -> None:
    """As long as `give_up_hours` allows."""
    hook, _ = bench.add(there.url)
    there.answer = lambda asked: status(asked, 500)
    bench.arrive(1)
    with bench.store.database.change() as change:
        change.rows("UPDATE stretch SET attempts = 8760")

    bench.work()

    found = bench.stretch(hook)
    assert (found.attempts, found.problem) == (8_761, "answered 500")
    assert found.due_ms == bench.clock() + _HOUR_MS


def test_a_receiver_that_asks_for_time_is_given_it(
    bench: Bench, there: Receiver
) -> None:
    hook, _ = bench.add(there.url)
    bench.arrive(1)
    for asked, waited in (("120", 120), ("99999999", 3_600), ("soon", 20)):
        there.answer = lambda got, asked=asked: status(got, 429, Retry_After=asked)
        bench.work()
        due_ms = bench.stretch(hook).due_ms
        assert due_ms - bench.clock() == waited * 1000
        bench.clock.now_ms = due_ms


def hang(there: Receiver, asked: BaseHTTPRequestHandler) -> None:
    there.ended.wait(30)
    asked.close_connection = True


def drip(there: Receiver, asked: BaseHTTPRequestHandler) -> None:
    """Answer a byte at a time: each read comes in time, the answer never does."""
    for _ in range(1_000):
        asked.wfile.write(b"H")
        if there.ended.wait(0.02):
            return


@pytest.mark.parametrize("way", [hang, drip])
def test_a_receiver_that_never_answers_is_left(
    sqlite_store: Store, there: Receiver, way: object
) -> None:
    """One that hangs would hold its thread, its lease and all others' turn."""
    bench = Bench(sqlite_store)
    hook, _ = bench.add(there.url)
    bench.arrive(1)
    there.answer = lambda asked: way(there, asked)  # type: ignore[operator]

    bench.work(deadline_s=0.3)

    assert bench.stretch(hook).problem in {
        "no answer within 0.3 s",
        "RemoteProtocolError: illegal status line: bytearray(b'" + "H" * 15 + "')",
    }
    assert len(there.calls) == 1


def test_redirects_are_not_followed(sqlite_store: Store, there: Receiver) -> None:
    """They lead where nobody judged the address."""
    bench = Bench(sqlite_store)
    with receiver() as other:
        there.answer = lambda asked: status(asked, 307, Location=other.url)
        hook, _ = bench.add(there.url)
        bench.arrive(1)
        bench.work()

        assert bench.stretch(hook).problem == "answered 307"
        assert other.calls == []


def test_gateways_share_webhooks_and_never_tell_the_same_at_once(
    bench: Bench, there: Receiver
) -> None:
    bench.add(there.url)
    bench.arrive(*range(40))
    there.answer = lambda asked: (there.ended.wait(0.02), status(asked, 200))

    async def together() -> int:
        gateways = [bench.courier() for _ in range(3)]
        rounds = [deliver(one) for one in gateways for _ in range(2)]
        return sum(await asyncio.gather(*rounds))

    assert asyncio.run(together()) == 1

    assert there.most_at_once == 1
    assert there.ids == [str(row.id) for row in bench.store.readings(FILTER, 0, 100)]


def test_a_damaged_row_in_the_store_stops_no_other_webhook(
    bench: Bench, there: Receiver
) -> None:
    """The gateway would else end with the courier, each time it is started anew."""
    behind, _ = bench.add(there.url)
    bench.arrive(1)
    with bench.store.database.change() as change:
        change.rows("UPDATE reading SET \"values\" = '[]'")
    on, _ = bench.add(there.url)
    bench.arrive(2)

    async def run() -> None:
        courier = bench.courier()
        running = asyncio.create_task(courier.run())
        for holds in (
            lambda: there.ids == [str(bench.store.last())],
            lambda: bench.stretch(behind).problem,
        ):
            assert await asyncio.to_thread(eventually, holds)
        bench.arrive(3)
        holds = lambda: there.ids[1:] == [str(bench.store.last())]  # noqa: E731
        assert await asyncio.to_thread(eventually, holds), "it looks again"
        assert not running.done()
        running.cancel()
        await asyncio.wait({running})

    asyncio.run(run())
    assert "its log says how" in bench.stretch(behind).problem
    assert bench.stretch(on).after == bench.store.last()


def test_a_stretch_that_cannot_be_noted_as_failed_stops_no_other_webhook(
    bench: Bench, there: Receiver
) -> None:
    """What can't be read is there, and so is what the store will not keep of that."""
    bench.add(there.url)
    bench.arrive(1)
    with bench.store.database.change() as change:
        change.rows("UPDATE reading SET \"values\" = '[]'")
        change.rows("UPDATE stretch SET attempts = :most", most=(1 << 63) - 1)
    bench.add(there.url)
    bench.arrive(2)

    assert bench.work() == 2

    assert there.ids == [str(bench.store.last())]
    bench.clock.now_ms += _HOUR_MS
    assert bench.work() == 1, "its lease has ended by itself"


def test_twenty_webhooks_are_told_eight_at_a_time_and_each_once(
    bench: Bench, there: Receiver
) -> None:
    """All at once they would take every thread; slots never freed starve the rest."""
    hooks = {bench.add(there.url)[0] for _ in range(20)}
    bench.arrive(1)
    answered = threading.Event()
    there.answer = lambda asked: (answered.wait(15), status(asked, 204))

    async def telling() -> list[int]:
        courier = bench.courier()
        async with asyncio.TaskGroup() as work:
            taken = [await courier.start(work), await courier.start(work)]
            await asyncio.to_thread(eventually, lambda: there.at_once == 8)
            taken.append(await courier.start(work))
            answered.set()
        return taken + [await deliver(courier) for _ in range(3)]

    assert asyncio.run(telling()) == [8, 0, 0, 8, 4, 0]

    assert there.most_at_once == 8
    assert sorted(told_of(there)) == sorted(hooks)
    assert {bench.stretch(hook).after for hook in hooks} == {bench.store.last()}


def told_of(there: Receiver) -> list[int]:
    """Return the webhooks of all messages that came, by `Webhook.id`."""
    return [int(call.headers["webhook-id"].split("_")[1]) for call in there.calls]


def test_webhooks_are_told_on_when_the_store_was_away(
    bench: Bench, there: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    """What was in hand is told again, and nobody is blamed for it."""
    hooks = [bench.add(there.url)[0] for _ in range(20)]
    bench.arrive(1)
    answered = threading.Event()
    there.answer = lambda asked: (answered.wait(15), status(asked, 204))

    def rename(old: str, new: str) -> None:
        with bench.store.database.change() as change:
            change.rows(f"ALTER TABLE {old} RENAME TO {new}")

    async def telling() -> list[int]:
        courier = bench.courier()
        async with asyncio.TaskGroup() as work:
            taken = [await courier.start(work)]
            await asyncio.to_thread(eventually, lambda: there.at_once == 8)
            rename("stretch", "elsewhere")
            answered.set()
        taken.append(await deliver(courier))
        rename("elsewhere", "stretch")
        taken += [await deliver(courier) for _ in range(3)]
        bench.clock.now_ms += 60_001
        return [*taken, await deliver(courier)]

    assert asyncio.run(telling()) == [8, 0, 8, 4, 0, 8]

    assert sorted(told_of(there)) == sorted([*hooks, *told_of(there)[:8]])
    assert len({call.headers["webhook-id"] for call in there.calls}) == 20
    left = [bench.stretch(hook) for hook in hooks]
    assert {(one.after, one.attempts, one.problem) for one in left} == {
        (bench.store.last(), 0, "")
    }
    assert {one.message for one in caplog.records} == {"webhook.postponed"}


def test_what_a_killed_gateway_was_telling_is_told_by_another(
    bench: Bench, there: Receiver
) -> None:
    """Under the same id, though more has come, so the receiver can know it again."""
    bench.add(there.url)
    bench.arrive(1, 2)
    there.answer = lambda asked: hang(there, asked)

    async def killed() -> None:
        telling = asyncio.create_task(deliver(bench.courier()))
        await asyncio.to_thread(eventually, lambda: bool(there.calls))
        telling.cancel()
        await asyncio.wait({telling})

    asyncio.run(killed())
    bench.arrive(3)
    there.answer = lambda asked: status(asked, 200)
    bench.clock.now_ms += 60_000
    assert bench.work() == 0  # it may be at work still
    bench.clock.now_ms += 1
    assert bench.work() == 1

    first, again, rest = there.calls
    assert first.headers["webhook-id"] == again.headers["webhook-id"]
    assert len(first.ids) == 2
    assert (again.ids, rest.ids) == (first.ids, [str(bench.store.last())])


def test_a_gateway_that_was_asleep_tells_nothing_that_another_has_told(
    bench: Bench, there: Receiver
) -> None:
    """Each of them alone would tell it once."""
    bench.add(there.url)
    bench.arrive(1, 2)

    class Asleep(Composer):
        """One that is put aside for longer than its stretch is taken for."""

        def next(self, hook: Webhook, stretch: Stretch) -> Message:
            bench.clock.now_ms += 60_001
            assert bench.work() == 1
            return super().next(hook, stretch)

    assert asyncio.run(deliver(bench.courier(composed_by=Asleep))) == 1

    assert there.ids == [str(row.id) for row in bench.store.readings(FILTER, 0, 9)]


def test_a_gateway_that_lost_its_stretch_changes_nothing(bench: Bench) -> None:
    """It was away for longer than it had taken it for; another one goes on."""
    hook, _ = bench.add("https://receiver.example/")
    bench.arrive(1)
    now_ms, last = bench.clock(), bench.store.last()

    def take(holder: str, at_ms: int) -> list[object]:
        return [
            *bench.hooks.take(
                holder,
                last={Order.READINGS: last, Order.REVISIONS: 0},
                now_ms=at_ms,
                until_ms=at_ms + 60_000,
                most=8,
            )
        ]

    (taken,) = take("first", now_ms)
    assert take("second", now_ms + 60_000) == []
    assert len(take("second", now_ms + 60_001)) == 1
    stretch = taken.stretch
    with bench.store.database.change() as change:
        assert not bench.hooks.begin(
            change, "first", stretch.id, reached=last, now_ms=now_ms, until_ms=now_ms
        )
    assert not bench.hooks.told("first", stretch, last, now_ms=now_ms, on=True)
    bench.hooks.failed("first", stretch, "late", now_ms=now_ms, due_ms=now_ms)
    bench.hooks.give_up("first", stretch, last, "late")

    left = bench.stretch(hook)
    assert (left.after, left.attempts) == (0, 0)
    assert bench.hooks.stretches([hook], dead=True) == []


def test_what_cannot_be_told_for_long_is_dead_and_can_be_told_again(
    bench: Bench, there: Receiver
) -> None:
    """What came in the last eight hours of a longer failure is told when it ends."""
    hook, _ = bench.add(there.url)
    there.answer = lambda asked: status(asked, 500)
    arrived: dict[int, int] = {}
    begun_ms = bench.clock()
    while bench.clock() < begun_ms + 2 * _GIVE_UP_MS:
        bench.arrive(len(arrived) + 1)
        arrived[bench.store.last()] = bench.clock()
        bench.work()
        bench.clock.now_ms += _HOUR_MS
    there.answer = lambda asked: status(asked, 200)
    there.calls.clear()
    while bench.work():
        pass

    dead = bench.stretch(hook, dead=True)
    assert dead.after == 0
    assert dead.problem == "answered 500"
    assert there.ids == [str(one) for one in arrived if one > (dead.through or 0)]
    oldest_ms = min(arrived[int(one)] for one in there.ids)
    assert _GIVE_UP_MS - 2 * _HOUR_MS <= bench.clock() - oldest_ms <= _GIVE_UP_MS

    there.calls.clear()
    with bench.store.database.change() as change:
        assert bench.hooks.replay(change, hook, dead.id, bench.clock())
        assert not bench.hooks.replay(change, hook, dead.id, bench.clock())
    while bench.work():
        pass
    assert there.ids == [str(one) for one in arrived if one <= (dead.through or 0)]
    assert bench.hooks.stretches([hook], dead=True) == []
    assert bench.stretch(hook).through is None


def test_what_waited_for_the_gateway_is_tried_as_long_as_all_else(
    sqlite_store: Store, there: Receiver
) -> None:
    """One that was off for a week would bury the week at the first failure."""
    bench = Bench(sqlite_store)
    hook, _ = bench.add(there.url)
    there.answer = lambda asked: status(asked, 500)
    bench.arrive(1)
    bench.clock.now_ms += 20 * _GIVE_UP_MS
    bench.work()
    bench.clock.now_ms += _GIVE_UP_MS - 1
    bench.work()

    assert bench.hooks.stretches([hook], dead=True) == []
    assert bench.stretch(hook).attempts == 2


def test_what_fails_behind_a_message_that_was_told_is_tried_as_long_as_that(
    bench: Bench, there: Receiver
) -> None:
    """A receiver that is back, and stumbles once, would never be told the rest."""
    hook, _ = bench.add(there.url)
    bench.arrive(*range(6))
    there.answer = lambda asked: status(asked, 500)
    bench.work()
    bench.clock.now_ms += _GIVE_UP_MS
    there.answer = lambda asked: status(asked, 500 if len(there.calls) > 2 else 204)

    bench.work()

    assert bench.hooks.stretches([hook], dead=True) == []
    left = bench.stretch(hook)
    assert (left.after, left.attempts) == (bench.store.last() - 3, 1)
    assert (left.failing_ms, left.due_ms) == (bench.clock(), bench.clock() + 5_000)


def test_a_replay_that_fails_for_long_is_dead_again(
    bench: Bench, there: Receiver
) -> None:
    hook, _ = bench.add(there.url)
    there.answer = lambda asked: status(asked, 500)
    bench.arrive(*range(10))
    bench.work()
    bench.clock.now_ms += _GIVE_UP_MS
    bench.work()
    dead = bench.stretch(hook, dead=True)
    with bench.store.database.change() as change:
        bench.hooks.replay(change, hook, dead.id, bench.clock())

    bench.work()
    assert bench.hooks.stretches([hook], dead=True) == []
    bench.clock.now_ms += _GIVE_UP_MS
    bench.work()

    again = bench.stretch(hook, dead=True)
    assert (again.id, again.after, again.through) == (dead.id, dead.after, dead.through)


def test_a_webhook_tells_its_tenants_readings_of_its_kinds_only(
    bench: Bench, there: Receiver
) -> None:
    hook = Webhook(
        0, "clinic", there.url, frozenset({Kind.GLUCOSE}), created_ms=bench.clock()
    )
    with bench.store.database.change() as change:
        bench.hooks.add(change, hook, 0)
    other = Station("other", "station-1")
    bench.store.commit([accepted(1, glucose(1), station=other)])
    bench.store.commit([accepted(1, glucose(2), pressure(3, 120, 80, 60))])

    bench.work()

    (told,) = bench.store.readings(Filter(tenant="clinic", kind=Kind.GLUCOSE), 0, 9)
    assert there.ids == [str(told.id)]
    (call,) = there.calls
    assert json.loads(call.body)["data"]["readings"] == [
        {"id": str(told.id), "device": "meter-1", "kind": "glucose"}
    ]


def test_a_programme_is_told_what_patients_agree_to_now(
    bench: Bench, there: Receiver
) -> None:
    """Others' readings, nobody's, and those of a consent that ended are not told of."""
    now_ms, consents = bench.clock(), Consents(bench.store.database)
    bench.arrive(0)
    bench.arrive(0, device=CUFF)
    devices = {one.device.id: one.id for one in bench.store.devices(0, 9)}
    with bench.store.database.change() as change:
        study = consents.add_programme(
            change, "clinic", "study", Purpose.RESEARCH, now_ms
        )
        for name, device in (("P-1", METER), ("P-2", CUFF)):
            patient = bench.registry.add(change, Patient(0, "clinic", name), now_ms)
            bench.attributions.attribute(
                change,
                Attribution(
                    0, "clinic", devices[device.id], None, patient.id, ALWAYS_MS,
                    OPEN_MS, "handed over", now_ms, "steward",
                ),
            )  # fmt: skip
        agreed = consents.give(
            change,
            Consent(0, 1, study.id, Grant(), now_ms + _HOUR_MS, now_ms, "steward"),
        )
    hook, _ = bench.add(there.url, tenant="clinic", programme=study.id, whole=True)

    bench.arrive(1, device=CUFF)
    bench.arrive(2)
    bench.arrive(3, device=Device("nobodys-1"))
    bench.work()
    (call,) = there.calls
    (told,) = json.loads(call.body)["data"]["readings"]
    assert (told["sequence"], told["patient"]) == (2, str(agreed.patient))

    with bench.store.database.change() as change:
        consents.withdraw(change, agreed.id, agreed.patient, "steward", now_ms)
    bench.arrive(4)
    bench.work()
    assert len(there.calls) == 1
    assert bench.stretch(hook).after == bench.store.last()


def test_whole_readings_keep_their_digits(bench: Bench, there: Receiver) -> None:
    bench.add(there.url, whole=True)
    bench.arrive(1)

    bench.work()

    assert b'"value":5.50' in there.calls[0].body


def test_each_message_is_on_record_before_it_is_sent(
    bench: Bench, there: Receiver
) -> None:
    told = "SELECT count(*) FROM audit WHERE action = 'webhook.told'"
    before: list[object] = []
    there.answer = lambda asked: (
        before.extend(bench.store.database.rows(told)),
        status(asked, 200),
    )
    bench.add(there.url)
    bench.arrive(*range(5))

    bench.work()

    assert before == [(1,), (2,)]


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/", "https://10.1.2.3/", "https://192.168.1.1/",
        "https://169.254.169.254/latest/meta-data", "https://[::1]/",
        "https://[::ffff:10.0.0.1]/", "https://[fe80::1]/", "https://[fc00::1]/",
        "https://[64:ff9b::a00:1]/", "https://[2002:a00:1::]/", "https://0.0.0.0/",
        "https://224.0.0.1/", "https://255.255.255.255/", "https://100.64.0.1/",
        "http://8.8.8.8/", "http://receiver.example/", "http://10.1.2.3/",
        "ftp://receiver.example/", "https:///path", "receiver.example",
        "https://user@receiver.example/", "https://receiver.example/#part",
        "https://receiver.example:0/", "https://receiver.example:99999/",
        "https://receiver.example/a b", "https://receiver.example/\r\nX: y",
        "https://ümläut.example/", "https://" + "a" * 64 + ".example/",
        "https://[::1/", "https://" + "a" * 2_100,
    ],
)  # fmt: skip
def test_a_url_that_leads_inside_is_refused(url: str) -> None:
    """Else whoever registers it reads the network that the gateway stands in."""
    with pytest.raises(Refused):
        Targets(("127.0.0.0/8",) if "127" not in url else ()).check(url)


@pytest.mark.parametrize(
    ("url", "networks"),
    [
        ("https://receiver.example/readings?of=clinic", ()),
        ("https://8.8.8.8:8443/", ()),
        ("https://[2606:4700::1111]/", ()),
        ("https://10.1.2.3/", ("10.1.0.0/16",)),
        ("http://127.0.0.1:9000/", ("127.0.0.0/8",)),
        ("http://localhost:9000/", ("127.0.0.0/8",)),
        ("http://[::1]:9000/", ("::1/128",)),
    ],
)
def test_public_and_named_addresses_are_told(
    url: str, networks: tuple[str, ...]
) -> None:
    assert Targets(networks).check(url) == Target.of(url)


def test_a_name_is_judged_by_what_it_leads_to(
    sqlite_store: Store, there: Receiver
) -> None:
    """A public name may lead to a private address, and to another one each time."""
    bench = Bench(sqlite_store)
    hook, _ = bench.add(there.url.replace("127.0.0.1", "localhost"))
    bench.arrive(1)

    bench.work(networks=())

    assert "not public" in bench.stretch(hook).problem
    assert there.calls == []
    bench.clock.now_ms += _HOUR_MS
    bench.work()
    assert there.ids == ["1"]


def test_the_name_is_not_looked_up_again_to_connect(there: Receiver) -> None:
    """Between two look-ups its owner could change where it leads."""
    port = int(there.url.split(":")[2].split("/")[0])
    target = Target(tls=False, host="nowhere.invalid", port=port, path="/readings")

    answer = asyncio.run(post(target, [ip_address("127.0.0.1")], {}, b"{}"))

    assert answer.status == 204
    assert there.calls[0].headers["host"] == f"nowhere.invalid:{port}"


def test_nobody_there_is_a_failure_like_others(sqlite_store: Store) -> None:
    bench = Bench(sqlite_store)
    with receiver() as gone:
        url = gone.url
    hook, _ = bench.add(url)
    bench.arrive(1)

    bench.work()

    assert bench.stretch(hook).problem.startswith("ConnectionRefusedError")


def test_a_receiver_has_to_prove_its_name(
    sqlite_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a certificate that this machine trusts; SSL_CERT_FILE names more of them."""
    certificate = certify(tmp_path)
    tls = SSLContext(PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    bench = Bench(sqlite_store)
    with receiver(tls) as there:
        hook, _ = bench.add(there.url)
        bench.arrive(1)
        _trusted.cache_clear()
        bench.work()
        assert "certificate verify failed" in bench.stretch(hook).problem
        assert there.calls == []

        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        _trusted.cache_clear()
        bench.clock.now_ms += _HOUR_MS
        bench.work()
        assert there.ids == ["1"]
    _trusted.cache_clear()


def test_the_commands_list_and_replay_dead_letters(
    sqlite_store: Store, there: Receiver, tmp_path: Path
) -> None:
    bench = Bench(sqlite_store)
    hook, _ = bench.add(there.url)
    there.answer = lambda asked: status(asked, 500)
    bench.arrive(*range(3))
    bench.work()
    bench.clock.now_ms += _GIVE_UP_MS
    bench.work()

    def run(*words: str) -> list[dict[str, object]]:
        asked = ["webhooks", *words, "--data", str(tmp_path), "--json"]
        done = CliRunner().invoke(gateway, asked)
        assert done.exit_code == 0, done.output
        return [json.loads(line) for line in done.stdout.splitlines()]

    (listed,) = run("list")
    assert (listed["id"], listed["problem"], listed["dead"]) == (
        hook,
        "answered 500",
        1,
    )
    (letter,) = run("dead")
    assert (letter["webhook"], letter["through"]) == (hook, bench.store.last())
    assert run("replay", str(letter["id"])) == [{"id": letter["id"], "webhook": hook}]
    assert run("dead") == run("replay", "--all") == []


def call(store: Store, method: str, path: str, **more: object) -> httpx.Response:
    """Ask the API; everybody on this machine may all."""

    async def asking() -> httpx.Response:
        web = httpx.ASGITransport(api.build(replace(parts_of(store), networks=_HERE)))
        async with httpx.AsyncClient(transport=web, base_url="http://127.0.0.1") as to:
            return await to.request(method, f"/api/v1/webhooks{path}", **more)

    return asyncio.run(asking())


def test_a_webhook_lives_by_the_api(bench: Bench, there: Receiver) -> None:
    """Made, told, given up on, tried again and forgotten; its secret is shown once."""
    made = call(bench.store, "POST", "", json={"url": there.url, "kinds": ["glucose"]})
    assert made.status_code == 201, made.text
    number, secret = made.json()["id"], made.json()["secret"]
    assert len(base64.b64decode(secret.removeprefix("whsec_"))) == 32
    bench.clock.now_ms = time.time_ns() // 1_000_000 + 1
    there.answer = lambda asked: status(asked, 500)
    bench.arrive(1)
    bench.work()
    failing = call(bench.store, "GET", f"/{number}").json()
    assert (failing["failures"], failing["problem"]) == (1, "answered 500")
    bench.clock.now_ms += _GIVE_UP_MS
    bench.work()

    (letter,) = call(bench.store, "GET", f"/{number}/dead").json()["dead"]
    again = f"/{number}/dead/{letter['id']}/replay"
    assert call(bench.store, "POST", again).status_code == 204
    assert call(bench.store, "POST", again).status_code == 404
    there.answer = lambda asked: status(asked, 200)
    bench.work()
    assert len(there.calls) == 3
    assert call(bench.store, "GET", f"/{number}/dead").json()["dead"] == []

    (listed,) = call(bench.store, "GET", "").json()["webhooks"]
    assert listed["id"] == number
    assert secret not in call(bench.store, "GET", "").text
    assert call(bench.store, "DELETE", f"/{number}").status_code == 204
    assert call(bench.store, "GET", f"/{number}").status_code == 404
    bench.arrive(2)
    assert bench.work() == 0


@pytest.mark.parametrize(
    ("wanted", "name"),
    [
        ({"url": "https://10.0.0.1/"}, "url"),
        ({"url": "https://receiver.example/", "kinds": ["sugar"]}, "kinds.0"),
        ({"url": "https://receiver.example/", "patient": 7}, "patient"),
        ({"url": "https://receiver.example/", "programme": 7}, "programme"),
        ({"url": "https://receiver.example/", "kind": "glucose"}, "kind"),
        ({}, "url"),
    ],
)
def test_a_webhook_that_cannot_be_is_refused_by_name(
    sqlite_store: Store, wanted: dict[str, object], name: str
) -> None:
    answer = call(sqlite_store, "POST", "", json=wanted)

    assert answer.status_code == 400, answer.text
    assert [one["parameter"] for one in answer.json()["errors"]] == [name]


def test_who_names_patients_has_to_be_a_steward(sqlite_store: Store) -> None:
    """And an operator's webhook is told raw readings, as the operator may see them."""
    for role, wanted, code in (
        (Role.OPERATOR, {}, 201),
        (Role.STEWARD, {}, 403),
        (Role.OPERATOR, {"patient": 1}, 403),
    ):
        header = issue(sqlite_store, "clinic", role)
        asked = {"url": "https://receiver.example/"} | wanted
        answer = call(sqlite_store, "POST", "", json=asked, headers=header)
        assert answer.status_code == code, answer.text
        access = Access(sqlite_store.database, open_local=False)
        with access.recorded(LOCAL, "token.revoked") as change:
            change.rows("DELETE FROM principal")
    (hook,) = Webhooks(sqlite_store.database).webhooks("", 0, 9)
    assert hook.tenant == "clinic"
    foreign = issue(sqlite_store, "other", Role.OPERATOR)
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/dead")):
        answer = call(sqlite_store, method, f"/{hook.id}{path}", headers=foreign)
        assert answer.status_code == 404

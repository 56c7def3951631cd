"""Webhooks are told what readings changed hands, and nothing that is not theirs."""

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.access import LOCAL, Purpose
from gateway.cli import gateway
from gateway.consent import Grant
from gateway.fhir.subscription import Subscriptions
from gateway.registry import ALWAYS_MS, Patient
from gateway.store import Filter
from gateway.store.sqlite import SqliteStore
from gateway.webhooks import Order, Stretch, Webhook, Webhooks
from gateway.webhooks.courier import Courier
from gateway.webhooks.message import Composer
from gateway.webhooks.target import Targets
from protocols.observation import Kind
from tests.gateway.people import NOW_MS, Clinic, nobodys
from tests.gateway.receiver import Receiver, deliver, receiver, status
from tests.gateway.stations import (
    CUFF,
    METER,
    MINUTE_MS,
    START_MS,
    glucose,
    pressure,
)
from tests.gateway.test_webhooks import call

HOUR_MS = 3_600_000
GIVE_UP_MS = 8 * HOUR_MS
NOON_MS = START_MS + 10 * MINUTE_MS
START, NOON = "2026-03-01T07:30:00.000Z", "2026-03-01T07:40:00.000Z"
_HERE = ("127.0.0.0/8",)


@dataclass
class Office(Clinic):
    """A clinic that tells others."""

    hooks: Webhooks = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.hooks = Webhooks(self.store.database)

    def hook(self, url: str, patient: Patient | None = None, **more: object) -> int:
        new = Webhook(
            0,
            self.tenant,
            url,
            patient=None if patient is None else patient.id,
            created_ms=self.now_ms,
            **more,
        )
        with self.access.recorded(LOCAL, "webhook.made") as change:
            return self.hooks.add(change, new, self.store.last())[0].id

    def work(self, most: int = 100) -> int:
        """Tell what is due now, until nothing is; return how many turns that took."""
        return asyncio.run(self._working(most))

    async def _working(self, most: int) -> int:
        courier = Courier(
            self.hooks,
            Composer(self.store, self.registry, self.access, most),
            self.access,
            Targets(_HERE),
            give_up_ms=GIVE_UP_MS,
            now_ms=lambda: self.now_ms,
            chance=lambda: 1.0,
        )
        turns = 0
        while worked := await deliver(courier):
            turns += worked
        return turns

    def stretch(self, hook: int, *, dead: bool = False) -> Stretch:
        """Return what a webhook is to be told of revisions."""
        (found,) = [
            one
            for one in self.hooks.stretches([hook], dead=dead)
            if one.about == Order.REVISIONS
        ]
        return found

    def lend(self, minutes: int = 20) -> None:
        """Let a meter and a cuff tell a reading each minute that is nobody's yet."""
        times = [START_MS + minute * MINUTE_MS for minute in range(minutes)]
        self.send(
            *(nobodys(glucose(at, utc_ms=ms)) for at, ms in enumerate(times)),
            nobodys(pressure(0, 120, 80, 60)),
        )


@pytest.fixture(params=["sqlite_store", "postgres_store"])
def office(request: pytest.FixtureRequest) -> Office:
    found = Office(request.getfixturevalue(request.param))
    found.lend()
    return found


@pytest.fixture
def receivers() -> Iterator[list[Receiver]]:
    """Four receivers."""
    with receiver() as one, receiver() as two, receiver() as three, receiver() as four:
        yield [one, two, three, four]


@pytest.fixture
def there(receivers: list[Receiver]) -> Receiver:
    return receivers[0]


def revised(there: Receiver) -> list[dict[str, object]]:
    """Return what a receiver was told of revisions, and see that it is no more."""
    found = []
    for one in there.calls:
        body = json.loads(one.body)
        if body["type"] == "readings.revised":
            assert body.keys() == {"type", "timestamp", "data"}
            assert body["data"].keys() == {"revisions"}
            found += body["data"]["revisions"]
    there.calls.clear()
    return found


def span(
    patient: Patient, since: str | None, until: str | None, reading: int | None = None
) -> dict[str, object]:
    return {
        "patient": str(patient.id),
        "since": since,
        "until": until,
        "reading": None if reading is None else str(reading),
    }


def test_the_old_and_the_new_patients_webhooks_are_told_and_no_other(
    office: Office, receivers: list[Receiver]
) -> None:
    """The one shows another person's reading, the other lacks it, until they ask."""
    old, new, third = (office.patient(name) for name in ("P-1", "P-2", "P-3"))
    made = office.attribute(old, METER.id)
    hooks = [
        office.hook(there.url, patient, whole=True)
        for there, patient in zip(receivers, (old, new, third, None), strict=True)
    ]
    office.work()

    office.attribute(new, METER.id, NOON_MS, replaces=made.id)
    office.work()

    assert revised(receivers[0]) == [span(old, None, None)]
    assert revised(receivers[1]) == [span(new, NOON, None)]
    assert receivers[2].calls == []
    assert receivers[3].calls == [], "raw readings are nobody's"
    assert [len(office.hooks.stretches([one], dead=False)) for one in hooks] == [
        2, 2, 2, 1,
    ]  # fmt: skip
    told = [
        (one.patient, one.what)
        for one in office.audit.entries("clinic", 0, 99)
        if one.action == "webhook.told"
    ]
    assert {patient for patient, _ in told} == {old.id, new.id}
    assert all(what.startswith("revisions 1: ") for _, what in told)


def test_a_claim_and_a_new_name_are_told(office: Office, there: Receiver) -> None:
    patient = office.patient("P-1")
    office.hook(there.url, patient)
    loose = office.store.readings(Filter(kind=Kind.GLUCOSE), 0, 99)[10]
    stored = office.chart.check_claim(patient, loose.id)

    with office.store.database.change() as change:
        office.chart.claim(change, stored, patient.id, "why", "desk", office.now_ms)
    office.work()
    assert revised(there) == [
        span(patient, NOON, "2026-03-01T07:40:00.001Z", stored.id)
    ]
    with office.store.database.change() as change:
        office.chart.release(change, stored.id, patient.id, "desk", office.now_ms)
        office.registry.revise(change, replace(patient, name="P-9"), office.now_ms)
    office.work()

    assert revised(there) == [
        span(patient, NOON, "2026-03-01T07:40:00.001Z", stored.id),
        span(patient, None, None),
    ]


def test_a_programme_is_told_of_whom_it_may_see_now(
    office: Office, there: Receiver
) -> None:
    """That a patient's devices changed is news of them, like a reading."""
    agrees, refuses = office.patient("P-1"), office.patient("P-2")
    study = office.programme("study", Purpose.RESEARCH)
    consent = office.consent(agrees, study)
    hook = office.hook(there.url, programme=study.id)
    office.attribute(refuses, CUFF.id)
    made = office.attribute(agrees, METER.id, START_MS, NOON_MS)
    office.work()
    assert revised(there) == [span(agrees, START, NOON)]

    with office.store.database.change() as change:
        office.consents.withdraw(change, consent.id, agrees.id, "desk", office.now_ms)
    office.attribute(refuses, METER.id, START_MS, NOON_MS, replaces=made.id)
    office.work()

    assert there.calls == []
    last = office.store.database.rows("SELECT last FROM revised")[0][0]
    assert office.stretch(hook).after == last


@pytest.mark.parametrize(
    ("grant", "told"),
    [
        (Grant(), (START, NOON)),
        (Grant(frozenset({Kind.GLUCOSE})), (START, NOON)),
        (Grant(frozenset({Kind.BLOOD_PRESSURE})), None),
        (Grant(None, NOON_MS - 1), ("2026-03-01T07:39:59.999Z", NOON)),
        (Grant(None, NOON_MS), None),
        (Grant(None, None, START_MS + 1), (START, "2026-03-01T07:30:00.001Z")),
        (Grant(None, None, START_MS), None),
        (Grant(None, START_MS - 1, NOON_MS + 1), (START, NOON)),
    ],
)
def test_of_a_revision_no_more_is_told_than_was_agreed_to(
    sqlite_store: SqliteStore,
    there: Receiver,
    grant: Grant,
    told: tuple[str, str] | None,
) -> None:
    """Nor that they have a device whose readings are none of its business."""
    office = Office(sqlite_store)
    office.lend()
    patient, study = office.patient("P-1"), office.programme("study")
    office.consent(patient, study, grant)
    office.hook(there.url, programme=study.id)

    office.attribute(patient, METER.id, START_MS, NOON_MS)
    office.work()

    assert revised(there) == ([] if told is None else [span(patient, *told)])


def test_a_claim_beside_what_was_agreed_to_is_not_told(
    sqlite_store: SqliteStore, receivers: list[Receiver]
) -> None:
    """By the very kind of the reading, and without a time only where none limits."""
    office = Office(sqlite_store)
    office.lend()
    office.send(
        replace(nobodys(glucose(99)), utc_ms=None, time_method=0, time_bound_ms=None)
    )
    untimed = office.store.last()
    cuff = office.store.readings(Filter(kind=Kind.BLOOD_PRESSURE), 0, 1)[0].id
    patient = office.patient("P-1")
    for there, grant in zip(
        receivers,
        (
            Grant(),
            Grant(frozenset({Kind.GLUCOSE})),
            Grant(frozenset({Kind.BLOOD_PRESSURE})),
            Grant(None, ALWAYS_MS),
        ),
        strict=True,
    ):
        study = office.programme(f"study {there.url}")
        office.consent(patient, study, grant)
        office.hook(there.url, programme=study.id)
    for number in (untimed, cuff):
        stored = office.chart.check_claim(patient, number)
        with office.store.database.change() as change:
            office.chart.claim(change, stored, patient.id, "why", "desk", office.now_ms)

    office.work()

    assert [[one["reading"] for one in revised(there)] for there in receivers] == [
        [str(untimed), str(cuff)],
        [str(untimed)],
        [str(cuff)],
        [str(cuff)],
    ]


def test_a_claim_of_what_is_gone_is_told_where_its_kind_may_be(
    sqlite_store: SqliteStore, receivers: list[Receiver]
) -> None:
    """When it was erased, or archived, is no news to who may not see that kind."""
    office = Office(sqlite_store)
    office.lend()
    cuff = office.store.readings(Filter(kind=Kind.BLOOD_PRESSURE), 0, 1)[0].id
    patient = office.patient("P-1")
    limited = {
        "glucose": Grant(frozenset({Kind.GLUCOSE})),
        "pressure": Grant(frozenset({Kind.BLOOD_PRESSURE})),
        "all": Grant(),
    }
    for there, (name, grant) in zip(receivers[:3], limited.items(), strict=True):
        study = office.programme(name)
        office.consent(patient, study, grant)
        office.hook(there.url, programme=study.id)
    office.hook(receivers[3].url, patient, kinds=frozenset({Kind.GLUCOSE}))
    stored = office.chart.check_claim(patient, cuff)
    with office.store.database.change() as change:
        office.chart.claim(change, stored, patient.id, "why", "desk", office.now_ms)
        change.rows("DELETE FROM reading WHERE id = :id", id=cuff)

    office.work()
    assert [len(revised(there)) for there in receivers] == [0, 1, 1, 0]

    with office.store.database.change() as change:
        office.chart.release(change, cuff, patient.id, "desk", office.now_ms)
    office.work()
    assert [len(revised(there)) for there in receivers] == [0, 0, 1, 0]


def test_a_claim_at_the_end_of_time_is_told_without_an_end(
    sqlite_store: SqliteStore, there: Receiver
) -> None:
    """A meter's clock may say so, and no date is written beyond the year 9999."""
    office = Office(sqlite_store)
    office.send(nobodys(glucose(0, utc_ms=253_402_300_799_999)))
    patient = office.patient("P-1")
    office.hook(there.url, patient)
    stored = office.chart.check_claim(patient, 1)
    with office.store.database.change() as change:
        office.chart.claim(change, stored, patient.id, "why", "desk", office.now_ms)

    office.work()

    assert revised(there) == [span(patient, "9999-12-31T23:59:59.999Z", None, 1)]


def test_a_device_that_has_told_nothing_of_a_kind_moves_nothing(
    sqlite_store: SqliteStore, there: Receiver
) -> None:
    """Each hand-over of a new device would else make everybody ask for nothing."""
    office = Office(sqlite_store)
    office.lend()
    patient = office.patient("P-1")
    office.hook(there.url, patient, kinds=frozenset({Kind.BLOOD_PRESSURE}))

    office.attribute(patient, METER.id)
    office.work()
    assert there.calls == []
    office.attribute(patient, CUFF.id)
    office.work()
    assert len(revised(there)) == 1


def test_what_fails_of_one_order_does_not_hold_up_the_other(
    office: Office, there: Receiver
) -> None:
    patient = office.patient("P-1")
    made = office.attribute(patient, METER.id)
    hook = office.hook(there.url, patient)

    def refusing(kind: str) -> None:
        there.answer = lambda asked: status(
            asked, 500 if kind in there.calls[-1].body.decode() else 204
        )

    refusing("readings.revised")
    again = office.attribute(patient, METER.id, NOON_MS, replaces=made.id)
    office.work()
    office.send(nobodys(glucose(50, utc_ms=NOON_MS + HOUR_MS)))
    office.work()
    assert there.calls[-1].ids == [str(office.store.last())]
    assert office.stretch(hook).attempts == 1
    shown = call(office.store, "GET", f"/{hook}").json()
    assert (shown["failures"], shown["problem"]) == (1, "answered 500")

    office.now_ms = office.stretch(hook).due_ms
    refusing("readings.stored")
    office.send(nobodys(glucose(51, utc_ms=NOON_MS + 2 * HOUR_MS)))
    office.work()
    there.calls.clear()
    office.attribute(patient, METER.id, replaces=again.id)
    office.work()
    assert revised(there) == [span(patient, None, None)]


def test_a_revision_is_told_once_under_an_id_of_its_own(
    office: Office, there: Receiver
) -> None:
    """In parts of a hundred, each the same however often it is tried."""
    patient = office.patient("P-1")
    hook = office.hook(there.url, patient)
    for number in range(7):
        office.attribute(
            patient,
            METER.id,
            START_MS + number * MINUTE_MS,
            START_MS + (number + 1) * MINUTE_MS,
        )
    there.answer = lambda asked: status(asked, 503)
    office.work(most=3)
    office.now_ms += HOUR_MS
    there.answer = lambda asked: status(asked, 204)
    office.work(most=3)

    numbers = [one.headers["webhook-id"] for one in there.calls]
    first = office.store.database.rows("SELECT min(id) FROM revision")[0][0]
    assert first == 1
    assert numbers == [
        f"msg_{hook}_revisions_1_4",
        f"msg_{hook}_revisions_1_4",
        f"msg_{hook}_revisions_4_7",
        f"msg_{hook}_revisions_7_8",
    ]
    told = revised(there)
    assert len(told) == 3 + 7
    assert office.work() == 0


def test_a_revision_that_cannot_be_told_is_a_dead_letter_of_its_own(
    office: Office, there: Receiver
) -> None:
    patient = office.patient("P-1")
    hook = office.hook(there.url, patient)
    there.answer = lambda asked: status(asked, 500)
    made = office.attribute(patient, METER.id)
    office.send(nobodys(glucose(50, utc_ms=NOON_MS + HOUR_MS)))
    office.work()
    office.now_ms += GIVE_UP_MS
    office.work()
    later = office.attribute(patient, METER.id, NOON_MS, replaces=made.id)
    office.work()

    letters = call(office.store, "GET", f"/{hook}/dead").json()["dead"]
    assert sorted(one["about"] for one in letters) == ["readings", "revisions"]
    dead = office.stretch(hook, dead=True)
    assert (dead.after, dead.through) == (1, 2)
    there.answer = lambda asked: status(asked, 204)
    office.now_ms += HOUR_MS
    there.calls.clear()
    office.work()
    assert revised(there) == [span(patient, None, None)], f"attribution {later.id}"

    again = f"/{hook}/dead/{dead.id}/replay"
    assert call(office.store, "POST", again).status_code == 204
    office.now_ms = time.time_ns() // 1_000_000 + 1  # the API goes by the clock
    office.work()
    assert revised(there) == [span(patient, None, None)]
    assert [one.about for one in office.hooks.stretches([hook], dead=True)] == [
        Order.READINGS
    ]


def test_the_commands_show_both_orders(
    sqlite_store: SqliteStore, there: Receiver, tmp_path: Path
) -> None:
    office = Office(sqlite_store)
    office.lend()
    patient = office.patient("P-1")
    office.hook(there.url, patient)
    there.answer = lambda asked: status(asked, 500)
    office.attribute(patient, METER.id)
    office.work()
    office.now_ms += GIVE_UP_MS
    office.work()

    def run(*words: str) -> str:
        done = CliRunner().invoke(
            gateway, ["webhooks", *words, "--data", str(tmp_path)]
        )
        assert done.exit_code == 0, done.output
        return done.stdout

    assert "1 dead" in run("list")
    assert "revisions 2 to 2  answered 500" in run("dead")
    assert json.loads(run("dead", "--json"))["about"] == "revisions"
    run("replay", "--all")
    assert run("dead") == ""


def test_a_reading_on_its_way_is_told_before_it_is_revised(
    office: Office, there: Receiver
) -> None:
    """Told after it, as whose it was before, it would stay theirs there for ever."""
    old, new = office.patient("P-1"), office.patient("P-2")
    made = office.attribute(old, METER.id)
    hook = office.hook(there.url, old)
    office.work()
    office.send(nobodys(glucose(50, utc_ms=NOON_MS)))
    moved: list[bool] = []

    def slow(asked: object) -> None:
        """Answer a message only after its reading is another's, and somebody worked."""
        if not moved:
            moved.append(True)
            office.attribute(new, METER.id, replaces=made.id)
            assert office.work() == 0, "its other messages wait"
        status(asked, 204)

    there.answer = slow
    office.work()

    kinds = [json.loads(one.body)["type"] for one in there.calls]
    assert kinds == ["readings.stored", "readings.revised"]
    assert office.hooks.stretches([hook], dead=True) == []


def test_a_backlog_of_readings_lets_revisions_through(
    office: Office, there: Receiver
) -> None:
    """A week's readings are told in many turns, and a revision has one of its own."""
    patient = office.patient("P-1")
    made = office.attribute(patient, METER.id)
    hook = office.hook(there.url, patient)
    office.send(
        *(nobodys(glucose(at, utc_ms=NOON_MS + HOUR_MS + at)) for at in range(100, 150))
    )
    office.attribute(patient, METER.id, NOON_MS, replaces=made.id)

    def slow(asked: object) -> None:
        office.now_ms += 1
        status(asked, 204)

    there.answer = slow
    office.work(most=1)

    kinds = [json.loads(one.body)["type"] for one in there.calls]
    assert kinds.count("readings.stored") == 50
    assert 0 < kinds.index("readings.revised") < 49
    assert office.stretch(hook).after > 0


def test_a_subscription_is_told_too(office: Office, there: Receiver) -> None:
    """It has no payload either, so what to do is the same: search."""
    patient, new = office.patient("P-1"), office.patient("P-2")
    made = office.attribute(patient, METER.id)
    kept = Subscriptions(office.store, office.registry, office.access, Targets(_HERE))
    shown = kept.add(
        replace(LOCAL, tenant="clinic"),
        {
            "resourceType": "Subscription",
            "status": "requested",
            "reason": "to know",
            "criteria": f"Observation?patient={patient.id}",
            "channel": {"type": "rest-hook", "endpoint": there.url},
        },
    )
    there.answer = lambda asked: status(asked, 500)
    office.attribute(new, METER.id, replaces=made.id)
    office.work()

    assert revised(there) == [span(patient, None, None)]
    found = kept.find(LOCAL, int(str(shown["id"])))
    assert found is not None
    assert (found["status"], found["error"]) == ("error", "answered 500")


def test_gateways_take_one_stretch_of_a_webhook_at_a_time(office: Office) -> None:
    hook = office.hook("https://receiver.example/", office.patient("P-1"))
    office.attribute(office.registry.patient(1), METER.id)
    office.send(nobodys(glucose(50)))
    last = {Order.READINGS: office.store.last(), Order.REVISIONS: 2}

    def take(holder: str, at_ms: int) -> list[Order]:
        taken = office.hooks.take(
            holder, last=last, now_ms=at_ms, until_ms=at_ms + 60_000, most=8
        )
        assert {one.webhook.id for one in taken} <= {hook}
        return [one.stretch.about for one in taken]

    assert take("first", NOW_MS) == [Order.READINGS]
    assert take("second", NOW_MS + 60_000) == []
    (state,) = [
        one
        for one in office.hooks.stretches([hook], dead=False)
        if one.about == Order.READINGS
    ]
    assert not office.hooks.told(
        "first", state, last[Order.READINGS], now_ms=NOW_MS, on=False
    )
    assert take("second", NOW_MS + 60_000) == [Order.REVISIONS]


def test_a_gateway_that_stood_still_sends_nothing_of_before(office: Office) -> None:
    """Another may have told a revision since, and what it composed is not so now."""
    hook = office.hook("https://receiver.example/", office.patient("P-1"))
    far = dict.fromkeys(Order, 1 << 40)

    def take(holder: str, at_ms: int) -> Stretch:
        (taken,) = office.hooks.take(
            holder, last=far, now_ms=at_ms, until_ms=at_ms + 60_000, most=8
        )
        assert taken.webhook.id == hook
        return taken.stretch

    def begin(stretch: Stretch, at_ms: int) -> bool:
        with office.store.database.change() as change:
            return office.hooks.begin(
                change,
                "first",
                stretch.id,
                reached=stretch.after + 1,
                now_ms=at_ms,
                until_ms=at_ms + 60_000,
            )

    readings = take("first", NOW_MS)
    assert begin(readings, NOW_MS + 60_000)
    ended_ms = NOW_MS + 120_001
    office.hooks.failed("second", readings, "x", now_ms=ended_ms, due_ms=ended_ms)
    with office.store.database.change() as change:  # what was due first
        change.rows("UPDATE stretch SET due_ms = 0 WHERE about = 'revisions'")
    assert take("second", ended_ms).about == Order.REVISIONS

    assert not begin(readings, ended_ms)
    # What was sent in time was told, however late the answer is noted.
    office.hooks.told("first", readings, readings.after + 1, now_ms=ended_ms, on=False)
    (now,) = [
        one
        for one in office.hooks.stretches([hook], dead=False)
        if one.about == Order.READINGS
    ]
    assert now.after == readings.after + 1


def test_dead_letters_of_the_two_orders_stay_apart(office: Office) -> None:
    """Numbers of both may be the same, and one letter would be told as the other."""
    hook = office.hook("https://receiver.example/", office.patient("P-1"))
    far = dict.fromkeys(Order, 1 << 40)

    def take() -> Stretch:
        (taken,) = office.hooks.take(
            "first", last=far, now_ms=NOW_MS, until_ms=NOW_MS + 1, most=8
        )
        return taken.stretch

    readings = take()
    end = readings.after + 1
    office.hooks.give_up("first", readings, end, "x")
    office.hooks.failed("first", readings, "x", now_ms=NOW_MS, due_ms=NOW_MS + 1)
    revisions = take()
    office.hooks.told("first", revisions, end, now_ms=NOW_MS, on=True)
    office.hooks.give_up("first", replace(revisions, after=end), end + 1, "x")

    dead = office.hooks.stretches([hook], dead=True)
    assert [(one.about, one.after, one.through) for one in dead] == [
        (Order.READINGS, end - 1, end),
        (Order.REVISIONS, end, end + 1),
    ]

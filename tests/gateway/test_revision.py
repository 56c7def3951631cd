"""Revisions: what is written down when readings change hands, and in which order."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import apsw
import psycopg
import pytest

from gateway.access import Role
from gateway.attribution import Theirs
from gateway.bench.servers import Postgres
from gateway.erasure import Erasure
from gateway.registry import ALWAYS_MS, OPEN_MS, Attribution, Patient, Taken
from gateway.revision import Revisions
from gateway.store import Filter
from gateway.store import postgres as on_postgres
from gateway.store import sqlite as on_sqlite
from gateway.store.database import Change, Database
from gateway.store.postgres import PostgresStore
from gateway.store.sqlite import SqliteStore
from gateway.webhooks import Order, Webhook, Webhooks
from tests.gateway.people import Clinic, nobodys
from tests.gateway.stations import METER, MINUTE_MS, START_MS, eventually, glucose

NOON_MS = START_MS + 10 * MINUTE_MS


@dataclass
class Watched(Clinic):
    """A clinic, and how far somebody has seen what is revised there."""

    seen: int = 0

    def revised(self) -> list[tuple[object, ...]]:
        """Return what was revised since the last look, in order."""
        revisions = Revisions(self.store.database)
        rows = revisions.listed(self.seen, 100)
        assert [one.id for one in rows] == [*range(self.seen + 1, revisions.last() + 1)]
        assert {(one.tenant, one.made_ms) for one in rows} <= {("clinic", self.now_ms)}
        self.seen = revisions.last()
        return [
            (one.patient, one.device, one.reading, one.from_ms, one.until_ms)
            for one in rows
        ]


@pytest.fixture(params=["sqlite_store", "postgres_store"])
def clinic(request: pytest.FixtureRequest) -> Watched:
    found = Watched(request.getfixturevalue(request.param))
    found.send(nobodys(glucose(0)))
    return found


def test_an_attribution_says_whose_span_came_and_whose_went(clinic: Watched) -> None:
    """The one before loses what the next one gets, and both are to be told."""
    first, second = clinic.patient("P-1"), clinic.patient("P-2")
    device = clinic.device(METER.id)
    assert clinic.revised() == [
        (first.id, None, None, ALWAYS_MS, OPEN_MS),
        (second.id, None, None, ALWAYS_MS, OPEN_MS),
    ]

    made = clinic.attribute(first, METER.id, START_MS, NOON_MS)
    assert clinic.revised() == [(first.id, device, None, START_MS, NOON_MS)]

    other = clinic.attribute(second, METER.id, START_MS, replaces=made.id)
    assert sorted(clinic.revised()) == [
        (first.id, device, None, START_MS, NOON_MS),
        (second.id, device, None, START_MS, OPEN_MS),
    ]

    # Of the same patient it is one: all that either of them holds.
    kept = clinic.attribute(second, METER.id, NOON_MS, replaces=other.id)
    assert clinic.revised() == [(second.id, device, None, START_MS, OPEN_MS)]

    with clinic.store.database.change() as change:
        clinic.registry.attributions.take_back(
            change, kept.id, "clinic", "desk", clinic.now_ms
        )
    assert clinic.revised() == [(second.id, device, None, NOON_MS, OPEN_MS)]


def test_a_claim_made_or_released_says_which_reading(clinic: Watched) -> None:
    patient = clinic.patient("P-1")
    clinic.send(nobodys(glucose(1, utc_ms=NOON_MS)))
    clinic.send(
        replace(nobodys(glucose(2)), utc_ms=None, time_method=0, time_bound_ms=None)
    )
    _, timed, untimed = clinic.store.readings(Filter(), 0, 9)
    clinic.revised()

    for stored, span in (
        (timed, (NOON_MS, NOON_MS + 1)),
        (untimed, (ALWAYS_MS, OPEN_MS)),
    ):
        one = clinic.chart.check_claim(patient, stored.id)
        with clinic.store.database.change() as change:
            clinic.chart.claim(change, one, patient.id, "why", "desk", clinic.now_ms)
        assert clinic.revised() == [(patient.id, None, stored.id, *span)]
        clinic.now_ms += 1
        with clinic.store.database.change() as change:
            assert clinic.chart.release(
                change, stored.id, patient.id, "desk", clinic.now_ms
            )
            assert not clinic.chart.release(
                change, stored.id, patient.id, "desk", clinic.now_ms
            )
        assert clinic.revised() == [(patient.id, None, stored.id, *span)]


def test_a_released_claim_is_told_to_whose_the_reading_is_then(
    clinic: Watched,
) -> None:
    """An attribution of meanwhile told them nothing of a reading that was claimed."""
    patient, other, third = (clinic.patient(f"P-{at}") for at in range(3))
    clinic.send(replace(glucose(1), person="P-9"))
    timed, named = clinic.store.readings(Filter(), 0, 9)
    for stored in (timed, named):
        one = clinic.chart.check_claim(patient, stored.id)
        with clinic.store.database.change() as change:
            clinic.chart.claim(change, one, patient.id, "why", "desk", clinic.now_ms)
    clinic.attribute(other, METER.id)
    with clinic.store.database.change() as change:
        clinic.registry.revise(change, replace(third, name="P-9"), clinic.now_ms)
    clinic.revised()

    for stored, whose in ((timed, other), (named, third)):
        with clinic.store.database.change() as change:
            clinic.chart.release(change, stored.id, patient.id, "desk", clinic.now_ms)
        utc_ms = stored.reading.utc_ms
        assert utc_ms is not None
        span = (None, stored.id, utc_ms, utc_ms + 1)
        assert clinic.revised() == [(patient.id, *span), (whose.id, *span)]


def test_what_became_somebodys_since_it_was_looked_at_is_not_claimed(
    clinic: Watched,
) -> None:
    """Its patient would lose it, and never be told."""
    patient, other = clinic.patient("P-1"), clinic.patient("P-2")
    (loose,) = clinic.store.readings(Filter(), 0, 9)
    checked = clinic.chart.check_claim(patient, loose.id)
    clinic.attribute(other, METER.id)
    clinic.revised()

    with (
        pytest.raises(Taken, match=f"became patient {other.id}'s meanwhile"),
        clinic.store.database.change() as change,
    ):
        clinic.chart.claim(change, checked, patient.id, "why", "desk", clinic.now_ms)

    assert clinic.registry.whose([loose]) == [other.id]
    assert clinic.revised() == []


def test_a_claim_waits_for_an_attribution_that_is_being_made(
    postgres_store: PostgresStore,
) -> None:
    """Both would see that the reading is nobody's."""
    clinic = Clinic(postgres_store)
    clinic.send(nobodys(glucose(0)))
    patient, other = clinic.patient("P-1"), clinic.patient("P-2")
    checked = clinic.chart.check_claim(patient, 1)
    device = clinic.device(METER.id)
    new = Attribution(
        0, "clinic", device, None, other.id, ALWAYS_MS, OPEN_MS, "x", 1, "desk"
    )

    def attribute(change: Change) -> int:
        return clinic.registry.attributions.attribute(change, new).id

    def claim(change: Change) -> int:
        with pytest.raises(Taken):
            clinic.chart.claim(change, checked, patient.id, "x", "desk", 1)
        return 0

    _one_after_the_other(postgres_store.database, attribute, claim)

    assert clinic.registry.whose([checked]) == [other.id]


def test_a_name_given_or_changed_says_all_of_time(clinic: Watched) -> None:
    """Stations may have told it for years; what else is changed moves no reading."""
    patient = clinic.patient("P-1")
    clinic.revised()
    clinic.now_ms += 1
    with clinic.store.database.change() as change:
        patient = clinic.registry.revise(
            change, replace(patient, family="Braun"), clinic.now_ms
        )
    assert clinic.revised() == []
    assert patient.named_ms == patient.created_ms

    with clinic.store.database.change() as change:
        patient = clinic.registry.revise(
            change, replace(patient, name="P-2"), clinic.now_ms
        )
    assert clinic.revised() == [(patient.id, None, None, ALWAYS_MS, OPEN_MS)]
    assert patient.named_ms == clinic.now_ms
    assert clinic.registry.patient(patient.id) == patient


def test_what_is_refused_says_nothing(clinic: Watched) -> None:
    first, second = clinic.patient("P-1"), clinic.patient("P-2")
    clinic.attribute(first, METER.id)
    clinic.revised()

    with pytest.raises(Taken):
        clinic.attribute(second, METER.id, NOON_MS)
    with pytest.raises(Taken):
        clinic.patient("P-1")

    assert clinic.revised() == []


def test_why_a_reading_is_somebodys_and_since_when(clinic: Watched) -> None:
    """An export of what has changed since goes by it."""
    patient, other = clinic.patient("P-1"), clinic.patient("P-2")
    clinic.send(nobodys(glucose(1, utc_ms=NOON_MS)), replace(glucose(2), person="P-2"))
    _, loose, named = clinic.store.readings(Filter(), 0, 9)

    def why(stored: object) -> tuple[int, str, int] | None:
        (found,) = clinic.registry.theirs([stored])
        assert clinic.registry.whose([stored]) == [found and found.patient]
        return found and (found.patient, found.fact, found.since_ms)

    assert why(loose) is None
    assert why(named) == (other.id, f"name-{other.id}", clinic.now_ms)
    checked = clinic.chart.check_claim(patient, loose.id)
    clinic.now_ms += 1
    with clinic.store.database.change() as change:
        claim = clinic.chart.claim(
            change, checked, patient.id, "why", "desk", clinic.now_ms
        )
    assert why(loose) == (patient.id, f"claim-{claim.id}", clinic.now_ms)
    clinic.now_ms += 1
    made = clinic.attribute(other, METER.id)
    assert why(loose) == (patient.id, f"claim-{claim.id}", clinic.now_ms - 1)
    clinic.now_ms += 1
    with clinic.store.database.change() as change:
        clinic.chart.release(change, loose.id, patient.id, "desk", clinic.now_ms)
    # The attribution is older, and said nothing of it until now.
    assert why(loose) == (other.id, f"attribution-{made.id}", clinic.now_ms)


def test_what_became_theirs_after_a_claim_ended_is_as_new_as_that(
    clinic: Watched,
) -> None:
    """As old as the end of the claim, an export of what has changed would miss it."""
    patient, other = clinic.patient("P-1"), clinic.patient("P-2")
    checked = clinic.chart.check_claim(patient, 1)
    with clinic.store.database.change() as change:
        clinic.chart.claim(change, checked, patient.id, "why", "desk", clinic.now_ms)
    clinic.now_ms += 1
    with clinic.store.database.change() as change:
        clinic.chart.release(change, 1, patient.id, "desk", clinic.now_ms)
    clinic.now_ms += 1
    made = clinic.attribute(other, METER.id)

    (why,) = clinic.registry.theirs([checked])

    assert why == Theirs(other.id, f"attribution-{made.id}", clinic.now_ms)


def test_erasure_takes_what_was_revised_of_a_patient(clinic: Watched) -> None:
    """When a person changed hands with a device is about them."""
    patient, other = clinic.patient("P-1"), clinic.patient("P-2")
    clinic.attribute(patient, METER.id)
    who, _ = clinic.token(Role.STEWARD)

    Erasure(clinic.store, clinic.chart, clinic.access).erase(who, patient)

    revisions = Revisions(clinic.store.database)
    assert [one.patient for one in revisions.listed(0, 9)] == [other.id]
    assert revisions.last() == 3, "no number is given twice"


def test_an_erasure_takes_nobody_elses_time_back(clinic: Watched) -> None:
    """A reading that became somebody's would look as if it always had been.

    An export of what has changed since would not have it.
    """
    patient, other = clinic.patient("P-1"), clinic.patient("P-2")
    checked = clinic.chart.check_claim(other, 1)
    with clinic.store.database.change() as change:
        clinic.chart.claim(change, checked, other.id, "why", "desk", clinic.now_ms)
    clinic.now_ms += 1
    made = clinic.attribute(patient, METER.id)
    clinic.now_ms += 1
    with clinic.store.database.change() as change:
        clinic.chart.release(change, 1, other.id, "desk", clinic.now_ms)
    since_ms = clinic.now_ms
    clinic.now_ms += 1
    who, _ = clinic.token(Role.STEWARD)
    erasure = Erasure(clinic.store, clinic.chart, clinic.access)

    erasure.erase(who, other)
    (why,) = clinic.registry.theirs([checked])
    assert why == Theirs(patient.id, f"attribution-{made.id}", since_ms)
    assert clinic.store.database.rows("SELECT count(*) FROM claim") == [(0,)]

    erasure.erase(who, patient)
    assert clinic.store.database.rows("SELECT count(*) FROM released") == [(0,)]


def test_a_later_revision_waits_for_an_earlier_ones_commit(
    postgres_store: PostgresStore,
) -> None:
    """Who has told up to a number never looks behind it again."""
    clinic = Clinic(postgres_store)
    revisions = Revisions(postgres_store.database)
    now_ms, seen = clinic.now_ms, list[int]()

    def add(tenant: str) -> Callable[[Change], int]:
        def adding(change: Change) -> int:
            new = Patient(0, tenant, "P-1")
            made = clinic.registry.add(change, new, now_ms)
            seen.append(revisions.last())
            return made.id

        return adding

    both = _one_after_the_other(postgres_store.database, add("clinic"), add("other"))

    assert seen == [0, 1]
    assert [one.patient for one in revisions.listed(0, 9)] == [*both]
    assert both == tuple(sorted(both))


def test_lists_of_webhooks_and_attributions_are_in_order_of_commit(
    postgres_store: PostgresStore,
) -> None:
    """Who walks a list would never see one that is committed behind its cursor."""
    one, two = Clinic(postgres_store), Clinic(postgres_store, "other")
    hooks, database = Webhooks(postgres_store.database), postgres_store.database
    for clinic in (one, two):
        clinic.send(nobodys(glucose(0)))
    patients = {clinic.tenant: clinic.patient("P-1") for clinic in (one, two)}

    def hook(clinic: Clinic, change: Change) -> int:
        new = Webhook(0, clinic.tenant, "https://receiver.example/")
        return hooks.add(change, new, 0)[0].id

    def attribution(clinic: Clinic, change: Change) -> int:
        device, patient = clinic.device(METER.id), patients[clinic.tenant].id
        made = Attribution(
            0, clinic.tenant, device, None, patient, ALWAYS_MS, OPEN_MS, "x", 1, "desk"
        )
        return clinic.registry.attributions.attribute(change, made).id

    for make in (hook, attribution):
        first, second = _one_after_the_other(
            database, partial(make, one), partial(make, two)
        )
        assert first < second


def _one_after_the_other(
    database: Database,
    first: Callable[[Change], int],
    second: Callable[[Change], int],
) -> tuple[int, int]:
    """Begin a change, then another, and see that it waits for the end of the first."""
    done: list[int] = []

    def other() -> None:
        with database.change() as change:
            done.append(second(change))

    waiting = threading.Thread(target=other)
    with database.change() as change:
        number = first(change)
        waiting.start()
        assert eventually(lambda: bool(done or database.rows(_WAITS)))
        assert not done
        assert database.rows(_WAITS)
    waiting.join()
    return number, done[0]


_WAITS = """
    SELECT 1 FROM pg_stat_activity
    WHERE wait_event_type = 'Lock' AND datname = current_database()
"""


_OLD_HOOKS = """
    INSERT INTO {} VALUES (1, 'clinic', 'https://a', 's', '', 7, NULL, 1, 5, 'x', 0);
    INSERT INTO {} VALUES (2, 'clinic', 'https://b', 's', '', NULL, 3, 1, 5, 'x', 0);
    INSERT INTO {} VALUES (3, '', 'https://c', 's', '', NULL, NULL, 1, 5, 'x', 0);
"""
_OLD_STRETCHES = """
    INSERT INTO webhook_stretch (webhook, after_id, due_ms) VALUES (1, 40, 6);
    INSERT INTO webhook_stretch (webhook, after_id, due_ms) VALUES (2, 41, 6);
    INSERT INTO webhook_stretch (webhook, after_id, due_ms) VALUES (3, 42, 6);
    INSERT INTO webhook_stretch (webhook, dead, after_id, through_id, due_ms)
        VALUES (1, 1, 9, 12, 0);
    INSERT INTO patient (tenant, name, family, given, family_folded, given_folded,
        birth_date, gender, created_ms, updated_ms, version)
    VALUES ('clinic', 'P-1', '', '', '', '', '', '', 3, 8, 2),
        ('other', 'P-1', '', '', '', '', '', '', 3, 8, 2);
    INSERT INTO claim (reading, patient, utc_ms, evidence, made_ms, made_by, ended_ms)
    VALUES (5, 1, 1, 'x', 1, 'x', 4), (5, 1, 1, 'x', 1, 'x', 6),
        (5, 1, 1, 'x', 7, 'x', NULL), (6, 1, 1, 'x', 1, 'x', NULL)
"""


def test_webhooks_of_before_are_told_once_of_all_and_of_what_is_revised(
    tmp_path: Path, postgres_server: Postgres
) -> None:
    """Their readings go on where they were; a raw one has no revisions to be told.

    What moved before was told to nobody.
    """
    before_ms = time.time_ns() // 1_000_000
    path = tmp_path / "old.sqlite"
    connection = apsw.Connection(str(path))
    on_sqlite.migrate(connection, on_sqlite.migrations()[:7])
    connection.execute(_OLD_HOOKS.format(*["webhook"] * 3) + _OLD_STRETCHES)
    connection.close()
    sqlite = SqliteStore(path)

    postgres_server.execute("CREATE DATABASE revisions_before")
    url = postgres_server.url("revisions_before")
    with psycopg.connect(url, autocommit=True) as server:
        on_postgres.migrate(server, on_postgres.migrations()[:7])
        hooks = _OLD_HOOKS.replace("VALUES", "OVERRIDING SYSTEM VALUE VALUES")
        server.execute(hooks.format(*["webhook"] * 3) + _OLD_STRETCHES)
    postgres = PostgresStore(url)

    for store in (sqlite, postgres):
        kept = Webhooks(store.database)
        following = [
            (one.webhook, one.about.value, one.after)
            for one in kept.stretches([1, 2, 3], dead=False)
        ]
        assert sorted(following) == [
            (1, "readings", 40),
            (1, "revisions", 0),
            (2, "readings", 41),
            (2, "revisions", 0),
            (3, "readings", 42),
        ]
        (dead,) = kept.stretches([1, 2, 3], dead=True)
        assert (dead.about, dead.after, dead.through) == (Order.READINGS, 9, 12)
        clinic = Clinic(store)
        patient = clinic.registry.patient(1)
        assert patient is not None
        assert patient.named_ms == 8
        everybody = Revisions(store.database).listed(0, 9)
        assert [(one.id, one.tenant, one.patient) for one in everybody] == [
            (1, "clinic", 1),
            (2, "other", 2),
        ]
        assert {
            (one.device, one.reading, one.kind, one.from_ms, one.until_ms)
            for one in everybody
        } == {(None, None, None, ALWAYS_MS, OPEN_MS)}
        for one in everybody:
            assert before_ms <= one.made_ms <= time.time_ns() // 1_000_000
        released = store.database.rows("SELECT reading, ended_ms FROM released")
        assert released == [(5, 6)]
        clinic.patient("P-2")
        assert Revisions(store.database).last() == 3
        store.close()


def test_an_older_gateway_does_not_take_revisions_for_readings(
    postgres_url: str,
) -> None:
    """It would tell each webhook everything from the beginning."""
    with psycopg.connect(postgres_url) as server:
        ((found,),) = server.execute("SELECT to_regclass('webhook_stretch')")
    assert found is None

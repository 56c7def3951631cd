"""What is erased does not come back, and what only looks like it is kept."""

import json
from dataclasses import replace
from pathlib import Path
from random import Random

import apsw
import psycopg
import pytest
from click.testing import CliRunner

from gateway.access import LOCAL
from gateway.bench.servers import Postgres
from gateway.cli import gateway
from gateway.delivery import Message, refuse
from gateway.erasure import Erasure
from gateway.quarantine import replay
from gateway.store import Accepted, Filter, Outcome
from gateway.store import postgres as on_postgres
from gateway.store import sqlite as on_sqlite
from gateway.store.gone import IN_DOUBT, withheld
from gateway.store.rows import prepare
from gateway.store.sqlite import SqliteStore
from protocols.gatt.time import DateTime
from protocols.observation import Reading, Unit, key
from protocols.uplink import envelope
from protocols.uplink.batch import Batch, open_batch
from protocols.uplink.topics import Station
from tests.gateway.people import Clinic, nobodys
from tests.gateway.stations import METER, START_MS, accepted, glucose, pressure

OTHER = Station("clinic", "station-2")
_KEYS = "device, generation, slot, kind, ordinal, discriminator"
_DAY_MS = 86_400_000


@pytest.fixture(params=["sqlite_store", "postgres_store"])
def clinic(request: pytest.FixtureRequest) -> Clinic:
    """Each test here holds for both engines."""
    return Clinic(request.getfixturevalue(request.param))


def sent(sequence: int, **more: object) -> Reading:
    return nobodys(glucose(sequence, **more))


def pressed(sequence: int) -> Reading:
    return nobodys(pressure(sequence, 120, 80, 60))


def at(reading: Reading, moment: DateTime | None) -> Reading:
    """Return it with another clock of its device: another one of the same key."""
    return replace(
        reading, observation=replace(reading.observation, device_time=moment)
    )


def framed(reading: Reading, frame: bytes) -> Reading:
    return replace(reading, observation=replace(reading.observation, raw=(frame,)))


def later(reading: Reading) -> Reading:
    return at(reading, DateTime(2026, 4, 1, 7, 30, 0))


def erase_all(clinic: Clinic) -> None:
    patient = clinic.patient("P-1")
    clinic.attribute(patient, METER.id)
    Erasure(clinic.store, clinic.chart, clinic.access).erase(LOCAL, patient)


def kept(clinic: Clinic) -> list[Reading]:
    return [one.reading for one in clinic.store.readings(Filter(), 0, 100)]


def test_a_new_reading_under_the_key_of_an_erased_one_is_kept(clinic: Clinic) -> None:
    """A meter that was cleared counts from 1 again, and may show the same value."""
    old, new = sent(1), later(sent(1))
    assert key(new) == key(old)
    clinic.send(old)
    erase_all(clinic)

    told = clinic.store.commit(
        [accepted(2, old), accepted(3, new), accepted(4, old, new, station=OTHER)]
    )

    assert told == [Outcome(known=1), Outcome(new=1), Outcome(known=2)]
    assert kept(clinic) == [new]


def test_neither_of_two_erased_under_one_key_comes_back(clinic: Clinic) -> None:
    """One row for a key would forget the first of them."""
    old, new = sent(1), later(sent(1))
    clinic.send(old)
    erase_all(clinic)
    clinic.send(new)
    erase_all(clinic)

    assert clinic.store.commit([accepted(9, old, new)]) == [Outcome(known=2)]
    assert kept(clinic) == []


def test_nor_does_what_was_kept_beside_an_erased_one(clinic: Clinic) -> None:
    """An amendment is a report of theirs too, with a clock of its own."""
    old, new = sent(1), later(sent(1))
    clinic.send(old)
    clinic.send(new)
    assert len(clinic.store.amended(0, 10)) == 1
    erase_all(clinic)

    assert clinic.store.commit([accepted(9, new)]) == [Outcome(known=1)]
    assert kept(clinic) == []


def test_an_erased_reading_is_known_in_the_words_of_a_newer_agent(
    clinic: Clinic,
) -> None:
    """It may read a status that the older one did not, and correct the time better."""
    old = sent(1)
    clinic.send(old)
    erase_all(clinic)
    again = replace(
        old,
        observation=replace(
            old.observation,
            status=("battery_low",),
            context=(("meal", "fasting"), ("sample", "capillary_plasma")),
            offset_min=60,
            raw=(),
        ),
        driver_version="9.0",
        utc_ms=old.utc_ms + _DAY_MS,
        captured_ms=old.captured_ms + _DAY_MS,
        device=replace(METER, firmware="2.0"),
    )

    assert clinic.store.commit([accepted(9, again)]) == [Outcome(known=1)]
    assert kept(clinic) == []


def test_a_device_without_a_clock_is_known_by_number_and_value(clinic: Clinic) -> None:
    clinic.send(at(sent(1), None), at(sent(2), None))
    erase_all(clinic)

    again = [at(sent(1), None), at(sent(2, number="7.1"), None), sent(1)]

    assert clinic.store.commit([accepted(9, *again)]) == [Outcome(new=2, known=1)]


def test_the_same_values_of_another_slot_or_device_are_not_gone(clinic: Clinic) -> None:
    clinic.send(sent(1))
    erase_all(clinic)
    of_slot = replace(sent(1), observation=replace(sent(1).observation, slot=2))
    lent = sent(1, device=replace(METER, id="lent"))

    told = accepted(
        9, of_slot, lent, sent(2), sent(1, unit=Unit.MG_PER_DL, number="99")
    )

    assert clinic.store.commit([told]) == [Outcome(new=4)]


def test_nothing_left_of_an_erased_reading_tells_its_value(
    sqlite_store: SqliteStore, tmp_path: Path
) -> None:
    """Sixteen bits of the value in the key were enough to try out which it was."""
    other = SqliteStore(tmp_path / "other.sqlite")
    digests = []
    for store in (sqlite_store, other):
        clinic = Clinic(store)
        clinic.send(sent(1))
        erase_all(clinic)
        assert store.database.rows("SELECT count(*) FROM gone") == [(0,)]
        ((device, digest),) = store.database.rows(
            "SELECT device, digest FROM gone_digest"
        )
        assert (device, len(digest)) == (1, 16)
        digests.append(digest)
    other.close()

    assert digests[0] != digests[1], "each store has a secret of its own"


def erase_as_before(clinic: Clinic, *sequences: int) -> int:
    """Erase as versions before digests did; return when, at the latest."""
    numbers = ", ".join(map(str, sequences))
    now_ms = 1 + max(one.utc_ms or 0 for one in kept(clinic))
    with clinic.store.database.change() as change:
        change.rows(
            f"INSERT INTO gone ({_KEYS}, why, before_ms) SELECT {_KEYS}, 'erased', "
            f"{now_ms} FROM reading WHERE ordinal IN ({numbers}) OR ordinal > 1000"
        )
        change.rows(
            f"DELETE FROM reading WHERE ordinal IN ({numbers}) OR ordinal > 1000"
        )
    return now_ms


def test_a_key_erased_by_an_earlier_version_withholds_what_may_be_it(
    clinic: Clinic,
) -> None:
    """Nobody can tell whether it is the erased one: it is neither lost nor served."""
    readings = [sent(number) for number in range(1, 7)]
    clinic.send(*readings)
    before_ms = erase_as_before(clinic, 2, 4, 5)
    sure = replace(sent(4), utc_ms=before_ms + 2_000, time_bound_ms=1_500)
    vague = replace(sent(5), utc_ms=before_ms + 2_000, time_bound_ms=None)

    told = clinic.store.commit(
        [accepted(7, sent(9)), accepted(8, sent(1), sent(2), sure, vague, sent(7))]
    )

    assert told == [Outcome(new=1), Outcome(new=2, known=1, withheld=2)]
    numbers = [one.observation.sequence for one in kept(clinic)]
    assert sorted(numbers) == [1, 3, 4, 6, 7, 9]
    (apart,) = clinic.store.quarantine(0, 10)
    assert list(open_batch(apart.message).readings()) == [sent(2), vague]
    assert (apart.reason, apart.station) == (IN_DOUBT, Station("clinic", "station-1"))


def test_a_time_that_may_lie_before_the_erasure_brings_nothing_back(
    clinic: Clinic,
) -> None:
    """A clock that is right to 1.5 s may tell the erased one again as a later one."""
    clinic.send(*(sent(number) for number in range(1, 5)))
    before_ms = erase_as_before(clinic, 1, 2, 3)

    def off(number: int, by_ms: int) -> Reading:
        return replace(sent(number), utc_ms=before_ms + by_ms, time_bound_ms=1_500)

    told = clinic.store.commit(
        [accepted(8, off(1, 1_000), off(2, 1_500), off(3, 1_501))]
    )

    assert told == [Outcome(new=1, withheld=2)]
    assert kept(clinic) == [sent(4), off(3, 1_501)]


def test_each_reading_in_doubt_is_kept_and_no_other_in_its_place(
    clinic: Clinic,
) -> None:
    """The one that nobody can tell would be lost, and a stored one kept for it."""
    clinic.send(*(sent(number) for number in range(1, 4)))
    clinic.send(*(pressed(number) for number in range(1, 4)))
    erase_as_before(clinic, 1, 2, 3)
    first = [sent(11), sent(12), sent(1), pressed(11), pressed(1)]
    second = [sent(2), sent(13), pressed(2), pressed(12), pressed(3)]

    told = clinic.store.commit([accepted(7, *first), accepted(8, *second)])

    assert told == [Outcome(new=3, withheld=2), Outcome(new=2, withheld=3)]
    apart = [open_batch(one.message) for one in clinic.store.quarantine(0, 10)]
    assert [(one.counter, [*one.readings()]) for one in apart] == [
        (7, [sent(1), pressed(1)]),
        (8, [sent(2), pressed(2), pressed(3)]),
    ]
    assert len(kept(clinic)) == 5


def test_the_ledger_counts_what_was_withheld_of_a_batch(clinic: Clinic) -> None:
    """Else it holds fewer readings than came, as if some had been lost."""
    clinic.send(sent(1), sent(2))
    erase_as_before(clinic, 1)

    clinic.store.commit([accepted(7, sent(1), sent(2), sent(3))])

    counted = "SELECT new, known, amended FROM batch WHERE counter = 7"
    assert clinic.store.database.rows(counted) == [(1, 2, 0)]


@pytest.mark.parametrize("after_ms", [0, 1])
def test_what_is_withheld_whole_can_be_stored_whenever_it_was_made(
    clinic: Clinic, after_ms: int
) -> None:
    """As the very bytes that came it would pass for stored, and be lost."""
    clinic.send(sent(1))
    erase_as_before(clinic, 1)
    whole = Batch("station-1", 8, START_MS, (sent(1),)).encode(fast=True)
    opened, name = prepare(open_batch(whole), whole), envelope.digest(whole)
    came = Accepted(Station("clinic", "station-1"), opened, name, START_MS + after_ms)
    assert clinic.store.commit([came]) == [Outcome(withheld=1)]
    (apart,) = clinic.store.quarantine(0, 10)

    done = replay(clinic.store, apart, as_new=True)

    assert done.outcome == "stored: 1 new, 0 known, 0 amended"
    assert kept(clinic) == [sent(1)]


def test_what_is_withheld_can_be_stored_by_who_knows(clinic: Clinic) -> None:
    clinic.send(sent(1), sent(2))
    erase_as_before(clinic, 1, 2)
    clinic.store.commit([accepted(8, sent(2))])
    (apart,) = clinic.store.quarantine(0, 10)

    no = replay(clinic.store, apart)
    again = replay(clinic.store, apart)
    assert (no.stored, again.stored, kept(clinic)) == (False, False, [])

    done = replay(clinic.store, apart, as_new=True)
    assert (done.stored, done.outcome) == (True, "stored: 1 new, 0 known, 0 amended")
    assert kept(clinic) == [sent(2)]
    assert clinic.store.commit([accepted(9, sent(1))]) == [Outcome(withheld=1)]


def test_what_somebody_knows_is_new_brings_no_erased_one_back(clinic: Clinic) -> None:
    """Nor as another report of the new one; and the new one told again is known."""
    erased, new = sent(1), later(sent(1))
    clinic.send(erased)
    erase_as_before(clinic, 1)
    assert clinic.store.commit([accepted(8, new)]) == [Outcome(withheld=1)]
    (apart,) = clinic.store.quarantine(0, 10)
    assert replay(clinic.store, apart, as_new=True).stored

    told = [
        clinic.store.commit([accepted(n, one)]) for n, one in ((9, erased), (10, new))
    ]

    assert told == [[Outcome(withheld=1)], [Outcome(known=1)]]
    assert kept(clinic) == [new]
    assert clinic.store.amended(0, 10) == []


def test_nothing_erased_before_or_since_comes_back_of_one_device(
    clinic: Clinic,
) -> None:
    """Some of it is known by its key and some by a digest, which is another look."""
    clinic.send(sent(1), sent(2), sent(3))
    erase_as_before(clinic, 1)
    erase_all(clinic)

    told = clinic.store.commit(
        [accepted(8, sent(2)), accepted(9, sent(1), sent(3), sent(4))]
    )

    assert told == [Outcome(known=1), Outcome(new=1, known=1, withheld=1)]
    assert kept(clinic) == [sent(4)]


def test_only_what_is_withheld_can_be_said_to_be_new(clinic: Clinic) -> None:
    """Said of another message, it would bring back what was erased with it."""
    clinic.send(sent(1))
    erase_as_before(clinic, 1)
    whole = accepted(8, sent(1), sent(2)).batch.message
    topic = Station("clinic", "station-1").up("batch")
    clinic.store.commit([refuse(Message.of(topic, whole, 5), "of a later version")])
    (message,) = clinic.store.quarantine(0, 10)

    refused = replay(clinic.store, message, as_new=True)
    done = replay(clinic.store, message)

    assert (refused.stored, "not withheld" in refused.outcome) == (False, True)
    assert done.outcome == (
        "stored: 1 new, 0 known, 0 amended, 1 withheld in a message of their own"
    )
    assert kept(clinic) == [sent(2)]


def test_what_is_withheld_of_a_full_message_may_take_two() -> None:
    """Written anew it may be longer than any message; the others in it are stored."""
    random = Random(1)
    many = [
        replace(
            framed(
                sent(number, utc_ms=10**12 + random.randrange(10**9)),
                random.randbytes(9),
            ),
            captured_ms=10**12 + random.randrange(10**6),
        )
        for number in range(1, 4_020)
    ]
    while True:
        try:
            whole = accepted(8, *many, received_ms=10**12)
            break
        except ValueError:
            del many[-20:]
    with pytest.raises(ValueError, match="is over"):
        Batch("station-1", 8, 5, tuple(many)).encode(fast=True)

    messages = withheld(whole, range(len(many)))

    assert len(messages) == 2
    told = [open_batch(one.message).readings() for one in messages]
    assert [*told[0], *told[1]] == many


def test_a_key_of_an_earlier_version_that_holds_the_clock_is_that_reading(
    clinic: Clinic,
) -> None:
    """No later one of the device has its clock again."""
    numbered = sent(1)
    seen = replace(numbered.observation, sequence=None)
    dated = replace(numbered, observation=seen)
    clinic.send(numbered, dated)
    erase_as_before(clinic, 99)

    told = clinic.store.commit([accepted(8, dated, later(dated))])
    assert told == [Outcome(new=1, known=1)]


def test_the_command_stores_as_new_what_it_is_told(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "readings.sqlite")
    clinic = Clinic(store)
    clinic.send(sent(1))
    erase_as_before(clinic, 1)
    store.commit([accepted(8, sent(1))])
    store.close()
    command = ["quarantine", "replay", "--data", str(tmp_path), "--json"]

    plain = CliRunner().invoke(gateway, [*command, "--all"])
    both = CliRunner().invoke(gateway, [*command, "--all", "--as-new"])
    done = CliRunner().invoke(gateway, [*command, "1", "--as-new"])

    assert (plain.exit_code, json.loads(plain.stdout)["stored"]) == (1, False)
    assert both.exit_code == 2
    assert (done.exit_code, json.loads(done.stdout)["stored"]) == (0, True)


_OLD_GONE = f"""
    INSERT INTO gone ({_KEYS}, why, device_time) VALUES
        (1, 0, -1, 0, 1, 7, 'erased', NULL),
        (1, 0, -1, 0, 2, 7, 'archived', '2026-03-01T07:30:00')
"""
_MARKED = "SELECT ordinal, before_ms FROM gone WHERE why = 'erased'"


def test_a_store_of_before_says_when_its_keys_were_erased_at_the_latest(
    tmp_path: Path, postgres_server: Postgres
) -> None:
    """All that was measured later is new for certain, and need not be withheld."""
    scripts = on_sqlite.migrations()
    connection = apsw.Connection(str(tmp_path / "old.sqlite"))
    on_sqlite.migrate(connection, scripts[:6])
    connection.execute(_OLD_GONE)
    on_sqlite.migrate(connection, scripts)
    now = "SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER)"
    ((now_ms,),) = connection.execute(now)
    ((ordinal, before_ms),) = connection.execute(_MARKED)
    assert (ordinal, now_ms - 60_000 < before_ms <= now_ms) == (1, True)

    postgres_server.execute("CREATE DATABASE erased_before")
    url = postgres_server.url("erased_before")
    with psycopg.connect(url, autocommit=True) as server:
        on_postgres.migrate(server, on_postgres.migrations()[:6])
        server.execute(_OLD_GONE)
        on_postgres.migrate(server, on_postgres.migrations())
        # A gateway of before still runs, and erases one more.
        server.execute(
            f"INSERT INTO gone ({_KEYS}, why) VALUES (1, 0, -1, 0, 3, 7, 'erased')"
        )
        found = server.execute(f"{_MARKED} ORDER BY 1").fetchall()
        ((now_ms,),) = server.execute("SELECT extract(epoch FROM now()) * 1000")
    assert [ordinal for ordinal, _ in found] == [1, 3]
    assert all(now_ms - 60_000 < ms <= now_ms + 1 for _, ms in found)


_AHEAD_MS = 4_000_000_000_000
_OLD_BATCH = """
    INSERT INTO station (tenant, station, first_seen_ms, last_seen_ms)
        VALUES ('clinic', 'station-1', 1, 1);
    INSERT INTO batch (id, station, counter, digest, made_ms, received_ms, new, known,
        amended, first_id, last_id, first_utc_ms, last_utc_ms)
    VALUES (1, 1, 1, {}, 1, 1, 1, 0, 0, 1, 1, 1, 4000000000000)
"""


def test_a_station_ahead_of_the_gateway_brings_nothing_erased_back(
    tmp_path: Path, postgres_server: Postgres
) -> None:
    """What its clock says lies after the migration was measured before it."""
    scripts = on_sqlite.migrations()
    connection = apsw.Connection(str(tmp_path / "ahead.sqlite"))
    on_sqlite.migrate(connection, scripts[:6])
    connection.execute(_OLD_GONE + ";" + _OLD_BATCH.format("x'00'"))
    on_sqlite.migrate(connection, scripts)
    assert connection.execute(_MARKED).fetchall() == [(1, _AHEAD_MS)]

    postgres_server.execute("CREATE DATABASE ahead_before")
    url = postgres_server.url("ahead_before")
    with psycopg.connect(url, autocommit=True) as server:
        on_postgres.migrate(server, on_postgres.migrations()[:6])
        server.execute(_OLD_GONE + ";" + _OLD_BATCH.format(r"'\x00'"))
        on_postgres.migrate(server, on_postgres.migrations())
        assert server.execute(_MARKED).fetchall() == [(1, _AHEAD_MS)]

"""A store, whichever engine it stands on: what it keeps, once, and what it refuses."""

import random
from collections.abc import Callable, Collection
from dataclasses import replace

import pytest

from gateway.delivery import Message, open_message
from gateway.store import (
    Delivery,
    Filter,
    Greeting,
    Outcome,
    Refused,
    Span,
    Store,
    StoreRefused,
)
from gateway.store.database import Database, Row, Scalar
from gateway.store.reading import Reader
from protocols.observation import Device, Kind, Quality, Reading, State, TimeMethod
from protocols.uplink.topics import Station
from tests.gateway.stations import (
    CUFF,
    METER,
    MINUTE_MS,
    START_MS,
    STATION,
    accepted,
    glucose,
    message,
    pressure,
)

OTHER = Station("clinic", "station-2")
ALL = Filter()


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest) -> Store:
    """Each test here holds for both."""
    found: Store = request.getfixturevalue(f"{request.param}_store")
    return found


def refused(payload: bytes = b"?", station: Station | None = STATION) -> Refused:
    topic = "vw/1/clinic/station-1/up/batch"
    return Refused(topic, station, payload, payload.ljust(32, b"\0"), "why", 7)


def of_slot(reading: Reading, slot: int | None) -> Reading:
    return replace(reading, observation=replace(reading.observation, slot=slot))


def test_gives_back_what_a_station_sent(store: Store) -> None:
    """Decimals, raw frames, evidence, the device's impossible clock: all of it."""
    sent = [
        glucose(1, "5.50", quality=Quality.CLOCK_AHEAD, status=("battery_low",)),
        glucose(2, "33.3", state=State.ABOVE_RANGE),
        glucose(3, None, state=State.NOT_A_NUMBER),
        pressure(4, 120, 80, 64),
        of_slot(pressure(5, 130, 85, 66), 0),
        of_slot(pressure(6, 131, 85, 67), 255),
        of_slot(pressure(7, 132, 85, 68), None),
    ]
    odd = sent[0].observation.device_time._replace(month=13)
    sent[0] = replace(
        sent[0], observation=replace(sent[0].observation, device_time=odd)
    )

    assert store.commit([accepted(1, *sent, received_ms=9)]) == [Outcome(new=7)]

    found = sorted(
        store.readings(ALL, 0, 10), key=lambda one: one.reading.observation.sequence
    )
    assert [one.reading for one in found] == sent
    assert {(one.station, one.received_ms, one.amendments) for one in found} == {
        (STATION, 9, 0)
    }


def test_a_batch_delivered_again_changes_nothing(store: Store) -> None:
    batch = accepted(1, glucose(1), glucose(2))

    outcomes = store.commit([batch]) + store.commit([batch, batch])

    assert outcomes == [Outcome(new=2), Outcome(known=2), Outcome(known=2)]
    assert len(store.readings(ALL, 0, 10)) == 2
    assert store.devices(0, 10)[0].tallies[0].readings == 2


def test_a_reading_in_two_batches_is_stored_once(store: Store) -> None:
    """Two stations read the same meter; the key decides, in one commit or in two."""
    first = accepted(1, glucose(1), glucose(2))
    second = accepted(1, glucose(2), glucose(3), station=OTHER)
    third = accepted(2, glucose(3), glucose(4), station=OTHER)

    outcomes = store.commit([first, second]) + store.commit([third])

    assert outcomes == [Outcome(new=2), Outcome(1, 1), Outcome(1, 1)]
    kept = store.readings(ALL, 0, 10)
    assert sorted(one.reading.observation.sequence for one in kept) == [1, 2, 3, 4]


def test_another_report_of_a_reading_is_kept_beside_it(store: Store) -> None:
    """The first stands; the second is neither dropped nor written over it."""
    said, later = glucose(1), glucose(1, status=("battery_low",))
    store.commit([accepted(1, said)])
    second = accepted(2, later, glucose(2))

    assert store.commit([second]) == [Outcome(new=1, amended=1)]
    assert store.commit([accepted(3, later)]) == [Outcome(known=1)]

    kept = store.readings(ALL, 0, 10)[0]
    (amendment,) = store.amendments(kept.id)
    assert (kept.reading, kept.amendments) == (said, 1)
    assert (amendment.stored.reading, amendment.digest) == (later, second.digest)


def test_the_same_in_other_words_is_no_amendment(store: Store) -> None:
    """A later version may write a row otherwise; its readings say what they said."""
    store.commit([accepted(1, glucose(1))])
    with store.database.change() as change:
        change.rows(
            "UPDATE reading SET context = '[ [\"sample\", ' || "
            "'\"capillary_plasma\"] ]'"
        )

    assert store.commit([accepted(2, glucose(1))]) == [Outcome(known=1)]


def test_a_counter_used_twice_is_a_fork_and_both_are_kept(store: Store) -> None:
    store.commit([accepted(5, glucose(1))])

    outcomes = store.commit([accepted(5, glucose(2)), accepted(5, glucose(1))])

    assert outcomes == [Outcome(new=1, fork=True), Outcome(known=1)]
    assert len(store.readings(ALL, 0, 10)) == 2
    both = [accepted(6, glucose(3)), accepted(6, glucose(4))]
    assert store.commit(both) == [Outcome(new=1), Outcome(new=1, fork=True)]


def test_the_same_counter_of_another_station_is_no_fork(store: Store) -> None:
    store.commit([accepted(5, glucose(1))])

    assert store.commit([accepted(5, glucose(2), station=OTHER)]) == [Outcome(new=1)]


def test_a_tenant_cannot_take_the_keys_of_another(store: Store) -> None:
    """Naming another tenant's device must not make its readings look known."""
    store.commit([accepted(1, glucose(1, "9.9"), station=Station("evil", "x"))])

    assert store.commit([accepted(1, glucose(1, "9.9"))]) == [Outcome(new=1)]
    assert [found.tenant for found in store.devices(0, 10)] == ["evil", "clinic"]


def test_quarantine_keeps_bytes_once_and_counts_deliveries(store: Store) -> None:
    store.commit([refused(b"one"), refused(b"two"), refused(b"one")])
    store.commit([refused(b"one", None)])

    kept = store.quarantine(0, 10)

    assert [(one.message, one.deliveries) for one in kept] == [(b"one", 3), (b"two", 1)]
    assert (kept[0].station, kept[0].reason) == (STATION, "why")
    assert store.quarantine(kept[0].id, 10) == kept[1:]


def test_filters_leave_out_what_was_not_asked_for(store: Store) -> None:
    store.commit([accepted(1, glucose(1), pressure(2, 120, 80, 60))])
    store.commit([accepted(1, glucose(3, kind=Kind.CONTROL_SOLUTION), station=OTHER)])
    store.commit([accepted(2, glucose(4), station=OTHER)])

    def sequences(**which: object) -> list[int | None]:
        found = store.readings(Filter(**which), 0, 10)
        return sorted(one.reading.observation.sequence for one in found)

    assert sequences() == [1, 2, 4], "control solution is nobody's reading"
    assert sequences(kind=Kind.CONTROL_SOLUTION) == [3]
    assert sequences(kind=Kind.BLOOD_PRESSURE) == [2]
    assert sequences(device=CUFF.id) == [2]
    assert sequences(device=METER.id, station="station-2") == [4]
    assert sequences(since_ms=START_MS + 120_000) == [2, 4]
    assert sequences(until_ms=START_MS + 120_000) == [1]
    assert sequences(device="unheard-of") == []


def test_counts_devices_by_kind(store: Store) -> None:
    store.commit([accepted(1, glucose(2), glucose(1), received_ms=10)])
    again = glucose(3, device=replace(METER, firmware="2.0"), quality=Quality(1))
    store.commit([accepted(2, again, pressure(1, 120, 80, 60), received_ms=20)])

    meter, cuff = store.devices(0, 10)

    assert meter.device.firmware == "2.0"
    assert (meter.first_seen_ms, meter.last_seen_ms) == (10, 20)
    (tally,) = meter.tallies
    assert (tally.kind, tally.readings, tally.flagged) == (Kind.GLUCOSE, 3, 1)
    assert (tally.first_ms, tally.last_ms) == (START_MS + 60_000, START_MS + 180_000)
    assert store.devices(meter.id, 10) == [cuff]


def test_a_reading_without_a_time_takes_no_device_its_times(store: Store) -> None:
    """Since when a device tells would be nobody's to say any more."""
    unknown = {"utc_ms": None, "time_method": TimeMethod.UNKNOWN, "time_bound_ms": None}
    for sequence in (1, 4):
        timeless = replace(glucose(sequence), **unknown)
        store.commit([accepted(sequence, timeless)])
        store.commit([accepted(sequence + 1, glucose(sequence + 1))])

    (meter,) = store.devices(0, 10)
    (tally,) = meter.tallies
    assert (tally.readings, tally.first_ms, tally.last_ms) == (
        4, START_MS + 2 * MINUTE_MS, START_MS + 5 * MINUTE_MS,
    )  # fmt: skip


def test_a_message_that_is_late_makes_nobody_silent(store: Store) -> None:
    """One from quarantine has the time at which it came; an alarm goes by the last."""

    def heard() -> tuple[object, object]:
        ((station,),) = store.database.rows("SELECT last_seen_ms FROM station")
        (meter,) = store.devices(0, 10)
        return station, meter.last_seen_ms

    store.commit([accepted(1, glucose(1), received_ms=20)])
    store.commit([accepted(2, glucose(2), received_ms=10)])
    assert heard() == (20, 20)

    store.commit([accepted(n, glucose(n), received_ms=40 - n) for n in (3, 4)])
    assert heard() == (37, 37)
    store.commit([Greeting(STATION, b"up", 50), Greeting(STATION, b"up", 45)])
    assert heard() == (50, 37)


def test_a_status_replaces_the_one_before(store: Store) -> None:
    store.commit([Greeting(STATION, b"up", 1), Greeting(STATION, b"gone", 2)])

    rows = store.database.rows("SELECT station, status, status_ms FROM station")
    assert rows == [("station-1", b"gone", 2)]


def test_a_value_that_does_not_fit_is_refused_whole(store: Store) -> None:
    """One impossible reading in a group must not leave half of the group behind."""
    bad = accepted(2, glucose(3))
    bad.batch.groups[0].columns["captured_ms"][0] = 1 << 63

    with pytest.raises(StoreRefused):
        store.commit([accepted(1, glucose(1)), bad])

    assert store.readings(ALL, 0, 10) == []
    assert store.commit([accepted(1, glucose(1))]) == [Outcome(new=1)]


def test_a_device_of_any_name_is_kept(store: Store) -> None:
    """A name is data, whatever it holds."""
    device = Device("a\0b'\";--\u202e", "<b>", "", "", "")
    store.commit([accepted(1, glucose(1, device=device))])

    assert store.devices(0, 10)[0].device == device
    assert len(message(1, glucose(1, device=device))) > 0
    assert len(store.readings(Filter(device=device.id), 0, 10)) == 1


def test_what_is_gone_is_known_when_it_is_told_again(store: Store) -> None:
    """A meter tells its memory again; what was archived is in a file, once."""
    store.commit([accepted(1, *map(glucose, range(1, 5)))])
    with store.database.change() as change:
        keys = "device, generation, slot, kind, ordinal, discriminator"
        change.rows(
            f"INSERT INTO gone ({keys}, why, device_time) SELECT {keys}, 'archived', "
            "device_time FROM reading WHERE ordinal IN (1, 3)"
        )
        change.rows("DELETE FROM reading WHERE ordinal IN (1, 3)")

    assert store.commit([accepted(2, *map(glucose, range(1, 6)))]) == [Outcome(1, 4)]
    kept = store.database.rows("SELECT ordinal FROM reading ORDER BY ordinal")
    assert kept == [(2,), (4,), (5,)]


def test_a_device_is_read_by_true_time(store: Store) -> None:
    def seen(*spans: Span, **more: object) -> list[int | None]:
        asked = {"kinds": None, "after": None, "limit": 10} | more
        found = store.of_device(spans, **asked)
        return [one.reading.observation.sequence for one in found]

    store.commit(
        [accepted(1, *map(glucose, (4, 2, 6))), accepted(2, pressure(5, 120, 80, 60))]
    )
    store.commit([accepted(3, glucose(1), glucose(3), glucose(5))])
    numbers = {one.device.id: one.id for one in store.devices(0, 10)}
    meter, cuff = numbers[METER.id], numbers[CUFF.id]
    early = Span(meter, None, START_MS, START_MS + 4 * MINUTE_MS)
    late = Span(meter, None, START_MS + 4 * MINUTE_MS, 1 << 62)

    assert seen(early) == [1, 2, 3]
    assert seen(late, early) == [1, 2, 3, 4, 5, 6]
    assert seen(late, early, limit=4) == [1, 2, 3, 4]
    assert seen(early, Span(cuff, 1, 0, 1 << 62)) == [1, 2, 3, 5]
    assert seen(Span(cuff, None, 0, 1 << 62), Span(cuff, 2, 0, 0)) == [5]
    assert seen(Span(cuff, -1, 0, 1 << 62)) == []
    assert seen(early, kinds={Kind.KETONE}) == []
    *_, third = store.of_device([early], None, None, 3)
    assert seen(early, late, after=(third.reading.utc_ms, third.id)) == [4, 5, 6]


def test_who_may_see_no_kind_or_the_first_slot_only_is_shown_no_more(
    store: Store,
) -> None:
    """Taken for no limit at all, it would be everything of everybody."""
    two = [of_slot(pressure(at, 120, 80, 60), at) for at in (0, 1)]
    store.commit([accepted(1, *two)])
    (cuff,) = store.devices(0, 10)

    def shown(slot: int | None, kinds: Collection[Kind] | None) -> list[Reading]:
        span = Span(cuff.id, slot, 0, 1 << 62)
        return [one.reading for one in store.of_device([span], kinds, None, 10)]

    assert shown(None, None) == two
    assert shown(0, None) == two[:1]
    assert shown(None, ()) == shown(0, ()) == []


def test_a_cursor_goes_through_everything_in_order(store: Store) -> None:
    """Also where a batch is longer than a block of ids, or than a page."""
    for number in range(1, 5):
        batches = [
            accepted(number, *map(glucose, range(number * 40, number * 40 + 40))),
            accepted(number, pressure(number, 120, 80, 60), station=OTHER),
        ]
        store.commit(batches)
    every = store.readings(ALL, 0, 1_000)
    assert len(every) == 164

    late_ms = START_MS + 100 * MINUTE_MS
    for which, expected in (
        (ALL, every),
        (Filter(station="station-2"), [one for one in every if one.station == OTHER]),
        (Filter(tenant="nobody"), []),
        (
            Filter(since_ms=late_ms),
            [one for one in every if (one.reading.utc_ms or 0) >= late_ms],
        ),
    ):
        found, after = [], 0
        while page := store.readings(which, after, 7):
            found += page
            after = page[-1].id
        assert found == expected
    assert [one.id for one in every] == sorted({one.id for one in every})
    assert store.last() == every[-1].id
    assert store.reading(every[3].id) == every[3]
    assert store.reading(1 << 60) is None


class _Between:
    """A database in which something else happens right behind the first query."""

    def __init__(self, database: Database, happen: Callable[[], None]) -> None:
        self.engine, self.change = database.engine, database.change
        self._database, self._happening = database, [happen]

    def rows(self, sql: str, **values: Scalar) -> list[Row]:
        found = self._database.rows(sql, **values)
        while self._happening:
            self._happening.pop()()
        return found


@pytest.mark.parametrize("ordered", ["by arrival", "by true time"])
def test_a_page_is_full_though_some_of_it_is_erased_meanwhile(
    store: Store, ordered: str
) -> None:
    """A short page ends a walk: an export would end there, and look whole."""
    store.commit([accepted(1, *map(glucose, range(10)))])

    def erase() -> None:
        with store.database.change() as change:
            change.rows("DELETE FROM reading WHERE ordinal IN (2, 3)")

    reader = Reader(_Between(store.database, erase))
    if ordered == "by arrival":
        found = reader.readings(ALL, 0, 5)
    else:
        (meter,) = store.devices(0, 9)
        span = Span(meter.id, None, START_MS, 1 << 62)
        found = reader.of_device([span], None, None, 5)

    numbers = [one.reading.observation.sequence for one in found]
    # What one statement finds, it found before that.
    is_one = store.database.engine == "postgres" and ordered == "by true time"
    assert numbers == ([0, 1, 2, 3, 4] if is_one else [0, 1, 4, 5, 6])


def test_a_message_from_a_topic_of_any_length_is_kept(store: Store) -> None:
    """One that could not be would be tried for ever, and everybody wait behind it."""
    noise = "".join(random.Random(1).choices("abcdefghijklmnop\U0001f600", k=20_000))
    came = Message.of(f"vw/1/clinic/{noise}/up/batch", b"?", 7)

    store.commit([open_message(came, "")])

    (kept,) = store.quarantine(0, 10)
    assert kept.station is None
    assert came.topic.startswith(kept.topic)


def test_a_register_is_changed_whole_or_not_at_all(store: Store) -> None:
    """Registers are written once, over either engine."""
    with store.database.change() as change:
        change.rows(
            "CREATE TABLE note (id BIGINT PRIMARY KEY, text TEXT, data {})".format(
                "BLOB" if store.database.engine == "sqlite" else "BYTEA"
            )
        )
        add = "INSERT INTO note (id, text, data) VALUES (:id, :text, :data)"
        change.many(
            f"{add} ON CONFLICT (id) DO NOTHING",
            [
                {"id": 1, "text": "a\0:b '%s' \x1a", "data": b"\0\xff"},
                {"id": 2, "text": None, "data": None},
                {"id": 2, "text": "again", "data": None},
            ],
        )
        told = change.rows(f"{add} RETURNING id, text", id=3, text="50 %", data=None)
    assert told == [(3, "50 %")]

    def fail() -> None:
        with store.database.change() as change:
            change.rows("UPDATE note SET text = 'lost' WHERE id = :id", id=1)
            change.rows(add, id=1, text="twice", data=None)

    with pytest.raises(StoreRefused):
        fail()

    find = "SELECT id, text, data FROM note WHERE (:text IS NULL OR text = :text)"
    every = store.database.rows(f"{find} ORDER BY id", text=None)
    assert every == [
        (1, "a\0:b '%s' \x1a", b"\0\xff"),
        (2, None, None),
        (3, "50 %", None),
    ]
    assert store.database.rows(f"{find} AND id % 2 = 1", text="50 %") == every[2:]
    assert store.database.rows("SELECT count(*), sum(id) FROM note") == [(3, 6)]


def test_both_engines_tell_and_keep_the_same(
    sqlite_store: Store, postgres_store: Store
) -> None:
    """What a station is told must not depend on where its gateway keeps it."""
    draw = random.Random(5)
    stations = [STATION, OTHER, Station("other", "station-1")]
    meters = [replace(METER, id=f"meter-{number}") for number in range(3)]

    def reading() -> Reading:
        return glucose(
            draw.randrange(40),
            device=replace(draw.choice(meters), firmware=draw.choice("12")),
            status=draw.choice([(), (), ("battery_low",), ("strip_short",)]),
            quality=draw.choice(list(Quality)),
        )

    for turn in range(30):
        group: list[Delivery] = [
            accepted(
                draw.randrange(1, 30),
                *[reading() for _ in range(draw.randrange(1, 9))],
                station=draw.choice(stations),
                received_ms=turn,
            )
            for _ in range(draw.randrange(5))
        ]
        group += [refused(bytes([draw.randrange(9)])), Greeting(OTHER, b"up", turn)]
        group += draw.choices(group, k=2)
        draw.shuffle(group)
        assert postgres_store.commit(group) == sqlite_store.commit(group)

    def kept(store: Store) -> list[object]:
        readings = store.readings(ALL, 0, 1_000)
        amended = store.amended(0, 1_000)
        return [
            sorted(
                (str(one.reading), one.received_ms, one.amendments) for one in readings
            ),
            sorted((str(one.stored.reading), one.digest) for one in amended),
            sorted(str(replace(one, id=0)) for one in store.devices(0, 10)),
            [replace(one, id=0) for one in store.quarantine(0, 10)],
            store.database.rows(
                "SELECT counter, digest, new, known, amended, deliveries, "
                "last_id - first_id, first_utc_ms, last_utc_ms FROM batch "
                "ORDER BY counter, digest"
            ),
            store.database.rows(
                "SELECT tenant, station, last_seen_ms, status_ms FROM station "
                "ORDER BY tenant, station"
            ),
        ]

    for of_postgres, of_sqlite in zip(
        kept(postgres_store), kept(sqlite_store), strict=True
    ):
        assert of_postgres == of_sqlite

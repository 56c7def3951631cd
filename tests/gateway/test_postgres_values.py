"""What goes to PostgreSQL and comes back: texts of any letters, sums, tallies."""

import random
from dataclasses import replace
from operator import attrgetter

import pytest

from gateway.store import postgres_told
from gateway.store.postgres import PostgresStore
from gateway.store.postgres_told import Told
from gateway.store.rows import tallied
from protocols.observation import Device, Quality, Reading, TimeMethod
from tests.gateway.stations import CUFF, METER, accepted, glucose, pressure

_ODD = [
    'a"b',
    "a\\b",
    'a\\"',
    "{a,b}",
    "NULL",
    "null",
    "",
    " ",
    "a,b",
    "ä€😀",
    "\0\x1a0",
]


def test_a_device_may_say_anything_of_itself(postgres_store: PostgresStore) -> None:
    """Its words travel in a list; one that ends the list too early makes another."""
    devices = [
        Device(f"meter-{at}{text}", text, text[::-1], f"{text}{text}", text)
        for at, text in enumerate(_ODD)
    ]
    sent = [glucose(1, device=device) for device in devices]
    for counter in (1, 2):
        postgres_store.commit([accepted(counter, *sent)])

    found = [one.device for one in postgres_store.devices(0, 99)]
    assert sorted(found, key=attrgetter("id")) == sorted(devices, key=attrgetter("id"))


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("sum(x) FROM (VALUES (1::bigint), (2)) w (x)", 3),
        ("sum(x) FROM (VALUES (9223372036854775807), (1)) w (x)", 1 << 63),
        ("-sum(x) FROM (VALUES (5000::bigint), (5000)) w (x)", -10_000),
        ("sum(x) FROM (VALUES (NULL::bigint)) w (x)", None),
        ("avg(x) FROM (VALUES (2::bigint), (2)) w (x)", 2.0),
        ("1.5::numeric", 1.5),
    ],
)
def test_a_sum_is_an_integer_and_a_mean_is_not(
    postgres_store: PostgresStore, asked: str, told: float | None
) -> None:
    """PostgreSQL has both as one type, and JSON tells them apart."""
    ((found,),) = postgres_store.database.rows(f"SELECT {asked}")
    assert (found, type(found)) == (told, type(told))


def test_groups_are_tallied_as_their_readings_are() -> None:
    """Most are counted by the group; a count that differs would never come right."""
    draw = random.Random(7)

    def reading(number: int) -> Reading:
        device = draw.choice([METER, CUFF, Device("meter-3")])
        found = (
            pressure(number, 120, 80, 60, device=device)
            if draw.random() < 0.3
            else glucose(number, device=device)
        )
        if draw.random() < 0.3:
            found = replace(found, utc_ms=None, time_method=TimeMethod.UNKNOWN)
        if draw.random() < 0.3:
            found = replace(found, quality=Quality.SPIKE)
        if draw.random() < 0.3:
            seen = replace(found.observation, slot=draw.choice([None, 2]))
            found = replace(found, observation=seen)
        return replace(found, generation=draw.choice([0, 0, 0, 1]))

    for _ in range(200):
        told, first = [], draw.randrange(1, 99)
        for counter in range(draw.randrange(1, 4)):
            sent = [reading(draw.randrange(999)) for _ in range(draw.randrange(1, 9))]
            for group in accepted(counter + 1, *sent).batch.groups:
                number = len(group.device.id)
                told.append(Told(group, first, number, 1, 1))
                first += group.count
        rows = [row for one in told for row in one.rows()]
        memories = {row[1:5] for row in rows}

        assert postgres_told.tallied(told) == tallied(rows)
        assert {one for group in told for one in group.memories()} == memories

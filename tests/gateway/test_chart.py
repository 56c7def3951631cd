"""A patient's readings as one list, and the tray of those that are nobody's."""

from dataclasses import replace
from random import Random

import pytest

from gateway.access import Grant
from gateway.chart import START
from gateway.registry import Taken, Unknown
from gateway.store import Filter, Stored
from protocols.observation import Device, Kind, Reading
from tests.gateway.people import NOW_MS, Clinic, nobodys
from tests.gateway.stations import CUFF, METER, MINUTE_MS, START_MS, glucose, pressure

_SHARED = Device("meter-2", "Acme", "Sweet 1", "SN-9", "1.0")
_ALL = Filter()


@pytest.fixture(params=["sqlite_store", "postgres_store"])
def clinic(request: pytest.FixtureRequest) -> Clinic:
    """Each test here holds for both engines."""
    return Clinic(request.getfixturevalue(request.param))


def claim(clinic: Clinic, patient: int, stored: Stored) -> None:
    with clinic.store.database.change() as change:
        clinic.chart.claim(change, stored, patient, "why", "desk", NOW_MS)


def walk(clinic: Clinic, name: str, limit: int, **more: Grant) -> list[int]:
    """Return the sequences of a patient's readings, page by page."""
    (patient,) = clinic.registry.patients("clinic", 0, 1, name=name)
    found, place, go_on = [], START, True
    while go_on:
        page = clinic.chart.readings(patient, [Grant()], place, limit, **more)
        assert len(page.rows) <= limit
        found += [one.reading.observation.sequence for one in page.rows]
        place, go_on = page.reached, page.more
    return found


@pytest.mark.parametrize("limit", [1, 3, 100])
def test_every_reading_is_met_once_whatever_the_page(
    clinic: Clinic, limit: int
) -> None:
    """By interval, by name and by claim; with others' readings between."""
    random = Random(limit)
    mine, other = clinic.patient("P-1"), clinic.patient("P-2")
    sent: list[Reading] = [nobodys(glucose(number)) for number in range(30)]
    for number in range(30, 60):
        name = random.choice(["P-1", "P-2", None])
        plain = glucose(number, device=_SHARED, utc_ms=START_MS + number * 20_000)
        sent.append(replace(plain, person=name))
    timeless = {"utc_ms": None, "time_method": 0, "time_bound_ms": None}
    sent += [
        replace(glucose(number, device=_SHARED), person="P-1", **timeless)
        for number in (60, 61)
    ]
    random.shuffle(sent)
    clinic.send(*sent)
    clinic.attribute(mine, METER.id, START_MS, START_MS + 20 * MINUTE_MS)
    clinic.attribute(other, METER.id, START_MS + 20 * MINUTE_MS)
    loose = clinic.chart.unassigned(_ALL, 0, 100).rows
    for one in loose[::2]:
        claim(clinic, mine.id, one)

    found = walk(clinic, "P-1", limit)

    claimed = [one.reading.observation.sequence for one in loose[::2]]
    named = [one.observation.sequence for one in sent if one.person == "P-1"]
    assert sorted(found) == sorted([*range(1, 20), *named, *claimed])
    assert sorted(found[-2:]) == [60, 61]
    by_time = {one.observation.sequence: one.utc_ms for one in sent}
    times = [by_time[number] for number in found[:-2]]
    assert times == sorted(times)


def test_the_first_user_of_a_cuff_has_a_chart_like_the_others(clinic: Clinic) -> None:
    """Some devices count their users from 0, and that is a user."""
    first, second = clinic.patient("P-0"), clinic.patient("P-1")
    cuff = [nobodys(pressure(number, 120, 80, 60)) for number in range(6)]
    clinic.send(
        *(
            replace(
                one,
                time_bound_ms=1_500,
                observation=replace(one.observation, slot=(0, 1, None)[number % 3]),
            )
            for number, one in enumerate(cuff)
        )
    )
    clinic.attribute(first, CUFF.id, slot=0)
    clinic.attribute(second, CUFF.id, slot=1)

    assert (walk(clinic, "P-0", 9), walk(clinic, "P-1", 9)) == ([0, 3], [1, 4])
    loose = clinic.chart.unassigned(_ALL, 0, 9).rows
    assert [one.reading.observation.sequence for one in loose] == [2, 5]


@pytest.mark.parametrize("limit", [1, 2, 100])
def test_a_claim_of_what_was_archived_hides_nothing(clinic: Clinic, limit: int) -> None:
    """Else all behind it would be in no chart, no export, and never be erased."""
    mine = clinic.patient("P-1")
    clinic.send(*(nobodys(glucose(number)) for number in range(6)))
    every = clinic.store.readings(_ALL, 0, 100)
    for one in every[:2]:
        claim(clinic, mine.id, one)
    clinic.attribute(mine, METER.id, START_MS + MINUTE_MS)
    with clinic.store.database.change() as change:
        change.rows("DELETE FROM reading WHERE id = :number", number=every[0].id)
        change.rows("DELETE FROM reading WHERE id = :number", number=every[1].id)

    assert walk(clinic, "P-1", limit) == [2, 3, 4, 5]


def test_a_page_asks_for_a_kind_and_a_time(clinic: Clinic) -> None:
    clinic.send(*(nobodys(glucose(number)) for number in range(10)))
    clinic.send(replace(nobodys(pressure(20, 120, 80, 60)), time_bound_ms=1))
    patient = clinic.patient("P-1")
    for device in (METER, CUFF):
        clinic.attribute(patient, device.id)
    middle = Grant(None, START_MS + 3 * MINUTE_MS, START_MS + 6 * MINUTE_MS)

    assert walk(clinic, "P-1", 4) == [*range(10), 20]
    assert walk(clinic, "P-1", 4, asked=middle) == [3, 4, 5]
    pressures = Grant(frozenset({Kind.BLOOD_PRESSURE}))
    assert walk(clinic, "P-1", 4, asked=pressures) == [20]
    assert clinic.chart.readings(patient, [], START, 10).rows == []


def test_the_tray_holds_what_is_nobodys_and_goes_on_from_its_cursor(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.chart._STRETCH", 4)
    monkeypatch.setattr("gateway.chart._STEPS", 2)
    clinic.send(*(nobodys(glucose(number)) for number in range(30)))
    clinic.send(nobodys(glucose(40, kind=Kind.CONTROL_SOLUTION)))
    patient = clinic.patient("P-1")
    clinic.attribute(patient, METER.id, START_MS + MINUTE_MS, START_MS + 25 * MINUTE_MS)

    found, after, more, pages = [], 0, True, 0
    while more:
        page = clinic.chart.unassigned(_ALL, after, 2)
        found += [one.reading.observation.sequence for one in page.rows]
        after, more, pages = page.reached[1], page.more, pages + 1

    assert sorted(found) == [0, 1, 25, 26, 27, 28, 29]
    # A page that meets nothing still gets on.
    assert pages > 4


def test_only_what_is_nobodys_can_be_claimed(clinic: Clinic) -> None:
    clinic.send(nobodys(glucose(1)), nobodys(glucose(9)))
    clinic.send(nobodys(glucose(2, kind=Kind.CONTROL_SOLUTION)))
    first, second = clinic.patient("P-1"), clinic.patient("P-2")
    clinic.attribute(first, METER.id, START_MS, START_MS + 5 * MINUTE_MS)
    (loose,) = clinic.chart.unassigned(_ALL, 0, 9).rows
    kept = clinic.store.readings(_ALL, 0, 9)
    (taken,) = [one for one in kept if one.id != loose.id]

    assert clinic.chart.check_claim(second, loose.id) == loose
    with pytest.raises(Taken, match=f"patient {first.id}"):
        clinic.chart.check_claim(second, taken.id)
    with pytest.raises(Taken, match="control solution"):
        clinic.chart.check_claim(second, clinic.store.last())
    with pytest.raises(Unknown):
        clinic.chart.check_claim(second, 10**9)
    stranger = Clinic(clinic.store, "other").patient("P-1")
    with pytest.raises(Unknown):
        clinic.chart.check_claim(stranger, loose.id)

    claim(clinic, second.id, loose)
    with pytest.raises(Taken, match="meanwhile"):
        claim(clinic, first.id, loose)


def test_a_claim_is_believed_before_an_interval_that_comes_late(
    clinic: Clinic,
) -> None:
    clinic.send(nobodys(glucose(1)))
    first, second = clinic.patient("P-1"), clinic.patient("P-2")
    (loose,) = clinic.chart.unassigned(_ALL, 0, 9).rows
    claim(clinic, second.id, loose)
    clinic.attribute(first, METER.id)

    assert clinic.registry.whose([loose]) == [second.id]
    assert walk(clinic, "P-1", 5) == []
    assert walk(clinic, "P-2", 5) == [1]
    with clinic.store.database.change() as change:
        assert clinic.chart.release(change, loose.id, second.id, "desk", NOW_MS)
    assert walk(clinic, "P-1", 5) == [1]
    (ended,) = clinic.chart.claims(second.id)
    assert ended.ended_ms == NOW_MS


def test_a_reading_of_before_1970_is_in_a_chart_or_in_the_tray(clinic: Clinic) -> None:
    """What is somebody's and in nobody's list would be lost, and never be erased."""
    named = replace(glucose(1, utc_ms=-5_000), person="P-1")
    loose = replace(nobodys(glucose(2, utc_ms=-9_000)), time_bound_ms=None)
    clinic.send(named, loose)
    patient = clinic.patient("P-1")
    clinic.attribute(patient, METER.id)

    assert walk(clinic, "P-1", 9) == [1]
    (left,) = clinic.chart.unassigned(_ALL, 0, 9).rows
    assert left.reading == loose
    claim(clinic, patient.id, left)
    assert walk(clinic, "P-1", 9) == [2, 1]

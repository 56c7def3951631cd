"""Whose a reading is: by intervals that never overlap, and never by a guess."""

import threading
from dataclasses import replace
from random import Random

import pytest

from gateway.registry import (
    ALWAYS_MS,
    OPEN_MS,
    Attribution,
    Patient,
    Registry,
    Taken,
    Unknown,
)
from gateway.store import Span, Store, Stored
from protocols.observation import Kind, Reading
from protocols.uplink.topics import Station
from tests.gateway.people import NOW_MS, Clinic, nobodys
from tests.gateway.stations import (
    CUFF,
    METER,
    MINUTE_MS,
    START_MS,
    STATION,
    glucose,
    pressure,
)

NOON_MS = START_MS + 10 * MINUTE_MS
HISTORIES = 2_000


@pytest.fixture(params=["sqlite_store", "postgres_store"])
def clinic(request: pytest.FixtureRequest) -> Clinic:
    """Each test here holds for both engines."""
    found = Clinic(request.getfixturevalue(request.param))
    found.send(nobodys(glucose(0)), nobodys(pressure(0, 120, 80, 60)))
    return found


def whose(clinic: Clinic, reading: Reading, **more: int) -> int | None:
    number = clinic.device(reading.device.id)
    stored = Stored(99, number, STATION, reading, more.get("received_ms", NOW_MS), 0)
    (found,) = clinic.registry.whose([stored])
    return found


def at(minute: float, **more: object) -> Reading:
    """Return a reading at a minute, known to 1.5 s, that nobody is named for."""
    utc_ms = START_MS + round(minute * MINUTE_MS)
    return nobodys(glucose(1, utc_ms=utc_ms, **more))


def test_a_reading_is_whose_the_device_was_then(clinic: Clinic) -> None:
    first, second = clinic.patient("P-1"), clinic.patient("P-2")
    clinic.attribute(first, METER.id, START_MS, NOON_MS)
    clinic.attribute(second, METER.id, NOON_MS)

    assert whose(clinic, at(5)) == first.id
    assert whose(clinic, at(15)) == second.id
    assert whose(clinic, at(-1)) is None


def test_a_time_that_may_be_on_either_side_is_nobodys(clinic: Clinic) -> None:
    """1.5 s before the hand-over it may have been the next patient's."""
    first, second = clinic.patient("P-1"), clinic.patient("P-2")
    clinic.attribute(first, METER.id, START_MS, NOON_MS)
    clinic.attribute(second, METER.id, NOON_MS)
    bound = 1_500 / MINUTE_MS

    assert whose(clinic, at(10 - bound)) is None
    assert whose(clinic, at(10 - bound - 1 / MINUTE_MS)) == first.id
    assert whose(clinic, at(10)) is None
    assert whose(clinic, at(10 + bound)) == second.id


def test_a_time_of_unknown_bound_needs_a_device_that_was_always_theirs(
    clinic: Clinic,
) -> None:
    """A clock that was set after the measurement may be wrong by years."""
    first, second = clinic.patient("P-1"), clinic.patient("P-2")
    made = clinic.attribute(first, METER.id)
    loose = replace(at(5), time_bound_ms=None)
    assert whose(clinic, loose) == first.id

    clinic.attribute(first, METER.id, ALWAYS_MS, NOON_MS, replaces=made.id)
    clinic.attribute(second, METER.id, NOON_MS)

    # Received before the hand-over, it was measured before it.
    assert whose(clinic, loose, received_ms=NOON_MS - 1) == first.id
    assert whose(clinic, loose, received_ms=NOON_MS) is None
    late = replace(at(15), time_bound_ms=None)
    assert whose(clinic, late, received_ms=NOON_MS + 1) is None


def test_control_solution_and_what_has_no_time_are_nobodys(clinic: Clinic) -> None:
    clinic.attribute(clinic.patient("P-1"), METER.id)
    timeless = replace(at(5), utc_ms=None, time_method=0, time_bound_ms=None)

    assert whose(clinic, at(5, kind=Kind.CONTROL_SOLUTION)) is None
    assert whose(clinic, timeless) is None


def test_a_station_that_names_somebody_is_believed_before_the_interval(
    clinic: Clinic,
) -> None:
    """The card beside the cuff says more than who has the cuff this week."""
    owner, guest = clinic.patient("P-1"), clinic.patient("P-2")
    clinic.attribute(owner, METER.id)

    assert whose(clinic, replace(at(5), person="P-2")) == guest.id
    # A name that nobody has is a contradiction, and not a reason to take the owner.
    assert whose(clinic, replace(at(5), person="P-3")) is None


def test_a_name_is_its_tenants(clinic: Clinic) -> None:
    """Two tenants may both have a P-1, and neither may get the other's reading."""
    here, there = clinic.patient("P-1"), Clinic(clinic.store, "other").patient("P-1")
    clinic.patient("P-2")
    device = clinic.device(METER.id)

    def said(tenant: str, name: str) -> int | None:
        reading = replace(at(5), person=name)
        stored = Stored(9, device, Station(tenant, "s"), reading, NOW_MS, 0)
        return clinic.registry.whose([stored])[0]

    assert said("clinic", "P-1") == here.id
    assert said("other", "P-1") == there.id
    assert said("other", "P-2") is None


def test_slots_are_apart_and_no_slot_is_every_slot(clinic: Clinic) -> None:
    zero, one, two, every = (clinic.patient(f"P-{at}") for at in range(4))
    clinic.attribute(zero, CUFF.id, slot=0)
    clinic.attribute(one, CUFF.id, slot=1)
    clinic.attribute(two, CUFF.id, slot=2)
    reading = replace(nobodys(pressure(1, 120, 80, 60)), time_bound_ms=1)

    def of_slot(slot: int | None) -> Reading:
        return replace(reading, observation=replace(reading.observation, slot=slot))

    assert whose(clinic, of_slot(0)) == zero.id
    assert whose(clinic, of_slot(1)) == one.id
    assert whose(clinic, of_slot(2)) == two.id
    assert whose(clinic, of_slot(None)) is None
    with pytest.raises(Taken, match="patient"):
        clinic.attribute(every, CUFF.id, START_MS, NOON_MS)
    clinic.attribute(every, METER.id)
    assert whose(clinic, at(5)) == every.id


def test_an_overlap_is_refused_and_the_other_named(clinic: Clinic) -> None:
    """Two patients of one reading: the harm that this table is there to prevent."""
    first, second = clinic.patient("P-1"), clinic.patient("P-2")
    made = clinic.attribute(first, METER.id, START_MS, NOON_MS)

    with pytest.raises(Taken, match=f"attribution {made.id} .* patient {first.id}"):
        clinic.attribute(second, METER.id, NOON_MS - 1)
    with pytest.raises(Taken):
        clinic.attribute(second, METER.id, START_MS, NOON_MS, slot=3)

    assert clinic.registry.spans(second.id) == []


def test_a_revision_ends_what_it_replaces_and_names_it(clinic: Clinic) -> None:
    first, second = clinic.patient("P-1"), clinic.patient("P-2")
    wrong = clinic.attribute(first, METER.id)
    clinic.now_ms += 1_000

    right = clinic.attribute(second, METER.id, replaces=wrong.id)

    assert whose(clinic, at(5)) == second.id
    kept = clinic.registry.attributions.listed("clinic", 0, 10)
    assert [(one.id, one.ended_ms, one.replaces) for one in kept] == [
        (wrong.id, clinic.now_ms, None),
        (right.id, None, wrong.id),
    ]
    assert clinic.registry.attributions.listed("clinic", 0, 10, active=True) == [right]
    with pytest.raises(Unknown, match=str(wrong.id)):
        clinic.attribute(first, METER.id, replaces=wrong.id)


def test_a_refused_revision_leaves_what_was(clinic: Clinic) -> None:
    """Ended without a successor, its readings would drop out of the chart."""
    first, second = clinic.patient("P-1"), clinic.patient("P-2")
    made = clinic.attribute(first, METER.id, START_MS, NOON_MS)
    clinic.attribute(second, METER.id, NOON_MS)

    with pytest.raises(Taken):
        clinic.attribute(first, METER.id, START_MS, replaces=made.id)

    assert whose(clinic, at(5)) == first.id


def test_what_is_taken_back_is_nobodys_again(clinic: Clinic) -> None:
    made = clinic.attribute(clinic.patient("P-1"), METER.id)

    with clinic.store.database.change() as change:
        clinic.registry.attributions.take_back(change, made.id, "clinic", "desk", 7)

    assert whose(clinic, at(5)) is None
    with (
        pytest.raises(Unknown),
        clinic.store.database.change() as change,
    ):
        clinic.registry.attributions.take_back(change, made.id, "clinic", "desk", 8)


def test_neither_device_nor_patient_may_be_another_tenants(clinic: Clinic) -> None:
    other = Clinic(clinic.store, "other").patient("P-1")
    theirs = clinic.patient("P-1")
    made = clinic.attribute(theirs, METER.id)

    for wrong in (
        replace(made, patient=other.id),
        replace(made, tenant="other"),
        replace(made, device=9_999),
    ):
        with (
            pytest.raises(Unknown),
            clinic.store.database.change() as change,
        ):
            clinic.registry.attributions.attribute(change, wrong)


def test_spans_are_what_is_active_now(clinic: Clinic) -> None:
    patient = clinic.patient("P-1")
    made = clinic.attribute(patient, METER.id)
    clinic.attribute(patient, METER.id, START_MS, NOON_MS, replaces=made.id)
    clinic.attribute(patient, CUFF.id, slot=1)

    assert clinic.registry.spans(patient.id) == [
        Span(clinic.device(METER.id), None, START_MS, NOON_MS),
        Span(clinic.device(CUFF.id), 1, ALWAYS_MS, OPEN_MS),
    ]


# A history: attributions made, revised and taken back on one device with three slots,
# on an axis of ms so short that an oracle can paint every one of them.
_SLOTS = (None, 1, 2)
_END = 40


class Painted:
    """The naive twin: for each slot and ms, the active attribution."""

    def __init__(self) -> None:
        self.owner: dict[tuple[int | None, int], Attribution] = {}

    def cells(self, made: Attribution) -> set[tuple[int | None, int]]:
        slots = _SLOTS if made.slot is None else (made.slot,)
        until = min(made.until_ms, 4 * _END)
        return {(slot, ms) for slot in slots for ms in range(made.from_ms, until)}

    def free(self, made: Attribution) -> bool:
        found = {self.owner[cell].id for cell in self.cells(made) if cell in self.owner}
        return found <= {made.replaces}

    def paint(self, made: Attribution) -> None:
        self.erase(made.replaces)
        self.owner |= dict.fromkeys(self.cells(made), made)

    def erase(self, number: int | None) -> None:
        self.owner = {cell: one for cell, one in self.owner.items() if one.id != number}

    def whose(self, slot: int | None, first: int, last: int) -> int | None:
        owners = {self.owner.get((slot, ms)) for ms in range(first, last + 1)}
        (only,) = owners if len(owners) == 1 else (None,)
        return None if only is None else only.patient


def _made(random: Random, device: int, patients: list[Patient]) -> Attribution:
    start = random.choice([0, random.randrange(_END)])
    end = random.choice([OPEN_MS, start + random.randrange(1, _END)])
    slot = random.choice(_SLOTS)
    patient = random.choice(patients).id
    return Attribution(0, "clinic", device, slot, patient, start, end, "why", 1, "desk")


def _measured(random: Random, device: int, number: int) -> tuple[Stored, int]:
    """Return a reading, and the true time at which it was measured."""
    true = random.randrange(_END, 2 * _END) - _END // 2
    bound = random.choice([0, 1, 3, None])
    received = true + random.randrange(_END)
    off = random.randrange(-9, 10) if bound is None else random.randint(-bound, bound)
    plain = nobodys(glucose(1, utc_ms=true + off))
    slot = random.choice(_SLOTS)
    reading = replace(
        plain,
        time_bound_ms=bound,
        observation=replace(plain.observation, slot=slot),
    )
    return Stored(number, device, STATION, reading, received, 0), true


def histories(store: Store, count: int, seed: int) -> dict[str, int]:
    """Play histories against the twin; return how many readings were whose."""
    random, clinic = Random(seed), Clinic(store)
    kept = clinic.registry.attributions
    patients = [clinic.patient(f"P-{number}") for number in range(3)]
    counted = {"right": 0, "nobody": 0, "wrong": 0, "outside": 0, "refused": 0}
    for start in range(0, count, 500):
        devices = range(1_000 + start, 1_000 + min(start + 500, count))
        twins: dict[int, Painted] = {}
        with store.database.change() as change:
            for device in devices:
                change.rows(
                    "INSERT INTO device (id, tenant, device, manufacturer, model, "
                    "serial, firmware, first_seen_ms, last_seen_ms) "
                    "VALUES (:id, 'clinic', :name, '', '', '', '', 1, 1)",
                    id=device,
                    name=str(device),
                )
                twin = twins[device] = Painted()
                for _ in range(random.randrange(1, 7)):
                    made = _made(random, device, patients)
                    active = sorted({one.id for one in twin.owner.values()})
                    act = random.randrange(4)
                    if act == 0 and active:
                        made = replace(made, replaces=random.choice(active))
                    if act == 1 and active:
                        gone = random.choice(active)
                        kept.take_back(change, gone, "clinic", "desk", 2)
                        twin.erase(gone)
                    elif twin.free(made):
                        twin.paint(kept.attribute(change, made))
                    elif made.replaces is None:
                        counted["refused"] += 1
                        with pytest.raises(Taken):
                            kept.attribute(change, made)
        measured = [
            _measured(random, device, 8 * device + at)
            for device in devices
            for at in range(4)
        ]
        found = clinic.registry.whose([stored for stored, _ in measured])
        for (stored, true), patient in zip(measured, found, strict=True):
            read, slot = stored.reading, stored.reading.observation.slot
            if read.time_bound_ms is None:
                first, last = 0, max(read.utc_ms, stored.received_ms)
            else:
                first, last = (
                    read.utc_ms - read.time_bound_ms,
                    read.utc_ms + read.time_bound_ms,
                )
            twin = twins[stored.device]
            right = patient == twin.whose(slot, first, last)
            counted["wrong"] += not right
            counted["right"] += right and patient is not None
            counted["nobody"] += right and patient is None
            owner = twin.owner.get((slot, true))
            inside = owner is not None and owner.patient == patient
            counted["outside"] += patient is not None and not inside
    return counted


def test_no_history_gives_a_reading_to_who_had_not_the_device(
    sqlite_store: Store,
) -> None:
    """A right reading with the wrong patient is worse than none."""
    counted = histories(sqlite_store, HISTORIES, seed=1)

    assert counted["wrong"] == counted["outside"] == 0
    assert min(counted["right"], counted["nobody"], counted["refused"]) > HISTORIES // 2


def test_nothing_is_asked_for_no_readings(clinic: Clinic) -> None:
    assert Registry(clinic.store.database).whose([]) == []


def test_a_page_of_many_devices_is_looked_up_at_once(clinic: Clinic) -> None:
    """More devices than one query may have marks."""
    patient = clinic.patient("P-1")
    clinic.attribute(patient, METER.id)
    mine = clinic.device(METER.id)
    page = [
        Stored(number, mine if number == 7 else 10_000 + number, Station("clinic", "s"),
               at(5), NOW_MS, 0)
        for number in range(2_500)
    ]  # fmt: skip

    found = clinic.registry.whose(page)

    assert found == [patient.id if number == 7 else None for number in range(2_500)]


def test_of_many_at_once_one_is_first(clinic: Clinic) -> None:
    """Two desks that look before either has written would both find it free."""
    patients = [clinic.patient(f"P-{number}") for number in range(6)]
    start, made, refused = threading.Barrier(6), [], []

    def attribute(patient: Patient) -> None:
        start.wait()
        try:
            made.append(clinic.attribute(patient, METER.id))
        except Taken:
            refused.append(patient)

    threads = [threading.Thread(target=attribute, args=(one,)) for one in patients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (len(made), len(refused)) == (1, 5)

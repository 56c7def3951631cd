"""Erasing a patient: all of it goes, and nothing of anybody else."""

import re
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from random import Random

import pytest

from gateway.access import LOCAL, Grant
from gateway.chart import START
from gateway.erasure import Erased, Erasure
from gateway.store import Filter, Outcome, Refused, StoreUnavailable
from gateway.store.sqlite import SqliteStore
from protocols.observation import Quality, Reading
from tests.gateway.people import NOW_MS, Clinic, nobodys
from tests.gateway.stations import (
    METER,
    MINUTE_MS,
    START_MS,
    STATION,
    accepted,
    glucose,
)

NOON_MS = START_MS + 10 * MINUTE_MS
_ALL = Filter()
_MARKS = re.compile(rb"RAW-\d{6}|\d{6}\.777777|[Zz]ephyrine|ID-4711")


@pytest.fixture(params=["sqlite_store", "postgres_store"])
def clinic(request: pytest.FixtureRequest) -> Clinic:
    """Each test here holds for both engines."""
    return Clinic(request.getfixturevalue(request.param))


def erase(clinic: Clinic, number: int) -> Erased:
    patient = clinic.registry.patient(number)
    assert patient is not None
    return Erasure(clinic.store, clinic.chart, clinic.access).erase(LOCAL, patient)


def marked(sequence: int) -> Reading:
    """Return a reading whose values and bytes are like no other's."""
    plain = nobodys(glucose(sequence))
    seen = plain.observation
    value = replace(seen.values[0], number=Decimal(f"{sequence}.777777"))
    raw = (b"RAW-%06d" % sequence,)
    return replace(plain, observation=replace(seen, values=(value,), raw=raw))


def test_what_is_theirs_goes_and_what_is_not_stays(clinic: Clinic) -> None:
    clinic.send(*(nobodys(glucose(number)) for number in range(20)))
    clinic.send(nobodys(glucose(2, status=("battery_low",))))
    clinic.send(nobodys(glucose(3, quality=Quality.SPIKE)))
    gone, stays = clinic.patient("P-1", family="Muster"), clinic.patient("P-2")
    clinic.attribute(gone, METER.id, START_MS, NOON_MS)
    clinic.attribute(stays, METER.id, NOON_MS)
    clinic.consent(gone, clinic.programme("study"))
    before = clinic.store.devices(0, 1)[0].tallies[0]
    ledger = clinic.store.database.rows("SELECT id, new, known, amended FROM batch")

    done = erase(clinic, gone.id)

    # Those at 0 and 10 min may be another's; of the others none is left.
    overwritten = clinic.store.database.engine == "sqlite"
    assert done == Erased(9, amendments=1, quarantine=(), overwritten=overwritten)
    left = clinic.store.readings(_ALL, 0, 100)
    assert sorted(one.reading.observation.sequence for one in left) == [
        0,
        *range(10, 20),
    ]
    assert clinic.store.amended(0, 10) == []
    tally = clinic.store.devices(0, 1)[0].tallies[0]
    assert (before.readings, tally.readings) == (20, 11)
    assert (tally.first_ms, tally.last_ms) == (START_MS, START_MS + 19 * MINUTE_MS)
    assert clinic.registry.patient(gone.id) is None
    assert clinic.registry.attributions.listed("", 0, 9, patient=gone.id) == []
    assert clinic.consents.of_patient(gone.id) == []
    kept = clinic.chart.readings(stays, [Grant()], START, 100).rows
    assert [one.reading.observation.sequence for one in kept] == [*range(11, 20)]
    assert (
        clinic.store.database.rows("SELECT id, new, known, amended FROM batch")
        == ledger
    )


def test_what_was_erased_is_not_stored_again(clinic: Clinic) -> None:
    """A meter keeps its memory for years, and tells all of it when asked."""
    sent = [nobodys(glucose(number)) for number in range(5)]
    clinic.send(*sent)
    patient = clinic.patient("P-1")
    clinic.attribute(patient, METER.id)
    assert erase(clinic, patient.id).readings == 5

    again = clinic.store.commit([accepted(99, *sent, nobodys(glucose(5)))])

    assert again == [Outcome(new=1, known=5)]
    (left,) = clinic.store.readings(_ALL, 0, 10)
    assert left.reading.observation.sequence == 5


def test_the_log_keeps_that_it_was_done_and_holds(clinic: Clinic) -> None:
    clinic.send(nobodys(glucose(1)))
    patient = clinic.patient("P-1", family="Muster")
    clinic.attribute(patient, METER.id)
    clinic.access.record(LOCAL, "patient.read", patient=patient.id)

    erase(clinic, patient.id)

    entries = clinic.audit.entries("clinic", 0, 100, patient=patient.id)
    assert [(one.action, one.what) for one in entries] == [
        ("patient.read", ""),
        ("patient.erase", "1 readings"),
        ("patient.erased", "1 readings, 0 amendments"),
    ]
    assert "Muster" not in str(entries)
    clinic.audit.verify("clinic")


def test_messages_that_nobody_could_read_are_named(clinic: Clinic) -> None:
    """They may hold readings of the patient, and nobody can tell."""
    clinic.send(nobodys(glucose(1)))
    topic = STATION.up("batch")
    clinic.store.commit([Refused(topic, STATION, b"?", bytes(32), "why", 7)])
    other = STATION._replace(station="else")
    clinic.store.commit([Refused(other.up("batch"), other, b"?", bytes(32), "why", 7)])
    patient = clinic.patient("P-1")
    clinic.attribute(patient, METER.id)

    done = erase(clinic, patient.id)

    kept = clinic.store.quarantine(0, 10)
    assert done.quarantine == (kept[0].id,)
    assert len(kept) == 2


def test_a_claim_goes_with_its_patient(clinic: Clinic) -> None:
    clinic.send(nobodys(glucose(1)))
    patient = clinic.patient("P-1")
    (loose,) = clinic.chart.unassigned(_ALL, 0, 9).rows
    with clinic.store.database.change() as change:
        clinic.chart.claim(change, loose, patient.id, "why", "desk", NOW_MS)

    assert erase(clinic, patient.id).readings == 1

    assert clinic.store.database.rows("SELECT count(*) FROM claim") == [(0,)]
    assert clinic.store.readings(_ALL, 0, 9) == []


def test_an_erasure_that_was_cut_off_can_be_ended(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    clinic.send(*(nobodys(glucose(number)) for number in range(12)))
    patient = clinic.patient("P-1")
    clinic.attribute(patient, METER.id)
    monkeypatch.setattr("gateway.erasure._PAGE", 5)
    real, left = clinic.access.recorded, [2]

    def failing(*what: object, **more: object) -> object:
        if not left[0]:
            raise StoreUnavailable("the disk is full")
        left[0] -= 1
        return real(*what, **more)

    with monkeypatch.context() as patched:
        patched.setattr(clinic.access, "recorded", failing)
        with pytest.raises(StoreUnavailable):
            erase(clinic, patient.id)
    assert len(clinic.chart.readings(patient, [Grant()], START, 20).rows) == 2

    assert erase(clinic, patient.id).readings == 2
    assert clinic.registry.patient(patient.id) is None


def test_no_byte_of_a_value_remains_in_the_file(tmp_path: Path) -> None:
    """SQLite gives a row's room free, and leaves copies where it divided a page."""
    file = tmp_path / "readings.sqlite"
    store, random = SqliteStore(file), Random(5)
    clinic = Clinic(store)
    sequences = list(range(100_000, 100_600))
    random.shuffle(sequences)
    for start in range(0, len(sequences), 20):
        clinic.send(*(marked(one) for one in sequences[start : start + 20]))
    again = [marked(one) for one in sequences[:50]]
    clinic.send(
        *(
            replace(one, observation=replace(one.observation, status=("x",)))
            for one in again
        )
    )
    half_ms = START_MS + 100_300 * MINUTE_MS
    gone = clinic.patient(
        "P-1", family="Zephyrine", identifiers=(("urn:x", "ID-4711"),)
    )
    stays = clinic.patient("P-2")
    clinic.attribute(gone, METER.id, START_MS, half_ms)
    clinic.attribute(stays, METER.id, half_ms)

    def found(*texts: bytes) -> set[bytes]:
        whole = b"".join(path.read_bytes() for path in sorted(tmp_path.iterdir()))
        return {*_MARKS.findall(whole)} & {*texts}

    theirs = [f"{one}.777777".encode() for one in range(100_000, 100_299)]
    theirs += [b"RAW-%06d" % one for one in range(100_000, 100_299)]
    theirs += [b"Zephyrine", b"zephyrine", b"ID-4711"]
    others = [b"RAW-%06d" % one for one in range(100_301, 100_600)]
    assert found(*theirs, *others) == {*theirs, *others}

    done = erase(clinic, gone.id)

    assert done.readings >= 299
    assert done.overwritten
    assert found(*theirs) == set()
    assert found(*others) == {*others}
    store.close()
    assert found(*theirs) == set()

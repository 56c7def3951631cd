"""Patients: found by what is kept of them, changed by whoever read them last."""

from dataclasses import replace

import pytest

from gateway.registry import Patient, Stale, Taken, Unknown
from tests.gateway.people import NOW_MS, Clinic


@pytest.fixture(params=["sqlite_store", "postgres_store"])
def clinic(request: pytest.FixtureRequest) -> Clinic:
    """Each test here holds for both engines."""
    return Clinic(request.getfixturevalue(request.param))


def names(found: list[Patient]) -> list[str]:
    return [one.name for one in found]


def test_a_patient_is_given_back_as_written(clinic: Clinic) -> None:
    sent = Patient(
        0, "clinic", "P-1", (("urn:a", "1"), ("urn:b", "2")), "Öztürk", "Eva\t", "1951",
        "other",
    )  # fmt: skip

    with clinic.store.database.change() as change:
        made = clinic.registry.add(change, sent, NOW_MS)

    times = {"created_ms": NOW_MS, "updated_ms": NOW_MS, "named_ms": NOW_MS}
    assert made == replace(sent, id=made.id, **times)
    assert clinic.registry.patient(made.id) == made
    assert clinic.registry.patient(made.id, "clinic") == made
    assert clinic.registry.patient(made.id, "other") is None
    assert clinic.registry.patient(10**9) is None


def test_a_search_finds_who_fits_and_nobody_elses(clinic: Clinic) -> None:
    clinic.patient("P-1", family="Straße", given="Eva", birth_date="1951-03-02")
    clinic.patient("P-2", family="Strand", gender="male", identifiers=(("a", "7"),))
    clinic.patient("P-3", family="%", identifiers=(("b", "7"),))
    Clinic(clinic.store, "other").patient("P-1", family="Strand")

    def found(**asked: object) -> list[str]:
        return names(clinic.registry.patients("clinic", 0, 9, **asked))

    assert found() == ["P-1", "P-2", "P-3"]
    assert found(family="STRASSE") == ["P-1"]
    assert found(family="stra") == ["P-1", "P-2"]
    assert found(family="%") == ["P-3"]
    assert found(given="e") == ["P-1"]
    assert found(birth_date="1951") == ["P-1"]
    assert found(birth_date="1951-03-03") == []
    assert found(gender="male") == ["P-2"]
    assert found(identifier=(None, "7")) == ["P-2", "P-3"]
    assert found(identifier=("b", "7")) == ["P-3"]
    assert found(name="P-1", family="x") == []
    assert len(clinic.registry.patients("", 0, 9, name="P-1")) == 2


@pytest.mark.parametrize("few", [0, 10_000])
def test_pages_hold_only_whom_one_may_see(
    clinic: Clinic, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By their ids, or through the pages of a search where they are many."""
    monkeypatch.setattr("gateway.registry._FEW", few)
    monkeypatch.setattr("gateway.store.marks.AT_ONCE", 3)
    made = [clinic.patient(f"P-{at:02}", family="abc"[at % 3]) for at in range(20)]
    among = frozenset(one.id for one in made if one.id % 2)

    for asked in ({}, {"family": "b"}):
        found, after = [], 0
        while page := clinic.registry.patients(
            "clinic", after, 2, among=among, **asked
        ):
            found += page
            after = page[-1].id
        family = asked.get("family")
        assert found == [
            one for one in made if one.id in among and family in {None, one.family}
        ]
    assert clinic.registry.patients("clinic", 0, 2, among=frozenset()) == []


def test_a_change_needs_the_version_that_was_read(clinic: Clinic) -> None:
    read = clinic.patient("P-1", identifiers=(("a", "7"),))
    clinic.now_ms += 5

    with clinic.store.database.change() as change:
        wanted = replace(read, name="P-9", identifiers=(("a", "8"),))
        revised = clinic.registry.revise(change, wanted, clinic.now_ms)

    assert revised.version == 2
    assert clinic.registry.patient(read.id) == revised
    assert revised.created_ms == NOW_MS
    assert revised.updated_ms == NOW_MS + 5
    assert clinic.registry.patients("clinic", 0, 9, identifier=("a", "7")) == []
    for wrong, error in (
        (read, Stale),
        (replace(revised, tenant="other"), Unknown),
        (replace(revised, id=10**9), Unknown),
    ):
        with pytest.raises(error), clinic.store.database.change() as change:
            clinic.registry.revise(change, wrong, NOW_MS)


def test_what_is_another_ones_is_refused_and_nothing_changed(clinic: Clinic) -> None:
    clinic.patient("P-1", identifiers=(("a", "7"),))
    second = clinic.patient("P-2", identifiers=(("a", "8"),))

    for wrong in (
        replace(second, name="P-1"),
        replace(second, identifiers=(("a", "7"),)),
    ):
        with pytest.raises(Taken), clinic.store.database.change() as change:
            clinic.registry.revise(change, wrong, NOW_MS)
    with pytest.raises(Taken):
        clinic.patient("P-3", identifiers=(("a", "8"),))

    assert clinic.registry.patient(second.id) == second
    assert names(clinic.registry.patients("clinic", 0, 9)) == ["P-1", "P-2"]
    # Another tenant's names are its own.
    Clinic(clinic.store, "other").patient("P-1", identifiers=(("a", "7"),))

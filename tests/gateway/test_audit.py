"""The record of who saw what: nobody can change it unseen."""

import threading
from contextlib import suppress
from dataclasses import replace
from random import Random

import pytest

from gateway.access import LOCAL
from gateway.audit import Audit, Head, Tampered
from gateway.store import Store, StoreRefused
from gateway.store.database import Scalar
from tests.gateway.people import Clinic

ROWS = 12


@pytest.fixture(params=["sqlite_store", "postgres_store"])
def clinic(request: pytest.FixtureRequest) -> Clinic:
    """Each test here holds for both engines."""
    return Clinic(request.getfixturevalue(request.param), "")


@pytest.fixture
def written(clinic: Clinic) -> Clinic:
    for number in range(ROWS):
        clinic.now_ms += 1_000
        clinic.access.record(LOCAL, f"readings.{number}", what=f"reading {number}")
    return clinic


def spoil(store: Store, sql: str, **values: Scalar) -> None:
    with store.database.change() as change:
        change.rows(sql, **values)


def test_an_untouched_log_holds(written: Clinic) -> None:
    head = written.audit.verify("")

    assert head == written.audit.head("")
    assert head.sequence == ROWS
    assert written.audit.verify("", head) == head
    assert [one.sequence for one in written.audit.entries("", 3, 4)] == [4, 5, 6, 7]


def test_an_empty_log_holds(clinic: Clinic) -> None:
    assert clinic.audit.verify("").sequence == 0


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("at_ms", 1),
        ("principal", 7),
        ("name", "nobody"),
        ("action", "readings.none"),
        ("patient", 8),
        ("programme", 9),
        ("purpose", "TREAT"),
        ("what", ""),
        ("hash", bytes(32)),
    ],
)
def test_no_column_can_be_edited(written: Clinic, column: str, value: Scalar) -> None:
    spoil(
        written.store,
        f"UPDATE audit SET {column} = :value WHERE sequence = 5",
        value=value,
    )

    with pytest.raises(Tampered, match=r"row 5 "):
        written.audit.verify("")


@pytest.mark.parametrize("row", [1, 6])
def test_no_row_can_be_taken_out(written: Clinic, row: int) -> None:
    spoil(written.store, "DELETE FROM audit WHERE sequence = :row", row=row)

    with pytest.raises(Tampered, match=f"row {row} .* is missing"):
        written.audit.verify("")


def test_a_row_taken_out_cannot_be_closed_up(written: Clinic) -> None:
    spoil(written.store, "DELETE FROM audit WHERE sequence = 6")
    for row in range(7, ROWS + 1):
        spoil(
            written.store,
            "UPDATE audit SET sequence = sequence - 1 WHERE sequence = :row",
            row=row,
        )

    with pytest.raises(Tampered, match="row 6 "):
        written.audit.verify("")


def test_rows_cannot_change_places(written: Clinic) -> None:
    for old, new in ((4, 104), (5, 4), (104, 5)):
        spoil(
            written.store,
            "UPDATE audit SET sequence = :new WHERE sequence = :old",
            old=old,
            new=new,
        )

    with pytest.raises(Tampered, match="row 4 "):
        written.audit.verify("")


def test_the_end_cannot_be_cut_off(written: Clinic) -> None:
    """With the head left alone; who moves that too is found by a head noted before."""
    noted = written.audit.head("")
    spoil(written.store, "DELETE FROM audit WHERE sequence > 9")
    with pytest.raises(Tampered, match="its end was cut off"):
        written.audit.verify("")

    last = written.audit.entries("", 8, 1)[0]
    spoil(
        written.store,
        "UPDATE audit_head SET sequence = 9, hash = :hash",
        hash=last.hash,
    )
    assert written.audit.verify("").sequence == 9
    with pytest.raises(Tampered, match=r"ends at row 9, and row 12 was noted"):
        written.audit.verify("", noted)


def test_a_chain_made_anew_is_not_the_one_that_was_noted(clinic: Clinic) -> None:
    """Whoever owns the database can make a whole chain that holds by itself."""
    clinic.access.record(LOCAL, "readings.list", what="what was seen")
    noted = clinic.audit.head("")
    spoil(clinic.store, "DELETE FROM audit")
    spoil(clinic.store, "DELETE FROM audit_head")
    clinic.access.record(LOCAL, "readings.list", what="something harmless")

    assert clinic.audit.verify("").sequence == 1
    with pytest.raises(Tampered, match="made anew"):
        clinic.audit.verify("", noted)


def test_a_row_put_in_behind_is_found(written: Clinic) -> None:
    head = written.audit.head("")
    spoil(written.store, "UPDATE audit_head SET sequence = 11, hash = :h", h=bytes(32))
    with pytest.raises(Tampered):
        written.audit.verify("")
    eleventh = written.audit.entries("", 10, 1)[0]
    spoil(written.store, "UPDATE audit_head SET hash = :h", h=eleventh.hash)
    with pytest.raises(Tampered, match=r"row 12 .* was put in"):
        written.audit.verify("")
    assert head.sequence == ROWS


def test_random_tampering_is_always_found(sqlite_store: Store) -> None:
    clinic, random = Clinic(sqlite_store, ""), Random(3)
    for number in range(ROWS):
        clinic.access.record(LOCAL, "readings.list", what=f"{number}")
    columns = ("at_ms", "principal", "patient", "programme")

    found = 0
    for _ in range(300):
        row, other = random.sample(range(1, ROWS + 1), 2)
        column = random.choice(columns)
        taken = f"(SELECT what FROM audit WHERE sequence = {other})"
        sql = random.choice(
            [
                f"UPDATE audit SET {column} = 99 WHERE sequence = {row}",
                f"DELETE FROM audit WHERE sequence = {row}",
                f"UPDATE audit SET what = {taken} WHERE sequence = {row}",
            ]
        )
        with suppress(_Undone), clinic.store.database.change() as change:
            change.rows(sql)
            with pytest.raises(Tampered):
                Audit(_Within(change), lambda: 1).verify("")
            found += 1
            raise _Undone

    assert found == 300
    assert clinic.audit.verify("").sequence == ROWS


class _Undone(Exception):
    """Ends a transaction that is to be as if it had not been."""


class _Within:
    """Reads what a transaction sees that is yet to be undone."""

    engine = "sqlite"

    def __init__(self, change: object) -> None:
        self.rows = change.rows

    def change(self) -> None:
        raise AssertionError


def test_each_tenant_has_a_chain_of_its_own(clinic: Clinic) -> None:
    one, two = (Clinic(clinic.store, name) for name in ("one", "two"))
    patients = [one.patient("P-1"), two.patient("P-1"), one.patient("P-2")]

    clinic.access.record(LOCAL, "patients.list", patient=[who.id for who in patients])

    assert [entry.patient for entry in clinic.audit.entries("one", 0, 9)] == [
        patients[0].id,
        patients[2].id,
    ]
    assert [entry.patient for entry in clinic.audit.entries("two", 0, 9)] == [
        patients[1].id
    ]
    assert [head.tenant for head in clinic.audit.heads()] == ["one", "two"]
    assert clinic.audit.verify("one").sequence == 2
    about = clinic.audit.entries("one", 0, 9, patient=patients[2].id)
    assert [entry.sequence for entry in about] == [2]


def test_who_writes_at_once_makes_one_chain(clinic: Clinic) -> None:
    """Two rows with one predecessor would be a log that nobody can believe."""

    def write() -> None:
        for _ in range(5):
            clinic.access.record(LOCAL, "readings.list")

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert clinic.audit.verify("").sequence == 20


def test_a_change_that_fails_leaves_no_record_of_having_been(clinic: Clinic) -> None:
    with (
        pytest.raises(StoreRefused),
        clinic.access.recorded(LOCAL, "patient.made", tenant="one") as change,
    ):
        change.rows("INSERT INTO programme (tenant) VALUES ('one')")

    assert clinic.audit.heads() == []


def test_a_head_of_another_chain_is_none_of_this(clinic: Clinic) -> None:
    clinic.access.record(LOCAL, "readings.list")
    head = clinic.audit.head("")

    with pytest.raises(Tampered):
        clinic.audit.verify("", replace(head, hash=bytes(32)))
    with pytest.raises(Tampered):
        clinic.audit.verify("one", Head("one", 1, head.hash))

"""Marks and places by which a memory's records are known again."""

from decimal import Decimal

import pytest

from drivers.memory import RecordMark, Retold, filling_now, filling_of, fillings_now
from drivers.sdk import DateTime, Kind, Observation, Quantity, Unit, Value

UNSET = Observation(
    Kind.BODY_WEIGHT,
    (Value(Quantity.BODY_WEIGHT, Unit.KILOGRAM, Decimal(80)),),
    DateTime(0, 0, 0, 0, 0, 0),
)


def test_a_filling_begins_behind_each_visit_that_found_nothing() -> None:
    """However often it is found empty, for there are only so many numbers."""
    filling, found = 0, []
    for is_empty in (False, True, True, False, False, True, False):
        filling = filling_now(filling, is_empty=is_empty)
        found.append(filling)

    assert found == [0, 1, 1, 2, 2, 3, 4]
    assert filling_now(4095, is_empty=False) == 0


def test_each_user_has_a_filling_of_his_own() -> None:
    mark = fillings_now(0, [[], ["a record"], []])
    mark = fillings_now(mark, [["a record"], ["a record"], []])

    assert [filling_of(mark, user) for user in range(3)] == [2, 0, 1]


@pytest.mark.parametrize(
    ("filling", "places"), [(0, ["0600+1", "0600+2"]), (2, ["0600+2+1", "0600+2+2"])]
)
def test_a_place_is_as_earlier_versions_told_it_and_behind_an_erasure_another(
    filling: int, places: list[str]
) -> None:
    """An update, or a first erasure, makes no old reading look new."""
    memory = RecordMark(newest=5, filling=filling).memory()

    found = [memory.place(UNSET), memory.place(UNSET)]

    assert [dict(one.context)["position-at-this-time"] for one in found] == places


def test_a_record_that_is_told_again_at_its_mark_has_no_place_before_the_next() -> None:
    assert RecordMark(newest=5, stamp=1).memory()._since == "0500+"
    assert RecordMark(newest=65535).memory()._since == "0000+"
    assert RecordMark().memory()._since == "+"
    assert Retold()._since == ""


def test_a_mark_of_an_earlier_version_is_read() -> None:
    """A record's stamp had 32 bits, and nothing said whether there was a memory."""
    old = (0xDEADBEEF << 17 | 1000 + 1) << 9 | 7 + 1

    assert RecordMark.of(old) == RecordMark(1000, 7, 0xADBEEF, None)


@pytest.mark.parametrize(
    "mark",
    [
        RecordMark(),
        RecordMark(filling=0),
        RecordMark(user=0),
        RecordMark(0, 0, 0, 0),
        RecordMark(65535, 255, 0xFFFFFF, 4095),
    ],
)
def test_a_mark_is_read_as_it_was_written(mark: RecordMark) -> None:
    assert 0 <= mark.packed < 1 << 63
    assert RecordMark.of(mark.packed) == mark

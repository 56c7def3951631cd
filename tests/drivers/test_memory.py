"""Marks and places by which a memory's records are known again."""

from dataclasses import replace
from decimal import Decimal

import pytest

from drivers.memory import (
    RecordMark,
    Retold,
    filling_now,
    filling_of,
    fillings_now,
    undated_once,
)
from drivers.sdk import (
    Checkpoint,
    DateTime,
    Event,
    Kind,
    Observation,
    Quantity,
    State,
    Undecoded,
    Unit,
    Value,
)
from protocols.observation import POSITION

UNSET = Observation(
    Kind.BODY_WEIGHT,
    (Value(Quantity.BODY_WEIGHT, Unit.KILOGRAM, Decimal(80)),),
    DateTime(0, 0, 0, 0, 0, 0),
)

GLUCOSE = Observation(
    Kind.GLUCOSE, (Value(Quantity.GLUCOSE, Unit.MG_PER_DL, Decimal(100)),)
)
PRESSURE = Observation(
    Kind.BLOOD_PRESSURE,
    (Value(Quantity.SYSTOLIC, Unit.MM_HG, None, State.NO_VALUE),),
    DateTime(2026, 0, 1, 7, 30, 0),
    slot=2,
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


def _told(mark: int | None, *records: Event) -> tuple[list[Event], int]:
    """Return what is told of a memory, and the mark behind it."""
    *told, last = undated_once(mark, records)
    assert isinstance(last, Checkpoint)
    return told, last.mark


def _placed(place: int) -> Observation:
    return replace(GLUCOSE, context=((POSITION, f"{place}"),))


def test_undated_ones_have_their_places_as_long_as_none_is_gone() -> None:
    """By these they are known again, whoever tells them: equal ones are all one."""
    first, mark = _told(None, GLUCOSE, GLUCOSE)
    second, mark = _told(mark, GLUCOSE, GLUCOSE, GLUCOSE)
    before, mark = _told(mark, PRESSURE, GLUCOSE, GLUCOSE, GLUCOSE, GLUCOSE)

    assert first == [_placed(1), _placed(2)]
    assert second == [_placed(1), _placed(2), _placed(3)]
    assert len(before) == 5
    assert before[1:] == [*map(_placed, range(1, 5))]


def test_where_one_is_gone_only_new_ones_are_told_from_then_on() -> None:
    memory = [
        replace(GLUCOSE, values=(replace(GLUCOSE.values[0], number=Decimal(90 + n)),))
        for n in range(9)
    ]
    _, mark = _told(None, *memory[:6])
    moved, mark = _told(mark, *memory[2:8])
    same, mark = _told(mark, *memory[2:8])
    grown, mark = _told(mark, *memory[2:9])

    assert (moved, same, grown) == (memory[6:8], [], memory[8:])


def test_behind_an_erasure_all_are_new() -> None:
    for seen in ([], [GLUCOSE] * 2):
        _, mark = _told(None, GLUCOSE, GLUCOSE, GLUCOSE)
        _, mark = _told(mark, *seen)
        told, _ = _told(mark, *seen, GLUCOSE)
        assert told == [GLUCOSE]


def test_the_mark_of_a_memory_stays_what_earlier_versions_wrote() -> None:
    """Another one would have all without a date told anew after an update."""
    both = 0x531411951AC845  # of b2sum -l 56
    mark = (2 << 20 | both >> 36) << 26 | both >> 30

    assert _told(None, GLUCOSE, PRESSURE)[1] == mark
    assert _told(3 << 46, GLUCOSE, PRESSURE)[1] == 1 << 62 | mark
    assert _told(None)[1] == 0
    assert _told(mark)[1] == 1 << 62


def test_what_cannot_be_read_is_told_again_and_may_tell_its_place() -> None:
    """Old results of a Contour have other numbers where the oldest one is gone."""
    damaged = [Undecoded("result", b"R|%d" % n, "is none") for n in range(3)]
    _, mark = _told(None, PRESSURE, GLUCOSE, damaged[1], GLUCOSE, damaged[2])
    memory = [GLUCOSE, damaged[0], GLUCOSE, damaged[1], GLUCOSE]

    assert _told(mark, *memory)[0] == [damaged[0], damaged[1], GLUCOSE]


def test_what_is_not_whole_tells_none_without_a_date_and_leaves_no_mark() -> None:
    dated = Observation(Kind.GLUCOSE, GLUCOSE.values, DateTime(2026, 3, 1, 7, 30, 0))

    for mark in (None, 0, 8, 1 << 62):
        told = [*undated_once(mark, [GLUCOSE, dated, GLUCOSE], is_whole=False)]
        assert told == [dated]

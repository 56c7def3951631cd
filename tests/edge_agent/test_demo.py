"""The demo's verdict, which must not be better than what happened."""

from decimal import Decimal

from edge_agent.demo import Fact, Row, compare

NAMES = {"S1": "meter"}


def fact(serial: str = "S1", number: str = "100") -> Fact:
    value = ("glucose", Decimal(number), "mg/dL")
    return serial, "glucose", "2025-06-01T07:00:00", (value,)


def test_all_that_is_held_and_nothing_else_is_exact() -> None:
    (row,) = compare([fact()], [fact()], NAMES)

    assert row == Row("meter", 1, 1, 0, 0, 0)
    assert row.is_exact


def test_what_is_missing_doubled_or_changed_is_counted() -> None:
    held = [fact(number="100"), fact(number="200"), fact(number="300")]
    stored = [fact(number="100"), fact(number="100"), fact(number="201")]

    (row,) = compare(held, stored, NAMES)

    assert row == Row("meter", 3, 3, 2, 1, 1)


def test_a_reading_under_another_device_is_not_overlooked() -> None:
    """The same reading stored once more under another identity is doubled in truth."""
    rows = compare([fact()], [fact(), fact("S9")], NAMES)

    assert [row.is_exact for row in rows] == [True, False]
    assert {row.device for row in rows} == {"meter", "unknown S9"}

"""The shared fields, against the worked values of the specification."""

from datetime import datetime
from decimal import Decimal

import pytest

from firmware_sim.fields import date_time, sfloat


@pytest.mark.parametrize(
    ("value", "word"),
    [
        ("0.00120", 0xB078),  # 120 mg/dL in kg/L
        ("0.0055", 0xC037),  # 5.5 mmol/L in mol/L
        ("120", 0x0078),
        ("16.0", 0xF0A0),
        ("36.6", 0xF16E),
        ("2", 0x0002),
        ("2.0", 0xF014),
        ("2.00", 0xE0C8),
        ("-0.1", 0xFFFF),
        ("2045", 0x07FD),
        ("-2045", 0x0803),
        ("1E+7", 0x7001),
        ("NaN", 0x07FF),
        ("Infinity", 0x07FE),
        ("-Infinity", 0x0802),
    ],
)
def test_a_number_is_sent_with_the_decimals_it_has(value: str, word: int) -> None:
    assert sfloat(Decimal(value)) == word.to_bytes(2, "little")


@pytest.mark.parametrize("value", ["2046", "-2046", "20.46", "1E-9", "1E+8"])
def test_a_number_that_would_be_rounded_is_refused(value: str) -> None:
    """A simulator that rounds would make the truth a lie."""
    with pytest.raises(ValueError, match="not exact"):
        sfloat(Decimal(value))


def test_an_unknown_time_is_all_zeros() -> None:
    assert date_time(None) == bytes(7)
    assert date_time(datetime.fromisoformat("2020-07-14T11:06:05")) == bytes.fromhex(
        "e407070e0b0605"
    )

"""FLOAT and SFLOAT against fractions, word by word."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.medfloat import Special, float32, sfloat

# IEEE 11073-20601: by the whole word.
SPECIALS_16 = {
    0x07FE: "+INF",
    0x07FF: "NaN",
    0x0800: "NRes",
    0x0801: "Reserved",
    0x0802: "-INF",
}
SPECIALS_32 = {
    0x007FFFFE: "+INF",
    0x007FFFFF: "NaN",
    0x00800000: "NRes",
    0x00800001: "Reserved",
    0x00800002: "-INF",
}


def naive(raw: int, mantissa_bits: int, exponent_bits: int) -> tuple[Fraction, int]:
    """Say it as the standard does: mantissa times ten to the exponent."""
    mantissa = raw % 2**mantissa_bits
    if mantissa >= 2 ** (mantissa_bits - 1):
        mantissa -= 2**mantissa_bits
    exponent = raw // 2**mantissa_bits
    if exponent >= 2 ** (exponent_bits - 1):
        exponent -= 2**exponent_bits
    return Fraction(mantissa) * Fraction(10) ** exponent, exponent


def test_every_sfloat_is_its_fraction_and_keeps_its_precision() -> None:
    """Of 65,536 words none may be scaled, rounded or normalised."""
    for raw in range(0x10000):
        found = sfloat(raw)
        if raw in SPECIALS_16:
            assert found is Special(SPECIALS_16[raw])
            continue
        value, exponent = naive(raw, 12, 4)
        assert isinstance(found, Decimal)
        assert (Fraction(found), found.as_tuple().exponent) == (value, exponent), raw


@given(st.integers(0, 0xFFFF_FFFF) | st.integers(0x007F_FFF0, 0x0080_000F))
def test_a_float_is_its_fraction_and_keeps_its_precision(raw: int) -> None:
    """The same for 32 bits, and round its special words."""
    found = float32(raw)
    if raw in SPECIALS_32:
        assert found is Special(SPECIALS_32[raw])
        return
    value, exponent = naive(raw, 24, 8)
    assert isinstance(found, Decimal)
    assert (Fraction(found), found.as_tuple().exponent) == (value, exponent)


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (0x0072, "114"),
        (0xB076, "0.00118"),
        (0xF014, "2.0"),
        (0xE0C8, "2.00"),
        (0x17FE, "2.046E+4"),
        (0xB7FE, "0.02046"),
        (0xF0A0, "16.0"),
        (0x0FFF, "-1"),
    ],
)
def test_published_words_read_as_published(raw: int, shown: str) -> None:
    """The examples on which a much-used library fails."""
    assert str(sfloat(raw)) == shown


def test_seven_fs_are_a_number_and_no_infinity() -> None:
    """0x7FFFFFFF is mantissa -1, exponent 127; a public test suite says +INF."""
    assert float32(0x7FFFFFFF) == Decimal("-1e127")
    assert str(float32(0xFF00016C)) == "36.4"

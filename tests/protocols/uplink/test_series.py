"""Any series survives its message, in few bytes, whichever form the kernels have."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edge_agent.bench.rivals.cbor import plain_size
from protocols.errors import DecodeError
from protocols.uplink.profiles import SETS
from protocols.uplink.series import (
    MAX_COLUMNS,
    MAX_ROWS,
    Column,
    Series,
    _check_of,
    decode,
    encode,
)
from tests.protocols.uplink.some_series import (
    SIZES,
    TIMES,
    VALUES,
    column,
    few_rows,
    form,
    made,
    same,
    series,
)

_MOST_OVER_CBOR = 8


@pytest.fixture(scope="module", params=["plain", "compiled"])
def kernels(request: pytest.FixtureRequest) -> Iterator[str]:
    with form(request.param):
        yield request.param


def _survives(given_: Series) -> None:
    for fast in (False, True):
        message = encode(given_, fast=fast)
        assert same(decode(message), given_)
        assert len(message) - plain_size(given_) <= _MOST_OVER_CBOR


@pytest.mark.usefixtures("kernels")
@given(few_rows())
@example(Series(column([1]), (column([-(1 << 63)]),)))
@example(Series(column([1, 2]), (column([3, 5], [1, -1]),)))
@settings(max_examples=150, deadline=None)
def test_any_numbers_survive_and_cost_no_more_than_cbor(given_: Series) -> None:
    """A reading that comes back changed by one digit is a wrong reading."""
    _survives(given_)


@given(series((*SIZES, 1000), columns=4))
@settings(max_examples=150, deadline=None)
def test_series_of_every_kind_survive(given_: Series) -> None:
    with form("compiled"):
        _survives(given_)


@pytest.mark.parametrize("rows", SIZES)
def test_every_number_of_columns_survives(rows: int) -> None:
    """A column too many in a heading would be a neighbour's reading."""
    with form("compiled"):
        for columns in (1, 2, 3, 15, 16, 17, 23, 24, MAX_COLUMNS):
            kinds = (sorted(VALUES) * 4)[:columns]
            _survives(made(columns, rows, "jitter", kinds))
            _survives(made(columns, rows, "regular", ["noise"] * columns))


@pytest.mark.parametrize("kind", VALUES)
def test_the_longest_series_survive(kind: str) -> None:
    with form("compiled"):
        for time in ("jitter", "irregular"):
            _survives(made(1, MAX_ROWS, time, [kind]))


def test_the_longest_times_survive() -> None:
    with form("compiled"):
        for time in TIMES:
            _survives(made(1, MAX_ROWS, time, ["constant"]))


@given(series((1, 2, 16, 65), columns=3), st.booleans())
@settings(max_examples=60, deadline=None)
def test_plain_and_compiled_kernels_write_the_same_bytes(
    given_: Series, fast: bool
) -> None:
    """The agent starts on plain kernels, and a resent batch must be the same batch."""
    with form("plain"):
        plain = encode(given_, fast=fast)
    with form("compiled"):
        assert encode(given_, fast=fast) == plain
        found = decode(plain)
    with form("plain"):
        assert same(decode(plain), found)


def test_both_write_the_same_bytes_of_long_series() -> None:
    for time in ("jitter", "backwards", "waveform", "irregular"):
        given_ = made(3, 2000, time, ["walk"])
        with form("plain"):
            plain = encode(given_)
        with form("compiled"):
            assert encode(given_) == plain


@pytest.mark.parametrize("fast", [False, True])
def test_the_message_that_a_series_becomes_does_not_change_the_series(
    fast: bool,
) -> None:
    """It is sent again as it is until a receipt comes."""
    given_ = made(5, 300, "jitter", ["walk", "absent", "switch"])
    again = made(5, 300, "jitter", ["walk", "absent", "switch"])
    with form("compiled"):
        assert encode(given_, fast=fast) == encode(given_, fast=fast)
    assert same(given_, again)


def test_columns_without_a_profile_survive_too() -> None:
    with form("compiled"):
        given_ = made(1, 64, "jitter", ["walk", "walk", "tenths"])
        for measured in range(4):
            assert same(decode(encode(given_, measured=measured)), given_)


@pytest.mark.parametrize("late", [0, 120])
def test_pressures_of_a_worn_cuff_are_coded_as_pressures(late: int) -> None:
    """Its half hours once made it a glucose sensor, at 41 bits a reading."""
    rng = np.random.default_rng(1)
    times = 1_700_000_040 + 1800 * np.arange(64)
    times += 60 * (rng.integers(-late, late + 1, 64) // 60)
    systolic = rng.normal(130, 11, 64).astype(int)
    diastolic = 10 + systolic // 2 + rng.normal(0, 5, 64).astype(int)
    mean = (systolic + 2 * diastolic) // 3
    pulse = rng.normal(70, 7, 64).astype(int)
    given_ = Series(
        column(times), tuple(map(column, (systolic, diastolic, mean, pulse)))
    )
    with form("compiled"):
        message = encode(given_)
        assert same(decode(message), given_)
    assert len(message) * 8 / 64 < (23 if late else 19)


def test_a_short_message_is_always_of_the_first_set() -> None:
    """Its check of eight bits would else pass twice as much damage."""
    few = [[122, 124, 123, 123, 124], [117, 114, 118, 114], [70] * 8]
    with form("compiled"):
        for systolic in few:
            times = column(1_700_000_000 + 1800 * np.arange(len(systolic)))
            given_ = Series(times, (column(systolic),))
            message = encode(given_)
            assert same(decode(message), given_)
        body = message[:-1]
        assert message == body + _check_of(body, SETS[0], short=True)
        with pytest.raises(DecodeError, match="not that of these bytes"):
            decode(body + _check_of(body, SETS[1], short=True))


def _deflation(power: int) -> Series:
    """Return 2 s of a cuff: it loses air, an artery beats, a sensor hums.

    Args:
        power: That of ten which a number counts; -2 where it is to be a cuff's.
    """
    at = np.arange(400) / 200
    hum = np.random.default_rng(1).normal(0, 0.04, 400)
    pressure = 120 - 4 * at + 1.2 * np.maximum(np.sin(7 * at), 0) ** 3 + hum
    hundredths = column(np.round(pressure * 100), power)
    return Series(column(5 * np.arange(400), -3), (hundredths,))


def test_a_cuff_in_hundredths_is_coded_as_a_cuff() -> None:
    """All above 35 mmHg once was too high for a cuff, and not predicted."""
    given_ = _deflation(-2)
    with form("compiled"):
        message = encode(given_)
        assert same(decode(message), given_)
    assert message[-2:] == _check_of(message[:-2], SETS[1], short=False)
    assert len(message) * 8 / 400 < 5


@pytest.mark.parametrize("power", [-1, -3])
def test_no_other_waveform_is_coded_as_a_cuff_in_hundredths(power: int) -> None:
    """Messages would change, and encoding take twice as long, for what is no cuff."""
    with form("compiled"):
        message = encode(_deflation(power))
    assert message[-2:] == _check_of(message[:-2], SETS[0], short=False)


_ONE = column([1])
_NONE = column([])


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        (Series(_NONE, (_NONE,)), "a series has 1 to 10000 rows, not 0"),
        (Series(_ONE, ()), "columns of values"),
        (Series(_ONE, (_ONE,) * (MAX_COLUMNS + 1)), "columns of values"),
        (Series(_ONE, (column([1, 2]),)), "a column has not 1 mantissas"),
        (
            Series(_ONE, (Column(np.array([1]), np.array([0, 0], np.int8)),)),
            "a column has not 1 mantissas",
        ),
        (Series(_ONE, (column([1], -128),)), "an absent number has a mantissa"),
        (
            Series(column(np.zeros(10_001)), (column(np.zeros(10_001)),)),
            "a series has 1 to 10000 rows, not 10001",
        ),
    ],
)
def test_what_is_no_series_is_refused_when_it_is_written(
    wrong: Series, problem: str
) -> None:
    """Later it could only be refused by a gateway, again and again."""
    with pytest.raises(ValueError, match=problem):
        encode(wrong)

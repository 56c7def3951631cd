"""The rate gate and Hampel's filter, against what they say and against others."""

import math
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.kernels.hampel import Hampel
from edge_agent.kernels.rate import RateGate
from edge_agent.kernels.streams import F8, I8, U1
from tests.kernels.forms import both

_MINUTE = 60_000
_GAP = 15 * _MINUTE

# Readings of a sensor: times that mostly go on by five minutes, values that are near.
_ODD_STEPS = [299_000, 600_000, _GAP, _GAP + 1, 0, -1, 1_000, 10**9, -(10**9), 299_999]
_STEPS = st.sampled_from([300_000] * 20 + _ODD_STEPS)
_VALUES = (
    st.integers(40, 60).map(float)
    | st.floats(40, 400)
    | st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -0.0, 1e300, -9e299])
)
_READINGS = st.lists(st.tuples(_STEPS, _VALUES), max_size=40)


def series(readings: list[tuple[int, float]]) -> tuple[I8, F8]:
    times = np.cumsum(np.array([step for step, _ in readings], np.int64))
    return times, np.array([value for _, value in readings], np.float64)


def naive_rate(times: I8, values: F8, most: float) -> list[int]:
    """Say it as the docstring says it."""
    flags = []
    for i, value in enumerate(values.tolist()):
        before = values[i - 1] if i else math.nan
        passed = int(times[i] - times[i - 1]) if i else 0
        judged = 0 < passed <= _GAP and all(abs(v) < 1e300 for v in (value, before))
        minutes = max(passed, _MINUTE) / _MINUTE
        flags.append(int(judged and abs(value - before) > most * minutes))
    return flags


def naive_hampel(
    times: I8, values: F8, *, window: int, ahead: int, sigmas: float, least: float
) -> list[int]:
    """Say it as the docstring says it."""
    flags, run = [], list[float]()
    before = 0
    for time, value in zip(times.tolist(), values.tolist(), strict=True):
        if not abs(value) < 1e300:
            run = []
        else:
            run = [*run, value] if 0 < time - before <= _GAP else [value]
            before = time
        seen = run[-window:]
        if len(seen) < window:
            flags.append(0)
            continue
        middle = median(seen)
        distance = median(abs(each - middle) for each in seen)
        away = abs(seen[-1 - ahead] - middle)
        flags.append(int(away > sigmas * max(1.4826 * distance, least)))
    return flags


@given(_READINGS, st.sampled_from([0.5, 1.0, 5.0]))
@settings(deadline=None)
def test_the_gate_is_its_naive_form(
    readings: list[tuple[int, float]], most: float
) -> None:
    """A station flags what the documents say, with numba and without."""
    times, values = series(readings)

    flags = both(lambda: RateGate(most, most_gap_ms=_GAP).flag(times, values))

    # A rate that is equal to the limit but for rounding may fall on either side.
    expected = naive_rate(times, values, most)
    near = naive_rate(times, values, most * (1 + 1e-12))
    assert all(f in {a, b} for f, a, b in zip(flags, expected, near, strict=True))


@given(
    _READINGS,
    st.sampled_from([3, 5, 7, 11]).flatmap(
        lambda w: st.tuples(st.just(w), st.integers(0, w // 2))
    ),
    st.sampled_from([(3.0, 2.0), (1.0, 0.0), (3.0, 12.0)]),
)
@settings(max_examples=300, deadline=None)
def test_hampels_filter_is_its_naive_form(
    readings: list[tuple[int, float]],
    window: tuple[int, int],
    limits: tuple[float, float],
) -> None:
    """The window that is kept in order by size must never be another one."""
    times, values = series(readings)
    size, ahead = window

    def flag() -> U1:
        return Hampel(
            size, ahead=ahead, sigmas=limits[0], least_sigma=limits[1], most_gap_ms=_GAP
        ).flag(times, values)

    expected = naive_hampel(
        times, values, window=size, ahead=ahead, sigmas=limits[0], least=limits[1]
    )
    assert both(flag).tolist() == expected


@pytest.mark.parametrize(("window", "ahead"), [(5, 0), (7, 3), (31, 15), (63, 31)])
def test_hampels_filter_is_what_numpy_makes_of_whole_windows(
    window: int, ahead: int
) -> None:
    """An own idea of a median would agree with a naive form of that idea."""
    random = np.random.default_rng(7)
    values = np.round(120 + np.cumsum(random.normal(0, 4, 3000)))
    values[random.random(3000) < 0.02] += 70
    times = np.arange(3000) * 300_000

    flags = Hampel(window, ahead=ahead, sigmas=3, least_sigma=2, most_gap_ms=_GAP).flag(
        times, values
    )

    windows = np.lib.stride_tricks.sliding_window_view(values, window)
    middle = np.median(windows, axis=1)
    spread = np.median(np.abs(windows - middle[:, None]), axis=1)
    away = np.abs(windows[:, -1 - ahead] - middle)
    expected = away > 3 * np.maximum(1.4826 * spread, 2)
    assert flags[: window - 1].sum() == 0
    assert flags[window - 1 :].tolist() == expected.astype(int).tolist()
    assert flags.sum() > 10


def _gate() -> RateGate:
    return RateGate(1.0, most_gap_ms=_GAP)


def _hampel() -> Hampel:
    return Hampel(5, ahead=1, sigmas=3, least_sigma=2, most_gap_ms=_GAP)


@pytest.mark.parametrize("make", [_gate, _hampel])
@given(
    readings=st.lists(
        st.tuples(_STEPS, st.integers(100, 106).map(float) | _VALUES), max_size=30
    ),
    cuts=st.lists(st.integers(0, 12), max_size=6),
)
@settings(deadline=None)
def test_pieces_and_restarts_flag_as_one_piece_does(
    make: Callable[[], RateGate | Hampel],
    readings: list[tuple[int, float]],
    cuts: list[int],
) -> None:
    """Visits cut a stream where they like, and a station may restart between them."""
    times, values = series(readings)
    whole = make().flag(times, values)
    state, pieces = make().to_bytes(), []
    for part in np.split(np.arange(len(values)), sorted(cuts)):
        restored = make().restored(state)
        pieces += restored.flag(times[part], values[part]).tolist()
        state = restored.to_bytes()

    assert pieces == whole.tolist()


@pytest.mark.parametrize("cut", range(1, 5))
@pytest.mark.parametrize(("last", "flag"), [(200.0, 1), (103.0, 0)])
def test_a_restart_while_the_window_fills_forgets_nothing(
    cut: int, last: float, flag: int
) -> None:
    values = np.array([100.0, 101, 100, 101, last])
    times = np.arange(5) * 300_000
    first = Hampel(5, ahead=0, sigmas=3, least_sigma=2, most_gap_ms=_GAP)
    first.flag(times[:cut], values[:cut])
    again = Hampel(5, ahead=0, sigmas=3, least_sigma=2, most_gap_ms=_GAP)

    found = again.restored(first.to_bytes()).flag(times[cut:], values[cut:])

    assert found.tolist() == [0] * (4 - cut) + [flag]


def test_a_look_ahead_tells_of_the_value_before_it() -> None:
    """A flag on the wrong reading is worse than none."""
    values = np.full(11, 100.0)
    values[5] = 200.0
    times = np.arange(11) * 300_000
    found = [
        np.flatnonzero(
            Hampel(7, ahead=ahead, sigmas=3, least_sigma=2, most_gap_ms=_GAP).flag(
                times, values
            )
        ).tolist()
        for ahead in range(4)
    ]

    assert found == [[], [6], [7], [8]]  # its window is not full at 5


def test_what_a_device_rounds_is_no_fast_change() -> None:
    """1 mg/dL in one second would be 60 a minute."""
    times = np.array([0, 1000, 61_000])

    assert _gate().flag(times, np.array([100.0, 101.0, 102.5])).tolist() == [0, 0, 1]


def test_neither_a_gap_nor_a_jump_nor_hi_is_judged() -> None:
    """Over half an hour anything may have happened, and HI is no number."""
    steps = [300_000, _GAP, _GAP + 1, -5, 0, 300_000, 300_000]
    values = np.array([0.0, 100, 200, 300, 400, math.nan, 500])

    flags = _gate().flag(np.cumsum(steps), values)

    assert flags.tolist() == [0, 1, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(("step", "flagged"), [(_GAP, [4]), (_GAP + 1, [])])
def test_a_window_reaches_over_the_longest_gap_and_no_further(
    step: int, flagged: list[int]
) -> None:
    """Sensors that tell every 15 minutes must be judged, and a night away must not."""
    times = np.array([0, 300_000, 600_000, 600_000 + step, 900_000 + step])
    values = np.array([100.0, 101, 100, 101, 200])
    one = Hampel(5, ahead=0, sigmas=3, least_sigma=2, most_gap_ms=_GAP)

    assert np.flatnonzero(one.flag(times, values)).tolist() == flagged


def test_views_and_arrays_that_must_not_be_written_are_taken() -> None:
    """A compiled form reads memory as it stands; a column of a table has gaps."""
    table = np.zeros((12, 2))
    table[:, 0], table[6, 0] = 100.0, 200.0
    times, values = np.arange(12) * 300_000, table[:, 0].copy()
    times.flags.writeable = values.flags.writeable = False

    short: I8 = times.astype("i4")
    found = both(
        lambda: [
            np.flatnonzero(_hampel().flag(times, table[:, 0])).tolist(),
            np.flatnonzero(_hampel().flag(times, values)).tolist(),
            np.flatnonzero(_hampel().flag(short, values)).tolist(),
        ]
    )
    assert found == [[7], [7], [7]]


@pytest.mark.parametrize(
    ("times", "values", "problem"),
    [
        (np.zeros(2, np.int64), np.zeros(3), r"must be \(n,\)"),
        (np.zeros((2, 2), np.int64), np.zeros((2, 2)), r"must be \(n,\)"),
        (np.array([1 << 53]), np.zeros(1), "must be within"),
        (np.array([-(1 << 63)]), np.zeros(1), "must be within"),
    ],
)
@pytest.mark.parametrize("make", [_gate, _hampel])
def test_what_no_kernel_may_see_is_our_own_mistake(
    make: Callable[[], RateGate | Hampel], times: I8, values: F8, problem: str
) -> None:
    """A difference of such times would wrap around in silence."""
    with pytest.raises(ValueError, match=problem):
        make().flag(times, values)


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"window": 4}, "odd"),
        ({"window": 1}, "odd"),
        ({"window": 65}, "odd"),
        ({"ahead": 4}, "4 values ahead, not 0 to 3"),
        ({"ahead": -1}, "ahead"),
        ({"sigmas": 0}, "no limit"),
        ({"sigmas": math.nan}, "no limit"),
        ({"least_sigma": -1}, "no limit"),
        ({"most_gap_ms": 0}, "no gap"),
    ],
)
def test_a_filter_that_means_nothing_is_refused(
    wrong: dict[str, Any], problem: str
) -> None:
    usual: dict[str, Any] = {
        "window": 7,
        "ahead": 0,
        "sigmas": 3,
        "least_sigma": 2,
        "most_gap_ms": _GAP,
    }
    with pytest.raises(ValueError, match=problem):
        Hampel(**(usual | wrong))


@pytest.mark.parametrize(("most", "gap"), [(0, 1), (math.nan, 1), (1e101, 1), (1, 0)])
def test_a_gate_that_means_nothing_is_refused(most: float, gap: int) -> None:
    with pytest.raises(ValueError, match="no gate"):
        RateGate(most, most_gap_ms=gap)

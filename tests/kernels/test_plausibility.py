"""The plausibility kernel against what it says, plain and compiled."""

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edge_agent.kernels.plausibility import (
    LIMITS,
    SENSOR_LIMITS,
    UNLIMITED,
    plausibility,
)
from edge_agent.kernels.streams import F8
from tests.kernels.forms import both

_ROOT = Path(__file__).parents[2]
# Device protocols, 6.1: what is accepted as physiological.
PHYSIOLOGICAL = [
    (10, 900),
    (50, 280),
    (25, 200),
    (25, 280),
    (25, 240),
    (0, 8),
    (50, 100),
    (30, 43),
    (2, 400),
]
_CUFF = UNLIMITED.copy()
_CUFF[1:3] = [(60, 260), (30, 215)]

_NEAR = sorted({edge + step for pair in PHYSIOLOGICAL for edge in pair for step in (-1, -1e-9, 0, 1e-9, 1)})  # fmt: skip  # noqa: E501
_NUMBERS = (
    st.sampled_from([math.nan, math.inf, -math.inf, -0.0, *_NEAR])
    | st.floats(0, 300)
    | st.floats()
)
_TABLES = st.integers(0, 8).flatmap(
    lambda n: arrays(np.float64, (n, 9), elements=_NUMBERS)
)


def judged(values: F8, shown: F8 = UNLIMITED) -> list[int]:
    limits = np.repeat(LIMITS[None], len(values), axis=0)
    found: list[int] = plausibility(values, limits, shown).tolist()
    return found


def naive(row: list[float], shown: list[tuple[float, float]]) -> int:
    """Say it as the docstring says it."""

    def outside(bounds: list[tuple[float, float]]) -> bool:
        return any(
            value < low or value > high
            for value, (low, high) in zip(row, bounds, strict=True)
            if not math.isnan(value)
        )

    _, systolic, diastolic, mean, *_ = row
    pulse_pressure = systolic - diastolic
    odd = pulse_pressure < 10 or pulse_pressure > 150
    odd = odd or mean < diastolic or mean > systolic
    return 1 * outside(PHYSIOLOGICAL) + 2 * odd + 4 * outside(shown)  # type: ignore[arg-type]


def test_the_limits_are_those_of_the_document() -> None:
    """A limit that is off by a digit flags a healthy person, or nobody."""
    assert [tuple(row) for row in LIMITS.tolist()] == PHYSIOLOGICAL
    assert [tuple(row) for row in SENSOR_LIMITS.tolist()] == [
        (20, 600),
        *PHYSIOLOGICAL[1:],
    ]


@given(_TABLES)
@settings(max_examples=300, deadline=None)
def test_plain_and_compiled_agree_with_the_naive_form_bit_for_bit(values: F8) -> None:
    """A station without numba must flag exactly what one with it flags."""
    with np.errstate(invalid="ignore"):
        found = both(lambda: judged(values, _CUFF))

    shown = [tuple(row) for row in _CUFF.tolist()]
    assert found == [naive(row, shown) for row in values.tolist()]


@pytest.mark.parametrize("column", range(9))
@pytest.mark.parametrize("side", [0, 1])
def test_a_value_at_its_limit_is_inside(column: int, side: int) -> None:
    """Limits are inclusive, and one step beyond is not."""
    limit = float(PHYSIOLOGICAL[column][side])
    beyond = np.nextafter(limit, math.inf if side else -math.inf)
    rows = np.full((2, 9), math.nan)
    rows[:, column] = [limit, beyond]

    assert judged(rows) == [0, 1]
    assert judged(rows, LIMITS) == [0, 5]


@pytest.mark.parametrize(
    ("systolic", "diastolic", "mean", "flags"),
    [
        (120, 80, 93, 0),
        (90, 80, 85, 0),  # pulse pressure 10
        (90, 81, 85, 2),
        (230, 80, 100, 0),  # pulse pressure 150
        (231, 80, 100, 2),
        (80, 120, math.nan, 2),
        (120, 80, 80, 0),
        (120, 80, 120, 0),
        (120, 80, 79, 2),
        (120, 80, 121, 2),
        (math.nan, 80, 93, 0),
        (120, math.nan, 121, 2),
        (120, math.nan, 93, 0),
        (300, 80, 100, 3),
    ],
)
def test_pressures_must_fit_each_other(
    systolic: float, diastolic: float, mean: float, flags: int
) -> None:
    row = [math.nan, systolic, diastolic, mean, *[math.nan] * 5]

    assert judged(np.array([row], dtype=float)) == [flags]


def test_each_reading_has_the_limits_of_its_kind() -> None:
    """15 mg/dL of a finger's blood is a person in danger, of a sensor a fault."""
    rows = np.full((3, 9), math.nan)
    rows[:, 0] = 15.0

    found = plausibility(rows, np.stack([LIMITS, SENSOR_LIMITS, UNLIMITED]))

    assert found.tolist() == [0, 1, 0]


def test_nothing_gives_nothing_and_missing_is_never_flagged() -> None:
    assert judged(np.empty((0, 9))) == []
    assert judged(np.full((3, 9), math.nan), LIMITS) == [0, 0, 0]


@pytest.mark.parametrize("shape", [(9,), (2, 8), (2, 10), (1, 2, 9)])
def test_another_shape_is_our_own_mistake(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"values must be \(n, 9\), got"):
        judged(np.zeros(shape))
    with pytest.raises(ValueError, match=r"limits must be \(2, 9, 2\)"):
        plausibility(np.zeros((2, 9)), LIMITS)
    with pytest.raises(ValueError, match=r"shows \(9, 2\)"):
        judged(np.zeros((2, 9)), np.zeros(shape))


_ROWS = [[120.0, 120, 80, 93, 60, 1, 97, 36, 70], [5.0, 90, 85, 1, 1, 1, 1, 1, 1]]


def test_a_view_of_other_strides_gives_the_same() -> None:
    """A compiled form for contiguous rows must not read a transposed table wrongly."""
    table = np.asfortranarray(_ROWS)

    assert judged(table) == [0, 3]
    assert judged(np.repeat(table, 2, 0)[::2]) == [0, 3]


_SCRIPT = """
import numpy as np
from edge_agent.kernels.plausibility import LIMITS, _plausibility, plausibility
from protocols import kernel
problem = kernel.warm(None)
values = np.array([[5.0] + [np.nan] * 8, [100.0, 120, 80, 93, 60, 1, 97, 36, 70]])
print(plausibility(values, np.stack([LIMITS, LIMITS])).tolist())
print(_plausibility.is_compiled)
print(problem)
"""


def _run(folder: Path, **environment: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_without_numba_the_plain_form_serves(tmp_path: Path) -> None:
    """32-bit Pi OS has no wheel of it; its readings are flagged all the same."""
    blocked = "raise ImportError('no wheel for this machine')\n"
    (tmp_path / "numba.py").write_text(blocked)
    path = os.pathsep.join((str(tmp_path), str(_ROOT)))

    flags, compiled, problem = _run(tmp_path, PYTHONPATH=path)

    assert (flags, compiled) == ("[1, 0]", "False")
    assert problem == (
        "numba is not installed (no wheel for this machine); the plain kernels serve"
    )


def test_with_the_compiler_switched_off_the_result_is_the_same(tmp_path: Path) -> None:
    """The way in which coverage sees into a kernel."""
    flags, compiled, problem = _run(
        tmp_path, PYTHONPATH=str(_ROOT), NUMBA_DISABLE_JIT="1"
    )

    assert (flags, compiled) == ("[1, 0]", "False")
    assert problem != "None", "the status would say 'compiled'"

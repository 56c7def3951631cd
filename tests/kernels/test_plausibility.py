"""The plausibility kernel against what it says, plain and compiled."""

import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edge_agent.kernels import jit
from edge_agent.kernels.plausibility import LIMITS, _plausibility, plausibility

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

_NEAR = sorted({edge + step for pair in PHYSIOLOGICAL for edge in pair for step in (-1, -1e-9, 0, 1e-9, 1)})  # fmt: skip  # noqa: E501
_NUMBERS = (
    st.sampled_from([math.nan, math.inf, -math.inf, -0.0, *_NEAR])
    | st.floats(0, 300)
    | st.floats()
)
_TABLES = st.integers(0, 8).flatmap(
    lambda n: arrays(np.float64, (n, 9), elements=_NUMBERS)
)


def naive(row: list[float]) -> int:
    """Say it as the docstring says it."""
    outside = any(
        value < low or value > high
        for value, (low, high) in zip(row, PHYSIOLOGICAL, strict=True)
        if not math.isnan(value)
    )
    _, systolic, diastolic, mean, *_ = row
    pulse_pressure = systolic - diastolic
    odd = pulse_pressure < 10 or pulse_pressure > 150
    odd = odd or mean < diastolic or mean > systolic
    return 1 * outside + 2 * odd


def _compiled() -> object:
    problem = jit.warm()
    if problem is not None:
        pytest.skip(problem)
    return _plausibility._best


def test_the_limits_are_those_of_the_document() -> None:
    """A limit that is off by a digit flags a healthy person, or nobody."""
    assert [tuple(row) for row in LIMITS.tolist()] == PHYSIOLOGICAL


@given(_TABLES)
@settings(max_examples=300, deadline=None)
def test_plain_and_compiled_agree_with_the_naive_form_bit_for_bit(
    values: "np.ndarray[tuple[int, int], np.dtype[np.float64]]",
) -> None:
    """A station without numba must flag exactly what one with it flags."""
    compiled = _compiled()
    with np.errstate(invalid="ignore"):
        plain = _plausibility.plain(values, LIMITS)

    fast = compiled(values, LIMITS)  # type: ignore[operator]

    expected = [naive(row) for row in values.tolist()]
    assert plain.dtype == fast.dtype == np.uint32
    assert plain.tolist() == fast.tolist() == expected
    assert plausibility(values).tolist() == expected


@pytest.mark.parametrize("column", range(9))
@pytest.mark.parametrize("side", [0, 1])
def test_a_value_at_its_limit_is_inside(column: int, side: int) -> None:
    """Limits are inclusive, and one step beyond is not."""
    limit = float(PHYSIOLOGICAL[column][side])
    beyond = np.nextafter(limit, math.inf if side else -math.inf)
    rows = np.full((2, 9), math.nan)
    rows[:, column] = [limit, beyond]

    assert plausibility(rows).tolist() == [0, 1]


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

    assert plausibility(np.array([row], dtype=float)).tolist() == [flags]


def test_nothing_gives_nothing_and_missing_is_never_flagged() -> None:
    assert plausibility(np.empty((0, 9))).tolist() == []
    assert plausibility(np.full((3, 9), math.nan)).tolist() == [0, 0, 0]


@pytest.mark.parametrize("shape", [(9,), (2, 8), (2, 10), (1, 2, 9)])
def test_another_shape_is_our_own_mistake(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"values must be \(n, 9\), got"):
        plausibility(np.zeros(shape))


_ROWS = [[120.0, 120, 80, 93, 60, 1, 97, 36, 70], [5.0, 90, 85, 1, 1, 1, 1, 1, 1]]


def test_a_view_of_other_strides_gives_the_same() -> None:
    """A compiled form for contiguous rows must not read a transposed table wrongly."""
    table = np.asfortranarray(_ROWS)

    assert plausibility(table).tolist() == [naive(row) for row in table.tolist()]
    assert plausibility(np.repeat(table, 2, 0)[::2]).tolist() == [0, 3]


_SCRIPT = """
import numpy as np
from edge_agent.kernels import jit, plausibility
problem = jit.warm()
values = np.array([[5.0] + [np.nan] * 8, [100.0, 120, 80, 93, 60, 1, 97, 36, 70]])
print(plausibility.plausibility(values).tolist())
print(plausibility._plausibility.is_compiled)
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


def test_where_nothing_can_be_cached_the_plain_form_serves(tmp_path: Path) -> None:
    """A read-only root file system must not keep the agent from starting."""
    kernels = tmp_path / "edge_agent" / "kernels"
    shutil.copytree(
        _ROOT / "edge_agent" / "kernels",
        kernels,
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    (tmp_path / "edge_agent" / "__init__.py").touch()
    (kernels / "__pycache__").touch()  # a file where the cache's folder would be
    nowhere = str(kernels / "__pycache__" / "cache")

    flags, compiled, problem = _run(
        tmp_path,
        PYTHONPATH=str(tmp_path),
        PYTHONDONTWRITEBYTECODE="1",
        HOME=nowhere,
        XDG_CACHE_HOME=nowhere,
        NUMBA_CACHE_DIR="",
    )

    assert (flags, compiled) == ("[1, 0]", "False")
    assert problem.startswith("numba can't compile here (")
    assert problem.endswith("; the plain kernels serve")

"""The house rules that a machine can check."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_PACKAGES = ("drivers", "edge_agent", "firmware_sim", "gateway", "protocols")
MODULES = sorted(
    path.relative_to(_ROOT)
    for package in _PACKAGES
    for path in (_ROOT / package).rglob("*.py")
)
_BANNED = {"manager", "helper", "util", "utils", "handler", "processor", "data2"}
_BANNED_STARTS = ("do_", "process_")
_GIVEN = {"get_route_handler"}  # a name that FastAPI calls
_MOST_LINES = 400

# Modules that are longer, each with the reason that a reviewer accepted.
_LONG = {
    "protocols/observation.py": "one vocabulary, and what makes a reading that one",
    "protocols/gatt/racp.py": "one control point: its messages, and the dialogue",
}


def _tree(path: Path) -> ast.Module:
    return ast.parse((_ROOT / path).read_text())


def _broad(path: Path) -> Iterator[int]:
    """Yield the lines that catch everything, and do not raise it again."""
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.ExceptHandler):
            names = ast.unparse(node.type) if node.type else "Exception"
            again = any(isinstance(each, ast.Raise) for each in node.body)
            if re.search(r"\b(Base)?Exception\b", names) and not again:
                yield node.lineno


def test_packages_import_only_what_stands_below_them() -> None:
    """Protocols stay pure, simulators know no driver, numba stays in the kernels."""
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"Contracts: \d+ kept, 0 broken", done.stdout)


def test_everything_is_caught_at_one_place_only() -> None:
    """A second ``except Exception`` is where a fault goes to be forgotten."""
    found = [str(path) for path in MODULES for _ in _broad(path)]

    # The kit runs drivers that may do anything, and says what they did.
    assert found == ["edge_agent/visits.py", "firmware_sim/kit/visits.py"]


def test_no_name_says_nothing() -> None:
    """A manager manages, a helper helps, a util is of use: none says what it does."""
    wrong = []
    for path in MODULES:
        names = [path.stem, *path.parts[:-1]]
        names += [
            node.name
            for node in ast.walk(_tree(path))
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        ]
        for name in names:
            words = re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+", name)
            banned = _BANNED & {word.lower() for word in words}
            starts = name.lstrip("_").startswith(_BANNED_STARTS)
            if (banned or starts) and name not in _GIVEN:
                wrong.append(f"{path}: {name}")

    assert not wrong


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_a_module_can_be_read_in_one_sitting(path: Path) -> None:
    """Over 400 lines a reason is needed; a reason for what is shorter is stale."""
    lines = len((_ROOT / path).read_text().splitlines())

    assert (lines > _MOST_LINES) is (str(path) in _LONG), f"{lines} lines"


def test_nothing_asserts_what_came_from_outside() -> None:
    """``python -O`` takes assertions away."""
    found = [
        f"{path}:{node.lineno}"
        for path in MODULES
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.Assert)
    ]
    assert not found


def test_nothing_runs_what_it_was_given() -> None:
    """No ``eval`` and no ``exec`` of configuration or payloads."""
    found = [
        f"{path}:{node.lineno}"
        for path in MODULES
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in {"eval", "exec"}
    ]
    assert not found

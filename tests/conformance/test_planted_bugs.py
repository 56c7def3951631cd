"""The kit catches each of ten bugs that drivers are known for.

Each is planted in a copy of the real sources, and the copy is checked as a person
would check it. A kit that lets one pass proves nothing about the drivers it passes.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

_ROOT = Path(__file__).parents[2]


class Bug(NamedTuple):
    """A bug, and the rule that must catch it.

    Attributes:
        name: What is wrong.
        path: The module it is planted in.
        right: What stands there.
        wrong: What a careless author would have written.
        rule: The rule of the kit that fails.
        driver: The driver to check.
        more: More such replacements in the same module.
    """

    name: str
    path: str
    right: str
    wrong: str
    rule: str
    driver: str = "gatt-glucose"
    more: tuple[tuple[str, str], ...] = ()


BUGS = (
    Bug(
        "biased exponent",
        "protocols/medfloat.py",
        "_signed(raw >> 12, 4)",
        "(raw >> 12) - 8",
        "values-exact",
    ),
    Bug(
        "missing context record",
        "protocols/gatt/glucose_reading.py",
        "    if context is None:\n        return\n    for",
        "    return\n    for",
        "contexts-kept",
    ),
    Bug(
        "base-time offset ignored",
        "drivers/gatt_glucose.py",
        "offset_min=seen.offset_min",
        "offset_min=None",
        "values-exact",
    ),
    Bug(
        "big-endian read",
        "protocols/cursor.py",
        'return int.from_bytes(self.take(2, field), "little")',
        'return int.from_bytes(self.take(2, field), "big")',
        "values-exact",
    ),
    Bug(
        "wrong unit",
        "protocols/gatt/glucose_reading.py",
        "Unit.MOL_PER_L if Flag.MOL_PER_L in seen.flags else Unit.KG_PER_L",
        "Unit.MOL_PER_L",
        "values-exact",
    ),
    Bug(
        "HI as a number",
        "protocols/gatt/glucose_reading.py",
        "        state = State.ABOVE_RANGE if high else State.BELOW_RANGE\n",
        '        number = Decimal("0.00600" if high else "0.00010")\n'
        "        state = State.MEASURED\n",
        "limits-are-no-numbers",
    ),
    Bug(
        "control solution as patient value",
        "protocols/vendor/lifescan_ultra2.py",
        "is_control=",
        "is_control=False and ",
        "control-is-no-patient",
        "onetouch-ultra2",
    ),
    Bug(
        "duplicate on re-read",
        "drivers/gatt_glucose.py",
        "sequence=seen.sequence",
        "sequence=next(_TOLD)",
        "keys-stable",
        more=(
            (
                "\n\nclass _Pairs:",
                "\n\n_TOLD = iter(range(1 << 30))\n\n\nclass _Pairs:",
            ),
        ),
    ),
    Bug(
        "cursor before commit",
        "drivers/gatt_glucose.py",
        "    async for event in events:\n        yield event\n    await _set_clock",
        "    held = [event async for event in events]\n"
        "    for event in sorted(held, key=lambda e: not isinstance(e, Checkpoint)):\n"
        "        yield event\n    await _set_clock",
        "commits-in-order",
    ),
    Bug(
        "clock set by default",
        "drivers/device.py",
        "    if terms.set_clock is None:\n        return None\n"
        "    now = terms.set_clock().replace(tzinfo=None)\n",
        "    now = datetime.now()\n",
        "clock-left-alone",
        "taidoc",
    ),
)


def _checked(driver: str, sources: Path) -> dict[str, str]:
    """Return the state of each rule, by its name."""
    ran = subprocess.run(
        [sys.executable, "-m", "edge_agent", "driver", "check", driver, "--json"],
        env={**os.environ, "PYTHONPATH": str(sources)},
        cwd=sources,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert not ran.stderr or "Traceback" not in ran.stderr, ran.stderr
    rows = map(json.loads, ran.stdout.splitlines())
    return {row["rule"]: row["state"] for row in rows}


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """Return a copy of what drivers are made of, which is found before ours."""
    for package in ("drivers", "protocols"):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(_ROOT / package, tmp_path / package, ignore=ignore)
    return tmp_path


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_is_caught_by_its_rule(bug: Bug, sources: Path) -> None:
    """The rule that is named for it fails, not just any."""
    path = sources / bug.path
    text = path.read_text()
    for right, wrong in ((bug.right, bug.wrong), *bug.more):
        assert text.count(right) == 1, f"{right!r} stands {text.count(right)} times"
        text = text.replace(right, wrong)
    path.write_text(text)

    assert _checked(bug.driver, sources).get(bug.rule) == "failed"


@pytest.mark.parametrize("driver", sorted({bug.driver for bug in BUGS}))
def test_without_a_bug_every_rule_holds(driver: str, sources: Path) -> None:
    """Else a rule that always fails would look like one that catches."""
    assert "failed" not in _checked(driver, sources).values()

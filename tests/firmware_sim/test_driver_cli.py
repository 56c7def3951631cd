"""The ``driver`` commands and the pytest plugin, as an integrator uses them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from drivers import registry
from edge_agent.cli import main
from firmware_sim.kit.check import UnknownTarget, find
from firmware_sim.kit.rules import RULES

_BROKEN = '''
"""A driver that tells a glucose of its own.

Measures: glucose.
Modes:    none.
Clock:    none.
History:  rereadable.
Source:   imagination.
Tested:   nothing.
"""

from dataclasses import replace

from drivers.onetouch_ultraeasy import DRIVER as GOOD
from firmware_sim.devices.onetouch_ultraeasy import TRIAL  # noqa: F401


async def _session(link, terms):
    async for event in GOOD.session(link, terms):
        if hasattr(event, "device_time"):
            event = replace(event, device_time=event.device_time.plus(1))
        yield event


DRIVER = replace(GOOD, id="broken", session=_session)
NOTHING = 42
'''


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a module with a driver that is one minute off in the way."""
    (tmp_path / "broken_driver.py").write_text(_BROKEN)
    monkeypatch.syspath_prepend(str(tmp_path))


def test_every_driver_is_listed_with_its_models() -> None:
    shown = CliRunner().invoke(main, ["driver", "list", "--json"])

    rows = [json.loads(line) for line in shown.stdout.splitlines()]
    assert [row["id"] for row in rows] == registry.names()
    models = {row["id"]: row["models"] for row in rows}
    assert models["onetouch-ultra2"] == ["OneTouch Ultra2"]


def test_a_good_driver_keeps_every_rule() -> None:
    shown = CliRunner().invoke(main, ["driver", "check", "onetouch-ultraeasy"])

    assert shown.exit_code == 0, shown.output
    lines = [line for line in shown.stdout.splitlines() if not line.startswith(" ")]
    assert [line.split()[1] for line in lines] == [rule.name for rule in RULES]
    assert {line.split()[0] for line in lines} == {"done", "exempt"}
    assert shown.stderr == "onetouch-ultraeasy: every rule holds\n"
    assert "\x1b" not in shown.output, "no colours in a pipe"


@pytest.mark.usefixtures("broken")
def test_a_broken_driver_is_told_which_rule_and_why() -> None:
    """A minute off is another reading for the one who compares."""
    shown = CliRunner().invoke(
        main,
        [
            *("driver", "check", "broken_driver:DRIVER", "--json"),
            *("--trial", "broken_driver:TRIAL"),
        ],
    )

    rows = {row["rule"]: row for row in map(json.loads, shown.stdout.splitlines())}
    assert shown.exit_code == 1
    assert rows["values-exact"]["state"] == "failed"
    (wrong, lacking) = rows["values-exact"]["problems"]
    assert wrong.startswith("tells what nobody was shown: glucose at 2026-")
    assert lacking.startswith("lacks glucose at 2025-")


@pytest.mark.usefixtures("broken")
@pytest.mark.parametrize(
    ("driver", "trial", "text"),
    [
        ("gatt-glucos", None, "nothing is announced as 'gatt-glucos' in vitalwire.dr"),
        ("nowhere:DRIVER", None, "'nowhere:DRIVER' can't be imported: No module"),
        ("broken_driver:MISSING", None, "can't be imported: module 'broken_driver'"),
        ("broken_driver:NOTHING", None, "'broken_driver:NOTHING' is no driver, but a"),
        ("broken_driver:DRIVER", None, "nothing is announced as 'broken' in vitalwir"),
        ("gatt-glucose", "broken_driver:NOTHING", "is no trial, but a int"),
    ],
)
def test_what_is_not_there_is_told_in_one_line(
    driver: str, trial: str | None, text: str
) -> None:
    with pytest.raises(UnknownTarget, match=text):
        find(driver, trial)
    words = ["driver", "check", driver, *(["--trial", trial] if trial else [])]
    shown = CliRunner().invoke(main, words)

    assert shown.exit_code == 1
    assert shown.stderr.startswith("Error: ")
    assert shown.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("names", "outcome"),
    [
        ('["onetouch-ultraeasy"]', "passed"),
        ('["nobody"]', "ERROR: vitalwire_drivers: nothing is announced as 'nobody'"),
        ("[]", "1 passed"),
    ],
)
def test_the_plugin_makes_each_rule_a_test(
    tmp_path: Path, names: str, outcome: str
) -> None:
    """An integrator's own suite must fail when the driver does."""
    (tmp_path / "pyproject.toml").write_text(
        f"[tool.pytest.ini_options]\nvitalwire_drivers = {names}\n"
        'asyncio_default_fixture_loop_scope = "function"\n'
    )
    (tmp_path / "test_own.py").write_text("def test_own(): pass\n")
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )

    assert outcome in ran.stdout + ran.stderr
    if names.startswith('["one'):
        counts = {word: int(n) for n, word in _counted(ran.stdout)}
        assert counts["passed"] + counts["skipped"] == len(RULES) + 1


def _counted(text: str) -> list[tuple[str, str]]:
    last = text.strip().splitlines()[-1].replace(",", "").strip("= ")
    words = last.split(" in ")[0].split()
    return list(zip(words[::2], words[1::2], strict=True))

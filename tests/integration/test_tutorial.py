"""The tutorial "Your device in an afternoon", done as it says."""

import os
import re
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

_PAGE = Path(__file__).parents[2] / "docs/tutorials/your-device-in-an-afternoon.md"
_BLOCK = re.compile(r"(<!-- fails -->\n)?```(\w+)\n(.*?)```", re.DOTALL)
_TOOLS = {"pip": "pip", "pytest": "pytest", "vitalwire": "edge_agent"}


def _environment(folder: Path) -> dict[str, str]:
    """Make an environment that sees what is installed, and keeps what it installs."""
    venv.create(folder, with_pip=False)
    ours = sysconfig.get_path("purelib")
    theirs = next((folder / "lib").glob("python*/site-packages"))
    (theirs / "ours.pth").write_text(f"import site; site.addsitedir({ours!r})\n")
    for name, module in _TOOLS.items():
        script = folder / "bin" / name
        script.write_text(f'#!/bin/sh\nexec "{folder}/bin/python" -m {module} "$@"\n')
        script.chmod(0o755)
    return {
        **os.environ,
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "PIP_NO_BUILD_ISOLATION": "false",  # by pip's rule: do not isolate
        "PIP_NO_DEPS": "true",
        "PIP_NO_INDEX": "true",
    }


def test_the_tutorial_does_what_it_says(tmp_path: Path) -> None:
    """The first page that an integrator follows must not be the one that lies."""
    environment = _environment(tmp_path / "env")
    work = tmp_path / "work"
    work.mkdir()
    done = []
    for fails, language, text in _BLOCK.findall(_PAGE.read_text()):
        folder = work / "my-meter" if (work / "my-meter").exists() else work
        if language == "diff":
            command = ["git", "apply", "--whitespace=nowarn", "-"]
        elif language == "sh":
            command = ["sh", "-e", "-c", text]
        else:
            continue
        ran = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            input=text if language == "diff" else "",
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        done.append(language)
        said = f"{text}\n{ran.stdout}\n{ran.stderr}"
        assert (ran.returncode != 0) is bool(fails), said
        if fails:
            assert "failed  values-exact" in ran.stdout, said
            assert "tells what nobody was shown" in ran.stdout

    assert done.count("diff") == 4
    assert done.count("sh") >= 6
    found = _installed(environment)
    assert "my-meter" in found, "an outside package looks exactly like ours"


def _installed(environment: dict[str, str]) -> str:
    listed = subprocess.run(
        ["vitalwire", "driver", "list"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return listed.stdout


@pytest.mark.parametrize("transport", [[], ["--ble"]])
def test_a_scaffold_keeps_the_house_style(tmp_path: Path, transport: list[str]) -> None:
    """Who begins with our files should not have to tidy them first."""
    root = Path(__file__).parents[2]
    python = Path(sys.executable)
    made = subprocess.run(
        [python, "-m", "edge_agent", "driver", "new", "a-meter-9", *transport,
         "--folder", tmp_path],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    package = tmp_path / "a-meter-9"
    for command in (
        ["ruff", "format", "--check", "--config", root / "pyproject.toml", package],
        ["ruff", "check", "--config", root / "pyproject.toml", package / "a_meter_9"],
        ["mypy", "--strict", "--config-file=", "--cache-dir", tmp_path / "cache",
         "-p", "a_meter_9"],
    ):  # fmt: skip
        ran = subprocess.run(
            [python, "-m", *map(str, command)],
            cwd=package, capture_output=True, text=True, check=False, timeout=240,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("name", ["", "My-Meter", "my_meter", "-x", "../x", "a--b"])
def test_a_name_that_no_driver_can_have_is_refused(tmp_path: Path, name: str) -> None:
    from firmware_sim.kit.scaffold import ScaffoldError, scaffold

    with pytest.raises(ScaffoldError, match="no name for a driver"):
        scaffold(name, tmp_path, ble=False)

    assert not list(tmp_path.iterdir())


def test_what_is_there_is_never_overwritten(tmp_path: Path) -> None:
    from firmware_sim.kit.scaffold import ScaffoldError, scaffold

    scaffold("my-meter", tmp_path, ble=True)
    with pytest.raises(ScaffoldError, match="already there"):
        scaffold("my-meter", tmp_path, ble=False)

"""What a station does with its kernels, as processes that a person would start."""

import json
import os
import subprocess
from pathlib import Path
from shutil import which

import pytest

from tests.integration.parts import agent_status, command, part, until

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif("NUMBA_DISABLE_JIT" in os.environ, reason="nothing compiles"),
]
_CONFIG = """station = "small"
[broker]
port = 1
[[device]]
driver = "onetouch-ultraeasy"
port = "/dev/none"
"""


def _warm(cache: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command("agent", "warm", "--json"),
        env=os.environ | {"XDG_CACHE_HOME": str(cache)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.skipif(which("g++") is None, reason="no C++ compiler")
def test_an_agent_that_was_warmed_starts_with_its_kernels(tmp_path: Path) -> None:
    """Who ran the command at install must not pay for it again at each start."""
    done = _warm(tmp_path / "cache")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    made = Path(found["folder"])
    assert found["form"] == "native"
    assert found["kernels"] >= 1
    assert f"into {made} ..." in done.stderr
    (tmp_path / "vitalwire.toml").write_text(_CONFIG)
    config, data = str(tmp_path / "vitalwire.toml"), str(tmp_path / "agent")
    run = command("agent", "run", "--config", config, "--data", data)

    with part(tmp_path, "agent", run, XDG_CACHE_HOME=str(tmp_path / "cache")) as agent:
        until(
            lambda: agent_status(tmp_path).get("kernels") not in {None, "warming"},
            agent.process,
        )
        memory = Path(f"/proc/{agent.process.pid}/maps").read_text()

    assert agent_status(tmp_path)["kernels"] == "compiled"
    assert str(made / "kernels.so") in memory
    assert "llvmlite" not in memory
    assert [path.name for path in made.parent.iterdir() if path.is_dir()] == [made.name]


def _of_memory(pid: int, name: str) -> int:
    """Return ``VmRSS``, resident now, or ``VmHWM``, at most until now, in kB."""
    told = Path(f"/proc/{pid}/status").read_text()
    return next(
        int(line.split()[1]) for line in told.splitlines() if line.startswith(name)
    )


def test_what_only_the_start_needs_is_resident_no_more(tmp_path: Path) -> None:
    """A quarter of what an agent takes of a small board would be of no more use."""
    (tmp_path / "cache").touch()
    (tmp_path / "vitalwire.toml").write_text(_CONFIG)
    config, data = str(tmp_path / "vitalwire.toml"), str(tmp_path / "agent")
    run = command("agent", "run", "--config", config, "--data", data)

    with part(tmp_path, "agent", run, XDG_CACHE_HOME=str(tmp_path / "cache")) as agent:
        pid = agent.process.pid
        until(lambda: agent_status(tmp_path).get("kernels", "warming") != "warming")
        until(
            lambda: _of_memory(pid, "VmRSS") < 0.85 * _of_memory(pid, "VmHWM"),
            agent.process,
        )


def test_where_nothing_can_be_kept_the_command_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "cache").touch()

    done = _warm(tmp_path / "cache")

    assert done.returncode == 1
    assert done.stderr == (
        "Error: no place for compiled kernels: "
        f"{tmp_path}/cache/vitalwire/kernels: Not a directory; set XDG_CACHE_HOME to a "
        "folder that can be written; the plain kernels serve\n"
    )

"""The ``sim`` command, as a person or a script runs it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import serial
from click.testing import CliRunner, Result

from firmware_sim.cli import sim

_ROOT = Path(__file__).parents[2]
_SERIAL_ONLY = """\
[[device]]
model = "ultraeasy"
name = "ultra"
serial = "3"
port = "ultra"
series = "smbg_uci"
series_device = "uci-02"
count = 2
"""


def _sim(*arguments: str) -> Result:
    return CliRunner().invoke(sim, arguments)


def _python(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", code, *arguments]


@contextmanager
def _running(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start ``sim run``; yield the process and the line with which it is ready."""
    process = subprocess.Popen(
        _python("from firmware_sim.cli import sim; sim()", "run", *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=_ROOT,
    )
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline()
    finally:
        process.kill()
        process.communicate()


def test_show_prints_every_record_of_the_demo() -> None:
    lines = _sim("show").stdout.splitlines()

    assert len(lines) == 400 + 222 + 373
    assert lines[0].split() == [
        "00012345",
        "2025-06-01T07:00:00",
        "#1",
        "glucose",
        "179",
        "mg/dL",
    ]


def test_show_prints_the_same_as_json(tmp_path: Path) -> None:
    (tmp_path / "ward.toml").write_text(_SERIAL_ONLY)

    lines = _sim("show", str(tmp_path / "ward.toml"), "--json").stdout.splitlines()

    assert [json.loads(line) for line in lines] == [
        {
            "device": "3",
            "kind": "glucose",
            "device_time": time,
            "sequence": None,
            "values": {"glucose": {"value": value, "unit": "mg/dL"}},
        }
        for time, value in (
            ("1989-10-10T08:00:00", "149"),
            ("1989-10-10T12:00:00", "116"),
        )
    ]


def test_a_folder_of_its_name_hides_no_scenario(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The demo's own folder may stand where somebody looks at what it holds."""
    monkeypatch.chdir(tmp_path)
    Path("demo").mkdir()

    shown = _sim("show", "demo")

    assert shown.stdout == _sim("show").stdout, shown.stderr
    Path("other").mkdir()
    other = _sim("show", "other")
    assert (other.exit_code, "other: cannot be read" in other.stderr) == (1, True)


@pytest.mark.parametrize(
    ("name", "device"), [("station", "contour"), ("faults", "WRAP-1")]
)
def test_a_scenario_that_comes_along_is_named_without_a_path(
    name: str, device: str
) -> None:
    assert f"\n{device} " in _sim("show", name).stdout


@pytest.mark.parametrize("command", ["show", "run"])
def test_a_mistake_is_one_line_and_status_1(tmp_path: Path, command: str) -> None:
    (tmp_path / "ward.toml").write_text(_SERIAL_ONLY + "colour = 1\n")
    more = ["--data", str(tmp_path)] if command == "run" else []

    result = _sim(command, str(tmp_path / "ward.toml"), *more)

    assert result.exit_code == 1
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert "line 9: " in result.stderr


def test_a_port_that_cannot_be_made_is_one_line_and_status_1(tmp_path: Path) -> None:
    (tmp_path / "ward.toml").write_text(_SERIAL_ONLY)
    (tmp_path / "ultra").write_text("precious")

    result = _sim("run", str(tmp_path / "ward.toml"), "--data", str(tmp_path))

    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert "ultra" in result.stderr


@pytest.mark.parametrize("command", ["show", "run"])
def test_every_command_has_an_example_in_its_help(command: str) -> None:
    assert f"vitalwire sim {command}" in _sim(command, "--help").stdout
    assert "--json" in _sim(command, "--help").stdout


def test_importing_the_command_imports_no_bluetooth() -> None:
    """`vitalwire --help` must not wait for it, nor need the extra."""
    code = (
        "import sys, firmware_sim.cli;"
        "print([name for name in ('bumble', 'dbus_fast', 'bleak', 'numba')"
        " if name in sys.modules])"
    )
    ran = subprocess.run(
        _python(code), capture_output=True, text=True, cwd=_ROOT, check=True
    )

    assert ran.stdout.strip() == "[]"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_serial_meter_runs_until_it_is_told_to_stop(
    tmp_path: Path, number: signal.Signals
) -> None:
    (tmp_path / "ward.toml").write_text(_SERIAL_ONLY)
    folder = tmp_path / "new" / "data"
    scenario = str(tmp_path / "ward.toml")
    with _running(scenario, "--data", str(folder), "--json") as (process, line):
        ready = json.loads(line)
        with serial.Serial(ready["devices"][0]["port"], 9600, timeout=5) as host:
            host.write(bytes.fromhex("02 06 08 03 c2 62"))
            answer = host.read(6)
        process.send_signal(number)
        out, err = process.communicate(timeout=10)

    assert ready == {
        "bus": None,
        "devices": [
            {
                "name": "ultra",
                "model": "ultraeasy",
                "serial": "3",
                "port": str(folder / "ultra"),
            }
        ],
    }
    assert answer == bytes.fromhex("02 06 0c 03 06 ae")
    assert (process.returncode, out, err) == (0, "", "")
    assert list(folder.iterdir()) == []


@pytest.mark.integration
def test_the_demo_runs_on_a_bus_of_its_own(tmp_path: Path) -> None:
    with _running("--data", str(tmp_path), "--json") as (process, line):
        ready = json.loads(line)
        socket = Path(ready["bus"].removeprefix("unix:path="))
        assert socket.is_socket()
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=20)

    assert [sorted(device) for device in ready["devices"]] == [
        ["address", "model", "name", "passkey", "serial"],
        ["address", "model", "name", "serial"],
        ["model", "name", "port", "serial"],
    ]
    assert ready["devices"][0]["passkey"] == "314159"
    assert (process.returncode, out, err) == (0, "", "")
    assert not socket.exists()
    assert not (tmp_path / "ultraeasy").is_symlink()


@pytest.mark.integration
def test_the_demo_says_in_one_line_where_everything_is(tmp_path: Path) -> None:
    with _running("--data", str(tmp_path)) as (process, line):
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=20)

    assert line.startswith("ready: DBUS_SYSTEM_BUS_ADDRESS=unix:path=")
    assert "meter+00012345 at C0:5A:11:00:00:01 passkey 314159" in line
    assert f"UltraEasy at {tmp_path / 'ultraeasy'}" in line
    assert (process.returncode, out) == (0, "")


def test_without_dbus_the_operator_is_told_what_to_install(tmp_path: Path) -> None:
    ran = subprocess.run(
        _python(
            "from firmware_sim.cli import sim; sim()", "run", "--data", str(tmp_path)
        ),
        capture_output=True,
        text=True,
        cwd=_ROOT,
        env={**os.environ, "PATH": str(tmp_path)},
        check=False,
    )

    assert ran.returncode == 1
    assert ran.stderr.splitlines() == [
        "Error: dbus-daemon is missing; install it with: apt install dbus"
    ]
    assert not (tmp_path / "ultraeasy").is_symlink()

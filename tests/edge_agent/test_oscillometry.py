"""``vitalwire oscillometry``: from a file of recordings to estimates, or one line."""

import gzip
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edge_agent import cli
from edge_agent.oscillometry import oscillometry
from firmware_sim.oscillometry import Artery, Cuff, deflation

_RECORDED = Path(__file__).parents[1] / "kernels" / "data" / "deflation.csv.gz"
# Without the time of now, or the tests would have other names in each process.
_PACKED = gzip.compress(b"device,time,value\n", mtime=0)


def run(*args: object) -> Result:
    return CliRunner().invoke(oscillometry, [*map(str, args)])


def recorded(*names: str) -> list[str]:
    """Return the lines of a file with these recordings."""
    lines = ["device,time,value"]
    for seed, name in enumerate(names):
        made = deflation(seed, Artery(), Cuff(rate_hz=100))
        lines += [f"{name},{n / 100:.2f},{v}" for n, v in enumerate(made.pressure)]
    return lines


def write(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_real_recording_is_shown_as_a_table_and_as_json() -> None:
    table, found = run(_RECORDED), run(_RECORDED, "--json")

    assert (table.exit_code, found.exit_code) == (0, 0)
    head, row = table.output.splitlines()
    assert head.split() == [
        "recording", "systolic", "mean", "diastolic", "pulse", "beats", "artefact"
    ]  # fmt: skip
    assert row.split()[0] == "recorded"
    shown = json.loads(found.output)
    assert row.split()[1:] == [str(shown[name]) for name in head.split()[1:]]
    assert shown["rate_hz"] == 100
    assert 90 < shown["systolic"] < 102
    assert len(shown["each_beat"]) == shown["beats"]
    assert sum(bool(beat["odd"]) for beat in shown["each_beat"]) == shown["rejected"]


def test_each_recording_of_a_file_is_heard_by_itself(tmp_path: Path) -> None:
    """Two deflations under one ear would be one with a pulse of two people."""
    lines = recorded("one", "two")
    head, rows = lines[0], lines[1:]
    half = len(rows) // 2
    mixed = [row for pair in zip(rows[:half], rows[half:], strict=True) for row in pair]
    path = write(tmp_path / "two.csv", [head, *mixed])

    shown = [json.loads(line) for line in run(path, "--json").output.splitlines()]

    assert [one["recording"] for one in shown] == ["one", "two"]
    assert all(abs(one["systolic"] - 120) < 5 for one in shown)


def test_what_is_no_deflation_gets_dashes(tmp_path: Path) -> None:
    """A number must not be made of a cuff that nobody wore."""
    lines = ["device,time,value", *(f"shelf,{n / 100},{150 - n / 25}" for n in range(2000))]  # fmt: skip  # noqa: E501
    found = run(write(tmp_path / "shelf.csv", lines))

    assert found.output.splitlines()[1].split() == ["shelf", *"----", "0", "1.0"]


@pytest.mark.parametrize(
    ("line", "text", "problem"),
    [
        (1, "device,value,time", "line 1: the file begins with its header"),
        (9, "one,0.07,high", "line 9: value 'high' is no decimal number"),
        (9, "one,0.07,nan", "line 9: value 'nan' is no decimal number"),
        (9, "one,soon,100", "line 9: time 'soon' is no decimal number"),
        (9, "one,0.07", "line 9: 2 cells where the header has 3"),
        (9, ",0.07,100", "line 9: '' is no name of a device"),
        (9, "\x1b[2J,0.07,100", r"line 9: '\x1b[2J' is no name of a device"),
        (9, "one,0.07,", "line 9: the value is empty"),
        (9, "one,5,100", "line 9: 4.94 s after the sample before, where 0.01 is"),
        (9, '"one,0.07,100', "unexpected end of data"),
    ],
)
def test_the_line_at_fault_is_named(
    tmp_path: Path, line: int, text: str, problem: str
) -> None:
    """A file of a hundred thousand lines can't be searched by eye."""
    lines = recorded("one")
    lines[line - 1] = text
    path = write(tmp_path / "wrong.csv", lines)

    found = CliRunner().invoke(cli.main, ["oscillometry", str(path)])

    assert found.exit_code == 1
    assert found.output.count("\n") <= 2
    assert f"Error: {path}: " in found.output
    assert problem in found.output


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "line 1: the file begins with its header"),
        (b"device,time,value\n", "no row after it"),
        (b"device,time,value\na,0,\xff\n", "line 2: it is no UTF-8 text"),
        (_PACKED[:-9], "file: it is no whole gzip file"),
        (_PACKED + b"?", "file: it is no whole gzip"),
        (b"device,time,value\na,0,1\na,1,2\n", "'a' has 2 samples; a deflation has"),
        (b"device,time,value\n" + b"a,0,1\n" * 200, "'a': the time does not increase"),
        (
            b"device,time,value\n" + b"".join(b"a,%d,1\n" % n for n in range(200)),
            "'a': 1.0 Hz is not 40 to 2000 Hz",
        ),
    ],
)
def test_a_file_that_is_none_is_one_line(
    tmp_path: Path, content: bytes, problem: str
) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)

    found = CliRunner().invoke(cli.main, ["oscillometry", str(path)])

    assert found.exit_code == 1
    assert problem in found.output
    assert "Traceback" not in found.output


def test_a_file_that_is_not_there_is_told_by_name(tmp_path: Path) -> None:
    found = CliRunner().invoke(cli.main, ["oscillometry", str(tmp_path / "none.csv")])

    assert found.exit_code == 1
    assert "none.csv: No such file" in found.output

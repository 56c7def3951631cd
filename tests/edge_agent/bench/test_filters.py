"""``vitalwire bench filters``: what it says of filters that are known."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from edge_agent.bench.filters import filters
from edge_agent.bench.filters_run import measure
from edge_agent.bench.warming import warmed
from edge_agent.cli import main


def _write(path: Path) -> Path:
    """Two calm sensors of 2,000 values, and a HI in one of ten of the second's."""
    lines = ["device,time,value"]
    random = np.random.default_rng(2)
    for name, every in (("a", 0), ("b", 10)):
        value = 120
        for n in range(2000):
            value += int(random.integers(-3, 4)) + (120 - value) // 8
            told = 401 if every and n % every == 0 else value
            lines.append(f"{name},{1_400_000_000 + 300 * n},{told}")
    path.write_text("\n".join(lines) + "\n")
    return path


def test_speed_and_findings_are_told_of_each_filter(tmp_path: Path) -> None:
    """A figure nobody can measure again is a claim."""
    path = _write(tmp_path / "cgm.csv")

    found = CliRunner().invoke(filters, [str(path), "--missing", "401", "--json"])

    assert found.exit_code == 0, found.output
    shown = json.loads(found.stdout)
    assert (shown["file"], shown["kernels"]) == (str(path), warmed())
    speeds = [row for row in shown["results"] if "ns_per_sample" in row]
    ours = [row["filter"] for row in speeds if row["by"] == "vitalwire"]
    assert ours == [
        "rate gate",
        "hampel, window 7",
        "hampel, window 11",
        "hampel, window 31",
        "biquad",
    ]
    assert all(row["times_ours"] == 1.0 for row in speeds if row["by"] == "vitalwire")
    assert all(row["ns_per_sample"] > 0 for row in speeds)
    gate, centred, causal, _ = (row for row in shown["results"] if "flagged" in row)
    # Of 4,000, 200 are HI, and none is judged that begins a run.
    assert gate["judged"] == round((4000 - 1 - 400) / 4000, 4)
    assert centred["judged"] == round((2000 - 6 + 200 * 3) / 4000, 4)
    assert causal["judged"] == round((2000 - 4 + 200 * 5) / 4000, 4)
    assert gate["flagged"] < 0.01
    assert centred["recall"] > 0.9


def test_a_table_is_printed_for_people(tmp_path: Path) -> None:
    path = _write(tmp_path / "cgm.csv")

    found = CliRunner().invoke(filters, [str(path), "--missing", "401"])

    assert found.exit_code == 0, found.output
    assert "hampel, window 7      vitalwire" in found.stdout
    assert "rate gate, 5 a minute" in found.stdout


def _rows(path: Path, devices: int, *, apart_s: int) -> Path:
    lines = [
        f"d{device},{1_400_000_000 + apart_s * device + 300 * n},{100 + n % 3}"
        for device in range(devices)
        for n in range(20)
    ]
    path.write_text("\n".join(["device,time,value", *lines]))
    return path


def _found(path: Path) -> list[dict[str, object]]:
    results = measure(path, missing=(), rounds=1)["results"]
    return [row for row in results if "judged" in row]


@pytest.mark.parametrize("apart_s", [20 * 300, 90_000])
def test_a_device_begins_anew_wherever_the_one_before_it_ended(
    tmp_path: Path, apart_s: int
) -> None:
    """One after the other they are as judged as side by side, and never across."""
    after = _found(_rows(tmp_path / "after.csv", 20, apart_s=apart_s))
    beside = _found(_rows(tmp_path / "beside.csv", 20, apart_s=0))
    assert after[0]["judged"] == 19 / 20
    assert after == beside


def test_a_share_of_none_is_no_share(tmp_path: Path) -> None:
    """A filter that could find nothing has not missed all of it."""
    path = _rows(tmp_path / "one.csv", 1, apart_s=0)
    path.write_text("\n".join(path.read_text().splitlines()[:2]))

    table = CliRunner().invoke(filters, [str(path)])

    assert {(row["flagged"], row["recall"]) for row in _found(path)} == {(None, None)}
    assert table.stdout.splitlines()[-1].split()[-3:] == ["0.00%", "-", "-"]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("d0,1,", "there is no value to judge"),
        ("d0,1,401", "there is no value to judge"),
        ("d0,9007199254741,1", "line 2: the time is beyond 2^53 ms"),
        ("d0,1e127,1", "line 2: the time is beyond 2^53 ms"),
        ("d0,1,1e308", "line 2: value '1e308' is out of range"),
    ],
)
def test_what_no_filter_can_judge_is_one_line(
    tmp_path: Path, row: str, problem: str
) -> None:
    path = tmp_path / "cgm.csv"
    path.write_text(f"device,time,value\n{row}\n")

    found = CliRunner().invoke(
        main, ["bench", "filters", str(path), "--missing", "401"]
    )

    assert (found.exit_code, found.stdout) == (1, "")
    assert found.stderr.startswith(f"Error: {path}: {problem}")
    assert found.stderr.count("\n") == 1

"""``vitalwire bench filters``: what it says of filters that are known."""

import json
from pathlib import Path

import numpy as np
from click.testing import CliRunner

from edge_agent.bench.filters import filters


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
    assert shown["file"] == str(path)
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

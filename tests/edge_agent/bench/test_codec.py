"""The ``bench codec`` command, as a person and a program see it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from click import unstyle
from click.testing import CliRunner, Result

from edge_agent import series_file
from edge_agent.bench import codec_run, codecs
from edge_agent.bench.codec import Figures, folds, measure
from edge_agent.bench.rivals.codec import Codec
from edge_agent.bench.rivals.decimals import column
from edge_agent.cli import main
from protocols.uplink.series import Series

_ROOT = Path(__file__).parents[3]


def _run(*words: object) -> Result:
    return CliRunner().invoke(main, ["bench", "codec", *map(str, words)])


def _file(folder: Path, devices: dict[str, int], name: str = "s.csv") -> Path:
    path = folder / name
    lines = [
        f"{device},{1_400_000_000 + 300 * at},{100 + at % 7}"
        for device, count in devices.items()
        for at in range(count)
    ]
    path.write_text("\n".join(["device,time,value", *lines]))
    return path


def test_a_program_gets_every_codec_at_every_batch(tmp_path: Path) -> None:
    """The shape that others read; keys may be added, none may go.

    Without a place for compiled kernels the plain ones are measured, and named so.
    """
    path = _file(tmp_path, {"a": 20, "b": 9})
    command = [sys.executable, "-m", "edge_agent", "bench", "codec", str(path)]

    done = subprocess.run(
        [*command, "--json", "--batch", "4", "--batch", "16"],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "CACHE_DIRECTORY": "/dev/null"},
    )

    found = json.loads(done.stdout)
    assert done.returncode == 0
    assert (found["file"], found["rows"], found["devices"]) == (str(path), 29, 2)
    assert found["kernels"] == "plain"
    assert "; the plain kernels serve\n" in done.stderr
    measured = [(each["batch"], each["codec"]) for each in found["results"]]
    assert measured == [(size, name) for size in (4, 16) for name in codecs.NAMES]
    for each in found["results"]:
        assert each["lossless"] is True
        assert each["bits_per_reading"] > 0
        assert each["encode_per_s"] > 0
        assert each["decode_per_s"] > 0
        assert each["messages"] == (7 if each["batch"] == 4 else 1)


def test_bits_are_those_of_whole_messages_of_full_batches(tmp_path: Path) -> None:
    """By hand: two messages of two readings, the third reading of b is left out."""
    path = tmp_path / "s.csv"
    path.write_text("device,time,value\na,1,10\nb,3,30.5\na,2,20\nb,4,40.5\nb,5,50.5\n")

    done = _run(path, "--batch", 2, "--only", "json", "--json")

    (found,) = json.loads(done.stdout)["results"]
    size = len("[[1,2],[10,20]]") + len("[[3,4],[30.5,40.5]]")
    assert found["bits_per_reading"] == 8 * size / 4
    assert found["messages"] == 2


def test_a_person_gets_a_table_without_colours_in_a_pipe(tmp_path: Path) -> None:
    done = _run(
        _file(tmp_path, {"a": 8}), "--batch", 8, "--only", "cbor", "--only", "json"
    )

    assert done.exit_code == 0
    assert "\x1b" not in done.stdout
    title, _, head, columns, *rows = done.stdout.splitlines()
    assert title.startswith("s.csv: 8 readings of 1 devices; ")
    assert head == "batch 8 (1 message)"
    assert columns.split()[:3] == ["codec", "bits/reading", "to"]
    assert [row.split()[0] for row in rows] == ["cbor", "json"]
    assert rows[0].split()[2] == "1.000"
    assert rows[0].endswith("yes")


def test_several_files_give_an_object_each(tmp_path: Path) -> None:
    paths = [_file(tmp_path, {"a": 4}, name) for name in ("one.csv", "two.csv")]
    done = _run(*paths, "--batch", 4, "--only", "cbor", "--json")
    found = [json.loads(line)["file"] for line in done.stdout.splitlines()]
    assert found == list(map(str, paths))


def test_one_file_without_figures_fails_and_does_not_spoil_the_others(
    tmp_path: Path,
) -> None:
    paths = [_file(tmp_path, {"a": count}, f"{count}.csv") for count in (3, 4)]
    done = _run(*paths, "--batch", 4, "--only", "cbor", "--json")
    counts = [len(json.loads(line)["results"]) for line in done.stdout.splitlines()]
    assert (done.exit_code, counts) == (1, [0, 1])


def test_a_file_too_short_for_any_batch_is_told_and_fails(tmp_path: Path) -> None:
    """A script that compares figures must not take none for a figure."""
    path = _file(tmp_path, {"a": 5, "b": 3})
    done = _run(path, "--batch", 6, "--json", "--only", "cbor")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["results"] == []
    assert done.stderr == f"{path}: no device has 6 readings, the most is 5\n"


def test_a_batch_that_no_device_fills_does_not_spoil_the_others(tmp_path: Path) -> None:
    """The default sizes go to 10,000, which few files have."""
    path = _file(tmp_path, {"a": 5})
    done = _run(path, "--batch", 4, "--batch", 10_000, "--json", "--only", "cbor")
    assert done.exit_code == 0
    assert {each["batch"] for each in json.loads(done.stdout)["results"]} == {4}


def test_a_file_that_cannot_be_read_is_one_line_on_standard_error(
    tmp_path: Path,
) -> None:
    path = tmp_path / "s.csv"
    path.write_text("device,time,value\na,1,2\na,2,high\n")
    done = _run(path, "--only", "cbor")
    assert done.exit_code == 1
    assert done.stderr.startswith(f"Error: {path}: line 3: value 'high' is no decimal")
    assert done.stderr.count("\n") == 1


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    done = _run(tmp_path / "none.csv")
    assert done.exit_code == 1
    assert "none.csv: No such file" in done.stderr


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--only", "gzip"), "no codec is named 'gzip'; there are vitalwire, "),
        (("--batch", "0"), "0 is not in the range 1<=x<=10000"),
        (("--batch", "10001"), "10001 is not in the range"),
    ],
)
def test_a_wrong_use_is_told(
    tmp_path: Path, words: tuple[str, ...], problem: str
) -> None:
    done = _run(_file(tmp_path, {"a": 4}), *words)
    assert (done.exit_code, problem in done.stderr) == (2, True), done.stderr


def test_a_rival_that_is_not_installed_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its library is no part of what the agent needs."""
    monkeypatch.setitem(sys.modules, "pcodec", None)
    monkeypatch.delitem(sys.modules, "edge_agent.bench.rivals.pcodec", raising=False)
    done = _run(
        _file(tmp_path, {"a": 4}), "--batch", 4, "--json",
        "--only", "pcodec", "--only", "cbor",
    )  # fmt: skip
    assert done.exit_code == 0
    assert [each["codec"] for each in json.loads(done.stdout)["results"]] == ["cbor"]
    told = "pcodec is left out, for it needs pcodec: pip install 'vitalwire[bench]'\n"
    assert done.stderr == told


def test_a_rival_that_cannot_hold_the_readings_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    path.write_text("device,time,value\na,0.0078125,2\na,0.015625,3\n")
    done = _run(path, "--batch", 2, "--json", "--only", "sparkplug-b")
    assert (done.exit_code, json.loads(done.stdout)["results"]) == (1, [])
    assert "sparkplug-b is left out at 2: Sparkplug has times in whole" in done.stderr


def test_a_rival_that_loses_some_messages_is_said_to_be_lossy(tmp_path: Path) -> None:
    """It must not be taken for the best rival."""
    path = tmp_path / "s.csv"
    path.write_text("device,time,value\na,1,2\na,2,2\na,3.0001,2\na,4,2\n")
    done = _run(path, "--batch", 2, "--json", "--only", "sparkplug-b")
    (found,) = json.loads(done.stdout)["results"]
    assert (found["lossless"], found["messages"]) == (False, 1)
    assert "whole milliseconds" in found["problem"]


def _measured(codec: Codec, tmp_path: Path, name: str = "mine") -> Figures:
    file = series_file.read(_file(tmp_path, {"a": 8}))
    found = measure(name, lambda _: codec, folds(file, 4), lambda _: None)
    assert isinstance(found, Figures)
    return found


def _one_more_digit(batch: Series) -> Series:
    (value,) = batch.values
    written = [Decimal(f"{mantissa}.0") for mantissa in value.mantissa.tolist()]
    return Series(batch.time, (column(written),))


def _other_power(batch: Series) -> Series:
    (value,) = batch.values
    return Series(batch.time, (value._replace(exponent=value.exponent + 1),))


def _without_values(batch: Series) -> Series:
    return Series(batch.time, ())


@pytest.mark.parametrize("change", [_one_more_digit, _other_power, _without_values])
def test_any_difference_is_a_loss(
    tmp_path: Path, change: Callable[[Series], Series]
) -> None:
    """103.0 is not 103: the device told its resolution."""
    kept: list[Series] = []

    def encode(batch: Series) -> bytes:
        kept.append(batch)
        return bytes([len(kept) - 1])

    exact = _measured(Codec(encode, lambda message: kept[message[0]]), tmp_path)
    lossy = _measured(Codec(encode, lambda message: change(kept[message[0]])), tmp_path)
    assert (exact.lossless, lossy.lossless) == (True, False)
    assert lossy.problem == "what is decoded differs from what was written"
    assert exact.bits_per_reading == 8 / 4


def test_our_messages_are_held_against_plain_cbor(tmp_path: Path) -> None:
    """Nobody should pay for compression where there is nothing to compress."""
    kept: list[Series] = []

    def encode(batch: Series) -> bytes:
        kept.append(batch)
        return bytes(50)

    found = _measured(Codec(encode, lambda _: kept[-1]), tmp_path, "vitalwire")
    # One head, four times of 5 bytes, four values of 2.
    assert found.over_cbor_bytes == 50 - (1 + 4 * 5 + 4 * 2)
    assert (
        _measured(Codec(encode, lambda _: kept[-1]), tmp_path).over_cbor_bytes is None
    )


def test_a_lossy_rival_is_not_the_best() -> None:
    """Leaving digits out is no compression."""
    fair = Figures("cbor", 4, 1, 50.0, 1, 1, 1.0, 1.0, lossless=True)
    unfair = replace(fair, codec="json", bits_per_reading=5.0, lossless=False)
    ours = replace(fair, codec="vitalwire", bits_per_reading=25.0)
    rows = [unstyle(line).split() for line in codec_run.table([ours, unfair, fair])][2:]
    assert [row[2] for row in rows] == ["0.500", "0.100", "1.000"]
    assert [row[8] for row in rows] == ["yes", "no:", "yes"]


def test_a_loss_of_ours_fails_and_one_of_a_rival_does_not() -> None:
    """A script that runs the bench must notice the first, and can't mend the second."""
    kept = Figures("vitalwire", 4, 1, 50.0, 1, 1, 1.0, 1.0, lossless=True)
    theirs = replace(kept, codec="sparkplug-b", lossless=False)
    assert codec_run.is_success([kept, theirs])
    assert not codec_run.is_success([theirs, replace(kept, lossless=False)])
    assert not codec_run.is_success([])


def test_progress_is_told_only_of_what_takes_long(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Who waits must see that something happens, who does not need not."""
    now = iter([0.0, 1.0, 2.5, 3.0, 4.5])
    tell = codec_run.progress("s.csv 64 zstd", lambda: next(now))
    for part in (0.1, 0.25, 0.3, 0.5):
        tell(part)
    assert capsys.readouterr() == ("", "s.csv 64 zstd: 25%\ns.csv 64 zstd: 50%\n")


def test_nothing_heavy_is_imported_for_the_help() -> None:
    """The command's help lists ``bench`` on a small board too."""
    code = (
        "import sys, edge_agent.bench.cli; "
        "print({'numpy', 'numba', 'pcodec'} & sys.modules.keys())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"


@pytest.mark.parametrize(
    ("devices", "expected"),
    [
        ({"a": 4, "b": 6, "c": 1, "d": 2}, ([0, 600, 0, 600, 1200], [0])),
        ({"a": 7}, ([0, 600], [1200])),
        ({"a": 2}, ([0], [])),
        ({"a": 1}, ()),
    ],
)
def test_what_learns_is_measured_on_others_than_it_learnt_from(
    tmp_path: Path, devices: dict[str, int], expected: tuple[list[int], ...]
) -> None:
    """Devices are halved, one device's batches by time."""
    found = folds(series_file.read(_file(tmp_path, devices)), 2)
    starts = [
        tuple([int(batch.time.mantissa[0]) - 1_400_000_000 for batch in part]
              for part in fold)
        for fold in found
    ]  # fmt: skip
    if not expected:
        assert starts == []
    elif expected[1]:
        assert starts == [expected, expected[::-1]]
    else:
        assert starts == [expected]

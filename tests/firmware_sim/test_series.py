"""The series: what is read is what is written, and what is packaged is real."""

import gzip
import time
from collections import Counter
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pytest

from firmware_sim.series import Row, find, measurements
from protocols.config import ConfigError

_TABLE = """\
device,time,value,value2
a,1718461845,120,80
b,1718461846,5.50,
a,1718461847,130,
"""


def _write(folder: Path, text: str = _TABLE) -> Path:
    path = folder / "table.csv"
    path.write_text(text)
    return path


def test_a_row_is_what_the_file_says(tmp_path: Path) -> None:
    assert list(measurements(_write(tmp_path), "a")) == [
        Row(
            datetime.fromisoformat("2024-06-15T14:30:45"),
            {"value": Decimal(120), "value2": Decimal(80)},
        ),
        Row(datetime.fromisoformat("2024-06-15T14:30:47"), {"value": Decimal(130)}),
    ]


def test_a_time_is_read_alike_wherever_the_computer_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the device's wall clock, whatever the zone here."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        (row,) = measurements(_write(tmp_path), "b")
    time.tzset()

    assert row.time == datetime.fromisoformat("2024-06-15T14:30:46")


def test_decimals_are_kept_as_they_are_written(tmp_path: Path) -> None:
    (row,) = measurements(_write(tmp_path), "b")

    assert str(row["value"]) == "5.50"
    with pytest.raises(
        ConfigError, match="no value2 in the row of 2024-06-15 14:30:46"
    ):
        row["value2"]


def test_a_gzipped_file_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "table.csv.gz"
    path.write_bytes(gzip.compress(_TABLE.encode()))

    assert [row["value"] for row in measurements(path, "a")] == [120, 130]


def test_no_more_is_read_than_is_asked_for(tmp_path: Path) -> None:
    """A file of half a million rows is not read for ten."""
    path = _write(tmp_path, _TABLE + "a,broken,1,1\n")

    assert [row["value"] for row in measurements(path, "a", 2)] == [120, 130]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("time,value\n", "line 1: does not begin device,time,value"),
        ("", "line 1: does not begin device,time,value"),
        ("device,time,value\na,1,x\n", "line 2: no numbers"),
        ("device,time,value\na,1,2\na,,2\n", "line 3: no numbers"),
        ("device,time,value\na,1.5,2\n", "line 2: no numbers"),
        ("device,time,value\na,1,2,3\n", "line 2: no numbers"),
        ("device,time,value\na\n", "line 2: no numbers"),
        ("device,time,value\na,99999999999999,1\n", "line 2: no numbers"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line(
    tmp_path: Path, text: str, problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        list(measurements(_write(tmp_path, text), "a"))


def test_a_series_is_found_beside_the_scenario_or_in_the_package(
    tmp_path: Path,
) -> None:
    path = _write(tmp_path)

    assert find("table.csv", tmp_path) == path
    assert find("smbg_uci", tmp_path).name == "smbg_uci.csv"
    with pytest.raises(
        ConfigError, match="neither a file nor one of bp_home_jhs, smbg"
    ):
        find("table", tmp_path)


@pytest.mark.parametrize(
    ("name", "device", "count", "first", "last"),
    [
        ("smbg_uci", "uci-28", 400, ("1989-11-05T07:00:00", 179), (None, 55)),
        ("smbg_uci", "uci-02", 373, ("1989-10-10T08:00:00", 149), (None, 388)),
        ("bp_home_jhs", "jhs1", 222, ("2019-04-15T23:38:28", 133), (None, 132)),
    ],
)
def test_the_packaged_series_are_whole_and_their_times_differ(
    name: str,
    device: str,
    count: int,
    first: tuple[str, int],
    last: tuple[None, int],
) -> None:
    """A meter without sequence numbers could not keep equal records apart."""
    rows = list(measurements(find(name, Path()), device))

    assert len(rows) == count
    assert (rows[0].time.isoformat(), rows[0]["value"]) == first
    assert rows[-1]["value"] == last[1]
    assert [row.time for row in rows] == sorted(row.time for row in rows)
    assert max(Counter(row.time for row in rows).values()) == 1
    assert all(row["value"] == int(row["value"]) for row in rows)

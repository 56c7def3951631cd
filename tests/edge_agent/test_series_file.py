"""Files of series, as they come from spreadsheets, scripts and other programs."""

import gzip
import io
import os
from collections.abc import Callable
from csv import writer
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_agent.series_file import floats, read, slices
from protocols.config import ConfigError
from protocols.uplink.grids import ABSENT
from protocols.uplink.series import Column

_HEAD = "device,time,value\n"
_MOST = (1 << 63) - 1

_NUMBERS = st.builds(
    lambda mantissa, exponent: Decimal(mantissa).scaleb(exponent),
    st.integers(-_MOST - 1, _MOST),
    st.integers(-100, 100),
)
_ROWS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b,c", 'd"e', "née"]), _NUMBERS, st.none() | _NUMBERS
    ),
    min_size=1,
)


def _file(folder: Path, text: str | bytes) -> Path:
    path = folder / "series.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def _pair(number: Decimal | None) -> tuple[int, int]:
    if number is None:
        return 0, ABSENT
    sign, digits, exponent = number.as_tuple()
    mantissa = int("".join(map(str, digits)))
    return -mantissa if sign else mantissa, int(exponent)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_ROWS, st.sampled_from(["\n", "\r\n", "\r"]), st.booleans(), st.booleans())
def test_every_number_is_read_as_it_is_written(
    tmp_path: Path,
    rows: list[tuple[str, Decimal, Decimal | None]],
    ending: str,
    has_mark: bool,
    is_gzip: bool,
) -> None:
    """A codec that is measured on other numbers than the file's is not measured."""
    text = io.StringIO(newline="")
    table = writer(text, lineterminator=ending)
    table.writerow(["device", "time", "value"])
    for device, time, value in rows:
        table.writerow([device, time, "" if value is None else value])
    data = text.getvalue().encode("utf-8-sig" if has_mark else "utf-8")

    found = read(_file(tmp_path, gzip.compress(data) if is_gzip else data))

    expected: dict[str, list[tuple[tuple[int, int], ...]]] = {}
    for device, *numbers in rows:
        expected.setdefault(device, []).append(tuple(map(_pair, numbers)))
    assert list(found.devices) == list(expected)
    assert found.rows == len(rows)
    for device, series in found.devices.items():
        columns = [
            list(zip(each.mantissa.tolist(), each.exponent.tolist(), strict=True))
            for each in (series.time, *series.values)
        ]
        assert list(zip(*columns, strict=True)) == expected[device]


@pytest.mark.parametrize(
    ("cell", "mantissa", "exponent"),
    [
        ("103.0", 1030, -1),
        ("103", 103, 0),
        ("-0.02", -2, -2),
        (".5", 5, -1),
        ("5.", 5, 0),
        ("+7", 7, 0),
        ("007", 7, 0),
        (" 7 ", 7, 0),
        ("1.50e3", 150, 1),
        ("1E-3", 1, -3),
        ("0.000", 0, -3),
        ("", 0, ABSENT),
        ("9223372036854775807", _MOST, 0),
        ("-9.223372036854775808", -_MOST - 1, -18),
    ],
)
def test_a_cell_is_an_exact_decimal(
    tmp_path: Path, cell: str, mantissa: int, exponent: int
) -> None:
    """By hand, for what hypothesis writes is but one way to write a number."""
    value = read(_file(tmp_path, f"{_HEAD}a,1,{cell}\n")).devices["a"].values[0]
    assert (value.mantissa.tolist(), value.exponent.tolist()) == (
        [mantissa],
        [exponent],
    )
    assert value.mantissa.dtype == np.dtype(np.int64)
    assert value.exponent.dtype == np.dtype(np.int8)


def test_a_zero_with_a_minus_is_read_as_zero_and_counted(tmp_path: Path) -> None:
    """Python's round() writes -0.0; no decimal keeps it, so it must be told."""
    found = read(_file(tmp_path, f"{_HEAD}a,1,-0.0\na,2,-0.0\na,3,0.0\n"))
    assert found.devices["a"].values[0].mantissa.tolist() == [0, 0, 0]
    assert found.negative_zeros == 2


def test_blank_lines_and_lines_of_empty_cells_are_passed_over(tmp_path: Path) -> None:
    found = read(_file(tmp_path, f"{_HEAD}\na,1,2\n\n,,\na,3,4\n\n"))
    assert found.devices["a"].time.mantissa.tolist() == [1, 3]


def test_a_device_keeps_its_order_among_others(tmp_path: Path) -> None:
    """Time goes backwards in real series, and that is what a codec must bear."""
    found = read(_file(tmp_path, f"{_HEAD}b,9,1\na,5,2\nb,8,3\na,4,4\n"))
    assert {
        name: each.time.mantissa.tolist() for name, each in found.devices.items()
    } == {
        "b": [9, 8],
        "a": [5, 4],
    }


def test_thousands_of_devices_keep_their_rows(tmp_path: Path) -> None:
    lines = "".join(f"d{at % 3000},{at},{at % 3000}\n" for at in range(9000))
    found = read(_file(tmp_path, _HEAD + lines))
    assert len(found.devices) == 3000
    for name, series in found.devices.items():
        assert series.values[0].mantissa.tolist() == [int(name[1:])] * 3


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", r"line 1: the file begins with its header"),
        ("a,1,2\n", r"line 1: the file begins with its header, .* not with 'a,1,2'"),
        ("device,time\na,1\n", r"line 1: the file begins with its header"),
        ("device,time,value,\na,1,2,\n", r"line 1: column 4 of the header has no name"),
        (_HEAD, r"line 1: there is a header, and no row after it"),
        (f"{_HEAD}a,1,2\na,1\n", r"line 3: 2 cells where the header has 3"),
        (f"{_HEAD}a,1,2,3\n", r"line 2: 4 cells where the header has 3"),
        (f"{_HEAD}\n,1,2\n", r"line 3: '' is no name of a device"),
        (f"{_HEAD}\x1b[2J,1,2\n", r"line 2: '\\x1b\[2J' is no name of a device"),
        ("device,time,\x1b[2J\n", r"line 1: column 3 of the header has no name"),
        (f"device,time{',v' * 65}\n", r"line 1: 65 columns of values, .* most 64"),
        (f"{_HEAD}a,,2\n", r"line 2: the time is empty"),
        (f"{_HEAD}a,1,HIGH\n", r"line 2: value 'HIGH' is no decimal number; a value"),
        (f"{_HEAD}a,1,nan\n", r"line 2: value 'nan' is no decimal number"),
        (f"{_HEAD}a,2020-01-01,2\n", r"line 2: time '2020-01-01' is no decimal number"),
        (f"{_HEAD}a,1,1_000\n", r"line 2: value '1_000' is no decimal"),
        (f"{_HEAD}a,1,\u0663\n", r"line 2: value '\u0663' is no decimal"),
        (f"{_HEAD}a,1,0x10\n", r"line 2: value '0x10' is no decimal"),
        (f"{_HEAD}a,1,.\n", r"line 2: value '\.' is no decimal"),
        (f"{_HEAD}a,1,9223372036854775808\n", r"line 2: value .* is out of range"),
        (f"{_HEAD}a,1,1e128\n", r"line 2: value '1e128' is out of range"),
        (f"{_HEAD}a,1,1e-128\n", r"line 2: value '1e-128' is out of range"),
        (f"{_HEAD}a,1,1e99999999999\n", r"line 2: value .* is no decimal"),
        (f"{_HEAD}a,1,{'1' * 5000}\n", r"line 2: value '1{40}' is no decimal"),
        (f'{_HEAD}"a,1,2\n', r"line 2: unexpected end of data"),
        (_HEAD.encode() + b"a,1,2\na\xff,1,2\n", r"line 3: it is no UTF-8 text"),
        (
            gzip.compress(_HEAD.encode() + b"\xff", mtime=0),
            r"line 2: it is no UTF-8 text",
        ),
        (
            gzip.compress(_HEAD.encode(), mtime=0)[:-9],
            r"it is no whole gzip file \(Compressed",
        ),
        (
            gzip.compress(_HEAD.encode(), mtime=0)[:-8] + bytes(8),
            r"no whole gzip file \(CRC",
        ),
        (
            gzip.compress(_HEAD.encode(), mtime=0) + b"?",
            r"no whole gzip file \(Not a gzipped",
        ),
        (
            gzip.compress(b"", mtime=0)[:10] + b"\xff" * 9,
            r"no whole gzip file \(Error -3",
        ),
    ],
)
def test_what_cannot_be_read_is_told_with_its_line(
    tmp_path: Path, text: str | bytes, problem: str
) -> None:
    """Half a million lines are not searched by eye."""
    path = _file(tmp_path, text)
    with pytest.raises(ConfigError, match=problem) as found:
        read(path)
    assert str(found.value).startswith(f"{path}: ")


def test_each_row_keeps_its_line(tmp_path: Path) -> None:
    """What is wrong with a row may be seen only beside the rows around it."""
    found = read(_file(tmp_path, f'{_HEAD}a,1,2\n\nb,1,"2\n"\na,2,2\n'))
    assert {name: lines.tolist() for name, lines in found.lines.items()} == {
        "a": [2, 6],
        "b": [5],
    }


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_pipe_is_read_as_a_file_is(pack: Callable[[bytes], bytes]) -> None:
    """``zcat all.gz | grep '^a,' | vitalwire bench codec /dev/stdin``."""
    reads, writes = os.pipe()
    with open(writes, "wb") as other:  # noqa: PTH123 - a pipe has no path
        other.write(pack(f"{_HEAD}a,1,2\n".encode()))
    try:
        assert read(Path(f"/dev/fd/{reads}")).rows == 1
    finally:
        os.close(reads)


@given(st.integers(-(10**15), 10**15), st.integers(-22, 22))
def test_a_number_as_floating_point_is_the_nearest_one(
    mantissa: int, exponent: int
) -> None:
    """A filter that is measured sees what Python sees in the same text."""
    number = Decimal(mantissa).scaleb(exponent)
    column = Column(np.array([mantissa]), np.array([exponent], np.int8))
    assert floats(column).tolist() == [float(number)]


def test_a_number_that_is_absent_is_not_a_number() -> None:
    column = Column(np.array([0, 7]), np.array([ABSENT, 0], np.int8))
    assert np.isnan(floats(column)).tolist() == [True, False]


def test_slices_are_whole_and_leave_the_remainder_out(tmp_path: Path) -> None:
    lines = "".join(f"a,{at},{at}\n" for at in range(7))
    series = read(_file(tmp_path, _HEAD + lines)).devices["a"]
    found = [piece.time.mantissa.tolist() for piece in slices(series, 3)]
    assert found == [[0, 1, 2], [3, 4, 5]]
    assert list(slices(series, 8)) == []

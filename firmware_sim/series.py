"""Real series of measurements, as simulated devices have them in memory.

    device,time,value[,value2,...]

One row is one measurement. ``time`` is the device's wall clock without a zone,
as unix seconds read as UTC. ``data/ORIGIN.md`` says where the packaged series
come from.
"""

import csv
import gzip
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from itertools import islice
from pathlib import Path

from protocols.config import ConfigError

_PACKAGED = Path(__file__).parent / "data"


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement.

    Attributes:
        time: The device's wall clock, without a zone.
        values: The numbers by the name of their column, exactly as written;
            what is empty is left out.
    """

    time: datetime
    values: Mapping[str, Decimal]

    def __getitem__(self, column: str) -> Decimal:
        """Return the number in a column; raise `ConfigError` if there is none."""
        try:
            return self.values[column]
        except KeyError:
            raise ConfigError(f"no {column} in the row of {self.time}") from None


def find(name: str, folder: Path) -> Path:
    """Return where a series is.

    Args:
        name: Of a packaged series, as ``smbg_uci``, or a path from ``folder``.
        folder: Where the scenario is that names it.

    Raises:
        ConfigError: There is no such series.
    """
    for path in (folder / name, _PACKAGED / f"{name}.csv"):
        if path.is_file():
            return path
    packaged = ", ".join(sorted(path.stem for path in _PACKAGED.glob("*.csv")))
    raise ConfigError(f"no series {name}: neither a file nor one of {packaged}")


def measurements(path: Path, device: str, count: int | None = None) -> Iterator[Row]:
    """Read the measurements of one device in the order of the file, one by one.

    Args:
        path: A CSV file; gzipped if its name ends in ``.gz``.
        device: What the first column holds in its rows.
        count: How many at most; None is all.

    Raises:
        ConfigError: A row cannot be read, or the header is not as above.
    """
    return islice(_rows(path, device), count)


def _rows(path: Path, device: str) -> Iterator[Row]:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8", newline="") as file:
        table = csv.DictReader(file, strict=True)
        if list(table.fieldnames or ())[:3] != ["device", "time", "value"]:
            raise ConfigError(f"{path}, line 1: does not begin device,time,value")
        for cells in table:
            if cells.pop("device") == device:
                try:
                    yield _row(cells)
                except (InvalidOperation, TypeError, ValueError, OverflowError):
                    problem = f"{path}, line {table.line_num}: no numbers"
                    raise ConfigError(problem) from None


def _row(cells: dict[str, str]) -> Row:
    time = datetime.fromtimestamp(int(cells.pop("time")), UTC).replace(tzinfo=None)
    return Row(time, {name: Decimal(cell) for name, cell in cells.items() if cell})

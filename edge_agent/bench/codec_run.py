"""Measures the codecs on one file, and prints what was found."""

import json
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import click

from edge_agent import series_file
from edge_agent.bench import codecs
from edge_agent.bench.codec import Figures, Fold, folds, measure
from edge_agent.bench.codecs import NAMES, OURS
from edge_agent.bench.warming import warmed
from edge_agent.series_file import SeriesFile

__all__ = ["NAMES", "run"]

_QUIET_S = 2.0  # before progress is told, and between

_HEAD = (
    f"{'codec':<15}{'bits/reading':>13}{'to best rival':>14}{'encode/s':>13}"
    f"{'decode/s':>13}{'MB/s':>15}  lossless"
)


def run(
    path: Path, batches: Sequence[int], names: Sequence[str], *, as_json: bool
) -> bool:
    """Measure codecs on a file, and print their figures.

    Args:
        path: The file.
        batches: Readings a message, each size in turn.
        names: The codecs.
        as_json: Print one JSON object instead of tables.

    Returns:
        Whether anything was measured, and our codecs gave back what they were given.

    Raises:
        ConfigError: The file can't be read as series.
        OSError: It can't be opened.
    """
    makers = dict(_makers(names))
    file = series_file.read(path)
    form = warmed() if makers.keys() & {*OURS} else None
    if file.negative_zeros:
        _say(f"{path}: {file.negative_zeros} cells are -0, read as 0")
    if not as_json:
        click.echo(_title(path, file, form))
    found: list[Figures] = []
    for size in batches:
        of_size = list(_figures(path, file, makers, size))
        found += of_size
        if of_size and not as_json:
            click.echo("\n".join(table(of_size)))
    if as_json:
        click.echo(json.dumps(_shown(path, file, form, found)))
    return is_success(found)


def is_success(found: Sequence[Figures]) -> bool:
    """Tell whether anything was measured, and ours gave back what they were given."""
    return bool(found) and all(each.lossless for each in found if each.codec in OURS)


def _makers(names: Sequence[str]) -> Iterator[tuple[str, codecs.Maker]]:
    for name in names:
        try:
            yield name, codecs.load(name)
        except ModuleNotFoundError as error:
            _say(
                f"{name} is left out, for it needs {error.name}: "
                "pip install 'vitalwire[bench]'"
            )


def _figures(
    path: Path, file: SeriesFile, makers: dict[str, codecs.Maker], size: int
) -> Iterator[Figures]:
    batches: list[Fold] = folds(file, size)
    if not batches:
        most = max(len(series.time.mantissa) for series in file.devices.values())
        _say(f"{path}: no device has {size} readings, the most is {most}")
        return
    for name, maker in makers.items():
        found = measure(name, maker, batches, progress(f"{path.name} {size} {name}"))
        if isinstance(found, Figures):
            yield found
        else:
            _say(f"{path}: {name} is left out at {size}: {found}")


def progress(
    what: str, clock: Callable[[], float] = time.monotonic
) -> Callable[[float], None]:
    """Return what tells on standard error how far ``what`` is, once it takes long."""
    told = clock()

    def tell(part: float) -> None:
        nonlocal told
        now = clock()
        if now - told >= _QUIET_S:
            told = now
            _say(f"{what}: {part:.0%}")

    return tell


def _say(text: str) -> None:
    click.echo(text, err=True)


def _title(path: Path, file: SeriesFile, form: str | None) -> str:
    kernels = f"{form} kernels, " if form else ""
    return (
        f"{path.name}: {file.rows:,} readings of {len(file.devices):,} devices; "
        f"{kernels}Python {platform.python_version()}, {platform.machine()}"
    )


def table(found: Sequence[Figures]) -> Iterator[str]:
    """Yield the lines of a table of what was measured at one size of batch."""
    rivals = [
        each.bits_per_reading
        for each in found
        if each.codec not in OURS and each.lossless
    ]
    best = min(rivals, default=None)
    count = found[0].messages
    yield f"\nbatch {found[0].batch:,} ({count:,} message{'s' * (count != 1)})"
    yield click.style(_HEAD, bold=True)
    for each in found:
        ratio = "" if best is None else f"{each.bits_per_reading / best:.3f}"
        speed = f"{each.encode_mb_per_s:.1f} / {each.decode_mb_per_s:.1f}"
        lossless = "yes" if each.lossless else f"no: {each.problem}"
        line = (
            f"{each.codec:<15}{each.bits_per_reading:>13.3f}{ratio:>14}"
            f"{each.encode_per_s:>13,}{each.decode_per_s:>13,}{speed:>15}  {lossless}"
        )
        yield click.style(line, bold=True) if each.codec in OURS else line


def _shown(
    path: Path, file: SeriesFile, form: str | None, found: Sequence[Figures]
) -> dict[str, object]:
    return {
        "file": str(path),
        "rows": file.rows,
        "devices": len(file.devices),
        "kernels": form,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "results": [_result(each) for each in found],
    }


def _result(figures: Figures) -> dict[str, object]:
    shown = {
        name: round(value, 4) if isinstance(value, float) else value
        for name, value in asdict(figures).items()
    }
    return {name: value for name, value in shown.items() if value is not None}

"""The ``oscillometry`` command: what recorded deflations say, for research."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
import simplejson

from protocols.config import ConfigError

if TYPE_CHECKING:
    from edge_agent.kernels.oscillometry import Oscillometer
    from edge_agent.kernels.streams import F8, I8

_EVEN = 0.5  # share by which a step in time may differ from the usual one
_LEAST_SAMPLES = 100
_PRESSURES = "systolic", "mean", "diastolic", "pulse"
_FLAGS = {1: "odd_height", 2: "odd_time", 4: "odd_pressure", 8: "near_odd"}


@click.command()
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON object per recording.")
def oscillometry(path: Path, *, as_json: bool) -> None:
    """Estimate blood pressures from recorded deflations of a cuff, for research.

    FILE is CSV, gzipped or not, with the columns device,time,value: a name for each
    recording, s, and mmHg. It may hold the pumping too. What is estimated never stands
    for what the cuff itself says. Artefact is the share of beats that movement made or
    changed; a dash stands where nothing can be said. With --json there is each beat
    too, with what is odd about it.

    \b
    Example:
        vitalwire oscillometry deflations.csv.gz
    """
    found = list(_estimates(path))  # an error comes before half of a table
    if not as_json:
        columns = "".join(f"{name:>11}" for name in (*_PRESSURES, "beats", "artefact"))
        click.echo(f"{'recording':<24}{columns}")
    for shown in found:
        click.echo(simplejson.dumps(shown) if as_json else _row(shown))


def _estimates(path: Path) -> Iterator[dict[str, object]]:
    import numpy as np  # noqa: PLC0415 - importing it takes a while

    from edge_agent import series_file  # noqa: PLC0415 - imports numpy
    from edge_agent.kernels.oscillometry import odd_beats  # noqa: PLC0415 - likewise

    file = series_file.read(path)
    for name, series in file.devices.items():
        times, pressure = map(series_file.floats, (series.time, series.values[0]))
        lines = file.lines[name]
        missing = np.flatnonzero(np.isnan(pressure))
        if missing.size:
            raise ConfigError(f"{path}: line {lines[missing[0]]}: the value is empty")
        step_s = _step_s(path, name, times, lines)
        cuff = _heard(path, name, pressure, step_s)
        found, beats = cuff.estimate(), cuff.beats
        yield {
            "recording": name,
            "rate_hz": round(1.0 / step_s, 3),
            **{each: _rounded(getattr(found, each)) for each in _PRESSURES},
            "beats": found.beats,
            "rejected": found.rejected,
            "artefact": round(found.artefact, 3),
            "each_beat": [
                {
                    "at_s": round(at_s, 3),
                    "pressure": round(pressure, 2),
                    "height": round(height, 3),
                    "odd": [word for bit, word in _FLAGS.items() if int(flags) & bit],
                }
                for (at_s, pressure, height), flags in zip(
                    beats.tolist(), odd_beats(beats), strict=True
                )
            ],
        }


def _step_s(path: Path, name: str, times: "F8", lines: "I8") -> float:
    """Return the seconds from one sample to the next.

    Raises:
        ConfigError: Samples are too few, or not in equal steps.
    """
    import numpy as np  # noqa: PLC0415 - importing it takes a while

    if times.size < _LEAST_SAMPLES:
        raise ConfigError(
            f"{path}: {name!r} has {times.size} samples; a deflation has at least "
            f"{_LEAST_SAMPLES}"
        )
    steps = np.diff(times)
    usual = float(np.median(steps))
    if not usual > 0:
        raise ConfigError(f"{path}: {name!r}: the time does not increase")
    uneven = np.flatnonzero(np.abs(steps - usual) > _EVEN * usual)
    if uneven.size:
        line, step = lines[uneven[0] + 1], steps[uneven[0]]
        raise ConfigError(
            f"{path}: line {line}: {step:g} s after the sample before, where {usual:g} "
            "is usual; give recordings without gaps, each a name of its own"
        )
    return usual


def _heard(path: Path, name: str, pressure: "F8", step_s: float) -> "Oscillometer":
    import numpy as np  # noqa: PLC0415 - importing it takes a while

    from edge_agent.kernels.oscillometry import Oscillometer  # noqa: PLC0415

    levels = np.diff(np.unique(pressure))
    try:
        cuff = Oscillometer(
            1.0 / step_s, step=float(levels.min()) if levels.size else 0.0
        )
        cuff.push(pressure)
    except ValueError as error:
        raise ConfigError(f"{path}: {name!r}: {error}") from error
    return cuff


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 1)


def _row(shown: dict[str, object]) -> str:
    cells = [shown[name] for name in (*_PRESSURES, "beats", "artefact")]
    text = "".join(f"{'-' if cell is None else cell:>11}" for cell in cells)
    return f"{shown['recording']:<24}{text}"

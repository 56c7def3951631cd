"""Computes what a clinic, a city and a nation need from what one machine did.

    vitalwire bench ingest --json >sqlite.json
    vitalwire bench ingest --store postgres --json >postgres.json
    python bench/capacity.py sqlite.json postgres.json --on "2 cores, x86_64" --write

Prints the measured part of docs/explanation/capacity.md, or writes it there.
"""

import argparse
import json
import subprocess
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parent.parent
_PAGE = _ROOT / "docs" / "explanation" / "capacity.md"
_BEGIN, _END = "<!-- measured: written by bench/capacity.py -->\n", "<!-- end -->\n"
_PLACES = {
    "a clinic of 2,000 patients": 2_000,
    "a city of 10 million": 10_000_000,
    "80 million members": 80_000_000,
}
_A_DAY = 6  # readings of one member
_BUSIEST_HOUR = 0.15  # of a day's readings
_USED = 0.5  # of a core, so that there is room for what nobody foresaw


def needs(found: dict[str, Any], members: int) -> dict[str, float]:
    """Return what so many members need.

    Args:
        found: What ``vitalwire bench ingest --json`` said.
        members: Each with 6 readings a day.

    Returns:
        "day", readings a day; "peak", readings a second in the busiest hour; "cores"
        for that, each half used; "minutes" in which a machine as measured takes in a
        whole day; "gb", what a year's readings take.
    """
    day = members * _A_DAY
    peak = day * _BUSIEST_HOUR / 3_600
    return {
        "day": day,
        "peak": peak,
        "cores": peak * found["cpu_us_per_reading"] / 1e6 / _USED,
        "minutes": day / found["readings_per_s"] / 60,
        "gb": day * 365 * found["bytes_per_reading"] / 1e9,
    }


def page(runs: Sequence[dict[str, Any]], machine: str) -> Iterator[str]:
    """Yield the lines of the measured part."""
    commit = _said("git", "rev-parse", "--short", "HEAD")
    date = datetime.now(UTC).date().isoformat()
    yield f"Measured on {machine}, {date}, at commit `{commit}`."
    yield ""
    yield "| | readings/s | of the limit | CPU µs/reading | bytes/reading | RSS MB |"
    yield "|---|---|---|---|---|---|"
    for found in runs:
        yield (
            f"| {found['engine']}, {found['broker']}, {found['stations']:,} stations "
            f"| {found['readings_per_s']:,} | {found['ratio']:.2f} "
            f"| {found['cpu_us_per_reading']:.1f} | {found['bytes_per_reading']} "
            f"| {found['rss_mb']:.0f} |"
        )
    for found in runs:
        yield ""
        yield f"With {found['engine']}:"
        yield ""
        yield "| | readings a day | at its busiest/s | cores | a day's readings in | a year's readings |"  # noqa: E501 - a row of a table
        yield "|---|---|---|---|---|---|"
        for place, members in _PLACES.items():
            need = needs(found, members)
            yield (
                f"| {place} | {need['day']:,} | {need['peak']:,.1f} "
                f"| {_short(need['cores'])} | {_short(need['minutes'])} min "
                f"| {_short(need['gb'])} GB |"
            )


def _short(number: float) -> str:
    """Return a number with two digits that count, and whole from 10 on."""
    if number < 0.01:
        return "under 0.01"
    return f"{number:,.0f}" if number >= 10 else f"{number:.2g}"


def _said(*command: str) -> str:
    done = subprocess.run(
        command, cwd=_ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def run() -> None:
    """Print the measured part, or write it."""
    parser = argparse.ArgumentParser(description="Compute what places need.")
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE")
    parser.add_argument("--on", default="this machine", metavar="MACHINE")
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    found = [json.loads(file.read_text()) for file in given.files]
    text = "\n".join(page(found, given.on)) + "\n"
    if not given.write:
        print(text, end="")
        return
    head, _, rest = _PAGE.read_text(encoding="utf-8").partition(_BEGIN)
    tail = rest.partition(_END)[2]
    _PAGE.write_text(head + _BEGIN + text + _END + tail, encoding="utf-8")


if __name__ == "__main__":
    run()

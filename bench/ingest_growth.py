"""Shows how cost and answers grow: with stations, and with what is stored.

    python bench/ingest_growth.py --store postgres --most-rows 1000000

Runs ``vitalwire bench ingest`` once for each line and prints a table, and with
``--json FILE`` keeps all that each run said. 10^8 rows take about 25 GB in SQLite,
twice that in PostgreSQL, and an hour; so does each line of 10^7 a few minutes.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

_STATIONS = 10, 100, 1_000, 10_000
_ROWS = 100_000, 1_000_000, 10_000_000, 100_000_000
_COMMAND = "from edge_agent.cli import main; main()"
_HEAD = (
    f"{'stations':>9}{'rows before':>13}{'readings/s':>12}{'limit/s':>10}{'ratio':>7}"
    f"{'CPU µs':>8}{'RSS MB':>8}{'patient p95':>13}{'station p95':>13}"
)


def measure(store: str, stations: int, rows: int, seconds: float) -> dict[str, Any]:
    """Return what one run says; ends the program if it finds a fault."""
    command = [sys.executable, "-c", _COMMAND, "bench", "ingest", "--store", store]
    command += ["--stations", str(stations), "--rows-before", str(rows)]
    command += ["--seconds", str(seconds), "--without-peers", "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"exit status {done.returncode}: {done.stdout}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def line(found: dict[str, Any]) -> str:
    """Return a run's line of the table."""
    patient, station = (
        found["queries"][name]["p95_ms"] for name in ("patient_90_days", "station_day")
    )
    return (
        f"{found['stations']:>9,}{found['rows_before']:>13,}"
        f"{found['readings_per_s']:>12,}{found['limit_per_s']:>10,}"
        f"{found['ratio']:>7.2f}{found['cpu_us_per_reading']:>8.2f}"
        f"{found['rss_mb']:>8.0f}{patient:>10.1f} ms{station:>10.1f} ms"
    )


def run() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Show how ingest grows.")
    parser.add_argument("--store", choices=["sqlite", "postgres"], default="sqlite")
    parser.add_argument("--most-rows", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--json", type=Path, metavar="FILE")
    given = parser.parse_args()
    runs = [(stations, 0) for stations in _STATIONS]
    runs += [(1_000, rows) for rows in _ROWS if rows <= given.most_rows]
    found = []
    print(_HEAD, flush=True)
    for stations, rows in runs:
        found.append(measure(given.store, stations, rows, given.seconds))
        print(line(found[-1]), flush=True)
        if given.json:
            given.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    run()

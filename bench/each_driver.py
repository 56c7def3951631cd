"""Readings per second of each driver against its simulated device, in memory.

``python bench/each_driver.py`` prints for each driver how fast one visit to a device
with a full memory is, the simulated device's own work included. Medians of several
runs, in one process, by the wall clock; waiting takes no time.
"""

import asyncio
import json
import statistics
import sys
import time
from pathlib import Path

from drivers import registry
from firmware_sim.kit.check import find
from firmware_sim.kit.history import many
from firmware_sim.kit.visits import Case, Visit
from firmware_sim.virtual_time import VirtualTimeLoop

_RUNS = 7
_MOST = 400  # readings in a device's memory
_ROOT = Path(__file__).parent.parent


def _visit(case: Case, device: object) -> Visit:
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(case.visit(device))


def measure(name: str) -> dict[str, object]:
    """Return the figures of one driver."""
    case = find(name)
    count = min(case.trial.capacity or _MOST, _MOST)
    shown = many(case.trial, count)
    whole, told = [], 0
    for _ in range(_RUNS):
        device = case.device(shown)
        start = time.perf_counter()
        visit = _visit(case, device)
        whole.append(time.perf_counter() - start)
        told = len(visit.seen)
    seconds = statistics.median(whole)
    module = _ROOT / "drivers" / f"{name.replace('-', '_')}.py"
    return {
        "driver": name,
        "lines": len(module.read_text().splitlines()),
        "readings": told,
        "readings_per_s": round(told / seconds),
    }


def main() -> None:
    """Print a line for each driver."""
    as_json = "--json" in sys.argv
    if not as_json:
        print(f"{'driver':<22}{'lines':>6}{'readings':>10}{'readings/s':>12}")
    for name in registry.names():
        found = measure(name)
        if as_json:
            print(json.dumps(found))
            continue
        print(
            f"{name:<22}{found['lines']:>6}{found['readings']:>10}"
            f"{found['readings_per_s']:>12,}"
        )


if __name__ == "__main__":
    main()

"""Measures the way of a reading: download, outbox, uplink, each beside a plain form.

``make bench`` runs it. Figures are medians of several runs in one process; read the
ratios, for machines differ. Nothing here is a test.
"""

import asyncio
import json
import os
import platform
import sqlite3
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter, sleep

from edge_agent import read
from edge_agent.outbox import Outbox
from protocols.observation import Device, Observation, Reading
from protocols.uplink import batch
from protocols.uplink.batch import Batch

_RUNS = 5
_BATCH = 256


async def download(name: str, peer: str, passkey: str | None) -> list[Observation]:
    """Return what one visit to a device brings."""
    visit = read.observations(name, peer, passkey, model="", take=True)
    return [seen async for seen in visit]


def timed(work: Callable[[], object]) -> float:
    """Return the median of some runs of ``work``, in s."""
    times = []
    for _ in range(_RUNS):
        began = perf_counter()
        work()
        times.append(perf_counter() - began)
    return median(times)


def report(what: str, per_s: float, other: str, other_per_s: float) -> None:
    """Print one figure beside the plain form."""
    ratio = per_s / other_per_s
    print(
        f"{what:<34} {per_s:>9,.0f}/s  {other:<16} {other_per_s:>9,.0f}/s {ratio:6.2f}"
    )


def downloads(folder: Path) -> list[Observation]:
    """Measure a whole visit to the glucose meter and to the serial meter."""
    command = [sys.executable, "-m", "edge_agent", "sim", "run", "--data", str(folder)]
    sim = subprocess.Popen([*command, "--json"], stdout=subprocess.PIPE)
    try:
        ready = json.loads(sim.stdout.readline())
        os.environ["DBUS_SYSTEM_BUS_ADDRESS"] = ready["bus"]
        meter, _, serial = ready["devices"]
        asyncio.run(download("gatt-glucose", meter["address"], meter["passkey"]))
        for title, name, peer in (
            ("BLE visit, bonded, 400 records", "gatt-glucose", meter["address"]),
            ("serial visit, 373 records", "onetouch-ultraeasy", serial["port"]),
        ):
            found: list[Observation] = []
            times = []
            for _ in range(_RUNS):
                sleep(0.2)
                began = perf_counter()
                found = asyncio.run(download(name, peer, meter.get("passkey")))
                times.append(perf_counter() - began)
            print(f"{title:<34} {len(found) / median(times):>10,.0f} readings/s")
    finally:
        sim.terminate()
        sim.wait()
    return found


def as_json(readings: list[Reading]) -> str:
    """Return the same facts as a plain consumer would send them."""
    return json.dumps([read.show(r.observation) for r in readings], default=str)


def uplink(readings: list[Reading]) -> None:
    """Measure a batch's size and speed beside JSON of the same facts."""
    message = Batch("bench", 1, 0, tuple(readings)).encode()
    plain = json.dumps(
        [read.show(r.observation) for r in readings], default=str
    ).encode()
    squeezed = zlib.compress(plain, 6)
    print(
        f"{'bytes a reading, batch of 256':<34} {len(message) / len(readings):>10.1f}"
        f"     JSON {len(plain) / len(readings):.1f}, JSON+zlib "
        f"{len(squeezed) / len(readings):.1f}"
    )
    encode = timed(lambda: Batch("bench", 1, 0, tuple(readings)).encode())
    plainly = timed(lambda: as_json(readings))
    report("encode", len(readings) / encode, "json.dumps", len(readings) / plainly)
    decode = timed(lambda: batch.decode(message))
    plainly = timed(lambda: json.loads(plain))
    report(
        "decode, checked", len(readings) / decode, "json.loads", len(readings) / plainly
    )


def outbox(readings: list[Reading], folder: Path) -> None:
    """Measure capture of 64 readings a transaction beside a bare durable insert."""
    count = iter(range(1_000))

    def ours() -> None:
        box = Outbox(folder / f"outbox-{next(count)}.db")
        for at in range(0, len(readings), 64):
            box.capture("peer", readings[at : at + 64])
        box.close()

    def bare() -> None:
        db = sqlite3.connect(folder / f"bare-{next(count)}.db")
        db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;")
        db.execute("CREATE TABLE reading (id INTEGER PRIMARY KEY, record TEXT)")
        for at in range(0, len(readings), 64):
            with db:
                db.executemany(
                    "INSERT INTO reading (record) VALUES (?)",
                    [(as_json([one]),) for one in readings[at : at + 64]],
                )
        db.close()

    mine, plain = timed(ours), timed(bare)
    report("capture, 64 a commit", len(readings) / mine, "sqlite3 + JSON",
           len(readings) / plain)  # fmt: skip


def run() -> None:
    """Print all figures."""
    version = platform.python_version()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {version}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        seen = downloads(folder)[:_BATCH]
        device = Device("bench:meter:1", "bench", "meter", "1", "1")
        readings = [
            Reading(device, one, "bench", "1", 1_790_000_000_000 + at)
            for at, one in enumerate(seen)
        ]
        uplink(readings)
        outbox(readings, folder)


if __name__ == "__main__":
    run()

"""Drains a backlog: a station that was offline for years meets its broker again.

``make bench`` runs it with a million readings. A real agent in a process of its own
and a real Mosquitto; in the gateway's place stands a consumer that gives receipts at
once and afterwards counts every reading. Beside it the same by a bare loop of sqlite3,
JSON and paho. Figures are of one run; read the ratios, for machines differ.
"""

import argparse
import json
import os
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from shutil import which
from statistics import median

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from edge_agent import health, read
from edge_agent.outbox import Outbox
from protocols.gatt.time import DateTime
from protocols.observation import (
    Device,
    Kind,
    Observation,
    Quantity,
    Reading,
    Unit,
    Value,
)
from protocols.uplink import batch
from protocols.uplink.envelope import digest
from protocols.uplink.receipt import Entry, Receipt, Result

_STATION = "bench"
_DEVICES, _VISIT = 3, 100
_CHUNK = 1_000
_BARE = 100_000
_UP, _DOWN = f"vw/1/home/{_STATION}/up/batch", f"vw/1/home/{_STATION}/down/receipt"


def reading(number: int) -> Reading:
    """Return the reading of a number, of meters that tell 100 at a visit."""
    days, hour = divmod(number, 24)
    years, day = divmod(days, 336)
    return Reading(
        device=Device(
            f"bench:meter:{number // _VISIT % _DEVICES}", "bench", "meter", "1", "1"
        ),
        observation=Observation(
            Kind.GLUCOSE,
            (Value(Quantity.GLUCOSE, Unit.MG_PER_DL, Decimal(70 + number % 180)),),
            DateTime(1900 + years, 1 + day // 28, 1 + day % 28, hour, number % 60, 0),
            sequence=number,
            raw=(number.to_bytes(17, "big"),),
        ),
        driver="bench",
        driver_version="1",
        captured_ms=1_700_000_000_000 + number,
    )


def fill(folder: Path, count: int) -> float:
    """Capture so many readings, and return how long it took, in s."""
    box = Outbox(folder / "outbox.db")
    began = time.perf_counter()
    for start in range(0, count, _CHUNK):
        some = [reading(n) for n in range(start, min(start + _CHUNK, count))]
        box.capture("bench", some)
    box.close()
    return time.perf_counter() - began


def free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def mosquitto(folder: Path, port: int) -> Iterator[None]:
    """Run a broker, once it answers."""
    config = folder / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    program = which("mosquitto", path=os.environ["PATH"] + ":/usr/sbin")
    if program is None:
        raise SystemExit("install it with: apt install mosquitto")
    process = subprocess.Popen([program, "-c", str(config)], stderr=subprocess.DEVNULL)
    try:
        until(lambda: _answers(port))
        yield
    finally:
        process.terminate()
        process.wait()


class Consumer:
    """Gives a receipt for each message, and keeps them all.

    Attributes:
        messages: As they came, repeated ones too.
    """

    def __init__(self, port: int) -> None:
        self.messages: list[bytes] = []
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        self._client.on_connect = lambda client, *_: client.subscribe(_UP, qos=1)
        self._client.on_message = self._on_message
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()

    def _on_message(
        self, client: mqtt.Client, _: object, message: mqtt.MQTTMessage
    ) -> None:
        said = bytes(message.payload)
        self.messages.append(said)
        entry = Entry(0, digest(said), Result.STORED)
        receipt = Receipt(_STATION, (entry,), 0)
        client.publish(_DOWN, receipt.encode(), qos=1)


@dataclass
class Drained:
    """What a drain showed.

    Attributes:
        seconds: From the first message to an empty outbox.
        rss_kb: The agent's memory, sampled from the first message on.
        numbers: How often each reading came, in different messages.
        messages: How many different messages.
        repeated: How many came again, with the same bytes.
        disk_kb: The outbox and its WAL, at the end.
        kept_kb: As much of it as is in use: which readings were captured before.
    """

    seconds: float = 0.0
    rss_kb: list[int] = field(default_factory=list)
    numbers: Counter[int] = field(default_factory=Counter)
    messages: int = 0
    repeated: int = 0
    disk_kb: int = 0
    kept_kb: int = 0


@contextmanager
def agent(folder: Path, port: int) -> Iterator[int]:
    """Run an agent, and give its process when its kernels are compiled."""
    config = folder / "vitalwire.toml"
    config.write_text(f'station = "{_STATION}"\n[broker]\nport = {port}\n')
    words = ["agent", "run", "--config", str(config), "--data", str(folder)]
    with (folder / "agent.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "edge_agent", *words], stderr=log
        )
    try:
        until(
            lambda: (health.read(folder) or {}).get("kernels", "warming") != "warming"
        )
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def drain(folder: Path) -> Drained:
    """Let an agent send what stands in ``folder``, and count what comes."""
    found = Drained()
    port = free_port()
    with (
        agent(folder, port) as pid,
        mosquitto(folder, port),
        closing(Consumer(port)) as consumer,
    ):
        until(lambda: bool(consumer.messages))
        began = time.perf_counter()
        while not _is_empty(folder):
            found.rss_kb.append(_rss_kb(pid))
            time.sleep(0.2)
        found.seconds = time.perf_counter() - began
    found.disk_kb = sum(f.stat().st_size for f in folder.glob("outbox.db*")) // 1024
    with closing(sqlite3.connect(folder / "outbox.db")) as db:
        (free,) = db.execute("PRAGMA freelist_count").fetchone()
        (size,) = db.execute("PRAGMA page_size").fetchone()
        (pages,) = db.execute("PRAGMA page_count").fetchone()
        found.kept_kb = (pages - free) * size // 1024
    different = dict.fromkeys(consumer.messages)
    found.messages = len(different)
    found.repeated = len(consumer.messages) - len(different)
    for message in different:
        found.numbers.update(
            one.observation.sequence or 0 for one in batch.decode(message).readings
        )
    return found


def bare(folder: Path, count: int) -> float:
    """Return how many readings a second a plain program drains."""
    db = sqlite3.connect(folder / "bare.db")
    db.executescript(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
        "CREATE TABLE reading (id INTEGER PRIMARY KEY, record TEXT)"
    )
    rows = [(json.dumps(read.show(reading(n).observation), default=str),)
            for n in range(count)]  # fmt: skip
    with db:
        db.executemany("INSERT INTO reading (record) VALUES (?)", rows)
    port = free_port()
    with mosquitto(folder, port), closing(Consumer(port)) as consumer:
        client = mqtt.Client(CallbackAPIVersion.VERSION2)
        client.connect("127.0.0.1", port)
        client.loop_start()
        began = time.perf_counter()
        sent = 0
        while found := db.execute("SELECT * FROM reading LIMIT 256").fetchall():
            readings = [json.loads(record) for _, record in found]
            client.publish(_UP, json.dumps(readings), qos=1)
            sent += 1
            until(lambda sent=sent: len(consumer.messages) >= sent, 0.0)
            with db:
                db.execute("DELETE FROM reading WHERE id <= ?", (found[-1][0],))
        seconds = time.perf_counter() - began
        client.disconnect()
        client.loop_stop()
    db.close()
    return count / seconds


def until(holds: Callable[[], bool], pause_s: float = 0.02) -> None:
    """Wait until something holds, a minute at most."""
    deadline = time.monotonic() + 60
    while not holds():
        if time.monotonic() > deadline:
            raise SystemExit("nothing came for a minute")
        time.sleep(pause_s)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _is_empty(folder: Path) -> bool:
    box = Outbox(folder / "outbox.db", read_only=True)
    try:
        return box.counts().waiting == 0
    finally:
        box.close()


def _rss_kb(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


def _timed(work: Callable[[], object], runs: int = 5) -> float:
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return median(times)


def run() -> None:
    """Print all figures."""
    parser = argparse.ArgumentParser(description="Drain a backlog.")
    parser.add_argument("--readings", type=int, default=1_000_000)
    count = parser.parse_args().readings
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        seconds = fill(folder, count)
        print(f"{'capture, 1000 a commit':<34} {count / seconds:>9,.0f}/s")
        file = folder / "outbox.db"
        print(f"{'outbox, full':<34} {file.stat().st_size / 2**20:>9,.0f} MB")
        box = Outbox(file)
        print(f"{'counts(), full':<34} {_timed(box.counts) * 1e3:>9,.1f} ms")
        unbatched = _timed(lambda: box.batches.unbatched(256))
        print(f"{'unbatched(), full':<34} {unbatched * 1e3:>9,.2f} ms")
        box.close()

        found = drain(folder)
        once = found.numbers == Counter(range(count))
        rate = count / found.seconds
        plain = bare(folder, min(count, _BARE))
        tenth = len(found.rss_kb) // 10
        early, late = found.rss_kb[: tenth + 1], found.rss_kb[-tenth - 1 :]
        print(f"{'each reading exactly once':<34} {once!s:>9}")
        print(f"{'messages / repeated':<34} {found.messages:>9,} / {found.repeated}")
        print(f"{'drain':<34} {rate:>9,.0f}/s  sqlite3 + JSON {plain:,.0f}/s "
              f"{rate / plain:6.2f}")  # fmt: skip
        print(f"{'agent, RSS first / last tenth':<34} {median(early) / 1024:>9,.0f} MB"
              f" / {median(late) / 1024:,.0f} MB, most "
              f"{max(found.rss_kb) / 1024:,.0f} MB")  # fmt: skip
        print(f"{'outbox and WAL, empty':<34} {found.disk_kb / 1024:>9,.0f} MB,"
              f" of which {found.kept_kb / 1024:,.0f} in use")  # fmt: skip


if __name__ == "__main__":
    run()

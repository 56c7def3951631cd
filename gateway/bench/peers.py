"""What a user would write or install instead, on the same broker and engine.

Each keeps a reading in one table with a unique index on device and time, its commits on
the disk. Their messages are 256 readings too, as the text that such programs expect.
"""

import json
import sqlite3
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from pathlib import Path
from threading import Event
from time import perf_counter
from typing import Any, Self

import psycopg
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from gateway.bench import traffic
from gateway.bench.engine import Rate
from gateway.bench.fleet import READINGS, Fleet
from gateway.bench.servers import CannotMeasure
from protocols.observation import Kind, Reading

Take = Callable[[bytes], int]
"""Takes a message; returns how many readings of it are on the disk now."""

_Row = tuple[Any, ...]
_HOST = "127.0.0.1"
_FLUSH = 1_000  # rows that Telegraf writes at once by default
_MOST_PER_S = {"naive": 15_000, "naive-batched": 90_000, "telegraf-like": 90_000}
_COLUMNS = "device, kind, time_ms, value, value2, value3"
_TABLE = """
    CREATE TABLE peer (device TEXT NOT NULL, kind TEXT NOT NULL,
        time_ms BIGINT NOT NULL, value DOUBLE PRECISION, value2 DOUBLE PRECISION,
        value3 DOUBLE PRECISION)
"""
_INDEX = "CREATE UNIQUE INDEX peer_key ON peer (device, time_ms, kind)"


def through(
    pool: Executor, port: int, messages: Sequence[bytes], take: Take, seconds: float
) -> Rate:
    """Publish messages, and let a plain subscriber take them for a while.

    Args:
        pool: Where they are published.
        port: The broker's.
        messages: At least one.
        take: Called with each, in paho's thread.
        seconds: At most, from the first message on.

    Returns:
        What was taken, and the time from the first message on.
    """
    began = ended = 0.0
    taken = readings = 0
    done, ready = Event(), Event()

    def on_message(_client: Client, _data: object, came: MQTTMessage) -> None:
        nonlocal began, ended, taken, readings
        if done.is_set():
            return
        began = began or perf_counter()
        readings += take(bytes(came.payload))
        ended, taken = perf_counter(), taken + 1
        if taken == len(messages) or ended - began > seconds:
            done.set()

    def on_connect(client: Client, *_more: object) -> None:
        client.subscribe("bench/peer", 1)

    client = Client(CallbackAPIVersion.VERSION2, client_id="bench-peer")
    client.on_connect = on_connect
    client.on_subscribe = lambda *_: ready.set()
    client.on_message = on_message
    client.connect(_HOST, port)
    client.loop_start()
    ready.wait(10)
    publishing = pool.submit(traffic.publish, port, "bench/peer", messages)
    done.wait(seconds + 30)
    client.disconnect()
    client.loop_stop()
    publishing.result()
    return Rate(readings, ended - began)


def measure(
    pool: Executor, port: int, fleet: Fleet, store: Path | str, seconds: float
) -> Iterator[tuple[str, Rate]]:
    """Yield each consumer that is written here, with how many readings it keeps.

    Args:
        pool: For publishing.
        port: The broker's.
        fleet: Whose readings they are.
        store: A new SQLite file, or an address of PostgreSQL.
        seconds: For each.
    """
    for name, take_of, text_of in (
        ("naive", _naive, _json),
        ("naive-batched", _batched, _json),
        ("telegraf-like", _telegraf, _lines),
    ):
        count = max(1, round(_MOST_PER_S[name] * seconds / READINGS))
        messages = [text_of(told) for told in _told(fleet, count)]
        with _Table(store) as table:
            yield name, through(pool, port, messages, take_of(table), seconds)


def check_thingsboard(python: Path) -> None:
    """Raise `CannotMeasure` where thingsboard-gateway is not installed."""
    found = subprocess.run(  # noqa: S603 - what the caller named
        [python, "-c", "import thingsboard_gateway"], capture_output=True, check=False
    )
    if found.returncode:
        raise CannotMeasure(
            f"{python} has no thingsboard-gateway: make an environment of its own for "
            "it, and name that one's Python"
        )


def thingsboard(python: Path, fleet: Fleet, folder: Path, seconds: float) -> Rate:
    """Measure thingsboard-gateway's own converter and storage.

    Args:
        python: Of an environment where it is installed.
        fleet: Whose readings they are.
        folder: For its file.
        seconds: For how long.

    Raises:
        CannotMeasure: It doesn't run there.
    """
    file = folder / "thingsboard.jsonl"
    file.write_bytes(b"\n".join(_json(told) for told in _told(fleet, 100)))
    place = folder / "thingsboard"
    place.mkdir()
    script = Path(__file__).with_name("thingsboard.py")
    found = subprocess.run(  # noqa: S603 - what the caller named
        [python, script, file, place, str(seconds)],
        capture_output=True,
        text=True,
        check=False,
    )
    if found.returncode:
        last = found.stderr.strip().rpartition("\n")[2]
        raise CannotMeasure(f"{python} does not run thingsboard-gateway: {last}")
    told = json.loads(found.stdout)
    return Rate(told["readings"], told["seconds"])


class _Table:
    """The peers' table in either engine."""

    def __init__(self, store: Path | str) -> None:
        self._mark = "?" if isinstance(store, Path) else "%s"
        self._connection: sqlite3.Connection | psycopg.Connection
        if isinstance(store, Path):
            self._connection = sqlite3.connect(store, check_same_thread=False)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
        else:
            self._connection = psycopg.connect(store)
        self._cursor: Any = self._connection.cursor()  # both speak DB-API here

    def __enter__(self) -> Self:
        self._cursor.execute("DROP TABLE IF EXISTS peer")
        self._cursor.execute(_TABLE)
        self._cursor.execute(_INDEX)
        self._connection.commit()
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def one(self, row: _Row) -> None:
        self._cursor.execute(self._insert(1), row)
        self._connection.commit()

    def many(self, rows: Sequence[_Row]) -> None:
        self._cursor.executemany(self._insert(1), rows)
        self._connection.commit()

    def at_once(self, rows: Sequence[_Row]) -> None:
        self._cursor.execute(
            self._insert(len(rows)), [at for row in rows for at in row]
        )
        self._connection.commit()

    def _insert(self, rows: int) -> str:
        marks = ", ".join(["(" + ", ".join([self._mark] * 6) + ")"] * rows)
        return f"INSERT INTO peer ({_COLUMNS}) VALUES {marks} ON CONFLICT DO NOTHING"  # noqa: S608 - our own words


def _naive(table: _Table) -> Take:
    def take(message: bytes) -> int:
        rows = [*map(_row, json.loads(message))]
        for row in rows:
            table.one(row)
        return len(rows)

    return take


def _batched(table: _Table) -> Take:
    def take(message: bytes) -> int:
        rows = [*map(_row, json.loads(message))]
        table.many(rows)
        return len(rows)

    return take


def _telegraf(table: _Table) -> Take:
    waiting: list[_Row] = []

    def take(message: bytes) -> int:
        waiting.extend(map(_parsed, message.decode().splitlines()))
        if len(waiting) < _FLUSH:
            return 0
        rows = waiting[:_FLUSH]
        del waiting[:_FLUSH]
        table.at_once(rows)
        return len(rows)

    return take


def _row(told: dict[str, Any]) -> _Row:
    kind = "glucose" if "glucose" in told else "pressure"
    values = [told.get("glucose", told.get("systolic")), told.get("diastolic")]
    return (told["device"], kind, told["ts"], *values, told.get("pulse-rate"))


def _parsed(line: str) -> _Row:
    head, fields, time_ns = line.split(" ")
    kind, _, device = head.partition(",device=")
    values = dict(field.split("=") for field in fields.split(","))
    number = [*map(float, values.values()), None, None]
    return device, kind, int(time_ns) // 1_000_000, *number[:3]


def _told(fleet: Fleet, count: int) -> Iterator[list[dict[str, Any]]]:
    """Yield what ``count`` messages tell, no reading twice."""
    for at in range(count):
        group, block = at % fleet.groups, at // fleet.groups
        yield [_plain(reading) for reading in fleet.readings(group, block)]


def _plain(reading: Reading) -> dict[str, Any]:
    glucose = reading.observation.kind == Kind.GLUCOSE
    scale = 100_000 if glucose else 1  # kg/L to mg/dL, as such programs have it
    values = {
        value.quantity.value: float((value.number or 0) * scale)
        for value in reading.observation.values
    }
    return {"device": reading.device.id, "ts": reading.utc_ms, **values}


def _json(told: Iterable[dict[str, Any]]) -> bytes:
    return json.dumps(list(told)).encode()


def _lines(told: Iterable[dict[str, Any]]) -> bytes:
    return "\n".join(_line(**one) for one in told).encode()


def _line(device: str, ts: int, **values: float) -> str:
    kind = "glucose" if "glucose" in values else "pressure"
    fields = ",".join(f"{name}={value}" for name, value in values.items())
    return f"{kind},device={device} {fields} {ts * 1_000_000}"

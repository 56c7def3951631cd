"""Measures a gateway from end to end, in turns with its limit, and others after it."""

import asyncio
import platform
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

from gateway.bench import growth, oracle, peers, servers, traffic, usage
from gateway.bench.engine import GROUP, Engine, Rate
from gateway.bench.fleet import READINGS, Fleet, Sent
from gateway.bench.traffic import Traffic
from protocols import compiled

_MOST_PER_S = 500_000  # readings for which messages are made beforehand
_BLOCKS = 16  # that a group tells at most
_WINDOW = 512  # messages without a receipt, of all stations together
_WARM_S, _WARM_SHARE = 1.0, 0.25
_OF_ONE = 8  # and of one station, as an agent on a free line
_REFILLED = 12 * GROUP  # readings that the limit writes in each round, at most
_PEER_SHARE = 0.3

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure.

    Attributes:
        store: ``sqlite`` or ``postgres``.
        stations: How many send.
        rows_before: So many readings are stored beforehand, at least.
        seconds: For how long stations send, in all rounds together.
        rounds: Of sending, each with a gateway of its own.
        peers: Whether others are measured too.
        thingsboard: A Python that has thingsboard-gateway; None leaves it out.
        gateway: What runs ``vitalwire gateway``.
    """

    store: str
    stations: int = 100
    rows_before: int = 0
    seconds: float = 10.0
    rounds: int = 3
    peers: bool = True
    thingsboard: Path | None = None
    gateway: Sequence[str] = servers.GATEWAY


@dataclass(slots=True)
class _Round:
    """What one round of sending found; times in s."""

    traffic: Traffic
    sent: Sequence[Sent]
    used: dict[str, float]
    window: tuple[float, float]
    rss_mb: float
    limit: Rate

    @property
    def rate(self) -> Rate:
        """What was receipted while sending was steady."""
        first, last = self.window
        inside = sum(first < at <= last for at in self.traffic.stored)
        return Rate(inside * READINGS, last - first)

    @property
    def stored(self) -> list[Sent]:
        return [
            message
            for message, at in zip(self.sent, self.traffic.stored, strict=True)
            if at < float("inf")
        ]


@dataclass(slots=True)
class _Bench:
    """All parts that a measurement needs."""

    plan: Plan
    say: Say
    folder: Path
    pool: Executor
    broker: servers.Running
    server: servers.Running | None
    address: str
    fleet: Fleet
    rounds: list[_Round] = field(default_factory=list)

    @property
    def protocol(self) -> str:
        return "3.1.1" if self.broker.name.startswith("nats") else "5"


def measure(plan: Plan, say: Say) -> dict[str, Any]:
    """Measure as planned; return what is to be shown, as ``bench ingest --json`` does.

    Args:
        plan: What to measure.
        say: Told what is being done.

    Raises:
        CannotMeasure: A server doesn't start here.
        BrokerError: The embedded broker doesn't.
        StoreUnusable: The store can't be opened.
    """
    if plan.thingsboard is not None:
        peers.check_thingsboard(plan.thingsboard)
    say("getting the kernels compiled")
    asyncio.run(compiled.warm())
    before = growth.groups_of(plan.rows_before)
    fleet = _fleet(plan, before)
    with _parts(plan, say, fleet) as bench:
        say(f"storing {before * growth.PER_GROUP:,} readings beforehand")
        growth.fill(bench.folder, bench.address, fleet, before)
        say("making messages")
        blocks = range(growth.BLOCKS if before else 0, 10**9)
        messages = _messages(plan, fleet, blocks)
        with _opened(bench) as engine:
            ((last,),) = engine.rows("SELECT coalesce(max(id), 0) FROM reading")
        _rounds(bench, messages)
        return _result(bench, before * growth.PER_GROUP, last)


def _fleet(plan: Plan, before: int) -> Fleet:
    """Return as many groups as are stored, as stations have, and as can tell it all."""
    told = round(plan.seconds * _MOST_PER_S / READINGS / _BLOCKS)
    groups = max(before, plan.stations, told)
    return Fleet(plan.stations, -(-groups // plan.stations) * plan.stations)


def _messages(plan: Plan, fleet: Fleet, blocks: range) -> list[Sent]:
    count = round(plan.seconds * _MOST_PER_S / READINGS)
    found = []
    for message in fleet.messages(blocks):
        found.append(message)
        if len(found) == count:
            break
    return found


@contextmanager
def _parts(plan: Plan, say: Say, fleet: Fleet) -> Iterator[_Bench]:
    with ExitStack() as held:
        folder = held.enter_context(servers.scratch())
        pool = held.enter_context(ProcessPoolExecutor(1, get_context("spawn")))
        broker = held.enter_context(servers.broker(folder))
        say(f"{broker.name} is the broker")
        server, address = None, ""
        if plan.store == "postgres":
            server, address = held.enter_context(servers.postgres(folder))
            say(f"{server.name} is the store's engine")
        yield _Bench(plan, say, folder, pool, broker, server, address, fleet)


@contextmanager
def _opened(bench: _Bench) -> Iterator[Engine]:
    engine = growth.open_engine(bench.folder, bench.address)
    try:
        yield engine
    finally:
        engine.close()


def _rounds(bench: _Bench, messages: Sequence[Sent]) -> None:
    """Let the gateway and its limit take turns, so that a busy moment meets both."""
    seconds = bench.plan.seconds / bench.plan.rounds
    for number in range(1, bench.plan.rounds + 1):
        with _opened(bench) as engine:
            ((last,),) = engine.rows("SELECT coalesce(max(id), 0) FROM reading")
        found = _round(bench, messages, seconds)
        messages = messages[found.traffic.sent :]
        with _opened(bench) as engine:
            found.limit = engine.refill(last, _REFILLED, number)
        bench.rounds.append(found)
        bench.say(
            f"round {number}: {found.rate.per_s:,.0f} readings/s, "
            f"the limit {found.limit.per_s:,.0f}"
        )


def _round(bench: _Bench, messages: Sequence[Sent], seconds: float) -> _Round:
    """Start a gateway, send to it for a while, and end it."""
    plain = [(message.topic, message.payload) for message in messages]
    with servers.gateway(
        bench.plan.gateway,
        bench.folder,
        bench.broker.port,
        protocol=bench.protocol,
        store=bench.address,
    ) as process:
        pids = {"gateway": process.pid, "broker": bench.broker.pid}
        if bench.server is not None:
            pids["store"] = bench.server.pid
        with usage.Watch(pids).running() as watch:
            port = bench.broker.port
            most = min(_WINDOW, _OF_ONE * bench.plan.stations)
            sending = bench.pool.submit(traffic.send, port, plain, seconds, most)
            found = sending.result()
        rss_mb = usage.peak_mb(process.pid)
    if not any(at < float("inf") for at in found.stored):
        why = found.refused[0] if found.refused else "no receipt came"
        raise servers.CannotMeasure(f"the gateway stores nothing: {why}")
    window = _window(found)
    used = watch.between(*window)
    sent = messages[: found.sent]
    return _Round(found, sent, used, window, rss_mb, Rate(0, 0.0))


def _window(found: Traffic) -> tuple[float, float]:
    """Return two moments when receipts came: when all was warm, and the last one."""
    came = sorted(at for at in found.stored if at < float("inf"))
    length_s = found.ended_s - found.began_s
    warm_s = found.began_s + min(_WARM_S, _WARM_SHARE * length_s)
    first = max([at for at in came if at <= warm_s], default=came[0])
    return first, max(came[-1], first + 1e-3)


def _result(bench: _Bench, before: int, last: int) -> dict[str, Any]:
    rounds, plan = bench.rounds, bench.plan
    sent = [message for each in rounds for message in each.sent]
    stored = [message for each in rounds for message in each.stored]
    bench.say("counting what is stored")
    with _opened(bench) as engine:
        counted = oracle.count(engine, last, sent, stored)
        rows = before + counted.stored + sum(each.limit.count for each in rounds)
        bytes_each = engine.size() / max(rows, 1)
    bench.say("asking for stored readings")
    told, queries = growth.ask(bench.folder, bench.address, bench.fleet, last, before)
    limits = {"broker_per_s": _broker_alone(bench, sent)}
    with _opened(bench) as engine:
        bare = engine.refill_bare(last, _REFILLED)
        limits["without_index_per_s"] = _rounded(bare)
    in_window = sum(each.rate.count for each in rounds)
    used = {
        name: 1e6 * sum(each.used[name] for each in rounds) / max(in_window, 1)
        for name in rounds[0].used
    }
    speed = median(each.rate.per_s for each in rounds)
    return {
        "store": plan.store,
        "readings": counted.stored,
        "readings_per_s": round(speed),
        "limit_per_s": round(median(each.limit.per_s for each in rounds)),
        "ratio": round(
            median(each.rate.per_s / each.limit.per_s for each in rounds), 3
        ),
        "lost": counted.lost,
        "doubled": counted.doubled,
        "wrong": oracle.wrong(bench.fleet, sent, told),
        "unanswered": len(sent) - len(stored),
        "peers": dict(_peers(bench)),
        "cpu_us_per_reading": round(used["gateway"] + used.get("store", 0.0), 2),
        "cpu_us_by_process": {name: round(each, 2) for name, each in used.items()},
        "bytes_per_reading": round(bytes_each),
        "rss_mb": round(max(each.rss_mb for each in rounds), 1),
        "limits": limits,
        "queries": queries,
        "rounds": [round(each.rate.per_s) for each in rounds],
        "stations": plan.stations,
        "devices": 4 * bench.fleet.groups,
        "rows_before": before,
        "seconds": plan.seconds,
        "message_bytes": round(median(len(message.payload) for message in sent)),
        "broker": bench.broker.name,
        "engine": bench.server.name if bench.server else growth.sqlite_name(),
        "python": platform.python_version(),
        "machine": platform.machine(),
    }


def _broker_alone(bench: _Bench, sent: Sequence[Sent]) -> int:
    """Return how many readings a second pass the broker to a plain subscriber."""
    bench.say("measuring the broker alone")
    payloads = [message.payload for message in sent]
    found = peers.through(
        bench.pool, bench.broker.port, payloads, lambda _: READINGS, bench.plan.seconds
    )
    return _rounded(found)


def _peers(bench: _Bench) -> Iterator[tuple[str, int]]:
    plan = bench.plan
    seconds = _PEER_SHARE * plan.seconds
    if plan.peers:
        store = bench.address or bench.folder / "peers.sqlite"
        port = bench.broker.port
        bench.say("measuring what else could be used")
        for name, rate in peers.measure(bench.pool, port, bench.fleet, store, seconds):
            yield name, _rounded(rate)
    if plan.thingsboard is not None:
        bench.say("measuring thingsboard-gateway")
        found = peers.thingsboard(plan.thingsboard, bench.fleet, bench.folder, seconds)
        yield "thingsboard-gateway", _rounded(found)


def _rounded(rate: Rate) -> int:
    return round(rate.per_s)


def is_success(found: dict[str, Any]) -> bool:
    """Tell whether every reading that was sent is stored once, and as it was sent."""
    faults = ("lost", "doubled", "wrong", "unanswered")
    return bool(found["readings"]) and not any(found[name] for name in faults)

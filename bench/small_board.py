"""Measures the agent as a small board runs it: start, stalls, memory, idle CPU.

``make bench`` runs it; ``--json`` prints the figures for a program. Devices and gateway
run beside; the agent runs under a memory limit of 512 MB, once for each form that its
kernels may have. Times are medians; read the ratios, for machines differ. Nothing here
is a test.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import median
from time import monotonic, sleep
from typing import Any

_LIMIT_MB = 512
_IDLE_S = 10.0
_SETTLED_S = 40.0  # after its kernels answer: its start let go, and devices met again
_PATIENCE_S = 240.0
_CGROUPS = (  # version 1 and version 2
    ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.max_usage_in_bytes"),
    ("/sys/fs/cgroup", "memory.max", "memory.peak"),
)
_DRIVERS = {
    "glucose-meter": "gatt-glucose",
    "blood-pressure-cuff": "gatt-blood-pressure",
    "ultraeasy": "onetouch-ultraeasy",
}
_CONFIG = """station = "bench-{count}"
[broker]
port = {port}
{devices}
"""

# What numba imports where it finds it, and no station has: it comes with extras.
_EXTRAS = "scipy", "coverage", "yaml"

# As an installed package: with its bytecode, and no other settings.
_CLEAN = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}

# `vitalwire agent run`, with a clock that notices when its loop is held up.
_AGENT = """
import asyncio, gc, json, sys, time
from pathlib import Path
from edge_agent import cli
gc.disable()
from edge_agent import app, config

async def run(path, folder):
    late = []
    async def watch():
        while True:
            due = time.monotonic() + 0.002
            await asyncio.sleep(0.002)
            late_s = time.monotonic() - due
            if late_s > 0.001:  # a list of all would count as the agent's memory
                late.append((due, late_s))
    watching = asyncio.create_task(watch())
    await app.run(config.load(path), folder)
    watching.cancel()
    print(json.dumps(late))

asyncio.run(run(Path(sys.argv[1]), Path(sys.argv[2])))
"""


@dataclass
class Figures:
    """What is measured of the agent with its kernels in one form.

    Attributes:
        kernels: What its status says of them.
        ready_s: From its start until it waits for devices.
        kernels_s: From its start until compiled kernels answer.
        stall_ms: The longest that its loop was held up between these, and 1 s more.
        rss_mb: Resident memory when all is read, stored and forgotten, and the start
            is over.
        most_rss_mb: The most that was resident until then.
        pss_mb: The same, shared pages divided by those who share them.
        peak_mb: The most that the agent and what it started took, files included.
        idle_percent: Of one core, with devices that are asleep.
        readings: Captured, and stored by the gateway; the cuff tells its own once.
    """

    kernels: str
    ready_s: float
    kernels_s: float | None
    stall_ms: float
    rss_mb: float
    most_rss_mb: float
    pss_mb: float
    peak_mb: float | None
    idle_percent: float
    readings: int


@contextmanager
def limited(folder: Path | None) -> Iterator[Path | None]:
    """Provide a new cgroup of the memory of a small board; None where none can be."""
    if folder is None:
        yield None
        return
    folder.mkdir()
    try:
        limit = next(name for _, name, _ in _CGROUPS if (folder / name).exists())
        (folder / limit).write_text(str(_LIMIT_MB << 20))
        yield folder
    finally:
        until(lambda: not (folder / "cgroup.procs").read_text())
        folder.rmdir()


def cgroup() -> Path | None:
    """Return a name for a cgroup that can be made here, or say why there is none."""
    for root, limit, _ in _CGROUPS:
        name = Path(root, f"vitalwire-bench-{os.getpid()}")
        try:
            name.mkdir()
            usable = (name / limit).exists()
            name.rmdir()
        except OSError:
            continue
        if usable:
            return name
    print("no cgroup for memory can be made here: figures are without a limit",
          file=sys.stderr)  # fmt: skip
    return None


def until(
    holds: Callable[[], bool], part: "subprocess.Popen[str] | None" = None
) -> None:
    """Wait; a part that ends, or takes for ever, is an error."""
    deadline_s = monotonic() + _PATIENCE_S
    while not holds():
        if part is not None and part.poll() is not None:
            raise RuntimeError(f"the agent ended with status {part.returncode}")
        if monotonic() > deadline_s:
            raise TimeoutError(f"not in {_PATIENCE_S:g} s")
        sleep(0.002)


@contextmanager
def running(
    command: list[str], group: Path | None = None, **env: str
) -> Iterator["subprocess.Popen[str]"]:
    """Run a part until it is no longer needed, in a cgroup if one is given."""
    join = ["sh", "-c", f'echo $$ > {group}/cgroup.procs; exec "$@"', "-"]
    process = subprocess.Popen(
        [*(join if group else []), *command],
        env=_CLEAN | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def ready(part: "subprocess.Popen[str]") -> dict[str, Any]:
    """Return what a part says when it is ready."""
    found: dict[str, Any] = json.loads(part.stdout.readline()) if part.stdout else {}
    return found


def status(data: Path) -> dict[str, Any]:
    """Return what the agent last wrote of itself; empty if nothing yet."""
    try:
        found: dict[str, Any] = json.loads((data / "status.json").read_text())
    except FileNotFoundError:
        return {}
    return found


def memory_mb(pid: int, file: str, name: str) -> float:
    """Return one figure of a process's memory.

    Args:
        pid: The process.
        file: Of those below its folder: ``smaps_rollup`` or ``status``.
        name: A line of it: ``Rss``, ``Pss``, or ``VmHWM``, the most that was resident.
    """
    for line in Path(f"/proc/{pid}/{file}").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise ValueError(name)


def cpu_s(pid: int) -> float:
    """Return the CPU time that a process has used."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


class Board:
    """A station with its devices and its gateway, on which agents run."""

    def __init__(self, folder: Path, held: ExitStack) -> None:
        self._folder = folder
        self._station = hiding(folder / "station", *_EXTRAS)
        self._group = cgroup()
        _CLEAN["PYTHONPYCACHEPREFIX"] = str(folder / "bytecode")
        tool = [sys.executable, "-m", "edge_agent"]
        sim = [*tool, "sim", "run", "--data", str(folder / "sim"), "--json"]
        ports = ["--http-port", "0", "--mqtt-port", "0", "--json"]
        gateway = [*tool, "gateway", "serve", "--data", str(folder / "gateway"), *ports]
        self._sim = ready(held.enter_context(running(sim)))
        self._port = ready(held.enter_context(running(gateway)))["mqtt_port"]
        self._count = 0

    def warm(self, name: str, **env: str) -> tuple[Path, float]:
        """Compile all kernels under the limit; return where, and in how many s."""
        cache = self._folder / name
        command = [sys.executable, "-m", "edge_agent", "agent", "warm", "--json"]
        env = {"XDG_CACHE_HOME": str(cache), **self._station, **env}
        began_s = monotonic()
        with limited(self._group) as group, running(command, group, **env) as part:
            ready(part)
        return cache, monotonic() - began_s

    def measure(self, runs: int, cache: Path | None, env: dict[str, str]) -> Figures:
        """Return the figures of agents that find this cache; None: an empty one."""
        starts = [self._start(cache, env) for _ in range(runs)]
        last = self._start(cache, env, whole=True)
        for name in ("ready_s", "kernels_s", "stall_ms"):
            times = [getattr(each, name) for each in (*starts, last)]
            setattr(last, name, None if None in times else median(times))
        return last

    def _start(
        self, cache: Path | None, env: dict[str, str], *, whole: bool = False
    ) -> Figures:
        self._count += 1
        folder = self._folder / f"run-{self._count}"
        data, own = folder / "data", folder / "cache"
        data.mkdir(parents=True)
        if cache is not None:
            shutil.copytree(cache, own)
        env = {"XDG_CACHE_HOME": str(own), **self._station, **env}
        env["DBUS_SYSTEM_BUS_ADDRESS"] = self._sim["bus"]
        config = folder / "agent.toml"
        config.write_text(self._config())
        command = [sys.executable, "-c", _AGENT, str(config), str(data)]
        began_s = monotonic()
        with limited(self._group) as group:
            with running(command, group, **env) as part:
                until(lambda: bool(status(data)), part)
                ready_s = monotonic()
                until(lambda: status(data)["kernels"] != "warming", part)
                kernels_s = monotonic()
                sleep(1)
                if whole:
                    until(lambda: self._is_done(data))
                    sleep(max(0.0, kernels_s + _SETTLED_S - monotonic()))
                idle = self._idle(part.pid) if whole else 0.0
                found = status(data)
                rss_mb, pss_mb = (
                    memory_mb(part.pid, "smaps_rollup", name) for name in ("Rss", "Pss")
                )
                most_rss_mb = memory_mb(part.pid, "status", "VmHWM")
                part.terminate()
                late_ms = stall_ms(part, ready_s, kernels_s + 1)
            peak_mb = peak(group)
        return Figures(
            found["kernels"],
            ready_s - began_s,
            kernels_s - began_s if found["kernels"] == "compiled" else None,
            late_ms,
            rss_mb,
            most_rss_mb,
            pss_mb,
            peak_mb,
            idle,
            sum(device["captured"] for device in found["devices"].values()),
        )

    def _is_done(self, data: Path) -> bool:
        told = subprocess.run(
            [sys.executable, "-m", "edge_agent", "agent", "status", "--json",
             "--data", str(data)],
            stdout=subprocess.PIPE,
            check=True,
        )  # fmt: skip
        found = json.loads(told.stdout)
        sleep(0.5)
        visits = [device["visits"] for device in found["devices"].values()]
        return all(visits) and not found["outbox"]["waiting"]

    def _idle(self, pid: int) -> float:
        before_s = cpu_s(pid)
        sleep(_IDLE_S)
        return (cpu_s(pid) - before_s) / _IDLE_S * 100

    def _config(self) -> str:
        devices = ""
        for device in self._sim["devices"]:
            devices += f'[[device]]\ndriver = "{_DRIVERS[device["model"]]}"\n'
            for key in ("address", "passkey", "port"):
                if device.get(key):
                    devices += f'{key} = "{device[key]}"\n'
        return _CONFIG.format(count=self._count, port=self._port, devices=devices)


def stall_ms(part: "subprocess.Popen[str]", since_s: float, until_s: float) -> float:
    """Return what an agent tells at its end of a part of its life."""
    out, _ = part.communicate()
    if part.returncode:
        raise RuntimeError(f"the agent ended with status {part.returncode}")
    told: list[tuple[float, float]] = json.loads(out)
    late_s = [late_s for due_s, late_s in told if since_s < due_s < until_s]
    return max(late_s, default=0.0) * 1000


def peak(group: Path | None) -> float | None:
    """Return the most memory that was in use in a cgroup, in MB."""
    for _, _, name in _CGROUPS:
        if group is not None and (group / name).exists():
            return int((group / name).read_text()) / 2**20
    return None


def hiding(folder: Path, *modules: str) -> dict[str, str]:
    """Return the setting with which Python does not find these modules."""
    folder.mkdir()
    for name in modules:
        (folder / f"{name}.py").write_text("raise ImportError('none here')")
    return {"PYTHONPATH": str(folder)}


def damaged(cache: Path, copy: Path) -> Path:
    """Return a copy of a cache whose largest file ends in the middle."""
    shutil.copytree(cache, copy)
    code = max(copy.rglob("*"), key=lambda path: path.stat().st_size)
    code.write_bytes(code.read_bytes()[: code.stat().st_size // 2])
    return copy


def run(runs: int, *, as_json: bool) -> None:
    """Print all figures."""
    shown: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name, ExitStack() as held:
        folder = Path(name)
        no_numba = hiding(folder / "none", "numba", *_EXTRAS)
        (folder / "file").touch()
        nowhere = {"XDG_CACHE_HOME": str(folder / "file")}
        board = Board(folder, held)
        native, native_s = board.warm("native")
        numbas, numbas_s = board.warm("numbas", CC="/bin/false")
        shown["warm_s"] = {"ahead of time": native_s, "numba": numbas_s}
        shown["forms"] = {
            title: asdict(board.measure(many, cache, env))
            for title, many, cache, env in (
                ("ahead of time", runs, native, {}),
                ("the same, no numba", runs, native, no_numba),
                ("numba, kept", runs, numbas, {"CC": "/bin/false"}),
                ("first start", 0, None, {}),
                ("damaged", 0, damaged(native, folder / "damaged"), {}),
                ("no numba", runs, None, no_numba),
                ("no place", 0, None, nowhere),
            )
        }
    if as_json:
        print(json.dumps(shown, indent=1))
        return
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python "
          f"{platform.python_version()}; 'agent warm': {native_s:.1f} s ahead of time, "
          f"{numbas_s:.1f} s by numba")  # fmt: skip
    names = [field.name for field in fields(Figures)][1:]
    print(f"{'kernels':<20}", *(f"{name:>12}" for name in names))
    for title, figures in shown["forms"].items():
        cells = [figures[name] for name in names]
        texts = ("-" if cell is None else f"{cell:.3g}" for cell in cells[:-1])
        print(f"{title:<20}", *(f"{text:>12}" for text in texts), f"{cells[-1]:>12}")


if __name__ == "__main__":
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    run(given.runs, as_json=given.json)

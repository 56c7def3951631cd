"""A real PostgreSQL server, which tests start and throw away by themselves."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

_DEBIAN = Path("/usr/lib/postgresql")
_USER = "postgres"
_START_S = 30.0
# A clone of this one is made in a few ms; its name says what it was made for.
TEMPLATE = "vitalwire_template"


def programs() -> Path | None:
    """Return the folder of the newest server here; None if there is none."""
    found = sorted(
        (path.parent for path in _DEBIAN.glob("*/bin/initdb")),
        key=lambda path: [int(part) for part in re.findall(r"\d+", str(path))],
    )
    if found:
        return found[-1]
    initdb = shutil.which("initdb")
    return Path(initdb).resolve().parent if initdb else None


class Server:
    """One server on a socket in a folder of its own; nothing listens on a port.

    Args:
        folder: To be made; PostgreSQL's own user must be able to reach it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.programs = programs()
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(mode=0o700, exist_ok=True)
        # PostgreSQL refuses to run as root, as which containers like to test.
        self._as = {"user": _USER, "group": _USER, "extra_groups": []}
        if os.geteuid() != 0:
            self._as = {}
        else:
            shutil.chown(folder, _USER, _USER)
        self.run(
            "initdb", "--no-sync", "--auth=trust", f"--username={_USER}",
            "--encoding=UTF8", "--locale=C", f"--pgdata={self.folder / 'data'}",
        )  # fmt: skip

    def run(self, program: str, *more: str, told: bytes = b"") -> bytes:
        """Run one of PostgreSQL's programs as its own user; return what it says."""
        assert self.programs is not None
        return subprocess.run(
            [self.programs / program, *more],
            check=True,
            input=told,
            capture_output=True,
            cwd=self.folder,
            **self._as,
        ).stdout

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        assert self.programs is not None
        self._process = subprocess.Popen(
            [
                self.programs / "postgres", "-D", self.folder / "data",
                "-c", "listen_addresses=", "-k", self.folder,
                "-c", "shared_buffers=256MB", "-c", "max_wal_size=4GB",
                "-c", "timezone=UTC",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self.folder,
            **self._as,
        )  # fmt: skip
        end_s = time.monotonic() + _START_S
        while True:
            try:
                psycopg.connect(self.url(_USER)).close()
            except psycopg.OperationalError:
                if time.monotonic() > end_s or self._process.poll() is not None:
                    raise
                time.sleep(0.02)
            else:
                return

    def kill(self) -> None:
        """End it as a power cut would, and take it away from under its clients."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait()
            self._process = None

    def url(self, database: str) -> str:
        """Return the address of one of its databases."""
        return f"postgresql://{_USER}@/{database}?host={self.folder}"

    def execute(self, statement: str) -> None:
        """Run one statement that belongs to no database."""
        with psycopg.connect(self.url(_USER), autocommit=True) as connection:
            connection.execute(statement)


@contextmanager
def server() -> Iterator[Server]:
    """Run a server until the block ends."""
    # Not under pytest's folder, where PostgreSQL's own user may not look.
    folder = Path(tempfile.mkdtemp(prefix="vw-pg-"))
    found = Server(folder)
    try:
        found.start()
        yield found
    finally:
        found.kill()
        shutil.rmtree(folder)

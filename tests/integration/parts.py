"""Parts of the whole, each a process of its own, as a person would start it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "edge_agent", *words]


class Part:
    """A process, and what it prints."""

    def __init__(self, process: "subprocess.Popen[bytes]", out: Path) -> None:
        self.process, self._out = process, out

    def ready(self) -> dict[str, Any]:
        """Return what it prints when it is ready."""
        until(lambda: self._out.read_text().endswith("\n"), self.process)
        found: dict[str, Any] = json.loads(self._out.read_text().splitlines()[0])
        return found

    def kill(self) -> None:
        """Kill it with all its children, as a power cut would."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)


@contextmanager
def part(folder: Path, name: str, command: list[str], **env: str) -> Iterator[Part]:
    out = folder / f"{name}.out"
    with out.open("wb") as stdout, (folder / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=log,
            env={**os.environ, **env},
            start_new_session=True,
        )
    part = Part(process, out)
    try:
        yield part
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            part.kill()
            raise


def until(
    holds: Callable[[], bool],
    process: "subprocess.Popen[bytes] | None" = None,
    seconds: float = 60.0,
) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert process is None or process.poll() is None, "it stopped"
        assert time.monotonic() < deadline, f"not in {seconds:g} s"
        time.sleep(0.05)


def agent_status(folder: Path) -> dict[str, Any]:
    shown = subprocess.run(
        command("agent", "status", "--data", str(folder / "agent"), "--json"),
        capture_output=True,
        text=True,
        check=False,
    )
    found: dict[str, Any] = json.loads(shown.stdout) if not shown.returncode else {}
    return found

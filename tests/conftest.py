"""Virtual time for every async test: an hour of waiting takes no time.

What starts processes, threads or sockets runs in ``asyncio.run`` of its own.
"""

import asyncio
import os
from pathlib import Path
from tempfile import gettempdir

from firmware_sim.virtual_time import VirtualTimeLoop

# Agents and gateways that tests start keep their compiled kernels here, not at home.
os.environ["XDG_CACHE_HOME"] = str(Path(gettempdir(), f"vitalwire-tests-{os.getuid()}"))


def pytest_asyncio_loop_factories() -> dict[str, type[asyncio.AbstractEventLoop]]:
    return {"virtual": VirtualTimeLoop}

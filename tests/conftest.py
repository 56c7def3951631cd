"""Virtual time for every async test: an hour of waiting takes no time.

What starts processes, threads or sockets runs in ``asyncio.run`` of its own.
"""

import asyncio

from firmware_sim.virtual_time import VirtualTimeLoop


def pytest_asyncio_loop_factories() -> dict[str, type[asyncio.AbstractEventLoop]]:
    return {"virtual": VirtualTimeLoop}

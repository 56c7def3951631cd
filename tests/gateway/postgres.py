"""A real PostgreSQL server, which tests start and throw away by themselves."""

import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.bench.servers import Postgres

# A clone of this one is made in a few ms; its name says what it was made for.
TEMPLATE = "vitalwire_template"


@contextmanager
def server() -> Iterator[Postgres]:
    """Run a server until the block ends."""
    # Not under pytest's folder, where PostgreSQL's own user may not look.
    folder = Path(tempfile.mkdtemp(prefix="vw-pg-"))
    try:
        found = Postgres(folder)
        try:
            found.start()
            yield found
        finally:
            found.stop(signal.SIGQUIT)
    finally:
        shutil.rmtree(folder)

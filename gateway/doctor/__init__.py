"""Looks whether a gateway can do its work here, and says what to do where it can't.

Nothing is changed, no message is taken from anybody, and the gateway may run meanwhile.
"""

from collections.abc import Iterator
from pathlib import Path

from gateway.config import load
from gateway.doctor import broker, machine, store
from gateway.doctor.finding import Finding, fail, ok
from protocols.config import ConfigError


def findings(file: Path | None, data: Path | None) -> Iterator[Finding]:
    """Yield what is found, look by look; some take seconds.

    Args:
        file: The settings; None is the defaults.
        data: The folder, if it is another than the settings name.
    """
    try:
        config = load(file, data)
    except ConfigError as error:
        yield fail("config", str(error), "correct it; nothing else was looked at")
        return
    yield ok("config", str(file or "defaults"))
    yield from machine.findings(config)
    yield from store.findings(config)
    yield from broker.findings(config)

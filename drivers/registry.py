"""Drivers by entry point, loaded when asked for."""

from functools import cache
from importlib.metadata import (
    EntryPoint,
    PackageNotFoundError,
    distribution,
    entry_points,
)

from drivers.sdk import GattDriver, SerialDriver

_GROUP = "vitalwire.drivers"


class UnknownDriver(Exception):
    """No driver of that name is installed."""


def names() -> list[str]:
    """Return the names of all installed drivers, in order."""
    return sorted(_found())


def load(name: str) -> GattDriver | SerialDriver:
    """Return the driver of that name.

    Raises:
        UnknownDriver: None is installed, or it is no driver.
    """
    point = _ours().get(name) or _found().get(name)
    if point is None:
        raise UnknownDriver(f"no driver '{name}'; installed: {', '.join(names())}")
    driver = point.load()
    if not isinstance(driver, GattDriver | SerialDriver):
        raise UnknownDriver(f"'{name}' is no driver, but a {type(driver).__name__}")
    return driver


@cache  # it looks into all that is installed
def _found() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=_GROUP)} | _ours()


@cache
def _ours() -> dict[str, EntryPoint]:
    """Return the drivers of this package, for which no start looks at all others."""
    try:
        points = distribution("vitalwire").entry_points
    except PackageNotFoundError:
        return {}
    return {point.name: point for point in points.select(group=_GROUP)}

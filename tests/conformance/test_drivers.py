"""What every driver must be, whoever writes it."""

import inspect
import re
import sys
from importlib.metadata import entry_points

import pytest

from drivers.sdk import GattDriver, SerialDriver
from drivers import registry
from protocols.observation import Kind

_HEADINGS = ("Measures", "Modes", "Clock", "History", "Source", "Tested")
NAMES = sorted(point.name for point in entry_points(group="vitalwire.drivers"))


def test_the_drivers_are_those_that_are_announced() -> None:
    """A driver that is lost from the packaging is a device that nobody reads."""
    assert NAMES == ["gatt-blood-pressure", "gatt-glucose", "onetouch-ultraeasy"]
    assert registry.names() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_driver_is_found_by_its_own_id(name: str) -> None:
    """A reading tells by which driver it was read: that name must find it."""
    driver = registry.load(name)

    assert isinstance(driver, GattDriver | SerialDriver)
    assert driver.id == name
    assert driver.version
    assert driver.observes
    assert set(driver.observes) <= set(Kind)
    module = sys.modules[f"drivers.{name.replace('-', '_')}"]
    assert module.DRIVER is driver


@pytest.mark.parametrize("name", NAMES)
def test_a_driver_says_what_it_can(name: str) -> None:
    """The docstring is the capability statement: each heading, in order, filled."""
    registry.load(name)
    text = inspect.getdoc(sys.modules[f"drivers.{name.replace('-', '_')}"]) or ""

    found = re.findall(r"^(\w+): +\S", text, re.MULTILINE)

    assert tuple(found) == _HEADINGS


@pytest.mark.parametrize("name", NAMES)
def test_a_driver_can_be_asked_or_listened_to(name: str) -> None:
    """One of both; a driver with neither would wait for ever."""
    driver = registry.load(name)
    if isinstance(driver, GattDriver):
        assert bool(driver.on) is (driver.session is None)
    else:
        assert driver.session is not None


def test_an_unknown_driver_is_told_with_those_that_are_there() -> None:
    with pytest.raises(registry.UnknownDriver) as caught:
        registry.load("gatt-glucos")
    assert str(caught.value) == (
        "no driver 'gatt-glucos'; installed: gatt-blood-pressure, gatt-glucose, "
        "onetouch-ultraeasy"
    )

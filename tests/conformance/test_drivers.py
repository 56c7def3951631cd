"""What every driver must be, whoever writes it."""

import inspect
import re
import sys
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from drivers import registry
from drivers.sdk import GattDriver, SerialDriver
from firmware_sim.kit.check import check_rule, find
from firmware_sim.kit.rules import RULES, Rule
from firmware_sim.trial import Trial
from protocols.observation import Kind

_HEADINGS = ("Measures", "Modes", "Clock", "History", "Source", "Tested")
NAMES = sorted(point.name for point in entry_points(group="vitalwire.drivers"))


def test_the_drivers_are_those_that_are_announced() -> None:
    """A driver that is lost from the packaging is a device that nobody reads."""
    written = sorted(
        path.stem.replace("_", "-")
        for path in (Path(__file__).parents[2] / "drivers").glob("*.py")
        if "\nDRIVER = " in path.read_text()
    )

    assert written == NAMES == registry.names()
    assert len(NAMES) >= 30


def test_every_driver_has_a_trial() -> None:
    """A driver that nothing is tried on is a guess."""
    trials = entry_points(group="vitalwire.trials")

    assert sorted(point.name for point in trials) == NAMES
    assert all(isinstance(point.load(), Trial) for point in trials)


_EXEMPT = [
    (point.name, rule)
    for point in entry_points(group="vitalwire.trials")
    for rule in RULES
    if rule.name in point.load().exempt
]


@pytest.mark.parametrize(
    ("name", "rule"), _EXEMPT, ids=[f"{name}-{rule.name}" for name, rule in _EXEMPT]
)
def test_an_exemption_is_needed(name: str, rule: Rule) -> None:
    """A rule that would hold, and is not asked any more, protects nobody."""
    case = find(name)
    trial = replace(case.trial, exempt={})

    assert check_rule(case.driver, trial, rule).state == "failed"


@pytest.mark.parametrize("name", NAMES)
def test_what_a_driver_declares_to_write_is_narrow(name: str) -> None:
    """A pattern that fits everything declares nothing."""
    driver = registry.load(name)
    rubbish = [bytes([byte]) * size for byte in (0, 0x2A, 0xFF) for size in (1, 7, 20)]
    for write in driver.writes:
        assert write.why
        assert (write.uuid is None) is isinstance(driver, SerialDriver)
        assert not any(write.fits(write.uuid, payload) for payload in rubbish), write


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
    heard = bool(driver.on)
    if driver.session is None:
        assert heard
        assert isinstance(driver, GattDriver) or driver.frames is not None
    elif isinstance(driver, GattDriver) and driver.once_only:
        assert heard, "what was written down before a crash must be decoded alone"
    else:
        assert not heard


def test_an_unknown_driver_is_told_with_those_that_are_there() -> None:
    with pytest.raises(registry.UnknownDriver) as caught:
        registry.load("gatt-glucos")
    assert str(caught.value) == (
        f"no driver 'gatt-glucos'; installed: {', '.join(NAMES)}"
    )

"""Runs the kit's rules on a driver."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points

from drivers.sdk import GattDriver, SerialDriver
from firmware_sim.kit.judging import NotApplicable
from firmware_sim.kit.rules import RULES, Rule
from firmware_sim.kit.visits import Case, Driver
from firmware_sim.trial import Trial
from firmware_sim.virtual_time import VirtualTimeLoop

_DRIVERS, _TRIALS = "vitalwire.drivers", "vitalwire.trials"


class UnknownTarget(Exception):
    """There is no such driver, or nothing to try it on."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one rule.

    Attributes:
        rule: The rule.
        problems: What is wrong; empty if nothing is.
        exempt: Why it cannot hold for this device; empty if it must.
    """

    rule: Rule
    problems: tuple[str, ...] = ()
    exempt: str = ""

    @property
    def state(self) -> str:
        """``done``, ``exempt`` or ``failed``."""
        if self.exempt:
            return "exempt"
        return "failed" if self.problems else "done"


def find(driver: str, trial: str | None = None) -> Case:
    """Return a driver and its trial.

    Args:
        driver: Its name, as announced by entry point, or ``module:NAME``.
        trial: ``module:NAME``; by default what is announced under the driver's id.

    Raises:
        UnknownTarget: One of both is not there, or is not what it should be.
    """
    found = _load(driver, _DRIVERS)
    if not isinstance(found, GattDriver | SerialDriver):
        raise UnknownTarget(f"'{driver}' is no driver, but a {type(found).__name__}")
    tried = _load(trial or found.id, _TRIALS)
    if not isinstance(tried, Trial):
        raise UnknownTarget(f"'{trial}' is no trial, but a {type(tried).__name__}")
    unknown = sorted({*tried.exempt} - {rule.name for rule in RULES})
    if unknown:
        raise UnknownTarget(f"{found.id} is exempt from no rule: {', '.join(unknown)}")
    return Case(found, tried)


def installed() -> list[str]:
    """Return the names of all drivers that are announced, in order."""
    return sorted(point.name for point in entry_points(group=_DRIVERS))


def check(case: Case) -> Iterator[Outcome]:
    """Run every rule on a driver, in virtual time.

    Args:
        case: The driver and its trial.
    """
    for rule in RULES:
        yield check_rule(case.driver, case.trial, rule)


def check_rule(driver: Driver, trial: Trial, rule: Rule) -> Outcome:
    """Run one rule on a driver, in virtual time."""
    if reason := trial.exempt.get(rule.name):
        return Outcome(rule, exempt=reason)
    case = Case(driver, trial)
    try:
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            problems = runner.run(_run(rule, case))
    except NotApplicable as reason:
        return Outcome(rule, exempt=str(reason))
    # Whatever a rule looks at, nothing undeclared is ever written on the way.
    problems += [
        f"it wrote {one}, which it does not declare" for one in case.undeclared
    ]
    problems += [f"it set the clock, without leave: {one}" for one in case.clock_writes]
    return Outcome(rule, tuple(dict.fromkeys(problems)))


async def _run(rule: Rule, case: Case) -> list[str]:
    return await rule.check(case)


def _load(name: str, group: str) -> object:
    module, colon, attribute = name.partition(":")
    try:
        if colon:
            return getattr(import_module(module), attribute)
        points = {point.name: point for point in entry_points(group=group)}
        if name in points:
            return points[name].load()
    except (ImportError, AttributeError) as error:
        raise UnknownTarget(f"'{name}' can't be imported: {error}") from error
    installed = ", ".join(sorted(points)) or "none"
    raise UnknownTarget(
        f"nothing is announced as '{name}' in {group}; announced: {installed}; "
        "or give MODULE:NAME"
    )

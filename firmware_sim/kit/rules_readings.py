"""Rules of the readings: whose, what, when, and each of them once."""

import inspect
import re
from collections.abc import Mapping
from datetime import timedelta

from drivers.sdk import DeviceClock, Identity, identify, read_clock
from firmware_sim.kit.judging import NotApplicable, complete, misjudged, misplaced
from firmware_sim.kit.visits import Case
from firmware_sim.trial import Limit
from protocols.observation import Kind, Observation

_HEADINGS = ["Measures", "Modes", "Clock", "History", "Source", "Tested"]
_MINUTE = timedelta(minutes=1)
_MOVED = timedelta(), timedelta(hours=5, minutes=17)  # into the afternoon


async def described(case: Case) -> list[str]:
    """The docstring says what the driver can."""
    spoken = case.driver.session or case.driver.on
    function = next(iter(spoken.values())) if isinstance(spoken, Mapping) else spoken
    words = inspect.getdoc(inspect.getmodule(function)) or ""
    found = re.findall(r"^(\w+): +\S", words, re.MULTILINE)
    if found != _HEADINGS:
        return [f"the module's docstring has {found}, not {_HEADINGS}"]
    return []


async def identified(case: Case) -> list[str]:
    """It says which device it is, the same each time."""
    problems = []
    device = case.device()
    first = await case.visit(device)
    second = await case.visit(case.device(), case.terms())
    if first.seen and not case.listens and first.identity is None:
        problems.append("it reads a device without saying which one it is")
    if first.identity != second.identity:
        problems.append(
            f"the same device is {first.identity}, and then {second.identity}"
        )
    said = Identity() if case.is_serial else await identify(case.standard())
    if first.identity and said.serial not in ("", first.identity.serial):
        problems.append(f"its serial number is {said.serial}, and not told")
    at = [index for index, one in enumerate(first.events) if one == first.identity]
    early = (
        [one for one in first.events[: at[0]] if isinstance(one, Observation)]
        if at
        else []
    )
    if early:
        problems.append("it tells readings before it says whose they are")
    return problems


async def exact(case: Case) -> list[str]:
    """Every value and time is what the display showed."""
    visit = await case.visit(case.device())
    return complete(case, [visit], case.shown)


async def contexts(case: Case) -> list[str]:
    """What belongs to a value comes with it, and nothing else does."""
    if not any(case.trial.contexts):
        raise NotApplicable("the device stores nothing beside a value")
    return misplaced(case, await case.visit(case.device()), case.shown)


async def statuses(case: Case) -> list[str]:
    """What a device says of a reading comes with it, and nothing else does."""
    return misjudged(case, await case.visit(case.device()), case.shown)


async def limits(case: Case) -> list[str]:
    """HI and LO are no numbers."""
    shown = [
        one
        for one in case.shown
        if any(isinstance(number, Limit) for number in one.values.values())
    ]
    if not shown:
        raise NotApplicable("the device shows neither HI nor LO")
    visit = await case.visit(case.device(shown))
    return complete(case, [visit], shown)


async def control(case: Case) -> list[str]:
    """Control solution is nobody's value."""
    shown = [one for one in case.shown if one.kind == Kind.CONTROL_SOLUTION]
    if not shown:
        raise NotApplicable("the device does not tell control solution")
    visit = await case.visit(case.device(shown))
    wrong = [one.kind for one in visit.seen if one.kind != Kind.CONTROL_SOLUTION]
    return [f"control solution came as {kind}" for kind in wrong[:3]]


async def declared(case: Case) -> list[str]:
    """It tells what it declares."""
    visit = await case.visit(case.device())
    told = {one.kind for one in visit.seen}
    declared = set(case.driver.observes)
    problems = []
    if extra := sorted(told - declared):
        problems.append(f"it tells {', '.join(extra)} without declaring it")
    if missing := sorted(declared - set(case.trial.spans)):
        problems.append(f"it declares {', '.join(missing)}, and no trial shows it")
    return problems


async def clock_told(case: Case) -> list[str]:
    """What the device's clock shows is told as it shows it."""
    problems = []
    for by in _MOVED:
        device = case.device()
        case.clock.move(by)
        told = (await case.visit(device)).of(DeviceClock)
        if not told and not by:
            if case.is_serial or await read_clock(case.standard()) is None:
                raise NotApplicable("the driver tells no clock")
            problems.append("its clock can be read, and is not told")
        problems += [
            f"its clock shows {case.clock()}, and is told as {one.time}"
            for one in told
            if one.time.moment is None
            or not timedelta() <= case.clock() - one.time.moment < _MINUTE
        ]
    return problems

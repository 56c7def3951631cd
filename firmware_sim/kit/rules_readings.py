"""Rules of the readings: whose, what, when, and each of them once."""

import inspect
import re
from collections.abc import Mapping
from datetime import timedelta

from drivers.sdk import Checkpoint
from firmware_sim.kit.history import NOW, lists, many, named
from firmware_sim.kit.judging import NotApplicable, complete, ended, spread
from firmware_sim.kit.visits import Case, after
from firmware_sim.trial import Limit
from protocols.observation import Kind, Observation

_HEADINGS = ["Measures", "Modes", "Clock", "History", "Source", "Tested"]


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
    """What belongs to a value comes with it."""
    wanted = [one for one in case.shown if one.context]
    if not wanted:
        raise NotApplicable("the device stores nothing beside a value")
    visit = await case.visit(case.device())
    problems = []
    for one in wanted:
        (fact,) = case.reader.truth([one])
        found = [seen for seen in visit.seen if fact in case.reader.told([seen])]
        said = dict(found[0].context) if found else {}
        missing = {k: v for k, v in one.context.items() if said.get(k) != v}
        if missing:
            problems.append(f"{lists([fact])} was shown with {missing}, told {said}")
    return problems


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


async def stable(case: Case) -> list[str]:
    """Read again, a reading is the same one."""
    if case.driver.once_only:
        raise NotApplicable("the device tells a reading only once")
    device = case.device()
    first = await case.visit(device)
    case.clock.move(timedelta(hours=3))
    second = await case.visit(device)
    one, two = ({named(seen) for seen in some.seen} for some in (first, second))
    if None in one:
        return ["a reading that can be read again has nothing to know it by"]
    if one != two:
        text = f"{len(two - one)} of {len(one)} readings"
        return [f"{text} are others when read again after the clock was set"]
    return []


async def apart(case: Case) -> list[str]:
    """Two measurements are two readings."""
    visit = await case.visit(case.device())
    names = [named(one) for one in visit.seen]
    known = len({name for name in names if name is not None}) + names.count(None)
    if known < len(case.shown):
        return [f"{len(case.shown)} measurements are known by {known} names"]
    return []


async def news(case: Case) -> list[str]:
    """The next visit finds what is new."""
    device = case.device()
    first = await case.visit(device)
    news = many(case.trial, 2, until=NOW + timedelta(hours=2))
    problems = []
    for one in news:
        case.trial.take(device, one)
    second = await case.visit(device, case.terms(first))
    told = case.reader.told([*first.seen, *second.seen])
    if lost := case.reader.truth([*case.shown, *news]) - told:
        problems.append(f"not found at the next visit: {lists(lost)}")
    return problems + ended(second, "a second visit")


async def commits(case: Case) -> list[str]:
    """No crash behind a checkpoint loses any."""
    if case.driver.once_only:
        raise NotApplicable("the device tells a reading only once")
    whole_visit = await case.visit(case.device())
    marks = [
        at for at, one in enumerate(whole_visit.events) if isinstance(one, Checkpoint)
    ]
    if not marks:
        raise NotApplicable("the driver reads all of it each time")
    problems = []
    for at in spread(marks):
        device = case.device()
        before = after(await case.visit(device), at + 1)
        behind = await case.visit(device, case.terms(before))
        told = case.reader.told([*before.seen, *behind.seen])
        if lost := case.reader.truth(case.shown) - told:
            problems.append(
                f"killed behind event {at + 1}, it never tells {lists(lost)}"
            )
    return problems


async def once(case: Case) -> list[str]:
    """A reading told once survives a crash."""
    if not case.driver.once_only:
        raise NotApplicable("the device tells a reading as often as it is asked")
    problems: list[str] = []
    whole_visit = await case.visit(case.device())
    recovered = {named(one) for one in case.recovered(whole_visit)}
    if case.trial.resolution_s and (
        lost := [one for one in whole_visit.seen if named(one) not in recovered]
    ):
        problems.append(
            f"{len(lost)} readings are not made again of what was written down"
        )
    if case.is_serial:
        return problems
    for at in spread(range(1, len(whole_visit.link.received) + 1)):
        device = case.device()
        first = await case.visit(device, lost_after=at)
        second = await case.visit(device, case.terms(first))
        kept = [*case.recovered(first), *second.seen]
        told = case.reader.told(kept)
        if lost_facts := case.reader.truth(case.shown) - told:
            problems.append(f"killed behind packet {at}, it lost {lists(lost_facts)}")
    return problems


async def empty(case: Case) -> list[str]:
    """An empty memory is no error."""
    visit = await case.visit(case.device([]))
    problems = ended(visit, "an empty memory")
    if visit.seen:
        problems.append(f"an empty memory brings {len(visit.seen)} readings")
    return problems


async def full(case: Case) -> list[str]:
    """A full memory is read whole."""
    if case.trial.capacity is None:
        raise NotApplicable("how much the device holds is not known")
    shown = many(case.trial, case.trial.capacity)
    device = case.device(shown)
    first = await case.visit(device)
    problems = complete(case, [first], shown)
    news = many(case.trial, 2, until=NOW + timedelta(hours=2))
    for one in news:
        case.trial.take(device, one)
    second = await case.visit(device, case.terms(first))
    told = case.reader.told([*first.seen, *second.seen])
    if lost := case.reader.truth([*shown, *news]) - told:
        problems.append(f"of a full memory it lost {lists(lost)}")
    return problems

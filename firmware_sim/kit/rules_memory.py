"""Rules of what a device keeps: found at each visit, and each reading told once."""

from dataclasses import replace
from datetime import timedelta

from drivers.sdk import Checkpoint, Event
from firmware_sim.kit.history import NOW, lists, many, named, twins
from firmware_sim.kit.judging import (
    NotApplicable,
    complete,
    ended,
    joined,
    spread,
)
from firmware_sim.kit.visits import Case, Visit, after
from firmware_sim.trial import Shown

_STORED = 80  # more than drivers read between two checkpoints
_LATER = NOW + timedelta(hours=2)
_EVENTS = 8  # at which an agent is killed


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
    """Two measurements are two readings, also of one minute and one value."""
    names = [named(one) for one in (await case.visit(case.device())).seen]
    known = len({name for name in names if name is not None}) + names.count(None)
    if known < len(case.shown):
        return [f"{len(case.shown)} measurements are known by {known} names"]
    keeps_seconds = case.trial.resolution_s < timedelta(minutes=1).total_seconds()
    if keeps_seconds or case.driver.once_only or case.is_sensor:
        return []
    shown = twins(case.shown)
    device = case.device(shown)
    found = [await case.visit(device)]
    problems = complete(case, found, shown)
    for context in (shown[-1].context, case.trial.contexts[-1]):
        shown = [*shown, replace(shown[-1], context=context)]
        case.trial.take(device, shown[-1])
        found.append(await case.visit(device, case.terms(joined(found))))
        problems += complete(case, found, shown)
    return [f"of equal readings of one minute it {one}" for one in problems]


async def news(case: Case) -> list[str]:
    """The next visits find what is new, and nothing twice."""
    problems = await _news(case, wraps=False)
    if "sequence_wrap" in case.trial.conditions:
        wrong = await _news(case, wraps=True)
        problems += [f"with numbers that begin again: {one}" for one in wrong]
    return problems


async def _news(case: Case, *, wraps: bool) -> list[str]:
    shown = _stored(case)
    device = case.device(shown)
    if wraps:
        case.trial.conditions["sequence_wrap"](device)
    found = [await case.visit(device)]
    problems = []
    for number, one in enumerate(_later(case, shown)):
        taken = [*one]
        for each in taken:
            case.trial.take(device, each)
        shown = [*shown, *taken]
        found.append(await case.visit(device, case.terms(joined(found))))
        name = f"visit {number + 2}, with {len(taken)} new,"
        problems += [f"{name} {wrong}" for wrong in complete(case, found, shown)]
        problems += ended(found[-1], name)
    return problems


def _later(case: Case, shown: list[Shown]) -> list[list[Shown]]:
    """Return what is measured before each of the next visits."""
    first, *more = many(case.trial, 3, until=_LATER)
    later: list[list[Shown]] = [[], [first], more]
    if not case.is_sensor:  # whose clock nobody sets
        moment = shown[len(shown) // 2].time + timedelta(minutes=3)
        set_back = replace(first, time=moment)
        last = many(case.trial, 1, until=_LATER + timedelta(hours=2))
        later += [[set_back], last]
    return later


async def commits(case: Case) -> list[str]:
    """No crash behind a checkpoint loses any."""
    shown = _stored(case)
    whole_visit = await case.visit(case.device(shown))
    marks = [
        at for at, one in enumerate(whole_visit.events) if isinstance(one, Checkpoint)
    ]
    if not marks:
        raise NotApplicable("the driver reads all of it each time")
    problems = []
    for at in spread(marks):
        device = case.device(shown)
        before = await _killed(case, device, at + 1)
        behind = await case.visit(device, case.terms(before))
        problems += [
            f"killed behind event {at + 1}, it {one}"
            for one in complete(case, [before, behind], shown)
        ]
    return problems


async def erased(case: Case) -> list[str]:
    """A memory that was erased, and filled again, is read anew."""
    shown = _stored(case)
    first = await case.visit(case.device(shown))
    problems = []
    most = case.trial.capacity or len(shown) + 1
    for wanted in (1, len(shown) - 1, len(shown), len(shown) + 1):
        count = min(wanted, most)
        others = many(case.trial, count, until=_LATER)
        second = await case.visit(case.device(others), case.terms(first))
        problems += [
            f"with {count} others instead of {len(shown)}, it {one}"
            for one in complete(case, [second], others)
        ]
    return problems


async def once(case: Case) -> list[str]:
    """A reading told once survives a crash, and stays one."""
    if not case.driver.once_only:
        raise NotApplicable("the device tells a reading as often as it is asked")
    whole_visit = await case.visit(case.device())
    problems = _held(case, [whole_visit], "after a visit")
    came = case.came(whole_visit)
    nameless = [
        one for one in whole_visit.seen if not {*one.raw} <= came or not one.raw
    ]
    if nameless:
        text = "readings do not name in raw what came, which is kept for ever then"
        problems.append(f"{len(nameless)} {text}")
    if case.is_serial:
        crash = replace(whole_visit, events=_introduced(whole_visit))
        return problems + _held(case, [crash], "killed before it told any,")
    for at in spread(range(1, len(whole_visit.link.received) + 1)):
        device = case.device()
        first = await case.visit(device, lost_after=at)
        second = await case.visit(device, case.terms(first))
        crash = replace(first, events=_introduced(first))
        problems += _held(case, [crash, second], f"killed behind packet {at},")
    for at in spread(range(1, len(whole_visit.events) + 1))[:: 24 // _EVENTS]:
        device = case.device()
        first = await _killed(case, device, at)
        second = await case.visit(device, case.terms(first))
        problems += _held(case, [first, second], f"killed behind event {at},")
    return problems


def _held(case: Case, visits: list[Visit], when: str) -> list[str]:
    """Return what is wrong with what the agent has, once it recovered."""
    seen = [one for visit in visits for one in (*visit.seen, *case.recovered(visit))]
    told, truth = case.reader.told(seen), case.reader.truth(case.shown)
    problems = []
    if lost := truth - told:
        problems.append(f"{when} the agent lacks {lists(lost)}")
    if wrong := told - truth:
        problems.append(f"{when} it has what nobody was shown: {lists(wrong)}")
    return problems


async def empty(case: Case) -> list[str]:
    """An empty memory is no error, and hides nothing that comes into it."""
    device = case.device([])
    visit = await case.visit(device)
    problems = ended(visit, "an empty memory")
    if visit.seen:
        problems.append(f"an empty memory brings {len(visit.seen)} readings")
    shown = many(case.trial, 1, until=_LATER)
    case.trial.take(device, shown[0])
    second = await case.visit(device, case.terms(visit))
    wrong = complete(case, [second], shown)
    return problems + [f"after an empty memory it {one}" for one in wrong]


async def full(case: Case) -> list[str]:
    """A full memory is read whole."""
    if case.trial.capacity is None:
        raise NotApplicable("how much the device holds is not known")
    shown = many(case.trial, case.trial.capacity)
    device = case.device(shown)
    first = await case.visit(device)
    problems = complete(case, [first], shown)
    news = many(case.trial, 2, until=_LATER)
    for one in news:
        case.trial.take(device, one)
    second = await case.visit(device, case.terms(first))
    wrong = complete(case, [first, second], [*shown, *news])
    return problems + [f"when the oldest made room, it {one}" for one in wrong]


def _stored(case: Case) -> list[Shown]:
    """Return as much as makes a driver read in several steps."""
    return many(case.trial, min(case.trial.capacity or _STORED, _STORED))


async def _killed(case: Case, device: object, count: int) -> Visit:
    """Run a visit whose agent is killed behind so many events."""
    return after(await case.visit(device, cancel_after=count), count)


def _introduced(visit: Visit) -> list[Event]:
    """Return of a visit's events those that say who the device is."""
    return [visit.identity] if visit.identity is not None else []

"""Rules of what is written to a device: nothing that was not declared and allowed."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from drivers.sdk import DeviceClock, Terms, Write
from firmware_sim.kit.bad_devices import Junk, Mute
from firmware_sim.kit.history import NOW, lists, many
from firmware_sim.kit.judging import NotApplicable, complete
from firmware_sim.kit.visits import Case, Visit, after

_HOUR = timedelta(hours=1)
_RUBBISH = [bytes([byte]) * size for byte in (0, 0x2A, 0xFF) for size in (1, 7, 20)]


async def writes(case: Case) -> list[str]:
    """It writes what it declares, no more, and declares what tells something."""
    problems = [
        f"{one.pattern!r} fits anything" for one in case.driver.writes if _fits_all(one)
    ]
    await _every_way(case, allow=False)
    await _every_way(case, allow=True)
    problems += [f"it wrote {one}" for one in dict.fromkeys(case.undeclared)]
    return problems[:5]


def _fits_all(write: Write) -> bool:
    return any(write.fits(write.uuid, rubbish) for rubbish in _RUBBISH)


async def _every_way(case: Case, *, allow: bool) -> None:
    """Visit a device whose clock is wrong, in each way that a visit may go."""

    async def visit(
        device: object, before: Visit | None = None, lost_after: int | None = None
    ) -> Visit:
        case.clock.move(_HOUR)
        terms = case.terms(before, allow=allow)
        return await case.visit(device, terms, lost_after=lost_after)

    device = case.device()
    first = await visit(device)
    await visit(device, first)
    case.trial.take(device, many(case.trial, 1, until=NOW + timedelta(hours=2))[0])
    await visit(device, first)
    await visit(case.device([]))
    await visit(case.device(), lost_after=5)
    await visit(Mute(case.device()))
    for at in (1, 3, 6):
        await visit(Junk(case.device(), at, seed=1))


async def clock_alone(case: Case) -> list[str]:
    """No clock is set without leave."""
    await _every_way(case, allow=False)
    device = case.device()
    case.clock.move(_HOUR)
    await case.visit(device)
    problems = [f"it set the clock: {one}" for one in dict.fromkeys(case.clock_writes)]
    was_set = case.trial.set_to is not None and case.trial.set_to(device) is not None
    if was_set and not case.trial.needs_clock:
        problems.append("the device's clock was set, and nobody had allowed it")
    if case.trial.needs_clock:
        visit = await case.visit(case.device(), _without_clock(case))
        if "set_clock" not in str(visit.error):
            problems.append(
                f"without the policy it ends with {visit.error!r}, which does not name "
                "set_clock"
            )
    return problems[:5]


async def clock_set(case: Case) -> list[str]:
    """With leave, a wrong clock is set, behind what it is told of."""
    set_to = case.trial.set_to
    if set_to is None:
        declared = [one for one in case.driver.writes if one.sets_clock]
        if declared:
            return ["the trial can't tell whether it sets the clock: give set_to"]
        raise NotApplicable("the driver sets no clock")
    problems = []
    device = case.device()
    case.clock.move(-_HOUR)
    visit = await case.visit(device, case.terms(allow=True))
    found = set_to(device)
    if found is None or abs(found - NOW) > timedelta(minutes=1):
        problems.append(f"allowed to, it set the clock to {found}, not to {NOW}")
    problems += complete(case, [visit], case.shown)
    problems += [
        f"it tells {clock.time}, and its clock stamped readings an hour later"
        for clock in visit.of(DeviceClock)
        if clock.time.moment is None or clock.time.moment > NOW - _HOUR
    ]
    told = [isinstance(event, DeviceClock) for event in visit.events]
    if True in told and not case.trial.needs_clock:
        device = case.device()
        await case.visit(
            device, case.terms(allow=True), cancel_after=told.index(True) + 1
        )
        if set_to(device) is not None:
            problems.append("it sets the clock before it tells what that showed")
    if case.asks and not case.driver.once_only and not case.trial.needs_clock:
        problems += await _set_last(case, set_to, len(visit.events))
    right = case.device()
    await case.visit(right, case.terms(allow=True))
    # A clock that can't be read is set at each visit: nobody knows whether it is right.
    blind = case.trial.needs_clock or not visit.of(DeviceClock)
    if set_to(right) is not None and not blind:
        problems.append("it set a clock that was right")
    return problems


async def _set_last(
    case: Case, set_to: Callable[[Any], datetime | None], events: int
) -> list[str]:
    """Return where it sets the clock before all is told that was stamped by it."""
    for at in range(1, events + 1):
        device = case.device()
        case.clock.move(-_HOUR)
        terms = case.terms(allow=True)
        visit = after(await case.visit(device, terms, cancel_after=at), at)
        lost = case.reader.truth(case.shown) - case.reader.told(visit.seen)
        if lost and set_to(device) is not None:
            return [f"behind event {at} its clock is set, and it lacks {lists(lost)}"]
    return []


def _without_clock(case: Case) -> Terms:
    return replace(case.terms(), set_clock=None)

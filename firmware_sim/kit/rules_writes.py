"""Rules of what is written to a device: nothing that was not declared and allowed."""

from dataclasses import replace
from datetime import timedelta

from drivers.sdk import DeviceClock, Terms
from firmware_sim.kit.history import NOW
from firmware_sim.kit.judging import NotApplicable, complete
from firmware_sim.kit.visits import Case


async def writes(case: Case) -> list[str]:
    """It writes what it declares, no more."""
    await case.visit(case.device())
    await case.visit(case.device(), case.terms(allow=True))
    problems = [f"it wrote {one}" for one in dict.fromkeys(case.undeclared)]
    return problems[:5]


async def clock_alone(case: Case) -> list[str]:
    """No clock is set without leave."""
    device = case.device()
    case.clock.move(timedelta(hours=1))
    visit = await case.visit(device)
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
    """With leave, a wrong clock is set."""
    set_to = case.trial.set_to
    if set_to is None:
        declared = [one for one in case.driver.writes if one.sets_clock]
        if declared:
            return ["the trial can't tell whether it sets the clock: give set_to"]
        raise NotApplicable("the driver sets no clock")
    problems = []
    device = case.device()
    case.clock.move(timedelta(hours=-1))
    visit = await case.visit(device, case.terms(allow=True))
    found = set_to(device)
    if found is None or abs(found - NOW) > timedelta(minutes=1):
        problems.append(f"allowed to, it set the clock to {found}, not to {NOW}")
    problems += complete(case, [visit], case.shown)
    right = case.device()
    await case.visit(right, case.terms(allow=True))
    # A clock that can't be read is set at each visit: nobody knows whether it is right.
    blind = case.trial.needs_clock or not visit.of(DeviceClock)
    if set_to(right) is not None and not blind:
        problems.append("it set a clock that was right")
    return problems


def _without_clock(case: Case) -> Terms:
    return replace(case.terms(), set_clock=None)

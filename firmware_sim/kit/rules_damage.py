"""Rules of the line: bytes that are lost, doubled, late or wrong, and bad devices."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from random import Random

import msgspec

from drivers.sdk import Identity, Observation, Undecoded
from firmware_sim.bench import AttError
from firmware_sim.faults import Faults, faulty
from firmware_sim.kit.bad_devices import (
    Counted,
    Endless,
    Junk,
    Mute,
    Refusing,
    Swapped,
)
from firmware_sim.kit.history import Fact, lists
from firmware_sim.kit.judging import (
    NotApplicable,
    broken,
    complete,
    joined,
    misplaced,
    right,
    silent,
    spread,
    until_quiet,
)
from firmware_sim.kit.visits import Case, Visit
from firmware_sim.link import Damage, bytewise, lossy, noisy, twice, whole

_SILENT_S = 120.0
_LASTING = 2  # of the seeds 0 to 2: rubbish that a device says each time
_BEHIND = timedelta(days=1, minutes=1)  # the second device's readings
_VISITS = 8  # in which a bad line must have let everything through


async def lines(case: Case) -> list[str]:
    """However the bytes arrive, values are right."""
    problems: list[str] = []
    if not case.is_serial:
        return await _packets(case)
    ways: list[tuple[str, Damage, int]] = [
        ("whole", whole, 1),
        ("byte by byte", bytewise, 1),
        ("each answer twice", twice, 1),
        ("with noise around each answer", noisy, 3),
        *((f"one in five lost ({seed})", lossy(seed), _VISITS) for seed in (1, 2)),
    ]
    for name, damage, visits in ways:
        if case.driver.once_only and visits == _VISITS:
            continue  # what such a device sends and nobody hears is gone
        found = await until_quiet(case, visits, damage=damage)
        wrong = complete(case, found, case.shown, ends_well=visits == 1)
        wrong += silent(case, found, case.shown)
        problems += [f"{name}: {one}" for one in wrong]
    return problems


async def _packets(case: Case) -> list[str]:
    problems: list[str] = []
    count = len((await case.visit(case.device())).link.received)
    for at in spread(range(1, count + 1)):
        for name in ("lost", "repeated", "late"):
            faults = msgspec.convert({name: [at]}, Faults)
            device = faulty(case.device(), faults)
            found = await until_quiet(case, 3, device)
            gone = name == "lost" and case.driver.once_only
            judge = right if gone else complete
            wrong = judge(case, found, case.shown) + silent(case, found, case.shown)
            problems += [f"packet {at} {name}: {one}" for one in wrong]
    return problems


async def cuts(case: Case) -> list[str]:
    """A cut link costs time, and no reading."""
    problems: list[str] = []
    whole_visit = await case.visit(case.device())
    if case.is_serial:
        counted = Counted(case.device())
        await case.visit(counted)
        total = counted.total
    else:
        total = len(whole_visit.link.received)
    once = case.is_serial and case.driver.once_only
    for at in spread(range(1, total)):
        device = case.device()
        first = await case.visit(device, lost_after=at)
        if first.is_broken:
            problems.append(f"cut after {at}: it breaks with {first.error!r}")
            continue
        found = [first]
        for _ in range(2):
            found.append(await case.visit(device, case.terms(joined(found))))
        if once:  # what came while the cable was out is gone
            problems += right(case, found, case.shown)
        else:
            more = complete(case, found, case.shown)
            more += silent(case, found, case.shown)
            problems += [f"cut after {at}: {one}" for one in more]
    return problems


async def swaps(case: Case) -> list[str]:
    """No reading is told of a device that was on the cable before."""
    if not case.is_serial:
        raise NotApplicable("a BLE link is to one device")
    if case.trial.another is None:
        identity = (await case.visit(case.device())).identity
        if identity is not None and identity.serial:
            return ["it tells a serial number, and its trial makes no second device"]
        raise NotApplicable("the device tells no serial number")
    # As many of the same values: they differ in nothing but their times.
    others = [replace(one, time=one.time + _BEHIND) for one in case.shown]
    truth: dict[str, set[Fact]] = {}
    for shown, is_other in ((case.shown, False), (others, True)):
        device = case.device(shown)
        visit = await case.visit(case.another(shown) if is_other else device)
        name = visit.identity.serial if visit.identity is not None else ""
        if not name or name in truth:
            return [f"two devices are told apart by nothing: both are '{name}'"]
        truth[name] = {*case.reader.truth(shown)}
    counted = Counted(case.device())
    await case.visit(counted)
    problems: list[str] = []
    for at in spread(range(1, counted.answers + 1)):
        for parted in (False, True):
            device = case.device()
            swapped = Swapped(device, case.another(others), at, parted=parted)
            visit = await case.visit(swapped)
            when = f"swapped {'in' if parted else 'behind'} answer {at + parted}"
            problems += broken(visit, when)
            if wrong := _of_another(case, visit, truth):
                problems.append(f"{when}, it tells as another's {lists(wrong)}")
    return problems


def _of_another(case: Case, visit: Visit, truth: dict[str, set[Fact]]) -> list[Fact]:
    """Return what was told of a device that did not show it."""
    name, found = "", []
    for event in visit.events:
        if isinstance(event, Identity):
            name = event.serial
        elif isinstance(event, Observation):
            told = case.reader.told([event])
            found += [fact for fact in told if fact not in truth.get(name, set())]
    return found


async def bits(case: Case) -> list[str]:
    """A wrong bit makes no wrong value."""
    if not case.is_serial:
        raise NotApplicable("the radio checks every packet itself")
    random = Random(2)  # noqa: S311 - not a secret
    counted = Counted(case.device())
    await case.visit(counted)
    truth = case.reader.truth(case.shown)
    problems = []
    for _ in range(60):
        damage = _flip(random, random.randint(1, counted.answers))
        device = case.device()
        visit = await case.visit(device, damage=damage)
        if visit.is_broken:
            problems.append(f"a wrong bit breaks it with {visit.error!r}")
        if wrong := case.reader.told(visit.seen) - truth:
            problems.append(f"a wrong bit makes {lists(wrong)}")
        if not case.driver.once_only:
            found = [visit, await case.visit(device, case.terms(visit))]
            more = complete(case, found, case.shown) + silent(case, found, case.shown)
            problems += [f"behind a wrong bit it {one}" for one in more]
    return problems


async def refusals(case: Case) -> list[str]:
    """What a device refuses is told."""
    if case.is_serial:
        raise NotApplicable("only BLE devices refuse")
    problems: list[str] = []
    for at in range(1, 13):
        for code in (0x05, 0x80):
            when = f"refused at step {at} with {code:#04x},"
            device = Refusing(case.device(), at, AttError(code))
            visit = await case.visit(device)
            if not device.has_refused:
                continue
            if visit.is_broken:
                problems.append(f"{when} it breaks with {visit.error!r}")
            elif visit.error is None:
                lost = case.reader.truth(case.shown) - case.reader.told(visit.seen)
                if lost:
                    problems.append(f"{when} it says nothing and lacks {lists(lost)}")
            is_exempt = "contexts-kept" in case.trial.exempt
            wrong = [] if is_exempt else misplaced(case, visit, case.shown)
            second = await case.visit(device, case.terms(visit))
            judge = right if case.driver.once_only else complete
            wrong += judge(case, [visit, second], case.shown)
            problems += [f"{when} {one}" for one in wrong]
    return problems


async def silence(case: Case) -> list[str]:
    """A silent device is told, in time."""
    if case.listens:
        raise NotApplicable("the device speaks when it has something to say")
    visit = await case.visit(Mute(case.device()))
    problems = broken(visit, "a silent device")
    if visit.seconds > _SILENT_S:
        text = f"a silent device is waited for {visit.seconds:.0f} s"
        problems.append(f"{text}, more than {_SILENT_S:.0f}")
    asked = case.driver.session is not None
    if asked and visit.error is None:
        problems.append("a silent device looks like one with an empty memory")
    return problems


async def endless(case: Case) -> list[str]:
    """A device that never stops is stopped."""
    if case.is_serial:
        raise NotApplicable("a serial device is asked for one thing at a time")
    visit = await case.visit(Endless(case.device()))
    return broken(visit, "a device that never stops")


async def junk(case: Case) -> list[str]:
    """Rubbish ends a visit, nothing more, and is told."""
    problems: list[str] = []
    expected = case.reader.truth(case.shown).total()
    for at in range(1, 16):
        for seed in range(3):
            device = Junk(case.device(), at, seed, lasts=seed == _LASTING)
            visit = await case.visit(device)
            problems += broken(visit, f"rubbish as answer {at}")
            may_go_on = case.listens and at == len(case.shown)
            is_told = visit.error or visit.of(Undecoded) or visit.link.noted
            if (
                not (is_told or may_go_on)
                and case.reader.told(visit.seen).total() < expected
            ):
                problems.append(f"rubbish as answer {at} hides readings in silence")
            if case.is_serial:
                wrong = case.reader.told(visit.seen) - case.reader.truth(case.shown)
                if wrong:
                    problems.append(f"rubbish as answer {at} makes {lists(wrong)}")
    return problems


def _flip(random: Random, which: int) -> Damage:
    """Damage one answer by one bit."""
    count = 0

    def damage(answer: bytes) -> Iterator[bytes]:
        nonlocal count
        count += 1
        if count == which and answer:
            at = random.randrange(len(answer) * 8)
            flipped = answer[at // 8] ^ 1 << at % 8
            answer = answer[: at // 8] + bytes([flipped]) + answer[at // 8 + 1 :]
        yield answer

    return damage
